"""The runner: times every network in both libraries in turn and prints the ratios.

Usage: python -m benchmarks.networks --torch PYTHON [--only NETWORK ...] [--rounds N] [--seconds S]

Each round is, for a few networks at a time, a fresh process of each library with two threads, and
one of ours with compiled training steps: a processor that others use, too, is slower for minutes.
A time is the median of the rounds' medians. A ratio below 1 is in our favour.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.networks.worker import WORKS

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("dyn", "compiled", "torch")
TOGETHER = 5
"""Networks that a process times."""


def timed(python: str, library: str, names: list[str], seconds: float) -> list[dict[str, Any]]:
    """What one process of a library measures."""
    own = {"NETWORKS_LIBRARY": library, "PYTHONPATH": str(ROOT), "OMP_PROC_BIND": "true"}
    own |= {"DYN_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    command = [python, "-m", "benchmarks.networks.worker", str(seconds), *names]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **own})
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if len(found) != len(names):
        raise SystemExit(f"{library} stopped early: {done.stderr[-500:]}")
    return found


def main() -> None:
    """Time, then print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks")
    parser.add_argument(
        "--torch", required=True, metavar="PYTHON", help="an interpreter with torch"
    )
    parser.add_argument("--only", nargs="+", choices=WORKS, default=list(WORKS), metavar="NETWORK")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each network and round")
    given = parser.parse_args()
    medians: dict[tuple[str, str], list[float]] = {}
    groups = [given.only[i : i + TOGETHER] for i in range(0, len(given.only), TOGETHER)]
    for names, library in itertools.product(groups * given.rounds, LIBRARIES):
        python = given.torch if library == "torch" else sys.executable
        answers = timed(python, library, names, given.seconds)
        for name, answer in zip(names, answers, strict=True):
            if "error" in answer:
                print(f"{name} in {library}: {answer['error']}")
            else:
                medians.setdefault((name, library), []).append(answer["median"])
    ratios: dict[str, list[float]] = {"dyn": [], "compiled": []}
    print("| network | dyn | compiled | torch | ratio | compiled |\n|---|---|---|---|---|---|")
    for name in given.only:
        if not all((name, library) in medians for library in LIBRARIES):
            continue
        times = {library: statistics.median(medians[name, library]) for library in LIBRARIES}
        for library, listed in ratios.items():
            listed.append(times[library] / times["torch"])
        cells = [f"{1e3 * times[library]:.3g} ms" for library in LIBRARIES]
        cells += [f"{listed[-1]:.2f}" for listed in ratios.values()]
        print(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    for library, listed in ratios.items():
        if listed:
            mean = math.exp(statistics.fmean(map(math.log, listed)))
            above = sum(ratio > 1 for ratio in listed)
            print(
                f"\n{library}: {len(listed)} networks, geometric mean {mean:.2f}, worst "
                f"{max(listed):.2f}, {above} above 1"
            )


if __name__ == "__main__":
    main()
