"""Dynamic sparse training of a network: every update as the oracle says, and what it leaves alone."""

import contextlib
import io
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import bridge
import oracle_network_signals as twin
import oracles as o
import strategies as s
from living import candidates, everything
from neuroprune import Network, PruningSchedule
from neuroprune.network import rewiring, train
from neuroprune.network.history import COLUMNS
from neuroprune.pruning import decay, distribution
from neuroprune.pruning.rewire import Rewire
from neuroprune.rng import generator
from test_optimizers import CHOICES, trained

BOUNDED = ("tanh", "sigmoid", "sin", "softsign")
SMOOTH_LOSSES = ("mse", "huber", "binary_cross_entropy", "softmax_cross_entropy")
calm = s.networks(activations=BOUNDED, max_inputs=4, max_outputs=3, max_hidden=6, scale=1.0)


def data(rows=10, inputs=3, outputs=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, inputs)), rng.normal(size=(rows, outputs))


def sparse(recurrent=False, seed=1, connections=18):
    return Network.random(3, 2, 4, connections, recurrent=recurrent, seed=seed)


@st.composite
def networks(draw):
    """Calm networks of any kind, one in three made in layers and partly pruned."""
    if draw(st.integers(0, 2)):
        return bridge.network(draw(calm), seed=draw(s.SEEDS))
    net = Network.dense([draw(s.sizes(1, 4)) for _ in range(draw(s.sizes(2, 4)))], seed=draw(s.SEEDS))
    net.keep(np.random.default_rng(draw(s.SEEDS)).random(len(net.connections)) < draw(st.floats(0.2, 0.9)))
    return net


@st.composite
def rules(draw):
    fraction = draw(st.one_of(
        st.sampled_from((0.0, 0.3, 0.5, 1.0, decay.Constant(0.4), decay.Linear(0.9, 7), lambda step: 1 / step)),
        st.floats(0, 1),
    ))  # fmt: skip
    return Rewire(
        draw(st.sampled_from(("magnitude", "set"))), draw(st.sampled_from(("random", "gradient", None))),
        draw(st.sampled_from((None, "nonzero", lambda weight, mask, **signals: float(mask.sum() + 1)))),
        every=draw(s.sizes(1, 3)), until=draw(st.sampled_from((None, 4, 9))), fraction=fraction,
        scope=draw(st.sampled_from(("layer", "global"))), replaces_step=draw(st.booleans()), start=draw(s.sizes(0, 3)),
    )  # fmt: skip


@contextlib.contextmanager
def watched():
    """Every update as a list: step, the network before, after (None when refused), x, y, moments."""
    seen, apply = [], rewiring.Rewiring.apply

    def watch(self, net, step, x, y, loss, moments):
        seen.append([step, bridge.plain(net), None, x, y, moments.copy()])
        grown = apply(self, net, step, x, y, loss, moments)
        seen[-1][2] = bridge.plain(net)
        return grown

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rewiring.Rewiring, "apply", watch)
        yield seen


def batch(net):
    """Ten rows, or five sequences of two steps."""
    shape = (5, 2) if net.graph.recurrent else (10,)
    rng = np.random.default_rng(0)
    return rng.normal(size=(*shape, net.graph.n_inputs)), rng.normal(size=(*shape, net.graph.n_outputs))


def groups(net, places):
    """{id: number of its group}: the layers that are fed, or one group for all."""
    order = net.nodes.id.tolist()
    if not (isinstance(places, str) and places == "layers"):
        return dict.fromkeys(order, 0)
    sizes = net.graph.layer_sizes
    return dict(zip(order, (np.repeat(np.arange(len(sizes)), sizes) - 1).tolist(), strict=True))


def divided(group, pairs):
    """The pairs (or slots) of each group."""
    return [[pair for pair in pairs if group[pair[1]] == number] for number in range(max(group.values()) + 1)]


# ---------------------------------------------------------------- exact, legal, as the rules say


