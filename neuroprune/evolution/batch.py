"""Evaluating a generation anywhere: in this process, in threads, in processes, on a cluster; the place changes no bit.

Genomes travel packed, in chunks. A fitness function or problem that fails comes back as a value, as an error of a
built-in type: what an executor itself raises is then a matter of the executor, such as a worker that died.
"""

import hashlib
import inspect
import pickle
import threading
import traceback
import uuid
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from neuroprune import rng
from neuroprune.evolution.genomes import Genomes

CHUNKS = 4  # per worker: one with slow networks does not keep the others waiting for long
WORKERS = 16  # where the executor does not say how many it has
CHUNK_BYTES = 4_000_000  # of genomes; Dask warns of tasks from 10 MB
LIGHT = 100_000  # bytes of a packed problem up to which it goes along with each chunk; a worker keeps a heavier one
ATTEMPTS = 2  # at a chunk that is lost; Dask reports a loss after four workers died with it
PATIENCE = 30.0  # seconds without any worker, after a loss

_held = threading.local()  # in a worker: the last heavy problem and its digest, one for each thread that works


class Chunk(NamedTuple):
    """Networks first, first + 1, ... of a generation."""

    genomes: Genomes
    first: int
    seed: int
    generation: int


def evaluate(problem: Any, genomes: Genomes, seed: int, generation: int, executor: Any = None) -> np.ndarray:
    """Fitness of all networks of a generation.

    Parameters
    ----------
    problem : Problem or function
        A function `network -> float` gets each network as a copy of its own, whose `rng` is the stream (seed,
        generation, index); what it changes is dropped. A Problem is any object with a method

            evaluate(genomes, seed, generation, first) -> one number for each network, higher is better

        which takes all four parameters by position. `genomes` is a sequence of Networks, the whole generation or a
        chunk of it, whose first network is number `first` of the generation; `seed` and `generation` are integers.
        The fitness of network i must not depend on the chunk: what it draws comes from the stream (seed, generation,
        first + i), as `numpy.random.default_rng((seed, generation, first + i))` gives it. Optional attributes:
        `whole = True`, and a generation is not cut; `learning`, None or an object whose `inherits` says whether the
        weights and biases that `evaluate` writes to the networks stay in `genomes`.
        It goes to the workers as `pickle` or, where installed, cloudpickle packs it, and must not remember: threads
        share one, and a worker may keep one that is packed larger than 100 kB.
    genomes : Genomes
        Left as they are, apart from that.
    seed, generation : int
        Where the streams come from.
    executor : concurrent.futures.Executor, optional
        Threads, processes, `client.get_executor()` of a Dask cluster, loky, mpi4py. None: this thread.

    Returns
    -------
    array (len(genomes),)
        As it was returned: NaN and infinities too.

    Raises
    ------
    RuntimeError
        When the problem raises: names network and generation. The original error is its cause or, from another
        process, its traceback is a note. Of several networks that fail it names the first. Also when a worker of a
        process pool died, or others were lost, and lost again, with the same chunk.
    TypeError
        When the problem does not take what it is called with, the result is not a number, or a problem cannot be
        pickled.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> import neuroprune as npr
    >>> from neuroprune.evolution import batch
    >>> from neuroprune.evolution.genomes import Genomes
    >>> genomes = Genomes.pack([npr.Network.dense([2, size, 1], seed=size) for size in (1, 2, 3)])
    >>> with ThreadPoolExecutor(2) as executor:
    ...     batch.evaluate(lambda net: len(net.connections), genomes, seed=0, generation=0, executor=executor)
    array([3., 6., 9.])
    """
    if isinstance(problem, type) or not callable(getattr(problem, "evaluate", problem)):
        raise TypeError(f"a problem must be a function network -> float or have evaluate, got {problem!r}"
                        + (": make one of it, with parentheses" if isinstance(problem, type) else ""))
    if executor is not None and (isinstance(executor, type) or not callable(getattr(executor, "submit", None))):
        raise TypeError(f"executor must have submit as a concurrent.futures.Executor has, got {executor!r}: pass such "
                        "a one, or None")
    _check_parameters(problem)
    inherits = _inherits(problem)
    if not len(genomes):
        return np.zeros(0)
    if executor is None:
        # what it is given may be written to; all else of a genome is copied when a network is made of it
        own = genomes.columns._replace(parameters=genomes.columns.parameters.copy())
        own = Genomes(genomes.n_inputs, genomes.n_outputs, genomes.recurrent, genomes.default_code, own)
        outcomes = [_measure(problem, Chunk(own, 0, seed, generation))]
    else:
        outcomes = _spread(problem, genomes, seed, generation, executor)
    if inherits:
        learned = np.concatenate([learned for _, learned in outcomes])
        genomes.columns.parameters[_places(genomes)] = learned  # at once: never one half of a generation
    return np.concatenate([fitness for fitness, _ in outcomes])


