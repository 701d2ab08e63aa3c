"""Selection without sorting: one pass that counts and compacts around the k-th value, one that writes the mask.

Both can take the absolute values as they go, so that magnitudes are ranked without a copy, and work on blocks that
stay in the first-level cache. Within a block the comparisons are a plain loop without branches, which the compiler
turns into vector instructions; what happens rarely is done afterwards, element by element, only where a vector found
something. A third one selects inside each of many runs, such as the connections into each node.
"""

import numpy as np

from .compile import jit

BLOCK = 1024  # elements; `scan` may write this many beyond the capacity that it is given
_WORD = 8  # flags looked at together, as one 64-bit word


@jit
def scan(flat, magnitude, low, high, smallest, largest, inside, found, capacity):
    """Count `flat`, or its magnitudes, around the bracket (low, high) and append what lies inside to `inside`.

    Returns (below low, at low, found so far, how many outside [smallest, largest] or NaN). `found` goes in as the
    number already there, so that several arrays can be scanned as one sequence. Elements are stored while
    `found <= capacity` at the start of a block, and only counted from then on; `inside` has room for
    `capacity + BLOCK`.
    """
    below = 0
    up_to_low = 0
    bad = 0
    values = np.empty(BLOCK, flat.dtype)  # local, so that the compiler knows it overlaps nothing
    flags = np.zeros(BLOCK, np.int8)
    words = flags.view(np.uint64)
    hits = np.empty(BLOCK // _WORD, np.int64)
    for start in range(0, flat.size, BLOCK):
        block = flat[start : min(start + BLOCK, flat.size)]
        if magnitude:
            for i in range(block.size):
                values[i] = abs(block[i])
        else:
            for i in range(block.size):
                values[i] = block[i]
        n_below = np.int32(0)  # 32 bits keep as many lanes busy as a float32 has
        n_low = np.int32(0)
        n_good = np.int32(0)
        for i in range(block.size):
            value = values[i]
            n_below = np.int32(n_below + (value < low))
            n_low = np.int32(n_low + (value <= low))
            n_good = np.int32(n_good + ((smallest <= value) & (value <= largest)))
        for i in range(block.size):  # by itself, since bytes fill other lanes
            flags[i] = (low < values[i]) & (values[i] < high)
        below += np.int64(n_below)
        up_to_low += np.int64(n_low)
        bad += block.size - np.int64(n_good)
        if found > capacity:
            for i in range(block.size):
                found += np.int64(flags[i])
        elif block.size < BLOCK:
            for i in range(block.size):
                inside[found] = values[i]  # stays only when the next line moves on
                found += np.int64(flags[i])
        else:
            n_hits = 0
            for j in range(BLOCK // _WORD):
                hits[n_hits] = j
                n_hits += np.int64(words[j] != 0)
            for j in range(n_hits):
                first = _WORD * hits[j]
                for i in range(first, first + _WORD):
                    inside[found] = values[i]
                    found += np.int64(flags[i])
    return below, up_to_low - below, found, bad


@jit
def keep_above(flat, magnitude, value, equals, mask):
    """Write `flat > value` into the bytes of `mask`, and keep what equals `value` after the first `equals` of it.

    With `magnitude` it is |flat| that is compared. Returns (how many of `equals` are left for the next array of the
    sequence, how many stay).
    """
    values = np.empty(BLOCK, flat.dtype)
    above = np.empty(BLOCK, np.uint8)
    kept = 0
    for start in range(0, flat.size, BLOCK):
        block = flat[start : min(start + BLOCK, flat.size)]
        out = mask[start : start + block.size]
        if magnitude:
            for i in range(block.size):
                values[i] = abs(block[i])
        else:
            for i in range(block.size):
                values[i] = block[i]
        ties = np.int32(0)
        over = np.int32(0)
        for i in range(block.size):
            score = values[i]
            above[i] = score > value
            over = np.int32(over + (score > value))
            ties = np.int32(ties + (score == value))
        for i in range(block.size):
            out[i] = above[i]
        kept += np.int64(over)
        if ties <= equals:
            equals -= np.int64(ties)
        elif equals == 0:
            kept += np.int64(ties)
            for i in range(block.size):
                above[i] = values[i] >= value
            for i in range(block.size):
                out[i] = above[i]
        else:  # the one block in which the equals to drop run out
            kept += np.int64(ties) - equals
            for i in range(block.size):
                if values[i] == value:
                    if equals > 0:
                        equals -= 1
                    else:
                        out[i] = 1
    return equals, kept


@jit
def drop_in_runs(flat, free, starts, drops, mask):
    """Clear in `mask` the `drops[i]` lowest free elements of each run `starts[i]` to `starts[i + 1]` of `flat`.

    `free` says which elements may go; a run has at least as many of them as it drops.
    """
    longest = 0
    for run in range(drops.size):
        longest = max(longest, starts[run + 1] - starts[run])
    loose = np.empty(longest, flat.dtype)
    for run in range(drops.size):
        drop = drops[run]
        if drop == 0:
            continue
        n = 0
        for i in range(starts[run], starts[run + 1]):
            if free[i]:
                loose[n] = flat[i]
                n += 1
        value = np.partition(loose[:n], drop - 1)[drop - 1]
        equals = drop
        for i in range(n):
            equals -= np.int64(loose[i] < value)
        for i in range(starts[run], starts[run + 1]):
            if free[i]:
                if flat[i] < value:
                    mask[i] = 0
                elif flat[i] == value and equals > 0:
                    mask[i] = 0
                    equals -= 1
