"""Products with sparse weights: all contenders agree, whatever is chosen is one of them, shapes and types are kept."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import libraries
import strategies as s
from bridge import assert_one_sentence
from neuroprune.tensors import product as products
from neuroprune.tensors.formats import to_sparse
from neuroprune.tensors.product import CONTENDERS, fastest, product, timings

FORMATS = ("csr", "csc", "coo", "bsr", "2:4")
WEIGHT = np.array([[0.5, 0.0, -2.0, 0.0], [0.0, 1.0, 0.0, 4.0]], np.float32)


@st.composite
def problems(draw):
    """A weight (out, in) or a convolution's, in any format, and samples for it."""
    out, width = draw(s.sizes(1, 20)), 4 * draw(s.sizes(1, 12))
    rng = np.random.default_rng(draw(s.SEEDS))
    dense = rng.normal(size=(out, width)) * (rng.random((out, width)) < draw(st.sampled_from((0.0, 0.2, 0.9))))
    format = draw(st.sampled_from(FORMATS))
    if format == "2:4":
        dense.reshape(-1, 4)[:, rng.choice(4, 2, replace=False)] = 0
    dense = dense.astype(draw(st.sampled_from((np.float32, np.float64))))
    shaped = dense.reshape(out, -1, 2, 2) if draw(st.booleans()) and format != "2:4" else dense
    block = (draw(s.sizes(1, 5)), draw(s.sizes(1, 5))) if format == "bsr" else None
    x = rng.normal(size=(draw(s.sizes(1, 20)), width)).astype(draw(st.sampled_from((np.float32, np.float64))))
    return to_sparse(shaped, format=format, block=block), dense, x


def assert_close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 if found.dtype == np.float32 else 1e-12)


@given(problems(), st.sampled_from("CF"))
def test_all_contenders_compute_the_layer(problem, order):
    weight, dense, x = problem
    x = np.asarray(x, order=order)
    wanted, before = x.astype(np.float64) @ dense.astype(np.float64).T, x.copy()
    for by in CONTENDERS:
        found = product(weight, x, by=by)
        assert found.shape == (len(x), dense.shape[0]) and found.dtype == np.result_type(dense, x)
        assert_close(found, wanted)
        row = product(weight, x[0], by=by)
        assert row.shape == (dense.shape[0],)
        assert_close(row, wanted[0])
    assert x.tobytes() == before.tobytes()


@given(problems())
def test_what_is_chosen_computes_the_layer(problem):
    weight, dense, x = problem
    wanted = x.astype(np.float64) @ dense.astype(np.float64).T
    assert_close(product(weight, x), wanted)
    assert_close(weight @ x.T, wanted.T)
    assert_close(weight @ x[0], wanted[0])
    assert fastest(weight, x) in CONTENDERS


@given(problems())
def test_our_loops_give_the_same_bits_in_every_format(problem):
    weight, dense, x = problem
    other = to_sparse(dense)
    for by in ("rows", "lanes"):
        assert product(weight, x, by=by).tobytes() == product(other, x, by=by).tobytes()


def test_the_fastest_is_measured_once_for_each_kind(monkeypatch):
    monkeypatch.setattr(products, "_winners", {})
    taken = []

    def measured(weight, x):
        taken.append(x.shape)
        return {"rows": 3.0, "lanes": 2.0, "scipy": 1.0}

    monkeypatch.setattr(products, "timings", measured)
    weight = to_sparse(np.eye(8))
    for batch in (1, 5, 8, 7, 1):
        assert fastest(weight, np.ones((batch, 8))) == "scipy"
    assert taken == [(1, 8), (5, 8)]
    fastest(to_sparse(np.eye(8)), np.ones((8, 8)))
    assert len(taken) == 2
    fastest(weight, np.ones((8, 8), np.float32))
    assert len(taken) == 2  # computed in float64 as the weight is
    fastest(to_sparse(np.eye(8, dtype=np.float32)), np.ones((8, 8), np.float32))
    fastest(to_sparse(np.ones((8, 8))), np.ones((8, 8)))
    fastest(to_sparse(np.eye(8), format="csc"), np.ones((8, 8)))
    assert len(taken) == 5


def test_the_winner_computes(monkeypatch):
    weight = to_sparse(WEIGHT)
    used = []
    run = products._run
    monkeypatch.setattr(products, "_run", lambda by, *rest: used.append(by) or run(by, *rest))
    for by in CONTENDERS:
        monkeypatch.setattr(products, "_winner", lambda *_, by=by: by)
        assert product(weight, np.ones(4, np.float32)).tolist() == [-1.5, 5.0]
    assert used == list(CONTENDERS)


def test_the_dense_matrix_stays_only_where_it_wins(monkeypatch):
    for winner in CONTENDERS:
        monkeypatch.setattr(products, "_winners", {})
        monkeypatch.setattr(products, "_seconds", lambda by, *_, winner=winner: 1.0 if by == winner else 2.0)
        weight = to_sparse(WEIGHT)
        product(weight, np.ones((2, 4), np.float32))
        assert any("dense" in key for key in weight._layouts if isinstance(key, tuple)) == (winner == "dense")


def test_timings_have_those_with_a_chance():
    half, few = to_sparse(np.ones((20, 20))), to_sparse(np.eye(50))
    assert set(timings(half, np.ones((4, 20)))) == set(CONTENDERS)
    assert set(timings(few, np.ones((17, 50)))) == {"lanes", "scipy"}
    assert all(seconds > 0 for seconds in timings(half, np.ones(20)).values())


