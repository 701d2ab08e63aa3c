"""Slow, obvious twins of what a network's scorers and its rewiring read: from the docstrings, never from the code.

Signals are dictionaries {(source id, target id): number} in storage order, computed row by row on a `Plain`; gradients
of absent connections come from adding each with weight 0 and differentiating the loss numerically. Networks made in
layers have a second twin here, in dense matrices.
"""

import math
from dataclasses import replace

import numpy as np

import oracle_rewiring as rules
import oracles as o

# ---------------------------------------------------------------- what connections read


def read(plain, x):
    """{pair: [what the connection reads, in every row and step]}, every sequence starting from rest."""
    seen = {pair: [] for pair in plain.stored}
    for sequence in o.as_sequences(x, x)[0]:
        before = {}
        for values, _ in o.run(plain, sequence):
            for (source, target), numbers in seen.items():
                delayed = plain.connections[source, target][1]
                numbers.append(before.get(source, 0.0) if delayed else values[source])
            before = values
    return seen


def input_norm(plain, x):
    """The L2 norm of what each connection reads."""
    return {pair: math.sqrt(sum(value * value for value in numbers)) for pair, numbers in read(plain, x).items()}


def inverse_hessian_diagonal(plain, x, damping=0.01):
    """Node by node, the diagonal of the inverse of 2 X^T X / rows with `damping` times its mean (1 for 0) added."""
    seen, found = read(plain, x), {}
    for node in plain.order:
        pairs = [pair for pair in plain.stored if pair[1] == node]
        if pairs:
            inputs = np.array([seen[pair] for pair in pairs]).T
            hessian = 2 * inputs.T @ inputs / len(inputs)
            hessian = hessian + damping * (np.mean(np.diag(hessian)) or 1.0) * np.eye(len(pairs))
            found |= zip(pairs, np.diag(np.linalg.inv(hessian)).tolist(), strict=True)
    return {pair: found[pair] for pair in plain.stored}


# ---------------------------------------------------------------- derivatives


def squared_gradient(plain, x, t, loss):
    """Mean over rows (sequences) of the squared gradient of each row's own loss."""
    total = dict.fromkeys(plain.stored, 0.0)
    for row in range(len(x)):
        for pair, slope in o.gradient(plain, x[row : row + 1], t[row : row + 1], loss)[0].items():
            total[pair] += slope * slope / len(x)
    return total


def moved(plain, steps):
    """The network with `steps[pair]` added to each weight."""
    numbers = {pair: (weight + steps[pair], late) for pair, (weight, late) in plain.connections.items()}
    return replace(plain, connections=numbers)


def hessian(plain, x, t, loss, step=1e-4):
    """Second derivatives of the mean loss by pairs of weights: fourth-order differences of the exact gradient."""
    stored, columns = plain.stored, []
    for pair in stored:
        total = np.zeros(len(stored))
        for times, factor in ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12)):
            there = moved(plain, {other: times * step * (other == pair) for other in stored})
            total += factor * np.array([*o.gradient(there, x, t, loss)[0].values()])
        columns.append(total / step)
    return np.array(columns).reshape(len(stored), len(stored)).T


def hessian_gradient(plain, x, t, loss):
    """The Hessian by the weights times the gradient by the weights."""
    slopes = np.array([*o.gradient(plain, x, t, loss)[0].values()])
    return dict(zip(plain.stored, (hessian(plain, x, t, loss) @ slopes).tolist(), strict=True))


def flow(plain):
    """Synaptic flow: the sum of the outputs of one step of the linear network of |w| on ones, without biases."""
    weights = {pair: (abs(weight), late) for pair, (weight, late) in plain.connections.items()}
    linear = replace(plain, connections=weights, bias=dict.fromkeys(plain.order, 0.0),
                     activation=dict.fromkeys(plain.order, "identity"))  # fmt: skip
    return sum(o.activate(linear, [1.0] * plain.n_inputs))


def flow_gradient(plain):
    """d flow / d w; the flow is linear in every single |w|, so a step of one weight away from 0 is exact."""
    found = {}
    for pair in plain.stored:
        weight, late = plain.connections[pair]
        on, off = (replace(plain, connections=plain.connections | {pair: (value, late)}) for value in (1.0, 0.0))
        found[pair] = (flow(on) - flow(off)) * ((weight > 0) - (weight < 0))
    return found


def slope_of_a_place(plain, slot, x, t, loss, step=1e-5):
    """d loss / d weight of one place (source, target, delayed), taken or absent, by central differences."""
    source, target, delayed = slot
    weight, delayed = plain.connections.get((source, target), (0.0, delayed))

    def cost(h):
        there = plain.connections | {(source, target): (weight + h, delayed)}
        return o.mean_loss(replace(plain, connections=there), x, t, loss)

    return (cost(step) - cost(-step)) / (2 * step)


# ---------------------------------------------------------------- one update of a rewiring


