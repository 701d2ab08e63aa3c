"""Where neuroprune differs from NeatapticTS on purpose: one test for each row of that table, named after it."""

from collections import Counter

import numpy as np
import pytest

import neuroprune as npr
from neuroprune import Network, PruningSchedule


def star(weights, **rest):
    """One connection from each of several inputs to the only output."""
    n = len(weights)
    return Network.from_connections(n, 1, ([*range(n)], [n] * n, list(weights)), activation="identity", seed=0, **rest)


def pairs(net):
    return list(zip(net.connections.source.tolist(), net.connections.target.tolist(), strict=True))


def test_removes_round_of_target_times_baseline():
    net = Network.dense([10, 10], seed=0)
    net.prune_to_sparsity(0.9)
    assert len(net.connections) == 10  # floor in binary64 leaves 9
    scheduled = Network.dense([10, 10], seed=0)
    scheduled.pruning = PruningSchedule(0.9, start=0, end=1)
    scheduled.maybe_prune(1)
    assert len(scheduled.connections) == 10
    nothing = Network.dense([8, 5], seed=0)
    nothing.prune_to_sparsity(1e-9)  # which removes one there
    assert len(nothing.connections) == 40


def test_meets_the_target_when_the_frequency_does_not_divide_the_window():
    net = Network.dense([10, 10], seed=0)
    net.pruning = PruningSchedule(0.8, start=1, end=9, frequency=3)
    counts = {it: len(net.connections) for it in range(1, 12) if net.maybe_prune(it)}
    assert list(counts) == [1, 4, 7, 9] and counts[9] == 20


def test_start_equal_to_end_is_one_shot():
    net = Network.dense([10, 10], seed=0)
    net.pruning = PruningSchedule(0.8, start=5, end=5)
    assert [it for it in range(10) if net.maybe_prune(it)] == [5]
    assert len(net.connections) == 20


def test_snip_falls_back_for_the_whole_column():
    weights, gradient = [0.5, 4.0, 3.0, 2.0], [0.0, 0.0, 0.1, 0.1]
    net = star(weights)
    net.connections.accumulated_gradient = gradient
    net.prune_to_sparsity(0.5, method="snip")
    assert net.connections.weight.tolist() == [3.0, 2.0]  # zeros score 0; there they would score 0.5 and 4
    bare = star(weights)
    bare.prune_to_sparsity(0.5, method="snip")
    assert bare.connections.weight.tolist() == [4.0, 3.0]


@pytest.mark.parametrize("recurrent", [False, True])
def test_regrowth_adds_connections_and_lands_on_the_target_legally(recurrent):
    net = Network.random(5, 4, 6, 60, recurrent=recurrent, seed=1)
    net.pruning = PruningSchedule(0.5, start=1, end=1, regrow_fraction=0.5)
    result = net.maybe_prune(1)
    assert len(result.regrown) == 15 and len(net.connections) == 30
    ends, inputs, outputs = result.regrown, set(range(5)), set(range(5, 9))
    assert not inputs & set(ends.target.tolist())
    assert recurrent or not outputs & set(ends.source.tolist())
    assert len(set(pairs(net))) == 30


def test_regrowth_is_exactly_uniform():
    seen = Counter()
    for seed in range(600):
        net = Network.from_connections(2, 2, [(0, 2, 1.0)], seed=seed)
        net.regrow(1)
        seen.update(set(pairs(net)) - {(0, 2)})
    assert set(seen) == {(1, 2), (0, 3), (1, 3)}
    assert all(abs(count - 200) < 50 for count in seen.values())  # 4 standard deviations; test_regrow is stricter


def test_a_child_inherits_the_baseline_and_sparsity_does_not_compound():
    parent = Network.dense([10, 10], seed=0)
    counts = []
    for _ in range(4):
        parent.prune_to_sparsity(0.5)
        counts.append(len(parent.connections))
        parent = parent.copy()
    assert counts == [50, 50, 50, 50] and parent.evolution_baseline == 100


