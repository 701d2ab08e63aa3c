"""Where neuroprune differs from AiDotNet and aprender: the rows of docs/names.md, shown."""

import numpy as np
import pytest

import neuroprune as npr
from differences import assert_shown, of
from libraries import LIBRARIES, back, to
from neuroprune import masks
from neuroprune.pruning import metrics
from neuroprune.tensors import formats
from neuroprune.tensors.calibration import calibrate
from neuroprune.tensors.dense import DenseLayer


def ladder(*shape):
    """Weights 1, 2, 3, ... of a shape."""
    return np.arange(1.0, 1 + np.prod(shape)).reshape(shape)


# ---------------------------------------------------------------- scores


@of("AiDotNet", "IPruningStrategy<T>", "Name", "PruningConfig")
@of("aprender", "Importance")
def test_score_mask_and_apply_are_three_functions_and_one():
    weight, gradient = np.array([[1.0, -3.0], [2.0, 0.5]]), np.array([[1.0, 0.1], [1.0, 1.0]])
    for method in ("snip", npr.saliency.snip, lambda weight, *, gradient: abs(weight * gradient)):
        scores = npr.score(method, weight, gradient=gradient)
        mask = masks.sparse(scores, 0.5)
        assert masks.apply(weight, mask).tolist() == [[1.0, 0.0], [2.0, 0.0]]
        together = npr.prune_tensors({"w": weight}, 0.5, method, signals={"w": {"gradient": gradient}})
        assert together["w"].tolist() == mask.tolist()
    assert npr.saliency.SCORERS["snip"] is npr.saliency.snip


@of("AiDotNet", "ComputeImportanceScores(weights, gradients)")
@of("aprender", "ImportanceScores")
def test_scores_have_the_shape_and_dtype_of_the_weight():
    for shape in ((4,), (2, 3), (2, 3, 4), (2, 3, 2, 2), (1, 2, 3, 2, 2)):
        scores = npr.score("magnitude", -ladder(*shape).astype(np.float32))
        assert scores.shape == shape and scores.dtype == np.float32 and (scores > 0).all()
    with pytest.raises(ValueError, match=r"weight must be finite, got nan at index \(0, 1\)"):
        npr.score("magnitude", np.array([[1.0, np.nan]]))


@of("AiDotNet", "RequiresGradients")
@of("aprender", "name")
def test_a_scorer_says_what_it_needs():
    assert npr.saliency.requires("magnitude") == () and npr.saliency.requires("snip") == ("gradient",)
    assert npr.saliency.requires("wanda") == ("input_norm",)
    with pytest.raises(ValueError, match="scorer 'snip' needs the signal 'gradient'"):
        npr.score("snip", np.ones(3))


@of("AiDotNet", "GradientPruningStrategy<T>")
def test_weight_times_gradient_and_gradient_alone_are_two_scorers():
    weight, gradient = np.array([3.0, 1.0]), np.array([-1.0, 2.0])
    assert npr.score("snip", weight, gradient=gradient).tolist() == [3.0, 2.0]
    assert npr.score("gradient", weight, gradient=gradient).tolist() == [1.0, 2.0]


@of("aprender", "WandaImportance")
def test_wanda_takes_the_norm_itself_and_compares_inside_rows():
    weight, norm = np.array([[1.0, 1.0, 1.0, 1.0], [9.0, 9.0, 9.0, 9.0]]), np.array([16.0, 9.0, 4.0, 0.0])
    assert npr.score("wanda", weight, input_norm=norm)[0].tolist() == [16.0, 9.0, 4.0, 0.0]
    mask = npr.prune_tensors({"w": weight}, 0.5, "wanda", signals={"w": {"input_norm": norm}})["w"]
    assert mask.tolist() == [[True, True, False, False]] * 2
    whole = npr.prune_tensors({"w": weight}, 0.5, "wanda", "layer", signals={"w": {"input_norm": norm}})["w"]
    assert whole.sum(axis=1).tolist() == [1, 3]


