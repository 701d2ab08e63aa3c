"""Who has children: plans of a generation, by species or by Pareto fronts."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neuroprune import kernels

if TYPE_CHECKING:
    from neuroprune.evolution.settings import Settings
    from neuroprune.evolution.species import SpeciesTable


@dataclass(frozen=True)
class Plan:
    """What `kernels.breed.breed` is told: parents by family, and for each child its family or whom it copies."""

    pool: np.ndarray
    pool_start: np.ndarray
    merit: np.ndarray
    family: np.ndarray
    elite: np.ndarray
    tournament: int


def merit_of(fitness: np.ndarray) -> np.ndarray:
    """Fitness to rank by: NaN is worst."""
    return np.where(np.isnan(fitness), -np.inf, fitness)


def quotas(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers in proportion to the shares that sum to total: largest remainders, then the earlier.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.evolution.reproduction import quotas
    >>> quotas(np.array([1.0, 1.0, 2.0]), 10).tolist()
    [3, 2, 5]
    """
    exact = shares * (total / shares.sum())
    whole = np.floor(exact).astype(np.int64)
    left = total - int(whole.sum())
    if left > 0:
        whole[np.argsort(whole - exact, kind="stable")[:left]] += 1
    return whole


def by_species(merit: np.ndarray, table: "SpeciesTable", generation: int, settings: "Settings") -> Plan:
    """Fitness sharing: a species' children are in proportion to its mean fitness above the worst of the population.

    Species that have not improved for `stagnation` generations have none, except the best `kept_species`. The species
    of the best genome has at least one, and the best genome lives on.
    """
    size = merit.size
    finite = np.isfinite(merit)
    lowest = merit[finite].min() if finite.any() else 0.0
    with np.errstate(over="ignore"):
        above = np.where(finite, merit - lowest, 0.0)
    if not np.isfinite(above).all():  # numbers so far apart that their difference overflows
        above = np.where(finite, merit / 2.0 - lowest / 2.0, 0.0)
    above /= above.max() or 1.0  # sums stay finite
    sizes = np.bincount(table.assigned, minlength=len(table))
    now = np.full(len(table), -np.inf)
    np.maximum.at(now, table.assigned, merit)
    best = int(merit.argmax())
    living = generation - table.improved <= settings.stagnation  # what improved last is one generation old
    living[np.argsort(-now, kind="stable")[:settings.kept_species]] = True
    living[table.assigned[best]] = True
    shares = np.bincount(table.assigned, above, minlength=len(table)) / sizes
    shares = np.where(living, shares, 0.0)
    children = quotas(shares if shares.any() else living.astype(float), size)
    champion = int(table.assigned[best])
    if children[champion] == 0:
        children[children.argmax()] -= 1
        children[champion] = 1

    order = np.lexsort((-merit, table.assigned))
    starts = np.cumsum(sizes) - sizes
    pool, pool_start = [], [0]
    family, elite = np.zeros(size, np.int64), np.full(size, -1, np.int64)
    place = 0
    for species in np.flatnonzero(children).tolist():
        members = order[starts[species]:starts[species] + sizes[species]]
        parents = max(math.ceil(settings.survival * members.size), min(2, members.size))
        pool.append(members[:parents])
        pool_start.append(pool_start[-1] + parents)
        elites = settings.elites if members.size >= settings.elite_size else 0
        elites = max(elites, species == champion)
        elites = min(elites, members.size, int(children[species]))
        elite[place:place + elites] = members[:elites]
        family[place:place + children[species]] = len(pool) - 1
        place += int(children[species])
    return Plan(np.concatenate(pool), np.array(pool_start), merit, family, elite, settings.tournament)


def by_fronts(values: np.ndarray) -> Plan:
    """Non-dominated sorting within niches: the better half lives on and has the other half as children.

    values (n, m): larger is better in every column, fitness is the first. A niche is those who agree in all columns but
    fitness, such as all networks of 7 connections. Plain NSGA-II loses every network that has just grown, as well-tuned
    smaller ones dominate it; here the best of each niche are sorted into fronts (Deb et al. 2002), and a network ranks
    by the front of its niche plus its place in the niche, then by the crowding distance of the niche. So a front that
    is further behind keeps fewer networks, but the best of each size has time to be tuned. Parents are drawn two at a
    time and the better one is taken.
    """
    size = values.shape[0]
    _, niche = np.unique(values[:, 1:], axis=0, return_inverse=True)
    niche = niche.reshape(-1)
    inside = np.lexsort((-values[:, 0], niche))
    starts = np.searchsorted(niche[inside], np.arange(niche.max() + 1))
    place = np.empty(size, np.int64)
    place[inside] = np.arange(size) - starts[niche[inside]]
    best = values[inside[starts]]
    front = kernels.census.fronts(best)
    order = np.lexsort((-crowding(best, front)[niche], place + front[niche]))
    survivors = order[:max(size // 2, 1)]
    merit = np.empty(size)
    merit[order] = -np.arange(size, dtype=float)
    elite = np.full(size, -1, np.int64)
    elite[:survivors.size] = survivors
    return Plan(survivors, np.array([0, survivors.size]), merit, np.zeros(size, np.int64), elite, 2)


def crowding(values: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Crowding distance of each row within its front (Deb et al. 2002, section III-B); inf at the ends of a front.

    Of rows that are equal in every column only the first has a distance.

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.evolution.reproduction import crowding
    >>> crowding(np.array([[0.0, 4.0], [1.0, 1.0], [4.0, 0.0]]), np.array([0, 0, 0])).tolist()
    [inf, 2.0, inf]
    """
    result = np.zeros(front.size)
    for level in range(int(front.max()) + 1):
        members = np.flatnonzero(front == level)
        _, first = np.unique(values[members], axis=0, return_index=True)
        members = members[np.sort(first)]
        for column in values[members].T:
            place = np.argsort(column, kind="stable")
            ranked = column[place]
            result[members[place[[0, -1]]]] = np.inf
            with np.errstate(over="ignore", invalid="ignore"):  # of -inf, and of numbers that are too far apart
                span = ranked[-1] - ranked[0]
            if np.isfinite(span) and span > 0.0:
                result[members[place[1:-1]]] += (ranked[2:] - ranked[:-2]) / span
    return result
