"""Scores are one expression each, the same in every library, and what is missing or wrong is said in one sentence."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from libraries import LIBRARIES, assert_same_place, back, to
from neuroprune.pruning import saliency

NAMES = sorted(saliency.SCORERS)
# Written out once more, on Python floats.
FORMULAS = {
    "magnitude": lambda w, g: abs(w),
    "magnitude_l2": lambda w, g: w * w,
    "gradient": lambda w, g: abs(g),
    "snip": lambda w, g: abs(w * g),
    "taylor": lambda w, g: (w * g) * (w * g),
}
NUMBERS = st.floats(-1e6, 1e6, width=32)


def all_signals(gradient):
    """What the scorers of the table may ask for; each takes what it needs."""
    return {"gradient": gradient, "rng": 11, "movement": gradient, "input_norm": gradient, "hessian_gradient": gradient,
            "inverse_hessian_diagonal": abs(gradient) + 1, "squared_gradient": gradient * gradient}


@st.composite
def weights_and_gradients(draw):
    """A weight of rank 0 to 4 and a gradient that broadcasts to it."""
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    part = tuple(draw(st.sampled_from((length, 1))) for length in shape)[draw(st.integers(0, len(shape))) :]
    weight = draw(hnp.arrays(np.float32, shape, elements=NUMBERS))
    return weight, draw(hnp.arrays(np.float32, part, elements=NUMBERS))


def test_the_table() -> None:
    needs = {name: saliency.requires(name) for name in NAMES}
    assert needs == {
        "fisher": ("squared_gradient",),
        "gradient": ("gradient",),
        "grasp": ("hessian_gradient",),
        "magnitude": (),
        "magnitude_l2": (),
        "movement": ("movement",),
        "obs_diagonal": ("inverse_hessian_diagonal",),
        "random": ("rng",),
        "snip": ("gradient",),
        "synflow": ("gradient",),
        "taylor": ("gradient",),
        "wanda": ("input_norm",),
    }
    for name, function in saliency.SCORERS.items():
        assert function.__name__ == name and function.__doc__ and inspect.isfunction(function)
        assert function.requires == needs[name]


@pytest.mark.parametrize("name", sorted(FORMULAS))
@given(values=weights_and_gradients())
def test_formulas(name: str, values: tuple) -> None:
    weight, gradient = values[0].astype(np.float64), values[1].astype(np.float64)
    scores = saliency.score(name, weight, **all_signals(gradient))
    wanted = [
        FORMULAS[name](w, g) for w, g in zip(weight.flat, np.broadcast_to(gradient, weight.shape).flat, strict=True)
    ]
    assert scores.shape == weight.shape
    assert scores.ravel().tolist() == wanted


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
@given(values=weights_and_gradients())
def test_every_library_gives_the_same_bits(name: str, dtype: type, values: tuple) -> None:
    weight, gradient = values[0].astype(dtype), values[1].astype(dtype)
    wanted = saliency.score(name, weight, **all_signals(gradient))
    assert isinstance(wanted, np.ndarray) and wanted.dtype == dtype and wanted.shape == weight.shape
    for library in LIBRARIES:
        array = to(library, weight)
        scores = saliency.score(name, array, **all_signals(to(library, gradient)))
        assert_same_place(scores, array)
        assert scores.dtype == array.dtype
        assert back(scores).tobytes() == wanted.tobytes(), library


def test_half_precision(torch) -> None:
    weight, gradient = torch.tensor([0.1, -3.0, 2.0]), torch.tensor([0.3, 1.7, 0.0])
    for name in NAMES:
        for dtype in (torch.float16, torch.bfloat16):
            assert saliency.score(name, weight.to(dtype), **all_signals(gradient.to(dtype))).dtype is dtype
        there = saliency.score(name, weight.half(), **all_signals(gradient.half()))
        here = saliency.score(name, weight.half().numpy(), **all_signals(gradient.half().numpy()))
        assert np.array_equal(there.numpy(), here), name


def test_scores_are_in_the_dtype_of_the_weight() -> None:
    weight, gradient = np.float32([0.1, 0.2]), np.array([1 / 3, 1e-3])
    scores = saliency.score("snip", weight, gradient=gradient)
    assert scores.dtype == np.float32
    assert np.array_equal(scores, weight * gradient.astype(np.float32))
    assert saliency.score(lambda w: w.astype(np.float64), weight).dtype == np.float32


def test_random_is_an_argument() -> None:
    weight = np.zeros((30, 20), np.float32)
    first = saliency.score("random", weight, rng=np.random.default_rng(3))
    assert np.array_equal(first, saliency.score("random", weight, rng=3))
    generator = np.random.default_rng(3)
    saliency.score("random", weight, rng=generator)
    assert not np.array_equal(first, saliency.score("random", weight, rng=generator))
    assert 0 <= first.min() and first.max() <= 1 and 0.45 < first.mean() < 0.55


def test_automatic_differentiation_sees_nothing(torch) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    scores = saliency.score("snip", weight, gradient=torch.ones(2, requires_grad=True))
    assert type(scores) is torch.Tensor and not scores.requires_grad
    assert scores.tolist() == [1.0, 2.0]


# ---------------------------------------------------------------- a user's function


def test_any_function_is_a_method() -> None:
    weight = np.array([[1.0, -2.0], [3.0, -4.0]])
    assert saliency.score(np.abs, weight).tolist() == [[1.0, 2.0], [3.0, 4.0]]

    def shifted(weight, curvature, *, floor=0.0):
        return abs(weight) * curvature + floor

    assert saliency.requires(shifted) == ("curvature",)
    curvature = np.array([1.0, 0.5])
    assert saliency.score(shifted, weight, curvature=curvature).tolist() == [[1.0, 1.0], [3.0, 2.0]]
    assert saliency.score(shifted, weight, curvature=curvature, floor=1.0).tolist() == [[2.0, 2.0], [4.0, 3.0]]
    with pytest.raises(ValueError, match="scorer shifted needs the signal 'curvature': pass curvature=... as a keyw"):
        saliency.score(shifted, weight)


def test_a_function_of_any_signals_gets_them_all() -> None:
    seen = {}

    def curious(weight, **signals):
        seen.update(signals)
        return weight

    assert saliency.requires(curious) == ()
    saliency.score(curious, np.ones((2, 3)), gradient=np.ones(3), rng=5, label="x")
    assert sorted(seen) == ["gradient", "label", "rng"]
    assert seen["gradient"].shape == (2, 3) and seen["label"] == "x"


def test_a_function_may_say_what_it_requires(torch) -> None:
    def declared(weight, **signals):
        return weight * signals["scale"]

    declared.requires = ["scale"]
    assert saliency.requires(declared) == ("scale",)
    with pytest.raises(ValueError, match="scorer declared needs the signal 'scale'"):
        saliency.score(declared, np.ones(2))
    assert saliency.requires(torch.abs) == ()  # Python cannot look into this one
    assert saliency.score(torch.abs, torch.tensor([-1.0])).tolist() == [1.0]


def test_what_is_not_asked_for_is_not_used() -> None:
    assert saliency.score("magnitude", np.array([-1.0]), gradient=np.ones((7, 7))).tolist() == [1.0]


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("method", "hint"),
    [
        ("magnitud", "did you mean 'magnitude'"),
        ("SNIP", "choose from magnitude, magnitude_l2, random, gradient, snip, taylor"),
        ("tailor", "did you mean 'taylor'"),
    ],
)
def test_unknown_names(method: str, hint: str) -> None:
    for call in (lambda: saliency.score(method, np.ones(2)), lambda: saliency.requires(method)):
        with pytest.raises(ValueError, match=f"^method must be the name of a scorer, got {method!r}: {hint}"):
            call()


def test_methods_that_are_none() -> None:
    with pytest.raises(TypeError, match="method must be the name of a scorer or a function, got NoneType"):
        saliency.score(None, np.ones(2))


@pytest.mark.parametrize("name", [name for name in NAMES if saliency.requires(name)])
def test_missing_signals(name: str) -> None:
    (needed,) = saliency.requires(name)
    for signals in ({}, {needed: None}, {"other": 1}):
        with pytest.raises(
            ValueError, match=f"^scorer {name!r} needs the signal {needed!r}: pass {needed}=... as a keyword$"
        ):
            saliency.score(name, np.ones(2), **signals)


@pytest.mark.parametrize("library", LIBRARIES)
def test_signals_broadcast_to_the_weight(library: str) -> None:
    weight = to(library, np.ones((2, 3)))
    for shape in ((2,), (4, 2, 3), (1, 2, 3), (3, 3)):
        with pytest.raises(
            ValueError, match=rf"^signal 'gradient' of shape \({shape[0]},.*\) must broadcast to the wei"
        ):
            saliency.score("snip", weight, gradient=to(library, np.ones(shape)))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(library: str, bad: float) -> None:
    good, wrong = np.ones((2, 2)), np.ones((2, 2))
    wrong[1, 0] = bad
    good, wrong = to(library, good), to(library, wrong)
    with pytest.raises(ValueError, match=rf"^weight must be finite, got {bad} at index \(1, 0\): remove or replace"):
        saliency.score("magnitude", wrong)
    with pytest.raises(ValueError, match=rf"^signal 'gradient' must be finite, got {bad} at index \(1, 0\)"):
        saliency.score("snip", good, gradient=wrong)
    with pytest.raises(ValueError, match=r"^scores of <lambda> must be finite, got nan at index \(0, 0\)"):
        saliency.score(lambda w: w / (w - w), good - good)


def test_overflow_is_refused_without_a_warning() -> None:
    with pytest.raises(ValueError, match="scores of 'magnitude_l2' must be finite, got inf at index 1"):
        saliency.score("magnitude_l2", np.array([1.0, 1e200]))
    with pytest.raises(ValueError, match="scores of <lambda> must be finite, got inf at index 0"):
        saliency.score(lambda w: w.astype(np.float64) * 1e300, np.float32([1e30]))


def test_results_that_are_no_scores(torch) -> None:
    weight = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"scorer row must return the weight's shape \(2, 3\), got \(3,\)"):

        def row(weight):
            return weight[0]

        saliency.score(row, weight)
    with pytest.raises(TypeError, match="scorer <lambda> must return an array of numpy like the weight, got Tensor"):
        saliency.score(lambda w: torch.ones(2, 3), weight)
    with pytest.raises(TypeError, match="must return an array of numpy like the weight, got NoneType"):
        saliency.score(lambda w: None, weight)
    with pytest.raises(TypeError, match="must return real numbers, got complex128"):
        saliency.score(lambda w: w * 1j, weight)


def test_weights_that_are_none(torch) -> None:
    with pytest.raises(TypeError, match="weight must be an array of floating numbers, got int64: convert it first"):
        saliency.score("magnitude", np.arange(3))
    with pytest.raises(TypeError, match="array of numpy, torch or the array API standard is needed, got list"):
        saliency.score("magnitude", [1.0])
    with pytest.raises(TypeError, match="signal 'gradient' must be an array of torch like the others, got one of nump"):
        saliency.score("snip", torch.ones(2), gradient=np.ones(2))


def test_the_weight_is_not_changed() -> None:
    weight, gradient = np.array([-1.0, 2.0]), np.array([3.0, -4.0])
    for name in NAMES:
        scores = saliency.score(name, weight, **all_signals(gradient))
        assert not np.shares_memory(scores, weight)
    assert weight.tolist() == [-1.0, 2.0] and gradient.tolist() == [3.0, -4.0]
