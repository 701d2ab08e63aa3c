"""Wiring: order, packing, compaction, insertion and reachability over the columns of a graph.

Positions count nodes in activation order: inputs, hidden nodes, outputs. `incoming` (N+1,) int64 delimits the
connections of each target; `source` (E,) int32 ascends within each target.
"""

import numpy as np

from neuroprune.kernels.compile import jit


@jit
def _sift_up(heap, size):
    child = size - 1
    while child > 0:
        parent = (child - 1) // 2
        if heap[parent] <= heap[child]:
            break
        heap[parent], heap[child] = heap[child], heap[parent]
        child = parent


@jit
def _sift_down(heap, size):
    parent = 0
    while 2 * parent + 1 < size:
        child = 2 * parent + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[parent] <= heap[child]:
            break
        heap[parent], heap[child] = heap[child], heap[parent]
        parent = child


@jit
def arrange(n, n_inputs, n_outputs, source, target, delayed):
    """Kahn's algorithm, taking the ready node of lowest number; numbers put inputs first and outputs last.

    Returns (position of each node, nodes placed); fewer placed than n means that a cycle holds the rest, whose
    position is -1. Delayed connections do not count; `delayed` may be empty, meaning none.
    """
    waiting = np.zeros(n, np.int64)
    starts = np.zeros(n + 1, np.int64)
    for edge in range(source.size):
        if delayed.size == 0 or not delayed[edge]:
            waiting[target[edge]] += 1
            starts[source[edge] + 1] += 1
    for node in range(n):
        starts[node + 1] += starts[node]
    fill = starts[:n].copy()
    outgoing = np.empty(starts[n], np.int64)
    for edge in range(source.size):
        if delayed.size == 0 or not delayed[edge]:
            outgoing[fill[source[edge]]] = target[edge]
            fill[source[edge]] += 1
    position = np.full(n, -1, np.int64)
    heap = np.empty(n, np.int64)
    size = 0
    placed = 0
    for node in range(n):
        if node < n_inputs or (waiting[node] == 0 and node < n - n_outputs):
            heap[size] = node
            size += 1
            _sift_up(heap, size)
    while size > 0:
        node = heap[0]
        size -= 1
        heap[0] = heap[size]
        _sift_down(heap, size)
        position[node] = placed
        placed += 1
        for i in range(starts[node], starts[node + 1]):
            follower = outgoing[i]
            waiting[follower] -= 1
            if waiting[follower] == 0 and follower < n - n_outputs:
                heap[size] = follower
                size += 1
                _sift_up(heap, size)
    if placed == n - n_outputs:
        for node in range(n - n_outputs, n):
            position[node] = placed
            placed += 1
    return position, placed


@jit
def pack(n, source, target):
    """Sort connections by (target, source): returns (their order, incoming, index of a duplicate or -1)."""
    count = source.size
    place = np.zeros(n + 1, np.int64)
    for edge in range(count):
        place[source[edge] + 1] += 1
    for node in range(n):
        place[node + 1] += place[node]
    by_source = np.empty(count, np.int64)
    for edge in range(count):
        by_source[place[source[edge]]] = edge
        place[source[edge]] += 1
    incoming = np.zeros(n + 1, np.int64)
    for edge in range(count):
        incoming[target[edge] + 1] += 1
    for node in range(n):
        incoming[node + 1] += incoming[node]
    for node in range(n):
        place[node] = incoming[node]
    order = np.empty(count, np.int64)
    for i in range(count):
        edge = by_source[i]
        order[place[target[edge]]] = edge
        place[target[edge]] += 1
    duplicate = -1
    for i in range(1, count):
        if target[order[i]] == target[order[i - 1]] and source[order[i]] == source[order[i - 1]]:
            duplicate = order[i]
            break
    return order, incoming, duplicate


@jit
def id_range(source_ids, target_ids, other_ids):
    """(lowest, highest) of all ids, (0, 0) without any."""
    lowest = highest = 0
    for edge in range(source_ids.size):
        lowest = min(lowest, source_ids[edge], target_ids[edge])
        highest = max(highest, source_ids[edge], target_ids[edge])
    for i in range(other_ids.size):
        lowest = min(lowest, other_ids[i])
        highest = max(highest, other_ids[i])
    return lowest, highest


