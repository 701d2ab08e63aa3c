"""Networks as dense layers and back: the same outputs, the same wiring up to ids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles as o
import strategies as s
from bridge import assert_one_sentence, assert_sound, network, plain
from living import living
from neuroprune import Network, mutation, register_activation
from neuroprune.interop import dense
from neuroprune.tensors.dense import DenseLayer, forward
from test_lifetime import perform


def rows(n, count=6, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, n))


def assert_same_outputs(net, layers):
    """Rows, one row and a batch of one give what the network gives."""
    x = rows(net.graph.n_inputs)
    wanted = net(x)
    bound = 1e-12 * (1 + np.abs(wanted).max(initial=0))
    for given_x, expected in ((x, wanted), (x[0], wanted[0]), (x[:1], wanted[:1]), (x[:0], wanted[:0])):
        found = forward(layers, given_x)
        assert found.shape == expected.shape and found.dtype == np.float64
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=bound)


def wiring(net):
    """Connections, and activations, of nodes that are known by their bias, which `tell_apart` made unique."""
    order = net.nodes.id.tolist()
    name = dict(zip(order, net.nodes.bias.tolist(), strict=True)) | {i: f"input {i}" for i in range(net.graph.n_inputs)}
    found = {(name[one.source], name[one.target]): one.weight for one in net.connections}
    outputs = [name[node] for node in range(net.graph.n_inputs, net.graph.n_inputs + net.graph.n_outputs)]
    names = dict(zip((name[node] for node in order), net.nodes.activation.tolist(), strict=True))
    return found, names, outputs


def tell_apart(net):
    """Give every node that is no input a bias of its own."""
    n_inputs, n = net.graph.n_inputs, net.graph.n_nodes
    net.nodes.bias[n_inputs:] = np.random.default_rng(0).permutation(n - n_inputs) / n - 0.4


def assert_there_and_back(net):
    layers = net.to_dense()
    assert_same_outputs(net, layers)
    twin = Network.from_dense(layers)
    assert_sound(twin)
    x = rows(net.graph.n_inputs)
    np.testing.assert_allclose(twin(x), net(x), rtol=1e-12, atol=1e-12 * (1 + np.abs(net(x)).max(initial=0)))
    tell_apart(net)
    assert wiring(Network.from_dense(net.to_dense())) == wiring(net)
    again = twin.to_dense()
    for one, other in zip(layers, again, strict=True):  # the layers come back as they were
        assert one.weight.tobytes() == other.weight.tobytes() and one.bias.tobytes() == other.bias.tobytes()
        assert one.activation == other.activation and one.takes == other.takes
        assert (one.mask is None) == (other.mask is None) and (one.mask is None or (one.mask == other.mask).all())


# ---------------------------------------------------------------- both ways


@given(s.networks(recurrent=False, scale=1.0))
def test_any_acyclic_network_goes_there_and_back(spelled):
    net = network(spelled)
    assert_there_and_back(net)


@given(s.networks(recurrent=False, max_hidden=14, scale=1.0), s.edit_scripts(1, 12))
def test_edited_networks_go_there_and_back(spelled, script):
    net = network(spelled)
    for step, edit in enumerate(script, start=1):
        perform(net, edit, step)
    assert_there_and_back(net)


@given(living(), s.edit_scripts(0, 6, ("prune", "regrow", "train", "split", "connect")))
def test_layered_networks_keep_their_layers(net, script):
    if net.graph.recurrent:
        return
    for step, edit in enumerate(script, start=1):
        perform(net, edit, step)
    sizes, layers = net.graph.layer_sizes, net.to_dense()
    if sizes is not None:
        layer = np.repeat(np.arange(len(sizes)), sizes)
        if (layer[net.graph.source] < layer[net.graph.target]).all():
            assert [one.n_outputs for one in layers] == list(sizes[1:])
    assert_there_and_back(net)


@given(s.networks(recurrent=False, scale=1.0), st.lists(st.integers(0, 7), max_size=15), s.SEEDS)
def test_mutated_networks_go_there_and_back(spelled, steps, seed):
    net, rng = network(spelled), np.random.default_rng(seed)
    operators = (mutation.AddNode(), mutation.RemoveNode(), mutation.AddConnection(), mutation.RemoveConnection(),
                 mutation.PerturbWeights(), mutation.ChangeActivation(("relu", "tanh", "sigmoid")),
                 mutation.Prune(0.3), mutation.Regrow(3))  # fmt: skip
    for step in steps:
        operators[step](net, rng)
    assert_there_and_back(net)


@given(s.networks(recurrent=False))
def test_levels_are_those_of_the_longest_paths(spelled):
    """A unit reads only the level below it and further ones; each hidden level needs the one below."""
    layers = network(spelled).to_dense()
    assert sum(layer.n_outputs for layer in layers) == len(spelled.order) - spelled.n_inputs
    assert layers[0].n_inputs == spelled.n_inputs and layers[-1].n_outputs == spelled.n_outputs
    kept = [layer.weight.size if layer.mask is None else layer.mask.sum() for layer in layers]
    assert sum(kept) == len(spelled.connections)
    widths = [spelled.n_inputs, *(layer.n_outputs for layer in layers)]
    for i, layer in enumerate(layers[1:-1], start=1):
        levels = (i,) if layer.takes is None else layer.takes
        mask = np.ones(layer.weight.shape, bool) if layer.mask is None else layer.mask
        last = mask[:, -widths[i]:]
        assert levels[-1] == i and last.any(axis=1).all()  # else the unit would stand lower


@given(st.lists(st.integers(1, 6), min_size=2, max_size=5), s.SEEDS)
def test_network_dense_comes_back_as_it_was(sizes, seed):
    net = Network.dense(sizes, activation="relu", seed=seed)
    layers = net.to_dense()
    assert [layer.weight.shape for layer in layers] == list(zip(sizes[1:], sizes[:-1], strict=True))
    assert all(layer.mask is None and layer.takes is None for layer in layers)
    first = 0
    for layer in layers:  # a layer's slice of the column is its matrix
        assert layer.weight.tobytes() == net.connections.weight[first:first + layer.weight.size].tobytes()
        first += layer.weight.size
    twin = Network.from_dense(layers, seed=1)
    assert twin.equals(net) and twin.graph.layer_sizes == net.graph.layer_sizes and twin.seed == 1
    assert twin.default_activation == ("relu" if len(sizes) > 2 else "tanh")


@st.composite
def layer_lists(draw):
    """Lists of layers that take any earlier levels in any order, with and without mask and bias."""
    rng, widths, layers = np.random.default_rng(draw(s.SEEDS)), [draw(s.sizes(1, 4))], []
    for i in range(draw(s.sizes(1, 5))):
        levels = None
        if draw(st.booleans()):
            levels = rng.permutation(i + 1)[:rng.integers(1, i + 2)].tolist()
        shape = draw(s.sizes(1, 4)), sum(widths[level] for level in levels or (i,))
        mask = rng.random(shape) < rng.random() if draw(st.booleans()) else None
        names = [s.GENTLE[k] for k in rng.integers(0, len(s.GENTLE), shape[0])]
        bias = rng.uniform(-1, 1, shape[0]) if draw(st.booleans()) else None
        names = names if draw(st.booleans()) else names[0]
        layers.append(DenseLayer(rng.uniform(-1, 1, shape), bias, names, mask, levels))
        widths.append(shape[0])
    return layers


@given(layer_lists())
def test_any_list_of_layers_becomes_a_network(layers):
    net = Network.from_dense(layers)
    assert_sound(net)
    assert_same_outputs(net, layers)
    assert_same_outputs(net, net.to_dense())


# ---------------------------------------------------------------- single cases


def test_hand_made():
    net = Network.from_connections(2, 1, [(0, 3, 1.0), (3, 2, 2.0), (1, 2, 0.5)], bias={2: 0.25, 3: -1.0},
                                   activation={2: "identity", 3: "relu"})
    first, second = net.to_dense()
    assert first.weight.tolist() == [[1.0, 0.0]] and first.mask.tolist() == [[True, False]] and first.takes is None
    assert second.weight.tolist() == [[0.0, 0.5, 2.0]] and second.takes == (0, 1)
    assert second.mask.tolist() == [[False, True, True]] and second.bias.tolist() == [0.25]
    assert forward([first, second], [3.0, 4.0]).tolist() == [0.25 + 2.0 + 2 * 2.0]


def test_nodes_without_connections_are_there():
    net = Network.from_connections(3, 2, [(9, 3, 2.0)], bias={9: 0.5, 7: 0.1, 4: -1.0}, activation="identity")
    layers = net.to_dense()
    assert [layer.weight.shape for layer in layers] == [(2, 3), (2, 2)]
    assert not layers[0].mask.any() and layers[0].bias.tolist() == [0.1, 0.5]
    assert forward(layers, [1.0, 2.0, 3.0]).tolist() == [1.0, -1.0]
    assert_there_and_back(net)
    empty = Network.from_connections(2, 3, [], bias={3: 0.5}, activation="identity")
    assert [layer.weight.shape for layer in empty.to_dense()] == [(3, 2)]
    assert_there_and_back(empty)


def test_a_connection_of_weight_zero_is_a_connection():
    net = Network.from_connections(2, 1, [(0, 2, 0.0)], activation="identity")
    (layer,) = net.to_dense()
    assert layer.mask.tolist() == [[True, False]]
    assert len(Network.from_dense([layer]).connections) == 1
    assert len(Network.from_dense([DenseLayer(np.zeros((2, 2)))]).connections) == 4


def test_a_dead_layer_keeps_its_layers():
    net = Network.dense([2, 3, 3, 1], seed=0)
    layer = np.repeat(np.arange(4), net.graph.layer_sizes)
    net.keep(layer[net.graph.target] != 2)  # nothing feeds the second hidden layer
    layers = net.to_dense()
    assert [one.n_outputs for one in layers] == [3, 3, 1] and not layers[1].mask.any()
    assert_there_and_back(net)


def test_a_connection_inside_a_layer_makes_levels_of_depth():
    net = Network.dense([2, 3, 1], seed=0)
    first, second = net.nodes.id[2:4].tolist()
    net.connect(first, second, 0.5)
    assert net.graph.layer_sizes is not None  # it is legal in the order, and the graph keeps its sizes
    assert [layer.n_outputs for layer in net.to_dense()] == [2, 1, 1]
    assert_there_and_back(net)


def test_activations_of_the_user():
    register_activation("dense_cube", lambda x: x**3, lambda x: 3 * x**2)
    net = Network.from_connections(2, 2, [(0, 4, 0.5), (4, 2, 1.0), (1, 3, 2.0)],
                                   activation={4: "dense_cube", 2: "dense_cube", 3: "sin"})
    assert net.to_dense()[-1].activation == ("dense_cube", "sin")
    assert_there_and_back(net)


def test_trained_and_pruned_in_place():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 4)), rng.standard_normal((20, 2))
    net = Network.dense([4, 6, 2], seed=0)
    net.train(x, y, iterations=5)
    net.prune_to_sparsity(0.6)
    net.regrow(3)
    net.train(x, y, iterations=5)
    assert_there_and_back(net)
    layers = net.to_dense()
    layers[0].weight[...] = 0.0  # layers are copies
    assert net.connections.weight.any()


def test_float32_layers_become_float64_columns():
    layer = DenseLayer(np.array([[0.1, 0.2]], np.float32), np.array([0.3], np.float32), "identity")
    net = Network.from_dense([layer])
    assert net.connections.weight.tolist() == [float(np.float32(0.1)), float(np.float32(0.2))]


def test_a_stack_of_nodes_is_not_square():
    """A chain of n nodes makes n layers of one weight each."""
    n = 300
    chain = [(0, 2, 1.0), *((i, i + 1, 1.0) for i in range(2, n)), (n, 1, 1.0)]
    net = Network.from_connections(1, 1, chain, activation="identity")
    layers = net.to_dense()
    assert len(layers) == n and sum(layer.weight.size for layer in layers) == n
    assert forward(layers, [2.5]).tolist() == [2.5]


# ---------------------------------------------------------------- refused


def test_recurrent_networks_are_refused():
    net = Network.from_connections(1, 1, [(0, 1, 1.0), (1, 1, 0.5)], delayed=[False, True])
    with pytest.raises(ValueError, match="net must be acyclic to become dense layers, got a recurrent") as raised:
        net.to_dense()
    assert_one_sentence(raised)


def test_layers_that_would_be_too_large_are_refused():
    net = Network.from_connections(4, 1, [(0, 5, 1.0), (5, 4, 1.0), (3, 4, 1.0)])
    with pytest.raises(ValueError, match="at most 8 weights, got 9 for 3 connections: pass limit=9") as raised:
        net.to_dense(limit=8)
    assert_one_sentence(raised)
    assert len(net.to_dense(limit=9)) == 2 and dense.LIMIT == 2**27


def test_what_is_no_list_of_layers_is_refused():
    layer = DenseLayer(np.ones((2, 3)))
    for wrong, error, message in (
        (layer, TypeError, "layers must be a list of DenseLayer, got DenseLayer"),
        ([], ValueError, "layers must have at least one"),
        ([layer, layer], ValueError, r"layers\[1\] must have a weight with 2 columns"),
        ([layer, np.ones((1, 2))], TypeError, r"layers\[1\] must be a DenseLayer, got ndarray"),
    ):
        with pytest.raises(error, match=message) as raised:
            Network.from_dense(wrong)
        assert_one_sentence(raised)
    layer.weight[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"weight of layers\[0\] must be finite, got nan at index \(1, 2\)") as raised:
        Network.from_dense([layer])
    assert_one_sentence(raised)
    net = Network.dense([2, 2], seed=0)
    net.connections.weight[0] = np.inf  # live, so nothing looked
    with pytest.raises(ValueError, match="weight must be finite, got inf"):
        net.to_dense()


def test_the_oracle_agrees():
    """The layers do what the plain definition of a network does."""
    net = Network.random(4, 3, 8, 30, seed=3)
    x = rows(4)
    wanted = np.array([o.activate(plain(net), row) for row in x.tolist()])
    np.testing.assert_allclose(forward(net.to_dense(), x), wanted, rtol=1e-12, atol=1e-12)
