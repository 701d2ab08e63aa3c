"""Training: against hand-written loops, the same bits in any chunks, and what follows a network that is rewired."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import bridge
import oracles as o
import strategies as s
from neuroprune import Network, PruningSchedule
from neuroprune.network import losses, optimizers, train
from neuroprune.network.history import COLUMNS
from neuroprune.rng import generator
from test_edit import BY_HAND, by_hand, scripts
from test_optimizers import CHOICES, assert_close, trained

BOUNDED = ("tanh", "sigmoid", "sin")


def data(rows=10, inputs=3, outputs=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, inputs)), rng.normal(size=(rows, outputs))


# ---------------------------------------------------------------- against hand-written loops


@given(s.networks(activations=BOUNDED, max_hidden=4, scale=0.5), s.sizes(1, 9), s.sizes(1, 12), s.SEEDS)
def test_batches_are_seeded_shuffles(plain, size, rows, seed):
    """Every epoch is a permutation from the seed, cut into batches of which the last may be smaller."""
    rng = np.random.default_rng(0)
    lead = (rows, 2) if plain.recurrent else (rows,)
    x, t = rng.normal(size=(*lead, plain.n_inputs)), rng.normal(size=(*lead, plain.n_outputs))
    net = bridge.network(plain)
    before = net.rng_state
    history = net.train(x, t, 7, 0.05, "sgd", batch_size=size, seed=seed)
    assert net.rng_state == before  # the shuffle has a seed of its own
    shuffle, batches, wanted = generator(seed), [], []
    for _ in range(7):
        if not batches:
            order = shuffle.permutation(rows)
            batches = [order[first : first + size] for first in range(0, rows, size)]
        chosen = batches.pop(0)
        wanted.append(o.mean_loss(plain, x[chosen], t[chosen], "mse"))
        plain, _ = trained(plain, x[chosen], t[chosen], "mse", 1, "sgd", 0.05)
    assert_close(net, plain)
    assert_allclose(history.loss, wanted, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("choice", ["momentum", "nesterov", "rmsprop", "adam", "adamw"])
@given(plain=s.networks(activations=BOUNDED, max_hidden=4, max_inputs=3, max_outputs=2, scale=0.5),
       script=scripts((*BY_HAND, "connect"), 5), lot=st.data())  # fmt: skip
def test_moments_follow_connections_through_what_a_callback_does(choice, plain, script, lot):
    """Connected, cut, split, removed, re-ordered: moments of what stays go on, those of what is new start at 0."""
    x, t = lot.draw(s.batches(plain, "mse"))
    net, (names, rng), wanted, states = bridge.network(plain), script, [plain], [{}]

    def rewire(net, history):
        wanted[0], states[0] = trained(wanted[0], x, t, "mse", 1, choice, 0.02, states[0], len(history))
        done = by_hand(wanted[0], names[len(history) - 1], rng, net)
        if done is not None and done[0] is not None:
            done[1]()
            kept = {*done[0].connections, *done[0].order}
            wanted[0], states[0] = done[0], {key: state for key, state in states[0].items() if key in kept}
            assert bridge.plain(net).order == wanted[0].order

    net.train(x, t, 5, 0.02, CHOICES[choice][0], callback=rewire)
    assert_close(net, wanted[0], rtol=1e-6, atol=1e-6)
    bridge.assert_sound(net)


@pytest.mark.parametrize("choice", ["momentum", "adam"])
def test_moments_follow_connections_through_scheduled_pruning(choice):
    net, (x, t) = Network.dense([3, 4, 2], seed=1), data()
    plain, states = bridge.plain(net), {}
    net.pruning = PruningSchedule(0.75, start=3, end=9, frequency=3, ramp="linear")
    seen = []
    net.train(x, t, 12, 0.02, CHOICES[choice][0], callback=lambda net, history: seen.append(bridge.plain(net)))
    for step in range(1, 13):
        if step in (3, 6, 9):
            desired = o.desired_count(o.ramp("linear", 0.75, 3, 9, step), 20)
            scores = [abs(plain.connections[pair][0]) for pair in plain.stored]
            plain = o.keep(plain, o.prune_lowest(scores, len(scores) - desired))
        plain, states = trained(plain, x, t, "mse", 1, choice, 0.02, states, step)
        assert seen[step - 1].connections.keys() == plain.connections.keys()
    assert len(plain.connections) == 5
    assert_close(net, plain)


@pytest.mark.parametrize("choice", ["momentum", "adam"])
def test_what_grows_again_where_it_went_starts_anew(choice, monkeypatch):
    """Pruned and grown at one place at one time: the same pair of ids, but a new connection without moments."""
    net, (x, t) = Network.dense([3, 4, 2], seed=1), data()
    plain, states, again, results, seen = bridge.plain(net), {}, 0, [], []
    maybe_prune = train.prune.maybe_prune

    def recorded(net, iteration):
        results.append(maybe_prune(net, iteration))
        return results[-1]

    monkeypatch.setattr(train.prune, "maybe_prune", recorded)
    net.pruning = PruningSchedule(0.5, start=3, end=14, frequency=4, regrow_fraction=1.0, candidates="layers")
    net.train(x, t, 15, 0.02, CHOICES[choice][0], callback=lambda net, history: seen.append(bridge.plain(net)))
    for step, result in enumerate(results, 1):
        if result is not None:
            gone, new = (list(zip(rows.source.tolist(), rows.target.tolist(), strict=True))
                         for rows in (result.removed, result.regrown))  # fmt: skip
            again += len({*gone} & {*new})
            kept = {pair: value for pair, value in plain.connections.items() if pair not in gone}
            grown = {pair: (weight, False) for pair, weight in zip(new, result.regrown.weight.tolist(), strict=True)}
            plain = replace(plain, connections=kept | grown)
            states = {key: state for key, state in states.items() if key not in gone}
        plain, states = trained(plain, x, t, "mse", 1, choice, 0.02, states, step)
        assert seen[step - 1].connections.keys() == plain.connections.keys()
    assert again >= 3 and len(plain.connections) == 10
    assert_close(net, plain)


@pytest.mark.parametrize("choice", ["momentum", "adam"])
def test_what_a_callback_takes_away_and_puts_back_starts_anew(choice):
    """A pair of ids that goes and comes within one callback, and a node whose id is given again."""
    net, (x, t) = Network.dense([3, 4, 2], seed=1), data()
    plain, states = bridge.plain(net), {}

    def rewire(net, history):
        if len(history) == 3:
            net.disconnect(0, 5)
            net.connect(0, 5, 0.5)
        if len(history) == 5:
            net.remove_node(8)
            assert net.add_node(1, 5) == 8

    net.train(x, t, 8, 0.02, CHOICES[choice][0], callback=rewire)
    for step in range(1, 9):
        plain, states = trained(plain, x, t, "mse", 1, choice, 0.02, states, step)
        if step == 3:
            plain = replace(plain, connections=plain.connections | {(0, 5): (0.5, False)})
            del states[0, 5]
        if step == 5:
            rest = o.remove_node(plain, 8)
            states = {key: state for key, state in states.items() if key in rest.connections or key in rest.bias}
            plain = o.split(rest, 1, 5, activation="tanh")
    assert_close(net, plain)


# ---------------------------------------------------------------- the same bits in any chunks


def outcome(net, history):
    """Everything that training changes, as bytes."""
    columns = [getattr(history, name).tobytes() for name in COLUMNS]
    return bridge.snapshot(net), columns


WAYS = {
    "chunks of 1": {"CHUNK_STEPS": 1},
    "chunks of 7": {"CHUNK_STEPS": 7},
    "chunks of 512": {"CHUNK_STEPS": 512},
    "little work": {"CHUNK_WORK": 1},
    "callback": {"callback": lambda net, history: None},
    "progress": {"progress": True},
}


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("validated", [False, True])
def test_chunks_change_no_bit(recurrent, pruned, batch_size, validated, monkeypatch):
    x, t = (column.reshape(5, 2, -1) if recurrent else column for column in data())
    seen = {}
    for way, options in WAYS.items():
        net = Network.random(3, 2, 4, 20, recurrent=recurrent, seed=2)
        if pruned:
            net.pruning = PruningSchedule(0.6, 4, 20, 5, "snip", regrow_fraction=0.5)
        with monkeypatch.context() as patch, contextlib.redirect_stderr(io.StringIO()):
            for name in ("CHUNK_STEPS", "CHUNK_WORK"):
                patch.setattr(train, name, options.get(name, getattr(train, name)))
            history = net.train(
                x, t, 30, 0.01, batch_size=batch_size, l2=0.1, clip_norm=0.5, callback=options.get("callback"),
                progress=options.get("progress", False), validation=(x, t) if validated else None,
            )  # fmt: skip
        seen[way] = outcome(net, history)
    assert [way for way in seen if seen[way] != seen["callback"]] == []


@pytest.mark.parametrize("steps", [(12,), (5, 7), (1,) * 12])
def test_training_continues(steps):
    """Without moments to forget, several calls are one; the schedule and the iteration go on too."""
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    net.pruning = PruningSchedule(0.5, 3, 9, 3)
    histories = [net.train(x, t, count, 0.02, "sgd") for count in steps]
    assert net.iteration == 12 and net.last_prune_iteration == 9 and len(net.connections) == 10
    assert np.concatenate([one.iteration for one in histories]).tolist() == list(range(1, 13))
    connections = np.concatenate([one.connections for one in histories]).tolist()
    assert connections == [20, 20, 20, 20, 20, 15, 15, 15, 10, 10, 10, 10]
    sparsity = np.concatenate([one.sparsity for one in histories])
    assert sparsity.tolist() == [1 - count / 20 for count in connections]
    once = Network.dense([3, 4, 2], seed=0)
    once.pruning = PruningSchedule(0.5, 3, 9, 3)
    once.train(x, t, 12, 0.02, "sgd")
    assert net.equals(once)
    gradient = once.connections.accumulated_gradient
    assert_allclose(net.connections.accumulated_gradient, gradient, rtol=1e-12, atol=1e-15)
    for mine, theirs in zip(sums(net), sums(once), strict=True):
        assert_allclose(mine, theirs, rtol=1e-12, atol=1e-15)


def test_the_seed_decides():
    def weights(seed, net_seed=0):
        net, (x, t) = Network.dense([3, 4, 2], seed=net_seed), data()
        net.train(x, t, 9, 0.02, batch_size=3, seed=seed)
        return net.parameters.tobytes()

    assert weights(1) == weights(1) != weights(2)
    assert weights(None) == weights(None)
    assert weights(np.random.default_rng(3)) == weights(np.random.default_rng(3)) != weights(1)


@pytest.mark.parametrize("loss", o.LOSSES)
def test_every_loss_trains(loss):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2))
    labels = (x[:, 0] > x[:, 1]).astype(int)
    t = {"softmax_cross_entropy": labels, "hinge": np.eye(2)[labels] * 2 - 1}.get(loss, np.eye(2)[labels])
    net = Network.dense([2, 6, 2], seed=0)
    history = net.train(x, t, 150, 0.03, loss=loss)
    assert history.loss[-1] < 0.5 * history.loss[0]
    assert_allclose(history.loss[0], losses.value(loss, Network.dense([2, 6, 2], seed=0)(x), t), rtol=1e-10)
    assert np.mean(net(x).argmax(1) == labels) > 0.9


@pytest.mark.compiled_only
def test_a_recurrent_network_learns_to_remember():
    x = np.random.default_rng(0).choice([-1.0, 1.0], (40, 6, 1))
    t = np.concatenate([np.zeros((40, 1, 1)), x[:, :-1]], 1)
    net = Network.random(1, 1, 4, 25, recurrent=True, seed=0)
    history = net.train(x, t, 200, 0.03)
    assert history.loss[-1] < 0.05 < 0.5 < history.loss[0]
    net.reset()
    assert_allclose(net.run(x)[:, 1:], t[:, 1:], atol=0.6)


# ---------------------------------------------------------------- the accumulated gradient


def gradients(net, x, t, steps, **options):
    """Gradient of every step, taken from copies made before it."""
    found, before = [], [net.copy()]

    def look(net, history):
        found.append(before[0].gradient(x, t)[0])
        before[0] = net.copy()

    net.train(x, t, steps, 0.02, callback=look, **options)
    return found


def accumulated(net):
    return net.connections.accumulated_gradient


def test_the_accumulated_gradient_is_the_sum_since_the_last_pruning():
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    assert accumulated(net) is None
    first = gradients(net, x, t, 3, clip_norm=1e-3, l1=0.1, l2=0.1)  # before clipping, without penalties
    assert_allclose(accumulated(net), np.sum(first, 0), rtol=1e-11, atol=1e-14)
    column = accumulated(net)
    more = gradients(net, x, t, 2)
    assert_allclose(accumulated(net), np.sum(first + more, 0), rtol=1e-11, atol=1e-14)
    assert accumulated(net) is column  # the column is live
    kept = net.prune_to_sparsity(0.5).kept
    assert accumulated(net).tolist() == column[kept].tolist()  # pruning filters it
    column, after = accumulated(net), gradients(net, x, t, 2)
    assert_allclose(accumulated(net), np.sum(after, 0), rtol=1e-11, atol=1e-14)  # and the next step restarts it
    assert accumulated(net) is column
    net.disconnect(*bridge.plain(net).stored[0])  # not a pruning: the sum goes on
    more = gradients(net, x, t, 1)
    assert_allclose(accumulated(net), np.sum(after, 0)[1:] + more[0], rtol=1e-11, atol=1e-14)
    net.regrow(2)
    assert accumulated(net) is None
    (only,) = gradients(net, x, t, 1)
    assert_allclose(accumulated(net), only, rtol=1e-11, atol=1e-14)


def test_an_assigned_gradient_is_added_to():
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    net.prune_to_sparsity(0.5)
    net.connections.accumulated_gradient = np.arange(10.0)
    found = gradients(net, x, t, 2)
    assert_allclose(accumulated(net), np.arange(10.0) + np.sum(found, 0), rtol=1e-11, atol=1e-14)
    net.connections.accumulated_gradient = None
    found = gradients(net, x, t, 2)
    assert_allclose(accumulated(net), np.sum(found, 0), rtol=1e-11, atol=1e-14)


def test_scheduled_pruning_restarts_the_sum():
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    net.pruning = PruningSchedule(0.5, 3, 3, method="snip")
    found = gradients(net, x, t, 5)
    assert len(net.connections) == 10
    assert_allclose(accumulated(net), np.sum(found[3:], 0) + found_at_pruning(net, x, t), rtol=1e-10, atol=1e-13)


def found_at_pruning(net, x, t):
    """Gradient of step 3 of the training above, on the network pruned just before it."""
    twin = Network.dense([3, 4, 2], seed=0)
    twin.train(x, t, 2, 0.02)
    twin.pruning = PruningSchedule(0.5, 3, 3, method="snip")
    twin.maybe_prune(3)
    return twin.gradient(x, t)[0]


# ---------------------------------------------------------------- accumulated movement and squared gradients


def sums(net):
    """What is recorded: the sums of g, of -w g and of g^2."""
    connections = net.connections
    return connections.accumulated_gradient, connections.accumulated_movement, connections.accumulated_squared_gradient


def summands(net, x, t, steps, size=None, seed=0, **options):
    """(steps, 3, E): g, -w g and g^2 of every mini-batch, from copies made before each step."""
    shuffle, batches, found, before = generator(seed), [], [], [net.copy()]
    while len(batches) < steps:
        order = shuffle.permutation(len(x))
        batches += [order[first : first + (size or len(x))] for first in range(0, len(x), size or len(x))]

    def look(net, history):
        rows, weight = batches[len(history) - 1], before[0].connections.weight
        slopes = before[0].gradient(x[rows], t[rows])[0]
        found.append((slopes, -weight * slopes, slopes**2))
        before[0] = net.copy()

    net.train(x, t, steps, 0.02, batch_size=size, seed=seed, callback=look, **options)
    return np.array(found)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("size", [None, 4])
def test_movement_and_squares_are_sums_over_steps_since_the_last_pruning(recurrent, size):
    net = Network.random(3, 2, 4, 20, recurrent=recurrent, seed=2)
    x, t = (column.reshape(10, 1, -1) if recurrent else column for column in data())
    assert sums(net) == (None, None, None)
    first = summands(net, x, t, 4, size, clip_norm=1e-3, l1=0.1, l2=0.1)  # before clipping, without penalties
    assert_allclose(sums(net), first.sum(0), rtol=1e-11, atol=1e-14)
    columns = sums(net)
    more = summands(net, x, t, 3, size, seed=1)
    assert_allclose(sums(net), first.sum(0) + more.sum(0), rtol=1e-11, atol=1e-14)
    assert all(mine is column for mine, column in zip(sums(net), columns, strict=True))  # the columns are live
    kept = net.prune_to_sparsity(0.5).kept
    assert [column.tolist() for column in sums(net)] == [column[kept].tolist() for column in columns]
    columns = sums(net)
    after = summands(net, x, t, 2, size)
    assert_allclose(sums(net), after.sum(0), rtol=1e-11, atol=1e-14)
    assert all(mine is column for mine, column in zip(sums(net), columns, strict=True))
    net.disconnect(*bridge.plain(net).stored[0])  # not a pruning: the sums go on
    last = summands(net, x, t, 1, size)
    assert_allclose(sums(net), after.sum(0)[:, 1:] + last.sum(0), rtol=1e-11, atol=1e-14)
    net.regrow(1)
    assert sums(net) == (None, None, None)


@pytest.mark.parametrize("choice", ["sgd", "adam", "rmsprop"])
def test_movement_is_positive_where_the_weight_moved_away_from_zero(choice):
    """Sanh et al. 2020: with plain descent, lr times the sum is what the squares of the weights grew by, halved."""
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    before = net.connections.weight.copy()
    net.train(x, t, 3, 1e-6, choice)
    movement = net.connections.accumulated_movement
    assert (np.sign(movement) == np.sign(abs(net.connections.weight) - abs(before))).all()
    if choice == "sgd":
        assert_allclose(1e-6 * movement, (net.connections.weight**2 - before**2) / 2, rtol=1e-3, atol=1e-14)


def test_the_sums_beside_an_assigned_gradient():
    """A gradient assigned by hand stands alone until training adds the others; None ends all of them."""
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    net.connections.accumulated_gradient = np.arange(20.0)
    assert net.connections.accumulated_movement is net.connections.accumulated_squared_gradient is None
    column = net.connections.accumulated_gradient
    found = summands(net, x, t, 2).sum(0)
    assert_allclose(sums(net), found + [np.arange(20.0), np.zeros(20), np.zeros(20)], rtol=1e-11, atol=1e-14)
    assert net.connections.accumulated_gradient is column
    net.connections.accumulated_gradient = 0.0
    assert not column.any()
    more = summands(net, x, t, 2).sum(0)
    assert_allclose(sums(net), more + [np.zeros(20), found[1], found[2]], rtol=1e-11, atol=1e-14)
    net.connections.accumulated_gradient = None
    assert sums(net) == (None, None, None)
    assert_allclose(summands(net, x, t, 2).sum(0), sums(net), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("method", ["movement", "fisher", "snip"])
@pytest.mark.parametrize("regrow", [0.0, 0.5])
def test_a_schedule_prunes_by_what_was_summed_up_since_it_last_fired(method, regrow):
    net, (x, t), pruned = Network.dense([3, 4, 2], seed=0), data(), []
    net.pruning = PruningSchedule(0.6, 3, 9, 3, method=method, regrow_fraction=regrow)
    twin = net.copy()
    net.train(x, t, 12, 0.02, "sgd")
    total = np.zeros((3, 20))
    for step in range(1, 13):
        weight, result = twin.connections.weight.copy(), twin.maybe_prune(step)
        if result is not None and len(result.removed):  # at step 3 the ramp asks for nothing yet, and the sums go on
            score = {"movement": total[1], "fisher": weight**2 * total[2], "snip": abs(weight * total[0])}[method]
            assert_allclose(result.scores, score, rtol=1e-9, atol=1e-14)
            pruned.append(step)
            total = np.zeros((3, len(twin.connections)))
        slopes = twin.gradient(x, t)[0]
        total += slopes, -twin.connections.weight * slopes, slopes**2
        twin.train(x, t, 1, 0.02, "sgd")
    assert pruned == [6, 9] and len(net.connections) == 8 and net.equals(twin)


@pytest.mark.parametrize("batch_size", [None, 4])
def test_divergence_keeps_the_filtered_sums(batch_size):
    net, (x, t) = Network.dense([3, 4, 2], activation="identity", seed=0), data()
    net.train(x, t, 2, 0.01)
    net.prune_to_sparsity(0.5)
    before = [column.tolist() for column in sums(net)]
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError):
        net.train(x * 1e200, t, 2, 0.01, seed=0, batch_size=batch_size)
    assert [column.tolist() for column in sums(net)] == before
    net.train(x, t, 1, 0.01)
    assert [column.tolist() for column in sums(net)] != before


# ---------------------------------------------------------------- validation, stopping, callbacks


def test_validation_loss_is_that_of_the_network_at_that_step():
    net, (x, t), (vx, vt) = Network.dense([3, 4, 2], seed=0), data(), data(seed=9)
    wanted = []
    history = net.train(
        x, t, 10, 0.02, batch_size=4, validation=(vx, vt), validate_every=3,
        callback=lambda net, history: wanted.append(losses.value("mse", net(vx), vt)),
    )  # fmt: skip
    measured = ~np.isnan(history.validation_loss)
    assert np.flatnonzero(measured).tolist() == [2, 5, 8]
    assert_allclose(history.validation_loss[measured], np.array(wanted)[measured], rtol=1e-12)
    history = net.train(x, t, 10, 0.02, batch_size=4, validation=(vx, vt))
    assert np.flatnonzero(~np.isnan(history.validation_loss)).tolist() == [2, 5, 8]  # once an epoch


@pytest.mark.parametrize("patience", [1, 3])
def test_patience_waits_for_a_new_lowest_loss(patience):
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    rates = lambda step: 0.01 if step <= 6 else 0.0  # noqa: E731
    history = net.train(x, t, 100, rates, validation=(x, t), validate_every=2, patience=patience)
    assert len(history) == 6 + 2 * patience and net.iteration == len(history)
    lasting = Network.dense([3, 4, 2], seed=0).train(x, t, 20, rates, validation=(x, t), validate_every=2)
    assert len(lasting) == 20


def test_a_callback_sees_every_step_and_stops_by_true():
    net, (x, t), seen = Network.dense([3, 4, 2], seed=0), data(), []

    def callback(network, history):
        assert network is net and len(history) == len(seen) + 1 == network.iteration
        seen.append(history.loss[-1])
        return len(seen) == 4

    history = net.train(x, t, 100, 0.02, callback=callback)
    assert history.loss.tolist() == seen and len(history) == 4


def test_the_learning_rate_is_a_function_of_the_iteration():
    net, (x, t), asked = Network.dense([3, 4, 2], seed=0), data(), []

    def rate(iteration):
        asked.append(iteration)
        return 0.0 if iteration > 2 else 0.1

    net.train(x, t, 2, rate)
    moved = net.parameters
    net.train(x, t, 3, rate)
    assert asked == [1, 2, 3, 4, 5] and net.parameters.tolist() == moved.tolist()


def test_progress_goes_to_stderr(capsys):
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    net.train(x, t, 5, 0.01, progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "training: 100%" in err and "5/5" in err
    net.train(x, t, 5, 0.01)
    assert capsys.readouterr() == ("", "")


def test_nothing_to_do():
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    before = bridge.snapshot(net)
    assert len(net.train(x, t, 0)) == 0 and bridge.snapshot(net) == before
    assert len(net.train(np.zeros((0, 3)), np.zeros((0, 2)), 0)) == 0
    bare = Network.from_connections(1, 1, [], activation="identity")
    bare.train([[0.0]], [[1.0]], 200, 0.05)
    assert_allclose(bare.nodes.bias, [0.0, 1.0], atol=1e-2)


def test_pruning_is_assigned_first():
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    schedule = PruningSchedule(0.5, 1, 2)
    history = net.train(x, t, 3, 0.01, pruning=schedule)
    assert net.pruning == schedule and net.initial_connection_count == 20
    assert history.connections.tolist() == [20, 10, 10]


# ---------------------------------------------------------------- when it goes wrong


@pytest.mark.parametrize("batch_size", [None, 4])
def test_divergence_leaves_the_network_of_before_that_step(batch_size):
    net, (x, t) = Network.dense([3, 4, 2], activation="identity", seed=0), data()
    seen = [bridge.snapshot(net)]

    def look(net, history):
        seen.append(bridge.snapshot(net))

    with np.errstate(all="ignore"), pytest.raises(FloatingPointError) as raised:
        net.train(x, t, 500, 3.0, "sgd", seed=1, batch_size=batch_size, callback=look)
    bridge.assert_one_sentence(raised)
    assert 3 < net.iteration == len(seen) - 1
    assert f"at iteration {len(seen)}: lower learning_rate or set clip_norm" in str(raised.value)
    assert bridge.snapshot(net) == seen[-1]
    assert np.isfinite(net.parameters).all()
    in_chunks = Network.dense([3, 4, 2], activation="identity", seed=0)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError):
        in_chunks.train(x, t, 500, 3.0, "sgd", seed=1, batch_size=batch_size)
    assert bridge.snapshot(in_chunks) == seen[-1]


def test_divergence_right_after_pruning_keeps_the_filtered_gradient():
    net, (x, t) = Network.dense([3, 4, 2], activation="identity", seed=0), data()
    net.train(x, t, 2, 0.01)
    net.prune_to_sparsity(0.5)
    before = bridge.snapshot(net)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError):
        net.train(x * 1e200, t, 2, 0.01, seed=0)
    assert bridge.snapshot(net) == before
    fresh = Network.dense([3, 4, 2], activation="identity", seed=0)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError):
        fresh.train(x * 1e200, t, 2, 0.01, seed=0)
    assert accumulated(fresh) is None and fresh.iteration == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("rewire", [False, True])
def test_an_interrupted_training_leaves_a_network_to_go_on_with(error, rewire):
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    net.pruning = PruningSchedule(0.5, 2, 6, 2)

    def callback(net, history):
        if len(history) == 4:
            if rewire:
                net.add_node(*bridge.plain(net).stored[0])
            raise error("enough")

    with pytest.raises(error, match="enough"):
        net.train(x, t, 10, 0.02, callback=callback)
    assert net.iteration == 4 and len(net.connections) == 15 + rewire
    bridge.assert_sound(net)
    assert accumulated(net) is None if rewire else np.isfinite(accumulated(net)).all()
    history = net.train(x, t, 6, 0.02)
    assert history.iteration.tolist() == [5, 6, 7, 8, 9, 10] and len(net.connections) == 10
    bridge.assert_sound(net)


BAD = [
    ({"iterations": -1}, ValueError, "iterations must be at least 0, got -1"),
    ({"iterations": 1.5}, TypeError, "iterations must be an integer, got 1.5"),
    ({"learning_rate": 0.0}, ValueError, "learning_rate must be positive, got 0.0"),
    ({"learning_rate": np.nan}, ValueError, "learning_rate must be finite, got nan"),
    ({"learning_rate": "fast"}, TypeError, "learning_rate must be a number, got 'fast'"),
    ({"learning_rate": lambda step: -1.0}, ValueError, "learning_rate must be at least 0, got -1.0"),
    ({"optimizer": "adm"}, ValueError, "did you mean 'adam'"),
    ({"loss": "mes"}, ValueError, "did you mean 'mse'"),
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
    ({"batch_size": 2.0}, TypeError, "batch_size must be an integer, got 2.0"),
    ({"pruning": 0.9}, TypeError, "net.pruning must be a PruningSchedule or None, got float"),
    ({"validation": (1, 2, 3)}, ValueError, r"validation must be \(x, y\), got tuple"),
    ({"validation": 3}, ValueError, r"validation must be \(x, y\), got int"),
    ({"validation": (np.zeros((2, 4)), np.zeros((2, 2)))}, ValueError, r"x must have shape \(rows, 3\), got \(2, 4\)"),
    ({"validation": (np.zeros((0, 3)), np.zeros((0, 2)))}, ValueError, "validation must have at least one row"),
    ({"patience": 3}, ValueError, r"patience needs validation data, got none: pass validation=\(x, y\)"),
    ({"patience": 0, "validation": data()}, ValueError, "patience must be at least 1, got 0"),
    ({"validate_every": 0, "validation": data()}, ValueError, "validate_every must be at least 1, got 0"),
    ({"clip_norm": 0.0}, ValueError, "clip_norm must be positive, got 0.0"),
    ({"l1": -1.0}, ValueError, "l1 must be at least 0, got -1.0"),
    ({"l2": np.inf}, ValueError, "l2 must be finite, got inf"),
    ({"callback": 3}, TypeError, r"callback must be a function \(net, history\), got 3"),
    ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
    ({"x": np.zeros((4, 3)), "y": np.zeros((3, 2))}, ValueError, r"y must have shape \(4, 2\), got \(3, 2\)"),
    ({"x": [[np.nan, 0, 0]], "y": [[0.0, 0.0]]}, ValueError, r"x must be finite, got nan at index \(0, 0\)"),
    ({"x": np.zeros((0, 3)), "y": np.zeros((0, 2))}, ValueError, "x must have at least one row to train on, got none"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD)
def test_refused_training_changes_nothing(options, error, message):
    net = Network.dense([3, 4, 2], seed=0)
    before, graph, (x, y) = bridge.snapshot(net), net.graph, data()
    options = {"x": x, "y": y, "iterations": 3, **options}
    with pytest.raises(error, match=message) as raised:
        net.train(**options)
    bridge.assert_one_sentence(raised)
    assert bridge.snapshot(net) == before and net.graph is graph


def test_weights_that_are_not_finite_are_refused():
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    net.connections.weight[2] = np.nan
    with pytest.raises(ValueError, match="net.connections.weight must be finite, got nan at index 2"):
        net.train(x, t, 3)
    net.connections.weight[2] = 0.0
    net.nodes.bias[0] = 1.0
    with pytest.raises(ValueError, match="net.nodes.bias must be 0 for inputs, got 1.0 at index 0"):
        net.train(x, t, 3)


def test_sequences_too_long_are_refused_before_anything_changes(monkeypatch):
    net = Network.random(3, 2, 2, 9, recurrent=True, seed=0)
    before = bridge.snapshot(net)
    monkeypatch.setattr("neuroprune.network.gradient.MAX_BUFFER", 1000)
    with pytest.raises(ValueError, match="steps must be at most"):
        net.train(np.zeros((2, 30, 3)), np.zeros((2, 30, 2)), 2, pruning=PruningSchedule(0.5, 1, 2))
    assert bridge.snapshot(net) == before


def test_optimizers_are_reachable():
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    net.train(x, t, 2, 0.01, optimizers.sgd(momentum=0.5))
    with pytest.raises(ValueError, match="must be a name or an Optimizer"):
        net.train(x, t, 2, 0.01, optimizer=3)
