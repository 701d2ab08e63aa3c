"""docs/names.md: every name of ours in its tables exists, and no name of theirs is missing."""

import dataclasses
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import neuroprune

TEXT = (Path(__file__).parents[1] / "docs" / "names.md").read_text(encoding="utf-8")
CODE = re.compile(r"`([^`]+)`")
NAME = re.compile(r"(npr|network|[A-Z]\w+)(\.\w+)+(\(\w+=\))?")
THEIRS = """
    configurePruning maybePrune pruneToSparsity getCurrentSparsity
    start end targetSparsity regrowFraction frequency method lastPruneIter
    PRUNING_METHOD_MAGNITUDE PRUNING_METHOD_SNIP MIN_REMAINING_CONNECTION_COUNT DEFAULT_PRUNE_FREQUENCY
    MIN_PROGRESS_FRACTION MAX_PROGRESS_FRACTION MAX_EVOLUTIONARY_TARGET_SPARSITY REGROW_ATTEMPT_MULTIPLIER
    ActivePruningConfig PruningMethod
    getPruningConfig shouldRunScheduledPrune getInitialConnectionBaseline buildScheduledTarget buildPruneSelection
    disconnectConnections resolvePruningMethod markPruneIteration markTopologyDirty
    maybeRunRegrowth buildRegrowthPlan executeRegrowthAttempts
    readInitialSparsityBaseline calculateSparsityFromBaseline
    normalizeEvolutionaryTargetSparsity getOrCaptureEvolutionaryBaseline buildEvolutionaryTarget
    buildEvolutionaryPruneSelection disconnectEvolutionaryConnections markEvolutionaryTopologyDirty
    evolutionPruning startGeneration interval rampGenerations adaptivePruning enabled metric tolerance adjustRate
    applyEvolutionPruning applyAdaptivePruning
""".split()  # what its prune module exports, and the options of its schedules


def rows():
    """(theirs, ours, difference) of every row of every table."""
    for line in TEXT.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if line.startswith("|") and cells[0] != "theirs" and not set(cells[0]) <= {"-"}:
            yield cells


def exists(name):
    """Whether a dotted name, with `(option=)` after a function, leads to something of the library."""
    path, _, option = name.partition("(")
    first, *rest = path.removeprefix("npr.").split(".")
    if not hasattr(neuroprune, first):
        return False
    found = getattr(neuroprune, first)
    for attribute in rest:
        if hasattr(found, "__path__") and importlib.util.find_spec(f"{found.__name__}.{attribute}"):
            importlib.import_module(f"{found.__name__}.{attribute}")
        fields = {field.name for field in dataclasses.fields(found)} if dataclasses.is_dataclass(found) else ()
        if attribute in fields:
            return True
        if not hasattr(found, attribute):
            return False
        found = getattr(found, attribute)
    return not option or option.removesuffix("=)") in inspect.signature(found).parameters


OURS = [(name, "not yet" in ours) for _, ours, _ in rows() for name in CODE.findall(ours) if NAME.fullmatch(name)]


def test_the_tables_are_read():
    assert len(list(rows())) > 60 and all(len(row) == 3 for row in rows())
    assert len([name for name, later in OURS if not later]) > 50


@pytest.mark.parametrize("name", sorted({name for name, later in OURS if not later}))
def test_names_of_ours_exist(name):
    assert exists(name), f"docs/names.md names {name}, which does not exist"


def test_what_comes_later_is_marked_only_as_long_as_it_is_missing():
    assert not [name for name, later in OURS if later and exists(name)], "take the mark 'not yet' away"


def test_names_in_the_remarks_exist():
    remarks = [name for _, _, difference in rows() for name in CODE.findall(difference) if name.startswith("npr.")]
    assert remarks and all(map(exists, remarks))


def test_no_name_of_theirs_is_missing():
    named = {word for theirs, _, _ in rows() for code in CODE.findall(theirs) for word in re.findall(r"\w+", code)}
    assert not [name for name in THEIRS if name not in named]


def test_every_row_says_something_of_ours():
    for theirs, ours, difference in rows():
        assert CODE.search(ours) or ours.startswith("none: "), theirs
        assert not ours.startswith("none") or ours.startswith("none: "), theirs
        assert ours or difference


def test_the_check_can_fail():
    assert exists("npr.PruningSchedule") and exists("PruningSchedule.start") and exists("Network.regrow(weight=)")
    assert not any(map(exists, ("npr.Prunings", "Network.prune", "PruningSchedule.begin", "Network.regrow(weights=)")))
    assert not exists("network.prunes.X") and not exists("network.prune.MAX")
