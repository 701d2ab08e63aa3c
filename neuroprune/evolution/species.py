"""Species: who is close to whom, and how that is kept from generation to generation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neuroprune import kernels
from neuroprune.evolution.genomes import Genomes, in_chunks

if TYPE_CHECKING:
    from neuroprune.evolution.settings import Settings
    from neuroprune.network.network import Network

STEER = 1.1  # factor by which the threshold moves in a generation toward the wanted number of species
TOO_MANY = 3  # times the wanted number: then the threshold rises at once
LEAST, MOST = 1e-6, 1e300  # bounds of a steered threshold


@dataclass(frozen=True)
class Species:
    """Networks that are close to one representative.

    Attributes
    ----------
    id : int
        Counted over the whole run.
    members : int64 array
        Indices into the population.
    representative : Network
        A random member of the generation before.
    best : float
        The best fitness it ever had; -inf before it was evaluated.
    created, improved : int
        The generations in which it appeared and in which `best` last rose.
    """

    id: int
    members: np.ndarray
    representative: "Network"
    best: float
    created: int
    improved: int

    def __len__(self) -> int:
        return self.members.size


class SpeciesTable:
    """The species of a population, as columns; row numbers are what `assigned` holds for each genome."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.next_id = 0
        self.ids = self.created = self.improved = np.zeros(0, np.int64)
        self.best = np.zeros(0)
        self.representatives: Genomes | None = None
        self.assigned = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return self.ids.size

    def assign(self, genomes: Genomes, generation: int, settings: "Settings") -> None:
        """Put every genome into the first species whose representative is closer than the threshold.

        Who fits none founds a species. Species without members go. When a number of species is wanted, the threshold
        moves a step toward it for the next generation, and at once while there are far too many.
        """
        while True:
            assigned, founders = self._assign(genomes, settings)
            count = len(self) + len(founders)
            if settings.species is None or count <= TOO_MANY * settings.species:
                break
            if self.threshold >= MOST:  # weights so large that distances are not finite
                assigned[assigned < 0] = count - 1
                break
            self.threshold *= 2.0
        if founders:
            fresh = genomes.take(founders)
            self.representatives = fresh if self.representatives is None else join(self.representatives, fresh)
        new = np.arange(self.next_id, self.next_id + len(founders))
        self.next_id += len(founders)
        self.ids = np.concatenate([self.ids, new])
        self.created = np.concatenate([self.created, np.full(new.size, generation)])
        self.improved = np.concatenate([self.improved, np.full(new.size, generation)])
        self.best = np.concatenate([self.best, np.full(new.size, -np.inf)])
        self.assigned = assigned
        self.keep(np.bincount(assigned, minlength=len(self)) > 0)
        if settings.species is not None:
            if len(self) > settings.species:
                self.threshold = min(self.threshold * STEER, MOST)
            elif len(self) < settings.species:
                self.threshold = max(self.threshold / STEER, LEAST)

    def _assign(self, genomes: Genomes, settings: "Settings") -> tuple[np.ndarray, list[int]]:
        """(species of each genome, who founds one)."""
        assigned = np.full(len(genomes), -1, np.int64)
        coefficients = settings.disjoint, settings.difference, self.threshold
        edges = int(genomes.n_connections.sum())
        if self.representatives is not None:
            known = self.representatives.columns
            in_chunks(lambda first, last: kernels.genomes.first_within(
                genomes.columns, first, last, known, 0, *coefficients, assigned), len(genomes), edges)
        founders: list[int] = []
        limit = np.inf if settings.species is None else TOO_MANY * settings.species
        while (left := np.flatnonzero(assigned < 0)).size and len(self) + len(founders) <= limit:
            founder = genomes.take(left[:1])
            found = np.full(len(genomes), -1, np.int64)
            found[assigned >= 0] = 0
            in_chunks(lambda first, last, founder=founder, found=found: kernels.genomes.first_within(
                genomes.columns, first, last, founder.columns, 0, *coefficients, found), len(genomes), edges)
            found[left[0]] = 0  # even when its distance to itself is not finite
            assigned[(assigned < 0) & (found >= 0)] = len(self) + len(founders)
            founders.append(int(left[0]))
        return assigned, founders

    def keep(self, stay: np.ndarray) -> None:
        """Drop the other species; members of dropped ones get -1."""
        if stay.all():
            return
        rows = np.flatnonzero(stay)
        self.assigned = np.where(stay, np.cumsum(stay) - 1, -1)[self.assigned]
        self.ids, self.created, self.improved = self.ids[rows], self.created[rows], self.improved[rows]
        self.best = self.best[rows]
        self.representatives = self.representatives.take(rows)

    def measured(self, merit: np.ndarray, generation: int) -> np.ndarray:
        """Note the best merit of each species; returns that of this generation."""
        now = np.full(len(self), -np.inf)
        np.maximum.at(now, self.assigned, merit)
        better = now > self.best
        self.best = np.where(better, now, self.best)
        self.improved = np.where(better, generation, self.improved)
        return now

    def new_representatives(self, genomes: Genomes, rng: np.random.Generator) -> None:
        """Let a random member represent each species from now on."""
        order = np.argsort(self.assigned, kind="stable")
        sizes = np.bincount(self.assigned, minlength=len(self))
        starts = np.cumsum(sizes) - sizes
        self.representatives = genomes.take(order[starts + rng.integers(sizes)])


def join(a: Genomes, b: Genomes) -> Genomes:
    """The genomes of both, in order."""
    result = Genomes.room_for(a.n_inputs, a.n_outputs, a.recurrent, a.default_code,
                              np.concatenate([a.n_nodes, b.n_nodes]),
                              np.concatenate([a.n_connections, b.n_connections]))
    columns = result.columns
    for part, first in ((a, 0), (b, len(a))):
        rows = slice(first, first + len(part))
        place = columns._replace(node_start=columns.node_start[rows], n_nodes=columns.n_nodes[rows],
                                 edge_start=columns.edge_start[rows], n_edges=columns.n_edges[rows],
                                 baseline=columns.baseline[rows])
        kernels.genomes.gather(part.columns, np.arange(len(part)), place)
    return result
