"""The command: run the subjects, print the table, write the files."""

import argparse
import sys
from pathlib import Path

from benchmarks import (
    activation,
    batch,
    build,
    evolution,
    masks,
    products,
    prune,
    report,
    sparse_training,
    startup,
    training,
)

SUBJECTS = {"activation": activation, "build": build, "batch": batch, "prune": prune, "masks": masks,
            "products": products, "training": training, "sparse training": sparse_training, "evolution": evolution,
            "startup": startup}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks. Without --only and --quick, also writes RESULTS.md and results.json beside this file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("--only", action="append", choices=SUBJECTS, help="run this subject; may be repeated")
    parser.add_argument("--quick", action="store_true", help="small sizes and short turns, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here")
    options = parser.parse_args(arguments)
    given = sys.argv[1:] if arguments is None else arguments
    command = " ".join(["python -m benchmarks", *map(str, given)])
    rows: list[report.Row] = []
    for name in options.only or SUBJECTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += SUBJECTS[name].rows(options.quick)
    print(report.table(rows))
    print(report.notes(rows))
    folder = Path(__file__).parent
    whole = not (options.only or options.quick)
    if json := options.json or (folder / "results.json" if whole else None):
        report.write_json(json, rows, command)
    if markdown := options.markdown or (folder / "RESULTS.md" if whole else None):
        report.write_markdown(markdown, rows, command)
    return 0