@given(networks(), rules(), st.sampled_from(("sgd", "adam")), st.data())
def test_every_update_is_what_the_rules_say(net, rewire, optimizer, lot):
    places, allowed = lot.draw(candidates(net))
    group, order, failure = groups(net, places), net.nodes.id.tolist(), None
    (x, y), count = batch(net), len(net.connections)
    with watched() as seen:
        try:
            history = net.train(x, y, 7, 0.02, optimizer, batch_size=2, rewire=rewire, candidates=places)
        except ValueError as error:
            failure = error
    fired = [step for step in range(1, 8) if rewire.fires(step)]
    assert [one[0] for one in seen] == fired[: len(seen)] and (failure or len(seen) == len(fired))
    for step, before, after, x, y, _ in seen:
        share, parts = rewire.rate(step), divided(group, before.stored)
        gone = twin.dropped(before, parts, rewire.drop, share, rewire.scope == "global")
        everything_gone = set().union(*gone)
        free = divided(group, twin.places(before, everything_gone, allowed))
        gets = [len(lost) for lost in gone]
        if rewire.grow is None:
            gets = [0] * len(gone)
        elif rewire.redistribute is not None:
            if sum(gets) > sum(map(len, free)):
                assert after is None and "must have room for" in str(failure)
                break
            shares = [sum(before.connections[pair][0] != 0 for pair in part) for part in parts]
            if callable(rewire.redistribute):
                shares = [len(part) + 1 for part in parts]
            gets = distribution.apportion(shares, sum(gets), [len(slots) for slots in free])
        if any(number > len(slots) for number, slots in zip(gets, free, strict=True)):
            assert after is None and "must have room for" in str(failure)
            break
        left = twin.without(before, everything_gone)
        assert left.connections.items() <= after.connections.items()  # the same weights, bit for bit
        assert (after.order, after.bias) == (before.order, before.bias)
        new = after.connections.keys() - left.connections.keys()
        for slots, number in zip(free, gets, strict=True):
            here = [slot[:2] in new for slot in slots]
            assert sum(here) == number
            grown = [slot for slot, on in zip(slots, here, strict=True) if on]
            assert all(after.connections[slot[:2]] == (0.0, slot[2]) for slot in grown)
            if rewire.grow == "gradient":
                if not net.graph.recurrent:
                    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
                scores = np.array(o.absent_gradient(before, x, y, "mse", slots))
                assert scores[here].min(initial=np.inf) >= scores[np.logical_not(here)].max(initial=0.0) - 1e-9
        assert len(new) == sum(gets) and len(after.connections) == len(before.connections) - (
            len(everything_gone) if rewire.grow is None else 0)  # fmt: skip
    else:
        assert failure is None and len(history) == 7 and history.iteration.tolist() == [*range(1, 8)]
        assert rewire.grow is None or (history.connections == count).all()
    if failure:
        bridge.assert_one_sentence(pytest.ExceptionInfo.from_exception(failure))
        assert bridge.plain(net) == seen[-1][1]
    assert net.nodes.id.tolist() == order
    bridge.assert_sound(net)


@given(s.networks(activations=s.GENTLE, max_inputs=3, max_outputs=2, max_hidden=3, scale=1.0),
       st.sampled_from(SMOOTH_LOSSES), st.floats(0, 1), s.SEEDS, st.booleans(), st.data())  # fmt: skip
def test_rigl_takes_the_steepest_places_by_finite_differences(plain, loss, share, seed, replaces, lot):
    """On the first mini-batch of the shuffle, of the network as it is: before anything went, after a step if asked."""
    x, t = lot.draw(s.batches(plain, loss))
    size = lot.draw(s.sizes(1, len(x)))
    net, other = bridge.network(plain), bridge.network(plain)
    options = {"batch_size": size, "loss": loss, "seed": seed}
    rewire = Rewire.rigl(every=1, fraction=share, replaces_step=replaces)
    if not replaces:
        other.train(x, t, 1, 0.1, "sgd", **options)
    before = bridge.plain(other)
    net.train(x, t, 1, 0.1, "sgd", rewire=rewire, **options)
    after, rows = bridge.plain(net), generator(seed).permutation(len(x))[:size]
    (gone,) = twin.dropped(before, [before.stored], "magnitude", share)
    slots = twin.places(before, gone)
    new = [slot[:2] in after.connections for slot in slots]
    assert sum(new) == len(gone) == round(share * len(plain.connections))
    wanted = twin.grown(before, gone, [slot for slot, on in zip(slots, new, strict=True) if on])
    assert after.connections == wanted.connections and after.bias == before.bias
    slopes = np.abs([twin.slope_of_a_place(before, slot, x[rows], t[rows], loss) for slot in slots])
    if 0 < len(gone) < len(slots):
        chosen = np.array(new)
        assert slopes[chosen].min() >= slopes[~chosen].max() - 1e-6 * (1 + slopes.max())


@pytest.mark.parametrize("loss", o.LOSSES)
def test_every_loss_and_kind_of_target(loss):
    x, labels = data()[0], np.arange(10) % 2
    t = {"softmax_cross_entropy": labels, "hinge": np.eye(2)[labels] * 2 - 1}.get(loss, np.eye(2)[labels])
    net = sparse()
    with watched() as seen:
        net.train(x, t, 12, 0.02, loss=loss, batch_size=4, rewire=Rewire.rigl(every=3, fraction=0.4))
    assert len(seen) == 4 and all(len(after.connections) == 18 for _, _, after, *_ in seen)
    assert any(before.connections.keys() != after.connections.keys() for _, before, after, *_ in seen)


