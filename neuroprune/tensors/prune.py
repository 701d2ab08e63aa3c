"""One-shot pruning of named tensors: score, choose targets, rank, mask."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroprune import arrays
from neuroprune.pruning import checks, patterns, saliency, units
from neuroprune.pruning.masks import apply, sparse
from neuroprune.pruning.patterns import NM, Axis, Block
from neuroprune.pruning.saliency import Scorer
from neuroprune.pruning.selection import select_jointly

SCOPES = ("layer", "global", "row")


def prune_tensors(
    weights: Mapping[str, Any],
    sparsity: float | None = None,
    method: str | Scorer = "magnitude",
    scope: str | None = None,
    pattern: str | NM | Block | Axis | None = None,
    signals: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    targets: Mapping[str, float] | None = None,
    groups: Mapping[str, Iterable[str]] | None = None,
    exclude: Iterable[str] = (),
    masks: Mapping[str, Any] | None = None,
    of: str = "all",
    protect: Mapping[str, Any] | None = None,
    min_per_layer: int = 1,
    seed: int | np.random.Generator | None = None,
    in_place: bool = False,
) -> dict[str, Any]:
    """Return a mask for each of several weights: score them, rank the scores, keep the best.

    Nothing is changed before everything is known to be right.

    Parameters
    ----------
    weights : mapping from name to array
        Floating numbers of one library (numpy, torch or the array API standard) on one device, any shapes.
    sparsity : float, optional
        Share to remove, in [0, 1]: of each weight, of each row, or of all together, by `scope`. With a `Block` or an
        `Axis` it is the share of the blocks or slices. None where `targets` or the pattern say it all.
    method : str or callable, optional
        A scorer: a name in `npr.saliency.SCORERS`, or a function `f(weight, **signals)`.
    scope : {None, "layer", "global", "row"}, optional
        What is ranked together: each weight, all weights, or each row of each weight. None takes what the scorer
        declares as its `scope` ("row" for wanda), else "layer". An N:M pattern compares inside its groups whatever
        the scope.
    pattern : {None, "keep:group", NM, Block, Axis}, optional
        What goes together; None is single elements.
    signals : mapping from name to a mapping from keyword to array, or Calibration, optional
        What the scorer needs besides each weight.
    targets : mapping from name, or name of a group, to sparsity, optional
        The target of a name comes before that of its group, and both before `sparsity`. Under "global" a named weight
        is ranked for itself, a group among its own, and the rest together.
    groups : mapping from name of a group to names, optional
        For `targets` and `exclude`.
    exclude : str or iterable of str, optional
        Names, or names of groups, that are left alone and get no mask.
    masks : mapping from name to boolean array, optional
        What is still there, from an earlier pruning. What is off stays off and is not ranked.
    of : {"all", "remaining"}, optional
        Whether a sparsity is the share of the whole that is off afterwards, or of what is still there that goes now.
    protect : mapping from name to boolean array, optional
        True is never removed.
    min_per_layer : int, optional
        How many elements (blocks, slices) each weight keeps; the total stays exact. 0 allows a weight to be emptied.
    seed : int or numpy.random.Generator, optional
        For scorers that draw ("random"): one stream, weight after weight.
    in_place : bool, optional
        Also set what is off to 0 in the weights themselves.

    Returns
    -------
    dict from name to boolean array
        True keeps. In the order of `weights`, each in the library, on the device and of the shape of its weight.

    Raises
    ------
    ValueError
        A name, method, scope or pattern is unknown (the message proposes the nearest); a sparsity is missing or
        outside [0, 1]; a weight is empty or not finite; a signal is missing; a pattern does not fit a shape; more
        would have to go than may.
    TypeError
        A weight is not a floating array, or of another library than the others.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.tensors.prune import prune_tensors
    >>> weights = {"fc1": np.array([[0.1, -2.0], [0.3, 4.0]]), "fc2": np.array([[0.2, -5.0]])}
    >>> kept = prune_tensors(weights, 0.5, scope="global", in_place=True)
    >>> kept["fc1"]
    array([[False,  True],
           [False,  True]])
    >>> weights["fc2"]
    array([[ 0., -5.]])
    """
    known = _known_weights(weights)
    scorer = saliency.scorer(method)
    chosen_pattern = None if pattern is None else patterns.pattern(pattern)
    members = _known_groups(groups, known)
    left_alone = _left_alone(exclude, known, members)
    names = [name for name in known if name not in left_alone]
    if not names:
        raise ValueError("exclude must leave at least one weight to prune, got all of them")
    task = _Task(
        known,
        scorer,
        chosen_pattern,
        _known_scope(scope, scorer, chosen_pattern),
        checks.one_of(of, "of", checks.OF),
        checks.integer(min_per_layer, "min_per_layer", 0, None, "the number that each weight keeps"),
        _known_signals(signals, known, scorer, seed),
        _known_flags(masks, "masks", known),
        _known_flags(protect, "protect", known),
    )
    pools = _pools(task, names, sparsity, targets, members, left_alone)
    for name in names:
        _check_one(task, name)
        if in_place:
            checks.writable(known[name], _called(name))
    found: dict[str, Any] = {}
    for pool in pools:
        found |= dict(zip(pool.names, _prune(task, pool), strict=True))
    if in_place:
        for name in names:
            apply(known[name], found[name], in_place=True)
    return {name: found[name] for name in names}


@dataclass(frozen=True)
class _Task:
    """The arguments, known to be right each for itself."""

    weights: Mapping[str, Any]
    scorer: Scorer
    pattern: NM | Block | Axis | None
    scope: str
    of: str
    min_per_layer: int
    signals: Mapping[str, Mapping[str, Any]]
    masks: Mapping[str, Any]
    protect: Mapping[str, Any]


@dataclass(frozen=True)
class _Pool:
    """Names that are ranked together, how far, and what a message calls that."""

    names: Sequence[str]
    sparsity: float
    request: str


def _prune(task: _Task, pool: _Pool) -> list[Any]:
    """Return the masks of one pool."""
    there = [task.masks.get(name) for name in pool.names]
    held = [task.protect.get(name) for name in pool.names]
    called = [_called(name) for name in pool.names]
    pattern = task.pattern
    if pattern is None and task.scope != "row":
        # Magnitudes are taken while the weights are ranked; what other scorers return is the one copy there is.
        as_they_are = task.scorer is saliency.magnitude
        scores = [arrays.detach(task.weights[n]) if as_they_are else _score(task, n) for n in pool.names]
        return select_jointly(scores, pool.sparsity, task.of, task.min_per_layer, held, there, as_they_are, called,
                              pool.request)
    if isinstance(pattern, NM) or pattern is None:
        found = []
        for name, fixed, on in zip(pool.names, held, there, strict=True):
            scores = _score(task, name)
            with _about(name):
                if pattern is None:
                    found.append(sparse(scores, pool.sparsity, "row", fixed, on, task.of))
                else:
                    found.append(patterns.select_n_of_m(scores, pattern, fixed, on))
                _check_left(task, found[-1], on)
        return found
    rated, fixed, on, steps = [], [], [], []
    for name, flags, mask in zip(pool.names, held, there, strict=True):
        steps.append(pattern.steps(arrays.shape(task.weights[name]), _called(name)))
        rated.append(units.scores(_score(task, name), steps[-1], pattern.reduce, _called(name)))
        flags = flags if flags is None or mask is None else flags & mask
        fixed.append(None if flags is None else units.flags(flags, steps[-1]))
        on.append(None if mask is None else units.flags(mask, steps[-1]))
    kept = select_jointly(rated, pool.sparsity, task.of, task.min_per_layer, fixed, on, False, called, pool.request)
    found = [
        units.expand(kept[number], steps[number], arrays.shape(task.weights[name]))
        for number, name in enumerate(pool.names)
    ]
    return [stays if mask is None else stays & mask for stays, mask in zip(found, there, strict=True)]


def _score(task: _Task, name: str) -> Any:
    with _about(name):
        return saliency.score(task.scorer, task.weights[name], **task.signals.get(name, {}))


def _check_left(task: _Task, kept: Any, there: Any) -> None:
    """Raise where rows that are ranked for themselves leave less than `min_per_layer` of a weight."""
    present = arrays.size(kept) if there is None else arrays.count_true(there)
    if arrays.count_true(kept) < min(task.min_per_layer, present):
        raise ValueError(
            f"min_per_layer={task.min_per_layer} elements must stay, got {arrays.count_true(kept)}: "
            "remove less, or pass min_per_layer=0"
        )


def _pools(
    task: _Task,
    names: Sequence[str],
    sparsity: float | None,
    targets: Mapping[str, float] | None,
    members: Mapping[str, Sequence[str]],
    left_alone: set[str],
) -> list[_Pool]:
    """Return what is ranked together and how far: priority name, then group, then the sparsity for all."""
    if isinstance(task.pattern, NM):
        own = task.pattern.sparsity
        if targets:
            raise ValueError(f"targets must be left out with {task.pattern}, got some: the pattern sets the sparsity")
        if sparsity is not None and abs(checks.share(sparsity) - own) > 1e-12:
            raise ValueError(f"sparsity must be left out or {own} with {task.pattern}, got {sparsity}")
        return [_Pool([name], own, "sparsity") for name in names]
    wanted = _named(targets, "targets", [*task.weights, *members])
    shares = {key: checks.share(value, f"targets[{key!r}]") for key, value in wanted.items()}
    for key in shares:
        if key in left_alone:
            raise ValueError(f"targets[{key!r}] must name what is pruned, got what exclude leaves alone: drop either")
    share = None if sparsity is None else checks.share(sparsity)
    pools, together = [], {}
    for name in names:
        mine = [group for group, held in members.items() if name in held and group in shares]
        if name in shares:
            pools.append(_Pool([name], shares[name], f"{_called(name)}: sparsity"))
        elif len(mine) > 1:
            raise ValueError(
                f"{_called(name)} must have one target, got those of the groups {mine[0]!r} and {mine[1]!r}: "
                "give it one by name"
            )
        elif not mine and share is None:
            raise ValueError(f"{_called(name)} must have a target, got none: pass sparsity, a target, or exclude it")
        else:
            together.setdefault(mine[0] if mine else None, []).append(name)
    for group, held in together.items():
        goal = share if group is None else shares[group]
        if task.scope == "global":
            pools.append(_Pool(held, goal, "sparsity" if group is None else f"group {group!r}: sparsity"))
        else:
            pools += [_Pool([name], goal, f"{_called(name)}: sparsity") for name in held]
    return pools


def _check_one(task: _Task, name: str) -> None:
    """Raise where a weight has no rows to rank, or lacks a signal."""
    shape = arrays.shape(task.weights[name])
    if task.scope == "row" and task.pattern is None and len(shape) < 2:
        raise ValueError(f"{_called(name)} must have rows for scope='row', got shape {shape}: exclude it")
    for keyword in saliency.requires(task.scorer):
        if task.signals.get(name, {}).get(keyword) is None:
            title = getattr(task.scorer, "__name__", repr(task.scorer))
            advice = "pass seed=..." if keyword == "rng" else f"pass signals={{{name!r}: {{{keyword!r}: ...}}}}"
            raise ValueError(f"scorer {title!r} needs the signal {keyword!r} of {name!r}, got none: {advice}")


def _known_weights(weights: Any) -> dict[str, Any]:
    if not isinstance(weights, Mapping):
        raise TypeError(
            f"weights must be a mapping from name to array, got {type(weights).__name__}: "
            "pass for example {name: p for name, p in model.named_parameters() if p.ndim > 1}"
        )
    if not weights:
        raise ValueError("weights must hold at least one array, got none")
    first = next(iter(weights.values()))
    for name, weight in weights.items():
        if not arrays.is_array(weight):
            raise TypeError(
                f"{_called(name)} must be an array of numpy, torch or the array API standard, "
                f"got {type(weight).__name__}: convert it first"
            )
        arrays.same_place(first, weight, _called(name))
        if arrays.kind(weight) != "floating":
            raise TypeError(f"{_called(name)} must be floating numbers, got {weight.dtype}: convert or exclude it")
        if arrays.size(weight) == 0:
            raise ValueError(f"{_called(name)} must have elements, got shape {arrays.shape(weight)}: leave it out")
    return dict(weights)


def _known_scope(scope: str | None, scorer: Scorer, pattern: NM | Block | Axis | None) -> str:
    """Return the scope; units are no part of a row, so where only the scorer says "row" they compare by layer."""
    whole = isinstance(pattern, Block | Axis)
    if scope is None:
        own = checks.one_of(getattr(scorer, "scope", "layer"), "scope of the scorer", SCOPES)
        return "layer" if whole and own == "row" else own
    checks.one_of(scope, "scope", SCOPES)
    if whole and scope == "row":
        raise ValueError(f'scope must be "layer" or "global" with {pattern}, got "row": it has units of its own')
    return scope


def _known_groups(groups: Any, known: Mapping[str, Any]) -> dict[str, list[str]]:
    if groups is not None and not isinstance(groups, Mapping):
        raise TypeError(f"groups must be a mapping from name to names of weights, got {type(groups).__name__}")
    members = {}
    for group, names in (groups or {}).items():
        if group in known:
            raise ValueError(f"groups must not be called like a weight, got {group!r}: choose another name")
        members[group] = _names(names, f"groups[{group!r}]", known)
    return members


def _left_alone(exclude: Any, known: Mapping[str, Any], members: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the names, and names of groups, that are not touched."""
    listed = _names([exclude] if isinstance(exclude, str) else exclude, "exclude", [*known, *members])
    return {*listed, *(name for group in listed for name in members.get(group, ()))}


