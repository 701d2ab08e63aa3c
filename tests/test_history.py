"""What a training did, as columns, in a file, and in a frame."""

import csv
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroprune import History, Network, PruningSchedule

COLUMNS = ["iteration", "loss", "validation_loss", "connections", "sparsity", "gradient_norm"]


def trained(steps=7, **options):
    net, rng = Network.dense([3, 4, 2], seed=0), np.random.default_rng(0)
    x, t = rng.normal(size=(10, 3)), rng.normal(size=(10, 2))
    net.pruning = PruningSchedule(0.5, 3, 5, 2)
    return net.train(x, t, steps, 0.01, validation=(x, t), validate_every=3, **options)


def same(one, two):
    return all(getattr(one, name).tobytes() == getattr(two, name).tobytes() for name in COLUMNS)


def test_columns():
    history = trained()
    assert isinstance(history, History) and len(history) == 7
    assert history.iteration.tolist() == [1, 2, 3, 4, 5, 6, 7] and history.iteration.dtype == np.int64
    assert history.connections.tolist() == [20, 20, 20, 20, 10, 10, 10] and history.connections.dtype == np.int64
    assert history.sparsity.tolist() == [0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5]
    assert np.flatnonzero(~np.isnan(history.validation_loss)).tolist() == [2, 5]
    for name in ("loss", "sparsity", "gradient_norm", "validation_loss"):
        assert getattr(history, name).dtype == np.float64 and getattr(history, name).shape == (7,)


def test_loss_and_norm_are_those_before_the_step():
    net, x, t = Network.dense([3, 4, 2], seed=0), np.ones((1, 3)), np.zeros((1, 2))
    weight, bias = net.gradient(x, t)
    loss = float((net(x) ** 2).mean())
    history = net.train(x, t, 1, 0.01, clip_norm=1e-3, l2=1.0)
    np.testing.assert_allclose(history.loss, loss, rtol=1e-13)
    np.testing.assert_allclose(history.gradient_norm, np.sqrt((weight**2).sum() + (bias**2).sum()), rtol=1e-13)


def test_room_grows_with_the_steps():
    net, x, t = Network.dense([3, 2], seed=0), np.ones((1, 3)), np.zeros((1, 2))
    history = net.train(x, t, 10**15, 1e-6, callback=lambda net, history: len(history) == 1100)
    assert history.iteration.tolist() == list(range(1, 1101)) and np.isnan(history.validation_loss).all()
    assert (history.gradient_norm > 0).all()


def test_unknown_columns_are_named():
    with pytest.raises(AttributeError, match="a history has the columns iteration, loss, .*, got 'accuracy'"):
        trained().accuracy  # noqa: B018


def test_what_it_says_of_itself():
    history = trained()
    assert repr(history).startswith("<History: 7 steps, loss ") and repr(history).endswith("connections 20 -> 10>")
    assert repr(trained(0)) == "<History: no steps>"
    assert same(pickle.loads(pickle.dumps(history)), history)


# ---------------------------------------------------------------- files


def read(path):
    """The columns of a CSV file."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == COLUMNS
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


@given(st.lists(st.floats(), max_size=6))
def test_a_file_reads_back_exactly(tmp_path_factory, values):
    history = trained(len(values))
    history.loss[:] = values
    path = tmp_path_factory.mktemp("history") / "history.csv"
    history.to_csv(str(path))
    columns = read(path)
    assert np.array(columns["loss"], float).tobytes() == history.loss.tobytes() or np.isnan(values).any()
    np.testing.assert_array_equal(np.array(columns["loss"], float), history.loss)
    for name in COLUMNS:
        column = getattr(history, name)
        np.testing.assert_array_equal(np.array(columns[name], column.dtype), column)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "history.csv"
    trained(3).to_csv(path)
    before = path.read_bytes()
    broken = trained(3)
    broken._columns = {**broken._columns, "loss": broken._columns["loss"][:1]}
    with pytest.raises(ValueError):
        broken.to_csv(path)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == ["history.csv"]


def test_to_frame():
    pandas = pytest.importorskip("pandas")
    history = trained()
    frame = history.to_frame()
    assert isinstance(frame, pandas.DataFrame) and list(frame.columns) == COLUMNS and len(frame) == 7
    for name in COLUMNS:
        np.testing.assert_array_equal(frame[name].to_numpy(), getattr(history, name))


def test_to_frame_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="to_frame needs pandas, which is not installed: pip install pandas"):
        trained().to_frame()