@of("aprender", "compute_hessian")
def test_the_hessian_is_that_of_all_samples():
    x = np.random.default_rng(0).standard_normal((40, 5))
    layers = [DenseLayer(np.ones((2, 5)))]
    inputs = calibrate(layers, [x[:7], x[7:]], hessian=True)["0"]
    np.testing.assert_allclose(inputs.hessian[0], 2 / 40 * x.T @ x, rtol=1e-12, atol=1e-13)
    damped = inputs.hessian[0] + 0.1 * np.diag(inputs.hessian[0]).mean() * np.eye(5)
    diagonal = inputs.inverse_hessian_diagonal(damping=0.1)
    np.testing.assert_allclose(diagonal, np.diag(np.linalg.inv(damped)), rtol=1e-10)


@of("aprender", "ActivationStats", "CalibrationContext")
def test_calibration_does_not_depend_on_the_batches():
    x = np.random.default_rng(0).standard_normal((40, 5))
    layers = [DenseLayer(np.ones((2, 5))), DenseLayer(np.ones((1, 2)))]
    whole = calibrate(layers, [x])
    for size in (1, 3, 40):
        parts = calibrate(layers, [x[i:i + size] for i in range(0, 40, size)])
        assert list(parts) == ["0", "1"] and parts["0"].rows == (40,)
        assert parts["0"].input_norm.tobytes() == whole["0"].input_norm.tobytes()
    np.testing.assert_allclose(whole["0"].input_norm, np.linalg.norm(x, axis=0), rtol=1e-12)
    np.testing.assert_allclose(whole["0"].second_moment, (x**2).mean(axis=0), rtol=1e-12)
    assert "2" not in whole
    with pytest.raises(KeyError, match="2"):
        whole["2"]
    with pytest.raises(ValueError, match="5"):
        calibrate(layers, [x, x[:, :4]])


# ---------------------------------------------------------------- masks


@of("AiDotNet", "CreateMask(importanceScores, targetSparsity)", "IPruningMask<T>", "TargetSparsity")
@of("aprender", "generate_unstructured_mask", "SparsityMask")
def test_counts_are_exact_and_round_half_to_even():
    assert masks.sparse(ladder(7), 0.5).sum() == 3  # 3.5 rounds to 4; down, 3 would go
    for shape in ((6,), (2, 3), (1, 2, 3)):  # a zero is an element like the others
        scores = ladder(*shape) - 1
        assert masks.sparse(scores, 0.5).tolist() == (scores >= 3).tolist()
    ties = np.array([[3.0, 1.0, 2.0, 2.0], [2.0, 2.0, 5.0, 0.0]])
    assert masks.sparse(ties, 0.5).tolist() == [[True, False, False, False], [True, True, True, False]]
    assert masks.sparse(np.ones(4), 0.25).tolist() == [False, True, True, True]
    for library in LIBRARIES:
        mask = masks.sparse(to(library, ties), 0.5)
        assert mask.shape == ties.shape and type(mask) is type(to(library, ties)) and back(mask).dtype == np.bool_
    with pytest.raises((TypeError, ValueError), match="sparsity"):
        npr.prune_tensors({"w": ties})


@of("AiDotNet", "calling it again")
def test_the_target_is_that_of_the_whole():
    weights = {"w": ladder(8)}
    first = npr.prune_tensors(weights, 0.5)
    again = npr.prune_tensors(weights, 0.5, masks=first)
    assert first["w"].sum() == again["w"].sum() == 4
    assert npr.prune_tensors(weights, 0.5, masks=first, of="remaining")["w"].sum() == 2


@of("AiDotNet", "Create2to4Mask(importanceScores)", "SparsityN")
def test_groups_never_run_across_rows():
    weight = np.array([[9.0, 8.0, 7.0, 6.0], [1.0, 2.0, 3.0, 4.0]])
    mask = npr.prune_tensors({"w": weight}, pattern="2:4")["w"]
    assert mask.tolist() == [[True, True, False, False], [False, False, True, True]]
    with pytest.raises(ValueError, match="6"):
        masks.n_of_m(ladder(2, 6), 2, 4)  # 12 elements do divide by 4, rows of 6 do not
    assert masks.n_of_m(weight, 1, 4).sum() == 2  # one stays of each four, where theirs makes one zero


