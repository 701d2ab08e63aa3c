"""The twins of sparse training against cases worked by hand."""

import math

import pytest

import oracle_rewiring as o


def test_densities_by_hand() -> None:
    assert o.erdos_renyi([(4, 4), (4, 5), (1000, 400)], 0.05)[:2] == [1.0, 1.0]
    assert o.erdos_renyi([(2, 2), (2, 2)], 0.5) == [0.5, 0.5]
    # 2/8 + ... : raw 6/8 and 12/32 share 20 of 40 weights as 6 : 12
    assert o.erdos_renyi([(2, 4), (4, 8)], 0.5) == [pytest.approx(20 / 18 * 6 / 8), pytest.approx(20 / 18 * 12 / 32)]
    assert o.erdos_renyi([(2, 2, 3, 3), (2, 2, 3, 3)], 0.5, kernel=True) == [0.5, 0.5]
    assert o.erdos_renyi([(3, 3)], 1.0) == [1.0] and o.erdos_renyi([(3, 3)], 0.0) == [0.0]
    assert o.erdos_renyi([(1, 1), (10, 10)], 0.0, budget=21) == [1.0, pytest.approx(0.2)]


def test_apportionment_by_hand() -> None:
    assert o.apportion([1, 1, 1], 2, [9, 9, 9]) == [1, 1, 0]
    assert o.apportion([4, 1, 1], 2, [9, 9, 9]) == [2, 0, 0]
    assert o.apportion([3, 1, 1], 10, [2, 9, 9]) == [2, 4, 4]
    assert o.apportion([8, 4, 1, 1], 12, [2, 3, 9, 9]) == [2, 3, 4, 3]
    assert o.apportion([1, 0, 0], 5, [3, 6, 2]) == [3, 2, 0]  # 1.5 and 0.5: equal remainders
    with pytest.raises(ValueError):
        o.apportion([1], 2, [1])
    assert o.counts([0.5, 0.5], [(3, 1), (3, 1)]) == [2, 1] and o.counts([0.5, 0.5], [(2, 2), (2, 2)], 5) == [3, 2]


def test_owl_by_hand() -> None:
    flat, spiky = [1.0] * 10, [1.0] * 9 + [100.0]
    assert o.outlier_shares([flat, spiky], 5) == [0.0, 0.1]
    assert o.owl([flat, spiky], 0.5) == [pytest.approx(0.42), pytest.approx(0.58)]
    assert o.owl([flat, flat], 0.25) == [0.75, 0.75]


def test_rates_by_hand() -> None:
    assert o.cosine(0.3, 10, 0) == 0.3 and math.isclose(o.cosine(0.3, 10, 5), 0.15) and o.cosine(0.3, 10, 10) == 0
    assert o.linear(0.5, 10, 4) == 0.3 and o.linear(0.5, 10, 40) == 0
    assert [o.zhu_gupta(0.8, 0, 2, t) for t in (-1, 0, 1, 2, 3)] == pytest.approx([0, 0, 0.7, 0.8, 0.8])
    assert o.zhu_gupta_amount(0.8, 0, 2, 1, 2) == pytest.approx(0.1)
    assert o.zhu_gupta_amount(0.8, 0, 2, 1, 2, current=0.9) == 0
    assert [t for t in range(1, 50) if o.fires(t, 10, start=15, until=40)] == [20, 30]


def test_updates_by_hand() -> None:
    assert o.drop_lowest([1, 1, 0, 1], [True, True, False, True], 2) == [True, True, False, False]
    assert o.drop_set([-1.0, -2.0, 3.0, 0.0], [True] * 4, 0.5) == [True, False, False, True]
    assert o.drop_jointly([[2, 5], [1, 2]], [[True, True], [True, True]], 2) == [[True, False], [True, False]]
    assert o.grow_best([9, 1, 1, 1], [True, False, False, False], 2) == [False, False, True, True]
    masks, grown = o.update([[True, False], [True, False]], [[True, False], [False, False]], [[0, 1], [0, 1]], [0, 1])
    assert masks == [[False, False], [True, True]] and grown == [[False, False], [False, True]]
    assert o.update([[True, False]], [[True, False]], [[1, 0]]) == ([[True, False]], [[True, False]])
    assert o.mean_size([-1.0, 3.0, 9.0], [True, True, False]) == 2.0 and o.mean_size([], []) == 0.0
    assert o.nonzero([0.0, 2.0, 3.0], [True, True, False]) == 1


def test_units_by_hand() -> None:
    places = o.units((2, 2, 2), (0, 1))
    assert places == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert o.units((2, 3), (1,)) == [[0, 3], [1, 4], [2, 5]]
    assert o.unit_scores([1.0, -1.0, 2.0, 4.0], [[0, 1], [2, 3]]) == [0.0, 3.0]
    assert o.unit_mask([True, True, False, False], [[0, 1], [2, 3]]) == [True, False]
    with pytest.raises(ValueError):
        o.unit_mask([True, False], [[0, 1]])
    assert o.spread([True, False], [[0, 2], [1, 3]], 4) == [True, False, True, False]
