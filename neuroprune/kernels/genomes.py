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
    """One genome with room to grow.

    size: 0 nodes, 1 edges, 2 baseline, 3 splits recorded, 4 rewired or not, 5 removed and 6 regrown by pruning.
    """

    size: np.ndarray  # (7,) int64
    ids: np.ndarray
    incoming: np.ndarray  # int64
    code: np.ndarray
    bias: np.ndarray
    source: np.ndarray
    weight: np.ndarray
    delayed: np.ndarray
    splits: np.ndarray  # (k, 2) int64: source and target id of connections that were split


def workspace(nodes, edges, splits, recurrent):
    """Room for one genome of so many nodes and edges."""
    return Genome(np.zeros(7, np.int64), np.empty(nodes, np.int64), np.zeros(nodes + 1, np.int64),
                  np.empty(nodes, np.uint8), np.empty(nodes), np.empty(edges, np.int32), np.empty(edges),
                  np.zeros(max(edges, 1) if recurrent else 0, np.bool_), np.empty((splits, 2), np.int64))


# Unsigned places spare the test for negative ones, so that copying vectorises; handing an array to a function, or
# slicing it, counts references, which takes longer than copying a small genome.


@jit
def load(columns, g, genome):
    """Copy genome g into the workspace."""
    n, e = columns.n_nodes[g], columns.n_edges[g]
    node, edge = np.uint64(columns.node_start[g]), np.uint64(columns.edge_start[g])
    weights = node + edge
    biases = weights + np.uint64(e)
    size = genome.size
    size[0], size[1], size[2] = n, e, columns.baseline[g]
    for i in range(3, 7):
        size[i] = 0
    for i in range(np.uint64(n)):
        genome.ids[i] = columns.ids[node + i]
    for i in range(np.uint64(n)):
        genome.incoming[i] = columns.incoming[node + i]
    for i in range(np.uint64(n)):
        genome.code[i] = columns.code[node + i]
    for i in range(np.uint64(n)):
        genome.bias[i] = columns.parameters[biases + i]
    genome.incoming[n] = e
    for i in range(np.uint64(e)):
        genome.source[i] = columns.source[edge + i]
    for i in range(np.uint64(e)):
        genome.weight[i] = columns.parameters[weights + i]
    if columns.delayed.size > 0:
        for i in range(np.uint64(e)):
            genome.delayed[i] = columns.delayed[edge + i]


@jit
def store(genome, columns, g):
    """Copy the workspace into the room of genome g."""
    n, e = genome.size[0], genome.size[1]
    node, edge = np.uint64(columns.node_start[g]), np.uint64(columns.edge_start[g])
    weights = node + edge
    biases = weights + np.uint64(e)
    columns.n_nodes[g], columns.n_edges[g], columns.baseline[g] = n, e, genome.size[2]
    for i in range(np.uint64(n)):
        columns.ids[node + i] = genome.ids[i]
    for i in range(np.uint64(n)):
        columns.incoming[node + i] = genome.incoming[i]
    for i in range(np.uint64(n)):
        columns.code[node + i] = genome.code[i]
    for i in range(np.uint64(n)):
        columns.parameters[biases + i] = genome.bias[i]
    columns.incoming[node + np.uint64(n)] = e
    for i in range(np.uint64(e)):
        columns.source[edge + i] = genome.source[i]
    for i in range(np.uint64(e)):
        columns.parameters[weights + i] = genome.weight[i]
    if columns.delayed.size > 0:
        for i in range(np.uint64(e)):
            columns.delayed[edge + i] = genome.delayed[i]


@jit
def gather(columns, indices, result):
    """Copy the genomes of these indices, which may repeat, into the rooms 0, 1, ... of the result."""
    for i in range(indices.size):
        g = indices[i]
        n, e = columns.n_nodes[g], columns.n_edges[g]
        node, edge = np.uint64(columns.node_start[g]), np.uint64(columns.edge_start[g])
        to_node, to_edge = np.uint64(result.node_start[i]), np.uint64(result.edge_start[i])
        result.n_nodes[i], result.n_edges[i], result.baseline[i] = n, e, columns.baseline[g]
        for j in range(np.uint64(n)):
            result.ids[to_node + j] = columns.ids[node + j]
        for j in range(np.uint64(n)):
            result.incoming[to_node + j] = columns.incoming[node + j]
        for j in range(np.uint64(n)):
            result.code[to_node + j] = columns.code[node + j]
        result.incoming[to_node + np.uint64(n)] = e
        for j in range(np.uint64(e)):
            result.source[to_edge + j] = columns.source[edge + j]
        at, to = node + edge, to_node + to_edge
        for j in range(np.uint64(e + n)):
            result.parameters[to + j] = columns.parameters[at + j]
        if columns.delayed.size > 0:
            for j in range(np.uint64(e)):
                result.delayed[to_edge + j] = columns.delayed[edge + j]


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


def table_for(n):
    """An empty table that finds the positions of up to n ids: its size, 0 until it is filled, and then its slots."""
    return np.zeros(_slots(n) + 1, np.int64)


