"""exp, expm1, log, log1p, sigmoid, tanh, sin, cos of one float64, in a form that vectorises.

No branches, no tables and no calls into libm: a loop over any of them becomes SIMD code, and the bits depend
on the argument alone, not on the machine, the position in an array or its length. Every function is within
4 ulp of the exact value on the range its docstring states; outside, the argument is clamped, so that nothing
overflows. NaN in, NaN out.

The polynomials are minimax (Remez, relative error at most 2**-58). Adding 1.5 * 2**52 rounds to an integer
(half to even) that can be read off the low bits. numba allows `view` only on what is visibly a numpy scalar, hence
the calls of np.float64 and np.int64 before it.
"""

import numpy as np

from neuroprune.kernels.compile import jit

_ROUND = 6755399441055744.0  # 1.5 * 2**52
_ROUND_BITS = 0x4338000000000000
_LOG2E = 1.4426950408889634
_LN2_HIGH = 0.6931471805598903  # 42 bits, so that its product with an exponent is exact
_LN2_LOW = 5.497923018708371e-14
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
_MANTISSA = 0x000FFFFFFFFFFFFF
_SMALLEST_NORMAL = 2.2250738585072014e-308
_LARGEST = 1.7976931348623157e308
_TWO_OVER_PI = 0.6366197723675814
_HALF_PI_1 = 1.5707963267341256  # 33 bits
_HALF_PI_2 = 6.077100506303966e-11  # the next 33 bits
_HALF_PI_3 = 2.0222662487959506e-21
_FARTHEST = 35184372088832.0  # 2**45


@jit
def _expm1_reduced(r):
    """exp(r) - 1 for |r| <= log(2) / 2."""
    r2 = r * r
    r4 = r2 * r2
    low = (0.5 + r * 0.16666666666666677) + r2 * (0.04166666666666651 + r * 0.008333333333321691)
    middle = (0.0013888888888962364 + r * 0.00019841269885966412) + r2 * (
        2.4801587172552942e-05 + r * 2.755724437372417e-06
    )
    high = 2.7557402631109145e-07 + r * 2.5108979040490868e-08 + r2 * 2.0875333479523747e-09
    return r + r2 * (low + r4 * (middle + r4 * high))


@jit
def exp(x):
    """e**x. For x < -708.7 it is 0 (denormal numbers are flushed), for x > 709.4 it is exp(709.4) = 1.2e308."""
    x = np.float64(x)
    x = -709.4 if x < -709.4 else x
    x = 709.4 if x > 709.4 else x
    rounded = np.float64(x * _LOG2E + _ROUND)
    n = rounded - _ROUND
    k = rounded.view(np.int64) - _ROUND_BITS
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    return (1.0 + _expm1_reduced(r)) * np.int64((k + 1023) << 52).view(np.float64)


@jit
def expm1(x):
    """e**x - 1, accurate near 0. For x > 709 it is expm1(709) = 8.2e307."""
    x = np.float64(x)
    x = -40.0 if x < -40.0 else x
    x = 709.0 if x > 709.0 else x
    rounded = np.float64(x * _LOG2E + _ROUND)
    n = rounded - _ROUND
    k = rounded.view(np.int64) - _ROUND_BITS
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    scale = np.int64((k + 1023) << 52).view(np.float64)
    return scale * _expm1_reduced(r) + (scale - 1.0)


@jit
def sigmoid(x):
    """1 / (1 + e**-x), accurate on both sides; 0 for x < -708.7."""
    x = np.float64(x)
    e = exp(-abs(x))
    return (e if x < 0.0 else 1.0) / (1.0 + e)


@jit
def tanh(x):
    """(e**2x - 1) / (e**2x + 1), accurate near 0: tanh(x) == x for |x| < 1e-16."""
    x = np.float64(x)
    x = -20.0 if x < -20.0 else x
    x = 20.0 if x > 20.0 else x
    e = expm1(2.0 * x)
    return e / (e + 2.0)


@jit
def log(x):
    """Natural logarithm for x >= 0, clamped to normal numbers: log(0) = -708.4, log(inf) = 709.8."""
    x = np.float64(x)
    clamped = _SMALLEST_NORMAL if x < _SMALLEST_NORMAL else x
    clamped = _LARGEST if clamped > _LARGEST else clamped
    shifted = np.float64(clamped).view(np.int64) - _SQRT_HALF_BITS
    k = shifted >> 52
    m = np.int64((shifted & _MANTISSA) + _SQRT_HALF_BITS).view(np.float64)  # x = m * 2**k, sqrt(1/2) <= m < sqrt(2)
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    z2 = z * z
    tail = (0.6666666666666734 + z * 0.39999999999416824) + z2 * (
        (0.28571428741925686 + z * 0.22222198618949268)
        + z2 * ((0.18183562034251102 + z * 0.15314106997949103) + z2 * 0.14795406296089442)
    )
    n = np.float64(k)
    return x if x != x else n * _LN2_HIGH + (2.0 * s + (s * (z * tail) + n * _LN2_LOW))


@jit
def log1p(x):
    """log(1 + x) for 0 <= x <= 1, accurate near 0. Other arguments are not for this function."""
    x = np.float64(x)
    s = x / (2.0 + x)
    z = s * s
    z2 = z * z
    z4 = z2 * z2
    low = (0.6666666666666667 + z * 0.39999999999994096) + z2 * (0.285714285724922 + z * 0.22222222126804572)
    middle = (0.18181823145550824 + z * 0.1538445345817417) + z2 * (0.13336779872152718 + z * 0.11716233233797625)
    high = 0.1097065984128088 + z * 0.07001509905033904 + z2 * 0.16455701550232837
    return 2.0 * s + s * (z * (low + z4 * (middle + z4 * high)))


@jit
def _sine(x, quarter):
    """sin(x + quarter * pi / 2)."""
    x = -_FARTHEST if x < -_FARTHEST else x
    x = _FARTHEST if x > _FARTHEST else x
    rounded = np.float64(x * _TWO_OVER_PI + _ROUND)
    n = rounded - _ROUND
    k = rounded.view(np.int64) - _ROUND_BITS + quarter
    r = ((x - n * _HALF_PI_1) - n * _HALF_PI_2) - n * _HALF_PI_3
    z = r * r
    z2 = z * z
    s = r + r * z * (
        (-0.16666666666666632 + z * 0.008333333333322418)
        + z2 * ((-0.00019841269829812388 + z * 2.755731369357538e-06)
                + z2 * (-2.50507583847801e-08 + z * 1.5896811821695718e-10))
    )
    c = (1.0 - 0.5 * z) + z2 * (
        (0.0416666666666666 + z * -0.0013888888888874131)
        + z2 * ((2.4801587289486985e-05 + z * -2.7557314353781716e-07)
                + z2 * (2.087572347809026e-09 + z * -1.1359658797584345e-11))
    )
    value = c if k & 1 else s
    return -value if k & 2 else value


@jit
def sin(x):
    """Sine, within 4 ulp for |x| < 1e6; beyond, the sine of a number within 1 ulp of x; clamped at 2**45."""
    return _sine(np.float64(x), 0)


@jit
def cos(x):
    """Cosine, as accurate as `sin`."""
    return _sine(np.float64(x), 1)
