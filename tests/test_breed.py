"""A generation: crossover, choice of parents, elites, streams and chunks, pruning; the same bits without numba."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import bridge
import oracle_evolution as e
import oracles as o
import strategies as s
from bridge_evolution import assert_sound, codes, families, packed, program, stream
from neuroprune import GenerationPruning, kernels
from neuroprune.evolution.genomes import Genomes

SEEDS = st.integers(0, 2**63 - 1)
GROWING = program(
    ("PERTURB_WEIGHTS", 0.8, 0.5, 0.1, 1.0), ("PERTURB_BIASES", 0.5, 0.5, 0.1, 1.0), ("ADD_CONNECTION", 1.0),
    ("SKIP", 0.7, 2), ("ADD_NODE",), ("ADD_NODE",), ("CHANGE_ACTIVATION", 0.2, 0, 3), ("REMOVE_CONNECTION",),
    ("SKIP", 0.3, 1), ("REMOVE_NODE",), ("PRUNE", 0.1, 2), ("REGROW", 2),
)  # fmt: skip
CHOICES = codes(("sin", "relu", "tanh"))


def breed(parents, count, rows=(), seed=0, generation=0, merit=None, families=None, family=None, elite=None,
          tournament=1, crossover=0.0, between=0.0, chunks=None, spare=(0, 0)):  # fmt: skip
    """(children, splits of each, the raw columns) of a generation; all parents are one family unless it is said."""
    table = rows if isinstance(rows, np.ndarray) else program(*rows)
    families = [list(range(len(parents)))] if families is None else families
    splits = int((table[:, 0] == kernels.mutate.ADD_NODE).sum())
    added = [int(row[1]) if row[0] == kernels.mutate.REGROW else 1 for row in table]
    room = np.array([parents.n_nodes.max() + splits, max(parents.n_connections.max() + sum(added), 1)]) + spare
    children = Genomes.room_for(parents.n_inputs, parents.n_outputs, parents.recurrent, parents.default_code,
                                np.full(count, room[0]), np.full(count, room[1]))
    records, counts = np.full((count, splits, 2), -99), np.full(count, -99)
    for first, last in chunks or [(0, count)]:
        kernels.breed.breed(
            parents.columns, np.concatenate(families).astype(np.int64), np.cumsum([0, *map(len, families)]),
            np.zeros(len(parents)) if merit is None else np.array(merit, float), tournament, crossover, between,
            np.zeros(count, np.int64) if family is None else np.array(family),
            np.full(count, -1) if elite is None else np.array(elite), parents.n_inputs, parents.n_outputs,
            parents.default_code, table, CHOICES, seed, generation, first, last, room, children.columns, records,
            counts,
        )  # fmt: skip
    return children, [records[i, : counts[i]].tolist() for i in range(count)]


def contents(genomes):
    """The genomes without their spare room, as bytes."""
    compact = genomes.take(np.arange(len(genomes)))
    return [column.tobytes() for column in compact.columns]


def one(genomes, i):
    """Genome i, as bytes."""
    return contents(genomes.take([i]))


def marked(plain, count):
    """Genomes of one wiring; all numbers of genome i are i + 1."""
    free = plain.order[plain.n_inputs :]
    return packed([
        replace(plain, bias=plain.bias | dict.fromkeys(free, float(i + 1)),
                connections={pair: (float(i + 1), late) for pair, (_, late) in plain.connections.items()})
        for i in range(count)
    ])  # fmt: skip


def star(n_weights):
    """So many connections into one output."""
    order = list(range(n_weights + 1))
    names = dict.fromkeys(order, "identity")
    return o.Plain(n_weights, 1, order, dict.fromkeys(order, 0.0), names,
                   {(source, n_weights): (1.0, False) for source in range(n_weights)})  # fmt: skip


def origins(children):
    """Which marked parents each child has numbers of."""
    return [frozenset(int(weight) - 1 for weight in net.connections.weight) for net in children]


# ---------------------------------------------------------------- crossover


def cross(fitter, other, state):
    """The child of two plain networks by the kernel."""
    pair = packed([fitter, other])
    result = pair.take([0])
    kernels.breed.cross_one(pair.columns, fitter.n_inputs, state, result.columns)
    child = result[0]
    assert_sound(child)
    return bridge.plain(child)


def from_other(fitter, other, child):
    """The matching genes that the child can only have from the other."""
    genes = {pair for pair in child.connections if child.connections[pair][0] != fitter.connections[pair][0]}
    return genes | {
        node for node in child.order
        if (child.bias[node], child.activation[node]) != (fitter.bias[node], fitter.activation[node])
    }  # fmt: skip


@given(families(2, 2), st.integers(0, 2**31 - 1))
def test_crossover_follows_the_rule(plains, seed):
    fitter, other = plains
    child = cross(fitter, other, stream(seed))
    assert child == e.crossed(fitter, other, from_other(fitter, other, child).__contains__)
    assert child.order == fitter.order and child.stored == fitter.stored
    assert cross(fitter, fitter, stream(seed)) == fitter


@pytest.mark.compiled_only
@given(families(2, 2))
def test_both_parents_are_seen_in_every_matching_gene(plains):
    fitter, other = plains
    matching = {pair for pair in fitter.connections if pair in other.connections
                and other.connections[pair][0] != fitter.connections[pair][0]}  # fmt: skip
    matching |= {node for node in fitter.order[fitter.n_inputs :] if node in other.bias
                 and other.bias[node] != fitter.bias[node]}  # fmt: skip
    children, _ = breed(packed(plains), 80, merit=[1, 0], families=[[0], [1]], crossover=1.0, between=1.0)
    taken = [from_other(fitter, other, bridge.plain(child)) for child in children]
    mixed = [genes for genes in taken if genes]  # in half of the cases the fitter met itself
    assert set().union(*taken) == matching
    assert len(matching) < 2 or not set.intersection(*mixed)


@pytest.mark.compiled_only
def test_matching_genes_come_from_either_parent_independently():
    parents = marked(star(70), 2)  # more genes than a word has bits
    merit, count = [1.0, 0.0], 4000
    children, _ = breed(parents, count, merit=merit, crossover=1.0)
    weights = np.array([net.connections.weight for net in children])
    mixed = weights[(weights != weights[:, :1]).any(axis=1)] - 1
    assert stats.binomtest(len(mixed), count, 0.5).pvalue > 1e-3  # else both parents were the same
    assert abs(mixed.mean() - 0.5) < 4 * 0.5 / np.sqrt(mixed.size)
    assert (np.abs(mixed.mean(axis=0) - 0.5) < 4.5 * 0.5 / np.sqrt(len(mixed))).all()
    together = np.corrcoef(mixed.T)[np.triu_indices(70, 1)]
    assert np.abs(together).max() < 5 / np.sqrt(len(mixed))


def test_a_node_is_one_gene():
    """Bias and activation come from the same parent."""
    first = star(1)
    second = replace(first, bias={0: 0.0, 1: 5.0}, activation={0: "identity", 1: "sin"})
    state, seen = stream(1), set()
    for _ in range(40):
        child = cross(first, second, state)
        seen.add((child.bias[1], child.activation[1]))
    assert seen == {(0.0, "identity"), (5.0, "sin")}


# ---------------------------------------------------------------- who the parents are


@given(families(2, 5), SEEDS, st.data())
def test_children_come_from_two_of_their_family_and_have_the_wiring_of_the_fitter(plains, seed, data):
    merit = [data.draw(st.sampled_from([-1.0, 0.0, 2.0])) for _ in plains]
    parents = packed(plains, list(range(5, 5 + len(plains))))
    cut = data.draw(st.integers(1, len(plains) - 1))
    groups = [list(range(cut)), list(range(cut, len(plains)))]
    family = [data.draw(st.integers(0, 1)) for _ in range(8)]
    children, splits = breed(parents, 8, seed=seed, merit=merit, families=groups, family=family, crossover=1.0)
    assert splits == [[]] * 8

    def rank(i):
        return -merit[i], len(plains[i].connections), i

    for number, net in zip(family, children, strict=True):
        child, fitters = bridge.plain(net), set()
        for pair in product(groups[number], repeat=2):
            a, b = sorted(pair, key=rank)
            if child.order == plains[a].order and child.connections.keys() == plains[a].connections.keys():
                taken = from_other(plains[a], plains[b], child)
                if child == e.crossed(plains[a], plains[b], taken.__contains__):
                    fitters.add(a)
        assert net.evolution_baseline - 5 in fitters


@given(families(1, 5), SEEDS)
def test_children_without_crossover_are_copies(plains, seed):
    parents = packed(plains)
    children, _ = breed(parents, 10, seed=seed)
    copies = [one(parents, i) for i in range(len(plains))]
    assert all(one(children, i) in copies for i in range(10))
    lonely, _ = breed(parents, 4, seed=seed, families=[[len(plains) - 1]], crossover=1.0, between=0.5)
    assert all(one(lonely, i) == copies[-1] for i in range(4))


@pytest.mark.compiled_only
@pytest.mark.parametrize("tournament", [1, 2, 5])
def test_tournaments_take_the_best_of_so_many(tournament):
    n, count = 6, 12_000
    merit = [3.0, -np.inf, 7.0, 0.5, 2.0, 9.0]
    children, _ = breed(marked(star(1), n), count, merit=merit, tournament=tournament)
    ranks = np.argsort(np.argsort(merit))
    counts = np.bincount([ranks[min(origin)] for origin in origins(children)], minlength=n)
    expected = [count * ((r + 1) ** tournament - r**tournament) / n**tournament for r in range(n)]
    assert stats.chisquare(counts, expected).pvalue > 1e-3


@pytest.mark.compiled_only
@pytest.mark.parametrize("between", [0.0, 1.0, 0.25])
def test_mating_between_families(between):
    count, groups = 12_000, [[0, 1], [2, 3, 4]]
    children, _ = breed(marked(star(40), 5), count, families=groups, family=[1] * count, crossover=1.0, between=between)
    counted = Counter(origins(children))
    expected = Counter()
    for a in groups[1]:
        for b in range(5):
            expected[frozenset((a, b))] += count / 3 * (between / 5 + (1 - between) * (b in groups[1]) / 3)
    kinds = [kind for kind, number in expected.items() if number > 0]
    assert counted.keys() <= set(kinds)
    assert stats.chisquare([counted[kind] for kind in kinds], [expected[kind] for kind in kinds]).pvalue > 1e-3


@pytest.mark.compiled_only
def test_the_rate_of_crossover():
    children, _ = breed(marked(star(40), 2), 10_000, crossover=0.3)
    mixed = sum(len(origin) == 2 for origin in origins(children))
    assert stats.binomtest(mixed, 10_000, 0.15).pvalue > 1e-3  # in half of the cases both are the same parent


def test_a_pool_may_list_a_parent_more_than_once_and_leave_one_out():
    children, _ = breed(marked(star(3), 4), 300, families=[[2, 2, 0]], crossover=0.5)
    counted = Counter(parent for origin in origins(children) for parent in origin)
    assert set(counted) == {0, 2} and counted[2] > counted[0]


# ---------------------------------------------------------------- elites, streams, chunks


@pytest.mark.compiled_only
@given(families(2, 5), SEEDS, st.data())
def test_elites_are_exact_copies(plains, seed, data):
    baselines = [data.draw(st.one_of(st.none(), st.integers(1, 99))) for _ in plains]
    parents = packed(plains, baselines)
    elite = [data.draw(st.integers(-1, len(plains) - 1)) for _ in range(8)]
    children, splits = breed(parents, 8, GROWING, seed, elite=elite, crossover=0.5)
    for i, copied in enumerate(elite):
        if copied >= 0:
            assert one(children, i) == one(parents, copied) and splits[i] == []


@pytest.mark.compiled_only
@given(families(2, 4), SEEDS, st.integers(0, 2**31), st.data())
def test_chunks_and_spare_room_change_no_bit(plains, seed, generation, data):
    parents, count = packed(plains, [None] + [50] * (len(plains) - 1)), 9
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, count), max_size=4))), count]
    chunks = list(zip(cuts, cuts[1:], strict=False))
    plan = {"seed": seed, "generation": generation, "merit": list(range(len(plains))), "crossover": 0.6,
            "tournament": 2, "elite": [0, *[-1] * (count - 1)]}  # fmt: skip
    wanted = breed(parents, count, GROWING, **plan)
    for others in ({"chunks": chunks}, {"chunks": chunks[::-1]}, {"spare": (3, 7)}):
        found = breed(parents, count, GROWING, **plan, **others)
        assert contents(found[0]) == contents(wanted[0]) and found[1] == wanted[1]
    shape = parents.n_inputs, parents.n_outputs
    assert all(kernels.structure.sound(net.graph.incoming, net.graph.source, net.graph.delays, *shape)
               for net in wanted[0])


@given(families(1, 3), SEEDS, st.integers(0, 2**31))
def test_streams_are_those_of_seed_generation_and_child(plains, seed, generation):
    plains = [plain if plain.connections else replace(plain, connections={}) for plain in plains]
    parents, rows = packed(plains), [("PERTURB_BIASES", 1.0, 1.0, 1.0, 1.0)]
    children, _ = breed(parents, 5, rows, seed, generation)
    again, _ = breed(parents, 7, rows, seed, generation)
    assert [one(again, i) for i in range(5)] == [one(children, i) for i in range(5)]
    others = [one(children, i) for i in range(5)]
    for kind in (
        {"seed": (seed + 1) % 2**63, "generation": generation}, {"seed": seed, "generation": generation + 1},
    ):
        others += [one(breed(parents, 2, rows, **kind)[0], i) for i in range(2)]
    assert len({tuple(other) for other in others}) == len(others)


def test_parents_are_only_read():
    parents = packed([star(4), o.split(star(4), 0, 4)])
    before = contents(parents)
    breed(parents, 50, GROWING, crossover=0.8)
    assert contents(parents) == before


# ---------------------------------------------------------------- pruning a generation


def prune(genomes, target, regrow_fraction=0.0, method=0, scores=None, seed=0, chunks=None):
    """(removed, regrown) of each genome, which are pruned in place."""
    removed, regrown = np.full(len(genomes), -9), np.full(len(genomes), -9)
    for first, last in chunks or [(0, len(genomes))]:
        kernels.breed.prune_genomes(
            genomes.columns, genomes.n_inputs, genomes.n_outputs, target, regrow_fraction, method,
            np.zeros(0) if scores is None else scores, seed, 3, 1000, first, last, removed, regrown,
        )  # fmt: skip
    return removed.tolist(), regrown.tolist()


def drawn_baselines(data, plains):
    """None or a number about each count."""
    return [data.draw(st.one_of(st.none(), st.integers(1, 2 * len(plain.connections) + 2))) for plain in plains]


@pytest.mark.parametrize("method", ["magnitude", "magnitude_l2"])
@given(plains=families(), target=s.sparsities(), data=st.data())
def test_pruning_a_generation_is_pruning_its_networks(method, plains, target, data):
    baselines = drawn_baselines(data, plains)
    genomes, nets = packed(plains, baselines), list(packed(plains, baselines))
    code = {"magnitude": kernels.mutate.MAGNITUDE, "magnitude_l2": kernels.mutate.MAGNITUDE_L2}[method]
    removed, regrown = prune(genomes, target, 0.0, code)
    pruning = GenerationPruning(target, method=method)
    for i, net in enumerate(nets):
        before = len(net.connections)
        pruning.prune(net, 0)
        bridge.assert_same(genomes[i], bridge.plain(net))
        assert genomes[i].evolution_baseline == net.evolution_baseline
        assert removed[i] == before - len(net.connections) and regrown[i] == 0


@given(families(), s.sparsities(), s.sparsities(), st.integers(0, 2), SEEDS, st.data())
def test_counts_with_regrowth_are_exact(plains, target, fraction, method, seed, data):
    baselines = drawn_baselines(data, plains)
    genomes = packed(plains, baselines)
    removed, regrown = prune(genomes, target, fraction, method, seed=seed)
    nets = list(packed(plains, baselines))
    for i, (plain, baseline) in enumerate(zip(plains, baselines, strict=True)):
        count = len(plain.connections)
        gone, grown, after = e.prune_counts(count, baseline, target, fraction) if count else (0, 0, baseline)
        assert (removed[i], regrown[i]) == (gone, grown)
        net = genomes[i]
        assert_sound(net)
        assert len(net.connections) == count - gone + grown and net.evolution_baseline == after
        result = GenerationPruning(target, method=("magnitude", "magnitude_l2", "random")[method],
                                   regrow_fraction=fraction).prune(nets[i], 0)
        assert (int((~result.kept).sum()), len(result.regrown)) == (gone, grown)
        child = bridge.plain(net)
        if method < 2 and not grown:
            stays = o.prune_lowest([abs(plain.connections[p][0]) ** (method + 1) for p in plain.stored], gone)
            assert child == o.keep(plain, stays)
        kept = [pair for pair in child.connections if child.connections[pair] == plain.connections.get(pair)]
        assert len(kept) >= count - gone and replace(child, connections={}) == replace(plain, connections={})
        assert all(-0.1 <= child.connections[p][0] < 0.1 for p in child.connections.keys() - set(kept))


@given(families(), s.sparsities(), s.SEEDS)
def test_scores_of_ones_own(plains, target, seed):
    genomes = packed(plains)
    scores = np.random.default_rng(seed).integers(0, 4, genomes.columns.source.size).astype(float)
    lists = [scores[start : start + count].tolist() for start, count in
             zip(genomes.columns.edge_start, genomes.n_connections, strict=True)]  # fmt: skip
    removed, _ = prune(genomes, target, 0.0, kernels.mutate.GIVEN, np.append(scores, 0.0))
    for i, plain in enumerate(plains):
        assert bridge.plain(genomes[i]) == o.keep(plain, o.prune_lowest(lists[i], removed[i]))


@pytest.mark.compiled_only
@given(families(2, 5), s.sparsities(), SEEDS, st.data())
def test_pruning_in_chunks_changes_no_bit(plains, target, seed, data):
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(plains)), max_size=3))), len(plains)]
    whole, parts = packed(plains), packed(plains)
    counts = prune(whole, target, 0.5, kernels.mutate.RANDOM, seed=seed)
    chunks = list(zip(cuts, cuts[1:], strict=False))[::-1]
    assert prune(parts, target, 0.5, kernels.mutate.RANDOM, seed=seed, chunks=chunks) == counts
    assert contents(parts) == contents(whole)


@pytest.mark.compiled_only
def test_random_pruning_of_a_generation_is_uniform():
    genomes = packed([star(5)] * 3000)
    prune(genomes, 0.4, 0.0, kernels.mutate.RANDOM)
    kept = Counter(tuple(net.connections.source.tolist()) for net in genomes)
    assert len(kept) == 10 and stats.chisquare(list(kept.values())).pvalue > 1e-3


# ---------------------------------------------------------------- compiled and plain

SCRIPT = """
import json, sys
import numpy as np
sys.path.insert(0, "tests")
import bridge, bridge_evolution as be, oracles as o
import test_breed as t
from neuroprune import Network, kernels

