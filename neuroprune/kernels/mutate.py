"""Mutation operators on one genome in its workspace, and the instructions that name them in programs.

A program (see `run_program` in breed.py) is a table of rows [instruction, a, b, c, d]; `choices` holds the activation
codes that rows refer to. Every random number comes from `state` (see random.py). An operator that cannot act leaves
the genome alone.
"""

import math

import numpy as np

from neuroprune.kernels import structure
from neuroprune.kernels.compile import jit
from neuroprune.kernels.random import below, normal, normals, sample, uniform, word

(SKIP, JUMP, ADD_NODE, REMOVE_NODE, ADD_CONNECTION, REMOVE_CONNECTION, PERTURB_WEIGHTS, PERTURB_BIASES,
 CHANGE_ACTIVATION, PRUNE, PRUNE_TO_SPARSITY, REGROW) = range(12)
MAGNITUDE, MAGNITUDE_L2, RANDOM, GIVEN = range(4)
ATTEMPTS = 50  # draws of a pair before the free places are listed
NEW_WEIGHT = 0.1  # regrown weights are drawn from U(-NEW_WEIGHT, NEW_WEIGHT)
MAX_SPARSITY = 0.999
WORD = 4294967296.0


@jit
def half_even(value):
    """Python's round of a number that is not negative."""
    whole = math.floor(value)
    rest = value - whole
    if rest > 0.5 or (rest == 0.5 and whole % 2.0 == 1.0):
        whole += 1.0
    return int(whole)


@jit
def target_of(genome, edge):
    """The node that a connection leads to."""
    incoming = genome.incoming
    low, high = 0, genome.size[0]
    while high - low > 1:
        middle = (low + high) // 2
        if incoming[middle] <= edge:
            low = middle
        else:
            high = middle
    return low


@jit
def connected(genome, source, target):
    """Whether a connection joins these positions."""
    column, last = genome.source, genome.incoming[target + 1]
    place = structure.first_from(column, genome.incoming[target], last, source)
    return place < last and column[place] == source


@jit
def close_gap(column, place, last):
    """Move column[place + 1:last] one place back."""
    for i in range(place + 1, last):
        column[i - 1] = column[i]


@jit
def make_room(column, place, last):
    """Move column[place:last] one place on."""
    for i in range(last, place, -1):
        column[i] = column[i - 1]


@jit
def take_edge(genome, place, target):
    """Remove the connection at this place, which leads to this target."""
    size, incoming = genome.size, genome.incoming
    n, e = size[0], size[1]
    close_gap(genome.source, place, e)
    close_gap(genome.weight, place, e)
    if genome.delayed.size > 0:
        close_gap(genome.delayed, place, e)
    for node in range(target + 1, n + 1):
        incoming[node] -= 1
    size[1] = e - 1
    size[4] = 1


@jit
def insert_edge(genome, source, target, weight, late):
    """Add a connection that fits the order."""
    size, incoming = genome.size, genome.incoming
    n, e = size[0], size[1]
    place = structure.first_from(genome.source, incoming[target], incoming[target + 1], source)
    make_room(genome.source, place, e)
    make_room(genome.weight, place, e)
    genome.source[place] = source
    genome.weight[place] = weight
    if genome.delayed.size > 0:
        make_room(genome.delayed, place, e)
        genome.delayed[place] = late
    for node in range(target + 1, n + 1):
        incoming[node] += 1
    size[1] = e + 1
    size[4] = 1


@jit
def keep_edges(genome, keep):
    """Keep the marked connections."""
    size, incoming, source, weight, delayed = genome.size, genome.incoming, genome.source, genome.weight, genome.delayed
    place = 0
    edge = 0
    for node in range(size[0]):
        last = incoming[node + 1]
        while edge < last:
            source[place] = source[edge]
            weight[place] = weight[edge]
            if delayed.size > 0:
                delayed[place] = delayed[edge]
            place += int(keep[edge])
            edge += 1
        incoming[node + 1] = place
    if place < size[1]:
        size[4] = 1
    size[1] = place


