"""Species from generation to generation: membership, names, steering, representatives, stagnation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridge
import oracle_evolution as e
import strategies as s
from bridge_evolution import families, packed, relative
from neuroprune import Network, Population, Settings
from neuroprune.evolution import genomes as packing
from neuroprune.evolution import species
from neuroprune.evolution.genomes import Genomes
from neuroprune.evolution.species import LEAST, MOST, STEER, TOO_MANY, SpeciesTable

STILL = {"add_node": 0.0, "add_connection": 0.0, "mutate_weights": 0.0, "crossover": 0.0}  # children are copies


def scattered(count, scale=3.0, seed=0):
    """Genomes of one wiring and normal weights."""
    nets = [Network.dense([3, 2], seed=0) for _ in range(count)]
    rng = np.random.default_rng(seed)
    for net in nets:
        net.connections.weight = scale * rng.normal(size=6)
    return Genomes.pack(nets)


def clusters(count, **settings):
    """A population of so many species that stay as they are: equal networks within each, far from the others."""
    settings = Settings(species=None, threshold=0.5, **settings, **STILL)
    population = Population(3, 2, size=60, seed=0, settings=settings)
    for i, net in enumerate(population.ask()):
        net.connections.weight = 10.0 * (i % count)
    population._table = SpeciesTable(settings.threshold)
    population._table.assign(population.ask(), 0, settings)
    assert len(population.species) == count
    return population


def content(table):
    return [column.tolist() for column in (table.ids, table.created, table.improved, table.best, table.assigned)]


class Twin:
    """Species as a list of dictionaries, by the naive functions."""

    def __init__(self, threshold):
        self.threshold, self.species, self.next_id, self.close = threshold, [], 0, False

    def assign(self, plains, generation, settings):
        known = [one["genes"] for one in self.species]
        everyone = known + [e.genes(plain) for plain in plains]

        def apart(a, b):
            found = e.distance(everyone[a], everyone[b], settings.disjoint, settings.difference)
            self.close |= abs(found - self.threshold) < 1e-9
            return found

        numbers = e.assign(range(len(known), len(everyone)), range(len(known)), apart, self.threshold)
        for number in range(len(known), max(numbers) + 1):
            self.species.append({"id": self.next_id, "created": generation, "improved": generation, "best": -np.inf,
                                 "genes": everyone[len(known) + numbers.index(number)]})
            self.next_id += 1
        living = sorted(set(numbers))
        self.species = [self.species[number] for number in living]
        self.assigned = [living.index(number) for number in numbers]

    def measured(self, merit, generation):
        for row, one in enumerate(self.species):
            best = max(value for value, mine in zip(merit, self.assigned, strict=True) if mine == row)
            if best > one["best"]:
                one["best"], one["improved"] = best, generation

    def content(self):
        return [*([one[name] for one in self.species] for name in ("id", "created", "improved", "best")), self.assigned]


@given(families(2, 6), st.floats(0.05, 2.0), s.SEEDS)
def test_generations_are_those_of_the_naive_twin(plains, threshold, seed):
    settings, table, twin = Settings(species=None, threshold=threshold), SpeciesTable(threshold), Twin(threshold)
    rng = np.random.default_rng(seed)
    for generation in range(3):
        genomes = packed(plains)
        table.assign(genomes, generation, settings)
        twin.assign(plains, generation, settings)
        if twin.close:
            return  # rounding decides
        merit = rng.choice([-np.inf, -1.0, 0.0, 1.0, 2.0], len(plains))
        table.measured(merit, generation)
        twin.measured(merit, generation)
        assert content(table) == twin.content()
        assert table.next_id == twin.next_id and table.threshold == threshold
        table.new_representatives(genomes, rng)
        for row, one in enumerate(twin.species):
            members = [i for i, mine in enumerate(twin.assigned) if mine == row]
            representative = table.representatives[row]
            assert any(representative.equals(genomes[i]) for i in members)
            one["genes"] = e.genes(bridge.plain(representative))
        plains = [relative(plain, int(rng.integers(2**32))) if rng.random() < 0.5 else plain for plain in plains]


@given(st.integers(1, 40), st.integers(1, 6), st.floats(1e-3, 10.0), st.floats(0.1, 10.0), s.SEEDS)
def test_steering_follows_its_rule(count, wanted, threshold, scale, seed):
    genomes, table = scattered(count, scale, seed), SpeciesTable(threshold)
    settings = Settings(species=wanted, threshold=threshold)
    for generation in range(3):
        before, known = table.threshold, None if table.representatives is None else table.representatives
        table.assign(genomes, generation, settings)
        size = len(table)
        factor = STEER if size > wanted else 1 / STEER if size < wanted else 1.0
        doublings = np.log2(table.threshold / factor / before)
        assert size <= TOO_MANY * wanted and doublings == pytest.approx(round(doublings), abs=1e-6)
        assert round(doublings) >= 0
        if round(doublings) > 0 and known is None:  # half of it would have made far too many
            fixed = SpeciesTable(before * 2 ** (round(doublings) - 1))
            fixed.assign(genomes, 0, Settings(species=None, threshold=1.0))
            assert len(fixed) > TOO_MANY * wanted
        assert sorted(set(table.assigned.tolist())) == list(range(size))


@pytest.mark.parametrize("wanted", [3, 6, 12])
def test_the_number_gets_near_the_wanted_one(wanted):
    population = Population(3, 2, size=120, seed=wanted, settings=Settings(species=wanted))
    rng = np.random.default_rng(0)
    for _ in range(60):
        population.ask()
        population.tell(rng.normal(size=120))
    late = population.history.species[30:]
    assert wanted / 2 < late.mean() < 1.6 * wanted and late.max() <= TOO_MANY * wanted


def test_a_wanted_number_of_one_and_a_fixed_threshold():
    genomes = scattered(20)
    one, fixed = SpeciesTable(0.5), SpeciesTable(0.5)
    for generation in range(30):
        one.assign(genomes, generation, Settings(species=1, threshold=0.5))
        fixed.assign(genomes, generation, Settings(species=None, threshold=0.5))
    assert len(one) == 1 and fixed.threshold == 0.5 and len(fixed) > 10


def test_the_threshold_stays_within_bounds(tmp_path):
    table, genomes = SpeciesTable(1.0), scattered(5, scale=0.0)
    for generation in range(300):
        table.assign(genomes, generation, Settings())
    assert table.threshold == LEAST and len(table) == 1


@pytest.mark.parametrize(("difference", "threshold"), [(0.4, 1e280), (0.4, 1e308), (0.0, 1e299)])
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")  # of the weights, without compilation
def test_distances_that_are_not_finite(tmp_path, difference, threshold):
    """Differences of such weights overflow; zero times infinity is no number at all."""
    settings = Settings(species=4, difference=difference, **STILL)
    population = Population(3, 2, size=40, seed=0, settings=settings)
    rng = np.random.default_rng(0)
    for net in population.ask():
        net.connections.weight = 1.7e308 * rng.choice([-1.0, 1.0], 6)
    table = population._table
    table.threshold = threshold
    for _ in range(50):
        table.assign(population.ask(), 0, settings)
        assert table.assigned.min() == 0 and table.assigned.max() == len(table) - 1 < TOO_MANY * 4 + 1
        assert np.isfinite(table.threshold) and table.threshold <= max(2 * MOST, threshold)
    assert table.threshold >= MOST / 4
    population.tell(rng.normal(size=40))
    population.ask()
    population.save(tmp_path / "a.npz")
    assert len(Population.load(tmp_path / "a.npz").species) == len(population.species)
    fixed = SpeciesTable(3.0)
    fixed.assign(population.ask(), 0, Settings(species=None))
    assert len(fixed) > TOO_MANY * 4


def test_threads_change_nothing(monkeypatch):
    monkeypatch.setattr(packing, "THREADED_EDGES", 0)
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(packing, "threads", lambda threads=threads: threads)
        table = SpeciesTable(1.0)
        for generation in range(4):
            table.assign(scattered(50, seed=generation), generation, Settings(species=5))
        found.append((content(table), table.threshold, table.next_id))
    assert found[0] == found[1] == found[2]


@given(families(1, 4), st.data())
def test_join_is_packing_together(plains, data):
    cut = data.draw(st.integers(0, len(plains)))
    genomes = packed(plains)
    joined = species.join(genomes.take(range(cut)), genomes.take(range(cut, len(plains))))
    assert all(np.array_equal(a, b) for a, b in zip(joined.columns, genomes.columns, strict=True))


def test_dropped_species_lose_their_rows():
    table = SpeciesTable(0.5)
    genomes = scattered(6, scale=50.0)
    table.assign(genomes, 7, Settings(species=None, threshold=0.5))
    assert table.assigned.tolist() == [0, 1, 2, 3, 4, 5] == table.ids.tolist()
    table.keep(np.array([True, False, True, False, False, True]))
    assert table.assigned.tolist() == [0, -1, 1, -1, -1, 2] and table.ids.tolist() == [0, 2, 5]
    assert [net.equals(genomes[i]) for net, i in zip(table.representatives, (0, 2, 5), strict=True)] == [True] * 3
    assert table.created.tolist() == [7] * 3 and table.best.tolist() == [-np.inf] * 3


def test_the_best_of_a_species_never_falls():
    table = SpeciesTable(0.5)
    table.assign(scattered(3), 0, Settings(species=None, threshold=0.5))
    table.assigned = np.array([0, 1, 1, 2, 2])
    assert table.measured(np.array([1.0, -np.inf, 2.0, -np.inf, -np.inf]), 4).tolist() == [1.0, 2.0, -np.inf]
    assert table.measured(np.array([0.0, 3.0, 2.0, -5.0, -np.inf]), 5).tolist() == [0.0, 3.0, -5.0]
    assert table.best.tolist() == [1.0, 3.0, -5.0] and table.improved.tolist() == [4, 5, 5]
    table.measured(np.array([1.0, 3.0, 3.0, -5.0, -6.0]), 6)  # as good as before is no improvement
    assert table.improved.tolist() == [4, 5, 5]


# ---------------------------------------------------------------- as a population shows them


def test_species_as_a_population_shows_them():
    population = Population(3, 2, size=60, seed=2, settings=Settings(species=6, add_node=0.3, add_connection=0.5))
    rng = np.random.default_rng(0)
    known, names = {}, set()
    for generation in range(25):
        genomes = population.ask()
        population.tell(rng.normal(size=60))
        shown = population.species
        assert sorted(np.concatenate([one.members for one in shown]).tolist()) == list(range(60))
        for one in shown:
            assert len(one) == one.members.size > 0 and one.members.dtype == np.int64
            assert one.created <= one.improved <= generation and isinstance(one.representative, Network)
            now = population.fitness[one.members].max()
            assert one.best == max(now, known[one.id].best if one.id in known else -np.inf)
            assert one.improved == (generation if one.id not in known or now > known[one.id].best
                                    else known[one.id].improved)
            assert one.id in known or (one.id not in names and one.created == generation)
            one.representative.connections.weight[:] = 0.0  # a copy
        names |= {one.id for one in shown}
        known = {one.id: one for one in shown}
        assert [one.id for one in shown] == sorted(known)
        assert not all((net.connections.weight == 0.0).all() for net in genomes)
    sizes = population.history.species_sizes
    assert np.bincount(sizes["generation"], sizes["size"]).tolist() == [60] * 25
    assert names == set(range(population._table.next_id)) == set(sizes["species"].tolist())


@pytest.mark.parametrize("stagnation", [1, 3, 10])
@pytest.mark.parametrize("kept", [1, 3])
def test_species_die_after_so_many_generations_without_improvement(stagnation, kept):
    population = clusters(12, stagnation=stagnation, kept_species=kept)
    for generation in range(stagnation + 3):
        population.ask()
        population.tell(np.zeros(60))
        assert len(population.species) == (12 if generation <= stagnation else kept)


def test_a_species_that_improves_lives():
    population = clusters(12, stagnation=2, kept_species=1)
    for generation in range(8):
        population.ask()
        merit = np.full(60, 10.0)  # the others are fitter, but for one genome, so that all have a share
        merit[population.species[0].members[-1]] = 0.0
        for one in population.species:
            if one.id == 3:
                merit[one.members] = 9.0 + generation / 100
        population.tell(merit)
    assert [one.id for one in population.species] == [0, 3]


def test_the_species_of_the_best_genome_lives_even_when_it_stagnates():
    population = clusters(12, stagnation=1, kept_species=1)
    for _ in range(5):
        population.ask()
        merit = np.zeros(60)
        merit[next(one.members[0] for one in population.species if one.id == 4)] = 1.0
        population.tell(merit)
    assert [one.id for one in population.species] == [4]
