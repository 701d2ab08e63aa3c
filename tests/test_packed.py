"""Kernels take slices of packed columns, so several networks laid end to end run the loops that one network runs."""

import numpy as np
import pytest

import neuroprune as npr
from neuroprune import activations, kernels


def packed(nets: list[npr.Network]) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Columns of all networks end to end, and where each one's nodes and connections begin."""
    columns = {
        "incoming": np.concatenate([net.graph.incoming for net in nets]),
        "read": np.concatenate([net.graph.read for net in nets]),
        "weight": np.concatenate([net.connections.weight for net in nets]),
        "bias": np.concatenate([net.nodes.bias for net in nets]),
        "code": np.concatenate([net._code for net in nets]),
    }
    nodes = np.cumsum([0, *(net.graph.n_nodes for net in nets)])
    edges = np.cumsum([0, *(net.graph.n_connections for net in nets)])
    return columns, nodes, edges


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_packed_population_runs_like_its_networks(recurrent: bool) -> None:
    nets = [npr.Network.random(3, 2, hidden, 4 + 2 * hidden, recurrent=recurrent, seed=hidden) for hidden in range(6)]
    columns, nodes, edges = packed(nets)
    x = np.random.default_rng(0).normal(size=(5, 4, 3))
    for i, net in enumerate(nets):
        n, (first, last) = slice(nodes[i], nodes[i + 1]), edges[i:i + 2]
        incoming = columns["incoming"][nodes[i] + i:nodes[i + 1] + i + 1]
        out = np.empty((5, 4, 2))
        state = np.zeros((5, net.graph.n_nodes * recurrent))
        kernels.forward.run_rows(incoming, columns["read"][first:last], columns["weight"][first:last],
                                 columns["bias"][n], columns["code"][n], activations.table(), 3, 2, recurrent, 16, x,
                                 state, out)
        assert np.array_equal(out, net.run(x))


def test_gradients_of_a_packed_population() -> None:
    nets = [npr.Network.random(3, 2, hidden, 4 + 2 * hidden, seed=hidden) for hidden in range(6)]
    columns, nodes, edges = packed(nets)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 1, 3)), rng.normal(size=(20, 1, 2))
    weight_gradient, bias_gradient = np.empty(edges[-1]), np.empty(nodes[-1])
    for i, net in enumerate(nets):
        n, e = slice(nodes[i], nodes[i + 1]), slice(edges[i], edges[i + 1])
        buffers = [np.empty(net.graph.n_nodes * 32) for _ in range(3)]
        kernels.backward.gradient_rows(
            columns["incoming"][nodes[i] + i:nodes[i + 1] + i + 1], columns["read"][e], columns["weight"][e],
            columns["bias"][n], columns["code"][n], activations.table(), 3, 2, False, 32, 0, x, y, np.arange(20), 0,
            20, *buffers, weight_gradient[e], bias_gradient[n])
        expected = net.gradient(x[:, 0], y[:, 0])
        assert np.array_equal(weight_gradient[e], expected[0])
        assert np.array_equal(bias_gradient[n], expected[1])
