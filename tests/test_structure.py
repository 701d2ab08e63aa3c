"""The compiled loops over wiring, each against what it does in a line or two of Python; and plain against compiled."""

import os
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
from neuroprune.kernels import structure

ROOT = Path(__file__).parents[1]


@st.composite
def wirings(draw, max_nodes=10):
    """(n, n_inputs, n_outputs, source, target, delayed): any pairs, each once, shuffled; delayed may be empty."""
    n_inputs, n_outputs = draw(s.sizes(1, 3)), draw(s.sizes(1, 3))
    n = n_inputs + n_outputs + draw(s.sizes(0, max_nodes))
    rng = np.random.default_rng(draw(s.SEEDS))
    pairs = rng.permutation(n * n)[: draw(s.sizes(0, 3 * n))]
    late = rng.random(pairs.size) < 0.5 if draw(st.booleans()) else np.zeros(0, bool)
    return n, n_inputs, n_outputs, pairs % n, pairs // n, late


@st.composite
def columns(draw):
    """(net, rng) of a network of any kind."""
    return bridge.network(draw(s.networks())).graph, np.random.default_rng(draw(s.SEEDS))


# ---------------------------------------------------------------- order


@given(wirings())
def test_arrange_is_kahn(wiring):
    n, n_inputs, n_outputs, source, target, late = wiring
    legal = (target >= n_inputs) & (source < n - n_outputs)
    source, target, late = source[legal], target[legal], late[legal] if late.size else late
    forward = [(a, b) for i, (a, b) in enumerate(zip(source.tolist(), target.tolist(), strict=True))
               if not (late.size and late[i])]  # fmt: skip
    position, placed = structure.arrange(n, n_inputs, n_outputs, source, target, late)
    wanted = o.kahn(list(range(n)), n_inputs, n_outputs, forward)
    if wanted is not None:
        assert placed == n and np.argsort(position).tolist() == wanted
    else:
        left = position < 0
        assert placed < n and left.sum() == n - placed
        assert all(any(left[a] for a, b in forward if b == node) for node in np.flatnonzero(left[: n - n_outputs]))


@given(wirings(), st.integers(0, 3))
def test_pack_sorts_and_finds_duplicates(wiring, doubled):
    n, _, _, source, target, _ = wiring
    source, target = (np.append(column, column[:doubled]) for column in (source, target))
    order, incoming, duplicate = structure.pack(n, source, target)
    assert order.tolist() == np.lexsort((source, target)).tolist()
    assert incoming.tolist() == np.searchsorted(target[order], np.arange(n + 1)).tolist()
    if doubled and source.size > 1 and len({*zip(source.tolist(), target.tolist(), strict=True)}) < source.size:
        assert ((source == source[duplicate]) & (target == target[duplicate])).sum() > 1
    else:
        assert duplicate == -1


@given(st.integers(1, 3), st.integers(1, 3), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))),
       st.lists(st.integers(0, 30)))  # fmt: skip
def test_number_nodes(n_inputs, n_outputs, pairs, others):
    source, target = (np.array([pair[end] for pair in pairs], np.int64) for end in (0, 1))
    others = np.array(others, np.int64)
    every = np.concatenate([source, target, others])
    lowest, highest = structure.id_range(source, target, others)
    assert (lowest, highest) == (0, every.max(initial=0))
    fixed = n_inputs + n_outputs
    hidden, by_source, by_target = structure.number_nodes(
        n_inputs, n_outputs, source, target, others, max(highest + 1, fixed)
    )
    assert hidden.tolist() == sorted({node for node in every.tolist() if node >= fixed})
    ids = [*range(n_inputs), *hidden.tolist(), *range(n_inputs, fixed)]
    assert [ids[i] for i in by_source] == source.tolist() and [ids[i] for i in by_target] == target.tolist()


def test_id_range_sees_every_column():
    column = np.array([3, 4], np.int64)
    for place in range(3):
        columns = [column] * 3
        columns[place] = np.array([-5, 9], np.int64)
        assert structure.id_range(*columns) == (-5, 9)