def _names(names: Any, argument: str, known: Iterable[str]) -> list[str]:
    """Return a list of names, each of them known."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"{argument} must be a list of names, got {names!r}: put it in a list")
    listed = list(names)
    for name in listed:
        if name not in known:
            raise ValueError(f"{argument} must name weights that there are, got {name!r}{checks.nearest(name, known)}")
    return listed


def _named(values: Any, argument: str, known: Iterable[str]) -> Mapping[str, Any]:
    """Return a mapping, all its names known; empty for None."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise TypeError(f"{argument} must be a mapping from name, got {type(values).__name__}")
    _names(values, argument, known)
    return values


def _known_signals(signals: Any, known: Mapping[str, Any], scorer: Scorer,
                   seed: Any) -> Mapping[str, Mapping[str, Any]]:
    """Return what there is by name, with numbers to draw where the scorer asks for them and none are given."""
    if hasattr(signals, "signals"):  # a calibration
        signals = signals.signals(scorer)
    for name, own in _named(signals, "signals", known).items():
        if not isinstance(own, Mapping):
            raise TypeError(f"signals[{name!r}] must be a mapping from keyword to array, got {type(own).__name__}")
    if seed is None or "rng" not in saliency.requires(scorer):
        return signals or {}
    rng = np.random.default_rng(seed)
    return {name: {"rng": rng, **(signals or {}).get(name, {})} for name in known}


def _known_flags(flags: Any, argument: str, known: Mapping[str, Any]) -> Mapping[str, Any]:
    named = _named(flags, argument, known)
    for name, flag in named.items():
        checks.flags(flag, known[name], f"{argument}[{name!r}]", "weight's")
    return named


def _called(name: str) -> str:
    return f"weights[{name!r}]"


@contextmanager
def _about(name: str) -> Iterator[None]:
    """Put the name of the weight before the message of an error."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{_called(name)}: {error}") from error
    except TypeError as error:
        raise TypeError(f"{_called(name)}: {error}") from error
