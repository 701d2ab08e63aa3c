"""Crossover and compatibility of two networks, as batches of one."""

import numpy as np

from neuroprune import kernels
from neuroprune.evolution.genomes import Genomes
from neuroprune.network.network import Network
from neuroprune.network.views import check_number
from neuroprune.rng import generator

DISJOINT, DIFFERENCE = 1.0, 0.4  # c1 = c2 and c3 of the paper


def crossover(fitter: Network, other: Network, rng: np.random.Generator | int | None = None) -> Network:
    """Return a child that shares the fitter parent's graph and mixes the numbers of both.

    Genes match by (source id, target id), nodes by id. A matching connection's weight, and a matching node's bias
    and activation, come from either parent with probability 1/2; disjoint and excess genes come from the fitter
    (Stanley & Miikkulainen 2002, section 3.2). Schedule and baselines are the fitter's; the random stream is new.

    Parameters
    ----------
    fitter, other : Network
        Of the same inputs and outputs, both recurrent or both not.
    rng : numpy.random.Generator or int
        A Generator, or a seed.

    Examples
    --------
    >>> import neuroprune as npr
    >>> a, b = npr.Network.dense([2, 3, 1], seed=0), npr.Network.dense([2, 3, 1], seed=1)
    >>> child = npr.crossover(a, b, 0)
    >>> child.graph is a.graph
    True
    """
    genomes = _pair(fitter, other)
    graph = fitter._graph
    rng = generator(rng)
    state = rng.integers(1, 2**32, 4)
    result = genomes.take([0])
    kernels.breed.cross_one(genomes.columns, graph.n_inputs, state, result.columns)
    child = fitter.copy()
    child._parameters[:] = result.columns.parameters[:child._parameters.size]
    child._code[:] = result.columns.code[:graph.n_nodes]
    child._signals = child._state = child._rng = child._rng_state = None
    child._seed = int(rng.integers(2**63))
    return child


def distance(a: Network, b: Network, disjoint: float = DISJOINT, difference: float = DIFFERENCE) -> float:
    """Compatibility distance `disjoint * D / N + difference * W` (Stanley & Miikkulainen 2002, eq. 1).

    D is the number of connections that only one network has, N that of the larger network, W the mean absolute
    difference of the weights of matching connections (by source id and target id).

    Examples
    --------
    >>> import neuroprune as npr
    >>> a = npr.Network.from_connections(2, 1, [(0, 2, 1.0), (1, 2, 2.0)])
    >>> b = npr.Network.from_connections(2, 1, [(0, 2, 1.5)])
    >>> npr.distance(a, b)
    0.7
    """
    for name, value in (("disjoint", disjoint), ("difference", difference)):
        if check_number(value, name) < 0.0:
            raise ValueError(f"{name} must be at least 0, got {value}")
    genomes = _pair(a, b)
    out = np.empty(1)
    kernels.genomes.distances(genomes.columns, np.array([0]), genomes.columns, np.array([1]), float(disjoint),
                              float(difference), out)
    return float(out[0])


def _pair(a: Network, b: Network) -> Genomes:
    """Both networks packed; activations of new nodes may differ."""
    for net in (a, b):
        if not isinstance(net, Network):
            raise TypeError(f"crossover and distance need two Networks, got {type(net).__name__}")
    kinds = [(net._graph.n_inputs, net._graph.n_outputs, net._graph.recurrent) for net in (a, b)]
    if kinds[0] != kinds[1]:
        raise ValueError("both networks must have the same inputs, outputs and recurrence, got "
                         f"{kinds[0]} and {kinds[1]}: see net.as_recurrent")
    return Genomes.pack([a, b])