def test_ties_go_by_storage_order_not_by_age():
    net = Network.from_connections(3, 1, [(2, 3, 1.0), (1, 3, -1.0)], seed=0)
    net.connect(0, 3, 1.0)  # the youngest, and the first in storage
    net.prune_to_sparsity(1 / 3)
    assert pairs(net) == [(1, 3), (2, 3)]


def test_self_connections_count_and_rank_like_all_others():
    net = Network.from_connections(1, 1, [(0, 1, 1.0), (1, 1, 0.5)], delayed=[False, True], seed=0)
    assert len(net.connections) == 2
    net.prune_to_sparsity(0.5)
    assert pairs(net) == [(0, 1)] and net.evolution_baseline == 2


def test_a_split_replaces_the_connection():
    net = Network.from_connections(1, 1, [(0, 1, 0.25)], seed=0)
    new = net.add_node(0, 1)
    assert pairs(net) == [(0, new), (new, 1)] and net.connections.weight.tolist() == [1.0, 0.25]
    assert not hasattr(net.connections[0], "enabled")


def test_start_generation_is_0_when_it_is_not_given():
    pruning = npr.GenerationPruning(0.5)
    assert pruning.start_generation == 0
    net = star([1.0, 2.0])
    assert len(pruning.prune(net, generation=0).removed) == 1


def test_a_second_connection_between_the_same_two_nodes_is_an_error():
    net = star([1.0, 2.0])
    with pytest.raises(ValueError, match="at most one connection, got a second one 0 -> 2"):
        net.connect(0, 2, 3.0)
    with pytest.raises(ValueError, match="at most one connection, got a second one 0 -> 1"):
        Network.from_connections(1, 1, [(0, 1, 1.0), (0, 1, 2.0)])
    assert pairs(net) == [(0, 2), (1, 2)] and net.connections.weight.tolist() == [1.0, 2.0]
    net.disconnect(0, 2)
    assert (0, 2) not in net.connections and pairs(net) == [(1, 2)]


def test_a_hidden_node_listed_after_the_outputs_is_not_cut_off():
    net = Network.from_connections(1, 1, [(7, 1, 2.0), (0, 7, 3.0)], activation="identity", seed=0)
    assert net.nodes.id.tolist() == [0, 7, 1]  # the order is made from the wiring, not from a list
    assert net([1.0]).tolist() == [6.0]
    new = net.add_node(7, 1)
    assert net.nodes.id.tolist() == [0, 7, new, 1]
    assert np.all(net.graph.source < net.graph.target)


def test_pruning_leaves_dead_ends_and_trim_removes_them():
    weights = [(0, 2, 0.1), (0, 3, 1.0), (2, 1, 1.0), (3, 1, 1.0)]
    net = Network.from_connections(1, 1, weights, bias={2: 0.7}, activation={2: "tanh", 3: "tanh", 1: "identity"})
    net.prune_to_sparsity(0.25)
    assert pairs(net) == [(0, 3), (2, 1), (3, 1)] and net.graph.n_hidden == 2  # the count is exact, 2 is fed by nothing
    before = net([0.3])
    assert net.trim() == 1
    assert pairs(net) == [(0, 3), (3, 1)] and net.node(1).bias == pytest.approx(np.tanh(0.7), rel=1e-15)
    np.testing.assert_allclose(net([0.3]), before, rtol=1e-15)


def test_everything_random_comes_from_one_seeded_generator():
    def life(seed):
        net = Network.random(4, 2, 5, 20, seed=seed)
        net.prune_to_sparsity(0.5, method="random")
        net.regrow(5)
        net.connect(*next(pair for pair in ((0, 4), (1, 4), (0, 5), (1, 5)) if pair not in net.connections))
        net.train(np.ones((4, 4)), np.ones((4, 2)), iterations=3, batch_size=2)
        return net

    np.random.seed(1)
    first, state = life(7), np.random.get_state()[1].copy()
    np.random.seed(2)
    second = life(7)
    np.random.seed(1)
    assert np.array_equal(state, np.random.get_state()[1])  # the global generator was not touched
    assert first.equals(second) and first.rng_state == second.rng_state
    assert not first.equals(life(8))
