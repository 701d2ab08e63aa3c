"""What an evolution did: columns, quantiles, files, frames."""

import copy
import csv
import json
import math
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import assert_one_sentence
from neuroprune import GenerationPruning, Population, Settings
from neuroprune.evolution.history import COLUMNS, INTEGERS, QUANTILES, SPECIES_COLUMNS, EvolutionHistory, fitness_row

ANY = st.one_of(st.floats(allow_infinity=False), st.just(-math.inf), st.sampled_from([0.0, 1.0, math.nan]))
VALUES = st.floats(width=64)


def evolved(generations=6, pruning=None, **settings):
    population = Population(2, 1, size=20, seed=0, settings=Settings(add_node=0.3, **settings), pruning=pruning)
    population.evolve(lambda net: float(net([0.5, 0.1])[0]), generations)
    return population


def made(rows, species):
    """A history of these values of the column best, and these (generation, best) of species."""
    history = EvolutionHistory()
    for number, value in enumerate(rows):
        row = dict.fromkeys(COLUMNS, 0.25) | dict.fromkeys(INTEGERS, 3) | {"generation": number, "best": value}
        history._append(row, [(number, i, 2, best) for i, (mine, best) in enumerate(species) if mine == number])
    return history


@given(st.lists(ANY, min_size=1, max_size=30))
def test_a_row_is_what_numpy_says_of_the_finite_ones(fitness):
    fitness = np.array(fitness)
    row, finite = fitness_row(fitness), fitness[np.isfinite(fitness)]
    assert row["failed"] == np.isnan(fitness).sum() and type(row["failed"]) is int
    if not finite.size:
        assert all(math.isnan(row[name]) for name in ("best", "mean", *QUANTILES))
        return
    with np.errstate(over="ignore", invalid="ignore"):
        assert row["best"] == finite.max() and np.array_equal(row["mean"], np.mean(finite))
        for name, share in QUANTILES.items():
            assert np.array_equal(row[name], np.quantile(finite, share), equal_nan=True), name
    assert {type(value) for name, value in row.items() if name != "failed"} == {float}


def test_numbers_beyond_floats_warn_of_nothing():
    assert fitness_row(np.array([1.7e308, 1.7e308]))["best"] == 1.7e308
    assert fitness_row(np.array([1.7e308, -1.7e308]))["mean"] == 0.0
    population = Population(2, 1, size=10, seed=0)
    population.tell([1.7e308, -1.7e308] * 5)
    population.ask()
    population.tell([math.nan, *[1.7e308] * 9])
    assert population.history.failed.tolist() == [0, 1] and population.history.best.tolist() == [1.7e308] * 2


def test_columns_of_a_run():
    population = evolved(pruning=GenerationPruning(0.5, start_generation=2, regrow_fraction=0.5))
    history = population.history
    assert len(history) == 6 and history.generation.tolist() == list(range(6))
    assert history.evaluations.tolist() == [20, 40, 60, 80, 100, 120]
    for name in COLUMNS:
        column = getattr(history, name)
        assert column.shape == (6,) and column.dtype == (np.int64 if name in INTEGERS else np.float64), name
        assert name in EvolutionHistory.__doc__
    assert (history.best >= history.q90).all() and (history.q90 >= history.median).all()
    assert (history.median >= history.q10).all() and history.failed.tolist() == [0] * 6
    assert history.level.tolist() == [0.0, 0.0, 0.5, 0.5, 0.5, 0.5] and (history.removed[:2] == 0).all()
    assert ((0.0 <= history.dead_nodes) & (history.dead_connections <= 1.0)).all()
    sizes = history.species_sizes
    assert tuple(sizes) == SPECIES_COLUMNS and sizes["size"].dtype == sizes["species"].dtype == np.int64
    assert np.bincount(sizes["generation"]).tolist() == history.species.tolist()
    assert [sizes["best"][sizes["generation"] == one].max() for one in range(6)] == history.best.tolist()
    genomes = population._genomes
    assert history.connections[-1] == genomes.n_connections.mean()
    assert history.hidden[-1] == genomes.n_nodes.mean() - 3
    assert history.best_connections[-1] == genomes.n_connections[population.fitness.argmax()]
    shares = [1 - len(net.connections) / net.evolution_baseline for net in genomes]
    assert history.sparsity[-1] == pytest.approx(np.clip(shares, 0, 1).mean())


def test_columns_follow_the_run():
    population = evolved(2)
    first = population.history.best
    population.evolve(lambda net: 5.0, 1)
    assert population.history.best.tolist() == [*first.tolist(), 5.0] and len(first) == 2


