"""Masks for a PyTorch model: pruning, sparse training and dynamic sparse training in an ordinary loop.

A mask is a boolean buffer beside its weight, and the weight is zero where the mask is off. Nothing else: no hooks, no
reparametrization, no changed classes. So whatever copies, saves, moves or compiles a model does it to a masked one.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

try:
    import torch
except ModuleNotFoundError as error:
    raise ImportError(f'masks of models need PyTorch, got {error}: pip install "neuroprune[torch]"') from None

from neuroprune import arrays
from neuroprune.pruning import saliency
from neuroprune.pruning.rewire import Rewire, Update
from neuroprune.rng import from_state, generator, to_json
from neuroprune.tensors import masking, moments, plan
from neuroprune.tensors.calibration import calibrate
from neuroprune.tensors.prunable import Prunable, prunables, unwrapped
from neuroprune.tensors.prune import prune_tensors
from neuroprune.tensors.signals import signals
from neuroprune.tensors.traces import check_changed, traces

__all__ = ["Masking", "calibrate", "signals"]

Method = str | Callable[..., torch.Tensor]
Signals = Mapping[str, Mapping[str, Any]]


class Masking:
    """The masks of a model, kept while it trains; `step()` takes the place of `optimizer.step()`.

    Prunable are the weights of Linear and Conv1d to 3d and the projections of MultiheadAttention, and on request
    those of Embedding; never biases or norms. A parameter that several modules share has one mask. Steps count from 1.
    To go on from a file, make `Masking(model)` before `model.load_state_dict`, which brings the masks; from one of a
    model without masks, loaded with `strict=False`, weights are dense until `masking.apply()`.

    Parameters
    ----------
    model : torch.nn.Module
        Gets a boolean buffer `weight_mask` beside each prunable `weight`, and zeros where it is off. A model that
        already has them goes on with them; one pruned by torch.nn.utils.prune is made permanent and goes on from there.
    optimizer : torch.optim.Optimizer, optional
        What `step` drives. Its moments are masked too, and start at zero where a weight has grown. Without one, call
        `step` after your own `optimizer.step()`: weights are masked, but gradients and moments are not, so that
        `rewire` must have `replaces_step=False` and not need momentum, and movement pruning is not possible.
        Growth by momentum needs one that keeps a momentum, and of every weight that is trained.
    init : {None, "dense", "random", "er", "erk", "resume", "lottery"}, optional
        What the masks start from, see `neuroprune.tensors.masking.start`. None: what the model has, else dense.
    density : float, optional
        Share of all prunable weights that stay, in (0, 1], for "random", "er" and "erk"; the counts are exact.
    masks : mapping from name to boolean array, optional
        What to start from (`init="lottery"`), permuted each with `shuffle=True`.
    rewire : Rewire, optional
        Dynamic sparse training. `drop`, `grow`, `redistribute`, `every`, `until`, `fraction` and `replaces_step` make
        one in place. Where something grows, the start must be sparse, even where masks are loaded after it. Frozen
        parameters (`requires_grad=False`) keep their masks.
    unit : tuple of int, optional
        Axes that tell units apart, which start, go and come as a whole: (0, 1) for the kernels of convolutions.
    schedule : schedule of npr.schedules, optional
        Gradual pruning (Zhu & Gupta 2017, https://arxiv.org/abs/1710.01878): at each step where it fires, before the
        optimizer's, masks shrink to `schedule.sparsity(step)`. `method`, `scope`, `pattern` are those of
        `npr.prune_tensors`; an N:M pattern has no steps between and needs a `OneShot` of its share. For scorers
        of a gradient, squared gradient or movement training adds the signal up (`movement` with the rates of the
        optimizer, and with it a mask may open again, onto the value it hid).
    signals : Calibration, mapping or function, optional
        What the scorer of the schedule needs, instead of what training adds up: {name: {keyword: array}}, what
        `calibrate` returns, or a function without arguments that returns either and is called at each pruning.
    exclude : list of str, optional
        Names of modules or parameters that are left alone.
    embeddings : bool, optional
        Whether weights of Embedding are prunable.
    seed : int, numpy.random.Generator or None, optional
        For random masks and random growth.

    Raises
    ------
    ValueError, TypeError
        Nothing is prunable, an argument does not fit, or two contradict each other; the model is as it was.

    Examples
    --------
    >>> import torch
    >>> from neuroprune.tensors.torch import Masking
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 50), torch.nn.ReLU(), torch.nn.Linear(50, 10))
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> masking = Masking(model, optimizer, init="erk", density=0.1, grow="gradient", every=2, until=20, seed=0)
    >>> for _ in range(10):  # RigL
    ...     optimizer.zero_grad()
    ...     torch.nn.functional.cross_entropy(model(torch.ones(8, 64)), torch.zeros(8, dtype=torch.long)).backward()
    ...     change = masking.step()
    >>> masking.sparsity, sum(int(mask.sum()) for mask in masking.masks.values())
    (0.9, 370)
    """

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        init: str | None = None,
        density: float | None = None,
        masks: Mapping[str, Any] | None = None,
        shuffle: bool = False,
        rewire: Rewire | None = None,
        drop: Any = None,
        grow: Any = None,
        redistribute: Any = None,
        every: int | None = None,
        until: int | None = None,
        fraction: Any = None,
        unit: tuple[int, ...] | None = None,
        replaces_step: bool | None = None,
        schedule: Any = None,
        method: Method | None = None,
        scope: str | None = None,
        pattern: Any = None,
        signals: Any = None,
        exclude: str | Iterable[str] = (),
        embeddings: bool = False,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        self._layers = prunables(unwrapped(model), exclude, embeddings)
        if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
        own = {id(parameter) for parameter in model.parameters()}
        if optimizer is not None and not any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
            raise ValueError("optimizer must train the model, got one that has none of its parameters: make it anew")
        self.optimizer = optimizer
        self.rewire = plan.rewiring(rewire, unit, drop=drop, grow=grow, redistribute=redistribute, every=every,
                                    until=until, fraction=fraction, replaces_step=replaces_step)  # fmt: skip
        self.schedule = schedule
        self._how = {"method": method, "scope": scope, "pattern": pattern, "signals": signals}
        weights = {name: layer.parameter for name, layer in self._layers.items()}
        groups = getattr(optimizer, "param_groups", None)
        self._gathers = plan.plan(self.rewire, schedule, self._how, groups, weights)
        unit = plan.known_unit(unit, self.rewire, init, weights)
        self.rng = generator(seed)
        self._step, self._pruned_at = 0, -1
        self._totals: dict[str, torch.Tensor] = {}  # what training adds up for the scorer
        self._hidden: dict[str, torch.Tensor] = {}  # with movement, what the masks hide
        first = self._first(init, density, masks, shuffle, unit)
        for layer in self._layers.values():
            layer.release()
        with torch.no_grad():
            for name, layer in self._layers.items():
                if layer.mask is None:
                    layer.module.register_buffer(layer.buffer, first[name])
            self._write(first)
        self._seen = traces(self._layers) if optimizer is None else {}

    @property
    def masks(self) -> Mapping[str, torch.Tensor]:
        """The masks by name of their parameter: the model's own buffers, True keeps.

        To replace some, assign the whole mapping: `masking.masks = {**masking.masks, name: mask}`. It can be saved as
        `dict(masking.masks)`.
        """
        return MappingProxyType({name: layer.mask for name, layer in self._present().items()})

    @masks.setter
    def masks(self, masks: Mapping[str, Any]) -> None:
        self._present()
        self._replace(masking.conform(masks, self._weights()))

    @property
    def step_number(self) -> int:
        """How many steps were taken."""
        return self._step

    @property
    def sparsity(self) -> float:
        """Share of the prunable weights whose mask is off; biases, norms and what is excluded do not count."""
        rows = self.report()
        return 1 - sum(row["kept"] for row in rows) / sum(row["size"] for row in rows)

    def report(self) -> list[dict[str, Any]]:
        """Return one row per mask: name, shape, size, how many weights are kept, and the share that is off."""
        return masking.report(self.masks)

    def __repr__(self) -> str:
        return "Masking, removed" if self._removed() else masking.table(self.report())

    def step(self, take: Callable[[], Any] | None = None) -> Update | None:
        """Take one step of the optimizer under the masks, and change the masks when it is time.

        Gradients are masked before the optimizer sees them, except where growth by momentum needs dense moments.
        Where `rewire` fires, its update takes the place of the optimizer's step or follows it, as it says; the
        gradients are the dense ones of this step. Where the schedule fires, pruning comes before the optimizer's step.

        `torch.nn.utils.clip_grad_norm_` before this call measures the dense gradients; to clip by the norm of what is
        there, clip inside `take`, which sees the masked ones.

        Parameters
        ----------
        take : callable, optional
            What takes the step instead of `optimizer.step()`, such as `lambda: scaler.step(optimizer)` with mixed
            precision (after `scaler.unscale_(optimizer)`) or a step with a closure. Where a gradient is NaN or
            infinite, which a scaler skips, it is all that happens: the step does not count, and what was due in it
            comes with the next one.

        Returns
        -------
        Update or None
            The new masks and what was dropped and grown, where they changed.

        Raises
        ------
        ValueError
            An update or a pruning needs a gradient, momentum or signal that is missing or not finite, or without an
            optimizer no weight has changed since the last step; nothing has changed. Only where an update that
            follows the step meets what the step itself made (a weight that is not finite), the step was taken and
            counts, and the masks have not changed.
        """
        groups = [] if self.optimizer is None else self.optimizer.param_groups
        own = [layer.parameter for layer in self._present().values()]
        if self.optimizer is None and take is None:
            check_changed(self._seen, self._layers)
        if take is None and isinstance(self.optimizer, torch.optim.LBFGS):
            raise ValueError("LBFGS steps with a closure, got none: pass take=lambda: optimizer.step(closure)")
        if take is not None and moments.overflowed([*own, *(p for group in groups for p in group["params"])]):
            self._optimize(take, keep=False)
            return None
        number = self._step + 1
        rewires = self.rewire is not None and self.rewire.fires(number)
        prunes = self.schedule is not None and masking.due(self.schedule, number, self._pruned_at)
        if rewires:
            plan.room(self.rewire, self.masks)
        gradients = self._gradients(number) if rewires else {}
        totals = {} if self._gathers is None else self._gather()
        smaller = self._scheduled(float(self.schedule.sparsity(number)), totals) if prunes else None
        # from here on nothing is refused but what the optimizer's step makes
        self._totals = {} if prunes and self._gathers != "movement" else totals
        change = None if smaller is None else self._replace({**self.masks, **smaller})
        if rewires and self.rewire.replaces_step:
            change = self._rewired(number, gradients)
        else:
            self._optimize(take, keep=bool(gradients))
        self._step, self._pruned_at = number, number if prunes else self._pruned_at
        if rewires and not self.rewire.replaces_step:
            change = self._rewired(number, gradients)
        self._seen = traces(self._layers) if self.optimizer is None else {}
        return change

    def apply(self) -> None:
        """Set to zero what is off, in the weights and in the optimizer's moments."""
        dense = self._needs("momentum")
        with torch.no_grad():
            for layer in self._present().values():
                off = ~layer.mask
                layer.parameter.masked_fill_(off, 0)
                for moment in () if dense else moments.moments(self.optimizer, layer.parameter):
                    moment.masked_fill_(off, 0)

    def prune(
        self,
        sparsity: float | None = None,
        method: Method = "magnitude",
        *,
        scope: str | None = None,
        pattern: Any = None,
        signals: Any = None,
        **options: Any,
    ) -> Update:
        """Prune once, now: what is off stays off, and `sparsity` is that of the whole.

        Parameters
        ----------
        sparsity, method, scope, pattern
            As in `npr.prune_tensors`, which also takes the `options`: `of`, `targets`, `groups`, `exclude`, `protect`,
            `min_per_layer`.
        signals : Calibration, mapping or function, optional
            What the scorer needs; without it, scorers take what the schedule's training added up, and those of a
            gradient else the `.grad` of the parameters.

        Returns
        -------
        Update
            The new masks, and what was dropped.

        Raises
        ------
        ValueError
            A signal is missing, or an argument does not fit; nothing has changed.

        Examples
        --------
        >>> import torch
        >>> from neuroprune.tensors.torch import Masking
        >>> masking = Masking(torch.nn.Linear(8, 4))
        >>> masking.prune(pattern="2:4").dropped["weight"].sum().item(), masking.sparsity
        (16, 0.5)
        """
        present, weights = self.masks, self._weights()
        for name in ("masks", "in_place"):
            if name in options:
                raise ValueError(f"{name} must be left out, got it: a Masking prunes in place, under its own masks")
        ready = self._signals(method, signals, weights, self._totals)
        new = prune_tensors(weights, sparsity, method, scope, pattern, ready, masks=present, **options)
        return self._replace({**present, **new})

    def remove(self) -> None:
        """Make the masks permanent: the buffers go, the zeros stay, and this object is done."""
        self.apply()
        for layer in self._layers.values():
            del layer.module._buffers[layer.buffer]
        self._layers = {}

    def state_dict(self) -> dict[str, Any]:
        """Return what continuing needs besides the model's and the optimizer's own: counts, generator, sums.

        The masks are buffers of the model. It holds numbers, strings and tensors only, so that
        `torch.load(..., weights_only=True)` reads it.
        """
        return {"step": self._step, "pruned_at": self._pruned_at, "rng": to_json(self.rng.bit_generator.state),
                "totals": dict(self._totals), "hidden": dict(self._hidden)}  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken; load the model's and the optimizer's own as well.

        Raises
        ------
        ValueError
            A part is missing, or a name or shape is not that of a weight; nothing has changed.
        TypeError
            A part is not what `state_dict` returns.
        """
        self._present()
        weights = self._weights()
        masking.known_state(state, weights)
        numbers = from_state(state["rng"])
        loaded = {part: {name: tensor.detach().clone().to(weights[name].device) for name, tensor in state[part].items()}
                  for part in ("totals", "hidden")}  # fmt: skip
        self.rng = numbers
        self._step, self._pruned_at = int(state["step"]), int(state["pruned_at"])
        self._totals, self._hidden = loaded["totals"], loaded["hidden"]

    def _removed(self) -> bool:
        """Whether this or another Masking of the model has made the masks permanent."""
        return not self._layers or any(layer.mask is None for layer in self._layers.values())

    def _present(self) -> dict[str, Prunable]:
        if self._removed():
            raise RuntimeError("the masks were removed from the model, make a new Masking to go on")
        return self._layers

    def _weights(self) -> dict[str, torch.Tensor]:
        """The weights as the model uses them."""
        weights = {}
        for name, layer in self._layers.items():
            weight = layer.parameter.detach()
            weights[name] = weight * layer.mask.to(weight.dtype) if layer.foreign else weight
        return weights

    def _first(self, init: Any, density: Any, masks: Any, shuffle: bool, unit: Any) -> dict[str, torch.Tensor]:
        """The masks to begin with."""
        weights = self._weights()
        if init is None and masks is None:
            if density is not None or shuffle:
                raise ValueError("density and shuffle belong to a start, got neither init nor masks: pass init='erk'")
            return {name: torch.ones_like(weights[name], dtype=torch.bool) if layer.mask is None else layer.mask != 0
                    for name, layer in self._layers.items()}  # fmt: skip
        return masking.start(weights, "lottery" if init is None else init, density, masks, shuffle, self.rng, unit)

    def _needs(self, signal: str) -> bool:
        return self.rewire is not None and signal in self.rewire.needs

    def _trained(self) -> dict[str, Prunable]:
        return {name: layer for name, layer in self._layers.items() if layer.parameter.requires_grad}

    def _gradients(self, number: int) -> dict[str, torch.Tensor]:
        """The dense gradients that an update of the masks needs, known to be there; also checks the momentum."""
        trained = self._trained()
        if not trained:
            raise ValueError(f"the update of step {number} must have a weight to train, got only frozen ones")
        if self._needs("momentum"):
            for name, layer in trained.items():
                if self.rewire.replaces_step or not moments.makes_first(self.optimizer, layer.parameter):
                    moments.momentum(self.optimizer, layer.parameter, name)
        if not self._needs("gradient"):
            return {}
        for name, layer in trained.items():
            if layer.parameter.grad is None:
                raise ValueError(
                    f"the update of step {number} needs the gradient of {name!r}, got none: call "
                    f"backward before step, or exclude {name!r}"
                )
            arrays.require_finite(layer.parameter.grad, f"gradient of {name!r}")
        return {name: layer.parameter.grad for name, layer in trained.items()}

    def _optimize(self, take: Callable[[], Any] | None, keep: bool) -> None:
        """Step under the masks; with `keep` the dense gradients outlive it in the hands of who has them."""
        if self.optimizer is not None and not self._needs("momentum"):
            for layer in self._layers.values():
                if (dense := layer.parameter.grad) is not None:
                    if keep:
                        layer.parameter.grad = dense.masked_fill(~layer.mask, 0)
                    else:
                        dense.masked_fill_(~layer.mask, 0)
        if take is not None:
            take()
        elif self.optimizer is not None:
            self.optimizer.step()
        self.apply()

    def _rewired(self, number: int, gradients: dict[str, torch.Tensor]) -> Update:
        """Drop and grow."""
        trained = self._trained()
        weights = {name: layer.parameter.detach() for name, layer in trained.items()}
        signals: dict[str, dict[str, Any]] = {name: {} for name in trained}
        for name, layer in trained.items():
            if name in gradients:
                signals[name]["gradient"] = gradients[name]
            if self._needs("momentum"):
                signals[name]["momentum"] = moments.momentum(self.optimizer, layer.parameter, name)
        masks = {name: layer.mask for name, layer in trained.items()}
        update = self.rewire.update(weights, masks, number, signals, self.rng)
        with torch.no_grad():
            self._write(update.masks, update.grown)
        return update

    def _gather(self) -> dict[str, torch.Tensor]:
        """What the scorer of the schedule needs, this step's gradients included."""
        add = masking.TOTALS[self._gathers]
        moves = self._gathers == "movement"
        totals = dict(self._totals)
        with torch.no_grad():
            dense = self._dense() if moves else self._weights()
            rates = {id(p): float(group["lr"]) for group in self.optimizer.param_groups if "lr" in group
                     for p in group["params"]} if moves else {}  # fmt: skip
            for name, layer in self._layers.items():
                gradient = layer.parameter.grad
                if gradient is None:
                    continue
                if not bool(torch.isfinite(gradient).all()):
                    arrays.require_finite(gradient, f"gradient of {name!r}")
                precise = torch.promote_types(gradient.dtype, torch.float32)  # half precision would lose small ones
                totals[name] = add(totals.get(name), dense[name].to(precise), gradient.to(precise),
                                   rates.get(id(layer.parameter), 1.0))  # fmt: skip
        return totals

    def _dense(self) -> dict[str, torch.Tensor]:
        """Copies of the weights with the values that the masks hide."""
        return {name: torch.where(self._layers[name].mask, weight, self._hidden[name]) if name in self._hidden
                else weight.clone() for name, weight in self._weights().items()}  # fmt: skip

    def _scheduled(self, sparsity: float, totals: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
        """The masks that the schedule asks for; None where it has no more to ask for."""
        method, scope = self._how["method"], self._how["scope"]
        weights, masks, present = self._weights(), None, self.masks
        if self._gathers != "movement":  # whose masks may open again
            joint = (scope or getattr(saliency.scorer(method), "scope", "layer")) == "global"
            structured = joint and self._how["pattern"] is not None  # counts units, which differ in size
            names = list(present) if structured else masking.open_names(present, sparsity, joint)
            if not names:
                return None
            weights, masks = {name: weights[name] for name in names}, {name: present[name] for name in names}
        signals = self._signals(method, self._how["signals"], weights, totals)
        return prune_tensors(weights, sparsity, method, scope, self._how["pattern"], signals, masks=masks)

    def _signals(
        self, method: Method, given: Any, weights: Mapping[str, torch.Tensor], totals: Mapping[str, torch.Tensor]
    ) -> Signals | None:
        """What the scorer needs: what was given, else what training added up, else the gradients at hand."""
        if "rng" in saliency.requires(method):
            return {name: {"rng": self.rng} for name in weights}
        if given is not None:
            return masking.passed(given, method, weights, self._layers)
        gradients = {name: self._layers[name].parameter.grad for name in weights}
        return masking.at_hand(method, gradients, self._gathers, totals)

    def _replace(self, masks: Mapping[str, torch.Tensor]) -> Update:
        """Put new masks in place of the present ones; with movement, values come back where a mask opens."""
        old = {name: mask.clone() for name, mask in self.masks.items()}
        grown = {name: masks[name] & ~mask for name, mask in old.items()}
        dropped = {name: mask & ~masks[name] for name, mask in old.items()}
        with torch.no_grad():
            if self._gathers == "movement":
                self._hidden = self._dense()
            self._write(masks, grown)
            for name, values in self._hidden.items():
                self._layers[name].parameter.copy_(torch.where(masks[name], values, 0))
        return Update(masks={name: mask.clone() for name, mask in masks.items()}, dropped=dropped, grown=grown)

    def _write(self, masks: Mapping[str, torch.Tensor], grown: Mapping[str, torch.Tensor] | None = None) -> None:
        """Write masks into the buffers; weights and moments are zero where they are off and where they have grown."""
        for name, mask in masks.items():
            layer = self._layers[name]
            layer.mask.copy_(mask)
            if grown is not None:
                layer.parameter.masked_fill_(grown[name], 0)
                for moment in moments.moments(self.optimizer, layer.parameter):
                    moment.masked_fill_(grown[name], 0)
        self.apply()
