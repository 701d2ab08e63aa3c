"""Scores are one expression each, the same in every library, and what is missing or wrong is said in one sentence."""

import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bridge import assert_one_sentence
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
    "movement": lambda w, g: g,
    "wanda": lambda w, g: abs(w) * g,
    "obs_diagonal": lambda w, g: w * w / (abs(g) + 1),
    "fisher": lambda w, g: w * w * (g * g),
    "synflow": lambda w, g: abs(w * g),
    "grasp": lambda w, g: w * g,
}
WITH_ARRAYS = [name for name in NAMES if saliency.requires(name) not in ((), ("rng",))]
NUMBERS = st.floats(-1e6, 1e6, width=32)


def all_signals(gradient):
    """What the scorers of the table may ask for; each takes what it needs."""
    return {"gradient": gradient, "rng": 11, "movement": gradient, "input_norm": gradient, "hessian_gradient": gradient,
            "inverse_hessian_diagonal": abs(gradient) + 1, "squared_gradient": gradient * gradient}  # fmt: skip


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
        assert getattr(function, "scope", "layer") == ("row" if name == "wanda" else "layer")
    assert sorted(FORMULAS) == [name for name in NAMES if name != "random"]


@pytest.mark.parametrize("name", sorted(FORMULAS))
@given(values=weights_and_gradients())
def test_formulas(name: str, values: tuple) -> None:
    weight, gradient = values[0].astype(np.float64), values[1].astype(np.float64)
    weight = np.atleast_1d(weight)
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
            assert saliency.score(name, weight.to(dtype), **all_signals(gradient.to(dtype))).dtype is torch.float32
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


@pytest.mark.parametrize("name", NAMES)
def test_signed_scores_rank_by_sign(name: str) -> None:
    """Movement and GraSP: what moves towards zero goes first, however fast it moves."""
    signed = name in ("movement", "grasp")
    scores = saliency.score(name, np.array([1.0, 1.0, 1.0]), **all_signals(np.array([-5.0, 0.5, 2.0])))
    assert (scores.min() < 0) == (signed or name == "wanda")  # a norm is never negative; the signal here is
    if signed:
        assert scores.tolist() == [-5.0, 0.5, 2.0]


@given(shape=st.tuples(st.integers(1, 5), st.integers(1, 5)), seed=st.integers(0, 2**32))
def test_a_matrix_and_its_connections_score_alike(shape: tuple, seed: int) -> None:
    """A graph holds the matrix row by row as one column: a norm per input there is one per connection."""
    rng = np.random.default_rng(seed)
    weight, norms = rng.normal(size=shape), rng.random(shape[1])
    for name in WITH_ARRAYS:
        dense = saliency.score(name, weight, **all_signals(norms))
        column = saliency.score(name, weight.ravel(), **all_signals(np.tile(norms, weight.shape[0])))
        assert dense.ravel().tobytes() == column.tobytes(), name


@pytest.mark.parametrize("name", WITH_ARRAYS)
def test_signals_of_another_precision(name: str, torch) -> None:
    """Scored in the dtype of the weight, whatever the signal's; half precision in float32."""
    weight, signal = torch.tensor([[0.1, -3.0], [2.0, 0.7]]), torch.tensor([0.3, 1.7])
    for kind in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for other in (torch.float16, torch.float64):
            scores = saliency.score(name, weight.to(kind), **all_signals(signal.to(other)))
            assert scores.dtype is (torch.float64 if kind is torch.float64 else torch.float32)
            assert scores.shape == weight.shape


def test_tensors_without_values_in_order_are_refused(torch) -> None:
    for tensor in (torch.ones(2, 2).to_sparse(), torch.ones(2, 2, device="meta")):
        for call in (lambda t: saliency.score("magnitude", t), saliency.describe):
            with pytest.raises((TypeError, ValueError), match="(weight|scores) must") as error:
                call(tensor)
            assert_one_sentence(error)


@pytest.mark.parametrize("name", ["taylor", "fisher", "snip"])
def test_small_scores_of_half_precision_are_told_apart(name: str, torch) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = 0.02 * torch.randn(64, 64, generator=generator)
    gradient = 1e-4 * torch.randn(64, 64, generator=generator)
    signal = {"squared_gradient": gradient**2} if name == "fisher" else {"gradient": gradient}
    whole = saliency.score(name, weight.half().float(), **signal)
    assert torch.equal(saliency.score(name, weight.half(), **signal), whole) and bool((whole > 0).all())


