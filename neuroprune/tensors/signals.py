"""What scorers need of a PyTorch model besides its weights: gradients of many kinds, and calibration, on data.

Everything is that of the mean over all samples, however they were batched. The model is evaluated as a function of its
parameters: its own values, gradients and modes stay as they are, and frozen parameters count like others.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from neuroprune import arrays
from neuroprune.pruning import saliency
from neuroprune.tensors.calibration import calibrate
from neuroprune.tensors.inputs import evaluating, moved
from neuroprune.tensors.prunable import prunables, unwrapped

if TYPE_CHECKING:
    import torch

CALIBRATED = ("input_norm", "second_moment", "inverse_hessian_diagonal")
LARGE = 2.0**100  # a flow from which on its gradient is scaled, so that float32 can hold the scores
GRADIENTS = ("gradient", "squared_gradient", "hessian_gradient")


def signals(
    model: "torch.nn.Module",
    method: str | saliency.Scorer,
    batches: Iterable[Any] | None = None,
    loss: "Callable[[Any, Any], torch.Tensor] | None" = None,
    *,
    damping: float = 0.01,
    exclude: str | Iterable[str] = (),
    embeddings: bool = False,
) -> dict[str, dict[str, Any]]:
    """Compute what a scorer needs of each prunable weight, as `Masking.prune` and `npr.prune_tensors` take it.

    Parameters
    ----------
    model : torch.nn.Module
        Evaluated in evaluation mode, and left as it is.
    method : str or scorer
        Its `requires` decide. "gradient" is that of the mean loss; "squared_gradient" the mean over samples of the
        squared gradient of each sample's own loss, one backward pass each; "hessian_gradient" the Hessian of the mean
        loss times its gradient, both over the prunable weights, by differentiating twice. For "synflow" the gradient is
        that of the synaptic flow: the sum of the outputs of the model with |w|, without biases, on one input of ones,
        in float64, scaled by a power of two where it is huge. What Wanda and diagonal OBS need comes from `calibrate`.
    batches : iterable
        Of (inputs, targets) where a loss is needed, and all are kept then; else as for `calibrate`. SynFlow takes only
        the shape of a sample.
    loss : callable, optional
        `loss(outputs, targets)`, the mean over the samples of a batch, such as `torch.nn.functional.cross_entropy`.
    damping : float, optional
        As for `Calibration.signals`.
    exclude, embeddings
        As for `Masking`.

    Returns
    -------
    dict of name to dict of keyword to tensor
        Weights that the model does not use are not in it.

    Raises
    ------
    ValueError
        Data or the loss is missing, a number is not finite, or the scorer needs something else.

    Examples
    --------
    By the gradient of the whole data, here of two batches:

    >>> import torch
    >>> from neuroprune.tensors.torch import Masking, signals
    >>> model = torch.nn.Linear(3, 1, bias=False)
    >>> batches = [(torch.tensor([[1.0, 0.0, 2.0]]), torch.zeros(1, 1)) for _ in range(2)]
    >>> found = signals(model, "gradient", batches, lambda outputs, targets: outputs.mean())
    >>> found["weight"]["gradient"]
    tensor([[1., 0., 2.]])
    >>> change = Masking(model).prune(2 / 3, "gradient", signals=found)
    >>> change.masks["weight"]
    tensor([[False, False,  True]])
    """
    model = unwrapped(model)
    layers = prunables(model, exclude, embeddings)
    keywords = saliency.requires(method)
    flows = saliency.scorer(method) is saliency.synflow
    for known in (CALIBRATED, GRADIENTS):
        if {*keywords} <= {*known}:
            break
    else:
        raise ValueError(f"the scorer must need some of {', '.join(CALIBRATED)} or of {', '.join(GRADIENTS)}, got one "
                         f"that needs {', '.join(keywords)}: pass signals of your own")  # fmt: skip
    if not keywords:
        return {name: {} for name in layers}
    if batches is None or arrays.is_array(batches):
        raise ValueError(f"method {method!r} needs batches, got {type(batches).__name__}: pass a list of batches")
    if loss is None and not flows and not {*keywords} <= {*CALIBRATED}:
        raise ValueError(
            f"method {method!r} needs a loss, got none: pass for example torch.nn.functional.cross_entropy"
        )
    if {*keywords} <= {*CALIBRATED}:
        seen = calibrate(model, batches, hessian="inverse_hessian_diagonal" in keywords).signals(method, damping)
        return {name: seen[name] for name in layers if name in seen}
    batches = list(batches)
    if not batches:
        raise ValueError("batches must have at least one batch, got none")
    names = _names(model, layers)
    found: dict[str, dict[str, Any]] = {}
    with evaluating(model):
        if flows:
            _put(found, "gradient", _flow(model, names, batches[0]))
        elif "gradient" in keywords or "hessian_gradient" in keywords:
            mean = _mean(model, names, batches, loss)
            if "gradient" in keywords:
                _put(found, "gradient", mean)
            if "hessian_gradient" in keywords:
                _put(found, "hessian_gradient", _mean(model, names, batches, loss, direction=mean))
        if "squared_gradient" in keywords:
            _put(found, "squared_gradient", _mean(model, names, list(_samples(batches)), loss, square=True))
    return found


def _names(model: Any, layers: Mapping[str, Any]) -> dict[str, str]:
    """The names of the prunable weights by what the model's own list of parameters calls them."""
    own = {id(parameter): name for name, parameter in model.named_parameters()}
    return {own[id(layer.parameter)]: name for name, layer in layers.items()}


