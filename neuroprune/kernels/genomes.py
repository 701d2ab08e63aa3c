"""Genomes laid end to end in columns, the workspace in which one is made, and how two of them match.

Genome g has the rows node_start[g] + (0 .. n_nodes[g]) of the node columns (one more than nodes, as `incoming` has)
and edge_start[g] + (0 .. n_edges[g] - 1) of the edge columns; both may have room to spare behind. Its parameters,
weights and then biases without a gap, begin at node_start[g] + edge_start[g]. `incoming` counts from 0 in each genome.
`delayed` is empty for acyclic genomes. `baseline` is the evolutionary baseline, 0 where there is none.
"""

from typing import NamedTuple

import numpy as np

from neuroprune.kernels.compile import jit
from neuroprune.kernels.structure import first_from


class Columns(NamedTuple):
    node_start: np.ndarray  # (G,) int64
    n_nodes: np.ndarray  # (G,) int64
    edge_start: np.ndarray  # (G,) int64
    n_edges: np.ndarray  # (G,) int64
    baseline: np.ndarray  # (G,) int64
    ids: np.ndarray  # int64, by node
    incoming: np.ndarray  # int64, by node
    code: np.ndarray  # uint8, by node
    source: np.ndarray  # int32, by edge
    delayed: np.ndarray  # bool, by edge, or empty
    parameters: np.ndarray  # float64


class Genome(NamedTuple):
    """One genome with room to grow. size: 0 nodes, 1 edges, 2 baseline, 3 splits recorded, 4 rewired or not."""

    size: np.ndarray  # (5,) int64
    ids: np.ndarray
    incoming: np.ndarray  # int64
    code: np.ndarray
    bias: np.ndarray
    source: np.ndarray
    weight: np.ndarray
    delayed: np.ndarray
    splits: np.ndarray  # (k, 2) int64: source and target id of connections that were split


NODES, EDGES, BASELINE, SPLITS, REWIRED = range(5)


@jit
def workspace(nodes, edges, splits, recurrent):
    """Room for one genome of so many nodes and edges."""
    return Genome(np.zeros(5, np.int64), np.empty(nodes, np.int64), np.zeros(nodes + 1, np.int64),
                  np.empty(nodes, np.uint8), np.empty(nodes), np.empty(edges, np.int32), np.empty(edges),
                  np.zeros(max(edges, 1) if recurrent else 0, np.bool_), np.empty((splits, 2), np.int64))


@jit
def copy(source, at, to, place, count):
    """to[place:place + count] = source[at:at + count]."""
    source = source[at:at + count]
    to = to[place:place + count]
    for i in range(count):
        to[i] = source[i]


@jit
def load(columns, g, genome):
    """Copy genome g into the workspace."""
    node, n = columns.node_start[g], columns.n_nodes[g]
    edge, e = columns.edge_start[g], columns.n_edges[g]
    zero = np.int64(0)  # of the type of the other places, so that `copy` is compiled once for each column
    size = genome.size
    size[0], size[1], size[2], size[3], size[4] = n, e, columns.baseline[g], 0, 0
    copy(columns.ids, node, genome.ids, zero, n)
    copy(columns.incoming, node, genome.incoming, zero, n + 1)
    copy(columns.code, node, genome.code, zero, n)
    copy(columns.source, edge, genome.source, zero, e)
    copy(columns.parameters, node + edge, genome.weight, zero, e)
    copy(columns.parameters, node + edge + e, genome.bias, zero, n)
    if columns.delayed.size > 0:
        copy(columns.delayed, edge, genome.delayed, zero, e)


@jit
def store(genome, columns, g):
    """Copy the workspace into the room of genome g."""
    node, edge = columns.node_start[g], columns.edge_start[g]
    n, e = genome.size[0], genome.size[1]
    zero = np.int64(0)
    columns.n_nodes[g], columns.n_edges[g], columns.baseline[g] = n, e, genome.size[2]
    copy(genome.ids, zero, columns.ids, node, n)
    copy(genome.incoming, zero, columns.incoming, node, n + 1)
    copy(genome.code, zero, columns.code, node, n)
    copy(genome.source, zero, columns.source, edge, e)
    copy(genome.weight, zero, columns.parameters, node + edge, e)
    copy(genome.bias, zero, columns.parameters, node + edge + e, n)
    if columns.delayed.size > 0:
        copy(genome.delayed, zero, columns.delayed, edge, e)


@jit
def gather(columns, indices, result):
    """Copy the genomes of these indices, which may repeat, into the rooms 0, 1, ... of the result."""
    late = columns.delayed.size > 0
    for i in range(indices.size):
        g = indices[i]
        node, n, edge, e = columns.node_start[g], columns.n_nodes[g], columns.edge_start[g], columns.n_edges[g]
        to_node, to_edge = result.node_start[i], result.edge_start[i]
        result.n_nodes[i], result.n_edges[i], result.baseline[i] = n, e, columns.baseline[g]
        copy(columns.ids, node, result.ids, to_node, n)
        copy(columns.incoming, node, result.incoming, to_node, n + 1)
        copy(columns.code, node, result.code, to_node, n)
        copy(columns.source, edge, result.source, to_edge, e)
        copy(columns.parameters, node + edge, result.parameters, to_node + to_edge, e + n)
        if late:
            copy(columns.delayed, edge, result.delayed, to_edge, e)


