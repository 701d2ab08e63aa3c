"""Networks in files: bit for bit there and back, nothing changed by saving, nothing left by a failing save."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuroprune as npr
import oracles as o
import strategies as s
from bridge import assert_one_sentence, assert_sound, network, plain
from living import anything, candidates, everything, living
from neuroprune import Network, PruningSchedule
from neuroprune.network import atomic, files
from neuroprune.network.prune import RECORDED
from neuroprune.rng import BIT_GENERATORS
from stored import FORMATS, VERSION_1, again, assert_identical, written


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@st.composite
def furnished(draw):
    """Living networks with a schedule, baselines, a recorded gradient, a state and any generator, or without."""
    net = draw(living())
    data = np.random.default_rng(draw(s.SEEDS))
    if draw(st.booleans()):
        net.rng = np.random.Generator(getattr(np.random, draw(st.sampled_from(BIT_GENERATORS)))(draw(s.SEEDS)))
        net.rng.random(draw(st.integers(0, 700)))
        net.rng.integers(9, size=draw(st.integers(0, 3)), dtype=np.uint32)  # half of a 64-bit draw is kept
    if draw(st.booleans()):
        net.train(*anything(net), iterations=draw(st.integers(1, 3)), learning_rate=1e-3)
    if draw(st.booleans()):
        net.prune_to_sparsity(draw(s.sparsities()))
    if draw(st.booleans()):
        places, _ = draw(candidates(net))
        start = draw(st.integers(0, 3))
        net.pruning = PruningSchedule(
            draw(st.floats(0.01, 1.0)), start, start + draw(st.integers(0, 5)), draw(st.integers(1, 3)),
            draw(st.sampled_from(("magnitude", "snip", "random"))), draw(st.floats(0, 1)),
            draw(st.sampled_from(("linear", "cubic", "cosine", "exponential"))), places,
        )  # fmt: skip
        net.maybe_prune(draw(st.integers(0, 4)))
    if draw(st.booleans()):
        net.connections.accumulated_gradient = data.standard_normal(len(net.connections))
    if net.graph.recurrent and draw(st.booleans()):
        net(data.standard_normal((draw(st.integers(0, 3)), net.graph.n_inputs)))
    return net


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize("suffix", FORMATS)
@given(net=furnished(), seed=s.SEEDS)
def test_comes_back_bit_for_bit(suffix, folder, net, seed):
    rng = np.random.default_rng(seed)
    awkward = np.array([-0.0, 5e-324, -2.2e-308, 1.7976931348623157e308, 0.1, 1 / 3, 2.0**-1074 * 3])
    for column in (net.connections.weight, net.nodes.bias[net.graph.n_inputs:], net.connections.accumulated_gradient):
        if column is not None:
            column[:] = np.where(rng.random(column.size) < 0.3, rng.choice(awkward, column.size), column)
    twin = again(net, suffix, folder)
    assert_identical(net, twin)
    assert net.equals(twin) and everything(net) == everything(twin)
    assert_sound(twin)
    assert written(twin, suffix, folder).read_bytes() == written(net, suffix, folder).read_bytes()


@pytest.mark.parametrize("suffix", FORMATS)
@given(net=furnished())
def test_goes_on_as_if_nothing_had_been(suffix, folder, net):
    twin = again(net, suffix, folder)

    def live(net):
        drawn = [net.rng.random(3).tolist(), net.rng.integers(7, size=3, dtype=np.uint32).tolist()]
        if net._state is not None:
            drawn.append(net(np.ones((len(net._state), net.graph.n_inputs))).tolist())
        for iteration in (2, 4, 9):
            try:
                net.maybe_prune(iteration)
            except ValueError as error:  # its candidates do not fit the wiring any more
                drawn.append(str(error))
        net.train(*anything(net), iterations=2, batch_size=2, learning_rate=1e-3)
        net.prune_to_sparsity(0.4, method="random")
        net.regrow(min(2, len(o.free_slots(plain(net)))))
        return drawn

    assert live(net) == live(twin)
    assert_identical(net, twin)


@pytest.mark.parametrize("suffix", FORMATS)
@given(net=furnished())
def test_saving_changes_nothing(suffix, folder, net):
    before, made = net.copy(), net._rng is not None
    first = written(net, suffix, folder).read_bytes()
    assert (net._rng is not None) == made
    assert_identical(before, net)
    assert written(net, suffix, folder).read_bytes() == first


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", BIT_GENERATORS)
def test_every_generator_goes_on(suffix, name, tmp_path):
    net = Network.dense([1, 1], seed=0)
    net.rng = np.random.Generator(getattr(np.random, name)(7))
    net.rng.random(5, dtype=np.float32)
    twin = again(net, suffix, tmp_path)
    for draw in (lambda rng: rng.random(1000), lambda rng: rng.integers(9, size=5, dtype=np.uint32)):
        assert draw(net.rng).tolist() == draw(twin.rng).tolist()


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("seed", [0, 2**63, 2**200])
def test_the_seed_is_kept_and_a_generator_not_yet_made_is_made_from_it(suffix, seed, tmp_path):
    net = Network.from_connections(1, 1, [(0, 1, 1.0)], seed=seed)
    twin = again(net, suffix, tmp_path)
    assert twin.seed == seed and twin._rng is None
    assert net.rng.random() == twin.rng.random()


@pytest.mark.parametrize("suffix", FORMATS)
@given(spelled=s.networks(), default=st.sampled_from(s.ANY))
def test_the_default_activation_is_kept(suffix, folder, spelled, default):
    net = network(spelled, default_activation=default)
    twin = again(net, suffix, folder)
    assert twin.default_activation == default
    for source, target in list(spelled.connections)[:1]:
        assert net.add_node(source, target) == twin.add_node(source, target)
    assert_identical(net, twin)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("places", [np.zeros((4, 4), bool), [[1, 3], [0, 2]], np.array([[1, 3]], np.int8), []])
def test_candidates_of_a_schedule_are_kept(suffix, places, tmp_path):
    net = Network.dense([2, 2], seed=0)
    net.pruning = PruningSchedule(0.5, 1, 5, candidates=places, regrow_fraction=0.5)
    twin = again(net, suffix, tmp_path)
    assert twin.pruning == net.pruning and twin.pruning.candidates.dtype == net.pruning.candidates.dtype
    assert not twin.pruning.candidates.flags.writeable


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_scorer_of_the_table_is_saved_by_name(suffix, tmp_path):
    net = Network.dense([2, 2], seed=0)
    net.pruning = PruningSchedule(0.5, 1, 5, method=npr.saliency.snip)
    assert again(net, suffix, tmp_path).pruning == PruningSchedule(0.5, 1, 5, method="snip")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_registered_activation_is_found_again(suffix, tmp_path):
    npr.register_activation("cubed_for_files", lambda x: x**3, lambda x: 3 * x**2)
    net = Network.from_connections(1, 1, [(0, 1, 2.0)], activation="cubed_for_files", seed=0)
    assert again(net, suffix, tmp_path)([1.0]).tolist() == [8.0]


@pytest.mark.parametrize("suffix", FORMATS)
def test_paths_are_strings_or_paths(suffix, tmp_path, monkeypatch):
    net = Network.dense([2, 2], seed=0)
    net.save(str(tmp_path / f"a.{suffix}"))
    assert Network.load(Path(tmp_path, f"a.{suffix}")).equals(net)
    monkeypatch.chdir(tmp_path)
    net.save(f"b.{suffix}")
    assert Network.load(f"b.{suffix}").equals(net)
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_files_of_version_1_stay_readable(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(VERSION_1)
    net = Network.load(path)
    assert_sound(net)
    assert net.nodes.id.tolist() == [0, 1, 7, 2] and net.default_activation == "relu"
    assert net.connections.delayed.tolist() == [False, True, False] and net.iteration == 17 and net.seed == 11
    assert (net.initial_connection_count, net.evolution_baseline, net.last_prune_iteration) == (4, 5, 3)
    assert net.pruning == PruningSchedule(0.5, 1, 9, 2, "snip", 0.25, "cubic", [[1, 2], [0, 2]])
    assert net._state.tolist() == [[1.0, 2.0, 3.0, 4.0]] and net._signals_end
    assert json.loads(written(net, "json", tmp_path).read_text()) == json.loads(VERSION_1)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("trained", [False, True])
def test_what_training_recorded_is_kept(suffix, trained, tmp_path):
    net = Network.dense([3, 4, 2], seed=0)
    if trained:
        net.train(*anything(net), iterations=3)
        net.prune_to_sparsity(0.5)
    else:
        net.connections.accumulated_gradient = np.arange(20.0)
    twin = again(net, suffix, tmp_path)
    names = [name for name in files.describe(net)[1] if name in RECORDED]
    assert names == (["gradient", "movement", "squared_gradient"] if trained else ["gradient"])
    for name in RECORDED:
        mine, theirs = (getattr(one.connections, f"accumulated_{name}") for one in (net, twin))
        assert mine is theirs is None if name not in names else mine.tobytes() == theirs.tobytes()
    for one in (net, twin):
        one.train(*anything(one), iterations=1, seed=0)
    assert_identical(net, twin)  # restarted in both, or gone on in both


def test_json_is_one_entry_a_line(tmp_path):
    lines = written(Network.dense([2, 3, 1], seed=0), "json", tmp_path).read_text().splitlines()
    assert lines[0] == "{" and lines[-1] == "}"
    assert [line.split('"')[1] for line in lines[1:-1]][:3] == ["format", "version", "n_inputs"]


def test_npz_is_compact(tmp_path):
    net = Network.dense([60, 60], seed=0)
    assert written(net, "npz", tmp_path).stat().st_size < 3600 * 12 < written(net, "json", tmp_path).stat().st_size


# ---------------------------------------------------------------- refused to be saved


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("schedule", "named"),
    [
        ({"method": lambda weight: weight}, "scorer function"),
        ({"ramp": lambda progress: progress}, "function for ramp"),
        ({"signals": lambda net: {}}, "function for signals"),
    ],
)
def test_functions_are_refused(suffix, schedule, named, tmp_path):
    net = Network.dense([2, 2], seed=0)
    net.pruning = PruningSchedule(0.5, 1, 5, **schedule)
    with pytest.raises(ValueError, match=named) as error:
        net.save(tmp_path / f"net.{suffix}")
    assert_one_sentence(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("column", ["weight", "bias", "gradient", "movement", "squared_gradient", "state"])
def test_numbers_that_are_not_finite_are_refused(suffix, column, tmp_path):
    net = Network.random(2, 2, 2, 9, recurrent=True, seed=0)
    net([1.0, 2.0])
    net.train(*anything(net), iterations=1)
    path = written(net, suffix, tmp_path)
    before = path.read_bytes()
    recorded = {name: getattr(net.connections, f"accumulated_{name}") for name in RECORDED}
    columns = {"weight": net._weight, "bias": net._bias, **recorded, "state": net._state[0]}
    columns[column][3] = math.nan
    with pytest.raises(ValueError, match="must be finite, got nan at index 3") as error:
        net.save(path)
    assert_one_sentence(error)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_an_unknown_generator_is_refused(tmp_path):
    class Own(np.random.PCG64):
        @property
        def state(self):
            return {**super().state, "bit_generator": "Own"}

    net = Network.dense([1, 1], seed=0)
    net.rng = np.random.Generator(Own(0))
    with pytest.raises(ValueError, match="net.rng must have one of the bit generators PCG64.*got Own") as error:
        net.save(tmp_path / "net.json")
    assert_one_sentence(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["net.txt", "net", "net.json.gz", ".json", "net.JSON"])
def test_other_names_are_refused(name, tmp_path):
    net = Network.dense([1, 1], seed=0)
    for call in (net.save, Network.load):
        with pytest.raises(ValueError, match=r"must end in \.json or \.npz") as error:
            call(tmp_path / name)
        assert_one_sentence(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("broken", ["write", "flush", "replace"])
def test_a_failing_write_leaves_the_old_file_and_nothing_else(suffix, broken, tmp_path, monkeypatch):
    net = Network.dense([2, 2], seed=0)
    path = written(net, suffix, tmp_path)
    before = path.read_bytes()
    net.connections.weight += 1.0

    def fail(*_, **__):
        raise OSError("no space left")

    if broken == "write":
        if suffix == "npz":
            monkeypatch.setattr(np.lib.format, "write_array", fail)
        else:
            monkeypatch.setattr(files.json, "dumps", fail)
    else:
        monkeypatch.setattr(atomic.os, {"flush": "fsync"}.get(broken, broken), fail)
    with pytest.raises(OSError, match="no space left"):
        net.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    net.save(path)
    assert Network.load(path).equals(net)


@pytest.mark.parametrize("suffix", FORMATS)
def test_missing_files_and_folders_are_os_errors(suffix, tmp_path):
    net = Network.dense([1, 1], seed=0)
    with pytest.raises(FileNotFoundError):
        Network.load(tmp_path / f"none.{suffix}")
    with pytest.raises(FileNotFoundError):
        net.save(tmp_path / "none" / f"net.{suffix}")
    (tmp_path / f"folder.{suffix}").mkdir()
    with pytest.raises(IsADirectoryError):
        Network.load(tmp_path / f"folder.{suffix}")
    with pytest.raises(OSError):
        net.save(tmp_path / f"folder.{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"folder.{suffix}"]
