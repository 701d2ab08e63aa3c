"""Quotas, fronts, crowding and species against their naive twins; plans of a generation."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridge
import oracle_evolution as e
import strategies as s
from bridge_evolution import families, packed, relative
from neuroprune import Population, Settings, kernels
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
    niches: dict[tuple, list[int]] = {}
    for i in sorted(range(size), key=lambda i: -points[i, 0]):  # stable: the earlier of equals first
        niches.setdefault(tuple(points[i, 1:]), []).append(i)
    niches = dict(sorted(niches.items()))
    fronts = e.fronts([points[members[0]].tolist() for members in niches.values()])
    apart = reproduction.crowding(points[[members[0] for members in niches.values()]], np.array(fronts))
    front, distance = np.zeros(size), np.zeros(size)
    for members, ahead, far in zip(niches.values(), fronts, apart, strict=True):
        front[members], distance[members] = ahead + np.arange(len(members)), far
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
        stagnant = generation - improved[number] > stagnation  # no better in so many generations after that one
        assert not stagnant or better < settings.kept_species or number == assigned[best]


STRANGE = st.sampled_from([math.nan, -math.inf, -7.0, 0.0, 0.5, 1.7e308, 5e-324])
ANY_FITNESS = st.one_of(st.floats(-1e308, 1e308), STRANGE)
GENTLE = st.one_of(st.integers(-800, 800).map(lambda n: n / 8), st.sampled_from([math.nan, -math.inf, 0.0]))


def shares_of(fitness, assigned, count):
    """Mean of each species above the worst finite fitness, exactly; what is not finite counts as that worst."""
    exact = [Fraction(value) if math.isfinite(value) else None for value in fitness]
    lowest = min((value for value in exact if value is not None), default=Fraction(0))
    above = [Fraction(0) if value is None else value - lowest for value in exact]
    return [sum(value for value, mine in zip(above, assigned, strict=True) if mine == number) / assigned.count(number)
            for number in range(count)]


@given(st.data(), st.integers(1, 6), st.booleans(), st.integers(1, 3))
def test_children_are_shared_by_mean_fitness(data, count, gentle, kept):
    extra = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=25))
    assigned = data.draw(st.permutations([*range(count), *extra]))
    fitness = data.draw(st.lists(GENTLE if gentle else ANY_FITNESS, min_size=len(assigned), max_size=len(assigned)))
    improved = [data.draw(st.sampled_from([0, 9])) for _ in range(count)]
    merit = reproduction.merit_of(np.array(fitness))
    settings = Settings(stagnation=5, kept_species=kept)
    plan = reproduction.by_species(merit, Table(assigned, improved), 10, settings)
    best = int(merit.argmax())
    found = [0] * count  # children of each species
    for family in plan.family.tolist():
        found[assigned[plan.pool[plan.pool_start[family]]]] += 1

    now = [max(merit[i] for i in range(merit.size) if assigned[i] == number) for number in range(count)]
    ranked = sorted(range(count), key=lambda number: (-now[number], number))
    living = {*ranked[:kept], assigned[best], *(number for number in range(count) if improved[number] == 9)}
    shares = [share if number in living else Fraction(0)
              for number, share in enumerate(shares_of(fitness, list(assigned), count))]
    if not any(shares):
        shares = [Fraction(number in living) for number in range(count)]
    exact = [merit.size * share / sum(shares) for share in shares]
    wanted = e.quotas(shares, merit.size)
    moved = wanted[assigned[best]] == 0  # the species of the best genome has a child at the cost of the largest
    if moved:
        wanted[wanted.index(max(wanted))] -= 1
        wanted[assigned[best]] = 1
    assert sum(found) == merit.size and found[assigned[best]] > 0
    assert all(abs(n - share) < 1 + moved + 1e-9 for n, share in zip(found, exact, strict=True))
    remainders = [float(value % 1) for value in exact]
    apart = np.diff(sorted([0.0, *remainders, 1.0]))
    if gentle and not moved and len({round(one, 9) for one in remainders}) == count and (apart[1:-1] > 1e-9).all():
        assert found == wanted  # else rounding may decide


@given(st.lists(ANY_FITNESS, min_size=2, max_size=30), st.data())
def test_a_plan_for_any_fitness_has_exactly_its_size(fitness, data):
    count = data.draw(st.integers(1, len(fitness)))
    assigned = [*range(count), *(data.draw(st.integers(0, count - 1)) for _ in fitness[count:])]
    merit = reproduction.merit_of(np.array(fitness))
    plan = reproduction.by_species(merit, Table(assigned, [0] * count), 1, Settings())
    assert plan.family.size == plan.elite.size == merit.size and plan.elite[plan.elite >= 0].size
    assert int(merit.argmax()) in plan.elite and not np.isnan(plan.merit).any()
    assert sorted(set(plan.family.tolist())) == list(range(plan.pool_start.size - 1))


def test_only_large_species_have_elites_but_the_best_genome_always_lives():
    assigned = [0] * 6 + [1] * 5 + [2] * 4 + [3]
    merit = np.array([6.0, 5, 4, 3, 2, 1, 5, 4, 3, 2, 1, 5, 5, 5, 4, 7])
    plan = reproduction.by_species(merit, Table(assigned, [0] * 4), 1, Settings(elites=2, elite_size=5))
    assert sorted(plan.elite[plan.elite >= 0].tolist()) == [0, 1, 6, 7, 15]


@pytest.mark.parametrize(("survival", "parents"), [(0.0, 2), (0.2, 2), (0.21, 3), (0.5, 5), (0.51, 6), (1.0, 10)])
def test_the_share_that_may_be_parents(survival, parents):
    merit = np.array([3.0, 9, 1, 7, 5, 0, 8, 2, 6, 4])
    plan = reproduction.by_species(merit, Table([0] * 10, [0]), 1, Settings(survival=survival))
    assert plan.pool.tolist() == [1, 6, 3, 8, 4, 9, 0, 7, 2, 5][:parents]


def test_of_equal_fitness_the_earlier_is_better():
    plan = reproduction.by_species(np.zeros(6), Table([0, 1] * 3, [0, 0]), 1, Settings(survival=0.5))
    assert plan.pool.tolist() == [0, 2, 1, 3] and plan.pool_start.tolist() == [0, 2, 4]
    assert plan.elite.tolist() == [0, -1, -1, -1, -1, -1]


def test_a_larger_tournament_has_fitter_parents():
    means = []
    for tournament in (1, 3, 1000):
        settings = Settings(survival=1.0, tournament=tournament, crossover=0.0, mutate_weights=0.0, add_node=0.0,
                            add_connection=0.0, species=None, threshold=1e9)
        population = Population(2, 1, size=100, seed=0, settings=settings)
        merit = {net.connections.weight.tobytes(): float(i) for i, net in enumerate(population.ask())}
        population.tell(np.arange(100.0))
        means.append(np.mean([merit[net.connections.weight.tobytes()] for net in population.ask()]))
    assert abs(means[0] - 50) < 10 and abs(means[1] - 75) < 6 and means[2] > 98.5


# ---------------------------------------------------------------- fronts in an evolution


@pytest.mark.parametrize("worst", [math.nan, -math.inf])
def test_fronts_of_networks_without_a_fitness(worst):
    population = Population(2, 1, size=12, seed=0, objectives=("fitness", "connections"))
    for share in (1.0, 0.5, 0.9):
        population.ask()
        population.tell(np.where(np.arange(12) < 12 * share, worst, 1.0))
        assert len(population.front) == (1 if share == 1.0 else len(population.front))
    distance = reproduction.crowding(np.array([[-np.inf, 1.0], [-np.inf, 2.0], [1.0, 0.0]]), np.zeros(3, np.int64))
    assert not np.isnan(distance).any()
    apart = np.array([[1.7e308, 0.0], [0.0, 1.0], [-1.7e308, 2.0]])
    assert reproduction.crowding(apart, np.zeros(3, np.int64)).tolist() == [np.inf, 1.0, np.inf]


def error_of(net):
    """Minus the error of a function that is met the better the more of the inputs take part."""
    x = np.random.default_rng(0).normal(size=(20, 4))
    return -float(np.abs(net(x)[:, 0] - np.tanh(x @ [2.0, -1.0, 0.5, 0.25])).sum())


def test_evolution_toward_several_objectives_returns_a_front():
    settings = Settings(add_node=0.1, add_connection=0.3, remove_connection=0.3, weight_power=1.0)
    population = Population(4, 1, size=80, seed=0, settings=settings, objectives=("fitness", "connections"))
    front = population.evolve(error_of, 40)
    values = [(error_of(net), -len(net.connections)) for net in front]
    assert not any(e.dominates(one, other) for one in values for other in values)
    assert len(set(values)) == len(values) and values == sorted(values, key=lambda one: -one[0])
    assert len({size for _, size in values}) == len(values) >= 4  # a size each, as fitness rises with it
    everyone = list(zip(population.fitness.tolist(), (-population._genomes.n_connections).tolist(), strict=True))
    assert {one for one, number in zip(everyone, e.fronts(everyone), strict=True) if number == 0} == set(values)
    assert population.species == [] and population.best_fitness == max(population.history.best)


def test_three_objectives():
    settings = Settings(add_node=0.3, add_connection=0.4, remove_node=0.2)
    population = Population(4, 1, size=40, seed=0, settings=settings, objectives=("nodes", "fitness", "connections"))
    front = population.evolve(error_of, 10)
    values = [(error_of(net), -len(net.connections), -len(net.nodes)) for net in front]
    assert not any(e.dominates(one, other) for one in values for other in values)