# One chunk, wherever it is

def _measure(problem: Any, chunk: Chunk) -> tuple:
    """(fitness, the parameters afterwards where they are inherited)."""
    genomes = chunk.genomes
    count = len(genomes)
    if not hasattr(problem, "evaluate"):
        fitness = np.empty(count)
        for i in range(count):
            index = chunk.first + i
            who = f"network {index} of generation {chunk.generation}"
            try:
                stream = rng.stream(chunk.seed, chunk.generation, index)
                value = problem(genomes.network(i, seed=stream))
            except (Exception, SystemExit) as error:
                raise _failure(problem, error, who) from error
            fitness[i] = _number(value, who)
        return fitness, None
    last = chunk.first + count - 1
    who = f"networks {chunk.first} to {last}" if count > 1 else f"network {last}"
    who += f" of generation {chunk.generation}"
    try:
        fitness = np.asarray(problem.evaluate(genomes, chunk.seed, chunk.generation, chunk.first))
    except (Exception, SystemExit) as error:
        raise _failure(problem, error, who) from error
    if fitness.dtype.kind not in "biuf" or fitness.shape != (count,):
        raise TypeError(f"{_name(problem)}.evaluate must return {count} numbers, one for each network, got an array "
                        f"of {fitness.dtype} with shape {fitness.shape} for {who}")
    return fitness.astype(np.float64), genomes.columns.parameters[_places(genomes)] if _inherits(problem) else None


def _number(value: Any, who: str) -> float:
    """The value as a float: anything without dimensions that is a number, of whatever library."""
    message = f"fitness must be a number, got {_words(value)} for {who}: return a float"
    if getattr(value, "ndim", 0) != 0 or not hasattr(value, "__float__") or isinstance(value, np.complexfloating):
        raise TypeError(message)
    try:
        return float(value)
    except Exception as error:  # such as an integer beyond all floats
        raise TypeError(message) from error


def _failure(problem: Any, error: BaseException, who: str) -> RuntimeError:
    """What to raise from an error of the problem; only the first line of its message."""
    try:
        lines = str(error).splitlines()
    except Exception:
        lines = ["it cannot be printed"]
    cause = type(error).__name__ + (f": {lines[0]}" if lines else "")
    return RuntimeError(f"{_name(problem)} must not raise, but did for {who}, {cause}: nothing was changed, repair it "
                        "and go on")


def _words(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return "None" if value is None else type(value).__name__ + (f" of shape {tuple(shape)}" if shape else "")


def _name(problem: Any) -> str:
    return getattr(problem, "__name__", type(problem).__name__)


def _inherits(problem: Any) -> bool:
    """Whether what a network learns goes into its genome."""
    learning = getattr(problem, "learning", None) if hasattr(problem, "evaluate") else None
    return learning is not None and bool(learning.inherits)


def _check_parameters(problem: Any) -> None:
    """Refuse what cannot be called as it will be, where its parameters are known."""
    is_problem = hasattr(problem, "evaluate")
    called = problem.evaluate if is_problem else problem
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):  # of what is compiled
        return
    try:
        signature.bind(*range(4 if is_problem else 1))
    except TypeError:
        bare = [one.replace(annotation=one.empty, default=one.empty) for one in signature.parameters.values()]
        given = inspect.Signature(bare)
        if is_problem:
            raise TypeError(f"{_name(problem)}.evaluate must take (genomes, seed, generation, first) by position, got "
                            f"evaluate{given}: give it these four parameters") from None
        raise TypeError(f"a fitness function must take one network, got {_name(problem)}{given}: give it this one "
                        "parameter, or bind the others with functools.partial") from None


