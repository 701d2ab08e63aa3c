"""A generation of children: parents are drawn, crossed and mutated, each child from a stream of its own.

What is called from outside and is not a kernel itself makes the room that kernels work in, because making
arrays takes long to compile; reproduction is two kernels, because each compiles all that it calls once more.
"""

import numpy as np

from neuroprune.kernels import mutate
from neuroprune.kernels.compile import jit
from neuroprune.kernels.genomes import gather, load, match, scratch, store, table_for, workspace
from neuroprune.kernels.random import below, seed_stream, uniform, word


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
def _conceive(parents, pool, pool_start, merit, tournament, crossover, between, family, elite, n_inputs, seed,
              generation, start, stop, genome, table, former, matched, children, states):
    """Copy elites, and cross the parents of the others; what is left of each stream is in its row of states."""
    for child in range(start, stop):
        if elite[child] >= 0:
            load(parents, elite[child], genome)
            store(genome, children, child)
            continue
        state = states[child - start]
        seed_stream(seed, generation, child, state)
        first, last = pool_start[family[child]], pool_start[family[child] + 1]
        a = _pick(pool, first, last, merit, tournament, state)
        if uniform(state) < crossover:
            if uniform(state) < between:
                first, last = np.int64(0), pool.size
            b = _pick(pool, first, last, merit, tournament, state)
            a, b = _fitter(parents, merit, a, b)
            load(parents, a, genome)
            if a != b:
                cross(genome, parents, a, b, n_inputs, table, former, matched, state)
        else:
            load(parents, a, genome)
        store(genome, children, child)


@jit
def run_program(columns, start, stop, spared, genome, n_inputs, n_outputs, default_code, program, choices, scores,
                states, splits, outcome):
    """Apply the instructions in order to each of the genomes start .. stop - 1 in its room, unless spared[g] >= 0.

    SKIP a b: with probability 1 - a leave out the next b; JUMP b: leave out b. `scores` lie like `source` where the
    method is GIVEN, and are empty else. Of states, splits and outcome, row 0 belongs to genome `start`; outcome
    receives, for each, the splits recorded, whether the wiring changed, and how many connections pruning removed and
    regrew.
    """
    for g in range(start, stop):
        if spared[g] >= 0:
            continue
        load(columns, g, genome)
        state = states[g - start]
        edge = columns.edge_start[g]
        given = scores[edge:edge + genome.size[1]] if scores.size > 0 else scores
        row = 0
        while row < program.shape[0]:
            what, a, b = int(program[row, 0]), program[row, 1], program[row, 2]
            c, d = program[row, 3], program[row, 4]
            e = genome.size[1]
            if what == mutate.SKIP:
                if uniform(state) >= a:
                    row += int(b)
            elif what == mutate.JUMP:
                row += int(b)
            elif what == mutate.ADD_NODE:
                mutate.add_node(genome, n_outputs, default_code, state)
            elif what == mutate.REMOVE_NODE:
                mutate.remove_node(genome, n_inputs, n_outputs, state)
            elif what == mutate.ADD_CONNECTION:
                mutate.add_connection(genome, n_inputs, n_outputs, a, state)
            elif what == mutate.REMOVE_CONNECTION:
                mutate.remove_connection(genome, state)
            elif what == mutate.PERTURB_WEIGHTS:
                mutate.perturb(genome.weight[:e], a, b, c, d, state)
            elif what == mutate.PERTURB_BIASES:
                mutate.perturb(genome.bias[n_inputs:genome.size[0]], a, b, c, d, state)
            elif what == mutate.CHANGE_ACTIVATION:
                mutate.change_activation(genome, n_inputs, a, choices, int(b), int(c), state)
            elif what == mutate.PRUNE:
                mutate.prune_to(genome, max(1, e - mutate.half_even(a * e)), int(b), given, state)
            elif what == mutate.PRUNE_TO_SPARSITY:
                mutate.prune_to_sparsity(genome, n_inputs, n_outputs, a, c, int(b), given, state)
            elif what == mutate.REGROW:
                mutate.regrow(genome, n_inputs, n_outputs, int(a), state)
            row += 1
        store(genome, columns, g)
        for i in range(4):
            outcome[g - start, i] = genome.size[3 + i]
        for i in range(genome.size[3]):
            splits[g - start, i, 0], splits[g - start, i, 1] = genome.splits[i, 0], genome.splits[i, 1]


