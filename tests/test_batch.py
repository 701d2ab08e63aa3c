"""Evaluation of a generation: values, streams, what stays, errors, chunks, and executors that misbehave."""

import builtins
import operator
import os
import pickle
import re
import sys
import threading
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fitnesses as f
from bridge import assert_one_sentence
from neuroprune import activations
from neuroprune.evolution import batch
from neuroprune.evolution.genomes import Genomes


class Mail(Executor):
    """Does at once, in this process, what a worker would do: all that comes and goes is pickled."""

    def __init__(self, workers=2, trouble=()):
        self._max_workers = workers
        self.trouble = list(trouble)  # for each submission an error instead of a result, or None
        self.sent = []  # bytes of each submission
        self.futures = []

    def submit(self, function, *args):
        future = Future()
        self.futures.append(future)
        parcel = pickle.dumps((function, args))
        self.sent.append(len(parcel))
        error = self.trouble.pop(0) if self.trouble else None
        if isinstance(error, CancelledError):
            future.cancel()
            future.set_running_or_notify_cancel()
        elif error is not None:
            future.set_exception(error)
        else:
            function, args = pickle.loads(parcel)
            future.set_result(pickle.loads(pickle.dumps(function(*args))))
        return future


@pytest.fixture(autouse=True)
def no_problem_kept():
    """`Mail` works in this thread: what one test leaves with the worker is not there in the next."""
    vars(batch._held).clear()


def same(a, b):
    return a.dtype == b.dtype == np.float64 and a.shape == b.shape and a.tobytes() == b.tobytes()


def parts(genomes):
    return pickle.dumps(genomes)


INDICES = st.lists(st.integers(0, 199), max_size=20)


@given(INDICES, st.booleans(), st.integers(0, 2**32), st.integers(0, 1000), st.integers(1, 6))
def test_a_function_gives_the_same_however_it_is_cut(indices, recurrent, seed, generation, workers):
    genomes = f.assorted(recurrent).take(indices)
    before = parts(genomes)
    wanted = f.by_hand(genomes, seed, generation)
    assert same(batch.evaluate(f.behaviour, genomes, seed, generation), wanted)
    assert same(batch.evaluate(f.behaviour, genomes, seed, generation, Mail(workers)), wanted)
    assert parts(genomes) == before  # what the function changes is dropped


@given(INDICES, st.booleans(), st.booleans(), st.integers(0, 2**32), st.integers(1, 6), st.booleans())
def test_what_a_problem_learns_stays_when_it_is_inherited(indices, recurrent, inherits, seed, workers, heavy):
    original = f.assorted(recurrent).take(indices)
    problem = f.Learner(inherits, ballast=20_000 if heavy else 0)
    fitness, parameters = problem.by_hand(original, seed, 3)
    for executor in (None, Mail(workers)):
        genomes = roomy(original)
        assert same(batch.evaluate(problem, genomes, seed, 3, executor), fitness)
        after = [net.parameters for net in genomes]
        wanted = parameters if inherits else [net.parameters for net in original]
        assert all(same(mine, other) for mine, other in zip(after, wanted, strict=True))
        assert [net.graph.source.tobytes() for net in genomes] == [net.graph.source.tobytes() for net in original]


def roomy(genomes):
    """The same genomes with room to spare behind each, as breeding leaves them."""
    result = Genomes.room_for(genomes.n_inputs, genomes.n_outputs, genomes.recurrent, genomes.default_code,
                              genomes.n_nodes + 3, genomes.n_connections + 5)  # fmt: skip
    room, columns = result.columns, genomes.columns
    room.parameters[:] = np.nan  # must neither be read nor written
    for i in range(len(genomes)):
        n, e = columns.n_nodes[i], columns.n_edges[i]
        a, b = columns.node_start[i], room.node_start[i]
        for name in ("ids", "incoming", "code"):
            length = n + (name == "incoming")
            getattr(room, name)[b : b + length] = getattr(columns, name)[a : a + length]
        a, b = columns.edge_start[i], room.edge_start[i]
        for name in ("source", "delayed") if genomes.recurrent else ("source",):
            getattr(room, name)[b : b + e] = getattr(columns, name)[a : a + e]
        a, b = columns.node_start[i] + a, room.node_start[i] + b
        room.parameters[b : b + e + n] = columns.parameters[a : a + e + n]
        for name in ("n_nodes", "n_edges", "baseline"):
            getattr(room, name)[i] = getattr(columns, name)[i]
    return result


