"""Mutation operators as a user meets them: `operator(network, rng)` on a network that has lived."""

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import neuroprune as npr
import oracle_evolution as e
import oracles as o
import strategies as s
from bridge import assert_one_sentence, assert_same, assert_sound, network, plain, snapshot
from neuroprune import activations, kernels, rng
from neuroprune.evolution import mutation, program
from neuroprune.evolution.genomes import Genomes
from neuroprune.evolution.mutation import (
    AddConnection,
    AddNode,
    ChangeActivation,
    Choice,
    PerturbBiases,
    PerturbWeights,
    Prune,
    PruneToSparsity,
    Regrow,
    RemoveConnection,
    RemoveNode,
    Sequence,
)
from neuroprune.pruning import saliency


def shifted(weight):
    """A scorer of a user's: what is near 1 goes first."""
    return abs(weight - 1.0)


OPERATORS = [
    AddNode(), RemoveNode(), AddConnection(), RemoveConnection(), PerturbWeights(), PerturbBiases(),
    ChangeActivation(rate=0.5), Prune(0.3), Prune(0.3, "random"), Prune(0.3, "snip"), Prune(0.3, shifted),
    PruneToSparsity(0.5), PruneToSparsity(0.4, "taylor"), Regrow(2),
    Sequence([AddNode(), Prune(0.2), PerturbWeights()]), Choice([AddNode(), RemoveConnection(), Regrow()], [1, 1, 1]),
]  # fmt: skip
NAMED = [str(i) + type(operator).__name__ for i, operator in enumerate(OPERATORS)]
GROWING = {AddNode: 1, AddConnection: 1}  # by how much the evolutionary baseline rises
SCHEDULE = npr.PruningSchedule(0.5, start=10, end=20)


def lived(spelled, seed=0):
    """A network with a gradient, a state, a schedule, an evolutionary baseline and a default activation of its own."""
    net = network(spelled, default_activation="sigmoid")
    numbers = np.random.default_rng(seed)
    if net.graph.recurrent:
        net(numbers.normal(size=net.graph.n_inputs))
    net.prune_to_sparsity(1e-9)
    net.connections.accumulated_gradient = numbers.normal(size=len(net.connections))
    net.pruning = SCHEDULE
    return net


def by_pair(net, column):
    return dict(zip(zip(net.connections.source.tolist(), net.connections.target.tolist(), strict=True),
                    np.asarray(column).tolist(), strict=True))


def by_id(net, column):
    return dict(zip(net.nodes.id.tolist(), np.asarray(column).tolist(), strict=True))


# ---------------------------------------------------------------- all operators


@pytest.mark.parametrize("operator", OPERATORS, ids=NAMED)
@given(spelled=s.networks(min_connections=1), seed=s.SEEDS)
def test_what_a_network_carries_goes_along(operator, spelled, seed):
    net = lived(spelled, seed)
    before, weights, graph, drawn = net.copy(), net.connections.weight, net.graph, net.rng_state
    assert operator(net, seed) is None
    assert_sound(net)
    assert net.rng_state == drawn  # it draws from what it was given
    assert net.default_activation == "sigmoid" and net.seed == before.seed and net.iteration == before.iteration
    assert net.pruning is SCHEDULE and net.last_prune_iteration is None
    assert net.initial_connection_count == before.initial_connection_count
    if type(operator) in GROWING:
        acted = net.graph is not graph
        assert net.evolution_baseline == before.evolution_baseline + acted
    elif not isinstance(operator, Sequence | Choice):
        assert net.evolution_baseline == before.evolution_baseline
    if net.graph is graph:
        assert net.connections.weight is weights or np.shares_memory(net.connections.weight, weights)
    old, gradient = by_pair(before, before.connections.accumulated_gradient), net.connections.accumulated_gradient
    if not isinstance(operator, Sequence | Choice):  # these may lose it on the way
        grown = set(by_pair(net, net.connections.weight)) - set(old)
        assert (gradient is None) == bool(grown)
    if gradient is not None:
        assert all(old[pair] == value for pair, value in by_pair(net, gradient).items())
        net.connections.accumulated_gradient = gradient  # still assignable
    assert (net._state is None) == (before._state is None)
    if net._state is not None:
        was = by_id(before, before._state[0])
        assert by_id(net, net._state[0]) == {node: was.get(node, 0.0) for node in net.nodes.id.tolist()}