@jit
def number_nodes(n_inputs, n_outputs, source_ids, target_ids, other_ids, limit):
    """Provisional positions (inputs, hidden by id, outputs) through a table of `limit` ids.

    Returns (hidden ids ascending, source, target).
    """
    n_fixed = n_inputs + n_outputs
    place = np.full(limit, -1, np.int64)
    for edge in range(source_ids.size):
        place[source_ids[edge]] = 0
        place[target_ids[edge]] = 0
    for i in range(other_ids.size):
        place[other_ids[i]] = 0
    count = 0
    for i in range(n_fixed, limit):
        if place[i] == 0:
            place[i] = n_inputs + count
            count += 1
    hidden = np.empty(count, np.int64)
    for i in range(n_fixed, limit):
        if place[i] >= 0:
            hidden[place[i] - n_inputs] = i
    for i in range(n_inputs):
        place[i] = i
    for i in range(n_inputs, n_fixed):
        place[i] = i + count
    source = np.empty(source_ids.size, np.int64)
    target = np.empty(source_ids.size, np.int64)
    for edge in range(source_ids.size):
        source[edge] = place[source_ids[edge]]
        target[edge] = place[target_ids[edge]]
    return hidden, source, target


@jit
def compact_incoming(keep, incoming):
    """The `incoming` column after keeping the marked connections."""
    result = np.empty_like(incoming)
    result[0] = 0
    count = 0
    for node in range(incoming.size - 1):
        for edge in range(incoming[node], incoming[node + 1]):
            count += keep[edge]
        result[node + 1] = count
    return result


@jit
def compact(keep, count, column):
    """The marked entries of a column; count is how many are marked. Writes always, moves on when kept."""
    result = np.empty(count + 1, column.dtype)
    place = 0
    for edge in range(column.size):
        result[place] = column[edge]
        place += keep[edge]
    return result[:count]


@jit
def compact_pair(keep, count, source, weight):
    """Compact both columns in one pass."""
    sources = np.empty(count + 1, source.dtype)
    weights = np.empty(count + 1, weight.dtype)
    place = 0
    for edge in range(source.size):
        sources[place] = source[edge]
        weights[place] = weight[edge]
        place += keep[edge]
    return sources[:count], weights[:count]


@jit
def first_from(source, first, last, bound):
    """The first place in the ascending source[first:last] whose source is at least `bound`."""
    while first < last:
        middle = (first + last) // 2
        if source[middle] < bound:
            first = middle + 1
        else:
            last = middle
    return first


@jit
def passed_over(source, first, last, lowest, rank):
    """How many connections of source[first:last] lie before the free slot of this rank, slots from `lowest` on."""
    low = first
    high = last
    while low < high:
        middle = (low + high) // 2
        if source[middle] - lowest - (middle - first) <= rank:
            low = middle + 1
        else:
            high = middle
    return low - first


@jit
def free_before(incoming, source, lowest, highest):
    """Free slots before each target (N+1,): sources lowest[t] <= s < highest[t] less those that are connected."""
    before = np.empty_like(incoming)
    before[0] = 0
    for node in range(incoming.size - 1):
        first = first_from(source, incoming[node], incoming[node + 1], lowest[node])
        last = first_from(source, first, incoming[node + 1], highest[node])
        before[node + 1] = before[node] + max(highest[node] - lowest[node], 0) - (last - first)
    return before


@jit
def free_slots(incoming, source, lowest, before, ranks):
    """The (target, source) pairs of ascending ranks among the free slots, numbered in (target, source) order."""
    targets = np.empty(ranks.size, np.int32)
    sources = np.empty(ranks.size, np.int32)
    node = 0
    first = 0
    for i in range(ranks.size):
        while ranks[i] >= before[node + 1]:
            node += 1
            first = -1
        if i == 0 or first < 0:
            first = first_from(source, incoming[node], incoming[node + 1], lowest[node])
        rank = ranks[i] - before[node]
        targets[i] = node
        sources[i] = lowest[node] + rank + passed_over(source, first, incoming[node + 1], lowest[node], rank)
    return targets, sources


@jit
def insert(incoming, source, weight, new_target, new_source, new_weight):
    """Merge connections sorted by (target, source) into the columns; also returns where the new ones landed."""
    count = source.size + new_source.size
    result = np.empty_like(incoming)
    sources = np.empty(count, source.dtype)
    weights = np.empty(count, weight.dtype)
    landed = np.empty(new_source.size, np.int64)
    result[0] = 0
    place = 0
    i = 0
    for node in range(incoming.size - 1):
        edge = incoming[node]
        last = incoming[node + 1]
        while i < new_source.size and new_target[i] == node:
            while edge < last and source[edge] < new_source[i]:
                sources[place] = source[edge]
                weights[place] = weight[edge]
                edge += 1
                place += 1
            sources[place] = new_source[i]
            weights[place] = new_weight[i]
            landed[i] = place
            i += 1
            place += 1
        while edge < last:
            sources[place] = source[edge]
            weights[place] = weight[edge]
            edge += 1
            place += 1
        result[node + 1] = place
    return result, sources, weights, landed


