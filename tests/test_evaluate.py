"""Packed genomes on data: what a batch computes is what each network computes alone, bit for bit."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuroprune as npr
from neuroprune import activations, kernels
from neuroprune.evolution.genomes import Genomes
from neuroprune.network import losses, optimizers, run
from strategies import SEEDS, sizes

BUILT_IN = 24  # codes of activations that come with the package
activations.register_activation("test_evaluate_wave", lambda x: np.sin(x), lambda x: np.cos(x))
CODES = [*range(BUILT_IN), activations.code("test_evaluate_wave")]
SMOOTH = [activations.code(name) for name in ("identity", "tanh", "sigmoid", "softsign", "sin", "softplus", "swish")]


@st.composite
def populations(draw: Callable, recurrent: bool | None = None, codes: list[int] = CODES,
                most_hidden: int = 6) -> Genomes:
    """Packed networks with any activations, some with room to spare behind them."""
    recurrent = draw(st.booleans()) if recurrent is None else recurrent
    n_in, n_out = draw(sizes(1, 3)), draw(sizes(1, 3))
    rng = np.random.default_rng(draw(SEEDS))
    nets = []
    for _ in range(draw(sizes(1, 5))):
        hidden = int(rng.integers(0, most_hidden + 1))
        room = hidden * (n_in + n_out) + n_in * n_out
        nets.append(npr.Network.random(n_in, n_out, hidden, int(rng.integers(0, room + 1)), recurrent=recurrent,
                                       seed=int(rng.integers(2**32))))
    packed = Genomes.pack(nets)
    spare = rng.integers(0, 3, len(nets))
    genomes = Genomes.room_for(n_in, n_out, recurrent, packed.default_code, packed.n_nodes + spare,
                               packed.n_connections + 2 * spare)
    kernels.genomes.gather(packed.columns, np.arange(len(nets)), genomes.columns)
    for i in range(len(genomes)):
        block = genomes._block(i)
        e = int(genomes.n_connections[i])
        block[:e] = rng.uniform(-2, 2, e)
        block[e + n_in:] = rng.uniform(-2, 2, block.size - e - n_in)
        node = int(genomes.columns.node_start[i])
        genomes.columns.code[node + n_in:node + int(genomes.n_nodes[i])] = rng.choice(codes, block.size - e - n_in)
    return genomes


def fixed(genomes: Genomes) -> tuple:
    return genomes.columns, activations.table(), genomes.n_inputs, genomes.n_outputs, genomes.recurrent


def draw_data(data: st.DataObject, genomes: Genomes, loss: str, most_rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(data.draw(SEEDS))
    rows = data.draw(st.sampled_from([1, 2, 15, 16, 17, most_rows]))
    steps = data.draw(sizes(1, 4)) if genomes.recurrent else 1
    y = rng.uniform(-2, 2, (rows, steps, genomes.n_outputs))
    if loss in ("binary_cross_entropy", "softmax_cross_entropy"):
        y = np.abs(y) / 2
    return rng.uniform(-2, 2, (rows, steps, genomes.n_inputs)), y


def outputs_of(net: npr.Network, x: np.ndarray) -> np.ndarray:
    """Outputs (sequences, steps, n_outputs) of a fresh network."""
    return net.run(x) if net.graph.recurrent else net(x[:, 0])[:, None]


@given(sizes(1, 70_000), sizes(1, 50), st.integers(0, 400))
def test_strides_are_those_of_a_network(n_nodes: int, blocks: int, rows: int) -> None:
    assert kernels.evaluate.tile_stride(n_nodes, blocks, rows) == run.tile_stride(n_nodes, blocks, rows)


@settings(max_examples=200, deadline=None)
@given(st.data(), populations(), st.sampled_from(list(losses.LOSSES)))
def test_losses_are_those_of_the_networks(data: st.DataObject, genomes: Genomes, loss: str) -> None:
    x, y = draw_data(data, genomes, loss)
    before = [column.copy() for column in genomes.columns]
    out = np.full(len(genomes), -7.0)
    with np.errstate(all="ignore"):
        cut = data.draw(st.integers(0, len(genomes)))
        for start, stop in ((0, cut), (cut, len(genomes))):
            kernels.evaluate.dataset(*fixed(genomes), start, stop, x, y, losses.code(loss), np.empty(0), out)
        expected = []
        for i in range(len(genomes)):
            outputs = outputs_of(genomes.network(i), x)
            value = losses.value(loss, outputs, y) if np.isfinite(outputs).all() else np.nan
            expected.append(value if np.isfinite(value) else np.nan)
    assert np.array_equal(out, expected, equal_nan=True)
    assert all(map(np.array_equal, before, genomes.columns))


@pytest.mark.compiled_only
@pytest.mark.parametrize("rows", [127, 128, 129, 1000])
def test_rows_of_several_tiles(rows: int) -> None:
    nets = [npr.Network.random(6, 3, hidden, 10 * hidden, seed=hidden) for hidden in (5, 30, 400)]
    rng = np.random.default_rng(rows)
    x, y = rng.normal(size=(rows, 1, 6)), rng.normal(size=(rows, 1, 3))
    out = np.empty(3)
    kernels.evaluate.dataset(*fixed(Genomes.pack(nets)), 0, 3, x, y, 0, np.empty(0), out)
    assert out.tolist() == [losses.value("mse", net(x[:, 0]), y[:, 0]) for net in nets]


@given(st.data(), populations(codes=SMOOTH))
def test_accuracy_counts_the_classes_hit(data: st.DataObject, genomes: Genomes) -> None:
    x, y = draw_data(data, genomes, "mse", most_rows=20)
    low, high = data.draw(st.sampled_from([(0.0, 1.0), (-1.0, 1.0)]))
    if genomes.n_outputs == 1:
        y = np.where(y > 0, high, low)
    middle = (low + high) / 2
    out = np.empty(len(genomes))
    kernels.evaluate.dataset(*fixed(genomes), 0, len(genomes), x, y, 0, np.array([middle, middle]), out)
    for i in range(len(genomes)):
        outputs = outputs_of(genomes.network(i), x)
        hits = (outputs > middle) == (y > middle) if genomes.n_outputs == 1 else outputs.argmax(-1) == y.argmax(-1)
        assert out[i] == np.count_nonzero(hits) / hits.size


def test_the_first_of_equal_outputs_is_the_class() -> None:
    y, equal = np.array([[[1.0, 1.0, 0.0]], [[0.0, 1.0, 1.0]]]), np.zeros(3)
    assert [kernels.evaluate.is_class(y, row, 0, 0, 1, 0.0, 0.0, equal) for row in range(2)] == [True, False]
    y = np.array([[[1.0]], [[0.0]]])  # a single output at its cut is the first class
    assert [kernels.evaluate.is_class(y, row, 0, 0, 1, 0.0, 0.5, equal) for row in range(2)] == [False, True]


@pytest.mark.parametrize("loss", list(losses.LOSSES))
def test_what_is_not_finite_is_nan(loss: str) -> None:
    """Also for hinge, which is 0 for NaN, and for the accuracy."""
    nets = [npr.Network.from_connections(1, 2, [(0, 1, weight), (0, 2, 1.0)], activation="identity")
            for weight in (1.0, 1e308, 1.0)]
    x, y = np.full((2, 1, 1), 10.0), np.full((2, 1, 2), 0.5)
    for cuts in (np.empty(0), np.zeros(2)):
        out = np.empty(3)
        with np.errstate(all="ignore"):
            kernels.evaluate.dataset(*fixed(Genomes.pack(nets)), 0, 3, x, y, losses.code(loss), cuts, out)
        assert np.isfinite(out).tolist() == [True, False, True] and np.isnan(out[1])


@settings(max_examples=200, deadline=None)
@given(st.data(), populations())
def test_steps_are_those_of_the_networks(data: st.DataObject, genomes: Genomes) -> None:
    """Each genome on a row of its own, state going along, in chunks."""
    rng = np.random.default_rng(data.draw(SEEDS))
    count = len(genomes)
    x = rng.uniform(-2, 2, (data.draw(sizes(1, 4)), count, genomes.n_inputs))
    nets = [genomes.network(i) for i in range(count)]
    state = np.zeros(genomes.columns.ids.size if genomes.recurrent else 0)
    cut = data.draw(st.integers(0, count))
    with np.errstate(all="ignore"):
        for row in x:
            out = np.full((count, genomes.n_outputs), -7.0)
            for start, stop in ((0, cut), (cut, count)):
                kernels.evaluate.step(*fixed(genomes), start, stop, row, state, out)
            expected = np.array([net(one) for net, one in zip(nets, row, strict=True)])
            assert np.array_equal(out, expected, equal_nan=True)
    if genomes.recurrent:
        for i, net in enumerate(nets):
            first = int(genomes.columns.node_start[i])
            assert np.array_equal(state[first:first + int(genomes.n_nodes[i])], net._state[0], equal_nan=True)


@given(st.data(), sizes(1, 30), sizes(1, 12))
def test_batches_of_an_epoch_are_all_rows_once(data: st.DataObject, rows: int, steps: int) -> None:
    batch = data.draw(sizes(1, rows))
    seed = data.draw(SEEDS)

    def draw(portions: list[int]) -> list[list[int]]:
        permutation, stream, place, found = np.arange(rows), np.empty(4, np.int64), rows, []
        kernels.random.seed_stream(seed, 3, 7, stream)
        for count in portions:
            starts, order = np.zeros(count + 1, np.int64), np.full(count * batch, -1)
            place = kernels.evaluate.batches(rows, batch, starts, order, permutation, place, stream)
            found += [order[starts[i]:starts[i + 1]].tolist() for i in range(count)]
        return found

    whole = draw([steps])
    cut = data.draw(st.integers(0, steps))
    assert draw([cut, steps - cut]) == whole
    epoch = -(-rows // batch)
    for start in range(0, steps, epoch):
        taken = whole[start:start + epoch]
        assert [len(one) for one in taken] == [min(batch, rows - i * batch) for i in range(len(taken))]
        flat = [row for one in taken for row in one]
        assert sorted(flat) == list(range(rows)) if len(taken) == epoch else len(set(flat)) == len(flat)
    if batch == rows:
        assert all(one == list(range(rows)) for one in whole)


def test_every_order_of_rows_is_about_equally_likely() -> None:
    stream, counts = np.empty(4, np.int64), {}
    kernels.random.seed_stream(1, 2, 3, stream)
    for _ in range(2400):
        order = np.empty(4, np.int64)
        kernels.evaluate.batches(4, 1, np.zeros(5, np.int64), order, np.arange(4), 4, stream)
        counts[tuple(order.tolist())] = counts.get(tuple(order.tolist()), 0) + 1
    assert len(counts) == 24 and min(counts.values()) > 60 and max(counts.values()) < 150


def learn(genomes: Genomes, x: np.ndarray, y: np.ndarray, loss: str, steps: int, rate: float, batch: int,
          optimizer: optimizers.Optimizer, clip: float = 0.0, l1: float = 0.0, l2: float = 0.0, start: int = 0,
          stop: int | None = None, seed: int = 5, generation: int = 2, first: int = 0) -> None:
    with np.errstate(all="ignore"):
        kernels.evaluate.learn(*fixed(genomes), start, len(genomes) if stop is None else stop, x, y, losses.code(loss),
                               steps, rate, batch, optimizer.code, optimizer.settings(l1, l2), clip, seed, generation,
                               first)


OPTIMIZERS = [optimizers.sgd(), optimizers.sgd(0.9, True), optimizers.rmsprop(), optimizers.adam(), optimizers.adamw()]


@settings(max_examples=200, deadline=None)
@given(st.data(), populations(codes=SMOOTH), st.sampled_from(OPTIMIZERS))
def test_learning_on_one_row_is_training_on_it(data: st.DataObject, genomes: Genomes, optimizer) -> None:
    """One row needs no order, so the bits are those of net.train."""
    x, y = draw_data(data, genomes, "mse")
    x, y = x[:1], y[:1]
    l1, l2, clip = data.draw(st.sampled_from([(0.0, 0.0, 0.0), (0.01, 0.02, 0.0), (0.0, 0.0, 0.5)]))
    steps = data.draw(sizes(1, 4))
    nets = [genomes.network(i) for i in range(len(genomes))]
    learn(genomes, x, y, "mse", steps, 0.01, 1, optimizer, clip, l1, l2)
    for i, net in enumerate(nets):
        before = net._parameters.copy()
        try:
            with np.errstate(all="ignore"):
                net.train(x if genomes.recurrent else x[:, 0], y if genomes.recurrent else y[:, 0], steps, 0.01,
                          optimizer, l1=l1, l2=l2, clip_norm=clip or None)
        except FloatingPointError:
            net._parameters[:] = before
        assert np.array_equal(genomes._block(i), net._parameters)


@settings(max_examples=200, deadline=None)
@given(st.data(), populations(), st.sampled_from(list(losses.LOSSES)), st.sampled_from(OPTIMIZERS))
def test_mini_batches_step_by_step(data: st.DataObject, genomes: Genomes, loss: str, optimizer) -> None:
    """Against net.gradient on the rows of each mini-batch and one optimizer step after the other."""
    x, y = draw_data(data, genomes, loss, most_rows=18)
    rows, steps = len(x), data.draw(sizes(1, 5))
    batch = data.draw(sizes(1, rows))
    nets = [genomes.network(i) for i in range(len(genomes))]
    cut, first = data.draw(st.integers(0, len(genomes))), data.draw(st.integers(0, 1000))
    learn(genomes, x, y, loss, steps, 0.05, batch, optimizer, start=0, stop=cut, first=first)
    learn(genomes, x, y, loss, steps, 0.05, batch, optimizer, start=cut, first=first)
    starts, order = np.zeros(steps + 1, np.int64), np.empty(steps * batch, np.int64)
    for i, net in enumerate(nets):
        stream = np.empty(4, np.int64)
        kernels.random.seed_stream(5, 2, first + i, stream)
        kernels.evaluate.batches(rows, batch, starts, order, np.arange(rows), rows, stream)
        before, moments = net._parameters.copy(), np.zeros((2, net._parameters.size))
        sound = True
        for step in range(steps):
            with np.errstate(all="ignore"):
                taken = order[starts[step]:starts[step + 1]]
                one, target = (x[taken], y[taken]) if genomes.recurrent else (x[taken, 0], y[taken, 0])
                value = losses.value(loss, outputs_of(net.copy(), x[taken]), y[taken])
                gradient = np.concatenate(net.gradient(one, target, loss))
                sound = sound and bool(np.isfinite(value) and np.isfinite(np.linalg.norm(gradient)))
                if sound:
                    kernels.optimize.optimizer_step(optimizer.code, optimizer.settings(0.0, 0.0), net._parameters,
                                                    gradient, moments, step + 1, 0.05, net.graph.n_connections)
        if not sound or not np.isfinite(net._parameters).all():
            net._parameters[:] = before
        assert np.array_equal(genomes._block(i), net._parameters)
        e = net.graph.n_connections
        assert not genomes._block(i)[e:e + genomes.n_inputs].any()  # inputs have no bias


def test_many_steps_run_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than one portion of the loop holds are taken as one long training."""
    rows, batch, steps = 1500, 1000, 70
    if not hasattr(kernels.evaluate.learn, "overloads"):  # plain Python is slow, but its constant can be changed
        rows, batch, steps = 15, 10, 7
        monkeypatch.setattr(kernels.evaluate, "PORTION_ROWS", 3 * batch)
    assert steps * batch > kernels.evaluate.PORTION_ROWS
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(rows, 1, 2)), rng.normal(size=(rows, 1, 1))
    genomes = Genomes.pack([npr.Network.dense([2, 2, 1], seed=0)])
    net = genomes.network(0)
    learn(genomes, x, y, "mse", steps, 0.01, batch, optimizers.adam())
    starts, order, stream = np.zeros(steps + 1, np.int64), np.empty(steps * batch, np.int64), np.empty(4, np.int64)
    kernels.random.seed_stream(5, 2, 0, stream)
    kernels.evaluate.batches(rows, batch, starts, order, np.arange(rows), rows, stream)
    moments = np.zeros((2, net._parameters.size))
    for step in range(steps):
        taken = order[starts[step]:starts[step + 1]]
        gradient = np.concatenate(net.gradient(x[taken, 0], y[taken, 0]))
        kernels.optimize.optimizer_step(2, optimizers.adam().settings(0.0, 0.0), net._parameters, gradient, moments,
                                        step + 1, 0.01, 6)
    assert np.array_equal(genomes._block(0), net._parameters)


