"""Balancing poles on a cart: the classical tasks of neuroevolution, all carts of a population stepping together."""

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from neuroprune import activations, kernels
from neuroprune.evolution.genomes import Genomes, in_chunks
from neuroprune.network.create import count_of
from neuroprune.network.views import check_number

if TYPE_CHECKING:
    from neuroprune.network.network import Network

OUTPUTS = ("auto", "signed", "unit")  # numbered as in kernels.poles
SCALE = np.array([4.8, 2.0, 0.52, 2.0, 0.52, 2.0])  # what the inputs are divided by
LONG = 100_000  # steps after which nothing falls any more: 33 minutes
SHORT = 1_000
ENOUGH = 200  # of the 625 starts
STILLEST = 1e-9  # movement below which stillness earns no more, so that fitness is finite
GRIDS = (4.32, 2.7, 0.12566304, 0.30019504)  # widths: 4.32 m, 2.7 m/s, 7.2 degrees, 17.2 degrees/s
GRID = (0.05, 0.25, 0.5, 0.75, 0.95)
SHARES = 16  # runs are dealt out to threads like cards, as neighbours in a population last equally long


@dataclass(frozen=True, kw_only=True)
class PoleBalancing:
    """One pole on a cart; the network sees positions and velocities and pushes the cart left or right.

    The cart weighs 1 kg and has 2.4 m to each side; the pole weighs 0.1 kg, is 1 m long and falls beyond 12 degrees.
    The network acts once per 0.02 s with up to 10 N; in between the equations of motion (see `DoublePole`) are
    integrated in two steps by the fourth-order Runge-Kutta method. Fitness is the number of actions, at most `limit`,
    after which the pole still stood. Inputs are x / 4.8 m, x' / (2 m/s), a / 0.52 rad, a' / (2 rad/s).

    Parameters
    ----------
    limit : int, default 100,000
        Actions after which the task counts as solved, at least 1.
    angle : float, default 6
        Angle of the pole at the start in degrees, at most 12 to either side; everything else starts at 0.
    output : {"auto", "signed", "unit"}
        What range of outputs spans the forces from -10 N to 10 N: "signed" [-1, 1], "unit" [0, 1]; outputs beyond it
        are cut. "auto" takes [0, 1] for a network whose output is a sigmoid, gaussian or step function, so that every
        network can push both ways, and [-1, 1] for any other.

    Attributes
    ----------
    n_inputs, n_outputs : int
        4 and 1.
    recurrent : bool
        False: no memory is needed. Recurrent networks are welcome, too; their state starts at 0.
    solved_at : float
        Fitness of a solution: `limit`.

    Notes
    -----
    The task is that of Barto, Sutton & Anderson (1983), "Neuronlike adaptive elements that can solve difficult
    learning control problems", with a continuous force. A run also ends when the output is NaN.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune.evolution.genomes import Genomes
    >>> from neuroprune.evolution.poles import PoleBalancing
    >>> still = npr.Network.from_connections(4, 1, [(2, 4, 0.0)])
    >>> wise = npr.Network.from_connections(4, 1, [(0, 4, 0.5), (1, 4, 0.6), (2, 4, 8.0), (3, 4, 3.0)])
    >>> problem = PoleBalancing(limit=500)
    >>> problem.evaluate(Genomes.pack([still, wise])).tolist()
    [16.0, 500.0]
    """

    limit: int = LONG
    angle: float = 6.0
    output: str = "auto"

    n_inputs = 4
    n_outputs = 1
    recurrent = False

    _tilt = 12.0  # degrees
    _poles = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", count_of(self.limit, "limit", 1))
        object.__setattr__(self, "angle", check_number(self.angle, "angle"))
        if abs(self.angle) > self._tilt:
            raise ValueError(f"angle must be within {self._tilt:g} degrees of upright, got {self.angle!r}: "
                             "pass one such as 1.0")
        if self.output not in OUTPUTS:
            raise ValueError(f"output must be one of {', '.join(map(repr, OUTPUTS))}, got {self.output!r}: "
                             "leave it out for 'auto'")

    @property
    def solved_at(self) -> float | None:
        """Fitness of a solution."""
        return float(self.limit)

    def evaluate(self, genomes: Genomes, seed: int = 0, generation: int = 0, first: int = 0) -> np.ndarray:
        """Fitness of every network; nothing in it is random, so seed, generation and first are not used.

        Parameters
        ----------
        genomes : Genomes
            Networks with as many inputs as this task has, and one output.

        Returns
        -------
        (len(genomes),) float64 array
            Finite, at least 0.

        Raises
        ------
        ValueError
            When the networks have other numbers of inputs or outputs.
        """
        everyone = np.arange(len(genomes))
        lasted, moved = self._run(genomes, everyone, np.zeros_like(everyone), self._start(), self.limit)
        return self._fitness(lasted, moved)

    def steps(self, net: "Network", limit: int = LONG) -> int:
        """How many actions, at most `limit`, the network keeps everything upright from the start of this task.

        Its state is taken as 0 and left as it is.

        Examples
        --------
        >>> import neuroprune as npr
        >>> from neuroprune.evolution.poles import PoleBalancing
        >>> PoleBalancing().steps(npr.Network.from_connections(4, 1, [(2, 4, 20.0)]))
        45
        """
        limit = count_of(limit, "limit", 1)
        nothing = np.zeros(1, np.int64)
        return int(self._run(Genomes.pack([net]), nothing, nothing, self._start(), limit)[0][0])

    def solved(self, net: "Network", fitness: float) -> bool:
        """Whether a network with this fitness is a solution."""
        return bool(fitness >= self.limit)

    def _start(self) -> np.ndarray:
        """The start of a run, (1, 6)."""
        return np.array([[0.0, 0.0, math.radians(self.angle), 0.0, 0.0, 0.0]])

    def _observed(self) -> list[int]:
        """Which of the six numbers of the state the network sees."""
        return [0, 1, 2, 3]

    def _fitness(self, lasted: np.ndarray, moved: np.ndarray) -> np.ndarray:
        return lasted.astype(np.float64)

    def _run(self, genomes: Genomes, genome: np.ndarray, start: np.ndarray, starts: np.ndarray,
             limit: int) -> tuple[np.ndarray, np.ndarray]:
        """Actions that each run lasted and movement in its last hundred, run i being genome[i] from start[i]."""
        if (genomes.n_inputs, genomes.n_outputs) != (self.n_inputs, self.n_outputs):
            raise ValueError(f"networks must have {self.n_inputs} inputs and 1 output for this task, got "
                             f"{genomes.n_inputs} and {genomes.n_outputs}: make them with those numbers")
        dealt = np.argsort(np.arange(genome.size) % SHARES, kind="stable")
        genome, start = genome[dealt], start[dealt]
        lasted, moved = np.zeros(genome.size, np.int64), np.zeros(genome.size)
        observed = np.array(self._observed())
        second = float(self._poles - 1)
        tilt, output = math.radians(self._tilt), OUTPUTS.index(self.output)

        def work(first: int, last: int) -> None:
            part = slice(first, last)
            kernels.poles.balance(genomes.columns, genome[part], start[part], starts, activations.table(), observed,
                                  1.0 / SCALE[observed], second, tilt, output, limit, lasted[part], moved[part])

        if genome.size:
            in_chunks(work, genome.size, genome.size * limit)
        place = np.argsort(dealt)
        return lasted[place], moved[place]


