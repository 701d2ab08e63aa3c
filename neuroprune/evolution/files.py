"""Populations in `.npz` files: everything that evolving on needs, bit for bit, and no code.

Format version 1. Scalars and names are the header; the columns are

    genomes.*  representatives.*  best.*    packed genomes: of the present generation, of the species, the best one
    fitness (size,)                         when the generation was told
    assigned (size,)  species_*  (S,)       row of each genome's species; id, created, improved, best of each species
    innovations (k, 3)                      source id, target id, id of the node that splits them
    history (k, columns)  species_sizes (k, 4)
"""

import dataclasses
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroprune import activations, kernels
from neuroprune.evolution import history as histories
from neuroprune.evolution.generation import check_method
from neuroprune.evolution.genomes import Genomes
from neuroprune.evolution.innovation import Innovations
from neuroprune.evolution.pruning import AdaptivePruning, GenerationPruning
from neuroprune.evolution.settings import Settings
from neuroprune.evolution.species import SpeciesTable
from neuroprune.network import archive
from neuroprune.pruning import saliency

if TYPE_CHECKING:
    from neuroprune.evolution.population import Population

FORMAT, VERSION = "neuroprune population", 1
PACKS = ("genomes", "representatives", "best")
PACKED = {"n_nodes": "<i8", "n_edges": "<i8", "baseline": "<i8", "ids": "<i8", "incoming": "<i8", "activation": "|u1",
          "source": "<i4", "delayed": "|b1", "parameters": "<f8"}
TABLES = ("innovations", "history", "species_sizes")
COLUMNS = {f"{pack}.{name}": dtype for pack in PACKS for name, dtype in PACKED.items()} | {
    "fitness": "<f8", "assigned": "<i8", "species_ids": "<i8", "species_created": "<i8", "species_improved": "<i8",
    "species_best": "<f8", "innovations": "<i8", "history": "<f8", "species_sizes": "<f8"}
HEADER = ("format", "version", "n_inputs", "n_outputs", "recurrent", "default_activation", "activations", "size",
          "seed", "settings", "pruning", "objectives", "generation", "evaluations", "next_node", "next_species",
          "threshold", "level", "mean_connections", "best_fitness", "best_place", "best_is_old", "removed", "regrown")
MAX_WHOLE = 2**53  # whole numbers that a float column holds exactly
PRUNINGS = {"generation": GenerationPruning, "adaptive": AdaptivePruning}


def save(population: "Population", path: Any) -> None:
    """Write a population to a `.npz` file, atomically; nothing is drawn, so saving changes nothing.

    Raises
    ------
    ValueError
        For another suffix, or a pruning method that is a function.

    Examples
    --------
    >>> import os, tempfile
    >>> import neuroprune as npr
    >>> population = npr.Population(2, 1, size=20, seed=0)
    >>> _ = population.evolve(npr.XOR(), 3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     population.save(os.path.join(folder, "run.npz"))
    ...     twin = npr.Population.load(os.path.join(folder, "run.npz"))
    >>> population.evolve(npr.XOR(), 3).equals(twin.evolve(npr.XOR(), 3))
    True
    """
    path = _checked(path)
    genomes, table = population._genomes, population._table
    packs = {"genomes": genomes, "representatives": table.representatives, "best": population._best}
    packs = {name: pack.take(np.arange(len(pack))) for name, pack in packs.items() if pack is not None}
    codes = np.unique(np.concatenate([pack.columns.code for pack in packs.values()]))
    names = [activations.name(int(code)) for code in codes]
    columns: dict[str, np.ndarray] = {}
    for name, pack in packs.items():
        parts = pack.columns._asdict()
        parts["activation"] = np.searchsorted(codes, parts["code"]).astype(np.uint8)
        columns |= {f"{name}.{part}": parts[part] for part in PACKED if part != "delayed" or pack.recurrent}
    if population._fitness is not None:
        columns["fitness"] = population._fitness
    columns |= {"assigned": table.assigned, "species_ids": table.ids, "species_created": table.created,
                "species_improved": table.improved, "species_best": table.best,
                "innovations": population.innovations.to_array(),
                "history": population.history._generations.table, "species_sizes": population.history._species.table}
    fitness = population._best_fitness
    archive.write(path, {
        "format": FORMAT, "version": VERSION, "n_inputs": genomes.n_inputs, "n_outputs": genomes.n_outputs,
        "recurrent": genomes.recurrent, "default_activation": activations.name(genomes.default_code),
        "activations": names, "size": population.size, "seed": population.seed,
        "settings": dataclasses.asdict(population.settings), "pruning": pruning_to_json(population.pruning),
        "objectives": None if population.objectives is None else list(population.objectives),
        "generation": population.generation, "evaluations": population.evaluations,
        "next_node": population.innovations.next_id, "next_species": table.next_id, "threshold": float(table.threshold),
        "level": float(population._level), "mean_connections": population._mean_connections,
        "best_fitness": None if fitness == -inf else float(fitness), "best_place": list(population._best_place),
        "best_is_old": bool(population._best_is_old), "removed": population._removed, "regrown": population._regrown,
    }, columns)


