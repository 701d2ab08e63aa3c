"""Networks as networkx graphs and back."""

import json
import math

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles as o
import strategies as s
from bridge import assert_one_sentence, assert_same, assert_sound, network, plain
from living import living, pairs
from neuroprune import Network


def chain(**attributes):
    """a -> h -> b with weights 2 and 3."""
    graph = networkx.DiGraph(**attributes)
    graph.add_edge("a", "h", weight=2.0)
    graph.add_edge("h", "b", weight=3.0)
    return graph


# ---------------------------------------------------------------- there and back


@given(living(), s.edit_scripts(0, 8, ("split", "connect", "remove")))
def test_comes_back_as_it_was(net, script):
    for edit in script:
        existing = pairs(net.connections)
        if edit[0] == "split" and existing:
            net.add_node(*s.pick(edit[1], existing))
        elif edit[0] == "connect" and (places := o.free_slots(plain(net))):
            net.connect(*s.pick(edit[1], places)[:2], 0.5)
        elif edit[0] == "remove" and (hidden := plain(net).hidden):
            net.remove_node(s.pick(edit[1], hidden))
    twin = Network.from_networkx(net.to_networkx())
    assert net.equals(twin)
    assert_same(twin, plain(net))  # the order of nodes and of connections too
    assert twin.default_activation == net.default_activation
    assert_sound(twin)


@given(s.networks(), st.sampled_from(s.ANY))
def test_the_graph_says_everything(spelled, default):
    graph = network(spelled, default_activation=default).to_networkx()
    assert type(graph) is networkx.DiGraph
    assert graph.graph == {"inputs": spelled.inputs, "outputs": spelled.outputs, "recurrent": spelled.recurrent,
                           "default_activation": default}  # fmt: skip
    assert list(graph) == spelled.order and set(graph.edges) == set(spelled.connections)
    for node, attributes in graph.nodes(data=True):
        kind = "input" if node in spelled.inputs else "output" if node in spelled.outputs else "hidden"
        assert attributes == {"kind": kind, "bias": spelled.bias[node], "activation": spelled.activation[node]}
    for source, target, attributes in graph.edges(data=True):
        weight, delayed = spelled.connections[source, target]
        assert attributes == {"weight": weight, "delayed": delayed}
    assert Network.from_networkx(graph).default_activation == default
    assert json.loads(json.dumps(networkx.node_link_data(graph, edges="edges")))  # plain Python numbers all through


@given(s.networks(), s.SEEDS)
def test_the_order_of_insertion_of_edges_does_not_matter(spelled, seed):
    graph = network(spelled).to_networkx()
    edges = list(graph.edges(data=True))
    shuffled = networkx.DiGraph(**graph.graph)
    shuffled.add_nodes_from(graph.nodes(data=True))
    shuffled.add_edges_from(edges[i] for i in np.random.default_rng(seed).permutation(len(edges)))
    assert_same(Network.from_networkx(shuffled), spelled)


def test_an_empty_recurrent_network_stays_recurrent():
    net = Network.random(1, 1, 1, 0, recurrent=True, seed=0)
    assert Network.from_networkx(net.to_networkx()).graph.recurrent


def test_a_change_in_networkx_arrives():
    graph = Network.from_connections(2, 1, [(0, 3, 1.0), (3, 2, 1.0)], seed=0).to_networkx()
    graph.remove_edge(0, 3)
    graph.add_edge(1, 3, weight=0.25)
    graph.nodes[3]["activation"] = "relu"
    net = Network.from_networkx(graph)
    assert pairs(net.connections) == [(1, 3), (3, 2)] and net.node(3).activation == "relu"


# ---------------------------------------------------------------- graphs of others


def test_names_become_ids():
    net = Network.from_networkx(chain(), inputs=["a"], outputs=["b"])
    assert net.nodes.id.tolist() == [0, 2, 1] and net.connections.weight.tolist() == [2.0, 3.0]
    assert net.nodes.activation.tolist()[1:] == ["tanh", "tanh"] and not net.nodes.bias.any()
    assert net.default_activation == "tanh" and not net.graph.recurrent


def test_hidden_integers_stay_where_they_do_not_collide():
    graph = networkx.DiGraph()
    graph.add_weighted_edges_from([("x", 40, 1.0), (40, 7, 1.0), (7, "y", 1.0)])
    assert Network.from_networkx(graph, ["x"], ["y"]).nodes.id.tolist() == [0, 40, 7, 1]
    for other in (1, "h", True, -3, 2.0, 2**70):  # taken by the output, no integer, or too large
        names = networkx.relabel_nodes(graph, {7: other})
        assert Network.from_networkx(names, ["x"], ["y"]).nodes.id.tolist() == [0, 2, 3, 1]


