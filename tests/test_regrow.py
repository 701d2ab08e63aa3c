"""Regrowth: exactly uniform over the candidates, exact in number, in bounded memory; by gradient as the oracle says."""

import math
import tracemalloc
from itertools import combinations
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import oracles as o
import strategies as s
from bridge import assert_one_sentence, assert_sound, network, plain
from living import anything, candidates, everything, living, pairs, star
from neuroprune import Network, PruningSchedule
from neuroprune.network import gradient, regrow
from neuroprune.pruning import growth


def free(net, allowed):
    """The allowed pairs no connection occupies, in storage order."""
    taken = set(pairs(net.connections))
    return [slot[:2] for slot in o.legal_slots(plain(net)) if slot[:2] in allowed and slot[:2] not in taken]


# ---------------------------------------------------------------- exactly uniform


SMALL = {
    "acyclic": Network.from_connections(2, 1, [(0, 3, 1.0), (3, 4, 1.0)], bias={3: 0.0, 4: 0.0}),
    "acyclic_two_outputs": Network.from_connections(2, 2, [(0, 2, 1.0), (4, 2, 1.0), (4, 3, 1.0)]),
    "acyclic_empty": Network.random(2, 1, 1, 0),
    "recurrent": Network.from_connections(2, 1, [(0, 3, 1.0), (3, 2, 1.0), (2, 2, 1.0)], delayed=[False, False, True]),
    "recurrent_empty": Network.random(2, 1, 1, 0, recurrent=True),
}
LAYERS = Network.dense([2, 2, 2])
LAYERS.disconnect([0, 1, 0, 4], [4, 4, 5, 3])
MASK = np.zeros((5, 5), bool)
MASK[2:, :2] = True  # from both inputs into the hidden node and the outputs
PLACES = {  # network, candidates, which of them are free
    **{name: (net, "order", [slot[:2] for slot in o.free_slots(plain(net))]) for name, net in SMALL.items()},
    "layers": (LAYERS, "layers", [(0, 4), (1, 4), (0, 5), (4, 3)]),
    "mask": (SMALL["acyclic_two_outputs"], MASK, [(0, 4), (1, 4), (1, 2), (0, 3), (1, 3)]),
    "pairs": (SMALL["acyclic_two_outputs"], [(1, 3), (1, 4), (0, 2), (0, 3), (1, 4), (0, 4)],
              [(0, 4), (1, 4), (0, 3), (1, 3)]),
}  # fmt: skip


def p_value(places, count, grown, trials_per_set=300):
    """Chi-square of how often each set of `count` places grows, in storage order."""
    seen = dict.fromkeys(combinations(places, count), 0)
    for _ in range(trials_per_set * len(seen)):
        seen[grown()] += 1  # a KeyError is a place that is no free candidate
    return stats.chisquare(list(seen.values())).pvalue


def regrown(net, count, candidates, rng):
    """What grows on a copy, in storage order."""
    before, twin = set(pairs(net.connections)), net.copy()
    twin.rng = rng
    assert twin.regrow(count, candidates=candidates) == count
    return tuple(pair for pair in pairs(twin.connections) if pair not in before)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("name", PLACES)
def test_every_set_of_free_places_is_equally_likely(name, count):
    net, candidates, places = PLACES[name]
    rng = np.random.default_rng(count)
    assert 1e-4 < p_value(places, count, lambda: regrown(net, count, candidates, rng)) < 1 - 1e-6


@pytest.mark.parametrize("recurrent", [False, True])
def test_scheduled_regrowth_is_uniform_and_just_removed_pairs_are_free(recurrent):
    net = Network.from_connections(2, 1, [(0, 2, 1.0), (1, 2, 3.0), (0, 3, 2.0), (3, 2, 4.0)],
                                   delayed=[False] * 4 if recurrent else None)
    net.pruning = PruningSchedule(0.25, 1, 1, regrow_fraction=1.0)
    kept, rng = net.copy(), np.random.default_rng(5)
    kept.disconnect([0, 0], [2, 3])

    def grown():
        twin = net.copy()
        twin.rng = rng
        result = twin.maybe_prune(1)
        assert len(result.removed) == 2 and len(twin.connections) == 3
        return tuple(pairs(result.regrown))

    places = [slot[:2] for slot in o.free_slots(plain(kept))]
    assert {(0, 2), (0, 3)} < set(places)
    assert 1e-4 < p_value(places, 1, grown) < 1 - 1e-6


