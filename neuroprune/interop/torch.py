"""Dense layers as PyTorch modules and back."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune.tensors.dense import DenseLayer, taken

if TYPE_CHECKING:
    import torch

# Activations with a module of torch.nn: its name and arguments.
MODULES = {
    "identity": ("Identity", {}), "tanh": ("Tanh", {}), "sigmoid": ("Sigmoid", {}), "relu": ("ReLU", {}),
    "softsign": ("Softsign", {}), "selu": ("SELU", {}), "softplus": ("Softplus", {"threshold": 40.0}),
    "swish": ("SiLU", {}), "gelu": ("GELU", {"approximate": "tanh"}), "mish": ("Mish", {}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.01}), "elu": ("ELU", {}), "hard_tanh": ("Hardtanh", {}),
}  # fmt: skip
# The others, in methods that a tensor and what stands for one while a graph is traced both have.
FORMULAS: dict[str, Callable] = {
    "step": lambda x: (x > 0).to(x),
    "bipolar": lambda x: 2 * (x > 0).to(x) - 1,
    "sin": lambda x: x.sin(),
    "cos": lambda x: x.cos(),
    "gaussian": lambda x: (-(x * x)).exp(),
    "bent_identity": lambda x: x + ((x * x + 1).sqrt() - 1) / 2,
    "bipolar_sigmoid": lambda x: (x / 2).tanh(),
    "abs": lambda x: x.abs(),
    "inverse": lambda x: 1 - x,
    "square": lambda x: x * x,
    "clamp": lambda x: x.clamp(-1, 1),
}
SETTINGS = {"LeakyReLU": ("negative_slope", 0.01), "ELU": ("alpha", 1.0), "Softplus": ("beta", 1),
            "GELU": ("approximate", "tanh")}  # fmt: skip


def to_torch(layers: Sequence[DenseLayer]) -> "torch.nn.Module":
    """Turn dense layers into a PyTorch module with the same outputs, in the dtype of their weights.

    Parameters
    ----------
    layers : list of DenseLayer
        For a network, `net.to_dense()`. Activations are those that come with the library.

    Returns
    -------
    torch.nn.Sequential or torch.fx.GraphModule
        Linear and activation modules in a row where each layer takes the one before and its activation has a module in
        torch.nn; else a module with the same Linear modules, named "0", "1", ... Both can be trained, copied, saved
        and compiled. The mask of a layer is the buffer `weight_mask` of its Linear, where
        `neuroprune.tensors.torch.Masking` finds it.

    Raises
    ------
    ValueError
        For an activation of the user's, and layers that do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from neuroprune import DenseLayer
    >>> from neuroprune.interop.torch import to_torch
    >>> to_torch([DenseLayer(np.ones((3, 2))), DenseLayer(np.ones((1, 3)), activation="identity")])
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=False)
      (1): Tanh()
      (2): Linear(in_features=3, out_features=1, bias=False)
    )
    """
    import torch

    levels = taken(layers)
    for i, layer in enumerate(layers):
        own = [name for name in layer.activations if name not in MODULES and name not in FORMULAS]
        if own:
            raise ValueError(f"layers[{i}] must have activations that come with neuroprune, got {own[0]!r}: PyTorch "
                             "has no form of it")
    linear = [_linear(layer) for layer in layers]
    chain = all(sources == (i,) for i, sources in enumerate(levels))
    if not chain or any(layer.activation not in MODULES for layer in layers):
        return _graph(layers, levels, linear)
    parts = []
    for layer, module in zip(layers, linear, strict=True):
        parts.append(module)
        if layer.activation != "identity":
            parts.append(_module(layer.activation))
    return torch.nn.Sequential(*parts)


def from_torch(module: "torch.nn.Module") -> list[DenseLayer]:
    """Turn a chain of Linear and activation modules into dense layers.

    Parameters
    ----------
    module : torch.nn.Linear, torch.nn.Sequential
        Linear, each followed by at most one activation of the table `MODULES`, none being the identity; Identity and
        Dropout are passed over, Sequential may be nested. On any device; weights are copied, float32 stays float32,
        bfloat16, which numpy does not have, becomes float32 without loss.

    Returns
    -------
    list of DenseLayer
        With the masks of pruned modules: the buffers `weight_mask` of `Masking` and of torch.nn.utils.prune.

    Raises
    ------
    TypeError
        `module` is no module.
    ValueError
        Another kind of module, an activation before the first Linear or after another one, or one with other settings;
        the message names it.

    Examples
    --------
    >>> import torch
    >>> from neuroprune.interop.torch import from_torch
    >>> from_torch(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)))
    [<DenseLayer: 4 inputs, 3 outputs, relu>, <DenseLayer: 3 inputs, 2 outputs, identity>]
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, got {type(module).__name__}")
    names = {getattr(torch.nn, kind): name for name, (kind, _) in MODULES.items()}
    layers: list[dict[str, Any]] = []
    for path, part in _flat(module, "module"):
        if type(part) is torch.nn.Linear:
            layers.append(_read(part))
        elif isinstance(part, (torch.nn.Identity, torch.nn.Dropout)):
            continue
        elif type(part) not in names:
            raise ValueError(f"{path} must be Linear, Sequential or an activation with a name here, got "
                             f"{type(part).__name__}: make the layers one by one with DenseLayer")
        elif not layers or "activation" in layers[-1]:
            raise ValueError(f"{path} must follow a Linear, got {type(part).__name__} "
                             + ("first" if not layers else "after another activation"))
        else:
            _check_settings(path, part)
            layers[-1]["activation"] = names[type(part)]
    if not layers:
        raise ValueError("module must have at least one Linear, got none")
    return [DenseLayer(**{"activation": "identity", **layer}) for layer in layers]