def test_inputs_and_outputs_come_in_the_order_given():
    graph = networkx.DiGraph()
    graph.add_weighted_edges_from([("p", "u", 1.0), ("q", "v", 10.0)])
    networkx.set_node_attributes(graph, "identity", "activation")
    assert Network.from_networkx(graph, ["p", "q"], ["u", "v"])([1.0, 2.0]).tolist() == [1.0, 20.0]
    assert Network.from_networkx(graph, ["q", "p"], ["v", "u"])([1.0, 2.0]).tolist() == [10.0, 2.0]


def test_given_ends_overrule_those_of_the_graph():
    graph = chain(inputs=["b"], outputs=["a"])
    assert pairs(Network.from_networkx(graph, ["a"], ["b"]).connections) == [(0, 2), (2, 1)]


@given(st.integers(2, 12), st.floats(0, 1), s.SEEDS)
def test_any_acyclic_graph_is_ordered(n, density, seed):
    rng = np.random.default_rng(seed)
    names, graph = rng.permutation(n).tolist(), networkx.DiGraph()
    graph.add_nodes_from(rng.permutation(n).tolist())  # in an order that has nothing to do with the edges
    graph.add_weighted_edges_from((names[i], names[j], rng.uniform(-1, 1)) for i in range(n) for j in range(i + 1, n)
                                  if rng.random() < density and names[j] != names[0] and names[i] != names[-1])
    net = Network.from_networkx(graph, inputs=[names[0]], outputs=[names[-1]])
    assert_sound(net)
    assert len(net.connections) == graph.number_of_edges() and len(net.nodes) == n


def test_recurrence_comes_from_edges_or_from_the_graph():
    graph = chain()
    graph.add_edge("h", "h", weight=0.5, delayed=True)
    net = Network.from_networkx(graph, ["a"], ["b"])
    assert net.graph.recurrent and net.connection(2, 2).delayed
    assert Network.from_networkx(chain(recurrent=True), ["a"], ["b"]).graph.recurrent


def test_numbers_of_numpy_are_numbers():
    graph = chain()
    graph.edges["a", "h"]["weight"] = np.float32(0.5)
    graph.nodes["h"]["bias"] = np.int64(2)
    net = Network.from_networkx(graph, ["a"], ["b"])
    assert net.connections.weight.tolist() == [0.5, 3.0] and net.node(2).bias == 2.0


# ---------------------------------------------------------------- refused


def changed(change):
    graph = chain()
    change(graph)
    return graph


@pytest.mark.parametrize(
    ("graph", "inputs", "outputs", "error", "named"),
    [
        (networkx.Graph(), [], [], TypeError, "graph must be a networkx.DiGraph, got Graph"),
        (networkx.MultiDiGraph(), [], [], TypeError, "graph must be a networkx.DiGraph, got MultiDiGraph"),
        ({"a": ["b"]}, ["a"], ["b"], TypeError, "graph must be a networkx.DiGraph, got dict"),
        (chain(), None, ["b"], ValueError, r"pass inputs=\[...\]"),
        (chain(), ["a"], None, ValueError, r"pass outputs=\[...\]"),
        (chain(), [], ["b"], ValueError, "inputs must name at least one node, got none"),
        (chain(), ["z"], ["b"], ValueError, "inputs must be nodes of the graph, got 'z'"),
        (chain(), ["a", "a"], ["b"], ValueError, "inputs must be different nodes"),
        (chain(), ["a"], ["a"], ValueError, "a node must not be input and output at once, got 'a'"),
        (chain(), ["h"], ["b"], ValueError, "must not lead into an input"),
        (chain(), ["a"], ["h"], ValueError, "must not leave an output"),
        (chain(), 3, ["b"], TypeError, "inputs must be a sequence of nodes, got 3"),
        (changed(lambda g: g.edges["a", "h"].pop("weight")), ["a"], ["b"], ValueError,
         "every edge must have a weight, got none on 'a' -> 'h'"),
        (changed(lambda g: g.edges["a", "h"].update(weight=math.nan)), ["a"], ["b"], ValueError, "finite, got nan"),
        (changed(lambda g: g.edges["a", "h"].update(weight="heavy")), ["a"], ["b"], (TypeError, ValueError), "heavy"),
        (changed(lambda g: g.nodes["h"].update(bias=math.inf)), ["a"], ["b"], ValueError, "finite, got inf"),
        (changed(lambda g: g.nodes["h"].update(activation="tahn")), ["a"], ["b"], ValueError, "did you mean 'tanh'"),
        (changed(lambda g: g.nodes["a"].update(bias=0.5)), ["a"], ["b"], ValueError,
         "an input has no bias, got 0.5 for node 'a'"),
        (changed(lambda g: g.add_edge("h", "h", weight=1.0)), ["a"], ["b"], ValueError, "must join two nodes"),
        (changed(lambda g: g.add_weighted_edges_from([("h", "k", 1.0), ("k", "h", 1.0)])), ["a"], ["b"], ValueError,
         "must not close a cycle, got"),
    ],
)  # fmt: skip
def test_what_is_no_network_is_refused(graph, inputs, outputs, error, named):
    with pytest.raises(error, match=named) as raised:
        Network.from_networkx(graph, inputs, outputs)
    assert_one_sentence(raised)
