"""Products of a sparse matrix with the rows of x, on one thread: y[sample] = W x[sample].

W is `start` (out+1,) int64, `read` (kept,) int32, `weight` (kept,): the entries of output r are start[r]:start[r+1],
entry e multiplies input read[e]; that is CSR. x is (batch, in) and out (batch, out), both in C or both in F order.
"""

import numpy as np

from neuroprune.kernels.compile import jit
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
def _load_lanes(x, first, count, stride, values):
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
def _store_lanes(sums, origin, stride, first, count, top, some, out):
    """Write `some` outputs from `top` on of `count` samples; whole squares in loops of a length known beforehand."""
    for begin in range(0, count, LANES):
        if some == LANES and begin + LANES <= count:
            for lane in range(begin, begin + LANES):
                for row in range(LANES):
                    out[first + lane, top + row] = sums[origin + row * stride + lane]
        else:
            for lane in range(begin, min(begin + LANES, count)):
                for row in range(some):
                    out[first + lane, top + row] = sums[origin + row * stride + lane]


@jit
def by_lanes(start, read, weight, x, out, widest, scratch):
    """As many samples at once as there are lanes: 64, and 16 for the rest or if `widest` is less; each in its lane.

    Entries are added in their order. x is laid out anew, input by input, so that an entry multiplies neighbouring
    numbers; 16 outputs at a time go back to the layout of `out`. `scratch` holds (in + 16) times the lanes in use,
    from a cache line on.
    """
    n_outputs = start.size - 1
    zero = weight.dtype.type(0)
    first = 0
    while first < x.shape[0]:
        left = x.shape[0] - first
        if widest >= WIDE and left > WIDE - LANES:
            count = min(WIDE, left)
            sums = x.shape[1] * WIDE
            _load_lanes(x, first, count, WIDE, scratch)
            for top in range(0, n_outputs, LANES):
                some = min(LANES, n_outputs - top)
                for row in range(some):
                    gather_wide(start[top + row], start[top + row + 1], read, weight, scratch, 0, WIDE, zero, scratch,
                                sums + row * WIDE)
                _store_lanes(scratch, sums, WIDE, first, count, top, some, out)
            first += WIDE
        else:
            count = min(LANES, left)
            sums = x.shape[1] * LANES
            _load_lanes(x, first, count, LANES, scratch)
            for top in range(0, n_outputs, LANES):
                some = min(LANES, n_outputs - top)
                for row in range(some):
                    gather(start[top + row], start[top + row + 1], read, weight, scratch, 0, LANES, zero, scratch,
                           sums + row * LANES)
                _store_lanes(scratch, sums, LANES, first, count, top, some, out)
            first += LANES
