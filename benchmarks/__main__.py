"""The runner: alternates processes of all peers, takes medians, prints and writes the report.

Usage: python -m benchmarks [--only WORK ...] [--rounds N] [--seconds S] [--peer NAME=PYTHON ...]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.works import BY_NAME, PEERS, WORKS, Work

HERE = Path(__file__).resolve().parent


def interpreters(given: list[str]) -> dict[str, str]:
    """Python of each peer: `--peer torch=/path/python`, or $BENCH_TORCH, or this one."""
    found = {p: os.environ.get(f"BENCH_{p.upper()}", sys.executable) for p in PEERS}
    for item in given:
        name, _, path = item.partition("=")
        if name not in PEERS or not path:
            raise SystemExit(
                f"--peer wants NAME=PYTHON with NAME one of {', '.join(PEERS)}: {item}"
            )
        found[name] = path
    return found


def run_once(python: str, peer: str, work: Work, seconds: float) -> dict[str, Any]:
    """One process of one peer on one work."""
    environment = dict(os.environ, OMP_PROC_BIND="true", PYTHONPATH=str(HERE.parent))
    # Start-up is timed as users see it, from compiled files.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    name = work.of or work.name
    command = [python, str(HERE / "worker.py"), peer, name, str(seconds), work.measure]
    with tempfile.TemporaryDirectory() as empty:
        if work.measure == "cold":
            environment["DYN_CACHE_DIR"] = empty
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {"missing": f"failed: {last[:90]}"}
    return json.loads(lines[-1])


def time_work(
    work: Work, pythons: dict[str, str], peers: list[str], rounds: int, seconds: float
) -> dict[str, Any]:
    """Alternate the peers `rounds` times; per peer the best setting's median of medians.

    Peers are compared with dyn's "default" setting, the program as users write it; the ratio of a
    compiled step stands beside it.
    """
    medians: dict[str, dict[str, list[float]]] = {p: {} for p in peers}
    notes: dict[str, str] = {}
    for _ in range(rounds):
        for peer in peers:
            if peer in notes:
                continue
            answer = run_once(pythons[peer], peer, work, seconds)
            if "missing" in answer:
                notes[peer] = answer["missing"]
                continue
            for setting, times in answer["settings"].items():
                medians[peer].setdefault(setting, []).append(times["median"])
    row: dict[str, Any] = {"work": work.name, "notes": notes, "peers": {}}
    for peer, settings in medians.items():
        if settings:
            best = min(settings, key=lambda name: statistics.median(settings[name]))
            if peer == "dyn":
                best = "default"
            row["peers"][peer] = {
                "setting": best,
                "median": statistics.median(settings[best]),
                "runs": settings[best],
            }
    rivals = [row["peers"][p]["median"] for p in work.against if p in row["peers"]]
    for ratio, setting in (("ratio", "default"), ("compiled", "compiled")):
        runs = medians.get("dyn", {}).get(setting)
        row[ratio] = statistics.median(runs) / min(rivals) if runs and rivals else None
    return row


def show(amount: float, measure: str = "calls") -> str:
    """Seconds, or bytes of memory, with a unit that reads well."""
    if measure == "memory":
        return f"{amount / 1e6:.0f} MB"
    for limit, factor, unit in ((1e-3, 1e6, "us"), (1.0, 1e3, "ms")):
        if amount < limit:
            return f"{amount * factor:.3g} {unit}"
    return f"{amount:.3g} s"


def goal_of(work: Work) -> str:
    """The goal as the report prints it: a ratio, or a limit."""
    if work.limit is not None:
        return show(work.limit)
    return "-" if work.goal is None else f"{work.goal:.2f}"


def ratio_text(ratio: float | None) -> str:
    """A ratio as the report prints it."""
    return "-" if ratio is None else f"{ratio:.2f}"


def table(rows: list[dict[str, Any]], peers: list[str]) -> str:
    """The report as a Markdown table."""
    head = ["work", *peers, "ratio", "compiled", "goal"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        work = BY_NAME[row["work"]]
        cells = [work.title]
        for peer in peers:
            found = row["peers"].get(peer)
            setting = f" ({found['setting']})" if found and found["setting"] != "default" else ""
            cells.append(
                show(found["median"], work.measure) + setting
                if found
                else row["notes"].get(peer, "-")
            )
        cells += [ratio_text(row["ratio"]), ratio_text(row["compiled"]), goal_of(work)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def machine() -> str:
    """Processor, cores, Python: what the figures were taken on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    return (
        f"{name}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    )


def main() -> None:
    """Parse the command line, run, print, write `runs/bench/report.{json,md}`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="*", help="works to time", choices=list(BY_NAME))
    parser.add_argument("--rounds", type=int, default=3, help="alternations (default 3)")
    parser.add_argument("--seconds", type=float, default=1.0, help="timed seconds a process")
    parser.add_argument("--peer", action="append", default=[], help="NAME=PYTHON")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    args = parser.parse_args()
    works = [w for w in WORKS if not args.only or w.name in args.only]
    pythons = interpreters(args.peer)
    rows = []
    print(f"machine: {machine()}")
    for work in works:
        row = time_work(work, pythons, args.peers, args.rounds, args.seconds)
        rows.append(row)
        compiled = f", compiled {ratio_text(row['compiled'])}" if row["compiled"] else ""
        print(
            f"{work.title}: ratio {ratio_text(row['ratio'])}{compiled}, goal {goal_of(work)}",
            flush=True,
        )
    text = table(rows, args.peers)
    print("\n" + text)
    out = Path("runs/bench")
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.md").write_text(f"{machine()}\n\n{text}\n")
    (out / "report.json").write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))
    print(f"written to {out}/report.md and report.json")


if __name__ == "__main__":
    main()
