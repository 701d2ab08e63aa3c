"""Where to grow: exactly uniform samples of places, without a table of all places."""

import numpy as np


def sample(places: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` different ranks out of `range(places)`, every subset equally likely, ascending int64.

    Draws with replacement and tops up what coincided, on the smaller of the subset and its complement: the set of
    the first `count` different values of independent uniform draws is a uniform subset. O(count log count) time
    and O(count) memory, whatever `places` is.

    Parameters
    ----------
    places : int
        How many places there are, at least `count`.
    count : int
        How many to draw, at least 0.
    rng : numpy.random.Generator

    Examples
    --------
    >>> import numpy as np
    >>> from neuroprune.pruning import growth
    >>> growth.sample(10**15, 2, np.random.default_rng(0)).shape
    (2,)
    >>> growth.sample(4, 4, np.random.default_rng(0)).tolist()
    [0, 1, 2, 3]
    """
    if not 0 <= count <= places:
        raise ValueError(f"count must be in [0, {places}], the free places, got {count}")
    if 2 * count > places:
        chosen = np.ones(places, np.bool_)
        chosen[sample(places, places - count, rng)] = False
        return np.flatnonzero(chosen)
    ranks = np.zeros(0, np.int64)
    while ranks.size < count:
        ranks = np.concatenate([ranks, rng.integers(places, size=count - ranks.size)])
        ranks.sort()  # sorting beats the hash table of np.unique several times over
        ranks = ranks[np.concatenate([[True], ranks[1:] != ranks[:-1]])]
    return ranks
