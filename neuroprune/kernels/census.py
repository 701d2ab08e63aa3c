"""What a population looks like: dead weight, non-dominated fronts, soundness."""

import numpy as np

from neuroprune.kernels.compile import jit


@jit
def _spread(columns, g, n_inputs, n_outputs, forward, alive):
    """Mark what inputs reach (forward), or what reaches outputs, over all connections; sweeps until nothing changes."""
    first, n, edge = columns.node_start[g], columns.n_nodes[g], columns.edge_start[g]
    for node in range(n):
        alive[node] = node < n_inputs if forward else node >= n - n_outputs
    changed = True
    while changed:
        changed = False
        for step in range(n):
            node = step if forward else n - 1 - step
            for i in range(columns.incoming[first + node], columns.incoming[first + node + 1]):
                source = columns.source[edge + i]
                if forward and alive[source] and not alive[node]:
                    alive[node] = changed = True
                elif not forward and alive[node] and not alive[source]:
                    alive[source] = True
                    changed = changed or source > node  # an earlier one is still to come in this sweep
        changed = changed and columns.delayed.size > 0  # one sweep in activation order sees all of an acyclic genome


@jit
def dead_weight(columns, n_inputs, n_outputs, start, stop, dead_nodes, dead_edges):
    """Count hidden nodes that no input reaches or that reach no output, and connections from or to such nodes."""
    most = columns.n_nodes.max()
    reached = np.empty(most, np.bool_)
    reaching = np.empty(most, np.bool_)
    for g in range(start, stop):
        first, n, edge = columns.node_start[g], columns.n_nodes[g], columns.edge_start[g]
        _spread(columns, g, n_inputs, n_outputs, True, reached)
        _spread(columns, g, n_inputs, n_outputs, False, reaching)
        for node in range(n):
            hidden = n_inputs <= node < n - n_outputs
            reached[node] = not hidden or (reached[node] and reaching[node])
        nodes = edges = 0
        for node in range(n):
            nodes += not reached[node]
            for i in range(columns.incoming[first + node], columns.incoming[first + node + 1]):
                edges += not (reached[node] and reached[columns.source[edge + i]])
        dead_nodes[g], dead_edges[g] = nodes, edges


@jit
def fronts(values):
    """Front of each row of values (n, m), larger being better in every column; 0 is non-dominated.

    Deb et al. 2002, section III-A, with the counts only: a row's front is one more than the last front that
    dominates it.
    """
    n, m = values.shape
    beaten_by = np.zeros(n, np.int64)
    front = np.full(n, -1, np.int64)
    for i in range(n):
        for j in range(n):
            no_worse = better = True
            better = False
            for k in range(m):
                no_worse = no_worse and values[j, k] >= values[i, k]
                better = better or values[j, k] > values[i, k]
            beaten_by[i] += no_worse and better
    current = np.empty(n, np.int64)
    placed = level = 0
    while placed < n:
        size = 0
        for i in range(n):
            if front[i] < 0 and beaten_by[i] == 0:
                current[size] = i
                size += 1
        for place in range(size):
            front[current[place]] = level
        for i in range(n):
            if front[i] < 0:
                for place in range(size):
                    j = current[place]
                    no_worse = True
                    better = False
                    for k in range(m):
                        no_worse = no_worse and values[j, k] >= values[i, k]
                        better = better or values[j, k] > values[i, k]
                    beaten_by[i] -= no_worse and better
        placed += size
        level += 1
    return front


@jit
def first_fault(columns, n_inputs, n_outputs):
    """The first genome that is no legal network, or -1. Sizes and rooms of the columns must fit already."""
    fixed = n_inputs + n_outputs
    for g in range(columns.n_nodes.size):
        first, n, edge, e = columns.node_start[g], columns.n_nodes[g], columns.edge_start[g], columns.n_edges[g]
        if n < fixed or columns.incoming[first] != 0 or columns.incoming[first + n] != e or columns.baseline[g] < 0:
            return g
        for node in range(n):
            last = columns.incoming[first + node + 1]
            if last < columns.incoming[first + node] or last > e:
                return g
            node_id = columns.ids[first + node]
            if node < n_inputs:
                legal = node_id == node and last == 0 and columns.parameters[first + edge + e + node] == 0.0
            elif node < n - n_outputs:
                legal = node_id >= fixed
            else:
                legal = node_id == n_inputs + node - (n - n_outputs)
            if not legal:
                return g
        hidden = np.sort(columns.ids[first + n_inputs:first + n - n_outputs])
        for i in range(1, hidden.size):
            if hidden[i] == hidden[i - 1]:
                return g
        for node in range(n):
            previous = -1
            for i in range(columns.incoming[first + node], columns.incoming[first + node + 1]):
                source = columns.source[edge + i]
                late = columns.delayed.size > 0 and columns.delayed[edge + i]
                if source <= previous or source >= n or (not late and source >= min(node, n - n_outputs)):
                    return g
                previous = source
    return -1
