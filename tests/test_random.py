"""Random numbers inside kernels: numpy's seeding, the published generator, and exact distributions."""

import math
from itertools import combinations, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import oracle_evolution as e
from bridge_evolution import stream
from neuroprune.kernels import random

WORDS = st.lists(st.integers(0, e.MASK), min_size=4, max_size=4).filter(any)
COUNTERS = st.one_of(st.integers(0, 10), st.integers(0, 2**32 - 1))
REFERENCE = [11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597, 4258142804]


def probability(counts):
    """How likely counts as uneven as these are under a uniform distribution."""
    return stats.chisquare(counts).pvalue


@given(st.one_of(st.integers(0, 2**63 - 1), st.integers(0, 2**33), st.just(2**32 - 1)), COUNTERS, COUNTERS)
def test_streams_begin_with_the_words_of_numpy(seed, generation, child):
    assert stream(seed, generation, child).tolist() == e.seed_words(seed, generation, child)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**62, 2**63 - 1])
def test_streams_of_awkward_seeds(seed):
    for counters in [(0, 0), (1, 0), (0, 1), (2**32 - 1, 2**32 - 1)]:
        assert stream(seed, *counters).tolist() == e.seed_words(seed, *counters)


@given(WORDS)
def test_words_are_those_of_the_published_generator(words):
    state = np.array(words, np.int64)
    wanted = list(islice(e.word_stream(words), 20))
    assert [int(random.word(state)) for _ in range(20)] == wanted


def test_words_of_the_reference_implementation():
    state = np.array([1, 2, 3, 4], np.int64)
    assert [int(random.word(state)) for _ in REFERENCE] == REFERENCE
    assert list(islice(e.word_stream([1, 2, 3, 4]), len(REFERENCE))) == REFERENCE


@given(WORDS)
def test_uniforms_are_made_of_two_words(words):
    state, twin = np.array(words, np.int64), e.word_stream(words)
    assert [float(random.uniform(state)) for _ in range(5)] == [e.unit(next(twin), next(twin)) for _ in range(5)]


def state_before(output):
    """A state whose next two words are both this one: words depend on b alone, and equal a and c leave b as it is."""
    b = e.rotated(output * pow(9, -1, 2**32) % 2**32, 25) * pow(5, -1, 2**32) % 2**32
    return np.array([1, b, 1, 1], np.int64)


def test_extreme_words():
    assert [int(random.word(state)) for state in [state_before(e.MASK)] for _ in range(2)] == [e.MASK] * 2
    assert float(random.uniform(state_before(0))) == 0 and float(random.uniform(state_before(e.MASK))) == 1 - 2**-53
    assert math.isclose(random.normal(state_before(0)), math.sqrt(64 * math.log(2)), rel_tol=1e-12)
    assert random.normal(state_before(e.MASK)) == 0
    out = np.empty(2)
    random.normals(state_before(0), 2, out)
    assert np.isfinite(out).all()


@pytest.mark.compiled_only
def test_uniforms_are_uniform():
    values = [float(random.uniform(stream(1, 2, k))) for k in range(10_000)]
    assert min(values) >= 0 and max(values) < 1 and stats.kstest(values, "uniform").pvalue > 1e-3


@given(WORDS, st.one_of(st.integers(1, 20), st.integers(1, 2**32 - 1), st.integers(2**31, 2**32 + 5)))
def test_below_is_in_range_and_throws_away_what_would_be_uneven(words, bound):
    state, twin = np.array(words, np.int64), e.word_stream(words)
    value = int(random.below(state, bound))
    assert 0 <= value < bound
    if bound < 2**32:
        drawn = next(word for word in twin if word < 2**32 - 2**32 % bound)
        assert value == drawn % bound


@given(WORDS, st.integers(2**32, 2**61))
def test_below_large_bounds_is_in_range(words, bound):
    state = np.array(words, np.int64)
    assert all(0 <= int(random.below(state, bound)) < bound for _ in range(5))


