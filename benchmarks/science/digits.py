"""`python -m benchmarks.science.digits`: what the main job loses by pruning, over seeds.

For each seed a split of the data, a dense network, and the same network pruned by each method. The settings of
`neuroprune.digits` were chosen on the seeds 100 to 115, so those are not for reporting.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from benchmarks.report import machine
from neuroprune import digits

METHODS = ("magnitude", "snip")


def accuracies(seed: int, steps: int, sparsity: float, regrow: float) -> dict[str, float]:
    """Held-out accuracy in percent: dense, and for each method."""
    data = digits.load(seed)
    found = {"dense": 100 * digits.train(data, steps, seed).accuracy}
    for method in METHODS:
        plan = digits.schedule(steps, sparsity, regrow, method)
        found[method] = 100 * digits.train(data, steps, seed, pruning=plan).accuracy
    return found


def summary(values: list[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def table(runs: list[dict[str, float]]) -> tuple[str, dict]:
    """The summaries as a table of Markdown and as plain types."""
    figures = {}
    for method in METHODS:
        columns = {"dense": [run["dense"] for run in runs], "pruned": [run[method] for run in runs],
                   "lost": [run["dense"] - run[method] for run in runs]}
        figures[method] = {name: summary(values) for name, values in columns.items()}
    lines = ["| method | dense, % | pruned, % | lost, points |", "| --- | --- | --- | --- |"]
    for method, columns in figures.items():
        cells = [f"{column['median']:.2f} [{column['lowest']:.2f}, {column['highest']:.2f}]"
                 for column in columns.values()]
        lines.append(f"| {' | '.join([method, *cells])} |")
    return "\n".join(lines), figures


def main(arguments: list[str] | None = None) -> int:
    """Print median [lowest, highest] over the seeds, and write all figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.science.digits", description=main.__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many, from the first on (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default %(default)s)")
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--regrow", type=float, default=0.2)
    parser.add_argument("--steps", type=int, default=digits.STEPS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="default: digits.json beside this file")
    options = parser.parse_args(arguments)
    seeds = range(options.first, options.first + options.seeds)
    runs = []
    for seed in seeds:
        print(f"seed {seed} ...", file=sys.stderr, flush=True)
        runs.append(accuracies(seed, options.steps, options.sparsity, options.regrow))
    text, figures = table(runs)
    print(text)
    record = {"sparsity": options.sparsity, "regrow": options.regrow, "steps": options.steps, "seeds": list(seeds),
              "machine": machine(), "summary": figures, "runs": runs}
    path = options.json or Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