def test_the_shortest_turn_counts_and_who_is_far_behind_drops_out(monkeypatch):
    clock = {"rows": iter([9.0, *[1.0] * 200]), "lanes": iter([2.0] * 200), "scipy": iter([4.0] * 200),
             "dense": iter([9.0] * 200)}
    taken = dict.fromkeys(clock, 0)

    def seconds(by, *_):
        taken[by] += 1
        return next(clock[by])

    monkeypatch.setattr(products, "_seconds", seconds)
    assert timings(to_sparse(WEIGHT), np.ones(4)) == {"rows": 1.0, "lanes": 2.0, "scipy": 4.0, "dense": 9.0}
    assert taken["scipy"] == taken["dense"] == 3 and taken["rows"] == taken["lanes"] >= 5


@pytest.mark.compiled_only
def test_threads_do_not_share_their_room():
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=(30, width)) for width in (200, 40)]
    sparse = [to_sparse(weight) for weight in weights]
    samples = [rng.normal(size=(70, weight.shape[1])) for weight in weights]
    wanted = [product(weight, x, by="lanes").tobytes() for weight, x in zip(sparse, samples, strict=True)]
    with ThreadPoolExecutor(4) as pool:
        turns = [i % 2 for i in range(200)]
        found = pool.map(lambda i: product(sparse[i], samples[i], by="lanes").tobytes(), turns)
        assert [wanted[i] for i in turns] == list(found)


def test_nothing_kept_gives_zeros():
    weight = to_sparse(np.ones((3, 4)), np.zeros((3, 4), bool))
    for by in (*CONTENDERS, None):
        assert product(weight, np.ones((2, 4)), by=by).tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("library", ["numpy", "torch", "strict"])
def test_results_are_of_the_library_of_x(library):
    weight = to_sparse(WEIGHT)
    x = libraries.to(library, np.ones((3, 4), np.float32))
    for by in (*CONTENDERS, None):
        found = product(weight, x, by=by)
        libraries.assert_same_place(found, x)
        assert libraries.back(found).tolist() == [[-1.5, 5.0]] * 3
    assert libraries.back(weight @ x.T).tolist() == [[-1.5] * 3, [5.0] * 3]


@pytest.mark.parametrize("x, error, message", [
    ([1.0] * 4, TypeError, "x must be an array of floating numbers, got list: convert it first"),
    (np.ones(4, int), TypeError, "got int64"),
    (np.ones(3), ValueError, r"x must have shape \(4,\) or \(batch, 4\) for a weight of shape \(2, 4\), got \(3,\)"),
    (np.ones((4, 2)), ValueError, r"got \(4, 2\)"),
    (np.ones((1, 2, 4)), ValueError, r"got \(1, 2, 4\)"),
    (np.float64(1.0), ValueError, r"got \(\)"),
])
def test_refused_in_one_sentence(x, error, message):
    for call in (product, fastest, timings):
        with pytest.raises(error, match=message):
            call(to_sparse(WEIGHT), x)


@pytest.mark.parametrize("x, error, message", [
    ([1.0] * 4, TypeError, "x must be an array of floating numbers, got list: convert it first"),
    (None, TypeError, "got NoneType"),
    (to_sparse(WEIGHT), TypeError, "got SparseWeight"),
    (np.ones((4, 2, 1)), ValueError, r"got \(4, 2, 1\)"),
])
def test_the_operator_refuses_likewise(x, error, message):
    with pytest.raises(error, match=message):
        to_sparse(WEIGHT) @ x


def test_tensors_without_values(torch):
    layout, meta = torch.eye(4).to_sparse(), torch.ones(4, 4, device="meta")
    for call in (to_sparse, lambda x: product(to_sparse(WEIGHT), x), lambda x: to_sparse(WEIGHT) @ x):
        with pytest.raises(TypeError, match="(weight|x) must be a dense tensor, got layout torch.sparse_coo"):
            call(layout)
        with pytest.raises(ValueError, match="(weight|x) must have values, got a tensor on device meta"):
            call(meta)


def test_other_refusals():
    with pytest.raises(ValueError, match="by must be one of rows, lanes, scipy, dense or None, got 'torch'"):
        product(to_sparse(WEIGHT), np.ones(4), by="torch")
    with pytest.raises(TypeError, match="weight must be a SparseWeight, got ndarray: make it with to_sparse"):
        product(WEIGHT, np.ones(4))
    with pytest.raises(ValueError, match="x must lie in host memory, got device"):
        product(to_sparse(WEIGHT), libraries.to("device", np.ones(4)))


@pytest.mark.parametrize("by", [None, *CONTENDERS])
def test_an_empty_batch_has_an_empty_product(by):
    weight = to_sparse(np.eye(4, 3, dtype=np.float32))
    out = product(weight, np.zeros((0, 3), np.float32), by=by)
    assert out.shape == (0, 4) and out.dtype == np.float32
    assert (weight @ np.zeros((3, 0))).shape == (4, 0)
    for measures in (fastest, timings):
        with pytest.raises(ValueError, match=r"x must have at least one sample to be timed, got shape \(0, 3\)"):
            measures(weight, np.zeros((0, 3), np.float32))


def test_samples_as_rows_are_told_where_to_go():
    weight = to_sparse(np.eye(4, 3))
    words = r"shape \(3,\) or \(3, batch\) .*got \(5, 3\): for samples as rows use"
    with pytest.raises(ValueError, match=words) as error:
        weight @ np.ones((5, 3))
    assert_one_sentence(error)