def _places(genomes: Genomes) -> np.ndarray:
    """Where the parameters of all genomes are, without what room there is between them."""
    columns = genomes.columns
    lengths = columns.n_nodes + columns.n_edges
    starts = columns.node_start + columns.edge_start
    return np.arange(lengths.sum()) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)


# In a worker

def work(digest: bytes, body: bytes | None, packed: bytes, nonce: str) -> Any:
    """Outcome of a packed chunk: what `_measure` returns, an error, or None when the worker lacks the problem."""
    try:
        problem = _unpacked(digest, body)
        if problem is None:
            return None
        chunk = pickle.loads(packed)
    except Exception as error:
        outcome = RuntimeError(f"a worker must be able to load problem and networks, got {type(error).__name__}: "
                               f"{error}: import there what is imported here, and register the same activations")
        outcome.add_note(_trace(error))
        return outcome
    outcome = _outcome(problem, chunk)
    if isinstance(outcome, Exception):
        trace = _trace(outcome.__cause__ or outcome)
        outcome = type(outcome)(*outcome.args)  # without its cause, which may be anything, even unpicklable
        outcome.add_note(trace)
    return outcome


def _outcome(problem: Any, chunk: Chunk) -> Any:
    """What `_measure` returns, or the error it raises."""
    try:
        return _measure(problem, chunk)
    except (RuntimeError, TypeError) as error:
        return error


def _unpacked(digest: bytes, body: bytes | None) -> Any:
    """The problem, from its bytes or, without them, the one that this thread keeps; None when that is another."""
    if body is None:
        return _held.problem if getattr(_held, "digest", None) == digest else None
    problem = pickle.loads(body)
    if len(body) > LIGHT:
        _held.digest, _held.problem = digest, problem
    return problem


def _trace(error: BaseException) -> str:
    return "In the worker:\n" + "".join(traceback.format_exception(error)).rstrip()


# Over the workers

def _spread(problem: Any, genomes: Genomes, seed: int, generation: int, executor: Any) -> list[tuple]:
    """Outcomes of all chunks, in order; an error when one failed."""
    bounds = cuts(len(genomes), genomes.nbytes, 0 if getattr(problem, "whole", False) else _workers(executor))
    send = _sender(problem, genomes, seed, generation, executor)
    outcomes: dict[int, Any] = {}
    attempts = [0] * len(bounds)
    pending: dict[Future, int] = {}
    try:
        for number, pair in enumerate(bounds):
            pending[send(*pair)] = number
        while pending:
            done = wait(pending, PATIENCE if any(attempts) else None, FIRST_COMPLETED).done
            if not done and _cores(executor) == 0:
                raise RuntimeError(f"workers must stay alive, but none is left in generation {generation}: look for "
                                   "what ended them, start others and go on, nothing was changed")
            for future in done:
                number = pending.pop(future, -1)
                if number < 0:  # cancelled below
                    continue
                error = CancelledError() if future.cancelled() else future.exception()
                if error is not None:
                    attempts[number] += 1
                    _check_loss(error, bounds[number], generation, attempts[number])
                    pending[send(*bounds[number])] = number
                elif (outcome := future.result()) is None:
                    pending[send(*bounds[number], with_problem=True)] = number
                else:
                    outcomes[number] = outcome
                    if isinstance(outcome, Exception):
                        _cancel(pending, after=number)  # those before may fail, too: the first one is named
    except BrokenExecutor as error:  # from submit
        raise _broken(generation) from error
    finally:
        _cancel(pending)
    for number in sorted(outcomes):
        if isinstance(outcomes[number], Exception):
            raise outcomes[number]
    return [outcomes[number] for number in range(len(bounds))]


