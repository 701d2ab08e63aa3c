"""The steps of a generation: breed, name what was split, prune, put into species, measure."""

from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import kernels, rng
from neuroprune.evolution import program as programs
from neuroprune.evolution import reproduction
from neuroprune.evolution.genomes import Genomes, in_chunks
from neuroprune.evolution.history import fitness_row
from neuroprune.evolution.mutation import IN_PROGRAMS, PerturbBiases, PerturbWeights, Prune, Sequence
from neuroprune.evolution.pruning import AdaptivePruning, GenerationPruning
from neuroprune.network.prune import MAX_EVOLUTIONARY_SPARSITY
from neuroprune.pruning import saliency

if TYPE_CHECKING:
    from neuroprune.evolution.population import Population

WHOLE_GENERATION = 2**32 - 1  # the child whose stream serves draws for a generation as a whole
PRUNING_STREAMS = 2**31  # added to a child's index for what its pruning draws
GIVEN = len(IN_PROGRAMS)  # code of scores that are handed to the kernel
SPARE = 1.25  # room that a generation may hold, as a multiple of what it uses


def check_method(pruning: Any) -> None:
    """Refuse scorers of a GenerationPruning that genomes cannot serve."""
    method = getattr(pruning, "method", "magnitude")
    if method not in IN_PROGRAMS and saliency.scorer(method) is not saliency.snip and saliency.requires(method):
        raise ValueError(f"the pruning method of a population must need no signal, got {method!r}, which needs "
                         f"{', '.join(saliency.requires(method))}: take 'magnitude' or a function of the weight")


def check_problem(problem: Any, population: "Population") -> None:
    """Refuse what cannot be evaluated, before anything starts."""
    genomes = population._genomes
    if isinstance(problem, type):
        raise TypeError(f"problem must be an object, got the class {problem.__name__}: call it, {problem.__name__}()")
    if not callable(problem) and not hasattr(problem, "evaluate"):
        raise TypeError("problem must be a function network -> float or have a method evaluate, got "
                        f"{type(problem).__name__}")
    for name in ("n_inputs", "n_outputs"):
        wanted, there = getattr(problem, name, None), getattr(genomes, name)
        if wanted is not None and wanted != there:
            raise ValueError(f"the population must have {name}={wanted} for this problem, got {there}: make a "
                             f"Population({getattr(problem, 'n_inputs', '...')}, "
                             f"{getattr(problem, 'n_outputs', '...')})")
    if getattr(problem, "recurrent", False) and not genomes.recurrent:
        raise ValueError("the population must be recurrent for this problem, got an acyclic one: make it with "
                         "Settings(recurrent=True)")


def begin(population: "Population", fresh: bool) -> None:
    """Make generation 0 from the one genome that is there: new numbers for all, or a copy and mutants."""
    settings, size = population.settings, population.size
    elite = np.full(size, -1, np.int64)
    if fresh:
        steps = [PerturbWeights(1.0, 0.0, 1.0, settings.weight_power),
                 PerturbBiases(1.0, 0.0, 1.0, settings.bias_power)]
        if settings.start_density < 1.0:
            steps.insert(0, Prune(1.0 - settings.start_density, "random"))
        operator = Sequence(steps)
    else:
        operator = settings.mutation()
        elite[0] = 0
    plan = reproduction.Plan(np.zeros(1, np.int64), np.array([0, 1]), np.zeros(1), np.zeros(size, np.int64), elite, 1)
    _produce(population, plan, programs.compiled(operator))


def produce(population: "Population") -> None:
    """Make the next generation from the one that was told."""
    settings, table = population.settings, population._table
    population._check_finite()
    if population.objectives:
        plan = reproduction.by_fronts(objective_values(population))
    else:
        merit = reproduction.merit_of(population._fitness)
        plan = reproduction.by_species(merit, table, population.generation, settings)
    _produce(population, plan, programs.compiled(settings.mutation()))


