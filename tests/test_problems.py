"""Problems: fitness is what the networks themselves would get, whatever the chunks, threads and numbers."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuroprune as npr
from bridge import assert_one_sentence
from neuroprune.evolution import genomes as packed
from neuroprune.evolution import sequences
from neuroprune.evolution.genomes import Genomes
from neuroprune.evolution.learning import Baldwinian, Lamarckian
from neuroprune.evolution.problems import XOR, Dataset
from neuroprune.network import losses
from strategies import SEEDS, sizes, targets
from test_evaluate import populations

CORNERS = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]


def chunks(problem: Dataset, genomes: Genomes, bounds: list[int], **stream: int) -> np.ndarray:
    """Fitness of chunks one after the other."""
    ends = [0, *sorted(bounds), len(genomes)]
    return np.concatenate([problem.evaluate(genomes[a:b], first=a, **stream)
                           for a, b in zip(ends[:-1], ends[1:], strict=True)])


@pytest.fixture
def threaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three threads, however little there is to do."""
    monkeypatch.setattr(packed, "threads", lambda: 3)
    monkeypatch.setattr(packed, "THREADED_EDGES", 0)


@settings(max_examples=200, deadline=None)
@given(st.data(), populations(), st.sampled_from(list(losses.LOSSES)))
def test_fitness_is_minus_the_loss_of_each_network(data: st.DataObject, genomes: Genomes, loss: str) -> None:
    """Rows for both kinds of network, sequences for recurrent ones; targets in all their forms; in any chunks."""
    rng = np.random.default_rng(data.draw(SEEDS))
    lead = (data.draw(sizes(1, 20)),)
    if genomes.recurrent and data.draw(st.booleans()):
        lead = (lead[0], data.draw(sizes(1, 4)))
    x = rng.uniform(-2, 2, (*lead, genomes.n_inputs))
    y = data.draw(targets(lead, genomes.n_outputs, loss))
    problem = Dataset(x, y, loss, n_outputs=genomes.n_outputs)
    assert (problem.n_inputs, problem.n_outputs) == (genomes.n_inputs, genomes.n_outputs)
    assert problem.recurrent == (len(lead) == 2)
    found = problem.evaluate(genomes)
    expected = []
    with np.errstate(all="ignore"):
        for i in range(len(genomes)):
            net = genomes.network(i)
            outputs = net.run(x) if problem.recurrent else net(x)
            value = losses.value(loss, outputs, y) if np.isfinite(outputs).all() else np.nan
            expected.append(-value if np.isfinite(value) else np.nan)
    assert found.dtype == np.float64 and np.array_equal(found, expected, equal_nan=True)
    bounds = data.draw(st.lists(st.integers(0, len(genomes)), max_size=3))
    assert np.array_equal(chunks(problem, genomes, bounds), expected, equal_nan=True)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("learning", [None, Lamarckian(3, batch_size=5), Baldwinian(2)])
def test_threads_change_no_bit(recurrent: bool, learning: object, threaded: None,
                               monkeypatch: pytest.MonkeyPatch) -> None:
    nets = [npr.Network.random(2, 2, 3, 12, recurrent=recurrent, seed=seed) for seed in range(7)]
    rng = np.random.default_rng(0)
    shape = (11, 3) if recurrent else (11,)
    problem = Dataset(rng.normal(size=(*shape, 2)), rng.normal(size=(*shape, 2)), learning=learning)
    several, one = Genomes.pack(nets), Genomes.pack(nets)
    found = problem.evaluate(several, 4, 2)
    monkeypatch.setattr(packed, "threads", lambda: 1)
    assert np.array_equal(found, problem.evaluate(one, 4, 2))
    assert np.array_equal(several.columns.parameters, one.columns.parameters)


def test_an_empty_chunk_has_no_fitness() -> None:
    genomes = Genomes.pack([npr.Network.dense([2, 1], seed=0)])
    for learning in (None, Lamarckian(2)):
        assert XOR(learning).evaluate(genomes[:0]).shape == (0,)


