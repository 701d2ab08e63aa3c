"""From inputs to outputs: one row, or rows in tiles of lanes.

A network is five columns: `incoming` (N+1,) int64, the connections of node p are incoming[p]:incoming[p+1];
`read` (E,) int32, where a connection finds its value relative to the present step (source position, less N when
delayed); `weight` (E,); `bias` (N,); `code` (N,) uint8, the activation. `user` holds registered activations.
A slice of packed columns of a population is the same thing, so one network and many run the same loops.

Values lie node by node: node p of step s is at ((s + recurrent) * N + p) * stride. Step -1 is the state.
"""

import numpy as np

from neuroprune.kernels.compile import jit
from neuroprune.kernels.functions import apply
from neuroprune.kernels.lanes import LANES, WIDE, gather, gather_wide


@jit
def lane_buffer(size, like):
    """An uninitialised buffer of `size` numbers that begins on a cache line, so that no lanes straddle two."""
    width = like.itemsize
    buffer = np.empty(size + 64 // width, like.dtype)
    skip = (-buffer.ctypes.data // width) % (64 // width)
    return buffer[skip:skip + size]


@jit
def step_tile(incoming, read, weight, bias, code, user, first, base, stride, values, sums):
    """Compute all nodes from `first` on, `stride` lanes at once; base is the step's offset in nodes."""
    for node in range(first, incoming.size - 1):
        at = (base + node) * stride
        wide = stride - stride % WIDE
        for lane in range(0, wide, WIDE):
            gather_wide(incoming[node], incoming[node + 1], read, weight, values, base * stride + lane, stride,
                        bias[node], sums, at + lane)
        for lane in range(wide, stride, LANES):
            gather(incoming[node], incoming[node + 1], read, weight, values, base * stride + lane, stride,
                   bias[node], sums, at + lane)
        apply(code[node], sums, at, values, at, stride, user)


@jit
def load_lanes(x, order, start, rows, step, n_inputs, base, stride, values):
    """Copy the inputs of `rows` sequences into the lanes; lanes beyond them repeat the last one."""
    for first in range(0, stride, LANES):  # neighbouring lanes share cache lines
        for i in range(n_inputs):
            at = (base + i) * stride + first
            for lane in range(min(LANES, stride - first)):
                values[at + lane] = x[order[start + min(first + lane, rows - 1)], step, i]


@jit
def run_rows(incoming, read, weight, bias, code, user, n_inputs, n_outputs, recurrent, stride, x, state, out):
    """Run sequences x (rows, steps, n_inputs) to out (rows, steps, n_outputs); a recurrent net continues state.

    state is (rows, N), read as the values of the step before and left as those of the last step.
    """
    n = incoming.size - 1
    rows, steps = x.shape[0], x.shape[1]
    blocks = 2 if recurrent else 1
    values = lane_buffer(blocks * n * stride, weight)
    order = np.arange(rows)
    for start in range(0, rows, stride):
        count = min(stride, rows - start)
        if recurrent:
            for lane in range(stride):
                row = start + min(lane, count - 1)
                for node in range(n):
                    values[node * stride + lane] = state[row, node]
        base = (blocks - 1) * n
        for step in range(steps):
            load_lanes(x, order, start, count, step, n_inputs, base, stride, values)
            step_tile(incoming, read, weight, bias, code, user, n_inputs, base, stride, values, values)
            for j in range(n_outputs):
                at = (base + n - n_outputs + j) * stride
                for lane in range(count):
                    out[start + lane, step, j] = values[at + lane]
            if recurrent:
                for i in range(n * stride):
                    values[i] = values[n * stride + i]
        if recurrent and steps > 0:
            for lane in range(count):
                for node in range(n):
                    state[start + lane, node] = values[node * stride + lane]


@jit
def run_row(incoming, read, parameters, code, user, x, out):
    """One row through an acyclic network, without lanes: x (n_inputs,) to out (n_outputs,).

    `parameters` holds weights, then biases. Few arguments, as each costs 40 ns a call; unsigned indices, so that no
    check for negative ones is compiled.
    """
    n = np.uint64(incoming.size - 1)
    n_inputs = np.uint64(x.size)
    n_edges = np.uint64(read.size)
    first_output = n - np.uint64(out.size)
    values = np.empty(n, parameters.dtype)
    for i in range(n_inputs):
        values[i] = x[i]
    edge = np.uint64(0)
    for node in range(n_inputs, n):
        total = parameters[n_edges + np.uint64(node)]
        last = np.uint64(incoming[node + 1])
        while edge < last:
            total += parameters[edge] * values[np.uint64(read[edge])]
            edge += np.uint64(1)
        values[node] = total
        at = np.int64(node)  # the types that other kernels pass, so that apply compiles once
        apply(code[node], values, at, values, at, np.int64(1), user)
    for j in range(np.uint64(out.size)):
        out[j] = values[first_output + np.uint64(j)]
