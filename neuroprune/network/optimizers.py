"""Optimizers by name and settings; the steps themselves are kernels.optimize.

`net.train(optimizer="adam")` takes the defaults; `optimizer=optimizers.sgd(momentum=0.9)` sets them.
"""

from dataclasses import dataclass
from difflib import get_close_matches

from neuroprune.network.views import check_number


@dataclass(frozen=True)
class Optimizer:
    """An optimizer with its settings, made by `sgd`, `rmsprop`, `adam` or `adamw`."""

    name: str
    code: int
    beta1: float = 0.0
    beta2: float = 0.0
    epsilon: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def settings(self, l1: float, l2: float) -> tuple[float, ...]:
        """The tuple that the kernels take; l2 and the optimizer's own weight decay add up."""
        return (self.beta1, self.beta2, self.epsilon, float(self.nesterov), float(l1), float(l2) + self.weight_decay)


def sgd(momentum: float = 0.0, nesterov: bool = False) -> Optimizer:
    """Stochastic gradient descent: v = momentum v + g; p -= rate v, or rate (g + momentum v) with Nesterov.

    Examples
    --------
    >>> from neuroprune.network import optimizers
    >>> optimizers.sgd(momentum=0.9).beta1
    0.9
    """
    return Optimizer("sgd", 0, beta1=_share(momentum, "momentum"), nesterov=bool(nesterov))


def rmsprop(decay: float = 0.99, epsilon: float = 1e-8) -> Optimizer:
    """RMSProp (Hinton 2012): s = decay s + (1 - decay) g^2; p -= rate g / (sqrt(s) + epsilon)."""
    return Optimizer("rmsprop", 1, beta2=_share(decay, "decay"), epsilon=_positive(epsilon))


def adam(beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Adam (Kingma & Ba 2015, https://arxiv.org/abs/1412.6980, algorithm 1)."""
    return Optimizer("adam", 2, _share(beta1, "beta1"), _share(beta2, "beta2"), _positive(epsilon))


def adamw(beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8, weight_decay: float = 0.01) -> Optimizer:
    """Adam with decoupled penalties (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101, algorithm 2).

    The penalty on the weights is rate * (weight_decay + l2) * w; biases are not penalised.
    """
    if check_number(weight_decay, "weight_decay") < 0.0:
        raise ValueError(f"weight_decay must be at least 0, got {weight_decay}")
    return Optimizer("adamw", 3, _share(beta1, "beta1"), _share(beta2, "beta2"), _positive(epsilon),
                     weight_decay=float(weight_decay))


OPTIMIZERS = {"sgd": sgd, "rmsprop": rmsprop, "adam": adam, "adamw": adamw}


def optimizer(choice: str | Optimizer) -> Optimizer:
    """The optimizer of that name with its default settings; an Optimizer is returned as it is."""
    if isinstance(choice, Optimizer):
        return choice
    if not isinstance(choice, str) or choice not in OPTIMIZERS:
        near = get_close_matches(str(choice), OPTIMIZERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(OPTIMIZERS)}"
        raise ValueError(f"optimizer must be a name or an Optimizer, got {choice!r}: {hint}")
    return OPTIMIZERS[choice]()


def _share(value: float, name: str) -> float:
    if not 0.0 <= check_number(value, name) < 1.0:
        raise ValueError(f"{name} must be in [0, 1), got {value}")
    return float(value)


def _positive(epsilon: float) -> float:
    if check_number(epsilon, "epsilon") <= 0.0:
        raise ValueError(f"epsilon must be positive, got {epsilon}")
    return float(epsilon)
