"""Genomes laid end to end: round trips, spare room, live networks, matching, distance, memory."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridge
import oracle_evolution as e
import oracles as o
import strategies as s
from bridge_evolution import codes, families, mutate, packed, program, relative, stream
from neuroprune import Network, kernels
from neuroprune.evolution.genomes import Genomes, in_chunks

COEFFICIENTS = st.floats(0, 3)


def assert_holds(genomes, plains, baselines=None):
    """Each genome is this network, bit for bit, whichever way it is looked at."""
    assert len(genomes) == len(plains)
    assert genomes.n_nodes.tolist() == [len(plain.order) for plain in plains]
    assert genomes.n_connections.tolist() == [len(plain.connections) for plain in plains]
    for i, plain in enumerate(plains):
        for net in (genomes[i], genomes.network(i)):
            bridge.assert_same(net, plain)
            assert net.evolution_baseline == (baselines[i] if baselines else None)


def contents(genomes):
    """All columns as bytes."""
    return [column.tobytes() for column in genomes.columns]


def roomy(plains, nodes, edges):
    """Genomes with so much spare room behind each, filled with what must not be read."""
    tight = packed(plains)
    loose = Genomes.room_for(tight.n_inputs, tight.n_outputs, tight.recurrent, tight.default_code,
                             tight.n_nodes + nodes, tight.n_connections + edges)  # fmt: skip
    for column in (loose.columns.ids, loose.columns.incoming, loose.columns.source):
        column[:] = -77
    loose.columns.parameters[:] = np.nan
    kernels.genomes.gather(tight.columns, np.arange(len(tight)), loose.columns)
    return loose


# ---------------------------------------------------------------- packing


@given(families(), st.data())
def test_packing_keeps_every_bit(plains, data):
    baselines = [data.draw(st.one_of(st.none(), st.integers(1, 2**40))) for _ in plains]
    genomes = packed(plains, baselines)
    assert_holds(genomes, plains, baselines)
    assert_holds(pickle.loads(pickle.dumps(genomes)), plains, baselines)
    for net in genomes:
        bridge.assert_sound(net)


@given(families(), st.data())
def test_taking_any_with_repeats(plains, data):
    genomes = packed(plains, [i + 1 for i in range(len(plains))])
    indices = data.draw(st.lists(st.integers(0, len(plains) - 1), max_size=8))
    assert_holds(genomes.take(indices), [plains[i] for i in indices], [i + 1 for i in indices])
    assert_holds(genomes[1:], plains[1:], list(range(2, len(plains) + 1)))
    assert_holds(genomes[::-1], plains[::-1], list(range(len(plains), 0, -1)))
    bridge.assert_same(genomes[-1], plains[-1])
    with pytest.raises(IndexError):
        genomes[len(plains)]


@given(families(), st.integers(0, 5), st.integers(0, 9))
def test_spare_room_is_never_read(plains, nodes, edges):
    loose = roomy(plains, nodes, edges)
    assert_holds(loose, plains)
    assert contents(loose.take(np.arange(len(plains)))) == contents(packed(plains))
    assert_holds(pickle.loads(pickle.dumps(loose)), plains)
    out = np.empty(len(plains))
    everyone = np.arange(len(plains))
    kernels.genomes.distances(loose.columns, everyone, loose.columns, everyone[::-1].copy(), 1.0, 0.4, out)
    tight, wanted = packed(plains), np.empty(len(plains))
    kernels.genomes.distances(tight.columns, everyone, tight.columns, everyone[::-1].copy(), 1.0, 0.4, wanted)
    assert out.tobytes() == wanted.tobytes()


@given(families())
def test_loading_and_storing(plains):
    genomes = roomy(plains, 2, 3)
    most = int(genomes.n_nodes.max()), max(int(genomes.n_connections.max()), 1)
    room = kernels.genomes.workspace(*most, 0, genomes.recurrent)
    before = contents(genomes)
    for g in range(len(plains)):
        kernels.genomes.load(genomes.columns, g, room)
        kernels.genomes.store(room, genomes.columns, g)
    assert contents(genomes) == before


@given(families())
def test_reads_are_those_of_the_graph(plains):
    genomes = roomy(plains, 1, 1)
    for g, plain in enumerate(plains):
        read = np.zeros(len(plain.connections), np.int32)
        kernels.genomes.reads(genomes.columns, g, read)
        assert read.tolist() == bridge.network(plain).graph.read.tolist()


def test_networks_of_several_shapes_are_refused():
    net, wider = (Network.dense([inputs, 3, 1], seed=0) for inputs in (2, 3))
    for others in ([], [net, wider], [net, Network.random(2, 1, 3, 5, recurrent=True, seed=0)]):
        with pytest.raises(ValueError) as error:
            Genomes.pack(others)
        bridge.assert_one_sentence(error)


# ---------------------------------------------------------------- live networks


@given(families(), s.SEEDS)
def test_a_network_is_a_live_view(plains, seed):
    genomes, rng = packed(plains), np.random.default_rng(seed)
    nets = list(genomes)
    for i, net in enumerate(nets):
        weight, bias = rng.normal(size=len(net.connections)), rng.normal(size=net.graph.n_nodes)
        bias[: net.graph.n_inputs] = 0
        net.connections.weight[:] = weight
        net.nodes.bias[net.graph.n_inputs :] = bias[net.graph.n_inputs :]
        assert genomes[i].connections.weight.tobytes() == weight.tobytes()
        assert genomes[i].nodes.bias.tobytes() == bias.tobytes()
    assert [bridge.plain(net) for net in nets] == [bridge.plain(net) for net in genomes]  # nobody wrote to others


@given(families(), s.SEEDS)
def test_rewiring_detaches(plains, seed):
    genomes = packed(plains)
    before, rng = contents(genomes), np.random.default_rng(seed)
    for i, plain in enumerate(plains):
        if plain.connections:
            net = genomes[i]
            net.keep(rng.random(len(plain.connections)) < 0.5 if len(plain.connections) > 1 else [False])
            if len(net.connections) < len(plain.connections):
                net.connections.weight[:] = 5.0
                net.nodes.bias[net.graph.n_inputs :] = 6.0
        net = genomes[i]
        for pair in sorted(plain.connections)[:1]:
            net.add_node(*pair)
            net.connections.weight[:] = 7.0
    assert contents(genomes) == before


@given(families())
def test_own_copies_change_nothing(plains):
    genomes = packed(plains)
    before = contents(genomes)
    for i in range(len(genomes)):
        for net in (genomes.network(i), genomes[i].copy(), genomes.take([i])[0]):
            net.connections.weight[:] = 3.0
            net.nodes.bias[net.graph.n_inputs :] = 4.0
    assert contents(genomes) == before


def test_activations_of_a_network_are_its_own():
    genomes = packed([o.Plain(1, 1, [0, 1], {0: 0.0, 1: 0.0}, {0: "identity", 1: "tanh"}, {(0, 1): (1.0, False)})])
    assert genomes[0].nodes.activation.tolist()[1] == "tanh"
    mutated = mutate(bridge.plain(genomes[0]), [("CHANGE_ACTIVATION", 1.0, 0, 1)], choices=("sin",)).plain
    assert mutated.activation[1] == "sin" and genomes[0].nodes.activation.tolist()[1] == "tanh"


# ---------------------------------------------------------------- matching


def apart(first, second, disjoint, difference):
    """Distances of two lists of plain networks, pair by pair, by the kernel."""
    out, everyone = np.empty(len(first)), np.arange(len(first))
    columns = packed(first).columns, packed(second).columns
    kernels.genomes.distances(columns[0], everyone, columns[1], everyone, disjoint, difference, out)
    return out.tolist()


@given(families(2, 4), COEFFICIENTS, COEFFICIENTS)
def test_distance_is_that_of_the_paper(plains, disjoint, difference):
    pairs = [(a, b) for a in plains for b in plains]
    found = apart(*zip(*pairs, strict=True), disjoint, difference)
    wanted = [e.distance(e.genes(a), e.genes(b), disjoint, difference) for a, b in pairs]
    assert found == pytest.approx(wanted, rel=1e-12, abs=1e-12)
    assert all(found[i * len(plains) + i] == 0 for i in range(len(plains)))
    mirrored = [found[j * len(plains) + i] for i in range(len(plains)) for j in range(len(plains))]
    assert found == pytest.approx(mirrored, rel=1e-12, abs=1e-12)


@given(families(2, 3), s.SEEDS)
def test_distance_does_not_depend_on_the_order_of_nodes(plains, seed):
    first, second = plains[:2]
    rng = np.random.default_rng(seed)
    hidden = [second.hidden[i] for i in rng.permutation(len(second.hidden))]
    forward = [pair for pair, (_, late) in second.connections.items() if not late]
    order = o.kahn([*second.inputs, *hidden, *second.outputs], second.n_inputs, second.n_outputs, forward)
    turned = type(second)(**{**vars(second), "order": order})
    assert apart([first, turned], [turned, second], 1.0, 0.4) == pytest.approx(
        [apart([first], [second], 1.0, 0.4)[0], 0.0], rel=1e-12, abs=1e-12
    )


def test_distance_of_strangers():
    first = o.Plain(1, 1, [0, 2**62, 1], {0: 0.0, 2**62: 0.0, 1: 0.0}, {0: "identity", 2**62: "tanh", 1: "tanh"},
                    {(0, 2**62): (1.0, False), (2**62, 1): (1.0, False)})  # fmt: skip
    second = o.Plain(1, 1, [0, 2, 1], {0: 0.0, 2: 0.0, 1: 0.0}, {0: "identity", 2: "tanh", 1: "tanh"},
                     {(0, 2): (1.0, False), (2, 1): (5.0, False), (0, 1): (2.0, False)})  # fmt: skip
    nothing = o.keep(first, [False, False])
    assert apart([first, second, first, nothing, nothing], [second, first, nothing, first, nothing], 1.5, 1.0) == [
        2.5, 2.5, 1.5, 1.5, 0.0]  # fmt: skip


@given(st.integers(2, 60), s.SEEDS, st.sampled_from([1, 2, 64, 2**29, 2**40, 2**55]))
def test_ids_that_meet_in_the_table_are_told_apart(count, seed, step):
    """Two stars over ids in arithmetic progressions, the second in another order and half of them foreign."""
    rng = np.random.default_rng(seed)
    ids = [2 + step * (k + 1) for k in range(count)]
    stars = []
    for _ in range(2):
        mine = [ids[k] for k in rng.permutation(count) if rng.random() < 0.7]
        order = [0, *mine, 1]
        weights = {(0, node): (float(rng.normal()), False) for node in mine}
        stars.append(o.Plain(1, 1, order, dict.fromkeys(order, 0.0), dict.fromkeys(order, "tanh"), weights))
    assert apart(stars, stars[::-1], 1.0, 1.0) == pytest.approx(
        [e.distance(e.genes(stars[0]), e.genes(stars[1]), 1, 1)] * 2, rel=1e-12)


@given(families(3, 6), st.integers(0, 3), st.floats(0.05, 2.0), st.data())
def test_first_within_is_the_first_near_representative(plains, begin, threshold, data):
    representatives = [relative(plains[0], data.draw(s.SEEDS)) for _ in range(data.draw(st.integers(1, 4)))]
    begin = min(begin, len(representatives))
    marks = [data.draw(st.sampled_from([-1, -1, 7])) for _ in plains]
    start = data.draw(st.integers(0, len(plains)))
    out = np.array(marks, np.int64)
    others = packed(representatives).columns
    kernels.genomes.first_within(packed(plains).columns, start, len(plains), others, begin, 1.0, 0.4, threshold, out)
    for i, plain in enumerate(plains):
        wanted, clear = marks[i], True
        if i >= start and marks[i] < 0:
            gaps = [e.distance(e.genes(plain), e.genes(one), 1.0, 0.4) for one in representatives]
            wanted = next((b for b in range(begin, len(gaps)) if gaps[b] < threshold), -1)
            clear = all(abs(gap - threshold) > 1e-9 for gap in gaps)
        assert out[i] == wanted or not clear


def test_the_threshold_itself_is_too_far():
    plain = o.Plain(1, 1, [0, 1], {0: 0.0, 1: 0.0}, {0: "identity", 1: "tanh"}, {(0, 1): (1.0, False)})
    far = o.Plain(1, 1, [0, 1], {0: 0.0, 1: 0.0}, {0: "identity", 1: "tanh"}, {(0, 1): (2.0, False)})
    for threshold, wanted in ((0.5, -1), (0.500001, 0), (0.0, -1)):
        out = np.array([-1])
        kernels.genomes.first_within(packed([plain]).columns, 0, 1, packed([far]).columns, 0, 1.0, 0.5, threshold, out)
        assert out[0] == wanted


# ---------------------------------------------------------------- memory and chunks


@pytest.mark.parametrize("recurrent", [False, True])
def test_memory_for_each_connection(recurrent):
    nets = [Network.random(10, 5, 35, 200, recurrent=recurrent, seed=seed) for seed in range(20)]
    genomes = Genomes.pack(nets)
    assert genomes.n_nodes.tolist() == [50] * 20 and genomes.n_connections.tolist() == [200] * 20
    assert genomes.nbytes == sum(column.nbytes for column in genomes.columns) <= 32 * 200 * 20
    assert len(pickle.dumps(genomes)) <= 32 * 200 * 20 + 2000
    small = Genomes.pack([Network.dense([2, 3, 1], seed=0)] * 10)
    assert small.nbytes <= 10_000 * 10


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 100])
@pytest.mark.parametrize("edges", [0, 10**9])
def test_chunks_cover_everything_once(count, edges):
    seen = np.zeros(count, np.int64)

    def work(first, last):
        seen[first:last] += 1

    in_chunks(work, count, edges)
    assert (seen == 1).all()


def test_an_error_in_a_chunk_comes_out():
    def work(first, last):
        if last == 100:
            raise RuntimeError("the last chunk")

    with pytest.raises(RuntimeError, match="the last chunk"):
        in_chunks(work, 100, 10**9)


# ---------------------------------------------------------------- one program, many genomes


def test_kernels_move_no_global_state():
    before = np.random.get_state()[1].copy()
    genomes = packed([relative(bridge.plain(Network.dense([3, 4, 2], seed=0)), seed) for seed in range(3)])
    room = np.array([30, 90])
    result = Genomes.room_for(3, 2, False, genomes.default_code, room[:1], room[1:])
    table = program(("ADD_NODE",), ("ADD_CONNECTION", 1.0), ("PERTURB_WEIGHTS", 1.0, 1.0, 0.5, 1.0), ("REGROW", 5))
    kernels.breed.mutate_one(genomes.columns, 3, 2, genomes.default_code, table, codes(["tanh"]), stream(), room,
                             result.columns, np.zeros((1, 2), np.int64))
    assert (np.random.get_state()[1] == before).all()
