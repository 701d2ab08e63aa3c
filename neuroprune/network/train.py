"""Training a network by gradient descent, pruned on schedule while it learns. Methods of Network."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import activations, kernels
from neuroprune.network import losses, optimizers, prune, run
from neuroprune.network.edit import check_finite
from neuroprune.network.gradient import data, stride_for
from neuroprune.network.history import History
from neuroprune.network.rewiring import Rewiring, mean_loss_and_norm
from neuroprune.network.views import check_number
from neuroprune.pruning.rewire import Rewire
from neuroprune.rng import generator

if TYPE_CHECKING:
    from neuroprune.network.network import Network

CHUNK_WORK = 50_000_000  # connections times rows of one call of the compiled loop, well under a second
CHUNK_STEPS = 512


def train(net: "Network", x: Any, y: Any, iterations: int, learning_rate: float | Callable[[int], float] = 0.01,
          optimizer: str | optimizers.Optimizer = "adam", loss: str = "mse", batch_size: int | None = None,
          pruning: prune.PruningSchedule | None = None, validation: tuple | None = None, patience: int | None = None,
          progress: bool = False, callback: Callable | None = None, seed: int | np.random.Generator | None = None,
          l1: float = 0.0, l2: float = 0.0, clip_norm: float | None = None,
          validate_every: int | None = None, rewire: Rewire | None = None, candidates: Any = "order") -> History:
    """Take optimizer steps on mini-batches, pruning on schedule.

    Between events (prunings, validations, callbacks) the steps run inside one compiled loop. `net.iteration` counts
    on over several calls; the optimizer's moments start at 0 in each call and follow the connections through every
    rewiring, new connections starting at 0.

    Parameters
    ----------
    x : array (rows, n_inputs); recurrent networks (sequences, steps, n_inputs)
    y : array (rows, n_outputs) or (sequences, steps, n_outputs)
        For "softmax_cross_entropy" also integer classes without the last axis.
    iterations : int
        Optimizer steps to take, at least 0.
    learning_rate : float or function of the iteration
        Positive; the function is a learning-rate schedule.
    optimizer : "sgd", "rmsprop", "adam", "adamw", or one made by `neuroprune.network.optimizers`
    loss : "mse", "mae", "huber", "binary_cross_entropy", "softmax_cross_entropy", "hinge"
        See `neuroprune.network.losses`; the cross-entropies take raw outputs (logits).
    batch_size : int or None
        Rows (sequences) of a mini-batch; each epoch is shuffled, its last batch may be smaller. None takes all.
    pruning : PruningSchedule, optional
        The same as assigning `net.pruning` first; `maybe_prune(iteration)` runs before each step.
    validation : (x, y), optional
        Its loss is computed every `validate_every` steps (an epoch by default).
    patience : int, optional
        Stop after so many validations without a new lowest loss.
    progress : bool
        Show a tqdm bar on stderr.
    callback : function (net, history), optional
        Called after every step; may rewire the network; stops the training by returning True.
    seed : int, Generator or None
        For the shuffle; None draws from `net.rng`.
    l1, l2 : float
        Penalties on the weights: gradient + l2 * w + l1 * sign(w), decoupled from the gradient with "adamw".
    clip_norm : float, optional
        Largest norm of the gradient (of all weights and biases, before penalties).
    validate_every : int, optional
    rewire : Rewire, optional
        Dynamic sparse training: at every step that fires, drops connections and grows as many elsewhere, at weight 0
        (RigL, SET; see `npr.Rewire`). Growth, redistribution and scorers by gradient take the mini-batch of that
        step, those by movement or squared gradients what training summed up. The count stays the same.
    candidates : "order", "layers", array
        Where `rewire` may grow, see `Network.regrow`. With "layers" every layer drops and grows by itself; otherwise
        the network is one group, and only `redistribute=None` says anything.

    Returns
    -------
    History

    Raises
    ------
    FloatingPointError
        When a loss or gradient stops being finite; the network is as before that step.

    Examples
    --------
    >>> import neuroprune as npr
    >>> x = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    >>> net = npr.Network.dense([2, 8, 1], seed=1)
    >>> history = net.train(x, [[0.0], [1.0], [1.0], [0.0]], iterations=300,
    ...                     pruning=npr.PruningSchedule(0.3, start=1, end=200))
    >>> len(net.connections), bool(history.loss[-1] < 0.01)
    (17, True)
    """
    plan = _Plan(net, x, y, iterations, learning_rate, optimizer, loss, batch_size, validation, patience, callback,
                 seed, l1, l2, clip_norm, validate_every, rewire, candidates)
    if pruning is not None:
        prune.set_schedule(net, pruning)
    if not progress:
        return plan.run(None)
    from tqdm import tqdm

    with tqdm(total=iterations, unit="step", desc="training") as bar:
        return plan.run(bar)


class _Plan:
    """One call of train: its checked arguments, and the loop over chunks of steps."""

    def __init__(self, net: "Network", x: Any, y: Any, iterations: int, learning_rate: Any, optimizer: Any, loss: str,
                 batch_size: int | None, validation: tuple | None, patience: int | None, callback: Callable | None,
                 seed: Any, l1: float, l2: float, clip_norm: float | None, validate_every: int | None,
                 rewire: Rewire | None, candidates: Any) -> None:
        self.net, self.loss, self.callback = net, loss, callback
        self.x, self.y = data(net, x, y, loss)
        self.iterations = _whole(iterations, "iterations", 0)
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be a function (net, history), got {callback!r}")
        if not callable(learning_rate):
            _within(learning_rate, "learning_rate", positive=True)
        self.learning_rate = learning_rate
        self.optimizer = optimizers.optimizer(optimizer)
        self.settings = self.optimizer.settings(_within(l1, "l1"), _within(l2, "l2"))
        self.clip = 0.0 if clip_norm is None else _within(clip_norm, "clip_norm", positive=True)
        rows = len(self.x)
        if self.iterations and not rows:
            raise ValueError("x must have at least one row to train on, got none")
        self.batch = rows if batch_size is None else min(_whole(batch_size, "batch_size", 1), rows)
        self.epoch = -(-rows // max(self.batch, 1))
        self.validation = None if validation is None else _validation(net, validation, loss)
        self.validate_every = self.epoch if validate_every is None else _whole(validate_every, "validate_every", 1)
        self.patience = None if patience is None else _whole(patience, "patience", 1)
        if self.patience is not None and validation is None:
            raise ValueError("patience needs validation data, got none: pass validation=(x, y)")
        self.rewiring = None if rewire is None else Rewiring(net, rewire, candidates, self.optimizer)
        if rewire is None and not (isinstance(candidates, str) and candidates == "order"):
            raise ValueError("candidates must come with rewire, whose growth they limit, got them alone: pass rewire=, "
                             "or PruningSchedule(candidates=) for what pruning grows")
        stride_for(net, self.batch, self.x.shape[1])
        check_finite(net)
        self.rng = net.rng if seed is None else generator(seed)
        self.order = np.arange(rows)

    def run(self, bar: Any) -> History:
        """Take the steps."""
        if self.net._trail is not None:
            raise RuntimeError("train must not be called while it runs on the same network: use net.copy()")
        self.net._trail = []
        try:
            return self._loop(bar)
        finally:
            self.net._trail = None

    def _loop(self, bar: Any) -> History:
        net, history = self.net, History()
        graph = net._graph
        moments = np.zeros((2, net._parameters.size))
        lowest, waited = np.inf, 0
        while len(history) < self.iterations:
            prune.maybe_prune(net, net._iteration + 1)
            for new in net._trail:  # graph by graph: what went and came again has no moments
                moments = _moved(moments, graph, new)
                graph = new
            net._trail.clear()
            if self.rewiring is None or not self.rewiring.rules.fires(net._iteration + 1):
                self._chunk(history, moments, self._steps(len(history)))
            elif self.rewiring.rules.replaces_step:
                self._rewire_instead(history, moments)
            else:
                self._rewire(net._iteration + 1, self._chunk(history, moments, 1), moments)
            if self.validation is not None and len(history) % self.validate_every == 0:
                out = run.outputs(net, self.validation[0])[0]
                loss = float(kernels.losses.mean_loss(losses.code(self.loss), out, self.validation[1]))
                history._validated(loss)
                waited = 0 if loss < lowest else waited + 1
                lowest = min(loss, lowest)
            if bar is not None:
                bar.update(len(history) - bar.n)
                bar.set_postfix(loss=f"{history.loss[-1]:.4g}", connections=graph.n_connections, refresh=False)
            if self.callback is not None and self.callback(net, history):
                break
            if self.patience is not None and waited >= self.patience:
                break
        return history

    def _steps(self, taken: int) -> int:
        """How many steps to take before something has to happen outside the compiled loop."""
        if self.callback is not None:
            return 1
        net = self.net
        work = max(net._graph.n_connections, 1) * self.batch * self.x.shape[1]
        most = min(self.iterations - taken, CHUNK_STEPS, max(CHUNK_WORK // max(work, 1), 1))
        if self.validation is not None:
            most = min(most, self.validate_every - taken % self.validate_every)
        fire = [event.fires for event in (net._schedule, self.rewiring and self.rewiring.rules) if event is not None]
        for ahead in range(1, most if fire else 1):
            if any(fires(net._iteration + 1 + ahead) for fires in fire):
                return ahead
        return most

    def _batches(self, taken: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the next steps one after the other, and where each step's begin."""
        rows, parts, ends = self.order.size, [], [0]
        done = 0
        while done < steps:
            place = (taken + done) % self.epoch
            if place == 0:
                self.order = self.rng.permutation(rows)
            several = min(steps - done, self.epoch - place)
            first, last = place * self.batch, min((place + several) * self.batch, rows)
            parts.append(self.order[first:last])
            offset = ends[-1]
            ends.extend(offset + min(self.batch * (i + 1), last - first) for i in range(several))
            done += several
        return np.concatenate(parts), np.array(ends)

    def _rewire_instead(self, history: History, moments: np.ndarray) -> None:
        """Rewire on the next mini-batch, whose loss is recorded, without a step of the optimizer."""
        net = self.net
        rows, _ = self._batches(len(history), 1)
        loss, norm = mean_loss_and_norm(net, self.x[rows], self.y[rows], self.loss)
        if not (np.isfinite(loss) and np.isfinite(norm)):
            raise _diverged(loss, net._iteration + 1)
        self._rewire(net._iteration + 1, rows, moments)
        history._extend(net._iteration + 1, np.array([loss]), np.array([norm]), net._graph.n_connections, net.sparsity)
        net._iteration += 1

    def _rewire(self, step: int, rows: np.ndarray, moments: np.ndarray) -> None:
        self.rewiring.apply(self.net, step, self.x[rows], self.y[rows], self.loss, moments)

    def _chunk(self, history: History, moments: np.ndarray, steps: int) -> np.ndarray:
        """Take `steps` steps in the compiled loop and record them; returns the rows of the last mini-batch."""
        net = self.net
        graph, first = net._graph, net._iteration + 1
        if callable(self.learning_rate):
            rates = np.array([_within(self.learning_rate(first + i), "learning_rate") for i in range(steps)])
            if net._graph is not graph:
                raise RuntimeError("learning_rate must not rewire the network, but it did: rewire in the callback")
        else:
            rates = np.full(steps, float(self.learning_rate))
        order, starts = self._batches(len(history), steps)
        goes_on = net._signals is not None and not net._signals_end
        restart = not goes_on or len(net._signals) < len(prune.RECORDED)  # also where a user set the gradient alone
        accumulated = net._signals
        if restart:
            accumulated = tuple(np.zeros(graph.n_connections) for _ in prune.RECORDED)
            if goes_on:
                accumulated[0][:] = net._signals[0]
        stride = stride_for(net, self.batch, self.x.shape[1])
        step_losses, norms = np.zeros(steps), np.zeros(steps)
        taken = kernels.training.train_steps(
            graph.incoming, graph.read, net._parameters, net._code, activations.table(), graph.n_inputs,
            graph.n_outputs, graph.recurrent, stride, losses.code(self.loss), self.x, self.y, order, starts,
            self.optimizer.code, self.settings, self.clip, rates, len(history) + 1, moments, *accumulated,
            step_losses, norms)
        if restart and taken:
            net._record(accumulated)
        history._extend(first, step_losses[:taken], norms[:taken], graph.n_connections, net.sparsity)
        net._iteration += int(taken)
        if taken < steps:
            raise _diverged(step_losses[taken], net._iteration + 1)
        return order[starts[-2]:]


def _diverged(loss: float, iteration: int) -> FloatingPointError:
    return FloatingPointError(f"loss and gradient must stay finite, got loss {loss} at iteration {iteration}: lower "
                              "learning_rate or set clip_norm")


def _moved(moments: np.ndarray, old: Any, new: Any) -> np.ndarray:
    """The moments after a rewiring; what is new starts at 0."""
    edges = old.match(new)
    nodes = np.arange(old.n_nodes) if new.ids is old.ids else old.positions(new.ids)
    index = np.concatenate([edges, np.where(nodes >= 0, nodes + old.n_connections, -1)])
    return np.where(index >= 0, np.take(moments, index, axis=1), 0.0)  # take keeps the C order: kernels compile once


def _whole(value: Any, name: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def _within(value: Any, name: str, positive: bool = False) -> float:
    number = check_number(value, name)
    if number < 0.0 or (positive and number == 0.0):
        raise ValueError(f"{name} must be {'positive' if positive else 'at least 0'}, got {number}")
    return number


def _validation(net: "Network", validation: Any, loss: str) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise ValueError(f"validation must be (x, y), got {type(validation).__name__}")
    x, y = data(net, *validation, loss)
    if not len(x):
        raise ValueError("validation must have at least one row, got none")
    return x, y
