"""Compile every kernel through the public API; prints the seconds spent compiling and what was compiled.

Run it as `python -m benchmarks.compilation` with NUMBA_CACHE_DIR naming an empty folder.
"""

from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numba.core import event

import neuroprune as npr
from neuroprune import kernels


class CompileTime(event.Listener):
    """Adds up the time between the outermost start and end."""

    def __init__(self) -> None:
        self.total = 0.0
        self._depth = 0
        self._start = 0.0

    def on_start(self, event: Any) -> None:
        if self._depth == 0:
            self._start = perf_counter()
        self._depth += 1

    def on_end(self, event: Any) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.total += perf_counter() - self._start


def use_everything() -> None:
    """Call everything that reaches a kernel, on small networks."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 4)), rng.standard_normal((64, 2))
    net = npr.Network.dense([4, 8, 2], seed=0)
    net(x[0]), net(x), net(x, dtype=np.float32)
    net.train(x, y, 3, batch_size=32, validation=(x, y), pruning=npr.PruningSchedule(0.5, 1, 2, regrow_fraction=0.2))
    net.gradient(x, y)
    net.regrow(2, method="gradient", data=(x, y))
    net.connect(0, 4, 1.0) if (0, 4) not in net.connections else net.disconnect(0, 4)
    net.add_node(int(net.connections.source[0]), int(net.connections.target[0]))
    net.trim()
    net.remove_node(int(net.nodes.id[net.graph.n_inputs]))
    graph = net.graph
    _ = graph.target, graph.depth, graph.reaches_output, graph.reached_from_input
    recurrent = npr.Network.random(4, 2, 6, 40, recurrent=True, seed=0)
    recurrent(x), recurrent.reset(), recurrent.run(x)
    recurrent.train(x[None], y[None], 2)
    recurrent.prune_to_sparsity(0.5, method="snip")
    recurrent.regrow(3)
    for hidden in (3, 10**9):
        npr.Network.from_connections(2, 1, [(0, 2, 1.0), (1, hidden, 1.0), (hidden, 2, 1.0)])([1.0, 2.0])
    for dtype in (np.float32, np.float64):
        npr.masks.sparse(rng.standard_normal(1 << 19).astype(dtype), 0.9)


def kernel_functions() -> dict[str, Any]:
    """All compiled functions by name."""
    found = {}
    for path in sorted(Path(kernels.__file__).parent.glob("*.py")):
        if path.stem != "__init__":
            module = import_module(f"{kernels.__name__}.{path.stem}")
            found |= {f"{path.stem}.{name}": value for name, value in vars(module).items()
                      if hasattr(value, "nopython_signatures") and value.__module__ == module.__name__}
    return found


if __name__ == "__main__":
    time = CompileTime()
    with event.install_listener("numba:compile", time):
        use_everything()
    functions = kernel_functions()
    idle = [name for name, function in functions.items() if not function.nopython_signatures]
    variants = sum(len(function.nopython_signatures) for function in functions.values())
    print(f"{time.total:.2f} {len(functions) - len(idle)} of {len(functions)} kernels in {variants} variants"
          + (f", not reached: {', '.join(idle)}" if idle else ""))
