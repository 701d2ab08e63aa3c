"""Which parameters of a PyTorch model are pruned, and where their masks are kept.

The weights of Linear and Conv1d to 3d, the projections of MultiheadAttention, and on request of Embedding and
EmbeddingBag; never biases, norms or recurrent cells. Transposed convolutions are left alone: their weights begin with
the inputs, so that a row of them is no output. A mask is a boolean buffer beside its parameter: `weight_mask` beside
`weight`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neuroprune import arrays
from neuroprune.pruning import checks

if TYPE_CHECKING:
    import torch

PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


@dataclass(frozen=True)
class Prunable:
    """One parameter that may be pruned: an attribute of a module.

    Attributes
    ----------
    name : str
        As in `model.named_parameters()`.
    module : torch.nn.Module
        Owner of the parameter and of its mask.
    attribute : str
        Name of the parameter in its module.
    aliases : tuple of str
        All names of the parameter; more than one where modules share it.
    """

    name: str
    module: "torch.nn.Module"
    attribute: str
    aliases: tuple[str, ...]

    @property
    def buffer(self) -> str:
        """Name of the mask in the module."""
        return self.attribute + "_mask"

    @property
    def foreign(self) -> bool:
        """Whether torch.nn.utils.prune holds the parameter."""
        return _is_foreign(self.module, self.attribute)

    @property
    def parameter(self) -> "torch.nn.Parameter":
        """The parameter as the module has it now."""
        return self.module._parameters[self.attribute + "_orig" if self.foreign else self.attribute]

    @property
    def mask(self) -> "torch.Tensor | None":
        """The buffer as the module has it now, None where it has none; that of torch.nn.utils.prune is of floats."""
        return self.module._buffers.get(self.buffer)

    def release(self) -> None:
        """Make what torch.nn.utils.prune did permanent: the parameter is `weight` again, zero where it was pruned."""
        from torch.nn.utils import prune

        if self.foreign:
            prune.remove(self.module, self.attribute)


def unwrapped(model: Any) -> Any:
    """Return the model that torch.compile wraps, another one as it is."""
    from torch import nn

    return model._modules.get("_orig_mod", model) if isinstance(model, nn.Module) else model


def prunables(
    model: "torch.nn.Module", exclude: str | Iterable[str] = (), embeddings: bool = False, whole: bool = True
) -> dict[str, Prunable]:
    """Return the prunable parameters of a model by name, in the order of its modules; a shared one comes once.

    Parameters
    ----------
    model : torch.nn.Module
    exclude : list of str, optional
        Names of parameters or modules that are left alone, with all that is inside.
    embeddings : bool, optional
        Whether Embedding and EmbeddingBag count. If not, a parameter that one of them shares is left alone as well.
    whole : bool, optional
        Whether a weight that cannot have a mask is an error; if not, it is left out.

    Raises
    ------
    ValueError
        Nothing is prunable, a name to exclude is not in the model, or a weight is not there yet, empty, parametrized.
    TypeError
        The model is not a Module, or a weight does not consist of real floating numbers.
    """
    from torch import nn

    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    excluded = _excluded(model, exclude)
    owners: dict[int, list[tuple[str, Any, str]]] = {}
    left_alone = set()
    for path, module in model.named_modules(remove_duplicate=False):
        lookup = isinstance(module, (nn.Embedding, nn.EmbeddingBag))
        for attribute in _attributes(module):
            name = f"{path}.{attribute}" if path else attribute
            out = any(name == other or name.startswith(other + ".") for other in excluded)
            foreign = _is_foreign(module, attribute)
            parameter = module._parameters.get(attribute + "_orig" if foreign else attribute)
            if parameter is None and (out or not whole):
                continue
            if parameter is None:
                raise ValueError(
                    f"{name!r} must be a plain parameter, got one that is computed: remove its "
                    "parametrization first, or exclude it"
                )
            if out or (lookup and not embeddings):
                left_alone.add(id(parameter))
            owners.setdefault(id(parameter), []).append((name, module, attribute))
    found = {}
    for key, places in owners.items():
        if key in left_alone:
            continue
        name, module, attribute = places[0]
        layer = Prunable(name, module, attribute, tuple(dict.fromkeys(place[0] for place in places)))
        if whole:
            _check(layer)
        found[name] = layer
    if whole and not found:
        for layer in () if embeddings else prunables(model, excluded, True, False).values():
            if len(layer.aliases) > 1:
                tied = " tied to ".join(map(repr, layer.aliases))
                raise ValueError(
                    f"the model must have a prunable weight, got {tied}, an Embedding: pass embeddings=True"
                )
        raise ValueError(
            f"the model must have a prunable weight, got {type(model).__name__} without one: prunable are "
            "Linear, Conv1d to 3d, MultiheadAttention, and Embedding with embeddings=True"
        )
    return found


def _check(layer: Prunable) -> None:
    """Raise where a parameter cannot have a mask."""
    import torch

    name, uninitialized = layer.name, torch.nn.parameter.UninitializedParameter
    if isinstance(layer.parameter, uninitialized):
        raise ValueError(f"{name!r} must have its shape, got a lazy one: pass one batch through the model first")
    if arrays.kind(layer.parameter) != "floating":
        raise TypeError(f"{name!r} must consist of real floating numbers, got {layer.parameter.dtype}: exclude it")
    if layer.parameter.numel() == 0:
        raise ValueError(f"{name!r} must have elements, got shape {arrays.shape(layer.parameter)}: exclude it")
    if getattr(layer.module, "sparse", False):
        raise ValueError(f"{name!r} must have dense gradients, got sparse=True: make it without, or exclude it")
    _check_buffer(layer, torch.bool)


def _is_foreign(module: Any, attribute: str) -> bool:
    """Whether torch.nn.utils.prune holds the parameter; spectral_norm renames it as well, but has no mask."""
    return attribute + "_orig" in module._parameters and attribute + "_mask" in module._buffers


def _attributes(module: Any) -> Iterator[str]:
    """The attributes of one module that hold prunable weights."""
    from torch import nn

    if isinstance(module, nn.MultiheadAttention):
        yield from (name for name in PROJECTIONS if getattr(module, name, None) is not None)
    elif isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, nn.EmbeddingBag)):
        yield "weight"


def _excluded(model: Any, exclude: Any) -> tuple[str, ...]:
    if not isinstance(exclude, Iterable):
        raise TypeError(f"exclude must be a list of names, got {exclude!r}: put names of modules or parameters in it")
    names = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    known = {*(name for name, _ in model.named_modules(remove_duplicate=False)),
             *(name for name, _ in model.named_parameters(remove_duplicate=False))} - {""}  # fmt: skip
    known |= {name.removesuffix("_orig") for name in known if name.endswith("_orig")}
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise ValueError(
                f"exclude must name modules or parameters of the model, got {name!r}"
                f"{checks.nearest(name, sorted(known))}"
            )
    return names


def _check_buffer(layer: Prunable, boolean: Any) -> None:
    """Raise where something else than a mask has the name of the mask."""
    mask, taken = layer.mask, hasattr(layer.module, layer.buffer)
    if layer.foreign or not taken:
        return
    if mask is None or mask.dtype != boolean or mask.shape != layer.parameter.shape:
        got = (
            type(getattr(layer.module, layer.buffer)).__name__
            if mask is None
            else f"{mask.dtype} of {list(mask.shape)}"
        )
        raise ValueError(
            f"{layer.name + '_mask'!r} must be free for a mask of booleans, got {got}: rename it, or "
            f"exclude {layer.name!r}"
        )
