"""What the weights of a PyTorch model are multiplied with: seen by hooks, which are removed whatever happens."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from neuroprune import arrays
from neuroprune.tensors.prunable import prunables, unwrapped

if TYPE_CHECKING:
    import torch

Tell = Callable[[str, int, "torch.Tensor"], None]


def observe(
    model: "torch.nn.Module", batches: Iterable[Any], make: Callable[[], Any]
) -> tuple[dict[str, list[Any]], dict[str, tuple[int, ...]]]:
    """Run a model on batches in evaluation mode; return the sums by name of weight, and the weights' shapes.

    Parameters
    ----------
    model : torch.nn.Module
    batches : iterable
        Inputs; the first of a tuple or list, keywords in a mapping.
    make : callable
        Makes what sums up the inputs of one part of a weight: `add(rows)` takes (rows, blocks, features).
    """
    import torch

    model = unwrapped(model)
    layers = prunables(model, embeddings=True, whole=False)  # a linear layer may share the weight of an embedding
    if not layers:
        raise ValueError(
            f"the model must have a weight to calibrate, got {type(model).__name__} without one: Linear, "
            "Conv1d to 3d and MultiheadAttention have"
        )
    names = {id(layer.parameter): name for name, layer in layers.items()}
    sums: dict[str, list[Any]] = {name: [] for name in layers}

    def tell(name: str, part: int, rows: torch.Tensor) -> None:
        while len(sums[name]) <= part:
            sums[name].append(make())
        sums[name][part].add(rows.detach())

    place = next(iter(layers.values())).parameter.device
    with hooked(model, names, tell), torch.no_grad():
        for batch in batches:
            if isinstance(batch, Mapping):
                model(**moved(batch, place))
            else:
                model(moved(_first(batch), place))
    shapes = {name: tuple(layer.parameter.shape) for name, layer in layers.items()}
    return {name: parts for name, parts in sums.items() if parts}, shapes


@contextmanager
def hooked(model: "torch.nn.Module", names: Mapping[int, str], tell: Tell) -> Iterator[None]:
    """Evaluation mode with hooks that tell the inputs of weights; both end whatever happens.

    Parameters
    ----------
    model : torch.nn.Module
    names : mapping from the id of a parameter to its name
    tell : callable
        `tell(name, part, rows)`: rows of shape (rows, blocks, features).
    """
    import torch
    from torch import nn

    fast = torch.backends.mha.get_fastpath_enabled()
    handles: list[Any] = []
    inside = {module.out_proj for module in model.modules() if isinstance(module, nn.MultiheadAttention)}
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # it computes whole blocks without calling what is hooked
        for module in model.modules():
            if isinstance(module, nn.MultiheadAttention):
                handles.append(module.register_forward_pre_hook(_attention(names, tell), with_kwargs=True))
                continue
            name = names.get(id(_weight(module)))
            if name is not None and module not in inside and isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
                rows = linear_rows if isinstance(module, nn.Linear) else convolution_rows
                handles.append(module.register_forward_pre_hook(_simple(name, rows, tell), with_kwargs=True))
        with evaluating(model):
            yield
    finally:
        for handle in handles:
            handle.remove()
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def evaluating(model: "torch.nn.Module") -> Iterator[None]:
    """Evaluation mode, and back to the mode of each module whatever happens."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


def linear_rows(module: Any, x: "torch.Tensor") -> "Iterator[torch.Tensor]":
    """The inputs of a linear layer, all leading axes as rows."""
    yield x.reshape(-1, 1, x.shape[-1])


