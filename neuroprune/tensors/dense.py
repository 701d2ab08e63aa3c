"""Dense layers in numpy: a weight matrix with bias, activation and mask, and lists of them.

The levels of a list of layers are numbered from 0, the inputs of the whole; level i is the output of `layers[i - 1]`.
A layer takes the level just before it, unless `takes` names other ones: so a list of layers is any acyclic network,
with connections that skip levels in blocks of their own.
"""

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import index
from typing import Any

import numpy as np

from neuroprune import activations, arrays
from neuroprune.tensors.prune import prune_tensors


@dataclass(frozen=True, eq=False, repr=False)
class DenseLayer:
    """A layer of neurons: `activation(weight @ x + bias)`.

    The arrays are copies of what is given, live and writable: `layer.weight[...] = ...` and
    `npr.prune_tensors({"0": layer.weight}, ..., in_place=True)` change the layer. The attributes themselves are fixed;
    `dataclasses.replace(layer, mask=...)` makes another layer.

    Parameters
    ----------
    weight : array (out, in)
        float32 is kept, all else becomes float64; at least one row and one column.
    bias : array (out,), optional
        In the dtype of the weight; None is no bias.
    activation : str, or sequence of str
        A name in `neuroprune.activations`, or one for each of the `out` units.
    mask : boolean array (out, in), optional
        True keeps. Weights are set to exactly 0 where it is off, and what is written there later counts for nothing.
        None keeps all.
    takes : sequence of int, optional
        The levels whose outputs, side by side in this order, are the layer's inputs: 0 is the input of the list of
        layers, i the output of `layers[i - 1]`. None is the level just before.

    Raises
    ------
    ValueError
        For another shape, a weight or bias that is not finite, an unknown activation, a level named twice.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune import DenseLayer
    >>> layer = DenseLayer(np.array([[1.0, -2.0], [3.0, 4.0]]), bias=[0.5, 0.0], activation="relu",
    ...                    mask=np.array([[True, False], [True, True]]))
    >>> layer
    <DenseLayer: 2 inputs, 2 outputs, relu, 3 of 4 weights>
    >>> layer([1.0, 1.0])
    array([1.5, 7. ])
    """

    weight: np.ndarray
    bias: np.ndarray | None = None
    activation: str | tuple[str, ...] = "tanh"
    mask: np.ndarray | None = None
    takes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        weight = _numbers(self.weight, "weight")
        if weight.ndim != 2 or not weight.size:
            raise ValueError(f"weight must be (out, in) with at least one of each, got shape {weight.shape}")
        mask = None if self.mask is None else _flags(self.mask, weight.shape)
        if mask is not None:
            weight[~mask] = 0
        arrays.require_finite(weight, "weight")
        bias = None if self.bias is None else _numbers(self.bias, "bias").astype(weight.dtype)
        if bias is not None:
            if bias.shape != weight.shape[:1]:
                raise ValueError(f"bias must have shape ({len(weight)},), one number for each row of weight, got shape "
                                 f"{bias.shape}")
            arrays.require_finite(bias, "bias")
        values = weight, bias, _names(self.activation, len(weight)), mask, _levels(self.takes)
        for name, value in zip(("weight", "bias", "activation", "mask", "takes"), values, strict=True):
            object.__setattr__(self, name, value)

    @property
    def n_inputs(self) -> int:
        """Number of columns of the weight."""
        return self.weight.shape[1]

    @property
    def n_outputs(self) -> int:
        """Number of units."""
        return self.weight.shape[0]

    @property
    def activations(self) -> tuple[str, ...]:
        """The name of the activation of each unit."""
        return (self.activation,) * self.n_outputs if isinstance(self.activation, str) else self.activation

    @property
    def kept(self) -> np.ndarray:
        """The weight with exact zeros where the mask is off; without a mask, the weight itself."""
        return self.weight if self.mask is None else np.where(self.mask, self.weight, 0)

    def __call__(self, x: Any) -> np.ndarray:
        """The outputs, (rows, out) for (rows, in) and (out,) for (in,), in the dtype of the weight."""
        x = _numbers(x, "x").astype(self.weight.dtype, copy=False)
        if x.ndim not in (1, 2) or x.shape[-1] != self.n_inputs:
            raise ValueError(f"x must have shape ({self.n_inputs},) or (rows, {self.n_inputs}), got {x.shape}")
        with np.errstate(all="ignore"):  # an overflow gives infinity, as in a network
            out = x @ self.kept.T
            if self.bias is not None:
                out += self.bias
        if isinstance(self.activation, str):
            return activations.ACTIVATIONS[self.activation].f(out)
        names = np.array(self.activation)
        for name in dict.fromkeys(self.activation):
            units = names == name
            out[..., units] = activations.ACTIVATIONS[name].f(out[..., units])
        return out

    def __repr__(self) -> str:
        name = self.activation if isinstance(self.activation, str) else "several activations"
        kept = "" if self.mask is None else f", {np.count_nonzero(self.mask)} of {self.mask.size} weights"
        takes = "" if self.takes is None else f", takes levels {', '.join(map(str, self.takes))}"
        return f"<DenseLayer: {self.n_inputs} inputs, {self.n_outputs} outputs, {name}{kept}{takes}>"


