"""Packed genomes on data: what they lose, one step of each on a row of its own, and gradient steps.

Every genome runs the loops that one network runs, so its numbers are those of its Network, bit for bit. `user` holds
registered activations; x is (sequences, steps, n_inputs), y (sequences, steps, n_outputs); state starts at zero.
Genomes start .. stop - 1 are done, each for itself: no split of the range changes a bit.
"""

import math

import numpy as np

from neuroprune.kernels.compile import jit
from neuroprune.kernels.elementary import exp, log
from neuroprune.kernels.forward import lane_buffer, load_lanes, step_tile
from neuroprune.kernels.functions import apply
from neuroprune.kernels.genomes import reads
from neuroprune.kernels.losses import SOFTMAX_CROSS_ENTROPY, element, mean_share
from neuroprune.kernels.random import below, seed_stream
from neuroprune.kernels.training import train_steps

LANES = 16
TILE_VALUES = 65_536  # as in network/run.py: values of a tile that fit the second-level cache,
WIDE_VALUES = 1_048_576  # and the third-level cache
PORTION_ROWS = 65_536  # rows in the mini-batches of one call of the training loop


@jit
def tile_stride(n_nodes, blocks, rows):
    """Rows of one tile, as network.run.tile_stride has it."""
    size = n_nodes * blocks
    fitting = max(TILE_VALUES // size // LANES, min(WIDE_VALUES // size // LANES, 4), 1)
    return LANES * min(fitting, 8, max((rows + LANES - 1) // LANES, 1))


@jit
def _most(counts, start, stop):
    """The largest count, at least 1."""
    most = 1
    for g in range(start, stop):
        most = max(most, counts[g])
    return most


@jit
def _finite(values):
    for i in range(values.size):
        if not math.isfinite(values[i]):
            return False
    return True


@jit
def is_class(y, row, step, at, stride, cut, target_cut, values):
    """Whether the highest output is at the highest target, the first of equals; a single output lies above its cut.

    Output j is values[at + j * stride].
    """
    if y.shape[2] == 1:
        return (values[at] > cut) == (y[row, step, 0] > target_cut)
    best = wanted = 0
    for j in range(1, y.shape[2]):
        if values[at + j * stride] > values[at + best * stride]:
            best = j
        if y[row, step, j] > y[row, step, wanted]:
            wanted = j
    return best == wanted


@jit
def _softmax(y, row, step, at, stride, values):
    """Softmax cross-entropy of one row, as losses.loss_tile has it, without the derivative."""
    highest = values[at]
    for j in range(y.shape[2]):
        highest = max(highest, values[at + j * stride])
    normaliser = 0.0
    for j in range(y.shape[2]):
        normaliser += exp(values[at + j * stride] - highest)
    logarithm = log(normaliser)
    total = 0.0
    for j in range(y.shape[2]):
        total -= y[row, step, j] * (values[at + j * stride] - highest - logarithm)
    return total


@jit
def _measure(loss, cuts, y, start, rows, step, at, stride, values, found):
    """found[lane * steps + step] = the loss of each lane, or with cuts 1 for a hit; NaN where outputs are not finite.

    Not by losses.loss_tile, whose derivatives take most of the time.
    """
    steps, n_outputs = y.shape[1], y.shape[2]
    for lane in range(rows):
        row, first = start + lane, at + lane
        value = 0.0
        for j in range(n_outputs):
            if not math.isfinite(values[first + j * stride]):
                value = math.nan
        if not math.isfinite(value):
            pass
        elif cuts.size > 0:
            value = 1.0 if is_class(y, row, step, first, stride, cuts[0], cuts[1], values) else 0.0
        elif loss == SOFTMAX_CROSS_ENTROPY:
            value = _softmax(y, row, step, first, stride, values)
        else:
            for j in range(n_outputs):
                value += element(loss, values[first + j * stride], y[row, step, j])[0]
        found[lane * steps + step] = value


@jit
def dataset(columns, user, n_inputs, n_outputs, recurrent, start, stop, x, y, loss, cuts, out):
    """out[g] = mean loss of genome g, or with cuts its accuracy; NaN where an output or the loss is not finite.

    cuts is empty, or holds above which number a single output, and a single target, is the second class. Rows are
    brought into lanes once for all genomes, tile by tile; a genome's losses are added in the order of mean_loss.
    """
    rows, steps = x.shape[0], x.shape[1]
    most = _most(columns.n_nodes, start, stop)
    stride = tile_stride(most, 1 + recurrent, rows)
    present = most if recurrent else 0  # where the inputs of the present step lie, for genomes of any size
    values = lane_buffer((present + most) * stride, columns.parameters)
    inputs = lane_buffer(steps * n_inputs * stride, columns.parameters)
    found = np.empty(stride * steps)
    read = np.empty(_most(columns.n_edges, start, stop), np.int32)
    order = np.arange(rows)
    out[start:stop] = 0.0
    for first in range(0, rows, stride):
        count = min(stride, rows - first)
        for moment in range(steps):
            load_lanes(x, order, first, count, moment, n_inputs, moment * n_inputs, stride, inputs)
        for g in range(start, stop):
            node, n, e = columns.node_start[g], columns.n_nodes[g], columns.n_edges[g]
            at = node + columns.edge_start[g]
            reads(columns, g, read)
            base = n if recurrent else 0
            mine = values[(present - base) * stride:]
            mine[:base * stride] = 0.0
            for moment in range(steps):
                if steps > 1 or g == start:
                    for i in range(n_inputs * stride):
                        mine[base * stride + i] = inputs[moment * n_inputs * stride + i]
                step_tile(columns.incoming[node:node + n + 1], read, columns.parameters[at:at + e],
                          columns.parameters[at + e:at + e + n], columns.code[node:node + n], user, n_inputs, base,
                          stride, mine, mine)
                _measure(loss, cuts, y, first, count, moment, (base + n - n_outputs) * stride, stride, mine, found)
                if moment + 1 < steps:
                    for i in range(base * stride):
                        mine[i] = mine[base * stride + i]
            for i in range(count * steps):
                out[g] += found[i]
    share = mean_share(loss, rows, steps, n_outputs)
    for g in range(start, stop):
        out[g] = out[g] / (rows * steps) if cuts.size > 0 else out[g] * share
        if not math.isfinite(out[g]):
            out[g] = math.nan


@jit
def step_genome(columns, g, user, n_inputs, values):
    """One step of genome g, without lanes. values: the N of the step before, then the N of this one.

    The caller has put the inputs at values[N:N + n_inputs], and finds the outputs last.
    """
    node, n, e = columns.node_start[g], columns.n_nodes[g], columns.n_edges[g]
    edge = columns.edge_start[g]
    at = node + edge
    late = columns.delayed.size > 0
    for i in range(n_inputs, n):
        total = columns.parameters[at + e + i]
        for k in range(columns.incoming[node + i], columns.incoming[node + i + 1]):
            block = 0 if late and columns.delayed[edge + k] else n
            total += columns.parameters[at + k] * values[block + columns.source[edge + k]]
        values[n + i] = total
        apply(columns.code[node + i], values, n + i, values, n + i, 1, user)


@jit
def step(columns, user, n_inputs, n_outputs, recurrent, start, stop, x, state, out):
    """One step of every genome on its own row: x (G, n_inputs) to out (G, n_outputs).

    state, as long as the node columns, holds the values of the step before at node_start[g], zeros at first; those
    of this step replace them. Acyclic genomes leave it alone, and it may be empty.
    """
    values = np.zeros(2 * _most(columns.n_nodes, start, stop))
    for g in range(start, stop):
        first, n = columns.node_start[g], columns.n_nodes[g]
        if recurrent:
            for i in range(n):
                values[i] = state[first + i]
        for i in range(n_inputs):
            values[n + i] = x[g, i]
        step_genome(columns, g, user, n_inputs, values)
        for j in range(n_outputs):
            out[g, j] = values[2 * n - n_outputs + j]
        if recurrent:
            for i in range(n):
                state[first + i] = values[n + i]


@jit
def _shuffle(permutation, stream):
    """Every order equally likely (Fisher & Yates)."""
    for i in range(permutation.size - 1, 0, -1):
        j = below(stream, i + 1)
        permutation[i], permutation[j] = permutation[j], permutation[i]


@jit
def batches(rows, batch, starts, order, permutation, place, stream):
    """Rows of the next mini-batches: batch i is order[starts[i]:starts[i + 1]]; returns the place in the epoch.

    From place `rows` on a new epoch is shuffled, whose last batch may be smaller; batches of all rows keep the order
    of the data and draw nothing.
    """
    starts[0] = 0
    for i in range(starts.size - 1):
        if place >= rows:
            place = 0
            if batch < rows:
                _shuffle(permutation, stream)
        count = min(batch, rows - place)
        for k in range(count):
            order[starts[i] + k] = permutation[place + k]
        starts[i + 1] = starts[i] + count
        place += count
    return place


@jit
def learn(columns, user, n_inputs, n_outputs, recurrent, start, stop, x, y, loss, steps, rate, batch, optimizer,
          settings, clip, seed, generation, first):
    """Take optimizer steps on the parameters of every genome, in place, as network/train.py does.

    The order of the mini-batches of genome g comes from the stream (seed, generation, first + g). A genome whose
    training does not stay finite keeps the parameters that it had.
    """
    rows, blocks = x.shape[0], x.shape[1] + recurrent
    portion = min(steps, max(PORTION_ROWS // batch, 1))
    read = np.empty(_most(columns.n_edges, start, stop), np.int32)
    permutation = np.empty(rows, np.int64)
    order = np.empty(portion * batch, np.int64)
    starts = np.zeros(portion + 1, np.int64)
    stream = np.empty(4, np.int64)
    rates = np.full(portion, rate)
    losses, norms = np.empty(portion), np.empty(portion)
    for g in range(start, stop):
        node, n, e = columns.node_start[g], columns.n_nodes[g], columns.n_edges[g]
        at = node + columns.edge_start[g]
        parameters = columns.parameters[at:at + e + n]
        before = parameters.copy()
        moments, unread = np.zeros((2, e + n)), np.zeros(e)  # what is accumulated is not asked for
        reads(columns, g, read)
        seed_stream(seed, generation, first + g, stream)
        for i in range(rows):
            permutation[i] = i
        place = rows
        taken = 0
        while 0 <= taken < steps:
            count = min(portion, steps - taken)
            place = batches(rows, batch, starts[:count + 1], order, permutation, place, stream)
            done = train_steps(columns.incoming[node:node + n + 1], read[:e], parameters, columns.code[node:node + n],
                               user, n_inputs, n_outputs, recurrent, tile_stride(n, blocks, batch), loss, x, y, order,
                               starts, optimizer, settings, clip, rates[:count], taken + 1, moments, unread,
                               unread, unread, losses, norms)
            taken = taken + count if done == count else -1
        if taken < 0 or not _finite(parameters):
            parameters[:] = before
