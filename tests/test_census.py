"""Dead weight, weights in one column, fronts, and the check that kernels may trust packed genomes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle_evolution as e
import strategies as s
from bridge_evolution import genomes, packed
from neuroprune import kernels
from neuroprune.evolution.genomes import Genomes
from oracles import Plain


@st.composite
def packs(draw, most=4):
    """(plain networks of one shape, the same packed with room to spare)."""
    first = draw(genomes(min_connections=0))
    rng = np.random.default_rng(draw(s.SEEDS))
    plains = [first]
    for _ in range(draw(st.integers(0, most - 1))):
        kept = {pair: value for pair, value in first.connections.items() if rng.random() < 0.6}
        plains.append(replace(first, connections=kept))
    tight = packed(plains, rng.integers(0, 9, len(plains)).tolist())
    roomy = Genomes.room_for(tight.n_inputs, tight.n_outputs, tight.recurrent, tight.default_code,
                             tight.n_nodes + rng.integers(0, 4, len(plains)),
                             tight.n_connections + rng.integers(0, 4, len(plains)))
    roomy.columns.ids[:], roomy.columns.source[:], roomy.columns.incoming[:] = -7, 99, 99  # what nobody may read
    roomy.columns.parameters[:] = np.nan
    kernels.genomes.gather(tight.columns, np.arange(len(plains)), roomy.columns)
    return plains, roomy


def reaching(pairs, order, starts):
    """What can be reached from these nodes, by the powers of the matrix of neighbours."""
    place = {node: i for i, node in enumerate(order)}
    step = np.eye(len(order), dtype=int)
    for source, target in pairs:
        step[place[source], place[target]] = 1
    whole = np.linalg.matrix_power(step.astype(float), len(order)) > 0
    return {node for node in order if any(whole[place[one], place[node]] for one in starts)}


def dead(plain):
    """(dead hidden nodes, dead connections) of a network."""
    pairs = list(plain.connections)
    from_inputs = reaching(pairs, plain.order, plain.inputs)
    to_outputs = reaching([pair[::-1] for pair in pairs], plain.order, plain.outputs)
    lost = {node for node in plain.hidden if node not in from_inputs or node not in to_outputs}
    return len(lost), sum(source in lost or target in lost for source, target in pairs)


@given(packs(), st.data())
def test_dead_weight_is_what_no_path_through_the_network_meets(found, data):
    plains, pack = found
    start = data.draw(st.integers(0, len(plains)))
    stop = data.draw(st.integers(start, len(plains)))
    nodes, edges = np.full(len(plains), -5), np.full(len(plains), -5)
    kernels.census.dead_weight(pack.columns, pack.n_inputs, pack.n_outputs, start, stop, nodes, edges)
    wanted = [dead(plain) if start <= i < stop else (-5, -5) for i, plain in enumerate(plains)]
    assert list(zip(nodes.tolist(), edges.tolist(), strict=True)) == wanted


def test_dead_weight_by_hand():
    # 0 -> 3 -> 1 lives; 4 -> 1 starts nowhere, 0 -> 5 ends nowhere, 6 <-> 7 is a loop of its own
    pairs = {(0, 3): False, (3, 1): False, (4, 1): False, (0, 5): False, (6, 7): False, (7, 6): True}
    plain = network(1, 1, [0, 3, 4, 5, 6, 7, 1], pairs, True)
    pack, nodes, edges = packed([plain]), np.zeros(1, np.int64), np.zeros(1, np.int64)
    kernels.census.dead_weight(pack.columns, 1, 1, 0, 1, nodes, edges)
    assert (nodes[0], edges[0]) == (4, 4)


@given(st.lists(st.tuples(*[st.sampled_from([-np.inf, -1e308, -1.0, 0.0, 1e-300, 1.0, 1.7e308])] * 2), min_size=1,
                max_size=25))
def test_fronts_of_any_numbers(points):
    assert kernels.census.fronts(np.array(points)).tolist() == e.fronts(points)


# ---------------------------------------------------------------- what is no network


def legal(columns, g, n_inputs, n_outputs):
    """Whether genome g is a network, spelled out with lists."""
    n, m = int(columns.n_nodes[g]), int(columns.n_edges[g])
    first, edge, fixed = int(columns.node_start[g]), int(columns.edge_start[g]), n_inputs + n_outputs
    ids = columns.ids[first : first + n].tolist()
    bounds = columns.incoming[first : first + n + 1].tolist()
    biases = columns.parameters[first + edge + m : first + edge + m + n].tolist()
    if n < fixed or columns.baseline[g] < 0 or bounds[0] != 0 or bounds[-1] != m or bounds != sorted(bounds):
        return False
    inner = ids[n_inputs : n - n_outputs]
    if ids[:n_inputs] + ids[n - n_outputs :] != list(range(fixed)) or len(set(inner)) < len(inner):
        return False
    if any(node < fixed for node in inner) or any(biases[:n_inputs]) or bounds[n_inputs] != 0:
        return False
    for target in range(n):
        sources = columns.source[edge + bounds[target] : edge + bounds[target + 1]].tolist()
        if sources != sorted(set(sources)) or any(not 0 <= source < n for source in sources):
            return False
        for i, source in enumerate(sources, bounds[target]):
            late = columns.delayed.size and columns.delayed[edge + i]
            if not late and (source >= target or source >= n - n_outputs):
                return False
    return True


class Guarded(np.ndarray):
    """An array that has no places before its first one."""

    def __getitem__(self, key):
        ends = (key.start, key.stop) if isinstance(key, slice) else (key,)
        if any(end is not None and not 0 <= end <= self.size for end in ends):
            raise IndexError(f"{key} of {self.size}")
        return super().__getitem__(key)


def network(n_inputs, n_outputs, order, pairs, recurrent):
    pairs = {pair: (1.0, late) for pair, late in pairs.items()}
    return Plain(n_inputs, n_outputs, order, dict.fromkeys(order, 0.0), dict.fromkeys(order, "tanh"), pairs, recurrent)


EXAMPLE = network(2, 2, [0, 1, 4, 5, 2, 3], dict.fromkeys([(0, 4), (1, 4), (4, 5), (5, 2), (4, 3)], False), False)


def assert_judged(pack):
    """The kernel finds the first illegal genome, and reads nothing outside of the columns."""
    columns = pack.columns
    wrong = [g for g in range(len(pack)) if not legal(columns, g, pack.n_inputs, pack.n_outputs)]
    first = wrong[0] if wrong else -1
    assert kernels.census.first_fault(columns, pack.n_inputs, pack.n_outputs) == first
    plain = getattr(kernels.census.first_fault, "py_func", kernels.census.first_fault)
    guarded = columns._replace(**{name: getattr(columns, name).view(Guarded) for name in columns._fields})
    assert plain(guarded, pack.n_inputs, pack.n_outputs) == first
    return first


SHIFTS = (-(2**31), -100, -3, -2, -1, 1, 2, 3, 100, 2**31 - 1)
MUTABLE = ("ids", "incoming", "source", "delayed", "parameters", "baseline", "n_nodes", "n_edges")


def mutate(columns, rng):
    """Change one number of a column by a little or by much, exchange two, or copy one over another."""
    column = getattr(columns, MUTABLE[rng.integers(len(MUTABLE))])
    if column.size == 0:
        return
    i, j = rng.integers(column.size, size=2)
    if column is columns.n_nodes or column is columns.n_edges:  # sizes fit into their rooms already
        column[i] = rng.integers(1, column[i] + 1) if column is columns.n_nodes else rng.integers(column[i] + 1)
    elif column.dtype == np.bool_:
        column[i] = not column[i]
    elif rng.random() < 0.3:
        column[i], column[j] = column[j], column[i]
    elif rng.random() < 0.3:
        column[i] = column[j]
    else:
        info = np.iinfo(column.dtype) if column.dtype.kind == "i" else np.finfo(column.dtype)
        column[i] = min(max(column[i].item() + int(rng.choice(SHIFTS)), info.min), info.max)


@given(packs(), st.integers(0, 3), s.SEEDS)
def test_every_fault_is_found(found, count, seed):
    _, pack = found
    pack = pack.take(range(len(pack)))
    rng = np.random.default_rng(seed)
    for _ in range(count):
        mutate(pack.columns, rng)
    first = assert_judged(pack)
    assert count or first == -1


def test_mutations_meet_both_ends():
    rng, seen = np.random.default_rng(0), set()
    for _ in range(300):
        pack = packed([EXAMPLE, EXAMPLE])
        mutate(pack.columns, rng)
        seen.add(assert_judged(pack))
    assert seen == {-1, 0, 1}


FAULTS = {  # of 0 1 | 4 5 | 2 3 with 0->4 1->4 4->5 5->2 4->3; 5 inner positions are 2 and 3
    "an input by another name": ("ids", 0, 1), "an output by another name": ("ids", 4, 3),
    "a hidden node named like an output": ("ids", 2, 3), "two hidden nodes of one name": ("ids", 3, 4),
    "a negative name": ("ids", 2, -1), "a first connection that is not the first": ("incoming", 0, 1),
    "fewer connections than counted": ("incoming", 6, 4), "more connections than counted": ("incoming", 6, 6),
    "connections that end before they begin": ("incoming", 4, 1), "connections beyond the last": ("incoming", 4, 2**40),
    "a negative place": ("incoming", 3, -4), "an input with a connection": ("incoming", 2, 1),
    "a connection twice": ("source", 1, 0), "connections out of order": ("source", 0, 1),
    "a source beyond the nodes": ("source", 2, 6), "a negative source": ("source", 0, -1),
    "a connection from itself": ("source", 2, 3), "a connection backwards": ("source", 0, 3),
    "a connection from an output": ("source", 4, 4), "a bias of an input": ("parameters", 5, 1e-300),
    "a negative baseline": ("baseline", 0, -1), "fewer nodes than inputs and outputs": ("n_nodes", 0, 3),
    "fewer edges than the nodes have": ("n_edges", 0, 4),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_kind_of_fault(fault):
    pack = packed([EXAMPLE, EXAMPLE])
    assert assert_judged(pack) == -1
    name, place, value = FAULTS[fault]
    getattr(pack.columns, name)[place] = value
    assert assert_judged(pack) == 0


def test_a_delay_makes_the_difference():
    pairs = {(0, 2): False, (3, 2): True, (2, 3): False, (3, 1): True, (1, 1): True}
    plain = network(1, 1, [0, 2, 3, 1], pairs, True)
    for place, wanted in ((0, -1), (1, 0), (2, -1), (3, -1), (4, 0)):  # 0->2 3->2 2->3 3->1 1->1 in storage order
        pack = packed([plain])
        pack.columns.delayed[place] ^= True
        assert assert_judged(pack) == wanted