# ---------------------------------------------------------------- columns


@given(columns(), st.floats(0, 1))
def test_compaction(given_columns, share):
    graph, rng = given_columns
    keep = rng.random(graph.n_connections) < share
    count, weight = int(keep.sum()), rng.normal(size=keep.size)
    assert structure.compact(keep, count, weight).tolist() == weight[keep].tolist()
    assert structure.compact(keep, count, keep).tolist() == [True] * count
    source, weights = structure.compact_pair(keep, count, graph.source, weight)
    assert source.tolist() == graph.source[keep].tolist() and weights.tolist() == weight[keep].tolist()
    assert source.dtype == np.int32
    incoming = structure.compact_incoming(keep, graph.incoming)
    assert np.diff(incoming).tolist() == np.bincount(graph.target[keep], minlength=graph.n_nodes).tolist()


@given(columns())
def test_targets(given_columns):
    graph, _ = given_columns
    target = structure.targets(graph.incoming)
    assert target.dtype == np.int32
    assert target.tolist() == np.repeat(np.arange(graph.n_nodes), np.diff(graph.incoming)).tolist()


@given(columns(), st.floats(0, 1))
def test_insert_merges_what_was_taken_out(given_columns, share):
    graph, rng = given_columns
    keep, weight = rng.random(graph.n_connections) < share, rng.normal(size=graph.n_connections)
    rest = structure.compact_incoming(keep, graph.incoming)
    merged = structure.insert(
        rest, graph.source[keep], weight[keep], graph.target[~keep], graph.source[~keep], weight[~keep]
    )
    incoming, source, weights, landed = merged
    assert incoming.tolist() == graph.incoming.tolist() and source.tolist() == graph.source.tolist()
    assert weights.tolist() == weight.tolist() and landed.tolist() == np.flatnonzero(~keep).tolist()


# ---------------------------------------------------------------- free places


@given(columns(), st.data())
def test_free_slots_number_the_places_that_are_not_taken(given_columns, data):
    """Between any bounds for each target, as order, layers and recurrent networks have them."""
    graph, rng = given_columns
    n = graph.n_nodes
    lowest, highest = rng.integers(0, n + 1, n), rng.integers(0, n + 1, n)
    if data.draw(st.booleans()):
        lowest, highest = graph.slots
    taken = set(zip(graph.target.tolist(), graph.source.tolist(), strict=True))
    free = [(b, a) for b in range(n) for a in range(lowest[b], highest[b]) if (b, a) not in taken]
    before = structure.free_before(graph.incoming, graph.source, lowest, highest)
    assert before.tolist() == [sum(slot[0] < node for slot in free) for node in range(n + 1)]
    count = data.draw(s.sizes(0, len(free)))
    ranks = np.sort(rng.choice(len(free), count, replace=False)) if free else np.zeros(0, np.int64)
    target, source = structure.free_slots(graph.incoming, graph.source, lowest, before, ranks)
    assert list(zip(target.tolist(), source.tolist(), strict=True)) == [free[rank] for rank in ranks]
    assert target.dtype == source.dtype == np.int32


@given(st.lists(st.integers(0, 30), unique=True), st.integers(-1, 31), st.integers(0, 31), s.SEEDS)
def test_searches(values, bound, rank, seed):
    source = np.sort(np.array(values, np.int32))
    first, last = sorted(np.random.default_rng(seed).integers(0, source.size + 1, 2).tolist())
    assert structure.first_from(source, first, last, bound) == first + np.searchsorted(source[first:last], bound)
    lowest = int(source[first]) if first < last else 0
    places = [place for place in range(lowest, 100) if place not in source[first:last]]
    passed = structure.passed_over(source, first, last, lowest, rank)
    assert lowest + rank + passed == places[rank]


# ---------------------------------------------------------------- reach


