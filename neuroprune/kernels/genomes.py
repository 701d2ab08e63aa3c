"""Genomes laid end to end in columns, the workspace in which one is made, and how two of them match.

Genome g has the rows node_start[g] + (0 .. n_nodes[g]) of the node columns (one more than nodes, as `incoming` has)
and edge_start[g] + (0 .. n_edges[g] - 1) of the edge columns; both may have room to spare behind. Its parameters,
weights and then biases without a gap, begin at node_start[g] + edge_start[g]. `incoming` counts from 0 in each genome.
`delayed` is empty for acyclic genomes. `baseline` is the evolutionary baseline, 0 where there is none.
"""

from typing import NamedTuple

import numpy as np

from neuroprune.kernels.compile import jit


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
def load(columns, g, genome):
    """Copy genome g into the workspace."""
    first, n = columns.node_start[g], columns.n_nodes[g]
    edge, e = columns.edge_start[g], columns.n_edges[g]
    at = first + edge
    size = genome.size
    size[0], size[1], size[2], size[3], size[4] = n, e, columns.baseline[g], 0, 0
    for i in range(n):
        genome.ids[i] = columns.ids[first + i]
        genome.incoming[i] = columns.incoming[first + i]
        genome.code[i] = columns.code[first + i]
        genome.bias[i] = columns.parameters[at + e + i]
    genome.incoming[n] = e
    for i in range(e):
        genome.source[i] = columns.source[edge + i]
        genome.weight[i] = columns.parameters[at + i]
    if columns.delayed.size > 0:
        for i in range(e):
            genome.delayed[i] = columns.delayed[edge + i]


@jit
def store(genome, columns, g):
    """Copy the workspace into the room of genome g."""
    first, edge = columns.node_start[g], columns.edge_start[g]
    n, e = genome.size[0], genome.size[1]
    at = first + edge
    columns.n_nodes[g], columns.n_edges[g], columns.baseline[g] = n, e, genome.size[2]
    for i in range(n):
        columns.ids[first + i] = genome.ids[i]
        columns.incoming[first + i] = genome.incoming[i]
        columns.code[first + i] = genome.code[i]
        columns.parameters[at + e + i] = genome.bias[i]
    columns.incoming[first + n] = e
    for i in range(e):
        columns.source[edge + i] = genome.source[i]
        columns.parameters[at + i] = genome.weight[i]
    if columns.delayed.size > 0:
        for i in range(e):
            columns.delayed[edge + i] = genome.delayed[i]


@jit
def gather(columns, indices, result):
    """Copy the genomes of these indices, which may repeat, into the rooms 0, 1, ... of the result."""
    late = columns.delayed.size > 0
    for i in range(indices.size):
        g = indices[i]
        first, n, edge, e = columns.node_start[g], columns.n_nodes[g], columns.edge_start[g], columns.n_edges[g]
        to_node, to_edge = result.node_start[i], result.edge_start[i]
        result.n_nodes[i], result.n_edges[i], result.baseline[i] = n, e, columns.baseline[g]
        result.ids[to_node:to_node + n] = columns.ids[first:first + n]
        result.incoming[to_node:to_node + n + 1] = columns.incoming[first:first + n + 1]
        result.code[to_node:to_node + n] = columns.code[first:first + n]
        result.source[to_edge:to_edge + e] = columns.source[edge:edge + e]
        at, to = first + edge, to_node + to_edge
        result.parameters[to:to + e + n] = columns.parameters[at:at + e + n]
        if late:
            result.delayed[to_edge:to_edge + e] = columns.delayed[edge:edge + e]


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
def index_ids(ids, first, n, table):
    """Fill a table of a power of two of entries, more than twice n, that finds positions by id; returns its mask."""
    entries = 4
    while entries <= 2 * n:
        entries *= 2
    mask = entries - 1
    for i in range(entries):
        table[i] = -1
    for i in range(n):
        place = _slot(ids[first + i], mask)
        while table[place] >= 0:
            place = (place + 1) & mask
        table[place] = i
    return mask


@jit
def find_id(ids, first, table, mask, node_id):
    """The position of an id in an indexed genome, or -1."""
    place = _slot(node_id, mask)
    while table[place] >= 0:
        if ids[first + table[place]] == node_id:
            return table[place]
        place = (place + 1) & mask
    return -1


