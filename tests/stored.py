"""What the tests of files share: networks that fill a file, a file of format 1, and the strictest comparison."""

from dataclasses import fields

import numpy as np

from neuroprune import Network, PruningSchedule

FORMATS = ("json", "npz")
HELD_ELSEWHERE = ("_graph", "_weight", "_bias", "_rng", "_rng_state")  # looked at one by one, or views of _parameters


def assert_identical(first, second):
    """Every slot of a network and every field of its graph, arrays by type and bytes, and the generator's state."""
    for name in [name for name in Network.__slots__ if name not in HELD_ELSEWHERE]:
        assert_equal(getattr(first, name), getattr(second, name), name)
    for one in fields(first.graph):
        assert_equal(getattr(first.graph, one.name), getattr(second.graph, one.name), one.name)
    assert first.copy().rng_state == second.copy().rng_state


def assert_equal(mine, theirs, name):
    assert type(mine) is type(theirs), name
    if isinstance(mine, tuple) and any(isinstance(part, np.ndarray) for part in mine):
        assert len(mine) == len(theirs), name
        for one, other in zip(mine, theirs, strict=True):
            assert_equal(one, other, name)
    elif isinstance(mine, np.ndarray):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape and mine.tobytes() == theirs.tobytes(), name
    else:
        assert mine == theirs, name


def written(net, suffix, folder):
    """The path of a file with the network."""
    path = folder / f"net.{suffix}"
    net.save(path)
    return path


def again(net, suffix, folder):
    """The network after a journey through a file."""
    return Network.load(written(net, suffix, folder))


def example():
    """A recurrent network with everything in it: 0, 1 -> 5 -> 6 -> 2, 3 and delayed connections."""
    net = Network.from_connections(
        2, 2, [(0, 5, 1.0), (1, 5, 2.0), (5, 6, 3.0), (6, 2, 4.0), (5, 3, 5.0), (3, 5, 6.0), (6, 6, 7.0)],
        bias={5: 0.5, 2: 0.25}, delayed=[False] * 5 + [True] * 2, seed=3,
    )  # fmt: skip
    net([1.0, 2.0])
    net.pruning = PruningSchedule(0.5, 1, 9, candidates=[[0, 6]])
    net.connections.accumulated_gradient = np.arange(7.0)
    return net


def acyclic():
    return Network.dense([2, 2, 2], seed=3)


VERSION_1 = """{
"format": "neuroprune network", "version": 1, "n_inputs": 2, "n_outputs": 1, "layer_sizes": null,
"activations": ["identity", "tanh"], "default_activation": "relu", "gradient_ends": true,
"schedule": {"target_sparsity": 0.5, "start": 1, "end": 9, "frequency": 2, "method": "snip", "regrow_fraction": 0.25,
 "ramp": "cubic", "candidates": "pairs"},
"training_baseline": 4, "evolution_baseline": 5, "last_prune_iteration": 3, "iteration": 17, "seed": 11,
"rng_state": {"bit_generator": "PCG64", "state": {"state": 123, "inc": 457}, "has_uint32": 0, "uinteger": 0},
"ids": [0, 1, 7, 2], "bias": [0.0, 0.0, -0.5, 0.25], "activation": [0, 0, 1, 0],
"source": [0, 7, 7], "target": [7, 7, 2], "weight": [1.5, -0.0, 1e-300], "delayed": [false, true, false],
"gradient": [0.5, 0.0, -2.0], "state": [[1.0, 2.0, 3.0, 4.0]], "pairs": [[1, 2], [0, 2]]
}"""
