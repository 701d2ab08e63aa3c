"""What masks over named weights start from, when they shrink, and what training adds up; it knows no torch.

Weights and masks are mappings from a name to an array of any library. `tensors.torch.Masking` drives this for a
PyTorch model.
"""

import math
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from neuroprune import arrays
from neuroprune.pruning import checks, distribution, masks, saliency
from neuroprune.tensors.signals import CALIBRATED, GRADIENTS

DRAWN = ("random", "er", "erk")  # starts that need a density
STARTS = ("dense", *DRAWN, "resume", "lottery")


def start(
    weights: Mapping[str, Any],
    init: str,
    density: float | None = None,
    given: Mapping[str, Any] | None = None,
    shuffle: bool = False,
    rng: np.random.Generator | None = None,
    unit: tuple[int, ...] | None = None,
) -> dict[str, Any]:
    """Return the first masks of named weights.

    Parameters
    ----------
    weights : mapping from name to array
        Of one library; arrays of any rank.
    init : {"dense", "random", "er", "erk", "resume", "lottery"}
        "dense" keeps all. "random" draws the same density everywhere, "er" and "erk" the densities of an Erdos-Renyi
        graph, without and with the size of the kernels (Evci et al. 2020, https://arxiv.org/abs/1911.11134, section
        3.1), all with exact counts. "resume" keeps what is not zero. "lottery" takes the masks that are `given`.
    density : float, optional
        Share of all weights that stay, in (0, 1]; for "random", "er" and "erk".
    given : mapping from name to boolean array, optional
        One mask per weight, for "lottery"; of any library.
    shuffle : bool, optional
        Whether each given mask is permuted: the densities of a lottery ticket without its wiring.
    rng : numpy.random.Generator, optional
        Needed where something is drawn.
    unit : tuple of int, optional
        Axes that tell units apart, which come as a whole, as in `Rewire`.

    Raises
    ------
    ValueError
        `init` is unknown, an argument is missing or does not belong to it, a given mask does not fit, or the density
        leaves nothing of a weight.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors import masking
    >>> masking.start({"first": np.array([0.0, 2.0])}, "resume")
    {'first': array([False,  True])}
    """
    if init not in STARTS:
        raise ValueError(f"init must be the name of a start, got {init!r}{checks.nearest(init, STARTS)}")
    drawn = init in DRAWN
    if drawn != (density is not None):
        raise ValueError(
            f"init={init!r} needs a density in (0, 1]: pass density=..."
            if drawn
            else f"density belongs to init='random', 'er' or 'erk', got init={init!r}: leave it out"
        )
    if drawn and (not isinstance(density, Real) or isinstance(density, bool) or not 0 < density <= 1):
        raise ValueError(f"density must be a number in (0, 1], got {density!r}: it is the share of weights that stay")
    if (init == "lottery") != (given is not None):
        raise ValueError(
            "init='lottery' needs masks by name: pass masks=..."
            if given is None
            else f"masks belong to init='lottery', got init={init!r}: leave one of them out"
        )
    if shuffle and given is None:
        raise ValueError("shuffle permutes given masks, got none: pass masks=... or leave it out")
    if given is not None:
        ready = conform(given, weights)
        return {name: _permuted(mask, rng) for name, mask in ready.items()} if shuffle else ready
    if init in ("dense", "resume"):
        return {name: (weight == weight) | (weight != weight) if init == "dense" else weight != 0
                for name, weight in weights.items()}  # fmt: skip
    shapes = {name: arrays.shape(weight) for name, weight in weights.items()}
    if init == "random":
        densities = distribution.uniform(shapes, density)
    else:
        densities = distribution.erdos_renyi(shapes, density, kernel=init == "erk")
    counts = _counts(densities, shapes, density, unit)
    for name, number in counts.items():
        if number == 0:
            raise ValueError(
                f"density={density} must leave a weight in every array, got none of the {math.prod(shapes[name])} of "
                f"{name!r}: raise the density, or exclude {name!r}"
            )
    return distribution.random_masks(weights, counts, rng, unit=unit)


