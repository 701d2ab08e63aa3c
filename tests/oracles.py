"""Slow, obvious twins of everything fast: plain Python over dictionaries, written from the design, never from the code.

A connection is the pair (source id, target id). Storage order is by (target position, source position). Nothing here
changes its arguments: a rewiring returns a new `Plain`. What knows no network lives beside it and is offered here too:
activations, losses and optimizers in `oracle_formulas`, selection, counts and schedules in `oracle_pruning`.
"""

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from oracle_formulas import (  # noqa: F401
    DERIVATIVE,
    KINKS,
    LOSSES,
    SMOOTH,
    VALUE,
    clip,
    loss_derivative,
    loss_value,
    optimize,
)
from oracle_pruning import (  # noqa: F401
    desired_count,
    fires,
    iterative,
    lowest_first,
    prune_lowest,
    prune_to_sparsity,
    ramp,
    regrow_count,
    schedule_fires,
    scheduled,
    snip,
    sparse,
    sparse_jointly,
    sparse_rows,
    sparsity,
    swap,
    top,
)


@dataclass
class Plain:
    """A network spelled out; input nodes have no bias and no activation that matters."""

    n_inputs: int
    n_outputs: int
    order: list  # node ids in activation order: inputs, hidden, outputs
    bias: dict  # id -> float, 0.0 for inputs
    activation: dict  # id -> name, "identity" for inputs
    connections: dict = field(default_factory=dict)  # (source id, target id) -> (weight, delayed)
    recurrent: bool = False

    @property
    def inputs(self):
        """Ids of the inputs."""
        return self.order[: self.n_inputs]

    @property
    def hidden(self):
        """Ids of the hidden nodes in activation order."""
        return self.order[self.n_inputs : len(self.order) - self.n_outputs]

    @property
    def outputs(self):
        """Ids of the outputs."""
        return self.order[len(self.order) - self.n_outputs :]

    @property
    def stored(self):
        """Pairs in storage order: by target position, then source position."""
        place = positions(self)
        return sorted(self.connections, key=lambda pair: (place[pair[1]], place[pair[0]]))


def positions(plain):
    """Position of every id in the activation order."""
    return {node: position for position, node in enumerate(plain.order)}


def check(plain):
    """Assert every promise a network makes about its wiring and numbers."""
    place, inputs, outputs = positions(plain), set(plain.inputs), set(plain.outputs)
    assert len(place) == len(plain.order) >= plain.n_inputs + plain.n_outputs
    assert plain.inputs == list(range(plain.n_inputs))
    assert plain.outputs == list(range(plain.n_inputs, plain.n_inputs + plain.n_outputs))
    assert set(plain.bias) == set(plain.activation) == set(plain.order)
    assert all(math.isfinite(value) for value in plain.bias.values())
    assert all(plain.bias[node] == 0 for node in inputs)
    for (source, target), (weight, delayed) in plain.connections.items():
        assert math.isfinite(weight) and target not in inputs and source in place and target in place
        assert plain.recurrent if delayed else place[source] < place[target] and source not in outputs


# ---------------------------------------------------------------- forward and backward


def forward(plain, row, previous=None):
    """Values {id: value} and sums {id: sum before activation} of one step; delayed ones read `previous` (else 0)."""
    values, sums, previous = dict(zip(plain.inputs, map(float, row), strict=True)), {}, previous or {}
    stored = plain.stored
    for node in plain.order[plain.n_inputs :]:
        sums[node] = plain.bias[node]
        for source, target in stored:
            if target == node:
                weight, delayed = plain.connections[source, target]
                sums[node] += weight * (previous.get(source, 0.0) if delayed else values[source])
        values[node] = VALUE[plain.activation[node]](sums[node])
    return values, sums


def run(plain, sequence, previous=None):
    """One (values, sums) per step; an input's previous value is what it was fed a step before."""
    steps = []
    for row in sequence:
        steps.append(forward(plain, row, previous))
        previous = steps[-1][0]
    return steps


def activate(plain, row, previous=None):
    """Output values of one row, in order."""
    values, _ = forward(plain, row, previous)
    return [values[node] for node in plain.outputs]


def as_sequences(x, t):
    """Lists (sequences, steps, n) of a batch; rows (rows, n) become sequences of one step each, starting from rest."""
    x, t = np.asarray(x, dtype=float), np.asarray(t)
    return (x.tolist(), t.tolist()) if x.ndim == 3 else (x[:, None].tolist(), t[:, None].tolist())