@of("AiDotNet", "CreateNtoMMask(importanceScores, n, m)")
@of("aprender", "generate_nm_mask")
def test_n_of_m_names_what_stays():
    mask = masks.n_of_m(ladder(1, 8), keep=1, group=4)
    assert mask.tolist() == [[False, False, False, True] * 2]
    assert masks.n_of_m(ladder(4, 2), keep=1, group=4, axis=0).tolist() == [[False, False]] * 3 + [[True, True]]
    assert masks.n_of_m(np.ones((1, 4)), 2, 4).tolist() == [[False, False, True, True]]  # the earlier of equals goes
    with pytest.raises(ValueError, match="(?s)5.*4|4.*5"):
        masks.n_of_m(ladder(1, 5), 2, 4)


@of("AiDotNet", "ApplyPruning(weights, mask)", "Apply(weights)")
@of("aprender", "apply")
def test_what_is_off_becomes_exactly_zero():
    for shape in ((3,), (1, 3), (1, 1, 3), (3, 1, 1, 1, 1)):
        weight, mask = np.array([np.nan, -np.inf, 2.0]).reshape(shape), np.array([False, False, True]).reshape(shape)
        applied = masks.apply(weight, mask)
        assert applied.ravel().tolist() == [0.0, 0.0, 2.0] and np.isnan(weight.ravel()[0])
        masks.apply(weight, mask, in_place=True)
        assert weight.ravel().tolist() == [0.0, 0.0, 2.0]
    weights = {"w": ladder(4)}
    npr.prune_tensors(weights, 0.5, in_place=True)
    assert weights["w"].tolist() == [0.0, 0.0, 3.0, 4.0]


@of("AiDotNet", "IsStructured", "SparsityPattern", "RowStructured", "ColumnStructured")
@of("AiDotNet", "Structured2to4, StructuredNtoM")
@of("aprender", "SparsityPattern")
def test_every_pattern_takes_every_scorer():
    weight = np.random.default_rng(0).standard_normal((4, 8))
    signal = {"gradient": weight[::-1].copy(), "movement": weight + 1.0, "input_norm": np.arange(1.0, 9.0)}
    for method in ("magnitude", "snip", "movement", "wanda"):
        used = {name: signal[name] for name in npr.saliency.requires(method)}
        scores = npr.score(method, weight, **used)
        for pattern, wanted in ((masks.Axis(0), masks.axis(scores, 0.5, 0)),
                                (masks.Axis(1), masks.axis(scores, 0.5, 1)),
                                (masks.Block((2, 2)), masks.block(scores, 0.5, (2, 2))),
                                (masks.NM(1, 2), masks.n_of_m(scores, 1, 2)),
                                (masks.NM(1, 2, axis=0), masks.n_of_m(scores, 1, 2, axis=0))):  # fmt: skip
            mask = npr.prune_tensors({"w": weight}, 0.5, method, pattern=pattern, signals={"w": used})["w"]
            assert mask.tolist() == wanted.tolist()
    assert masks.pattern("2:4") == masks.NM(2, 4)
    for wrong in (lambda: masks.NM(5, 4), lambda: masks.NM(1, 0), lambda: masks.Block((0, 2))):
        with pytest.raises(ValueError):  # noqa: PT011 (the message is theirs to word)
            wrong()


@of("AiDotNet", "StructuredPruningStrategy<T>", "the L2 norm of a unit")
def test_whole_units_go_by_the_count():
    weight = np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 1.0], [5.0, 0.0]])
    scores = npr.score("magnitude_l2", weight)
    assert masks.axis(scores, 0.0, 0).all()  # a unit of zeros stays where nothing has to go
    assert masks.axis(scores, 0.5, 0).tolist() == [[True, True], [False, False], [False, False], [True, True]]
    norms = np.linalg.norm(weight, axis=1)
    for share in (0.25, 0.5, 0.75):
        gone = ~masks.axis(scores, share, 0).any(axis=1)
        assert norms[gone].max() <= norms[~gone].min()


@of("AiDotNet", "StructurePruningType.Neuron", "StructurePruningType.Filter", "StructurePruningType.Channel")
@of("aprender", "generate_row_mask")
def test_units_of_any_rank():
    for shape in ((4, 6), (4, 6, 2), (4, 6, 2, 2), (4, 6, 2, 2, 2)):
        rows_off = ~masks.axis(ladder(*shape), 0.5, 0)
        assert rows_off[:2].all() and not rows_off[2:].any()
        columns_off = ~masks.axis(ladder(*shape), 0.5, 1)
        assert columns_off[:, :3].all() and not columns_off[:, 3:].any()
    kernels = ~masks.axis(ladder(2, 3, 2, 2), 0.5, (0, 1))
    assert kernels[0].all() and not kernels[1].any()


