"""Genomes for the tests of evolution: drawn ones, packed ones, and one `Plain` through a program of the kernels."""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

import bridge
import oracles as o
import strategies as s
from neuroprune import activations, kernels
from neuroprune.evolution.genomes import Genomes

DEFAULT = "sigmoid"  # of new nodes


@dataclass
class Mutated:
    """What a program made of a network: the network, its baseline, what was split (ids), whether it was rewired."""

    plain: o.Plain
    baseline: int | None
    splits: list
    rewired: bool
    state: np.ndarray


def renamed(plain, names):
    """The same network under other ids of hidden nodes."""
    to = {node: names.get(node, node) for node in plain.order}
    return replace(
        plain,
        order=[to[node] for node in plain.order],
        bias={to[node]: value for node, value in plain.bias.items()},
        activation={to[node]: name for node, name in plain.activation.items()},
        connections={(to[a], to[b]): value for (a, b), value in plain.connections.items()},
    )


@st.composite
def genomes(draw, recurrent=None, min_connections=1, max_inputs=4, max_outputs=3, max_hidden=8):
    """`Plain` networks as evolution meets them: any legal delays, ids of any size."""
    plain = draw(s.networks(recurrent, s.ANY, max_inputs, max_outputs, max_hidden, min_connections=min_connections))
    rng = np.random.default_rng(draw(s.SEEDS))
    if plain.recurrent and draw(st.booleans()):  # a forward connection may be delayed, too
        plain = replace(plain, connections={
            pair: (weight, late or bool(rng.random() < 0.3)) for pair, (weight, late) in plain.connections.items()})
    if draw(st.booleans()):
        scale = draw(st.sampled_from((1, 64, 2**31, 2**55)))  # ids that meet in a table, and huge ones
        plain = renamed(plain, {node: node * scale + scale for node in plain.hidden})
    return plain


def baselines(plain):
    """Evolutionary baselines: none, or anything around the present count."""
    return st.one_of(st.none(), st.integers(1, 2 * len(plain.connections) + 3))


@st.composite
def genomes_with_baseline(draw, recurrent=None, min_connections=1, **sizes):
    """(plain, evolutionary baseline or None)."""
    plain = draw(genomes(recurrent, min_connections, **sizes))
    return plain, draw(baselines(plain))


def packed(plains, found=None):
    """Genomes of plain networks with these baselines."""
    nets = [bridge.network(plain, default_activation=DEFAULT) for plain in plains]
    for net, baseline in zip(nets, found or [None] * len(nets), strict=True):
        net._evolution_baseline = baseline
    return Genomes.pack(nets)


def program(*rows):
    """A table of instructions, each a tuple that starts with its name in `kernels.mutate`."""
    table = np.zeros((len(rows), 5))
    for i, (name, *numbers) in enumerate(rows):
        table[i, 0] = getattr(kernels.mutate, name)
        table[i, 1 : 1 + len(numbers)] = numbers
    return table


def codes(names):
    """The column of choices that ChangeActivation draws from."""
    return np.array([activations.code(name) for name in names], np.uint8)


def stream(seed=0, generation=0, child=0):
    """The state of a stream."""
    state = np.zeros(4, np.int64)
    kernels.random.seed_stream(seed, generation, child, state)
    return state


def room_of(plain, table):
    """(nodes, edges) that a network can have after a program."""
    growth = {kernels.mutate.ADD_NODE: 1, kernels.mutate.ADD_CONNECTION: 1}
    edges = sum(growth.get(int(row[0]), 0) + (row[0] == kernels.mutate.REGROW) * int(row[1]) for row in table)
    nodes = int((table[:, 0] == kernels.mutate.ADD_NODE).sum())
    return np.array([len(plain.order) + nodes, max(len(plain.connections) + edges, 1)])


def assert_sound(net):
    """Every promise of a network; what is derived is rebuilt and compared only where that does not take long."""
    graph = net.graph
    assert kernels.structure.sound(graph.incoming, graph.source, graph.delays, graph.n_inputs, graph.n_outputs)
    ids, first, last = graph.ids.tolist(), graph.n_inputs, graph.n_nodes - graph.n_outputs
    assert len(set(ids)) == len(ids) and ids[:first] == list(range(first))
    assert ids[last:] == list(range(first, first + graph.n_outputs))
    if graph.n_nodes <= 12:
        bridge.assert_sound(net)


def mutate(plain, rows, seed=0, baseline=None, choices=(), state=None):
    """Run a program (rows or a table) on one network; new nodes are named from one above its highest id on."""
    table = rows if isinstance(rows, np.ndarray) else program(*rows)
    genome = packed([plain], [baseline])
    room = room_of(plain, table)
    result = Genomes.room_for(plain.n_inputs, plain.n_outputs, plain.recurrent, genome.default_code, room[:1], room[1:])
    splits = np.zeros((int((table[:, 0] == kernels.mutate.ADD_NODE).sum()), 2), np.int64)
    state = stream(seed) if state is None else state
    count, rewired = kernels.breed.mutate_one(
        genome.columns, plain.n_inputs, plain.n_outputs, genome.default_code, table, codes(choices), state, room,
        result.columns, splits,
    )  # fmt: skip
    names = max(plain.order) + 1 + np.arange(count)
    kernels.breed.name_splits(result.columns, 0, names, count)
    net = result.network(0)
    assert_sound(net)
    listed = [tuple(int(names[-1 - end]) if end < 0 else end for end in row) for row in splits[:count].tolist()]
    return Mutated(bridge.plain(net), net.evolution_baseline, listed, bool(rewired), state)


def relative(plain, seed):
    """A network of common descent: other numbers, other order, fewer and other connections, some nodes of its own."""
    rng = np.random.default_rng(seed)
    kept = {pair: value for pair, value in plain.connections.items() if rng.random() < 0.8}
    for node in plain.hidden:
        if rng.random() < 0.2:
            plain = o.remove_node(plain, node)
            kept = {pair: value for pair, value in kept.items() if node not in pair}
    plain = replace(plain, connections=kept)
    hidden = [plain.hidden[i] for i in rng.permutation(len(plain.hidden))]
    forward = [pair for pair, (_, late) in kept.items() if not late]
    order = [*plain.inputs, *hidden, *plain.outputs]
    plain = replace(plain, order=o.kahn(order, plain.n_inputs, plain.n_outputs, forward))
    for _ in range(rng.integers(0, 4)):
        if plain.connections:
            pair = sorted(plain.connections)[rng.integers(len(plain.connections))]
            plain = o.split(plain, *pair, new_id=max(plain.order) + int(rng.integers(1, 4)))
    for source, target, late in o.free_slots(plain):
        if rng.random() < 0.2:
            plain = replace(plain, connections=plain.connections | {(source, target): (1.0, late)})
    free = plain.order[plain.n_inputs :]
    return replace(
        plain,
        bias=plain.bias | {node: float(rng.normal()) for node in free},
        activation=plain.activation | {node: str(rng.choice(s.ANY)) for node in free},
        connections={pair: (float(rng.normal()), late) for pair, (_, late) in plain.connections.items()},
    )


@st.composite
def families(draw, least=1, most=5, recurrent=None):
    """Plain networks of common descent, the first without a change; at least so many."""
    first = draw(genomes(recurrent, min_connections=0))
    return [first, *(relative(first, draw(s.SEEDS)) for _ in range(draw(st.integers(least, most)) - 1))]