def _linear(layer: DenseLayer) -> "torch.nn.Linear":
    import torch

    weight = torch.from_numpy(np.array(layer.kept))
    linear = torch.nn.Linear(layer.n_inputs, layer.n_outputs, bias=layer.bias is not None, dtype=weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(weight)
        if layer.bias is not None:
            linear.bias.copy_(torch.from_numpy(layer.bias))
    if layer.mask is not None:
        linear.register_buffer("weight_mask", torch.from_numpy(layer.mask.copy()))
    return linear


def _module(name: str) -> "torch.nn.Module":
    import torch

    kind, settings = MODULES[name]
    return getattr(torch.nn, kind)(**settings)


def _graph(layers: Sequence[DenseLayer], levels: list[tuple[int, ...]], linear: list) -> "torch.fx.GraphModule":
    """Layers that take several levels, or have activations without a module, as a traced graph."""
    import torch
    from torch import fx

    root = torch.nn.Module()
    graph = fx.Graph()
    tracer = fx.proxy.GraphAppendingTracer(graph)

    def called(name: str, x: Any) -> Any:
        return fx.Proxy(graph.call_module(name, (x.node,)), tracer)

    values = [fx.Proxy(graph.placeholder("x"), tracer)]

    def activate(name: str, x: Any) -> Any:
        if name in FORMULAS or name == "identity":
            return FORMULAS.get(name, lambda x: x)(x)
        root.add_module(name, _module(name))
        return called(name, x)

    for i, (layer, sources) in enumerate(zip(layers, levels, strict=True)):
        root.add_module(str(i), linear[i])
        inputs = [values[level] for level in sources]
        x = inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=-1)
        x = called(str(i), x)
        if isinstance(layer.activation, str):
            values.append(activate(layer.activation, x))
            continue
        groups = {name: [unit for unit, other in enumerate(layer.activation) if other == name]
                  for name in dict.fromkeys(layer.activation)}
        parts = [activate(name, x[..., units]) for name, units in groups.items()]
        order = np.argsort([unit for units in groups.values() for unit in units]).tolist()
        values.append(torch.cat(parts, dim=-1)[..., order])
    graph.output(values[-1].node)
    return fx.GraphModule(root, graph, "Levels")


def _flat(module: Any, path: str) -> list[tuple[str, Any]]:
    """The modules of nested Sequentials, in order, with their names."""
    import torch

    if not isinstance(module, torch.nn.Sequential):
        return [(path, module)]
    return [found for i, part in enumerate(module) for found in _flat(part, f"{path}[{i}]")]


def _read(linear: Any) -> dict[str, Any]:
    import torch

    def numbers(tensor: torch.Tensor) -> np.ndarray:
        tensor = tensor.detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()

    mask = getattr(linear, "weight_mask", None)
    return {"weight": numbers(linear.weight),
            "bias": None if linear.bias is None else numbers(linear.bias),
            "mask": None if mask is None else mask.bool().cpu().numpy()}


def _check_settings(path: str, part: Any) -> None:
    kind = type(part).__name__
    if kind == "Hardtanh":
        fits, wanted = (part.min_val, part.max_val) == (-1.0, 1.0), "min_val=-1, max_val=1"
    elif kind in SETTINGS:
        key, value = SETTINGS[kind]
        fits, wanted = getattr(part, key) == value, f"{key}={value!r}"
    else:
        return
    if not fits:
        raise ValueError(f"{path} must have {wanted}, got {part}")
