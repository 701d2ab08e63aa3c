"""The kernels of the activation functions: accuracy in ulp, the same bits everywhere, what they promise of speed."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroprune import activations
from neuroprune.kernels import elementary, functions

ROOT = Path(__file__).parents[1]
CODES = sorted(row.code for row in activations.ACTIVATIONS.values() if row.code < activations.FIRST_USER)
NO_USER = np.empty((0, 2), np.int64)
mpmath.mp.dps = 40

random = np.random.default_rng(20240817)
TINY = 10.0 ** random.uniform(-300, -1, 200)
NORMAL = random.normal(size=400)

# name: (exact value, arguments). The docstrings of elementary.py state the ranges.
ELEMENTARY = {
    "exp": (mpmath.exp, [random.uniform(-708, 709, 400), NORMAL, TINY, -TINY]),
    "expm1": (mpmath.expm1, [random.uniform(-750, 709, 400), NORMAL, TINY, -TINY]),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), [random.uniform(-708, 750, 400), 4 * NORMAL, TINY, -TINY]),
    "tanh": (mpmath.tanh, [random.uniform(-750, 750, 200), random.uniform(-22, 22, 400), NORMAL, TINY, -TINY]),
    "log": (mpmath.log, [10.0 ** random.uniform(-307, 308, 400), random.uniform(0, 2, 400), 1 + TINY, 1 - TINY]),
    "log1p": (mpmath.log1p, [random.uniform(0, 1, 400), TINY, np.array([0.0, 1.0])]),
    "sin": (mpmath.sin, [random.uniform(-1e6, 1e6, 400), 4 * NORMAL, TINY, np.arange(1, 200) * (np.pi / 2)]),
    "cos": (mpmath.cos, [random.uniform(-1e6, 1e6, 400), 4 * NORMAL, TINY, np.arange(1, 200) * (np.pi / 2)]),
}


def apply(code, x):
    y = np.empty_like(x)
    functions.apply(np.uint8(code), x, 0, y, 0, x.size, NO_USER)
    return y


def slope(code, x, y=None, upstream=None):
    d = np.ones_like(x) if upstream is None else upstream.copy()
    functions.apply_slope(np.uint8(code), x, 0, apply(code, x) if y is None else y, 0, d, 0, x.size, NO_USER)
    return d


@pytest.mark.parametrize("name", ELEMENTARY)
def test_elementary_functions_are_within_4_ulp(name: str) -> None:
    exact, arguments = ELEMENTARY[name]
    compute = getattr(elementary, name)
    for x in np.concatenate(arguments):
        expected = exact(mpmath.mpf(float(x)))
        ulp = np.spacing(abs(float(expected)))
        assert abs(mpmath.mpf(float(compute(x))) - expected) <= 4 * ulp, x


def test_beyond_their_range_elementary_functions_are_clamped() -> None:
    for x in (-709.5, -1e4, -1e300, -np.inf):
        assert (elementary.exp(x), elementary.sigmoid(x), elementary.expm1(x), elementary.tanh(x)) == (0, 0, -1, -1)
    for x in (710.0, 1e4, 1e300, np.inf):
        assert 1e308 < elementary.exp(x) < np.inf and 8e307 < elementary.expm1(x) < np.inf
        assert (elementary.sigmoid(x), elementary.tanh(x)) == (1, 1)
    assert -709 < elementary.log(0.0) < -708 and 709 < elementary.log(np.inf) < 710
    for x in (1e-17, 1e-20, -1e-20, 5e-324):
        assert elementary.tanh(x) == x and elementary.expm1(x) in (x, np.nextafter(x, 1))


@given(st.floats(1e6, 2.0**45), st.sampled_from([-1.0, 1.0]))
def test_sine_of_a_large_number_is_that_of_a_neighbour(x: float, sign: float) -> None:
    x *= sign
    width = 2 * np.spacing(abs(x))
    assert abs(elementary.sin(x) - mpmath.sin(x)) <= width
    assert abs(elementary.cos(x) - mpmath.cos(x)) <= width


def test_elementary_functions_pass_nan_on() -> None:
    assert all(np.isnan(getattr(elementary, name)(np.nan)) for name in ELEMENTARY)


def test_activations_pass_nan_on() -> None:
    finite = {activations.code("step"), activations.code("bipolar")}
    for code in CODES:
        assert np.isnan(apply(code, np.array([np.nan, 1.0]))[0]) == (code not in finite), activations.name(code)


@pytest.mark.parametrize("code", CODES, ids=activations.name)
def test_extreme_arguments_neither_overflow_nor_warn(code: int) -> None:
    x = np.array([s * v for v in (0.0, 5e-324, 1e-300, 20, 40, 709, 750, 1e5, 1e10, 1e154, 1e300) for s in (-1, 1)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(apply(code, x)).all()
        assert np.isfinite(slope(code, x)).all()


@given(
    code=st.sampled_from(CODES),
    start=st.integers(0, 9),
    n=st.integers(0, 150),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_bits_depend_on_the_argument_alone(code: int, start: int, n: int, seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=n + 12) * 10.0 ** rng.integers(-3, 3)).astype(dtype)
    part = slice(start, start + n)
    upstream = rng.normal(size=x.size).astype(dtype)

    values = np.full_like(x, 7)
    functions.apply(np.uint8(code), x, start, values, 2, n, NO_USER)
    in_place = x.copy()
    functions.apply(np.uint8(code), in_place, start, in_place, start, n, NO_USER)
    deltas = upstream.copy()
    functions.apply_slope(np.uint8(code), x, start, values, 2, deltas, 1, n, NO_USER)

    single = np.array([apply(code, x[i : i + 1])[0] for i in range(start, start + n)], dtype)
    singles = [slope(code, x[start + i : start + i + 1], None, upstream[1 + i : 2 + i])[0] for i in range(n)]
    assert values[2 : 2 + n].tobytes() == in_place[part].tobytes() == single.tobytes()
    outside = np.delete(in_place, np.arange(start, start + n))
    assert outside.tobytes() == np.delete(x, np.arange(start, start + n)).tobytes()
    assert (np.delete(values, np.arange(2, 2 + n)) == 7).all()
    assert np.delete(deltas, np.arange(1, 1 + n)).tobytes() == np.delete(upstream, np.arange(1, 1 + n)).tobytes()
    assert deltas[1 : 1 + n].tobytes() == np.array(singles, dtype).tobytes()


def test_a_thousand_at_once_are_a_thousand_one_at_a_time() -> None:
    x = np.concatenate([random.normal(size=500) * 5, random.uniform(-800, 800, 500)])
    for code in CODES:
        one = [apply(code, x[i : i + 1])[0] for i in range(x.size)]
        assert apply(code, x).tobytes() == np.array(one).tobytes(), activations.name(code)
        one = [slope(code, x[i : i + 1])[0] for i in range(x.size)]
        assert slope(code, x).tobytes() == np.array(one).tobytes(), activations.name(code)


@pytest.mark.parametrize("code", CODES, ids=activations.name)
def test_float32_is_the_float64_value_rounded(code: int) -> None:
    x = np.concatenate([random.normal(size=300) * 4, [0.0, 1.0, -1.0, 90.0, -90.0]]).astype(np.float32)
    y = apply(code, x.astype(np.float64)).astype(np.float32)
    assert apply(code, x).tobytes() == y.tobytes()
    expected = slope(code, x.astype(np.float64), y.astype(np.float64)).astype(np.float32)
    assert slope(code, x).tobytes() == expected.tobytes()


PRINT_ALL = """
import numpy as np
from neuroprune.kernels import functions
x = np.concatenate([np.linspace(-50, 50, 401), [-1e300, -750, -1e-9, 1e-9, 750, 1e300]])
for code in range(24):
    y, d = np.empty_like(x), np.ones_like(x)
    functions.apply(np.uint8(code), x, 0, y, 0, x.size, np.empty((0, 2), np.int64))
    functions.apply_slope(np.uint8(code), x, 0, y, 0, d, 0, x.size, np.empty((0, 2), np.int64))
    print(*[float(v).hex() for v in np.concatenate([y, d])])