def conform(given: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies of masks in the library and on the device of the weights, known to fit them.

    Raises
    ------
    ValueError
        A name is missing or unknown, or a mask has another shape than its weight.
    TypeError
        A mask is not boolean.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"masks must be a mapping from name to boolean array, got {type(given).__name__}")
    known_names(given, weights, "masks")
    for name in weights:
        if name not in given:
            raise ValueError(
                f"masks must have one for every weight, got none for {name!r}: add it, or exclude {name!r}"
            )
    ready = {}
    for name, weight in weights.items():
        mask = given[name]
        if not arrays.is_array(mask) or arrays.kind(mask) != "bool":
            got = mask.dtype if arrays.is_array(mask) else type(mask).__name__
            raise TypeError(f"mask of {name!r} must be a boolean array, got {got}: compare it with 0 first")
        if arrays.shape(mask) != arrays.shape(weight):
            raise ValueError(
                f"mask of {name!r} must have its weight's shape {arrays.shape(weight)}, got {arrays.shape(mask)}"
            )
        view = arrays.host(mask)
        if view is None:
            arrays.same_place(weight, mask, f"mask of {name!r}")
        ready[name] = mask & mask if view is None else arrays.like(np.array(view), weight)
    return ready


def known_names(names: Iterable[Any], weights: Mapping[str, Any], what: str) -> None:
    """Raise ValueError, with the nearest, unless all names are those of weights."""
    for name in names:
        if name not in weights:
            raise ValueError(f"{what} must be named like the weights, got {name!r}{checks.nearest(name, weights)}")


def known_state(state: Any, weights: Mapping[str, Any]) -> None:
    """Raise unless a state has the parts of `Masking.state_dict`, and what is named in it fits the weights."""
    parts = {"step", "pruned_at", "rng", "totals", "hidden"}
    if not isinstance(state, Mapping) or set(state) != parts:
        got = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise ValueError(f"state must have {', '.join(sorted(parts))}, got {got}: pass what state_dict returned")
    for part, least in (("step", 0), ("pruned_at", -1)):
        checks.integer(state[part], part, least, None, "a number of steps")
    for part in ("totals", "hidden"):
        if not isinstance(state[part], Mapping):
            raise TypeError(f"{part} must be a mapping from name to array, got {type(state[part]).__name__}: pass "
                            "what state_dict returned")  # fmt: skip
        known_names(state[part], weights, part)
        for name, values in state[part].items():
            shape = arrays.shape(weights[name])
            if not arrays.is_array(values) or arrays.library(values) is not arrays.library(weights[name]):
                raise TypeError(f"{part} of {name!r} must be an array like the weight, got {type(values).__name__}: "
                                "pass what state_dict returned")  # fmt: skip
            if arrays.shape(values) != shape:
                raise ValueError(f"{part} of {name!r} must have shape {shape}, got {arrays.shape(values)}: it is the "
                                 "state of another model")  # fmt: skip


def movement(total: Any, weight: Any, gradient: Any, rate: float = 1.0) -> Any:
    """Return movement scores after one more step: `S - rate * dL/dW * W`.

    Sanh et al. 2020, https://arxiv.org/abs/2005.07683, eq. 3, where the forward pass uses the masked weight W' = M W
    and the gradient goes straight through the mask: `gradient` is that with respect to W', dense, and `weight` is W
    with the values that the mask hides.

    Parameters
    ----------
    total : array or None
        The scores so far; None before the first step.
    weight, gradient : arrays of one shape
    rate : float, optional
        Learning rate of the scores.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors import masking
    >>> weight, gradient = np.array([1.0, -1.0]), np.array([-1.0, -1.0])
    >>> masking.movement(None, weight, gradient, rate=0.5)  # the first one grows, the second one shrinks
    array([ 0.5, -0.5])
    """
    moved = weight * gradient * rate
    return -moved if total is None else total - moved