def mean_loss(plain, x, t, loss):
    """Mean loss over all rows, or over all sequences and steps, of a batch."""
    xs, ts = as_sequences(x, t)
    outputs = [[values[node] for node in plain.outputs] for sequence in xs for values, _ in run(plain, sequence)]
    return loss_value(loss, outputs, [target for sequence in ts for target in sequence])


def deltas(plain, values_and_sums, output_gradient, following):
    """Loss derivative by each sum of one step; `following` holds those of the next step, reached by delayed ones."""
    delta, (_, sums) = {}, values_and_sums
    for node in reversed(plain.order[plain.n_inputs :]):
        error = output_gradient.get(node, 0.0)
        for (source, target), (weight, delayed) in plain.connections.items():
            if source == node:
                error += weight * (following.get(target, 0.0) if delayed else delta[target])
        delta[node] = error * DERIVATIVE[plain.activation[node]](sums[node])
    return delta


def signals(plain, x, t, loss):
    """(previous values, values, deltas) of every row and step of a batch, by backpropagation through time."""
    xs, ts = as_sequences(x, t)
    runs, signal = [run(plain, sequence) for sequence in xs], []
    outputs = [[values[node] for node in plain.outputs] for steps in runs for values, _ in steps]
    slopes = iter(loss_derivative(loss, outputs, [target for sequence in ts for target in sequence]))
    for steps in runs:
        wanted, following = [dict(zip(plain.outputs, next(slopes), strict=True)) for _ in steps], {}
        for step in reversed(range(len(steps))):
            following = deltas(plain, steps[step], wanted[step], following)
            signal.append((steps[step - 1][0] if step else {}, steps[step][0], following))
    return signal


def gradient(plain, x, t, loss):
    """Mean-loss gradients by reverse mode: {pair: d weight}, {non-input id: d bias}."""
    weights = dict.fromkeys(plain.stored, 0.0)
    biases = dict.fromkeys(plain.order[plain.n_inputs :], 0.0)
    for previous, values, delta in signals(plain, x, t, loss):
        for source, target in weights:
            delayed = plain.connections[source, target][1]
            weights[source, target] += delta[target] * (previous.get(source, 0.0) if delayed else values[source])
        for node in biases:
            biases[node] += delta[node]
    return weights, biases


def gradient_by_differences(plain, x, t, loss, step=1e-5):
    """The same two dictionaries by central differences."""

    def slope(changed):
        return (mean_loss(changed(step), x, t, loss) - mean_loss(changed(-step), x, t, loss)) / (2 * step)

    def weight_moved(pair):
        weight, delayed = plain.connections[pair]
        return lambda h: replace(plain, connections=plain.connections | {pair: (weight + h, delayed)})

    def bias_moved(node):
        return lambda h: replace(plain, bias=plain.bias | {node: plain.bias[node] + h})

    weights = {pair: slope(weight_moved(pair)) for pair in plain.stored}
    return weights, {node: slope(bias_moved(node)) for node in plain.order[plain.n_inputs :]}


def absent_gradient(plain, x, t, loss, slots):
    """|sum over rows of value(source) * delta(target)| of each slot (source, target, delayed), in their order."""
    totals = [0.0] * len(slots)
    for previous, values, delta in signals(plain, x, t, loss):
        for index, (source, target, delayed) in enumerate(slots):
            totals[index] += delta[target] * (previous.get(source, 0.0) if delayed else values[source])
    return [abs(total) for total in totals]


# ---------------------------------------------------------------- places, order, reach


def is_delayed(plain, source, target):
    """The rule of recurrent slots: delayed when the source does not come before the target, or is an output."""
    place = positions(plain)
    return plain.recurrent and (place[source] >= place[target] or source in plain.outputs)


def legal_slots(plain):
    """Every legal (source, target, delayed) in storage order, occupied or not."""
    place, slots = positions(plain), []
    for target in plain.order[plain.n_inputs :]:
        for source in plain.order:
            if plain.recurrent or (place[source] < place[target] and source not in plain.outputs):
                slots.append((source, target, is_delayed(plain, source, target)))
    return slots


def free_slots(plain):
    """The legal slots no connection occupies."""
    return [slot for slot in legal_slots(plain) if slot[:2] not in plain.connections]


