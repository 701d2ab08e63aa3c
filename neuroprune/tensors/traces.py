"""Traces of weights: whether an optimizer that is somebody else's has stepped since."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from neuroprune.tensors.prunable import Prunable

if TYPE_CHECKING:
    import torch

PLACES = 4096  # numbers of each weight that a trace remembers


@dataclass(frozen=True)
class Trace:
    """What one weight was: its version as PyTorch counts it, and some of its numbers, spread over the whole.

    Versions alone do not do, as optimizers that write into `.data` or replay a CUDA graph leave them as they are;
    numbers alone do not do either, as a learning rate may begin at 0.

    Attributes
    ----------
    version : int
    numbers : tensor (up to PLACES,)
    """

    version: int
    numbers: "torch.Tensor"

    @classmethod
    def of(cls, layer: Prunable) -> "Trace":
        """Return the trace of a weight as it is now."""
        weight = layer.parameter.detach()
        version = 0 if weight.is_inference() else weight._version  # weights of inference mode count none
        return cls(version, weight.flatten()[:: weight.numel() // PLACES + 1].clone())

    def same(self, other: "Trace") -> bool:
        """Return whether nothing tells one from the other; a weight that moved or changed its type is another."""
        mine, theirs = self.numbers, other.numbers
        if self.version != other.version or mine.dtype != theirs.dtype or mine.device != theirs.device:
            return False
        return bool((mine == theirs).all())


def traces(layers: Mapping[str, Prunable]) -> dict[str, Trace]:
    """Return the trace of each weight."""
    return {name: Trace.of(layer) for name, layer in layers.items()}


def check_changed(before: Mapping[str, Trace], layers: Mapping[str, Prunable]) -> None:
    """Raise where trained weights have gradients and none of them has changed.

    Gradients that are not finite are left to themselves: a GradScaler skips the step then.

    Raises
    ------
    ValueError
        Nobody has stepped.
    """
    trained = {name: layer for name, layer in layers.items()
               if layer.parameter.requires_grad and layer.parameter.grad is not None}  # fmt: skip
    if not trained or not all(before[name].same(Trace.of(layer)) for name, layer in trained.items()):
        return
    if _finite(trained.values()):
        raise ValueError(
            "weights must have changed since the last step, got gradients and no change: pass the optimizer to "
            "Masking, or call your own optimizer.step() before"
        )


def _finite(layers: Iterable[Prunable]) -> bool:
    """Whether all gradients of the modules are finite, those of biases too."""
    gradients = [parameter.grad for layer in layers for parameter in layer.module.parameters(recurse=False)]
    return all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None)
