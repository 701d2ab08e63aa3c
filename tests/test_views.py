"""Nodes and connections as list-like views: live columns, light rows, and what a rewiring does to them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridge
import strategies as s
from neuroprune import Network


def small():
    """0 and 1 are inputs, 2 the output, 9 hidden; three connections: 0 -> 9, 1 -> 9, 9 -> 2."""
    rows = [(0, 9, 1.0), (1, 9, -1.0), (9, 2, 2.0)]
    return Network.from_connections(2, 1, rows, bias={9: 0.5, 2: -0.5}, activation={9: "relu", 2: "identity"}, seed=0)


def looping():
    """The input 0 and the output 1, which reads itself late."""
    return Network.from_connections(1, 1, [(0, 1, 1.0), (1, 1, 0.5)], delayed=[False, True], seed=0)


# ---------------------------------------------------------------- columns


def test_columns_by_hand():
    net = small()
    assert net.connections.source.tolist() == [0, 1, 9] and net.connections.source.dtype == np.int64
    assert net.connections.target.tolist() == [9, 9, 2] and net.connections.target.dtype == np.int64
    assert net.connections.weight.tolist() == [1, -1, 2] and net.connections.weight.dtype == np.float64
    assert net.connections.delayed.tolist() == [False] * 3
    assert net.connections.accumulated_gradient is None
    assert net.nodes.id.tolist() == [0, 1, 9, 2]
    assert net.nodes.kind.tolist() == ["input", "input", "hidden", "output"]
    assert net.nodes.bias.tolist() == [0, 0, 0.5, -0.5] and net.nodes.bias.dtype == np.float64
    assert net.nodes.activation.tolist() == ["identity", "identity", "relu", "identity"]
    assert looping().connections.delayed.tolist() == [False, True]


def test_weight_and_bias_columns_are_live():
    net = small()
    weight, bias = net.connections.weight, net.nodes.bias
    weight[0] = 3.0
    bias[3] = 1.0
    assert net([1.0, 0.0]).tolist() == [8.0]  # 2 relu(3 + 0.5) + 1
    net.connections.weight = [1.0, 2.0, 3.0]
    net.nodes.bias = [0.0, 0.0, 0.0, 4.0]
    assert weight is net.connections.weight and weight.tolist() == [1, 2, 3]
    assert bias is net.nodes.bias and bias.tolist() == [0, 0, 0, 4]
    net.connections.weight *= 2
    net.nodes.bias += [0, 0, 1, 0]
    assert weight.tolist() == [2, 4, 6] and bias.tolist() == [0, 0, 1, 4]
    net.connections.weight = 0.5
    assert weight.tolist() == [0.5] * 3
    net.connections.weight = np.float32([1, 2, 3])[::-1]
    assert weight.tolist() == [3, 2, 1]


def test_accumulated_gradient_is_live_and_assignable():
    net = small()
    net.connections.accumulated_gradient = [1, 2, 3]
    column = net.connections.accumulated_gradient
    assert column.dtype == np.float64 and column.tolist() == [1, 2, 3]
    column[0] = 7.0
    assert net.connections.accumulated_gradient.tolist() == [7, 2, 3]
    net.connections.accumulated_gradient = 0.0
    assert net.connections.accumulated_gradient is column and column.tolist() == [0, 0, 0]
    assert net.connections[1:].accumulated_gradient.tolist() == [0, 0]
    net.connections.accumulated_gradient = None
    assert net.connections.accumulated_gradient is None and net.connections[1:].accumulated_gradient is None


@pytest.mark.parametrize("name", ["accumulated_movement", "accumulated_squared_gradient"])
def test_what_training_alone_records_is_live_and_not_assignable(name):
    net = small()
    assert getattr(net.connections, name) is getattr(net.connections[1:], name) is None
    net.train([[1.0, 2.0]], [[1.0]], iterations=2)
    column, part = getattr(net.connections, name), getattr(net.connections[1:], name)
    assert column.dtype == np.float64 and column.shape == (3,) and getattr(net.connections, name) is column
    assert part.tolist() == column[1:].tolist() and not part.flags.writeable
    column[0] = 7.0
    assert getattr(net.connections[:1], name).tolist() == [7.0]
    before = bridge.snapshot(net)
    for view in (net.connections, net.connections[1:]):
        with pytest.raises(AttributeError):
            setattr(view, name, 1.0)
    assert bridge.snapshot(net) == before
    net.connections.accumulated_gradient = None  # ends them all
    assert getattr(net.connections, name) is None and not column.flags.writeable


def test_an_assigned_gradient_is_a_copy():
    net, mine = small(), np.ones(3)
    net.connections.accumulated_gradient = mine
    mine[:] = 5
    assert net.connections.accumulated_gradient.tolist() == [1, 1, 1]


def test_activation_takes_one_name_or_all():
    net = small()
    net.nodes.activation = "sin"
    assert net.nodes.activation.tolist() == ["identity", "identity", "sin", "sin"]
    net.nodes.activation = ["tanh", "tanh", "abs", "cos"]
    assert net.nodes.activation.tolist() == ["identity", "identity", "abs", "cos"]
    net.nodes.activation = np.array(["relu"] * 4)
    assert net.nodes.activation[2:].tolist() == ["relu", "relu"]


@pytest.mark.parametrize(
    ("view", "column"),
    [("connections", name) for name in ("source", "target", "delayed")]
    + [("nodes", name) for name in ("id", "kind", "activation")],
)
@pytest.mark.parametrize("make", [small, looping])
def test_other_columns_are_read_only(make, view, column):
    net = make()
    with pytest.raises(ValueError, match="read-only"):
        getattr(getattr(net, view), column)[0] = getattr(getattr(net, view), column)[1]
    if column != "activation":
        with pytest.raises(AttributeError):
            setattr(getattr(net, view), column, 0)


@pytest.mark.parametrize(
    ("view", "column", "values", "error", "message"),
    [
        ("connections", "weight", [1.0, 2.0], ValueError, r"net.connections.weight must have shape \(3,\), got \(2,\)"),
        ("connections", "weight", [[1.0, 2.0, 3.0]], ValueError, r"must have shape \(3,\), got \(1, 3\)"),
        ("connections", "weight", [1.0, np.nan, 2.0], ValueError, "weight must be finite, got nan at index 1"),
        ("connections", "weight", np.inf, ValueError, "weight must be finite, got inf at index 0"),
        ("connections", "weight", [1.0, "a", 2.0], TypeError, r"weight must be numbers, got \[1.0, 'a', 2.0\]"),
        ("connections", "weight", None, TypeError, "weight must be numbers, got None"),
        ("connections", "accumulated_gradient", [1.0], ValueError, r"accumulated_gradient must have shape \(3,\)"),
        ("connections", "accumulated_gradient", [1, -np.inf, 1], ValueError, "must be finite, got -inf at index 1"),
        ("nodes", "bias", [0.0, 0.0, 1.0], ValueError, r"net.nodes.bias must have shape \(4,\), got \(3,\)"),
        ("nodes", "bias", [0.0, 0.0, 1.0, np.nan], ValueError, "net.nodes.bias must be finite, got nan at index 3"),
        ("nodes", "bias", [0.0, 2.0, 1.0, 1.0], ValueError, "bias must be 0 for inputs, got 2.0 at index 1"),
        ("nodes", "bias", 1.0, ValueError, "bias must be 0 for inputs, got 1.0 at index 0"),
        ("nodes", "activation", ["tanh"], ValueError, "net.nodes.activation must have 4 names, got 1"),
        ("nodes", "activation", "tahn", ValueError, "did you mean 'tanh'"),
        ("nodes", "activation", ["tanh", "tanh", "sin", "tahn"], ValueError, "did you mean 'tanh'"),
        ("nodes", "activation", 3, TypeError, "net.nodes.activation must be a name or 4 names, got 3"),
    ],
)
@pytest.mark.parametrize("recorded", [False, True])
def test_a_refused_column_changes_nothing(view, column, values, error, message, recorded):
    net = small()
    if recorded:
        net.connections.accumulated_gradient = [1.0, 2.0, 3.0]
    before = bridge.snapshot(net)
    with pytest.raises(error, match=message) as raised:
        setattr(getattr(net, view), column, values)
    bridge.assert_one_sentence(raised)
    assert bridge.snapshot(net) == before


# ---------------------------------------------------------------- rows


def test_rows_by_hand():
    net = small()
    connection, node = net.connections[1], net.nodes[2]
    assert (connection.source, connection.target, connection.weight, connection.delayed) == (1, 9, -1.0, False)
    assert (node.id, node.kind, node.bias, node.activation) == (9, "hidden", 0.5, "relu")
    assert [type(value) for value in (connection.source, connection.weight, node.id)] == [int, float, int]
    assert repr(connection) == "<Connection 1 -> 9, weight -1>"
    assert repr(node) == "<Node 9, hidden, relu, bias 0.5>"
    assert repr(looping().connections[1]) == "<Connection 1 -> 1, weight 0.5, delayed>"
    assert repr(net.connections) == (
        "<Connections: 3 rows; columns source, target, weight, delayed, accumulated_gradient>"
    )
    assert repr(net.nodes) == "<Nodes: 4 rows; columns id, kind, bias, activation>"


def test_rows_by_name():
    net = small()
    assert net.node(9).bias == 0.5 and net.connection(9, 2).weight == 2.0
    with pytest.raises(LookupError, match="node must be one of the network's ids, got 7: see net.nodes.id"):
        net.node(7)
    with pytest.raises(LookupError, match="connection must exist, got 0 -> 2: see net.connections"):
        net.connection(0, 2)
    with pytest.raises(LookupError, match="ids, got 7"):
        net.connection(7, 2)


def test_rows_write_through():
    net = small()
    net.connections[-1].weight = 5
    net.nodes[-1].bias = 1
    net.node(9).activation = "identity"
    net.nodes[0].bias = 0.0
    assert net([1.0, 0.0]).tolist() == [8.5]  # 5 (1 + 0.5) + 1
    assert [node.bias for node in net.nodes] == net.nodes.bias.tolist()


@pytest.mark.parametrize(
    ("row", "name", "value", "error", "message"),
    [
        (lambda net: net.connections[0], "weight", np.nan, ValueError, "weight must be finite, got nan"),
        (lambda net: net.connections[0], "weight", "x", TypeError, "weight must be a number, got 'x'"),
        (lambda net: net.connections[0], "source", 1, AttributeError, "connection has no writable attribute 'source'"),
        (lambda net: net.connections[0], "wieght", 1, AttributeError, "no writable attribute 'wieght'"),
        (lambda net: net.nodes[2], "bias", -np.inf, ValueError, "bias must be finite, got -inf"),
        (lambda net: net.nodes[1], "bias", 1.0, ValueError, "an input has no bias, got 1.0 for node 1"),
        (lambda net: net.nodes[1], "activation", "tanh", ValueError, "an input has no activation, got 'tanh' for node"),
        (lambda net: net.nodes[2], "activation", "tahn", ValueError, "did you mean 'tanh'"),
        (lambda net: net.nodes[2], "id", 1, AttributeError, "a node has no writable attribute 'id'"),
        (lambda net: net.nodes[2], "_index", 1, AttributeError, "a node has no writable attribute '_index'"),
    ],
)
def test_a_refused_row_changes_nothing(row, name, value, error, message):
    net = small()
    before = bridge.snapshot(net)
    with pytest.raises(error, match=message) as raised:
        setattr(row(net), name, value)
    bridge.assert_one_sentence(raised)
    assert bridge.snapshot(net) == before


# ---------------------------------------------------------------- parts


def rows_of(view):
    """What iteration gives, as tuples."""
    if hasattr(view, "weight"):
        return [(row.source, row.target, row.weight, row.delayed) for row in view]
    return [(row.id, row.kind, row.bias, row.activation) for row in view]


def columns_of(view):
    """The same from the columns."""
    edges = hasattr(view, "weight")
    names = ("source", "target", "weight", "delayed") if edges else ("id", "kind", "bias", "activation")
    return list(zip(*(getattr(view, name).tolist() for name in names), strict=True))


@given(s.networks(), st.booleans(), st.data())
def test_parts_behave_like_lists(plain, which, data):
    net = bridge.network(plain)
    view = net.connections if which else net.nodes
    listed = rows_of(view)
    assert columns_of(view) == listed and len(view) == len(listed)
    for _ in range(2):  # a part of a part, too
        if data.draw(st.booleans()):
            key = data.draw(st.slices(len(listed)))
            view, listed = view[key], listed[key]
        else:
            mask = data.draw(st.lists(st.booleans(), min_size=len(listed), max_size=len(listed)))
            view, listed = view[np.array(mask, bool)], [row for row, on in zip(listed, mask, strict=True) if on]
        assert rows_of(view) == columns_of(view) == listed and len(view) == len(listed)
    for index in range(-len(listed), len(listed)):
        assert rows_of(view[index : index + 1 or None]) == [listed[index]]
        row = view[index]
        assert (row.weight if which else row.bias) == listed[index][2]
    for index in (len(listed), -len(listed) - 1):
        with pytest.raises(IndexError, match=rf"index must be in \[-{len(listed)}, {len(listed)}\), got {index}"):
            view[index]
    for name in ("source", "weight") if which else ("id", "bias", "activation"):
        assert not getattr(view, name).flags.writeable


def test_columns_of_a_part_are_read_only():
    net = small()
    before = bridge.snapshot(net)
    for view, column, value in (
        (net.connections, "weight", 1.0), (net.nodes, "bias", 0.0), (net.nodes, "activation", "tanh"),
        (net.connections, "accumulated_gradient", 1.0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="columns of a part are read-only") as raised:
            setattr(view[1:3], column, value)
        bridge.assert_one_sentence(raised)
    with pytest.raises(ValueError, match="read-only"):
        net.connections[:].weight[0] = 1.0
    assert bridge.snapshot(net) == before
    net.connections[1:][0].weight = 8.0  # a row of a part is a row
    assert net.connections.weight.tolist() == [1, 8, 2]


@pytest.mark.parametrize("key", [[0, 2], [True, False], "weight", 1.0, None, np.array([0, 1]), (0, 1), ...])
def test_other_keys_are_refused(key):
    with pytest.raises(IndexError, match="an integer, a slice or a boolean mask of length 3, got") as raised:
        small().connections[key]
    bridge.assert_one_sentence(raised)


@given(s.networks(), st.data())
def test_membership(plain, data):
    net = bridge.network(plain)
    for source in plain.order:
        for target in plain.order:
            assert ((source, target) in net.connections) == ((source, target) in plain.connections)
    cut = data.draw(st.slices(len(plain.connections)))
    part = net.connections[cut]
    assert all((pair in part) == (pair in plain.stored[cut]) for pair in plain.stored)
    assert (0, 10**9) not in net.connections and (-1, 0) not in net.connections


@pytest.mark.parametrize(
    "thing",
    [(0.5, 9), (0.0, 9.0), (0, 9, 1), (0,), 0, "ab", None, ("0", "9"), (0, None), (2**70, 9), [[0, 9]], [0, [9]]],
)
def test_what_is_no_pair_of_ids_is_no_member(thing):
    assert thing not in small().connections


def test_pairs_of_any_integers_are_members():
    net = small()
    assert [0, 9] in net.connections and np.array([9, 2]) in net.connections
    assert (np.int32(1), np.uint8(9)) in net.connections


# ---------------------------------------------------------------- after a rewiring

REWIRINGS = {
    "connect": lambda net: net.connect(0, 2, 1.0),
    "disconnect": lambda net: net.disconnect(0, 9),
    "keep": lambda net: net.keep(np.array([True, True, False])),
    "add_node": lambda net: net.add_node(0, 9),
    "remove_node": lambda net: net.remove_node(9),
    "as_recurrent": lambda net: net.as_recurrent(),
    "prune": lambda net: net.prune_to_sparsity(0.5),
    "regrow": lambda net: net.regrow(1),
}


@pytest.mark.parametrize("rewire", REWIRINGS.values(), ids=REWIRINGS)
@pytest.mark.parametrize("name", ["gradient", "movement", "squared_gradient"])
def test_old_sums_after_a_rewiring(rewire, name):
    net = small()
    net.train([[1.0, 2.0]], [[1.0]], iterations=1)
    column = getattr(net.connections, f"accumulated_{name}")
    rewire(net)
    after = getattr(net.connections, f"accumulated_{name}")
    if column is not after:  # as_recurrent keeps the column, which stays live
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1.0
    assert after is None or after.shape == (len(net.connections),) and after.flags.writeable


@pytest.mark.parametrize("rewire", REWIRINGS.values(), ids=REWIRINGS)
def test_old_rows_and_columns_after_a_rewiring(rewire):
    net = small()
    net.connections.accumulated_gradient = 1.0
    views = net.connections, net.nodes
    handles, parts = (net.connections[0], net.nodes[2]), (net.connections[:2], net.nodes[1:])
    weight, bias, gradient = net.connections.weight, net.nodes.bias, net.connections.accumulated_gradient
    rewire(net)
    if gradient is not net.connections.accumulated_gradient:  # as_recurrent keeps the column, which stays live
        with pytest.raises(ValueError, match="read-only"):
            gradient[0] = 1.0
    for handle, name in ((handles[0], "weight"), (handles[0], "source"), (handles[0], "delayed"),
                         (handles[1], "bias"), (handles[1], "id"), (handles[1], "activation")):  # fmt: skip
        word = "connections" if handle is handles[0] else "nodes"
        with pytest.raises(LookupError, match=f"take it again from net.{word}") as raised:
            getattr(handle, name)
        bridge.assert_one_sentence(raised)
    before = bridge.snapshot(net)
    for handle, name, value in (
        (handles[0], "weight", 1.0), (handles[1], "bias", 1.0), (handles[1], "activation", "sin"),
    ):  # fmt: skip
        with pytest.raises(LookupError, match="take it again from net"):
            setattr(handle, name, value)
    for part, use in zip(parts * 3, (len, len, list, list, lambda view: view[0], lambda view: view[0]), strict=True):
        with pytest.raises(LookupError, match="take them again from net") as raised:
            use(part)
        bridge.assert_one_sentence(raised)
    with pytest.raises(LookupError, match="take them again from net.connections"):
        (0, 9) in parts[0]  # noqa: B015
    for column in (weight, bias):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1.0
    assert bridge.snapshot(net) == before
    assert len(views[0]) == net.graph.n_connections and len(views[1]) == net.graph.n_nodes  # whole views follow
    assert views[0].weight is net.connections.weight
    assert net.connections.weight.flags.writeable and net.nodes.bias.flags.writeable


def test_changing_numbers_is_no_rewiring():
    net = small()
    row = net.connections[0]
    net.connections.weight = 4.0
    net.train([[1.0, 2.0]], [[1.0]], iterations=1, learning_rate=1e-3)
    net.keep(np.ones(3, bool))
    assert row.weight == net.connections.weight[0] != 4.0
