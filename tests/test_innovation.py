"""Innovations: the same split gets the same id, another split another."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuroprune as npr
import strategies as s
from bridge import assert_one_sentence
from neuroprune.evolution.mutation import AddConnection, AddNode, Prune, RemoveNode, Sequence


def ids(*numbers):
    return np.array(numbers, np.int64)


def pair_net(weight=0.5):
    return npr.Network.from_connections(1, 1, [(0, 1, weight)])


def test_the_same_split_is_one_name_and_another_split_another():
    innovations = npr.Innovations(10)
    assert innovations.name(0, 2, ids(0, 1, 2)) == 10
    assert innovations.name(1, 2, ids(0, 1, 2)) == 11
    assert innovations.name(2, 0, ids(0, 1, 2)) == 12  # a recurrent connection is no forward one
    assert innovations.name(0, 2, ids(0, 1, 2)) == 10
    assert len(innovations) == 3 and innovations.next_id == 13
    assert repr(innovations) == "<Innovations: 3 nodes, next id 13>"


def test_the_occurrence_is_the_smallest_whose_id_is_missing():
    innovations = npr.Innovations(10)
    assert innovations.name(0, 2, ids(0, 2)) == 10
    assert innovations.name(0, 2, ids(0, 2, 10)) == 11  # the second split of this pair within a genome
    assert innovations.name(0, 2, ids(0, 2, 11)) == 10  # has lost the first
    assert innovations.name(0, 2, ids(0, 2, 10)) == 11
    assert innovations.name(0, 2, ids(0, 2, 10, 11)) == 12
    assert innovations.to_array().tolist() == [[0, 2, 10], [0, 2, 11], [0, 2, 12]]


def test_ids_that_a_genome_has_are_passed_over():
    innovations = npr.Innovations()
    assert innovations.name(0, 1, ids(0, 1, 40)) == 41
    assert innovations.name(1, 0, ids(0, 1)) == 42


def test_several_splits_of_one_genome_are_named_in_order():
    innovations = npr.Innovations(5)
    splits = np.array([[0, 1], [-1, 1], [0, -1], [0, -2]])  # -1 - i: the node that split i made
    assert innovations.names(splits, ids(0, 1)).tolist() == [5, 6, 7, 8]
    assert innovations.to_array().tolist() == [[0, 1, 5], [5, 1, 6], [0, 5, 7], [0, 6, 8]]
    assert innovations.names(splits[:0], ids(0, 1)).tolist() == []
    assert npr.Innovations(5).names(np.array([[0, 1], [0, 1]]), ids(0, 1)).tolist() == [5, 6]


def test_a_fresh_registry_is_used_from_its_first_split_on():
    innovations = npr.Innovations(7)  # empty, so of length 0
    a, b = pair_net(), pair_net()
    AddNode(innovations)(a, 0)
    assert len(innovations) == 1
    AddNode(innovations)(b, 1)
    assert len(innovations) == 1 and a.nodes.id.tolist() == b.nodes.id.tolist() == [0, 7, 1]


def test_networks_that_split_differently_do_not_share_ids():
    innovations, generator = npr.Innovations(), np.random.default_rng(0)
    nets = [npr.Network.from_connections(2, 1, [(0, 2, 1.0), (1, 2, 1.0)]) for _ in range(20)]
    made = {}
    for net in nets:
        AddNode(innovations)(net, generator)
        node = int(net.nodes.id[2])
        source = net.connections[net.connections.target == node].source.tolist()
        made.setdefault(node, []).append(tuple(source))
    assert len(made) == 2 and all(len(set(sources)) == 1 for sources in made.values())


def test_the_order_of_children_decides_who_names_first():
    a, b = (npr.Network.from_connections(1, 1, [(0, 1, 1.0)]) for _ in range(2))
    other = npr.Network.from_connections(1, 2, [(0, 2, 1.0)])
    for order, expected in (((a, other), (3, 4)), ((other, a), (4, 3))):
        innovations = npr.Innovations(3)
        nets = [net.copy() for net in order]
        for net in nets:
            AddNode(innovations)(net, 0)
        names = {net.graph.n_outputs: int(net.nodes.id[1]) for net in nets}
        assert (names[1], names[2]) == expected
    assert a.equals(b)


@given(seed=s.SEEDS, next_id=st.sampled_from([0, 5, 10**6, 2**40]))
def test_equal_ids_always_mean_equal_origins(seed, next_id):
    """Whatever is grown and lost on the way, over a population that shares one registry."""
    innovations, generator = npr.Innovations(next_id), np.random.default_rng(seed)
    nets = [npr.Network.from_connections(2, 1, [(0, 2, 1.0), (1, 2, 1.0)], seed=0) for _ in range(4)]
    steps = Sequence([AddNode(innovations), AddConnection(), Prune(0.2), RemoveNode()])
    for _ in range(12):
        net = nets[generator.integers(4)]
        (steps if generator.random() < 0.5 else AddNode(innovations))(net, generator)
    rows = innovations.to_array()
    names = rows[:, 2].tolist()
    assert len(set(names)) == len(names) == len(innovations)
    assert not names or (min(names) >= max(next_id, 3) and max(names) < innovations.next_id)
    assert {node for net in nets for node in net.nodes.id.tolist()} <= {0, 1, 2, *names}


@given(seed=s.SEEDS)
def test_a_registry_is_stored_as_rows(seed):
    innovations, generator = npr.Innovations(3), np.random.default_rng(seed)
    net = npr.Network.from_connections(2, 1, [(0, 2, 1.0), (1, 2, 1.0)])
    for _ in range(generator.integers(0, 8)):
        AddNode(innovations)(net, generator)
    rows = innovations.to_array()
    assert rows.dtype == np.int64 and rows.shape == (len(innovations), 3)
    again = npr.Innovations.from_array(rows, innovations.next_id)
    assert np.array_equal(again.to_array(), rows) and again.next_id == innovations.next_id
    twin, generators = net.copy(), [np.random.default_rng(1) for _ in range(2)]
    for one, registry, numbers in ((net, innovations, generators[0]), (twin, again, generators[1])):
        for _ in range(3):
            AddNode(registry)(one, numbers)
    assert net.equals(twin)
    for other in (copy.deepcopy(innovations), pickle.loads(pickle.dumps(innovations))):
        assert np.array_equal(other.to_array(), innovations.to_array()) and other.next_id == innovations.next_id


@pytest.mark.parametrize(("next_id", "error"), [(-1, ValueError), (1.5, TypeError), ("3", TypeError), (None, TypeError),
                                                (True, TypeError)])  # fmt: skip
def test_the_first_id_is_an_integer(next_id, error):
    assert npr.Innovations(np.int64(3)).next_id == 3
    with pytest.raises(error, match="next_id must be") as raised:
        npr.Innovations(next_id)
    assert_one_sentence(raised)


def test_ids_end_where_64_bits_end():
    innovations = npr.Innovations()
    with pytest.raises(ValueError, match="node ids must fit in 64 bits, got 9223372036854775808") as raised:
        innovations.name(0, 1, ids(0, 1, 2**63 - 1))
    assert_one_sentence(raised)
    assert innovations.next_id == 0 and len(innovations) == 0