@pytest.mark.parametrize("operator", OPERATORS, ids=NAMED)
@given(spelled=s.networks(min_connections=1), seed=s.SEEDS)
def test_the_generator_decides_and_nothing_else(operator, spelled, seed):
    nets = [lived(spelled) for _ in range(3)]
    generators = [np.random.default_rng(seed) for _ in range(2)]
    for net, generator in zip(nets, generators, strict=False):
        operator(net, generator)
        operator(net, generator)
    assert nets[0].equals(nets[1])
    assert generators[0].bit_generator.state == generators[1].bit_generator.state
    other = nets[2].copy()
    operator(nets[2], seed)
    operator(other, rng.generator(seed))
    assert nets[2].equals(other)


def test_two_calls_draw_different_numbers_and_none_is_needed():
    generator, net = np.random.default_rng(0), npr.Network.dense([3, 4, 2], seed=0)
    twins = [net.copy() for _ in range(4)]
    for twin in twins[:2]:
        PerturbWeights()(twin, generator)
    for twin in twins[2:]:
        PerturbWeights()(twin)
    assert len({twin.parameters.tobytes() for twin in twins}) == 4


FULL = [(source, target, 0.5) for target in (2, 3) for source in (0, 1)]


@pytest.mark.parametrize(("operator", "connections"), [
    (AddNode(), []), (RemoveNode(), []), (RemoveNode(), FULL), (RemoveNode(), [(0, 7, 1.0), (7, 2, 1.0)]),
    (AddConnection(), FULL), (RemoveConnection(), []), (RemoveConnection(), FULL[:1]), (Prune(0.0), FULL),
    (Prune(1.0), FULL[:1]), (Prune(1.0), []), (Prune(0.1), FULL), (Prune(0.5, shifted), []), (Regrow(0), FULL[:2]),
    (Regrow(3), FULL), (PruneToSparsity(0.0), FULL), (PruneToSparsity(-1.0), FULL), (PruneToSparsity(0.5), []),
    (PruneToSparsity(0.0, shifted), FULL), (Sequence(), FULL), (Choice([RemoveNode()]), FULL),
    (PerturbWeights(rate=0.0), FULL), (PerturbBiases(rate=0.0), FULL), (ChangeActivation(rate=0.0), FULL),
    (PerturbWeights(rate=1.0), []),
])
def test_an_operator_that_cannot_act_leaves_the_network_alone(operator, connections):
    net = npr.Network.from_connections(2, 2, connections, seed=0)
    before, graph = snapshot(net), net.graph
    operator(net, 0)
    assert snapshot(net) == before and net.graph is graph


def test_handles_go_stale_with_the_wiring_alone():
    net = npr.Network.dense([3, 4, 2], seed=0)
    handle, column = net.connections[0], net.connections.weight
    PerturbWeights(rate=1.0)(net, 0)
    assert handle.weight == column[0] == net.connections.weight[0]
    AddNode()(net, 0)
    with pytest.raises(LookupError):
        handle.weight  # noqa: B018
    with pytest.raises(ValueError):
        column[0] = 1.0


