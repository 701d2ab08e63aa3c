"""Activation functions and their derivatives over slices of flat arrays.

`apply` and `apply_slope` branch once on the code and then run one loop, which vectorises. Values are computed
in float64 whatever the type of the arrays. The derivative at a kink is: relu 0, leaky_relu 0.01, abs 1, clamp
and hard_tanh 0, elu and selu that of the left side. Nothing overflows for |x| <= 1e300.

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

_SELU_SCALE = 1.0507009873554805
_SELU_LEFT = 1.7580993408473766  # scale * alpha
_GELU_TWICE = 1.5957691216057308  # 2 * sqrt(2 / pi)
_GELU_CUBE = 0.044715

_plain_functions = {}


def compile_user_function(function):
    """Machine address of `function` as a C function double(double); without JIT, a number that stands for it."""
    if numba.config.DISABLE_JIT:
        _plain_functions[id(function)] = function
        return id(function)
    compiled = numba.cfunc("float64(float64)", error_model="numpy")(function)
    _plain_functions[compiled.address] = compiled  # keeps the machine code alive
    return compiled.address


if numba.config.DISABLE_JIT:

    def _call(address, x):
        """Value of the user's function that `address` stands for."""
        return np.float64(_plain_functions[int(address)](x))

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
def _bent_identity(x):
    a = abs(x)
    c = 1e8 if a > 1e8 else a
    return 0.5 * (np.sqrt(c * c + 1.0) + (a - c) - 1.0) + x


@jit
def _bent_identity_slope(x):
    c = 1e8 if x > 1e8 else x
    c = -1e8 if c < -1e8 else c
    return 0.5 * c / np.sqrt(c * c + 1.0) + 1.0


@jit
def _gaussian(x):
    c = 30.0 if x > 30.0 else x
    c = -30.0 if c < -30.0 else c
    return exp(-(c * c))


@jit
def _clamp(x):
    c = 1.0 if x > 1.0 else x
    return -1.0 if c < -1.0 else c


@jit
def _elu(x):
    return x if x > 0.0 else expm1(0.0 if x > 0.0 else x)


@jit
def _softplus(x):
    return (x if x > 0.0 else 0.0) + log1p(exp(-abs(x)))


@jit
def _swish_slope(x):
    s = sigmoid(x)
    return s + x * s * (1.0 - s)


@jit
def _gelu_gate(x):
    """sigmoid(2u), u = sqrt(2 / pi) (x + 0.044715 x^3): gelu(x) = x (1 + tanh u) / 2 = x sigmoid(2u)."""
    c = 100.0 if x > 100.0 else x
    c = -100.0 if c < -100.0 else c
    return sigmoid(_GELU_TWICE * (c + _GELU_CUBE * c * c * c))


@jit
def _gelu_slope(x):
    c = 100.0 if x > 100.0 else x
    c = -100.0 if c < -100.0 else c
    s = _gelu_gate(c)
    return s + c * s * (1.0 - s) * (_GELU_TWICE * (1.0 + 3.0 * _GELU_CUBE * c * c))


@jit
def _mish(x):
    """x tanh(softplus x) = x n / (n + 2), n = e^x (e^x + 2)."""
    w = exp(40.0 if x > 40.0 else x)
    n = w * (w + 2.0)
    return x * (n / (n + 2.0))


@jit
def _mish_slope(x):
    c = 40.0 if x > 40.0 else x
    w = exp(c)
    n = w * (w + 2.0)
    q = 1.0 / (n + 2.0)
    return n * q + c * (4.0 * w * (w + 1.0) * q) * q


@jit
def _square(x):
    a = abs(x)
    c = 1e154 if a > 1e154 else a
    return c * c