@jit
def add_node(genome, n_outputs, code, state):
    """Split a random connection; the new node's id is -1 - the row of its record in `splits`."""
    size, ids, incoming, column = genome.size, genome.ids, genome.incoming, genome.source
    n, e = size[0], size[1]
    if e == 0:
        return
    split = below(state, e)
    target, source = target_of(genome, split), np.int64(column[split])
    late = genome.delayed.size > 0 and genome.delayed[split]
    weight = genome.weight[split]
    place = min(target, n - n_outputs)
    record = size[3]
    genome.splits[record, 0], genome.splits[record, 1] = ids[source], ids[target]
    size[3] = record + 1
    # take the connection out, make room for the node, put both halves in
    take_edge(genome, split, target)
    for i in range(e - 1):
        column[i] += column[i] >= place
    make_room(incoming, place, n + 1)
    make_room(ids, place, n)
    make_room(genome.code, place, n)
    make_room(genome.bias, place, n)
    ids[place], genome.code[place], genome.bias[place] = -1 - record, code, 0.0
    size[0] = n + 1
    insert_edge(genome, source + (source >= place), place, 1.0, late)
    insert_edge(genome, place, target + 1, weight, np.bool_(False))
    if size[2] > 0:
        size[2] += 1


@jit
def remove_node(genome, n_inputs, n_outputs, state):
    """Remove a random hidden node with its connections, unless they are the last."""
    n, e = genome.size[0], genome.size[1]
    hidden = n - n_inputs - n_outputs
    if hidden == 0:
        return
    node = n_inputs + below(state, hidden)
    incoming, source = genome.incoming, genome.source
    keep = np.empty(e, np.uint8)
    left = 0
    for target in range(n):
        for edge in range(incoming[target], incoming[target + 1]):
            keep[edge] = target != node and source[edge] != node
            left += int(keep[edge])
    if left == 0:
        return
    keep_edges(genome, keep)
    for i in range(left):
        source[i] -= source[i] > node
    close_gap(genome.ids, node, n)
    close_gap(genome.code, node, n)
    close_gap(genome.bias, node, n)
    close_gap(incoming, node, n + 1)
    genome.size[0] = n - 1
    genome.size[4] = 1


@jit
def reaches(genome, start, goal, seen, stack):
    """Whether a forward path leads from position start to the later position goal, searched backwards."""
    incoming, column = genome.incoming, genome.source
    for node in range(start, goal + 1):
        seen[node] = 0
    stack[0] = goal
    size = 1
    while size > 0:
        size -= 1
        node = stack[size]
        for edge in range(incoming[node], incoming[node + 1]):
            source = column[edge]
            if source == start:
                return True
            if source > start and seen[source] == 0:
                seen[source] = 1
                stack[size] = source
                size += 1
    return False


@jit
def _reorder(genome, n_inputs, n_outputs, source, target, weight):
    """Add a connection against the order of an acyclic genome: Kahn, the lowest former position first."""
    n, e = genome.size[0], genome.size[1]
    sources = np.empty(e + 1, np.int64)
    targets = np.empty(e + 1, np.int64)
    weights = np.empty(e + 1)
    for node in range(n):
        for edge in range(genome.incoming[node], genome.incoming[node + 1]):
            sources[edge], targets[edge], weights[edge] = genome.source[edge], node, genome.weight[edge]
    sources[e], targets[e], weights[e] = source, target, weight
    position, _ = structure.arrange(n, n_inputs, n_outputs, sources, targets, genome.delayed)
    for edge in range(e + 1):
        sources[edge], targets[edge] = position[sources[edge]], position[targets[edge]]
    order, incoming, _ = structure.pack(n, sources, targets)
    for i in range(e + 1):
        genome.source[i], genome.weight[i] = sources[order[i]], weights[order[i]]
    ids, code, bias = genome.ids[:n].copy(), genome.code[:n].copy(), genome.bias[:n].copy()
    for node in range(n):
        place = position[node]
        genome.ids[place], genome.code[place], genome.bias[place] = ids[node], code[node], bias[node]
    for node in range(n + 1):
        genome.incoming[node] = incoming[node]
    genome.size[1] = e + 1
    genome.size[4] = 1