def test_layers_stay_layers_as_long_as_the_nodes_are_the_same():
    for operator in (Prune(0.3), RemoveConnection(), Prune(0.3, shifted), Regrow(1), PerturbWeights()):
        net = npr.Network.dense([3, 4, 4, 2], seed=0)
        operator(net, 0)
        assert net.graph.layer_sizes == (3, 4, 4, 2), operator
        net.regrow(0, candidates="layers")
    net = npr.Network.dense([3, 4, 4, 2], seed=0)
    net.connect(0, 9, 1.0)
    twin = npr.Network.dense([3, 4, 4, 2], seed=0)
    for seed in range(50):
        grown = twin.copy()
        AddConnection()(grown, seed)
        same = np.array_equal(grown.nodes.id, twin.nodes.id)
        assert (grown.graph.layer_sizes == net.graph.layer_sizes) == same
    for operator in (AddNode(), RemoveNode()):
        net = npr.Network.dense([3, 4, 4, 2], seed=0)
        operator(net, 0)
        assert net.graph.layer_sizes is None


def test_a_view_of_packed_genomes_is_written_through_until_it_is_rewired():
    genomes = Genomes.pack([npr.Network.dense([2, 3, 1], seed=seed) for seed in range(2)])
    net = genomes[1]
    PerturbWeights(rate=1.0)(net, 0)
    assert genomes[1].equals(net)
    AddNode()(net, 0)
    assert len(genomes[1].nodes) == 6 and len(net.nodes) == 7


# ---------------------------------------------------------------- pruning


@pytest.mark.parametrize("method", [*saliency.SCORERS, saliency.magnitude, shifted], ids=str)
@pytest.mark.parametrize("with_gradient", [False, True])
@given(spelled=s.networks(min_connections=1), sparsity=s.sparsities(), seed=s.SEEDS)
def test_prune_to_sparsity_is_that_of_the_network(method, with_gradient, spelled, sparsity, seed):
    net = lived(spelled, seed)
    if not with_gradient:
        net.connections.accumulated_gradient = None
    net.iteration  # noqa: B018
    twin, numbers = net.copy(), np.random.default_rng(seed)
    needed = set(saliency.requires(saliency.scorer(method)))
    try:
        result = twin.prune_to_sparsity(sparsity, method, **({"rng": seed} if "rng" in needed else {}))
    except ValueError as error:
        with pytest.raises(ValueError) as raised:
            PruneToSparsity(sparsity, method)(net, numbers)
        assert str(raised.value) == str(error)
        assert net.equals(lived(spelled, seed))
        return
    PruneToSparsity(sparsity, method)(net, numbers)
    assert len(net.connections) == len(twin.connections)
    assert net.evolution_baseline == twin.evolution_baseline and net.sparsity == result.sparsity
    assert net._signals_end == twin._signals_end
    if "rng" not in needed:
        assert net.equals(twin)
        mine, theirs = net.connections.accumulated_gradient, twin.connections.accumulated_gradient
        assert (mine is None) == (theirs is None) and (mine is None or np.array_equal(mine, theirs))


@pytest.mark.parametrize("method", ["magnitude", "magnitude_l2", "snip", shifted], ids=str)
@given(spelled=s.networks(min_connections=1), fraction=s.sparsities(), seed=s.SEEDS)
def test_prune_removes_a_share_of_what_is_there(method, spelled, fraction, seed):
    net = lived(spelled, seed)
    signals = {"gradient": net.connections.accumulated_gradient} if method == "snip" else {}
    scores = npr.score(method, net.connections.weight, **signals)
    wanted = e.prune_share(spelled, scores.tolist(), fraction)
    Prune(fraction, method)(net, seed)
    assert_same(net, wanted)


def test_random_pruning_draws_from_the_generator():
    net = npr.Network.dense([10, 10], seed=0)
    left = np.zeros(100)
    numbers = np.random.default_rng(0)
    for _ in range(300):
        twin = net.copy()
        (Prune(0.5, "random") if numbers.random() < 0.5 else PruneToSparsity(0.5, "random"))(twin, numbers)
        left[twin.graph.source + 10 * (twin.graph.target - 10)] += 1
    assert stats.chisquare(left).pvalue > 1e-4