def test_an_empty_history(tmp_path):
    history = EvolutionHistory()
    assert len(history) == 0 and repr(history) == "<EvolutionHistory: no generations>"
    assert all(getattr(history, name).shape == (0,) for name in COLUMNS)
    assert history.generation.dtype == np.int64 and history.best.dtype == np.float64
    assert [column.size for column in history.species_sizes.values()] == [0] * 4
    history.to_csv(tmp_path / "a.csv")
    history.to_jsonl(tmp_path / "a.jsonl")
    assert (tmp_path / "a.csv").read_text().split() == [",".join(COLUMNS)]
    assert (tmp_path / "a.jsonl").read_text() == ""
    assert len(pickle.loads(pickle.dumps(history))) == 0


def test_unknown_columns_are_named():
    with pytest.raises(AttributeError, match="a history has the columns generation, .*, got 'accuracy'") as caught:
        evolved(1).history.accuracy  # noqa: B018
    assert_one_sentence(caught)
    assert not hasattr(EvolutionHistory(), "loss")


def test_what_it_says_of_itself():
    assert repr(made([1.0, 2.5], [])) == "<EvolutionHistory: 2 generations, best 1 -> 2.5, connections 0.25 -> 0.25>"


def test_copies_and_pickles():
    history = evolved(3).history
    for twin in (pickle.loads(pickle.dumps(history)), copy.deepcopy(history), copy.copy(history)):
        for name in COLUMNS:
            assert getattr(twin, name).tobytes() == getattr(history, name).tobytes()
        assert all(np.array_equal(twin.species_sizes[name], history.species_sizes[name]) for name in SPECIES_COLUMNS)


# ---------------------------------------------------------------- files


@given(st.lists(VALUES, max_size=6))
def test_csv_reads_back_exactly(tmp_path_factory, values):
    history = made(values, [])
    path = tmp_path_factory.mktemp("history") / "history.csv"
    history.to_csv(str(path))
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS and len(rows) == len(values)
    for place, name in enumerate(COLUMNS):
        column = getattr(history, name)
        np.testing.assert_array_equal(np.array([row[place] for row in rows], column.dtype), column)


@given(st.lists(VALUES, max_size=6), st.lists(st.tuples(st.integers(0, 5), VALUES), max_size=9))
def test_jsonl_reads_back_exactly(tmp_path_factory, values, species):
    history = made(values, species)
    path = tmp_path_factory.mktemp("history") / "history.jsonl"
    history.to_jsonl(path)

    def no_constant(name):
        raise AssertionError(f"{name} is not JSON")

    rows = [json.loads(line, parse_constant=no_constant) for line in path.read_text().splitlines()]
    assert [row["best"] for row in rows] == [value if math.isfinite(value) else None for value in values]
    for number, row in enumerate(rows):
        assert tuple(row) == (*COLUMNS, "species_sizes") and row["generation"] == number
        assert all(type(row[name]) is int for name in INTEGERS)
        wanted = [{"species": i, "size": 2, "best": best if math.isfinite(best) else None}
                  for i, (mine, best) in enumerate(species) if mine == number]
        assert row["species_sizes"] == wanted


def test_files_of_a_run(tmp_path):
    history = evolved(4).history
    history.to_csv(tmp_path / "a.csv")
    history.to_jsonl(tmp_path / "a.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    for name in COLUMNS:
        assert [row[name] for row in rows] == getattr(history, name).tolist()
    assert sum(one["size"] for row in rows for one in row["species_sizes"]) == 80
    pandas = pytest.importorskip("pandas")
    read = pandas.read_csv(tmp_path / "a.csv")
    pandas.testing.assert_frame_equal(read, history.to_frame(), check_dtype=False, rtol=1e-14)


@pytest.mark.parametrize("write", ["to_csv", "to_jsonl"])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, write, monkeypatch):
    path, history = tmp_path / "history", made([1.0, 2.0], [])
    getattr(history, write)(path)
    before = path.read_bytes()
    rows = history._listed()
    monkeypatch.setattr(history, "_listed", lambda: [*rows, None])
    with pytest.raises((TypeError, csv.Error)):
        getattr(history, write)(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        getattr(history, write)(tmp_path / "no" / "file")


def test_to_frame():
    pandas = pytest.importorskip("pandas")
    history = evolved(3).history
    frame = history.to_frame()
    assert isinstance(frame, pandas.DataFrame) and tuple(frame.columns) == COLUMNS and len(frame) == 3
    for name in COLUMNS:
        np.testing.assert_array_equal(frame[name].to_numpy(), getattr(history, name))
        assert frame[name].dtype == getattr(history, name).dtype


def test_to_frame_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="to_frame needs pandas, which is not installed: pip install pandas"):
        evolved(1).history.to_frame()


def test_columns_are_found_by_completion():
    assert set(COLUMNS) <= set(dir(EvolutionHistory()))
