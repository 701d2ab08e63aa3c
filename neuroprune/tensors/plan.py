"""What a model's masks are to do while it trains, checked before it begins; it knows no torch.

Rewiring, schedule, scorer, pattern, signals and optimizer must go together: what can never work is refused here, and
not at the first step where it would have to.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from neuroprune import arrays
from neuroprune.pruning import checks, patterns, saliency
from neuroprune.pruning.patterns import NM
from neuroprune.pruning.rewire import Rewire
from neuroprune.tensors.masking import DRAWN, gathered, known_names, source, unit_sizes
from neuroprune.tensors.prune import SCOPES

SEEN = ("gradient", "momentum", "rng")  # what training has for the rules of a Rewire


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
    rewire: Rewire | None,
    schedule: Any,
    how: dict[str, Any],
    groups: Sequence[Mapping[str, Any]] | None,
    weights: Mapping[str, Any],
) -> str | None:
    """Check that rewiring, schedule, optimizer and weights go together; return the signal that training adds up.

    Parameters
    ----------
    rewire : Rewire or None
    schedule : schedule of `npr.schedules` or None
    how : dict
        method, scope, pattern and signals of the schedule; a method of None becomes "magnitude".
    groups : list of mapping, optional
        The optimizer's groups: their settings, and what they hold as "params"; None without an optimizer.
    weights : mapping from name to array
        The very objects that the groups hold.

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
        _check_rewire(rewire, schedule, groups, weights)
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
    _check_selection(schedule, how["scope"], how["pattern"], weights)
    _check_signals(how["signals"], needed, weights)
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


def known_unit(unit: Any, rewire: Rewire | None, init: Any, weights: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the axes that tell units apart, known to be used and to be axes of every weight."""
    unit = unit if rewire is None else rewire.unit
    if unit is not None and rewire is None and init not in DRAWN:
        raise ValueError(f"unit belongs to init={', '.join(map(repr, DRAWN))} or to a Rewire, got {unit} with neither: "
                         "leave it out")  # fmt: skip
    sizes = unit_sizes({name: arrays.shape(weight) for name, weight in weights.items()}, unit)
    several = sorted(set(sizes.values()))
    if rewire is not None and len(several) > 1 and (rewire.redistribute is not None or rewire.scope == "global"):
        raise ValueError(f"units must have one size to replace each other, got units of {several} weights: use "
                         'redistribute=None and scope="layer", or exclude some')  # fmt: skip
    return unit


def _check_selection(schedule: Any, scope: Any, pattern: Any, weights: Mapping[str, Any]) -> None:
    """Raise where a scope or a pattern is unknown, or does not fit the schedule or the weights."""
    if scope is not None:
        checks.one_of(scope, "scope", SCOPES)
    if pattern is None:
        return
    chosen = patterns.pattern(pattern)
    for name, weight in weights.items():
        chosen.steps(arrays.shape(weight), f"weight {name!r}")
    if not isinstance(chosen, NM):
        if scope == "row":
            raise ValueError(f"scope must be 'layer' or 'global' with {chosen}, got 'row': it has units of its own")
        return
    ends = {getattr(schedule, bound) for bound in ("start", "step", "end") if hasattr(schedule, bound)}
    for step in sorted(step for step in ends if schedule.fires(step)):
        if abs(schedule.sparsity(step) - chosen.sparsity) > 1e-12:
            raise ValueError(
                f"schedule must ask for {chosen.sparsity} at once with {chosen}, which has no steps between, got "
                f"{schedule.sparsity(step)} at step {step}: pass npr.schedules.OneShot({chosen.sparsity}, step=...)"
            )


def _check_signals(given: Any, needed: Sequence[str], weights: Mapping[str, Any]) -> None:
    """Raise unless given signals have what the scorer needs of every weight; those of a function show when it runs."""
    if given is None or not isinstance(given, Mapping):
        if given is not None and not (callable(given) or hasattr(given, "signals")):
            raise TypeError(f"signals must be a Calibration, a mapping from name or a function, got "
                            f"{type(given).__name__}: pass what calibrate returns")  # fmt: skip
        return
    calibrated = hasattr(given, "signals")  # which may have seen more than has a mask
    known_names([] if calibrated else given, weights, "signals")
    for name in weights:
        missing = [keyword for keyword in needed if not calibrated
                   and (not isinstance(given.get(name), Mapping) or given[name].get(keyword) is None)]  # fmt: skip
        if missing or (needed and name not in given):
            raise ValueError(f"signals must have {(missing or needed)[0]!r} of every weight, got none for {name!r}: "
                             f"add it, or exclude {name!r}")  # fmt: skip


def _check_rewire(
    rewire: Rewire, schedule: Any, groups: Sequence[Mapping[str, Any]] | None, weights: Mapping[str, Any]
) -> None:
    if schedule is not None:
        raise ValueError("rewire keeps the count and schedule lowers it, got both: pass one of them")
    if groups is None and rewire.replaces_step:
        raise ValueError(
            "an update in place of the optimizer's step needs the optimizer, got none: pass it, or replaces_step=False"
        )
    for role, rule in (("drop", rewire.drop), ("grow", rewire.grow)):
        if rule in (None, "set", "momentum"):
            continue
        if saliency.scorer(rule) is saliency.synflow:
            raise ValueError(f"{role}={rule!r} needs the gradient of the synaptic flow, which training does not have: "
                             "use another scorer")  # fmt: skip
        for keyword in saliency.requires(rule):
            if keyword not in SEEN:
                raise ValueError(f"{role}={rule!r} needs the signal {keyword!r}, which training does not have: use a "
                                 "scorer that needs a gradient, a momentum or nothing")  # fmt: skip
    if "momentum" in rewire.needs:
        _check_momentum(groups, weights)


def _check_momentum(groups: Sequence[Mapping[str, Any]] | None, weights: Mapping[str, Any]) -> None:
    """Raise unless the optimizer keeps a momentum of every weight that is trained."""
    if groups is None:
        raise ValueError("growth by momentum needs the optimizer, got none: pass it")
    held = {id(parameter): group for group in groups for parameter in group["params"]}
    for name, weight in weights.items():
        if not getattr(weight, "requires_grad", True):
            continue
        group = held.get(id(weight))
        if group is None:
            raise ValueError(f"growth by momentum needs every weight in the optimizer, got none of its groups with "
                             f"{name!r}: add it, freeze it, or exclude it")  # fmt: skip
        if not group.get("momentum") and "betas" not in group:
            raise ValueError(f"growth by momentum needs an optimizer that keeps it, got one without for {name!r}: use "
                             "SGD with momentum, or Adam")  # fmt: skip
