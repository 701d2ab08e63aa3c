"""Every operator through a program of the kernels: exact effects, exact counts, exact distributions."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import bridge
import oracle_evolution as e
import oracles as o
import strategies as s
from bridge_evolution import DEFAULT, genomes, genomes_with_baseline, mutate, packed, program, stream
from neuroprune import kernels
from neuroprune.evolution.genomes import Genomes
from neuroprune.evolution.mutation import AddNode, Choice, Regrow, RemoveConnection, Sequence
from neuroprune.evolution.program import compiled

SEEDS = st.integers(0, 2**31 - 1)
NAMES = ("tanh", "sin", "relu")
NETWORKS = genomes_with_baseline()
ROWS = {
    "ADD_NODE": (), "REMOVE_NODE": (), "ADD_CONNECTION": (1.0,), "REMOVE_CONNECTION": (),
    "PERTURB_WEIGHTS": (0.8, 0.5, 0.1, 1.0), "PERTURB_BIASES": (0.8, 0.5, 0.1, 1.0),
    "CHANGE_ACTIVATION": (0.5, 0, len(NAMES)), "PRUNE": (0.2, 0), "PRUNE_TO_SPARSITY": (0.3, 0), "REGROW": (3,),
}  # fmt: skip


def legal_now(plain):
    """The free slots of the present order."""
    return {slot[:2] for slot in o.free_slots(plain)}


# ---------------------------------------------------------------- nodes


@given(NETWORKS, SEEDS)
def test_add_node_is_a_split(network, seed):
    plain, baseline = network
    done = mutate(plain, [("ADD_NODE",)], seed, baseline)
    assert len(done.splits) == 1 and done.rewired and done.splits[0] in plain.connections
    assert done.plain == o.split(plain, *done.splits[0], activation=DEFAULT)
    assert len(done.plain.connections) == len(plain.connections) + 1
    assert done.baseline == (None if baseline is None else baseline + 1)


@given(NETWORKS, SEEDS, st.integers(2, 6))
def test_several_splits_in_a_row(network, seed, count):
    plain, baseline = network
    done = mutate(plain, [("ADD_NODE",)] * count, seed, baseline)
    for split in done.splits:  # a later one may split what an earlier one made
        plain = o.split(plain, *split, activation=DEFAULT)
    assert done.plain == plain and len(done.splits) == count
    assert done.baseline == (None if baseline is None else baseline + count)


@given(NETWORKS, SEEDS)
def test_remove_node_takes_its_connections_along(network, seed):
    plain, baseline = network
    done = mutate(plain, [("REMOVE_NODE",)], seed, baseline)
    possible = [o.remove_node(plain, node) for node in plain.hidden]
    possible = [one for one in possible if one.connections]  # the last connections stay
    if done.plain == plain:
        assert len(possible) < len(plain.hidden) or not plain.hidden
        assert not done.rewired
    else:
        assert done.plain in possible and done.rewired
    assert done.baseline == baseline


# ---------------------------------------------------------------- connections


@given(genomes_with_baseline(min_connections=0), SEEDS, st.floats(0, 5))
def test_add_connection_adds_a_legal_pair_and_nothing_else(network, seed, power):
    plain, baseline = network
    done, legal = mutate(plain, [("ADD_CONNECTION", power)], seed, baseline), e.legal_pairs(plain)
    if not legal:
        assert done.plain == plain and not done.rewired and done.baseline == baseline
        return
    ((source, target),) = done.plain.connections.keys() - plain.connections.keys()
    weight, late = done.plain.connections[source, target]
    assert (source, target, late) in legal and done.rewired
    wanted = o.connect(plain, source, target, weight, late)  # Kahn, the lowest former position first
    assert done.plain == wanted
    assert done.baseline == (None if baseline is None else baseline + 1)
    assert power > 0 or weight == 0


@given(genomes(min_connections=0), SEEDS)
def test_the_new_weight_is_the_normal_that_comes_next(plain, seed):
    done = [mutate(plain, [("ADD_CONNECTION", power)], seed).plain for power in (1.0, 3.0)]
    assert done[0].connections.keys() == done[1].connections.keys()
    for pair in done[0].connections.keys() - plain.connections.keys():
        assert done[1].connections[pair][0] == pytest.approx(3 * done[0].connections[pair][0], rel=1e-12)


@given(NETWORKS, SEEDS)
def test_remove_connection_removes_one_but_the_last(network, seed):
    plain, baseline = network
    done = mutate(plain, [("REMOVE_CONNECTION",)], seed, baseline)
    assert done.baseline == baseline
    if len(plain.connections) == 1:
        assert done.plain == plain and not done.rewired
        return
    (gone,) = plain.connections.keys() - done.plain.connections.keys()
    assert done.plain == o.disconnect(plain, *gone) and done.rewired


# ---------------------------------------------------------------- numbers


def changed(before, after):
    """Indices at which two lists differ."""
    return [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]


@pytest.mark.parametrize("which", ["WEIGHTS", "BIASES"])
@given(network=NETWORKS, seed=SEEDS, power=st.floats(0.1, 3))
def test_perturbing_touches_only_its_column(which, network, seed, power):
    plain, baseline = network
    done = mutate(plain, [(f"PERTURB_{which}", 1.0, power, 0.5, 2.0)], seed, baseline)
    assert not done.rewired and done.baseline == baseline and done.plain.activation == plain.activation
    assert done.plain.order == plain.order and done.plain.stored == plain.stored
    weights = [[net.connections[pair][0] for pair in plain.stored] for net in (plain, done.plain)]
    if which == "WEIGHTS":
        assert done.plain.bias == plain.bias and len(changed(*weights)) == len(plain.connections)
    else:
        assert weights[0] == weights[1] and all(done.plain.bias[node] == 0 for node in plain.inputs)
        assert all(done.plain.bias[node] != plain.bias[node] for node in plain.order[plain.n_inputs :])
    assert all(done.plain.connections[pair][1] == late for pair, (_, late) in plain.connections.items())


@given(genomes(), SEEDS)
def test_extreme_rates(plain, seed):
    columns = ("PERTURB_WEIGHTS", "PERTURB_BIASES")
    never = [(name, 0.0, 1.0, 1.0, 1.0) for name in columns] + [("CHANGE_ACTIVATION", 0.0, 0, 1)]
    without_length = [(name, 1.0, 0.0, 0.0, 1.0) for name in columns]
    assert mutate(plain, never + without_length, seed, choices=("sin",)).plain == plain
    replaced = mutate(plain, [(name, 1.0, 1.0, 1.0, 0.0) for name in columns], seed).plain
    assert not any(replaced.bias.values()) and not any(weight for weight, _ in replaced.connections.values())


def star(n_weights, value=0.0):
    """As many equal weights as asked for into one output."""
    order = list(range(n_weights + 1))
    return o.Plain(n_weights, 1, order, dict.fromkeys(order, 0.0), dict.fromkeys(order, "identity"),
                   {(source, n_weights): (value, False) for source in range(n_weights)})  # fmt: skip


@pytest.mark.compiled_only
@pytest.mark.parametrize("rate, replace_rate", [(0.8, 0.1), (1.0, 0.0), (0.3, 1.0), (0.5, 0.5)])
def test_perturbed_weights_have_the_asked_distribution(rate, replace_rate):
    plain = star(30_000, 100.0)
    done = mutate(plain, [("PERTURB_WEIGHTS", rate, 0.5, replace_rate, 2.0)], seed=4).plain
    weights = np.array([weight for weight, _ in done.connections.values()])
    same, fresh = weights == 100, weights < 50
    stepped = ~same & ~fresh
    for count, share in ((~same, rate), (fresh, rate * replace_rate), (stepped, rate * (1 - replace_rate))):
        assert stats.binomtest(int(count.sum()), weights.size, share).pvalue > 1e-3
    if stepped.any():
        assert stats.kstest((weights[stepped] - 100) / 0.5, "norm").pvalue > 1e-3
    if fresh.any():
        assert stats.kstest(weights[fresh] / 2.0, "norm").pvalue > 1e-3


@given(NETWORKS, SEEDS, st.lists(st.sampled_from(s.ANY), min_size=1, max_size=4, unique=True), st.floats(0, 1))
def test_change_activation_draws_from_its_choices(network, seed, names, rate):
    plain, baseline = network
    others = ("step", "softsign")  # before and behind what the row refers to
    done = mutate(plain, [("CHANGE_ACTIVATION", rate, 1, len(names))], seed, baseline, (others[0], *names, others[1]))
    free = plain.order[plain.n_inputs :]
    assert done.plain == replace(plain, activation=done.plain.activation) and not done.rewired
    assert all(done.plain.activation[node] in (*names, plain.activation[node]) for node in free)
    assert all(done.plain.activation[node] == plain.activation[node] for node in plain.inputs)
    if rate == 1:
        assert all(done.plain.activation[node] in names for node in free)


@pytest.mark.compiled_only
def test_activations_are_drawn_uniformly():
    order = list(range(6001))
    plain = o.Plain(1, 6000, order, dict.fromkeys(order, 0.0), dict.fromkeys(order, "tanh"), {(0, 1): (1.0, False)})
    done = mutate(plain, [("CHANGE_ACTIVATION", 0.5, 0, 3)], 1, choices=("sin", "relu", "step")).plain
    drawn = Counter(done.activation[node] for node in order[1:])
    counts = [drawn[name] for name in ("tanh", "sin", "relu", "step")]
    assert stats.chisquare(counts, [3000, 1000, 1000, 1000]).pvalue > 1e-3


# ---------------------------------------------------------------- pruning and regrowth


def scores_of(plain, method):
    """What a method ranks the connections by, in storage order."""
    power = {"MAGNITUDE": 1, "MAGNITUDE_L2": 2}[method]
    return [abs(plain.connections[pair][0]) ** power for pair in plain.stored]


@pytest.mark.parametrize("method", ["MAGNITUDE", "MAGNITUDE_L2"])
@given(network=NETWORKS, fraction=s.sparsities())
def test_prune_takes_the_lowest_share(method, network, fraction):
    plain, baseline = network
    done = mutate(plain, [("PRUNE", fraction, getattr(kernels.mutate, method))], 0, baseline)
    wanted = e.prune_share(plain, scores_of(plain, method), fraction)
    assert done.plain == wanted and done.plain.stored == wanted.stored
    assert done.baseline == baseline and done.rewired == (len(wanted.connections) < len(plain.connections))


@given(NETWORKS, s.sparsities(), SEEDS)
def test_random_pruning_has_exact_counts(network, fraction, seed):
    plain, baseline = network
    for row, left in (
        (("PRUNE", fraction, kernels.mutate.RANDOM), len(plain.connections)),
        (("PRUNE_TO_SPARSITY", fraction, kernels.mutate.RANDOM), baseline),
    ):
        done = mutate(plain, [row], seed, baseline)
        count = len(plain.connections)
        removed = e.prune_count(fraction, count) if row[0] == "PRUNE" else e.prune_counts(count, left, fraction)[0]
        assert len(done.plain.connections) == count - removed
        assert done.plain == replace(plain, connections={p: plain.connections[p] for p in done.plain.connections})


@pytest.mark.parametrize("method", ["MAGNITUDE", "MAGNITUDE_L2"])
@given(network=NETWORKS, target=st.one_of(s.sparsities(), st.floats(-1, 2)))
def test_prune_to_sparsity_is_that_of_one_network(method, network, target):
    plain, baseline = network
    done = mutate(plain, [("PRUNE_TO_SPARSITY", target, getattr(kernels.mutate, method))], 0, baseline)
    removed, _, after = e.prune_counts(len(plain.connections), baseline, target)
    mask = o.prune_lowest(scores_of(plain, method), removed)
    assert done.plain == o.keep(plain, mask) and done.baseline == after
    net = bridge.network(plain)
    net._evolution_baseline = baseline
    net.prune_to_sparsity(target, method.lower())
    bridge.assert_same(net, done.plain)
    assert net.evolution_baseline == done.baseline


@given(NETWORKS, SEEDS, st.integers(0, 200))
def test_regrow_is_exact_or_capped_by_the_free_places(network, seed, count):
    plain, baseline = network
    places, done = legal_now(plain), mutate(plain, [("REGROW", count)], seed, baseline)
    new = done.plain.connections.keys() - plain.connections.keys()
    assert len(new) == min(count, len(places)) and new <= places
    assert done.plain == replace(plain, connections=done.plain.connections)
    for pair, (weight, late) in done.plain.connections.items():
        if pair in new:
            assert -0.1 <= weight < 0.1 and late == o.is_delayed(plain, *pair)
        else:
            assert (weight, late) == plain.connections[pair]
    assert done.baseline == baseline and done.rewired == bool(new)


@pytest.mark.compiled_only
def test_regrown_weights_are_uniform():
    # 2 inputs, 200 hidden: plenty of places
    order = [0, 1, *range(3, 203), 2]
    plain = o.Plain(2, 1, order, dict.fromkeys(order, 0.0), dict.fromkeys(order, "tanh"), {(0, 2): (1.0, False)})
    done = mutate(plain, [("REGROW", 5000)], 3).plain
    weights = [weight for pair, (weight, _) in done.connections.items() if pair != (0, 2)]
    assert len(weights) == 5000 and stats.kstest(weights, stats.uniform(-0.1, 0.2).cdf).pvalue > 1e-3


# ---------------------------------------------------------------- programs


@given(NETWORKS, SEEDS)
def test_programs_are_their_instructions_one_after_the_other(network, seed):
    plain, baseline = network
    rows = [(name, *numbers) for name, numbers in ROWS.items() if name != "ADD_NODE"]
    whole = mutate(plain, rows, seed, baseline, NAMES)
    state, single = stream(seed), None
    for row in rows:
        single = mutate(plain, [row], baseline=baseline, choices=NAMES, state=state)
        plain, baseline = single.plain, single.baseline
    assert whole.plain == plain and whole.baseline == baseline and (whole.state == state).all()


def test_skips_and_jumps():
    plain, prune = diamond(), ("PRUNE", 0.5, 0)
    removed = mutate(plain, [prune]).plain
    assert mutate(plain, [("SKIP", 1.0, 1), prune]).plain == removed
    assert mutate(plain, [("SKIP", 0.0, 1), prune]).plain == plain
    assert mutate(plain, [("JUMP", 0, 1), prune]).plain == plain
    assert mutate(plain, [("JUMP", 0, 0), prune]).plain == removed
    assert mutate(plain, [("SKIP", 0.0, 2), prune, prune, ("JUMP", 0, 5), prune]).plain == plain
    assert mutate(plain, np.zeros((0, 5))).plain == plain


@pytest.mark.compiled_only
def test_a_choice_in_a_program_runs_one_of_its_operators():
    steps = [AddNode(), RemoveConnection(), Choice([Sequence([Regrow(2), AddNode()]), Regrow(1)], [1, 3])]
    weights = [0.2, 0.3, 0.4]
    children = many(diamond(), compiled(Choice(steps, weights)).rows, 4000, seed=8)
    nodes, edges = children.n_nodes - len(diamond().order), children.n_connections - len(diamond().connections)
    counted = Counter(zip(nodes.tolist(), edges.tolist(), strict=True))
    shares = {(1, 1): 0.2, (0, -1): 0.3, (1, 3): 0.1, (0, 1): 0.3, (0, 0): 0.1}
    assert counted.keys() == shares.keys()
    expected = [4000 * share for share in shares.values()]
    assert stats.chisquare([counted[kind] for kind in shares], expected).pvalue > 1e-3


def many(plain, rows, count, seed=0, baseline=None):
    """`count` children of one network by a program, each from its own stream."""
    genome, table = packed([plain], [baseline]), rows if isinstance(rows, np.ndarray) else program(*rows)
    nodes, edges = len(plain.order) + len(table), len(plain.connections) + int(np.maximum(table[:, 1], 1).sum())
    result = Genomes.room_for(plain.n_inputs, plain.n_outputs, plain.recurrent, genome.default_code, [nodes] * count,
                              [edges] * count)
    zeros = np.zeros(count, np.int64)
    kernels.breed.breed(
        genome.columns, np.zeros(1, np.int64), np.array([0, 1]), np.zeros(1), 1, 0.0, 0.0, zeros, zeros - 1,
        plain.n_inputs, plain.n_outputs, genome.default_code, table, np.zeros(0, np.uint8), seed, 0, 0, count,
        np.array([nodes, edges]), result.columns, np.zeros((count, len(table), 2), np.int64), zeros.copy(),
    )  # fmt: skip
    return result


def pairs_of(genomes, i):
    """The (source id, target id) of genome i, straight from the columns."""
    columns = genomes.columns
    node, edge, count = columns.node_start[i], columns.edge_start[i], columns.n_edges[i]
    ids = columns.ids[node : node + columns.n_nodes[i]]
    incoming = columns.incoming[node : node + columns.n_nodes[i] + 1]
    sources = ids[columns.source[edge : edge + count]].tolist()
    return set(zip(sources, ids.repeat(np.diff(incoming)).tolist(), strict=True))


def test_many_children_equal_one_by_one():
    plain = diamond()
    children = many(plain, [("ADD_CONNECTION", 1.0), ("REGROW", 2)], 20, seed=6)
    for i, child in enumerate(children):
        single = mutate(plain, [("ADD_CONNECTION", 1.0), ("REGROW", 2)], state=after_parents(6, i))
        assert bridge.plain(child) == single.plain


def after_parents(seed, child):
    """The stream of a child once its parent is drawn: one word for the parent, two for whether there is another."""
    state = stream(seed, 0, child)
    kernels.random.below(state, 1)
    kernels.random.uniform(state)
    return state


# ---------------------------------------------------------------- uniform over the legal pairs


def plain_of(n_inputs, n_outputs, hidden, connections, recurrent=False, late=()):
    """A network of these pairs; hidden nodes in this order."""
    ends = list(range(n_inputs)), list(range(n_inputs, n_inputs + n_outputs))
    order = [*ends[0], *hidden, *ends[1]]
    names = {node: "identity" if node < n_inputs else "tanh" for node in order}
    return o.Plain(n_inputs, n_outputs, order, dict.fromkeys(order, 0.0), names,
                   {pair: (1.0, pair in late) for pair in connections}, recurrent)  # fmt: skip


def diamond():
    """Two inputs, four hidden nodes in no forced order, two outputs."""
    return plain_of(2, 2, [9, 5, 7, 11], [(0, 9), (9, 7), (1, 5), (7, 2), (5, 3)])


SMALL = {
    "diamond": diamond(),
    "nothing": plain_of(1, 2, [3, 4, 5], []),
    "chain": plain_of(1, 1, [2, 3, 4], [(0, 2), (2, 3), (3, 4), (4, 1)]),
    "against the order": plain_of(1, 1, [2, 3, 4, 5], [(5, 1), (0, 2)]),
    "recurrent": plain_of(2, 2, [5, 4], [(0, 5), (5, 4), (4, 5), (2, 2)], True, [(4, 5), (2, 2)]),
    "recurrent outputs": plain_of(1, 3, [], [(0, 1)], True),
}


def uneven(counted, wanted):
    """The probability of counts as uneven as these, over all that was wanted."""
    assert counted.keys() <= set(wanted)
    return stats.chisquare([counted[one] for one in sorted(wanted)]).pvalue if len(wanted) > 1 else 1.0


@pytest.mark.compiled_only
@pytest.mark.parametrize("name", SMALL)
def test_add_connection_is_uniform_over_the_legal_pairs(name):
    plain = SMALL[name]
    legal = [pair[:2] for pair in e.legal_pairs(plain)]
    children = many(plain, [("ADD_CONNECTION", 1.0)], 400 * len(legal))
    counted = Counter(pair for i in range(len(children)) for pair in pairs_of(children, i) - plain.connections.keys())
    assert counted.total() == len(children) and uneven(counted, legal) > 1e-3


@pytest.mark.parametrize("name", SMALL)
def test_all_legal_pairs_are_reached(name):
    plain = SMALL[name]
    legal = {pair[:2] for pair in e.legal_pairs(plain)}
    children = many(plain, [("ADD_CONNECTION", 1.0)], 20 * len(legal), seed=1)
    assert {pair for i in range(len(children)) for pair in pairs_of(children, i) - plain.connections.keys()} == legal


@pytest.mark.compiled_only
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_regrow_is_uniform_over_the_subsets_of_free_places(name, count):
    plain = SMALL[name]
    places = sorted(legal_now(plain))
    count = min(count, len(places))
    children = many(plain, [("REGROW", count)], 3000, seed=2)
    grown = [frozenset(pairs_of(children, i) - plain.connections.keys()) for i in range(len(children))]
    assert all(len(one) == count and one <= set(places) for one in grown)
    assert uneven(Counter(pair for one in grown for pair in one), places) > 1e-3 or count == len(places)
    if math.comb(len(places), count) <= 150:
        wanted = Counter(grown)
        assert len(wanted) == math.comb(len(places), count)
        assert len(wanted) == 1 or stats.chisquare(list(wanted.values())).pvalue > 1e-3


def crowded(free, n_hidden=30, recurrent=False):
    """Every pair in order is taken but for these: almost every draw fails."""
    hidden = list(range(2, 2 + n_hidden))
    nodes = [0, *hidden, 1]
    pairs = [(a, b) for i, a in enumerate(nodes) for b in nodes[i + 1 :]]
    if recurrent:
        pairs = [(a, b) for a in nodes for b in nodes[1:]]
    place = {node: i for i, node in enumerate(nodes)}
    late = [(a, b) for a, b in pairs if place[a] >= place[b] or a == 1] if recurrent else []
    return plain_of(1, 1, hidden, [pair for pair in pairs if pair not in free], recurrent, late)


@pytest.mark.parametrize("free, recurrent", [((3, 5), False), ((3, 3), True), ((1, 4), True), ((2, 3), False)])
def test_the_last_legal_pairs_are_always_found(free, recurrent):
    plain = crowded([free], 5, recurrent)
    legal = {pair[:2] for pair in e.legal_pairs(plain)}
    assert legal == ({free, free[::-1]} if free == (2, 3) else {free})  # neighbours may change places
    found = set()
    for seed in range(50):
        done = mutate(plain, [("ADD_CONNECTION", 1.0)], seed).plain
        ((source, target),) = done.connections.keys() - plain.connections.keys()
        assert done == o.connect(plain, source, target, done.connections[source, target][0])
        found.add((source, target))
    assert found == legal


@pytest.mark.compiled_only
@pytest.mark.parametrize("recurrent", [False, True])
def test_the_listing_after_fifty_failures_is_uniform_too(recurrent):
    free = [(2, 31), (0, 5), (7, 9), (30, 1), (10, 11)]
    free += [(20, 20), (1, 1), (31, 2)] if recurrent else []
    plain = crowded(free, recurrent=recurrent)
    legal = [pair[:2] for pair in e.legal_pairs(plain)]
    assert set(free) <= set(legal)  # and 11 -> 10 where 10 -> 11 is free
    n, sources = len(plain.order), len(plain.order) - (not recurrent)
    missed = (1 - len(legal) / (sources * (n - 1))) ** kernels.mutate.ATTEMPTS
    assert missed > 0.5  # most of the draws come from the listing
    children = many(plain, [("ADD_CONNECTION", 1.0)], 300 * len(legal), seed=3)
    counted = Counter(pair for i in range(len(children)) for pair in pairs_of(children, i) - plain.connections.keys())
    assert uneven(counted, legal) > 1e-3


def listed(plain, state):
    """What `_free_pair` draws, as ids."""
    genome = packed([plain])
    columns = genome.columns
    room = kernels.genomes.workspace(len(plain.order), max(len(plain.connections), 1), 0, plain.recurrent)
    kernels.genomes.load(columns, 0, room)
    source, target = kernels.mutate._free_pair(room, plain.n_inputs, plain.n_outputs, state)
    return (plain.order[source], plain.order[target]) if source >= 0 else None


@pytest.mark.compiled_only
@given(genomes(min_connections=0, max_inputs=3, max_outputs=3, max_hidden=5), st.randoms(use_true_random=False))
def test_the_listing_holds_exactly_the_legal_pairs(plain, chooser):
    """Where all but a few legal pairs are taken, the listing finds one of these few, or nothing where none is left."""
    legal = {pair[:2] for pair in e.legal_pairs(plain)}
    drawn = {listed(plain, stream(seed)) for seed in range(6)}
    assert drawn <= legal if legal else drawn == {None}
    while len(legal := {pair[:2] for pair in e.legal_pairs(plain)}) > 2:
        for pair in chooser.sample(sorted(legal), len(legal) // 2):
            if pair in {pair[:2] for pair in e.legal_pairs(plain)}:
                plain = o.connect(plain, *pair, 1.0)
    drawn = {listed(plain, stream(seed)) for seed in range(20)}
    assert drawn == (legal or {None})


# ---------------------------------------------------------------- choices of what is removed or split


@pytest.mark.compiled_only
@pytest.mark.parametrize("instruction", ["ADD_NODE", "REMOVE_CONNECTION", "PRUNE", "REMOVE_NODE"])
def test_what_is_split_or_removed_is_drawn_uniformly(instruction):
    plain = diamond()
    rows = [("PRUNE", 0.2, kernels.mutate.RANDOM)] if instruction == "PRUNE" else [(instruction,)]
    children = many(plain, rows, 2000, seed=5)
    gone = [frozenset(plain.connections.keys() - pairs_of(children, i)) for i in range(len(children))]
    if instruction == "REMOVE_NODE":
        wanted = [frozenset(pair for pair in plain.connections if node in pair) for node in plain.hidden]
        assert frozenset() in wanted  # of the node that is joined to nothing
    else:
        wanted = [frozenset([pair]) for pair in plain.connections]
    counts = Counter(gone)
    assert counts.keys() == set(wanted) and stats.chisquare(list(counts.values())).pvalue > 1e-3


# ---------------------------------------------------------------- when nothing can be done


@pytest.mark.parametrize("row", [("ADD_NODE",), ("REMOVE_NODE",), ("REMOVE_CONNECTION",), ("PRUNE", 1.0, 0),
                                 ("PRUNE_TO_SPARSITY", 0.9, 0), ("PERTURB_WEIGHTS", 1.0, 1.0, 0.5, 1.0)])  # fmt: skip
def test_nothing_to_act_on_is_left_alone(row):
    bare = plain_of(2, 1, [], [])
    done = mutate(bare, [row])
    assert done.plain == bare and not done.rewired and done.baseline is None and not done.splits
    last = plain_of(2, 1, [4], [(0, 4)])
    if row[0] in ("REMOVE_NODE", "REMOVE_CONNECTION", "PRUNE"):
        done = mutate(last, [row], baseline=5)
        assert done.plain == last and not done.rewired and done.baseline == 5


def test_a_full_graph_stays_as_it_is():
    for full in (crowded([], 3), crowded([], 3, recurrent=True)):
        done = mutate(full, [("ADD_CONNECTION", 1.0), ("REGROW", 7)], baseline=9)
        assert done.plain == full and not done.rewired and done.baseline == 9


# ---------------------------------------------------------------- long lives


def small_step(choice, value):
    """One row of a program from a number."""
    name = sorted(ROWS)[choice % len(ROWS)]
    if name in ("PRUNE", "PRUNE_TO_SPARSITY"):
        return name, value, choice % 3
    return (name, *ROWS[name])


@given(NETWORKS, st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 0.4)), min_size=50, max_size=50), SEEDS)
def test_fifty_operators_keep_every_invariant(network, script, seed):
    plain, baseline = network
    first, state = baseline, stream(seed)
    for start in range(0, 50, 5):  # `mutate` asserts soundness and equality with the network rebuilt from its parts
        rows = [small_step(*step) for step in script[start : start + 5]]
        done = mutate(plain, rows, baseline=baseline, choices=NAMES, state=state)
        assert baseline is None or done.baseline >= baseline
        plain, baseline = done.plain, done.baseline
    o.check(plain)
    bridge.assert_sound(bridge.network(plain))
    assert len(plain.connections) >= 1 and (first is None or baseline >= first)
