"""Activation functions and their derivatives over slices of flat arrays.

`apply` and `apply_slope` branch once on the code and then run one loop, which vectorises. Values are computed
in float64 whatever the type of the arrays. They depend on x alone: any n, offset or place in the array gives the
same bits. Nothing overflows for |x| <= 1e300 (float32: 1e19). NaN gives NaN, save for step and bipolar.

At a kink the derivative is: relu and leaky_relu that of the left side, elu and selu too, abs 1, hard_tanh and
clamp 0. These two are one function, x clipped to [-1, 1]: names in other libraries for the same thing.

The functions of users are called through their machine addresses, which come as an argument: a kernel loaded
from the disk cache of another process holds no address of that process.
"""

import numba
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from neuroprune.kernels.compile import jit
from neuroprune.kernels.elementary import cos, exp, expm1, log1p, sigmoid, sin, tanh

IDENTITY, TANH, SIGMOID, RELU, STEP, SOFTSIGN, SIN, GAUSSIAN, BENT_IDENTITY, BIPOLAR = range(10)
BIPOLAR_SIGMOID, HARD_TANH, ABS, INVERSE, SELU, SOFTPLUS, SWISH, GELU, MISH = range(10, 19)
LEAKY_RELU, ELU, COS, SQUARE, CLAMP = range(19, 24)
FIRST_USER = 64

# float64 scalars, not Python floats: times a float32 they are computed in float64 in plain Python too.
_LEAK = np.float64(0.01)
_SELU_SCALE = np.float64(1.0507009873554805)
_SELU_LEFT = np.float64(1.7580993408473766)  # scale * alpha
_GELU_TWICE = 1.5957691216057308  # 2 * sqrt(2 / pi)
_GELU_CUBE = 0.044715

_user_functions = {}  # by address; holding them keeps the machine code in memory


def compile_user_function(function):
    """Machine address of `function` as a C function double(double); without JIT, a number that stands for it."""
    if numba.config.DISABLE_JIT:
        try:
            float(function(np.float64(0.5)))
        except Exception as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        _user_functions[id(function)] = function
        return id(function)
    try:
        compiled = numba.cfunc("float64(float64)", error_model="numpy")(function)
    except (numba.core.errors.NumbaError, TypeError) as error:
        lines = [line for line in str(error).splitlines() if line and not line.startswith("Failed in nopython")]
        raise ValueError(lines[0] if lines else type(error).__name__) from error
    _user_functions[compiled.address] = compiled
    return compiled.address


if numba.config.DISABLE_JIT:

    def _call(address, x):
        """Value of the user's function that `address` stands for."""
        return np.float64(_user_functions[int(address)](x))

else:

    @intrinsic
    def _call(typingctx, address, x):
        """Value of the C function double(double) at `address`."""

        def codegen(context, builder, signature, arguments):
            double = context.get_value_type(types.float64)
            kind = cgutils.ir.FunctionType(double, [double])
            pointer = builder.inttoptr(arguments[0], kind.as_pointer())
            return builder.call(pointer, [arguments[1]])

        return types.float64(types.int64, types.float64), codegen


@jit
def _clip(x, bound):
    c = bound if x > bound else x
    return -bound if c < -bound else c


@jit
def _gaussian(x):
    c = _clip(x, 30.0)
    return exp(-(c * c))


@jit
def _bent_identity(x):
    """(sqrt(x^2 + 1) - 1) / 2 + x without cancellation or overflow: from 1e8 on the root is |x|."""
    a = abs(x)
    c = 1e8 if a > 1e8 else a
    return x + 0.5 * (c * c / (np.sqrt(c * c + 1.0) + 1.0) + (a - c))


@jit
def _bent_identity_slope(x):
    c = _clip(x, 1e8)
    return 0.5 * c / np.sqrt(c * c + 1.0) + 1.0


@jit
def _elu(x):
    return x if x > 0.0 else expm1(0.0 if x > 0.0 else x)


@jit
def _swish_slope(x, gate):
    """gate is sigmoid(x)."""
    return gate + x * gate * (1.0 - gate)