def test_sequences_train_through_time():
    net = sparse(recurrent=True)
    x, t = batch(net)
    with watched() as seen:
        net.train(x, t, 8, 0.02, batch_size=3, rewire=Rewire.rigl(every=2, fraction=0.4))
    for _, before, after, rows, targets, _ in seen:
        assert rows.shape == (3, 2, 3) or rows.shape == (2, 2, 3)
        (gone,) = twin.dropped(before, [before.stored], "magnitude", 0.4)
        slots = twin.places(before, gone)
        best = o.top(o.absent_gradient(before, rows, targets, "mse", slots), len(gone))
        assert after == twin.grown(before, gone, [slot for slot, on in zip(slots, best, strict=True) if on])
    assert len(seen) == 4 and any(late for _, late in bridge.plain(net).connections.values())


# ---------------------------------------------------------------- moments, steps, history


@pytest.mark.parametrize("choice", ["momentum", "nesterov", "rmsprop", "adam", "adamw"])
@pytest.mark.parametrize("replaces", [True, False])
@pytest.mark.parametrize("grow", ["random", "gradient"])
def test_moments_follow_what_stays_and_are_0_for_what_is_new(choice, replaces, grow):
    """By hand: a replaced step moves nothing but counts; what goes and comes in one update starts anew as well."""
    net, (x, t) = sparse(connections=14), data()
    plain, states, again, steps = bridge.plain(net), {}, 0, []
    rewire = Rewire(grow=grow, every=3, fraction=0.5, replaces_step=replaces)
    with watched() as seen:
        history = net.train(x, t, 13, 0.02, CHOICES[choice][0], rewire=rewire,
                            callback=lambda net, history: steps.append(bridge.plain(net)))  # fmt: skip
    updates = {step: rest for step, *rest in seen}
    for step in range(1, 14):
        assert_allclose(history.loss[step - 1], o.mean_loss(plain, x, t, "mse"), rtol=1e-7)
        slopes = [value for part in o.gradient(plain, x, t, "mse") for value in part.values()]
        assert_allclose(history.gradient_norm[step - 1], np.linalg.norm(slopes), rtol=1e-6)
        if step not in updates or not replaces:
            plain, states = trained(plain, x, t, "mse", 1, choice, 0.02, states, step)
        if step in updates:
            before, after, *_ = updates[step]
            (gone,) = twin.dropped(before, [before.stored], "magnitude", 0.5)
            new = {pair for pair in after.connections if pair in gone or pair not in before.connections}
            again += len(new & gone)
            kept = {pair: value for pair, value in plain.connections.items() if pair not in gone}
            plain = replace(plain, connections=kept | {pair: after.connections[pair] for pair in new})
            states = {key: state for key, state in states.items() if key not in gone}
            assert all(after.connections[pair][0] == 0.0 for pair in new) and len(new) == len(gone) == 7
        got = steps[step - 1]
        assert got.connections.keys() == plain.connections.keys()
        for mine, wanted in ((got.connections[pair][0], plain.connections[pair][0]) for pair in got.connections):
            assert mine == pytest.approx(wanted, rel=1e-6, abs=1e-8)
        assert [*got.bias.values()] == pytest.approx([plain.bias[node] for node in got.order], rel=1e-6, abs=1e-8)
    assert list(updates) == [3, 6, 9, 12] and again > 0


def test_a_replaced_step_changes_no_number_of_what_stays():
    net, (x, t) = sparse(), data()
    with watched() as seen:
        history = net.train(x, t, 1, 0.5, batch_size=4, seed=3, rewire=Rewire.rigl(every=1, fraction=0.3))
    (_, before, after, rows, targets, _), chosen = seen[0], generator(3).permutation(10)[:4]
    assert bridge.plain(net) == after and rows[:, 0].tolist() == x[chosen].tolist()
    assert targets[:, 0].tolist() == t[chosen].tolist()
    stays = before.connections.keys() & after.connections.keys()
    assert len(stays) >= 13 and after.bias == before.bias
    assert all(after.connections[pair] in (before.connections[pair], (0.0, False)) for pair in stays)
    assert history.loss.tolist() == [pytest.approx(o.mean_loss(before, x[chosen], t[chosen], "mse"), rel=1e-12)]