@jit
def table_size(most_nodes):
    """Entries of a table that fits genomes of so many nodes."""
    entries = 4
    while entries <= 2 * most_nodes:
        entries *= 2
    return entries


@jit
def positions_in(columns, b, ids, first, n, table, former):
    """former[i] = the position in genome b of the id at ids[first + i], or -1."""
    start, count = columns.node_start[b], columns.n_nodes[b]
    same = n == count
    i = 0
    while same and i < n:
        same = ids[first + i] == columns.ids[start + i]
        i += 1
    if same:
        for i in range(n):
            former[i] = i
        return
    mask = index_ids(columns.ids, start, count, table)
    for i in range(n):
        former[i] = find_id(columns.ids, start, table, mask, ids[first + i])


@jit
def match_edges(columns, b, n, incoming, begin, source, edge, former, matched):
    """matched[i] = which connection of genome b (counted from 0) joins the same ids as connection i, or -1.

    The connections of node t are source[edge + incoming[begin + t] : edge + incoming[begin + t + 1]].
    """
    start, origin = columns.node_start[b], columns.edge_start[b]
    for target in range(n):
        first, last = incoming[begin + target], incoming[begin + target + 1]
        theirs = former[target]
        if theirs < 0:
            for i in range(first, last):
                matched[i] = -1
            continue
        low, high = columns.incoming[start + theirs], columns.incoming[start + theirs + 1]
        place = low
        for i in range(first, last):
            wanted = former[source[edge + i]]
            # both lists ascend, and mostly in the same order of nodes: walk on, and begin again where they differ
            if place > low and columns.source[origin + place - 1] >= wanted:
                place = low
            while place < high and columns.source[origin + place] < wanted:
                place += 1
            matched[i] = place if wanted >= 0 and place < high and columns.source[origin + place] == wanted else -1


@jit
def distance(columns, a, others, b, disjoint, difference, table, former, matched):
    """Compatibility of genome a and genome b of others (Stanley & Miikkulainen 2002, eq. 1).

    disjoint * D / N + difference * W: D the connections that only one of them has, N those of the larger one, W the
    mean absolute difference of the weights that match. Two genomes without connections are 0 apart.
    """
    first, n, edge, e = columns.node_start[a], columns.n_nodes[a], columns.edge_start[a], columns.n_edges[a]
    at = first + edge
    other = others.node_start[b] + others.edge_start[b]
    positions_in(others, b, columns.ids, first, n, table, former)
    match_edges(others, b, n, columns.incoming, first, columns.source, edge, former, matched)
    count = 0
    total = 0.0
    for i in range(e):
        if matched[i] >= 0:
            count += 1
            total += abs(columns.parameters[at + i] - others.parameters[other + matched[i]])
    larger = max(e, others.n_edges[b])
    if larger == 0:
        return 0.0
    result = disjoint * (e + others.n_edges[b] - 2 * count) / larger
    if count > 0:
        result += difference * total / count
    return result


@jit
def distances(columns, firsts, others, seconds, disjoint, difference, out):
    """out[i] = distance of genome firsts[i] of columns and genome seconds[i] of others."""
    most_nodes = max(columns.n_nodes.max(), others.n_nodes.max())
    table = np.empty(table_size(most_nodes), np.int64)
    former = np.empty(most_nodes, np.int64)
    matched = np.empty(max(columns.n_edges.max(), 1), np.int64)
    for i in range(firsts.size):
        out[i] = distance(columns, firsts[i], others, seconds[i], disjoint, difference, table, former, matched)


@jit
def first_within(columns, start, stop, others, thresholds_from, disjoint, difference, threshold, out):
    """For genomes start .. stop - 1 still marked -1 in out: the first genome of others from thresholds_from on that
    is closer than the threshold; -1 stays where there is none."""
    most_nodes = max(columns.n_nodes.max(), others.n_nodes.max())
    table = np.empty(table_size(most_nodes), np.int64)
    former = np.empty(most_nodes, np.int64)
    matched = np.empty(max(columns.n_edges.max(), 1), np.int64)
    for g in range(start, stop):
        if out[g] >= 0:
            continue
        for b in range(thresholds_from, others.n_nodes.size):
            if distance(columns, g, others, b, disjoint, difference, table, former, matched) < threshold:
                out[g] = b
                break
