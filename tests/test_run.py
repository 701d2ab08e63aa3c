"""Running a network: one row, many rows, sequences; the same bits however the rows are taken."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import bridge
import oracles as o
import strategies as s
from neuroprune import Network
from neuroprune.network import run

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture
def threaded(monkeypatch):
    """A function that makes every batch run in that many threads."""

    def set_threads(count):
        monkeypatch.setattr(run, "THREADED_WORK", 0)
        monkeypatch.setattr(run, "threads", lambda: count)

    return set_threads


# ---------------------------------------------------------------- what comes out


@given(s.networks(recurrent=False), st.data())
def test_rows_equal_the_oracle(plain, data):
    net, x = bridge.network(plain), data.draw(s.rows(plain.n_inputs))
    wanted = [o.activate(plain, row) for row in x]
    assert_allclose(net(x), wanted, **CLOSE)
    assert_allclose(net.activate(x[0]), wanted[0], **CLOSE)
    assert_allclose(net.run(x), wanted, **CLOSE)  # nothing is remembered
    assert net(x).shape == (len(x), plain.n_outputs) and net(x[0]).shape == (plain.n_outputs,)


# no jumps and small weights: a step from rest to rest would magnify the last bit
CONTINUOUS = tuple(name for name in s.ANY if name not in ("step", "bipolar"))


@given(s.networks(recurrent=True, activations=CONTINUOUS, scale=1.0), st.data())
def test_sequences_equal_the_oracle(plain, data):
    net, x = bridge.network(plain), data.draw(s.sequences(plain.n_inputs))
    wanted = [[[values[node] for node in plain.outputs] for values, _ in o.run(plain, one)] for one in x]
    assert_allclose(net.run(x), wanted, **CLOSE)
    net.reset()
    assert_allclose(net.run(x[0]), wanted[0], **CLOSE)
    assert net.run(x[0]).shape == (x.shape[1], plain.n_outputs)


@pytest.mark.parametrize("case", o.golden("forward_acyclic")["cases"], ids=lambda case: f"{case['tag']}{case['id']}")
def test_golden_outputs(case):
    plain, _ = o.from_golden(case["net"])
    net = bridge.network(plain)
    x, wanted = (np.array([sample[key] for sample in case["samples"]], float) for key in ("input", "output"))
    assert_allclose(net(x), wanted, rtol=1e-12, atol=1e-14)
    assert_allclose([net(row) for row in x], wanted, rtol=1e-12, atol=1e-14)
    assert_allclose(net(x, dtype=np.float32), wanted, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- the same bits


@given(s.networks(), st.integers(1, 40), s.SEEDS)
def test_a_row_gives_the_same_bits_alone_and_among_others(plain, rows, seed):
    """1 to 40 rows: tiles that are full and tiles that are padded."""
    net, x = bridge.network(plain), np.random.default_rng(seed).normal(size=(rows, plain.n_inputs))
    for dtype in (None, np.float32):
        net.reset()
        together = net(x, dtype=dtype)
        for i in {0, rows // 2, rows - 1}:
            net.reset()
            assert net(x[i], dtype=dtype).tobytes() == together[i].tobytes()
            net.reset()
            assert net(x[i : i + 1], dtype=dtype).tobytes() == together[i].tobytes()


@pytest.mark.parametrize("recurrent", [False, True])
def test_threads_and_tiles_change_no_bit(recurrent, threaded, monkeypatch):
    net = Network.random(5, 3, 20, 120, recurrent=recurrent, seed=1)
    net.nodes.activation = ["tanh", "sigmoid", "sin", "gelu"] * 7
    sequences = np.random.default_rng(0).normal(size=(150, 3, 5))
    wanted = net.run(sequences)
    state = net.copy()
    for threads in (1, 2, 3, 7, 16):
        for tile in (65_536, 16):
            threaded(threads)
            monkeypatch.setattr(run, "TILE_VALUES", tile)
            net.reset()
            assert net.run(sequences).tobytes() == wanted.tobytes()
            assert net.copy()(sequences[:, 0]).tobytes() == state.copy()(sequences[:, 0]).tobytes()
            net.reset()
            assert net.run(sequences, dtype=np.float32).dtype == np.float32


def test_an_error_in_a_thread_is_an_error(threaded, monkeypatch):
    threaded(3)
    net = Network.dense([2, 2], seed=0)

    def fail(*arguments):
        raise MemoryError("out of room")

    monkeypatch.setattr(run.kernels.forward, "run_rows", fail)
    with pytest.raises(MemoryError, match="out of room"):
        net(np.zeros((100, 2)))


def test_networks_that_share_a_graph_run_at_the_same_time():
    net = Network.random(4, 2, 30, 200, recurrent=True, seed=2)
    nets = [net.copy() for _ in range(8)]
    for i, one in enumerate(nets):
        one.connections.weight *= 1 + i / 10
    x = np.random.default_rng(1).normal(size=(40, 6, 4))
    wanted = [one.copy().run(x).tobytes() for one in nets]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda one: one.run(x).tobytes(), nets))
    assert got == wanted and len(set(got)) == 8


@pytest.mark.parametrize("stride", [16, 32, 48, 64, 128])
def test_padded_lanes_do_not_leak(stride, monkeypatch):
    """Overflow in one row stays in it, and what fills up a tile is never seen."""
    net = Network.from_connections(1, 1, [(0, 5, 1.0), (5, 1, 1.0)], activation="square")
    monkeypatch.setattr(run, "tile_stride", lambda n_nodes, blocks, rows: stride)
    x = np.arange(1.0, 38.0)[:, None]
    x[[0, 17, 36]] = [[np.inf], [np.nan], [-np.inf]]
    with np.errstate(all="ignore"):
        out = net(x)
    assert out[1:17, 0].tolist() == [i**4 for i in range(2, 18)]
    assert out[18:36, 0].tolist() == [i**4 for i in range(19, 37)]
    assert np.isnan(out[17, 0])


@given(st.integers(1, 10**7), st.integers(1, 1000), st.integers(0, 10**6))
def test_tiles_are_whole_lanes_and_no_more_than_needed(nodes, blocks, rows):
    stride = run.tile_stride(nodes, blocks, rows)
    assert stride % run.LANES == 0 and 0 < stride < rows + run.LANES or stride == run.LANES
    assert stride * nodes * blocks <= max(run.WIDE_VALUES, run.LANES * nodes * blocks)


def test_threads_are_those_this_process_may_use():
    assert run.threads() >= 1


# ---------------------------------------------------------------- state


@given(s.networks(recurrent=True), st.data())
def test_calls_continue_where_the_last_one_stopped(plain, data):
    net, x = bridge.network(plain), data.draw(s.sequences(plain.n_inputs, max_steps=6))
    wanted = net.copy().run(x)
    cut = data.draw(s.sizes(0, x.shape[1]))
    assert np.array_equal(net.run(x[:, :cut]), wanted[:, :cut])
    middle = net.copy()
    assert np.array_equal(net.run(x[:, cut:]), wanted[:, cut:])
    for step in range(cut, x.shape[1]):
        assert np.array_equal(middle(x[:, step]), wanted[:, step])  # the copy remembers too, and on its own
    middle.reset()
    assert np.array_equal(middle.run(x), wanted)


def test_streams_are_counted():
    net = Network.random(2, 1, 2, 6, recurrent=True, seed=0)
    x = np.random.default_rng(0).normal(size=(3, 2))
    first = net(x)
    before = bridge.snapshot(net)
    for call in (lambda: net(x[:2]), lambda: net(x[0]), lambda: net.run(x), lambda: net(x[:0])):
        with pytest.raises(ValueError, match="has 3 streams, got [012] rows: call net.reset()") as raised:
            call()
        bridge.assert_one_sentence(raised)
        assert bridge.snapshot(net) == before
    net.reset()
    assert net(x[1]).tolist() == first[1].tolist()
    with pytest.raises(ValueError, match="has 1 streams, got 3 rows"):
        net(x)


def test_no_rows_start_no_streams():
    net = Network.random(2, 1, 2, 6, recurrent=True, seed=0)
    assert net(np.zeros((0, 2))).shape == (0, 1)
    assert net.run(np.zeros((0, 4, 2))).shape == (0, 4, 1)
    assert net.run(np.zeros((3, 0, 2))).shape == (3, 0, 1)
    assert net(np.zeros((5, 2))).shape == (5, 1)


def test_an_acyclic_network_remembers_nothing():
    net = Network.dense([2, 3, 1], seed=0)
    x = np.random.default_rng(0).normal(size=(3, 2))
    first = net(x)
    assert net(x[:2]).tolist() == first[:2].tolist() and net(x).tolist() == first.tolist()
    net.reset()
    assert net.run(x).tolist() == first.tolist()


def test_training_and_gradients_leave_the_state_alone():
    net = Network.random(2, 1, 2, 8, recurrent=True, seed=0)
    x, y = np.ones((2, 3, 2)), np.ones((2, 3, 1))
    net(x[:, 0])
    twin = net.copy()
    net.gradient(x, y)
    net.train(x, y, iterations=2, learning_rate=0.01, validation=(x, y), validate_every=1)
    net.parameters = twin.parameters
    assert net(x[:, 1]).tolist() == twin(x[:, 1]).tolist()


# ---------------------------------------------------------------- types and shapes


@given(s.networks(activations=s.GENTLE, scale=1.0), st.data())
def test_float32_is_close(plain, data):
    net, x = bridge.network(plain), data.draw(s.sequences(plain.n_inputs))
    wanted = net.run(x)
    net.reset()
    for dtype in (np.float32, "float32", np.dtype("f4")):
        net.reset()
        got = net.run(x, dtype=dtype)
        assert got.dtype == np.float32
        assert_allclose(got, wanted, rtol=1e-3, atol=1e-3)
    net.reset()
    one = net(x[:, 0], dtype=np.float32)
    assert one.dtype == np.float32
    assert_allclose(one, wanted[:, 0], rtol=1e-3, atol=1e-3)
    assert net.run(x[:, 1:]).dtype == np.float64  # the state serves both


def test_shapes_without_rows_or_connections():
    net = Network.from_connections(2, 3, [], bias={3: 0.5}, activation="sin")
    assert net(np.zeros((0, 2))).shape == (0, 3) and net.run(np.zeros((0, 2))).shape == (0, 3)
    assert net(np.zeros((0, 2)), dtype=np.float32).shape == (0, 3)
    assert net([1.0, 2.0]).tolist() == [0.0, np.sin(0.5), 0.0]
    assert net(np.ones((20, 2))).tolist() == [[0.0, np.sin(0.5), 0.0]] * 20


def test_the_input_is_left_alone_and_the_output_is_new():
    net = Network.dense([2, 2], activation="tanh", seed=0)
    x = np.random.default_rng(0).normal(size=(20, 2))
    kept = x.copy()
    x.flags.writeable = False
    first, second = net(x), net(x)
    assert (x == kept).all() and first is not second and first.flags.writeable
    first[:] = 0
    assert net(x).tolist() == second.tolist()
    assert net(x[::2]).tolist() == second[::2].tolist()


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net(np.zeros(3)), r"x must have shape \(2,\) or \(rows, 2\), got \(3,\)"),
        (lambda net: net(np.zeros((4, 3))), r"x must have shape \(2,\) or \(rows, 2\), got \(4, 3\)"),
        (lambda net: net(np.zeros((1, 4, 2))), r"x must have shape \(2,\) or \(rows, 2\), got \(1, 4, 2\)"),
        (lambda net: net(1.0), r"x must have shape \(2,\) or \(rows, 2\), got \(\)"),
        (lambda net: net.run(np.zeros(2)), r"must have shape \(steps, 2\) or \(streams, steps, 2\), got \(2,\)"),
        (lambda net: net.run(np.zeros((2, 3))), r"sequence must have shape \(steps, 2\) or .*, got \(2, 3\)"),
        (lambda net: net(np.zeros(2), dtype=np.int64), "dtype must be float32 or float64, got int64"),
        (lambda net: net(np.zeros((1, 2)), dtype=np.float16), "dtype must be float32 or float64, got float16"),
    ],
)
def test_refused_calls_change_nothing(recurrent, call, message):
    net = Network.random(2, 1, 2, 6, recurrent=recurrent, seed=0)
    net([0.5, 0.5])
    before = bridge.snapshot(net)
    with pytest.raises(ValueError, match=message) as raised:
        call(net)
    bridge.assert_one_sentence(raised)
    assert bridge.snapshot(net) == before