@settings(max_examples=200, deadline=None)
@given(st.data(), SEEDS)
def test_xor_is_four_minus_the_squared_errors(data: st.DataObject, seed: int) -> None:
    hidden = data.draw(sizes(0, 4))
    net = npr.Network.random(2, 1, hidden, data.draw(sizes(0, 2 + 3 * hidden)), recurrent=data.draw(st.booleans()),
                             seed=seed)
    outputs = net.copy()(CORNERS).ravel()
    errors = outputs - [0, 1, 1, 0]
    found = XOR().evaluate(Genomes.pack([net]))[0]
    assert found == pytest.approx(4 - np.sum(errors ** 2), abs=1e-12)
    assert 4.0 + 4.0 * Dataset(CORNERS, [0, 1, 1, 0]).evaluate(Genomes.pack([net]))[0] == found


def test_xor_says_what_it_is() -> None:
    problem = XOR()
    assert (problem.n_inputs, problem.n_outputs, problem.recurrent, problem.solved_at) == (2, 1, False, 3.9)
    assert problem.learning is None and repr(problem) == "<XOR: 4 rows, 2 inputs, 1 outputs, mse>"
    perfect = npr.Network.from_connections(2, 1, [(0, 3, 1.0), (1, 3, -1.0), (3, 2, 1.0)],
                                           activation={2: "identity", 3: "abs"})
    assert XOR().evaluate(Genomes.pack([perfect])).tolist() == [4.0]


@pytest.mark.parametrize(("loss", "y", "cut"), [
    ("mse", [0, 1, 1, 0], 0.5), ("mse", [-1, 1, 1, -1], 0.0), ("huber", [2, 4, 4, 2], 3.0),
    ("binary_cross_entropy", [0, 1, 1, 0], 0.0), ("hinge", [-1, 1, 1, -1], 0.0)])  # fmt: skip
def test_accuracy_of_a_single_output(loss: str, y: list[int], cut: float) -> None:
    nets = [npr.Network.dense([2, 4, 1], seed=seed) for seed in range(20)]
    for seed, net in enumerate(nets):
        net.nodes.bias[2:] = np.random.default_rng(seed).uniform(-1, 1, 5)
        net.nodes.bias[-1] += cut
    found = Dataset(CORNERS, y, loss, "accuracy").evaluate(Genomes.pack(nets))
    second = np.array(y) == max(y)
    assert found.tolist() == [np.mean((net(CORNERS).ravel() > cut) == second) for net in nets]
    assert len(set(found.tolist())) > 2


def test_accuracy_of_classes() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    nets = [npr.Network.random(4, 3, 5, 30, seed=seed) for seed in range(10)]
    genomes = Genomes.pack(nets)
    expected = [np.mean(net(x).argmax(1) == labels) for net in nets]
    for y in (labels, np.eye(3)[labels], labels.astype(np.uint8)):
        assert Dataset(x, y, "softmax_cross_entropy", "accuracy").evaluate(genomes).tolist() == expected
    assert Dataset(x, np.eye(3)[labels], "mse", "accuracy").evaluate(genomes).tolist() == expected


def test_classes_without_the_highest() -> None:
    assert Dataset([[1.0], [2.0]], [0, 1], "softmax_cross_entropy").n_outputs == 2
    for four in (4, np.int64(4), np.uint8(4)):
        problem = Dataset([[1.0], [2.0]], [0, 1], "softmax_cross_entropy", n_outputs=four)
        assert problem.n_outputs == 4 and type(problem.n_outputs) is int


@pytest.mark.parametrize("measure", [None, "accuracy"])
def test_what_overflows_has_no_fitness(measure: str | None) -> None:
    """NaN, without a warning, and the others are not touched; so are recurrent networks that run away."""
    nets = [npr.Network.from_connections(1, 1, [(0, 1, weight)], activation="identity")
            for weight in (1.0, 1e308, -1e308, 0.5)]
    found = Dataset([[10.0], [-10.0]], [0.0, 1.0], measure=measure).evaluate(Genomes.pack(nets))
    assert np.isnan(found).tolist() == [False, True, True, False]
    nets = [npr.Network.from_connections(1, 1, [(0, 1, 1.0), (1, 1, weight)], activation="identity",
                                         delayed=[False, True]) for weight in (0.5, 1e100)]
    x = np.ones((2, 6, 1))
    y = np.stack([np.zeros((6, 1)), np.ones((6, 1))])
    assert np.isnan(Dataset(x, y, measure=measure).evaluate(Genomes.pack(nets))).tolist() == [False, True]


