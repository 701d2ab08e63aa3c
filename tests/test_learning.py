"""Learning in a lifetime: the steps of net.train, inherited or not, the same however a population is cut."""

import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuroprune as npr
from bridge import assert_one_sentence
from neuroprune import kernels
from neuroprune.evolution import batch, generation
from neuroprune.evolution.genomes import Genomes
from neuroprune.evolution.learning import LEARNING_STREAMS, Baldwinian, Lamarckian, Learning
from neuroprune.evolution.problems import XOR, Dataset
from neuroprune.network import optimizers
from strategies import SEEDS, sizes
from test_evaluate import populations
from test_problems import chunks


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw", optimizers.sgd(0.9, nesterov=True)])
@pytest.mark.parametrize("recurrent", [False, True])
def test_steps_on_all_rows_are_those_of_train(optimizer: object, recurrent: bool) -> None:
    """net.train shuffles what it adds up, so a rounding error or two apart."""
    rng = np.random.default_rng(0)
    shape = (20, 4) if recurrent else (20,)
    x, y = rng.normal(size=(*shape, 3)), rng.normal(size=(*shape, 2))
    nets = [npr.Network.random(3, 2, 5, 30, recurrent=recurrent, seed=seed) for seed in range(4)]
    genomes = Genomes.pack(nets)
    learning = Lamarckian(25, 0.02, optimizer, l1=0.001, l2=0.002, clip_norm=0.7)
    fitness = Dataset(x, y, learning=learning).evaluate(genomes)
    for i, net in enumerate(nets):
        net.train(x, y, 25, 0.02, optimizer, l1=0.001, l2=0.002, clip_norm=0.7)
        assert np.allclose(genomes._block(i), net._parameters, rtol=1e-9, atol=1e-11)
    assert np.allclose(fitness, Dataset(x, y).evaluate(Genomes.pack(nets)), rtol=1e-9)


@settings(max_examples=200, deadline=None)
@given(st.data(), populations(), st.sampled_from([Lamarckian, Baldwinian]))
def test_chunks_learn_what_the_population_learns(data: st.DataObject, genomes: Genomes, kind: type[Learning]) -> None:
    """Fitness and parameters; a Baldwinian population stays as it was, but for nothing."""
    rng = np.random.default_rng(data.draw(SEEDS))
    rows = data.draw(sizes(1, 12))
    x, y = rng.uniform(-1, 1, (rows, genomes.n_inputs)), rng.uniform(-1, 1, (rows, genomes.n_outputs))
    learning = kind(data.draw(sizes(1, 4)), 0.05, batch_size=data.draw(st.sampled_from([None, 1, 3, 50])))
    problem, plain = Dataset(x, y, learning=learning), Dataset(x, y)
    born = [column.copy() for column in genomes.columns]
    stream = {"seed": data.draw(st.integers(0, 2**63 - 1)), "generation": data.draw(sizes(0, 99))}
    pieces = [genomes[i:i + 1] for i in range(len(genomes))]
    apart = [problem.evaluate(piece, first=i, **stream)[0] for i, piece in enumerate(pieces)]
    bounds = data.draw(st.lists(st.integers(0, len(genomes)), max_size=3))
    assert np.array_equal(chunks(problem, genomes, bounds, **stream), apart, equal_nan=True)
    assert all(map(np.array_equal, born, genomes.columns))  # slices are copies
    found = problem.evaluate(genomes, **stream)
    assert np.array_equal(found, apart, equal_nan=True)
    for name, before, after in zip(genomes.columns._fields, born, genomes.columns, strict=True):
        assert np.array_equal(before, after) or (name == "parameters" and kind is Lamarckian)
    if kind is Lamarckian:
        assert all(np.array_equal(genomes._block(i), piece._block(0)) for i, piece in enumerate(pieces))
        assert np.array_equal(plain.evaluate(genomes), found, equal_nan=True)
    for i in range(len(genomes)):
        e = int(genomes.n_connections[i])
        assert not genomes._block(i)[e:e + genomes.n_inputs].any() and np.isfinite(genomes._block(i)).all()