def convolution_rows(module: Any, x: "torch.Tensor") -> "Iterator[torch.Tensor]":
    """The patches that a convolution multiplies with its kernels, group by group, for one sample after another."""
    from torch.nn import functional

    axes = len(module.kernel_size)
    x = x[None] if x.dim() == axes + 1 else x
    x = functional.pad(x, padding(module), "constant" if module.padding_mode == "zeros" else module.padding_mode)
    features = module.in_channels // module.groups * math.prod(module.kernel_size)
    for sample in x:
        for axis, (size, step, spread) in enumerate(
            zip(module.kernel_size, module.stride, module.dilation, strict=True), start=1
        ):
            sample = sample.unfold(axis, (size - 1) * spread + 1, step)[..., ::spread]
        order = (*range(1, axes + 1), 0, *range(axes + 1, 2 * axes + 1))  # positions, channels, kernel
        yield sample.permute(order).reshape(-1, module.groups, features)


def padding(module: Any) -> list[int]:
    """The padding of a convolution as `torch.nn.functional.pad` takes it: from the last axis, both ends."""
    if module.padding == "same":
        total = [spread * (size - 1) for spread, size in zip(module.dilation, module.kernel_size, strict=True)]
        ends = [(both // 2, both - both // 2) for both in total]
    else:
        ends = [(0, 0)] * len(module.kernel_size) if module.padding == "valid" else [(p, p) for p in module.padding]
    return [end for pair in reversed(ends) for end in pair]


def _simple(name: str, rows: Callable[[Any, Any], Iterator[Any]], tell: Tell) -> Callable[..., None]:
    def hook(module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        given = [*arguments, *keywords.values()]  # a layer has one input, whatever it calls it
        for part in rows(module, given[0]) if given else ():  # the layer itself says what is missing
            tell(name, 0, part)

    return hook


def _attention(names: Mapping[int, str], tell: Tell) -> Callable[..., None]:
    """The hook of a MultiheadAttention, which calls none of its parts."""
    import torch

    busy = False

    def rows(module: Any, x: torch.Tensor) -> torch.Tensor:
        x = x.transpose(0, 1) if x.dim() == 3 and not module.batch_first else x  # samples first
        return x.reshape(-1, 1, x.shape[-1])

    def hook(module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        nonlocal busy
        if busy:
            return
        given = dict(zip(("query", "key", "value"), arguments, strict=False)) | keywords
        for part, (projection, role) in enumerate(zip("qkv", ("query", "key", "value"), strict=True)):
            joint = module.in_proj_weight is not None
            name = names.get(id(_weight(module, "in_proj_weight" if joint else f"{projection}_proj_weight")))
            if name is not None:
                tell(name, part if joint else 0, rows(module, given[role]))
        name = names.get(id(_weight(module.out_proj)))
        if name is None:
            return
        # What the output projection sees is the output of the same attention with the identity in its place.
        plain = {"out_proj.weight": torch.eye(module.embed_dim, dtype=module.out_proj.weight.dtype,
                                              device=module.out_proj.weight.device)}  # fmt: skip
        if module.out_proj.bias is not None:
            plain["out_proj.bias"] = torch.zeros_like(module.out_proj.bias)
        busy = True
        try:
            seen = torch.func.functional_call(module, plain, arguments, keywords)[0]
        finally:
            busy = False
        tell(name, 0, rows(module, seen))

    return hook


def _weight(module: Any, attribute: str = "weight") -> Any:
    """The parameter that a layer multiplies with, also where torch.nn.utils.prune holds it."""
    return module._parameters.get(attribute + "_orig", module._parameters.get(attribute))


def moved(value: Any, place: Any) -> Any:
    """Return a tensor, or those of a mapping, on a device, other things as they are; TypeError for other arrays."""
    import torch

    if isinstance(value, Mapping):
        return {key: moved(part, place) for key, part in value.items()}
    if arrays.is_array(value) and not isinstance(value, torch.Tensor):
        raise TypeError(f"a batch must hold torch tensors, got {type(value).__name__}: convert it by torch.as_tensor")
    return value.to(place) if isinstance(value, torch.Tensor) else value


def _first(batch: Any) -> Any:
    """The inputs of a batch that may have targets."""
    if not isinstance(batch, (tuple, list)):
        return batch
    if not batch:
        raise ValueError("a batch must begin with the inputs of the model, got an empty one")
    return batch[0]