def test_rows_are_one_step_for_recurrent_networks() -> None:
    nets = [npr.Network.random(2, 1, 3, 8, recurrent=True, seed=seed) for seed in range(4)]
    rows = Dataset(CORNERS, [0, 1, 1, 0])
    steps = Dataset(np.array(CORNERS)[:, None], np.array([0, 1, 1, 0])[:, None, None])
    assert not rows.recurrent and steps.recurrent
    assert np.array_equal(rows.evaluate(Genomes.pack(nets)), steps.evaluate(Genomes.pack(nets)))


@pytest.mark.parametrize(("arguments", "error", "message"), [
    (([1.0, 2.0], [1.0, 2.0]), ValueError, r"x must have shape \(rows, n_inputs\) or .*got \(2,\)"),
    (([], []), ValueError, "at least one number"),
    ((np.ones((0, 2)), np.ones((0, 1))), ValueError, "at least one number"),
    (([[1.0]], [[1.0], [2.0]]), ValueError, r"y must have shape \(1, 1\)"),
    (([[1.0]], [["a"]]), TypeError, "y must be numbers"),
    (([["a"]], [[1.0]]), TypeError, "x must be numbers"),
    (([[np.nan]], [[1.0]]), ValueError, r"x must be finite, got nan at index \(0, 0\)"),
    (([[1.0]], [[np.inf]]), ValueError, r"y must be finite, got inf at index \(0, 0\)"),
    (([[1.0]], [[1.0]], "mean"), ValueError, "loss must be the name of a loss, got 'mean'"),
    (([[1.0]], [[1.0]], "mse", "f1"), ValueError, "measure must be None or 'accuracy', got 'f1'"),
    (([[1.0], [2.0]], [[1.0], [1.0]], "mse", "accuracy"), ValueError, "y must hold two different values"),
    (([[1.0], [2.0], [3.0]], [1.0, 2.0, 3.0], "mse", "accuracy"), ValueError, "got 3 of them"),
    (([[1.0]], [-1], "softmax_cross_entropy"), ValueError, r"classes must be in \[0, 1\), got -1"),
    (([[1.0]], [3], "softmax_cross_entropy", None, None, None, 2), ValueError, r"classes must be in \[0, 2\)"),
    (([[1.0]], [[1.0]], "mse", None, 3), TypeError, r"learning must be None, Lamarckian\(...\) or Baldwinian"),
    (([[1.0]], [[1.0]], "mse", None, None, "high"), TypeError, "solved_at must be a number"),
    (([[1.0]], [[1.0]], "mse", None, None, None, 0), ValueError, "n_outputs must be at least 1, got 0"),
])  # fmt: skip
def test_mistakes_are_told(arguments: tuple, error: type, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        Dataset(*arguments)
    assert_one_sentence(caught)


def test_networks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="must have 2 inputs and 1 outputs for this problem, got 3 and 1") as caught:
        XOR().evaluate(Genomes.pack([npr.Network.dense([3, 1], seed=0)]))
    assert_one_sentence(caught)
    with pytest.raises(ValueError, match=r"must be recurrent .* call net.as_recurrent\(\)") as caught:
        sequences.parity(3).evaluate(Genomes.pack([npr.Network.dense([1, 1], seed=0)]))
    assert_one_sentence(caught)
    with pytest.raises(TypeError, match="unexpected keyword"):
        XOR(loss="mse")


