"""Random streams: derived, restored exactly, and never global."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bridge
from neuroprune import rng

BITS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


@given(st.integers(0, 2**80), st.integers(0, 10**6), st.integers(0, 10**6))
def test_streams_come_from_seed_generation_and_child(seed, generation, child):
    wanted = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, generation, child))))
    stream = rng.stream(seed, generation, child)
    assert stream.random(4).tolist() == wanted.random(4).tolist()
    assert rng.stream(seed, generation, child + 1).random(4).tolist() != wanted.random(4).tolist()
    assert rng.stream(seed).random() == rng.generator(seed).random()


def test_neighbouring_streams_are_independent():
    draws = np.array([rng.stream(seed, generation, child).random(50)
                      for seed in range(3) for generation in range(4) for child in range(5)])  # fmt: skip
    assert len(np.unique(draws)) == draws.size
    assert np.abs(np.corrcoef(draws) - np.eye(len(draws))).max() < 0.6


@pytest.mark.parametrize("bits", BITS)
@given(seed=st.integers(0, 2**32), drawn=st.integers(0, 700), half=st.booleans())
def test_a_state_goes_through_json_and_continues_exactly(bits, seed, drawn, half):
    """Also in the middle of a block, and with half a draw of 32 bits left over."""
    first = np.random.Generator(getattr(np.random, bits)(seed))
    first.random(drawn)
    if half:
        first.integers(100, dtype=np.uint32)
    state = rng.to_json(first.bit_generator.state)
    second = rng.from_state(json.loads(json.dumps(state)))
    assert rng.to_json(second.bit_generator.state) == state
    assert type(second.bit_generator).__name__ == bits
    one, two = (made.integers(1000, size=5, dtype=np.uint32).tolist() for made in (first, second))
    assert one == two
    assert second.standard_normal(700).tolist() == first.standard_normal(700).tolist()
    third = rng.from_state(first.bit_generator.state)  # the state itself does, too
    assert third.random() == first.random()


def test_a_state_is_plain_and_a_copy():
    first = np.random.Generator(np.random.MT19937(0))
    state = rng.to_json(first.bit_generator.state)
    before = json.dumps(state)
    first.random(1000)
    assert json.dumps(state) == before
    second = rng.from_state(state)
    second.random(1000)
    assert json.dumps(state) == before


@pytest.mark.parametrize("state", [
    None, 3, "PCG64", [], {}, {"bit_generator": "PCG65"}, {"bit_generator": "PCG64"}, {"bit_generator": "Philox"},
    {"bit_generator": "PCG64", "state": {}}, {"bit_generator": "PCG64", "state": {"state": 1}},
    {"bit_generator": "PCG64", "state": {"state": "a", "inc": 1}, "has_uint32": 0, "uinteger": 0},
    {"bit_generator": "PCG64", "state": {"state": -1, "inc": 1}, "has_uint32": 0, "uinteger": 0},
    {"bit_generator": "PCG64", "state": {"state": 2**200, "inc": 1}, "has_uint32": 0, "uinteger": 0},
    {"bit_generator": "PCG64", "state": {"state": None, "inc": None}, "has_uint32": 0, "uinteger": 0},
    {"bit_generator": "MT19937", "state": {"key": [1, 2, 3], "pos": 0}},
    {"bit_generator": "MT19937", "state": {"key": "abc", "pos": 0}},
    {"bit_generator": "MT19937", "state": [1, 2]},
    {"bit_generator": "MT19937", "state": {"key": [1] * 624, "pos": 625}},  # would read other memory
    {"bit_generator": "MT19937", "state": {"key": [1] * 624, "pos": -1}},
    {"bit_generator": "MT19937", "state": {"key": [2**32] * 624, "pos": 0}},
    {"bit_generator": "Philox", "state": {"counter": [1] * 4, "key": [1] * 2}, "buffer": [1] * 4, "buffer_pos": 5,
     "has_uint32": 0, "uinteger": 0},
    {"bit_generator": ["PCG64"], "state": {"state": 1, "inc": 1}},
    {"bit_generator": "Philox", "state": {"counter": [1], "key": [1]}, "buffer": [1], "buffer_pos": 0,
     "has_uint32": 0, "uinteger": 0},
    {"bit_generator": "SFC64", "state": {"state": [1]}, "has_uint32": 0, "uinteger": 0},
])  # fmt: skip
def test_a_damaged_state_is_refused(state):
    with pytest.raises(ValueError, match="the RNG state must") as raised:
        rng.from_state(state)
    bridge.assert_one_sentence(raised)


@pytest.mark.parametrize("bits", BITS)
@given(data=st.data())
def test_no_damaged_state_gets_through(bits, data):
    """Any one value of a real state replaced by something: refused, or a generator that works."""
    state = rng.to_json(np.random.Generator(getattr(np.random, bits)(0)).bit_generator.state)
    inner = data.draw(st.booleans()) and isinstance(state["state"], dict)
    place = state["state"] if inner else state
    key = data.draw(st.sampled_from(sorted(place)))
    numbers = st.integers(-(2**130), 2**130)
    junk = st.one_of(st.none(), numbers, st.text(max_size=3), st.lists(st.integers(-1, 5), max_size=5),
                     st.dictionaries(st.text(max_size=2), st.none(), max_size=1))  # fmt: skip
    place[key] = data.draw(junk)
    try:
        made = rng.from_state(state)
    except ValueError as error:
        assert "the RNG state must" in str(error) and "\n" not in str(error)
    else:
        assert 0 <= made.random() < 1


def test_seeds():
    assert rng.check_seed(5) == 5 and type(rng.check_seed(np.int64(5))) is int
    mine = np.random.default_rng(0)
    assert rng.check_seed(mine) is mine and rng.generator(mine) is mine
    fresh = {rng.fresh_seed() for _ in range(100)} | {rng.check_seed(None) for _ in range(100)}
    assert len(fresh) == 200 and all(0 <= seed < 2**63 for seed in fresh)
    assert rng.generator().random() != rng.generator().random()
    assert rng.generator(2**100).random() == rng.generator(2**100).random() != rng.generator(2**100 + 1).random()


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        (-1, ValueError, "seed must be at least 0, got -1: pass a non-negative integer"),
        (1.0, TypeError, "seed must be None, an integer or a numpy.random.Generator, got float"),
        (True, TypeError, "seed must be None, an integer or a numpy.random.Generator, got bool"),
        ("1", TypeError, "got str"),
        (np.random.PCG64(0), TypeError, "got PCG64"),
        (np.random.RandomState(0), TypeError, "got RandomState"),
    ],
)
def test_other_seeds_are_refused(seed, error, message):
    for make in (rng.check_seed, rng.generator):
        with pytest.raises(error, match=message) as raised:
            make(seed)
        bridge.assert_one_sentence(raised)