def forward(layers: Sequence[DenseLayer], x: Any) -> np.ndarray:
    """Compute the outputs of a list of layers.

    Parameters
    ----------
    layers : sequence of DenseLayer
        In order, as checked by `taken`.
    x : array (in,) or (rows, in)

    Returns
    -------
    array (out,) or (rows, out)
        In the dtype of the last layer's weight; each layer computes in the dtype of its own.

    Raises
    ------
    ValueError
        When the layers do not fit together, or x has another width.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune import DenseLayer
    >>> from neuroprune.tensors.dense import forward
    >>> layers = [DenseLayer(np.array([[1.0, 1.0]]), activation="square"),
    ...           DenseLayer(np.array([[10.0, 0.0, 1.0]]), activation="identity", takes=[1, 0])]
    >>> forward(layers, [[1.0, 2.0], [0.0, 3.0]]).tolist()
    [[92.0], [93.0]]
    """
    levels = taken(layers)
    x = _numbers(x, "x")
    width = layers[0].n_inputs
    if x.ndim not in (1, 2) or x.shape[-1] != width:
        raise ValueError(f"x must have shape ({width},) or (rows, {width}), got {x.shape}")
    values = [x]
    for layer, sources in zip(layers, levels, strict=True):
        inputs = [values[level] for level in sources]
        values.append(layer(inputs[0] if len(inputs) == 1 else np.concatenate(inputs, axis=-1)))
    return values[-1]


def prune_layers(layers: Sequence[DenseLayer], sparsity: float | None = None, method: Any = "magnitude",
                 **options: Any) -> list[DenseLayer]:
    """Prune a list of layers by `npr.prune_tensors`, under the names "0", "1", ...

    Parameters
    ----------
    layers : sequence of DenseLayer
        They do not change. What their masks have off stays off and counts for the sparsity.
    sparsity, method, **options
        As in `npr.prune_tensors`: `scope`, `pattern`, `signals`, `targets`, `exclude`, `of`, `protect`, ... There is
        no `masks`, which the layers have, and no `in_place`.

    Returns
    -------
    list of DenseLayer
        With the new masks; a layer that is excluded comes back as it is.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune import DenseLayer
    >>> from neuroprune.tensors.dense import prune_layers
    >>> layers = [DenseLayer(np.ones((2, 4))), DenseLayer(np.ones((1, 2)))]
    >>> prune_layers(layers, 0.5, exclude=["1"])
    [<DenseLayer: 4 inputs, 2 outputs, tanh, 4 of 8 weights>, <DenseLayer: 2 inputs, 1 outputs, tanh>]
    """
    taken(layers)
    for name, instead in (("in_place", "take the layers that are returned"),
                          ("masks", "give a layer its mask by dataclasses.replace(layer, mask=...)")):
        if name in options:
            raise TypeError(f"{name} must be left out of prune_layers, got {reprlib.repr(options[name])}: {instead}")
    present = {str(i): layer.mask for i, layer in enumerate(layers) if layer.mask is not None}
    weights = {str(i): layer.kept for i, layer in enumerate(layers)}
    masks = prune_tensors(weights, sparsity, method, masks=present or None, **options)
    return [replace(layer, mask=masks[str(i)]) if str(i) in masks else layer for i, layer in enumerate(layers)]


