"""The table of activation functions: values and derivatives, names and codes, functions of the user's own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import nan
from pathlib import Path

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroprune import activations, kernels, register_activation
from neuroprune.activations import ACTIVATIONS, FIRST_USER

ROOT = Path(__file__).parents[1]
BUILT_IN = [name for name, row in ACTIVATIONS.items() if row.code < FIRST_USER]
GOLDEN = json.loads((ROOT / "tests/golden/neataptic/activations.json").read_text(encoding="utf-8"))
THEIR_NAMES = {"logistic": "sigmoid", "sinusoid": "sin", "absolute": "abs"}
mp.mp.dps = 40


def our_name(theirs: str) -> str:
    return THEIR_NAMES.get(theirs) or re.sub("([A-Z])", r"_\1", theirs).lower()


def formula(name: str, x: mp.mpf) -> mp.mpf:
    """The definition, in 40 digits."""
    scale, alpha = mp.mpf(1.0507009873554805), mp.mpf(1.7580993408473766) / mp.mpf(1.0507009873554805)
    return {
        "identity": lambda: x,
        "tanh": lambda: mp.tanh(x),
        "sigmoid": lambda: 1 / (1 + mp.exp(-x)),
        "relu": lambda: max(x, mp.mpf(0)),
        "step": lambda: mp.mpf(x > 0),
        "softsign": lambda: x / (1 + abs(x)),
        "sin": lambda: mp.sin(x),
        "gaussian": lambda: mp.exp(-x * x),
        "bent_identity": lambda: (mp.sqrt(x * x + 1) - 1) / 2 + x,
        "bipolar": lambda: mp.mpf(1 if x > 0 else -1),
        "bipolar_sigmoid": lambda: 2 / (1 + mp.exp(-x)) - 1,
        "hard_tanh": lambda: max(min(x, mp.mpf(1)), mp.mpf(-1)),
        "abs": lambda: abs(x),
        "inverse": lambda: 1 - x,
        "selu": lambda: scale * (x if x > 0 else alpha * mp.expm1(x)),
        "softplus": lambda: mp.log1p(mp.exp(x)),
        "swish": lambda: x / (1 + mp.exp(-x)),
        "gelu": lambda: x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3))),
        "mish": lambda: x * mp.tanh(mp.log1p(mp.exp(x))),
        "leaky_relu": lambda: x if x > 0 else x * mp.mpf(0.01),
        "elu": lambda: x if x > 0 else mp.expm1(x),
        "cos": lambda: mp.cos(x),
        "square": lambda: x * x,
        "clamp": lambda: max(min(x, mp.mpf(1)), mp.mpf(-1)),
    }[name]()


def spread(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.normal(size=60) * 3, rng.uniform(-30, 30, 40), 10.0 ** rng.uniform(-12, -1, 20)])
    return x * rng.choice([-1, 1], x.size)


def test_the_golden_file_covers_the_functions_it_should() -> None:
    others = {"leaky_relu", "elu", "cos", "square", "clamp"}
    assert {our_name(name) for name in GOLDEN["functions"]} == set(BUILT_IN) - others


@pytest.mark.parametrize("theirs", GOLDEN["functions"])
def test_values_and_derivatives_agree_with_neataptic(theirs: str) -> None:
    ours, golden = ACTIVATIONS[our_name(theirs)], GOLDEN["functions"][theirs]
    x = np.array(GOLDEN["x"], np.float64)
    assert x.size == 33
    np.testing.assert_allclose(ours.f(x), golden["y"], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.df(x), golden["dy"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", BUILT_IN)
def test_values_and_derivatives_agree_with_the_definition(name: str) -> None:
    x = spread(1)
    with mp.workdps(400):
        exact = [float(formula(name, mp.mpf(float(v)))) for v in x]
        slopes = [float(mp.diff(lambda t: formula(name, t), mp.mpf(float(v)))) for v in x]
    np.testing.assert_allclose(ACTIVATIONS[name].f(x), exact, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(ACTIVATIONS[name].df(x), slopes, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", sorted(set(BUILT_IN) - {"sin", "cos"}))
def test_far_out_values_agree_with_the_definition(name: str) -> None:
    x = np.array([sign * size for size in (50, 800, 1e6, 1e17, 1e100, 1e150) for sign in (-1, 1)])
    with mp.workdps(330):
        exact = [float(formula(name, mp.mpf(float(v)))) for v in x]
    np.testing.assert_allclose(ACTIVATIONS[name].f(x), exact, rtol=1e-12, atol=1e-300)
    limits = {"identity": (1, 1), "relu": (0, 1), "bent_identity": (0.5, 1.5), "abs": (-1, 1), "inverse": (-1, -1),
              "selu": (0, 1.0507009873554805), "softplus": (0, 1), "swish": (0, 1), "gelu": (0, 1), "mish": (0, 1),
              "leaky_relu": (0.01, 1), "elu": (0, 1)}  # fmt: skip
    slopes = 2 * x if name == "square" else np.where(x < 0, *limits.get(name, (0, 0)))
    reached = np.abs(x) >= (1e6 if name in ("softsign", "bent_identity") else 50)
    np.testing.assert_allclose(ACTIVATIONS[name].df(x)[reached], slopes[reached], rtol=2e-12, atol=2e-12)


@given(name=st.sampled_from(BUILT_IN), x=st.floats(-20, 20))
def test_derivatives_agree_with_central_differences(name: str, x: float) -> None:
    step = 1e-5
    kinks = {"hard_tanh": (-1, 1), "clamp": (-1, 1)}.get(name, (0,))
    if name not in ("identity", "tanh", "sigmoid", "sin", "cos") and min(abs(x - kink) for kink in kinks) < 2 * step:
        return
    f = ACTIVATIONS[name].f
    difference = (f(x + step) - f(x - step)) / (2 * step)
    assert abs(ACTIVATIONS[name].df(x) - difference) <= 1e-7 * max(1.0, abs(x))


def test_derivatives_at_kinks() -> None:
    at_zero = {"relu": 0, "leaky_relu": 0.01, "abs": 1, "selu": 1.7580993408473766, "elu": 1, "step": 0, "bipolar": 0}
    for name, expected in at_zero.items():
        assert ACTIVATIONS[name].df(0.0) == expected, name
    for name in ("hard_tanh", "clamp"):
        assert ACTIVATIONS[name].df(np.array([-1.0, 0.999, 1.0])).tolist() == [0, 1, 0]


def test_arrays_of_any_shape_and_numbers() -> None:
    tanh = ACTIVATIONS["tanh"]
    x = np.linspace(-2, 2, 24).reshape(2, 3, 4)[:, ::-1, ::2]
    np.testing.assert_allclose(tanh.f(x), np.tanh(x), rtol=1e-14)
    np.testing.assert_allclose(tanh.df(x), 1 - np.tanh(x) ** 2, rtol=1e-13)
    assert isinstance(tanh.f(0.5), float) and np.ndim(tanh.df(0.5)) == 0
    assert tanh.f(np.float32(0.5)).dtype == np.float32 and tanh.f([1, 2]).dtype == np.float64
    assert tanh.f(np.empty((0, 3))).shape == (0, 3)
    before = x.copy()
    tanh.f(x)
    assert (x == before).all()


def test_names_and_codes() -> None:
    assert [ACTIVATIONS[name].code for name in BUILT_IN] == list(range(24))
    for name, row in ACTIVATIONS.items():
        assert row.name == name and activations.code(name) == row.code and activations.name(row.code) == name
    with pytest.raises(TypeError):
        ACTIVATIONS["new"] = ACTIVATIONS["tanh"]  # type: ignore[index]


def test_an_unknown_name_or_code_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"got 'sigmoidd': did you mean 'sigmoid', or .*\('sigmoidd'"):
        activations.code("sigmoidd")
    with pytest.raises(ValueError, match="known name, got ''"):
        activations.code("")
    with pytest.raises(TypeError, match="must be a name such as 'tanh', got 3"):
        activations.code(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 250: call register_activation first"):
        activations.name(250)


def ramp(x: float) -> float:
    return x * x if x > 0 else -0.5 * x


def ramp_slope(x: float) -> float:
    return 2 * x if x > 0 else -0.5


def test_a_registered_function_is_called() -> None:
    register_activation("ramp", ramp, ramp_slope)
    row = ACTIVATIONS["ramp"]
    assert row.code >= FIRST_USER and activations.code("ramp") == row.code and activations.name(row.code) == "ramp"
    x = np.linspace(-3, 3, 41)
    assert row.f(x).tolist() == [ramp(v) for v in x]
    assert row.df(x).tolist() == [ramp_slope(v) for v in x]
    assert row.f(x.astype(np.float32)).tolist() == [np.float32(ramp(v)) for v in x.astype(np.float32).astype(float)]
    assert activations.table().shape[1] == 2 and activations.table().dtype == np.int64


def test_registering_the_same_again_changes_nothing() -> None:
    def define(factor: float) -> tuple[Callable, Callable]:
        return lambda x: factor * x, lambda x: factor + 0 * x

    register_activation("twice", *define(2.0))
    rows, addresses = len(ACTIVATIONS), activations.table()
    register_activation("twice", *define(2.0))
    assert len(ACTIVATIONS) == rows and activations.table() is addresses
    with pytest.raises(ValueError, match="'twice' must keep the functions it was registered with"):
        register_activation("twice", *define(3.0))
    with pytest.raises(ValueError, match="'twice' must keep"):
        register_activation("twice", ramp, ramp_slope)
    assert ACTIVATIONS["twice"].f(5.0) == 10.0 and len(ACTIVATIONS) == rows


def test_a_changed_global_makes_a_different_function() -> None:
    source = "def f(x):\n    return helper * x\n"
    functions = []
    for helper in (2.0, 2.0, 3.0):
        names = {"helper": helper}
        exec(source, names)
        functions.append(names["f"])
    register_activation("with_global", functions[0], functions[0])
    register_activation("with_global", functions[1], functions[1])
    with pytest.raises(ValueError, match="must keep the functions"):
        register_activation("with_global", functions[2], functions[2])


def test_values_compared_for_sameness_may_be_arrays() -> None:
    table = np.array([1.0, 2.0])

    def define(table: np.ndarray) -> Callable:
        return lambda x: x * table[1]

    register_activation("with_array", define(table), define(table))
    register_activation("with_array", define(table), define(table))
    with pytest.raises(ValueError, match="must keep the functions"):
        register_activation("with_array", define(table.copy()), define(table))


def two(x: float, y: float) -> float:
    return x + y


def text(x: float) -> str:
    return "text"


@pytest.mark.parametrize(
    ("name", "f", "df", "error", "message"),
    [
        ("tanh", ramp, ramp_slope, ValueError, "got 'tanh', which is built in: choose another"),
        ("", ramp, ramp_slope, ValueError, "must not be empty"),
        (7, ramp, ramp_slope, TypeError, "must be a string, got 7"),
        ("bad", np.sin, np.cos, TypeError, "f of activation 'bad' must be a Python function .*lambda x: np.sin"),
        ("bad", ramp, 3.0, TypeError, "df of activation 'bad' must be a Python function of one number, got 3.0"),
        ("bad", two, ramp_slope, ValueError,
         r"f of activation 'bad' must take one number, got two\(x: float, y: float\)"),
        ("bad", ramp, lambda *x: x[0], ValueError, r"df of activation 'bad' must take one number"),
        ("bad", lambda x, k=1: x, ramp, ValueError, r"f of activation 'bad' must take one number"),
        ("bad", ramp, lambda x: not_there(x), ValueError, "df of activation 'bad'.*not_there"),  # noqa: F821
        ("bad", text, ramp_slope, ValueError, "f of activation 'bad' must compile"),
        ("bad", lambda x: [x], ramp_slope, ValueError, "f of activation 'bad' must compile"),
    ],
)
def test_a_refused_registration_changes_nothing(name, f, df, error, message) -> None:
    rows, addresses = dict(ACTIVATIONS), activations.table()
    with pytest.raises(error, match=message) as caught:
        register_activation(name, f, df)
    assert "\n" not in str(caught.value)
    assert dict(ACTIVATIONS) == rows and activations.table() is addresses


def test_threads_may_register_at_the_same_time() -> None:
    def register(i: int) -> float:
        register_activation(f"thread_{i % 4}", [ramp, two_x, three_x, four_x][i % 4], ramp_slope)
        return ACTIVATIONS[f"thread_{i % 4}"].f(3.0)

    before = len(activations.table())
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(register, range(32)))
    assert values == [9.0, 6.0, 9.0, 12.0] * 8
    assert len(activations.table()) == before + 4
    codes = [activations.code(f"thread_{i}") for i in range(4)]
    assert sorted(codes) == list(range(FIRST_USER + before, FIRST_USER + before + 4))


def two_x(x: float) -> float:
    return 2 * x


def three_x(x: float) -> float:
    return 3 * x


def four_x(x: float) -> float:
    return 4 * x


FRESH = """
import sys
import neuroprune as npr
from neuroprune import kernels
from neuroprune.activations import ACTIVATIONS
factors = [float(word) for word in sys.argv[1:]]
def times(factor):
    return lambda x: factor * x
