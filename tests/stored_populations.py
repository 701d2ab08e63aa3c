"""What the tests of files of populations share: populations that fill a file, comparison, what a refusal is."""

import functools
import io
import json
import math
import os
import tempfile
import tracemalloc

import numpy as np
import pytest

from bridge import assert_one_sentence
from bridge_evolution import assert_sound
from neuroprune import AdaptivePruning, GenerationPruning, Network, Population, Settings, activations
from neuroprune.evolution.genomes import Genomes
from neuroprune.evolution.history import EvolutionHistory
from neuroprune.evolution.innovation import Innovations
from neuroprune.evolution.species import SpeciesTable

BUSY = {"add_node": 0.4, "add_connection": 0.6, "remove_connection": 0.1, "species": 3}
OWN = "bent of test_evolution_files"  # the name of an activation function


def fitness_of(population, seed=0):
    return np.random.default_rng([seed, population.generation]).normal(size=population.size)


def run(population, generations, asked=False):
    """Evolve with a fitness that is drawn."""
    for _ in range(generations):
        population.ask()
        population.tell(fitness_of(population))
    if asked:
        population.ask()
    return population


def failed():
    population = Population(2, 1, size=8, seed=1)
    population.tell([math.nan] * 4 + [-math.inf] * 4)
    return population


def front():
    pruning = GenerationPruning(0.4, 1, 2, 6, "magnitude_l2", 0.5)
    return run(Population(3, 2, size=9, seed=2, settings=Settings(**BUSY), pruning=pruning,
                          objectives=("connections", "fitness", "nodes")), 4)


def adaptive():
    settings = Settings(recurrent=True, activations=("relu", "sin"), activation_rate=0.3, **BUSY)
    return run(Population(2, 2, size=9, seed=3, settings=settings, pruning=AdaptivePruning(0.3, adjust_rate=0.2)), 5)


def huge():
    ids = [2**62 + 1, 2**62 + 5, 2**61]
    net = Network.from_connections(2, 1, [(0, ids[0], 1.0), (ids[0], ids[1], -0.0), (ids[1], 2, 1e-300),
                                          (1, ids[2], 2.0), (ids[2], 2, 1e300)], activation="relu", seed=0)  # fmt: skip
    return run(Population.from_network(net, size=8, seed=2**63 - 1, settings=Settings(**BUSY)), 3, asked=True)


def registered():
    activations.register_activation(OWN, lambda x: x / (1.0 + abs(x)), lambda x: 1.0 / (1.0 + abs(x)) ** 2)
    return run(Population(2, 1, size=8, seed=4, settings=Settings(activation=OWN, **BUSY)), 3)


KINDS = {
    "fresh": lambda: Population(2, 1, size=8, seed=0), "told": lambda: run(Population(2, 1, size=12, seed=0), 4),
    "asked": lambda: run(Population(2, 2, size=12, seed=5, settings=Settings(**BUSY)), 6, asked=True),
    "failed": failed, "front": front, "adaptive": adaptive, "huge": huge, "registered": registered,
}  # fmt: skip


@functools.cache
def content(kind):
    """The bytes of a file of this kind."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.npz")
        KINDS[kind]().save(path)
        with open(path, "rb") as file:
            return file.read()


def parts(kind):
    """Header and columns of a file."""
    with np.load(io.BytesIO(content(kind))) as archive:
        columns = {name: archive[name].copy() for name in archive.files}
    return json.loads(columns.pop("header").tobytes()), columns


def put(path, header, columns):
    """Write a file from possibly nonsensical parts."""
    text = np.frombuffer(header if isinstance(header, bytes) else json.dumps(header).encode(), np.uint8)
    np.savez(path, header=text, **columns)
    return path


def plain(value):
    """Anything that a population holds, as something that can be compared; numbers by their bits."""
    if isinstance(value, Genomes):
        compact = value.take(range(len(value)))
        return [plain(part) for part in (*compact.columns, compact.n_inputs, compact.n_outputs, compact.recurrent,
                                         compact.default_code)]
    if isinstance(value, SpeciesTable):
        return {name: plain(part) for name, part in vars(value).items()}
    if isinstance(value, EvolutionHistory):
        return value._generations.table.tobytes(), value._species.table.tobytes()
    if isinstance(value, Innovations):
        return value.next_id, value.to_array().tolist()
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    return type(value), value


def assert_equal(first, second):
    assert vars(first).keys() == vars(second).keys()
    for name, value in vars(first).items():
        if name == "_best_fitness":
            assert value == getattr(second, name)
        else:
            assert plain(value) == plain(getattr(second, name)), name


def refused(path, words="", most=None):
    """The one sentence with which a file is refused; nothing beside it changes."""
    before = {one: one.read_bytes() for one in path.parent.iterdir()}
    if most:
        tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="must be a population written by population.save") as caught:
            Population.load(path)
        used = tracemalloc.get_traced_memory()[1] if most else 0
    finally:
        tracemalloc.stop()
    assert_one_sentence(caught)
    assert str(path) in str(caught.value) and words in str(caught.value), str(caught.value)
    assert before == {one: one.read_bytes() for one in path.parent.iterdir()}
    assert not most or used < most + 4 * path.stat().st_size
    return str(caught.value)


def check_usable(population, folder):
    """A population that came out of a changed file keeps every promise."""
    population.save(folder / "twin.npz")
    assert_equal(population, Population.load(folder / "twin.npz"))
    (folder / "twin.npz").unlink()
    _ = population.species, [getattr(population.history, name) for name in ("generation", "best", "evaluations")]
    if population.generation:
        population.best.rng.random()
    for _ in range(2):
        try:
            genomes = population.ask()
            population.tell(fitness_of(population))
        except ValueError as error:  # of weights that grow beyond all numbers, and ids
            assert "must be finite" in str(error) or "64 bits" in str(error)
            return
        assert len(genomes) == population.size
        for net in genomes[:3]:
            assert_sound(net)