def layered_slots(plain, layer=None):
    """Free undelayed slots from one layer to the very next; `layer` maps ids to layers (default: their depth)."""
    layer = depth(plain) if layer is None else layer
    return [(s, t, late) for s, t, late in free_slots(plain) if not late and layer[t] == layer[s] + 1]


def kahn(order, n_inputs, n_outputs, pairs):
    """Order obeying undelayed `pairs`: inputs, then ever the earliest ready hidden node, outputs; None on a cycle."""
    outputs = order[len(order) - n_outputs :]
    waiting, done = list(order[n_inputs : len(order) - n_outputs]), list(order[:n_inputs])
    while waiting:
        blocked = {target for source, target in pairs if source in waiting}
        ready = [node for node in waiting if node not in blocked]
        if not ready:
            return None
        done.append(ready[0])
        waiting.remove(ready[0])
    return done + list(outputs)


def import_order(n_inputs, n_outputs, hidden_ids, pairs):
    """Activation order of foreign wiring: among ready hidden nodes the lowest id goes first."""
    ends = list(range(n_inputs)), list(range(n_inputs, n_inputs + n_outputs))
    return kahn(ends[0] + sorted(hidden_ids) + ends[1], n_inputs, n_outputs, pairs)


def find_cycle(pairs):
    """Ids [a, b, ..., z] with a -> b -> ... -> z -> a all in `pairs`, or None."""
    left, pairs = {node for pair in pairs for node in pair}, list(pairs)
    while True:
        fed = {target for source, target in pairs if source in left and target in left}
        if fed == left:
            break
        left = fed
    path = sorted(left)[:1]
    while path:
        source = min(s for s, t in pairs if t == path[-1] and s in left)
        if source in path:
            return path[path.index(source) :][::-1]
        path.append(source)
    return None


def depth(plain):
    """{id: depth}: inputs and nodes without undelayed sources 0, others 1 + the deepest undelayed source."""
    deep = dict.fromkeys(plain.inputs, 0)
    for node in plain.order[plain.n_inputs :]:
        sources = [s for (s, t), (_, delayed) in plain.connections.items() if t == node and not delayed]
        deep[node] = 1 + max((deep[source] for source in sources), default=-1)
    return deep


def spread(seeds, pairs):
    """All nodes reached from `seeds` along `pairs`, the seeds among them."""
    reached, grown = set(seeds), None
    while grown != reached:
        grown = set(reached)
        reached |= {target for source, target in pairs if source in reached}
    return reached


def reaching_outputs(plain):
    """Ids from which some output is reached through any connection; the outputs themselves are among them."""
    return spread(plain.outputs, [(target, source) for source, target in plain.connections])


def reached_from_inputs(plain):
    """Ids reached from some input through any connection; the inputs themselves are among them."""
    return spread(plain.inputs, plain.connections)


# ---------------------------------------------------------------- rewiring


def connect(plain, source, target, weight, delayed=None):
    """Add one connection; re-derive the order when it runs against it; ValueError when it is not allowed."""
    known = source in plain.order and target in plain.order
    if not known or target in plain.inputs or (source, target) in plain.connections or not math.isfinite(weight):
        raise ValueError(f"connection {source} -> {target} of weight {weight} is not allowed")
    late = is_delayed(plain, source, target) if delayed is None else delayed
    if late and not plain.recurrent or not late and (source in plain.outputs or source == target):
        raise ValueError(f"connection {source} -> {target} cannot be {'delayed' if late else 'undelayed'}")
    connections = plain.connections | {(source, target): (float(weight), late)}
    pairs = [pair for pair, (_, pair_late) in connections.items() if not pair_late]
    order = kahn(plain.order, plain.n_inputs, plain.n_outputs, pairs)
    if order is None:
        raise ValueError(f"{source} -> {target} closes the cycle {find_cycle(pairs)}")
    return replace(plain, order=order, connections=connections)


def keep(plain, mask):
    """Keep the connections, in storage order, whose mask is True."""
    kept = [pair for pair, stays in zip(plain.stored, mask, strict=True) if stays]
    return replace(plain, connections={pair: plain.connections[pair] for pair in kept})


def disconnect(plain, source, target):
    """Remove one connection; KeyError when there is none."""
    plain.connections[source, target]
    return keep(plain, [pair != (source, target) for pair in plain.stored])


