"""A generation of children: parents are drawn, crossed and mutated, each child from a stream of its own."""

import numpy as np

from neuroprune.kernels.compile import jit
from neuroprune.kernels.genomes import load, match, store, table_for, workspace
from neuroprune.kernels.mutate import prune_to_sparsity, run_program
from neuroprune.kernels.random import below, normals, seed_stream, uniform, word


@jit
def cross(genome, columns, a, b, n_inputs, table, former, matched, state):
    """Mix genome b into the workspace, which holds genome a, the fitter parent, and keeps its wiring.

    Weights of matching connections, and bias and activation of matching nodes, come from either parent with
    probability 1/2 (Stanley & Miikkulainen 2002, section 3.2).
    """
    n, e = genome.size[0], genome.size[1]
    first, edge, edges = columns.node_start[b], columns.edge_start[b], columns.n_edges[b]
    table[0] = 0
    match(columns, a, columns, b, table, np.int64(0), former, matched)
    weight, bias, code, parameters, codes = genome.weight, genome.bias, genome.code, columns.parameters, columns.code
    at = first + edge
    biases = at + edges
    bits, left = 0, 0
    for i in range(e):
        if left == 0:
            bits, left = word(state), 32
        if matched[i] >= 0 and bits & 1:
            weight[i] = parameters[at + matched[i]]
        bits >>= 1
        left -= 1
    for node in range(n_inputs, n):
        if left == 0:
            bits, left = word(state), 32
        if former[node] >= 0 and bits & 1:
            bias[node] = parameters[biases + former[node]]
            code[node] = codes[first + former[node]]
        bits >>= 1
        left -= 1


@jit
def _pick(pool, first, last, merit, tournament, state):
    """The best of a few parents drawn from pool[first:last]."""
    best = pool[first + below(state, last - first)]
    for _ in range(1, tournament):
        other = pool[first + below(state, last - first)]
        if merit[other] > merit[best]:
            best = other
    return best


@jit
def _fitter(columns, merit, a, b):
    """The parent of higher merit, then with fewer connections, then the earlier one, and the other."""
    if merit[b] > merit[a] or (merit[b] == merit[a] and (columns.n_edges[b] < columns.n_edges[a] or (
            columns.n_edges[b] == columns.n_edges[a] and b < a))):
        return b, a
    return a, b


@jit
def breed(parents, pool, pool_start, merit, tournament, crossover, between, family, elite, n_inputs, n_outputs,
          default_code, program, choices, seed, generation, start, stop, room, children, splits, split_counts):
    """Make the children start .. stop - 1 into their rooms.

    Child i copies the parent elite[i] unchanged, or, when that is -1, is born to the parents
    pool[pool_start[f]:pool_start[f + 1]] of its family f = family[i]; with the probability `between` the second
    parent is of any family. splits[i] and split_counts[i] receive what AddNode split, for the ids to be given later.
    room is (nodes, edges) of the largest child.
    """
    genome = workspace(room[0], room[1], splits.shape[1], parents.delayed.size > 0)
    most_nodes = max(room[0], parents.n_nodes.max())
    table = table_for(most_nodes)
    former = np.empty(most_nodes, np.int64)
    matched = np.empty(room[1], np.int64)
    state = np.zeros(4, np.int64)
    for child in range(start, stop):
        split_counts[child] = 0
        if elite[child] >= 0:
            load(parents, elite[child], genome)
            store(genome, children, child)
            continue
        seed_stream(seed, generation, child, state)
        first, last = pool_start[family[child]], pool_start[family[child] + 1]
        a = _pick(pool, first, last, merit, tournament, state)
        if uniform(state) < crossover:
            if uniform(state) < between:
                first, last = 0, pool.size
            b = _pick(pool, first, last, merit, tournament, state)
            a, b = _fitter(parents, merit, a, b)
            load(parents, a, genome)
            if a != b:
                cross(genome, parents, a, b, n_inputs, table, former, matched, state)
        else:
            load(parents, a, genome)
        run_program(genome, n_inputs, n_outputs, default_code, program, choices, state)
        store(genome, children, child)
        split_counts[child] = genome.size[3]
        for i in range(genome.size[3]):
            splits[child, i, 0], splits[child, i, 1] = genome.splits[i, 0], genome.splits[i, 1]


def mutate_one(columns, n_inputs, n_outputs, default_code, program, choices, state, room, result, splits):
    """Run a program on genome 0 of columns into result; returns (splits, whether the wiring changed).

    A kernel of its own would compile all operators once more.
    """
    genome = workspace(room[0], room[1], splits.shape[0], columns.delayed.size > 0)
    load(columns, 0, genome)
    run_program(genome, n_inputs, n_outputs, default_code, program, choices, state)
    store(genome, result, 0)
    splits[:genome.size[3]] = genome.splits[:genome.size[3]]
    return int(genome.size[3]), bool(genome.size[4])


def cross_one(columns, n_inputs, state, result):
    """The child of genome 0, the fitter one, and genome 1."""
    most_nodes, most_edges = columns.n_nodes.max(), columns.n_edges.max()
    genome = workspace(most_nodes, most_edges, 0, columns.delayed.size > 0)
    load(columns, 0, genome)
    cross(genome, columns, 0, 1, n_inputs, table_for(most_nodes), np.empty(most_nodes, np.int64),
          np.empty(most_edges, np.int64), state)
    store(genome, result, 0)


@jit
def prune_genomes(columns, n_inputs, n_outputs, target, regrow_fraction, method, scores, seed, generation, offset,
                  start, stop, removed, regrown):
    """Prune the genomes start .. stop - 1 in their rooms; stream offset + g serves genome g.

    `scores` lie like `source` when the method is GIVEN, and are empty else.
    """
    genome = workspace(columns.n_nodes.max(), columns.n_edges.max(), 0, columns.delayed.size > 0)
    state = np.zeros(4, np.int64)
    for g in range(start, stop):
        seed_stream(seed, generation, offset + g, state)
        load(columns, g, genome)
        edge = columns.edge_start[g]
        given = scores[edge:edge + columns.n_edges[g]] if scores.size > 0 else scores
        removed[g], regrown[g] = prune_to_sparsity(genome, n_inputs, n_outputs, target, regrow_fraction, method, given,
                                                   state)
        store(genome, columns, g)


@jit
def draw_parameters(columns, n_inputs, weight_power, bias_power, seed, generation, start, stop):
    """Give the genomes start .. stop - 1 normal weights and biases (of all but inputs)."""
    most = 0
    for g in range(start, stop):
        most = max(most, columns.n_edges[g] + columns.n_nodes[g])
    drawn = np.empty(most + 1)
    state = np.zeros(4, np.int64)
    for g in range(start, stop):
        n, e = columns.n_nodes[g], columns.n_edges[g]
        at = columns.node_start[g] + columns.edge_start[g]
        seed_stream(seed, generation, g, state)
        normals(state, e + n - n_inputs, drawn)
        for i in range(e):
            columns.parameters[at + i] = weight_power * drawn[i]
        for i in range(n_inputs):
            columns.parameters[at + e + i] = 0.0
        for i in range(n - n_inputs):
            columns.parameters[at + e + n_inputs + i] = bias_power * drawn[e + i]


@jit
def name_splits(columns, g, names, count):
    """Replace the provisional ids -1 - i of genome g by names[i]."""
    first = columns.node_start[g]
    for i in range(first, first + columns.n_nodes[g]):
        if columns.ids[i] < 0:
            columns.ids[i] = names[-1 - columns.ids[i]]
