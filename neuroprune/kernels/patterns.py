"""N:M masks: of every `group` neighbours the `keep` best stay, without sorting.

An element stays when fewer than `keep` of its group go after it, and of two elements the lower one goes first, of
two equal ones the earlier. Each pair is compared once, and every comparison is counted without a branch.
"""

import numpy as np

from .compile import jit

PAIRWISE = 32  # largest group whose pairs are all compared; beyond it a partition is cheaper


@jit
def keep_two_of_four(flat, mask):
    """Write the 2:4 mask of `flat`, whose size is a multiple of four, into the bytes of `mask`."""
    for group in range(flat.size // 4):
        first = 4 * group
        a = flat[first]
        b = flat[first + 1]
        c = flat[first + 2]
        d = flat[first + 3]
        ab = np.uint8(a <= b)  # whether the first of the two goes first
        ac = np.uint8(a <= c)
        ad = np.uint8(a <= d)
        bc = np.uint8(b <= c)
        bd = np.uint8(b <= d)
        cd = np.uint8(c <= d)
        mask[first] = ab + ac + ad < 2
        mask[first + 1] = bc + bd < np.uint8(1) + ab
        mask[first + 2] = cd < ac + bc
        mask[first + 3] = ad + bd + cd > 1


@jit
def keep_n_of_m(flat, keep, group, mask):
    """Write the mask that keeps the `keep` best of every `group` neighbours of `flat` into the bytes of `mask`.

    The size of `flat` is a multiple of `group`, which should be at most PAIRWISE.
    """
    later = np.empty(group, np.int64)  # how many of the group go after each element
    for first in range(0, flat.size, group):
        for i in range(group):
            later[i] = 0
        for i in range(group):
            score = flat[first + i]
            for j in range(i + 1, group):
                goes = np.int64(score <= flat[first + j])
                later[i] += goes
                later[j] += 1 - goes
        for i in range(group):
            mask[first + i] = later[i] < keep
