"""A long life: after every edit, pruning, regrowth or training a network equals the one rebuilt from its saved form.

Whatever is derived from the wiring is looked at before and after each step, so that anything stale would show.
"""

from collections import Counter
from functools import cached_property

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies as s
from bridge import assert_sound, network
from living import anything, living, pairs
from neuroprune import Graph, Network, PruningSchedule
from neuroprune.network import files
from stored import FORMATS, again, assert_identical

DERIVED = [name for name, value in vars(Graph).items() if isinstance(value, cached_property)]
STEPS = 50


def rebuilt(net):
    """The network of its saved form."""
    return files.assemble(Network, *files.describe(net))


def free_pairs(net):
    """Pairs into a node that is no input, legal or not, that no connection occupies."""
    taken, ids = set(pairs(net.connections)), net.nodes.id.tolist()
    return [(a, b) for b in ids[net.graph.n_inputs:] for a in ids if (a, b) not in taken]


def perform(net, edit, step):
    """One edit; what it returned, or the error it ended with."""
    operation, number = edit[0], edit[1] if len(edit) > 1 else None
    existing = pairs(net.connections)
    try:
        if operation == "connect":
            places = free_pairs(net)
            return net.connect(*s.pick(number, places), s.weight_at(edit[3])) if places else None
        if operation in ("disconnect", "split"):
            return (net.disconnect if operation == "disconnect" else net.add_node)(*s.pick(number, existing)) \
                if existing else None  # fmt: skip
        if operation == "remove":
            return net.remove_node(s.pick(number, net.nodes.id.tolist()[net.graph.n_inputs - 1:]))  # refused for ends
        if operation == "prune" and edit[2] == "snip":
            net.pruning = PruningSchedule(max(number, 0.1), step, step, method="snip", regrow_fraction=number)
            return (result := net.maybe_prune(step)) and len(result.removed)  # None without connections
        if operation == "prune":
            return len(net.prune_to_sparsity(number, method=edit[2]).removed)
        if operation == "regrow":
            lowest, highest = net.graph.slots
            return net.regrow(int(number / 2 * ((highest - lowest).sum() - len(existing))))
        if operation == "weights":
            net.connections.weight = np.random.default_rng(number).uniform(-1, 1, len(existing))
            net.node(net.graph.n_inputs).bias = 0.25
            return None
        if operation == "train":
            return net.train(*anything(net), iterations=number, batch_size=2, learning_rate=1e-3).loss.tolist()
        return net.trim()
    except (ValueError, FloatingPointError) as error:
        return repr(error)


def look(net):
    """Everything derived and computed, without changing anything."""
    graph, seen = net.graph, {}
    for name in DERIVED:
        if name != "layer_slots" or graph.layer_sizes is not None:
            value = getattr(graph, name)
            seen[name] = [part.tobytes() for part in value] if isinstance(value, tuple) else value.tobytes()
    for view, columns in ((net.connections, ("source", "target", "delayed", "weight")),
                          (net.nodes, ("id", "kind", "bias", "activation"))):
        seen.update({name: getattr(view, name).tobytes() for name in columns})
    x, y = anything(net)
    rows = x.reshape(-1, net.graph.n_inputs)
    twin = net.copy()
    twin.reset()
    seen["batch"] = twin(rows).tobytes()
    twin.reset()
    seen["row"], seen["single"] = twin(rows[0]).tobytes(), net.copy()(rows[:1], dtype=np.float32).tobytes()
    seen["gradient"] = [part.tobytes() for part in net.gradient(x, y)]
    seen["numbers"] = net.parameters.tobytes(), net.sparsity, len(net.connections), len(net.nodes), repr(net)
    seen["known"] = graph.positions(np.arange(graph.ids.max() + 2)).tolist(), pairs(net.connections)
    return seen


@pytest.mark.compiled_only
@given(net=living(), script=s.edit_scripts(STEPS, STEPS))
def test_a_life_equals_its_rebuilt_form_at_every_step(net, script):
    twin = rebuilt(net)
    for step, edit in enumerate(script, start=1):
        look(net)  # derives everything, so that keeping it too long would be seen
        outcome = perform(net, edit, step)
        assert perform(twin, edit, step) == outcome, edit  # the rebuilt one goes on in the same way
        if net.graph.recurrent:
            for one in (net, twin):
                one(np.linspace(-1, 1, net.graph.n_inputs))
        assert_identical(net, twin)
        twin = rebuilt(net)
        assert_identical(net, twin)
        assert look(net) == look(twin), edit
    assert_sound(net)


@pytest.mark.parametrize("suffix", FORMATS)
@given(net=living(), script=s.edit_scripts(0, 12))
def test_a_life_through_files(suffix, tmp_path_factory, net, script):
    folder = tmp_path_factory.getbasetemp()
    for step, edit in enumerate(script, start=1):
        twin = again(net, suffix, folder)
        assert perform(net, edit, step) == perform(twin, edit, step)
        assert_identical(net, twin)
    assert look(net) == look(again(net, suffix, folder))


@given(living(), s.edit_scripts(1, STEPS, ("connect", "disconnect", "split", "remove", "regrow", "trim")), st.data())
def test_undo_comes_back_from_any_pruning(net, script, data):
    for step, edit in enumerate(script):
        perform(net, edit, step)
    before = net.copy()
    result = net.prune_to_sparsity(data.draw(s.sparsities()), method=data.draw(st.sampled_from(("magnitude", "snip"))))
    look(net)
    result.undo(net)
    assert_identical(before, net)
    assert look(net) == look(before)


@pytest.mark.compiled_only
def test_the_scripts_do_something():
    """Most edits change a network, and each kind does so now and then: else the tests above would show little."""
    done, tried = Counter(), Counter()

    @settings(max_examples=50)
    @given(s.networks(min_connections=2), s.edit_scripts(STEPS, STEPS))
    def live(spelled, script):
        net = network(spelled)
        for step, edit in enumerate(script, start=1):
            before = look(net)
            perform(net, edit, step)
            tried[edit[0]] += 1
            done[edit[0]] += before != look(net)

    live()
    assert all(done[operation] > 0.05 * tried[operation] for operation in s.EDITS), (done, tried)
    assert done.total() > 0.4 * tried.total()