def dropped(plain, groups, drop, share, jointly=False):
    """What each group of pairs loses, a set each: the share of each group, or of all together; "set" by sign."""
    weights = [[plain.connections[pair][0] for pair in group] for group in groups]
    sides = [[[True] * len(numbers) for numbers in weights]]
    if drop == "set":
        below = [[number < 0 for number in numbers] for numbers in weights]
        sides = [below, [[not flag for flag in flags] for flags in below]]
    gone = [set() for _ in groups]
    for masks in sides:
        sizes = [[abs(number) for number in numbers] for numbers in weights]
        if jointly:
            found = rules.drop_jointly(sizes, masks, round(share * sum(map(sum, masks))))
        else:
            found = [rules.drop_lowest(numbers, mask, round(share * sum(mask)))
                     for numbers, mask in zip(sizes, masks, strict=True)]  # fmt: skip
        for lost, group, flags in zip(gone, groups, found, strict=True):
            lost |= {pair for pair, out in zip(group, flags, strict=True) if out}
    return gone


def without(plain, gone):
    """The network without these pairs."""
    return o.keep(plain, [pair not in gone for pair in plain.stored])


def places(plain, gone, allowed=None):
    """Free slots in storage order once these pairs are gone, of the allowed pairs only."""
    return [slot for slot in o.free_slots(without(plain, gone)) if allowed is None or slot[:2] in allowed]


def grown(plain, gone, slots):
    """The network without `gone` and with new connections of weight 0 in these slots."""
    new = {(source, target): (0.0, delayed) for source, target, delayed in slots}
    left = without(plain, gone)
    return replace(left, connections=left.connections | new)


# ---------------------------------------------------------------- a network made in layers, in matrices


def matrices(net):
    """([weights (out, in)], [masks], [biases]) of an acyclic network made in layers, zeros where nothing is."""
    sizes = net.graph.layer_sizes
    starts = np.concatenate([[0], np.cumsum(sizes)])
    weights = [np.zeros((rows, columns)) for columns, rows in zip(sizes[:-1], sizes[1:], strict=True)]
    masks = [np.zeros(weight.shape, bool) for weight in weights]
    for source, target, weight in zip(net.graph.source.tolist(), net.graph.target.tolist(),
                                      net.connections.weight.tolist(), strict=True):  # fmt: skip
        layer = int(np.searchsorted(starts, target, side="right")) - 2
        place = target - starts[layer + 1], source - starts[layer]
        weights[layer][place], masks[layer][place] = weight, True
    biases = [net.nodes.bias[first:last] for first, last in zip(starts[1:-1], starts[2:], strict=True)]
    return weights, masks, biases


def dense_values(weights, biases, x):
    """Values of all layers, inputs first: tanh inside, identity at the end."""
    values = [np.asarray(x, float)]
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        sums = values[-1] @ weight.T + bias
        values.append(sums if index == len(weights) - 1 else np.tanh(sums))
    return values


def dense_gradient(weights, biases, x, t):
    """Gradient of the mean squared error by every element of every matrix, what is absent included; and by biases."""
    values = dense_values(weights, biases, x)
    error = 2 * (values[-1] - t) / values[-1].size
    by_weight, by_bias = [], []
    for index in reversed(range(len(weights))):
        by_weight.insert(0, error.T @ values[index])
        by_bias.insert(0, error.sum(axis=0))
        error = (error @ weights[index]) * (1 - values[index] ** 2)
    return by_weight, by_bias


def dense_squared_gradient(weights, biases, x, t):
    """Mean over rows of the squared gradient of each row's own squared error, for every matrix."""
    total = [np.zeros(weight.shape) for weight in weights]
    for row in range(len(x)):
        slopes, _ = dense_gradient(weights, biases, x[row : row + 1], t[row : row + 1])
        for mine, slope in zip(total, slopes, strict=True):
            mine += slope**2 / len(x)
    return total


def dense_flow_gradient(weights):
    """d flow / d |w| of every matrix by the products of all others."""
    sizes = [np.abs(weight) for weight in weights]
    forward = [np.ones(sizes[0].shape[1])]
    for size in sizes:
        forward.append(size @ forward[-1])
    backward = [np.ones(sizes[-1].shape[0])]
    for size in reversed(sizes):
        backward.insert(0, backward[0] @ size)
    return [np.outer(after, before) for before, after in zip(forward[:-1], backward[1:], strict=True)]


def dense_inverse_diagonals(weights, masks, biases, x, damping=0.01):
    """For every matrix, the diagonal of each row's inverse Hessian over what is present in that row; 0 elsewhere."""
    found = []
    for values, mask in zip(dense_values(weights, biases, x), masks, strict=False):
        result = np.zeros(mask.shape)
        for row, present in enumerate(mask):
            if present.any():
                inputs = values[:, present]
                second = 2 * inputs.T @ inputs / len(inputs)
                second = second + damping * np.diag(second).mean() * np.eye(len(second))
                result[row, present] = np.diag(np.linalg.inv(second))
        found.append(result)
    return found