def taken(layers: Sequence[DenseLayer]) -> list[tuple[int, ...]]:
    """The levels that each of the layers takes.

    Raises
    ------
    TypeError
        When `layers` is not a list or tuple of DenseLayer.
    ValueError
        When there are none, a layer takes a level that does not come before it, or the width of a weight is not that
        of the levels it takes; the message names the layer.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune import DenseLayer
    >>> from neuroprune.tensors.dense import taken
    >>> taken([DenseLayer(np.ones((2, 3))), DenseLayer(np.ones((1, 5)), takes=(0, 1))])
    [(0,), (0, 1)]
    >>> taken([DenseLayer(np.ones((2, 3))), DenseLayer(np.ones((1, 5)))])
    Traceback (most recent call last):
    ...
    ValueError: layers[1] must have a weight with 2 columns, the width of what it takes (level 1), got 5
    """
    if not isinstance(layers, (list, tuple)):
        raise TypeError(f"layers must be a list of DenseLayer, got {type(layers).__name__}: put a single one in a list")
    if not layers:
        raise ValueError("layers must have at least one DenseLayer, got none")
    for i, layer in enumerate(layers):
        if not isinstance(layer, DenseLayer):
            raise TypeError(f"layers[{i}] must be a DenseLayer, got {type(layer).__name__}")
    widths = [layers[0].n_inputs, *(layer.n_outputs for layer in layers)]
    found = []
    for i, layer in enumerate(layers):
        levels = (i,) if layer.takes is None else layer.takes
        if max(levels) > i:
            raise ValueError(f"layers[{i}] must take levels from 0 to {i}, the ones before it, got {max(levels)}")
        width = sum(widths[level] for level in levels)
        if width != layer.n_inputs:
            named = f"level{'s' * (len(levels) > 1)} {', '.join(map(str, levels))}"
            raise ValueError(f"layers[{i}] must have a weight with {width} columns, the width of what it takes "
                             f"({named}), got {layer.n_inputs}")
        found.append(levels)
    return found


def _numbers(values: Any, name: str) -> np.ndarray:
    """A fresh array in C order, float32 where it was, else float64."""
    arrays.require_values(values, name)
    array = arrays.host(values) if arrays.is_array(values) else values
    try:
        array = np.asarray(array)
    except ValueError:  # rows of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "iufb" and array.size or array.dtype == object:
        raise TypeError(f"{name} must be numbers, got {' '.join(reprlib.repr(values).split())}")
    return np.array(array, np.float32 if array.dtype == np.float32 else np.float64, order="C")


def _flags(mask: Any, shape: tuple[int, ...]) -> np.ndarray:
    arrays.require_values(mask, "mask")
    flags = np.array(arrays.host(mask) if arrays.is_array(mask) else mask, order="C")
    if flags.dtype != np.bool_ or flags.shape != shape:
        raise ValueError(f"mask must be a boolean array of the weight's shape {shape}, got {flags.dtype} of shape "
                         f"{flags.shape}")
    return flags


def _names(names: Any, units: int) -> str | tuple[str, ...]:
    """One known name, or one for each unit where they differ."""
    if isinstance(names, str) or not isinstance(names, (Sequence, np.ndarray)):
        activations.code(names)
        return names
    names = tuple(str(name) if isinstance(name, np.str_) else name for name in names)
    if len(names) != units:
        raise ValueError(f"activation must be one name or {units} names, one for each unit, got {len(names)}")
    for name in names:
        activations.code(name)
    return names[0] if len(set(names)) == 1 else names


def _levels(takes: Any) -> tuple[int, ...] | None:
    if takes is None:
        return None
    try:
        levels = tuple(index(level) for level in takes)
    except TypeError:
        raise TypeError(f"takes must be a list of levels such as [0, 1], got {reprlib.repr(takes)}") from None
    if not levels or min(levels) < 0 or len(set(levels)) < len(levels):
        raise ValueError(f"takes must name at least one level, each once and none below 0, got {reprlib.repr(levels)}")
    return levels