@pytest.mark.compiled_only
def test_long_sequences_learn_in_the_tiles_of_a_network() -> None:
    """Sums over rows and steps go tile by tile, so tiles of another width would round otherwise."""
    net = npr.Network.random(2, 1, 197, 600, recurrent=True, seed=0)
    genomes = Genomes.pack([npr.Network.random(2, 1, 1, 4, recurrent=True, seed=1), net])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 20, 2)), rng.normal(size=(100, 20, 1))
    assert run.tile_stride(200, 21, 100) != run.tile_stride(200, 1, 100)
    learn(genomes, x, y, "mse", 1, 0.5, 100, optimizers.sgd())
    assert np.array_equal(genomes._block(1), net._parameters - 0.5 * np.concatenate(net.gradient(x, y)))


def test_a_genome_that_diverges_keeps_its_parameters() -> None:
    nets = [npr.Network.from_connections(1, 1, [(0, 1, weight)], activation="identity") for weight in (0.5, 1e200, 0.5)]
    genomes = Genomes.pack(nets)
    x, y = np.ones((2, 1, 1)), np.zeros((2, 1, 1))
    learn(genomes, x, y, "mse", 3, 0.1, 2, optimizers.sgd())
    assert genomes._block(1).tolist() == [1e200, 0.0, 0.0]
    assert genomes._block(0).tolist() == genomes._block(2).tolist() != [0.5, 0.0, 0.0]
    genomes._block(0)[:] = genomes._block(2)[:] = [30.0, 0.0, 0.0]
    kept = genomes.columns.parameters.copy()
    for steps in (1, 400):  # the last step goes beyond all numbers, or one in the middle
        learn(genomes, x, y, "mse", steps, 1e308 if steps == 1 else 1e3, 2, optimizers.sgd())
        assert np.array_equal(genomes.columns.parameters, kept)