@jit
def reads(columns, g, read):
    """Write where each connection of genome g finds its value: its source, less N when it is delayed."""
    n, edge = columns.n_nodes[g], columns.edge_start[g]
    for i in range(columns.n_edges[g]):
        late = columns.delayed.size > 0 and columns.delayed[edge + i]
        read[i] = columns.source[edge + i] - (n if late else 0)


@jit
def _slot(node_id, mask):
    return (node_id ^ (node_id >> 13) ^ (node_id >> 29)) & mask


@jit
def _slots(n):
    """A power of two, more than twice n."""
    slots = 4
    while slots <= 2 * n:
        slots *= 2
    return slots


@jit
def table_for(n):
    """An empty table that finds the positions of up to n ids: its size, 0 until it is filled, and then its slots."""
    return np.zeros(_slots(n) + 1, np.int64)


@jit
def positions_in(known, table, ids, former):
    """former[i] = the position of the id ids[i] in known, or -1.

    Both lists are mostly in the same order, which is walked. Where they differ, the table is asked, which is filled
    when it is first needed.
    """
    place = 0
    for i in range(ids.size):
        wanted = ids[i]
        if place < known.size and known[place] == wanted:
            former[i] = place
            place += 1
            continue
        if table[0] == 0:
            slots = _slots(known.size)
            table[0] = slots
            for slot in range(slots):
                table[1 + slot] = -1
            for j in range(known.size):
                slot = _slot(known[j], slots - 1)
                while table[1 + slot] >= 0:
                    slot = (slot + 1) & (slots - 1)
                table[1 + slot] = j
        mask = table[0] - 1
        slot = _slot(wanted, mask)
        found = table[1 + slot]
        while found >= 0 and known[found] != wanted:
            slot = (slot + 1) & mask
            found = table[1 + slot]
        former[i] = found
        if found >= 0:
            place = found + 1


@jit
def match_edges(known_incoming, known_source, incoming, source, former, matched):
    """matched[i] = which connection of a known genome joins the same ids as connection i, or -1; returns how many do.

    former[p] is the position of node p in the known genome, or -1.
    """
    matches = 0
    for target in range(incoming.size - 1):
        theirs = former[target]
        low = high = place = np.int64(0)
        if theirs >= 0:
            low, high = known_incoming[theirs], known_incoming[theirs + 1]
            place = low
        for i in range(incoming[target], incoming[target + 1]):
            matched[i] = -1
            wanted = former[source[i]]
            if wanted < 0:
                continue
            # both lists ascend, mostly in the same order of nodes: walk on, and search where the order differs
            if place > low and known_source[place - 1] >= wanted:
                place = first_from(known_source, low, place, wanted)
            while place < high and known_source[place] < wanted:
                place += 1
            if place < high and known_source[place] == wanted:
                matched[i] = place
                matches += 1
                place += 1
    return matches


@jit
def distance(columns, a, others, b, disjoint, difference, table, former, matched):
    """Compatibility of genome a and genome b of others (Stanley & Miikkulainen 2002, eq. 1).

    disjoint * D / N + difference * W: D the connections that only one of them has, N those of the larger one, W the
    mean absolute difference of the weights that match. Two genomes without connections are 0 apart. See positions_in
    for the table, which belongs to b.
    """
    first, n, edge, e = columns.node_start[a], columns.n_nodes[a], columns.edge_start[a], columns.n_edges[a]
    start, count, origin, edges = others.node_start[b], others.n_nodes[b], others.edge_start[b], others.n_edges[b]
    positions_in(others.ids[start:start + count], table, columns.ids[first:first + n], former)
    matches = match_edges(others.incoming[start:start + count + 1], others.source[origin:origin + edges],
                          columns.incoming[first:first + n + 1], columns.source[edge:edge + e], former, matched)
    mine = columns.parameters[first + edge:first + edge + e]
    theirs = others.parameters[start + origin:start + origin + edges]
    total = 0.0
    for i in range(e):
        if matched[i] >= 0:
            total += abs(mine[i] - theirs[matched[i]])
    larger = max(e, edges)
    if larger == 0:
        return 0.0
    result = disjoint * (e + edges - 2 * matches) / larger
    if matches > 0:
        result += difference * total / matches
    return result


@jit
def distances(columns, firsts, others, seconds, disjoint, difference, out):
    """out[i] = distance of genome firsts[i] of columns and genome seconds[i] of others."""
    table = table_for(others.n_nodes.max())
    former = np.empty(columns.n_nodes.max(), np.int64)
    matched = np.empty(max(columns.n_edges.max(), 1), np.int64)
    for i in range(firsts.size):
        table[0] = 0
        out[i] = distance(columns, firsts[i], others, seconds[i], disjoint, difference, table, former, matched)


@jit
def first_within(columns, start, stop, others, thresholds_from, disjoint, difference, threshold, out):
    """For genomes start .. stop - 1 still marked -1 in out: the first genome of others from thresholds_from on that
    is closer than the threshold; -1 stays where there is none."""
    count = others.n_nodes.size
    size = table_for(others.n_nodes.max()).size
    tables = np.zeros(count * size, np.int64)  # each of the others is indexed once
    former = np.empty(columns.n_nodes.max(), np.int64)
    matched = np.empty(max(columns.n_edges.max(), 1), np.int64)
    for g in range(start, stop):
        if out[g] >= 0:
            continue
        for b in range(thresholds_from, count):
            table = tables[b * size:(b + 1) * size]
            if distance(columns, g, others, b, disjoint, difference, table, former, matched) < threshold:
                out[g] = b
                break
