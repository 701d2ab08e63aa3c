"""Multilayer perceptrons as others train them: dense in numpy and in PyTorch, and truly sparse in scipy as by SET.

All rectify, end in a softmax under cross-entropy, and take steps of SGD with momentum on mini-batches. They begin from
the dense layers of a network of ours, so that what they compute can be compared.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

import neuroprune as npr

ZETA = 0.3  # share of the links that an evolution step of SET replaces
NEW_LINK = 0.1  # standard deviation of their weights


class DenseNumpy:
    """Weights (outputs, inputs) as numpy arrays; rows are samples, and every update happens in place."""

    def __init__(self, layers: Sequence[npr.DenseLayer], rate: float, momentum: float, dtype: type) -> None:
        self.rate, self.momentum, self.dtype = rate, momentum, dtype
        self.parameters = [(layer.weight.astype(dtype), layer.bias.astype(dtype)) for layer in layers]
        self._velocity = [tuple(np.zeros_like(one) for one in pair) for pair in self.parameters]
        self._gradient = [tuple(np.zeros_like(one) for one in pair) for pair in self.parameters]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Raw outputs (rows, outputs)."""
        return self._forward(x.astype(self.dtype))[-1]

    def _forward(self, x: np.ndarray) -> list[np.ndarray]:
        values = [x]
        for i, (weight, bias) in enumerate(self.parameters):
            out = values[-1] @ weight.T
            out += bias
            values.append(np.maximum(out, 0, out=out) if i < len(self.parameters) - 1 else out)
        return values

    def epoch(self, x: np.ndarray, y: np.ndarray, order: np.ndarray, batch: int) -> None:
        """One pass over the rows in this order."""
        x = x.astype(self.dtype)
        for start in range(0, order.size, batch):
            rows = order[start:start + batch]
            values = self._forward(x[rows])
            delta = _softmax_delta(values[-1].T, y[rows]).T
            for i in range(len(self.parameters) - 1, -1, -1):
                weight_gradient, bias_gradient = self._gradient[i]
                np.matmul(delta.T, values[i], out=weight_gradient)
                np.sum(delta, axis=0, out=bias_gradient)
                if i:
                    delta = delta @ self.parameters[i][0]
                    delta *= values[i] > 0
            for pairs in zip(self.parameters, self._velocity, self._gradient, strict=True):
                for parameter, velocity, gradient in zip(*pairs, strict=True):
                    velocity *= self.dtype(self.momentum)
                    velocity += gradient
                    parameter -= np.multiply(velocity, self.dtype(self.rate), out=gradient)