@jit
def match(columns, a, others, b, table, at, former, matched):
    """Match genome a with genome b of others by ids; returns how many connections do.

    former[i] = the position in b of node i of a, or -1; matched[i] = which connection of b, counted from 0, joins the
    same ids as connection i of a, or -1. Both genomes mostly have the same order of nodes, which is walked; where they
    differ, the table of b from `at` on is asked, which is filled when it is first needed.
    """
    ids, known = columns.ids, others.ids
    first, n, start, count = columns.node_start[a], columns.n_nodes[a], others.node_start[b], others.n_nodes[b]
    place = 0
    for i in range(n):
        wanted = ids[first + i]
        if place < count and known[start + place] == wanted:
            former[i] = place
            place += 1
            continue
        if table[at] == 0:
            slots = _slots(count)
            table[at] = slots
            for slot in range(slots):
                table[at + 1 + slot] = -1
            for j in range(count):
                slot = _slot(known[start + j], slots - 1)
                while table[at + 1 + slot] >= 0:
                    slot = (slot + 1) & (slots - 1)
                table[at + 1 + slot] = j
        mask = table[at] - 1
        slot = _slot(wanted, mask)
        found = table[at + 1 + slot]
        while found >= 0 and known[start + found] != wanted:
            slot = (slot + 1) & mask
            found = table[at + 1 + slot]
        former[i] = found
        if found >= 0:
            place = found + 1
    edge, origin = columns.edge_start[a], others.edge_start[b]
    incoming, source, known_incoming, known_source = columns.incoming, columns.source, others.incoming, others.source
    matches = 0
    stop = edge
    for target in range(n):
        begin, stop = stop, edge + incoming[first + target + 1]
        theirs = former[target]
        low = high = place = origin
        if theirs >= 0:
            low, high = origin + known_incoming[start + theirs], origin + known_incoming[start + theirs + 1]
            place = low
        for i in range(begin, stop):
            wanted = former[source[i]]
            found = -1
            if wanted >= 0:
                # both lists ascend, mostly in the same order: walk on, and search where the order differs
                if place > low and known_source[place - 1] >= wanted:
                    place = first_from(known_source, low, place, wanted)
                while place < high and known_source[place] < wanted:
                    place += 1
                if place < high and known_source[place] == wanted:
                    found = place - origin
                    matches += 1
                    place += 1
            matched[i - edge] = found
    return matches


@jit
def distance(columns, a, others, b, disjoint, difference, table, at, former, matched):
    """Compatibility of genome a and genome b of others (Stanley & Miikkulainen 2002, eq. 1).

    disjoint * D / N + difference * W: D the connections that only one of them has, N those of the larger one, W the
    mean absolute difference of the weights that match. Two genomes without connections are 0 apart.
    """
    matches = match(columns, a, others, b, table, at, former, matched)
    e, edges = columns.n_edges[a], others.n_edges[b]
    parameters, known = columns.parameters, others.parameters
    mine, theirs = columns.node_start[a] + columns.edge_start[a], others.node_start[b] + others.edge_start[b]
    total = 0.0
    for i in range(e):
        if matched[i] >= 0:
            total += abs(parameters[mine + i] - known[theirs + matched[i]])
    larger = max(e, edges)
    if larger == 0:
        return 0.0
    result = disjoint * (e + edges - 2 * matches) / larger
    if matches > 0:
        result += difference * total / matches
    return result


@jit
def _distances(columns, firsts, others, seconds, disjoint, difference, out, table, former, matched):
    at = np.int64(0)
    for i in range(firsts.size):
        table[at] = 0
        out[i] = distance(columns, firsts[i], others, seconds[i], disjoint, difference, table, at, former, matched)


@jit
def _first_within(columns, start, stop, others, thresholds_from, disjoint, difference, threshold, out, tables, size,
                  former, matched):
    for g in range(start, stop):
        if out[g] >= 0:
            continue
        for b in range(thresholds_from, others.n_nodes.size):
            if distance(columns, g, others, b, disjoint, difference, tables, b * size, former, matched) < threshold:
                out[g] = b
                break


def scratch(columns):
    """Room for `former` and `matched` of any of these genomes."""
    return np.empty(columns.n_nodes.max(), np.int64), np.empty(columns.n_edges.max(), np.int64)


def distances(columns, firsts, others, seconds, disjoint, difference, out):
    """out[i] = distance of genome firsts[i] of columns and genome seconds[i] of others."""
    _distances(columns, firsts, others, seconds, disjoint, difference, out, table_for(others.n_nodes.max()),
               *scratch(columns))


def first_within(columns, start, stop, others, thresholds_from, disjoint, difference, threshold, out):
    """For genomes start .. stop - 1 still marked -1 in out: the first genome of others from thresholds_from on that
    is closer than the threshold; -1 stays where there is none."""
    size = table_for(others.n_nodes.max()).size  # each of the others is indexed once
    _first_within(columns, start, stop, others, thresholds_from, disjoint, difference, threshold, out,
                  np.zeros(others.n_nodes.size * size, np.int64), size, *scratch(columns))