@pytest.mark.parametrize("operator", [Prune(0.5), PruneToSparsity(0.5), Prune(0.5, "snip"), Prune(0.5, saliency.snip)])
def test_the_first_training_step_after_a_pruning_records_anew(operator):
    numbers = np.random.default_rng(0)
    x, y = numbers.normal(size=(20, 3)), numbers.normal(size=(20, 2))
    net = npr.Network.dense([3, 5, 2], seed=0)
    net.train(x, y, 5, seed=0)
    operator(net, 0)
    expected = net.gradient(x, y)[0]
    net.train(x, y, 1, seed=0)
    assert np.allclose(net.connections.accumulated_gradient, expected, rtol=1e-12, atol=1e-15)


def test_snip_without_a_gradient_ranks_by_magnitude():
    net = npr.Network.from_connections(3, 1, [(0, 3, 0.1), (1, 3, -2.0), (2, 3, 0.5)])
    other = net.copy()
    Prune(0.3, "snip")(net, 0)
    assert net.connections.weight.tolist() == [-2.0, 0.5]
    other.connections.accumulated_gradient = [10.0, 0.1, 0.1]
    Prune(0.6, "snip")(other, 0)
    assert other.connections.weight.tolist() == [0.1]


@pytest.mark.parametrize("method", ["magnitude", "magnitude_l2", "random", "snip", shifted], ids=str)
@pytest.mark.parametrize("kind", [Prune, PruneToSparsity])
def test_weights_that_are_not_finite_are_refused(method, kind):
    net = npr.Network.dense([4, 4], seed=0)
    net.connections.weight[3] = math.nan
    before = snapshot(net)
    with pytest.raises(ValueError, match="finite, got nan at index 3") as raised:
        kind(0.5, method)(net, 0)
    assert_one_sentence(raised)
    assert snapshot(net) == before


def test_the_target_is_a_share_of_all_that_the_lineage_has_grown():
    net = npr.Network.dense([4, 6, 2], seed=0)
    generator, prune = np.random.default_rng(0), PruneToSparsity(0.5)
    prune(net, generator)
    for _ in range(30):
        net = net.copy()
        Sequence([AddNode(), AddConnection(), prune])(net, generator)
    assert net.evolution_baseline == 36 + 60 and len(net.connections) == 48
    Regrow(5)(net, generator)
    net.connect(0, int(net.nodes.id[-3]), 1.0) if (0, int(net.nodes.id[-3])) not in net.connections else None
    assert net.evolution_baseline == 96


@given(spelled=s.networks(min_connections=1), seed=s.SEEDS, count=st.sampled_from([0, 1, 3, 10**6, 2**31, 2**70]))
def test_regrow_stops_where_there_is_no_room(spelled, seed, count):
    net = network(spelled)
    places = len(o.free_slots(spelled))
    Regrow(count)(net, seed)
    assert_sound(net)
    grown = set(by_pair(net, net.connections.weight)) - set(spelled.connections)
    assert len(grown) == len(net.connections) - len(spelled.connections) == min(count, places)
    assert all(-0.1 <= net.connection(*pair).weight <= 0.1 for pair in grown)


# ---------------------------------------------------------------- splits and names


def test_without_innovations_a_new_node_has_the_next_id():
    net = npr.Network.from_connections(2, 1, [(0, 9, 1.0), (9, 2, 1.0)])
    AddNode()(net, 0)
    assert sorted(net.nodes.id.tolist()) == [0, 1, 2, 9, 10]
    assert net.node(10).activation == net.default_activation and net.node(10).bias == 0.0


def test_the_highest_id_cannot_be_passed():
    for operator in (AddNode(), AddNode(npr.Innovations())):
        net = npr.Network.from_connections(1, 1, [(0, 2**63 - 1, 1.0), (2**63 - 1, 1, 1.0)], seed=0)
        net.prune_to_sparsity(1e-9)
        before = snapshot(net)
        with pytest.raises(ValueError, match="node ids must fit in 64 bits") as raised:
            operator(net, 0)
        assert_one_sentence(raised)
        assert snapshot(net) == before


