"""The oracles of networks: against hand-made cases, golden numbers, networkx and torch."""

import math
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import Phase, assume, find, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import oracles as o
import strategies as s


def chain(recurrent=False):
    """0 and 1 are inputs, 2 the output, 7 then 5 hidden: 0 -> 7 -> 5 -> 2, 1 -> 2, all tanh."""
    pairs = {(0, 7): (0.5, False), (7, 5): (-2.0, False), (5, 2): (1.5, False), (1, 2): (0.25, False)}
    bias = {0: 0.0, 1: 0.0, 2: 0.1, 5: 0.2, 7: -0.3}
    names = {0: "identity", 1: "identity", 2: "tanh", 5: "tanh", 7: "tanh"}
    return o.Plain(2, 1, [0, 1, 7, 5, 2], bias, names, pairs, recurrent)


# ---------------------------------------------------------------- forward and backward


@pytest.mark.parametrize("case", o.golden("forward_acyclic")["cases"], ids=lambda case: f"{case['tag']}{case['id']}")
def test_forward_equals_golden_activations_and_sums(case):
    plain, ids = o.from_golden(case["net"])
    o.check(plain)
    for sample in case["samples"]:
        values, sums = o.forward(plain, sample["input"])
        assert_allclose([values[ids[n]] for n in range(len(ids))], sample["activations"], rtol=1e-12, atol=1e-14)
        assert_allclose([sums.get(ids[n], 0.0) for n in range(len(ids))], sample["states"], rtol=1e-12, atol=1e-14)
        assert_allclose(o.activate(plain, sample["input"]), sample["output"], rtol=1e-12, atol=1e-14)


def test_forward_by_hand():
    middle = math.tanh(0.2 - 2 * math.tanh(-0.3 + 0.5 * 0.7))
    assert o.activate(chain(), [0.7, -1.0]) == [math.tanh(0.1 + 0.25 * -1.0 + 1.5 * middle)]


def test_delayed_connections_read_the_previous_step():
    names = dict.fromkeys(range(3), "identity")
    plain = o.Plain(1, 2, [0, 1, 2], dict.fromkeys(range(3), 0.0), names, {}, True)
    plain = o.connect(plain, 0, 1, 3.0, delayed=True)  # last input
    plain = o.connect(plain, 1, 1, 1.0)  # itself
    plain = o.connect(plain, 1, 2, 10.0)  # an output is read late even by a later one
    seen = [[values[1], values[2]] for values, _ in o.run(plain, [[1.0], [2.0], [0.0], [0.0]])]
    assert seen == [[0.0, 0.0], [3.0, 0.0], [9.0, 30.0], [9.0, 90.0]]


@given(s.networks(), st.data())
def test_a_run_can_be_continued(plain, data):
    sequence = data.draw(s.sequences(plain.n_inputs, max_sequences=1))[0].tolist()
    cut = data.draw(st.integers(0, len(sequence)))
    first = o.run(plain, sequence[:cut])
    assert first + o.run(plain, sequence[cut:], first[-1][0] if first else None) == o.run(plain, sequence)


small = s.networks(activations=s.GENTLE, max_inputs=3, max_outputs=3, max_hidden=4, scale=1.0)


@given(small, st.sampled_from([loss for loss in o.LOSSES if loss not in ("mae", "hinge")]), st.data())
def test_gradient_equals_central_differences(plain, loss, data):
    x, t = data.draw(s.batches(plain, loss))
    for by_hand, numeric in zip(
        o.gradient(plain, x, t, loss), o.gradient_by_differences(plain, x, t, loss), strict=True
    ):
        assert list(by_hand) == list(numeric)
        assert_allclose(list(by_hand.values()), list(numeric.values()), rtol=1e-4, atol=1e-6)


@given(small, st.data())
def test_absent_gradient_is_the_gradient_of_a_new_connection_of_weight_zero(plain, data):
    x, t = data.draw(s.batches(plain, "mse"))
    slots = o.free_slots(plain)
    everywhere = plain.connections | {(source, target): (0.0, late) for source, target, late in slots}
    weights, _ = o.gradient(replace(plain, connections=everywhere), x, t, "mse")
    wanted = [abs(weights[slot[:2]]) for slot in slots]
    assert_allclose(o.absent_gradient(plain, x, t, "mse", slots), wanted, rtol=1e-9, atol=1e-12)