def _produce(population: "Population", plan: reproduction.Plan, program: programs.Program) -> None:
    """Make and prune the children, then put them in place: a scorer that raises leaves the population as it was."""
    parents, size = population._genomes, population.size
    settings = population.settings
    families = [plan.pool] if settings.interspecies > 0.0 else np.split(plan.pool, plan.pool_start[1:-1])
    most = np.array([[parents.n_nodes[family].max() + program.nodes,
                      parents.n_connections[family].max() + program.edges] for family in families])
    room = most[plan.family] if len(families) > 1 else np.broadcast_to(most[0], (size, 2))
    copied = plan.elite >= 0
    room = np.where(copied[:, None], np.stack([parents.n_nodes, parents.n_connections], 1)[plan.elite], room)
    children = Genomes.room_for(parents.n_inputs, parents.n_outputs, parents.recurrent, parents.default_code,
                                room[:, 0], room[:, 1])
    splits = np.zeros((size, program.splits, 2), np.int64)
    counts = np.zeros(size, np.int64)
    largest = room.max(axis=0)

    def work(first: int, last: int) -> None:
        kernels.breed.breed(parents.columns, plan.pool, plan.pool_start, plan.merit, plan.tournament,
                            settings.crossover, settings.interspecies, plan.family, plan.elite, parents.n_inputs,
                            parents.n_outputs, parents.default_code, program.rows, program.choices, population.seed,
                            population.generation, first, last, largest, children.columns, splits, counts)

    in_chunks(work, size, int(room[:, 1].sum()))
    columns = children.columns
    for child in np.flatnonzero(counts).tolist():  # in the order of children, so that threads change no name
        first, count = int(columns.node_start[child]), int(counts[child])
        present = columns.ids[first:first + int(columns.n_nodes[child])]
        names = population.innovations.names(splits[child, :count], present[present >= 0])
        kernels.breed.name_splits(columns, child, names, count)
    mean = float(columns.n_edges.mean())
    pruned = _prune(population, children, mean)
    if room[:, 1].sum() > SPARE * columns.n_edges.sum() or room[:, 0].sum() > SPARE * columns.n_nodes.sum():
        children = children.take(np.arange(size))
    level, population._removed, population._regrown = pruned
    population._best_is_old |= level > population._level
    population._level = level
    if population._mean_connections is None:
        population._mean_connections = mean
    if population._fitness is not None and not population.objectives:
        draws = rng.stream(population.seed, population.generation, WHOLE_GENERATION)
        population._table.new_representatives(parents, draws)
    population._genomes, population._fitness = children, None
    if not population.objectives:
        population._table.assign(population._genomes, population.generation, settings)


def _prune(population: "Population", genomes: Genomes, mean: float) -> tuple[float, int, int]:
    """Prune all networks, which have `mean` connections, as the generation asks for: (level, removed, regrown)."""
    pruning, generation = population.pruning, population.generation
    level, method, regrow_fraction = None, "magnitude", 0.0
    if isinstance(pruning, GenerationPruning) and pruning.fires(generation):
        level, method, regrow_fraction = pruning.sparsity(generation), pruning.method, pruning.regrow_fraction
    elif isinstance(pruning, AdaptivePruning):
        level = pruning.next_level(population._level, mean, population._mean_connections or mean)
    if level is None:
        return population._level, 0, 0
    if level <= 0.0:
        return level, 0, 0
    if method not in IN_PROGRAMS and saliency.scorer(method) is saliency.snip:
        method = "magnitude"  # genomes carry no accumulated gradient
    scores = np.zeros(0) if method in IN_PROGRAMS else _scores(genomes, method)
    code = IN_PROGRAMS.index(method) if method in IN_PROGRAMS else GIVEN
    removed, regrown = np.zeros(len(genomes), np.int64), np.zeros(len(genomes), np.int64)
    in_chunks(lambda first, last: kernels.breed.prune_genomes(
        genomes.columns, genomes.n_inputs, genomes.n_outputs, level, regrow_fraction, code, scores, population.seed,
        generation, PRUNING_STREAMS, first, last, removed, regrown), len(genomes), int(genomes.n_connections.sum()))
    return level, int(removed.sum()), int(regrown.sum())


def _scores(genomes: Genomes, method: Any) -> np.ndarray:
    """What a scorer gives all weights, lying like `source`; it sees them in one array, without spare room."""
    columns, counts = genomes.columns, genomes.n_connections
    inside = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    edges = np.repeat(columns.edge_start, counts) + inside
    weights = columns.parameters[np.repeat(columns.node_start, counts) + edges]
    scores = np.zeros(columns.source.size)
    scores[edges] = saliency.score(method, weights)
    return scores


def _eligible(population: "Population", merit: np.ndarray) -> np.ndarray:
    """Merit, with -inf for who is denser than pruning asks for.

    Between two prunings networks grow; such a one is not what an evolution under pruning is to find.
    """
    if population._level <= 0.0:
        return merit
    genomes = population._genomes
    baseline = np.maximum(genomes.columns.baseline, 1)
    allowed = np.maximum(baseline - np.rint(min(population._level, MAX_EVOLUTIONARY_SPARSITY) * baseline), 1)
    return np.where(genomes.n_connections <= allowed, merit, -np.inf)


