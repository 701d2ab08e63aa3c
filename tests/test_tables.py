"""CSV files become tables or an error of one sentence; the standardisation moves into the network."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuroprune as npr
from neuroprune import tables


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


def rows(count: int, line: str = "{i},{j},{k}\n") -> str:
    return "".join(line.format(i=i, j=i * 0.5, k=i % 3) for i in range(count))


def test_columns_and_target_are_read(tmp_path: Path) -> None:
    table = tables.read(csv_file(tmp_path, "a,b,kind\n" + rows(30)), "kind")
    assert table.columns == ("a", "b") and table.target == "kind" and len(table) == 30
    assert table.x.tolist() == [[i, i * 0.5] for i in range(30)]
    assert table.classes == (0, 1, 2) and table.y.tolist() == [i % 3 for i in range(30)]
    assert all(isinstance(name, int) for name in table.classes)


@pytest.mark.parametrize("text", [
    "\ufeff a , b,kind\r\n" + rows(12, "{i}, {j} ,{k}\r\n"),
    "a;b;kind\n\n" + rows(12, "{i};{j};{k}\n\n"),
    "a\tb\tkind\n" + rows(12, "{i}\t{j}\t{k}\n"),
    '"a","b","kind"\n' + rows(12, '"{i}","{j}","{k}"\n'),
], ids=["mark and spaces", "semicolons and blank lines", "tabs", "quotes"])
def test_dialects_read_the_same(tmp_path: Path, text: str) -> None:
    table = tables.read(csv_file(tmp_path, text), "kind")
    assert table.columns == ("a", "b")
    assert table.x.tolist() == [[i, i * 0.5] for i in range(12)]
    assert table.y.tolist() == [i % 3 for i in range(12)]


def test_ignored_columns_are_not_looked_at(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "name,a,b,kind\n" + rows(12, "someone,{i},{j},{k}\n"))
    assert tables.read(path, "kind", ignore=["name", "b"]).columns == ("a",)
    with pytest.raises(ValueError, match=r"got 'someone' in row 1 \(line 2\), column 'name': leave the column out"):
        tables.read(path, "kind")


@pytest.mark.parametrize(("cells", "classes", "y"), [
    (["x", "y"] * 6, ("x", "y"), [0, 1] * 6),
    ([1, 2, 3] * 4, (1, 2, 3), [0, 1, 2] * 4),
    ([10, 9] * 6, (9, 10), [1, 0] * 6),  # in the order of numbers, not of words
    ([1, "1.0", 2] * 4, (1, 2), [0, 0, 1] * 4),
    (["x", 1] * 6, ("1", "x"), [1, 0] * 6),
    (["c", "b", "a", "d"] * 3, ("a", "b", "c", "d"), [2, 1, 0, 3] * 3),
    ([1.5, 2.5] * 6, None, [1.5, 2.5] * 6),
    (list(range(12)), None, list(range(12))),
    ([*range(21), *range(21)], None, [*range(21), *range(21)]),
])
def test_the_task_follows_from_the_target(tmp_path: Path, cells: list, classes: tuple | None, y: list) -> None:
    text = "a,t\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells))
    table = tables.read(csv_file(tmp_path, text), "t")
    assert table.classes == classes and table.y.tolist() == y


def test_the_task_can_be_told(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,b,kind\n" + rows(12))
    assert tables.read(path, "kind", "regression").y.dtype == np.float64
    assert tables.read(path, "b", "classification").classes == tuple(0.5 * i if i % 2 else i // 2 for i in range(12))
    with pytest.raises(ValueError, match="task must be one of auto, classification, regression, got 'guess'"):
        tables.read(path, "kind", "guess")


GOOD = "a,b,kind\n" + rows(12)


@pytest.mark.parametrize(("text", "target", "message"), [
    ("", "kind", "must have a header and rows, got an empty file"),
    ("\n\n", "kind", "must have a header and rows, got an empty file"),
    ("a,b,kind\n", "kind", "must have at least 10 rows, .* got 0"),
    ("a,b,kind\n1,2,3\n", "kind", "must have at least 10 rows, .* got 1"),
    ("a,b,a\n" + rows(12), "b", "must have different names, got 'a' twice"),
    ("a,,kind\n" + rows(12), "kind", "must have a name, got none for column 2: write a header"),
    (GOOD, "kinds", "got 'kinds': did you mean 'kind'?"),
    (GOOD, "weight", "got 'weight': choose from a, b, kind"),
    ("kind\n" + rows(12, "{i}\n"), "kind", "must have a column besides the target 'kind', got none"),
    (GOOD + "\n1,2\n", "kind", r"must have 3 cells as the header, got 2 in row 13 \(line 15\)"),
    (GOOD + "1,2,3,4\n", "kind", r"must have 3 cells as the header, got 4 in row 13 \(line 14\)"),
    (GOOD + "1,x,2\n", "kind", r"finite number, got 'x' in row 13 \(line 14\), column 'b': leave the column out"),
    (GOOD + "1,,2\n", "kind", r"finite number, got '' in row 13 \(line 14\), column 'b': fill it in"),
    (GOOD + "nan,1,2\n", "kind", "finite number, got 'nan' in row 13"),
    (GOOD + "1,-inf,2\n", "kind", "finite number, got '-inf' in row 13"),
    (GOOD + "1_000,1,2\n", "kind", "finite number, got '1_000' in row 13"),
    (GOOD + "1,1e999,2\n", "kind", "finite number, got '1e999' in row 13"),
    (GOOD + "1,-1e200,2\n", "kind", r"number of at most 1e\+150, got '-1e200' in row 13"),
    (GOOD + "1,2,\n", "kind", r"target must not be empty, got '' in row 13 \(line 14\), column 'kind'"),
    ("a,b,kind\n" + rows(12, "{i},7,{k}\n"), "kind", "column 'b' must vary, got 7 in every row: leave it out with"),
    ("a,b,kind\n" + rows(12, "{i},{j},moss\n"), "kind", "target 'kind' must vary, got moss in every row"),
    ("a,b,kind\n" + rows(12, "{i},{j},1.5\n"), "kind", "target 'kind' must vary, got 1.5 in every row"),
    (GOOD + '"1,2,3\n', "kind", "must be a CSV file in UTF-8, got one that is not"),
])
def test_a_bad_table_is_refused_in_one_sentence(tmp_path: Path, text: str, target: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        tables.read(csv_file(tmp_path, text), target)
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.csv"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="must be a CSV file in UTF-8"):
        tables.read(path, "a")


def test_a_regression_wants_numbers(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a,t\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(12)))
    with pytest.raises(ValueError, match=r"finite number, got 'x' in row 1 \(line 2\), column 't'"):
        tables.read(path, "t", "regression")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.integers(0, 2**32), st.sampled_from([0.1, 0.25, 0.5]))
def test_a_split_keeps_the_shares_of_classes(classes: list[int], seed: int, share: float) -> None:
    y = np.array(classes)
    if len(set(classes)) == len(classes):
        with pytest.raises(ValueError, match="a class must have at least two rows"):
            tables.split(y, share, np.random.default_rng(seed))
        return
    kept, held_out = tables.split(y, share, np.random.default_rng(seed))
    assert np.array_equal(np.sort(np.concatenate([kept, held_out])), np.arange(y.size))
    assert (np.diff(kept) > 0).all() and (np.diff(held_out) > 0).all() and held_out.size
    counts = [round(share * classes.count(label)) for label in range(5)]
    if any(counts):
        assert np.bincount(y[held_out], minlength=5).tolist() == counts
    else:
        assert held_out.size == 1
    assert set(y[kept].tolist()) == set(classes)
    again = tables.split(y, share, np.random.default_rng(seed))
    assert np.array_equal(again[1], held_out)


def test_a_split_of_quantities_draws_from_all_rows() -> None:
    drawn = np.zeros(8)
    for seed in range(400):
        kept, held_out = tables.split(np.linspace(0.0, 1.0, 8), 0.25, np.random.default_rng(seed))
        assert (kept.size, held_out.size) == (6, 2)
        drawn[held_out] += 1
    assert drawn.min() > 60  # 100 each are expected, with a spread of 9


def test_scaling_standardises() -> None:
    x = np.array([[1.0, 0.1], [3.0, 0.1], [5.0, 0.1]])
    y = np.array([10.0, 20.0, 60.0])
    scaling = tables.Scaling.of(x, y)
    inputs, targets = scaling.standardise(x, y)
    assert np.allclose(inputs[:, 0], [-np.sqrt(1.5), 0.0, np.sqrt(1.5)])
    assert scaling.scale[1] == 1.0 and np.abs(inputs[:, 1]).max() < 1e-15
    assert np.isclose(targets.mean(), 0.0) and np.isclose(targets.std(), 1.0)
    classes = np.array([0, 1, 1])
    scaling = tables.Scaling.of(x, classes)
    assert (scaling.target_mean, scaling.target_scale) == (0.0, 1.0)
    assert scaling.standardise(x, classes)[1] is classes


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 3), st.integers(0, 6), st.booleans())
def test_folding_changes_units_and_nothing_else(seed: int, n_inputs: int, n_outputs: int, n_hidden: int,
                                                quantity: bool) -> None:
    rng = np.random.default_rng(seed)
    legal = n_inputs * n_outputs + n_hidden * (n_inputs + n_outputs) + n_hidden * (n_hidden - 1) // 2
    net = npr.Network.random(n_inputs, n_outputs, n_hidden, int(rng.integers(1, legal + 1)), seed=seed)
    net.nodes.bias[n_inputs:] = rng.normal(size=n_hidden + n_outputs)
    x = rng.normal(10.0 * rng.normal(size=n_inputs), np.exp(rng.normal(size=n_inputs)), (20, n_inputs))
    y = rng.normal(50.0, 20.0, 20) if quantity else np.arange(20) % 2
    scaling = tables.Scaling.of(x, y)
    wanted = net(scaling.standardise(x, y)[0]) * scaling.target_scale + scaling.target_mean
    before = net.connections.weight.copy()
    net.connections.accumulated_gradient = 1.0
    scaling.fold(net)
    assert np.allclose(net(x), wanted, rtol=1e-9, atol=1e-9)
    assert np.allclose(net.connections.weight * scaling.units(net), before, rtol=1e-12)
    assert not net.nodes.bias[:n_inputs].any()
    assert net.connections.accumulated_gradient is None