def load(cls: type["Population"], path: Any) -> "Population":
    """Read a population back.

    Raises
    ------
    ValueError
        When the file is truncated, damaged, too large, of another version, or describes no legal population.
    """
    path = _checked(path)
    return archive.load(path, "a population written by population.save",
                        lambda content: _assemble(cls, *archive.read(content, COLUMNS, TABLES)))


def pruning_to_json(pruning: GenerationPruning | AdaptivePruning | None) -> dict | None:
    """The pruning of a population as JSON types; refuses a scorer function without a name."""
    if pruning is None:
        return None
    fields = {one.name: getattr(pruning, one.name) for one in dataclasses.fields(pruning)}
    if callable(fields.get("method")):
        named = [name for name, function in saliency.SCORERS.items() if function is fields["method"]]
        if not named:
            raise ValueError("a file cannot hold a scorer function: name one of npr.saliency.SCORERS as the pruning "
                             "method of a population that is saved")
        fields["method"] = named[0]
    fields = {name: value.item() if isinstance(value, np.generic) else value for name, value in fields.items()}
    return {"kind": next(name for name, kind in PRUNINGS.items() if kind is type(pruning)), **fields}


def _pruning_from_json(fields: Any) -> GenerationPruning | AdaptivePruning | None:
    if fields is None:
        return None
    fields = dict(fields)
    kind = fields.pop("kind", None)
    if kind not in PRUNINGS or not isinstance(fields.get("method", ""), str):
        raise ValueError(f"pruning must be of the kind generation or adaptive, with the name of a method, got {kind!r}")
    pruning = PRUNINGS[kind](**fields)
    check_method(pruning)
    return pruning


def _checked(path: Any) -> Path:
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"a population's file must end in .npz, got {path.name!r}")
    return path


