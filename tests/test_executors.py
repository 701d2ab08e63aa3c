"""Evaluation in real threads and processes: the same bits as without, and what happens when a process dies."""

import multiprocessing
import os
import threading
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import fitnesses as f
from bridge import assert_one_sentence
from neuroprune import activations
from neuroprune.evolution import batch

METHODS = multiprocessing.get_all_start_methods()


@pytest.fixture(scope="module", params=["1 thread", "2 threads", *METHODS, "loky"])
def executor(request):
    """Each kind of executor, after kernels have run in this process."""
    f.by_hand(f.population(3), 0, 0)
    if "thread" in request.param:
        made = ThreadPoolExecutor(int(request.param[0]))
    elif request.param == "loky":
        made = pytest.importorskip("loky", reason="loky is not installed: pip install loky").ProcessPoolExecutor(2)
    else:
        made = ProcessPoolExecutor(2, multiprocessing.get_context(request.param))
    with made:
        yield made


@pytest.mark.parametrize("recurrent", [False, True])
def test_same_bits_from_a_function(executor, recurrent):
    genomes = f.population(60, recurrent)
    wanted = f.by_hand(genomes, 7, 3)
    for _ in range(2):
        fitness = batch.evaluate(f.behaviour, genomes, 7, 3, executor)
        assert fitness.tobytes() == batch.evaluate(f.behaviour, genomes, 7, 3).tobytes() == wanted.tobytes()


@pytest.mark.parametrize("inherits", [False, True])
@pytest.mark.parametrize("ballast", [0, 100_000])
def test_same_bits_from_a_problem(executor, inherits, ballast):
    problem = f.Learner(inherits, ballast)
    here, there = f.population(60), f.population(60)
    for generation in range(3):
        fitness = batch.evaluate(problem, here, 2, generation)
        assert batch.evaluate(problem, there, 2, generation, executor).tobytes() == fitness.tobytes()
        assert here.columns.parameters.tobytes() == there.columns.parameters.tobytes()
    assert (here.columns.parameters.tobytes() == f.population(60).columns.parameters.tobytes()) is not inherits


def test_more_and_fewer_networks_than_chunks(executor):
    for count in (0, 1, 2, 7, 100):
        genomes = f.assorted(False).take(np.arange(count))
        wanted = genomes.n_connections * 1000.0 + np.arange(count)
        assert batch.evaluate(f.Size(), genomes, 0, 0, executor).tobytes() == wanted.tobytes()


def test_an_error_names_the_network_and_leaves_the_executor_usable(executor):
    genomes = f.numbered(40)
    for function, words in (
        (f.fails_late, "network 7 of generation 4, ValueError: seven is not"),
        (f.fails_unsendably, "network 3 of generation 4, UnsendableError: it is of no use"),
        (f.fails_unprintably, "network 0 of generation 4, UnprintableError: it cannot be printed"),
        (f.leaves, "network 2 of generation 4, SystemExit: 3"),
        (f.Bad(error=f.UnsendableError(1, 2)), "networks 0 to"),
    ):
        if isinstance(function, f.Bad) and not isinstance(executor, ThreadPoolExecutor):
            continue  # such a problem cannot be sent
        with pytest.raises(RuntimeError, match=words) as error:
            batch.evaluate(function, genomes, 0, 4, executor)
        assert_one_sentence(error)
        if isinstance(executor, ThreadPoolExecutor):
            assert error.value.__cause__ is not None
        else:
            (note,) = error.value.__notes__
            assert "In the worker" in note and "fitnesses.py" in note
    with pytest.raises(TypeError, match="got None for network 0 of generation 4"):
        batch.evaluate(f.nothing, genomes, 0, 4, executor)
    assert batch.evaluate(f.index_of, genomes, 0, 5, executor).tolist() == list(range(40))


def test_closures(executor):
    genomes, factor = f.population(20), 3.0
    if not isinstance(executor, ThreadPoolExecutor):
        pytest.importorskip("cloudpickle")
    fitness = batch.evaluate(lambda net: factor * len(net.connections), genomes, 0, 0, executor)
    assert fitness.tolist() == (factor * genomes.n_connections).tolist()


def test_what_cannot_be_packed(executor):
    lock = threading.Lock()
    genomes = f.numbered(3)
    if isinstance(executor, ThreadPoolExecutor):
        assert batch.evaluate(lambda net: lock.locked(), genomes, 0, 0, executor).tolist() == [0, 0, 0]
        return
    with pytest.raises(TypeError, match="must be picklable to reach the workers of .*ProcessPoolExecutor") as error:
        batch.evaluate(lambda net: lock.locked(), genomes, 0, 0, executor)
    assert_one_sentence(error)


def test_an_activation_that_workers_lack(executor, monkeypatch):
    if isinstance(executor, ThreadPoolExecutor):
        return
    code, name = activations.code, activations.name
    monkeypatch.setattr(activations, "code", lambda one: code("tanh" if one == "made_up" else one))
    monkeypatch.setattr(activations, "name", lambda one: "made_up" if one == code("tanh") else name(one))
    with pytest.raises(RuntimeError, match="must be able to load problem and networks, got ValueError: .*'made_up'"):
        batch.evaluate(f.behaviour, f.population(9), 0, 0, executor)


def test_both_processes_work(tmp_path):
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        ids = batch.evaluate(f.Meeting(tmp_path), f.population(24), 0, 0, executor)
    assert len(set(ids)) == 2 and os.getpid() not in ids


@pytest.mark.parametrize("method", METHODS)
def test_a_process_that_dies(method):
    genomes = f.numbered(24)
    before = genomes.columns.parameters.tobytes()
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as executor:
        for _ in range(2):  # while they run, and then at once
            with pytest.raises(RuntimeError, match="a worker process died in generation 6, after which this") as error:
                batch.evaluate(f.kills, genomes, 0, 6, executor)
            assert_one_sentence(error)
            assert isinstance(error.value.__cause__, BrokenExecutor)
    assert genomes.columns.parameters.tobytes() == before
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as executor:
        assert batch.evaluate(f.index_of, genomes, 0, 6, executor).tolist() == list(range(24))


def test_an_executor_that_was_shut_down():
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        batch.evaluate(f.behaviour, f.numbered(3), 0, 0, executor)


def test_threads_of_the_caller_evaluate_at_the_same_time():
    """Two populations, one executor: neither waits for the other's networks, nor gets them."""
    genomes = [f.population(60, seed=seed) for seed in range(2)]
    wanted = [f.by_hand(one, 1, 2) for one in genomes]
    with ThreadPoolExecutor(2) as executor, ThreadPoolExecutor(2) as callers:
        calls = [callers.submit(batch.evaluate, f.behaviour, one, 1, 2, executor) for one in genomes]
        assert [call.result().tobytes() for call in calls] == [one.tobytes() for one in wanted]


def test_kernels_in_a_forked_process_after_threads_ran_here():
    if "fork" not in METHODS:
        pytest.skip("no fork here")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda seed: f.by_hand(f.population(20), seed, 0), range(8)))
    genomes = f.population(30)
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as executor:
        fitness = batch.evaluate(f.behaviour, genomes, 0, 0, executor)
    assert fitness.tobytes() == f.by_hand(genomes, 0, 0).tobytes()