@jit
def _free_pair(genome, n_inputs, n_outputs, state):
    """List the legal free pairs and draw one; (-1, -1) when there is none."""
    n = genome.size[0]
    recurrent = genome.delayed.size > 0
    sources = n if recurrent else n - n_outputs
    free = np.ones((n, sources), np.uint8)  # [target, source]
    starts = np.zeros(n + 1, np.int64)
    for target in range(n_inputs, n):
        for edge in range(genome.incoming[target], genome.incoming[target + 1]):
            free[target, genome.source[edge]] = 0
        if not recurrent:
            free[target, min(target, sources - 1)] *= target >= sources
    if not recurrent:  # whoever comes after a target and is reached from it must not feed it
        ahead = np.empty(n, np.uint8)
        for target in range(n_inputs, sources):
            for node in range(target, sources):
                ahead[node] = node == target
            for node in range(target + 1, sources):
                for edge in range(genome.incoming[node], genome.incoming[node + 1]):
                    if genome.source[edge] >= target and ahead[genome.source[edge]] == 1:
                        ahead[node] = 1
                        free[target, node] = 0
                        break
    for target in range(n):
        starts[target + 1] = starts[target]
        if target >= n_inputs:
            for source in range(sources):
                starts[target + 1] += free[target, source]
    if starts[n] == 0:
        return -1, -1
    rank = below(state, starts[n])
    target = 0
    while starts[target + 1] <= rank:
        target += 1
    rank -= starts[target]
    source = 0
    while rank > 0 or free[target, source] == 0:
        rank -= free[target, source]
        source += 1
    return source, target


@jit
def add_connection(genome, n_inputs, n_outputs, power, state):
    """Join a uniformly drawn legal pair, also against the present order; the weight is normal with this deviation."""
    n = genome.size[0]
    recurrent = genome.delayed.size > 0
    sources = n if recurrent else n - n_outputs
    seen = np.empty(n, np.uint8)
    stack = np.empty(n, np.int64)
    source = target = -1
    attempt = 0
    while source < 0 and attempt < ATTEMPTS:
        source, target = below(state, sources), n_inputs + below(state, n - n_inputs)
        taken = connected(genome, source, target)
        if not recurrent and not taken and source >= target:
            taken = source == target or reaches(genome, target, source, seen, stack)
        if taken:
            source = -1
        attempt += 1
    if source < 0:
        source, target = _free_pair(genome, n_inputs, n_outputs, state)
        if source < 0:
            return
    weight = power * normal(state)
    if recurrent or source < target:
        insert_edge(genome, source, target, weight, recurrent and (source >= target or source >= n - n_outputs))
    else:
        _reorder(genome, n_inputs, n_outputs, source, target, weight)
    if genome.size[2] > 0:
        genome.size[2] += 1


@jit
def remove_connection(genome, state):
    """Remove a random connection, unless it is the last."""
    e = genome.size[1]
    if e <= 1:
        return
    place = below(state, e)
    take_edge(genome, place, target_of(genome, place))


@jit
def perturb(column, rate, power, replace_rate, replace_power, state):
    """Each number changes with probability `rate`: by a normal step, or, in a share of the cases, to a new number.

    One word decides for each number; normals are drawn only for those that change.
    """
    change = rate * WORD
    replace = rate * replace_rate * WORD
    chosen = np.empty(column.size, np.int64)  # 2 i to step, 2 i + 1 to replace
    changed = 0
    for i in range(column.size):
        drawn = float(word(state))
        chosen[changed] = 2 * i + (drawn < replace)
        changed += drawn < change
    steps = np.empty(changed + 1)
    normals(state, changed, steps)
    for j in range(changed):
        i = chosen[j] >> 1
        column[i] = replace_power * steps[j] if chosen[j] & 1 else column[i] + power * steps[j]


@jit
def change_activation(genome, n_inputs, rate, choices, first, count, state):
    """Each hidden node's and output's activation is drawn anew with probability `rate`."""
    for node in range(n_inputs, genome.size[0]):
        if uniform(state) < rate:
            genome.code[node] = choices[first + below(state, count)]


