"""What masks start from and how training adds up, on arrays of every library; nothing here needs a model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import assert_one_sentence
from libraries import LIBRARIES, assert_same_place, back, to
from neuroprune.pruning import schedules
from neuroprune.pruning.masks import count
from neuroprune.tensors import masking

SHAPES = {"a": (6, 5), "b": (4, 3, 2, 2), "c": (2, 4)}


def weights(library, seed=0):
    rng = np.random.default_rng(seed)
    return {name: to(library, rng.normal(size=shape) * (rng.random(shape) < 0.7)) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("init", ["dense", "random", "er", "erk", "resume", "lottery"])
def test_starts_are_the_same_in_every_library(library, init):
    options = {"density": 0.3} if init in ("random", "er", "erk") else {}
    if init == "lottery":
        options = {"given": {name: np.ones(shape, bool) for name, shape in SHAPES.items()}}
        options["given"]["a"][2:] = False
        options["shuffle"] = True
    ours, plain = weights(library), weights("numpy")
    found = masking.start(ours, init, rng=np.random.default_rng(1), **options)
    expected = masking.start(plain, init, rng=np.random.default_rng(1), **options)
    for name, mask in found.items():
        assert_same_place(mask, ours[name])
        assert back(mask).dtype == bool
        assert (back(mask) == expected[name]).all()
    if init == "dense":
        assert all(mask.all() for mask in expected.values())
    if init == "resume":
        assert all((mask == (plain[name] != 0)).all() for name, mask in expected.items())
    if init == "lottery":
        assert [int(mask.sum()) for mask in expected.values()] == [10, 48, 8]
        assert (expected["a"] != options["given"]["a"]).any()


def test_a_dense_start_keeps_what_is_not_a_number():
    found = masking.start({"a": np.array([[np.nan, 0.0, np.inf]])}, "dense")
    assert found["a"].all()


@settings(max_examples=200, deadline=None)
@given(
    density=st.floats(0.001, 1),
    init=st.sampled_from(["random", "er", "erk"]),
    unit=st.sampled_from([None, (0,), (0, 1), (1,)]),
    shapes=st.lists(st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple), min_size=1, max_size=4),
)
def test_counts_are_exact_and_units_whole(density, init, unit, shapes):
    arrays = {str(i): np.zeros(shape) for i, shape in enumerate(shapes)}
    try:
        found = masking.start(arrays, init, density, rng=np.random.default_rng(0), unit=unit)
    except ValueError as error:  # where the density leaves nothing of an array
        fewest = min(array.size if unit is None else np.prod([array.shape[a] for a in unit])
                     for array in arrays.values())  # fmt: skip
        assert "must leave a weight" in str(error) and density * fewest < 1
        return
    sizes = {name: 1 if unit is None else array.size // np.prod([array.shape[a] for a in unit])
             for name, array in arrays.items()}  # fmt: skip
    for mask in found.values():
        if unit is not None:
            over = tuple(axis for axis in range(mask.ndim) if axis not in unit)
            assert (mask.all(over) == mask.any(over)).all()
    if len(set(sizes.values())) == 1:
        units = sum(array.size // sizes[name] for name, array in arrays.items())
        kept = sum(int(mask.sum()) // sizes[name] for name, mask in found.items())
        assert kept == units - count(1 - density, units)


def test_a_unit_that_is_no_axis():
    with pytest.raises(ValueError, match=r"unit must name axes of weight 'a' of shape \(6, 5\), got \(0, 2\)") as error:
        masking.start(weights("numpy"), "erk", 0.5, rng=np.random.default_rng(0), unit=(0, 2))
    assert_one_sentence(error)


@settings(max_examples=200, deadline=None)
@given(start=st.integers(0, 6), length=st.integers(0, 6), frequency=st.integers(1, 4), first=st.integers(1, 15))
def test_a_schedule_prunes_when_it_fires_and_catches_up_after_its_end(start, length, frequency, first):
    """From any step on where training begins, the target is met at the end of the window or at once."""
    schedule = schedules.Linear(0.5, start, start + length, frequency)
    last, pruned = -1, []
    for step in range(first, 20):
        if masking.due(schedule, step, last):
            last = step
            pruned.append(step)
    fires = [step for step in range(first, 20) if schedule.fires(step)]
    assert pruned == (fires if first <= schedule.end else [first])
    assert masking.due(schedules.OneShot(0.5, 0), 1, -1) and not masking.due(schedules.OneShot(0.5, 0), 2, 1)


def test_schedules_of_ones_own_need_no_end():
    class Odd:
        def fires(self, step):
            return step % 2 == 1

        def sparsity(self, step):
            return 0.5

    assert [step for step in range(1, 6) if masking.due(Odd(), step, -1)] == [1, 3, 5]


def test_names_that_are_open():
    present = {"a": np.array([True, False, False, False]), "b": np.array([True, True, True, False])}
    assert masking.open_names(present, 0.5, joint=False) == ["b"]
    assert masking.open_names(present, 0.5, joint=True) == []
    assert masking.open_names(present, 0.7, joint=True) == ["a", "b"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_totals(library):
    rng = np.random.default_rng(0)
    weight, first, second = (rng.normal(size=(3, 4)) for _ in range(3))
    expected = {"gradient": first + second, "squared_gradient": first**2 + second**2,
                "movement": -0.5 * weight * first - 0.5 * weight * second}  # fmt: skip
    for keyword, numbers in expected.items():
        add, total = masking.TOTALS[keyword], None
        given = to(library, first)
        for gradient in (given, to(library, second)):
            total = add(total, to(library, weight), gradient, 0.5)
        np.testing.assert_allclose(back(total), numbers, rtol=1e-14)
        assert (back(given) == first).all()  # a sum of its own


def test_what_training_adds_up():
    found = {method: masking.gathered(method) for method in ("magnitude", "snip", "fisher", "movement", "wanda")}
    assert found == {"magnitude": None, "snip": "gradient", "fisher": "squared_gradient", "movement": "movement",
                     "wanda": None}  # fmt: skip
    assert masking.gathered("synflow") is None and masking.gathered("grasp") is None
    assert masking.gathered(lambda weight, *, gradient: gradient) == "gradient"