def cuts(count: int, size: int, workers: int) -> list[tuple[int, int]]:
    """First and last (not included) of each chunk of `count` networks of `size` bytes; one chunk for no worker."""
    pieces = max(1, min(count, max(CHUNKS * workers, -(-size // CHUNK_BYTES)))) if workers else 1
    return [(count * i // pieces, count * (i + 1) // pieces) for i in range(pieces)]


def _workers(executor: Any) -> int:
    """Tasks that run at a time: the interface does not say; mpi4py, pools and loky, Dask each have their own way."""
    for name in ("num_workers", "_max_workers"):
        if isinstance(found := getattr(executor, name, None), int) and found > 0:
            return found
    return _cores(executor) or WORKERS


def _cores(executor: Any) -> int | None:
    """Tasks that a Dask cluster runs at a time, 0 without workers; None for any other executor."""
    client = getattr(executor, "_client", None)
    return None if client is None else sum(client.ncores().values())


def _sender(problem: Any, genomes: Genomes, seed: int, generation: int, executor: Any) -> Callable[..., Future]:
    """A function that submits the chunk of two bounds."""
    shared = isinstance(executor, ThreadPoolExecutor)
    body = b"" if shared else _packed(problem, executor)
    digest = hashlib.blake2b(body, digest_size=16).digest()
    client = getattr(executor, "_client", None)
    submit = partial(_dask, client, getattr(executor, "_kwargs", {})) if client is not None else executor.submit

    def send(first: int, last: int, with_problem: bool = len(body) <= LIGHT) -> Future:
        chunk = Chunk(genomes.take(np.arange(first, last)), first, seed, generation)
        if shared:
            return executor.submit(_outcome, problem, chunk)
        # The nonce: Dask takes equal calls for one, and would return the error of a worker that was repaired since.
        future = submit(work, digest, body if with_problem else None, pickle.dumps(chunk, 5), uuid.uuid4().hex)
        if not isinstance(future, Future):
            raise TypeError(f"executor.submit must return a concurrent.futures.Future, got {type(future).__name__}"
                            + (": pass client.get_executor()" if hasattr(executor, "get_executor") else ""))
        return future

    return send


def _dask(client: Any, options: dict, *call: Any) -> Future:
    """Submit a call as the executor of a Dask client does, with a future that ends.

    Dask's own never ends when a worker took a result along and the task then failed too often to be repeated.
    """
    theirs, ours = client.submit(*call, **options), Future()

    def finish(theirs: Any) -> None:
        if ours.set_running_or_notify_cancel():
            try:
                ours.set_result(theirs.result())
            except BaseException as error:
                ours.set_exception(error)

    theirs.add_done_callback(finish)
    ours.add_done_callback(lambda ours: theirs.cancel() if ours.cancelled() else None)
    return ours


def _packed(problem: Any, executor: Any) -> bytes:
    """The problem as bytes: cloudpickle, which comes with Dask and loky, takes more than pickle does."""
    try:
        import cloudpickle as packer
    except ImportError:
        packer = pickle
    try:
        return packer.dumps(problem, protocol=5)
    except Exception as error:
        raise TypeError(f"the problem must be picklable to reach the workers of {type(executor).__name__}, but "
                        f"{_name(problem)} is not, {type(error).__name__}: {error}: make what it holds where it is "
                        "called, define it at the top of a module, or use threads") from error


def _check_loss(error: BaseException, bounds: tuple[int, int], generation: int, attempts: int) -> None:
    """Raise unless a chunk that was lost with its worker may be tried again."""
    if isinstance(error, BrokenExecutor):
        raise _broken(generation) from error
    if isinstance(error, KeyboardInterrupt):  # Ctrl-C reaches processes, too
        raise error
    if attempts >= ATTEMPTS:
        raise RuntimeError(f"workers must stay alive, but networks {bounds[0]} to {bounds[1] - 1} of generation "
                           f"{generation} were lost {attempts} times, {type(error).__name__}: {error}: look for what "
                           "ends the workers and go on, nothing was changed") from error


def _broken(generation: int) -> RuntimeError:
    return RuntimeError(f"a worker process died in generation {generation}, after which this executor cannot be used: "
                        "make a new one and go on, nothing was changed")


def _cancel(pending: dict[Future, int], after: int = -1) -> None:
    """Cancel and forget the chunks behind that one, as far as they have not begun."""
    for future in [future for future, number in pending.items() if number > after]:
        if future.cancel():
            del pending[future]
