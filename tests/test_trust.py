"""What users' functions and hand-made graphs may do: never reach the machine code with columns that do not fit."""

import numpy as np
import pytest

import neuroprune as npr
from neuroprune import Graph, Network


def two_step() -> Network:
    return Network.from_connections(2, 1, [(0, 2, 0.1), (1, 2, -0.5), (0, 3, 1.0), (3, 2, 2.0)], seed=0)


def test_a_learning_rate_that_rewires_is_refused() -> None:
    net = Network.dense([5, 20, 3], seed=0)

    def rate(iteration: int) -> float:
        if len(net.connections) > 10:
            net.keep(np.arange(len(net.connections)) < 10)
        return 0.1

    with pytest.raises(RuntimeError, match="learning_rate must not rewire"):
        net.train(np.zeros((4, 5)), np.zeros((4, 3)), 3, learning_rate=rate)


def test_a_scorer_that_rewires_is_refused() -> None:
    net = Network.dense([5, 20, 3], seed=0)

    def scorer(weight: np.ndarray) -> np.ndarray:
        net.keep(np.arange(len(net.connections)) < 10)
        return abs(weight)

    with pytest.raises(RuntimeError, match="a scorer must not rewire"):
        net.prune_to_sparsity(0.5, scorer)
    assert len(net.connections) == 10


def test_a_scorer_cannot_write_to_the_weights() -> None:
    net = two_step()
    before = net.copy()

    def scorer(weight: np.ndarray) -> np.ndarray:
        weight[:] = 0.0
        return weight

    with pytest.raises(ValueError, match="read-only"):
        net.prune_to_sparsity(0.5, scorer)
    assert net.equals(before)
    assert len(net.prune_to_sparsity(0.5, lambda weight: weight).removed) == 2


def test_a_regrowth_method_that_rewires_is_refused() -> None:
    net = Network.from_connections(2, 1, [(0, 3, 1.0), (3, 2, 2.0)], seed=0)

    def method(net: Network, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        if (0, 2) not in net.connections:
            net.connect(0, 2, 1.0)
        return -(source + target * 0.0)

    with pytest.raises(RuntimeError, match="must not rewire"):
        net.regrow(1, method)
    assert len(net.connections) == 3


@pytest.mark.parametrize(("incoming", "source", "delayed", "error"), [
    ([0, 0, 0, 1], [900_000], None, ValueError),
    ([0, 0, 0, 2000], [0], None, ValueError),
    ([0, 0, 1], [0], None, ValueError),
    ([0, 0, 1, 1], [0], None, ValueError),
    ([0, 0, 0, 2], [1, 0], None, ValueError),
    ([0, 0, 0, 1], [2], None, ValueError),
    ([0, 0, 0, 1], [-1], None, ValueError),
    ([0, 0, 0, 1], [0], np.zeros(1, np.int64), TypeError),
    ([0, 0, 0, 1], [0], np.zeros(2, np.bool_), TypeError),
])
def test_a_graph_that_does_not_hold_together_is_refused(incoming, source, delayed, error) -> None:
    with pytest.raises(error):
        graph = Graph(2, 1, np.array([0, 1, 2]), np.array(incoming), np.array(source, np.int32), delayed)
        Network(graph, np.ones(len(source)), np.zeros(3), np.zeros(3, np.uint8), 0, 0)


def test_columns_of_another_length_are_refused() -> None:
    graph = two_step().graph
    with pytest.raises(ValueError, match="weight, bias and code must have shapes"):
        Network(graph, np.ones(4), np.zeros(1), np.zeros(4, np.uint8), 0, 0)


def test_an_old_gradient_column_is_read_only() -> None:
    net = two_step()
    net.train(np.ones((3, 2)), np.zeros((3, 1)), 1)
    old = net.connections.accumulated_gradient
    values = old.copy()
    result = net.prune_to_sparsity(0.5)
    with pytest.raises(ValueError, match="read-only"):
        old[:] = 77.0
    result.undo(net)
    assert np.array_equal(net.connections.accumulated_gradient, values)
    with pytest.raises(ValueError, match="read-only"):
        result.kept[:] = True


def test_what_a_callback_removes_and_adds_again_has_no_moments() -> None:
    x, y = np.ones((4, 1)), np.full((4, 1), 5.0)
    moments = []

    def trained(rewire: bool) -> float:
        net = Network.from_connections(1, 1, [(0, 1, 0.0)], activation="identity", seed=0)

        def callback(net: Network, history: npr.History) -> None:
            if rewire and len(history) == 5:
                weight = net.connections.weight[0]
                net.disconnect(0, 1)
                net.connect(0, 1, weight)

        net.train(x, y, 6, learning_rate=0.01, optimizer=npr.network.optimizers.sgd(momentum=0.9), callback=callback)
        moments.append(net.connections.weight[0])
        return moments[-1]

    assert trained(False) > trained(True)  # momentum is gone after the rewiring


def test_training_inside_training_is_refused() -> None:
    net = two_step()
    with pytest.raises(RuntimeError, match="must not be called while it runs"):
        net.train(np.ones((3, 2)), np.zeros((3, 1)), 2, callback=lambda net, history: net.train(
            np.ones((3, 2)), np.zeros((3, 1)), 1))
    net.train(np.ones((3, 2)), np.zeros((3, 1)), 1)
    assert net.iteration == 2


def test_undoing_what_did_nothing_leaves_the_gradient() -> None:
    net = two_step()
    data = np.ones((3, 2)), np.zeros((3, 1))
    net.train(*data, 1)
    net.prune_to_sparsity(0.5)
    nothing = net.prune_to_sparsity(0.5)
    net.train(*data, 3)
    column = net.connections.accumulated_gradient.copy()
    nothing.undo(net)
    net.train(*data, 1, learning_rate=1e-9)
    assert not np.array_equal(net.connections.accumulated_gradient, column)
    assert np.all(np.sign(net.connections.accumulated_gradient - column) == np.sign(net.gradient(*data)[0]))


def test_a_schedule_set_on_no_connections_does_nothing() -> None:
    net = Network.from_connections(2, 1, [])
    net.pruning = npr.PruningSchedule(0.5, start=1, end=10)
    net.connect([0, 1], [2, 2])
    assert net.maybe_prune(1) is None and len(net.connections) == 2


@pytest.mark.parametrize("call", [
    lambda net: net.node(None), lambda net: net.node([0]), lambda net: net.node(True),
    lambda net: net.connection(None, 2), lambda net: net.prune_to_sparsity(None),
    lambda net: net.prune_to_sparsity("0.5"), lambda net: net.prune_to_sparsity(True),
    lambda net: net([[1.0], [1.0, 2.0]]), lambda net: net([1.0, 2.0], dtype="foo"), lambda net: Network.dense(5),
    lambda net: Network.from_connections(2, 1, None), lambda net: Network.from_connections(2, 1, [1, 2, 3]),
    lambda net: Network.from_connections(2, 1, [(0, 2, "1.0")]),
])
def test_arguments_that_are_none_are_refused_in_one_sentence(call) -> None:
    net = two_step()
    before = net.copy()
    with pytest.raises(TypeError) as error:
        call(net)
    assert " must " in str(error.value) and "\n" not in str(error.value)
    assert net.equals(before)