@pytest.mark.parametrize("bias", ["one place", "neighbours"])
def test_the_test_of_uniformity_sees_a_bias(bias, monkeypatch):
    def sample(places, count, rng):
        if bias == "one place":  # half as likely again
            weights = np.ones(places)
            weights[0] = 1.5
            return np.sort(rng.choice(places, count, replace=False, p=weights / weights.sum()))
        first = rng.integers(places) if rng.random() < 0.2 else None  # each place as often as any other
        return np.sort(rng.permutation(places)[:count] if first is None else (first + np.arange(count)) % places)

    monkeypatch.setattr(growth, "sample", sample)
    net, candidates, places = PLACES["acyclic_two_outputs"]
    rng = np.random.default_rng(0)
    assert p_value(places, 2, lambda: regrown(net, 2, candidates, rng)) < 1e-4


def test_weights_at_random_places_are_uniform():
    net = Network.random(30, 30, 10, 0, seed=3)
    net.regrow(1000)
    weights = net.connections.weight
    assert np.abs(weights).max() < 0.1
    assert 1e-4 < stats.kstest(weights, stats.uniform(-0.1, 0.2).cdf).pvalue < 1 - 1e-6


# ---------------------------------------------------------------- exact in number, legal, in order


@given(living(), st.data())
def test_grows_exactly_that_many_new_legal_connections(net, data):
    places, allowed = data.draw(candidates(net))
    room = free(net, allowed)
    count = data.draw(s.sizes(0, len(room)))
    method = data.draw(st.sampled_from(("random", "gradient", lambda net, source, target: source * 0.0)))
    baseline = net.evolution_baseline
    before, order = plain(net), net.nodes.id.tolist()
    grown = net.regrow(count, method=method, candidates=places, data=anything(net))
    assert grown == count and type(grown) is int
    after = plain(net)
    new = set(after.connections) - set(before.connections)
    assert len(new) == count and new <= set(room)
    assert {pair: after.connections[pair] for pair in before.connections} == before.connections
    assert net.nodes.id.tolist() == order and net.evolution_baseline == baseline
    for pair in new:
        weight, late = after.connections[pair]
        assert abs(weight) < 0.1 and (method == "random" or weight == 0) and late == o.is_delayed(before, *pair)
    assert_sound(net)


@given(living(), st.data())
def test_refuses_more_than_there_is_room_for(net, data):
    places, allowed = data.draw(candidates(net))
    room = len(free(net, allowed))
    before, rng = everything(net), net.rng_state
    with pytest.raises(ValueError, match=rf"count must be in \[0, {room}\]") as error:
        net.regrow(room + 1, candidates=places, method=data.draw(st.sampled_from(("random", "gradient"))),
                   data=anything(net))
    assert_one_sentence(error)
    assert everything(net)[1] == before[1] and net.rng_state == rng
    net.regrow(room, candidates=places)
    assert not free(net, allowed)
    with pytest.raises(ValueError, match=r"count must be in \[0, 0\]"):
        net.regrow(1, candidates=places)


def test_growing_nothing_changes_nothing():
    net = star([1.0, 2.0])
    net.connections.accumulated_gradient = [3.0, 4.0]
    net.disconnect(0, 2)
    handle, before = net.connections[0], everything(net)
    for method in ("random", "gradient", lambda net, source, target: source * 0.0):
        assert net.regrow(0, method=method, data=([[1.0, 1.0]], [[1.0]])) == 0
    assert handle.weight == 2.0 and everything(net) == before