def test_gradient_through_time_against_torch(torch):
    rng = np.random.default_rng(3)
    plain = o.Plain(2, 1, [0, 1, 3, 2], dict.fromkeys(range(4), 0.0), {0: "identity", 1: "identity"}, {}, True)
    plain.activation.update({2: "identity", 3: "tanh"})
    w = dict(zip([(0, 3), (1, 3), (3, 3), (2, 3), (3, 2)], rng.normal(size=5).tolist(), strict=True))
    for pair, weight in w.items():
        plain = o.connect(plain, *pair, weight)
    x, t = rng.normal(size=(4, 6, 2)), rng.normal(size=(4, 6, 1))
    p = {pair: torch.tensor(weight, dtype=torch.float64, requires_grad=True) for pair, weight in w.items()}
    hidden, output, total = torch.zeros(4), torch.zeros(4), 0.0
    for step in range(6):
        one, two = torch.tensor(x[:, step]).T
        hidden = torch.tanh(p[0, 3] * one + p[1, 3] * two + p[3, 3] * hidden + p[2, 3] * output)
        output = p[3, 2] * hidden
        total = total + ((output - torch.tensor(t[:, step, 0])) ** 2).sum()
    (total / 24).backward()
    weights, _ = o.gradient(plain, x, t, "mse")
    assert_allclose([weights[pair] for pair in w], [p[pair].grad.item() for pair in w], rtol=1e-10)


# ---------------------------------------------------------------- places, order, reach


def test_legal_slots_by_hand():
    acyclic = [(0, 7), (1, 7), (0, 5), (1, 5), (7, 5), (0, 2), (1, 2), (7, 2), (5, 2)]
    assert o.legal_slots(chain()) == [(*pair, False) for pair in acyclic]
    assert [slot[:2] for slot in o.free_slots(chain())] == [(1, 7), (0, 5), (1, 5), (0, 2), (7, 2)]
    recurrent = o.legal_slots(chain(recurrent=True))
    assert len(recurrent) == 5 * 3
    assert [slot for slot in recurrent if slot[1] == 7] == [
        (0, 7, False), (1, 7, False), (7, 7, True), (5, 7, True), (2, 7, True),
    ]  # fmt: skip
    assert [slot for slot in recurrent if slot[1] == 2][-1] == (2, 2, True)
    assert o.layered_slots(chain()) == [(1, 7, False)]
    assert o.layered_slots(chain(), {0: 0, 1: 0, 7: 1, 5: 1, 2: 2}) == [
        (1, 7, False), (0, 5, False), (1, 5, False), (7, 2, False),
    ]  # fmt: skip


@given(s.networks())
def test_networks_keep_their_promises_and_fill_legal_slots(plain):
    o.check(plain)
    legal = {slot[:2]: slot[2] for slot in o.legal_slots(plain)}
    assert {pair: late for pair, (_, late) in plain.connections.items()}.items() <= legal.items()
    assert len(o.free_slots(plain)) == len(legal) - len(plain.connections)
    assert list(legal) == replace(plain, connections=dict.fromkeys(legal, (1.0, False))).stored


def graph_of(plain, delayed=True):
    """The networkx graph of a network, with or without its delayed connections."""
    graph = nx.DiGraph()
    graph.add_nodes_from(plain.order)
    graph.add_edges_from(pair for pair, (_, late) in plain.connections.items() if delayed or not late)
    return graph


@given(s.networks(), st.randoms(use_true_random=False))
def test_kahn_equals_the_lexicographic_sort_of_networkx(plain, random):
    middle = list(plain.hidden)
    random.shuffle(middle)
    former = [*plain.inputs, *middle, *plain.outputs]
    graph, place = graph_of(plain, delayed=False), {node: index for index, node in enumerate(former)}
    for ends in (plain.inputs, plain.outputs):
        graph.remove_nodes_from(ends)
    wanted = list(nx.lexicographical_topological_sort(graph, key=place.get))
    pairs = [pair for pair, (_, late) in plain.connections.items() if not late]
    assert o.kahn(former, plain.n_inputs, plain.n_outputs, pairs) == [*plain.inputs, *wanted, *plain.outputs]
    assert o.kahn(plain.order, plain.n_inputs, plain.n_outputs, pairs) == plain.order
    lowest = list(nx.lexicographical_topological_sort(graph))
    imported = o.import_order(plain.n_inputs, plain.n_outputs, middle, pairs)
    assert imported == [*plain.inputs, *lowest, *plain.outputs]


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_find_cycle_names_a_cycle_exactly_when_there_is_one(pairs):
    cycle = o.find_cycle(pairs)
    assert (cycle is None) == nx.is_directed_acyclic_graph(nx.DiGraph(list(pairs)))
    if cycle:
        assert len(set(cycle)) == len(cycle)
        assert {(cycle[i - 1], cycle[i]) for i in range(len(cycle))} <= pairs


