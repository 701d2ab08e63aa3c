"""Evaluation on a real Dask cluster of two worker processes: the same bits, errors, and workers that are killed."""

import logging
import os
import signal
import threading
import time
import warnings
from concurrent.futures import wait
from types import SimpleNamespace

import numpy as np
import pytest

import fitnesses as f
from bridge import assert_one_sentence
from neuroprune import activations
from neuroprune.evolution import batch

distributed = pytest.importorskip("distributed", reason="dask is not installed: pip install 'neuroprune[dask]'")


@pytest.fixture(scope="module")
def client():
    """A cluster on this machine, on ports that are free, without dashboard; it says only what is critical."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Creating scratch directories is taking a surprisingly long time")
        cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                                           silence_logs=logging.CRITICAL)  # fmt: skip
    with cluster, distributed.Client(cluster, set_as_default=False) as connected:
        yield connected


@pytest.fixture
def executor(client):
    """Of two workers that may be killed: one that dies before its nanny knows that it runs is not started again."""
    client.wait_for_workers(2, timeout=60)
    end = time.monotonic() + 60
    while time.monotonic() < end and not all(
        nanny.process is not None and nanny.process.status == distributed.Status.running
        for nanny in client.cluster.workers.values()
    ):
        time.sleep(0.01)
    return client.get_executor()


def test_what_is_used_of_the_executor_is_there(client):
    """Two private attributes; without them, the executor is used as any other is."""
    made = client.get_executor(workers=["nowhere"])
    assert made._client is client and made._kwargs == {"workers": ["nowhere"]}


@pytest.mark.parametrize("recurrent", [False, True])
def test_same_bits_from_a_function(executor, recurrent):
    genomes = f.population(60, recurrent)
    wanted = f.by_hand(genomes, 7, 3)
    assert batch.evaluate(f.behaviour, genomes, 7, 3, executor).tobytes() == wanted.tobytes()
    assert len(batch.cuts(60, genomes.nbytes, batch._workers(executor))) == 8  # four chunks for each core
    assert batch.evaluate(f.behaviour, genomes, 7, 3).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("inherits", [False, True])
@pytest.mark.parametrize("ballast", [0, 100_000])
def test_same_bits_from_a_problem(executor, inherits, ballast):
    problem = f.Learner(inherits, ballast)
    here, there = f.population(40), f.population(40)
    for generation in range(3):
        fitness = batch.evaluate(problem, here, 2, generation)
        assert batch.evaluate(problem, there, 2, generation, executor).tobytes() == fitness.tobytes()
        assert here.columns.parameters.tobytes() == there.columns.parameters.tobytes()


def test_both_processes_work(executor, tmp_path):
    ids = batch.evaluate(f.Meeting(tmp_path), f.population(24), 0, 0, executor)
    assert len(set(ids)) == 2 and os.getpid() not in ids


def test_few_networks(executor):
    for count in (0, 1, 3):
        genomes = f.assorted(False).take(np.arange(count))
        assert batch.evaluate(f.Size(), genomes, 0, 0, executor).tolist() == \
            (genomes.n_connections * 1000.0 + np.arange(count)).tolist()  # fmt: skip


def test_closures(executor):
    genomes, factor = f.population(20), 3.0
    fitness = batch.evaluate(lambda net: factor * len(net.connections), genomes, 0, 0, executor)
    assert fitness.tolist() == (factor * genomes.n_connections).tolist()


@pytest.mark.parametrize(("function", "words"), [
    (f.fails_late, "network 7 of generation 4, ValueError: seven is not"),
    (f.fails_unsendably, "network 3 of generation 4, UnsendableError: it is of no use"),
    (f.fails_unprintably, "network 0 of generation 4, UnprintableError: it cannot be printed"),
    (f.leaves, "network 2 of generation 4, SystemExit: 3"),
])  # fmt: skip
def test_an_error_names_the_network_and_shows_the_traceback(executor, function, words):
    genomes = f.numbered(40)
    before = genomes.columns.parameters.tobytes()
    with pytest.raises(RuntimeError, match=words) as error:
        batch.evaluate(function, genomes, 0, 4, executor)
    assert_one_sentence(error)
    (note,) = error.value.__notes__
    assert "In the worker" in note and "fitnesses.py" in note
    assert genomes.columns.parameters.tobytes() == before
    assert batch.evaluate(f.index_of, genomes, 0, 4, executor).tolist() == list(range(40))


def test_an_error_that_was_repaired_is_not_remembered(executor, tmp_path):
    """Dask takes equal calls for one, and this error is still held."""
    genomes, function = f.numbered(4), f.NeedsFile(tmp_path / "data")
    with pytest.raises(RuntimeError, match="FileNotFoundError") as error:
        batch.evaluate(function, genomes, 0, 4, executor)
    (tmp_path / "data").write_text("2")
    assert batch.evaluate(function, genomes, 0, 4, executor).tolist() == [2, 2, 2, 2]
    assert error is not None


def test_an_activation_that_workers_lack(executor, monkeypatch):
    code, name = activations.code, activations.name
    monkeypatch.setattr(activations, "code", lambda one: code("tanh" if one == "made_up" else one))
    monkeypatch.setattr(activations, "name", lambda one: "made_up" if one == code("tanh") else name(one))
    with pytest.raises(RuntimeError, match="must be able to load problem and networks, got ValueError: .*'made_up'"):
        batch.evaluate(f.behaviour, f.population(9), 0, 0, executor)


def test_what_cannot_be_packed(executor):
    lock = threading.Lock()
    with pytest.raises(TypeError, match="must be picklable to reach the workers of ClientExecutor"):
        batch.evaluate(lambda net: lock.locked(), f.numbered(3), 0, 0, executor)


def test_a_client_is_not_its_executor(client):
    with pytest.raises(TypeError, match=r"got Future: pass client.get_executor\(\)"):
        batch.evaluate(f.behaviour, f.numbered(3), 0, 0, client)


def test_ctrl_c_leaves_the_cluster_usable(executor):
    genomes = f.numbered(40)
    interruption = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    interruption.start()
    with pytest.raises(KeyboardInterrupt):
        batch.evaluate(f.sleeps, genomes, 0, 0, executor)
    assert batch.evaluate(f.index_of, genomes, 0, 0, executor).tolist() == list(range(40))


@pytest.mark.parametrize("index", [5, 30])
def test_a_worker_that_kills_itself_costs_a_retry(executor, tmp_path, index):
    genomes = f.population(60)
    fitness = batch.evaluate(f.KillsOnce(tmp_path, index), genomes, 7, 3, executor)
    assert (tmp_path / "killed").exists()
    assert fitness.tobytes() == f.by_hand(genomes, 7, 3).tobytes()


@pytest.mark.parametrize("inherits", [False, True])
def test_a_worker_killed_from_outside_in_mid_generation(monkeypatch, executor, client, inherits):
    """What it had done and what it was doing is done again, learning too."""
    here, there, problem = f.population(40), f.population(40), f.Learner(inherits)
    problem.pause = 0.02
    victim, killed = min(client.run(os.getpid).values()), []

    def kill(*arguments):
        found = wait(*arguments)
        if not killed:  # one chunk is there or two, the others are not
            os.kill(victim, signal.SIGKILL)
            killed.append(len(found.not_done))
        return found

    monkeypatch.setattr(batch, "wait", kill)
    fitness = batch.evaluate(problem, there, 2, 1, executor)
    assert killed[0] > 0 and victim not in client.run(os.getpid).values()
    assert fitness.tobytes() == batch.evaluate(problem, here, 2, 1).tobytes()
    assert here.columns.parameters.tobytes() == there.columns.parameters.tobytes()


class Shaky:
    """A Dask client that cancels, as it does when it loses the scheduler, the first futures it hands out."""

    def __init__(self, client, losses):
        self.client, self.losses, self.ncores = client, losses, client.ncores

    def submit(self, *call):
        future = self.client.submit(*call)
        if self.losses:
            self.losses -= 1
            future.cancel()
        return future


def test_lost_futures_are_sent_again(client, executor):
    genomes = f.population(60)
    shaky = Shaky(client, 5)
    made = SimpleNamespace(_client=shaky, submit=shaky.submit)
    assert batch.evaluate(f.behaviour, genomes, 7, 3, made).tobytes() == f.by_hand(genomes, 7, 3).tobytes()
    assert shaky.losses == 0
    with pytest.raises(RuntimeError, match="of generation 3 were lost 2 times, .*Cancelled") as error:
        batch.evaluate(f.behaviour, genomes, 7, 3, SimpleNamespace(_client=Shaky(client, 99), submit=shaky.submit))
    assert isinstance(error.value.__cause__, BaseException)


@pytest.mark.slow
def test_a_function_that_always_kills_its_worker_ends_in_an_error():
    """Not in a wait without end: neither for the chunk that kills, nor for results that died with it."""
    genomes = f.numbered(12)
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
                                  silence_logs=logging.CRITICAL) as cluster, \
            distributed.Client(cluster, set_as_default=False) as client:  # fmt: skip
        with pytest.raises(RuntimeError, match="workers must stay alive, but"):
            batch.evaluate(f.kills, genomes, 0, 4, client.get_executor())
    assert batch.evaluate(f.index_of, genomes, 0, 4).tolist() == list(range(12))
