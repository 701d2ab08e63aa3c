"""Networks in files: `.json` to read, `.npz` to be compact; both hold everything, bit for bit, and no code.

Format version 1. Scalars and names are the header; numbers are columns:

    ids (N,)  bias (N,)  activation (N,) index into the header's names     nodes in activation order
    source (E,)  target (E,)  weight (E,)  delayed (E,)                    connections in storage order, by id
    gradient (E,)  movement (E,)  squared_gradient (E,)  state (streams, N)  where there are any
    mask (N, N)  pairs (k, 2)                                              candidates of the schedule, one of them
"""

import json
import reprlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import activations, rng
from neuroprune.network import archive, create
from neuroprune.network.atomic import write_atomically
from neuroprune.network.graph import Graph
from neuroprune.network.prune import RECORDED, PruningSchedule
from neuroprune.network.views import check_column
from neuroprune.pruning import saliency

if TYPE_CHECKING:
    from neuroprune.network.network import Network

FORMAT, VERSION = "neuroprune network", 1
MAX_TEXT = 2**30  # 1 GiB of JSON
COLUMNS = {"ids": "<i8", "bias": "<f8", "activation": "|u1", "source": "<i8", "target": "<i8", "weight": "<f8",
           "delayed": "|b1", **dict.fromkeys(RECORDED, "<f8"), "state": "<f8", "mask": "|b1", "pairs": "<i8"}
OPTIONAL = ("delayed", *RECORDED, "state", "mask", "pairs")
TABLES = ("state", "mask", "pairs")  # of two axes
HEADER = ("format", "version", "n_inputs", "n_outputs", "layer_sizes", "activations", "default_activation",
          "gradient_ends", "schedule", "training_baseline", "evolution_baseline", "last_prune_iteration", "iteration",
          "seed", "rng_state")


def save(net: "Network", path: Any) -> None:
    """Write everything to a `.json` (readable) or `.npz` (compact) file, atomically.

    Ids, order, weights, biases, activations, schedule, baselines, accumulated signals, state and the RNG come back
    exactly. Nothing is drawn, so saving changes nothing.

    Raises
    ------
    ValueError
        For another suffix, numbers that are not finite, or a schedule that holds a function; no file is written.

    Examples
    --------
    >>> import os, tempfile
    >>> import neuroprune as npr
    >>> net = npr.Network.dense([2, 3, 1], seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(os.path.join(folder, "net.json"))
    ...     twin = npr.Network.load(os.path.join(folder, "net.json"))
    >>> net.equals(twin), float(net.rng.random()) == float(twin.rng.random())
    (True, True)
    """
    path = Path(path)
    suffix = _suffix(path)
    header, columns = describe(net)
    if suffix == ".json":
        lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in header.items()]
        lines += [f"{json.dumps(key)}: {json.dumps(value.tolist(), allow_nan=False)}" for key, value in columns.items()]
        text = "{\n" + ",\n".join(lines) + "\n}\n"
        if len(text) > MAX_TEXT:
            raise ValueError(f"a .json file must have at most {MAX_TEXT} bytes, got {len(text)}: save as .npz")
        write_atomically(path, lambda file: file.write(text), text=True)
        return
    archive.write(path, header, columns)


def load(cls: type["Network"], path: Any) -> "Network":
    """Read a network back, bit for bit.

    Raises
    ------
    ValueError
        When the file is truncated, damaged, too large, of another version, or describes no legal network; it says
        what is wrong. An activation that is not registered is named. Loading never runs code from the file.
    OSError
        When the file cannot be read.
    """
    path = Path(path)
    if _suffix(path) == ".json":
        read = _read_json
    else:
        read = partial(archive.read, known=COLUMNS, tables=TABLES)
    return archive.load(path, "a network written by net.save", lambda content: assemble(cls, *read(content)))


def describe(net: "Network") -> tuple[dict, dict[str, np.ndarray]]:
    """(header of JSON types, columns) that hold everything of a network."""
    from neuroprune.network.edit import check_finite

    check_finite(net)
    graph = net._graph
    names = sorted({activations.name(int(code)) for code in net._code})
    place = {activations.code(name): i for i, name in enumerate(names)}
    columns = {
        "ids": graph.ids, "bias": net._bias,
        "activation": np.array([place[int(code)] for code in net._code], np.uint8),
        "source": graph.source_ids, "target": graph.target_ids, "weight": net._weight,
    }
    if graph.recurrent:
        columns["delayed"] = graph.delayed
    for name, column in zip(RECORDED, [] if net._signals is None else net._signals, strict=False):
        columns[name] = check_column(column, graph.n_connections, f"net.connections.accumulated_{name}")
    if net._state is not None:
        check_column(net._state.ravel(), net._state.size, "the network's state")
        columns["state"] = net._state
    schedule = _schedule_to_json(net._schedule)
    if schedule is not None and not isinstance(net._schedule.candidates, str):
        columns[schedule["candidates"]] = net._schedule.candidates
    header = {
        "format": FORMAT, "version": VERSION, "n_inputs": graph.n_inputs, "n_outputs": graph.n_outputs,
        "layer_sizes": None if graph.layer_sizes is None else list(graph.layer_sizes),
        "activations": names, "default_activation": activations.name(net._default_code),
        "gradient_ends": net._signals_end, "schedule": schedule,
        "training_baseline": net._training_baseline, "evolution_baseline": net._evolution_baseline,
        "last_prune_iteration": net._last_prune_iteration, "iteration": net._iteration, "seed": net._seed,
        "rng_state": net._rng_state if net._rng is None else net._rng.bit_generator.state,
    }
    if header["rng_state"] is not None:
        header["rng_state"] = rng.to_json(header["rng_state"])
        if header["rng_state"]["bit_generator"] not in rng.BIT_GENERATORS:
            raise ValueError(f"net.rng must have one of the bit generators {', '.join(rng.BIT_GENERATORS)} to be saved,"
                             f" got {header['rng_state']['bit_generator']}: assign another Generator")
    return header, columns