def test_room_between_genomes_is_left_alone():
    genomes = roomy(f.population(9))
    used = np.zeros(genomes.columns.parameters.size, bool)
    used[batch._places(genomes)] = True
    batch.evaluate(f.Learner(True), genomes, 0, 0, Mail())
    assert np.isfinite(genomes.columns.parameters[used]).all()
    assert np.isnan(genomes.columns.parameters[~used]).all() and not used.all()


@given(st.integers(1, 5000), st.integers(0, 10**9), st.integers(0, 200))
def test_chunks_cover_all_networks_in_order_and_evenly(count, size, workers):
    bounds = batch.cuts(count, size, workers)
    assert [first for first, _ in bounds] == [0, *(last for _, last in bounds[:-1])] and bounds[-1][1] == count
    lengths = [last - first for first, last in bounds]
    assert min(lengths) >= 1 and max(lengths) - min(lengths) <= 1
    if not workers:
        assert len(bounds) == 1
    elif len(bounds) < count:  # not as small as they get
        assert len(bounds) >= batch.CHUNKS * workers and size / len(bounds) <= batch.CHUNK_BYTES


def test_order_and_first():
    genomes = f.population(31)
    wanted = genomes.n_connections * 1000 + np.arange(31.0)
    assert same(batch.evaluate(f.Size(), genomes, 0, 0), wanted)
    assert same(batch.evaluate(f.Size(), genomes, 0, 0, Mail(3)), wanted)


def test_a_whole_problem_is_not_cut():
    whole, cut = Mail(5), Mail(5)
    batch.evaluate(f.Learner(False, whole=True), f.population(), 0, 0, whole)
    batch.evaluate(f.Learner(False, whole=False), f.population(), 0, 0, cut)
    assert len(whole.sent) == 1 and len(cut.sent) == 20


def test_number_of_chunks_follows_the_workers():
    genomes = f.population(100)
    for executor, wanted in (  # Dask has a file of its own
        (Mail(3), 12),
        (Mail(1000), 100),
        (with_attributes(num_workers=2), 8),  # mpi4py
        (with_attributes(), 64),
    ):
        batch.evaluate(f.Size(), genomes, 0, 0, executor)
        assert len(executor.sent) == wanted


def with_attributes(**attributes):
    executor = Mail()
    del executor._max_workers
    vars(executor).update(attributes)
    return executor


def test_nothing_to_evaluate():
    nothing = f.population(3).take([])
    for executor in (None, Mail()):
        assert same(batch.evaluate(f.kills, nothing, 0, 0, executor), np.zeros(0))


# What may be returned

@pytest.mark.parametrize("value", [True, 3, 2.5, np.float32(0.25), np.int8(-3), np.bool_(True), np.array(4.5),
                                   Fraction(1, 4), Decimal("0.5"), np.nan, np.inf, -np.inf], ids=repr)  # fmt: skip
def test_numbers(value):
    assert same(batch.evaluate(lambda net: value, f.numbered(1), 0, 0), np.array([float(value)]))


@pytest.mark.parametrize("value", [None, "3.0", 1j, np.complex128(1), [1.0], np.zeros(1), np.zeros((2, 2)), 10**400,
                                   np.array("a"), np.array(None), float], ids=repr)  # fmt: skip
def test_anything_else_is_refused(value):
    def fitness(net):
        return value if f.index_of(net) == 2 else 1

    for executor in (None, ThreadPoolExecutor(1)):
        with pytest.raises(TypeError, match="must be a number, got .* for network 2 of generation 5") as error:
            batch.evaluate(fitness, f.numbered(4), 0, 5, executor)
        assert_one_sentence(error)


