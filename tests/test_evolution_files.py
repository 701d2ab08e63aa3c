"""Populations in files: everything comes back bit for bit."""

import copy
import pickle

import numpy as np
import pytest

from bridge import assert_one_sentence
from neuroprune import Population, activations
from stored_populations import KINDS, OWN, assert_equal, content, fitness_of, parts, refused, run


@pytest.mark.parametrize("kind", KINDS)
def test_everything_comes_back(kind, tmp_path):
    population, path = KINDS[kind](), tmp_path / "a.npz"
    population.save(path)
    before = path.read_bytes()
    again = Population.load(path)
    assert_equal(population, again)
    again.save(path)
    assert path.read_bytes() == before
    for _ in range(3):
        for one in (population, again):
            one.ask()
            one.tell(fitness_of(one))
    assert_equal(population, again)
    assert population.best.equals(again.best) and list(tmp_path.iterdir()) == [path]
    assert pickle.loads(pickle.dumps(again.best)).rng.random() == population.best.rng.random()
    assert (population.pruning, population.objectives) == (again.pruning, again.objectives)


def test_kinds_are_what_they_are_for():
    assert parts("failed")[0]["best_fitness"] is None and np.isnan(parts("failed")[1]["fitness"]).sum() == 4
    assert "fitness" not in parts("asked")[1] and "best.ids" not in parts("fresh")[1]
    assert parts("huge")[1]["genomes.ids"].max() >= 2**62 + 5 and parts("huge")[0]["seed"] == 2**63 - 1
    assert parts("adaptive")[1]["genomes.delayed"].any() and parts("adaptive")[0]["level"] > 0
    assert OWN in parts("registered")[0]["activations"] and parts("front")[1]["assigned"].size == 0
    assert all(len(parts(kind)[1]["innovations"]) for kind in ("asked", "front", "adaptive"))


def test_live_views_detach_from_nothing(tmp_path):
    population = run(Population(2, 1, size=6, seed=0), 2, asked=True)
    population.ask()[2].connections.weight[:] = 0.125
    population.save(tmp_path / "a.npz")
    assert set(Population.load(tmp_path / "a.npz").ask()[2].connections.weight.tolist()) == {0.125}


@pytest.mark.parametrize("name", ["a.json", "a", "a.npz.gz", "npz"])
def test_other_suffixes_are_refused(name, tmp_path):
    for call in (KINDS["fresh"]().save, Population.load):
        with pytest.raises(ValueError, match="must end in .npz") as caught:
            call(tmp_path / name)
        assert_one_sentence(caught)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        Population.load(tmp_path / "a.npz")


def test_a_registered_function_is_asked_for_by_name(tmp_path, monkeypatch):
    (tmp_path / "a.npz").write_bytes(content("registered"))
    code = activations.code(OWN)
    monkeypatch.delitem(activations._rows, OWN)
    assert "register_activation" in refused(tmp_path / "a.npz", OWN)
    monkeypatch.undo()
    assert Population.load(tmp_path / "a.npz")._genomes.default_code == code


def test_copies_are_independent(tmp_path):
    population = KINDS["asked"]()
    twin = copy.deepcopy(population)
    run(population, 2)
    assert twin.generation == population.generation - 2
    assert_equal(run(twin, 2), population)


def test_a_refused_file_leaves_a_running_population_alone(tmp_path):
    population, twin = KINDS["asked"](), KINDS["asked"]()
    (tmp_path / "a.npz").write_bytes(content("asked")[:-9])
    refused(tmp_path / "a.npz")
    assert_equal(population, twin)