@dataclass(frozen=True)
class DoublePole(PoleBalancing):
    """Two poles of different length on one cart, with or without their velocities to see.

    Cart and forces are those of `PoleBalancing`; the poles are 1 m and 0.1 m long, weigh 0.1 kg and 0.01 kg, and fall
    beyond 36 degrees. With velocities the network has six inputs, x / 4.8, x' / 2, a1 / 0.52, a1' / 2, a2 / 0.52 and
    a2' / 2 (m, s, rad), the long pole starts at 1 degree, and fitness is the number of actions (at most 100,000) after
    which both poles still stood. Without them it has three inputs, x / 4.8, a1 / 0.52 and a2 / 0.52, and must
    remember; the long pole starts at 4.5 degrees, and fitness after t actions, at most 1,000, is that of Gruau,
    Whitley & Pyeatt (1996)::

        0.1 t / 1000 + 0.9 (0 if t < 100 else 0.75 / sum over the last 100 of |x| + |x'| + |a1| + |a1'|)

    which rewards standing still over swinging (the sum counts as at least 1e-9). A solution then also lasts 100,000
    actions, and 1,000 from at least 200 of the 625 starts of `generalization`.

    Parameters
    ----------
    velocities : bool, default True
    limit : int, optional
        Most actions of a run, by default 100,000 with velocities and 1,000 without.
    angle : float, optional
        Angle of the long pole at the start in degrees, by default 1 with velocities and 4.5 without.
    output : {"auto", "signed", "unit"}
        As for `PoleBalancing`.

    Attributes
    ----------
    n_inputs, n_outputs : int
        6 or 3, and 1.
    recurrent : bool
        True without velocities. Both kinds of networks are accepted either way; the state starts at 0.
    solved_at : float or None
        `limit` with velocities; None without, where only `solved` can tell.

    Notes
    -----
    The equations of motion are those of Wieland (1991), "Evolving neural network controllers for unstable systems",
    as printed in Gomez & Miikkulainen (1999), "Solving non-Markovian control tasks with neuroevolution": with masses
    m, half lengths l, cart mass M, force F, friction c = 5e-4 N of the cart and h = 2e-6 N m s of the hinges ::

        x''   = (F - c sgn x' + sum_i f_i) / (M + sum_i m_i (1 - 3/4 cos^2 a_i))
        f_i   = m_i l_i a_i'^2 sin a_i + 3/4 m_i cos a_i (h a_i' / (m_i l_i) - g sin a_i)
        a_i'' = -3 / (4 l_i) (x'' cos a_i - g sin a_i + h a_i' / (m_i l_i))

    Scales of the inputs and ranges of the starts are those of NEAT (Stanley & Miikkulainen 2002), whose program leaves
    out the friction of the cart and starts at 4.01 degrees. It has a constant input, where our nodes have biases.

    Examples
    --------
    >>> import neuroprune as npr
    >>> from neuroprune.evolution.poles import DoublePole
    >>> weights = [-0.33, -0.34, -2.34, -2.39, 1.98, 0.64]
    >>> net = npr.Network.from_connections(6, 1, [(i, 6, w) for i, w in enumerate(weights)])
    >>> problem = DoublePole()
    >>> problem.steps(net, 500)
    500
    >>> DoublePole(velocities=False).n_inputs, DoublePole(velocities=False).recurrent
    (3, True)
    """

    velocities: bool = True
    limit: int | None = field(default=None, kw_only=True)
    angle: float | None = field(default=None, kw_only=True)
    _tested: list = field(default_factory=list, init=False, repr=False, compare=False)  # a network and the verdict

    _tilt = 36.0
    _poles = 2

    def __post_init__(self) -> None:
        if not isinstance(self.velocities, bool):
            raise TypeError(f"velocities must be True or False, got {self.velocities!r}: say whether they are inputs")
        if self.limit is None:
            object.__setattr__(self, "limit", LONG if self.velocities else SHORT)
        if self.angle is None:
            object.__setattr__(self, "angle", 1.0 if self.velocities else 4.5)
        super().__post_init__()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_tested": []}  # a worker needs no champion, and tells problems apart by their bytes

    @property
    def n_inputs(self) -> int:
        """Numbers that the network sees."""
        return 6 if self.velocities else 3

    @property
    def recurrent(self) -> bool:
        """Whether the network needs memory."""
        return not self.velocities

    @property
    def solved_at(self) -> float | None:
        """Fitness of a solution; None where fitness alone does not tell."""
        return float(self.limit) if self.velocities else None

    def solved(self, net: "Network", fitness: float) -> bool:
        """Whether a network with this fitness is a solution.

        Without velocities it is one when it lasts 100,000 actions, and 1,000 from at least 200 of the 625 starts.
        Networks that did not last a run of the task are told by their fitness, without a test; the verdict on the
        last network is kept, in case the next one is equal.
        """
        if self.velocities:
            return super().solved(net, fitness)
        if not fitness > 0.1:
            return False
        if not (self._tested and self._tested[0].equals(net)):  # one generation's champion is often the next one's
            verdict = self.generalization(net) >= ENOUGH and self.steps(net, LONG) == LONG  # the shorter test first
            self._tested[:] = net.copy(), verdict
        return self._tested[1]

    def generalization(self, net: "Network", limit: int = SHORT) -> int:
        """From how many of 625 starts the network keeps both poles upright for `limit` actions.

        Cart position, cart velocity, angle and angular velocity of the long pole each take the places 0.05, 0.25, 0.5,
        0.75 and 0.95 between -2.16 and 2.16 m, -1.35 and 1.35 m/s, -3.6 and 3.6 degrees, -8.6 and 8.6 degrees/s; the
        short pole stands upright at rest (Gruau, Whitley & Pyeatt 1996). The state of the network is 0 each time.

        Examples
        --------
        >>> import neuroprune as npr
        >>> from neuroprune.evolution.poles import DoublePole
        >>> weights = [-0.33, -0.34, -2.34, -2.39, 1.98, 0.64]
        >>> net = npr.Network.from_connections(6, 1, [(i, 6, w) for i, w in enumerate(weights)])
        >>> DoublePole().generalization(net, limit=30)
        551
        """
        limit = count_of(limit, "limit", 1)
        starts = np.array([(*corner, 0.0, 0.0) for corner in itertools.product(*(
            [width * (place - 0.5) for place in GRID] for width in GRIDS))])
        lasted, _ = self._run(Genomes.pack([net]), np.zeros(len(starts), np.int64), np.arange(len(starts)), starts,
                              limit)
        return int((lasted == limit).sum())

    def _observed(self) -> list[int]:
        return [0, 1, 2, 3, 4, 5] if self.velocities else [0, 2, 4]

    def _fitness(self, lasted: np.ndarray, moved: np.ndarray) -> np.ndarray:
        if self.velocities:
            return super()._fitness(lasted, moved)
        still = np.where(lasted < kernels.poles.WINDOW, 0.0, 0.75 / np.maximum(moved, STILLEST))
        return 0.1 * lasted / self.limit + 0.9 * still