@given(s.networks())
def test_depth_and_reach_equal_networkx(plain):
    forward, graph = graph_of(plain, delayed=False), graph_of(plain)
    for node, deep in o.depth(plain).items():
        assert deep == nx.dag_longest_path_length(forward.subgraph(nx.ancestors(forward, node) | {node}))
    reaching = {node for node in plain.order if (nx.descendants(graph, node) | {node}) & set(plain.outputs)}
    fed = {node for node in plain.order if (nx.ancestors(graph, node) | {node}) & set(plain.inputs)}
    assert o.reaching_outputs(plain) == reaching
    assert o.reached_from_inputs(plain) == fed


# ---------------------------------------------------------------- rewiring


def test_connect_by_hand():
    assert o.connect(chain(), 1, 5, 2.0).connections[1, 5] == (2.0, False)
    loose = o.disconnect(chain(), 7, 5)
    assert o.connect(loose, 5, 7, 1.0).order == [0, 1, 5, 7, 2]  # against the order, no cycle
    with pytest.raises(ValueError, match=r"cycle \[(5, 7|7, 5)\]"):
        o.connect(chain(), 5, 7, 1.0)
    wrong = [(0, 7, 1), (5, 0, 1), (2, 5, 1), (0, 99, 1), (99, 5, 1), (5, 5, 1), (1, 5, math.nan)]
    for source, target, weight in wrong:
        with pytest.raises(ValueError):
            o.connect(chain(), source, target, weight)
    with pytest.raises(ValueError):
        o.connect(chain(), 1, 5, 1.0, delayed=True)
    late = o.connect(chain(recurrent=True), 5, 7, 1.0)
    assert late.connections[5, 7] == (1.0, True) and late.order == chain().order
    assert o.connect(late, 2, 2, 1.0).connections[2, 2] == (1.0, True)
    with pytest.raises(KeyError):
        o.disconnect(chain(), 1, 5)


def test_split_and_remove_by_hand():
    plain = o.split(chain(), 7, 5)
    assert plain.order == [0, 1, 7, 8, 5, 2] and plain.bias[8] == 0.0 and plain.activation[8] == "tanh"
    assert (7, 5) not in plain.connections
    assert plain.connections[7, 8] == (1.0, False) and plain.connections[8, 5] == (-2.0, False)
    assert o.remove_node(plain, 8).connections == o.disconnect(chain(), 7, 5).connections
    assert o.remove_node(plain, 8).order == chain().order
    twin = o.Plain(1, 2, [0, 1, 2], dict.fromkeys(range(3), 0.0), dict.fromkeys(range(3), "tanh"), {}, True)
    twin = o.split(o.connect(o.connect(twin, 0, 2, 4.0), 2, 2, 3.0), 2, 2, new_id=50)
    assert twin.order == [0, 50, 1, 2]  # before the first output
    assert twin.connections == {(0, 2): (4.0, False), (2, 50): (1.0, True), (50, 2): (3.0, False)}
    with pytest.raises(ValueError):
        o.remove_node(plain, 2)


@given(s.networks(min_connections=1), st.data())
def test_split_by_the_identity_changes_nothing(plain, data):
    assume(plain.connections)
    pair = data.draw(st.sampled_from(plain.stored))
    halved = o.split(plain, *pair, activation="identity")
    o.check(halved)
    sequence = data.draw(s.sequences(plain.n_inputs, max_sequences=1))[0].tolist()
    for (before, _), (after, _) in zip(o.run(plain, sequence), o.run(halved, sequence), strict=True):
        assert_allclose([after[n] for n in plain.outputs], [before[n] for n in plain.outputs], rtol=1e-6, atol=1e-6)


def test_trim_by_hand():
    cut = o.disconnect(chain(), 0, 7)  # 7 is constant, then 5, and all folds into the output
    constant = math.tanh(0.2 - 2 * math.tanh(-0.3))
    assert o.trim(cut).order == [0, 1, 2] and o.trim(cut).bias[2] == 0.1 + 1.5 * constant
    assert o.trim(o.disconnect(chain(), 5, 2)).order == [0, 1, 2]  # dead end
    late = o.connect(o.disconnect(chain(recurrent=True), 0, 7), 7, 2, 9.0, delayed=True)
    trimmed = o.trim(late)
    assert trimmed.hidden == [7] and trimmed.connections == {(1, 2): (0.25, False), (7, 2): (9.0, True)}