def gathered(method: str | saliency.Scorer) -> str | None:
    """Return the signal that training itself can add up for a scorer: None for those that need none or another.

    "gradient" is the sum of the gradients, "squared_gradient" the sum of their squares, "movement" what `movement`
    returns. SynFlow's gradient is not that of a loss, and GraSP's product is not seen in training.
    """
    function = saliency.scorer(method)
    if function is saliency.synflow:
        return None
    wanted = [keyword for keyword in saliency.requires(function) if keyword in TOTALS]
    return wanted[0] if wanted else None


def _gradient(total: Any, weight: Any, gradient: Any, rate: float) -> Any:
    return gradient + 0 if total is None else total + gradient  # + 0 copies


def _squared_gradient(total: Any, weight: Any, gradient: Any, rate: float) -> Any:
    return gradient * gradient if total is None else total + gradient * gradient


TOTALS = {"gradient": _gradient, "squared_gradient": _squared_gradient, "movement": movement}


def passed(
    given: Any, method: str | saliency.Scorer, weights: Iterable[str], known: Mapping[str, Any]
) -> dict[str, Mapping[str, Any]]:
    """Return what was given of those weights; a calibration may have seen others, which have no masks.

    Parameters
    ----------
    given : Calibration, mapping or function that returns either
    method : str or scorer
    weights : names of weights that are pruned now
    known : mapping from the name of every weight that has a mask

    Raises
    ------
    ValueError
        A name is unknown, or a calibration does not have what the scorer needs.
    """
    given = given() if callable(given) else given
    if hasattr(given, "signals"):
        found = given.signals(method)
        given = {name: signals for name, signals in found.items() if name in known} or found
    if not isinstance(given, Mapping):
        raise TypeError(f"signals must be a mapping from name or a Calibration, got {type(given).__name__}")
    known_names(given, known, "signals")
    return {name: given[name] for name in weights if name in given}


def at_hand(
    method: str | saliency.Scorer, gradients: Mapping[str, Any], adds: str | None, totals: Mapping[str, Any]
) -> dict[str, dict[str, Any]] | None:
    """Return what training added up for a scorer, else the gradients of now; None where it needs nothing.

    Parameters
    ----------
    method : str or scorer
    gradients : mapping from name to array or None
        Of the weights that are pruned.
    adds : str or None
        The key of `TOTALS` whose sums `totals` has.
    totals : mapping from name to array

    Raises
    ------
    ValueError
        There is no such thing of a weight; the message says where it comes from.
    """
    needed, keyword = saliency.requires(method), gathered(method)
    if not needed:
        return None
    called = repr(method) if isinstance(method, str) else getattr(method, "__name__", "the scorer")
    if keyword is None:
        raise ValueError(f"pruning by {called} needs the signal {needed[0]!r}, got none: {source(method)}")
    ready = {}
    for name, gradient in gradients.items():
        signal = totals.get(name) if keyword == adds else None
        if signal is None and keyword == "gradient":
            signal = gradient
        if signal is None:
            words = f"pruning by {called} needs the {keyword.replace('_', ' ')} of {name!r}, "
            raise ValueError(
                words + f"got none: call backward before, or exclude {name!r}"
                if keyword in ("gradient", adds)
                else words + f"which its .grad, a mean over samples, does not tell: {source(method)}"
            )
        ready[name] = {keyword: signal}
    return ready


def source(method: str | saliency.Scorer) -> str:
    """Return the end of a message about a missing signal: where to get it."""
    needed = {*saliency.requires(method)}
    if needed <= {*CALIBRATED}:
        return f"pass signals=npr.calibrate(model, batches{', hessian=True' if CALIBRATED[2] in needed else ''})"
    if needed <= {*GRADIENTS}:
        name = repr(method) if isinstance(method, str) else "method"
        loss = "" if saliency.scorer(method) is saliency.synflow else ", loss"
        return f"pass signals=neuroprune.tensors.signals.signals(model, {name}, batches{loss})"
    if needed == {"movement"}:
        return "train with a schedule and method='movement', or pass signals={name: {'movement': array}}"
    return "pass signals={name: {keyword: array}}"