"""


def run(script: str, **variables: str) -> str:
    """What `script` prints in a process of its own."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, **variables}, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.compiled_only
def test_the_same_bits_compiled_plain_and_for_another_processor(tmp_path: Path) -> None:
    compiled = run(PRINT_ALL)
    assert len(compiled.splitlines()) == 24
    assert run(PRINT_ALL, NUMBA_DISABLE_JIT="1") == compiled
    elsewhere = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    assert run(PRINT_ALL, **elsewhere) == compiled


def test_names_and_constants_mean_the_same_codes() -> None:
    for code in CODES:
        assert getattr(functions, activations.name(code).upper()) == code
    assert functions.FIRST_USER == activations.FIRST_USER


@pytest.mark.compiled_only
@pytest.mark.parametrize(("kernel", "arrays"), [(functions.apply, 2), (functions.apply_slope, 3)])
def test_nothing_stands_in_the_way_of_vector_instructions(kernel, arrays: int) -> None:
    """No reference counting (48 ns a call where 6 do), and every function inlined (a call costs ten times SIMD)."""
    import numba

    fresh = numba.njit(nogil=True, error_model="numpy")(kernel.py_func)
    fresh(np.uint8(1), *[part for _ in range(arrays) for part in (np.zeros(8), 0)], 8, NO_USER)
    llvm = fresh.inspect_llvm(fresh.signatures[0])
    body = next(part for part in re.split(r"\n(?=define )", llvm) if re.match(r"define [^@]*@_ZN(?!7cpython)", part))
    called = set(re.findall(r"call [^@\n]*@([\w.]+)", body))
    assert not [name for name in called if not name.startswith("llvm.")]


@settings(max_examples=200, deadline=None)
@given(code=st.integers(24, 63), x=st.floats(-1e6, 1e6))
def test_a_code_that_belongs_to_nothing_is_harmless(code: int, x: float) -> None:
    values = np.array([x])
    assert apply(code, values).tobytes() == values.tobytes()
    assert slope(code, values)[0] == 1.0
