"""What the tests of pruning, regrowth and files share: living networks, places to grow, and a full look at one."""

import json

import numpy as np
from hypothesis import strategies as st

import oracles as o
import strategies as s
from bridge import network, plain
from neuroprune import Network
from neuroprune.network import files


def everything(net):
    """All that a file holds of a network: its header as text, its columns as bytes."""
    header, columns = files.describe(net)
    return json.dumps(header, sort_keys=True), {name: column.tobytes() for name, column in columns.items()}


def pairs(listing):
    """The (source id, target id) of connections or of a listing, in order."""
    return list(zip(listing.source.tolist(), listing.target.tolist(), strict=True))


def star(weights, seed=0):
    """One connection from each of several inputs to the only output."""
    n = len(weights)
    return Network.from_connections(n, 1, ([*range(n)], [n] * n, list(weights)), seed=seed)


@st.composite
def living(draw, min_connections=0):
    """Networks of any kind, one in three made in layers and partly pruned."""
    if draw(st.integers(0, 2)):
        return network(draw(s.networks(min_connections=min_connections)), seed=draw(s.SEEDS))
    net = Network.dense([draw(s.sizes(1, 5)) for _ in range(draw(s.sizes(2, 4)))], seed=draw(s.SEEDS))
    net.keep(np.random.default_rng(draw(s.SEEDS)).random(len(net.connections)) < draw(st.floats(0.3, 1.0)))
    return net


@st.composite
def candidates(draw, net):
    """(candidates as an argument, the pairs of ids they stand for, taken ones included)."""
    legal = [slot[:2] for slot in o.legal_slots(plain(net))]
    kind = draw(st.sampled_from(["order", "mask", "pairs"] + ["layers"] * (net.graph.layer_sizes is not None)))
    if kind == "order":
        return "order", set(legal)
    if kind == "layers":
        sizes = net.graph.layer_sizes
        layer = dict(zip(net.nodes.id.tolist(), np.repeat(np.arange(len(sizes)), sizes).tolist(), strict=True))
        return "layers", {(source, target) for source, target in legal if layer[target] == layer[source] + 1}
    rng = np.random.default_rng(draw(s.SEEDS))
    chosen = [pair for pair, taken in zip(legal, rng.random(len(legal)) < draw(st.floats(0, 1)), strict=True) if taken]
    if kind == "pairs":
        return rng.permutation(np.array(chosen * 2, np.int64).reshape(-1, 2)), set(chosen)  # twice, in any order
    mask, place = np.zeros((net.graph.n_nodes,) * 2, bool), {node: i for i, node in enumerate(net.nodes.id.tolist())}
    for source, target in chosen:
        mask[place[target], place[source]] = True
    return mask, set(chosen)


def anything(net):
    """Random inputs and targets for a network."""
    rng = np.random.default_rng(0)
    shape = (3, 2) if net.graph.recurrent else (6,)
    return rng.standard_normal((*shape, net.graph.n_inputs)), rng.standard_normal((*shape, net.graph.n_outputs))
