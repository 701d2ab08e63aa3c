"""The Network as an object: one flat vector, copies, equality, pickles, its random stream."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridge
import oracles as o
import strategies as s
from neuroprune import Network, PruningSchedule, register_activation
from neuroprune.activations import ACTIVATIONS

ROOT = Path(__file__).parents[1]


def cube(x):
    return x * x * x


def cube_slope(x):
    return 3 * x * x


def laden():
    """A recurrent network that carries everything a network can carry."""
    net = Network.random(2, 2, 3, 12, recurrent=True, seed=3)
    net.pruning = PruningSchedule(0.5, start=1, end=4, method="snip", ramp="cubic")
    data = np.random.default_rng(0).normal(size=(3, 4, 2))
    net.train(data, data, iterations=3, learning_rate=0.01, batch_size=2)
    net.prune_to_sparsity(0.4)
    net(data[:, 0])
    net.rng.random()
    return net


def told(net):
    """All that a network says about itself, as comparable values."""
    nothing = net.connections.accumulated_gradient is None
    gradient = None if nothing else net.connections.accumulated_gradient.tobytes()
    return (
        bridge.plain(net), net.graph.layer_sizes, net.default_activation, gradient, net.pruning,
        net.initial_connection_count, net.evolution_baseline, net.last_prune_iteration, net.iteration, net.sparsity,
        net.seed, net.rng_state,
    )  # fmt: skip


# ---------------------------------------------------------------- parameters


@given(s.networks())
def test_parameters_are_weights_then_biases_and_round_trip(plain):
    net = bridge.network(plain)
    stored, free = plain.stored, plain.order[plain.n_inputs :]
    assert net.parameters.tolist() == [plain.connections[p][0] for p in stored] + [plain.bias[n] for n in free]
    weight, bias, graph = net.connections.weight, net.nodes.bias, net.graph
    vector = np.arange(1.0, 1.0 + len(stored) + len(free))
    net.parameters = vector
    assert net.parameters.tolist() == vector.tolist()
    assert net.connections.weight is weight and net.nodes.bias is bias and net.graph is graph
    assert weight.tolist() == vector[: len(stored)].tolist()
    assert bias.tolist() == [0.0] * plain.n_inputs + vector[len(stored) :].tolist()


def test_parameters_are_a_copy():
    net = Network.dense([2, 2], seed=0)
    vector = net.parameters
    vector[:] = 9
    assert not (net.parameters == 9).any()
    net.parameters = vector
    vector[:] = 1
    assert (net.parameters == 9).all()


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.zeros(5), ValueError, r"net.parameters must have shape \(6,\), got \(5,\)"),
        (np.zeros((6, 1)), ValueError, r"net.parameters must have shape \(6,\), got \(6, 1\)"),
        (0.0, ValueError, r"net.parameters must have shape \(6,\), got \(\)"),
        ([0, 0, 0, 0, 0, np.nan], ValueError, "net.parameters must be finite, got nan at index 5"),
        ([np.inf, 0, 0, 0, 0, 0], ValueError, "net.parameters must be finite, got inf at index 0"),
        (["a"] * 6, TypeError, "net.parameters must be numbers, got"),
    ],
)
def test_refused_parameters_change_nothing(values, error, message):
    net = Network.dense([2, 2], seed=0)
    before = bridge.snapshot(net)
    with pytest.raises(error, match=message) as raised:
        net.parameters = values
    bridge.assert_one_sentence(raised)
    assert bridge.snapshot(net) == before


# ---------------------------------------------------------------- copies

COPIES = {
    "copy": lambda net: net.copy(),
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda net: pickle.loads(pickle.dumps(net)),
    "old pickle": lambda net: pickle.loads(pickle.dumps(net, protocol=2)),
}
again = pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)


@again
@pytest.mark.parametrize("make", [laden, lambda: Network.dense([2, 3, 2], seed=1)], ids=["laden", "fresh"])
def test_a_copy_carries_everything_and_is_independent(again, make):
    net = make()
    twin = again(net)
    assert told(twin) == told(net) and net.equals(twin) and type(twin) is Network
    x = np.random.default_rng(2).normal(size=(3, 2))
    before = told(net)
    assert twin.copy()(x).tolist() == net.copy()(x).tolist()  # the state came along
    twin.connections.weight += 1.0
    twin.nodes[-1].bias = 3.0
    twin.nodes[-1].activation = "sin"
    twin.connections.accumulated_gradient = 5.0
    if twin.graph.recurrent:
        twin(x)
    twin.rng.random(7)
    twin.pruning = None
    twin.add_node(*bridge.plain(twin).stored[0])
    assert told(net) == before
    bridge.assert_sound(twin)
    bridge.assert_sound(net)


@again
def test_a_copy_continues_as_the_original_would(again):
    net = laden()
    twin, data = again(net), np.random.default_rng(0).normal(size=(4, 5, 2))
    mine, theirs = (one.train(data, data, iterations=6, learning_rate=0.01, batch_size=3) for one in (net, twin))
    assert mine.loss.tobytes() == theirs.loss.tobytes()
    assert told(net) == told(twin)
    assert net.regrow(3) == twin.regrow(3) and net.equals(twin)
    assert net(data[:3, 0]).tobytes() == twin(data[:3, 0]).tobytes()


def test_copies_share_the_frozen_graph():
    net = Network.dense([2, 3, 1], seed=0)
    twin = net.copy()
    assert twin.graph is net.graph is copy.deepcopy(net).graph
    handle = net.connections[0]
    twin.disconnect(0, 3)
    assert twin.graph is not net.graph and handle.weight == net.connections.weight[0]


def test_unused_random_streams_are_equal_too():
    net = Network.from_connections(1, 1, [(0, 1, 1.0)], seed=4)
    twins = [make(net) for make in COPIES.values()]
    draws = [one.rng.random() for one in (net, *twins)]
    assert len(set(draws)) == 1


def test_a_registered_activation_is_pickled_by_name():
    register_activation("test_network_cube", cube, cube_slope)
    net = Network.from_connections(1, 1, [(0, 1, 2.0)], activation="test_network_cube")
    twin = pickle.loads(pickle.dumps(net))
    assert twin.equals(net) and twin([1.5]).tolist() == [27.0] and twin.default_activation == "test_network_cube"


def test_a_pickle_whose_activation_is_not_registered_says_which(tmp_path):
    register_activation("test_network_cube", cube, cube_slope)
    net = Network.from_connections(1, 1, [(0, 1, 2.0)], activation={1: "test_network_cube"})
    (tmp_path / "net").write_bytes(pickle.dumps(net))
    script = f"""
