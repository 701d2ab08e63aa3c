"""From the oracles' `Plain` to a Network and back, and what must hold for a Network at any time."""

import pickle

import numpy as np

import oracles as o
from neuroprune import Network
from neuroprune.network import create

DERIVED = ("target", "read", "source_ids", "target_ids", "depth", "reaches_output", "reached_from_input")


def network(plain, seed=0, default_activation="tanh"):
    """The Network with exactly this order of nodes, connections given in their order of insertion."""
    pairs = list(plain.connections)
    columns = (
        np.array([source for source, _ in pairs], np.int64),
        np.array([target for _, target in pairs], np.int64),
        np.array([plain.connections[pair][0] for pair in pairs], np.float64),
    )
    delayed = np.array([plain.connections[pair][1] for pair in pairs], bool) if plain.recurrent else None
    free = plain.order[plain.n_inputs :]
    return create.assemble(
        Network, plain.n_inputs, plain.n_outputs, columns, {node: plain.bias[node] for node in free},
        {node: plain.activation[node] for node in free}, default_activation, delayed, seed,
        hidden=np.array(plain.hidden, np.int64),
    )  # fmt: skip


def plain(net):
    """The Network spelled out, read through its public views only."""
    connections, nodes, graph = net.connections, net.nodes, net.graph
    order = nodes.id.tolist()
    return o.Plain(
        graph.n_inputs,
        graph.n_outputs,
        order,
        dict(zip(order, nodes.bias.tolist(), strict=True)),
        dict(zip(order, nodes.activation.tolist(), strict=True)),
        {
            (source, target): (weight, late)
            for source, target, weight, late in zip(
                connections.source.tolist(), connections.target.tolist(), connections.weight.tolist(),
                connections.delayed.tolist(), strict=True,
            )  # fmt: skip
        },
        graph.recurrent,
    )


def assert_same(net, wanted):
    """The Network has the wiring, order, storage order and numbers of a Plain, bit for bit."""
    columns, graph = o.to_columns(wanted), net.graph
    assert (graph.n_inputs, graph.n_outputs, graph.recurrent) == (wanted.n_inputs, wanted.n_outputs, wanted.recurrent)
    assert graph.ids.tolist() == columns["ids"]
    assert graph.source.tolist() == columns["source"]
    assert graph.target.tolist() == columns["target"]
    assert net.connections.delayed.tolist() == columns["delayed"]
    assert net.connections.weight.tobytes() == np.array(columns["weight"], np.float64).tobytes()
    assert net.nodes.bias.tobytes() == np.array(columns["bias"], np.float64).tobytes()
    assert net.nodes.activation[graph.n_inputs :].tolist() == columns["activation"][graph.n_inputs :]


def assert_sound(net):
    """Sorted, exact, acyclic but for delays, finite; all that is derived equals what the oracle and a rebuild say."""
    graph, spelled = net.graph, plain(net)
    o.check(spelled)
    assert len(spelled.connections) == graph.n_connections == len(net.connections)  # no pair twice
    keys = graph.target.astype(np.int64) * graph.n_nodes + graph.source
    assert (np.diff(keys) > 0).all()
    assert np.diff(graph.incoming).tolist() == np.bincount(graph.target, minlength=graph.n_nodes).tolist()
    forward = ~net.connections.delayed
    assert (graph.source[forward] < graph.target[forward]).all()
    n = graph.n_nodes
    assert graph.read.tolist() == (graph.source - n * net.connections.delayed).tolist()
    deep, to, fro = o.depth(spelled), o.reaching_outputs(spelled), o.reached_from_inputs(spelled)
    assert graph.depth.tolist() == [deep[node] for node in spelled.order]
    assert graph.reaches_output.tolist() == [node in to for node in spelled.order]
    assert graph.reached_from_input.tolist() == [node in fro for node in spelled.order]
    lowest, highest = (bound.tolist() for bound in graph.slots)
    slots = [(graph.ids[s], graph.ids[t]) for t in range(n) for s in range(lowest[t], highest[t])]
    assert slots == [slot[:2] for slot in o.legal_slots(spelled)]
    rebuilt = network(spelled)
    assert net.equals(rebuilt)
    for name in DERIVED:
        mine, fresh = getattr(graph, name), getattr(rebuilt.graph, name)
        assert mine.dtype == fresh.dtype and mine.tobytes() == fresh.tobytes() and not mine.flags.writeable, name


def snapshot(net):
    """Everything a network carries as bytes; `net.rng` is made first, so that its making is no change."""
    net.rng  # noqa: B018
    return pickle.dumps(net)


def assert_one_sentence(error):
    """The message of an exception is one line and has no full stop, but for those of numbers and of what is cut."""
    text = str(error.value).replace("...", "")
    assert text and "\n" not in text and ". " not in text and not text.endswith("."), text
