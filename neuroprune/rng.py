"""Random streams: derived from (seed, generation, child), stored as JSON, never global."""

import secrets
from typing import Any

import numpy as np

BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
BELOW = {"pos": 625, "buffer_pos": 5, "has_uint32": 2, "uinteger": 2**32}


def fresh_seed() -> int:
    """Return new entropy as an integer of 63 bits, to be recorded by the caller."""
    return secrets.randbits(63)


def check_seed(seed: Any) -> int | np.random.Generator:
    """Return `seed` as an integer or a Generator; None becomes fresh entropy."""
    if seed is None:
        return fresh_seed()
    if isinstance(seed, np.random.Generator):
        return seed
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}: pass a non-negative integer")
        return int(seed)
    raise TypeError(f"seed must be None, an integer or a numpy.random.Generator, got {type(seed).__name__}")


def generator(seed: int | np.random.Generator | None = None) -> np.random.Generator:
    """Make a Generator from an integer or fresh entropy; a Generator is returned as it is.

    Parameters
    ----------
    seed : int, numpy.random.Generator or None
        None takes fresh entropy from the operating system.

    Examples
    --------
    >>> from neuroprune import rng
    >>> float(rng.generator(7).random()) == float(rng.generator(7).random())
    True
    """
    seed = check_seed(seed)
    return seed if isinstance(seed, np.random.Generator) else stream(seed)


def stream(seed: int, generation: int = 0, child: int = 0) -> np.random.Generator:
    """Make the Generator of one child of one generation of a run.

    Streams come from `SeedSequence((seed, generation, child))`, not from `spawn`, because a restored
    generator spawns other children than the original one.

    Examples
    --------
    >>> from neuroprune import rng
    >>> float(rng.stream(7, 3, 1).random()) == float(rng.stream(7, 3, 2).random())
    False
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, generation, child))))


def to_json(state: dict) -> dict:
    """Turn the `bit_generator.state` of a Generator into plain dictionaries, lists, integers and strings."""
    plain = {}
    for key, value in state.items():
        if isinstance(value, dict):
            value = to_json(value)
        elif isinstance(value, np.ndarray):
            value = [int(item) for item in value]
        elif isinstance(value, np.integer):
            value = int(value)
        plain[key] = value
    return plain


def from_state(state: dict) -> np.random.Generator:
    """Make a Generator that continues at `state`, as read from `bit_generator.state` or from `to_json`.

    Raises
    ------
    ValueError
        When the state names no known bit generator or does not fit it.

    Examples
    --------
    >>> from neuroprune import rng
    >>> first = rng.generator(7)
    >>> second = rng.from_state(rng.to_json(first.bit_generator.state))
    >>> float(first.random()) == float(second.random())
    True
    """
    name = state.get("bit_generator") if isinstance(state, dict) else None
    if not isinstance(name, str) or name not in BIT_GENERATORS:
        raise ValueError(f"the RNG state must name one of {', '.join(BIT_GENERATORS)}, got {name!r}")
    bits = getattr(np.random, name)(0)
    plain = to_json(state)
    # numpy checks next to nothing: a position beyond its array makes the generator read other memory
    fits = _fits(plain, to_json(bits.state))
    if fits:
        bits.state = _arrays(plain)
    if not fits or to_json(bits.state) != plain:
        raise ValueError(f"the RNG state must be a complete state of {name}, got a damaged one")
    return np.random.Generator(bits)


def _fits(value: Any, pattern: Any, key: str = "") -> bool:
    """Whether a state of JSON types has the keys, lengths and ranges of a real one."""
    if isinstance(pattern, dict):
        return (isinstance(value, dict) and value.keys() == pattern.keys()
                and all(_fits(value[name], pattern[name], name) for name in pattern))
    if isinstance(pattern, list):
        word = 2**32 if len(pattern) == 624 else 2**64  # the Mersenne Twister has 624 words of 32 bits
        return (isinstance(value, list) and len(value) == len(pattern)
                and all(type(item) is int and 0 <= item < word for item in value))
    if isinstance(pattern, int):
        return type(value) is int and 0 <= value < BELOW.get(key, 2**128)
    return value == pattern


def _arrays(state: dict) -> dict:
    """Lists as arrays, as numpy takes them."""
    return {key: _arrays(value) if isinstance(value, dict) else np.array(value, np.uint64)
            if isinstance(value, list) else value for key, value in state.items()}
