"""How dense each layer is, when all together have a given density; and exact random masks of such densities.

A density is the share that stays, 1 - sparsity. Layers are named: `shapes` maps a name to the shape of a weight,
`(out, in, ...)`. Integer counts add up exactly, everywhere.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import floor, isfinite, prod
from numbers import Real
from typing import Any

import numpy as np

from neuroprune import arrays
from neuroprune.pruning import checks
from neuroprune.pruning.checks import count, integer
from neuroprune.pruning.growth import sample


def uniform(shapes: Mapping[str, Sequence[int]], density: float) -> dict[str, float]:
    """Give every layer the same density.

    Examples
    --------
    >>> from neuroprune.pruning import distribution
    >>> distribution.uniform({"a": (10, 4), "b": (2, 10)}, 0.25)
    {'a': 0.25, 'b': 0.25}
    """
    return dict.fromkeys(_sizes(shapes), _share(density, "density"))


def erdos_renyi(shapes: Mapping[str, Sequence[int]], density: float, kernel: bool = False,
                budget: int | None = None) -> dict[str, float]:
    """Give layer l a density in proportion to (n_out + n_in) / (n_out n_in), capped at 1.

    Small layers stay denser than large ones (Mocanu et al. 2018, https://arxiv.org/abs/1707.04780, eq. 1). With
    `kernel` the lengths of the kernel count as well, sum(shape) / prod(shape) (Evci et al. 2020, RigL,
    https://arxiv.org/abs/1911.11134, section 3). Layers that would be more than dense are dense, and the rest share
    what is left.

    Parameters
    ----------
    shapes : mapping of name to shape
        At least two lengths each: (out, in, ...).
    density : float
        Share of all weights that stay, in [0, 1].
    kernel : bool, optional
        Whether the lengths of the kernel count in the proportions. For two lengths there is no difference.
    budget : int, optional
        How many weights stay in all; `size - round((1 - density) * size)` when not given.

    Returns
    -------
    dict of name to float
        Densities in [0, 1]; times the sizes they add up to the budget. `counts` makes integers of them.

    Raises
    ------
    ValueError
        A shape has fewer than two lengths, or the density or the budget is out of range.

    Examples
    --------
    >>> from neuroprune.pruning import distribution
    >>> densities = distribution.erdos_renyi({"a": (300, 784), "b": (100, 300), "c": (10, 100)}, 0.1)
    >>> {name: round(density, 4) for name, density in densities.items()}
    {'a': 0.0796, 'b': 0.2302, 'c': 1.0}
    """
    sizes = _sizes(shapes)
    for name, shape in shapes.items():
        if len(shape) < 2:
            raise ValueError(f"layer {name!r} must have a shape (out, in, ...), got {tuple(shape)}: leave it out")
    left = _budget(density, sum(sizes.values()), budget)
    raw = {}
    for name, shape in shapes.items():
        lengths = shape if kernel else shape[:2]
        raw[name] = sum(lengths) / prod(lengths) if sizes[name] else 0.0
    densities = {name: 0.0 for name in sizes}
    free = [name for name in sizes if sizes[name]]
    while free:
        scale = left / sum(raw[name] * sizes[name] for name in free)
        full = [name for name in free if raw[name] * scale > 1.0]
        if not full:
            break
        most = max(raw[name] for name in full)
        for name in [name for name in free if raw[name] == most]:  # the largest first: the others may fit then
            densities[name] = 1.0
            free.remove(name)
            left -= sizes[name]
    for name in free:
        densities[name] = min(1.0, max(0.0, raw[name] * scale))
    return densities


def owl(scores: Mapping[str, Any], sparsity: float, multiple: float = 5.0, limit: float = 0.08) -> dict[str, float]:
    """Keep layers with many outliers denser: outlier weighed layerwise sparsity.

    An outlier scores more than `multiple` times the mean of its layer. The share of outliers, stretched over all
    layers to an interval of length 2 `limit`, is added to the common density (Yin et al. 2024,
    https://arxiv.org/abs/2310.05175, section 3.2), and shifted so that the total is exactly that of `sparsity`, by
    weights, not by layers.

    Parameters
    ----------
    scores : mapping of name to array
        At least 0, such as those of the scorer "wanda".
    sparsity : float
        Share of all weights to remove, in [0, 1].
    multiple : float, optional
        How many means make an outlier, above 0.
    limit : float, optional
        How far a layer's density may lie from the common one before the shift, in [0, 0.5].

    Returns
    -------
    dict of name to float
        Densities.

    Raises
    ------
    ValueError
        A score is NaN, infinite or negative, a number is out of range, or a density would leave [0, 1]: take a
        smaller limit.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import distribution
    >>> scores = {"even": np.ones(100), "uneven": np.r_[np.ones(90), np.full(10, 100.0)]}
    >>> densities = distribution.owl(scores, 0.5)
    >>> {name: round(density, 12) for name, density in densities.items()}
    {'even': 0.42, 'uneven': 0.58}
    """
    common = 1.0 - _share(sparsity, "sparsity")
    limit = _share(limit, "limit", 0.5)
    if isinstance(multiple, bool) or not isinstance(multiple, Real) or not 0 < multiple < float("inf"):
        raise ValueError(f"multiple must be a positive number, got {multiple!r}: it is how many means make an outlier")
    outliers, sizes = {}, {}
    for name, array in scores.items():
        arrays.require_finite(array, f"scores of {name!r}")
        sizes[name] = arrays.size(array)
        xp = arrays.library(array)
        if sizes[name] and bool(xp.min(array) < 0):
            raise ValueError(f"scores of {name!r} must be at least 0 to have outliers above their mean, got negative "
                             "ones: take another scorer")
        mean = float(xp.mean(arrays.double(arrays.detach(array)))) if sizes[name] else 0.0
        outliers[name] = arrays.count_true(array > multiple * mean) / max(sizes[name], 1)
    if not outliers:
        return {}
    low, high = min(outliers.values()), max(outliers.values())
    if high == low:
        return dict.fromkeys(outliers, common)
    lifted = {name: 2.0 * limit * (share - low) / (high - low) for name, share in outliers.items()}
    shift = common - sum(lifted[name] * sizes[name] for name in sizes) / sum(sizes.values())
    densities = {name: value + shift for name, value in lifted.items()}
    for name, density in densities.items():
        if not -1e-12 <= density <= 1.0 + 1e-12:
            raise ValueError(f"limit={limit} makes the density of {name!r} {density:.4g}, which must be in [0, 1]: "
                             "take a smaller limit")
    return {name: min(1.0, max(0.0, density)) for name, density in densities.items()}


def counts(densities: Mapping[str, float], shapes: Mapping[str, Sequence[int]],
           budget: int | None = None) -> dict[str, int]:
    """Turn densities into integer counts of what stays, which add up exactly.

    Parameters
    ----------
    densities : mapping of name to float
        In [0, 1].
    shapes : mapping of name to shape
        The same names.
    budget : int, optional
        The total; the rounded sum of density times size when not given.

    Examples
    --------
    >>> from neuroprune.pruning import distribution
    >>> distribution.counts({"a": 0.5, "b": 0.5}, {"a": (3, 1), "b": (3, 1)})
    {'a': 2, 'b': 1}
    """
    sizes = _sizes(shapes)
    checks.same_names(densities, sizes, "densities")
    wanted = [_share(densities[name], f"density of {name!r}") * size for name, size in sizes.items()]
    if budget is None:
        budget = round(sum(wanted))
    budget = integer(budget, "budget", 0, sum(sizes.values()), "the number of weights that stay")
    return dict(zip(sizes, apportion(wanted, budget, list(sizes.values())), strict=True))


def apportion(shares: Sequence[float], total: int, capacities: Sequence[int]) -> list[int]:
    """Divide `total` in proportion to `shares` into integers that add up to it exactly, none above its capacity.

    Who would get more than the capacity gets the capacity, and the others divide the rest by their shares; those with
    a share of 0 get something only when nobody else has room, in proportion to their room. Fractions go to the
    largest remainders, and among equal ones to the earlier.

    Parameters
    ----------
    shares : list of float
        At least 0, finite; they need not add up to 1.
    total : int
        At least 0.
    capacities : list of int
        One per share, at least 0.

    Returns
    -------
    list of int

    Raises
    ------
    ValueError
        The total is more than all capacities together, a number is out of range, or the lengths differ.

    Examples
    --------
    >>> from neuroprune.pruning import distribution
    >>> distribution.apportion([1.0, 1.0, 2.0], 10, [9, 9, 9])
    [3, 2, 5]
    >>> distribution.apportion([1.0, 1.0, 2.0], 10, [9, 9, 4])
    [3, 3, 4]
    """
    shares, capacities = list(shares), list(capacities)
    if len(shares) != len(capacities):
        raise ValueError(f"capacities must have one entry per share, {len(shares)}, got {len(capacities)}")
    for number, share in enumerate(shares):
        if not isfinite(share) or share < 0:
            raise ValueError(f"shares[{number}] must be a finite number of at least 0, got {share}")
    capacities = [integer(c, f"capacities[{i}]", 0, None, "the room of one part") for i, c in enumerate(capacities)]
    total = integer(total, "total", 0, sum(capacities), "what is divided, and the capacities are all the room there is")
    given = [0] * len(shares)
    open_ = [i for i in range(len(shares)) if capacities[i]]
    left = total
    while left and open_:
        weights = [Fraction(shares[i]) for i in open_]  # exact, so that equal remainders are equal
        if not any(weights):
            weights = [Fraction(capacities[i]) for i in open_]
        scale = left / sum(weights)
        full = [i for i, weight in zip(open_, weights, strict=True) if weight * scale >= capacities[i]]
        if not full:
            _largest_remainders(given, open_, [weight * scale for weight in weights], left)
            return given
        for i in full:
            given[i] = capacities[i]
        left = total - sum(given)
        open_ = [i for i in open_ if given[i] == 0]
    return given


def _largest_remainders(given: list[int], places: list[int], quotas: list[Fraction], total: int) -> None:
    """Write the whole parts of the quotas, and hand out what is left of the total by their fractions."""
    for i, quota in zip(places, quotas, strict=True):
        given[i] = floor(quota)
    missing = total - sum(given[i] for i in places)
    order = sorted(range(len(places)), key=lambda k: (floor(quotas[k]) - quotas[k], k))
    for k in order[:missing]:
        given[places[k]] += 1


def random_masks(like: Mapping[str, Any], counts: Mapping[str, int], rng: int | np.random.Generator,
                 unit: tuple[int, ...] | None = None) -> dict[str, Any]:
    """Draw masks in which exactly `counts[name]` places are True, every such mask equally likely.

    Parameters
    ----------
    like : mapping of name to array
        Shape, library and device of each mask.
    counts : mapping of name to int
        How many are True, for the same names; with `unit`, how many weights, a multiple of the size of a unit.
    rng : int or numpy.random.Generator
    unit : tuple of int, optional
        Axes that tell units apart: (0, 1) keeps or drops whole kernels of a weight (out, in, height, width).

    Returns
    -------
    dict of name to boolean array

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import distribution
    >>> masks = distribution.random_masks({"a": np.zeros((3, 4))}, {"a": 5}, np.random.default_rng(0))
    >>> masks["a"].shape, int(masks["a"].sum())
    ((3, 4), 5)
    """
    masks = {}
    rng = np.random.default_rng(rng)
    checks.same_names(counts, like, "counts")
    unit = None if unit is None else checks.unit_axes(unit)
    for name, array in like.items():
        shape = arrays.shape(array)
        if unit is not None and max(unit) >= len(shape):
            raise ValueError(f"unit must be axes of {name!r}, which has shape {shape}, got {unit}")
        lengths = shape if unit is None else tuple(shape[axis] for axis in unit)
        size = prod(shape) // prod(lengths) if prod(lengths) else 1
        kept = integer(counts[name], f"counts[{name!r}]", 0, prod(shape), "how many weights stay")
        if kept % size:
            raise ValueError(f"counts[{name!r}] must be a multiple of the {size} weights of a unit, got {kept}")
        flat = np.zeros(prod(lengths), bool)
        flat[sample(flat.size, kept // size, rng)] = True
        if unit is not None:
            flat = np.broadcast_to(flat.reshape([shape[i] if i in unit else 1 for i in range(len(shape))]), shape)
        masks[name] = arrays.like(np.array(flat.reshape(shape), order="C"), array)
    return masks


def _sizes(shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    if not isinstance(shapes, Mapping):
        raise TypeError(f"shapes must be a mapping of names to shapes, got {type(shapes).__name__}")
    return {name: prod(shape) for name, shape in shapes.items()}


def _share(value: Any, name: str, most: float = 1.0) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= value <= most:
        raise ValueError(f"{name} must be a number in [0, {most:g}], got {value!r}")
    return float(value)


def _budget(density: float, size: int, budget: int | None) -> int:
    stays = size - count(1.0 - _share(density, "density"), size)
    return stays if budget is None else integer(budget, "budget", 0, size, "the number of weights that stay")
