"""The tensor bridge: a dense layer, the same layer as a graph, and arrays of other libraries score and survive alike.

Every scorer of the table, with every mask: signals are made once, as numpy arrays, and scored in the dtype of the
weights. The graph sees them as columns, one number for each connection.
"""

import inspect

import numpy as np
import pytest

import neuroprune as npr
from libraries import LIBRARIES, back, to
from neuroprune import DenseLayer, Network, masks, prune_tensors
from neuroprune.pruning.saliency import SCORERS, requires

SHAPES = (8, 12), (4, 8)  # (out, in) of two layers, the second on the first; all divide by 4
KINDS = ("distinct", "ties", "zeros")
PER_INPUT = ("input_norm", "inverse_hessian_diagonal")  # signals of dense layers that have one number per input

# What each mask function makes of the scores of one matrix. A graph's column is ranked as it is where that is a matter
# of flat storage order; rows and blocks are seen in the matrix that the column is.
MASKS = {
    "top": lambda scores: masks.top(scores, 17),
    "sparse": lambda scores: masks.sparse(scores, 0.6),
    "sparse, row": lambda scores: masks.sparse(scores, 0.6, groups="row"),
    "n_of_m": lambda scores: masks.n_of_m(scores, 2, 4),
    "n_of_m, down": lambda scores: masks.n_of_m(scores, 1, 4, axis=0),
    "block, sum": lambda scores: masks.block(scores, 0.5, (2, 4)),
    "block, max": lambda scores: masks.block(scores, 0.5, (4, 1), reduce="max"),
    "axis, rows": lambda scores: masks.axis(scores, 0.5, 0),
    "axis, columns": lambda scores: masks.axis(scores, 0.25, 1, reduce="mean"),
    "swap": lambda scores: masks.swap(masks.sparse(scores, 0.5), scores, -scores, 5),
}
OF_COLUMNS = {
    "top": lambda scores, target: masks.top(scores, 17),
    "sparse": lambda scores, target: masks.sparse(scores, 0.6),
    "sparse, row": lambda scores, target: masks.sparse(scores, 0.6, groups=target),
    "n_of_m": lambda scores, target: masks.n_of_m(scores, 2, 4),
    "swap": lambda scores, target: masks.swap(masks.sparse(scores, 0.5), scores, -scores, 5),
}
NO_MASK_OF_ONE = {"sparse_jointly"}  # tested below, over two layers


def numbers(shape, kind, dtype, rng):
    """Weights or signals: all different, from a ladder of three, or half of them zeros of either sign."""
    values = rng.choice([-0.5, 0.25, 0.5], shape) if kind == "ties" else rng.standard_normal(shape)
    if kind == "zeros":
        values = np.where(rng.random(shape) < 0.5, np.copysign(0.0, values), values)
    return values.astype(dtype)


def signals_for(method, shape, kind, dtype, rng):
    """What a scorer needs: a seed, a positive number per input, or a number for each weight (an unknown one >= 0)."""
    found = {}
    for keyword in requires(method):
        if keyword == "rng":
            found[keyword] = 5
        elif keyword in PER_INPUT:
            found[keyword] = np.abs(numbers(shape[1:], "ties" if kind == "ties" else "distinct", dtype, rng)) + dtype(1)
        else:
            values = numbers(shape, kind, dtype, rng)
            found[keyword] = values if keyword in ("gradient", "hessian_gradient", "movement") else np.abs(values)
    return found


def cases(method, dtype):
    """(weight, signals) of one layer, over all kinds of numbers."""
    for seed, kind in enumerate(KINDS):
        rng = np.random.default_rng(seed)
        weight = numbers(SHAPES[0], kind, dtype, rng)
        yield weight, signals_for(method, SHAPES[0], kind, dtype, rng)


def converted(library, signals):
    return {name: to(library, value) if isinstance(value, np.ndarray) else value for name, value in signals.items()}


def columns(signals, shape):
    """The signals of a matrix as columns of a graph."""
    return {name: np.broadcast_to(value, shape).reshape(-1) if isinstance(value, np.ndarray) else value
            for name, value in signals.items()}


def assert_equal(one, other):
    assert one.dtype == other.dtype and one.shape == other.shape
    assert one.tolist() == other.tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("method", SCORERS)
def test_scores_are_the_same_everywhere(method, library, dtype):
    for weight, signals in cases(method, dtype):
        wanted = npr.score(method, weight, **signals)
        assert wanted.dtype == dtype and wanted.shape == weight.shape
        assert_equal(back(npr.score(method, to(library, weight), **converted(library, signals))), wanted)
        net = Network.from_dense([DenseLayer(weight)])
        column = net.connections.weight.astype(dtype)
        assert_equal(column.reshape(weight.shape), weight)
        assert_equal(npr.score(method, column, **columns(signals, weight.shape)).reshape(weight.shape), wanted)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("method", SCORERS)
def test_survivors_are_the_same_everywhere(method, mask):
    survivors = 0
    for dtype in (np.float32, np.float64):
        for weight, signals in cases(method, dtype):
            wanted = MASKS[mask](npr.score(method, weight, **signals))
            assert wanted.dtype == np.bool_ and wanted.shape == weight.shape
            for library in LIBRARIES:
                given = npr.score(method, to(library, weight), **converted(library, signals))
                assert_equal(back(MASKS[mask](given)), wanted)
            net = Network.from_dense([DenseLayer(weight)])
            column = npr.score(method, net.connections.weight.astype(dtype), **columns(signals, weight.shape))
            assert_equal(MASKS[mask](column.reshape(weight.shape)), wanted)
            if mask in OF_COLUMNS:
                assert_equal(OF_COLUMNS[mask](column, net.graph.target).reshape(weight.shape), wanted)
            net.keep(wanted.reshape(-1))  # the mask is one of connections, too
            pruned = DenseLayer(weight, mask=wanted).kept
            assert_equal(net.to_dense()[0].weight.astype(dtype), pruned)
            survivors += np.count_nonzero(wanted)
    assert 0 < survivors < 6 * 96