def breed(parents, pool, pool_start, merit, tournament, crossover, between, family, elite, n_inputs, n_outputs,
          default_code, program, choices, seed, generation, start, stop, room, children, splits, split_counts):
    """Make the children start .. stop - 1 into their rooms.

    Child i copies the parent elite[i] unchanged, or, when that is -1, is born to the parents
    pool[pool_start[f]:pool_start[f + 1]] of its family f = family[i]; with the probability `between` the second
    parent is of any family. splits[i] and split_counts[i] receive what AddNode split, for the ids to be given later.
    room is (nodes, edges) of the largest child.
    """
    genome = workspace(room[0], room[1], splits.shape[1], parents.delayed.size > 0)
    states = np.zeros((stop - start, 4), np.int64)
    outcome = np.zeros((stop - start, 4), np.int64)
    _conceive(parents, pool, pool_start, merit, tournament, crossover, between, family, elite, n_inputs, seed,
              generation, start, stop, genome, table_for(parents.n_nodes.max()), *scratch(parents), children, states)
    run_program(children, start, stop, elite, genome, n_inputs, n_outputs, default_code, program, choices, np.empty(0),
                states, splits[start:stop], outcome)
    split_counts[start:stop] = outcome[:, 0]


def mutate_one(columns, n_inputs, n_outputs, default_code, program, choices, state, room, result, splits):
    """Run a program on genome 0 of columns into result; returns (splits, whether the wiring changed)."""
    genome = workspace(room[0], room[1], splits.shape[0], columns.delayed.size > 0)
    outcome = np.zeros((1, 4), np.int64)
    gather(columns, np.zeros(1, np.int64), result)
    run_program(result, 0, 1, np.full(1, -1), genome, n_inputs, n_outputs, default_code, program, choices, np.empty(0),
                state[np.newaxis], splits[np.newaxis], outcome)
    return int(outcome[0, 0]), bool(outcome[0, 1])


def cross_one(columns, n_inputs, state, result):
    """The child of genome 0, the fitter one, and genome 1."""
    genome = workspace(columns.n_nodes.max(), columns.n_edges.max(), 0, columns.delayed.size > 0)
    load(columns, 0, genome)
    cross(genome, columns, 0, 1, n_inputs, table_for(columns.n_nodes.max()), *scratch(columns), state)
    store(genome, result, 0)


@jit
def _seed_streams(seed, generation, first, states):
    for i in range(states.shape[0]):
        seed_stream(seed, generation, first + i, states[i])


def prune_genomes(columns, n_inputs, n_outputs, target, regrow_fraction, method, scores, seed, generation, offset,
                  start, stop, removed, regrown):
    """Prune the genomes start .. stop - 1 in their rooms; stream offset + g serves genome g.

    `scores` lie like `source` when the method is GIVEN, and are empty else.
    """
    genome = workspace(columns.n_nodes.max(), columns.n_edges.max(), 0, columns.delayed.size > 0)
    states = np.empty((stop - start, 4), np.int64)
    outcome = np.zeros((stop - start, 4), np.int64)
    _seed_streams(seed, generation, offset + start, states)
    program = np.array([[mutate.PRUNE_TO_SPARSITY, target, method, regrow_fraction, 0.0]])
    run_program(columns, start, stop, np.full(stop, -1), genome, n_inputs, n_outputs, 0, program,
                np.zeros(0, np.uint8), scores, states, np.zeros((stop - start, 0, 2), np.int64), outcome)
    removed[start:stop] = outcome[:, 2]
    regrown[start:stop] = outcome[:, 3]


@jit
def name_splits(columns, g, names, count):
    """Replace the provisional ids -1 - i of genome g by names[i]."""
    first = columns.node_start[g]
    for i in range(first, first + columns.n_nodes[g]):
        if columns.ids[i] < 0:
            columns.ids[i] = names[-1 - columns.ids[i]]