@pytest.mark.compiled_only
@pytest.mark.parametrize("bound", [2, 3, 7, 64, 2**31 + 2**30, 2**33 + 1, 2**60])
def test_below_is_uniform(bound):
    state, bins = stream(7, bound % 1000), min(bound, 16)
    values = [int(random.below(state, bound)) * bins // bound for _ in range(20_000)]
    edges = [-(-k * bound // bins) for k in range(bins + 1)]
    expected = [20_000 * (high - low) / bound for low, high in zip(edges, edges[1:], strict=False)]
    assert stats.chisquare(np.bincount(values, minlength=bins), expected).pvalue > 1e-3


@given(WORDS, st.integers(0, 9))
def test_normals_are_those_of_box_and_muller(words, count):
    state, out = np.array(words, np.int64), np.full(count + 2, 7.0)
    random.normals(state, count, out)
    half, twin = (count + 1) // 2, e.word_stream(words)
    pairs = [(next(twin), next(twin)) for _ in range(half)]
    made = [e.box_muller(1 - (high + 1) / 2**32, low / 2**32) for high, low in pairs]
    wanted = [first for first, _ in made] + [second for _, second in made]
    assert np.allclose(out[:count], wanted[:count], rtol=1e-12, atol=1e-14)
    assert (out[2 * half :] == 7.0).all()
    again = np.array(words, np.int64)
    if count:
        assert math.isclose(random.normal(again), wanted[0], rel_tol=1e-12, abs_tol=1e-14)


@pytest.mark.compiled_only
@pytest.mark.parametrize("one_by_one", [False, True])
def test_normals_are_normal(one_by_one):
    state, out = stream(3), np.empty(50_001)
    if one_by_one:
        out[:] = [random.normal(state) for _ in out]
    else:
        random.normals(state, 50_000, out)
    values = out[:50_000]
    assert stats.kstest(values, "norm").pvalue > 1e-3
    assert abs(values.mean()) < 4 / math.sqrt(50_000) and abs(values.std() - 1) < 0.02
    assert abs(stats.kurtosis(values)) < 0.1 and abs(stats.skew(values)) < 0.05
    assert abs(np.corrcoef(values[:25_000], values[25_000:])[0, 1]) < 0.03  # halves of the pairs


@given(WORDS, st.integers(0, 60), st.data())
def test_samples_are_ascending_and_different(words, places, data):
    count = data.draw(st.integers(0, places))
    ranks = random.sample(places, count, np.array(words, np.int64)).tolist()
    assert ranks == sorted(set(ranks)) and len(ranks) == count
    assert not ranks or 0 <= ranks[0] and ranks[-1] < places


@pytest.mark.compiled_only
@pytest.mark.parametrize("places, count", [(5, 1), (5, 2), (5, 3), (5, 4), (6, 3), (7, 2), (8, 5), (4, 4)])
def test_every_subset_is_equally_likely(places, count):
    subsets = {subset: number for number, subset in enumerate(combinations(range(places), count))}
    state, draws = stream(11, places, count), 300 * len(subsets)
    drawn = [subsets[tuple(random.sample(places, count, state).tolist())] for _ in range(draws)]
    counts = np.bincount(drawn, minlength=len(subsets))
    assert counts.sum() == draws and (len(subsets) == 1 or probability(counts) > 1e-3)


@pytest.mark.compiled_only
def test_streams_are_independent_of_each_other():
    keys = [[(generation, child) for child in range(100)] for generation in range(60)]
    first = np.array([[random.uniform(stream(5, *key)) for key in row] for row in keys])
    assert stats.kstest(first.ravel(), "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(first)[np.triu_indices(60, 1)]).max() < 0.5
    assert len(np.unique(first)) == first.size


def test_nothing_reads_or_moves_global_state():
    before = np.random.get_state()[1].copy()
    results = []
    for reseed in (1, 2):
        kept = np.random.get_state()
        np.random.seed(reseed)
        state, out = stream(9), np.empty(8)
        random.normals(state, 7, out)
        results.append((out[:7].tobytes(), random.sample(30, 9, state).tobytes(), state.tobytes()))
        np.random.set_state(kept)
    assert results[0] == results[1]
    assert (np.random.get_state()[1] == before).all()
