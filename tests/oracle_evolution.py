"""Evolution spelled out: random words, legal pairs, operators, distance, crossover, species, fronts, quotas.

Written from the papers and the design, over `Plain` networks, dictionaries and lists of plain numbers. Nothing here
changes its arguments.
"""

import math
from dataclasses import replace

import numpy as np

from oracle_pruning import desired_count, prune_lowest, regrow_count
from oracles import is_delayed, keep, spread

MASK = 2**32 - 1

# ---------------------------------------------------------------- random numbers


def seed_words(seed, generation, child):
    """The four words that start the stream of one child."""
    return np.random.SeedSequence((seed, generation, child)).generate_state(4).tolist()


def rotated(x, k):
    """32 bits turned left by k."""
    return (x << k | x >> (32 - k)) & MASK


def next_word(words):
    """(output, following four words) of xoshiro128** (Blackman & Vigna 2021), with unbounded integers."""
    a, b, c, d = words
    output = rotated(b * 5 & MASK, 7) * 9 & MASK
    shifted, c, d = b << 9 & MASK, c ^ a, d ^ b
    b, a, c = b ^ c, a ^ d, c ^ shifted
    return output, [a, b, c, rotated(d, 11)]


def word_stream(words):
    """All outputs from these four words on."""
    while True:
        output, words = next_word(words)
        yield output


def unit(high, low):
    """The number in [0, 1) of 53 bits that two words make: the upper 27 bits of one, then the upper 26 of the other."""
    return ((high >> 5) * 2**26 + (low >> 6)) / 2**53


def box_muller(u, v):
    """Two independent standard normals from two uniforms in [0, 1); 1 - u is never 0."""
    radius, angle = math.sqrt(-2 * math.log(1 - u)), 2 * math.pi * v
    return radius * math.cos(angle), radius * math.sin(angle)


# ---------------------------------------------------------------- places


def legal_pairs(plain):
    """All free (source, target, delayed) that AddConnection may take, in any order of nodes that they allow.

    Acyclic: any pair, not out of an output nor into an input, that closes no cycle. Recurrent: every ordered pair into
    a non-input.
    """
    pairs = list(plain.connections)
    return {
        (source, target, is_delayed(plain, source, target))
        for source in plain.order
        for target in plain.order[plain.n_inputs :]
        if (source, target) not in plain.connections
        and (plain.recurrent or source not in plain.outputs and source not in spread([target], pairs))
    }


# ---------------------------------------------------------------- pruning


def prune_count(fraction, count):
    """How many of `count` connections a share takes; one always stays."""
    return min(round(fraction * count), max(count - 1, 0))


def prune_share(plain, scores, fraction):
    """Without the lowest round(fraction * E) of the connections, whose scores are in storage order."""
    return keep(plain, prune_lowest(scores, prune_count(fraction, len(scores))))


def prune_counts(count, baseline, target, regrow_fraction=0.0, free_after=None):
    """(removed, regrown, evolutionary baseline after); `baseline` is None before the first capture."""
    if target <= 0:
        return 0, 0, baseline
    baseline = count if baseline is None else baseline
    desired = desired_count(min(target, 0.999), baseline)
    if count <= desired:
        return 0, 0, baseline
    again = regrow_count(regrow_fraction, count - desired, desired, free_after)
    return count - desired + again, again, baseline


# ---------------------------------------------------------------- genes of two parents


def genes(plain):
    """{(source id, target id): weight}."""
    return {pair: weight for pair, (weight, _) in plain.connections.items()}


def distance(first, second, disjoint, difference):
    """Compatibility of two dictionaries of genes (Stanley & Miikkulainen 2002, eq. 1, E and D of one coefficient)."""
    larger = max(len(first), len(second))
    if larger == 0:
        return 0.0
    matching = [pair for pair in first if pair in second]
    lonely = len(first) + len(second) - 2 * len(matching)
    apart = [abs(first[pair] - second[pair]) for pair in matching]
    return disjoint * lonely / larger + difference * (sum(apart) / len(apart) if apart else 0.0)


def crossed(fitter, other, from_other):
    """Child of the wiring of the fitter; `from_other(gene)` says which matching genes come from the other.

    A gene is a pair (its weight) or an id (bias and activation of a node).
    """
    nodes = {node for node in fitter.order if node in other.bias and from_other(node)}
    pairs = {pair for pair in fitter.connections if pair in other.connections and from_other(pair)}
    return replace(
        fitter,
        bias={node: (other if node in nodes else fitter).bias[node] for node in fitter.order},
        activation={node: (other if node in nodes else fitter).activation[node] for node in fitter.order},
        connections={
            pair: ((other if pair in pairs else fitter).connections[pair][0], late)
            for pair, (_, late) in fitter.connections.items()
        },
    )


# ---------------------------------------------------------------- species


def assign(things, representatives, apart, threshold):
    """Species number of each thing: the first whose representative is closer than the threshold.

    What fits nowhere founds a species, the next number, and represents it for those that follow.
    """
    representatives, numbers = list(representatives), []
    for thing in things:
        near = [number for number, one in enumerate(representatives) if apart(thing, one) < threshold]
        if not near:
            near = [len(representatives)]
            representatives.append(thing)
        numbers.append(near[0])
    return numbers


def quotas(shares, total):
    """Whole numbers in proportion to shares >= 0 that add up to total: largest remainder, the earlier among equals.

    Equal when all shares are 0.
    """
    if sum(shares) == 0:
        shares = [1.0] * len(shares)
    exact = [total * share / sum(shares) for share in shares]
    counts = [math.floor(value) for value in exact]
    by_remainder = sorted(range(len(shares)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


# ---------------------------------------------------------------- several objectives (Deb et al. 2002)


def dominates(first, second):
    """Whether the first is nowhere lower and somewhere higher; every objective is better when higher."""
    pairs = list(zip(first, second, strict=True))
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


def fronts(points):
    """Front number of each point, 0 for what nothing dominates, 1 for what then remains undominated, and so on."""
    number, left, front = [0] * len(points), set(range(len(points))), 0
    while left:
        best = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        for i in best:
            number[i] = front
        left, front = left - best, front + 1
    return number


def crowding(points):
    """Crowding distance of each point of one front: infinite at both ends of an objective, else the sum of gaps.

    A gap is that between the neighbours, as a share of the front's range in that objective, 0 where it has none;
    equal values lie in the order of the points.
    """
    total = [0.0] * len(points)
    for values in zip(*points, strict=True):
        order = sorted(range(len(points)), key=lambda i: (values[i], i))
        total[order[0]] = total[order[-1]] = math.inf
        extent = values[order[-1]] - values[order[0]]
        for before, i, after in zip(order, order[1:], order[2:], strict=False):
            total[i] += (values[after] - values[before]) / extent if extent else 0.0
    return total
