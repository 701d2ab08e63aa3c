"""Slow, obvious twins of the masks: one element at a time, over index tuples, written from the design alone.

Scores are numpy arrays; masks come back as numpy arrays of bool. ValueError stands for any refusal.
"""

import numpy as np


def places(array):
    """All index tuples in storage order."""
    return list(np.ndindex(array.shape))


def without(stays, scores, candidates, n):
    """A copy of the mask without the n lowest candidates; earlier candidates go first among equals."""
    if not 0 <= n <= len(candidates):
        raise ValueError(f"{n} of {len(candidates)} cannot go")
    mask = stays.copy()
    ranks = sorted(range(len(candidates)), key=lambda rank: (scores[candidates[rank]], rank))
    for rank in ranks[:n]:
        mask[candidates[rank]] = False
    return mask


def flags_or(flags, scores, value):
    """The flags, or an array full of `value` where there are none."""
    return np.full(scores.shape, value) if flags is None else flags


def wanted(sparsity, members, there, of):
    """How many of the members go now."""
    on = sum(bool(there[place]) for place in members)
    if of == "remaining":
        return round(sparsity * on)
    return round(sparsity * len(members)) - (len(members) - on)


def sparse(scores, sparsity, groups=None, protect=None, mask=None, of="all"):
    """The lowest go: of all, of each index of axis 0 ("row"), or of each name in an array of groups."""
    held, there = flags_or(protect, scores, False), flags_or(mask, scores, True)
    together = {}
    for place in places(scores):
        key = None if groups is None else place[0] if isinstance(groups, str) else int(groups[place])
        together.setdefault(key, []).append(place)
    result = there.copy()
    for members in together.values():
        free = [place for place in members if there[place] and not held[place]]
        result = without(result, scores, free, wanted(sparsity, members, there, of))
    return result


def sparse_jointly(scores, sparsity, min_per_layer=1, protect=None, mask=None, of="all"):
    """One ranking over several arrays; each keeps its best `min_per_layer` of those there, protected ones counted."""
    protect = protect or [None] * len(scores)
    mask = mask or [None] * len(scores)
    there = {i: flags_or(flag, array, True) for i, (flag, array) in enumerate(zip(mask, scores, strict=True))}
    held = {i: flags_or(flag, array, False) for i, (flag, array) in enumerate(zip(protect, scores, strict=True))}
    everything, free = [], []
    for i, array in enumerate(scores):
        everything += [(i, place) for place in places(array)]
        on = [place for place in places(array) if there[i][place]]
        fixed = {place for place in on if held[i][place]}
        for place in sorted(reversed(on), key=lambda place: array[place], reverse=True):  # the best, later ones first
            if len(fixed) < min_per_layer:
                fixed.add(place)
        free += [(i, place) for place in on if place not in fixed]
    flat_there = {(i, place): there[i][place] for i, place in everything}
    n = wanted(sparsity, everything, flat_there, of)
    if not 0 <= n <= len(free):
        raise ValueError("cannot be met")
    result = [there[i].copy() for i in range(len(scores))]
    ranks = sorted(range(len(free)), key=lambda rank: (scores[free[rank][0]][free[rank][1]], rank))
    for rank in ranks[:n]:
        i, place = free[rank]
        result[i][place] = False
    return result


def n_of_m(scores, keep, group, axis=-1, protect=None, mask=None):
    """Of every `group` neighbours along the axis `keep` stay; what is off already counts among those that go."""
    held, result = flags_or(protect, scores, False), flags_or(mask, scores, True).copy()
    if scores.shape[axis] % group:
        raise ValueError("does not divide")
    axis %= scores.ndim
    for start in places(scores):
        if start[axis] % group:
            continue
        members = [start[:axis] + (start[axis] + i,) + start[axis + 1 :] for i in range(group)]
        free = [place for place in members if result[place] and not held[place]]
        on = sum(bool(result[place]) for place in members)
        result = without(result, scores, free, max(0, on - keep))
    return result


def unit_members(shape, unit_of):
    """{unit: its places}, units and places in storage order; `unit_of` names the unit of a place."""
    members = {}
    for place in np.ndindex(shape):
        members.setdefault(unit_of(place), []).append(place)
    return dict(sorted(members.items()))


def block_unit(rank, shape):
    """Which block a place lies in; `shape` covers the last axes."""
    lengths = (1,) * (rank - len(shape)) + tuple(shape)
    return lambda place: tuple(i // length for i, length in zip(place, lengths, strict=True))


def axis_unit(rank, axis):
    """Which slice a place lies in."""
    own = sorted({number % rank for number in (axis if isinstance(axis, tuple) else (axis,))})
    return lambda place: tuple(place[number] for number in own)


def whole_units(scores, sparsity, unit_of, reduce="sum", protect=None):
    """Units with the lowest sum, mean or maximum go; those with a protected element stay."""
    held = flags_or(protect, scores, False)
    members = list(unit_members(scores.shape, unit_of).values())
    reduced = {"sum": sum, "mean": lambda values: sum(values) / len(values), "max": max}[reduce]
    rated = np.array([reduced([float(scores[place]) for place in unit]) for unit in members])
    free = [(number,) for number, unit in enumerate(members) if not any(held[place] for place in unit)]
    kept = without(np.ones(len(members), bool), rated, free, round(sparsity * len(members)))
    result = np.ones(scores.shape, bool)
    for number, unit in enumerate(members):
        for place in unit:
            result[place] = kept[number]
    return result