@given(s.networks(), s.SEEDS)
def test_the_same_seed_grows_the_same(spelled, seed):
    first, second = network(spelled, seed=seed), network(spelled, seed=seed)
    room = len(o.free_slots(spelled))
    for count in (room // 2, room - room // 2):
        first.regrow(count)
        second.regrow(count)
    assert everything(first) == everything(second)


def test_what_was_recorded_of_the_gradient_ends():
    net = Network.dense([2, 3], seed=0)
    net.disconnect(0, 2)
    net.connections.accumulated_gradient = np.ones(5)
    net.regrow(1)
    assert net.connections.accumulated_gradient is None


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("method", ["random", "gradient", lambda net, source, target: target * 1.0])
def test_weights_are_overridden_in_storage_order(method):
    net = Network.from_connections(3, 2, [(1, 3, 9.0), (0, 4, 9.0)], seed=0)
    data = np.ones((1, 3)), np.ones((1, 2))
    one = net.copy()
    one.regrow(3, method=method, weight=0.5, data=data)
    assert sorted(one.connections.weight.tolist()) == [0.5, 0.5, 0.5, 9.0, 9.0]
    net.regrow(3, method=method, weight=[1.0, 2.0, 3.0], data=data)
    assert [weight for weight in net.connections.weight.tolist() if weight != 9.0] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("method", ["random", "gradient"])
@pytest.mark.parametrize("weight", [[1.0], [1.0, 2.0, 3.0], math.nan, [1.0, math.inf], [[1.0, 2.0]]])
def test_bad_weights_are_refused(method, weight):
    net = star([1.0, 2.0, 3.0])
    net.disconnect([0, 1], [3, 3])
    before = everything(net)
    with pytest.raises(ValueError, match="weight must") as error:
        net.regrow(2, method=method, weight=weight, data=(np.ones((1, 3)), np.ones((1, 1))))
    assert_one_sentence(error)
    assert everything(net) == before


# ---------------------------------------------------------------- by gradient, by a function


@given(s.networks(), st.sampled_from(list(o.LOSSES)), st.booleans(), st.data())
def test_gradient_takes_the_largest_absent_gradients(spelled, loss, small_blocks, data):
    net = network(spelled)
    batch = data.draw(s.batches(spelled, loss))
    slots = o.free_slots(spelled)
    scores = np.array(o.absent_gradient(spelled, *batch, loss, slots))
    if not np.isfinite(scores).all():
        return
    count = data.draw(s.sizes(0, len(slots)))
    sizes = (3, 7, 40) if small_blocks else (regrow.BLOCK, regrow.CELLS, gradient.DELTAS_BUFFER)
    with (
        mock.patch.object(regrow, "BLOCK", sizes[0]),
        mock.patch.object(regrow, "CELLS", sizes[1]),
        mock.patch.object(gradient, "DELTAS_BUFFER", sizes[2]),
    ):
        net.regrow(count, method="gradient", data=batch, loss=loss)
    taken = np.array([slot[:2] in net.connections for slot in slots], bool)
    assert taken.sum() == count
    if 0 < count < len(slots):
        assert scores[taken].min() >= scores[~taken].max() - 1e-9 * max(1.0, scores.max())
    assert all(net.connection(*slot[:2]).delayed == slot[2] for slot, new in zip(slots, taken, strict=True) if new)


def test_gradient_finds_the_connection_that_was_cut():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 5))
    net = Network.from_connections(5, 1, [(i, 5, 1.0) for i in range(5)], activation="identity", seed=0)
    y = net(x)
    net.disconnect([1, 3], [5, 5])
    net.connection(0, 5).weight = 1.0
    net.regrow(1, method="gradient", data=(x, x @ np.array([1.0, 0.1, 1.0, 0.9, 1.0])[:, None]))
    assert pairs(net.connections) == [(0, 5), (2, 5), (3, 5), (4, 5)] and net.connection(3, 5).weight == 0.0
    assert not np.allclose(net(x), y)


@given(living(), st.booleans(), st.data())
def test_a_function_rates_blocks_of_ids(net, small_blocks, data):
    places, allowed = data.draw(candidates(net))
    room, asked = free(net, allowed), []
    count, levels = data.draw(s.sizes(0, len(room))), data.draw(st.sampled_from((1, 3, 10**6)))
    rated = dict(zip(room, np.random.default_rng(len(room)).integers(0, levels, len(room)).tolist(), strict=True))

    def method(given, source_ids, target_ids):
        assert given is net and source_ids.dtype == target_ids.dtype == np.int64
        block = list(zip(source_ids.tolist(), target_ids.tolist(), strict=True))
        asked.append(block)
        return [float(rated[pair]) for pair in block]

    with mock.patch.object(regrow, "BLOCK", 3 if small_blocks else regrow.BLOCK):
        net.regrow(count, method=method, candidates=places)
    if count:
        assert [pair for block in asked for pair in block] == room  # each once, in storage order
        assert not small_blocks or max(map(len, asked)) <= 3
    best = o.top([rated[pair] for pair in room], count)  # of equals the later grows: the earlier goes first
    assert [pair in net.connections for pair in room] == best