def test_change_activation_takes_hidden_nodes_and_outputs():
    net = npr.Network.dense([3, 40, 20], seed=0)
    ChangeActivation(("sin", "cos"), rate=0.5)(net, 0)
    names = net.nodes.activation[3:].tolist()
    assert set(names[:40]) == {"sin", "cos", "tanh"} and set(names[40:]) == {"sin", "cos", "identity"}
    npr.register_activation("a_test_of_mutation", lambda x: x + 1.0, lambda x: 1.0)
    ChangeActivation(["a_test_of_mutation"], rate=1.0)(net, 0)
    assert set(net.nodes.activation[3:].tolist()) == {"a_test_of_mutation"}
    assert net([0.0, 0.0, 0.0]).shape == (20,)


# ---------------------------------------------------------------- sequence and choice


@given(spelled=s.networks(min_connections=1), seed=s.SEEDS, chosen=st.lists(
    st.sampled_from([one for one in OPERATORS if getattr(one, "method", "") != "taylor"]), max_size=5))
def test_a_sequence_is_its_operators_in_turn(spelled, seed, chosen):
    net, other, generator = lived(spelled), lived(spelled), np.random.default_rng(seed)
    Sequence(chosen)(net, np.random.default_rng(seed))
    for operator in chosen:
        operator(other, generator)
    assert net.equals(other)


NAMES = ("sin", "cos", "abs", "relu")
MARKS = [ChangeActivation((name,), rate=1.0) for name in NAMES]
CHOICES = [  # a choice among marks, and the probability of each mark and of none
    (Choice(MARKS), [0.25, 0.25, 0.25, 0.25, 0.0]),
    (Choice(MARKS, [4, 3, 2, 1]), [0.4, 0.3, 0.2, 0.1, 0.0]),
    (Choice(MARKS, [0.1, 0.2, 0.3, 0.0]), [0.1, 0.2, 0.3, 0.0, 0.4]),
    (Choice(MARKS, [0.0, 0.0, 0.0, 0.03]), [0.0, 0.0, 0.0, 0.03, 0.97]),
    (Choice(MARKS[:1], [0.5]), [0.5, 0.0, 0.0, 0.0, 0.5]),
    (Choice([Choice(MARKS[:2], [1, 3]), Sequence(MARKS[2:]), Sequence()], [0.4, 0.2, 0.4]), [0.1, 0.3, 0, 0.2, 0.4]),
    (Sequence([Choice(MARKS[:1], [0.5]), Choice(MARKS[1:2], [0.5])]), [0.25, 0.5, 0.0, 0.0, 0.25]),
]
RUNS = 2000


def drawn(mark):
    """How often each mark was left, of RUNS calls of mark(run) -> activation name."""
    counts = dict.fromkeys((*NAMES, "identity"), 0)
    for run in range(RUNS):
        counts[mark(run)] += 1
    return np.array(list(counts.values()))


def assert_frequencies(counts, wanted):
    wanted = np.array(wanted)
    assert not counts[wanted == 0.0].any()
    if (wanted > 0.0).sum() > 1:
        assert stats.chisquare(counts[wanted > 0.0], RUNS * wanted[wanted > 0.0]).pvalue > 1e-4


@pytest.mark.parametrize(("choice", "wanted"), CHOICES)
def test_a_choice_draws_by_weight(choice, wanted):
    net, generator = npr.Network.dense([1, 1], seed=0), np.random.default_rng(0)

    def mark(run):
        twin = net.copy()
        choice(twin, generator)
        return twin.node(1).activation

    assert_frequencies(drawn(mark), wanted)


