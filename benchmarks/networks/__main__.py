"""The runner: times every network in both libraries in turn and prints the ratios.

Usage: python -m benchmarks.networks --torch PYTHON [--only NETWORK ...] [--rounds N] [--seconds S]

Each round is a fresh process of each library with two threads; a time is the median of the rounds'
medians. A ratio below 1 is in our favour.
"""

from __future__ import annotations

import argparse
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
    for _ in range(given.rounds):
        for library, python in (("dyn", sys.executable), ("torch", given.torch)):
            answers = timed(python, library, given.only, given.seconds)
            for name, answer in zip(given.only, answers, strict=True):
                if "error" in answer:
                    print(f"{name} in {library}: {answer['error']}")
                else:
                    medians.setdefault((name, library), []).append(answer["median"])
    ratios = []
    print("| network | dyn | torch | ratio |\n|---|---|---|---|")
    for name in given.only:
        if (name, "dyn") in medians and (name, "torch") in medians:
            ours, theirs = (statistics.median(medians[name, k]) for k in ("dyn", "torch"))
            ratios.append(ours / theirs)
            times = " | ".join(f"{1e3 * t:.3g} ms" for t in (ours, theirs))
            print(f"| {name.replace('_', ' ')} | {times} | {ratios[-1]:.2f} |")
    if ratios:
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        print(f"\n{len(ratios)} networks, geometric mean {mean:.2f}, worst {max(ratios):.2f}")


if __name__ == "__main__":
    main()