parents = []
for recurrent in (False, True):
    nets = [Network.random(3, 2, 4 + k, 9 + 3 * k, recurrent=recurrent, seed=k) for k in range(5)]
    large = Network.random(6, 2, 20, 290 if not recurrent else 400, recurrent=recurrent, seed=9)
    parents.append((be.packed([bridge.plain(net) for net in nets], [None, 20, 5, None, 40]), large))
report = []

def tell(genomes):
    for net in genomes:
        report.append([net.nodes.id.tolist(), net.graph.source.tolist(), net.graph.incoming.tolist(),
                       net.connections.delayed.tolist(), net._code.tolist(), net.evolution_baseline])
        numbers.extend(net._parameters.tolist())

numbers = []
for genomes, large in parents:
    for seed in (0, 2**40 + 3):
        children, splits = t.breed(genomes, 12, t.GROWING, seed, 3, merit=[1, 5, 2, 5, 0], crossover=0.7, between=0.5,
                                   families=[[0, 1, 2], [3, 4]], family=[0, 1] * 6, elite=[4, *[-1] * 11], tournament=2)
        report.append(splits)
        names = children.columns.ids
        names[names < 0] = 1000 - names[names < 0]
        report.append(t.prune(children, 0.3, 0.5, 2, seed=seed))
        tell(children)
    out = np.empty(25)
    pairs = np.divmod(np.arange(25), 5)
    kernels.genomes.distances(genomes.columns, pairs[0], genomes.columns, pairs[1], 1.0, 0.4, out)
    numbers.extend(out.tolist())
    near = np.full(5, -1)
    kernels.genomes.first_within(genomes.columns, 0, 5, genomes.columns, 1, 1.0, 0.4, 0.9, near)
    report.append(near.tolist())
    tell(genomes)
    for row in (("PRUNE", 0.05, 0), ("REMOVE_NODE",), ("ADD_CONNECTION", 1.0), ("REGROW", 30), ("ADD_NODE",),
                ("PRUNE_TO_SPARSITY", 0.1, 1)):  # on more connections than a byte counts
        done = be.mutate(bridge.plain(large), [row], seed=5, baseline=350)
        report.append([done.plain.order, sorted(done.plain.connections), done.splits, done.baseline, done.rewired])
        numbers.extend(weight for _, (weight, _) in sorted(done.plain.connections.items()))
state, drawn = be.stream(3, 1, 4), np.empty(8)
kernels.random.normals(state, 7, drawn)
numbers.extend(drawn[:7].tolist())
report.append(kernels.random.sample(40, 30, state).tolist())
report.append([int(kernels.random.below(state, 2**40)) for _ in range(5)])
print(json.dumps([report, numbers]))
"""


@pytest.mark.compiled_only
def test_plain_python_draws_the_same():
    """Integers are equal, floats to 1e-12; a warning is an error on either side."""
    results = []
    for switch in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT], cwd=Path(__file__).parent.parent, capture_output=True,
            text=True, env=os.environ | {"NUMBA_DISABLE_JIT": switch}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    assert results[0][0] == results[1][0]
    assert np.allclose(results[0][1], results[1][1], rtol=1e-12, atol=1e-12)