@jit
def _gelu_gate(x):
    """(1 + tanh u) / 2 = sigmoid(2u) with u = sqrt(2 / pi) (x + 0.044715 x^3); gelu(x) is x times it."""
    c = _clip(x, 100.0)
    return sigmoid(_GELU_TWICE * (c + _GELU_CUBE * c * c * c))


@jit
def _gelu_slope(x, gate):
    """gate is _gelu_gate(x)."""
    c = _clip(x, 100.0)
    return gate + c * gate * (1.0 - gate) * (_GELU_TWICE * (1.0 + 3.0 * _GELU_CUBE * c * c))


@jit
def _mish(x, e):
    """x tanh(softplus(x)) = x n / (n + 2), n = e^x (e^x + 2); e is e^-|x|, which enlarges the fraction by e^2."""
    n = 1.0 + 2.0 * e if x > 0.0 else e * (e + 2.0)
    return x * (n / (n + 2.0 * (e * e if x > 0.0 else 1.0)))


@jit
def _mish_slope(x, e):
    n = 1.0 + 2.0 * e if x > 0.0 else e * (e + 2.0)
    q = 1.0 / (n + 2.0 * (e * e if x > 0.0 else 1.0))
    return n * q + x * (4.0 * e * (e + 1.0) * (e if x > 0.0 else 1.0) * q) * q


@jit
def _square(x):
    c = _clip(x, 1e154)
    return c * c


@jit
def _address(user, code, column):
    """Machine address of a user's f (column 0) or f' (column 1); 0 for a built-in."""
    return user[code - FIRST_USER, column] if code >= FIRST_USER else 0


# The two functions below keep three habits for speed (per call 6 ns instead of 50, and SIMD loops):
# offsets are unsigned, so that no check for negative indices is compiled; values change in place in one array,
# so that no check for overlap is needed; and the arrays are used a last time after the branches, so that numba
# proves the reference counts unchanged and drops the atomic operations. What the loops call must stay small
# enough to be inlined.


@jit
def apply(code, x, x_start, y, y_start, n, user):
    """y[y_start + i] = f(x[x_start + i]) for i < n. x and y: the same array at the same offset, or no overlap."""
    address = _address(user, code, 0)
    first = np.uint64(y_start)
    end = first + np.uint64(n)
    if x_start != y_start or x.ctypes.data != y.ctypes.data:
        start = np.uint64(x_start)
        for i in range(np.uint64(n)):
            y[first + i] = x[start + i]
    if code == IDENTITY:
        pass
    elif code == TANH:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = tanh(t)
    elif code == SIGMOID:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = sigmoid(t)
    elif code == RELU:
        for i in range(first, end):
            y[i] = 0.0 if y[i] <= 0.0 else y[i]
    elif code == STEP:
        for i in range(first, end):
            y[i] = 1.0 if y[i] > 0.0 else 0.0
    elif code == SOFTSIGN:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = t / (1.0 + abs(t))
    elif code == SIN:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = sin(t)
    elif code == GAUSSIAN:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = _gaussian(t)
    elif code == BENT_IDENTITY:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = _bent_identity(t)
    elif code == BIPOLAR:
        for i in range(first, end):
            y[i] = 1.0 if y[i] > 0.0 else -1.0
    elif code == BIPOLAR_SIGMOID:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = tanh(0.5 * t)
    elif code == HARD_TANH or code == CLAMP:
        for i in range(first, end):
            y[i] = _clip(y[i], 1.0)
    elif code == ABS:
        for i in range(first, end):
            y[i] = abs(y[i])
    elif code == INVERSE:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = 1.0 - t
    elif code == SELU:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = (_SELU_SCALE if t > 0.0 else _SELU_LEFT) * _elu(t)
    elif code == SOFTPLUS:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = (t if t > 0.0 else 0.0) + log1p(exp(-abs(t)))
    elif code == SWISH:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = t * sigmoid(t)
    elif code == GELU:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = t * _gelu_gate(t)
    elif code == MISH:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = _mish(t, exp(-abs(t)))
    elif code == LEAKY_RELU:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = t if t > 0.0 else _LEAK * t
    elif code == ELU:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = _elu(t)
    elif code == COS:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = cos(t)
    elif code == SQUARE:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = _square(t)
    elif code >= FIRST_USER:
        for i in range(first, end):
            t = np.float64(y[i])
            y[i] = _call(address, t)
    return x.size + y.size


