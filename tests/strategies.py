"""Hypothesis strategies: plain networks, batches, scores, sparsities and edit scripts.

Sizes are drawn one by one and shrink; the many numbers inside come from one drawn seed, which keeps drawing fast.
"""

from itertools import islice

import numpy as np
from hypothesis import strategies as st

from oracles import SMOOTH, VALUE, Plain, legal_slots

ANY = tuple(VALUE)
GENTLE = tuple(name for name in SMOOTH if name != "square")  # central differences work through many of these
SEEDS = st.integers(0, 2**32 - 1)
PLACES = 3  # fractions in an edit
EDITS = ("connect", "disconnect", "split", "remove", "prune", "regrow", "weights", "train", "trim")


def sizes(least, most):
    """Whole numbers, all about equally often: `integers` gives the smallest one time in three."""
    return st.sampled_from(range(least, most + 1))


def draw_weights(rng, n, kind, scale=3.0):
    """n finite weights in [-scale, scale]: all distinct, with heavy ties, or half of them zero (of either sign)."""
    if kind == "ties":
        return rng.integers(-2, 3, n) * (scale / 2)
    weights = rng.uniform(-scale, scale, n)
    return np.where(rng.random(n) < 0.5, np.copysign(0.0, weights), weights) if kind == "zeros" else weights


def draw_names(rng, n, choices, recurrent):
    """n activation names; at most two squares, none in a recurrent network, where values would overflow."""
    names, squares = [choices[k] for k in rng.integers(0, len(choices), n)], 0
    for index, name in enumerate(names):
        squares += name == "square"
        if name == "square" and (recurrent or squares > 2):
            names[index] = "tanh"
    return names


@st.composite
def networks(
    draw, recurrent=None, activations=ANY, max_inputs=6, max_outputs=5, max_hidden=12, scale=3.0, min_connections=0
):
    """`Plain` networks with any number of legal connections and arbitrary hidden ids in arbitrary order.

    `recurrent` None draws both kinds; `activations` is ANY, GENTLE, or a tuple of names; `scale` bounds weights and
    biases; `min_connections` is met as far as there are legal places.
    """
    recurrent = draw(st.booleans()) if recurrent is None else recurrent
    n_in, n_out = draw(sizes(1, max_inputs)), draw(sizes(1, max_outputs))
    n_hidden = draw(sizes(0, max_hidden))
    rng = np.random.default_rng(draw(SEEDS))
    first = n_in + n_out
    ids = (first + rng.choice(3 * n_hidden + 1, n_hidden, replace=False)).tolist()
    order = [*range(n_in), *ids, *range(n_in, first)]
    plain = Plain(n_in, n_out, order, dict.fromkeys(order, 0.0), dict.fromkeys(order, "identity"), {}, recurrent)
    legal = legal_slots(plain)
    count = draw(sizes(min(min_connections, len(legal)), len(legal)))
    kind = draw(st.sampled_from(("distinct", "ties", "zeros")))
    chosen = rng.permutation(len(legal))[:count].tolist()  # unsorted: nothing may lean on the order of insertion
    for index, weight in zip(chosen, draw_weights(rng, count, kind, scale).tolist(), strict=True):
        source, target, delayed = legal[index]
        plain.connections[source, target] = (weight, delayed)
    plain.bias.update(zip(order[n_in:], rng.uniform(-scale, scale, len(order) - n_in).tolist(), strict=True))
    plain.activation.update(zip(order[n_in:], draw_names(rng, len(order) - n_in, activations, recurrent), strict=True))
    return plain


@st.composite
def rows(draw, n_inputs, max_rows=8):
    """Input rows, an array (rows, n_inputs) in [-2, 2]; a third of the entries are exactly 0."""
    n_rows, rng = draw(sizes(1, max_rows)), np.random.default_rng(draw(SEEDS))
    return rng.uniform(-2, 2, (n_rows, n_inputs)) * (rng.random((n_rows, n_inputs)) < 2 / 3)


@st.composite
def sequences(draw, n_inputs, max_sequences=3, max_steps=5):
    """Input sequences, an array (sequences, steps, n_inputs) in [-2, 2]."""
    shape = draw(sizes(1, max_sequences)), draw(sizes(1, max_steps)), n_inputs
    return np.random.default_rng(draw(SEEDS)).uniform(-2, 2, shape)