def test_a_torch_number(torch):
    genomes = f.numbered(2)
    assert same(batch.evaluate(lambda net: torch.tensor(0.5), genomes, 0, 0), np.array([0.5, 0.5]))
    with pytest.raises(TypeError, match="got Tensor of shape"):
        batch.evaluate(lambda net: torch.zeros(1), genomes, 0, 0)


@pytest.mark.parametrize("result", [[True, False], [1, 2], np.float32([0.5, np.nan]), [-np.inf, np.inf]], ids=repr)
def test_results_of_a_problem(result):
    assert same(batch.evaluate(f.Bad(result), f.numbered(2), 0, 0), np.asarray(result, np.float64))


@pytest.mark.parametrize("result", [None, [1.0], [1.0, 2, 3], [[1.0], [2.0]], ["a", "b"], [1j, 2], [None, 1]], ids=repr)
def test_other_results_of_a_problem_are_refused(result):
    with pytest.raises(TypeError, match="must return 2 numbers.*networks 0 to 1 of generation 4") as error:
        batch.evaluate(f.Bad(result), f.numbered(2), 0, 4)
    assert_one_sentence(error)
    with pytest.raises(TypeError, match="must return 2 numbers.*networks 0 to 1 of generation 4"):
        whole = f.Bad(result)
        whole.whole = True
        batch.evaluate(whole, f.numbered(2), 0, 4, Mail())


def test_what_is_no_problem():
    for problem in (3, None, f.Size, SimpleNamespace(evaluate=3)):
        with pytest.raises(TypeError, match="must be a function network -> float or have evaluate") as error:
            batch.evaluate(problem, f.numbered(2), 0, 0)
        assert_one_sentence(error)


class Few:
    def __init__(self, function):
        self.evaluate = function


@pytest.mark.parametrize(("problem", "message"), [
    (Few(lambda genomes: 1.0), "Few.evaluate must take (genomes, seed, generation, first) by position, "
                               "got evaluate(genomes): give it these four parameters"),
    (Few(lambda genomes, seed, generation, *, first: 1.0), "(genomes, seed, generation, *, first)"),
    (Few(lambda genomes, seed, generation, first, more: 1.0), "(genomes, seed, generation, first, more)"),
    (lambda: 1.0, "a fitness function must take one network, got <lambda>()"),
    (lambda net, data: 1.0, "got <lambda>(net, data): give it this one parameter, or bind the others with"),
])  # fmt: skip
def test_what_takes_other_parameters_is_refused(problem, message):
    executor = Mail()
    for where in (None, ThreadPoolExecutor(1), executor):
        with pytest.raises(TypeError, match=re.escape(message)) as error:
            batch.evaluate(problem, f.numbered(2), 0, 0, where)
        assert_one_sentence(error)
    assert not executor.sent


@pytest.mark.parametrize("problem", [
    Few(lambda *chunk: np.ones(len(chunk[0]))),
    Few(lambda genomes, seed, generation, first=0, more=1: np.ones(len(genomes))),
    Few(lambda genomes, *rest, **names: np.ones(len(genomes))),
    partial(lambda data, net: 1.0, 3), lambda net, data=3: 1.0, lambda *nets: len(nets), max, operator.truth,
])  # fmt: skip
def test_what_takes_them_in_another_way_is_taken(problem):
    if problem is max:  # its parameters are not known, and it raises only when it is called
        with pytest.raises(RuntimeError, match="max must not raise, but did for network 0 of generation 0, TypeError"):
            batch.evaluate(problem, f.numbered(2), 0, 0)
    else:
        assert same(batch.evaluate(problem, f.numbered(2), 0, 0), np.ones(2))


