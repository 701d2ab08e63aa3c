"""Which elements go, how many, and when: plain lists of scores and plain counts, no network. Twins of the fast ones."""

import math

# ---------------------------------------------------------------- selection


def lowest_first(scores):
    """Indices in the order they are pruned: lowest score first, among equals the earlier first."""
    return sorted(range(len(scores)), key=lambda index: (scores[index], index))


def top(scores, n_kept):
    """Mask of the `n_kept` best of a flat list."""
    dropped = set(lowest_first(scores)[: len(scores) - n_kept])
    return [index not in dropped for index in range(len(scores))]


def sparse(scores, sparsity):
    """Mask of a flat list that drops round(sparsity * size)."""
    return top(scores, len(scores) - round(sparsity * len(scores)))


def sparse_rows(rows, sparsity):
    """The same inside each row of a matrix."""
    return [sparse(row, sparsity) for row in rows]


def sparse_jointly(layers, sparsity, min_per_layer=1):
    """One ranking over flat layers; the best `min_per_layer` of each layer (all of a smaller one) are reserved."""
    reserved = [top(scores, min(min_per_layer, len(scores))) for scores in layers]
    entries = [(layer, index) for layer, scores in enumerate(layers) for index in range(len(scores))]
    n_pruned = round(sparsity * len(entries))
    open_entries = [(layer, index) for layer, index in entries if not reserved[layer][index]]
    if n_pruned > len(open_entries):
        raise ValueError("more would go than is not reserved")
    dropped = {open_entries[i] for i in lowest_first([layers[a][b] for a, b in open_entries])[:n_pruned]}
    return [[(layer, index) not in dropped for index in range(len(scores))] for layer, scores in enumerate(layers)]


def swap(mask, drop_scores, grow_scores, n):
    """Drop the n lowest of the kept by one score, then grow the n best of all that is off (just dropped included)."""
    mask, kept = list(mask), [index for index, on in enumerate(mask) if on]
    for rank in lowest_first([drop_scores[index] for index in kept])[:n]:
        mask[kept[rank]] = False
    off = [index for index, on in enumerate(mask) if not on]
    for rank, on in enumerate(top([grow_scores[index] for index in off], n)):
        mask[off[rank]] = on
    return mask


# ---------------------------------------------------------------- how much, and when


def desired_count(target, baseline):
    """Connections wanted at a sparsity: round(target * baseline) are gone, at least one stays (if there was any)."""
    return max(min(1, baseline), baseline - round(target * baseline))


def prune_lowest(scores, n_removed, protect=None):
    """Mask without the `n_removed` lowest unprotected; ValueError when too few are unprotected."""
    loose = [index for index in range(len(scores)) if not (protect and protect[index])]
    if n_removed > len(loose):
        raise ValueError("too many are protected")
    gone = {loose[rank] for rank in lowest_first([scores[index] for index in loose])[:n_removed]}
    return [index not in gone for index in range(len(scores))]


def snip(weights, gradients):
    """|w g| of every connection, or |w| of every connection when no gradient is recorded (None)."""
    return [abs(w) if gradients is None else abs(w * gradients[i]) for i, w in enumerate(weights)]


def prune_to_sparsity(count, baseline, target):
    """(number to remove, evolutionary baseline after the call); `baseline` is None before the first capture."""
    if math.isnan(target):
        raise ValueError("target is not a number")
    if target <= 0:
        return 0, baseline
    baseline = count if baseline is None else baseline
    return max(0, count - desired_count(min(target, 0.999), baseline)), baseline


def sparsity(count, training_baseline=None, evolution_baseline=None):
    """1 - count / baseline clipped to [0, 1]: the training baseline, else the evolutionary one, else 0."""
    baseline = training_baseline if training_baseline is not None else evolution_baseline
    return min(1.0, max(0.0, 1 - count / baseline)) if baseline else 0.0


def ramp(name, target, start, end, iteration):
    """Sparsity wanted at an iteration: 0 up to `start`, the target from `end` on; `name` may be f(progress)."""
    if iteration >= end:
        return target
    p = max(0.0, (iteration - start) / (end - start))
    if name == "exponential":
        return 1 - (1 - target) ** p
    shapes = {"linear": p, "cubic": 1 - (1 - p) ** 3, "cosine": (1 - math.cos(math.pi * p)) / 2}
    return target * (name(p) if callable(name) else shapes[name])


def iterative(target, rounds, done):
    """Sparsity after `done` of `rounds` rounds that each take the same share of what is left."""
    return 1 - (1 - target) ** (done / rounds)


def schedule_fires(step, start, end, frequency=1):
    """A bare schedule fires at start, every frequency after, and at end."""
    return start <= step <= end and ((step - start) % frequency == 0 or step == end)


def fires(iteration, last, start, end, frequency=1):
    """A network also fires at its first call at or after `end`; never twice in a row at one iteration."""
    if iteration == last:
        return False
    late = iteration >= end and (last is None or last < end)
    return late or (start <= iteration <= end and (iteration - start) % frequency == 0)


def scheduled(calls, count, target, start, end, frequency=1, ramp_name="linear", baseline=None):
    """What successive maybe_prune(iteration) leave: [(fired, connections)], without outside changes or regrowth."""
    baseline, last, history = count if baseline is None else baseline, None, []
    for iteration in calls:
        fired = baseline > 0 and fires(iteration, last, start, end, frequency)
        if fired:
            last = iteration
            desired = desired_count(ramp(ramp_name, target, start, end, iteration), baseline)
            on_the_grid = start <= iteration <= end and (iteration - start) % frequency == 0
            fired = on_the_grid or count > desired  # at the end only if the target is not yet met
            count = min(count, desired)
        history.append((fired, count))
    return history


def regrow_count(fraction, excess, desired, free_after=None):
    """How many more to prune and grow again: the largest k allowed for which k places are free once they are gone.

    `free_after(n)`: free candidate places after removing n connections; None when there is always room.
    """
    k = max(0, min(round(fraction * min(excess, desired)), desired - 1))
    while free_after is not None and k and free_after(excess + k) < k:
        k -= 1
    return k