@of("AiDotNet", "BlockStructured")
@of("aprender", "generate_block_mask")
def test_blocks_go_as_a_whole():
    weight = np.array([[9.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0]])
    scores = npr.score("magnitude", weight)
    left, right = [[True, True, False, False]] * 2, [[False, False, True, True]] * 2
    assert masks.block(scores, 0.5, (2, 2)).tolist() == masks.block(scores, 0.5, (2, 2), "mean").tolist() == right
    assert masks.block(scores, 0.5, (2, 2), reduce="max").tolist() == left
    assert masks.block(ladder(2, 2, 4, 4), 0.5, (2, 2)).sum() == 32


@of("AiDotNet", "GradualPruning")
def test_a_schedule_says_when_and_how_far():
    cubic, rounds = npr.schedules.Cubic(0.8, 0, 100, 10), npr.schedules.Iterative(0.5, 0, 10, 5)
    weight, mask = ladder(10, 10), None
    for step in range(101):
        if cubic.fires(step):
            mask = npr.prune_tensors({"w": weight}, cubic.sparsity(step), masks=mask)
    assert mask["w"].sum() == 20 and rounds.sparsity(10) == pytest.approx(0.5)


@of("AiDotNet", "LayerWiseSparsity")
def test_a_target_by_name():
    weights = {"first": ladder(10), "second": ladder(10), "third": ladder(10)}
    found = npr.prune_tensors(weights, 0.5, targets={"first": 0.0, "rest": 0.9}, groups={"rest": ["first", "second"]})
    assert [mask.sum() for mask in found.values()] == [10, 1, 5]
    with pytest.raises(ValueError, match="'first'"):
        npr.prune_tensors(weights, 0.5, targets={"frist": 0.1})
    with pytest.raises(ValueError, match="-0.1"):
        npr.prune_tensors(weights, 0.5, targets={"first": -0.1})


@of("AiDotNet", "Pattern of a mask")
@of("aprender", "validate")
def test_whether_a_mask_follows_a_pattern_is_asked():
    masks.validate(np.array([[True, False, True, False]]), masks.NM(2, 4))
    across = np.array([[True, True], [False, False]] * 2)  # 2 of each 4 in flat order only
    with pytest.raises(ValueError):  # noqa: PT011
        masks.validate(across, masks.NM(2, 4))


@of("AiDotNet", "GetSparsity")
def test_an_empty_mask_has_a_sparsity_of_zero():
    assert masks.sparsity(np.array([[True, False], [False, False]])) == 0.75
    assert masks.sparsity(np.zeros(0, bool)) == 0.0


# ---------------------------------------------------------------- sparse formats


def pruned(*shape, share=0.75):
    """A weight with exact zeros, and its mask."""
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    mask = masks.sparse(npr.score("magnitude", weight), share)
    return masks.apply(weight, mask), mask


@of("AiDotNet", "ToSparseFormat(weights, format)", "COO", "SparseCompressionResult<T>", "Values")
@of("aprender", "SparseFormat", "COOTensor")
def test_every_format_decodes_and_multiplies():
    weight, mask = pruned(8, 12)
    packed = masks.apply(weight, masks.n_of_m(np.abs(weight), 2, 4))
    x = np.random.default_rng(1).standard_normal((5, 12)).astype(np.float32)
    for format, array, rest in (("csr", weight, {}), ("csc", weight, {}), ("coo", weight, {}),
                                ("bsr", weight, {"block": (2, 4)}), ("2:4", packed, {})):  # fmt: skip
        sparse = formats.to_sparse(array, format=format, **rest)
        assert sparse.format == format and sparse.shape == (8, 12)
        np.testing.assert_array_equal(sparse.to_dense(), array)
        np.testing.assert_allclose(sparse @ x[0], array @ x[0], rtol=1e-4, atol=1e-5)
    other = formats.to_sparse(weight, mask, "coo").to("csr")
    np.testing.assert_array_equal(other.matrix.toarray(), weight)
    four = np.zeros((2, 3, 2, 2))
    four[1, 2, 0, 1] = 5.0
    sparse = formats.to_sparse(four, format="csr")
    assert sparse.matrix.shape == (2, 12) and sparse.shape == four.shape and (sparse.to_dense() == four).all()


