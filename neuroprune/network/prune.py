"""Pruning a network: the schedule, what one pruning did, and the calls. These are methods of Network."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune.network import edit
from neuroprune.network.regrow import Candidates, grow_randomly, own_candidates
from neuroprune.network.signals import flow_gradient
from neuroprune.network.views import check_column, check_number
from neuroprune.pruning import masks, saliency, schedules, selection

if TYPE_CHECKING:
    from neuroprune.network.network import Network

MAX_EVOLUTIONARY_SPARSITY = 0.999
RECORDED = ("gradient", "movement", "squared_gradient")  # the signals that training sums up, in the order of their rows


@dataclass(frozen=True)
class PruningSchedule:
    """When a network is pruned during training, and how far.

    Attributes
    ----------
    target_sparsity : float
        Share of the training baseline to remove by `end`, in (0, 1].
    start, end : int
        The window of iterations, both inclusive; start == end prunes once. Iterations are those of `net.iteration`,
        which counts on over several calls of `train`: after 1,000 steps a window begins at 1,001 or later, and one
        that has passed already prunes to the target at once.
    frequency : int
        Prunes at start, every `frequency` iterations after, and at the end.
    method : str or function
        A scorer of `npr.saliency.SCORERS` or any `f(weight, **signals)`; larger scores stay.
    regrow_fraction : float
        In [0, 1]: prunes round(regrow_fraction * min(excess, desired)) more than asked and grows as many again at
        random places, so that the count still lands on the target.
    ramp : "linear", "cubic", "cosine", "exponential" or function of progress in [0, 1]
        How the sparsity rises from 0 at `start` to the target at `end`.
    candidates : "order", "layers", array
        Where connections may grow, see `Network.regrow`.
    signals : function net -> dict, optional
        Gives what the scorer needs beyond what training records, such as `lambda net: net.signals("wanda", x)`.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([4, 5, 2], seed=0)
    >>> net.pruning = npr.PruningSchedule(0.8, start=1, end=5, ramp="cubic")
    >>> [len(net.connections) for iteration in range(1, 7) if net.maybe_prune(iteration)]
    [30, 16, 9, 6, 6]
    """

    target_sparsity: float
    start: int
    end: int
    frequency: int = 1
    method: str | Callable = "magnitude"
    regrow_fraction: float = 0.0
    ramp: str | Callable = "linear"
    candidates: Any = field(default="order", hash=False)
    signals: Callable | None = None
    _ramp: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ramp = schedules.make(self.ramp, self.target_sparsity, self.start, self.end, self.frequency)
        object.__setattr__(self, "_ramp", ramp)
        saliency.scorer(self.method)
        if not 0.0 <= check_number(self.regrow_fraction, "regrow_fraction") <= 1.0:
            raise ValueError(f"regrow_fraction must be in [0, 1], got {self.regrow_fraction}")
        if self.signals is not None and not callable(self.signals):
            raise TypeError(f"signals must be a function net -> dict, got {type(self.signals).__name__}")
        for keyword in saliency.requires(self.method) if self.signals is None else ():
            if keyword not in (*RECORDED, "rng"):
                raise ValueError(f"signals must give what the method needs besides what training records, {keyword!r}, "
                                 "got none: pass signals=lambda net: net.signals(method, x, y)")
        object.__setattr__(self, "candidates", own_candidates(self.candidates))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PruningSchedule):
            return NotImplemented
        mine, theirs = self.candidates, other.candidates
        if isinstance(mine, str) or isinstance(theirs, str):
            same = isinstance(mine, str) and isinstance(theirs, str) and mine == theirs
        else:
            same = mine.dtype == theirs.dtype and np.array_equal(mine, theirs)
        return same and all(getattr(self, one.name) == getattr(other, one.name)
                            for one in fields(self) if one.compare and one.name != "candidates")

    def sparsity(self, iteration: int) -> float:
        """The sparsity that the ramp asks for at an iteration."""
        return self._ramp.sparsity(iteration)

    def fires(self, iteration: int) -> bool:
        """Whether the iteration is one of those at which the schedule prunes."""
        return self._ramp.fires(iteration)


@dataclass(frozen=True)
class Listing:
    """Connections by id with what they carried: columns of equal length."""

    source: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    score: np.ndarray | None = None

    def __len__(self) -> int:
        return self.source.size

    def __iter__(self) -> Iterator[tuple]:
        """Rows: (source id, target id, weight), and the score where there is one."""
        columns = (self.source, self.target, self.weight) + (() if self.score is None else (self.score,))
        return zip(*(column.tolist() for column in columns), strict=True)


class PruneResult:
    """What one pruning did: enough to explain it and to undo it.

    Attributes
    ----------
    kept : bool array (former E,)
        True where a former connection stayed.
    sparsity : float
        `net.sparsity` afterwards.
    removed : Listing
        Ids, weights and scores of what went, in storage order.
    regrown : Listing
        Ids and first weights of what grew.
    scores : float array (former E,) or None
        What the connections were ranked by; None when nothing had to go.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(2, 1, [(0, 2, 0.1), (1, 2, 2.0)])
    >>> result = net.prune_to_sparsity(0.5)
    >>> result
    <PruneResult: 1 removed, 0 regrown, 1 left, sparsity 0.5>
    >>> result.undo(net)
    >>> len(net.connections)
    2
    """

    def __init__(self, net: "Network", scores: np.ndarray | None = None, by_magnitude: bool = False) -> None:
        self._before = net._graph
        self._columns = net._weight, net._signals, net._signals_end
        self._schedule = net._schedule
        self._counters = net._training_baseline, net._evolution_baseline, net._last_prune_iteration
        self._scores, self._by_magnitude = scores, by_magnitude
        self.kept = np.ones(net._graph.n_connections, np.bool_)
        self._grown = np.zeros(0, np.int64)
        self._grown_weight = np.zeros(0)

    def _close(self, net: "Network") -> "PruneResult":
        self._after = net._graph
        self.kept.flags.writeable = False
        self.sparsity = net.sparsity
        return self

    @cached_property
    def scores(self) -> np.ndarray | None:
        """What the connections were ranked by; None when nothing had to go."""
        return np.abs(self._scores) if self._by_magnitude else self._scores

    @cached_property
    def removed(self) -> Listing:
        """Ids, weights and scores of the removed connections."""
        gone = ~self.kept
        graph = self._before
        score = np.zeros(0) if self.scores is None else self.scores[gone]
        return Listing(graph.ids[graph.source[gone]], graph.ids[graph.target[gone]], self._columns[0][gone], score)

    @cached_property
    def regrown(self) -> Listing:
        """Ids and first weights of the grown connections."""
        graph = self._after
        return Listing(graph.ids[graph.source[self._grown]], graph.ids[graph.target[self._grown]], self._grown_weight)

    def undo(self, net: "Network") -> None:
        """Put back what was removed and take away what grew, as long as nothing else was rewired since.

        Removed connections get their old weights; the others keep their present ones, and so do biases. The
        accumulated gradient, the baselines and the last prune iteration are those from before (the training baseline
        and the last prune iteration only as long as the schedule is the same).

        Raises
        ------
        LookupError
            When the network's wiring is not the one that this pruning left.
        """
        if net._graph is not self._after:
            raise LookupError("undo needs the wiring that this pruning left, but the network was rewired since: "
                              "undo the latest result first")
        weight = self._columns[0].copy()
        survivors = np.ones(net._graph.n_connections, np.bool_)
        survivors[self._grown] = False
        weight[self.kept] = net._weight[survivors]
        signals = None if self._columns[1] is None else tuple(column.copy() for column in self._columns[1])
        if self._before is not self._after:
            net._replace(self._before, weight, signals)
            net._signals_end = self._columns[2]
        training_baseline, net._evolution_baseline, last_prune_iteration = self._counters
        if net._schedule is self._schedule:  # else they belong to a schedule that is no more
            net._training_baseline, net._last_prune_iteration = training_baseline, last_prune_iteration

    def __repr__(self) -> str:
        return (f"<PruneResult: {self.kept.size - np.count_nonzero(self.kept)} removed, {self._grown.size} regrown, "
                f"{self._after.n_connections} left, sparsity {self.sparsity:.4g}>")


def set_schedule(net: "Network", schedule: PruningSchedule | None) -> None:
    """Set or remove the schedule, and with it the training baseline."""
    if schedule is None:
        net._schedule = net._training_baseline = net._last_prune_iteration = None
        return
    if not isinstance(schedule, PruningSchedule):
        raise TypeError(f"net.pruning must be a PruningSchedule or None, got {type(schedule).__name__}")
    if schedule.regrow_fraction > 0.0:
        Candidates(net._graph, schedule.candidates)
    net._schedule = schedule
    net._training_baseline = net._graph.n_connections
    net._last_prune_iteration = None


def maybe_prune(net: "Network", iteration: int) -> PruneResult | None:
    """Prune when the schedule fires at this iteration (counted from 1); None when it does not.

    Fires at `start`, every `frequency` after up to `end`, and at the first call at or after `end` if the target is
    not yet met; what grows after that stays. A second call with the same iteration does nothing, and neither does any
    on a network that had no connections when the schedule was set.

    Raises
    ------
    ValueError
        When a weight or a score is not finite, or a signal is missing; the network is unchanged then.
    """
    if isinstance(iteration, bool) or not isinstance(iteration, (int, np.integer)):
        raise TypeError(f"iteration must be an integer, got {iteration!r}")
    schedule, last = net._schedule, net._last_prune_iteration
    if schedule is None or iteration == last:
        return None
    baseline = net._training_baseline
    if not baseline:
        return None
    desired = max(1, baseline - masks.count(schedule.sparsity(iteration), baseline))
    inside = schedule.start <= iteration <= schedule.end
    if not (inside and (iteration - schedule.start) % schedule.frequency == 0):
        if iteration < schedule.end or (last is not None and last >= schedule.end):
            return None
        if net._graph.n_connections <= desired:
            net._last_prune_iteration = int(iteration)  # the end has come, and what grows from now on stays
            return None
    signals = {} if schedule.signals is None else schedule.signals(net)
    if not isinstance(signals, dict):
        raise TypeError(f"signals must give a dict of keyword to signal, got {type(signals).__name__}")
    result = prune_to(net, desired, schedule.method, None, signals, schedule.regrow_fraction, schedule.candidates)
    net._last_prune_iteration = int(iteration)
    return result._close(net)


def prune_to_sparsity(net: "Network", target_sparsity: float, method: str | Callable = "magnitude",
                      protect: Any = None, **signals: Any) -> PruneResult:
    """Prune to a share of the evolutionary baseline, lowest scores first.

    Parameters
    ----------
    target_sparsity : float
        At most 0.999 counts; 0 or less does nothing. The share is that of the evolutionary baseline, captured at
        the first call with a positive target; `net.sparsity` counts from the training baseline instead as long as
        a schedule is set. At least one connection stays.
    method : str or function
        A scorer of `npr.saliency.SCORERS` or any `f(weight, **signals)`; larger scores stay, and of equal ones the
        earlier in storage order (target, source) goes first.
    protect : bool array (E,), optional
        True is never removed.
    **signals : array
        What the scorer needs. `gradient`, `movement` and `squared_gradient` are what training accumulated and `rng` is
        `net.rng` when not given; without an accumulated gradient "snip" ranks by magnitude, and "synflow" takes the
        gradient of the flow. `net.signals(method, x, y)` computes signals on data. All connections are ranked
        together, whatever the scorer; Wanda compares inside each output row, which is
        `net.keep(npr.masks.sparse(scores, sparsity, groups=net.graph.target))`.

    Raises
    ------
    ValueError
        When the target is NaN, a weight or score is not finite, or more is protected than may stay; the network is
        unchanged then.

    Examples
    --------
    >>> import neuroprune as npr
    >>> net = npr.Network.from_connections(3, 1, [(0, 3, 0.1), (1, 3, -2.0), (2, 3, 0.5)])
    >>> result = net.prune_to_sparsity(0.5)
    >>> result.removed.source.tolist(), net.connections.weight.tolist()
    ([0, 2], [-2.0])
    """
    return prune_evolutionary(net, target_sparsity, method, protect, signals)


def prune_evolutionary(net: "Network", target_sparsity: float, method: str | Callable, protect: Any, signals: dict,
                       regrow_fraction: float = 0.0) -> PruneResult:
    """`prune_to_sparsity` with regrowth, as evolution under pruning needs it."""
    if isinstance(target_sparsity, (bool, str)) or not isinstance(target_sparsity, (Real, np.generic)):
        raise TypeError(f"target_sparsity must be a number, got {target_sparsity!r}")
    target = float(target_sparsity)
    if target != target:
        raise ValueError("target_sparsity must be a number, got nan")
    saliency.scorer(method)
    protect = _check_protect(net, protect)
    if target <= 0.0:
        return PruneResult(net)._close(net)
    target = min(target, MAX_EVOLUTIONARY_SPARSITY)
    baseline = net._evolution_baseline or net._graph.n_connections
    desired = max(1, baseline - masks.count(target, baseline))
    result = prune_to(net, desired, method, protect, signals, regrow_fraction)
    net._evolution_baseline = baseline or None
    return result._close(net)


def prune_to(net: "Network", desired: int, method: str | Callable, protect: Any, signals: dict,
              regrow_fraction: float = 0.0, candidates: Any = "order") -> PruneResult:
    """Remove the lowest scores until `desired` connections are left, some of them grown anew."""
    count = net._graph.n_connections
    excess = count - desired
    if excess <= 0:
        return PruneResult(net)
    if protect is not None and np.count_nonzero(protect) > desired:
        raise ValueError(f"protect must mark at most the {desired} connections that stay, got "
                         f"{np.count_nonzero(protect)}: lower the target sparsity")
    graph = net._graph
    by_magnitude = _function(net, method, signals) is saliency.magnitude  # ranked as it is, without a copy
    scores = net._weight if by_magnitude else _scores(net, method, signals)
    if net._graph is not graph:
        raise RuntimeError("a scorer must not rewire the network, but it did: only return scores")
    result = PruneResult(net, scores, by_magnitude)
    grown = min(round(regrow_fraction * min(excess, desired)), desired - 1)
    places = Candidates(net._graph, candidates) if grown else None
    while True:
        result.kept = _kept(net, scores, desired - grown, protect, by_magnitude)
        columns = edit.kept_columns(net, result.kept, desired - grown)
        if not grown or (free := places.free(columns[0])) >= grown:
            break
        grown = free  # fewer go, so that as many as go find a place
    net._replace(*columns)
    net._signals_end = True
    if grown:
        result._grown = grow_randomly(net, places, grown)
        result._grown_weight = net._weight[result._grown]
    return result


def _kept(net: "Network", scores: np.ndarray, keep: int, protect: np.ndarray | None,
          by_magnitude: bool) -> np.ndarray:
    """The mask of the `keep` highest scores, or absolute values of them."""
    try:
        return selection.select([scores], scores.size - keep, None if protect is None else [protect],
                                magnitude=by_magnitude)[0]
    except ValueError:
        check_column(net._weight, net._weight.size, "net.connections.weight")
        raise


def _check_protect(net: "Network", protect: Any) -> np.ndarray | None:
    if protect is None:
        return None
    protect = np.asarray(protect)
    count = net._graph.n_connections
    if protect.dtype != np.bool_ or protect.shape != (count,):
        raise ValueError(f"protect must be boolean with shape ({count},), got {protect.dtype} {protect.shape}")
    return protect


def _function(net: "Network", method: str | Callable, signals: dict) -> Callable:
    """The scorer; SNIP without any gradient is magnitude."""
    function = saliency.scorer(method)
    if function is saliency.snip and net._signals is None and "gradient" not in signals:
        return saliency.magnitude
    return function


def _scores(net: "Network", method: str | Callable, signals: dict) -> np.ndarray:
    """The scores of all connections, with the network's own signals where none is given."""
    function = _function(net, method, signals)
    required = saliency.requires(function)
    recorded = () if net._signals is None else zip(RECORDED, net._signals, strict=False)
    own = {keyword: column for keyword, column in recorded if keyword in required}
    if function is saliency.synflow:
        own = {"gradient": flow_gradient(net)}  # that of the flow, not of a loss
    if "rng" in required and "rng" not in signals:
        own["rng"] = net.rng
    check_column(net._weight, net._weight.size, "net.connections.weight")
    weight = net._weight.view()
    weight.flags.writeable = False  # a scorer looks, and changes nothing
    try:
        return saliency.score(function, weight, **{**own, **signals})
    except ValueError:
        check_column(net._weight, net._weight.size, "net.connections.weight")
        raise
