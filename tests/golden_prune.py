"""Reference values of pruning, tests/golden/prune: numbers that the reference programs gave."""

import json
from pathlib import Path

FOLDER = Path(__file__).parent / "golden" / "prune"


def cases(family):
    """The cases of one family: each with id, inputs, params and expected."""
    return json.loads((FOLDER / f"{family}.json").read_text(encoding="utf-8"))["cases"]
