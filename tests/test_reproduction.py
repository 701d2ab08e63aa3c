"""Quotas, fronts, crowding and species against their naive twins; plans of a generation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridge
import oracle_evolution as e
import strategies as s
from bridge_evolution import families, packed, relative
from neuroprune import Settings, kernels
from neuroprune.evolution import reproduction
from neuroprune.evolution.species import SpeciesTable

MERITS = st.one_of(st.sampled_from([-np.inf, -3.0, 0.0, 0.5, 0.5, 7.0]), st.floats(-1e300, 1e300))


@st.composite
def objectives(draw):
    """Points (n, m) with many ties and copies."""
    shape = draw(st.integers(1, 25)), draw(st.integers(1, 3))
    levels = draw(st.sampled_from([2, 4, 100]))
    return np.random.default_rng(draw(s.SEEDS)).integers(0, levels, shape) / 4


# ---------------------------------------------------------------- quotas


SHARES = st.lists(st.one_of(st.integers(0, 20), st.floats(0, 1)), min_size=1, max_size=20)


@given(SHARES.filter(lambda shares: sum(shares) > 1e-9), st.integers(0, 999))
def test_quotas_are_those_of_the_largest_remainder(shares, total):
    found = reproduction.quotas(np.array(shares, float), total)
    assert found.sum() == total and found.min() >= 0
    exact = [total * share / sum(shares) for share in shares]
    remainders = [value - int(value) for value in exact]
    if len({round(value, 9) for value in remainders}) == len(remainders):  # else rounding may decide
        assert found.tolist() == e.quotas(shares, total)
    assert all(abs(n - value) < 1 + 1e-9 for n, value in zip(found, exact, strict=True))


def test_quotas_of_equal_remainders_go_to_the_earlier():
    for shares in ([1, 1, 1, 1], [2, 6, 2], [1, 0, 1]):
        for total in range(12):
            assert reproduction.quotas(np.array(shares, float), total).tolist() == e.quotas(shares, total)


# ---------------------------------------------------------------- fronts and crowding


@given(objectives())
def test_fronts_are_the_naive_ones(points):
    assert kernels.census.fronts(points).tolist() == e.fronts(points.tolist())


@given(objectives())
def test_crowding_is_the_naive_one_of_each_front_without_copies(points):
    front = np.array(e.fronts(points.tolist()))
    found = reproduction.crowding(points, front)
    for number in set(front.tolist()):
        members, seen = [], set()
        for i in np.flatnonzero(front == number).tolist():
            if tuple(points[i]) in seen:
                assert found[i] == 0  # copies do not fill a front
            else:
                members.append(i)
            seen.add(tuple(points[i]))
        assert found[members].tolist() == pytest.approx(e.crowding(points[members].tolist()), rel=1e-12)


@given(objectives())
def test_the_better_half_lives_on(points):
    plan, size = reproduction.by_fronts(points), len(points)
    front = np.array(e.fronts(points.tolist()))
    distance = reproduction.crowding(points, front)
    survivors = plan.elite[plan.elite >= 0].tolist()
    assert len(set(survivors)) == len(survivors) == max(size // 2, 1) and sorted(plan.pool) == sorted(survivors)
    rest = set(range(size)) - set(survivors)
    for i in survivors:
        assert all((front[i], -distance[i]) <= (front[j], -distance[j]) for j in rest)
        assert all(plan.merit[i] > plan.merit[j] for j in rest)
    assert plan.elite.size == plan.family.size == size and not plan.family.any()


# ---------------------------------------------------------------- species


@given(families(3, 6), st.floats(0.05, 3.0), st.lists(s.SEEDS, max_size=3))
def test_everyone_joins_the_first_near_species(plains, threshold, seeds):
    former = [relative(plains[0], seed) for seed in seeds]
    settings, table = Settings(species=None, threshold=threshold), SpeciesTable(threshold)
    if former:  # species of the generation before, each far enough from the others to exist
        table.assign(packed(former), 0, Settings(species=None, threshold=1e-12))
    known = list(table.representatives or [])
    table.assign(packed(plains), 1, settings)
    genes = [e.genes(bridge.plain(net)) for net in known] + [e.genes(plain) for plain in plains]

    def apart(a, b):
        return e.distance(genes[a], genes[b], settings.disjoint, settings.difference)

    everyone = range(len(known), len(genes))
    if any(abs(apart(a, b) - threshold) < 1e-9 for a in everyone for b in range(len(genes))):
        return  # rounding decides
    wanted = e.assign(everyone, range(len(known)), apart, threshold)
    names = {number: row for row, number in enumerate(sorted(set(wanted)))}  # those without members go
    assert table.assigned.tolist() == [names[number] for number in wanted]
    assert len(table) == len(names) == len(table.representatives)


class Table:
    """As much of a SpeciesTable as a plan reads."""

    def __init__(self, assigned, improved):
        self.assigned, self.improved = np.array(assigned), np.array(improved)

    def __len__(self):
        return self.improved.size


@given(st.data(), st.integers(1, 6), st.integers(0, 3), st.floats(0.01, 1), st.integers(1, 20))
def test_a_plan_of_species_keeps_every_promise(data, count, elites, survival, stagnation):
    extra = data.draw(st.lists(st.integers(0, count - 1), max_size=20))
    assigned = data.draw(st.permutations([*range(count), *extra]))
    merit = np.array([data.draw(MERITS) for _ in assigned])
    improved, generation = [data.draw(st.integers(0, 30)) for _ in range(count)], 30
    settings = Settings(elites=elites, survival=survival, stagnation=stagnation)
    plan = reproduction.by_species(merit, Table(assigned, improved), generation, settings)
    size = len(assigned)
    assert plan.family.size == plan.elite.size == size  # the population has exactly its size
    assert plan.pool_start[0] == 0 and plan.pool_start[-1] == plan.pool.size and (np.diff(plan.pool_start) > 0).all()
    assert 0 <= plan.family.min() and plan.family.max() < plan.pool_start.size - 1
    best = int(merit.argmax())
    assert best in plan.elite.tolist()  # the best genome lives on
    now = [max(merit[i] for i in range(size) if assigned[i] == number) for number in range(count)]
    for family in range(plan.pool_start.size - 1):
        parents = plan.pool[plan.pool_start[family] : plan.pool_start[family + 1]].tolist()
        (number,) = {assigned[i] for i in parents}
        members = sorted((i for i in range(size) if assigned[i] == number), key=lambda i: (-merit[i], i))
        assert parents == members[: max(int(np.ceil(survival * len(members))), min(2, len(members)))]
        kept = [i for i in plan.elite[plan.family == family].tolist() if i >= 0]
        assert kept == members[: len(kept)] and len(kept) <= max(elites, number == assigned[best])
        better = sum(value > now[number] for value in now)
        stagnant = generation - improved[number] >= stagnation
        assert not stagnant or better < settings.kept_species or number == assigned[best]
