"""Saliency: how much each element matters. A scorer is an elementwise function `f(weight, **signals)`.

Larger means keep. A signal is whatever a scorer needs besides the weight, such as a gradient; it comes as a
keyword and broadcasts to the weight. The table `SCORERS` names the scorers that come with the library; any
function of the same form is a method as well.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from neuroprune import arrays
from neuroprune.pruning import checks


def magnitude(weight: Any) -> Any:
    """|w|, the L1 magnitude (Han et al. 2015, https://arxiv.org/abs/1506.02626)."""
    return abs(weight)


def magnitude_l2(weight: Any) -> Any:
    """w^2: the order of |w|, other values where scores are summed."""
    return weight * weight


def random(weight: Any, *, rng: Any) -> Any:
    """Uniform numbers in [0, 1) from `rng`, a numpy Generator or a seed: the control of every experiment."""
    numbers = np.asarray(np.random.default_rng(rng).random(arrays.shape(weight)))
    return arrays.cast(arrays.like(numbers, weight), weight)


def gradient(weight: Any, *, gradient: Any) -> Any:
    """|g|, g the gradient of the loss."""
    return abs(gradient)


def snip(weight: Any, *, gradient: Any) -> Any:
    """|w g|, the connection sensitivity of Lee et al. 2019 (https://arxiv.org/abs/1810.02340, eq. 5), unnormalised."""
    return abs(weight * gradient)


def taylor(weight: Any, *, gradient: Any) -> Any:
    """(w g)^2, the first-order Taylor criterion of Molchanov et al. 2019 (https://arxiv.org/abs/1906.10771, eq. 8)."""
    product = weight * gradient
    return product * product


def movement(weight: Any, *, movement: Any) -> Any:
    """S, signed: the accumulated `-w dL/dw`, positive where training moved the weight away from zero.

    Sanh et al. 2020, https://arxiv.org/abs/2005.07683, eq. 3: S <- S - lr dL/dW W. Weights that move towards zero go
    first, whatever their size.
    """
    return movement


def wanda(weight: Any, *, input_norm: Any) -> Any:
    """|w| ||x||, x the input that the weight multiplies, its L2 norm taken over all samples.

    Sun et al. 2024, https://arxiv.org/abs/2306.11695, eq. 1. They compare inside each output row, which
    `npr.prune_tensors` does by default for this scorer; `npr.masks.sparse(scores, sparsity, groups="row")` does it for
    one matrix. `input_norm` has one number per input: (in,) for a weight (out, in), (E,) for a graph.
    """
    return abs(weight) * input_norm


def obs_diagonal(weight: Any, *, inverse_hessian_diagonal: Any) -> Any:
    """w^2 / [H^-1]_jj, twice the loss increase when one weight goes and the others adapt.

    Hassibi & Stork 1993 (optimal brain surgeon, eq. 5), with one Hessian of the layer's inputs per row as in Frantar
    & Alistarh 2023 (https://arxiv.org/abs/2301.00774). Every entry of `inverse_hessian_diagonal` is positive.
    """
    arrays.require_finite(inverse_hessian_diagonal, "signal 'inverse_hessian_diagonal'")
    index = arrays.first_true(inverse_hessian_diagonal <= 0)
    if index is not None:
        raise ValueError("signal 'inverse_hessian_diagonal' must be positive everywhere, got "
                         f"{float(inverse_hessian_diagonal[index])} at index {index}: add damping to the Hessian "
                         "before inverting it")
    return weight * weight / inverse_hessian_diagonal


def fisher(weight: Any, *, squared_gradient: Any) -> Any:
    """w^2 F, F the diagonal of the empirical Fisher information: the accumulated or mean squared gradient.

    Theis et al. 2018, https://arxiv.org/abs/1801.05787, eq. 6, without the factor 1/2. The signal is at least 0.
    """
    return weight * weight * squared_gradient


def synflow(weight: Any, *, gradient: Any) -> Any:
    """|w dR/dw|, R the synaptic flow: the sum of the outputs of the network of |w| on an input of ones.

    Tanaka et al. 2020, https://arxiv.org/abs/2006.05467, eq. 2. `gradient` is that of R, not of a loss, and needs no
    data. They prune in many small rounds and take the gradient anew for each.
    """
    return abs(weight * gradient)


def grasp(weight: Any, *, hessian_gradient: Any) -> Any:
    """w (H g), signed: what goes first is what reduces the norm of the gradient most while it stays.

    Wang et al. 2020, https://arxiv.org/abs/2002.07376, eq. 8: the score of a removal is S(-w) = -w (H g), and the
    highest of these are removed. `hessian_gradient` is the product of the Hessian with the gradient.
    """
    return weight * hessian_gradient


Scorer = Callable[..., Any]

SCORERS: dict[str, Scorer] = {
    "magnitude": magnitude,
    "magnitude_l2": magnitude_l2,
    "random": random,
    "gradient": gradient,
    "snip": snip,
    "taylor": taylor,
    "movement": movement,
    "wanda": wanda,
    "obs_diagonal": obs_diagonal,
    "fisher": fisher,
    "synflow": synflow,
    "grasp": grasp,
}


def scorer(method: str | Scorer) -> Scorer:
    """Return the scorer of that name; a function is returned as it is.

    Raises
    ------
    ValueError
        No scorer has that name; the message proposes the nearest one.

    Examples
    --------
    >>> from neuroprune.pruning import saliency
    >>> saliency.scorer("magnitud")
    Traceback (most recent call last):
    ...
    ValueError: method must be the name of a scorer, got 'magnitud': did you mean 'magnitude'?
    """
    if callable(method):
        return method
    if not isinstance(method, str):
        raise TypeError(f"method must be the name of a scorer or a function, got {type(method).__name__}")
    if method in SCORERS:
        return SCORERS[method]
    raise ValueError(f"method must be the name of a scorer, got {method!r}{checks.nearest(method, SCORERS)}")


def requires(method: str | Scorer) -> tuple[str, ...]:
    """Return the keywords of the signals that a scorer cannot do without.

    They are its attribute `requires` where it has one, and else the parameters after the first that have no
    default.

    Examples
    --------
    >>> from neuroprune.pruning import saliency
    >>> saliency.requires("magnitude"), saliency.requires("snip")
    ((), ('gradient',))
    >>> saliency.requires(lambda weight, curvature, floor=0.0: weight**2 * curvature + floor)
    ('curvature',)
    """
    function = scorer(method)
    declared = getattr(function, "requires", None)
    if declared is not None:
        return tuple(declared)
    return tuple(p.name for p in _signals(function) if p.default is p.empty and p.kind is not p.VAR_KEYWORD)


def score(method: str | Scorer, weight: Any, /, **signals: Any) -> Any:
    """Rate every element of a weight; larger means keep.

    Parameters
    ----------
    method : str or callable
        A name in `SCORERS`, or a function `f(weight, **signals)` that returns one number per element.
    weight : array of any shape
        Floating numbers, of numpy, torch or the array API standard. Automatic differentiation does not see
        what is done with it.
    **signals
        What the scorer needs besides, by keyword (`requires` tells). Arrays are of the weight's library and on its
        device; they are converted to its dtype and broadcast to its shape. Signals that the scorer has no
        parameter for are not used, so that one call can serve several methods.

    Returns
    -------
    array
        The scores, in the shape, dtype and library of the weight; float32 where the weight is in half precision.

    Raises
    ------
    ValueError
        The method is unknown, a required signal is missing or None, a signal does not broadcast, the scores have
        another shape than the weight, or one of them is NaN or infinite (the message names the index).
    TypeError
        The weight is not a floating array, or a signal or the scores are of another library.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import saliency
    >>> weight = np.array([[1.0, -2.0], [0.5, 4.0]])
    >>> saliency.score("snip", weight, gradient=np.array([1.0, 0.5]))
    array([[1. , 1. ],
           [0.5, 2. ]])
    """
    function = scorer(method)
    name = repr(method) if isinstance(method, str) else getattr(function, "__name__", repr(function))
    if arrays.kind(weight) != "floating":
        raise TypeError(f"weight must be an array of floating numbers, got {weight.dtype}: convert it first")
    arrays.require_values(weight, "weight")
    for keyword in requires(function):
        if signals.get(keyword) is None:
            raise ValueError(f"scorer {name} needs the signal {keyword!r}: pass {keyword}=... as a keyword")
    weight = arrays.at_least_single(arrays.detach(weight))  # squares of small numbers are 0 in half precision
    known = _signals(function)
    everything = any(p.kind is p.VAR_KEYWORD for p in known)
    names = {*requires(function), *(p.name for p in known)}
    used = {
        keyword: _prepared(value, weight, keyword)
        for keyword, value in signals.items()
        if everything or keyword in names
    }
    with np.errstate(all="ignore"):  # what is not finite is refused below, by its index
        scores = function(weight, **used)
        if not (arrays.is_array(scores) and arrays.library(scores) is arrays.library(weight)):
            raise TypeError(
                f"scorer {name} must return an array of {arrays.library(weight).__name__} like the weight, "
                f"got {type(scores).__name__}"
            )
        if arrays.shape(scores) != arrays.shape(weight):
            raise ValueError(
                f"scorer {name} must return the weight's shape {arrays.shape(weight)}, got {arrays.shape(scores)}"
            )
        if arrays.kind(scores) == "other":
            raise TypeError(f"scorer {name} must return real numbers, got {scores.dtype}")
        scores = arrays.cast(arrays.detach(scores), weight)
    if arrays.first_nonfinite(scores) is not None:
        arrays.require_finite(weight, "weight")
        for keyword, value in used.items():
            if arrays.is_array(value):
                arrays.require_finite(value, f"signal {keyword!r}")
        arrays.require_finite(scores, f"scores of {name}")
    return scores


def _signals(function: Scorer) -> list[inspect.Parameter]:
    """Return the parameters after the weight; none where Python cannot tell, as for some compiled functions."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:
        return []
    return [p for p in parameters[1:] if p.kind is not p.VAR_POSITIONAL]


def _prepared(value: Any, weight: Any, keyword: str) -> Any:
    """Return an array signal in the weight's dtype and shape; other values (a generator, a number) as they are."""
    if not arrays.is_array(value) or isinstance(value, np.generic):
        return value
    arrays.same_place(weight, value, f"signal {keyword!r}")
    shape = arrays.shape(weight)
    try:
        fits = np.broadcast_shapes(shape, arrays.shape(value)) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"signal {keyword!r} of shape {arrays.shape(value)} must broadcast to the weight's shape {shape}"
        )
    return arrays.library(weight).broadcast_to(arrays.cast(arrays.detach(value), weight), shape)


