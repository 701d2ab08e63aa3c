"""Selection without sorting: one pass that counts and compacts around the k-th value, one that writes the mask.

Both work on blocks that stay in the first-level cache. Within a block the comparisons are a plain loop without
branches, which the compiler turns into vector instructions; what happens rarely is done afterwards, element by
element, only where a vector found something.
"""

import numpy as np

from .compile import jit

BLOCK = 1024  # elements; `scan` may write this many beyond the capacity that it is given
_WORD = 8  # flags looked at together, as one 64-bit word


@jit
def scan(flat, low, high, smallest, largest, inside, found, capacity):
    """Count `flat` around the bracket [low, high] and append what lies strictly inside to `inside`.

    Returns (below, at low, found so far, at high, how many outside [smallest, largest] or NaN). `found` goes in
    as the number already there, so that several arrays can be scanned as one sequence. Elements are stored
    while `found <= capacity` at the start of a block, and only counted from then on; `inside` has room for
    `capacity + BLOCK`.
    """
    below = 0
    at_low = 0
    at_high = 0
    bad = 0
    flags = np.zeros(BLOCK, np.int8)
    words = flags.view(np.uint64)
    hits = np.empty(BLOCK // _WORD, np.int64)
    for start in range(0, flat.size, BLOCK):
        block = flat[start : min(start + BLOCK, flat.size)]
        n_below = np.int32(0)  # 32 bits keep as many lanes busy as a float32 has
        n_low = np.int32(0)
        n_high = np.int32(0)
        n_good = np.int32(0)
        for i in range(block.size):
            value = block[i]
            n_below = np.int32(n_below + (value < low))
            n_low = np.int32(n_low + (value == low))
            n_high = np.int32(n_high + (value == high))
            n_good = np.int32(n_good + ((smallest <= value) & (value <= largest)))
            flags[i] = (low < value) & (value < high)
        below += np.int64(n_below)
        at_low += np.int64(n_low)
        at_high += np.int64(n_high)
        bad += block.size - np.int64(n_good)
        if found > capacity:
            for i in range(block.size):
                found += np.int64(flags[i])
        elif block.size < BLOCK:
            for i in range(block.size):
                inside[found] = block[i]  # stays only when the next line moves on
                found += np.int64(flags[i])
        else:
            n_hits = 0
            for j in range(BLOCK // _WORD):
                hits[n_hits] = j
                n_hits += np.int64(words[j] != 0)
            for j in range(n_hits):
                first = _WORD * hits[j]
                for i in range(first, first + _WORD):
                    inside[found] = block[i]
                    found += np.int64(flags[i])
    return below, at_low, found, at_high, bad


@jit
def keep_above(flat, value, equals, mask):
    """Write `flat > value` into the bytes of `mask`, and keep what equals `value` after the first `equals` of it.

    Returns how many of `equals` are left for the next array of the sequence.
    """
    above = np.empty(BLOCK, np.uint8)  # local, so that the compiler knows it overlaps nothing
    for start in range(0, flat.size, BLOCK):
        block = flat[start : min(start + BLOCK, flat.size)]
        out = mask[start : start + block.size]
        ties = np.int32(0)
        for i in range(block.size):
            score = block[i]
            above[i] = score > value
            ties = np.int32(ties + (score == value))
        for i in range(block.size):
            out[i] = above[i]
        if ties <= equals:
            equals -= np.int64(ties)
        elif equals == 0:
            for i in range(block.size):
                above[i] = block[i] >= value
            for i in range(block.size):
                out[i] = above[i]
        else:  # the one block in which the equals to drop run out
            for i in range(block.size):
                if block[i] == value:
                    if equals > 0:
                        equals -= 1
                    else:
                        out[i] = 1
    return equals