import pickle, sys
sys.path[:0] = [{str(ROOT)!r}]
import neuroprune
for other in ("first", "second"):
    neuroprune.register_activation(other, lambda x: x, lambda x: 1.0)
try:
    pickle.load(open({str(tmp_path / "net")!r}, "rb"))
except ValueError as error:
    print(error)
neuroprune.register_activation("test_network_cube", lambda x: x * x * x, lambda x: 3 * x * x)
print(pickle.load(open({str(tmp_path / "net")!r}, "rb"))([1.5])[0])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    refusal, value = done.stdout.splitlines()
    assert "'test_network_cube'" in refusal and "register_activation" in refusal
    assert value == "27.0"


# ---------------------------------------------------------------- equality

CHANGES = {
    "weight": lambda net: net.connections.weight.__setitem__(0, 5.0),
    "bias": lambda net: net.nodes.bias.__setitem__(-1, 5.0),
    "activation": lambda net: setattr(net.nodes[-1], "activation", "sin"),
    "fewer connections": lambda net: net.disconnect(*bridge.plain(net).stored[-1]),
    "another node": lambda net: net.add_node(*bridge.plain(net).stored[0]),
    "recurrent": lambda net: net.as_recurrent(),
}
CARRIED = {
    "rng": lambda net: net.rng.random(),
    "schedule": lambda net: setattr(net, "pruning", PruningSchedule(0.5, 1, 2)),
    "baseline": lambda net: net.prune_to_sparsity(1e-9),
    "gradient": lambda net: setattr(net.connections, "accumulated_gradient", 1.0),
    "input activation": lambda net: setattr(net.nodes, "activation", net.nodes.activation.tolist()),
}


@pytest.mark.parametrize("change", [*CHANGES, *CARRIED])
@pytest.mark.parametrize("shared", [True, False])
def test_equals_looks_at_wiring_and_numbers_only(change, shared):
    net = Network.dense([2, 3, 2], seed=0)
    other = net.copy() if shared else Network.dense([2, 3, 2], seed=0)
    assert net.equals(other) and other.equals(net) and net.equals(net)
    {**CHANGES, **CARRIED}[change](other)
    assert net.equals(other) == other.equals(net) == (change in CARRIED)