@jit
def _smallest(values, rank):
    """The value of this rank from below (Hoare 1961); reorders. numba takes seconds to compile `np.partition`."""
    first, last = 0, values.size - 1
    while first < last:
        pivot = values[(first + last) // 2]
        low, high = first, last
        while low <= high:
            while values[low] < pivot:
                low += 1
            while pivot < values[high]:
                high -= 1
            if low <= high:
                values[low], values[high] = values[high], values[low]
                low += 1
                high -= 1
        if rank <= high:
            last = high
        elif rank >= low:
            first = low
        else:
            break
    return values[rank]


@jit
def keep_best(scores, drop, keep):
    """Mark all but the `drop` lowest scores; of equal ones the earlier go first."""
    count = scores.size
    if drop == 0:
        keep[:count] = 1
        return
    value = _smallest(scores.copy(), drop - 1)
    equals = drop
    for i in range(count):
        equals -= scores[i] < value
    for i in range(count):
        goes = scores[i] < value
        if scores[i] == value and equals > 0:
            equals -= 1
            goes = True
        keep[i] = not goes


@jit
def prune_to(genome, desired, method, given, state):
    """Remove the lowest scores until `desired` connections are left; `given` are scores of one's own."""
    e = genome.size[1]
    if e <= desired:
        return
    scores = np.empty(e)
    for i in range(e):
        if method == RANDOM:
            scores[i] = uniform(state)
        elif method == GIVEN:
            scores[i] = given[i]
        elif method == MAGNITUDE_L2:
            scores[i] = genome.weight[i] * genome.weight[i]
        else:
            scores[i] = abs(genome.weight[i])
    keep = np.empty(e, np.uint8)
    keep_best(scores, e - desired, keep)
    keep_edges(genome, keep)


@jit
def slots(genome, n_inputs, n_outputs):
    """Legal sources 0 <= s < highest of each target in the present order."""
    n = genome.size[0]
    highest = np.empty(n, np.int64)
    for node in range(n):
        highest[node] = 0 if node < n_inputs else (n if genome.delayed.size > 0 else min(node, n - n_outputs))
    return np.zeros(n, np.int64), highest


@jit
def regrow(genome, n_inputs, n_outputs, count, state):
    """Grow so many connections at uniformly drawn free places of the present order, as many as there is room for."""
    n, e = genome.size[0], genome.size[1]
    lowest, highest = slots(genome, n_inputs, n_outputs)
    incoming = genome.incoming[:n + 1].copy()
    before = structure.free_before(incoming, genome.source[:e].copy(), lowest, highest)
    count = min(count, before[n])
    if count <= 0:
        return
    ranks = sample(before[n], count, state)
    targets, sources = structure.free_slots(incoming, genome.source[:e].copy(), lowest, before, ranks)
    weights = np.empty(count)
    for i in range(count):
        weights[i] = NEW_WEIGHT * (2.0 * uniform(state) - 1.0)
    _merge(genome, n_outputs, targets, sources, weights)


@jit
def _merge(genome, n_outputs, targets, sources, weights):
    """Put in connections that are sorted by (target, source) and fit the order, in one pass from the end."""
    incoming, source, weight, delayed = genome.incoming, genome.source, genome.weight, genome.delayed
    n, edge, i = genome.size[0], genome.size[1] - 1, sources.size - 1
    place = genome.size[1] + sources.size
    genome.size[1] = place
    genome.size[4] = 1
    for node in range(n - 1, -1, -1):
        first = incoming[node]
        incoming[node + 1] = place
        while edge >= first or (i >= 0 and targets[i] == node):
            place -= 1
            if i >= 0 and targets[i] == node and (edge < first or source[edge] < sources[i]):
                source[place] = sources[i]
                weight[place] = weights[i]
                if delayed.size > 0:
                    delayed[place] = sources[i] >= node or sources[i] >= n - n_outputs
                i -= 1
            else:
                source[place] = source[edge]
                weight[place] = weight[edge]
                if delayed.size > 0:
                    delayed[place] = delayed[edge]
                edge -= 1


@jit
def prune_to_sparsity(genome, n_inputs, n_outputs, target, regrow_fraction, method, given, state):
    """Prune to a share of the evolutionary baseline, captured now where there is none.

    Some of what goes grows anew elsewhere: round(regrow_fraction * min(excess, desired)), at most desired - 1.
    """
    e = genome.size[1]
    if target <= 0.0 or e == 0:
        return
    if genome.size[2] == 0:
        genome.size[2] = e
    baseline = genome.size[2]
    desired = max(1, baseline - half_even(min(target, MAX_SPARSITY) * baseline))
    if e <= desired:
        return
    grown = min(half_even(regrow_fraction * min(e - desired, desired)), desired - 1)
    prune_to(genome, desired - grown, method, given, state)
    removed = e - genome.size[1]
    regrow(genome, n_inputs, n_outputs, grown, state)
    genome.size[5] += removed
    genome.size[6] += genome.size[1] - e + removed
