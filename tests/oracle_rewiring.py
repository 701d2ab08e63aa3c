"""Sparse training spelled out: who gets how many weights, how fast they turn over, and one drop-and-grow update.

Twins of `pruning/distribution.py`, `decay.py` and `rewire.py`: flat Python lists, loops, and fractions wherever a
share is rounded, so that equal remainders are equal.
"""

import math
from fractions import Fraction

import oracle_pruning as pruning

# ---------------------------------------------------------------- how dense each array is


def size(shape):
    return math.prod(shape)


def erdos_renyi(shapes, density, kernel=False, budget=None):
    """Densities that are in proportion to (fan in + fan out) / weights; what would exceed 1 is 1 and the rest share."""
    sizes = [size(shape) for shape in shapes]
    if budget is None:
        budget = sum(sizes) - round((1 - density) * sum(sizes))
    raw = [Fraction(sum(shape if kernel else shape[:2]), size(shape if kernel else shape[:2])) for shape in shapes]
    dense = set()
    while len(dense) < len(shapes):
        free = [i for i in range(len(shapes)) if i not in dense]
        scale = Fraction(budget - sum(sizes[i] for i in dense)) / sum(raw[i] * sizes[i] for i in free)
        highest = max(raw[i] for i in free)
        if highest * scale <= 1:
            return [1.0 if i in dense else float(raw[i] * scale) for i in range(len(shapes))]
        dense |= {i for i in free if raw[i] == highest}
    return [1.0] * len(shapes)


def apportion(shares, total, capacities):
    """Integers that add up to `total`: exact quotas up to the capacities, then the largest remainders."""
    if total > sum(capacities):
        raise ValueError("the capacities do not suffice")
    open_ones, quotas = list(range(len(shares))), [Fraction(0)] * len(shares)
    while open_ones:
        left = total - sum(quotas[i] for i in range(len(shares)) if i not in open_ones)
        weights = {i: Fraction(shares[i]) for i in open_ones}
        if not sum(weights.values()):
            weights = {i: Fraction(capacities[i]) for i in open_ones}
        whole = sum(weights.values())
        for i in open_ones:
            quotas[i] = left * weights[i] / whole if whole else Fraction(0)
        over = [i for i in open_ones if quotas[i] > capacities[i]]
        if not over:
            break
        for i in over:
            quotas[i] = Fraction(capacities[i])
        open_ones = [i for i in open_ones if i not in over]
    given = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(shares)), key=lambda i: (given[i] - quotas[i], i))
    for i in by_remainder[: total - sum(given)]:
        given[i] += 1
    return given


def counts(densities, shapes, budget=None):
    """Integer counts near density times size that add up to the budget (the rounded sum where there is none)."""
    wanted = [density * size(shape) for density, shape in zip(densities, shapes, strict=True)]
    return apportion(wanted, round(math.fsum(wanted)) if budget is None else budget, [size(shape) for shape in shapes])


def outlier_shares(layers, multiple):
    """The share of each layer's scores above `multiple` times its mean score."""
    return [sum(score > multiple * (math.fsum(scores) / len(scores)) for score in scores) / len(scores)
            for scores in layers]  # fmt: skip


def owl(layers, sparsity, multiple=5.0, limit=0.08):
    """Densities of layers of one size: outlier shares stretched to a band of 2 limit, centred on 1 - sparsity."""
    outliers = outlier_shares(layers, multiple)
    low, high = min(outliers), max(outliers)
    if low == high:
        return [1 - sparsity] * len(layers)
    stretched = [(share - low) / (high - low) * 2 * limit for share in outliers]
    mean = math.fsum(stretched) / len(stretched)
    return [value - mean + 1 - sparsity for value in stretched]


# ---------------------------------------------------------------- how much is dropped


def cosine(rate, until, step, floor=0.0):
    return floor if step >= until else floor + (rate - floor) * (1 + math.cos(math.pi * step / until)) / 2


def linear(rate, until, step):
    return max(0.0, rate - step * (rate / until))


