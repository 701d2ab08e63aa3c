"""Losses on one tile of outputs: the summed loss, and its derivative added to the deltas of the outputs.

Codes: 0 mse, 1 mae, 2 huber (delta 1), 3 binary cross-entropy on logits, 4 softmax cross-entropy on logits,
5 hinge. `share` is what one element (softmax: one row) weighs in the mean.
"""

import numpy as np

from neuroprune.kernels.compile import jit
from neuroprune.kernels.elementary import exp, log, log1p

MSE, MAE, HUBER, BINARY_CROSS_ENTROPY, SOFTMAX_CROSS_ENTROPY, HINGE = range(6)


@jit
def element(loss, output, target):
    """(loss, derivative) of one output."""
    error = output - target
    sign = 1.0 if error > 0.0 else (-1.0 if error < 0.0 else 0.0)
    if loss == MSE:
        return error * error, 2.0 * error
    if loss == MAE:
        return abs(error), sign
    if loss == HUBER:
        if abs(error) <= 1.0:
            return 0.5 * error * error, error
        return abs(error) - 0.5, sign
    if loss == BINARY_CROSS_ENTROPY:
        small = exp(-abs(output))
        probability = 1.0 / (1.0 + small) if output >= 0.0 else small / (1.0 + small)
        return max(output, 0.0) - output * target + log1p(small), probability - target
    margin = 1.0 - target * output
    if margin > 0.0:
        return margin, -target
    return 0.0, 0.0


@jit
def loss_tile(loss, y, order, start, rows, step, n_outputs, at, stride, share, values, delta):
    """Return the summed loss of `rows` lanes and add d(loss * share)/d(output) to delta.

    `at` is where the outputs begin in values and delta; y is (sequences, steps, n_outputs).
    """
    total = 0.0
    for lane in range(rows):
        row = order[start + lane]
        if loss == SOFTMAX_CROSS_ENTROPY:
            highest = values[at + lane]
            mass = 0.0
            for j in range(n_outputs):
                highest = max(highest, values[at + j * stride + lane])
                mass += y[row, step, j]
            normaliser = 0.0
            for j in range(n_outputs):
                normaliser += exp(values[at + j * stride + lane] - highest)
            logarithm = log(normaliser)
            for j in range(n_outputs):
                place = at + j * stride + lane
                shifted = values[place] - highest
                total -= y[row, step, j] * (shifted - logarithm)
                delta[place] += share * (mass * exp(shifted) / normaliser - y[row, step, j])
        else:
            for j in range(n_outputs):
                place = at + j * stride + lane
                value, slope = element(loss, values[place], y[row, step, j])
                total += value
                delta[place] += share * slope
    return total


@jit
def mean_share(loss, rows, steps, n_outputs):
    """What one element (softmax: one row) weighs in the mean loss."""
    elements = rows * steps
    if loss != SOFTMAX_CROSS_ENTROPY:
        elements *= n_outputs
    return 1.0 / max(elements, 1)


@jit
def mean_loss(loss, outputs, y):
    """Mean loss of outputs and targets, both (rows, steps, n_outputs)."""
    rows, steps, n_outputs = y.shape
    share = mean_share(loss, rows, steps, n_outputs)
    order = np.arange(rows)
    values = np.empty(n_outputs)
    slopes = np.zeros(n_outputs)
    total = 0.0
    for row in range(rows):
        for step in range(steps):
            for j in range(n_outputs):
                values[j] = outputs[row, step, j]
            total += loss_tile(loss, y, order, row, 1, step, n_outputs, 0, 1, share, values, slopes)
    return total * share