def _put(found: dict[str, dict[str, Any]], keyword: str, tensors: Mapping[str, Any]) -> None:
    for name, tensor in tensors.items():
        arrays.require_finite(tensor, f"{keyword.replace('_', ' ')} of {name!r}")
        found.setdefault(name, {})[keyword] = tensor


def _mean(
    model: Any, names: Mapping[str, str], batches: list[Any], loss: Any, direction: Any = None, square: bool = False
) -> dict[str, Any]:
    """The mean gradient over samples, its square, or the Hessian of the mean loss times a direction."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    place = next(model.parameters()).device
    total: dict[str, torch.Tensor] = {}
    count = 0
    # the other kernels of attention can be differentiated only once
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH) if direction is not None else nullcontext():
        free = {own: parameter.detach().requires_grad_() for own, parameter in model.named_parameters() if own in names}
        for batch in batches:
            inputs, targets = (moved(part, place) for part in _pair(batch))
            value = loss(_call(model, free, inputs), targets)
            if not isinstance(value, torch.Tensor) or value.numel() != 1:
                got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
                raise ValueError(f"loss must return one number per batch, the mean over its samples, got {got}")
            slopes = _derivatives(value, free, create_graph=direction is not None)
            if direction is not None:
                along = sum((slope * direction[names[own]]).sum() for own, slope in slopes.items())
                again = _derivatives(along, free) if getattr(along, "requires_grad", False) else {}
                slopes = {own: again.get(own, torch.zeros_like(slope)) for own, slope in slopes.items()}
            count += len(targets)
            for own, slope in slopes.items():
                part = len(targets) * (slope.detach() ** 2 if square else slope.detach())
                total[names[own]] = total[names[own]] + part if names[own] in total else part
    return {name: tensor / max(count, 1) for name, tensor in total.items()}


def _derivatives(value: Any, free: Mapping[str, Any], create_graph: bool = False) -> dict[str, Any]:
    """The gradient with respect to those parameters that the value depends on."""
    import torch

    parts = torch.autograd.grad(value, list(free.values()), create_graph=create_graph, allow_unused=True)
    return {own: part for own, part in zip(free, parts, strict=True) if part is not None}


def _flow(model: Any, names: Mapping[str, str], batch: Any) -> dict[str, Any]:
    """The gradient of the synaptic flow with respect to the weights."""
    import torch

    sample = batch[0] if isinstance(batch, (tuple, list)) else batch
    if not isinstance(sample, torch.Tensor) or not sample.is_floating_point():
        got = sample.dtype if isinstance(sample, torch.Tensor) else type(sample).__name__
        raise ValueError(f"synflow needs inputs of floating numbers, which it replaces by ones, got {got}")
    state = {own: parameter.detach().abs().double() for own, parameter in model.named_parameters()}
    state = {own: value * 0 if own.rpartition(".")[2].endswith("bias") else value for own, value in state.items()}
    with torch.enable_grad():
        free = {own: state[own].requires_grad_() for own in state if own in names}
        buffers = {own: value.double() if value.is_floating_point() else value for own, value in model.named_buffers()}
        ones = torch.ones_like(sample[:1], dtype=torch.float64, device=next(model.parameters()).device)
        out = torch.func.functional_call(model, {**buffers, **state}, (ones,)).sum()
        slopes = _derivatives(out, free)
    weights = dict(model.named_parameters())
    largest = max((float(slope.abs().max()) for slope in slopes.values() if slope.numel()), default=0.0)
    scale = 2.0 ** -math.frexp(largest)[1] if LARGE < largest < math.inf else 1.0  # of deep models; the order stays
    return {names[own]: slope * scale * weights[own].detach().sign() for own, slope in slopes.items()}


def _pair(batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise ValueError(f"a batch must be (inputs, targets), got {type(batch).__name__}")
    return batch[0], batch[1]


def _call(model: Any, parameters: Mapping[str, Any], inputs: Any) -> Any:
    import torch

    if isinstance(inputs, Mapping):
        return torch.func.functional_call(model, dict(parameters), (), dict(inputs))
    return torch.func.functional_call(model, dict(parameters), (inputs,))


def _samples(batches: list[Any]) -> Iterator[Any]:
    """Batches of one."""
    for batch in batches:
        inputs, targets = _pair(batch)
        for row in range(len(targets)):
            one = slice(row, row + 1)
            yield ({key: value[one] for key, value in inputs.items()} if isinstance(inputs, Mapping) else inputs[one],
                   targets[one])  # fmt: skip
