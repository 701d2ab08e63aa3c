"""Rewiring while training: drop what matters least, grow elsewhere, keep the count. Dynamic sparse training.

One update of a `Rewire` takes weights by name, with the masks of what is present, and answers with new masks. It
knows neither torch nor graphs, and drives both: `neuroprune.tensors.torch.Masking(model, rewire=...)` and
`net.train(..., rewire=...)`. An update has four steps: how many go from each array, which ones (the lowest rated of
those present), how many each array gets back, and where (the best rated of the absent places, those just dropped
included). Counts are exact: as many grow as were dropped.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from neuroprune import arrays
from neuroprune.pruning import checks, decay, distribution, growth, saliency, selection
from neuroprune.pruning.checks import integer

FRACTION = 0.3  # Evci et al. 2020, section 4
STATISTICS = ("momentum", "gradient", "nonzero")


@dataclass(frozen=True)
class Update:
    """What one update decided, by name: the new masks, what was dropped, and what was grown.

    An element that is dropped and grown again in the same update is in both. Everything in `grown` starts at 0.
    """

    masks: dict[str, Any]
    dropped: dict[str, Any]
    grown: dict[str, Any]


@dataclass(frozen=True)
class Rewire:
    """When wiring changes during sparse training, what goes, and what comes instead.

    Parameters
    ----------
    drop : "magnitude", "set", scorer, number or decay
        What goes: the smallest |w|; the positive weights and the negative ones nearest to zero, the same share of
        each (Mocanu et al. 2018, SET); or the lowest scores of a scorer, a name in `npr.saliency.SCORERS` or a
        function `f(weight, **signals)`. A number or a decay is short for `drop="magnitude", fraction=` it. In
        training, the signal "gradient" of a scorer is that of the mini-batch of the update.
    grow : "random", "gradient", "momentum", None or scorer
        Where: uniformly (SET); where |gradient| is largest (Evci et al. 2020, RigL); where |momentum| of the
        optimizer is (Dettmers & Zettlemoyer 2019, SNFS); nowhere; or at the highest scores of a scorer.
    redistribute : None, "momentum", "gradient", "nonzero" or function
        How what was dropped is divided among the arrays: each gets back what it lost; in proportion to the mean
        |momentum| or |gradient| of what is present, or to the number of non-zero weights; or to what
        `f(weight, mask, **signals)` returns. What an array has no room for goes to the others.
    every : int
        Steps between two updates, at least 1; where updates replace steps, 1 trains nothing but the wiring.
    until : int, optional
        The step from which on nothing changes.
    fraction : number in [0, 1], decay or function of the step
        Share of what is present that is dropped, 0.3 unless said. A number falls to 0 at `until` along half a cosine,
        as in RigL, and stays as it is without `until`. See `neuroprune.pruning.decay`.
    scope : "layer" or "global"
        Whether each array drops its share, or all drop together what is lowest rated.
    unit : tuple of int, optional
        Axes that tell units apart, which go and come as a whole: (0, 1) for the kernels of a weight (out, in, height,
        width). A unit is rated by the mean over it, signed, before any absolute value is taken.
    replaces_step : bool
        Whether an update takes the place of the optimizer's step, as in RigL, or comes after it.
    start : int
        The first step that may update.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning.rewire import Rewire
    >>> rewire = Rewire(grow="gradient", every=10, until=100, fraction=0.5)
    >>> [step for step in range(45) if rewire.fires(step)]
    [10, 20, 30, 40]
    >>> weights = {"a": np.array([2.0, 0.1, 0.0, 0.0])}
    >>> present = {"a": np.array([True, True, False, False])}
    >>> signals = {"a": {"gradient": np.array([0.0, 0.0, 0.3, -0.9])}}
    >>> rewire.update(weights, present, 10, signals).masks["a"]
    array([ True, False, False,  True])
    """

    drop: Any = "magnitude"
    grow: str | Callable | None = "random"
    redistribute: str | Callable | None = None
    every: int = 100
    until: int | None = None
    fraction: Any = None
    scope: str = "layer"
    unit: tuple[int, ...] | None = None
    replaces_step: bool = True
    start: int = 0

    def __post_init__(self) -> None:
        put = partial(object.__setattr__, self)
        if hasattr(self.drop, "rate") or (isinstance(self.drop, Real) and not isinstance(self.drop, bool)):
            if self.fraction is not None:
                raise ValueError(f"fraction must be left out where drop is a share, got {self.fraction!r} and "
                                 f"drop={self.drop!r}: pass one of them")
            put("fraction", self.drop)
            put("drop", "magnitude")
        if self.fraction is None:
            put("fraction", FRACTION)
        _known(self.drop, "drop", ("set", *saliency.SCORERS))
        if self.grow is not None:
            _known(self.grow, "grow", ("momentum", *saliency.SCORERS))
        if self.redistribute is not None:
            _known(self.redistribute, "redistribute", STATISTICS)
        _known(self.scope, "scope", ("layer", "global"), functions=False)
        put("every", integer(self.every, "every", 1, None, "the number of steps between two updates"))
        put("start", integer(self.start, "start", 0, None, "the first step that may update"))
        if self.until is not None:
            put("until", integer(self.until, "until", 1, None, "the step from which on nothing changes"))
        if not isinstance(self.replaces_step, bool):
            raise TypeError(f"replaces_step must be True or False, got {self.replaces_step!r}")
        if self.unit is not None:
            put("unit", checks.unit_axes(self.unit))
        if isinstance(self.fraction, decay.Magnitude):
            raise TypeError("fraction must be a share of what is present, and decay.Magnitude counts shares of the "
                            "whole array: prune by a schedule, such as npr.schedules.Cubic")
        if isinstance(self.fraction, Real) and not isinstance(self.fraction, bool):
            if not 0.0 <= self.fraction <= 1.0:
                raise ValueError(f"fraction must be a share in [0, 1], got {self.fraction}")
            shape = decay.Constant(self.fraction) if self.until is None else decay.Cosine(self.fraction, self.until)
            put("fraction", shape)
        elif not (hasattr(self.fraction, "rate") or callable(self.fraction)):
            raise TypeError(f"fraction must be a number in [0, 1], a decay or a function of the step, got "
                            f"{self.fraction!r}")

    @classmethod
    def set(cls, **options: Any) -> "Rewire":
        """Sparse evolutionary training: drop by sign, grow at random (https://arxiv.org/abs/1707.04780)."""
        rules = {"drop": "set", "grow": "random", "replaces_step": False, "fraction": decay.Constant(0.3)}
        return cls(**{**rules, **options})

    @classmethod
    def rigl(cls, **options: Any) -> "Rewire":
        """RigL: drop by magnitude, grow by gradient, instead of a step (https://arxiv.org/abs/1911.11134)."""
        return cls(**{"grow": "gradient", **options})

    @classmethod
    def snfs(cls, **options: Any) -> "Rewire":
        """Sparse networks from scratch: grow and redistribute by momentum (https://arxiv.org/abs/1907.04840)."""
        return cls(**{"grow": "momentum", "redistribute": "momentum", "replaces_step": False, **options})

    @property
    def needs(self) -> frozenset[str]:
        """Which of the signals "gradient" and "momentum" an update cannot do without."""
        wanted = {kind for kind in (self.grow, self.redistribute) if kind in ("gradient", "momentum")}
        for scorer in (self.drop, self.grow):
            if scorer not in (None, "set", "momentum"):
                wanted |= {"gradient", "momentum"} & {*saliency.requires(scorer)}
        return frozenset(wanted)

    def fires(self, step: int) -> bool:
        """Return whether this step, counted from 1, updates."""
        early = step < max(self.start, 1)
        return not early and step % self.every == 0 and (self.until is None or step < self.until)

    def rate(self, step: int) -> float:
        """Return the share of what is present that this step drops."""
        share = self.fraction.rate(step) if hasattr(self.fraction, "rate") else self.fraction(step)
        if not isinstance(share, Real) or not 0.0 <= share <= 1.0:
            raise ValueError(f"fraction must give a share in [0, 1], got {share!r} at step {step}")
        return float(share)

    def update(self, weights: Mapping[str, Any], masks: Mapping[str, Any], step: int,
               signals: Mapping[str, Mapping[str, Any]] | None = None, rng: Any = None,
               drops: Mapping[str, int] | None = None) -> Update:
        """Drop and grow in dense arrays; nothing is changed in place.

        Parameters
        ----------
        weights : mapping of name to floating array
            Of one library and on one device. What is absent has no say in what is dropped.
        masks : mapping of name to boolean array
            Of the weights' shapes; True is present.
        step : int
            For the rate; whether the step `fires` is not asked.
        signals : mapping of name to mapping of keyword to array, optional
            What the rules need, of the weights' shapes: "gradient" and "momentum" are dense, absent places included.
        rng : numpy.random.Generator or seed
            For random growth, and for scorers that draw.
        drops : mapping of name to int, optional
            How many elements (units) go from each array, instead of the share.

        Returns
        -------
        Update

        Raises
        ------
        ValueError
            Names or shapes do not fit, a number is NaN or infinite, a signal is missing, or a mask is not uniform
            inside a unit.
        """
        weights, masks, signals, back = self._checked(weights, masks, signals)
        if rng is not None:
            rng = np.random.default_rng(rng)
            signals = {name: {"rng": rng, **mine} for name, mine in signals.items()}  # for scorers that draw
        dropped = self.dropped(weights, masks, step, signals, drops)
        left = {name: mask & ~dropped[name] for name, mask in masks.items()}
        room = {name: arrays.count_true(~mask) for name, mask in left.items()}
        gets = self.allot(weights, masks, dropped, room, signals)
        grown = {name: self._grown(name, weights[name], left[name], gets[name], signals[name], rng) for name in left}
        return Update({name: back(name, left[name] | grown[name]) for name in left},
                      {name: back(name, dropped[name]) for name in left},
                      {name: back(name, grown[name]) for name in left})

    def dropped(self, weights: Mapping[str, Any], masks: Mapping[str, Any], step: int,
                signals: Mapping[str, Mapping[str, Any]] | None = None,
                drops: Mapping[str, int] | None = None) -> dict[str, Any]:
        """Return what goes, by name: round(rate * present) of each array, or of all together.

        With `drop="set"` that holds for the weights below zero and for the others, each by itself.
        """
        signals = signals or {}
        method = "magnitude" if self.drop == "set" else self.drop
        scores = {name: saliency.score(method, weight, **signals.get(name, {})) for name, weight in weights.items()}
        parts = [dict(masks)]
        if self.drop == "set":
            below = {name: masks[name] & (weight < 0) for name, weight in weights.items()}
            parts = [below, {name: masks[name] & ~below[name] for name in below}]
        sizes = [{name: arrays.count_true(part[name]) for name in scores} for part in parts]
        gone = {name: mask & ~mask for name, mask in masks.items()}
        if drops is not None:
            checks.same_names(drops, weights, "drops")
        rate = self.rate(step) if drops is None else None
        if rate is not None and self.scope == "global":
            for part, size in zip(parts, sizes, strict=True):
                kept = selection.select(list(scores.values()), round(rate * sum(size.values())),
                                        [~part[name] for name in scores])
                gone = {name: gone[name] | ~mask for name, mask in zip(scores, kept, strict=True)}
            return gone
        for name, score in scores.items():
            here = [size[name] for size in sizes]
            if rate is not None:
                numbers = [round(rate * size) for size in here]
            else:
                total = integer(drops[name], f"drops[{name!r}]", 0, sum(here), "how many of those present go")
                numbers = distribution.apportion(here, total, here)
            for part, number in zip(parts, numbers, strict=True):
                gone[name] = gone[name] | ~selection.select([score], number, [~part[name]])[0]
        return gone

    def allot(self, weights: Mapping[str, Any], masks: Mapping[str, Any], dropped: Mapping[str, Any],
              room: Mapping[str, int], signals: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, int]:
        """Return how many each array grows: as many in all as were dropped, none more than it has room for.

        Parameters
        ----------
        weights, masks, signals
            As for `update`, before anything was dropped.
        dropped : mapping of name to boolean array
        room : mapping of name to int
            How many places are absent once those are dropped.
        """
        lost = {name: arrays.count_true(flags) for name, flags in dropped.items()}
        if self.grow is None:
            return dict.fromkeys(lost, 0)
        if self.redistribute is None:
            return lost
        shares = [self._statistic(name, weight, masks[name], (signals or {}).get(name, {}))
                  for name, weight in weights.items()]
        names = list(weights)
        given = distribution.apportion(shares, sum(lost.values()), [room[name] for name in names])
        return dict(zip(names, given, strict=True))

    def _statistic(self, name: str, weight: Any, mask: Any, signals: Mapping[str, Any]) -> float:
        """The number that decides an array's part of what grows."""
        if callable(self.redistribute):
            share = self.redistribute(weight, mask, **{key: value for key, value in signals.items() if key != "rng"})
            try:
                number = float(share)
            except (TypeError, ValueError):
                number = float("nan")
            if not 0.0 <= number < float("inf"):
                raise ValueError(f"redistribute must return a number of at least 0 for {name!r}, got {share!r}")
            return number
        if self.redistribute == "nonzero":
            return float(arrays.count_true(mask & (weight != 0)))
        values = arrays.double(_signal(signals, self.redistribute, name))[mask]
        return float(arrays.library(values).mean(abs(values))) if arrays.size(values) else 0.0

    def _grown(self, name: str, weight: Any, left: Any, number: int, signals: Mapping[str, Any], rng: Any) -> Any:
        """True in `number` places that are absent from `left`."""
        absent = arrays.size(left) - arrays.count_true(left)
        if self.grow == "random":
            if rng is None and number:
                raise ValueError('Rewire(grow="random") needs random numbers, got none: pass rng=')
            chosen = np.zeros(absent + 1, bool)
            chosen[1 + growth.sample(absent, number, rng)] = True
            flat = arrays.library(left).reshape(~left, (-1,))
            chosen = flat & arrays.take(arrays.like(chosen, left), arrays.running_count(flat))
            return arrays.library(left).reshape(chosen, arrays.shape(left))
        if self.grow is None or number == 0:
            return left & ~left
        if self.grow == "momentum":
            scores = abs(_signal(signals, "momentum", name))
        else:
            scores = saliency.score(self.grow, weight, **signals)
        return selection.select([scores], absent - number, [left])[0] & ~left

    def _checked(self, weights: Mapping[str, Any], masks: Mapping[str, Any],
                 signals: Mapping[str, Mapping[str, Any]] | None) -> tuple[dict, dict, dict, Callable[[str, Any], Any]]:
        """Weights, masks and signals, by unit where there are units, and the way back to the shape of a weight."""
        if not isinstance(weights, Mapping):
            raise TypeError(f"weights must be a mapping of names to arrays, got {type(weights).__name__}: pass a dict")
        checks.same_names(masks, weights, "masks")
        signals = {name: {} for name in weights} if signals is None else signals
        for name in signals:
            if name not in weights:
                raise ValueError(f"signals must name what is there, got {name!r}"
                                 f"{checks.nearest(name, map(str, weights))}")
        found: tuple[dict, dict, dict] = {}, {}, {}
        first = next(iter(weights.values()), None)
        for name, weight in weights.items():
            arrays.same_place(first, checks.scores(weight, f"weight {name!r}"), f"weight {name!r}")
            checks.flags(masks[name], weight, f"the mask of {name!r}", "weight's")
            arrays.require_finite(weight, f"weight {name!r}")
            mine = dict(signals.get(name, {}))
            for keyword in sorted(self.needs):
                value = _signal(mine, keyword, name)
                if arrays.shape(value) != arrays.shape(weight):
                    raise ValueError(f"signal {keyword!r} of {name!r} must have the weight's shape "
                                     f"{arrays.shape(weight)}, got {arrays.shape(value)}")
                arrays.require_finite(value, f"signal {keyword!r} of {name!r}")
            if self.unit is not None:
                weight, masks_here, mine = self._by_unit(name, weight, masks[name], mine)
            else:
                masks_here = masks[name]
            found[0][name], found[1][name], found[2][name] = arrays.detach(weight), masks_here, mine
        if self.unit is not None and (self.redistribute is not None or self.scope == "global"):
            sizes = {arrays.size(weights[name]) // max(1, arrays.size(found[0][name])) for name in weights}
            if len(sizes) > 1:
                raise ValueError("units of several sizes cannot replace each other exactly, got units of "
                                 f"{sorted(sizes)} weights: use redistribute=None and scope=\"layer\"")

        def back(name: str, flags: Any) -> Any:
            flags = flags if self.unit is None else _spread(flags, weights[name], self.unit)
            return arrays.whole(flags, weights[name])

        return *found, back

    def _by_unit(self, name: str, weight: Any, mask: Any, signals: dict) -> tuple[Any, Any, dict]:
        """The same with one element per unit: means of numbers; a mask that is all or nothing in each."""
        shape = arrays.shape(weight)
        if any(axis >= len(shape) for axis in self.unit):
            raise ValueError(f"unit must name axes of weight {name!r} of shape {shape}, got {self.unit}")
        xp = arrays.library(weight)
        over = tuple(axis for axis in range(len(shape)) if axis not in self.unit)

        def mean(values: Any) -> Any:
            return xp.mean(arrays.detach(values), axis=over) if over else arrays.detach(values)

        some = mean(arrays.cast(mask, weight))
        if bool(xp.any((some > 0) & (some < 1))):
            raise ValueError(f"the mask of {name!r} must be the same inside each unit of axes {self.unit}, got units "
                             "that are partly there: start from structured masks")
        return mean(weight), some > 0, {keyword: mean(value) if arrays.is_array(value) and
                                        arrays.shape(value) == shape else value for keyword, value in signals.items()}


def _spread(flags: Any, weight: Any, unit: tuple[int, ...]) -> Any:
    """Flags of units in the shape of the weight."""
    shape, xp = arrays.shape(weight), arrays.library(weight)
    lengths = tuple(shape[axis] if axis in unit else 1 for axis in range(len(shape)))
    whole = xp.broadcast_to(xp.reshape(flags, lengths), shape)
    return whole & (weight == weight)  # an array of its own, not a view of the flags


def _signal(signals: Mapping[str, Any], keyword: str, name: str) -> Any:
    value = signals.get(keyword)
    if value is None:
        raise ValueError(f"this Rewire needs the signal {keyword!r} of {name!r}: pass "
                         f"signals={{{name!r}: {{{keyword!r}: array}}}}")
    return arrays.detach(value)


def _known(value: Any, name: str, words: tuple[str, ...], functions: bool = True) -> None:
    """Raise unless the value is one of the words, or a function where those are allowed."""
    if (functions and callable(value)) or (isinstance(value, str) and value in words):
        return
    what = "a known name or a function" if functions else "one of its names"
    error = ValueError if isinstance(value, str) else TypeError
    raise error(f"{name} must be {what}, got {value!r}{checks.nearest(value, words)}")
