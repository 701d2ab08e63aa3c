"""When a run is saved while it goes on."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from bridge import assert_one_sentence
from neuroprune import XOR, AdaptivePruning, Checkpoint, GenerationPruning, Population, saliency
from neuroprune.evolution import checkpoint as checkpoints


def brightness(net):
    return float(net([0.5, 0.1])[0])


def fresh(**options):
    return Population(2, 1, size=10, seed=0, **options)


class Clock:
    """`time.monotonic` that moves when it is told."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(checkpoints.time, "monotonic", lambda: self.now)


def saved_at(monkeypatch, population, generations, plan, callback=None):
    """In which generations it was saved."""
    seen, save = [], Population.save

    def look(self, path):
        seen.append(self.generation)
        save(self, path)

    monkeypatch.setattr(Population, "save", look)
    population.evolve(brightness, generations, checkpoint=plan, callback=callback)
    return seen


@pytest.mark.parametrize(("every", "wanted"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (5, [5]), (9, [5]), (None, [5])])
def test_every_so_many_generations_and_at_the_end(monkeypatch, tmp_path, every, wanted):
    assert saved_at(monkeypatch, fresh(), 5, Checkpoint(tmp_path / "a.npz", generations=every)) == wanted
    assert Population.load(tmp_path / "a.npz").generation == 5
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_saves_every_ten_seconds(monkeypatch, tmp_path, kind):
    clock = Clock(monkeypatch)

    def later(population):
        clock.now += 5.0

    # the clock stands at 0, 5, 10, ... when a generation ends, and starts anew at each saving
    assert saved_at(monkeypatch, fresh(), 6, kind(tmp_path / "a.npz"), later) == [3, 5, 6]


def test_by_time(monkeypatch, tmp_path):
    clock = Clock(monkeypatch)

    def later(population):
        clock.now += 30.0

    plan = Checkpoint(tmp_path / "a.npz", generations=None, minutes=1.0)
    # the clock stands at 0, 30, 60, 90, ... when a generation ends, and starts anew at each saving
    assert saved_at(monkeypatch, fresh(), 8, plan, later) == [3, 5, 7, 8]


def test_by_time_or_generations_whichever_comes_first(monkeypatch, tmp_path):
    clock = Clock(monkeypatch)

    def later(population):
        clock.now += 100.0 if population.generation == 2 else 0.0

    plan = Checkpoint(tmp_path / "a.npz", generations=3, minutes=1.0)
    assert saved_at(monkeypatch, fresh(), 8, plan, later) == [3, 6, 8]
    plan = Checkpoint(tmp_path / "a.npz", generations=4, minutes=1.0)
    clock.now = 0.0
    assert saved_at(monkeypatch, fresh(), 8, plan, later)[-3:] == [3, 7, 8]


def test_a_callback_that_stops_and_no_generations_save_as_well(monkeypatch, tmp_path):
    plan = Checkpoint(tmp_path / "a.npz", generations=100)
    assert saved_at(monkeypatch, fresh(), 50, plan, lambda population: population.generation == 2) == [2]
    monkeypatch.undo()
    population = fresh()
    population.evolve(brightness, 3)
    assert saved_at(monkeypatch, population, 0, plan) == [3]
    assert Population.load(tmp_path / "a.npz").generation == 3


def test_an_error_saves_what_was_reached(tmp_path):
    def fails(net):
        if population.generation == 2:
            raise ArithmeticError("lost")
        return brightness(net)

    population = fresh()
    with pytest.raises(RuntimeError, match="generation 2"):
        population.evolve(fails, 5, checkpoint=Checkpoint(tmp_path / "a.npz", generations=50))
    again = Population.load(tmp_path / "a.npz")
    assert again.generation == 2 and again.fitness is None
    assert again.evolve(brightness, 2).equals(fresh().evolve(brightness, 4))