def test_the_batches_are_those_of_training_without_rewiring():
    """A replaced step uses up its mini-batch; one that is followed shares it."""
    x, t = data()
    shuffle = generator(7)
    epochs = [shuffle.permutation(10) for _ in range(3)]
    wanted = [epoch[first : first + 4] for epoch in epochs for first in (0, 4, 8)]
    for replaces in (True, False):
        with watched() as seen:
            sparse().train(x, t, 9, 0.02, batch_size=4, seed=7,
                           rewire=Rewire(every=2, fraction=0.2, replaces_step=replaces))  # fmt: skip
        assert [one[0] for one in seen] == [2, 4, 6, 8]
        assert all(rows[:, 0].tolist() == x[wanted[step - 1]].tolist() for step, _, _, rows, _, _ in seen)


def test_steps_and_decay_count_on_over_several_calls():
    net, (x, t) = sparse(), data()
    rewire = Rewire(every=4, until=17, fraction=0.5, start=5)
    with watched() as seen:
        for count in (3, 2, 6, 10):
            net.train(x, t, count, 0.02, rewire=rewire)
    assert [one[0] for one in seen] == [8, 12, 16] and net.iteration == 21
    for (step, before, after, *_), number in zip(seen, (5, 2, 0), strict=True):
        share = 0.5 * (1 + np.cos(np.pi * step / 17)) / 2
        assert number == round(share * 18)
        (gone,) = twin.dropped(before, [before.stored], "magnitude", share)
        kept = twin.without(before, gone).connections
        assert len(kept) == 18 - number and kept.items() <= after.connections.items()


def test_validation_patience_and_callback_go_on():
    net, (x, t), seen = sparse(), data(), []
    history = net.train(x, t, 30, 0.02, validation=(x, t), validate_every=5, patience=50, rewire=Rewire(every=5),
                        callback=lambda net, history: seen.append(len(history)) or len(history) == 22)  # fmt: skip
    assert seen == [*range(1, 23)] and np.flatnonzero(~np.isnan(history.validation_loss)).tolist() == [4, 9, 14, 19]
    assert len(history) == net.iteration == 22


# ---------------------------------------------------------------- the same bits


def outcome(net, history):
    return everything(net), [getattr(history, name).tobytes() for name in COLUMNS]


WAYS = {
    "chunks of 1": {"CHUNK_STEPS": 1},
    "chunks of 7": {"CHUNK_STEPS": 7},
    "chunks of 512": {"CHUNK_STEPS": 512},
    "little work": {"CHUNK_WORK": 1},
    "callback": {"callback": lambda net, history: None},
    "progress": {"progress": True},
    "copy": {"make": lambda net: net.copy()},
    "pickle": {"make": lambda net: pickle.loads(pickle.dumps(net))},
    "every legal pair": {"candidates": np.ones((9, 9), bool)},
}
RULES = {
    "rigl": Rewire.rigl(every=4, fraction=0.4, until=30),
    "set": Rewire.set(every=3),
    "redistributed": Rewire(redistribute="momentum", every=5, scope="global"),
}


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_neither_chunks_nor_progress_nor_copies_change_a_bit(recurrent, pruned, rule, monkeypatch):
    x, t = batch(sparse(recurrent))
    seen = {}
    for way, options in WAYS.items():
        net = sparse(recurrent)
        if pruned:
            net.pruning = PruningSchedule(0.6, 4, 20, 5, "snip", regrow_fraction=0.5)
        net = options.get("make", lambda net: net)(net)
        np.random.seed(len(seen))
        with monkeypatch.context() as patch, contextlib.redirect_stderr(io.StringIO()):
            for name in ("CHUNK_STEPS", "CHUNK_WORK"):
                patch.setattr(train, name, options.get(name, getattr(train, name)))
            history = net.train(
                x, t, 30, 0.01, batch_size=4, l2=0.1, clip_norm=0.5, callback=options.get("callback"),
                progress=options.get("progress", False), rewire=RULES[rule],
                candidates=options.get("candidates", "order"),
            )  # fmt: skip
        seen[way] = outcome(net, history)
    assert [way for way in seen if seen[way] != seen["callback"]] == []


@given(networks(), rules(), s.SEEDS, st.data())
def test_the_same_seed_gives_the_same_bytes(net, rewire, seed, lot):
    places, _ = lot.draw(candidates(net))
    net.rng = np.random.default_rng(seed)

    def life(net):
        with contextlib.suppress(ValueError):
            net.train(*batch(net), 6, 0.02, batch_size=3, rewire=rewire, candidates=places)
        return bridge.snapshot(net)

    assert life(net.copy()) == life(net)


def test_other_seeds_grow_elsewhere_and_a_seed_of_the_shuffle_leaves_growth_to_the_network():
    def wiring(net_seed, seed=None, growth=0):
        net, (x, t) = sparse(seed=net_seed), data()
        net.rng = np.random.default_rng(growth)
        net.train(x, t, 6, 1e-9, "sgd", batch_size=3, seed=seed, rewire=Rewire(every=2, fraction=0.5))
        return bridge.plain(net).stored

    assert wiring(0, 1) == wiring(0, 2) != wiring(0, 1, growth=1)  # nothing was learned, so only growth differs
    assert wiring(0) != wiring(1)


