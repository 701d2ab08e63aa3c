"""Rewiring by hand: after any sequence of edits the network is sound and says what the oracle says."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridge
import oracles as o
import strategies as s
from neuroprune import Network

CALM = ("identity", "tanh", "sigmoid", "relu", "sin", "gaussian", "abs", "hard_tanh", "softsign")


BY_HAND = ("connect", "disconnect", "split", "remove", "keep", "weights")
OTHERS = ("prune", "regrow", "train", "trim")


def scripts(operations, length):
    """(names of edits, the generator of all that is drawn for them)."""
    names = st.lists(st.sampled_from(operations), min_size=length, max_size=length)
    return st.tuples(names, s.SEEDS.map(np.random.default_rng))


def some_pair(plain, rng):
    """Two nodes: any, or free and legal in the present order, or two hidden ones that run against it."""
    free, hidden = o.free_slots(plain), plain.hidden
    kind = rng.integers(4)
    if kind == 0 or kind < 3 and not free or kind == 3 and len(hidden) < 2:
        return tuple(rng.choice(plain.order, 2).tolist())
    if kind < 3:
        return free[rng.integers(len(free))][:2]
    first, second = sorted(rng.choice(len(hidden), 2, replace=False))
    return hidden[second], hidden[first]


def by_hand(plain, operation, rng, net):
    """(Plain after one edit, None when it is refused; the call that does it to a Network), or None: nothing to do."""
    if operation == "connect":
        source, target = some_pair(plain, rng)
        weight = rng.normal()
        try:
            wanted = o.connect(plain, source, target, weight)
        except ValueError:
            wanted = None
        return wanted, lambda: net.connect(source, target, weight)
    if operation == "keep":
        mask = rng.random(len(plain.connections)) < 0.8
        return o.keep(plain, mask), lambda: net.keep(mask)
    if operation == "weights":
        weights = rng.normal(size=len(plain.connections))
        values = zip(plain.stored, weights.tolist(), strict=True)
        moved = {pair: (weight, plain.connections[pair][1]) for pair, weight in values}
        return replace(plain, connections=moved), lambda: setattr(net.connections, "weight", weights)
    if operation == "remove":
        node = s.pick(rng.random(), plain.hidden)
        return None if node is None else (o.remove_node(plain, node), lambda: net.remove_node(node))
    pair = s.pick(rng.random(), plain.stored)
    if pair is None or operation == "split" and len(plain.order) > 20:
        return None
    if operation == "split":
        return o.split(plain, *pair, activation=net.default_activation), lambda: net.add_node(*pair)
    return o.disconnect(plain, *pair), lambda: net.disconnect(*pair)


@given(s.networks(max_hidden=5, activations=CALM), scripts((*BY_HAND, "connect", "connect"), 30))
def test_sequences_of_edits_agree_with_the_oracle(plain, script):
    """Wiring, order, storage order and numbers after every edit; a refused one changes nothing."""
    net, (names, rng) = bridge.network(plain), script
    for operation in names:
        done = by_hand(plain, operation, rng, net)
        if done is None:
            continue
        wanted, call = done
        if wanted is None:
            before, graph = bridge.snapshot(net), net.graph
            with pytest.raises(ValueError) as raised:
                call()
            bridge.assert_one_sentence(raised)
            assert bridge.snapshot(net) == before and net.graph is graph
            continue
        call()
        plain = wanted
        bridge.assert_same(net, plain)
    bridge.assert_sound(net)
    x = rng.uniform(-1, 1, plain.n_inputs)
    np.testing.assert_allclose(net(x), o.activate(plain, x), rtol=1e-9, atol=1e-9)


@given(s.networks(max_hidden=5, activations=CALM), scripts((*BY_HAND, *OTHERS), 50))
def test_everything_derived_is_new_after_any_sequence_of_edits(plain, script):
    """Also after trimming, pruning, regrowth and training: equal to that of a network rebuilt from scratch."""
    net, (names, rng) = bridge.network(plain), script
    for operation in names:
        for name in (*bridge.DERIVED, "slots"):  # what is cached now must not be seen later
            getattr(net.graph, name)
        plain = bridge.plain(net)
        if operation in BY_HAND:
            done = by_hand(plain, operation, rng, net)
            if done is not None and done[0] is not None:
                done[1]()
        elif operation == "prune" and plain.connections:
            net.prune_to_sparsity(rng.random(), method=("magnitude", "snip", "random")[rng.integers(3)])
        elif operation == "regrow":
            net.regrow(len(o.free_slots(plain)) // 3)
        elif operation == "trim":
            net.trim()
        elif operation == "train":
            x = rng.normal(size=(2, 2, plain.n_inputs) if plain.recurrent else (2, plain.n_inputs))
            net.train(x, np.zeros((*x.shape[:-1], plain.n_outputs)), iterations=2, learning_rate=1e-3, clip_norm=1.0)
        o.check(bridge.plain(net))
    bridge.assert_sound(net)


# ---------------------------------------------------------------- connect


@given(s.networks(max_hidden=6), s.SEEDS)
def test_connect_any_pair(plain, seed):
    """Every ordered pair: connected as the oracle does, re-ordered where it must be, or refused with a reason."""
    rng = np.random.default_rng(seed)
    source, target = (int(node) for node in rng.choice(plain.order, 2))
    late = [None, None, False, True][rng.integers(4)]
    net = bridge.network(plain)
    before, graph = bridge.snapshot(net), net.graph
    try:
        wanted = o.connect(plain, source, target, 0.75, late)
    except ValueError:
        with pytest.raises(ValueError, match=f"{source} -> {target}|recurrent") as raised:
            net.connect(source, target, 0.75, delayed=late)
        bridge.assert_one_sentence(raised)
        assert bridge.snapshot(net) == before and net.graph is graph
        return
    net.connect(source, target, 0.75, delayed=late)
    bridge.assert_same(net, wanted)
    bridge.assert_sound(net)


@given(s.networks(max_hidden=6), s.SEEDS, st.data())
def test_connect_many_at_once(plain, seed, data):
    """Free pairs in any order, some against the order: the connections and the order as if given together."""
    net, rng = bridge.network(plain), np.random.default_rng(seed)
    free = o.free_slots(plain)
    hidden = plain.hidden
    backward = [(b, a, False) for i, a in enumerate(hidden) for b in hidden[i + 1 :] if not plain.recurrent]
    pool = free + [slot for slot in backward if data.draw(st.booleans()) and slot[:2] not in plain.connections]
    count = data.draw(s.sizes(0, min(len(pool), 8)))
    chosen = [pool[i] for i in rng.permutation(len(pool))[:count]]
    weights = rng.normal(size=count)
    new = {slot[:2]: (weight, slot[2]) for slot, weight in zip(chosen, weights.tolist(), strict=True)}
    pairs = [pair for pair, (_, late) in (plain.connections | new).items() if not late]
    sources, targets = [slot[0] for slot in chosen], [slot[1] for slot in chosen]
    order = o.kahn(plain.order, plain.n_inputs, plain.n_outputs, pairs)
    before = bridge.snapshot(net)
    if order is None:
        with pytest.raises(ValueError, match="must not close a cycle, got") as raised:
            net.connect(sources, targets, weights)
        cycle = [int(node) for node in re.search(r"got ([\d >-]+):", str(raised.value))[1].split(" -> ")]
        assert cycle[0] == cycle[-1] and set(zip(cycle, cycle[1:], strict=False)) <= set(pairs)
        assert bridge.snapshot(net) == before
        return
    net.connect(sources, targets, weights)
    if any(slot in backward for slot in chosen):
        plain = replace(plain, order=order)
    bridge.assert_same(net, replace(plain, connections=plain.connections | new))
    bridge.assert_sound(net)


def test_a_legal_order_is_not_touched():
    """The order is derived anew only when a connection runs against it."""
    plain = o.Plain(1, 1, [0, 7, 5, 1], dict.fromkeys((0, 7, 5, 1), 0.0), dict.fromkeys((0, 7, 5, 1), "identity"))
    net = bridge.network(plain)
    net.connect(7, 5, 1.0)
    assert net.nodes.id.tolist() == [0, 7, 5, 1]
    net.connect([0, 5], [7, 1], [1.0, 2.0])
    assert net.nodes.id.tolist() == [0, 7, 5, 1]
    net.disconnect(7, 5)
    net.connect(5, 7, 3.0)
    assert net.nodes.id.tolist() == [0, 5, 7, 1]
    net.connect(7, 1)
    assert abs(net.connection(7, 1).weight) <= 0.1


def test_weights_not_given_are_drawn_from_the_stream_in_the_given_order():
    net = Network.from_connections(3, 2, [(0, 3, 1.0)], seed=4)
    twin = net.copy()
    net.connect([2, 0, 1], [4, 4, 3])
    drawn = twin.rng.uniform(-0.1, 0.1, 3)
    assert [net.connection(*pair).weight for pair in ((2, 4), (0, 4), (1, 3))] == drawn.tolist()
    assert net.rng_state == twin.rng_state
    net.connect(2, 3, 0.5)
    assert net.rng_state == twin.rng_state  # nothing is drawn for a given weight


def test_one_weight_serves_all():
    net = Network.from_connections(3, 1, [], seed=4)
    net.connect([0, 1, 2], [3, 3, 3], 0.5)
    assert net.connections.weight.tolist() == [0.5] * 3


def test_connect_nothing_changes_nothing():
    net = Network.dense([2, 2], seed=0)
    net.connections.accumulated_gradient = 1.0
    before, row = bridge.snapshot(net), net.connections[0]
    net.connect([], [])
    net.connect([], [], [])
    net.disconnect([], [])
    net.keep(np.ones(4, bool))
    assert bridge.snapshot(net) == before and row.source == 0


def refused_net(recurrent=False):
    """Inputs 0 and 1, outputs 2 and 3, hidden 5 -> 6; with a recorded gradient and a schedule-like past."""
    rows = [(0, 5, 1.0), (5, 6, 1.0), (6, 2, 1.0), (1, 3, -1.0)]
    net = Network.from_connections(2, 2, rows, delayed=[False] * 4 if recurrent else None, seed=1)
    net.connections.accumulated_gradient = [1.0, 2.0, 3.0, 4.0]
    net.prune_to_sparsity(1e-6)
    return net


REFUSED = [
    (False, lambda net: net.connect(0, 5, 1.0), ValueError, "at most one connection, got a second one 0 -> 5"),
    (False, lambda net: net.connect([0, 0], [6, 6], 1.0), ValueError, "got a second one 0 -> 6"),
    (False, lambda net: net.connect([6, 6], [5, 5], 1.0), ValueError, "cycle|second"),
    (False, lambda net: net.connect([1, 0], [5, 5], 1.0), ValueError, "got a second one 0 -> 5"),
    (False, lambda net: net.connect(5, 0, 1.0), ValueError, "must not lead into an input, got 5 -> 0"),
    (False, lambda net: net.connect(0, 1, 1.0), ValueError, "must not lead into an input, got 0 -> 1"),
    (True, lambda net: net.connect(5, 0, 1.0), ValueError, "must not lead into an input, got 5 -> 0"),
    (True, lambda net: net.connect(5, 0, 1.0, delayed=True), ValueError, "must not lead into an input, got 5 -> 0"),
    (False, lambda net: net.connect(2, 5, 1.0), ValueError, "must not leave an output, got 2 -> 5: use net.as_rec"),
    (False, lambda net: net.connect(2, 3, 1.0), ValueError, "must not leave an output, got 2 -> 3"),
    (True, lambda net: net.connect(2, 5, 1.0, delayed=False), ValueError, "leave an output, got 2 -> 5: mark it del"),
    (False, lambda net: net.connect(5, 5, 1.0), ValueError, "must join two nodes, got 5 -> 5: use net.as_recurrent"),
    (True, lambda net: net.connect(5, 5, 1.0, delayed=False), ValueError, "must join two nodes, got 5 -> 5: mark it"),
    (False, lambda net: net.connect(6, 5, 1.0), ValueError, "close a cycle, got (5 -> 6 -> 5|6 -> 5 -> 6):"),
    (True, lambda net: net.connect(6, 5, 1.0, delayed=False), ValueError, "close a cycle, got (5 -> 6 -> 5|6 -> 5 ->)"),
    (False, lambda net: net.connect(0, 9, 1.0), ValueError, "node must be one of the network's ids, got 9"),
    (False, lambda net: net.connect(-1, 5, 1.0), ValueError, "node must be one of the network's ids, got -1"),
    (False, lambda net: net.connect(2**70, 5, 1.0), TypeError, "node ids must be integers, got object"),
    (False, lambda net: net.connect(0.5, 5, 1.0), TypeError, "node ids must be integers, got float64"),
    (False, lambda net: net.connect("0", 5, 1.0), TypeError, "node ids must be integers, got <U1"),
    (False, lambda net: net.connect(0, 6, np.nan), ValueError, "weight must be finite, got nan at index 0"),
    (False, lambda net: net.connect(0, 6, np.inf), ValueError, "weight must be finite, got inf at index 0"),
    (False, lambda net: net.connect([0, 1], [6, 6], [1.0, np.nan]), ValueError, "must be finite, got nan at index 1"),
    (False, lambda net: net.connect([0, 1], [6, 6], [1.0]), ValueError, r"weight must have shape \(2,\), got \(1,\)"),
    (False, lambda net: net.connect(0, 6, "a"), TypeError, "weight must be numbers, got 'a'"),
    (False, lambda net: net.connect([0, 1], [6], 1.0), ValueError, r"one length, got shapes \(2,\) and \(1,\)"),
    (False, lambda net: net.connect([[0]], [[6]], 1.0), ValueError, r"one length, got shapes \(1, 1\) and \(1, 1\)"),
    (False, lambda net: net.connect(0, 6, 1.0, delayed=True), ValueError, "needs a recurrent network, got an acyclic"),
    (True, lambda net: net.connect([0, 1], [6, 6], 1.0, [True] * 3), ValueError, r"delayed must have shape \(2,\), "),
    (False, lambda net: net.disconnect(0, 6), LookupError, "connection must exist, got 0 -> 6: see net.connections"),
    (False, lambda net: net.disconnect([0, 0], [5, 6]), LookupError, "connection must exist, got 0 -> 6"),
    (False, lambda net: net.disconnect(0, 99), LookupError, "connection must exist, got 0 -> 99"),
    (False, lambda net: net.disconnect(-1, 5), LookupError, "connection must exist, got -1 -> 5"),
    (False, lambda net: net.disconnect([0, 1], [5]), ValueError, r"one length, got shapes \(2,\) and \(1,\)"),
    (False, lambda net: net.keep([True]), ValueError, r"mask must be boolean with shape \(4,\), got bool \(1,\)"),
    (False, lambda net: net.keep([1, 0, 1, 0]), ValueError, r"mask must be boolean with shape \(4,\), got int64"),
    (False, lambda net: net.add_node(0, 6), LookupError, "connection must exist, got 0 -> 6"),
    (False, lambda net: net.add_node(0, 77), LookupError, "node must be one of the network's ids, got 77"),
    (False, lambda net: net.remove_node(0), ValueError, "only hidden nodes can be removed, got the input 0"),
    (False, lambda net: net.remove_node(3), ValueError, "only hidden nodes can be removed, got the output 3"),
    (False, lambda net: net.remove_node(77), LookupError, "node must be one of the network's ids, got 77"),
]


@pytest.mark.parametrize(("recurrent", "call", "error", "message"), REFUSED)
def test_a_refused_edit_changes_nothing(recurrent, call, error, message):
    net = refused_net(recurrent)
    before, graph, row = bridge.snapshot(net), net.graph, net.connections[0]
    with pytest.raises(error, match=message) as raised:
        call(net)
    bridge.assert_one_sentence(raised)
    assert bridge.snapshot(net) == before and net.graph is graph
    assert row.weight == 1.0 and net.connections.weight.flags.writeable


# ---------------------------------------------------------------- the accumulated gradient


def test_the_accumulated_gradient_follows_removals_and_ends_with_additions():
    net = refused_net()
    gradient = dict(zip(bridge.plain(net).stored, net.connections.accumulated_gradient.tolist(), strict=True))
    net.disconnect(5, 6)
    assert net.connections.accumulated_gradient.tolist() == [gradient[pair] for pair in bridge.plain(net).stored]
    net.remove_node(6)
    assert net.connections.accumulated_gradient.tolist() == [gradient[pair] for pair in bridge.plain(net).stored]
    net.as_recurrent()
    assert net.connections.accumulated_gradient.tolist() == [gradient[pair] for pair in bridge.plain(net).stored]
    for add in (lambda n: n.connect(0, 2), lambda n: n.add_node(0, 5), lambda n: n.regrow(1)):
        twin = net.copy()
        add(twin)
        assert twin.connections.accumulated_gradient is None
    acyclic = refused_net()
    acyclic.disconnect(5, 6)
    acyclic.connect(6, 5, 1.0)  # through a new order
    assert acyclic.connections.accumulated_gradient is None


# ---------------------------------------------------------------- nodes


def test_a_split_by_hand():
    net = Network.from_connections(1, 2, [(0, 1, 0.5), (0, 2, -1.0)], activation="relu")
    assert net.add_node(0, 2) == 3 and net.add_node(0, 1) == 4 and net.add_node(0, 4) == 5
    assert net.nodes.id.tolist() == [0, 3, 5, 4, 1, 2]
    assert net.connection(0, 5).weight == net.connection(5, 4).weight == 1.0
    assert net.connection(4, 1).weight == 0.5 and net.connection(3, 2).weight == -1.0
    assert net.node(5).activation == "relu" and net.node(5).bias == 0.0
    assert len(net.connections) == 5


def test_a_split_puts_the_delay_on_its_first_half():
    net = Network.from_connections(1, 1, [(0, 1, 1.0), (1, 1, 0.5)], delayed=[False, True], activation="identity")
    twin = net.copy()
    node = net.add_node(1, 1)
    assert net.connection(1, node).delayed and not net.connection(node, 1).delayed
    sequence = np.array([[1.0], [2.0], [-1.0], [0.5]])
    assert net.run(sequence).tolist() == twin.run(sequence).tolist()


@given(s.networks(max_hidden=5), st.data())
def test_splits_and_removals_agree_with_the_oracle(plain, data):
    net = bridge.network(plain, default_activation="swish")
    net([0.5] * plain.n_inputs)
    for _ in range(3):
        pair = s.pick(data.draw(st.floats(0, 0.999)), plain.stored)
        if pair is not None:
            wanted = o.split(plain, *pair, activation="swish")
            assert net.add_node(*pair) == (set(wanted.order) - set(plain.order)).pop()
            plain = wanted
            bridge.assert_same(net, plain)
        node = s.pick(data.draw(st.floats(0, 0.999)), plain.hidden)
        if node is not None and data.draw(st.booleans()):
            net.remove_node(node)
            plain = o.remove_node(plain, node)
            bridge.assert_same(net, plain)
    bridge.assert_sound(net)


def test_edits_take_the_state_along():
    """A new node starts from rest; the others remember."""
    rows = [(0, 3, 1.0), (3, 1, 1.0), (3, 3, 0.5), (1, 1, 0.25)]
    net = Network.from_connections(1, 1, rows, delayed=[False, False, True, True], activation="identity")
    plain, sequence = bridge.plain(net), [[1.0], [2.0]]
    net.run(sequence)
    values, _ = o.run(plain, sequence)[-1]
    node = net.add_node(3, 3)
    plain = o.split(plain, 3, 3, activation="identity")
    assert net.run([[4.0]]).tolist() == [[o.forward(plain, [4.0], values)[0][1]]]
    values, _ = o.forward(plain, [4.0], values)
    net.connect(1, node, 2.0)
    plain = o.connect(plain, 1, node, 2.0)
    assert net.run([[1.0]]).tolist() == [[o.forward(plain, [1.0], values)[0][1]]]
    values, _ = o.forward(plain, [1.0], values)
    net.remove_node(3)
    assert net.run([[1.0]]).tolist() == [[o.forward(o.remove_node(plain, 3), [1.0], values)[0][1]]]


def test_as_recurrent_changes_no_number():
    net = Network.dense([2, 3, 2], seed=0)
    net.connections.accumulated_gradient = 2.0
    plain, row, x = bridge.plain(net), net.connections[0], np.random.default_rng(0).normal(size=(5, 2))
    wanted = net(x)
    assert net.as_recurrent() is net and net.graph.recurrent and net.graph.layer_sizes == (2, 3, 2)
    bridge.assert_same(net, replace(plain, recurrent=True))
    assert (net.connections.accumulated_gradient == 2.0).all()
    assert net(x).tolist() == wanted.tolist()
    with pytest.raises(LookupError, match="take it again"):
        row.weight  # noqa: B018
    graph = net.graph
    assert net.as_recurrent().graph is graph  # already is


# ---------------------------------------------------------------- trim

STEADY = tuple(name for name in s.ANY if name not in ("square", "inverse", "abs"))


@given(s.networks(activations=STEADY, scale=1.0), s.SEEDS, st.floats(0.1, 0.9))
def test_trim_agrees_with_the_oracle_and_keeps_outputs(plain, seed, share):
    """Thinned networks, so that there are constants, and constants that feed constants, and dead ends."""
    rng = np.random.default_rng(seed)
    plain = o.keep(plain, rng.random(len(plain.connections)) < share)
    net = bridge.network(plain)
    trimmed = net.copy()
    wanted = o.trim(plain)
    assert trimmed.trim() == len(plain.order) - len(wanted.order)
    got = bridge.plain(trimmed)
    assert got.order == wanted.order and got.connections == wanted.connections
    assert got.activation == wanted.activation
    biases = [wanted.bias[node] for node in got.order]
    np.testing.assert_allclose(list(got.bias.values()), biases, rtol=1e-12, atol=1e-12)
    bridge.assert_sound(trimmed)
    sequence = rng.uniform(-2, 2, (3, 5, plain.n_inputs))
    np.testing.assert_allclose(trimmed.run(sequence), net.run(sequence), rtol=1e-9, atol=1e-9)
    graph = trimmed.graph
    assert trimmed.trim() == 0 and trimmed.graph is graph  # nothing is left to do


def test_trim_leaves_a_constant_that_is_read_late():
    """Before the first step a delayed connection carries 0, so its constant cannot be folded into a bias."""
    rows = [(5, 1, 2.0), (5, 6, 3.0), (6, 1, 1.0), (0, 1, 1.0)]
    late = [True, False, False, False]
    net = Network.from_connections(1, 1, rows, bias={5: 1.0, 6: 0.5}, activation="identity", delayed=late)
    before = net.copy()
    assert net.trim() == 1
    assert net.nodes.id.tolist() == [0, 5, 1] and net.nodes.bias.tolist() == [0, 1.0, 3.5]
    assert net.run([[0.0], [0.0]]).tolist() == before.run([[0.0], [0.0]]).tolist() == [[3.5], [5.5]]


def test_trim_keeps_the_gradient_of_what_stays():
    net = Network.from_connections(2, 1, [(0, 2, 1.0), (9, 2, 1.0), (1, 8, 1.0), (1, 2, 2.0)], activation="identity")
    net.connections.accumulated_gradient = [1.0, 2.0, 3.0, 4.0]
    pairs = dict(zip(bridge.plain(net).stored, [1.0, 2.0, 3.0, 4.0], strict=True))
    assert net.trim() == 2
    assert net.connections.accumulated_gradient.tolist() == [pairs[0, 2], pairs[1, 2]]


def test_trim_refuses_to_overflow():
    net = Network.from_connections(1, 1, [(5, 1, 1e200), (0, 1, 1.0)], bias={5: 1e200}, activation="identity")
    before, graph = bridge.snapshot(net), net.graph
    with pytest.raises(ValueError, match="a folded bias must be finite, got inf at node 1") as raised:
        net.trim()
    bridge.assert_one_sentence(raised)
    assert bridge.snapshot(net) == before and net.graph is graph


def test_a_network_without_connections_is_a_network():
    net = Network.dense([2, 3, 2], seed=0)
    net.keep(np.zeros(12, bool))
    bridge.assert_sound(net)
    assert net([1.0, 2.0]).tolist() == [0.0, 0.0] and net.trim() == 3
    net.connect(1, 3, 2.0)
    assert net([1.0, 2.0]).tolist() == [0.0, 4.0]