def test_both_kinds_get_the_same_fitness() -> None:
    nets = [npr.Network.dense([2, 6, 1], seed=seed) for seed in range(5)]
    first, second = (XOR(kind(40, 0.03, batch_size=3)).evaluate(Genomes.pack(nets), 1, 2, 3)
                     for kind in (Lamarckian, Baldwinian))
    assert np.array_equal(first, second) and (first > XOR().evaluate(Genomes.pack(nets))).all()


def test_seed_generation_and_index_choose_the_order() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(30, 1))
    genomes = Genomes.pack([npr.Network.dense([2, 3, 1], seed=0)] * 2)
    problem = Dataset(x, y, learning=Baldwinian(10, 0.1, batch_size=4))
    found = {tuple(problem.evaluate(genomes, *stream)) for stream in ((0, 0, 0), (1, 0, 0), (0, 1, 0))}
    assert len({fitness for pair in found for fitness in pair}) == 6
    assert problem.evaluate(genomes, 0, 0, 1)[0] == problem.evaluate(genomes, 0, 0, 0)[1]
    whole = Dataset(x, y, learning=Baldwinian(10, 0.1))
    assert len(set(np.concatenate([whole.evaluate(genomes, seed) for seed in range(3)]).tolist())) == 1


def test_the_order_of_mini_batches_comes_from_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Breeding draws from the streams of indices, pruning from those 2^31 beyond, the generation from the last one."""
    asked, learn = [], kernels.evaluate.learn

    def spied(*arguments: object) -> None:
        asked.append(arguments[-3:])
        learn(*arguments)

    rng = np.random.default_rng(0)
    problem = Dataset(rng.normal(size=(9, 2)), rng.normal(size=(9, 1)), learning=Lamarckian(2, batch_size=2))
    genomes = Genomes.pack([npr.Network.dense([2, 3, 1], seed=0)] * 5)
    monkeypatch.setattr(kernels.evaluate, "learn", spied)
    problem.evaluate(genomes, 7, 3, 11)
    assert asked == [(7, 3, 11 + 2**30)]
    most = 2**30  # networks: more would not fit in memory
    used = sorted([(0, most), (LEARNING_STREAMS, LEARNING_STREAMS + most),
                   (generation.PRUNING_STREAMS, generation.PRUNING_STREAMS + most)])
    assert all(before[1] <= after[0] for before, after in zip(used, used[1:], strict=False))
    assert used[-1][1] <= generation.WHOLE_GENERATION


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("kind", [Lamarckian, Baldwinian])
def test_what_a_population_learns_is_in_its_genomes_or_not(kind: type[Learning], recurrent: bool, threads: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 2)), rng.normal(size=(12, 1))
    problem, config = Dataset(x, y, learning=kind(50, 0.05, batch_size=5)), npr.Settings(recurrent=recurrent)
    population, born = (npr.Population(2, 1, 30, seed=1, settings=config) for _ in range(2))
    if threads:
        with ThreadPoolExecutor(threads) as executor:
            best = population.evolve(problem, 1, executor=executor)
    else:
        best = population.evolve(problem, 1)
    parameters = born.ask().columns.parameters
    told = Dataset(x, y).evaluate(population._genomes)
    assert (best.equals(born.ask()[int(population.fitness.argmax())])) is (kind is Baldwinian)
    if kind is Lamarckian:
        assert told.tobytes() == population.fitness.tobytes()
        assert not np.array_equal(parameters, population._genomes.columns.parameters)
    else:
        assert (told < population.fitness).any()
        assert np.array_equal(parameters, population._genomes.columns.parameters)


def test_children_inherit_what_was_learned() -> None:
    """Without mutation and crossover a later generation starts from the numbers that an earlier one ended with."""
    still = npr.Settings(mutate_weights=0.0, bias_rate=0.0, add_node=0.0, add_connection=0.0, crossover=0.0)
    found = []
    for kind in (Lamarckian, Baldwinian):
        population = npr.Population(2, 1, 10, seed=0, settings=still)
        population.evolve(Dataset([[0.5, 1.0], [1.0, -1.0]], [0.3, 0.1], learning=kind(5, 0.01)), 6)
        found.append(population.history.best)
    assert (np.diff(found[0]) > 0.0).all() and np.ptp(found[1]) == 0.0


def test_something_else_that_learns_says_whether_it_is_inherited() -> None:
    class Odd:
        learning = "a lot"

        def evaluate(self, genomes: Genomes, seed: int, generation: int, first: int) -> np.ndarray:
            raise AssertionError

    with pytest.raises(AttributeError, match="inherits"):
        batch.evaluate(Odd(), Genomes.pack([npr.Network.dense([2, 1], seed=0)]), 0, 0)


def test_live_networks_see_what_was_learned() -> None:
    genomes = Genomes.pack([npr.Network.dense([2, 4, 1], seed=0)])
    net, before = genomes[0], genomes[0].parameters
    fitness = XOR(Lamarckian(20, 0.05)).evaluate(genomes)
    assert not np.array_equal(net.parameters, before)
    assert XOR().evaluate(Genomes.pack([net])) == fitness


def test_who_diverges_is_measured_as_born() -> None:
    nets = [npr.Network.from_connections(1, 1, [(0, 1, weight)], activation="identity") for weight in (0.5, 1e160, 3.0)]
    genomes = Genomes.pack(nets)
    problem = Dataset([[1.0], [2.0]], [1.0, 2.0], "mae", learning=Lamarckian(5, 1e308, "sgd"))
    found = problem.evaluate(genomes)
    assert np.array_equal(genomes.columns.parameters, Genomes.pack(nets).columns.parameters)
    assert np.array_equal(found, Dataset([[1.0], [2.0]], [1.0, 2.0], "mae").evaluate(Genomes.pack(nets)))


def test_learning_is_a_frozen_value() -> None:
    one = Lamarckian(10, 0.05)
    assert one == Lamarckian(10, 0.05) != Baldwinian(10, 0.05) and one.inherits and not Baldwinian(10).inherits
    assert isinstance(one, Lamarckian) and not isinstance(Baldwinian(1), Lamarckian)
    assert pickle.loads(pickle.dumps(one)) == one and {one: 1}[Lamarckian(10, 0.05)] == 1
    assert Lamarckian(np.int64(10), np.float32(0.5), batch_size=np.uint8(3)) == Lamarckian(10, 0.5, batch_size=3)
    assert type(Lamarckian(np.int64(10)).steps) is int
    assert "learning_rate=0.05" in repr(one) and repr(one).startswith("Lamarckian(")
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.steps = 3


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
    ({"steps": 1.0}, TypeError, "steps must be an integer, got 1.0"),
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    ({"batch_size": True}, TypeError, "batch_size must be an integer, got True"),
    ({"learning_rate": 0.0}, ValueError, "learning_rate must be positive, got 0.0"),
    ({"learning_rate": "fast"}, TypeError, "learning_rate must be a number, got 'fast'"),
    ({"l1": -1.0}, ValueError, "l1 must be at least 0, got -1.0"),
    ({"l2": np.inf}, ValueError, "l2 must be finite, got inf"),
    ({"clip_norm": 0}, ValueError, "clip_norm must be positive, got 0"),
    ({"optimizer": "adm"}, ValueError, "did you mean 'adam'?"),
])  # fmt: skip
def test_mistakes_are_told(change: dict, error: type, message: str) -> None:
    for kind in (Lamarckian, Baldwinian):
        with pytest.raises(error) as caught:
            kind(**{"steps": 3} | change)
        assert message in str(caught.value)
        assert_one_sentence(caught)


def test_sequences_too_long_to_keep_are_refused() -> None:
    net = npr.Network.random(1, 1, 400, 500, recurrent=True, seed=0)
    genomes = Genomes.pack([npr.Network.random(1, 1, 0, 1, recurrent=True, seed=0), net])
    x = np.zeros((1, 10_000, 1))
    before = genomes.columns.parameters.copy()
    with pytest.raises(ValueError, match="steps must be at most 9949 for 402 nodes") as caught:
        Dataset(x, x, learning=Lamarckian(1)).evaluate(genomes)
    assert_one_sentence(caught)
    assert np.array_equal(before, genomes.columns.parameters)