@jit
def apply_slope(code, x, x_start, y, y_start, d, d_start, n, user):
    """d[d_start + i] *= f'(x[x_start + i]) for i < n, where y[y_start + i] holds f(x[x_start + i])."""
    address = _address(user, code, 1)
    a, b, c, n = np.uint64(x_start), np.uint64(y_start), np.uint64(d_start), np.uint64(n)
    if code == IDENTITY:
        pass
    elif code == TANH:
        for i in range(n):
            v = np.float64(y[b + i])
            d[c + i] *= 1.0 - v * v
    elif code == SIGMOID:
        for i in range(n):
            v = np.float64(y[b + i])
            d[c + i] *= v * (1.0 - v)
    elif code == RELU:
        for i in range(n):
            d[c + i] *= 1.0 if x[a + i] > 0.0 else 0.0
    elif code == STEP or code == BIPOLAR:
        for i in range(n):
            d[c + i] = 0.0
    elif code == SOFTSIGN:
        for i in range(n):
            q = 1.0 / (1.0 + abs(np.float64(x[a + i])))
            d[c + i] *= q * q
    elif code == SIN:
        for i in range(n):
            t = np.float64(x[a + i])
            d[c + i] *= cos(t)
    elif code == GAUSSIAN:
        for i in range(n):
            t = np.float64(x[a + i])
            v = np.float64(y[b + i])
            d[c + i] *= -2.0 * (t * v)
    elif code == BENT_IDENTITY:
        for i in range(n):
            t = np.float64(x[a + i])
            d[c + i] *= _bent_identity_slope(t)
    elif code == BIPOLAR_SIGMOID:
        for i in range(n):
            v = np.float64(y[b + i])
            d[c + i] *= 0.5 * (1.0 - v * v)
    elif code == HARD_TANH or code == CLAMP:
        for i in range(n):
            d[c + i] *= 1.0 if abs(x[a + i]) < 1.0 else 0.0
    elif code == ABS:
        for i in range(n):
            d[c + i] *= -1.0 if x[a + i] < 0.0 else 1.0
    elif code == INVERSE:
        for i in range(n):
            d[c + i] *= -1.0
    elif code == SELU:
        for i in range(n):
            t = np.float64(x[a + i])
            v = np.float64(y[b + i])
            d[c + i] *= _SELU_SCALE if t > 0.0 else v + _SELU_LEFT
    elif code == SOFTPLUS:
        for i in range(n):
            t = np.float64(x[a + i])
            d[c + i] *= sigmoid(t)
    elif code == SWISH:
        for i in range(n):
            t = np.float64(x[a + i])
            d[c + i] *= _swish_slope(t, sigmoid(t))
    elif code == GELU:
        for i in range(n):
            t = np.float64(x[a + i])
            d[c + i] *= _gelu_slope(t, _gelu_gate(t))
    elif code == MISH:
        for i in range(n):
            t = np.float64(x[a + i])
            d[c + i] *= _mish_slope(t, exp(-abs(t)))
    elif code == LEAKY_RELU:
        for i in range(n):
            d[c + i] *= 1.0 if x[a + i] > 0.0 else _LEAK
    elif code == ELU:
        for i in range(n):
            t = np.float64(x[a + i])
            v = np.float64(y[b + i])
            d[c + i] *= 1.0 if t > 0.0 else v + 1.0
    elif code == COS:
        for i in range(n):
            t = np.float64(x[a + i])
            d[c + i] *= -sin(t)
    elif code == SQUARE:
        for i in range(n):
            t = np.float64(x[a + i])
            d[c + i] *= 2.0 * t
    elif code >= FIRST_USER:
        for i in range(n):
            t = np.float64(x[a + i])
            d[c + i] *= _call(address, t)
    return x.size + y.size + d.size