@jit
def apply(code, x, x_start, y, y_start, n, user):
    """y[y_start + i] = f(x[x_start + i]) for i < n. `x` and `y` may be the same array at the same offset."""
    a = x[x_start : x_start + n]
    v = y[y_start : y_start + n]
    if a is not v:
        for i in range(n):
            v[i] = a[i]
    # From here on in place: with one array only, no check for overlap stands in the way of SIMD.
    if code == IDENTITY:
        return
    elif code == TANH:
        for i in range(n):
            v[i] = tanh(np.float64(v[i]))
    elif code == SIGMOID:
        for i in range(n):
            v[i] = sigmoid(np.float64(v[i]))
    elif code == RELU:
        for i in range(n):
            v[i] = 0.0 if v[i] <= 0.0 else v[i]
    elif code == STEP:
        for i in range(n):
            v[i] = 1.0 if v[i] > 0.0 else 0.0
    elif code == SOFTSIGN:
        for i in range(n):
            v[i] = np.float64(v[i]) / (1.0 + abs(np.float64(v[i])))
    elif code == SIN:
        for i in range(n):
            v[i] = sin(np.float64(v[i]))
    elif code == GAUSSIAN:
        for i in range(n):
            v[i] = _gaussian(np.float64(v[i]))
    elif code == BENT_IDENTITY:
        for i in range(n):
            v[i] = _bent_identity(np.float64(v[i]))
    elif code == BIPOLAR:
        for i in range(n):
            v[i] = 1.0 if v[i] > 0.0 else -1.0
    elif code == BIPOLAR_SIGMOID:
        for i in range(n):
            v[i] = tanh(0.5 * np.float64(v[i]))
    elif code == HARD_TANH or code == CLAMP:
        for i in range(n):
            v[i] = _clamp(np.float64(v[i]))
    elif code == ABS:
        for i in range(n):
            v[i] = abs(v[i])
    elif code == INVERSE:
        for i in range(n):
            v[i] = 1.0 - np.float64(v[i])
    elif code == SELU:
        for i in range(n):
            v[i] = (_SELU_SCALE if v[i] > 0.0 else _SELU_LEFT) * _elu(np.float64(v[i]))
    elif code == SOFTPLUS:
        for i in range(n):
            v[i] = _softplus(np.float64(v[i]))
    elif code == SWISH:
        for i in range(n):
            v[i] = np.float64(v[i]) * sigmoid(np.float64(v[i]))
    elif code == GELU:
        for i in range(n):
            v[i] = np.float64(v[i]) * _gelu_gate(np.float64(v[i]))
    elif code == MISH:
        for i in range(n):
            v[i] = _mish(np.float64(v[i]))
    elif code == LEAKY_RELU:
        for i in range(n):
            v[i] = np.float64(v[i]) * (1.0 if v[i] > 0.0 else 0.01)
    elif code == ELU:
        for i in range(n):
            v[i] = _elu(np.float64(v[i]))
    elif code == COS:
        for i in range(n):
            v[i] = cos(np.float64(v[i]))
    elif code == SQUARE:
        for i in range(n):
            v[i] = _square(np.float64(v[i]))
    else:
        address = user[code - FIRST_USER, 0]
        for i in range(n):
            v[i] = _call(address, np.float64(v[i]))


@jit
def apply_slope(code, x, x_start, y, y_start, d, d_start, n, user):
    """d[d_start + i] *= f'(x[x_start + i]) for i < n, where y[y_start + i] holds f(x[x_start + i])."""
    a = x[x_start : x_start + n]
    v = y[y_start : y_start + n]
    d = d[d_start : d_start + n]
    if code == IDENTITY:
        return
    elif code == TANH:
        for i in range(n):
            d[i] *= 1.0 - np.float64(v[i]) * np.float64(v[i])
    elif code == SIGMOID:
        for i in range(n):
            d[i] *= np.float64(v[i]) * (1.0 - np.float64(v[i]))
    elif code == RELU:
        for i in range(n):
            d[i] *= 1.0 if a[i] > 0.0 else 0.0
    elif code == STEP or code == BIPOLAR:
        for i in range(n):
            d[i] = 0.0
    elif code == SOFTSIGN:
        for i in range(n):
            d[i] *= (1.0 / (1.0 + abs(np.float64(a[i])))) * (1.0 / (1.0 + abs(np.float64(a[i]))))
    elif code == SIN:
        for i in range(n):
            d[i] *= cos(np.float64(a[i]))
    elif code == GAUSSIAN:
        for i in range(n):
            d[i] *= -2.0 * (np.float64(a[i]) * v[i])
    elif code == BENT_IDENTITY:
        for i in range(n):
            d[i] *= _bent_identity_slope(np.float64(a[i]))
    elif code == BIPOLAR_SIGMOID:
        for i in range(n):
            d[i] *= 0.5 * (1.0 - np.float64(v[i]) * np.float64(v[i]))
    elif code == HARD_TANH or code == CLAMP:
        for i in range(n):
            d[i] *= 1.0 if abs(a[i]) < 1.0 else 0.0
    elif code == ABS:
        for i in range(n):
            d[i] *= -1.0 if a[i] < 0.0 else 1.0
    elif code == INVERSE:
        for i in range(n):
            d[i] *= -1.0
    elif code == SELU:
        for i in range(n):
            d[i] *= _SELU_SCALE if a[i] > 0.0 else np.float64(v[i]) + _SELU_LEFT
    elif code == SOFTPLUS:
        for i in range(n):
            d[i] *= sigmoid(np.float64(a[i]))
    elif code == SWISH:
        for i in range(n):
            d[i] *= _swish_slope(np.float64(a[i]))
    elif code == GELU:
        for i in range(n):
            d[i] *= _gelu_slope(np.float64(a[i]))
    elif code == MISH:
        for i in range(n):
            d[i] *= _mish_slope(np.float64(a[i]))
    elif code == LEAKY_RELU:
        for i in range(n):
            d[i] *= 1.0 if a[i] > 0.0 else 0.01
    elif code == ELU:
        for i in range(n):
            d[i] *= 1.0 if a[i] > 0.0 else np.float64(v[i]) + 1.0
    elif code == COS:
        for i in range(n):
            d[i] *= -sin(np.float64(a[i]))
    elif code == SQUARE:
        for i in range(n):
            d[i] *= 2.0 * np.float64(a[i])
    else:
        address = user[code - FIRST_USER, 1]
        for i in range(n):
            d[i] *= _call(address, np.float64(a[i]))
