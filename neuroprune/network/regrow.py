"""Growing connections in free legal places: where they may go, and which of them are taken."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import kernels
from neuroprune.network import edit
from neuroprune.network.gradient import Deltas
from neuroprune.network.graph import Graph
from neuroprune.network.views import check_column
from neuroprune.pruning import growth, masks

if TYPE_CHECKING:
    from neuroprune.network.network import Network

BLOCK = 1_000_000  # candidates that are scored at once
CELLS = 4_000_000  # float64 numbers of one block of the gradient of absent connections, 32 MB
METHODS = ("random", "gradient")


def regrow(net: "Network", count: int, method: str | Callable = "random", candidates: Any = "order",
           weight: Any = None, data: tuple | None = None, loss: str = "mse") -> int:
    """Grow exactly `count` connections among the free legal places and return the count.

    Parameters
    ----------
    count : int
        At least 0, at most the number of free places.
    method : "random", "gradient" or function
        "random" draws uniformly without replacement, every set of places equally likely. "gradient" takes the
        largest |sum over rows of activation(source) * delta(target)| on `data` (RigL, Evci et al. 2020,
        https://arxiv.org/abs/1911.11134, section 3). A function `f(net, source_ids, target_ids) -> scores` is
        called with blocks of candidates in storage order; the largest scores grow.
    candidates : "order", "layers", a bool array (N, N), or pairs of ids
        All free pairs that are legal in the present order; those between adjacent layers of a network made in
        layers; the legal ones of those marked True at [target position, source position]; a (k, 2) array of
        (source_id, target_id), all of which must be legal.
    weight : float or array (count,), optional
        In storage order of the grown connections. By default U(-0.1, 0.1) at random places, 0 otherwise.
    data : (x, y), optional
        For `method="gradient"`, as `net.gradient` takes them, with `loss`.

    Raises
    ------
    ValueError
        When there are fewer free places than `count`; the network is unchanged then.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([3, 4, 2], seed=0)
    >>> _ = net.prune_to_sparsity(0.5)
    >>> net.regrow(4, candidates="layers"), len(net.connections)
    (4, 14)
    """
    places = Candidates(net._graph, candidates)
    count = _check_count(count, places.free(net._graph), candidates)
    weights = None if weight is None else check_column(weight, count, "weight")
    if callable(method):
        scores = _user_scorer(net, method)
    elif method == "gradient":
        if data is None:
            raise ValueError("method='gradient' needs data to take the gradient on, got None: pass data=(x, y)")
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise TypeError(f"data must be a pair (x, y), got {type(data).__name__}: pass data=(x, y)")
        scores = Steepness(net, *data, loss)
    elif method != "random":
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))} or a function, got {method!r}")
    if count == 0:
        return 0  # what is recorded of the gradient still fits
    if method == "random":
        grow_randomly(net, places, count, weights)
        return count
    graph = net._graph
    target, source = best_places(graph, places, 0, places.free(graph), count, scores)
    if net._graph is not graph:
        raise RuntimeError("a method of regrow must not rewire the network, but it did: only return scores")
    late = net._graph.is_delayed(source, target) if net._graph.recurrent else None
    edit.merge(net, source, target, late, np.zeros(count) if weights is None else np.array(weights))
    return count


def grow_randomly(net: "Network", places: "Candidates", count: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Grow `count` connections at uniformly drawn free places; returns their indices."""
    graph = net._graph
    ranks = growth.sample(places.free(graph), count, net.rng)
    target, source = places.at(graph, ranks)
    late = graph.is_delayed(source, target) if graph.recurrent else None
    if weights is None:
        weights = net.rng.uniform(-edit.NEW_WEIGHT, edit.NEW_WEIGHT, count)
    return edit.merge(net, source, target, late, np.array(weights))


def own_candidates(candidates: Any) -> Any:
    """A known name, or a read-only array: a square mask of booleans, or int64 pairs (k, 2)."""
    if isinstance(candidates, str):
        if candidates not in ("order", "layers"):
            raise ValueError("candidates must be 'order', 'layers', a boolean (N, N) array or pairs of ids, got "
                             f"{candidates!r}")
        return candidates
    candidates = np.asarray(candidates)
    if candidates.size == 0 and candidates.dtype != np.bool_:
        candidates = np.zeros((0, 2), np.int64)
    if candidates.dtype == np.bool_:
        if candidates.ndim != 2 or candidates.shape[0] != candidates.shape[1]:
            raise ValueError(f"a mask of candidates must have shape (N, N), got {candidates.shape}")
    elif candidates.ndim != 2 or candidates.shape[1] != 2 or candidates.dtype.kind not in "iu":
        raise ValueError("pairs of candidates must be integers of shape (k, 2), got "
                         f"{candidates.dtype} of shape {candidates.shape}")
    else:
        candidates = candidates.astype(np.int64, copy=False)
    if candidates.flags.writeable:
        candidates = candidates.copy()
        candidates.flags.writeable = False
    return candidates


class Candidates:
    """The places where connections may grow, numbered in (target, source) order without those that are taken.

    Slots are ranges of sources for each target; anything else is a list of keys target * N + source.
    """

    def __init__(self, graph: Graph, candidates: Any) -> None:
        self.slots = self._keys = None
        candidates = own_candidates(candidates)
        if isinstance(candidates, str):
            self.slots = graph.slots if candidates == "order" else graph.layer_slots
        else:
            self._keys = _keys(graph, candidates)
        self._before: tuple[Graph, Any] | None = None

    def _free(self, graph: Graph) -> Any:
        """Free slots before each target, or the free keys; kept for the graph last asked about."""
        if self._before is None or self._before[0] is not graph:
            if self.slots is not None:
                free = kernels.structure.free_before(graph.incoming, graph.source, *self.slots)
            else:
                n = graph.n_nodes
                free = self._keys[graph.find_pairs(self._keys % n, self._keys // n) < 0]
            self._before = graph, free
        return self._before[1]

    def free(self, graph: Graph) -> int:
        """How many places are free."""
        return int(self._free(graph)[-1]) if self.slots is not None else self._free(graph).size

    def before(self, graph: Graph, nodes: np.ndarray) -> np.ndarray:
        """How many free places lie before the first one into each of the nodes; for the number of nodes, all."""
        free = self._free(graph)
        return free[nodes] if self.slots is not None else np.searchsorted(free, nodes * graph.n_nodes)

    def at(self, graph: Graph, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(targets, sources), int32, of the free places of ascending ranks."""
        free = self._free(graph)
        if self.slots is not None:
            return kernels.structure.free_slots(graph.incoming, graph.source, self.slots[0], free, ranks)
        keys = free[ranks]
        return (keys // graph.n_nodes).astype(np.int32), (keys % graph.n_nodes).astype(np.int32)


def _keys(graph: Graph, candidates: np.ndarray) -> np.ndarray:
    """A user's mask or pairs as ascending keys of legal places."""
    n = graph.n_nodes
    if candidates.dtype == np.bool_:
        if candidates.shape != (n, n):
            raise ValueError(f"a mask of candidates must have shape ({n}, {n}), got {candidates.shape}")
        lowest, highest = graph.slots
        column = np.arange(n)
        target, source = np.nonzero(candidates & (lowest[:, None] <= column) & (column < highest[:, None]))
    else:
        positions = graph.positions(candidates)
        if (positions < 0).any():
            raise ValueError("candidates must name nodes of the network, got "
                             f"{candidates[positions < 0][0]}: see net.nodes.id")
        source, target = positions[:, 0], positions[:, 1]
    lowest, highest = graph.slots
    legal = (lowest[target] <= source) & (source < highest[target])
    if not legal.all():
        i = int(np.argmin(legal))
        raise ValueError("candidates must be legal in the present order, got "
                         f"{graph.ids[source[i]]} -> {graph.ids[target[i]]}")
    return np.unique(target.astype(np.int64) * n + source)


def _check_count(count: Any, free: int, candidates: Any) -> int:
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
        raise TypeError(f"count must be an integer, got {count!r}")
    if not 0 <= count <= free:
        where = f"candidates={candidates!r}" if isinstance(candidates, str) else "these candidates"
        raise ValueError(f"count must be in [0, {free}], the free places of {where}, got {count}")
    return int(count)


def best_places(graph: Graph, places: Candidates, first: int, last: int, count: int,
                scores: "Steepness | Callable[[np.ndarray, np.ndarray], np.ndarray]") -> tuple[np.ndarray, np.ndarray]:
    """(targets, sources) of the `count` largest scores among the free places of rank first..last-1, in storage order.

    These are all free places of some neighbouring targets. Memory is bounded by a block and the count.
    """
    if isinstance(scores, Steepness) and places.slots is not None:
        nodes = np.searchsorted(places.before(graph, np.arange(graph.n_nodes + 1)), [first, last])
        return _steepest(graph, *places.slots, *nodes.tolist(), count, scores)
    pool = np.zeros(0), np.zeros(0, np.int32), np.zeros(0, np.int32)
    for start in range(first, last, BLOCK):
        target, source = places.at(graph, np.arange(start, min(start + BLOCK, last)))
        value = check_column(scores(source, target), source.size, "the scores of candidates")
        columns = [np.concatenate(pair) for pair in zip(pool, (value, target, source), strict=True)]
        stay = masks.top(columns[0], min(count, columns[0].size))
        pool = tuple(column[stay] for column in columns)
    return pool[1], pool[2]


def _steepest(graph: Graph, lowest: np.ndarray, highest: np.ndarray, first: int, last: int, count: int,
              steepness: "Steepness") -> tuple[np.ndarray, np.ndarray]:
    """`best_places` in slots: a block of whole rows is one product of matrices, and what is not free is below zero."""
    pool = np.zeros(0), np.zeros(0, np.int64)
    step = max(CELLS // graph.n_nodes, 1)
    for start in range(max(first, graph.n_inputs), last, step):
        rows = slice(start, min(start + step, last))
        left, right = int(lowest[rows].min()), int(highest[rows].max())
        value = steepness.block(rows.start, rows.stop, left, right)
        check_column(value.ravel(), value.size, "the scores of candidates")
        column = np.arange(left, right)
        if (lowest[rows] != left).any() or (highest[rows] != right).any():
            value[(column < lowest[rows, None]) | (column >= highest[rows, None])] = -1.0
        edges = slice(graph.incoming[rows.start], graph.incoming[rows.stop])
        target, source = graph.target[edges], graph.source[edges]
        inside = (left <= source) & (source < right)
        value[target[inside] - start, source[inside] - left] = -1.0
        flat = value.ravel()
        best = np.flatnonzero(masks.top(flat, min(count, flat.size)))
        best = best[flat[best] >= 0.0]
        value, key = (np.concatenate(pair) for pair in zip(
            pool, (flat[best], (best // column.size + start) * graph.n_nodes + best % column.size + left),
            strict=True))
        stay = masks.top(value, min(count, value.size))
        pool = value[stay], key[stay]
    return (pool[1] // graph.n_nodes).astype(np.int32), (pool[1] % graph.n_nodes).astype(np.int32)


def _user_scorer(net: "Network", function: Callable) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    ids = net._graph.ids

    def scores(source: np.ndarray, target: np.ndarray) -> np.ndarray:
        return function(net, ids[source], ids[target])

    return scores


class Steepness:
    """|sum over rows of activation(source) * delta(target)|, how steep the loss is in connections there might be."""

    def __init__(self, net: "Network", x: Any, y: Any, loss: str) -> None:
        self._graph = net._graph
        self._batches = Deltas(net, x, y, loss)

    def block(self, first: int, last: int, lowest: int, highest: int) -> np.ndarray:
        """Of all pairs of targets first..last-1 and sources lowest..highest-1, as a matrix of its own."""
        present, previous = self._batches.products(first, last, lowest, highest)
        if self._graph.recurrent:
            late = self._graph.is_delayed(np.arange(lowest, highest), np.arange(first, last)[:, None])
            np.copyto(present, previous, where=late)
        return np.abs(present, out=present)

    def __call__(self, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Of pairs sorted by target."""
        n = self._graph.n_nodes
        result = np.empty(source.size)
        step = max(CELLS // n, 1)
        first = 0
        while first < source.size:
            lowest = int(target[first])
            last = int(np.searchsorted(target, lowest + step))
            part = slice(first, last)
            block = self.block(lowest, int(target[last - 1]) + 1, 0, n)
            result[part] = block[target[part] - lowest, source[part]]
            first = last
        return result