def _assemble(cls: type["Population"], header: dict, columns: dict[str, np.ndarray]) -> "Population":
    """The population of a header and columns; everything is checked before it exists."""
    if header.get("format") != FORMAT:
        raise ValueError(f"format must be {FORMAT!r}, got {header.get('format')!r}")
    if header.get("version") != VERSION:
        raise ValueError(f"version must be {VERSION}, got {header.get('version')!r}: use the neuroprune that wrote it")
    if set(header) != set(HEADER):
        wrong = sorted(set(header) ^ set(HEADER))[0]
        raise ValueError(f"the header must have the entries of version {VERSION}, got it with or without {wrong!r}")
    names = header["activations"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("activations must be a list of names")
    codes = np.array([activations.code(name) for name in names], np.uint8)
    if type(header["best_is_old"]) is not bool:
        raise ValueError("best_is_old must be true or false")

    self = object.__new__(cls)
    self.size = archive.integer(header["size"], "size", 2)
    self.seed = archive.integer(header["seed"], "seed")
    self.settings = Settings.from_dict(header["settings"])
    if self.settings.recurrent is not header["recurrent"]:
        raise ValueError("recurrent must be true or false, and the same in the settings")
    self.pruning = _pruning_from_json(header["pruning"])
    self.objectives = cls._check_objectives(header["objectives"])
    self.generation = archive.integer(header["generation"], "generation")
    self.evaluations = archive.integer(header["evaluations"], "evaluations")
    if self.evaluations != self.size * self.generation:
        raise ValueError(f"evaluations must be {self.size} for each of {self.generation} generations")
    self._removed = archive.integer(header["removed"], "removed", 0, MAX_WHOLE)
    self._regrown = archive.integer(header["regrown"], "regrown", 0, MAX_WHOLE)
    self._level = _number(header["level"], "level", 0.0, 1.0)
    mean = header["mean_connections"]
    self._mean_connections = None if mean is None else _number(mean, "mean_connections", 0.0)
    packs = {pack: _genomes(header, columns, pack, codes) for pack in PACKS}
    self._genomes, self._best = packs["genomes"], packs["best"]
    if self._genomes is None or len(self._genomes) != self.size:
        raise ValueError(f"there must be {self.size} genomes")
    if (self._best is not None and len(self._best) != 1) or (self._best is None) != (self.generation == 0):
        raise ValueError("there must be one best genome as soon as a generation was evaluated")
    best = header["best_fitness"]
    self._best_fitness = -inf if best is None else _number(best, "best_fitness", -inf)
    self._best_is_old = header["best_is_old"]
    place = header["best_place"]
    if not isinstance(place, list) or len(place) != 2:
        raise ValueError("best_place must be a generation and an index")
    self._best_place = tuple(archive.integer(one, "best_place", 0, most) for one, most in
                             zip(place, (max(self.generation - 1, 0), self.size - 1), strict=True))
    fitness = columns.get("fitness")
    if fitness is not None and (fitness.shape != (self.size,) or (fitness == inf).any() or not self.generation):
        raise ValueError(f"fitness must be {self.size} numbers below infinity of an evaluated generation")
    self._fitness = None if fitness is None else fitness.copy()
    self._table = _species(header, columns, packs["representatives"], self)
    self.innovations = _innovations(header, columns["innovations"], packs)
    self.history = _history(columns, self.generation)
    return self


def _number(value: Any, name: str, least: float, most: float = inf) -> float:
    if type(value) not in (int, float) or not least <= value <= most or abs(value) == inf:
        raise ValueError(f"{name} must be a finite number in [{least}, {most}], got {value!r}")
    return float(value)


def _genomes(header: dict, columns: dict[str, np.ndarray], pack: str, codes: np.ndarray) -> Genomes | None:
    """One pack, checked so that kernels can trust it."""
    parts = {name: columns[f"{pack}.{name}"] for name in PACKED if f"{pack}.{name}" in columns}
    if not parts:
        return None
    missing = PACKED.keys() - parts.keys() - {"delayed"}
    if missing or header["recurrent"] != ("delayed" in parts):
        raise ValueError(f"{pack} must have the columns {', '.join(PACKED)}, delayed exactly when it is recurrent")
    n_inputs, n_outputs = (archive.integer(header[name], name, 1, 2**31 - 1) for name in ("n_inputs", "n_outputs"))
    n_nodes, n_edges = parts["n_nodes"], parts["n_edges"]
    if n_nodes.size == 0 or n_nodes.min() < 1 or n_edges.shape != n_nodes.shape or n_edges.min() < 0 or max(
            n_nodes.max(), n_edges.max()) >= 2**31:
        raise ValueError(f"{pack} must be at least one genome of from 1 to 2**31 - 1 nodes")
    if parts["ids"].size != n_nodes.sum() + n_nodes.size or parts["source"].size != n_edges.sum():
        raise ValueError(f"{pack} must have as many nodes and connections as its counts say")
    result = Genomes.room_for(n_inputs, n_outputs, header["recurrent"], activations.code(header["default_activation"]),
                              n_nodes, n_edges)
    room = result.columns
    held = {"n_nodes": n_nodes, "n_edges": n_edges, "baseline": parts["baseline"], "ids": parts["ids"],
            "incoming": parts["incoming"], "code": parts["activation"], "source": parts["source"],
            "parameters": parts["parameters"]}
    if header["recurrent"]:
        held["delayed"] = parts["delayed"]
    for name, column in held.items():
        if column.shape != getattr(room, name).shape:
            raise ValueError(f"{pack}.{name} must have shape {getattr(room, name).shape}, got {column.shape}")
    if held["code"].max(initial=0) >= codes.size:
        raise ValueError(f"{pack}.activation must index {codes.size} names")
    if not np.isfinite(held["parameters"]).all():
        raise ValueError(f"{pack}.parameters must be finite")
    held["code"] = codes[held["code"]]
    if held["source"].min(initial=0) < 0:
        raise ValueError(f"{pack}.source must be positions")
    result.columns = room._replace(**{name: np.array(column) for name, column in held.items()})
    fault = kernels.census.first_fault(result.columns, n_inputs, n_outputs)
    if fault >= 0:
        raise ValueError(f"{pack} must be legal networks, got genome {fault} that is not")
    return result


def _species(header: dict, columns: dict[str, np.ndarray], representatives: Genomes | None,
             population: "Population") -> SpeciesTable:
    table = SpeciesTable(_number(header["threshold"], "threshold", 5e-324))  # at 0 steering would never end
    table.next_id = archive.integer(header["next_species"], "next_species")
    table.ids, table.created, table.improved, table.best, table.assigned = (
        np.array(columns[name]) for name in ("species_ids", "species_created", "species_improved", "species_best",
                                             "assigned"))
    count = table.ids.size
    if {column.shape for column in (table.ids, table.created, table.improved, table.best)} != {(count,)}:
        raise ValueError("the columns of species must have one length")
    size = 0 if population.objectives else population.size
    if table.assigned.shape != (size,) or (size > 0) != (count > 0) or np.isnan(table.best).any():
        raise ValueError(f"assigned must hold a species for each of {size} genomes")
    if size and (table.assigned.min() < 0 or set(np.unique(table.assigned).tolist()) != set(range(count))):
        raise ValueError(f"assigned must be rows of {count} species, each with a member")
    if (0 if representatives is None else len(representatives)) != count:
        raise ValueError(f"there must be {count} representatives")
    ascending = [np.array([-1]), table.ids, np.array([table.next_id])]
    if (np.diff(np.concatenate(ascending)) <= 0).any():
        raise ValueError("the ids of species must ascend from 0 on and stay below next_species")
    if ((table.created < 0) | (table.improved < table.created) | (table.improved > population.generation)
            | (table.best == inf)).any():
        raise ValueError("species must be created before they improve, in generations of the run, and be finite")
    table.representatives = representatives
    return table


def _innovations(header: dict, rows: np.ndarray, packs: dict[str, Genomes | None]) -> Innovations:
    next_id = archive.integer(header["next_node"], "next_node", 0, archive.MAX_INTEGER + 1)
    if rows.shape[1] != 3 or rows.min(initial=0) < 0 or np.unique(rows[:, 2]).size != len(rows):
        raise ValueError("innovations must be rows of three ids, the last of which is there once")
    columns = [rows, *(pack.columns.ids for pack in packs.values() if pack)]
    if max(int(column.max(initial=0)) for column in columns) >= next_id:
        raise ValueError(f"next_node must be above all ids, got {next_id}")
    return Innovations.from_array(rows, next_id)


def _history(columns: dict[str, np.ndarray], generation: int) -> histories.EvolutionHistory:
    history = histories.EvolutionHistory()
    for name, known, target, integers in (
            ("history", histories.COLUMNS, history._generations, histories.INTEGERS),
            ("species_sizes", histories.SPECIES_COLUMNS, history._species, ("generation", "species", "size"))):
        table = columns[name]
        if table.shape[1] != len(known):
            raise ValueError(f"{name} must have {len(known)} columns, got {table.shape[1]}")
        whole = [known.index(one) for one in integers]
        counts = table[:, whole]
        if not (np.abs(counts) < MAX_WHOLE).all() or not np.array_equal(counts, np.rint(counts)):
            raise ValueError(f"{name} must have whole numbers in {', '.join(integers)}")
        target.add(table)
    if history.generation.tolist() != list(range(generation)):
        raise ValueError(f"history must have a row for each of {generation} generations, got {len(history)} rows")
    return history