SCRIPT = """
import json, sys
import numpy as np
import neuroprune as npr
from neuroprune.pruning.rewire import Rewire
found = []
for recurrent in (False, True):
    for rewire in (Rewire.rigl(every=4, fraction=0.4), Rewire.set(every=3), Rewire(every=2, redistribute="nonzero")):
        net = npr.Network.random(3, 2, 4, 18, recurrent=recurrent, seed=1)
        rng, lead = np.random.default_rng(0), (5, 2) if recurrent else (10,)
        net.train(rng.normal(size=(*lead, 3)), rng.normal(size=(*lead, 2)), 12, 0.02, batch_size=4, rewire=rewire)
        found.append([net.connections.source.tolist(), net.connections.target.tolist(), net.connections.weight.tolist(),
                      net.rng_state, net.iteration])
json.dump(found, sys.stdout)
"""


def test_without_compilation_and_with_another_hash_the_wiring_is_the_same():
    runs = [json.loads(subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True,
                                      env={**os.environ, "NUMBA_DISABLE_JIT": plain, "PYTHONHASHSEED": plain}).stdout)
            for plain in ("0", "1")]  # fmt: skip
    for compiled, plain in zip(*runs, strict=True):
        assert compiled[:2] == plain[:2] and compiled[3:] == plain[3:]
        assert_allclose(compiled[2], plain[2], rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------- a network in layers and its matrices


def layered(density=0.4, seed=0):
    net = Network.dense([5, 7, 6, 4], seed=seed)
    net.nodes.bias[5:] = np.random.default_rng(1).normal(size=17)
    net.keep(np.random.default_rng(2).random(len(net.connections)) < density)
    return net


@pytest.mark.parametrize("drop", ["magnitude", "set", "magnitude_l2", lambda weight: -abs(weight)])
@pytest.mark.parametrize("grow", ["random", "gradient", None])
@pytest.mark.parametrize(
    "redistribute", [None, "nonzero", "momentum", "gradient", lambda w, m, **_: float(abs(w[m]).sum())]
)
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_layers_get_the_masks_of_their_matrices(drop, grow, redistribute, scope):
    """The same rules on the dense matrices of the network, with the dense gradient and momentum, update by update."""
    net, (x, t) = layered(), data(20, 5, 4)
    rewire = Rewire(drop, grow, redistribute, every=3, fraction=0.35, scope=scope)
    matrices, momenta, updates, apply = [], [], [], rewiring.Rewiring.apply

    def watch(self, net, step, x, y, loss, moments):
        weights, masks, biases = twin.matrices(net)
        gradients, _ = twin.dense_gradient(weights, biases, x[:, 0], y[:, 0])
        column = (moments[0] / (np.sqrt(moments[1]) + 1e-8))[: len(net.connections)]
        ends = np.cumsum([0] + [mask.sum() for mask in masks])
        momenta = [np.zeros(mask.shape) for mask in masks]
        for momentum, mask, (first, last) in zip(momenta, masks, pairwise(ends), strict=True):
            momentum[mask] = column[first:last]
        names = [f"layer {number}" for number in range(3)]
        signals = {name: {"gradient": slope, "momentum": momentum}
                   for name, slope, momentum in zip(names, gradients, momenta, strict=True)}  # fmt: skip
        twin_rng = np.random.default_rng()
        twin_rng.bit_generator.state = net.rng.bit_generator.state
        wanted = rewire.update(dict(zip(names, weights, strict=True)), dict(zip(names, masks, strict=True)), step,
                               signals, twin_rng)  # fmt: skip
        apply(self, net, step, x, y, loss, moments)
        after, present, _ = twin.matrices(net)
        for name, weight, was, now in zip(names, after, weights, present, strict=True):
            assert now.tolist() == wanted.masks[name].tolist()
            assert (weight[wanted.grown[name]] == 0).all()
            stays = now & ~wanted.grown[name]
            assert weight[stays].tolist() == was[stays].tolist()
        assert net.rng.bit_generator.state == twin_rng.bit_generator.state
        updates.append(step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rewiring.Rewiring, "apply", watch)
        net.train(x, t, 9, 0.02, batch_size=8, rewire=rewire, candidates="layers")
    assert updates == [3, 6, 9] and not matrices and not momenta


def test_layers_keep_their_counts_and_the_whole_network_does_not():
    counts = lambda net: [int(mask.sum()) for mask in twin.matrices(net)[1]]  # noqa: E731
    net, (x, t) = layered(), data(20, 5, 4)
    before = counts(net)
    net.train(x, t, 40, 0.02, rewire=Rewire.rigl(every=4), candidates="layers")
    assert counts(net) == before
    net.train(x, t, 40, 0.02, rewire=Rewire.rigl(every=4, redistribute="momentum"), candidates="layers")
    assert counts(net) != before and sum(counts(net)) == sum(before)
    free = layered()
    free.train(x, t, 40, 0.02, rewire=Rewire.rigl(every=4))
    depth = free.graph.depth
    assert len(free.connections) == sum(before)
    assert any(depth[target] - depth[source] > 1 for source, target in
               zip(free.graph.source.tolist(), free.graph.target.tolist(), strict=True))  # skip connections grow


def test_a_layer_without_room_is_named():
    """Connections that skip a layer are dropped with the others, but do not grow again between layers."""
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    net.connect([0, 1, 2] * 2, [3] * 3 + [4] * 3, 0.01)
    rewire = Rewire(every=1, fraction=1.0)
    for message in ("candidates must have room for the 26 connections that were dropped, got 20 free places",
                    "layer 2 must have room for the 14 connections that were dropped there, got 8 free places"):
        before = bridge.snapshot(net)
        with pytest.raises(ValueError, match=message) as raised:
            net.train(x, t, 1, seed=0, candidates="layers", rewire=rewire)
        bridge.assert_one_sentence(raised)
        assert bridge.snapshot(net) == before
        net.keep(net.graph.target != 4)  # makes room in the first layer
        net.keep(net.graph.target != 5)
    net.train(x, t, 1, candidates="layers", rewire=Rewire(every=1, fraction=1.0, redistribute="nonzero"))
    assert len(net.connections) == 20 and sum(net.graph.target >= 7) <= 8


def test_a_layer_may_be_empty():
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    net.keep(net.graph.target >= 7)  # nothing feeds the hidden layer
    net.train(x, t, 4, 0.02, rewire=Rewire(every=2, fraction=0.5), candidates="layers")
    assert len(net.connections) == 8 and (net.graph.target >= 7).all()
    net.train(x, t, 4, 0.02, rewire=Rewire(every=2, fraction=0.5, redistribute=lambda w, m, **_: 1.0),
              candidates="layers")  # fmt: skip
    assert len(net.connections) == 8 and (net.graph.target < 7).sum() > 0
    bare = Network.from_connections(3, 2, [])
    assert len(bare.train(x, t, 4, 0.02, rewire=Rewire.rigl(every=1))) == 4 and len(bare.connections) == 0


# ---------------------------------------------------------------- with pruning, with what training records


@pytest.mark.parametrize("regrow", [0.0, 0.5])
@pytest.mark.parametrize("replaces", [True, False])
def test_pruning_goes_first_and_its_counts_hold(regrow, replaces):
    net, (x, t) = Network.dense([3, 5, 2], seed=0), data()
    schedule = PruningSchedule(0.6, 4, 12, 4, "snip", regrow_fraction=regrow)
    with watched() as seen:
        history = net.train(x, t, 16, 0.02, pruning=schedule,
                            rewire=Rewire.rigl(every=2, fraction=0.4, replaces_step=replaces))  # fmt: skip
    last_fired = [min(max(step, 4), 12) // 4 * 4 for step in range(1, 17)]
    desired = [o.desired_count(o.ramp("linear", 0.6, 4, 12, step), 25) for step in last_fired]
    assert history.connections.tolist() == desired and len(net.connections) == 10 and net.sparsity == 0.6
    assert [len(before.connections) for _, before, *_ in seen] == desired[1::2]
    assert net.initial_connection_count == 25 and net.last_prune_iteration == 12
    bridge.assert_sound(net)


def recorded(net):
    connections = net.connections
    return connections.accumulated_gradient, connections.accumulated_movement, connections.accumulated_squared_gradient


def test_what_is_recorded_restarts():
    """Growth ends it, as anywhere; dropping alone filters it, and the next step starts anew."""
    net, (x, t), seen = sparse(), data(), []
    net.train(x, t, 5, 0.02, rewire=Rewire(every=4, fraction=0.5),
              callback=lambda net, history: seen.append((net.copy(), recorded(net))))  # fmt: skip
    assert seen[3][1] == (None, None, None)
    (gradient, movement, squared), (was, _) = recorded(net), seen[3]
    slopes = was.gradient(x, t)[0]
    assert_allclose(gradient, slopes, rtol=1e-12)
    assert_allclose(movement, -was.connections.weight * slopes, rtol=1e-12)
    assert_allclose(squared, slopes**2, rtol=1e-12)
    net.train(x, t, 3, 0.02, rewire=Rewire(grow=None, every=8, fraction=0.5))
    assert len(net.connections) == 9
    kept = [column.copy() for column in recorded(net)]
    assert all(column.size == 9 and column.any() for column in kept)
    slopes = net.gradient(x, t)[0]
    net.train(x, t, 1, 0.02)
    assert_allclose(recorded(net)[0], slopes, rtol=1e-12)


@pytest.mark.parametrize("method", ["snip", "movement", "fisher", "taylor"])
def test_dropping_by_what_training_recorded_and_the_gradient_of_the_batch(method):
    net, (x, t) = sparse(), data()
    net.train(x, t, 4, 0.02, batch_size=3)
    signals = {"gradient": net.gradient(x, t)[0]} if method in ("snip", "taylor") else {}
    result = net.copy().prune_to_sparsity(8 / 18, method, **signals)
    went = list(zip(result.removed.source.tolist(), result.removed.target.tolist(), strict=True))
    net.train(x, t, 1, 0.02, rewire=Rewire(method, None, every=5, fraction=8 / 18))
    assert len(net.connections) == 10 and not any(pair in net.connections for pair in went)


def test_dropping_at_random_takes_the_numbers_of_the_network():
    lives = []
    for _ in range(2):
        net, (x, t) = sparse(), data()
        net.train(x, t, 1, 0.02, seed=0, rewire=Rewire("random", None, every=1, fraction=0.5))
        lives.append(everything(net))
        assert len(net.connections) == 9 and net.rng_state != sparse().rng_state
    assert lives[0] == lives[1]


# ---------------------------------------------------------------- refused


def first_step(**options):
    """Options of a training whose first step rewires."""
    return {"rewire": Rewire(every=1, fraction=0.5), **options}


FULL = np.zeros((9, 9), bool)
BAD = [
    ({"rewire": "rigl"}, TypeError, r"rewire must be a Rewire, got str: pass npr.Rewire\(...\)"),
    ({"rewire": 0.3}, TypeError, "rewire must be a Rewire, got float"),
    ({"rewire": Rewire}, TypeError, "rewire must be a Rewire, got type"),
    ({"rewire": Rewire.snfs()}, ValueError, "grow must be 'random', 'gradient' or None for a network.*got 'momentum'"),
    ({"rewire": Rewire(grow="snip")}, ValueError, "grow must be 'random', 'gradient' or None for a network"),
    ({"rewire": Rewire(grow=lambda weight: weight)}, ValueError, "grow must be 'random', 'gradient' or None"),
    ({"rewire": Rewire(unit=(0,))}, ValueError, r"unit must be None for a network.*got \(0,\)"),
    (first_step(candidates="layers"), ValueError, "use candidates='order'"),
    (first_step(candidates="all"), ValueError, "candidates must be 'order', 'layers'"),
    (first_step(candidates=np.ones((3, 3), bool)), ValueError, r"must have shape \(9, 9\), got \(3, 3\)"),
    (first_step(candidates=[(0, 77)]), ValueError, "candidates must name nodes of the network, got 77"),
    (first_step(candidates=FULL), ValueError, "must have room for the 9 connections that were dropped, got 0 free"),
    ({"rewire": Rewire(every=1, redistribute="nonzero"), "candidates": FULL}, ValueError, "have room for the 5 conn"),
    ({"candidates": "layers"}, ValueError, "candidates must come with rewire.*got them alone"),
    ({"candidates": FULL}, ValueError, "candidates must come with rewire"),
    ({"rewire": Rewire(redistribute="momentum"), "optimizer": "sgd"}, ValueError, "must keep momentum.*got 'sgd' with"),
    ({"rewire": Rewire(redistribute="momentum"), "optimizer": "rmsprop"}, ValueError, "got 'rmsprop' without"),
    ({"rewire": Rewire(lambda weight, *, momentum: momentum), "optimizer": "sgd"}, ValueError, "must keep momentum"),
    ({"rewire": Rewire(every=1, fraction=lambda step: 2.0)}, ValueError, "fraction must give a share in .0, 1., got 2"),
    ({"rewire": Rewire("movement", every=1)}, ValueError, "needs the signal 'movement'"),
    ({"rewire": Rewire("wanda")}, ValueError, "whose signals training has, got one that needs the signal 'input_norm'"),
    ({"rewire": Rewire(lambda weight: weight * np.nan, every=1)}, ValueError, "must be finite, got nan at index 0"),
    ({"rewire": Rewire(lambda weight: weight[:2], every=1)}, ValueError, "must return the weight's shape"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD)
def test_what_is_refused_changes_nothing(options, error, message):
    net, (x, t) = sparse(), data()
    before, graph = bridge.snapshot(net), net.graph
    with pytest.raises(error, match=message) as raised:
        net.train(x, t, 3, 0.02, seed=0, **options)
    bridge.assert_one_sentence(raised)
    assert bridge.snapshot(net) == before and net.graph is graph


def test_a_scorer_only_looks():
    def writes(weight):
        weight[0] = 7.0
        return abs(weight)

    net, (x, t) = sparse(), data()
    before = bridge.snapshot(net)
    with pytest.raises(ValueError, match="read-only"):
        net.train(x, t, 1, 0.02, seed=0, rewire=Rewire(writes, every=1))
    assert bridge.snapshot(net) == before


@pytest.mark.parametrize("which", ["drop", "fraction", "redistribute"])
def test_functions_must_not_rewire(which):
    net, (x, t) = sparse(), data()

    def rewires(*values, **signals):
        if len(net.connections) == 18:
            net.disconnect(*bridge.plain(net).stored[0])
        return abs(values[0]) if which == "drop" else 0.5

    with pytest.raises(RuntimeError, match="the functions of a Rewire must not rewire the network") as raised:
        net.train(x, t, 1, 0.02, rewire=Rewire(every=1, **{which: rewires}))
    bridge.assert_one_sentence(raised)
    assert len(net.connections) == 17
    bridge.assert_sound(net)


def test_a_full_network_drops_and_grows_in_the_same_places():
    net, (x, t) = Network.dense([3, 4, 2], seed=0), data()
    before = bridge.plain(net)
    with watched() as seen:
        net.train(x, t, 3, 0.02, rewire=Rewire(decay.Constant(0.5), every=2), candidates="layers")
    after = seen[0][2]
    assert after.connections.keys() == before.connections.keys()
    assert sum(weight == 0.0 for weight, _ in after.connections.values()) == 10


def test_it_can_be_refused_in_mid_training_and_the_network_is_that_of_before_the_step():
    net, (x, t), twins = sparse(), data(), []
    rewire = Rewire(every=1, start=4, fraction=lambda step: 0.5 if step == 4 else 1.5)
    with pytest.raises(ValueError, match="got 1.5 at step 5"):
        net.train(x, t, 9, 0.02, seed=0, rewire=rewire, callback=lambda net, _: twins.append(bridge.snapshot(net)))
    assert net.iteration == 4 == len(twins) and bridge.snapshot(net) == twins[-1]
    bridge.assert_sound(net)
    assert len(net.train(x, t, 2, 0.02)) == 2


@pytest.mark.parametrize("replaces", [True, False])
def test_what_is_not_finite_leaves_the_network_of_before_that_step(replaces):
    net, (x, t) = Network.dense([3, 4, 2], activation="identity", seed=0), data()
    before = bridge.snapshot(net)
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="at iteration 1: lower") as error:
        net.train(x * 1e200, t, 2, 0.01, seed=0, rewire=Rewire.rigl(every=1, replaces_step=replaces))
    bridge.assert_one_sentence(error)
    assert bridge.snapshot(net) == before


@pytest.mark.parametrize("replaces", [True, False])
def test_divergence_in_the_end(replaces):
    net, (x, t), seen = Network.dense([3, 4, 2], activation="identity", seed=0), data(), []
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError) as error:
        net.train(x, t, 500, 3.0, "sgd", seed=1, rewire=Rewire.rigl(every=3, replaces_step=replaces),
                  callback=lambda net, history: seen.append(bridge.snapshot(net)))  # fmt: skip
    bridge.assert_one_sentence(error)
    assert bridge.snapshot(net) == seen[-1] and net.iteration == len(seen) > 3
    assert np.isfinite(net.parameters).all()


# ---------------------------------------------------------------- it finds what matters


@pytest.mark.compiled_only
def test_rigl_on_an_arbitrary_graph_finds_the_inputs_that_matter():
    """Twenty inputs of which three matter, none of them connected at first; nothing was made in layers."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 20))
    t = np.tanh(x[:, [2, 7, 11]] @ np.array([[1.5], [-2.0], [1.0]]))
    found = {}
    for name, rewire in {"rigl": Rewire.rigl(every=20, until=500), "static": None}.items():
        net = Network.random(20, 1, 10, 30, seed=3)
        net.disconnect(*np.array([pair for pair in bridge.plain(net).stored if pair[0] in (2, 7, 11)]).T)
        count = len(net.connections)
        history = net.train(x, t, 600, 0.02, rewire=rewire)
        assert len(net.connections) == count
        found[name] = history.loss[-1], {2, 7, 11} <= set(net.connections.source.tolist())
    assert found["rigl"][1] and found["rigl"][0] < 0.3 * found["static"][0]
