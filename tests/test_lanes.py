"""The spelled-out vector loops give the bits of their plain twins, wherever they begin and however wide a tile is."""

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies as s
from neuroprune.kernels import lanes
from neuroprune.kernels.lanes import LANES, WIDE, correlate, gather, gather_wide, scatter
from neuroprune.network import run


@numba.njit
def run_gather(first, last, read, weight, values, origin, stride, bias, sums, at):
    gather(first, last, read, weight, values, origin, stride, bias, sums, at)


@numba.njit
def run_gather_wide(first, last, read, weight, values, origin, stride, bias, sums, at):
    gather_wide(first, last, read, weight, values, origin, stride, bias, sums, at)


@numba.njit
def run_correlate(first, last, read, values, origin, stride, delta, at, gradient):
    correlate(first, last, read, values, origin, stride, delta, at, gradient)


@numba.njit
def run_scatter(first, last, read, weight, values, origin, stride, delta, at, gradient):
    scatter(first, last, read, weight, values, origin, stride, delta, at, gradient)


@st.composite
def tiles(draw, width=LANES):
    """Columns of a tile of two steps: the last node reads any of the others, some of the step before."""
    nodes, blocks = draw(s.sizes(2, 6)), draw(s.sizes(1, 4))
    stride = width * blocks
    rng = np.random.default_rng(draw(s.SEEDS))
    dtype = draw(st.sampled_from((np.float64, np.float32)))
    edges = draw(s.sizes(0, 12))
    read = rng.integers(-nodes, nodes - 1, edges).astype(np.int32)
    values, sums = (rng.normal(size=2 * nodes * stride).astype(dtype) for _ in range(2))
    first, last = sorted((draw(s.sizes(0, edges)), draw(s.sizes(0, edges))))
    lane = width * draw(s.sizes(0, blocks - 1))
    return {
        "rng": rng, "read": read, "weight": rng.normal(size=edges).astype(dtype), "values": values, "sums": sums,
        "first": first, "last": last, "stride": stride, "bias": dtype(rng.normal()),
        "origin": nodes * stride + lane, "at": (2 * nodes - 1) * stride + lane,
    }  # fmt: skip


def arguments(tile, *names):
    return [tile[name] for name in names]


GATHER = ("first", "last", "read", "weight", "values", "origin", "stride", "bias")


@given(tiles())
def test_gather(tile):
    wanted = tile["sums"].copy()
    lanes.plain_gather(*arguments(tile, *GATHER), wanted, tile["at"])
    run_gather(*arguments(tile, *GATHER), tile["sums"], tile["at"])
    assert tile["sums"].tobytes() == wanted.tobytes()


@given(tiles(WIDE))
def test_gather_wide(tile):
    wanted, narrow = tile["sums"].copy(), tile["sums"].copy()
    lanes.plain_gather_wide(*arguments(tile, *GATHER), wanted, tile["at"])
    for lane in range(0, WIDE, LANES):
        tile_lane = {**tile, "origin": tile["origin"] + lane}
        run_gather(*arguments(tile_lane, *GATHER), narrow, tile["at"] + lane)
    run_gather_wide(*arguments(tile, *GATHER), tile["sums"], tile["at"])
    assert tile["sums"].tobytes() == wanted.tobytes() == narrow.tobytes()


@given(tiles())
def test_gather_adds_from_the_bias_on_in_the_order_of_the_connections(tile):
    run_gather(*arguments(tile, *GATHER), tile["sums"], tile["at"])
    for lane in range(LANES):
        total = tile["bias"]
        for edge in range(tile["first"], tile["last"]):
            place = tile["origin"] + int(tile["read"][edge]) * tile["stride"] + lane
            total = total + tile["weight"][edge] * tile["values"][place]
        assert tile["sums"][tile["at"] + lane] == total


@given(tiles())
def test_correlate(tile):
    gradient = tile["rng"].normal(size=tile["read"].size).astype(tile["values"].dtype)
    delta, wanted = tile["sums"], gradient.copy()
    common = arguments(tile, "first", "last", "read", "values", "origin", "stride")
    lanes.plain_correlate(*common, delta, tile["at"], wanted)
    run_correlate(*common, delta, tile["at"], gradient)
    assert gradient.tobytes() == wanted.tobytes()
    assert (gradient[: tile["first"]] == wanted[: tile["first"]]).all()


@given(tiles())
def test_scatter(tile):
    gradient = tile["rng"].normal(size=tile["read"].size).astype(tile["values"].dtype)
    delta, handed, wanted = tile["sums"], tile["sums"].copy(), gradient.copy()
    common = arguments(tile, "first", "last", "read", "weight", "values", "origin", "stride")
    lanes.plain_scatter(*common, handed, tile["at"], wanted)
    run_scatter(*common, delta, tile["at"], gradient)
    assert gradient.tobytes() == wanted.tobytes() and delta.tobytes() == handed.tobytes()


def test_the_total_is_a_fixed_tree():
    values = [float(2**i) for i in range(LANES)]
    assert lanes.plain_total(values) == 2.0**LANES - 1
    rng = np.random.default_rng(0)
    values = rng.normal(size=LANES)
    halves = values[:8] + values[8:]
    quarters = halves[:4] + halves[4:]
    assert lanes.plain_total(values) == (quarters[0] + quarters[2]) + (quarters[1] + quarters[3])


@pytest.mark.compiled_only
def test_the_loops_are_vector_code():
    tile = np.zeros(64), np.zeros(1, np.int32)
    run_gather(0, 1, tile[1], np.ones(1), tile[0], 16, 16, 0.0, np.zeros(32), 16)
    assert "<16 x double>" in run_gather.inspect_llvm(run_gather.signatures[0])


def test_both_sides_count_the_same_lanes():
    assert run.LANES == LANES and WIDE % LANES == 0