def split(plain, source, target, new_id=None, activation="tanh"):
    """Replace a connection by two through a new hidden node: in-weight 1 (with the delay), out-weight the old one."""
    weight, delayed = plain.connections[source, target]
    new_id = max(plain.order) + 1 if new_id is None else new_id
    before = plain.outputs[0] if target in plain.outputs else target
    place = plain.order.index(before)
    connections = {pair: value for pair, value in plain.connections.items() if pair != (source, target)}
    return replace(
        plain,
        order=plain.order[:place] + [new_id] + plain.order[place:],
        bias=plain.bias | {new_id: 0.0},
        activation=plain.activation | {new_id: activation},
        connections=connections | {(source, new_id): (1.0, delayed), (new_id, target): (weight, False)},
    )


def remove_node(plain, node):
    """Remove a hidden node and everything attached to it; ValueError when it is not hidden."""
    if node not in plain.hidden:
        raise ValueError(f"node {node} is not hidden")
    return replace(
        plain,
        order=[other for other in plain.order if other != node],
        bias={other: value for other, value in plain.bias.items() if other != node},
        activation={other: name for other, name in plain.activation.items() if other != node},
        connections={pair: value for pair, value in plain.connections.items() if node not in pair},
    )


def trim(plain):
    """Fold hidden nodes without incoming connections into the biases they feed, then drop what reaches no output.

    In activation order, so that folding cascades. Only undelayed connections fold (a delayed one carries 0 in the
    first step); a constant node that still has a delayed outgoing connection stays.
    """
    for node in plain.hidden:
        if any(target == node for _, target in plain.connections):
            continue
        constant, bias = VALUE[plain.activation[node]](plain.bias[node]), dict(plain.bias)
        folded = [pair for pair in plain.stored if pair[0] == node and not plain.connections[pair][1]]
        for pair in folded:
            bias[pair[1]] += plain.connections[pair][0] * constant
        plain = replace(keep(plain, [pair not in folded for pair in plain.stored]), bias=bias)
        if all(source != node for source, _ in plain.connections):
            plain = remove_node(plain, node)
    for node in set(plain.hidden) - reaching_outputs(plain):
        plain = remove_node(plain, node)
    return plain


# ---------------------------------------------------------------- converters


def golden(name):
    """One file of golden numbers, parsed."""
    return json.loads((Path(__file__).parent / "golden" / "neataptic" / f"{name}.json").read_text())


def golden_name(name):
    """Our name of a golden activation."""
    snake = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)
    return {"logistic": "sigmoid", "sinusoid": "sin", "absolute": "abs"}.get(snake, snake)


def from_golden(net):
    """(Plain, ids): ids[n] is the id of golden node n, its list position; inputs are numbered first, hidden last."""
    kinds = [node["type"] for node in net["nodes"]]
    number = sorted(range(len(kinds)), key=lambda n: (("input", "output", "hidden").index(kinds[n]), n))
    ids = {node: new for new, node in enumerate(number)}
    order = [ids[n] for kind in ("input", "hidden", "output") for n in range(len(kinds)) if kinds[n] == kind]
    plain = Plain(net["input"], net["output"], order, {}, {})
    for n, node in enumerate(net["nodes"]):
        plain.bias[ids[n]] = 0.0 if kinds[n] == "input" else float(node["bias"])
        plain.activation[ids[n]] = "identity" if kinds[n] == "input" else golden_name(node["squash"])
    listed = net["edges"] + [[node, node, weight] for node, weight in net.get("self", [])]
    edges = {(ids[source], ids[target]): float(weight) for source, target, weight in listed}
    place, outputs = positions(plain), set(plain.outputs)
    for (source, target), weight in edges.items():
        plain.connections[source, target] = weight, place[source] >= place[target] or source in outputs
    return replace(plain, recurrent=any(late for _, late in plain.connections.values())), ids


def to_columns(plain):
    """Columns in storage order: source, target (positions), weight, delayed, and ids, bias, activation by position."""
    place, stored = positions(plain), plain.stored
    return {
        "ids": list(plain.order),
        "bias": [plain.bias[node] for node in plain.order],
        "activation": [plain.activation[node] for node in plain.order],
        "source": [place[source] for source, _ in stored],
        "target": [place[target] for _, target in stored],
        "weight": [plain.connections[pair][0] for pair in stored],
        "delayed": [plain.connections[pair][1] for pair in stored],
    }