def test_saving_changes_nothing(tmp_path):
    one, other = fresh(), fresh()
    one.evolve(brightness, 5, checkpoint=tmp_path / "a.npz")
    other.evolve(brightness, 5)
    one.save(tmp_path / "one.npz")
    other.save(tmp_path / "other.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "a.npz").read_bytes()


def test_a_plan_is_frozen_and_checked(tmp_path):
    plan = Checkpoint(tmp_path / "a.npz")
    assert plan == Checkpoint(tmp_path / "a.npz", 1, None) and hash(plan) == hash(Checkpoint(tmp_path / "a.npz"))
    by_numpy = Checkpoint(tmp_path / "a.npz", np.int64(2), np.float32(0.5))
    assert by_numpy == Checkpoint(tmp_path / "a.npz", 2, 0.5) and type(by_numpy.generations) is int
    with pytest.raises(FrozenInstanceError):
        plan.generations = 3
    for arguments, error, words in (
            ({"path": tmp_path / "a.json"}, ValueError, "must be a .npz file"),
            ({"path": tmp_path}, ValueError, "must be a .npz file"),
            ({"path": tmp_path / "no" / "a.npz"}, FileNotFoundError, "make it first"),
            ({"path": 5}, TypeError, "PathLike"), ({"path": None}, TypeError, "PathLike"),
            ({"generations": 0}, ValueError, "generations"), ({"generations": -1}, ValueError, "generations"),
            ({"generations": True}, TypeError, "generations"), ({"generations": 1.5}, TypeError, "generations"),
            ({"minutes": -1.0}, ValueError, "minutes"), ({"minutes": np.nan}, ValueError, "minutes"),
            ({"minutes": "1"}, TypeError, "minutes"), ({"minutes": True}, TypeError, "minutes")):
        with pytest.raises(error, match=words) as caught:
            Checkpoint(**{"path": tmp_path / "a.npz", **arguments})
        assert_one_sentence(caught)


def never(net):
    raise AssertionError("the problem was evaluated")


@pytest.mark.parametrize(("plan", "error"), [("a.json", ValueError), ("no/a.npz", FileNotFoundError), (5, TypeError),
                                             (True, TypeError), ([], TypeError)])
def test_what_cannot_be_a_checkpoint_is_refused_before_anything_starts(monkeypatch, tmp_path, plan, error):
    monkeypatch.chdir(tmp_path)
    population = fresh()
    with pytest.raises(error) as caught:
        population.evolve(never, 5, checkpoint=plan)
    assert_one_sentence(caught)
    assert population.generation == 0 and not list(tmp_path.iterdir())


class Locked:
    """A scorer that cannot even be copied."""

    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, weight):
        return abs(weight)


@pytest.mark.parametrize("method", [abs, lambda weight: weight, Locked()], ids=["abs", "lambda", "locked"])
def test_scorers_without_a_name_are_refused_before_anything_starts(tmp_path, method):
    population = fresh(pruning=GenerationPruning(0.5, method=method))
    with pytest.raises(ValueError, match="a file cannot hold a scorer function") as caught:
        population.evolve(never, 5, checkpoint=tmp_path / "a.npz")
    assert_one_sentence(caught)
    with pytest.raises(ValueError, match="a file cannot hold a scorer function"):
        population.save(tmp_path / "a.npz")
    assert population.generation == 0 and not list(tmp_path.iterdir())
    population.evolve(brightness, 2)  # without a checkpoint it is fine
    assert population.generation == 2


@pytest.mark.parametrize("pruning", [
    GenerationPruning(0.5, method=saliency.magnitude), GenerationPruning(np.float32(0.5), method="random"),
    GenerationPruning(1, regrow_fraction=np.float64(0.5)), AdaptivePruning(np.float32(0.25), np.float32(0), 1),
])
def test_prunings_that_a_file_can_hold(tmp_path, pruning):
    population = fresh(pruning=pruning)
    population.evolve(brightness, 2, checkpoint=tmp_path / "a.npz")
    again = Population.load(tmp_path / "a.npz").pruning
    assert type(again) is type(pruning) and again.target_sparsity == pruning.target_sparsity
    assert getattr(again, "method", "random") in ("magnitude", "random")


def test_a_full_disk_leaves_the_last_state_and_tells(monkeypatch, tmp_path):
    path, population = tmp_path / "a.npz", fresh()
    population.evolve(brightness, 2, checkpoint=path)
    before = path.read_bytes()

    def full(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        population.evolve(brightness, 2, checkpoint=path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, sys
import neuroprune as npr
population = npr.Population(2, 1, size=10, seed=0)
replace = os.replace
def kill(source, target):
    if population.generation == 3:
        assert os.path.getsize(source) > 1000
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = kill
population.evolve(npr.XOR(), 9, checkpoint=npr.Checkpoint(sys.argv[1], generations=1))
"""


def test_a_kill_between_writing_and_renaming_leaves_the_last_state(tmp_path):
    path = tmp_path / "a.npz"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert Population.load(path).generation == 2
    assert len(list(tmp_path.iterdir())) == 2  # what was being written is never read
    again = Population.load(path)
    assert again.evolve(XOR(), 3, checkpoint=path).equals(fresh().evolve(XOR(), 5))
    assert Population.load(path).generation == 5