def test_equals_looks_at_ids_delays_and_ends():
    def made(n_inputs=1, n_outputs=2, hidden=5, late=False):
        rows = [(0, hidden, 1.0), (hidden, n_inputs, 1.0)]
        return Network.from_connections(n_inputs, n_outputs, rows, delayed=[late, False])

    assert made().equals(made())
    assert not made().equals(made(hidden=6))
    assert not made().equals(made(late=True))
    assert not made(1, 2).equals(made(2, 1))
    assert not made().equals(None) and not made().equals(3)


@given(s.networks(max_hidden=3), s.networks(max_hidden=3))
def test_equals_agrees_with_the_spelled_out_networks(one, two):
    same = o.replace(one, bias=dict(one.bias))
    assert bridge.network(one).equals(bridge.network(same, seed=5))
    assert bridge.network(one).equals(bridge.network(two)) == (one == two)


# ---------------------------------------------------------------- random stream and the rest


def test_seed_is_recorded_and_reproduces():
    net = Network.dense([3, 4, 2])
    assert isinstance(net.seed, int)
    twin = Network.dense([3, 4, 2], seed=net.seed)
    assert net.equals(twin) and net.rng.random() == twin.rng.random()
    assert not net.equals(Network.dense([3, 4, 2]))
    mine = np.random.default_rng(0)
    shared = Network.dense([3, 4, 2], seed=mine)
    assert shared.seed is None and shared.rng is mine


def test_rng_is_made_on_first_use_and_kept():
    net = Network.from_connections(1, 1, [(0, 1, 1.0)], seed=2)
    assert net.rng is net.rng
    generator = np.random.default_rng(5)
    net.rng = generator
    assert net.rng is generator
    with pytest.raises(TypeError, match="net.rng must be a numpy.random.Generator, got int"):
        net.rng = 3
    assert net.rng is generator


@pytest.mark.parametrize("bits", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
@again
def test_rng_state_restores_the_stream_exactly(bits, again):
    net = Network.dense([2, 2], seed=0)
    net.rng = np.random.Generator(getattr(np.random, bits)(7))
    net.rng.random(5), net.rng.integers(10, dtype=np.uint32)
    state, twin = net.rng_state, again(net)
    wanted = net.rng.random(9).tolist()
    assert twin.rng_state == state and twin.rng.random(9).tolist() == wanted
    net.rng_state = state
    assert net.rng_state == state and net.rng.random(9).tolist() == wanted


def test_a_refused_rng_state_changes_nothing():
    net = Network.dense([2, 2], seed=0)
    before = bridge.snapshot(net)
    for state in ({}, {"bit_generator": "PCG64"}, {**net.rng_state, "state": {"state": "a", "inc": 1}}, 3):
        with pytest.raises(ValueError, match="the RNG state must") as raised:
            net.rng_state = state
        bridge.assert_one_sentence(raised)
    assert bridge.snapshot(net) == before


def test_global_random_state_plays_no_part():
    np.random.seed(0)
    legacy = np.random.get_state()[1].tolist()
    first = laden()
    np.random.seed(1)
    assert told(first) == told(laden())
    np.random.seed(0)
    assert np.random.get_state()[1].tolist() == legacy


def test_what_a_network_says_of_itself():
    net = Network.dense([4, 3, 2], activation="relu", seed=0)
    assert repr(net) == "<Network: 4 inputs, 3 hidden, 2 outputs, 18 connections>"
    assert repr(laden()).endswith("connections, recurrent>")
    assert net.default_activation == "relu" and net.sparsity == 0.0 and net.iteration == 0
    assert net.pruning is net.initial_connection_count is net.evolution_baseline is net.last_prune_iteration is None
    for name in ("graph", "connections", "nodes", "seed", "iteration", "sparsity", "default_activation"):
        with pytest.raises(AttributeError):
            setattr(net, name, None)
    with pytest.raises(AttributeError):
        net.wieght = 1


def test_every_built_in_activation_has_its_place_in_a_network():
    for name in list(ACTIVATIONS)[:24]:
        net = Network.from_connections(1, 1, [(0, 1, 0.7)], activation=name)
        assert net.nodes[1].activation == name
        np.testing.assert_allclose(net([1.0]), [o.VALUE[name](0.7)], rtol=1e-14)


@given(st.data())
def test_data_may_be_anything_that_numpy_takes(data):
    net = Network.dense([3, 2], seed=0)
    rows = data.draw(st.lists(st.tuples(*[st.integers(-5, 5)] * 3), min_size=1, max_size=4))
    wanted = net(np.array(rows, np.float64))
    table = np.array(rows)
    for x in (rows, table, table.astype(np.float32), np.asfortranarray(table), table[::-1][::-1], table.astype(object)):
        assert net(x).tolist() == wanted.tolist()