def assemble(cls: type["Network"], header: dict, columns: dict[str, np.ndarray]) -> "Network":
    """The network of a header and columns; everything is checked before it exists."""
    if header.get("format") != FORMAT:
        raise ValueError(f"format must be {FORMAT!r}, got {header.get('format')!r}")
    if header.get("version") != VERSION:
        raise ValueError(f"version must be {VERSION}, got {header.get('version')!r}: use the neuroprune that wrote it")
    for name in HEADER:
        if name not in header:
            raise ValueError(f"the entry {name!r} is missing")
    for name in COLUMNS:
        if name not in columns and name not in OPTIONAL:
            raise ValueError(f"the column {name!r} is missing")
    unknown = [name for name in header if name not in HEADER]
    if unknown:
        raise ValueError(f"there is no entry {unknown[0]!r} in version {VERSION}")
    graph = _graph(header, columns)
    n, count = graph.n_nodes, graph.n_connections
    names = header["activations"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("activations must be a list of names")
    for name in [*names, header["default_activation"]]:
        activations.code(name)
    index = archive.sized(columns["activation"], (n,), "activation")
    if index.max(initial=0) >= len(names):
        raise ValueError(f"activation must index {len(names)} names, got {index.max()}")
    bias = check_column(archive.sized(columns["bias"], (n,), "bias"), n, "bias")
    if bias[:graph.n_inputs].any():
        raise ValueError("bias must be 0 for inputs")
    state = columns.get("state")
    recorded = [name for name in RECORDED if columns.get(name) is not None]
    if recorded not in ([], ["gradient"], list(RECORDED)):
        raise ValueError(f"the columns {', '.join(RECORDED)} must be there together or the first alone, got "
                         f"{', '.join(recorded)}")
    signals = tuple(np.array(check_column(archive.sized(columns[name], (count,), name), count, name))
                    for name in recorded)
    if state is not None:
        if state.shape == (0,):
            state = state.reshape(0, n)  # JSON does not tell the width of no rows
        if state.ndim != 2 or state.shape[1] != n or not graph.recurrent:
            raise ValueError(f"state must have shape (streams, {n}) in a recurrent network, got {state.shape}")
        state = np.array(check_column(state.ravel(), state.size, "state").reshape(state.shape))
    if not isinstance(header["gradient_ends"], bool):
        raise ValueError("gradient_ends must be true or false")
    rest = {
        "default": header["default_activation"], "signals": signals or None,
        "signals_end": header["gradient_ends"],
        "state": state, "schedule": _schedule_from_json(header["schedule"], columns),
        "rng_state": _checked_rng_state(header["rng_state"]),
        "iteration": archive.integer(header["iteration"], "iteration"),
        **{key: None if header[key] is None else archive.integer(header[key], key)
           for key in ("training_baseline", "evolution_baseline", "last_prune_iteration")},
        "seed": None if header["seed"] is None else archive.integer(header["seed"], "seed", most=None),
    }
    if (rest["schedule"] is None) != (rest["training_baseline"] is None):
        raise ValueError("training_baseline must be there exactly when there is a schedule")
    weight = check_column(archive.sized(columns["weight"], (count,), "weight"), count, "weight")
    return create.restore(cls, graph, weight, bias, [names[i] for i in index.tolist()], rest)


def _graph(header: dict, columns: dict[str, np.ndarray]) -> Graph:
    n_inputs = archive.integer(header["n_inputs"], "n_inputs", 1)
    n_outputs = archive.integer(header["n_outputs"], "n_outputs", 1)
    ids, fixed = columns["ids"], n_inputs + n_outputs
    if ids.ndim != 1 or ids.size < fixed:
        raise ValueError(f"ids must name at least {fixed} nodes, got {ids.size}")
    hidden = ids[n_inputs:ids.size - n_outputs]
    if (not np.array_equal(ids[:n_inputs], np.arange(n_inputs)) or (hidden < fixed).any()
            or not np.array_equal(ids[ids.size - n_outputs:], np.arange(n_inputs, fixed))
            or np.unique(hidden).size < hidden.size):
        raise ValueError("ids must be those of the inputs, different hidden ones, and those of the outputs")
    n, count = ids.size, columns["source"].size
    empty = Graph(n_inputs, n_outputs, np.array(ids), np.zeros(n + 1, np.int64), np.zeros(0, np.int32))
    source = empty.positions(archive.sized(columns["source"], (count,), "source"))
    target = empty.positions(archive.sized(columns["target"], (count,), "target"))
    if (source < 0).any() or (target < 0).any():
        raise ValueError("source and target must be ids of nodes")
    if (np.diff(target * n + source) <= 0).any():
        raise ValueError("connections must be sorted by target and source, each once")
    delayed = columns.get("delayed")
    late = np.zeros(count, np.bool_) if delayed is None else archive.sized(delayed, (count,), "delayed")
    if (target < n_inputs).any() or (~late & ((source >= target) | (source >= n - n_outputs))).any():
        raise ValueError("connections must lead forward in the order of the nodes, from no output and into no input, "
                         "unless they are delayed")
    sizes = header["layer_sizes"]
    if sizes is not None:
        if not isinstance(sizes, list):
            raise ValueError(f"layer_sizes must be a list or null, got {reprlib.repr(sizes)}")
        sizes = tuple(archive.integer(size, "a layer size", 1) for size in sizes)
        if len(sizes) < 2 or sum(sizes) != n or sizes[0] != n_inputs or sizes[-1] != n_outputs:
            raise ValueError(f"layer_sizes must add up to {n} nodes, got {sizes}")
    incoming = np.concatenate([[0], np.cumsum(np.bincount(target, minlength=n))])
    return Graph(n_inputs, n_outputs, np.array(ids), incoming, source.astype(np.int32),
                 None if delayed is None else np.array(delayed), sizes)


def _schedule_to_json(schedule: PruningSchedule | None) -> dict | None:
    if schedule is None:
        return None
    method, candidates = schedule.method, schedule.candidates
    if not isinstance(method, str):
        named = [name for name, function in saliency.SCORERS.items() if function is method]
        if not named:
            raise ValueError("a file cannot hold a scorer function: name one of npr.saliency.SCORERS in the schedule, "
                             "or set net.pruning = None before saving")
        method = named[0]
    for value, what in ((schedule.ramp, "ramp"), (schedule.signals, "signals")):
        if callable(value):
            raise ValueError(f"a file cannot hold a function for {what}: set net.pruning = None before saving")
    if not isinstance(candidates, str):
        candidates = "mask" if candidates.dtype == np.bool_ else "pairs"
    return {"target_sparsity": float(schedule.target_sparsity), "start": int(schedule.start), "end": int(schedule.end),
            "frequency": int(schedule.frequency), "method": method, "regrow_fraction": float(schedule.regrow_fraction),
            "ramp": schedule.ramp, "candidates": candidates}


def _schedule_from_json(fields: Any, columns: dict[str, np.ndarray]) -> PruningSchedule | None:
    held = [name for name in ("mask", "pairs") if name in columns]
    if fields is None:
        if held:
            raise ValueError(f"a column {held[0]!r} needs a schedule")
        return None
    if not isinstance(fields, dict) or "candidates" not in fields:
        raise ValueError(f"schedule must be an object with candidates or null, got {reprlib.repr(fields)}")
    kind = fields["candidates"]
    if kind not in ("order", "layers", "mask", "pairs") or held != [kind] * (kind in ("mask", "pairs")):
        raise ValueError("candidates must be 'order', 'layers', or the one of 'mask' and 'pairs' that is a column, "
                         f"got {kind!r}")
    if not isinstance(fields.get("method"), str) or not isinstance(fields.get("ramp"), str):
        raise ValueError("method and ramp of a schedule must be names")
    return PruningSchedule(**{**fields, "candidates": np.array(columns[kind]) if held else kind})


def _checked_rng_state(state: Any) -> dict | None:
    """A state that the generator takes, checked to the last number."""
    return None if state is None else rng.to_json(rng.from_state(state).bit_generator.state)


def _read_json(content: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    if len(content) > MAX_TEXT:
        raise ValueError(f"the file must have at most {MAX_TEXT} bytes, got {len(content)}")
    data = archive.object_of(content)
    columns = {name: _column(data.pop(name), name, np.dtype(dtype)) for name, dtype in COLUMNS.items() if name in data}
    return data, columns


def _column(values: Any, name: str, dtype: np.dtype) -> np.ndarray:
    """A JSON list as a column, without a silent conversion."""
    array = np.array(values, dtype if values == [] else None)
    wanted = {"i": "i", "u": "iu", "f": "iuf", "b": "b"}[dtype.kind]
    axes = 1 + (name in TABLES and values != [])
    if not isinstance(values, list) or array.dtype.kind not in wanted or array.ndim != axes:
        raise ValueError(f"the column {name!r} must be a list of {dtype.name} numbers")
    converted = array.astype(dtype)
    if dtype.kind == "u" and not np.array_equal(converted, array):
        raise ValueError(f"the column {name!r} must hold numbers of {dtype.name}")
    return converted


def _suffix(path: Path) -> str:
    if path.suffix not in (".json", ".npz"):
        raise ValueError(f"the path must end in .json or .npz, got {path.name!r}")
    return path.suffix
