"""How dense each array is: the formulas, counts that add up exactly, and random masks that have them."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle_rewiring as oracle
from bridge import assert_one_sentence
from libraries import LIBRARIES, assert_same_place, back, to
from neuroprune.pruning import distribution

RULES = ("uniform", "erdos_renyi", "erk")
UNIT = (0, 1)  # one kernel per output and input channel


def named(values):
    """A dict with names that are not in alphabetical order: storage order is the order of the dict."""
    return {f"layer{9 - i if i < 10 else i}": value for i, value in enumerate(values)}


def spread(rule, shapes, density):
    if rule == "uniform":
        return distribution.uniform(shapes, density)
    return distribution.erdos_renyi(shapes, density, kernel=rule == "erk")


@st.composite
def networks(draw, min_rank=2):
    """Shapes of up to six arrays of rank 2 to 5, a few of them tiny, so that they are capped."""
    lengths = st.one_of(st.integers(1, 4), st.integers(1, 40))
    shape = st.one_of(
        st.tuples(lengths, lengths), st.tuples(lengths, lengths, st.integers(1, 5)),
        st.tuples(lengths, lengths, st.integers(1, 3), st.integers(1, 3)),
        st.tuples(lengths, lengths, st.integers(1, 2), st.integers(1, 3), st.integers(1, 2)),
    )  # fmt: skip
    return draw(st.lists(shape, min_size=1, max_size=6))


# ---------------------------------------------------------------- densities


@given(shapes=networks(), density=st.floats(0, 1))
def test_uniform(shapes: list, density: float) -> None:
    assert distribution.uniform(named(shapes), density) == dict.fromkeys(named(shapes), density)


@given(shapes=networks(), density=st.floats(0, 1), kernel=st.booleans())
def test_erdos_renyi(shapes: list, density: float, kernel: bool) -> None:
    densities = distribution.erdos_renyi(named(shapes), density, kernel=kernel)
    assert list(densities) == list(named(shapes))
    assert all(type(value) is float and 0 <= value <= 1 for value in densities.values())
    assert list(densities.values()) == pytest.approx(oracle.erdos_renyi(shapes, density, kernel), rel=1e-9, abs=1e-12)
    sizes = [math.prod(shape) for shape in shapes]
    kept = math.fsum(d * n for d, n in zip(densities.values(), sizes, strict=True))
    assert kept == pytest.approx(sum(sizes) - round((1 - density) * sum(sizes)), rel=1e-9, abs=1e-9)


@given(data=st.data(), shapes=networks(), kernel=st.booleans())
def test_erdos_renyi_with_a_budget(data: st.DataObject, shapes: list, kernel: bool) -> None:
    budget = data.draw(st.integers(0, sum(math.prod(shape) for shape in shapes)))
    densities = distribution.erdos_renyi(named(shapes), 0.5, kernel=kernel, budget=budget)
    assert list(densities.values()) == pytest.approx(
        oracle.erdos_renyi(shapes, 0.5, kernel, budget), rel=1e-9, abs=1e-12
    )
    counts = distribution.counts(densities, named(shapes), budget=budget)
    assert sum(counts.values()) == budget


def test_kernels_count_only_in_erk() -> None:
    shapes = {"wide": (8, 8, 5, 5), "narrow": (8, 8, 1, 1)}
    plain, erk = (distribution.erdos_renyi(shapes, 0.05, kernel=kernel) for kernel in (False, True))
    assert plain["wide"] == pytest.approx(plain["narrow"])
    assert erk["narrow"] / erk["wide"] == pytest.approx((18 / 64) / (26 / 1600))


def test_the_smallest_are_dense_before_others_exceed_one() -> None:
    densities = distribution.erdos_renyi({"a": (4, 4), "b": (4, 5), "c": (1000, 400)}, 0.05)
    assert densities["a"] == densities["b"] == 1.0
    assert densities["c"] == pytest.approx((0.05 * 400036 - 36) / 400000, abs=2e-6)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("density", [0.0, 1.0])
def test_nothing_and_everything(rule: str, density: float) -> None:
    shapes = {"a": (3, 4), "b": (2, 2, 3, 3)}
    assert spread(rule, shapes, density) == {"a": density, "b": density}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("density", [-0.1, 1.1, math.nan, math.inf])
def test_densities_out_of_range(rule: str, density: float) -> None:
    with pytest.raises(ValueError, match=rf"^density must be .*in \[0, 1\], got {density}") as error:
        spread(rule, {"a": (3, 4)}, density)
    assert_one_sentence(error)


def test_budgets_out_of_range() -> None:
    for budget in (-1, 13):
        with pytest.raises(ValueError, match=f"budget .*{budget}") as error:
            distribution.erdos_renyi({"a": (3, 4)}, 0.5, budget=budget)
        assert_one_sentence(error)


# ---------------------------------------------------------------- OWL


def outlying(draw, n_layers, n):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return [np.exp(rng.normal(0, rng.uniform(0.1, 2.5), n)) for _ in range(n_layers)]


@given(data=st.data(), sparsity=st.floats(0.2, 0.8), multiple=st.sampled_from((2.0, 3.0, 5.0)))
def test_owl_of_equal_layers(data: st.DataObject, sparsity: float, multiple: float) -> None:
    layers = outlying(data.draw, data.draw(st.integers(1, 5)), data.draw(st.integers(5, 60)))
    limit = data.draw(st.sampled_from((0.0, 0.05, 0.08)))
    densities = distribution.owl(named(layers), sparsity, multiple=multiple, limit=limit)
    assert list(densities) == list(named(layers))
    wanted = oracle.owl([layer.tolist() for layer in layers], sparsity, multiple, limit)
    assert list(densities.values()) == pytest.approx(wanted, rel=1e-9, abs=1e-12)


@given(data=st.data(), sparsity=st.floats(0.2, 0.8))
def test_owl_keeps_the_share_asked_for(data: st.DataObject, sparsity: float) -> None:
    sizes = data.draw(st.lists(st.integers(1, 60), min_size=1, max_size=5))
    layers = [outlying(data.draw, 1, n)[0] for n in sizes]
    densities = list(distribution.owl(named(layers), sparsity).values())
    assert max(densities) - min(densities) <= 2 * 0.08 + 1e-12
    assert all(0 <= density <= 1 for density in densities)
    kept = math.fsum(d * n for d, n in zip(densities, sizes, strict=True))
    assert kept == pytest.approx((1 - sparsity) * sum(sizes))
    outliers = oracle.outlier_shares([layer.tolist() for layer in layers], 5.0)
    for i, share in enumerate(outliers):
        for j, other in enumerate(outliers):
            assert share <= other or densities[i] >= densities[j]


@pytest.mark.parametrize("sparsity", [0.0, 0.02, 0.98, 1.0])
def test_owl_near_the_ends(sparsity: float) -> None:
    """Where the band would leave [0, 1] it is refused, not cut: cutting would change the total."""
    layers = {"flat": np.ones(40), "spiky": np.r_[np.ones(36), np.full(4, 100.0)]}
    with pytest.raises(ValueError, match="limit=0.08 .*'(flat|spiky)'.*smaller limit") as error:
        distribution.owl(layers, sparsity)
    assert_one_sentence(error)
    assert distribution.owl(layers, sparsity, limit=0.0) == {"flat": 1 - sparsity, "spiky": 1 - sparsity}
    with pytest.raises(ValueError, match="limit must be .*got -0.1"):
        distribution.owl(layers, 0.5, limit=-0.1)
    with pytest.raises(ValueError, match="multiple must be .*got 0"):
        distribution.owl(layers, 0.5, multiple=0.0)


@pytest.mark.parametrize("library", LIBRARIES)
def test_owl_in_every_library(library: str) -> None:
    rng = np.random.default_rng(4)
    layers = {name: np.exp(rng.normal(0, spread, (6, 20))) for name, spread in (("a", 0.5), ("b", 2.0), ("c", 1.5))}
    wanted = distribution.owl(layers, 0.7, multiple=3.0)
    there = {name: to(library, layer) for name, layer in layers.items()}
    assert distribution.owl(there, 0.7, multiple=3.0) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_owl_refuses_what_is_not_finite(bad: float) -> None:
    scores = np.ones((2, 3))
    scores[1, 2] = bad
    with pytest.raises(ValueError, match=rf"fc.*must be finite, got {bad} at index \(1, 2\)") as error:
        distribution.owl({"in": np.ones(3), "fc": scores}, 0.5)
    assert_one_sentence(error)


@pytest.mark.parametrize("sparsity", [-0.1, 1.1, math.nan])
def test_owl_refuses_what_is_no_share(sparsity: float) -> None:
    with pytest.raises(ValueError, match=f"^sparsity must be .*got {sparsity}"):
        distribution.owl({"a": np.ones(3)}, sparsity)


# ---------------------------------------------------------------- apportionment


@st.composite
def requests(draw, shares=None):
    """(shares, total, capacities) where the capacities suffice; shares of any kind, often equal or zero."""
    n = draw(st.integers(1, 7))
    if shares is None:
        shares = st.one_of(st.integers(0, 5), st.integers(1, 1000), st.floats(0, 1e3), st.floats(0, 1e-9))
    capacities = draw(st.lists(st.one_of(st.integers(0, 5), st.integers(0, 500)), min_size=n, max_size=n))
    total = draw(st.integers(0, sum(capacities)))
    return draw(st.lists(shares, min_size=n, max_size=n)), total, capacities


@given(request=requests())
def test_apportion_adds_up(request: tuple) -> None:
    shares, total, capacities = request
    given_out = distribution.apportion(shares, total, capacities)
    assert all(type(count) is int for count in given_out)
    assert sum(given_out) == total
    assert all(0 <= count <= capacity for count, capacity in zip(given_out, capacities, strict=True))
    assert distribution.apportion(shares, total, capacities) == given_out


@given(request=requests(shares=st.integers(0, 50)), scale=st.sampled_from((1, 0.25, 1024.0)))
def test_apportion_is_the_largest_remainder(request: tuple, scale: float) -> None:
    """Whoever is served last differs at most by one where remainders are equal up to rounding."""
    shares, total, capacities = request
    given_out = distribution.apportion([share * scale for share in shares], total, capacities)
    wanted = oracle.apportion(shares, total, capacities)
    assert all(abs(a - b) <= 1 for a, b in zip(given_out, wanted, strict=True))
    if sum(shares):
        quotas = [Fraction(share) * total / sum(shares) for share in shares]
        if all(quota <= capacity for quota, capacity in zip(quotas, capacities, strict=True)):
            assert all(abs(count - quota) < 1 for count, quota in zip(given_out, quotas, strict=True))


def test_apportion_by_hand() -> None:
    assert distribution.apportion([1, 1, 1], 2, [9, 9, 9]) == [1, 1, 0]
    assert distribution.apportion([1, 4, 1], 2, [9, 9, 9]) == [1, 1, 0]
    assert distribution.apportion([0.5, 0.25, 0.25], 10, [9, 9, 9]) == [5, 3, 2]
    assert distribution.apportion([3, 1, 1], 10, [2, 9, 9]) == [2, 4, 4]
    assert distribution.apportion([8, 1, 1], 10, [2, 3, 9]) == [2, 3, 5]
    assert distribution.apportion([1, 0], 5, [3, 9]) == [3, 2]  # no one else has room
    assert sum(distribution.apportion([0.0, 0.0], 5, [3, 9])) == 5
    assert distribution.apportion([], 0, []) == []
    assert distribution.apportion([2, 3], 0, [0, 0]) == [0, 0]


def test_apportion_refuses() -> None:
    with pytest.raises(ValueError, match="11.*10|10.*11") as error:
        distribution.apportion([1, 1], 11, [4, 6])
    assert_one_sentence(error)
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"got .*{bad}") as error:
            distribution.apportion([1, bad], 3, [4, 6])
        assert_one_sentence(error)
    with pytest.raises(ValueError):
        distribution.apportion([1, 1], -1, [4, 6])
    with pytest.raises(ValueError):
        distribution.apportion([1, 1], 1, [4])


# ---------------------------------------------------------------- counts


@given(shapes=networks(), density=st.floats(0, 1), rule=st.sampled_from(RULES))
def test_counts(shapes: list, density: float, rule: str) -> None:
    shapes = named(shapes)
    densities = spread(rule, shapes, density)
    counts = distribution.counts(densities, shapes)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    wanted = {name: densities[name] * sizes[name] for name in shapes}
    assert list(counts) == list(shapes) and all(type(count) is int for count in counts.values())
    assert all(0 <= counts[name] <= sizes[name] for name in shapes)
    assert abs(sum(counts.values()) - math.fsum(wanted.values())) <= 0.5 + 1e-6
    assert all(abs(counts[name] - wanted[name]) < 1.5 for name in shapes)
    if rule != "uniform":  # its densities were made for this budget
        assert sum(counts.values()) == sum(sizes.values()) - round((1 - density) * sum(sizes.values()))


@given(data=st.data(), shapes=networks(), density=st.floats(0, 1))
def test_counts_meet_any_budget(data: st.DataObject, shapes: list, density: float) -> None:
    sizes = [math.prod(shape) for shape in shapes]
    budget = data.draw(st.integers(0, sum(sizes)))
    counts = distribution.counts(distribution.uniform(named(shapes), density), named(shapes), budget=budget)
    assert sum(counts.values()) == budget
    assert all(0 <= count <= n for count, n in zip(counts.values(), sizes, strict=True))


@given(data=st.data(), shapes=networks())
def test_counts_of_exact_densities(data: st.DataObject, shapes: list) -> None:
    """Densities that come from counts give these counts back."""
    counts = [data.draw(st.integers(0, math.prod(shape))) for shape in shapes]
    densities = [count / math.prod(shape) for count, shape in zip(counts, shapes, strict=True)]
    assert list(distribution.counts(named(densities), named(shapes)).values()) == counts


def test_counts_refuse() -> None:
    shapes = {"conv": (3, 4), "head": (2, 2)}
    with pytest.raises(ValueError, match="5|17") as error:
        distribution.counts({"conv": 0.5, "head": 0.5}, shapes, budget=17)
    assert_one_sentence(error)
    with pytest.raises(ValueError, match="conv.*1.5|1.5.*conv") as error:
        distribution.counts({"conv": 1.5, "head": 0.5}, shapes)
    assert_one_sentence(error)
    for densities in ({"conv": 0.5}, {"conv": 0.5, "haed": 0.5}):
        with pytest.raises(ValueError, match="head") as error:
            distribution.counts(densities, shapes)
        assert_one_sentence(error)


# ---------------------------------------------------------------- random masks


@given(data=st.data())
def test_random_masks(data: st.DataObject) -> None:
    shape = st.lists(st.integers(0, 6), min_size=1, max_size=4).map(tuple)
    shapes = named(data.draw(st.lists(shape, min_size=1, max_size=4)))
    like = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    counts = {name: data.draw(st.integers(0, array.size)) for name, array in like.items()}
    seed = data.draw(st.integers(0, 2**32))
    masks = distribution.random_masks(like, counts, np.random.default_rng(seed))
    assert list(masks) == list(like)
    for name, mask in masks.items():
        assert mask.dtype == np.bool_ and mask.shape == like[name].shape and mask.sum() == counts[name]
    for library in LIBRARIES:
        there = {name: to(library, array) for name, array in like.items()}
        again = distribution.random_masks(there, counts, np.random.default_rng(seed))
        for name, mask in again.items():
            assert_same_place(mask, there[name])
            assert np.array_equal(back(mask), masks[name]), library


def test_random_masks_differ_with_the_seed_and_with_the_name() -> None:
    like = {"a": np.zeros((20, 20)), "b": np.zeros((20, 20))}
    one, two = (
        distribution.random_masks(like, {"a": 200, "b": 200}, np.random.default_rng(seed)) for seed in (1, 2)
    )
    assert not np.array_equal(one["a"], one["b"]) and not np.array_equal(one["a"], two["a"])
    generator = np.random.default_rng(1)
    first = distribution.random_masks(like, {"a": 200, "b": 200}, generator)
    assert np.array_equal(first["a"], one["a"]) and np.array_equal(first["b"], one["b"])
    assert not np.array_equal(distribution.random_masks(like, {"a": 200, "b": 200}, generator)["a"], first["a"])


def test_random_masks_are_uniform() -> None:
    """Each of the 20 subsets of 3 of 6 places comes equally often: chi-square with 19 degrees of freedom."""
    rng, draws, found = np.random.default_rng(5), 6000, {}
    like = {"w": np.zeros((2, 3))}
    for _ in range(draws):
        mask = distribution.random_masks(like, {"w": 3}, rng)["w"].tobytes()
        found[mask] = found.get(mask, 0) + 1
    assert len(found) == 20
    statistic = sum((count - draws / 20) ** 2 / (draws / 20) for count in found.values())
    assert statistic < 43.8  # exceeded once in 1000 seeds


def test_random_masks_of_whole_kernels() -> None:
    like = {"conv": np.zeros((4, 5, 3, 3), np.float32)}
    rng = np.random.default_rng(3)
    mask = distribution.random_masks(like, {"conv": 7 * 9}, rng, unit=UNIT)["conv"]
    per_kernel = mask.reshape(20, 9).sum(axis=1)
    assert mask.sum() == 63 and set(per_kernel.tolist()) == {0, 9}
    mask = distribution.random_masks(like, {"conv": 2 * 45}, rng, unit=(0,))["conv"]
    assert sorted(mask.reshape(4, 45).sum(axis=1).tolist()) == [0, 0, 45, 45]
    with pytest.raises(ValueError, match="conv.*64|64.*conv") as error:
        distribution.random_masks(like, {"conv": 64}, rng, unit=UNIT)
    assert_one_sentence(error)



def test_random_masks_refuse() -> None:
    like = {"fc": np.zeros((3, 4)), "conv": np.zeros((2, 2, 3, 3))}
    for count in (-1, 13):
        with pytest.raises(ValueError, match=f"fc.*{count}|{count}.*fc") as error:
            distribution.random_masks(like, {"fc": count, "conv": 3}, np.random.default_rng(0))
        assert_one_sentence(error)


def test_equal_remainders_go_to_the_earlier():
    assert distribution.apportion([4, 1, 1], 2, [9, 9, 9]) == [2, 0, 0]
    assert distribution.apportion([1, 4, 1], 2, [9, 9, 9]) == [1, 1, 0]


def test_rank_0_random_mask():
    mask = distribution.random_masks({"a": np.array(1.0)}, {"a": 1}, np.random.default_rng(0))["a"]
    assert mask.shape == ()


@pytest.mark.parametrize("counts", [{"fc": 3}, {"fc": 3, "conf": 4}, {"fc": 3, "conv": 4, "x": 1}])
def test_random_masks_names(counts):
    with pytest.raises(ValueError) as error:
        distribution.random_masks({"fc": np.zeros((3, 4)), "conv": np.zeros((2, 2, 3, 3))}, counts, 0)
    assert_one_sentence(error)


def test_random_masks_units_that_are_not_there():
    with pytest.raises(ValueError, match="unit") as error:
        distribution.random_masks({"fc": np.zeros((3, 4))}, {"fc": 4}, np.random.default_rng(0), unit=(0, 3))
    assert_one_sentence(error)


def test_random_masks_take_a_seed():
    one, two = (distribution.random_masks({"a": np.zeros((9, 9))}, {"a": 20}, rng)["a"]
                for rng in (7, np.random.default_rng(7)))
    assert np.array_equal(one, two)