@pytest.mark.parametrize(("choice", "wanted"), CHOICES)
def test_a_choice_draws_by_weight_inside_a_program(choice, wanted):
    net, rows = npr.Network.dense([1, 1], seed=0), program.compiled(choice)
    genomes = Genomes.pack([net])
    result = Genomes.room_for(1, 1, False, net._default_code, [2], [1])
    state, room = np.zeros(4, np.int64), np.array([2, 1])

    def mark(run):
        kernels.random.seed_stream(1, 0, run, state)
        kernels.breed.mutate_one(genomes.columns, 1, 1, net._default_code, rows.rows, rows.choices, state, room,
                                 result.columns, np.zeros((0, 2), np.int64))
        return activations.name(int(result.columns.code[1]))

    assert_frequencies(drawn(mark), wanted)


@given(spelled=s.networks(min_connections=1), seed=s.SEEDS,
       chosen=st.lists(st.sampled_from([one for one in OPERATORS if getattr(one, "method", "random") in
                                        mutation.IN_PROGRAMS]), max_size=6))
def test_a_program_of_many_operators_keeps_what_each_keeps(spelled, seed, chosen):
    """Splits of splits, regrowth into new nodes, removal of nodes just made: all in one compiled run."""
    net = lived(spelled)
    generator = np.random.default_rng(seed)
    innovations = npr.Innovations(1000)
    program.run(program.compiled(Sequence([*chosen, AddNode(), Regrow(10**6), AddNode()])), net, generator, innovations)
    assert_sound(net)
    assert len(net.connections) >= 3 and net.default_activation == "sigmoid"


@pytest.mark.parametrize("method", ["snip", shifted], ids=str)
def test_a_program_refuses_a_method_that_needs_more_than_the_weight(method):
    for operator in (Prune(0.1, method), PruneToSparsity(0.1, method)):
        for whole in (operator, Sequence([operator]), Choice([AddNode(), operator])):
            with pytest.raises(ValueError, match="prune the population with GenerationPruning instead") as raised:
                program.compiled(whole)
            assert_one_sentence(raised)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("operator", OPERATORS, ids=NAMED)
def test_operators_are_values(operator):
    names = vars(mutation)
    if shifted not in vars(operator).values():
        assert eval(repr(operator), dict(names)) == operator
    assert pickle.loads(pickle.dumps(operator)) == operator == copy.deepcopy(operator)
    assert hash(operator) == hash(copy.copy(operator))
    with pytest.raises(dataclasses.FrozenInstanceError):
        operator.rate = 0.5


def test_equality():
    assert Prune(0.1) == Prune(0.1) != Prune(0.2) and Prune(0.1) != PruneToSparsity(0.1)
    assert PerturbWeights() != PerturbBiases() and ChangeActivation(["sin"]) == ChangeActivation(("sin",))
    assert AddNode(npr.Innovations()) == AddNode() and len({AddNode(), AddNode(), RemoveNode()}) == 2
    assert Sequence([AddNode()]) == Sequence((AddNode(),)) != Sequence()
    assert Choice([AddNode(), Regrow(1)]) == Choice((AddNode(), Regrow(1)), [2, 2]) != Choice([AddNode(), Regrow(1)],
                                                                                              [1, 2])
    assert Choice([AddNode()], [0.3]).weights == (0.3,) and Choice([AddNode()], np.array([3.0])).weights == (1.0,)