class SparseScipy:
    """Sparse evolutionary training, https://arxiv.org/abs/1707.04780: CSR weights, gradients on the links alone.

    As published, forward and backward passes are products of scipy, and the gradient on the links is a compiled loop;
    rows are nodes here, which suits both. The evolution step is vectorised, which the published one is not.
    """

    def __init__(self, layers: Sequence[npr.DenseLayer], rate: float, momentum: float) -> None:
        from scipy import sparse

        self.rate, self.momentum = rate, momentum
        self.weights = [sparse.csr_array(layer.weight) for layer in layers]
        self.biases = [layer.bias[:, None].copy() for layer in layers]
        self._velocity = [(np.zeros(weight.nnz), np.zeros_like(bias))
                          for weight, bias in zip(self.weights, self.biases, strict=True)]
        self._on_links = _compiled()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Raw outputs (rows, outputs)."""
        return self._forward(np.ascontiguousarray(x.T))[-1].T

    def _forward(self, x: np.ndarray) -> list[np.ndarray]:
        values = [x]
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            out = weight @ values[-1]
            out += bias
            values.append(np.maximum(out, 0, out=out) if i < len(self.weights) - 1 else out)
        return values

    def epoch(self, x: np.ndarray, y: np.ndarray, order: np.ndarray, batch: int) -> None:
        """One pass over the rows in this order."""
        for start in range(0, order.size, batch):
            rows = order[start:start + batch]
            values = self._forward(np.ascontiguousarray(x[rows].T))
            delta = np.ascontiguousarray(_softmax_delta(values[-1], y[rows]))
            steps = []
            for i in range(len(self.weights) - 1, -1, -1):
                weight = self.weights[i]
                gradient = np.empty(weight.nnz)
                self._on_links(weight.indptr, weight.indices, delta, values[i], gradient)
                steps.append((i, gradient, delta.sum(axis=1, keepdims=True)))
                if i:
                    delta = weight.T @ delta
                    delta *= values[i] > 0
            for i, weight_gradient, bias_gradient in steps:
                for parameter, velocity, gradient in zip(
                        (self.weights[i].data, self.biases[i]), self._velocity[i], (weight_gradient, bias_gradient),
                        strict=True):
                    velocity *= self.momentum
                    velocity += gradient
                    parameter -= np.multiply(velocity, self.rate, out=gradient)

    def evolve(self, rng: np.random.Generator) -> None:
        """Replace the share of the positive links nearest zero, and of the negative ones, by links at random places."""
        from scipy import sparse

        for i, weight in enumerate(self.weights):
            data = weight.data
            above, below = np.sort(data[data > 0]), np.sort(data[data < 0])
            highest = above[int(ZETA * above.size)] if above.size else 0.0
            lowest = below[below.size - 1 - int(ZETA * below.size)] if below.size else 0.0
            stays = (data >= highest) | (data <= lowest)
            key = np.repeat(np.arange(weight.shape[0]), np.diff(weight.indptr)) * weight.shape[1] + weight.indices
            links, missing = key[stays], data.size - np.count_nonzero(stays)
            while missing:
                drawn = np.unique(rng.integers(weight.shape[0] * weight.shape[1], size=missing))
                drawn = drawn[~np.isin(drawn, links)]
                links, missing = np.concatenate([links, drawn]), missing - drawn.size
            old = np.count_nonzero(stays)
            values = np.concatenate([data[stays], rng.normal(0.0, NEW_LINK, links.size - old)])
            velocity = np.concatenate([self._velocity[i][0][stays], np.zeros(links.size - old)])
            order = np.argsort(links)
            ends = np.searchsorted(links[order], np.arange(weight.shape[0] + 1) * weight.shape[1])
            self.weights[i] = sparse.csr_array((values[order], links[order] % weight.shape[1], ends), weight.shape)
            self._velocity[i] = velocity[order], self._velocity[i][1]


class DenseTorch:
    """The same dense network in PyTorch, in float32."""

    def __init__(self, layers: Sequence[npr.DenseLayer], rate: float, momentum: float) -> None:
        import torch

        from neuroprune.interop.torch import to_torch

        self.model = to_torch(layers).float()
        self._optimizer = torch.optim.SGD(self.model.parameters(), lr=rate, momentum=momentum)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Raw outputs (rows, outputs)."""
        import torch

        with torch.no_grad():
            return self.model(torch.tensor(x, dtype=torch.float32)).numpy()

    def epoch(self, x: np.ndarray, y: np.ndarray, order: np.ndarray, batch: int) -> None:
        """One pass over the rows in this order."""
        import torch

        inputs, classes, rows = torch.tensor(x, dtype=torch.float32), torch.tensor(y), torch.tensor(order)
        for some in rows.split(batch):
            self._optimizer.zero_grad()
            torch.nn.functional.cross_entropy(self.model(inputs[some]), classes[some]).backward()
            self._optimizer.step()


def _softmax_delta(out: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Gradient of the mean cross-entropy by the outputs (outputs, rows)."""
    share = np.exp(out - out.max(axis=0))
    share /= share.sum(axis=0)
    share[classes, np.arange(classes.size)] -= 1
    share /= share.dtype.type(classes.size)
    return share


def _compiled() -> Any:
    """A loop over the links: the product of a node's delta with its source's value, summed over the rows."""
    from numba import njit

    @njit
    def on_links(ends, sources, delta, values, gradient):
        for node in range(ends.size - 1):
            for link in range(ends[node], ends[node + 1]):
                total = 0.0
                for row in range(delta.shape[1]):
                    total += delta[node, row] * values[sources[link], row]
                gradient[link] = total

    return on_links
