"""Poles on a cart, slowly: the equations of Lagrange as a linear system, one network after another, no shared code.

A network is a tuple (n_inputs, biases and activations of the other nodes in order, connections), a connection
(source, target, weight, delayed) by position. Masses in kg, half lengths in m, angles in rad.
"""

import math

import numpy as np

HALF = [0.5, 0.05]
MASS = [0.1, 0.01]
GRAVITY = 9.8
SCALE = [4.8, 2.0, 0.52, 2.0, 0.52, 2.0]
ACT = {"identity": lambda s: s, "tanh": math.tanh, "sigmoid": lambda s: 0.5 + 0.5 * math.tanh(s / 2),
       "relu": lambda s: max(s, 0.0), "gaussian": lambda s: math.exp(-s * s), "step": lambda s: float(s > 0.0),
       "softsign": lambda s: s / (1 + abs(s))}
ZERO_TO_ONE = {"sigmoid", "gaussian", "step"}


def derivative(state, force):
    """d/dt of [x, x', a1, a1', ...] by Lagrange: mass matrix times accelerations = generalized forces."""
    poles = len(state) // 2 - 1
    matrix = np.zeros((1 + poles, 1 + poles))
    right = np.zeros(1 + poles)
    matrix[0, 0] = 1.0 + sum(MASS[:poles])
    right[0] = force - 5e-4 * np.sign(state[1])
    for i in range(poles):
        angle, turn = state[2 + 2 * i], state[3 + 2 * i]
        first_moment, inertia = MASS[i] * HALF[i], MASS[i] * (2 * HALF[i]) ** 2 / 3  # of a rod about its end
        matrix[0, i + 1] = matrix[i + 1, 0] = first_moment * math.cos(angle)
        matrix[i + 1, i + 1] = inertia
        right[0] += first_moment * math.sin(angle) * turn**2
        right[i + 1] = first_moment * GRAVITY * math.sin(angle) - 2e-6 * turn
    speed_ups = np.linalg.solve(matrix, right)
    return np.ravel(np.column_stack((state[1::2], speed_ups)))


def energy(state):
    """Kinetic and potential energy of cart and rods."""
    total = 0.5 * state[1] ** 2
    for i in range(len(state) // 2 - 1):
        angle, turn = state[2 + 2 * i], state[3 + 2 * i]
        across = state[1] + HALF[i] * turn * math.cos(angle)
        down = HALF[i] * turn * math.sin(angle)
        about_centre = MASS[i] * (2 * HALF[i]) ** 2 / 12
        total += 0.5 * MASS[i] * (across**2 + down**2) + 0.5 * about_centre * turn**2
        total += MASS[i] * GRAVITY * HALF[i] * math.cos(angle)
    return total


def runge_kutta(state, force, tau):
    """One step of the classical method."""
    k1 = derivative(state, force)
    k2 = derivative(state + tau / 2 * k1, force)
    k3 = derivative(state + tau / 2 * k2, force)
    k4 = derivative(state + tau * k3, force)
    return state + tau * (k1 + 2 * k2 + 2 * k3 + k4) / 6


def act(network, inputs, before):
    """Values of all nodes, given those of the step before."""
    n_inputs, nodes, connections = network
    now = list(inputs) + [None] * len(nodes)
    for i, (bias, name) in enumerate(nodes):
        total = bias
        for source, target, weight, delayed in connections:
            if target == n_inputs + i:
                total += weight * (before if delayed else now)[source]
        now[n_inputs + i] = ACT[name](total)
    return now


def force_of(value, name, output="auto"):
    """Newtons that an output value stands for."""
    if output == "unit" or (output == "auto" and name in ZERO_TO_ONE):
        value = 2 * value - 1
    return 10.0 * min(max(value, -1.0), 1.0)


def track(network, start, observed, limit, tilt, output="auto"):
    """States after each action that left everything upright."""
    state = np.array(start)
    n_inputs, nodes, _ = network
    before = [0.0] * (n_inputs + len(nodes))
    states = []
    while len(states) < limit:
        before = act(network, [state[i] / SCALE[i] for i in observed], before)
        if math.isnan(before[-1]):
            break
        force = force_of(before[-1], nodes[-1][1], output)
        state = runge_kutta(runge_kutta(state, force, 0.01), force, 0.01)
        if abs(state[0]) > 2.4 or any(abs(angle) > math.radians(tilt) for angle in state[2::2]):
            break
        states.append(state)
    return states


def gruau(states, limit=1000):
    """Gruau's fitness of a run."""
    t = len(states)
    if t < 100:
        return 0.1 * t / limit
    moved = sum(abs(s[0]) + abs(s[1]) + abs(s[2]) + abs(s[3]) for s in states[-100:])
    return 0.1 * t / limit + 0.9 * 0.75 / moved