def test_problems_are_frozen_copied_and_pickled() -> None:
    x = np.array(CORNERS)
    problem = Dataset(x, [0, 1, 1, 0], "huber", "accuracy", Baldwinian(2, 0.1, batch_size=3), 0.9)
    genomes = Genomes.pack([npr.Network.dense([2, 3, 1], seed=seed) for seed in range(5)])
    expected = problem.evaluate(genomes, 1, 2, 3)
    x[:] = 7.0  # the problem has its own copy
    for other in (problem, pickle.loads(pickle.dumps(problem)), copy.deepcopy(problem), dataclasses.replace(problem)):
        assert np.array_equal(other.evaluate(genomes, 1, 2, 3), expected)
        assert repr(other) == repr(problem)
    assert len(pickle.dumps(problem)) < 1500
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.loss = "mse"
    with pytest.raises(dataclasses.FrozenInstanceError):
        XOR().x = x
    assert dataclasses.replace(problem, learning=None).learning is None
    assert type(pickle.loads(pickle.dumps(XOR()))) is XOR and pickle.loads(pickle.dumps(XOR())).solved_at == 3.9


def memory(symbols: tuple[float, ...], length: int, say: object) -> tuple[list, list]:
    """Every sequence and what is to be said at each step, spelled out."""
    every: list = [[]]
    for _ in range(length):
        every = [[*before, symbol] for before in every for symbol in symbols]
    return every, [[say(sequence[:step + 1]) for step in range(length)] for sequence in every]


@pytest.mark.parametrize(("task", "symbols", "length", "say"), [
    (sequences.recall(2, 5), (0, 1), 5, lambda seen: seen[-3] if len(seen) > 2 else 0),
    (sequences.recall(1, 2), (0, 1), 2, lambda seen: seen[-2] if len(seen) > 1 else 0),
    (sequences.temporal_xor(4), (0, 1), 4, lambda seen: ([0, *seen][-1] + [0, *seen][-2]) % 2),
    (sequences.parity(5), (0, 1), 5, lambda seen: sum(seen) % 2),
    (sequences.flip_flop(4), (-1, 0, 1), 4, lambda seen: next((p for p in reversed(seen) if p), 0)),
])  # fmt: skip
def test_sequence_tasks_ask_what_they_say(task: Dataset, symbols: tuple, length: int, say: object) -> None:
    x, y = memory(symbols, length, say)
    assert task.recurrent and (task.n_inputs, task.n_outputs, task.solved_at) == (1, 1, -0.01)
    assert task.x[:, :, 0].tolist() == x and task.y[:, :, 0].tolist() == y


def test_a_network_that_remembers_solves_recall_and_parity() -> None:
    chain = npr.Network.from_connections(1, 1, [(0, 2, 1.0), (2, 3, 1.0), (3, 1, 1.0)], activation="identity",
                                         delayed=[False, True, True])
    assert sequences.recall(2).evaluate(Genomes.pack([chain])).tolist() == [0.0]
    toggle = npr.Network.from_connections(1, 1, [(0, 2, 1.0), (1, 2, -1.0), (2, 1, 1.0)],
                                          activation={1: "identity", 2: "abs"}, delayed=[False, True, False])
    assert sequences.parity(7).evaluate(Genomes.pack([toggle])).tolist() == [0.0]
    forgetful = npr.Network.from_connections(1, 1, [], activation="identity", bias=0.5).as_recurrent()
    assert sequences.parity(7).evaluate(Genomes.pack([forgetful])).tolist() == [-0.25]


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: sequences.recall(0), ValueError, "delay must be at least 1, got 0"),
    (lambda: sequences.recall(3, 3), ValueError, "length must be at least 4, got 3"),
    (lambda: sequences.parity(17), ValueError, "length must be at most 16"),
    (lambda: sequences.flip_flop(11), ValueError, "length must be at most 10"),
    (lambda: sequences.temporal_xor(2.0), TypeError, "length must be an integer, got 2.0"),
    (lambda: sequences.recall(True), TypeError, "delay must be an integer, got True"),
])  # fmt: skip
def test_mistakes_of_sequence_tasks_are_told(call: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        call()
    assert_one_sentence(caught)
