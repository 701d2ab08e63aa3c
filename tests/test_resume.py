"""A run that is killed goes on to the same bits as one that never stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import neuroprune as npr

GENERATIONS = 40
RUN = """
import sys
import neuroprune as npr
from test_resume import fresh, slowly
folder = sys.argv[1]
try:
    population = npr.Population.load(folder + "/run.npz")
except FileNotFoundError:
    population = fresh(sys.argv[2])
print("ready", flush=True)
population.evolve(slowly, {generations} - population.generation,
                  checkpoint=npr.Checkpoint(folder + "/run.npz", generations=1))
population.save(folder + "/end.npz")
"""


def fresh(kind: str) -> npr.Population:
    """The population of a kind of run before its first generation."""
    settings = npr.Settings(recurrent=kind == "adaptive", add_node=0.2, add_connection=0.5)
    pruning = {"generations": npr.GenerationPruning(0.5, 3, 2, 20, regrow_fraction=0.3),
               "adaptive": npr.AdaptivePruning(0.3)}.get(kind)
    objectives = ("fitness", "connections") if kind == "front" else None
    return npr.Population(2, 1, size=30, seed=5, settings=settings, pruning=pruning, objectives=objectives)


def slowly(net: npr.Network) -> float:
    """A fitness with noise of the network's own stream, slow enough for a kill to meet it."""
    time.sleep(0.0003)
    return -abs(float(net([0.5, 1.0])[0]) - 0.3) + 0.01 * net.rng.normal()


def save(population: npr.Population, path: Path) -> bytes:
    population.save(path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["generations", "adaptive", "front"])
@pytest.mark.parametrize("asked", [False, True])
def test_saved_and_loaded_in_the_middle(tmp_path, kind, asked):
    straight = fresh(kind)
    straight.evolve(slowly, 12)
    broken = fresh(kind)
    for _ in range(4):
        broken.evolve(slowly, 3)
        if asked:
            broken.ask()
        before = save(broken, tmp_path / "run.npz")
        assert save(broken, tmp_path / "again.npz") == before  # saving changes nothing
        broken = npr.Population.load(tmp_path / "run.npz")
        assert save(broken, tmp_path / "again.npz") == before
    if asked:
        straight.ask()
    assert save(straight, tmp_path / "straight.npz") == save(broken, tmp_path / "end.npz")


def test_a_checkpoint_is_written_as_often_as_asked(tmp_path):
    path = tmp_path / "run.npz"
    seen = []
    fresh("generations").evolve(
        slowly, 7, checkpoint=npr.Checkpoint(path, generations=3),
        callback=lambda population: seen.append(npr.Population.load(path).generation if path.exists() else 0))
    assert seen == [0, 0, 3, 3, 3, 6, 6]
    assert npr.Population.load(path).generation == 7
    fresh("generations").evolve(slowly, 2, checkpoint=npr.Checkpoint(path, generations=None, minutes=0.0))
    assert npr.Population.load(path).generation == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["generations", "adaptive"])
def test_killed_at_random_moments(tmp_path, kind):
    straight = fresh(kind)
    straight.evolve(slowly, GENERATIONS)
    rng = np.random.default_rng(0)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    command = [sys.executable, "-c", RUN.format(generations=GENERATIONS), str(tmp_path), kind]
    killed = 0
    while not (tmp_path / "end.npz").exists():
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout.readline() == b"ready\n"
            if killed < 10:
                time.sleep(float(rng.uniform(0.0, 0.15)))
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.wait()
            assert process.returncode in (0, -signal.SIGKILL)
    assert killed == 10
    assert not list(tmp_path.glob("*.tmp")) or killed  # what a kill leaves behind is never read
    assert (tmp_path / "end.npz").read_bytes() == save(straight, tmp_path / "straight.npz")
