"""Losses: values and derivatives against the formulas, golden numbers, and torch; targets in all their shapes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import bridge
import oracles as o
import strategies as s
from neuroprune import Network
from neuroprune.kernels import losses as kernel
from neuroprune.network import losses


def listed(y):
    """Outputs or targets as a list of rows, of labels as integers."""
    labels = y.dtype.kind in "iu"
    return y.reshape(-1).tolist() if labels else y.reshape(-1, y.shape[-1]).tolist()


def slopes_of(loss, outputs, targets):
    """(summed loss, derivatives (rows, width) of the mean loss) by the kernel, one lane for each row."""
    rows, width = outputs.shape
    values, delta = outputs.T.ravel(), np.zeros(rows * width)
    code, y = losses.code(loss), np.ascontiguousarray(targets.reshape(rows, 1, width))
    share = kernel.mean_share(code, rows, 1, width)
    total = kernel.loss_tile(code, y, np.arange(rows), 0, rows, 0, width, 0, rows, share, values, delta)
    return total * share, delta.reshape(width, rows).T


@given(st.sampled_from(o.LOSSES), st.integers(1, 5), st.integers(1, 5), st.integers(0, 4), s.SEEDS, st.data())
def test_values_and_derivatives_equal_the_formulas(loss, rows, width, steps, seed, data):
    lead = (rows, steps) if steps else (rows,)
    outputs = np.random.default_rng(seed).normal(0, 3, (*lead, width))
    targets = data.draw(s.targets(lead, width, loss))
    wanted = o.loss_value(loss, listed(outputs), listed(targets))
    assert_allclose(losses.value(loss, outputs, targets), wanted, rtol=1e-12, atol=1e-14)
    assert_allclose(losses.value(loss, outputs.tolist(), targets.tolist()), wanted, rtol=1e-12, atol=1e-14)
    value, slopes = slopes_of(loss, outputs.reshape(-1, width), losses.targets_for(targets, lead, width, loss))
    assert_allclose(value, wanted, rtol=1e-12, atol=1e-14)
    assert_allclose(slopes, o.loss_derivative(loss, listed(outputs), listed(targets)), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "value", "slopes"),
    [
        ("mse", [0.0, 3.0], [0.5, 0.0], 9.25 / 2, [-0.5, 3.0]),
        ("mae", [0.0, 3.0], [0.5, 0.0], 3.5 / 2, [-0.5, 0.5]),
        ("mae", [1.0, 3.0], [1.0, 0.0], 3.0 / 2, [0.0, 0.5]),  # flat where they are equal
        ("huber", [0.0, 3.0], [0.5, 0.0], (0.125 + 2.5) / 2, [-0.25, 0.5]),
        ("huber", [1.0, -1.0], [0.0, 0.0], 0.5, [0.5, -0.5]),  # at the joint
        ("hinge", [0.0, 3.0], [1.0, -1.0], (1 + 4) / 2, [-0.5, 0.5]),
        ("hinge", [1.0, -1.5], [1.0, -1.0], 0.0, [0.0, 0.0]),  # at the joint and beyond it
        ("binary_cross_entropy", [0.0, 0.0], [1.0, 0.25], math.log(2), [-0.25, 0.125]),
        ("softmax_cross_entropy", [0.0, 0.0], [1.0, 0.0], math.log(2), [-0.5, 0.5]),
        ("softmax_cross_entropy", [0.0, 0.0], [0.5, 0.0], math.log(2) / 2, [-0.25, 0.25]),  # of mass one half
    ],
)
def test_by_hand(loss, outputs, targets, value, slopes):
    got, derivatives = slopes_of(loss, np.array([outputs]), np.array([targets]))
    assert_allclose([got, losses.value(loss, [outputs], [targets])], value, rtol=1e-14)
    assert_allclose(derivatives, [slopes], rtol=1e-14)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "softmax_cross_entropy"])
@pytest.mark.parametrize("size", [700.0, 1e4, 1e300])
def test_cross_entropies_do_not_overflow(loss, size):
    value, slopes = slopes_of(loss, np.array([[size, -size]]), np.array([[0.0, 1.0]]))
    wanted = size if loss.startswith("binary") else 2 * size
    assert_allclose(value, wanted, rtol=1e-12)
    assert_allclose(slopes, [[0.5, -0.5] if loss.startswith("binary") else [1.0, -1.0]], rtol=1e-12)
    value, slopes = slopes_of(loss, np.array([[-size, size]]), np.array([[0.0, 1.0]]))
    assert 0 <= value < 1e-300 and (np.abs(slopes) < 1e-300).all()


def test_golden_costs():
    """Those the reference has in common with us; where it takes probabilities we take the logits."""
    costs = o.golden("costs")
    table, compared = costs["functions"], dict.fromkeys(losses.LOSSES, 0)

    def compare(loss, outputs, targets, wanted, **tolerance):
        assert_allclose(losses.value(loss, [outputs], [targets]), wanted, **tolerance)
        compared[loss] += 1

    for index, (t, y) in enumerate(costs["pairs"]):
        for loss in ("mse", "mae", "hinge"):
            compare(loss, y, t, table[loss][index], rtol=1e-12, atol=1e-15)
        if all(1e-9 < p < 1 for p in y) and all(0 <= p <= 1 for p in t):
            logits = [math.log(p / (1 - p)) for p in y]
            compare("binary_cross_entropy", logits, t, table["crossEntropy"][index], rtol=1e-9)
        if sum(t) > 0 and min(t) >= 0:  # the reference scales targets to sum 1
            share = [p / sum(t) for p in t]
            compare("softmax_cross_entropy", y, share, table["softmaxCrossEntropy"][index], rtol=1e-12, atol=2e-15)
    assert compared.pop("huber") == 0  # which they do not have
    assert min(compared.values()) >= 20


def test_against_torch(torch):
    f, rng = torch.nn.functional, np.random.default_rng(0)
    y = rng.normal(size=(7, 3)) * 2
    real, binary, labels = rng.normal(size=(7, 3)), rng.random((7, 3)), rng.integers(0, 3, 7)
    peers = {
        "mse": (f.mse_loss, real), "mae": (f.l1_loss, real), "huber": (f.huber_loss, real),
        "binary_cross_entropy": (f.binary_cross_entropy_with_logits, binary),
        "softmax_cross_entropy": (f.cross_entropy, labels),
    }  # fmt: skip
    for loss, (peer, t) in peers.items():
        outputs = torch.tensor(y, requires_grad=True)
        value = peer(outputs, torch.tensor(t))
        value.backward()
        assert_allclose(losses.value(loss, y, t), value.item(), rtol=1e-12, err_msg=loss)
        slopes = slopes_of(loss, y, losses.targets_for(t, (7,), 3, loss))[1]
        assert_allclose(slopes, outputs.grad, rtol=1e-10, atol=1e-15, err_msg=loss)


# ---------------------------------------------------------------- targets


@pytest.mark.parametrize("lead", [(4,), (2, 3)])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int32])
def test_labels_become_rows(lead, dtype):
    labels = np.random.default_rng(0).integers(0, 3, lead).astype(dtype)
    rows = losses.targets_for(labels, lead, 3, "softmax_cross_entropy")
    assert rows.dtype == np.float64 and np.array_equal(rows, np.eye(3)[labels.astype(int)])
    outputs = np.random.default_rng(1).normal(size=(*lead, 3))
    by_label, by_row = (losses.value("softmax_cross_entropy", outputs, y) for y in (labels, rows))
    assert by_label == by_row


def test_a_single_output_needs_no_axis():
    assert losses.value("mse", [[1.0], [2.0]], [0.0, 0.0]) == 2.5
    net = Network.dense([2, 1], seed=0)
    x = np.random.default_rng(0).normal(size=(3, 2))
    flat, square = (net.gradient(x, y, "mse") for y in ([1, 2, 3], [[1], [2], [3]]))
    assert all(np.array_equal(a, b) for a, b in zip(flat, square, strict=True))


@pytest.mark.parametrize("shape", [(0, 2), (0, 3, 2), (3, 0, 2)])
@pytest.mark.parametrize("loss", o.LOSSES)
def test_nothing_costs_nothing(loss, shape):
    assert losses.value(loss, np.zeros(shape), np.zeros(shape)) == 0.0


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "error", "message"),
    [
        ("mes", [[1.0]], [[1.0]], ValueError, "loss must be the name of a loss, got 'mes': did you mean 'mse'?"),
        ("l0", [[1.0]], [[1.0]], ValueError, "got 'l0': choose from mse, mae, huber"),
        (None, [[1.0]], [[1.0]], ValueError, "loss must be the name of a loss, got None"),
        ([], [[1.0]], [[1.0]], ValueError, r"loss must be the name of a loss, got \[\]"),
        ("mse", [1.0], [1.0], ValueError, r"outputs must have shape \(rows, n\) or .*, got \(1,\)"),
        ("mse", [[1.0, 2.0]], [[1.0]], ValueError, r"y must have shape \(1, 2\), got \(1, 1\)"),
        ("mse", [[1.0, 2.0]], [1], ValueError, r"y must have shape \(1, 2\), got \(1,\)"),
        ("mse", [[1.0]], [[np.nan]], ValueError, r"y must be finite, got nan at index \(0, 0\)"),
        ("mse", [[1.0]], [["a"]], TypeError, "y must be numbers, got"),
        ("softmax_cross_entropy", [[1.0, 2.0]], [2], ValueError, r"classes must be in \[0, 2\), got 2 to 2"),
        ("softmax_cross_entropy", [[1.0, 2.0]], [-1], ValueError, r"classes must be in \[0, 2\), got -1 to -1"),
        ("softmax_cross_entropy", [[1.0, 2.0]], [1.0], ValueError,
             r"y must have shape \(1, 2\), or be integer classes of shape \(1,\), got \(1,\)"),
    ],
)  # fmt: skip
def test_refused(loss, outputs, targets, error, message):
    with pytest.raises(error, match=message) as raised:
        losses.value(loss, outputs, targets)
    bridge.assert_one_sentence(raised)
