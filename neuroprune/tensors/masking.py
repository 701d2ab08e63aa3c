"""What masks over named weights start from, and what training adds up for the scorers; it knows no torch.

Weights and masks are mappings from a name to an array of any library. `tensors.torch.Masking` drives this for a
PyTorch model.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from neuroprune import arrays
from neuroprune.pruning import distribution, masks, saliency
from neuroprune.pruning.rewire import Rewire
from neuroprune.tensors.signals import CALIBRATED, GRADIENTS

STARTS = ("dense", "random", "er", "erk", "resume", "lottery")


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
        `init` is unknown, an argument is missing or does not belong to it, or a given mask does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors import masking
    >>> masking.start({"first": np.array([0.0, 2.0])}, "resume")
    {'first': array([False,  True])}
    """
    if init not in STARTS:
        near = get_close_matches(str(init), STARTS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(STARTS)}"
        raise ValueError(f"init must be the name of a start, got {init!r}: {hint}")
    drawn = init in ("random", "er", "erk")
    if drawn != (density is not None):
        raise ValueError(
            f"init={init!r} needs a density in (0, 1]: pass density=..."
            if drawn
            else f"density belongs to init='random', 'er' or 'erk', got init={init!r}: leave it out"
        )
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
            near = get_close_matches(str(name), weights, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the names are {', '.join(map(repr, weights))}"
            raise ValueError(f"{what} must be named like the weights, got {name!r}: {hint}")


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


def rewiring(rewire: Rewire | None, unit: tuple[int, ...] | None, **settings: Any) -> Rewire | None:
    """Return what was given, or the Rewire of those settings that are not None; None where there are none.

    A unit alone makes none, as masks can start from units and stay.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if rewire is None:
        return Rewire(**given, unit=unit) if given else None
    if not isinstance(rewire, Rewire):
        raise TypeError(f"rewire must be a Rewire, got {type(rewire).__name__}: pass Rewire.rigl() or another")
    if unit is not None:
        given["unit"] = unit
    if given:
        first = next(iter(given))
        raise ValueError(f"{first} belongs in the Rewire where one is given, got both: pass Rewire({first}=...)")
    return rewire


def room(rewire: Rewire | None, first: Mapping[str, Any]) -> None:
    """Raise ValueError where something is to grow and nothing is off: what is dropped there was never to go."""
    if rewire is None or rewire.grow is None or any(arrays.count_true(m) < arrays.size(m) for m in first.values()):
        return
    raise ValueError("rewire needs a sparse start, got masks that keep all: pass init='erk', density=..., or masks=...")


def plan(
    rewire: Rewire | None, schedule: Any, how: dict[str, Any], groups: Sequence[Mapping[str, Any]] | None
) -> str | None:
    """Check that rewiring, schedule and optimizer go together; return the signal that training adds up.

    Parameters
    ----------
    rewire : Rewire or None
    schedule : schedule of `npr.schedules` or None
    how : dict
        method, scope, pattern and signals of the schedule; a method of None becomes "magnitude".
    groups : list of mapping, optional
        The settings of the optimizer's groups; None without an optimizer.

    Returns
    -------
    str or None
        A key of `TOTALS`.

    Raises
    ------
    ValueError
        Two contradict each other, or something that one needs is not there.
    """
    belongs = [name for name, value in how.items() if value is not None]
    if schedule is None and belongs:
        raise ValueError(f"{belongs[0]} belongs to a schedule, got none: pass schedule=..., or prune once by prune()")
    how["method"] = "magnitude" if how["method"] is None else how["method"]
    if rewire is not None:
        _check_rewire(rewire, schedule, groups)
    if schedule is None:
        return None
    if not (hasattr(schedule, "fires") and hasattr(schedule, "sparsity")):
        raise TypeError(
            f"schedule must be one of npr.schedules, got {type(schedule).__name__}: pass for example "
            "npr.schedules.Cubic(0.9, start=1, end=1000, frequency=100)"
        )
    if hasattr(schedule, "method") or hasattr(schedule, "regrow_fraction"):
        raise TypeError(
            f"schedule must say when and how far, got {type(schedule).__name__}, whose method and regrow_fraction are "
            "for graphs: pass npr.schedules.Cubic(...) or another, and method="
        )
    needed = [keyword for keyword in saliency.requires(how["method"]) if keyword != "rng"]
    if how["signals"] is not None or not needed:
        return None
    keyword = gathered(how["method"])
    if needed != [keyword]:
        raise ValueError(
            f"method {how['method']!r} needs the signal {needed[0]!r}, which training does not add up: "
            + source(how["method"])
        )
    if keyword == "movement" and groups is None:
        raise ValueError("movement pruning needs the optimizer, got none: pass it")
    return keyword


def _check_rewire(rewire: Rewire, schedule: Any, groups: Sequence[Mapping[str, Any]] | None) -> None:
    if schedule is not None:
        raise ValueError("rewire keeps the count and schedule lowers it, got both: pass one of them")
    if groups is None and rewire.replaces_step:
        raise ValueError(
            "an update in place of the optimizer's step needs the optimizer, got none: pass it, or replaces_step=False"
        )
    if "momentum" in rewire.needs:
        if groups is None:
            raise ValueError("growth by momentum needs the optimizer, got none: pass it")
        if any(group.get("momentum") == 0 and "betas" not in group for group in groups):
            raise ValueError("growth by momentum needs an optimizer with momentum, got momentum=0: give it some")


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
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        if unit is not None and any(axis >= len(shape) for axis in unit):
            raise ValueError(f"unit must name axes of weight {name!r} of shape {shape}, got {unit}: exclude {name!r}")
        sizes[name] = 1 if unit is None else math.prod(shape) // math.prod(shape[axis] for axis in unit)
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