@dataclass(frozen=True)
class Description:
    """What a set of scores looks like.

    Attributes
    ----------
    min, max, mean : float
    std : float
        Standard deviation of the population (divided by the number of scores).
    below : float
        Share of the scores strictly below the threshold, in [0, 1].
    """

    min: float
    max: float
    mean: float
    std: float
    below: float


def describe(scores: Any, threshold: float = 0.0) -> Description:
    """Summarise scores of any shape and library, computed in float64.

    Raises
    ------
    ValueError
        There are no scores, one is NaN or infinite, or the threshold is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import saliency
    >>> saliency.describe(np.array([1.0, 3.0]), threshold=2.0)
    Description(min=1.0, max=3.0, mean=2.0, std=1.0, below=0.5)
    """
    if arrays.kind(scores) not in ("floating", "integer"):
        raise TypeError(f"scores must be floating or integer numbers, got {scores.dtype}: convert them first")
    arrays.require_values(scores, "scores")
    if not isinstance(threshold, Real) or threshold != threshold:
        raise ValueError(f"threshold must be a number, got {threshold!r}")
    if arrays.size(scores) == 0:
        raise ValueError(f"scores must have at least one element, got shape {arrays.shape(scores)}")
    arrays.require_finite(scores, "scores")
    xp, size = arrays.library(scores), arrays.size(scores)
    below = arrays.count_true(scores < threshold) / size
    values = arrays.double(arrays.detach(scores))
    mean = xp.mean(values)
    std = float(xp.mean((values - mean) ** 2)) ** 0.5
    return Description(float(xp.min(values)), float(xp.max(values)), float(mean), std, below)


for _scorer in SCORERS.values():
    _scorer.requires = requires(_scorer)
wanda.scope = "row"  # how its scores are compared unless one says otherwise; the others rank a whole layer
