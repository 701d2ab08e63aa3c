"""Random numbers inside kernels: one stream per (seed, generation, child), drawn from a state that is passed in.

The state is four 32-bit words in an int64 array, seeded as `numpy.random.SeedSequence((seed, generation, child))`
does (O'Neill's seed_seq_fe), and advanced by xoshiro128** (Blackman & Vigna 2021,
https://doi.org/10.1145/3460772). All products fit or are cut to 32 bits, so plain Python gives the same integers.
"""

import math

import numpy as np

from neuroprune.kernels.compile import jit
from neuroprune.kernels.elementary import cos, log, sin

MASK = 0xFFFFFFFF
TWO_PI = 6.283185307179586


@jit
def _hash(value, constant):
    value = (int(value) * int(constant)) & MASK
    return value ^ (value >> 16)


@jit
def _mix(x, y):
    value = (0xCA01F9DD * int(x) - 0x4973F715 * int(y)) & MASK
    return value ^ (value >> 16)


@jit
def seed_stream(seed, generation, child, state):
    """Write the first four words of SeedSequence((seed, generation, child)) to state; seed below 2^63."""
    high = seed >> 32
    state[0] = seed & MASK
    state[1] = high if high else generation
    state[2] = generation if high else child
    state[3] = child if high else 0
    constant = 0x43B0D7E5
    for i in range(4):
        value = int(state[i]) ^ constant
        constant = (constant * 0x931E8875) & MASK
        state[i] = _hash(value, constant)
    for source in range(4):
        for target in range(4):
            if source != target:
                value = int(state[source]) ^ constant
                constant = (constant * 0x931E8875) & MASK
                state[target] = _mix(state[target], _hash(value, constant))
    constant = 0x8B51F9DD
    for i in range(4):
        value = int(state[i]) ^ constant
        constant = (constant * 0x58F38DED) & MASK
        state[i] = _hash(value, constant)


@jit
def word(state):
    """The next 32 bits."""
    a, b, c, d = state[0], state[1], state[2], state[3]
    value = (b * 5) & MASK
    value = ((value << 7) | (value >> 25)) & MASK
    value = (value * 9) & MASK
    shifted = (b << 9) & MASK
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    state[0], state[1], state[2] = a, b, c
    state[3] = ((d << 11) | (d >> 21)) & MASK
    return value


@jit
def uniform(state):
    """A number in [0, 1) of 53 bits."""
    return ((word(state) >> 5) * 67108864.0 + (word(state) >> 6)) / 9007199254740992.0


@jit
def below(state, bound):
    """An integer in [0, bound), exactly uniform: draws beyond the last whole multiple of bound are thrown away."""
    if bound <= MASK:
        limit = 4294967296 - 4294967296 % bound
        value = word(state)
        while value >= limit:
            value = word(state)
        return value % bound
    limit = 4611686018427387904 - 4611686018427387904 % bound
    value = (word(state) >> 2) * 4294967296 + word(state)
    while value >= limit:
        value = (word(state) >> 2) * 4294967296 + word(state)
    return value % bound


@jit
def normals(state, count, out):
    """Fill out[:count] with standard normals, two from each pair of uniforms (Box & Muller 1958)."""
    half = (count + 1) // 2
    for i in range(half):
        out[i] = (word(state) + 1.0) / 4294967296.0
        out[half + i] = word(state) / 4294967296.0
    for i in range(half):
        radius = math.sqrt(-2.0 * log(out[i]))
        angle = TWO_PI * out[half + i]
        out[i] = radius * cos(angle)
        out[half + i] = radius * sin(angle)


@jit
def normal(state):
    """One standard normal."""
    radius = math.sqrt(-2.0 * log((word(state) + 1.0) / 4294967296.0))
    return radius * cos(TWO_PI * (word(state) / 4294967296.0))


@jit
def ascend(values):
    """Sort in place (Shell 1959): numba takes seconds to compile `sort`."""
    gap = 1
    while gap < values.size // 3:
        gap = gap * 9 // 4 + 1
    while gap > 0:
        for i in range(gap, values.size):
            value = values[i]
            place = i
            while place >= gap and values[place - gap] > value:
                values[place] = values[place - gap]
                place -= gap
            values[place] = value
        gap = gap * 4 // 9


@jit
def sample(places, count, state):
    """Draw `count` different ranks below `places`, every subset equally likely, ascending.

    The first `count` different values of independent uniform draws are a uniform subset. Where more than half are
    wanted, those left out are drawn.
    """
    fewer = min(count, places - count)
    ranks = np.empty(fewer, np.int64)
    found = 0
    while found < fewer:
        for i in range(found, fewer):
            ranks[i] = below(state, places)
        ascend(ranks)
        found = 0
        for i in range(fewer):
            if found == 0 or ranks[i] != ranks[found - 1]:
                ranks[found] = ranks[i]
                found += 1
    if fewer == count:
        return ranks
    result = np.empty(count, np.int64)
    left_out = 0
    for rank in range(places):
        if left_out < fewer and ranks[left_out] == rank:
            left_out += 1
        else:
            result[rank - left_out] = rank
    return result
