"""A population keeps its size, its seed and its rules, whatever it is told."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuroprune as npr
from bridge import assert_one_sentence
from neuroprune.evolution import genomes as packing
from neuroprune.evolution.population import Population
from neuroprune.kernels import structure

VALUES = st.one_of(st.floats(-1e300, 1e300), st.just(math.nan), st.just(-math.inf), st.sampled_from([0.0, 1.0, -1.0]))
BUSY = npr.Settings(add_node=0.3, add_connection=0.5, remove_node=0.1, remove_connection=0.2, crossover=0.5,
                    interspecies=0.1)


def closeness(net: npr.Network) -> float:
    """A fitness that any network has: how close its output is to 0.3."""
    return -abs(float(net([1.0, -0.5])[0]) - 0.3)


def content(population: Population, folder) -> bytes:
    """Everything of a population as bytes."""
    population.save(folder / "population.npz")
    return (folder / "population.npz").read_bytes()


def assert_legal(genomes) -> None:
    for net in genomes:
        graph = net.graph
        assert structure.sound(graph.incoming, graph.source, graph.delays, graph.n_inputs, graph.n_outputs)
        assert np.unique(graph.ids).size == graph.n_nodes
        assert graph.ids[:graph.n_inputs].tolist() == list(range(graph.n_inputs))
        assert np.isfinite(net.parameters).all()
        assert (net.nodes.bias[:graph.n_inputs] == 0.0).all()


@st.composite
def configurations(draw):
    return npr.Settings(
        recurrent=draw(st.booleans()), add_node=draw(st.sampled_from([0.0, 0.3, 1.0])),
        remove_node=draw(st.sampled_from([0.0, 0.5])), add_connection=draw(st.sampled_from([0.0, 0.5, 1.0])),
        remove_connection=draw(st.sampled_from([0.0, 0.5])), crossover=draw(st.sampled_from([0.0, 0.75, 1.0])),
        interspecies=draw(st.sampled_from([0.0, 0.001, 1.0])), species=draw(st.sampled_from([None, 1, 4])),
        threshold=draw(st.sampled_from([1e-9, 0.3, 3.0])), stagnation=draw(st.sampled_from([1, 15])),
        elites=draw(st.sampled_from([0, 1, 3])), elite_size=draw(st.sampled_from([1, 5])),
        survival=draw(st.sampled_from([0.0, 0.2, 1.0])), tournament=draw(st.sampled_from([1, 3])),
        start_density=draw(st.sampled_from([0.0, 0.5, 1.0])), activations=("tanh", "relu"), activation_rate=0.1)


PRUNINGS = st.sampled_from([None, npr.GenerationPruning(0.5, regrow_fraction=0.5), npr.GenerationPruning(0.9, 1, 2, 2),
                            npr.AdaptivePruning(0.5, adjust_rate=0.3)])


@settings(max_examples=200, deadline=None)
@given(configurations(), PRUNINGS, st.integers(2, 25), st.integers(0, 2**63 - 1), st.data())
def test_the_population_has_exactly_its_size_and_only_legal_networks(config, pruning, size, seed, data):
    population = Population(2, 2, size=size, seed=seed, settings=config, pruning=pruning)
    for generation in range(3):
        genomes = population.ask()
        assert len(genomes) == size == len(population)
        assert_legal(genomes)
        assert sorted(np.concatenate([one.members for one in population.species]).tolist()) == list(range(size))
        fitness = np.array(data.draw(st.lists(VALUES, min_size=size, max_size=size)))
        population.tell(fitness)
        assert population.generation == len(population.history) == generation + 1
        assert population.history.failed[-1] == np.isnan(fitness).sum()
    assert population.evaluations == 3 * size


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 30), st.integers(0, 2**32), st.data())
def test_the_best_genome_lives_on_unchanged(size, seed, data):
    population = Population(2, 1, size=size, seed=seed, settings=BUSY)
    fitness = np.array(data.draw(st.lists(VALUES, min_size=size, max_size=size)))
    parents = population.ask()
    population.tell(fitness)
    if np.isfinite(fitness).any():
        best = parents.network(int(np.where(np.isnan(fitness), -np.inf, fitness).argmax()))
        assert any(net.equals(best) for net in population.ask())
        assert population.best.equals(best)


@pytest.mark.parametrize("pruning", [None, npr.GenerationPruning(0.4, 2, regrow_fraction=0.3)])
@pytest.mark.parametrize("objectives", [None, ("fitness", "connections")])
def test_threads_change_no_bit(tmp_path, monkeypatch, pruning, objectives):
    contents = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(packing, "THREADED_EDGES", 0)
        monkeypatch.setattr(packing, "threads", lambda threads=threads: threads)
        population = Population(2, 1, size=31, seed=3, settings=BUSY, pruning=pruning, objectives=objectives)
        population.evolve(closeness, 8)
        contents.append(content(population, tmp_path))
    assert contents[0] == contents[1] == contents[2]


def test_the_seed_decides(tmp_path):
    runs = []
    for seed in (1, 1, 2, np.random.default_rng(7), np.random.default_rng(7)):
        population = Population(2, 1, size=20, seed=seed)
        population.evolve(closeness, 5)
        runs.append(content(population, tmp_path))
    assert runs[0] == runs[1] != runs[2]
    assert runs[3] == runs[4]


def test_nothing_reads_or_moves_the_global_generator():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    Population(2, 1, size=20, seed=0).evolve(closeness, 3)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_the_same_split_in_one_generation_gets_the_same_id():
    config = npr.Settings(add_node=1.0, add_connection=0.0, crossover=0.0)
    population = Population(1, 1, size=30, seed=0, settings=config)
    population.tell(np.zeros(30))
    ids = {net.nodes.id.tolist()[1] for net in population.ask() if net.graph.n_hidden}
    assert ids == {2}  # there is one connection to split


def test_ids_of_equal_origin_join_over_generations():
    population = Population(2, 1, size=40, seed=0, settings=BUSY)
    population.evolve(closeness, 15)
    genomes = population.ask()
    origin = {}
    for source, target, node in population.innovations.to_array().tolist():
        assert node not in origin
        origin[node] = source, target
    for net in genomes:
        assert set(net.nodes.id.tolist()) <= {0, 1, 2, *origin}


def test_ask_gives_the_same_generation_until_it_is_told():
    population = Population(2, 1, size=10, seed=0)
    assert population.ask() is population.ask()
    population.tell(np.zeros(10))
    assert population.fitness.tolist() == [0.0] * 10
    with pytest.raises(RuntimeError, match="told already") as caught:
        population.tell(np.zeros(10))
    assert_one_sentence(caught)
    population.ask()
    assert population.fitness is None


def test_a_live_view_writes_through_and_rewiring_detaches():
    population = Population(2, 1, size=10, seed=0)
    net = population.ask()[3]
    net.connections.weight[:] = 0.25
    assert population.ask()[3].connections.weight.tolist() == [0.25, 0.25]
    net.disconnect(0, 2)
    net.connections.weight[:] = 9.0
    assert population.ask()[3].connections.weight.tolist() == [0.25, 0.25]
    population.ask()[4].connections.weight[0] = np.nan
    with pytest.raises(ValueError, match="must be finite") as caught:
        population.tell(np.zeros(10))
    assert_one_sentence(caught)
    assert population.generation == 0 and population.fitness is None


def test_what_a_fitness_function_changes_is_dropped_and_it_has_its_own_stream():
    population = Population(2, 1, size=10, seed=0)
    before = [net.copy() for net in population.ask()]
    drawn = []

    def meddle(net):
        net.connections.weight[:] = 7.0
        net.add_node(0, 2)
        drawn.append(net.rng.random())
        return 1.0

    population.evolve(meddle, 1)
    assert len(set(drawn)) == 10
    assert all(net.equals(old) for net, old in zip(population._genomes, before, strict=True))


@pytest.mark.parametrize(("fitness", "error", "words"), [
    (np.zeros(9), ValueError, "shape (10,)"), (np.zeros((10, 1)), ValueError, "shape (10,)"),
    ([np.inf] + [0.0] * 9, ValueError, "inf for network 0"), (["a"] * 10, TypeError, "fitness"),
])
def test_a_refused_fitness_changes_nothing(tmp_path, fitness, error, words):
    population = Population(2, 1, size=10, seed=0)
    before = content(population, tmp_path)
    with pytest.raises(error) as caught:
        population.tell(fitness)
    assert words in str(caught.value)
    assert_one_sentence(caught)
    assert content(population, tmp_path) == before


def test_nan_is_worst_and_counted():
    population = Population(2, 1, size=10, seed=0)
    population.tell([np.nan] * 10)
    assert population.history.failed.tolist() == [10]
    assert math.isnan(population.history.best[0]) and population.best_fitness == -math.inf
    population.ask()
    population.tell([np.nan] * 9 + [-1e9])
    assert population.best_fitness == -1e9 and population.history.failed.tolist() == [10, 9]
    assert population.best.equals(population._genomes.network(9))


def test_minimize_negates_at_the_entrance():
    population = Population(2, 1, size=30, seed=0)
    best = population.evolve(lambda net: -closeness(net), 10, minimize=True)
    twin = Population(2, 1, size=30, seed=0)
    assert best.equals(twin.evolve(closeness, 10))
    assert (population.history.best <= 0.0).all()
    assert np.array_equal(population.history.best, twin.history.best)


def test_target_callback_and_more_generations():
    population = Population(2, 1, size=30, seed=0)
    population.evolve(closeness, 100, target=-0.01)
    assert population.generation < 100 and population.best_fitness >= -0.01
    population = Population(2, 1, size=30, seed=0)
    population.evolve(lambda net: -closeness(net), 100, target=0.01, minimize=True)
    assert population.generation < 100
    seen = []
    population = Population(2, 1, size=30, seed=0)
    population.evolve(closeness, 20, callback=lambda one: seen.append(one.generation) or one.generation == 4)
    assert seen == [1, 2, 3, 4]
    population.evolve(closeness, 2)
    assert population.generation == 6
    population.evolve(closeness, 0)
    assert population.generation == 6


def test_a_problem_that_knows_when_it_is_solved():
    class Solved:
        def evaluate(self, genomes, seed=0, generation=0, first=0):
            return np.array([closeness(net) for net in genomes])

        def solved(self, net, fitness):
            asked.append(fitness)
            return len(asked) == 3

    asked = []
    population = Population(2, 1, size=10, seed=0)
    best = population.evolve(Solved(), 50)
    assert population.generation == 3 and population.best_fitness == asked[-1] == population.history.best[-1]
    assert closeness(best) == asked[-1]


@pytest.mark.parametrize("objectives", [None, ("fitness", "connections")])
def test_the_champion_of_every_species_and_the_whole_front_is_asked_whether_it_solves_the_problem(objectives):
    class Solved:
        def evaluate(self, genomes, seed=0, generation=0, first=0):
            return np.array([closeness(net) for net in genomes])

        def solved(self, net, fitness):
            asked.append((net, fitness))
            return population.generation > 3 and len(asked) == 2

    asked = []
    population = Population(2, 1, size=30, seed=0, settings=replace(BUSY, threshold=0.3, species=None),
                            objectives=objectives)
    population.evolve(Solved(), 3)
    asked.clear()
    population.evolve(Solved(), 1)
    if objectives:
        candidates = population.front
    else:
        champions = [one.members[population.fitness[one.members].argmax()] for one in population.species]
        candidates = sorted((population._genomes.network(int(one)) for one in champions), key=closeness, reverse=True)
    assert len(candidates) > 1 and asked[0][0].equals(candidates[0]) and asked[1][0].equals(candidates[1])
    assert population.generation == 4 and len(asked) == 2
    assert population.best.equals(asked[1][0]) and population.best_fitness == asked[1][1] < asked[0][1]


def test_an_error_in_the_fitness_names_network_and_generation_and_leaves_the_population(tmp_path):
    def fails(net):
        if broken:
            raise KeyError("lost")
        return closeness(net)

    broken = False
    population = Population(2, 1, size=10, seed=0)
    population.evolve(fails, 3)
    population.ask()
    before = content(population, tmp_path)
    broken = True
    with pytest.raises(RuntimeError, match="network 0.*generation 3") as caught:
        population.evolve(fails, 3)
    assert isinstance(caught.value.__cause__, KeyError)
    assert content(population, tmp_path) == before
    broken = False
    twin = Population(2, 1, size=10, seed=0)
    assert population.evolve(fails, 3).equals(twin.evolve(fails, 6))


def test_ctrl_c_ends_after_a_clean_checkpoint(tmp_path):
    def interrupted(net):
        calls.append(1)
        if len(calls) == 45:
            raise KeyboardInterrupt
        return closeness(net)

    calls = []
    population = Population(2, 1, size=10, seed=0)
    with pytest.raises(KeyboardInterrupt):
        population.evolve(interrupted, 20, checkpoint=npr.Checkpoint(tmp_path / "run.npz", generations=100))
    assert population.generation == 4 and population.best is not None
    resumed = Population.load(tmp_path / "run.npz")
    assert resumed.generation == 4
    twin = Population(2, 1, size=10, seed=0)
    assert resumed.evolve(closeness, 6).equals(twin.evolve(closeness, 10))


def test_best_is_a_copy_with_a_stream_of_its_own():
    population = Population(2, 1, size=10, seed=0)
    with pytest.raises(LookupError, match="evaluated generation") as caught:
        population.best  # noqa: B018
    assert_one_sentence(caught)
    population.evolve(closeness, 2)
    one, other = population.best, population.best
    assert one is not other and one.equals(other) and one.rng.random() == other.rng.random()
    one.connections.weight[:] = 0.0
    assert population.best.equals(other)


def test_from_network_goes_on_from_it():
    net = npr.Network.random(3, 2, 4, 15, recurrent=True, seed=0, activation="relu")
    net.prune_to_sparsity(0.2)
    population = Population.from_network(net, size=20, seed=0)
    asked = population.ask()
    assert asked[0].equals(net) and asked[0].evolution_baseline == net.evolution_baseline == 15
    assert population.settings.recurrent and population.settings.activation == "relu"
    assert sum(one.equals(net) for one in asked) < 10
    population.evolve(lambda one: -abs(float(one([1.0, 0.0, 0.0])[0])), 5)
    assert_legal(population.ask())
    assert min(population.innovations.to_array()[:, 2], default=100) > net.nodes.id.max()


def test_start_density():
    dense = Population(4, 5, size=20, seed=0).ask()
    assert dense.n_connections.tolist() == [20] * 20
    half = Population(4, 5, size=20, seed=0, settings=npr.Settings(start_density=0.5)).ask()
    assert half.n_connections.tolist() == [10] * 20
    assert len({tuple(net.connections.source.tolist()) for net in half}) > 5
    least = Population(4, 5, size=20, seed=0, settings=npr.Settings(start_density=0.0)).ask()
    assert least.n_connections.tolist() == [1] * 20


def test_a_node_without_inputs_gives_its_activation_of_the_bias():
    population = Population(2, 1, size=5, seed=0, settings=replace(BUSY, start_density=0.0))
    for net in population.ask():
        net.keep(np.zeros(1, bool))
        assert net([1.0, 2.0])[0] == npr.activations.ACTIVATIONS[population.settings.output_activation].f(
            net.nodes.bias[2])


@pytest.mark.parametrize(("arguments", "error"), [
    ({"n_inputs": 0}, ValueError), ({"n_outputs": 1.5}, TypeError), ({"size": 1}, ValueError),
    ({"settings": {}}, TypeError), ({"pruning": 0.5}, TypeError), ({"objectives": ("fitness",)}, ValueError),
    ({"objectives": ("fitness", "speed")}, ValueError), ({"seed": 2**63}, ValueError), ({"seed": -1}, ValueError),
    ({"pruning": npr.GenerationPruning(0.5, method="gradient")}, ValueError),
])
def test_bad_arguments(arguments, error):
    with pytest.raises(error) as caught:
        Population(**{"n_inputs": 2, "n_outputs": 1, **arguments})
    assert_one_sentence(caught)


def test_problems_that_do_not_fit_are_refused():
    population = Population(3, 1, size=10, seed=0)
    for problem, error, words in ((npr.XOR(), ValueError, "n_inputs=2"), (5, TypeError, "function network"),
                                  (npr.sequences.recall(), ValueError, "n_inputs")):
        with pytest.raises(error, match=words) as caught:
            population.evolve(problem, 1)
        assert_one_sentence(caught)
    with pytest.raises(ValueError, match="at least 0"):
        population.evolve(closeness, -1)


def test_activation_and_stream_of_a_live_view():
    population = Population(2, 1, size=5, seed=0)
    population.ask()[1].node(2).activation = "sin"
    assert [net.node(2).activation for net in population.ask()] == ["tanh", "sin", "tanh", "tanh", "tanh"]
    drawn = [net.rng.random() for net in population.ask()]
    assert len(set(drawn)) == 5
    seen = []
    Population(2, 1, size=5, seed=0).evolve(lambda net: seen.append(net.rng.random()) or 0.0, 1)
    assert drawn == seen


def test_minimize_is_for_functions():
    population = Population(2, 1, size=5, seed=0)
    with pytest.raises(ValueError, match="left out for a problem") as caught:
        population.evolve(npr.XOR(), 1, minimize=True)
    assert_one_sentence(caught)
    with pytest.raises(ValueError, match="got -inf for network 0") as caught:
        population.evolve(lambda net: -np.inf, 1, minimize=True)
    assert_one_sentence(caught)
    with pytest.raises(TypeError, match="got the class XOR") as caught:
        population.evolve(npr.XOR, 1)
    assert_one_sentence(caught)
    with pytest.raises(ValueError, match="got inf for network 3"):
        population.tell([np.nan, 1.0, 2.0, np.inf, 0.0])


def test_numbers_that_are_not_finite_stop_before_they_are_bred():
    population = Population(2, 1, size=5, seed=0)
    asked = population.ask()
    population.tell(np.zeros(5))
    asked[2].connections.weight[1] = np.nan
    with pytest.raises(ValueError, match="got nan in network 2") as caught:
        population.ask()
    assert_one_sentence(caught)
    asked[2].connections.weight[1] = 0.0
    population.ask()


def test_the_front_of_a_large_population():
    population = Population(2, 1, size=300, seed=0, objectives=("connections", "fitness"))
    front = population.evolve(npr.XOR(), 10)
    fitness = [4.0 - float(((net([[0, 0], [0, 1], [1, 0], [1, 1]])[:, 0] - [0, 1, 1, 0]) ** 2).sum()) for net in front]
    sizes = [len(net.connections) for net in front]
    assert sizes == sorted(sizes, reverse=True) and fitness == sorted(fitness, reverse=True)
    assert len(set(sizes)) == len(sizes) > 1