def due(schedule: Any, step: int, last: int) -> bool:
    """Return whether a schedule prunes at this step, `last` being the step that pruned before (-1: none did).

    It does where it fires, and at the first step at or after its end if it has not pruned at or after the end yet:
    steps count from 1, and training may go on with a schedule whose end has passed.
    """
    end = getattr(schedule, "end", getattr(schedule, "step", None))
    return bool(schedule.fires(step)) or (end is not None and step >= end > last)


def open_names(present: Mapping[str, Any], sparsity: float, joint: bool) -> list[str]:
    """Return the names whose masks have fewer than `sparsity` off; with `joint` all or none of them.

    Masks only shrink under a schedule, so that those which began sparser wait until it has caught up.
    """
    off = {name: arrays.size(mask) - arrays.count_true(mask) for name, mask in present.items()}
    if joint:
        size = sum(arrays.size(mask) for mask in present.values())
        return list(present) if sum(off.values()) < masks.count(sparsity, size) else []
    return [name for name, mask in present.items() if off[name] < masks.count(sparsity, arrays.size(mask))]


def unit_sizes(shapes: Mapping[str, tuple[int, ...]], unit: tuple[int, ...] | None) -> dict[str, int]:
    """Return how many elements a unit of each array has; 1 where `unit` is None."""
    if unit is None:
        return dict.fromkeys(shapes, 1)
    unit = checks.unit_axes(unit)
    for name, shape in shapes.items():
        if max(unit) >= len(shape):
            raise ValueError(f"unit must name axes of weight {name!r} of shape {shape}, got {unit}: exclude {name!r}")
    return {name: math.prod(shape) // math.prod(shape[axis] for axis in unit) for name, shape in shapes.items()}


def report(present: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per mask: name, shape, size, how many are kept, and the share that is off.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors import masking
    >>> masking.report({"first": np.array([True, False])})
    [{'name': 'first', 'shape': (2,), 'size': 2, 'kept': 1, 'sparsity': 0.5}]
    """
    rows = []
    for name, mask in present.items():
        size, kept = arrays.size(mask), arrays.count_true(mask)
        rows.append({"name": name, "shape": arrays.shape(mask), "size": size, "kept": kept,
                     "sparsity": (size - kept) / size})  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows of `report` as text, with their total."""
    size, kept = sum(row["size"] for row in rows), sum(row["kept"] for row in rows)
    lines = [(row["name"], " x ".join(map(str, row["shape"])), f"{row['kept']:,}", f"{row['size']:,}",
              f"{row['sparsity']:.2%}") for row in rows]  # fmt: skip
    lines = [("weight", "shape", "kept", "of", "sparsity"), *lines,
             ("all prunable weights", "", f"{kept:,}", f"{size:,}", f"{(size - kept) / size:.2%}")]  # fmt: skip
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join("  ".join([line[0].ljust(widths[0]), line[1].ljust(widths[1]),
                                *(cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True))])
                     for line in lines)  # fmt: skip


def _counts(
    densities: Mapping[str, float], shapes: Mapping[str, tuple[int, ...]], density: float, unit: tuple[int, ...] | None
) -> dict[str, int]:
    """How many elements stay in each array, whole units; exact in all where units are single, else to a unit."""
    sizes = unit_sizes(shapes, unit)
    found: dict[str, int] = {}
    for size in dict.fromkeys(sizes.values()):
        alike = {name: (math.prod(shapes[name]) // size,) for name in shapes if sizes[name] == size}
        units = sum(places for (places,) in alike.values())
        budget = units - masks.count(1.0 - density, units) if len(alike) == len(shapes) else None
        kept = distribution.counts({name: densities[name] for name in alike}, alike, budget)
        found |= {name: number * size for name, number in kept.items()}
    return found


def _permuted(mask: Any, rng: np.random.Generator) -> Any:
    """The mask with its elements in random order."""
    xp, order = arrays.library(mask), arrays.like(rng.permutation(arrays.size(mask)), mask)
    return xp.reshape(arrays.take(xp.reshape(mask, (-1,)), order), arrays.shape(mask))