for factor in factors:
    npr.register_activation(f"times_{factor}", times(factor), lambda x: x - 1)
print(*[ACTIVATIONS[f"times_{factor}"].f(3.0) for factor in factors], ACTIVATIONS[f"times_{factors[0]}"].df(3.0))
print(sum(kernels.functions.apply.stats.cache_hits.values()))
"""


@pytest.mark.compiled_only
def test_kernels_from_the_disk_cache_call_the_functions_of_this_process(tmp_path: Path) -> None:
    outputs = [
        subprocess.run(
            [sys.executable, "-c", FRESH, *arguments], cwd=ROOT, capture_output=True, text=True, check=True,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        ).stdout.splitlines()
        for arguments in (["2", "5"], ["7", "2", "11"])
    ]  # fmt: skip
    assert outputs == [["6.0 15.0 2.0", "0"], ["21.0 6.0 33.0 2.0", "1"]]


@pytest.mark.compiled_only
def test_functions_compiled_by_numba_are_accepted() -> None:
    import numba

    helper = numba.njit(three_x)
    register_activation("by_numba", numba.njit(lambda x: helper(x) + 1), numba.njit(two_x))
    assert ACTIVATIONS["by_numba"].f(2.0) == 7.0 and ACTIVATIONS["by_numba"].df(2.0) == 4.0


def test_a_division_by_zero_of_the_user_is_no_error() -> None:
    register_activation("reciprocal", lambda x: 1 / x if x != 0 else nan, lambda x: -1 / (x * x) if x != 0 else nan)
    values = ACTIVATIONS["reciprocal"].f(np.array([2.0, 0.0]))
    assert values[0] == 0.5 and np.isnan(values[1])


def test_no_more_codes_than_a_byte_holds() -> None:
    script = (
        "import neuroprune as npr\n"
        "f = lambda x: x\n"
        "for i in range(192):\n    npr.register_activation(f'f{i}', f, f)\n"
        "try:\n    npr.register_activation('one_more', f, f)\n"
        "except ValueError as error:\n    print(error)\n"
        "print(npr.activations.ACTIVATIONS['f191'].code, npr.activations.ACTIVATIONS['f191'].f(4.0))\n"
    )
    printed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True,
                             env={**os.environ, "NUMBA_DISABLE_JIT": "1"}).stdout  # fmt: skip
    assert printed == ("registered activations must be at most 192, got one more: do without 'one_more'\n255 4.0\n")


def test_two_arrays_of_addresses_are_never_mixed() -> None:
    register_activation("first_of_two", two_x, three_x)
    old = activations.table()
    register_activation("second_of_two", three_x, two_x)
    x, y = np.array([1.0]), np.empty(1)
    kernels.functions.apply(np.uint8(activations.code("first_of_two")), x, 0, y, 0, 1, old)
    assert y[0] == 2.0 and len(old) < len(activations.table())
