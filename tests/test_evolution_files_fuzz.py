"""Mutated files of populations: each is refused in one sentence, or is a sound population."""

import io
import math

import numpy as np
import pytest

from bridge import assert_one_sentence
from neuroprune import Population
from stored_populations import KINDS, assert_equal, check_usable, content, parts, put, refused
from test_files_fuzz import BYTES, mutated_npz


@pytest.mark.parametrize("kind", ["told", "front"])
def test_a_truncated_file_is_refused(kind, tmp_path):
    path, whole = tmp_path / "a.npz", content(kind)
    for length in range(0, len(whole), 64):
        path.write_bytes(whole[:length])
        refused(path)


COUNTS = pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.slow)])


@COUNTS
@pytest.mark.parametrize("kind", ["told", "adaptive", "front"])
def test_changed_bytes_are_refused_or_change_nothing(kind, count, tmp_path):
    path, whole, twin = tmp_path / "a.npz", content(kind), KINDS[kind]()
    rng, refusals = np.random.default_rng([len(kind), count]), 0
    for _ in range(count):
        path.write_bytes(BYTES[rng.integers(len(BYTES))](whole, rng))
        try:
            population = Population.load(path)
        except ValueError as error:
            refusals += 1
            assert_one_sentence(pytest.ExceptionInfo.from_exception(error))
            assert str(path) in str(error)
        else:
            assert_equal(population, twin)
    assert count / 2 < refusals < count and list(tmp_path.iterdir()) == [path]


def mutated(kind, rng):
    """A whole archive whose header or numbers are others."""
    if rng.random() < 0.5:
        return mutated_npz(content(kind), rng)
    header, columns = parts(kind)
    for _ in range(rng.integers(1, 3)):
        one = list(columns.values())[rng.integers(len(columns))].reshape(-1)
        if not one.size:
            continue
        i, j = rng.integers(one.size, size=2)
        if one.dtype.kind == "b":
            one[i] = not one[i]
        elif rng.random() < 0.4:
            one[i], one[j] = one[j], one[i]
        elif one.dtype.kind == "f":
            one[i] = rng.choice([math.nan, -math.inf, math.inf, 0.0, 1e308, -1.0, one[i] + 1, -0.0])
        else:
            info = np.iinfo(one.dtype)
            one[i] = rng.choice([info.min, info.max, 0, 1, 2, max(int(one[i]) - 1, info.min), int(one[j])])
    stream = io.BytesIO()
    put(stream, header, columns)
    return stream.getvalue()


@COUNTS
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")  # of huge weights, without compilation
def test_a_changed_archive_is_refused_or_a_population(kind, count, tmp_path):
    path, elsewhere, refusals = tmp_path / "a.npz", tmp_path / "elsewhere", 0
    rng = np.random.default_rng([*kind.encode(), count])
    elsewhere.mkdir()
    for _ in range(count):
        path.write_bytes(mutated(kind, rng))
        try:
            population = Population.load(path)
        except ValueError as error:
            refusals += 1
            assert_one_sentence(pytest.ExceptionInfo.from_exception(error))
        else:
            check_usable(population, elsewhere)
    assert count / 3 < refusals < count
