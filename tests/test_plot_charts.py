"""Charts of scores, training and inputs: what is drawn is what was given."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import neuroprune as npr
from neuroprune import plot
from neuroprune.plot import layout
from test_plot import dense_pruned, drawn, history, legend, render, result, texts

# Scores


def counts(ax):
    """Counts of the bars of (removed, kept)."""
    low, high = (patch.get_data() for patch in ax.patches)
    assert (high.baseline == low.values).all(), "kept ones stand on removed ones"
    return low.values, high.values - high.baseline, high.edges


def cut_of(ax):
    (line,) = ax.lines
    return line.get_xdata()[0]


def test_saliency_of_a_pruning():
    outcome = result()
    ax = plot.saliency(outcome)
    removed, kept, edges = counts(ax)
    assert (removed.sum(), kept.sum()) == (np.count_nonzero(~outcome.kept), np.count_nonzero(outcome.kept))
    cut = cut_of(ax)
    assert outcome.scores[~outcome.kept].max() < cut < outcome.scores[outcome.kept].min()
    assert legend(ax) == [f"cut at {cut:.4g}", f"removed ({removed.sum()})", f"kept ({kept.sum()})"]
    assert not (removed.astype(bool) & kept.astype(bool)).any(), "the cut is the border of a bar"
    assert np.isclose(edges, cut).any()


@given(st.lists(st.sampled_from([0.0, 1e-9, 1e-5, 0.3, 1.0, 7.0, -2.0]), min_size=1, max_size=30), st.data())
def test_saliency_counts_every_score(scores, data):
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    bins = data.draw(st.integers(2, 70))
    ax = plot.saliency(np.array(scores), ax=Figure().add_subplot(), kept=kept, bins=bins)
    removed, stayed, edges = counts(ax)
    assert (removed.sum(), stayed.sum()) == ((~kept).sum(), kept.sum())
    assert (np.diff(edges) > 0).all()
    assert len(ax.lines) == (kept.any() and not kept.all())
    low, high = ax.get_xlim()
    assert (low, high) == (edges[0], edges[-1])
    if ax.lines:
        assert low <= cut_of(ax) <= high


@pytest.mark.parametrize(
    ("scores", "scale"),
    [
        ([1.0, 2.0, 3.0], "linear"),
        ([1e-4, 1.0, 3.0], "log"),
        ([-1e-4, 1.0, 300.0], "linear"),
        ([0.0, 0.0, 0.0], "linear"),
        ([0.0, 1e-3, 1e3], "log"),
        (np.linspace(1e-9, 1.0, 1000), "linear"),
        (np.geomspace(1e-5, 1.0, 1000), "log"),
    ],
)
def test_scores_that_span_decades_are_shown_on_a_logarithmic_axis(scores, scale):
    ax = plot.saliency(scores)
    assert ax.get_xscale() == scale
    assert legend(ax) == [f"scores ({len(scores):,})"]
    render(ax)


def test_zeros_have_a_bar_of_their_own_on_a_logarithmic_axis():
    scores = np.concatenate([np.zeros(5), np.geomspace(1e-6, 1.0, 20)])
    ax = plot.saliency(scores, kept=scores > 1e-3)
    removed, kept, _ = counts(ax)
    assert (removed[0], kept[0], removed[1]) == (5, 0, 0)
    assert texts(ax) == ["0"]
    ax = plot.saliency(scores, kept=np.arange(25) > 1)  # the cut goes through the zeros
    removed, kept, edges = counts(ax)
    assert (removed[0], kept[0]) == (2, 3)
    assert edges[0] < cut_of(ax) < edges[1] and legend(ax)[0] == "cut at 0"


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-300])
def test_equal_scores(value):
    ax = plot.saliency(np.full(9, value), kept=np.arange(9) >= 4)
    removed, kept, _ = counts(ax)
    assert np.flatnonzero(removed).tolist() == np.flatnonzero(kept).tolist()
    assert (removed.sum(), kept.sum(), cut_of(ax)) == (4, 5, value)
    render(ax)


def test_protected_low_scores_leave_the_cut_at_the_highest_removed_one():
    ax = plot.saliency([1.0, 2.0, 3.0, 4.0], kept=[True, False, False, True])
    assert cut_of(ax) == 3.0


def test_counts_on_a_logarithmic_axis_of_the_callers():
    ax = Figure().add_subplot(yscale="log")
    render(plot.saliency(result(), ax=ax))
    assert ax.get_yscale() == "log"


def test_no_scores_at_all():
    ax = plot.saliency([])
    assert texts(ax) == ["no scores"]
    render(ax)


def test_scores_of_any_shape():
    scores = np.arange(24.0).reshape(2, 3, 4)
    assert legend(plot.saliency(scores, kept=scores > 5))[1:] == ["removed (6)", "kept (18)"]


def test_saliency_refuses():
    net = npr.Network.dense([2, 2], seed=0)
    for scores, kept, bins, message in (
        (net.prune_to_sparsity(0.0), None, None, "result must be of a pruning that ranked connections, got one where"),
        ([1.0, np.nan], None, None, "scores must be finite, got nan at index 1"),
        ([[1.0], [np.inf]], None, None, "scores must be finite, got inf at index 1"),
        ([1.0, 2.0], [True], None, r"kept must be boolean with shape \(2,\), got bool \(1,\)"),
        ([1.0, 2.0], [1, 0], None, r"kept must be boolean with shape \(2,\), got int64 \(2,\)"),
        ([1.0, 2.0], None, 1, "bins must be an integer of at least 2, got 1"),
        ([1.0, 2.0], None, 2.5, "bins must be an integer of at least 2, got 2.5"),
    ):
        with pytest.raises(ValueError, match=message):
            plot.saliency(scores, kept=kept, bins=bins)


# Training


def test_training_draws_the_columns_of_the_history():
    past = history()
    ax = plot.training(past, {12: 0.5, 4: 1.0})
    assert legend(ax) == ["loss", "validation loss", "sparsity", "accuracy"]
    loss, validation = ax.lines
    assert loss.get_xdata().tolist() == past.iteration.tolist() and loss.get_ydata().tolist() == past.loss.tolist()
    assert validation.get_xdata().tolist() == [4, 8, 12]
    (right,) = [other for other in ax.figure.axes if other is not ax]
    sparsity, accuracy = right.lines
    assert sparsity.get_ydata().tolist() == past.sparsity.tolist()
    assert accuracy.get_xydata().tolist() == [[4, 1.0], [12, 0.5]], "in the order of the iterations"
    assert right.get_ylim()[0] == 0.0 and right.get_ylim()[1] >= 1.0
    assert ax.get_yscale() == "log"


def test_training_takes_accuracies_as_two_columns():
    drawings = [plot.training(history(), accuracy) for accuracy in ({4: 0.5, 9: 0.75}, ([4, 9], [0.5, 0.75]))]
    mapping, columns = (ax.figure.axes[1].lines[1].get_xydata().tolist() for ax in drawings)
    assert mapping == columns


def made(loss, validation=np.nan):
    n = len(loss)
    return SimpleNamespace(iteration=np.arange(1, n + 1), loss=np.array(loss), sparsity=np.zeros(n),
                           validation_loss=np.full(n, validation))  # fmt: skip


@pytest.mark.parametrize(("loss", "scale"), [([1.0, 0.1], "log"), ([1.0, 0.0], "linear"), ([1.0, -0.1], "linear")])
def test_a_loss_that_is_not_positive_is_drawn_on_a_linear_axis(loss, scale):
    ax = plot.training(made(loss))
    assert ax.get_yscale() == scale
    render(ax)


def test_a_long_training_is_drawn_with_its_running_mean():
    loss = np.random.default_rng(0).uniform(1.0, 2.0, 500)
    ax = plot.training(made(loss))
    assert legend(ax) == ["loss of the mini-batch", "its mean over 10 steps", "sparsity"]
    mean = ax.lines[1].get_ydata()
    assert mean[[0, 4, 9, 300]] == pytest.approx([loss[0], loss[:5].mean(), loss[:10].mean(), loss[291:301].mean()])


def test_training_without_steps():
    net = npr.Network.dense([1, 1], seed=0)
    ax = plot.training(net.train([[0.0]], [[1.0]], iterations=0))
    assert texts(ax) == ["no steps"]
    render(ax)


@pytest.mark.parametrize(
    ("accuracy", "message"),
    [
        ({1: 50.0}, r"accuracy must be in \[0, 1\], got 50.0 at index 0"),
        (([1, 2], [0.5, np.nan]), r"accuracy must be in \[0, 1\], got nan at index 1"),
        (([1, 2], [0.5]), r"iterations and accuracies must have one length, got shapes \(2,\) and \(1,\)"),
        ([0.1, 0.2, 0.3], "accuracy must be a mapping or two columns, got 3 columns"),
    ],
)
def test_training_refuses(accuracy, message):
    with pytest.raises(ValueError, match=message):
        plot.training(history(), accuracy)


# Inputs


@given(drawn())
def test_input_use_is_the_sum_of_outgoing_weights(net):
    use = [sum(abs(row.weight) for row in net.connections if row.source == i) for i in range(net.graph.n_inputs)]
    ax = plot.input_use(net, shape=(1, net.graph.n_inputs), ax=Figure().add_subplot())
    np.testing.assert_allclose(ax.images[0].get_array()[0], use, atol=1e-12)
    unused = np.flatnonzero(layout.unused(net.graph))
    crosses = ax.collections[0].get_offsets()[:, 0].tolist() if ax.collections else []
    assert crosses == unused.tolist()
    assert ax.get_title().startswith(f"{len(use) - unused.size} of {len(use)} input")


def test_input_use_as_bars():
    net = npr.Network.from_connections(3, 1, [(0, 3, -0.5), (2, 3, 1.0), (2, 8, 1.0), (1, 9, 4.0)])  # 9 is dead
    ax = plot.input_use(net)
    (bars,) = ax.patches
    assert bars.get_data().values[::2].tolist() == [0.5, 4.0, 2.0]
    assert ax.collections[0].get_offsets().tolist() == [[1.0, 0.0]]
    assert legend(ax) == ["feeds no output"]


def test_input_use_places_inputs_row_by_row():
    net = npr.Network.from_connections(6, 1, [(i, 6, i + 1.0) for i in range(5)])
    ax = plot.input_use(net, shape=(2, 3))
    assert ax.images[0].get_array().tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 0.0]]
    assert ax.collections[0].get_offsets().tolist() == [[2.0, 1.0]]


@pytest.mark.parametrize("shape", [(2, 2), (6,), (-2, -3), (1, 2, 3)])
def test_input_use_refuses_a_shape_that_does_not_fit(shape):
    with pytest.raises(ValueError, match=r"shape must be \(rows, columns\) with 6 places, one for each input, got"):
        plot.input_use(dense_pruned(), shape=shape)