@pytest.mark.parametrize("scores", [[1.0, math.nan], [1.0, math.inf], [1.0], [[1.0, 2.0]], "ab"])
def test_bad_scores_of_a_function_are_refused(scores):
    net = star([1.0, 2.0, 3.0])
    net.disconnect([0, 1], [3, 3])
    before = everything(net)
    with pytest.raises((TypeError, ValueError)) as error:
        net.regrow(1, method=lambda net, source, target: scores)
    assert_one_sentence(error)
    assert everything(net) == before


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        ({"count": -1}, ValueError, "count must be in"),
        ({"count": 1.0}, TypeError, "count must be an integer"),
        ({"count": True}, TypeError, "count must be an integer"),
        ({"count": "1"}, TypeError, "count must be an integer"),
        ({"method": "rigl"}, ValueError, "method must be one of 'random', 'gradient' or a function"),
        ({"method": 3}, ValueError, "method must be one of"),
        ({"method": "gradient"}, ValueError, r"pass data=\(x, y\)"),
        ({"method": "gradient", "data": ([[1.0]], [[1.0]])}, ValueError, "x must have shape"),
        ({"method": "gradient", "data": (np.ones((1, 3)), np.ones((1, 3)))}, ValueError, "y must have shape"),
        ({"method": "gradient", "data": (np.ones((1, 3)), np.ones((1, 2))), "loss": "l2"}, ValueError, "loss"),
        ({"method": "gradient", "data": 3}, TypeError, r"data must be a pair \(x, y\)"),
        ({"candidates": "all"}, ValueError, "candidates must be 'order', 'layers'"),
        ({"candidates": "layers"}, ValueError, "use candidates='order'"),
        ({"candidates": np.ones((4, 4), bool)}, ValueError, r"must have shape \(6, 6\)"),
        ({"candidates": [[0, 99]]}, ValueError, "got 99"),
        ({"candidates": [[3, 0]]}, ValueError, "got 3 -> 0"),
        ({"candidates": [[3, 4]]}, ValueError, "got 3 -> 4"),
        ({"candidates": [[5, 5]]}, ValueError, "got 5 -> 5"),
        ({"candidates": [[0.0, 3.0]]}, ValueError, "must be integers"),
        ({"candidates": [0, 3]}, ValueError, r"shape \(k, 2\)"),
        ({"candidates": None}, ValueError, "candidates"),
    ],
)
def test_wrong_arguments_are_refused(wrong, error, named):
    net = Network.from_connections(3, 2, [(0, 5, 1.0), (5, 3, 1.0)], seed=0)
    before = everything(net)
    with pytest.raises(error, match=named) as raised:
        net.regrow(**{"count": 1} | wrong)
    assert_one_sentence(raised)
    assert everything(net) == before


# ---------------------------------------------------------------- memory


def peak(action):
    """Most bytes held while acting, beyond what was held before."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("recurrent", [False, True])
def test_no_table_of_all_places(recurrent):
    n, count = 20_000, 10_000
    net = Network.random(100, 100, n - 200, 20_000, recurrent=recurrent, seed=0)
    net.regrow(1)  # compiles
    assert peak(lambda: net.regrow(count)) < 8e6  # a table of booleans would have 4e8
    assert len(net.connections) == 30_001


@pytest.mark.compiled_only
def test_the_gradient_of_absent_connections_comes_in_blocks(monkeypatch):
    n = 1500
    net = Network.random(20, 20, n - 40, 3000, seed=0)
    data = np.ones((2, 20)), np.ones((2, 20))
    net.regrow(1, method="gradient", data=data, candidates=[[0, 20]] if (0, 20) not in net.connections else [[1, 20]])
    monkeypatch.setattr(regrow, "BLOCK", 20_000)
    monkeypatch.setattr(regrow, "CELLS", 30_000)
    used = peak(lambda: net.regrow(500, method="gradient", data=data))
    assert used < 5e6  # all absent connections at once would have 9e6, and a table 1.8e7


def test_illegal_places_of_a_mask_are_passed_over():
    net = Network.random(3, 2, 4, 8, seed=0)
    everywhere = net.copy()
    net.regrow(5)
    everywhere.regrow(5, candidates=np.ones((9, 9), bool))
    assert net.equals(everywhere)