calm = tuple(name for name in s.ANY if name not in ("step", "bipolar", "square"))  # no jumps: rounding stays rounding


@given(s.networks(activations=calm, scale=1.0), st.data())
def test_trim_leaves_the_outputs_and_only_what_matters(plain, data):
    trimmed = o.trim(plain)
    o.check(trimmed)
    sequence = data.draw(s.sequences(plain.n_inputs, max_sequences=1))[0].tolist()
    for (before, _), (after, _) in zip(o.run(plain, sequence), o.run(trimmed, sequence), strict=True):
        assert_allclose([after[n] for n in plain.outputs], [before[n] for n in plain.outputs], rtol=1e-6, atol=1e-6)
    assert set(trimmed.hidden) <= o.reaching_outputs(trimmed)
    fed = {target for _, target in trimmed.connections}
    held = {source for (source, _), (_, late) in trimmed.connections.items() if late}
    assert set(trimmed.hidden) <= fed | held
    assert o.trim(trimmed) == trimmed


def apply(plain, change):
    """One edit of a script on a plain network; numeric training is left out."""
    name, *where = change
    if name == "connect" and (slot := s.pick(where[0], o.free_slots(plain))):
        return o.connect(plain, *slot[:2], s.weight_at(where[2]))
    if name in ("disconnect", "split") and (pair := s.pick(where[0], plain.stored)):
        return o.disconnect(plain, *pair) if name == "disconnect" else o.split(plain, *pair)
    if name == "remove" and (node := s.pick(where[0], plain.hidden)) is not None:
        return o.remove_node(plain, node)
    if name == "prune" and plain.connections:
        sizes = [abs(plain.connections[pair][0]) for pair in plain.stored]
        return o.keep(plain, o.prune_lowest(sizes, len(sizes) - o.desired_count(where[0], len(sizes))))
    if name == "regrow":
        free = o.free_slots(plain)
        for source, target, _ in free[: int(where[0] * len(free))]:
            plain = o.connect(plain, source, target, 0.0)
    return o.trim(plain) if name == "trim" else plain


@given(s.networks(max_hidden=4, max_inputs=3, max_outputs=2), s.edit_scripts(max_size=12))
def test_edit_scripts_leave_valid_networks(plain, script):
    for change in script:
        plain = apply(plain, change)
        o.check(plain)


# ---------------------------------------------------------------- converters and strategies


def test_columns_by_hand():
    columns = o.to_columns(chain())
    assert columns["ids"] == [0, 1, 7, 5, 2]
    assert (columns["source"], columns["target"]) == ([0, 2, 1, 3], [2, 3, 4, 4])
    assert columns["weight"] == [0.5, -2.0, 0.25, 1.5] and not any(columns["delayed"])


CORNERS = {
    "complete": lambda p: not p.recurrent and len(p.connections) > 9 and not o.free_slots(p),
    "empty": lambda p: p.hidden and not p.connections,
    "self connection": lambda p: any(source == target for source, target in p.connections),
    "an output feeds an output": lambda p: any({*pair} <= {*p.outputs} for pair in p.connections),
    "hidden ids out of order": lambda p: p.hidden != sorted(p.hidden),
    "ties": lambda p: len(p.connections) > 8 and len({weight for weight, _ in p.connections.values()}) < 6,
    "zeros": lambda p: 0 < sum(weight == 0 for weight, _ in p.connections.values()) < len(p.connections),
    "largest": lambda p: len(p.order) > 20,
}


@pytest.mark.parametrize("corner", CORNERS)
def test_strategies_reach_the_corners(corner):
    plain = find(s.networks(), CORNERS[corner], settings=settings(max_examples=2000, phases=[Phase.generate]))
    o.check(plain)


@given(s.edit_scripts(min_size=50, max_size=50))
def test_edit_scripts_name_known_edits_by_fractions(script):
    assert len(script) == 50
    for name, *where in script:
        assert name in s.EDITS
        for fraction in (a for a in where if isinstance(a, float)):
            assert s.pick(fraction, "abc") in "abc" and s.pick(fraction, "") is None
            assert -3 <= s.weight_at(fraction) < 3
