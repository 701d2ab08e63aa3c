"""Optimizer steps as plain functions on flat columns; `first` and `second` are the moments, same length.

Formulas as in PyTorch. Codes: 0 sgd, 1 rmsprop, 2 adam, 3 adamw.
"""

import math

from neuroprune.kernels.compile import jit

SGD, RMSPROP, ADAM, ADAMW = range(4)


@jit
def square_sum(values):
    """Sum of squares over eight running sums, added in a fixed order."""
    a = b = c = d = e = f = g = h = 0.0
    whole = values.size - values.size % 8
    for i in range(0, whole, 8):
        a += values[i] * values[i]
        b += values[i + 1] * values[i + 1]
        c += values[i + 2] * values[i + 2]
        d += values[i + 3] * values[i + 3]
        e += values[i + 4] * values[i + 4]
        f += values[i + 5] * values[i + 5]
        g += values[i + 6] * values[i + 6]
        h += values[i + 7] * values[i + 7]
    for i in range(whole, values.size):
        a += values[i] * values[i]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@jit
def sgd(parameters, gradient, first, rate, momentum, nesterov):
    """v = momentum v + g; p -= rate (g + momentum v if nesterov else v)."""
    for i in range(parameters.size):
        first[i] = momentum * first[i] + gradient[i]
        step = gradient[i] + momentum * first[i] if nesterov else first[i]
        parameters[i] -= rate * step


@jit
def rmsprop(parameters, gradient, second, rate, decay, epsilon):
    """s = decay s + (1 - decay) g^2; p -= rate g / (sqrt(s) + epsilon)."""
    for i in range(parameters.size):
        second[i] = decay * second[i] + (1.0 - decay) * gradient[i] * gradient[i]
        parameters[i] -= rate * gradient[i] / (math.sqrt(second[i]) + epsilon)


@jit
def adam(parameters, gradient, first, second, step, rate, beta1, beta2, epsilon):
    """m, v = running means of g, g^2; p -= rate m' / (sqrt(v') + epsilon), bias-corrected at `step` from 1."""
    share1 = 1.0 - beta1 ** step
    root2 = math.sqrt(1.0 - beta2 ** step)
    for i in range(parameters.size):
        first[i] = beta1 * first[i] + (1.0 - beta1) * gradient[i]
        second[i] = beta2 * second[i] + (1.0 - beta2) * gradient[i] * gradient[i]
        parameters[i] -= rate / share1 * first[i] / (math.sqrt(second[i]) / root2 + epsilon)


@jit
def penalise(weight, gradient, l1, l2):
    """Coupled penalties: g += l2 w + l1 sign(w)."""
    for i in range(weight.size):
        sign = 1.0 if weight[i] > 0.0 else (-1.0 if weight[i] < 0.0 else 0.0)
        gradient[i] += l2 * weight[i] + l1 * sign


@jit
def shrink(weight, rate, l1, l2):
    """Decoupled penalties (Loshchilov & Hutter 2019): w -= rate (l2 w + l1 sign(w))."""
    for i in range(weight.size):
        sign = 1.0 if weight[i] > 0.0 else (-1.0 if weight[i] < 0.0 else 0.0)
        weight[i] -= rate * (l2 * weight[i] + l1 * sign)


@jit
def optimizer_step(optimizer, settings, parameters, gradient, moments, step, rate, n_weights):
    """One step: penalties on the weights, then the optimizer; settings as laid out by network/optimizers.py."""
    beta1, beta2, epsilon, nesterov, l1, l2 = settings
    weight = parameters[:n_weights]
    if l1 != 0.0 or l2 != 0.0:
        if optimizer == ADAMW:
            shrink(weight, rate, l1, l2)
        else:
            penalise(weight, gradient, l1, l2)
    if optimizer == SGD:
        sgd(parameters, gradient, moments[0], rate, beta1, nesterov != 0.0)
    elif optimizer == RMSPROP:
        rmsprop(parameters, gradient, moments[1], rate, beta2, epsilon)
    else:
        adam(parameters, gradient, moments[0], moments[1], step, rate, beta1, beta2, epsilon)