@given(wirings())
def test_reach_over_any_connections(wiring):
    """Loops and connections against the order included."""
    n, n_inputs, n_outputs, source, target, _ = wiring
    order, incoming, _ = structure.pack(n, source, target)
    source, pairs = source[order], list(zip(source.tolist(), target.tolist(), strict=True))
    back = o.spread(range(n - n_outputs, n), [(b, a) for a, b in pairs])
    assert np.flatnonzero(structure.reaching(incoming, source, n_outputs)).tolist() == sorted(back)
    into = [(a, b) for a, b in pairs if b >= n_inputs]
    reached = structure.reached_from_inputs(incoming, source, n_inputs)
    assert np.flatnonzero(reached).tolist() == sorted(o.spread(range(n_inputs), into))


# ---------------------------------------------------------------- plain source and compiled code

SCRIPT = """
import numpy as np
from neuroprune import Network, PruningSchedule, register_activation
from neuroprune.network import losses, optimizers
from neuroprune.activations import ACTIVATIONS

names, columns = list(ACTIVATIONS), {{}}
register_activation("third", lambda x: x / 3.0, lambda x: 1.0 / 3.0)
for seed in range(6):
    rng, recurrent = np.random.default_rng(seed), seed % 2 == 1
    net = Network.random(4, 2, 6, 40, recurrent=recurrent, seed=seed)
    chosen = [names[i] for i in rng.integers(len(names), size=12)]
    net.nodes.activation = ["tanh" if name == "square" else name for name in chosen[:11]] + ["third"]
    lead = (20, 3) if recurrent else (20,)
    x, y = rng.normal(size=(*lead, 4)), rng.normal(size=(*lead, 2))
    out = [net.run(x), net.run(x[:, :2], dtype=np.float32)] if recurrent else [net(x), net(x[0]), net(x, np.float32)]
    out += net.gradient(x, y, list(losses.LOSSES)[seed])
    net.pruning = PruningSchedule(0.5, 3, 9, 3, "snip", regrow_fraction=0.3, ramp="cubic")
    choice = list(optimizers.OPTIMIZERS)[seed % 4]
    history = net.train(x, y, 12, 0.01, choice, batch_size=7, l2=0.01, clip_norm=1.0, validation=(x, y))
    net.add_node(net.connections[0].source, net.connections[0].target)
    net.regrow(3, method="gradient", data=(x, y))
    net.connect(net.nodes[4].id, net.nodes[-1].id) if (net.nodes[4].id, net.nodes[-1].id) not in net.connections else 0
    net.trim()
    graph, names_of = net.graph, ("loss", "validation_loss", "connections", "sparsity", "gradient_norm")
    out += [graph.ids, graph.source, graph.target, graph.read, graph.depth, graph.reaches_output, net.parameters]
    out += [getattr(history, name) for name in names_of] + [np.array(str(net.rng_state))]
    columns |= {{f"{{seed}}.{{i}}": column for i, column in enumerate(out)}}
np.savez({path!r}, **columns)
"""


@pytest.mark.compiled_only
def test_plain_source_and_compiled_code_agree(tmp_path):
    """Integers and the random stream are equal, float64 agrees to 1e-12, and neither warns."""
    results = []
    for plain in ("0", "1"):
        path = tmp_path / f"{plain}.npz"
        script = SCRIPT.format(path=str(path))
        subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, check=True,
                       env={**os.environ, "NUMBA_DISABLE_JIT": plain})  # fmt: skip
        with np.load(path) as file:
            results.append({name: file[name] for name in file.files})
    compiled, plain = results
    assert compiled.keys() == plain.keys() and len(compiled) > 90
    for name, column in compiled.items():
        assert column.dtype == plain[name].dtype and column.shape == plain[name].shape, name
        if column.dtype == np.float64:
            np.testing.assert_allclose(plain[name], column, rtol=1e-12, atol=1e-12, err_msg=name)
        elif column.dtype == np.float32:
            np.testing.assert_allclose(plain[name], column, rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            assert np.array_equal(plain[name], column), name