def test_what_is_no_executor():
    for executor in (3, "threads", ThreadPoolExecutor):
        with pytest.raises(TypeError, match="executor must have submit as a concurrent.futures.Executor has"):
            batch.evaluate(f.behaviour, f.numbered(2), 0, 0, executor)
    client = SimpleNamespace(submit=lambda *args: 3, get_executor=None)
    with pytest.raises(TypeError, match=r"must return a concurrent.futures.Future, got int: pass client.get_executor"):
        batch.evaluate(f.behaviour, f.numbered(2), 0, 0, client)


# Errors of a function or problem

def failures(function, genomes, error=RuntimeError):
    """The error without executor, with threads, and from workers."""
    for executor in (None, ThreadPoolExecutor(2), Mail(2)):
        before = parts(genomes)
        with pytest.raises(error) as caught:
            batch.evaluate(function, genomes, 0, 9, executor)
        assert parts(genomes) == before
        assert_one_sentence(caught)
        yield isinstance(executor, Mail), caught.value


def test_the_first_network_that_fails_is_named():
    for away, error in failures(f.fails_late, f.numbered(40)):
        assert "network 7 of generation 9, ValueError: seven is not" in str(error)
        if away:
            assert error.__cause__ is None and error.__context__ is None
            (note,) = error.__notes__
            assert "In the worker" in note and "seven is not\nfor us" in note and "in fails_late" in note
        else:
            assert isinstance(error.__cause__, ValueError)


def test_an_error_that_cannot_be_sent():
    for away, error in failures(f.fails_unsendably, f.numbered(9)):
        assert "network 3 of generation 9, UnsendableError: it is of no use" in str(error)
        assert away or isinstance(error.__cause__, f.UnsendableError)
        assert not away or "UnsendableError: it is of no use" in error.__notes__[0]


def test_an_error_that_cannot_be_printed():
    for _, error in failures(f.fails_unprintably, f.numbered(2)):
        assert "network 0 of generation 9, UnprintableError: it cannot be printed" in str(error)


def test_a_function_that_leaves_python():
    for away, error in failures(f.leaves, f.numbered(4)):
        assert "network 2 of generation 9, SystemExit: 3" in str(error)
        assert away or isinstance(error.__cause__, SystemExit)


def test_a_problem_that_fails_names_its_networks():
    problem = f.Bad(error=KeyError("x"))
    problem.whole = True
    for _, error in failures(problem, f.numbered(6)):
        assert "Bad must not raise, but did for networks 0 to 5 of generation 9, KeyError: 'x'" in str(error)
    for _, error in failures(f.Bad(error=ZeroDivisionError()), f.numbered(1)):
        assert re.search("for network 0 of generation 9, ZeroDivisionError: nothing was changed", str(error))


def test_nothing_is_inherited_when_a_part_fails():
    class Half(f.Learner):
        def evaluate(self, genomes, seed, generation, first):
            super().evaluate(genomes, seed, generation, first)
            if first + len(genomes) > 15:
                raise ValueError
            return np.zeros(len(genomes))

    for _, error in failures(Half(True), f.population(23)):
        assert "ValueError" in str(error)


def test_keyboard_interrupt_passes():
    def interrupted(net):
        raise KeyboardInterrupt

    for executor in (None, ThreadPoolExecutor(1), Mail(trouble=[KeyboardInterrupt()])):
        with pytest.raises(KeyboardInterrupt):
            batch.evaluate(interrupted, f.numbered(3), 0, 0, executor)


def test_keyboard_interrupt_while_waiting_cancels_the_rest():
    begun, go_on = [], threading.Event()

    def slow(net):
        begun.append(f.index_of(net))
        go_on.wait(10)
        return 0.0

    with ThreadPoolExecutor(1) as executor:
        genomes = f.numbered(40)
        interruption = threading.Timer(0.3, os.kill, (os.getpid(), 2))
        interruption.start()
        with pytest.raises(KeyboardInterrupt):
            batch.evaluate(slow, genomes, 0, 0, executor)
        go_on.set()
    assert max(begun) < 10  # of four chunks the first


# Executors that lose what they were given