@st.composite
def targets(draw, leading, n_outputs, loss, labels=None):
    """Targets fit for a loss, an array (*leading, n_outputs); with `labels` integer classes of shape `leading`."""
    rng, shape = np.random.default_rng(draw(SEEDS)), (*leading, n_outputs)
    if loss == "hinge":
        return rng.choice([-1.0, 1.0], shape)
    if loss == "binary_cross_entropy":
        return rng.integers(0, 2, shape).astype(float) if draw(st.booleans()) else rng.random(shape)
    if loss != "softmax_cross_entropy":
        return rng.uniform(-2, 2, shape)
    classes = rng.integers(0, n_outputs, leading)
    if draw(st.booleans()) if labels is None else labels:
        return classes
    return np.eye(n_outputs)[classes] if draw(st.booleans()) else rng.dirichlet(np.ones(n_outputs), leading)


@st.composite
def batches(draw, plain, loss, in_time=None):
    """(x, t) for a network and a loss: rows, or sequences when `in_time` (default: when it is recurrent)."""
    in_time = plain.recurrent if in_time is None else in_time
    x = draw(sequences(plain.n_inputs) if in_time else rows(plain.n_inputs, max_rows=5))
    return x, draw(targets(x.shape[:-1], plain.n_outputs, loss))


def sparsities():
    """Fractions in [0, 1], the awkward ones often."""
    awkward = st.sampled_from((0.0, 1.0, 0.5, 0.25, 0.9, 0.99, 0.999, 1e-9, 1 / 3, 0.05, 0.15))
    return st.one_of(awkward, sizes(0, 1000).map(lambda n: n / 1000), st.floats(0, 1))


@st.composite
def scores(draw, shape=None, min_size=1, max_size=60):
    """Float64 scores, mostly full of ties, sometimes with zeros of both signs; flat unless a shape is given."""
    shape = (draw(sizes(min_size, max_size)),) if shape is None else tuple(shape)
    levels, rng = draw(st.sampled_from((1, 2, 3, 5, 1000))), np.random.default_rng(draw(SEEDS))
    ladder = np.concatenate([[0.0, -0.0], rng.uniform(-1, 1, levels)]) if draw(st.booleans()) else rng.random(levels)
    return ladder[rng.integers(0, len(ladder), shape)]


@st.composite
def matrices(draw, max_side=9):
    """Score matrices (rows, columns) with ties."""
    return draw(scores(shape=(draw(sizes(1, max_side)), draw(sizes(1, max_side)))))


def layer_scores(max_layers=4, max_size=20):
    """Lists of flat score arrays, one a layer."""
    return st.lists(scores(max_size=max_size), min_size=1, max_size=max_layers)


def pick(fraction, things):
    """The thing at a fraction in [0, 1) of a sequence, None when it is empty."""
    return things[int(fraction * len(things))] if len(things) else None


def weight_at(fraction):
    """A weight in [-3, 3) from a fraction; 0 for the simplest fraction, 0."""
    return 6 * ((fraction + 0.5) % 1) - 3


def edit(operation, number):
    """One edit, a tuple that starts with the name of the operation; fractions are read off the digits of a number."""
    a, b, c = islice(((number >> shift) % 1024 / 1024 for shift in range(0, 10 * PLACES, 10)), PLACES)
    return {
        "connect": ("connect", a, b, c),  # source, target, weight
        "disconnect": ("disconnect", a),  # which connection
        "split": ("split", a),  # which connection
        "remove": ("remove", a),  # which hidden node
        "prune": ("prune", a, pick(b, ("magnitude", "snip", "random"))),  # sparsity, method
        "regrow": ("regrow", a),  # share of the free places
        "weights": ("weights", number),  # seed of new weights
        "train": ("train", 1 + number % 3),  # optimizer steps
        "trim": ("trim",),
    }[operation]


def edit_scripts(min_size=0, max_size=50, operations=EDITS):
    """Lists of edits whose arguments are fractions in [0, 1), to be mapped by `pick` onto whatever exists by then."""
    number = st.integers(0, 2 ** (10 * PLACES) - 1)
    return st.lists(st.builds(edit, st.sampled_from(operations), number), min_size=min_size, max_size=max_size)
