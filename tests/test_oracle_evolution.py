"""The oracles of evolution themselves: against cases made by hand, published numbers and other definitions."""

import math

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle_evolution as e
import oracles as o
import strategies as s
from oracle_pruning import prune_to_sparsity


def chain(recurrent=False):
    """0 -> 3 -> 2 with the lonely input 1 and the lonely hidden 4; order 0 1 3 4 2."""
    order = [0, 1, 3, 4, 2]
    return o.Plain(2, 1, order, dict.fromkeys(order, 0.0), dict.fromkeys(order, "tanh"),
                   {(0, 3): (1.0, False), (3, 2): (-2.0, False)}, recurrent)  # fmt: skip


def test_words_of_xoshiro_by_hand():
    # From the state 1 2 3 4: 2 * 5 = 10, turned left by 7 is 1280, times 9 is 11520; then 0, as state[1] became 0.
    stream = e.word_stream([1, 2, 3, 4])
    assert [next(stream) for _ in range(2)] == [11520, 0]
    assert e.next_word([1, 2, 3, 4])[1] == [7, 0, 1026, 6 << 11]
    assert e.rotated(0x80000001, 1) == 3


def test_uniforms_and_normals_by_hand():
    assert e.unit(0, 0) == 0 and e.unit(e.MASK, e.MASK) == 1 - 2**-53 and e.unit(2**31, 0) == 0.5
    assert e.box_muller(0.0, 0.3) == (0, 0)
    first, second = e.box_muller(1 - math.exp(-0.5), 0.25)
    assert abs(first) < 1e-15 and math.isclose(second, 1)


def test_seed_words_are_those_of_numpy():
    assert e.seed_words(1, 2, 3) == np.random.SeedSequence((1, 2, 3)).generate_state(4).tolist()
    assert len({tuple(e.seed_words(*key)) for key in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2**40, 0, 0)]}) == 5


def test_legal_pairs_by_hand():
    # 4 -> 3 runs against the order; 3 -> 0, 2 -> 3 and what leads to itself are never legal.
    assert {pair[:2] for pair in e.legal_pairs(chain())} == {
        (0, 4), (1, 3), (1, 4), (3, 4), (4, 3), (0, 2), (1, 2), (4, 2)}  # fmt: skip
    recurrent = e.legal_pairs(chain(recurrent=True))
    assert len(recurrent) == 5 * 3 - 2
    assert {(source, target) for source, target, late in recurrent if late} == {
        (3, 3), (4, 3), (2, 3), (4, 4), (2, 4), (2, 2)}  # fmt: skip


@given(s.networks(recurrent=False, max_hidden=6))
def test_legal_pairs_are_those_that_connect_accepts(plain):
    legal = e.legal_pairs(plain)
    for source in plain.order:
        for target in plain.order:
            try:
                o.connect(plain, source, target, 1.0)
            except ValueError:
                assert (source, target, False) not in legal
            else:
                assert (source, target, False) in legal
    graph = nx.DiGraph(list(plain.connections))
    graph.add_nodes_from(plain.order)
    assert all(not nx.has_path(graph, target, source) for source, target, _ in legal)


def test_pruning_counts_by_hand():
    assert [e.prune_count(0.5, count) for count in (0, 1, 2, 3, 5)] == [0, 0, 1, 2, 2]
    assert e.prune_count(1.0, 7) == 6 and e.prune_count(0.0, 7) == 0
    assert e.prune_counts(100, None, 0.9) == (90, 0, 100) and e.prune_counts(100, 200, 0.9) == (80, 0, 200)
    assert e.prune_counts(10, 100, 0.5, 0.5) == (0, 0, 100) and e.prune_counts(9, None, -0.1, 1.0) == (0, 0, None)
    assert e.prune_counts(100, None, 0.5, 0.2) == (60, 10, 100)
    assert e.prune_counts(100, None, 5.0, 1.0) == (99, 0, 100)  # one is left, and stays
    assert e.prune_counts(4, None, 0.5, 1.0, lambda removed: 0) == (2, 0, 4)
    pruned = e.prune_share(chain(), [0.5, 0.5], 0.5)
    assert list(pruned.connections) == [(3, 2)]  # among equals the earlier goes


@given(st.integers(1, 300), st.one_of(st.none(), st.integers(1, 300)), s.sparsities())
def test_pruning_counts_are_those_of_one_network(count, baseline, target):
    removed, regrown, after = e.prune_counts(count, baseline, target)
    assert (removed, after) == prune_to_sparsity(count, baseline, target) and regrown == 0


def test_distance_by_hand():
    assert e.distance({}, {}, 1, 1) == 0 and e.distance({(0, 1): 3.0}, {}, 1.5, 1) == 1.5
    first, second = {(0, 2): 1.0, (1, 2): -1.0, (1, 3): 9.0}, {(0, 2): 3.0, (1, 2): -1.0, (2, 2): 1.0, (2, 3): 1.0}
    assert e.distance(first, second, 2.0, 0.5) == 2.0 * 3 / 4 + 0.5 * 1.0


def test_crossing_by_hand():
    fitter, other = chain(), o.keep(chain(), [True, False])
    other.connections[0, 3] = 7.0, False
    other.bias[3] = 0.5
    del other.bias[4], other.activation[4]
    child = e.crossed(fitter, other, lambda gene: True)
    assert child.connections == {(0, 3): (7.0, False), (3, 2): (-2.0, False)}
    assert child.bias[3] == 0.5 and child.order == fitter.order and child.bias[4] == 0.0
    assert e.crossed(fitter, other, lambda gene: False) == fitter


def test_species_by_hand():
    def apart(a, b):
        return abs(a - b)

    assert e.assign([1, 5, 6, 2, 9], [2, 0], apart, 2) == [0, 2, 2, 0, 3]  # 0 and 2 are both near 1: the first
    assert e.assign([1, 3], [], apart, 2) == [0, 1]  # exactly the threshold is too far


def test_quotas_by_hand():
    assert e.quotas([1, 1, 1], 10) == [4, 3, 3] and e.quotas([0, 0], 5) == [3, 2] and e.quotas([0, 2], 5) == [0, 5]
    assert e.quotas([6, 3, 1], 15) == [9, 5, 1]  # 9, 4.5, 1.5: the earlier of two equal remainders


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=20), st.integers(0, 500))
def test_quotas_add_up_and_are_near_their_shares(shares, total):
    counts = e.quotas(shares, total)
    assert sum(counts) == total and min(counts) >= 0
    if sum(shares) > 1e-300:
        assert all(abs(n - total * share / sum(shares)) < 1 + 1e-9 for n, share in zip(counts, shares, strict=True))


def test_fronts_and_crowding_by_hand():
    assert e.fronts([(1, 1), (2, 2), (2, 1), (0, 3), (2, 2)]) == [2, 0, 1, 0, 0]
    inf = math.inf
    assert e.crowding([(0, 4), (1, 2), (3, 1), (4, 0)]) == pytest.approx([inf, 3 / 4 + 3 / 4, 3 / 4 + 2 / 4, inf])
    assert e.crowding([(1, 1)] * 3) == [inf, 0, inf] and e.crowding([(1, 2)]) == [inf]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 3)), max_size=25))
def test_fronts_are_the_longest_chains_of_domination(points):
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(points)))
    graph.add_edges_from((i, j) for i, p in enumerate(points) for j, q in enumerate(points) if e.dominates(p, q))
    longest = [0] * len(points)
    for j in nx.topological_sort(graph):
        longest[j] = max((longest[i] + 1 for i in graph.predecessors(j)), default=0)
    assert e.fronts(points) == longest