def test_what_is_lost_is_sent_again():
    genomes = f.population(12)
    wanted = f.by_hand(genomes, 4, 2)
    executor = Mail(1, [OSError(), None, CancelledError(), None])
    assert same(batch.evaluate(f.behaviour, genomes, 4, 2, executor), wanted)
    assert len(executor.sent) == 6
    assert same(batch.evaluate(f.Learner(False, 20_000), genomes, 4, 2, Mail(1, [OSError()] * 4)),
                f.Learner(False).by_hand(genomes, 4, 2)[0])  # fmt: skip


def test_what_is_lost_again_and_again_ends_the_generation():
    executor = Mail(1, [OSError("gone")] * 20)
    with pytest.raises(RuntimeError, match="of generation 2 were lost 2 times, OSError: gone") as error:
        batch.evaluate(f.behaviour, f.population(12), 4, 2, executor)
    assert_one_sentence(error)
    assert isinstance(error.value.__cause__, OSError)
    assert len(executor.sent) <= 8


def test_equal_calls_are_not_one_call():
    """Dask gives the outcome of an earlier one, were it an error of a worker that was repaired meanwhile."""
    genomes, seen = f.population(4), set()

    class Curious(Mail):
        def submit(self, function, *args):
            seen.add(args)
            return super().submit(function, *args)

    for _ in range(2):
        batch.evaluate(f.behaviour, genomes, 4, 2, Curious(1))
    assert len(seen) == 8


# What goes to the workers

def test_a_heavy_problem_travels_once_to_each_worker():
    genomes, ballast = f.population(40), 100_000
    first, second = Mail(2), Mail(2)
    problem = f.Learner(True, ballast)
    wanted = problem.by_hand(genomes, 0, 0)[0]
    assert same(batch.evaluate(problem, genomes.take(np.arange(40)), 0, 0, first), wanted)
    assert sum(size > 8 * ballast for size in first.sent) == 8  # all had asked before the first answer came
    assert same(batch.evaluate(problem, genomes.take(np.arange(40)), 0, 0, second), wanted)
    assert len(second.sent) == 8 and max(second.sent) < 10_000
    other = f.Learner(False, ballast)
    other.ballast[:] = 1
    assert same(batch.evaluate(other, genomes, 0, 0, Mail(2)), other.evaluate(genomes.take(np.arange(40)), 0, 0, 0))


def test_what_cannot_be_packed_is_refused_before_anything_runs():
    lock, executor = threading.Lock(), Mail()
    with pytest.raises(TypeError, match="must be picklable to reach the workers of Mail, but <lambda> is not") as error:
        batch.evaluate(lambda net: lock.locked(), f.numbered(2), 0, 0, executor)
    assert_one_sentence(error)
    assert not executor.sent


def test_without_cloudpickle(monkeypatch):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "cloudpickle":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    genomes = f.population(5)
    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "cloudpickle", raising=False)
    assert same(batch.evaluate(f.behaviour, genomes, 1, 2, Mail()), f.by_hand(genomes, 1, 2))
    with pytest.raises(TypeError, match="<lambda> is not"):
        batch.evaluate(lambda net: 1, genomes, 1, 2, Mail())


def test_closures_travel_where_cloudpickle_is():
    pytest.importorskip("cloudpickle")
    genomes, weight = f.population(5), 2.0
    wanted = weight * genomes.n_connections
    assert same(batch.evaluate(lambda net: weight * len(net.connections), genomes, 1, 2, Mail()), wanted)


def test_a_worker_that_lacks_something_says_what(monkeypatch):
    genomes, original = f.population(4), activations.code

    def code(name):
        if name == "tanh":
            raise ValueError("activation must be one that is known, got 'tanh'")
        return original(name)

    monkeypatch.setattr(activations, "code", code)
    with pytest.raises(RuntimeError, match="must be able to load problem and networks, got ValueError: .* 'tanh'") as e:
        batch.evaluate(f.behaviour, genomes, 1, 2, Mail())
    assert_one_sentence(e)
    assert "In the worker" in e.value.__notes__[0]
