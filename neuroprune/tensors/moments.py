"""What a PyTorch optimizer keeps of a parameter besides its value: the moments, and the momentum among them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def moments(optimizer: "torch.optim.Optimizer | None", parameter: "torch.Tensor") -> "list[torch.Tensor]":
    """Return the tensors of a parameter's shape that an optimizer keeps for it; none without an optimizer."""
    import torch

    state = {} if optimizer is None else optimizer.state.get(parameter, {})
    return [value for value in state.values() if isinstance(value, torch.Tensor) and value.shape == parameter.shape]


def momentum(optimizer: "torch.optim.Optimizer", parameter: "torch.Tensor", name: str) -> "torch.Tensor":
    """Return the dense momentum of a parameter; with second moments in the scale of a step, m / (sqrt(v) + 1e-8).

    Dettmers & Zettlemoyer 2019, https://arxiv.org/abs/1907.04840, whose code divides likewise.

    Raises
    ------
    ValueError
        The optimizer has none yet: it has not stepped, or not with a gradient of this parameter.
    """
    state = optimizer.state.get(parameter, {})
    first = state.get("momentum_buffer", state.get("exp_avg"))
    if first is None:
        raise ValueError(
            f"growth by momentum needs the momentum of {name!r}, got none yet from {type(optimizer).__name__}: "
            "let the updates start after its first step"
        )
    second = state.get("exp_avg_sq") if "momentum_buffer" not in state else None
    return first if second is None else first / (second.sqrt() + 1e-8)


def makes_first(optimizer: "torch.optim.Optimizer", parameter: "torch.Tensor") -> bool:
    """Return whether the next step is the one that makes the moments of a parameter."""
    return parameter.grad is not None and not optimizer.state.get(parameter)


def overflowed(parameters: "Iterable[torch.Tensor]") -> bool:
    """Return whether a gradient is NaN or infinite; one wait for the device in all."""
    import torch

    found = [p.grad.coalesce().values() if p.grad.is_sparse else p.grad for p in parameters if p.grad is not None]
    finite = [torch.isfinite(gradient).all() for gradient in found]
    return bool(finite) and not bool(torch.stack([flag.to(finite[0].device) for flag in finite]).all())