def measure(population: "Population", fitness: np.ndarray) -> None:
    """Take in the fitness of the present generation."""
    genomes, table = population._genomes, population._table
    if population._best_is_old:
        table.best[:] = -np.inf  # a species is not stagnant because it was denser once
    merit = reproduction.merit_of(fitness)
    best = int(merit.argmax())
    now = np.zeros(0) if population.objectives else table.measured(merit, population.generation)
    eligible = _eligible(population, merit)
    found = int(eligible.argmax())
    if population._best is None or population._best_is_old:
        population._best_is_old = bool(eligible[found] == -np.inf)  # better than none, until there is one at the level
        found = best if population._best_is_old else found
        set_best(population, found, merit[found])
    elif eligible[found] > population._best_fitness:
        set_best(population, found, merit[found])
    population.evaluations += fitness.size
    hidden = genomes.n_nodes - genomes.n_inputs - genomes.n_outputs
    dead_nodes, dead_edges = np.zeros(fitness.size, np.int64), np.zeros(fitness.size, np.int64)
    in_chunks(lambda first, last: kernels.census.dead_weight(
        genomes.columns, genomes.n_inputs, genomes.n_outputs, first, last, dead_nodes, dead_edges), fitness.size,
        int(genomes.n_connections.sum()))
    baseline = genomes.columns.baseline
    sparsity = np.clip(1.0 - genomes.n_connections / np.maximum(baseline, 1), 0.0, 1.0)
    population.history._append(fitness_row(fitness) | {
        "generation": population.generation, "evaluations": population.evaluations, "species": len(table),
        "threshold": float(table.threshold), "hidden": float(hidden.mean()),
        "connections": float(genomes.n_connections.mean()), "best_connections": int(genomes.n_connections[best]),
        "dead_nodes": float(dead_nodes.sum() / max(int(hidden.sum()), 1)),
        "dead_connections": float(dead_edges.sum() / max(int(genomes.n_connections.sum()), 1)),
        "sparsity": float(np.where(baseline > 0, sparsity, 0.0).mean()), "removed": population._removed,
        "regrown": population._regrown, "level": float(population._level),
    }, [(population.generation, int(name), int(size), float(merit_now)) for name, size, merit_now in
        zip(table.ids, np.bincount(table.assigned, minlength=len(table)), now, strict=True)])
    population._fitness = fitness
    population.generation += 1


def set_best(population: "Population", index: int, merit: float) -> None:
    """Remember a network of the generation that is being measured, or was just measured."""
    population._best = population._genomes.take([index])
    population._best_fitness = float(merit)
    population._best_place = population.generation - (population._fitness is not None), index


def solved(population: "Population", problem: Any, target: float | None, sign: float) -> bool:
    """Whether the generation that was just told reaches the target, or solves the problem.

    Where more than fitness decides, the champion of every species is asked, or every network of the Pareto front.
    """
    if isinstance(population.pruning, GenerationPruning) and population._level < population.pruning.target_sparsity:
        return False  # the network that is returned has the final sparsity
    merit = _eligible(population, reproduction.merit_of(population._fitness))
    best = int(merit.argmax())
    if merit[best] == -np.inf:
        return False
    if target is not None:
        return bool(merit[best] >= target)
    ask = getattr(problem, "solved", None)
    if ask is None:
        wanted = getattr(problem, "solved_at", None)
        return wanted is not None and bool(sign * merit[best] >= wanted) and np.isfinite(merit[best])
    for index in front_of(population) if population.objectives else champions(population, merit):
        if merit[index] > -np.inf and ask(population._genomes.network(index), float(sign * merit[index])):
            set_best(population, index, merit[index])  # who solves it is wanted, even if another is fitter
            return True
    return False


def champions(population: "Population", merit: np.ndarray) -> list[int]:
    """Index of the fittest network of each species, fittest first."""
    order = np.argsort(-merit, kind="stable")
    _, first = np.unique(population._table.assigned[order], return_index=True)
    return order[np.sort(first)].tolist()


def objective_values(population: "Population") -> np.ndarray:
    """The objectives of the told generation (size, m), larger being better, fitness first."""
    genomes = population._genomes
    columns = {"fitness": reproduction.merit_of(population._fitness), "connections": -genomes.n_connections,
               "nodes": -genomes.n_nodes}
    return np.stack([columns[name].astype(np.float64) for name in columns if name in population.objectives], axis=1)


def front_of(population: "Population") -> list[int]:
    """Indices of the non-dominated networks, one for each set of values, fittest first."""
    values = objective_values(population)
    order = np.lexsort((-values[:, 0], *values[:, 1:].T))
    _, first = np.unique(values[order, 1:], axis=0, return_index=True)
    best = np.sort(order[first])  # of each size: no other one can be on the front
    members = best[kernels.census.fronts(values[best]) == 0]
    return members[np.argsort(-values[members, 0], kind="stable")].tolist()


def summary(population: "Population") -> dict[str, str]:
    """What a progress bar shows."""
    last = population.history.last
    row = {name: f"{last[name]:.4g}" for name in ("best", "mean", "connections", "sparsity")}
    return row if population.objectives else row | {"species": str(len(population._table))}