@of("AiDotNet", "BSR")
@of("aprender", "BlockSparseTensor")
def test_blocks_keep_the_true_shape():
    weight = np.zeros((5, 7))
    weight[4, 6] = 2.0
    sparse = formats.to_sparse(weight, format="bsr", block=(4, 4))
    assert sparse.shape == (5, 7) and sparse.to_dense().shape == (5, 7) and (sparse.to_dense() == weight).all()


@of("AiDotNet", "GetCompressedSizeBytes(elementSize)")
@of("aprender", "memory_bytes")
def test_bytes_count_the_indices():
    weight, _ = pruned(100, 100, share=0.5)
    sparse = formats.to_sparse(weight, format="csr")
    assert sparse.n_bytes == 5000 * (4 + 4) + 4 * 101
    assert sparse.savings == pytest.approx(0.0, abs=0.02)  # at 50% there is nothing to gain yet
    assert formats.sizes(weight)["csr"] == sparse.n_bytes


@of("AiDotNet", "SparseFormat.Structured2to4")
def test_two_of_four_takes_two_bits():
    weight = masks.apply(ladder(4, 64).astype(np.float32), masks.n_of_m(ladder(4, 64), 2, 4))
    sparse = formats.to_sparse(weight, format="2:4")
    assert sparse.n_bytes == 128 * 4 + 128 * 2 // 8  # theirs: 3 bytes for each of 256 elements


@of("AiDotNet", "Sparsity, NonZeroCount")
def test_a_kept_zero_counts_as_kept():
    sparse = formats.to_sparse(np.array([[0.0, 1.0]]), np.array([[True, True]]))
    assert sparse.kept == 2 and sparse.sparsity == 0.0


@of("AiDotNet", "SparsePruningCompression<T>")
def test_compression_is_pruning_and_a_format():
    weight = np.array([[1.0, 1.0, 1.0, 1.0, 2.0]])
    kept = npr.prune_tensors({"w": weight}, 0.6)
    assert formats.sparsify({"w": weight}, kept)["w"].kept == 2  # keeping abs(w) >= threshold would keep all 5


@of("aprender", "CSRTensor", "sparsify")
def test_sparse_weights_are_read_and_multiplied():
    weight, mask = pruned(6, 8)
    sparse = formats.sparsify({"a": weight, "b": weight}, {"a": mask, "b": mask})["b"]
    x = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    np.testing.assert_allclose(sparse @ x.T, weight @ x.T, rtol=1e-4, atol=1e-5)
    assert sparse.get(*np.unravel_index(masks.kept(mask)[0], mask.shape)) == weight.ravel()[masks.kept(mask)[0]]
    with pytest.raises(IndexError):
        sparse.get(6, 0)


# ---------------------------------------------------------------- pruners


@of("aprender", "Pruner")
def test_many_weights_are_pruned_at_once():
    weights = {"small": ladder(2, 4) / 100, "large": ladder(2, 4)}
    assert [m.sum() for m in npr.prune_tensors(weights, 0.5).values()] == [4, 4]
    assert [m.sum() for m in npr.prune_tensors(weights, 0.5, scope="global").values()] == [1, 7]
    with pytest.raises(ValueError):  # noqa: PT011
        npr.prune_tensors(weights, 0.7, pattern="2:4")


@of("aprender", "PruningResult", "compression_ratio")
def test_what_a_pruning_came_to():
    found = npr.prune_tensors({"a": ladder(10), "b": ladder(30)}, 0.5)
    assert metrics.total(found).off == 20 and metrics.counts(found)["b"].sparsity == 0.5
    memory = metrics.memory({"w": masks.sparse(ladder(100, 100), 0.9)}, "csr")
    assert memory.before == 40_000 and memory.after == 1000 * 8 + 4 * 101


@pytest.mark.parametrize("library", ["AiDotNet", "aprender"])
def test_every_difference_is_shown(library):
    assert_shown(library)
