"""Crossover and distance as a user meets them: two networks, one generator."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import bridge
import neuroprune as npr
import oracle_evolution as e
import strategies as s
from bridge import assert_one_sentence, assert_sound, snapshot
from neuroprune.evolution.mutation import (
    AddConnection,
    AddNode,
    ChangeActivation,
    PerturbBiases,
    PerturbWeights,
    Prune,
    RemoveNode,
    Sequence,
)


@st.composite
def relatives(draw, recurrent=None):
    """Two networks that share an ancestor, each with a life of its own."""
    spelled = draw(s.networks(recurrent, min_connections=1))
    generator = np.random.default_rng(draw(s.SEEDS))
    innovations = npr.Innovations()
    both = []
    for _ in range(2):
        net = bridge.network(spelled, default_activation="sigmoid")
        for _ in range(draw(s.sizes(0, 4))):
            Sequence([AddNode(innovations), AddConnection(), Prune(0.1), RemoveNode()])(net, generator)
        Sequence([PerturbWeights(1.0), PerturbBiases(1.0), ChangeActivation(rate=0.5)])(net, generator)
        both.append(net)
    return both


# ---------------------------------------------------------------- crossover


@given(both=relatives(), seed=s.SEEDS)
def test_a_child_mixes_matching_genes_on_the_wiring_of_the_fitter(both, seed):
    fitter, other = both
    before = snapshot(fitter), snapshot(other)
    child = npr.crossover(fitter, other, seed)
    assert (snapshot(fitter), snapshot(other)) == before
    assert child.graph is fitter.graph
    assert_sound(child)
    mine, theirs, mixed = (bridge.plain(net) for net in (fitter, other, child))

    def from_other(gene):
        if isinstance(gene, tuple):
            return mixed.connections[gene][0] == theirs.connections[gene][0] != mine.connections[gene][0]
        return (mixed.bias[gene], mixed.activation[gene]) == (theirs.bias[gene], theirs.activation[gene])

    assert mixed == e.crossed(mine, theirs, from_other)
    assert not np.shares_memory(child.connections.weight, fitter.connections.weight)
    assert child.default_activation == fitter.default_activation


@pytest.mark.parametrize("recurrent", [False, True])
def test_each_matching_gene_comes_from_either_parent_half_of_the_time(recurrent):
    fitter = npr.Network.random(3, 2, 6, 25, recurrent=recurrent, seed=0)
    other = fitter.copy()
    Sequence([PerturbWeights(1.0), PerturbBiases(1.0)])(other, 1)
    generator, runs = np.random.default_rng(0), 2000
    counts = np.zeros(25 + 8)
    pairs = np.zeros((2, 2))
    for _ in range(runs):
        child = npr.crossover(fitter, other, generator)
        taken = child.parameters != fitter.parameters
        assert np.array_equal(child.parameters, np.where(taken, other.parameters, fitter.parameters))
        counts += taken
        pairs[int(taken[0]), int(taken[1])] += 1
    z = (counts - runs / 2) / np.sqrt(runs / 4)
    assert np.abs(z).max() < 4.5
    assert stats.chi2.sf((z**2).sum(), z.size) > 1e-4
    assert stats.chi2_contingency(pairs).pvalue > 1e-4  # one gene says nothing about the next


def test_bias_and_activation_of_a_node_come_together():
    fitter = npr.Network.dense([2, 8, 3], seed=0)
    other = fitter.copy()
    PerturbBiases(1.0)(other, 0)
    ChangeActivation(("sin",), 1.0)(other, 0)
    seen = set()
    for seed in range(20):
        child = npr.crossover(fitter, other, seed)
        for mine, theirs, mixed in zip(fitter.nodes, other.nodes, child.nodes, strict=True):
            numbers = (mixed.bias, mixed.activation)
            assert numbers in ((mine.bias, mine.activation), (theirs.bias, theirs.activation))
            seen.add((mixed.kind, numbers == (theirs.bias, theirs.activation)))
    assert {("hidden", False), ("hidden", True), ("output", False), ("output", True)} <= seen


def test_genes_match_by_ids_wherever_they_stand():
    fitter = npr.Network.from_connections(1, 1, [(0, 5, 1.0), (0, 6, 2.0), (5, 6, 3.0), (6, 1, 4.0)])
    other = npr.Network.from_connections(1, 1, [(0, 6, 20.0), (6, 5, 30.0), (6, 1, 40.0), (5, 1, 50.0)])
    found = {pair: set() for pair in ((0, 5), (0, 6), (5, 6), (6, 1))}
    for seed in range(40):
        for connection in npr.crossover(fitter, other, seed).connections:
            found[connection.source, connection.target].add(connection.weight)
    assert found == {(0, 5): {1.0}, (0, 6): {2.0, 20.0}, (5, 6): {3.0}, (6, 1): {4.0, 40.0}}


def test_what_a_child_inherits_and_what_it_does_not():
    fitter, other = (npr.Network.random(3, 2, 4, 20, recurrent=True, seed=seed) for seed in range(2))
    fitter(np.ones(3))
    fitter.prune_to_sparsity(0.1)
    fitter.pruning = npr.PruningSchedule(0.5, start=1, end=5)
    fitter.connections.accumulated_gradient = 1.0 + np.arange(18.0)
    other.prune_to_sparsity(0.5)
    fitter.rng.random()
    child = npr.crossover(fitter, other, 0)
    assert child.evolution_baseline == 20 and child.pruning is fitter.pruning
    assert child.initial_connection_count == 18 and child.sparsity == fitter.sparsity
    assert child.connections.accumulated_gradient is None and child._state is None
    assert fitter.connections.accumulated_gradient[3] == 4.0 and fitter._state is not None
    assert child.rng_state not in (fitter.rng_state, other.rng_state)
    assert child.rng.random() != npr.crossover(fitter, other, 1).rng.random()


@given(both=relatives(), seed=s.SEEDS)
def test_the_generator_decides_and_nothing_else(both, seed):
    generators = [np.random.default_rng(seed) for _ in range(2)]
    children = [npr.crossover(*both, generator) for generator in generators]
    assert children[0].equals(children[1]) and children[0].rng_state == children[1].rng_state
    assert generators[0].bit_generator.state == generators[1].bit_generator.state
    assert npr.crossover(*both, seed).equals(npr.crossover(*both, seed))


@given(both=relatives())
def test_a_network_crossed_with_itself_or_a_twin_is_the_same(both):
    net = both[0]
    assert npr.crossover(net, net).equals(net) and npr.crossover(net, net.copy()).equals(net)


def test_a_child_lives_on_its_own():
    fitter, other = (npr.Network.dense([3, 4, 2], seed=seed) for seed in range(2))
    child = npr.crossover(fitter, other, 0)
    before = snapshot(fitter), snapshot(other)
    child.train(np.ones((2, 3)), np.ones((2, 2)), 3)
    Sequence([AddNode(), Prune(0.5)])(child, 0)
    assert (snapshot(fitter), snapshot(other)) == before


def test_parents_without_connections():
    empty = npr.Network.from_connections(2, 1, [], bias={2: 1.0})
    other = npr.Network.from_connections(2, 1, [(0, 2, 1.0)], bias={2: 5.0})
    assert {npr.crossover(empty, other, seed).node(2).bias for seed in range(20)} == {1.0, 5.0}
    assert {npr.crossover(other, empty, seed).connections.weight.tolist()[0] for seed in range(20)} == {1.0}


# ---------------------------------------------------------------- distance


@given(both=relatives(), disjoint=st.floats(0, 3), difference=st.floats(0, 3))
def test_distance_is_that_of_the_paper(both, disjoint, difference):
    a, b = both
    genes = [e.genes(bridge.plain(net)) for net in both]
    assert np.isclose(npr.distance(a, b, disjoint, difference), e.distance(*genes, disjoint, difference), rtol=1e-12)
    assert np.isclose(npr.distance(a, b), e.distance(*genes, 1.0, 0.4), rtol=1e-12)
    assert np.isclose(npr.distance(b, a), npr.distance(a, b), rtol=1e-12)
    assert npr.distance(a, a) == npr.distance(b, b.copy()) == 0.0


def test_distance_counts_what_only_one_has_against_the_larger():
    a = npr.Network.from_connections(3, 1, [(0, 3, 1.0), (1, 3, 2.0), (2, 3, 3.0)])
    b = npr.Network.from_connections(3, 1, [(0, 3, 1.5)])
    empty = npr.Network.from_connections(3, 1, [])
    assert npr.distance(a, b, 3.0, 0.0) == 2.0 and npr.distance(a, b, 0.0, 2.0) == 1.0
    assert npr.distance(a, empty) == 1.0 and npr.distance(empty, empty) == 0.0


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize("function", [npr.crossover, npr.distance])
@pytest.mark.parametrize(("other", "error", "named"), [
    (None, TypeError, "need two Networks, got NoneType"),
    (npr.Network.dense([2, 3]), ValueError, "both networks must have the same inputs, outputs and recurrence"),
    (npr.Network.dense([3, 2]), ValueError, "both networks must have the same inputs, outputs and recurrence"),
    (npr.Network.dense([2, 2]).as_recurrent(), ValueError, "see net.as_recurrent"),
])
def test_networks_that_cannot_mate_are_refused(function, other, error, named):
    net = npr.Network.dense([2, 2], seed=0)
    for pair in ((net, other), (other, net)):
        with pytest.raises(error, match=named) as raised:
            function(*pair)
        assert_one_sentence(raised)


@pytest.mark.parametrize(("coefficients", "error", "named"), [
    ((-1.0, 0.4), ValueError, "disjoint must be at least 0, got -1.0"),
    ((1.0, -0.4), ValueError, "difference must be at least 0, got -0.4"),
    ((1.0, float("nan")), ValueError, "difference must be finite, got nan"),
    (("far", 0.4), TypeError, "disjoint must be a number, got 'far'"),
])
def test_coefficients_are_numbers_of_at_least_0(coefficients, error, named):
    net = npr.Network.dense([2, 2], seed=0)
    with pytest.raises(error, match=named) as raised:
        npr.distance(net, net, *coefficients)
    assert_one_sentence(raised)


def test_a_seed_that_is_none_is_refused_before_anything_is_drawn():
    net = npr.Network.dense([2, 2], seed=0)
    before = snapshot(net)
    with pytest.raises(TypeError, match="seed must be None, an integer or a numpy.random.Generator") as raised:
        npr.crossover(net, net.copy(), "0")
    assert_one_sentence(raised)
    assert snapshot(net) == before