@pytest.mark.parametrize("least", [0, 1, 5])
@pytest.mark.parametrize("method", SCORERS)
def test_survivors_over_two_layers_are_the_same_everywhere(method, least):
    for dtype in (np.float32, np.float64):
        for seed, kind in enumerate(KINDS):
            rng = np.random.default_rng(seed)
            weights = [numbers(shape, kind, dtype, rng) * dtype(scale) for shape, scale in zip(SHAPES, (1, 0.5),
                                                                                               strict=True)]
            signals = [signals_for(method, shape, kind, dtype, rng) for shape in SHAPES]
            scores = [npr.score(method, weight, **one) for weight, one in zip(weights, signals, strict=True)]
            wanted = masks.sparse_jointly(scores, 0.9, min_per_layer=least)
            assert sum(map(np.count_nonzero, wanted)) == 128 - masks.count(0.9, 128)
            for library in LIBRARIES:
                found = masks.sparse_jointly([npr.score(method, to(library, weight), **converted(library, one))
                                              for weight, one in zip(weights, signals, strict=True)], 0.9, least)
                for one, other in zip(found, wanted, strict=True):
                    assert_equal(back(one), other)
            net = Network.from_dense([DenseLayer(weight) for weight in weights])
            flat = [columns(one, shape) for one, shape in zip(signals, SHAPES, strict=True)]
            ends = [96, 128]
            parts = np.split(net.connections.weight.astype(dtype), ends[:1])
            graph_scores = [npr.score(method, part, **one) for part, one in zip(parts, flat, strict=True)]
            found = masks.sparse_jointly(graph_scores, 0.9, least)
            assert_equal(np.concatenate(found), np.concatenate([one.reshape(-1) for one in wanted]))
            if least == 0:  # one ranking of all connections
                assert_equal(masks.sparse(np.concatenate(graph_scores), 0.9), np.concatenate(found))


@pytest.mark.parametrize("how", [{}, {"scope": "layer"}, {"scope": "global"}, {"scope": "row"}, {"pattern": "2:4"},
                                 {"pattern": masks.Block((2, 4))}, {"pattern": masks.Axis(0), "scope": "global"}],
                         ids=str)  # fmt: skip
@pytest.mark.parametrize("method", SCORERS)
def test_one_call_prunes_alike_everywhere(method, how):
    """`prune_tensors` over layers, tensors and arrays; a graph gives the matrices of its columns."""
    for seed, kind in enumerate(KINDS):
        rng = np.random.default_rng(seed)
        weights = {str(i): numbers(shape, kind, np.float32, rng) for i, shape in enumerate(SHAPES)}
        signals = {name: signals_for(method, weight.shape, kind, np.float32, rng) for name, weight in weights.items()}
        sparsity = None if "pattern" in how and how["pattern"] == "2:4" else 0.5
        wanted = prune_tensors(weights, sparsity, method, signals=signals, **how)
        if not isinstance(how.get("pattern"), masks.Axis):  # half of the rows, which differ in length
            assert sum(map(np.count_nonzero, wanted.values())) == 64
        for library in LIBRARIES:
            found = prune_tensors({name: to(library, weight) for name, weight in weights.items()}, sparsity, method,
                                      signals={name: converted(library, one) for name, one in signals.items()}, **how)
            for name in weights:
                assert_equal(back(found[name]), wanted[name])
        net = Network.from_dense([DenseLayer(weight) for weight in weights.values()])
        column = net.connections.weight.astype(np.float32)
        parts = dict(zip(weights, np.split(column, [96]), strict=True))
        matrices = {name: part.reshape(weights[name].shape) for name, part in parts.items()}
        found = prune_tensors(matrices, sparsity, method, signals=signals, in_place=True, **how)
        for name in weights:
            assert_equal(found[name], wanted[name])
        assert_equal(column != 0, np.concatenate([(mask & (weights[name] != 0)).reshape(-1)
                                                  for name, mask in wanted.items()]))


@pytest.mark.parametrize("method", SCORERS)
def test_a_network_prunes_like_a_matrix(method):
    for weight, signals in cases(method, np.float64):
        net = Network.from_dense([DenseLayer(weight)], seed=0)
        scores = npr.score(method, weight, **signals)
        result = net.prune_to_sparsity(0.6, method=method, **columns(signals, weight.shape))
        assert_equal(result.kept.reshape(weight.shape), masks.sparse(scores, 0.6))
        assert_equal(result.removed.score, scores[~result.kept.reshape(weight.shape)])


def test_every_mask_function_is_here():
    """A function of `masks` that takes scores has a place in the table."""
    makers = {name for name, function in inspect.getmembers(masks, callable)
              if not name.startswith(("_", "select")) and inspect.isroutine(function)
              and any("scores" in parameter for parameter in inspect.signature(function).parameters)}
    listed = {name.split(",")[0] for name in MASKS} | NO_MASK_OF_ONE
    assert {"top", "sparse", "swap", "sparse_jointly"} <= makers
    assert makers == listed
