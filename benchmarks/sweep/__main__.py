"""Sweeps ops over shapes beside torch eager and prints the worst ratios.

Usage: python -m benchmarks.sweep --torch PYTHON [--only GROUP ... | --drawn SEED ...] [--worst N]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.sweep import drawn
from benchmarks.sweep.grid import GROUPS, Case

HERE = Path(__file__).resolve().parent
LIMIT = 1.5


def run(python: str, peer: str, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """The answers of one peer."""
    environment = dict(os.environ, PYTHONPATH=str(HERE.parents[1]))
    done = subprocess.run(
        [python, str(HERE / "worker.py"), peer],
        input=json.dumps(cases), capture_output=True, text=True, env=environment,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if len(answers) != len(cases):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise SystemExit(f"{peer} did {len(answers)} of {len(cases)} cases: {last}")
    return answers


def main() -> None:
    """Time every group in alternating processes; of two runs the shorter time counts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__)
    parser.add_argument(
        "--torch", required=True, metavar="PYTHON", help="an interpreter with torch"
    )
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--worst", type=int, default=25, help="lines to print")
    parser.add_argument(
        "--drawn", nargs="+", type=int, default=[], metavar="SEED",
        help="shapes drawn at random instead of the grid",
    )  # fmt: skip
    given = parser.parse_args()
    groups = {group: GROUPS[group]() for group in given.only}
    if given.drawn:
        groups = {f"drawn from {seed}": drawn.cases(seed) for seed in given.drawn}
    rows = []
    for group, cases in groups.items():
        print(f"{group}: {len(cases)} cases", file=sys.stderr, flush=True)
        runs = [
            (run(sys.executable, "dyn", cases), run(given.torch, "torch", cases)) for _ in range(2)
        ]
        for number, (name, numbers) in enumerate(cases):
            for what in ("forward", "both"):
                times = [[side[number].get(what) for side in answers] for answers in runs]
                error = next(
                    (s[number]["error"] for a in runs for s in a if "error" in s[number]), ""
                )
                if error:
                    print(f"{name} {numbers}: {error}")
                    break
                if times[0][0] is not None:
                    ours, theirs = (min(t[side] for t in times) for side in (0, 1))
                    rows.append((ours / theirs, name, numbers, what, ours, theirs))
    rows.sort(key=lambda row: -row[0])
    mean = math.exp(sum(math.log(row[0]) for row in rows) / max(len(rows), 1))
    above = sum(row[0] > LIMIT for row in rows)
    print(f"{len(rows)} timings, geometric mean {mean:.2f}, {above} above {LIMIT}")
    print("| op | shape | what | dyn us | torch us | ratio |\n|---|---|---|---|---|---|")
    for ratio, name, numbers, what, ours, theirs in rows[: given.worst]:
        shape = " ".join(map(str, numbers))
        times = f"{ours * 1e6:.1f} | {theirs * 1e6:.1f}"
        print(f"| {name} | {shape} | {what} | {times} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