@pytest.mark.parametrize(("make", "error", "named"), [
    (lambda: AddNode(7), TypeError, "innovations must be npr.Innovations or None, got int"),
    (lambda: AddConnection(-1.0), ValueError, "power must be at least 0, got -1.0"),
    (lambda: AddConnection(math.inf), ValueError, "power must be finite, got inf"),
    (lambda: PerturbWeights(rate=1.5), ValueError, r"rate must be in \[0, 1\], got 1.5"),
    (lambda: PerturbWeights(replace_rate=-0.1), ValueError, r"replace_rate must be in \[0, 1\], got -0.1"),
    (lambda: PerturbBiases(power=-1), ValueError, "power must be at least 0, got -1"),
    (lambda: PerturbBiases(replace_power="much"), TypeError, "replace_power must be a number, got 'much'"),
    (lambda: ChangeActivation(rate=math.nan), ValueError, "rate must be finite, got nan"),
    (lambda: ChangeActivation("tanh"), ValueError, "choices must be a tuple of names of activations, got 'tanh'"),
    (lambda: ChangeActivation(()), ValueError, r"choices must be a tuple of names of activations, got \(\)"),
    (lambda: ChangeActivation(3), ValueError, "choices must be a tuple of names of activations, got 3"),
    (lambda: ChangeActivation(("tahn",)), ValueError, "got 'tahn': did you mean 'tanh'"),
    (lambda: Prune(1.1), ValueError, r"fraction must be in \[0, 1\], got 1.1"),
    (lambda: Prune(0.1, "magnitud"), ValueError, "magnitude"),
    (lambda: PruneToSparsity(math.nan), ValueError, "target must be finite, got nan"),
    (lambda: PruneToSparsity("half"), TypeError, "target must be a number, got 'half'"),
    (lambda: PruneToSparsity(0.5, 3), TypeError, "method must be the name of a scorer or a function, got int"),
    (lambda: Regrow("1"), TypeError, "count must be an integer, got '1'"),
    (lambda: Regrow(-1), ValueError, "count must be at least 0, got -1"),
    (lambda: Regrow(1.5), TypeError, "count must be an integer, got 1.5"),
    (lambda: Regrow(True), TypeError, "count must be an integer, got True"),
    (lambda: Sequence(AddNode()), TypeError, "operators must be a sequence of those of npr.mutation, got AddNode"),
    (lambda: Sequence([AddNode]), TypeError, "an operator must be one of npr.mutation, got type"),
    (lambda: Choice([len]), TypeError, "an operator must be one of npr.mutation, got builtin_function_or_method"),
    (lambda: Choice([]), ValueError, "a choice must have at least one operator, got none"),
    (lambda: Choice([AddNode()], [1, 2]), ValueError, r"weights must be 1 numbers of at least 0, not all 0, got \[1"),
    (lambda: Choice([AddNode()], [0.0]), ValueError, "weights must be 1 numbers of at least 0, not all 0"),
    (lambda: Choice([AddNode()], [-1.0]), ValueError, "weights must be 1 numbers of at least 0, not all 0"),
    (lambda: Choice([AddNode()], [math.inf]), ValueError, "a weight must be finite, got inf"),
    (lambda: Choice([AddNode()], 0.5), TypeError, "weights must be a sequence of 1 numbers, got 0.5"),
    (lambda: mutation.Operator()(npr.Network.dense([1, 1]), 0), NotImplementedError, "Operator has no rows"),
])
def test_what_makes_no_sense_is_refused(make, error, named):
    with pytest.raises(error, match=named) as raised:
        make()
    assert_one_sentence(raised)


@pytest.mark.parametrize("operator", OPERATORS, ids=NAMED)
def test_only_networks_and_generators_are_taken(operator):
    net = npr.Network.dense([2, 2], seed=0)
    before = snapshot(net)
    for call, named in ((lambda: operator(net.graph, 0), "an operator needs a Network, got Graph"),
                        (lambda: operator(None, 0), "an operator needs a Network, got NoneType"),
                        (lambda: operator(net, "0"), "seed must be None, an integer or a numpy.random.Generator")):
        with pytest.raises(TypeError, match=named) as raised:
            call()
        assert_one_sentence(raised)
    assert snapshot(net) == before


@given(spelled=s.networks(min_connections=1), seed=s.SEEDS, chosen=st.sampled_from(OPERATORS))
def test_what_is_read_back_is_what_there_is(spelled, seed, chosen):
    net = lived(spelled)
    chosen(net, seed)
    assert_same(net, plain(net))
