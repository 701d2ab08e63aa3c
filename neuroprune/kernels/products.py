"""Products of a sparse matrix with the rows of x, on one thread: y[sample] = W x[sample].

W is `start` (out+1,) int64, `read` (kept,) int32, `weight` (kept,): the entries of output r are start[r]:start[r+1],
entry e multiplies input read[e]; that is CSR. x is (batch, in) and out (batch, out), both in C or both in F order.
"""

import numpy as np

from neuroprune.kernels.compile import jit
from neuroprune.kernels.forward import lane_buffer
from neuroprune.kernels.lanes import LANES, WIDE, gather, gather_wide


@jit
def by_rows(start, read, weight, x, out):
    """One sample after the other. Entry e of a row goes to sum e % 8, as one sum would wait for each addition.

    The eight sums are added as ((0+1)+(2+3)) + ((4+5)+(6+7)); what is left of a row when it is divided by eight goes
    to sum 0. Unsigned indices, so that no check for negative ones is compiled.
    """
    one, eight = np.uint64(1), np.uint64(8)
    values = np.empty(x.shape[1], x.dtype)
    for sample in range(x.shape[0]):
        for i in range(x.shape[1]):
            values[i] = x[sample, i]
        for row in range(start.size - 1):
            edge, last = np.uint64(start[row]), np.uint64(start[row + 1])
            whole = edge + (last - edge) // eight * eight
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = weight.dtype.type(0)
            while edge < whole:
                e1 = edge + one
                e2 = e1 + one
                e3 = e2 + one
                e4 = e3 + one
                e5 = e4 + one
                e6 = e5 + one
                e7 = e6 + one
                s0 += weight[edge] * values[np.uint64(read[edge])]
                s1 += weight[e1] * values[np.uint64(read[e1])]
                s2 += weight[e2] * values[np.uint64(read[e2])]
                s3 += weight[e3] * values[np.uint64(read[e3])]
                s4 += weight[e4] * values[np.uint64(read[e4])]
                s5 += weight[e5] * values[np.uint64(read[e5])]
                s6 += weight[e6] * values[np.uint64(read[e6])]
                s7 += weight[e7] * values[np.uint64(read[e7])]
                edge = e7 + one
            while edge < last:
                s0 += weight[edge] * values[np.uint64(read[edge])]
                edge += one
            out[sample, row] = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@jit
def _load_tile(x, first, count, stride, values):
    """Lay `count` samples from `first` on beside each other, input by input; further lanes repeat the last one."""
    for begin in range(0, stride, LANES):  # neighbouring lanes share cache lines
        whole = begin + LANES <= count
        for i in range(x.shape[1]):
            at = i * stride + begin
            if whole:
                for lane in range(LANES):
                    values[at + lane] = x[first + begin + lane, i]
            else:
                for lane in range(LANES):
                    values[at + lane] = x[first + min(begin + lane, count - 1), i]


@jit
def by_lanes(start, read, weight, x, out, widest):
    """Up to `widest` samples (a multiple of 16) at once, each in its lane: entries are added in their order.

    x is laid out anew, input by input, so that an entry multiplies neighbouring numbers; 16 outputs at a time go
    back to the layout of `out`.
    """
    n_outputs = start.size - 1
    values = lane_buffer(x.shape[1] * widest, weight)
    sums = lane_buffer(LANES * widest, weight)
    zero = weight.dtype.type(0)
    for first in range(0, x.shape[0], widest):
        count = min(widest, x.shape[0] - first)
        stride = (count + LANES - 1) // LANES * LANES
        wide = stride // WIDE * WIDE
        _load_tile(x, first, count, stride, values)
        for top in range(0, n_outputs, LANES):
            some = min(LANES, n_outputs - top)
            for row in range(some):
                begin, end, at = start[top + row], start[top + row + 1], row * stride
                for lane in range(0, wide, WIDE):
                    gather_wide(begin, end, read, weight, values, lane, stride, zero, sums, at + lane)
                for lane in range(wide, stride, LANES):
                    gather(begin, end, read, weight, values, lane, stride, zero, sums, at + lane)
            for lane in range(count):
                for row in range(some):
                    out[first + lane, top + row] = sums[row * stride + lane]
