"""The Population: networks that breed, stored packed."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from neuroprune import activations, rng
from neuroprune.evolution import batch
from neuroprune.evolution import checkpoint as checkpoints
from neuroprune.evolution import generation as generations_of
from neuroprune.evolution.genomes import Genomes
from neuroprune.evolution.history import EvolutionHistory
from neuroprune.evolution.innovation import Innovations
from neuroprune.evolution.pruning import AdaptivePruning, GenerationPruning
from neuroprune.evolution.settings import Settings
from neuroprune.evolution.species import Species, SpeciesTable
from neuroprune.network.create import count_of
from neuroprune.network.edit import check_finite
from neuroprune.network.network import Network
from neuroprune.network.views import check_number, numbers

OBJECTIVES = ("fitness", "connections", "nodes")
MAX_SIZE = 2**31 - 1


class Population:
    """Networks that breed, in species or along a Pareto front, and are pruned as they grow.

    It has exactly `size` networks, always. They are stored packed: no object per gene and, until asked for, none per
    network. One seed gives the same bits whatever the number of threads and the executor.

    Parameters
    ----------
    n_inputs, n_outputs : int
        The first generation joins every input to every output, with random weights (see `Settings.start_density`).
    size : int
        Number of networks, at least 2.
    seed : int, Generator or None
        Below 2**63; None takes fresh entropy, which `population.seed` records.
    settings : Settings
    pruning : GenerationPruning or AdaptivePruning, optional
        Prunes every network, elites too, after reproduction and before evaluation, to a share of all its lineage has
        grown. Methods that need a signal are refused; genomes carry no gradient, so "snip" ranks by magnitude. A
        function sees the weights of all networks in one array and must be elementwise.
    objectives : tuple of str, optional
        "fitness" (more is better) and "connections" or "nodes" (fewer are better) or both: replaces species by
        non-dominated sorting with crowding (after NSGA-II, Deb et al. 2002) in which networks of one size form a
        niche; `evolve` returns the Pareto front.

    Attributes
    ----------
    generation : int
        Generations evaluated so far.
    evaluations : int
        Networks evaluated so far.
    history : EvolutionHistory
    seed : int
    innovations : Innovations

    Examples
    --------
    >>> import neuroprune as npr
    >>> population = npr.Population(2, 1, seed=1)
    >>> best = population.evolve(npr.XOR(), generations=100)
    >>> [round(float(y)) for y in best([[0, 0], [0, 1], [1, 0], [1, 1]])[:, 0]]
    [0, 1, 1, 0]

    Any loop of one's own works, too:

    >>> population = npr.Population(2, 1, size=50, seed=1)
    >>> for _ in range(3):
    ...     population.tell([-abs(float(net([1.0, 1.0])[0]) - 0.5) for net in population.ask()])
    >>> population.generation, population.evaluations
    (3, 150)
    """

    def __init__(self, n_inputs: int, n_outputs: int, size: int = 150, seed: Any = None,
                 settings: Settings | None = None, pruning: GenerationPruning | AdaptivePruning | None = None,
                 objectives: tuple[str, ...] | None = None) -> None:
        settings = Settings() if settings is None else settings
        n_inputs, n_outputs = count_of(n_inputs, "n_inputs", 1), count_of(n_outputs, "n_outputs", 1)
        if not isinstance(settings, Settings):
            raise TypeError(f"settings must be a Settings, got {type(settings).__name__}: see Settings.from_dict")
        sources = np.tile(np.arange(n_inputs), n_outputs)
        targets = np.repeat(np.arange(n_inputs, n_inputs + n_outputs), n_inputs)
        template = Network.from_connections(
            n_inputs, n_outputs, (sources, targets, np.zeros(sources.size)), activation=settings.output_activation,
            delayed=np.zeros(sources.size, bool) if settings.recurrent else None, seed=0)
        template._default_code = activations.code(settings.activation)
        self._begin(template, size, seed, settings, pruning, objectives, fresh=True)

    @classmethod
    def from_network(cls, network: Network, size: int = 150, seed: Any = None, settings: Settings | None = None,
                     pruning: GenerationPruning | AdaptivePruning | None = None,
                     objectives: tuple[str, ...] | None = None) -> "Population":
        """Evolve on from one network, trained or pruned: the first of the population is its copy, the others mutants.

        Recurrence and the activation of new nodes are those of the network. Its evolutionary baseline is inherited, and
        where it has none that of its training schedule, so that what was pruned already counts.

        Examples
        --------
        >>> import neuroprune as npr
        >>> net = npr.Network.dense([2, 4, 1], seed=0)
        >>> population = npr.Population.from_network(net, size=20, seed=0)
        >>> population.ask()[0].equals(net)
        True
        """
        if not isinstance(network, Network):
            raise TypeError(f"network must be a Network, got {type(network).__name__}")
        check_finite(network)
        network = network.copy()
        network._evolution_baseline = network._evolution_baseline or network._training_baseline
        default = activations.name(network._default_code)
        if settings is None:
            settings = Settings()
        settings = replace(settings, recurrent=network.graph.recurrent, activation=default)
        self = object.__new__(cls)
        self._begin(network, size, seed, settings, pruning, objectives, fresh=False)
        return self

    def _begin(self, template: Network, size: int, seed: Any, settings: Settings, pruning: Any, objectives: Any,
               fresh: bool) -> None:
        self.size = count_of(size, "size", 2)
        if self.size > MAX_SIZE:
            raise ValueError(f"size must be at most {MAX_SIZE}, got {size}")
        if pruning is not None and not isinstance(pruning, (GenerationPruning, AdaptivePruning)):
            raise TypeError("pruning must be a GenerationPruning or an AdaptivePruning, got "
                            f"{type(pruning).__name__}")
        generations_of.check_method(pruning)
        self.objectives = self._check_objectives(objectives)
        seed = rng.check_seed(seed)
        self.seed = int(seed.integers(2**63)) if isinstance(seed, np.random.Generator) else seed
        if self.seed >= 2**63:
            raise ValueError(f"seed of a population must be below 2**63, got {seed}")
        self.settings = settings
        self.pruning = pruning
        self.history = EvolutionHistory()
        self.generation = self.evaluations = 0
        self.innovations = Innovations(int(template.graph.ids.max()) + 1)
        self._fitness: np.ndarray | None = None
        self._table = SpeciesTable(settings.threshold)
        self._level = 0.0
        self._mean_connections: float | None = None  # of the first generation
        self._best: Genomes | None = None
        self._best_fitness = -np.inf
        self._best_place = 0, 0  # generation and index
        self._best_is_old = False  # pruning went further since
        self._genomes = Genomes.pack([template])
        self._removed = self._regrown = 0
        generations_of.begin(self, fresh)

    @staticmethod
    def _check_objectives(objectives: Any) -> tuple[str, ...] | None:
        if objectives is None:
            return None
        objectives = tuple(objectives)
        names = set(objectives)
        if len(names) < 2 or len(names) != len(objectives) or not names <= set(OBJECTIVES) or "fitness" not in names:
            raise ValueError("objectives must be fitness and at least one of connections and nodes, each once, got "
                             f"{objectives!r}")
        return objectives

    # One generation

    def ask(self) -> Genomes:
        """The networks to be evaluated now: a sequence of Networks over the packed columns.

        `population.ask()[i]` is a live view: writing a weight changes the population, rewiring detaches the network.
        Its `rng` is a stream of its own, the one that a fitness function would see. Before `tell` the same generation
        comes again.
        """
        if self._fitness is not None:
            generations_of.produce(self)
        self._genomes.streams = self.seed, self.generation
        return self._genomes

    def tell(self, fitness: Any) -> None:
        """Say how fit each network is; higher is better.

        Parameters
        ----------
        fitness : array (size,)
            NaN and -inf are worst, NaN is counted in the history; negative numbers are fine.

        Raises
        ------
        ValueError
            For another number of values or +inf, or when a weight was made infinite or NaN meanwhile.
        RuntimeError
            When the generation was told already: `ask` gives the next one.
        """
        if self._fitness is not None:
            raise RuntimeError("tell must follow ask, but this generation was told already: take the next networks "
                               "from population.ask()")
        fitness = numbers(fitness, "fitness")
        if fitness.shape != (self.size,):
            raise ValueError(f"fitness must have shape ({self.size},), got {fitness.shape}")
        if (fitness == np.inf).any():
            raise ValueError("fitness must be finite, -inf or NaN, got inf for network "
                             f"{int((fitness == np.inf).argmax())}")
        self._check_finite()
        generations_of.measure(self, fitness.astype(np.float64))

    def _check_finite(self) -> None:
        """Refuse numbers that a user wrote, or that grew without bounds."""
        parameters = self._genomes.columns.parameters
        if not np.isfinite(parameters).all():
            columns = self._genomes.columns
            place = int(np.isfinite(parameters).argmin())
            network = int(np.searchsorted(columns.node_start + columns.edge_start, place, side="right")) - 1
            raise ValueError(f"weights and biases of a population must be finite, got {parameters[place]} in network "
                             f"{network}: take back what was written to it, or mutate with smaller steps")

    # Many generations

    def evolve(self, problem: Any, generations: int, target: float | None = None, executor: Any = None,
               checkpoint: Any = None, progress: bool = False,
               callback: Callable[["Population"], Any] | None = None, minimize: bool = False) -> Any:
        """Evaluate and breed for so many more generations, and return the best network.

        Parameters
        ----------
        problem : Problem or function
            A function `network -> float` gets each network as a copy of its own with a stream of its own,
            `network.rng`; what it changes is dropped. A Problem evaluates all at once, see `npr.Dataset`; one of your
            own is an object with a method `evaluate(genomes, seed, generation, first)` that returns a float64 array,
            higher being better, one number for each network of the sequence `genomes`, which begins with network
            number `first` of the population. It may have `n_inputs`, `n_outputs`, `recurrent`, and `solved_at`, a
            fitness, or `solved(network, fitness)`, which is asked about the champion of every species.
        generations : int
            How many more, at least 0.
        target : float, optional
            Stop as soon as a network is at least so fit (with `minimize`: at most). By default the problem decides,
            where it knows when it is solved. A run with `GenerationPruning` does not stop before the final sparsity.
        executor : concurrent.futures.Executor or the like, optional
            Threads, processes, `client.get_executor()` of a Dask cluster. The result is the same, bit for bit.
        checkpoint : path or Checkpoint, optional
            Where to save the run, every 10 seconds or as often as the Checkpoint says; at the end, too.
        progress : bool
            Show a bar with best, mean, species, connections and sparsity.
        callback : function, optional
            Called with the population after each generation; stops the evolution by returning True.
        minimize : bool
            Smaller is better: what a function returns is negated at the entrance, `history` holds the negated numbers.
            Problems know what is better themselves.

        Returns
        -------
        Network, or list of Networks
            The best one since pruning last went further; with `objectives` the Pareto front, fittest first.

        Raises
        ------
        RuntimeError
            When a fitness function raises: names network and generation. The population is as it was before that
            generation was evaluated, and `evolve` continues from there.
        KeyboardInterrupt
            After Ctrl-C, when the checkpoint is written; `population.best` is there.
        """
        generations = count_of(generations, "generations", 0)
        generations_of.check_problem(problem, self)
        if minimize and hasattr(problem, "evaluate"):
            raise ValueError("minimize must be left out for a problem, whose fitness is higher for the better, got "
                             "minimize=True")
        sign = -1.0 if minimize else 1.0
        if target is not None:
            target = sign * check_number(target, "target")
        saver = checkpoints.saver(checkpoint, self)
        bar = _bar(generations) if progress else None
        try:
            for _ in range(generations):
                with _interrupt_waits():
                    genomes = self.ask()
                with _learned_or_not(self, problem):
                    fitness = batch.evaluate(problem, genomes, self.seed, self.generation, executor)
                    if minimize and (fitness == -np.inf).any():
                        raise ValueError("fitness to be minimized must be above -inf, got -inf for network "
                                         f"{int((fitness == -np.inf).argmax())}")
                    with _interrupt_waits():
                        self.tell(sign * fitness)
                        solved = generations_of.solved(self, problem, target, sign)
                        saver.after_generation(self)
                if bar is not None:
                    bar.set_postfix(generations_of.summary(self), refresh=False)
                    bar.update()
                if (callback is not None and callback(self) is True) or solved:
                    break
        finally:
            if bar is not None:
                bar.close()
            with _interrupt_waits():
                saver.at_end(self)
        return self.front if self.objectives else self.best

    # Looking

    @property
    def best(self) -> Network:
        """The fittest network since pruning last went further, as a copy; LookupError before any was evaluated."""
        if self._best is None:
            raise LookupError("there must be an evaluated generation, got none: call population.evolve")
        return self._best.network(0, seed=rng.stream(self.seed, *self._best_place))

    @property
    def best_fitness(self) -> float:
        """Fitness of `best`; -inf before any was evaluated."""
        return float(self._best_fitness)

    @property
    def fitness(self) -> np.ndarray | None:
        """Fitness of each network of the present generation, None until it is told."""
        return None if self._fitness is None else self._fitness.copy()

    @property
    def species(self) -> list[Species]:
        """The species of the present generation; empty with `objectives`."""
        table = self._table
        return [Species(int(table.ids[row]), np.flatnonzero(table.assigned == row), table.representatives[row].copy(),
                        float(table.best[row]), int(table.created[row]), int(table.improved[row]))
                for row in range(len(table))]

    @property
    def front(self) -> list[Network]:
        """Copies of the networks of the last evaluated generation that no other one dominates, fittest first."""
        if self._fitness is None or self.objectives is None:
            raise LookupError("a front needs objectives and an evaluated generation: call population.evolve of a "
                              "Population with objectives=('fitness', 'connections')")
        return [self._genomes.network(i, seed=rng.stream(self.seed, self.generation - 1, i))
                for i in generations_of.front_of(self)]

    @property
    def pruning_level(self) -> float:
        """The sparsity that pruning last asked for."""
        return self._level

    def __len__(self) -> int:
        return self.size

    def save(self, path: Any) -> None:
        """Write everything to a `.npz` file, atomically: loading it and evolving on gives the same bits."""
        from neuroprune.evolution import files

        files.save(self, path)

    @classmethod
    def load(cls, path: Any) -> "Population":
        """Read a population back; a damaged file gives a `ValueError` and never runs code."""
        from neuroprune.evolution import files

        return files.load(cls, path)

    def _repr_html_(self) -> str:
        from neuroprune import plot

        return plot.population_html(self)

    def __repr__(self) -> str:
        genomes = self._genomes
        species = "" if self.objectives else f", {len(self._table)} species"
        return (f"<Population: {self.size} networks, {genomes.n_inputs} inputs, {genomes.n_outputs} outputs, "
                f"generation {self.generation}{species}, best {self._best_fitness:.4g}>")


def _bar(total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, unit="generation")


@contextmanager
def _learned_or_not(population: Population, problem: Any) -> Iterator[None]:
    """Take back what networks learned in an evaluation whose outcome was not told, so that nothing is learned twice."""
    if getattr(problem, "learning", None) is None:
        yield
        return
    genomes = population._genomes
    before = genomes.columns.parameters.copy()
    try:
        yield
    finally:
        if population._fitness is None:
            genomes.columns.parameters[:] = before


@contextmanager
def _interrupt_waits() -> Iterator[None]:
    """Let Ctrl-C wait until the block is done, so that it cannot leave the population half changed."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is None:
        yield
        return
    came: list[tuple] = []
    former = signal.signal(signal.SIGINT, lambda *details: came.append(details))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
        if came and callable(former):
            former(*came[0])
