"""Rewiring a network while it trains: the rules of `npr.Rewire`, on a graph.

A dense layer has a mask, in which every absent weight has a place. A graph has only its connections: what goes is
chosen among them, and what comes among the free legal places of the order, which are numbered and never listed. So
RigL and its kin work on any acyclic or recurrent network. A network made in layers can be treated as such
(`candidates="layers"`): then every layer drops and grows by itself, as in a stack of dense layers.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import kernels
from neuroprune.network import edit, losses
from neuroprune.network.gradient import gradient, gradient_buffers, wiring
from neuroprune.network.graph import Graph
from neuroprune.network.optimizers import Optimizer
from neuroprune.network.prune import RECORDED
from neuroprune.network.regrow import Candidates, Steepness, best_places
from neuroprune.pruning import growth, saliency
from neuroprune.pruning.rewire import Rewire

if TYPE_CHECKING:
    from neuroprune.network.network import Network

GROWTHS = ("random", "gradient", None)


class Rewiring:
    """A `Rewire` for one network, checked against it."""

    def __init__(self, net: "Network", rewire: Rewire, candidates: Any, optimizer: Optimizer) -> None:
        if not isinstance(rewire, Rewire):
            raise TypeError(f"rewire must be a Rewire, got {type(rewire).__name__}: pass npr.Rewire(...)")
        if rewire.grow not in GROWTHS:
            raise ValueError("grow must be 'random', 'gradient' or None for a network, which has nothing recorded of "
                             f"connections that it lacks, got {rewire.grow!r}")
        if rewire.unit is not None:
            raise ValueError(f"unit must be None for a network, whose connections go one by one, got {rewire.unit}")
        if "momentum" in rewire.needs and not optimizer.beta1:
            raise ValueError("optimizer must keep momentum for a Rewire that needs it, got "
                             f"{optimizer.name!r} without: use optimizers.sgd(momentum=0.9) or 'adam'")
        needed = () if rewire.drop == "set" else saliency.requires(rewire.drop)
        for keyword in needed:
            if keyword not in (*RECORDED, "momentum", "rng"):
                raise ValueError("drop must be a scorer whose signals training has, got one that needs the signal "
                                 f"{keyword!r}: use 'magnitude', 'snip' or a function of the weight")
        self._slopes = rewire.redistribute == "gradient" or "gradient" in needed
        Candidates(net._graph, candidates)
        self.rules, self._candidates = rewire, candidates

    def apply(self, net: "Network", step: int, x: np.ndarray, y: np.ndarray, loss: str, moments: np.ndarray) -> int:
        """Drop and grow; x and y are the rows of a mini-batch. Returns how many connections were grown.

        `moments` (2, E + N) are those of the optimizer. New connections have weight 0. Nothing changes before
        everything is decided.
        """
        graph = net._graph
        bounds = self._bounds(graph)
        names = [str(i) for i in range(bounds.size - 1)]
        ends = graph.incoming[bounds].tolist()
        parts = [slice(first, last) for first, last in zip(ends, ends[1:], strict=False)]
        column = net._weight.view()
        column.flags.writeable = False  # a scorer looks, and changes nothing
        weights = {name: column[part] for name, part in zip(names, parts, strict=True)}
        present = {name: np.ones(weight.size, np.bool_) for name, weight in weights.items()}
        recorded = dict(zip(RECORDED, () if net._signals is None else net._signals, strict=False))
        recorded["momentum"] = _momentum(moments[:, :graph.n_connections])
        if self._slopes:
            recorded["gradient"] = gradient(net, *_rows(graph, x, y), loss)[0]
        drawn = {"rng": net.rng} if self.rules.drop != "set" and "rng" in saliency.requires(self.rules.drop) else {}
        signals = {name: {keyword: column[part] for keyword, column in recorded.items()} | drawn
                   for name, part in zip(names, parts, strict=True)}
        dropped = self.rules.dropped(weights, present, step, signals)
        _check_unchanged(net, graph)
        stays = np.concatenate([~dropped[name] for name in names]) if names else np.ones(0, np.bool_)
        columns = edit.kept_columns(net, stays, int(np.count_nonzero(stays)))
        places = Candidates(graph, self._candidates)
        ranks = places.before(columns[0], bounds)
        room = {name: int(ranks[i + 1] - ranks[i]) for i, name in enumerate(names)}
        lost, free = stays.size - columns[0].n_connections, sum(room.values())
        if self.rules.grow is not None and lost > free:
            raise ValueError(f"candidates must have room for the {lost} connections that were dropped, got {free} free "
                             "places: allow more candidates")
        gets = self.rules.allot(weights, present, dropped, room, signals)
        _check_unchanged(net, graph)
        for name, number in gets.items():
            if number > room[name]:
                raise ValueError(f"layer {int(name) + 1} must have room for the {number} connections that were dropped "
                                 f"there, got {room[name]} free places: redistribute or allow more candidates")
        target, source = self._grown(net, columns[0], places, ranks, [gets[name] for name in names], x, y, loss)
        late = columns[0].is_delayed(source, target) if graph.recurrent else None
        if stays.all():
            return 0
        net._replace(*columns)
        net._signals_end = True
        if source.size:
            edit.merge(net, source, target, late, np.zeros(source.size))
        return int(source.size)

    def _bounds(self, graph: Graph) -> np.ndarray:
        """First node of each group of targets, and the end: the layers, or all nodes together."""
        if isinstance(self._candidates, str) and self._candidates == "layers":
            return np.cumsum(graph.layer_sizes)
        return np.array([0, graph.n_nodes])

    def _grown(self, net: "Network", left: Graph, places: Candidates, ranks: np.ndarray, counts: list[int],
               x: np.ndarray, y: np.ndarray, loss: str) -> tuple[np.ndarray, np.ndarray]:
        """(targets, sources) of what grows, in storage order; the gradient is that of the network as it is."""
        if self.rules.grow == "gradient":
            scores = Steepness(net.copy(), *_rows(net._graph, x, y), loss)
        found = [(np.zeros(0, np.int32), np.zeros(0, np.int32))]
        for first, last, count in zip(ranks, ranks[1:], counts, strict=False):
            if count and self.rules.grow == "random":
                drawn = growth.sample(int(last - first), count, net.rng)
                found.append(places.at(left, drawn + int(first)))
            elif count:
                found.append(best_places(left, places, int(first), int(last), count, scores))
        return tuple(np.concatenate(column) for column in zip(*found, strict=True))


def mean_loss_and_norm(net: "Network", x: np.ndarray, y: np.ndarray, loss: str) -> tuple[float, float]:
    """Mean loss of a mini-batch and norm of its gradient, what a step that is replaced would have recorded."""
    graph = net._graph
    stride, buffers = gradient_buffers(net, *x.shape[:2])
    slopes = np.empty(graph.n_connections + graph.n_nodes)
    mean = kernels.backward.gradient_rows(*wiring(net), graph.n_inputs, graph.n_outputs, graph.recurrent, stride,
                                          losses.code(loss), x, y, np.arange(len(x)), 0, len(x), *buffers,
                                          slopes[:graph.n_connections], slopes[graph.n_connections:])
    return float(mean), float(np.sqrt(kernels.optimize.square_sum(slopes)))


def _check_unchanged(net: "Network", graph: Graph) -> None:
    if net._graph is not graph:
        raise RuntimeError("the functions of a Rewire must not rewire the network, but one did: only return numbers")


def _rows(graph: Graph, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A mini-batch as `net.gradient` takes it: the rows of an acyclic network are no sequences."""
    return (x, y) if graph.recurrent else (x[:, 0], y[:, 0])


def _momentum(moments: np.ndarray) -> np.ndarray:
    """The momentum of each connection: m / (sqrt(v) + 1e-8) where the optimizer keeps second moments."""
    first, second = moments
    return first / (np.sqrt(second) + 1e-8) if second.any() else first
