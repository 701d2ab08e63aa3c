"""Uniform samples of places."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import strategies as s
from neuroprune.pruning import growth


@given(st.integers(0, 300), s.SEEDS, st.data())
def test_sample_gives_that_many_different_ascending_places(places, seed, data):
    count = data.draw(s.sizes(0, places))
    ranks = growth.sample(places, count, np.random.default_rng(seed))
    assert ranks.dtype == np.int64 and ranks.shape == (count,)
    assert (np.diff(ranks) > 0).all()
    assert count == 0 or 0 <= ranks[0] <= ranks[-1] < places
    assert np.array_equal(ranks, growth.sample(places, count, np.random.default_rng(seed)))


@pytest.mark.parametrize(("places", "count"), [(5, 1), (5, 2), (6, 3), (7, 4), (6, 5), (12, 2), (12, 10)])
def test_every_subset_is_equally_likely(places, count):
    """Chi-square over all subsets: uniform inclusion alone would not show that pairs are independent."""
    rng = np.random.default_rng(places * 100 + count)
    seen = dict.fromkeys(combinations(range(places), count), 0)
    for _ in range(100 * len(seen)):
        seen[tuple(growth.sample(places, count, rng).tolist())] += 1
    assert stats.chisquare(list(seen.values())).pvalue > 1e-3


def test_large_samples_are_uniform_over_the_places():
    rng, hits = np.random.default_rng(5), np.zeros(1000, np.int64)
    for _ in range(400):
        hits[growth.sample(1000, 300, rng)] += 1
    # each place is hit 120 times, with the variance of one draw without replacement
    statistic = ((hits - 120.0) ** 2 / (400 * 0.3 * 0.7)).sum() * 999 / 1000
    assert 1e-3 < stats.chi2.sf(statistic, 999) < 1 - 1e-3


def test_places_need_no_memory():
    ranks = growth.sample(2**62, 1000, np.random.default_rng(1))
    assert ranks.size == 1000 and ranks[-1] > 2**61
    assert stats.kstest(ranks / 2**62, "uniform").pvalue > 1e-3


def test_all_and_none_draw_nothing():
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    assert growth.sample(5, 5, rng).tolist() == [0, 1, 2, 3, 4]
    assert growth.sample(5, 0, rng).tolist() == growth.sample(0, 0, rng).tolist() == []
    assert rng.bit_generator.state == state


@pytest.mark.parametrize(("places", "count"), [(5, 6), (5, -1), (0, 1)])
def test_more_than_there_are_is_refused(places, count):
    with pytest.raises(ValueError, match=rf"count must be in \[0, {places}\], the free places, got {count}"):
        growth.sample(places, count, np.random.default_rng(0))