# ---------------------------------------------------------------- a summary


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@given(data=st.data())
def test_describe(dtype: type, data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 4), max_size=4)))
    scores = np.random.default_rng(data.draw(st.integers(0, 2**32))).normal(0, 3, shape)
    scores = np.round(scores * data.draw(st.sampled_from((0.0, 1.0, 100.0)))).astype(dtype)
    threshold = data.draw(st.sampled_from((0.0, 1.0, 2.5, -1.0)))
    values = [float(value) for value in scores.ravel()]
    mean = math.fsum(values) / len(values)
    wanted = (min(values), max(values), mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values)),
              sum(v < threshold for v in values) / len(values))  # fmt: skip
    for library in LIBRARIES:
        if dtype is np.float16 and library in ("strict", "device"):
            continue
        found = saliency.describe(to(library, scores), threshold)
        fields = (found.min, found.max, found.mean, found.std, found.below)
        assert fields == pytest.approx(wanted, rel=1e-12 if dtype is np.float64 else 1e-6, abs=1e-6), library
        assert all(type(field) is float for field in fields)


def test_describe_by_hand(torch) -> None:
    found = saliency.describe(np.array([[1.0, 3.0], [0.0, 0.0]]), threshold=1.0)
    assert (found.min, found.max, found.mean, found.below) == (0.0, 3.0, 1.0, 0.5)  # strictly below
    assert found.std == pytest.approx(math.sqrt(1.5))  # of the population
    assert saliency.describe(np.array([0.0, 1.0])).below == 0.0
    assert saliency.describe(torch.full((70_000,), 2.0, dtype=torch.float16)).mean == 2.0  # their sum is too large
    shifted = saliency.describe(np.array([1e8, 1e8 + 1, 1e8 + 2]))
    assert shifted.std == pytest.approx(math.sqrt(2 / 3))


def test_describe_refuses() -> None:
    with pytest.raises(ValueError, match="^scores must be finite, got nan at index 1: remove or replace") as error:
        saliency.describe(np.array([1.0, np.nan]))
    assert_one_sentence(error)
    with pytest.raises(TypeError, match="array of numpy, torch or the array API standard is needed"):
        saliency.describe([1.0])


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


@pytest.mark.parametrize("name", WITH_ARRAYS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_signals_broadcast_to_the_weight(library: str, name: str) -> None:
    weight, (keyword,) = to(library, np.ones((2, 3))), saliency.requires(name)
    for shape in ((2,), (4, 2, 3), (1, 2, 3), (3, 3)):
        with pytest.raises(
            ValueError, match=rf"^signal '{keyword}' of shape \({shape[0]},.*\) must broadcast to the wei"
        ):
            saliency.score(name, weight, **{keyword: to(library, np.ones(shape))})


@pytest.mark.parametrize("name", WITH_ARRAYS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_signals_that_are_not_finite_are_named(library: str, name: str) -> None:
    weight, (keyword,) = to(library, np.ones((2, 3))), saliency.requires(name)
    with pytest.raises(ValueError, match=rf"^signal '{keyword}' must be finite, got nan at index \(0, 1\): rem"):
        saliency.score(name, weight, **{keyword: to(library, np.array([1.0, np.nan, np.nan]))})
    if name != "obs_diagonal":  # what divides by infinity is finite
        with pytest.raises(ValueError, match=rf"^signal '{keyword}' must be finite, got inf at index \(1, 0\)"):
            saliency.score(name, weight, **{keyword: to(library, np.array([[1.0], [np.inf]]))})


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("bad", [0.0, -0.0, -2.0])
def test_the_inverse_hessian_diagonal_is_positive(library: str, bad: float) -> None:
    weight, diagonal = to(library, np.ones((2, 3))), to(library, np.array([[1.0], [bad]]))
    with pytest.raises(ValueError, match="^signal .inverse_hessian_diagonal. must be positive everywhere") as error:
        saliency.score("obs_diagonal", weight, inverse_hessian_diagonal=diagonal)
    assert_one_sentence(error)


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


def test_an_infinite_diagonal_is_refused():
    with pytest.raises(ValueError, match="must be finite, got inf"):
        saliency.score("obs_diagonal", np.ones(2), inverse_hessian_diagonal=np.array([np.inf, 1.0]))


def test_taylor_of_rank_0_has_the_bits_of_rank_1():
    weight, gradient = np.array(13.0), np.array(556750.5625)
    whole = saliency.score("taylor", weight[None], gradient=gradient[None])
    assert saliency.score("taylor", weight, gradient=gradient).tobytes() == whole.tobytes()


def test_a_threshold_is_a_number():
    with pytest.raises(ValueError, match="threshold"):
        saliency.describe(np.ones(2), math.nan)