def zhu_gupta(target, start, end, step, initial=0.0):
    """Sparsity reached at a step: cubic from `initial` at the start to `target` at the end."""
    if step < start:
        return initial
    if step >= end:
        return target
    return target + (initial - target) * (1 - (step - start) / (end - start)) ** 3


def zhu_gupta_amount(target, start, end, frequency, step, initial=0.0, current=None):
    """What goes at a step: up to the curve from what is gone already, by default from one period ago."""
    before = zhu_gupta(target, start, end, step - frequency, initial) if current is None else current
    return max(0.0, zhu_gupta(target, start, end, step, initial) - before)


def fires(step, every, start=0, until=None):
    return step % every == 0 and step >= start and (until is None or step < until)


# ---------------------------------------------------------------- one update of named flat lists


def drop_lowest(scores, mask, n):
    """Whether each element is one of the n lowest of those that are on; among equals the earlier."""
    on = [i for i in range(len(mask)) if mask[i]]
    gone = {on[rank] for rank in pruning.lowest_first([scores[i] for i in on])[:n]}
    return [i in gone for i in range(len(mask))]


def drop_set(weights, mask, rate):
    """SET: the share of those below zero and that of the others, each time nearest to zero first."""
    gone = [False] * len(mask)
    for negative in (True, False):
        side = [on and (w < 0) is negative for w, on in zip(weights, mask, strict=True)]
        chosen = drop_lowest([abs(w) for w in weights], side, round(rate * sum(side)))
        gone = [a or b for a, b in zip(gone, chosen, strict=True)]
    return gone


def drop_jointly(scores, masks, n):
    """The n lowest over several lists that are ranked as one, the first list first."""
    flat = drop_lowest(sum(scores, []), sum(masks, []), n)
    ends = [sum(map(len, masks[:i])) for i in range(len(masks) + 1)]
    return [flat[a:b] for a, b in zip(ends, ends[1:], strict=False)]


def grow_best(scores, mask, n):
    """Whether each element is one of the n best of those that are off; among equals the later."""
    off = [i for i in range(len(mask)) if not mask[i]]
    chosen = {off[rank] for rank, on in enumerate(pruning.top([scores[i] for i in off], n)) if on}
    return [i in chosen for i in range(len(mask))]


def mean_size(values, mask):
    """Mean |value| of what is on (before anything is dropped); 0 when nothing is."""
    on = [abs(value) for value, kept in zip(values, mask, strict=True) if kept]
    return math.fsum(on) / len(on) if on else 0.0


def nonzero(weights, mask):
    return sum(w != 0 and on for w, on in zip(weights, mask, strict=True))


def update(masks, dropped, grow_scores, numbers=None):
    """(masks, grown) of lists of flat lists after `dropped` went; each grows `numbers`, or as many as it lost."""
    left = [[on and not gone for on, gone in zip(m, d, strict=True)] for m, d in zip(masks, dropped, strict=True)]
    numbers = [sum(d) for d in dropped] if numbers is None else numbers
    grown = [grow_best(scores, m, n) for scores, m, n in zip(grow_scores, left, numbers, strict=True)]
    return [[a or b for a, b in zip(m, g, strict=True)] for m, g in zip(left, grown, strict=True)], grown


# ---------------------------------------------------------------- whole units (kernels, rows)


def units(shape, axes):
    """Flat indices of each unit, in storage order; `axes` are those that number the units."""
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    found = {}
    for place in range(size(shape)):
        key = tuple(place // strides[axis] % shape[axis] for axis in axes)
        found.setdefault(key, []).append(place)
    return [found[key] for key in sorted(found)]


def unit_scores(values, places):
    """|mean| of each unit: the mean is signed."""
    return [abs(math.fsum(values[i] for i in unit) / len(unit)) for unit in places]


def unit_mask(mask, places):
    """Whether each unit is on; all of it has to be, or none."""
    states = [{mask[i] for i in unit} for unit in places]
    if any(len(state) != 1 for state in states):
        raise ValueError("a unit is neither on nor off")
    return [state.pop() for state in states]


def spread(flags, places, n):
    """The flags of units as flags of elements."""
    flat = [False] * n
    for flag, unit in zip(flags, places, strict=True):
        for i in unit:
            flat[i] = flag
    return flat
