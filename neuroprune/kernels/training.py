"""Many optimizer steps in one compiled loop."""

import math

import numpy as np

from neuroprune.kernels.backward import gradient_rows
from neuroprune.kernels.compile import jit
from neuroprune.kernels.forward import lane_buffer
from neuroprune.kernels.optimize import optimizer_step, square_sum


@jit
def train_steps(incoming, read, parameters, code, user, n_inputs, n_outputs, recurrent, stride, loss, x, y, order,
                starts, optimizer, settings, clip, rates, first_step, moments, sum_gradient,
                sum_movement, sum_squared, losses, norms):
    """Take len(rates) steps; step i uses the rows order[starts[i]:starts[i + 1]]. Returns the steps taken.

    Stops before the step whose loss or gradient is not finite. `parameters` holds weights, then biases of all
    nodes; the three sums (E,) gain g, -w g and g^2, g the gradient of each mini-batch's mean loss before
    clipping and penalties; clip 0 means none; losses and norms receive one number a step.
    """
    n = incoming.size - 1
    n_weights = read.size
    weight = parameters[:n_weights]
    bias = parameters[n_weights:]
    size = (x.shape[1] + recurrent) * n * stride
    sums = lane_buffer(size, parameters)
    values = lane_buffer(size, parameters)
    delta = lane_buffer(size, parameters)
    gradient = np.empty(parameters.size)
    for i in range(rates.size):
        losses[i] = gradient_rows(incoming, read, weight, bias, code, user, n_inputs, n_outputs, recurrent, stride,
                                  loss, x, y, order, starts[i], starts[i + 1] - starts[i], sums, values, delta,
                                  gradient[:n_weights], gradient[n_weights:])
        norms[i] = math.sqrt(square_sum(gradient))
        if not (math.isfinite(losses[i]) and math.isfinite(norms[i])):
            return i
        for edge in range(n_weights):
            sum_gradient[edge] += gradient[edge]
            sum_movement[edge] -= weight[edge] * gradient[edge]
            sum_squared[edge] += gradient[edge] * gradient[edge]
        if clip > 0.0 and norms[i] > clip:
            factor = clip / norms[i]
            for p in range(gradient.size):
                gradient[p] *= factor
        optimizer_step(optimizer, settings, parameters, gradient, moments, first_step + i, rates[i], n_weights)
    return rates.size
