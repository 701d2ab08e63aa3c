"""Pruning as a population grows: after reproduction, before evaluation, elites too, from inherited baselines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuroprune as npr
from neuroprune.evolution.pruning import AdaptivePruning, GenerationPruning
from oracle_pruning import desired_count

GROWING = npr.Settings(add_node=0.3, add_connection=0.8, start_density=0.5)


def closeness(net):
    return -abs(float(net([1.0, -0.5, 0.2])[0]) - 0.3)


@settings(max_examples=200, deadline=None)
@given(st.floats(0.0, 1.0), st.integers(0, 2), st.integers(1, 2), st.integers(0, 4), st.sampled_from([0.0, 0.4, 1.0]),
       st.sampled_from(["magnitude", "magnitude_l2", "random", "snip", abs]), st.booleans(), st.integers(0, 1000))
def test_every_network_has_the_sparsity_of_its_generation(target, start, interval, ramp, regrow, method, recurrent,
                                                          seed):
    pruning = GenerationPruning(target, start, interval, ramp, method, regrow)
    config = npr.Settings(add_node=0.3, add_connection=0.8, recurrent=recurrent)
    population = npr.Population(3, 2, size=12, seed=seed, settings=config, pruning=pruning)
    for generation in range(4):
        genomes = population.ask()
        level = pruning.sparsity(generation)
        for net in genomes:
            baseline = net.evolution_baseline
            if pruning.fires(generation) and level > 0.0:
                assert len(net.connections) <= desired_count(min(level, 0.999), baseline)
                if population.history.removed[-1:].any() or generation == start:
                    assert baseline >= len(net.connections)
            assert len(net.connections) >= 1
        population.tell(np.arange(12.0))
        if pruning.fires(generation):
            assert population.history.level[-1] == level


def test_the_count_is_exact_when_there_was_more():
    population = npr.Population(6, 5, size=20, seed=0, pruning=GenerationPruning(0.5))
    genomes = population.ask()
    assert genomes.n_connections.tolist() == [15] * 20
    assert [net.evolution_baseline for net in genomes] == [30] * 20
    assert population.pruning_level == 0.5
    population.tell(np.zeros(20))
    assert population.history.removed[0] == 20 * 15 and population.history.sparsity[0] == 0.5


def test_it_does_what_prune_to_sparsity_does():
    plain = npr.Population(5, 3, size=15, seed=4).ask()
    pruned = npr.Population(5, 3, size=15, seed=4, pruning=GenerationPruning(0.4)).ask()
    for net, other in zip(plain, pruned, strict=True):
        net.prune_to_sparsity(0.4)
        assert net.equals(other) and net.evolution_baseline == other.evolution_baseline


def test_baselines_are_inherited_and_raised_by_what_mutation_adds():
    config = npr.Settings(add_node=0.0, add_connection=1.0, crossover=0.0, species=None)
    population = npr.Population(6, 5, size=10, seed=0, settings=config,
                                pruning=GenerationPruning(0.5, start_generation=0, interval=100))
    population.ask()
    population.tell(np.zeros(10))
    for net in population.ask():
        grown = net.evolution_baseline - 30
        assert grown in (0, 1) and len(net.connections) == 15 + grown


def test_elites_are_pruned_too_and_best_is_that_of_the_final_sparsity():
    pruning = GenerationPruning(0.6, start_generation=2, ramp_generations=6)
    population = npr.Population(3, 1, size=20, seed=1, settings=GROWING, pruning=pruning)
    levels = []
    for _ in range(12):
        population.ask()
        population.tell([100.0 - population.generation + closeness(net) for net in population.ask()])
        levels.append(population.pruning_level)
        rose = len(levels) < 2 or levels[-1] > levels[-2]
        if rose:  # earlier ones were fitter, but that was before
            assert population.best_fitness == population.history.best[-1]
    assert levels[:3] == [0.0, 0.0, 0.0] and levels[-1] == 0.6
    best = population.best
    assert len(best.connections) <= desired_count(0.6, best.evolution_baseline)


def test_regrowth_keeps_the_count():
    pruned = npr.Population(6, 5, size=20, seed=0, pruning=GenerationPruning(0.5, regrow_fraction=0.4))
    genomes = pruned.ask()
    assert genomes.n_connections.tolist() == [15] * 20
    pruned.tell(np.zeros(20))
    assert pruned.history.removed[0] == 20 * 21 and pruned.history.regrown[0] == 20 * 6


def test_a_function_of_the_weights_ranks():
    population = npr.Population(6, 5, size=8, seed=0, pruning=GenerationPruning(0.5, method=lambda weight: weight))
    plain = npr.Population(6, 5, size=8, seed=0).ask()
    for net, other in zip(population.ask(), plain, strict=True):
        assert sorted(net.connections.weight.tolist()) == sorted(other.connections.weight.tolist())[15:]


@pytest.mark.parametrize("method", ["gradient", "taylor"])
def test_methods_that_need_a_signal_are_refused(method):
    with pytest.raises(ValueError, match="must need no signal, got '" + method):
        npr.Population(2, 1, pruning=GenerationPruning(0.5, method=method))


@settings(max_examples=200, deadline=None)
@given(st.floats(0.0, 0.9), st.floats(0.0, 0.2), st.floats(0.0, 0.5), st.integers(0, 1000))
def test_adaptive_pruning_follows_the_mean(target, tolerance, rate, seed):
    pruning = AdaptivePruning(target, tolerance, rate)
    population = npr.Population(3, 2, size=10, seed=seed, settings=GROWING, pruning=pruning)
    free = npr.Population(3, 2, size=10, seed=seed, settings=GROWING)
    first = float(free.ask().n_connections.mean())
    expected = pruning.next_level(0.0, first, first)
    assert population.pruning_level == (0.0 if expected is None else expected)
    for _ in range(4):
        population.tell(np.zeros(10))
        before = population.pruning_level
        genomes = population.ask()
        level = population.pruning_level
        assert level == before or abs(level - before) <= rate + 1e-12 and 0.0 <= level <= target
        if level != before and level > 0.0:
            for net in genomes:
                assert len(net.connections) <= desired_count(level, net.evolution_baseline)


def test_dead_weight_is_what_trim_removes():
    config = npr.Settings(add_node=0.5, add_connection=0.5, remove_connection=0.5)
    population = npr.Population(3, 1, size=40, seed=0, settings=config)
    population.evolve(lambda net: 0.0, 15)
    hidden = dead = 0
    for net in population._genomes:
        total, alive = net.graph.n_hidden, net.graph.reaches_output & net.graph.reached_from_input
        hidden += total
        dead += int((~alive[net.graph.n_inputs:-1]).sum())
        before = net.copy()
        x = np.random.default_rng(0).normal(size=(5, 3))
        trimmed = net.copy()
        trimmed.trim()
        assert np.allclose(trimmed(x), before(x), atol=1e-12)
    assert hidden and dead and population.history.dead_nodes[-1] == dead / hidden


def test_best_is_at_the_level_though_networks_grow_between_prunings():
    config = npr.Settings(add_node=0.5, add_connection=0.5)
    population = npr.Population(3, 2, size=20, seed=0, settings=config, pruning=GenerationPruning(0.5, interval=7))
    best = population.evolve(lambda net: float(len(net.connections)), 13)
    assert len(best.connections) <= desired_count(0.5, best.evolution_baseline)


def test_a_run_does_not_stop_before_the_final_sparsity():
    pruning = GenerationPruning(0.5, start_generation=5, ramp_generations=10)
    population = npr.Population(3, 1, size=20, seed=0, settings=GROWING, pruning=pruning)
    best = population.evolve(lambda net: 1.0, 50, target=0.5)
    assert population.generation == 16 and population.pruning_level == 0.5
    assert len(best.connections) <= desired_count(0.5, best.evolution_baseline)


def test_a_scorer_that_raises_leaves_the_population_as_it_was(tmp_path):
    def sometimes(weight):
        calls.append(1)
        if len(calls) == 4:
            raise OSError("no scores today")
        return abs(weight)

    def content(population):
        return [net.parameters.tolist() for net in population.ask()], population.history.connections.tolist()

    calls = []
    pruning = GenerationPruning(0.5, ramp_generations=10, method=sometimes)
    broken = npr.Population(3, 1, size=20, seed=0, settings=GROWING, pruning=pruning)
    with pytest.raises(OSError, match="no scores today"):
        broken.evolve(closeness, 8)
    assert broken.generation == 4 and broken.fitness is not None
    broken.evolve(closeness, 4)
    calls = [0] * 100
    straight = npr.Population(3, 1, size=20, seed=0, settings=GROWING, pruning=pruning)
    straight.evolve(closeness, 8)
    assert content(straight) == content(broken)


def test_a_scorer_sees_no_spare_room():
    population = npr.Population(3, 1, size=20, seed=0, settings=GROWING,
                                pruning=GenerationPruning(0.5, method=lambda weight: np.log(abs(weight))))
    population.evolve(closeness, 6)
    assert (population.history.level == 0.5).all()


def test_species_are_not_stagnant_because_they_were_denser_once():
    pruning = GenerationPruning(0.6, start_generation=3)
    population = npr.Population(3, 1, size=20, seed=1, settings=GROWING, pruning=pruning)
    for _ in range(6):
        population.ask()
        generation = population.generation
        population.tell([(100.0 if generation < 3 else 0.0) + closeness(net) for net in population.ask()])
        if generation == 3:
            assert all(one.best <= 0.0 and one.improved == 3 for one in population.species)


def test_what_training_pruned_counts_for_a_population_made_from_it():
    net = npr.Network.dense([4, 5, 2], seed=0)
    net.pruning = npr.PruningSchedule(0.5, start=1, end=1)
    net.maybe_prune(1)
    population = npr.Population.from_network(net, size=10, seed=0, pruning=GenerationPruning(0.5))
    assert population.ask()[0].equals(net) and population.ask()[0].evolution_baseline == 30