@jit
def match(former, incoming, source, new_incoming, new_source):
    """For each new connection, the index of the one it was, or -1; former[p] is the old position of node p or -1."""
    n_old = incoming.size - 1
    stamp = np.full(n_old, -1, np.int64)
    index = np.empty(n_old, np.int64)
    result = np.full(new_source.size, -1, np.int64)
    for node in range(new_incoming.size - 1):
        old = former[node]
        if old < 0:
            continue
        for edge in range(incoming[old], incoming[old + 1]):
            stamp[source[edge]] = node
            index[source[edge]] = edge
        for edge in range(new_incoming[node], new_incoming[node + 1]):
            old_source = former[new_source[edge]]
            if old_source >= 0 and stamp[old_source] == node:
                result[edge] = index[old_source]
    return result


@jit
def ends_fit(n, n_inputs, n_outputs, source, target, delayed):
    """Whether no connection leads into an input and no forward one leaves an output or joins a node to itself."""
    for edge in range(source.size):
        late = delayed.size > 0 and delayed[edge]
        if target[edge] < n_inputs or (not late and (source[edge] >= n - n_outputs or source[edge] == target[edge])):
            return False
    return True


@jit
def sound(incoming, source, delayed, n_inputs, n_outputs):
    """Whether connections are sorted, within range, into no input and, unless delayed, forward and from no output."""
    n = incoming.size - 1
    for node in range(n):
        if incoming[node] > incoming[node + 1] or (node < n_inputs and incoming[node + 1] > 0):
            return False
        previous = -1
        for edge in range(incoming[node], incoming[node + 1]):
            late = delayed.size > 0 and delayed[edge]
            if source[edge] <= previous or source[edge] >= n or (
                    not late and source[edge] >= min(node, n - n_outputs)):
                return False
            previous = source[edge]
    return True


@jit
def targets(incoming):
    """The target column."""
    result = np.empty(incoming[-1], np.int32)
    for node in range(incoming.size - 1):
        for edge in range(incoming[node], incoming[node + 1]):
            result[edge] = node
    return result


@jit
def depths(incoming, source, delayed, n_inputs):
    """Longest path over forward connections; inputs and nodes without forward sources are 0."""
    n = incoming.size - 1
    depth = np.zeros(n, np.int64)
    for node in range(n_inputs, n):
        for edge in range(incoming[node], incoming[node + 1]):
            if delayed.size == 0 or not delayed[edge]:
                depth[node] = max(depth[node], depth[source[edge]] + 1)
    return depth


@jit
def reaching(incoming, source, n_outputs):
    """Which nodes reach an output (outputs do), over all connections."""
    n = incoming.size - 1
    reached = np.zeros(n, np.bool_)
    stack = np.empty(n, np.int64)
    size = 0
    for node in range(n - n_outputs, n):
        reached[node] = True
        stack[size] = node
        size += 1
    while size > 0:
        size -= 1
        node = stack[size]
        for edge in range(incoming[node], incoming[node + 1]):
            if not reached[source[edge]]:
                reached[source[edge]] = True
                stack[size] = source[edge]
                size += 1
    return reached


@jit
def reached_from_inputs(incoming, source, n_inputs):
    """Which nodes an input reaches (inputs are), over all connections."""
    n = incoming.size - 1
    starts = np.zeros(n + 1, np.int64)
    for edge in range(source.size):
        starts[source[edge] + 1] += 1
    for node in range(n):
        starts[node + 1] += starts[node]
    fill = starts[:n].copy()
    outgoing = np.empty(source.size, np.int64)
    for node in range(n):
        for edge in range(incoming[node], incoming[node + 1]):
            outgoing[fill[source[edge]]] = node
            fill[source[edge]] += 1
    reached = np.zeros(n, np.bool_)
    reached[:n_inputs] = True
    stack = np.empty(n, np.int64)
    stack[:n_inputs] = np.arange(n_inputs)
    size = n_inputs
    while size > 0:
        size -= 1
        node = stack[size]
        for i in range(starts[node], starts[node + 1]):
            if not reached[outgoing[i]]:
                reached[outgoing[i]] = True
                stack[size] = outgoing[i]
                size += 1
    return reached
