"""Reverse mode over the layout of forward.py: exact gradients, through time for recurrent networks."""

from neuroprune.kernels.compile import jit
from neuroprune.kernels.forward import load_lanes, step_tile
from neuroprune.kernels.functions import apply_slope
from neuroprune.kernels.lanes import LANES, correlate, scatter
from neuroprune.kernels.losses import loss_tile, mean_share


@jit
def _lane_total(values, at):
    """Sum sixteen lanes in the fixed tree of lanes.plain_total."""
    a = (values[at] + values[at + 8]) + (values[at + 4] + values[at + 12])
    b = (values[at + 1] + values[at + 9]) + (values[at + 5] + values[at + 13])
    c = (values[at + 2] + values[at + 10]) + (values[at + 6] + values[at + 14])
    d = (values[at + 3] + values[at + 11]) + (values[at + 7] + values[at + 15])
    return (a + c) + (b + d)


@jit
def first_inner(incoming, read, node, n_inputs, n):
    """The first connection of a node whose source is no input; sources are sorted, so inputs come first."""
    edge = incoming[node]
    last = incoming[node + 1]
    while edge < last and (read[edge] if read[edge] >= 0 else read[edge] + n) < n_inputs:
        edge += 1
    return edge


@jit
def back_tile(incoming, read, weight, code, user, n_inputs, base, stride, sums, values, delta,
              weight_gradient, bias_gradient):
    """One step backwards: delta of every node becomes d loss / d sum, gradients are added to."""
    n = incoming.size - 1
    for node in range(n - 1, n_inputs - 1, -1):
        at = (base + node) * stride
        apply_slope(code[node], sums, at, values, at, delta, at, stride, user)
        inner = first_inner(incoming, read, node, n_inputs, n)
        for lane in range(0, stride, LANES):
            bias_gradient[node] += _lane_total(delta, at + lane)
            origin = base * stride + lane
            correlate(incoming[node], inner, read, values, origin, stride, delta, at + lane, weight_gradient)
            scatter(inner, incoming[node + 1], read, weight, values, origin, stride, delta, at + lane,
                    weight_gradient)


@jit
def backpropagate(incoming, read, weight, bias, code, user, n_inputs, n_outputs, recurrent, stride, loss, x, y,
                  order, start, rows, share, sums, values, delta, weight_gradient, bias_gradient):
    """Forward and backward of up to `stride` sequences from order[start] on; returns the summed loss.

    The buffers hold (steps + recurrent) blocks of N * stride; block 0 of a recurrent net is the state, zero.
    """
    n = incoming.size - 1
    steps = x.shape[1]
    delta[:] = 0.0
    if recurrent:
        values[:n * stride] = 0.0
    total = 0.0
    for step in range(steps):
        base = (step + recurrent) * n
        load_lanes(x, order, start, rows, step, n_inputs, base, stride, values)
        step_tile(incoming, read, weight, bias, code, user, n_inputs, base, stride, values, sums)
    for step in range(steps - 1, -1, -1):
        base = (step + recurrent) * n
        total += loss_tile(loss, y, order, start, rows, step, n_outputs, (base + n - n_outputs) * stride, stride,
                           share, values, delta)
        back_tile(incoming, read, weight, code, user, n_inputs, base, stride, sums, values, delta,
                  weight_gradient, bias_gradient)
    return total


@jit
def gradient_rows(incoming, read, weight, bias, code, user, n_inputs, n_outputs, recurrent, stride, loss, x, y,
                  order, start, rows, sums, values, delta, weight_gradient, bias_gradient):
    """Mean loss of `rows` sequences from order[start] on; the gradients of that mean are written."""
    share = mean_share(loss, rows, x.shape[1], n_outputs)
    weight_gradient[:] = 0.0
    bias_gradient[:] = 0.0
    total = 0.0
    for tile in range(start, start + rows, stride):
        count = min(stride, start + rows - tile)
        total += backpropagate(incoming, read, weight, bias, code, user, n_inputs, n_outputs, recurrent, stride,
                               loss, x, y, order, tile, count, share, sums, values, delta, weight_gradient,
                               bias_gradient)
    return total * share
