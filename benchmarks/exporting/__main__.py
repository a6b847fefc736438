"""The runner: exports every network with both, runs the files, prints and writes the table.

Usage: python -m benchmarks.exporting [--only NET ...] [--torch PYTHON] [--rounds N]

Times are medians over rounds that alternate between the two; a round is a fresh process. Latency is
taken in onnxruntime with two threads, both files in turn. A ratio below 1 is in our favour.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.exporting.nets import BATCHES, BY_NAME, NETS, Net

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GOALS = {"first": 0.1, "nodes": 1.0, "latency": 1.0}


def export(python: str, peer: str, net: Net, path: Path) -> dict[str, Any]:
    """One export in a process of its own."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    command = [python, str(HERE / "worker.py"), peer, net.name, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"missing": (done.stderr.strip().splitlines() or ["no output"])[-1][:100]}
    return json.loads(lines[-1])


def latency(paths: dict[str, Path], net: Net, seconds: float) -> dict[str, dict[int, float]]:
    """Median seconds of a run of each file at each batch size, both in turn."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 2, 1
    sessions = {peer: ort.InferenceSession(path, options) for peer, path in paths.items()}
    rng = np.random.default_rng(0)
    found: dict[str, dict[int, float]] = {peer: {} for peer in paths}
    for batch in BATCHES:
        shape = (batch, *net.shape)
        x = rng.integers(0, net.high, shape) if net.high else rng.normal(size=shape)
        x = x.astype(np.int64 if net.high else np.float32)
        times: dict[str, list[float]] = {peer: [] for peer in paths}
        end = time.perf_counter() + seconds
        rounds = 0
        while time.perf_counter() < end or rounds < 5:
            for peer, session in sessions.items():
                name = session.get_inputs()[0].name
                start = time.perf_counter()
                session.run(None, {name: x})
                if rounds:
                    times[peer].append(time.perf_counter() - start)
            rounds += 1
        for peer, taken in times.items():
            found[peer][batch] = statistics.median(taken)
    return found


def compare(net: Net, pythons: dict[str, str], rounds: int, seconds: float) -> dict[str, Any]:
    """All figures of one network."""
    answers: dict[str, list[dict[str, Any]]] = {peer: [] for peer in pythons}
    row: dict[str, Any] = {"net": net.name, "peers": {}, "notes": {}}
    with tempfile.TemporaryDirectory() as folder:
        paths = {peer: Path(folder, f"{peer}.onnx") for peer in pythons}
        for _ in range(rounds):
            for peer, python in pythons.items():
                answer = export(python, peer, net, paths[peer])
                if "missing" in answer:
                    row["notes"][peer] = answer["missing"]
                else:
                    answers[peer].append(answer)
        paths = {peer: path for peer, path in paths.items() if answers[peer]}
        speeds = latency(paths, net, seconds) if net.latency else {}
    for peer, given in answers.items():
        if given:
            times = {
                key: statistics.median(one[key] for one in given)
                for key in ("first", "again", "unverified")
            }
            fixed = {key: given[-1][key] for key in ("nodes", "bytes", "version")}
            row["peers"][peer] = times | fixed | {"latency": speeds.get(peer, {})}
    return row


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _bytes(count: int) -> str:
    return f"{count / 1e6:.3g} MB" if count >= 1e6 else f"{count / 1e3:.3g} kB"


SHOWN = {"first": _time, "again": _time, "unverified": _time, "nodes": str, "bytes": _bytes}
"""How the figures of a row are written. torch.onnx verifies nothing, so that its time for
"unverified" is that for "again"."""


def table(rows: list[dict[str, Any]]) -> str:
    """The report as a Markdown table: ours / theirs (ratio) in each cell."""
    head = ["network", "export, first", "export, again", "unverified", "nodes", "bytes"]
    head += [f"latency, batch {batch}" for batch in BATCHES]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        ours, theirs = (row["peers"].get(peer) for peer in ("dyn", "torch"))
        cells = [BY_NAME[row["net"]].title]
        for key, shown in SHOWN.items():
            cells.append(_cell(ours and ours[key], theirs and theirs[key], shown, row["notes"]))
        for batch in BATCHES:
            pair = [peer and peer["latency"].get(batch) for peer in (ours, theirs)]
            cells.append(_cell(*pair, _time, row["notes"]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(ours: Any, theirs: Any, shown: Any, notes: dict[str, str]) -> str:
    if ours and theirs:
        return f"{shown(ours)} / {shown(theirs)} ({ours / theirs:.2f})"
    left = shown(ours) if ours else notes.get("dyn", "-")
    right = shown(theirs) if theirs else notes.get("torch", "-")
    return f"{left} / {right}"


def main() -> None:
    """Parse the command line, run, print, write `runs/bench/exporting.{json,md}`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exporting", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(BY_NAME), help="networks")
    parser.add_argument("--torch", default=os.environ.get("BENCH_TORCH", sys.executable))
    parser.add_argument("--dyn", default=os.environ.get("BENCH_DYN", sys.executable))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="per latency")
    args = parser.parse_args()
    pythons = {"dyn": args.dyn, "torch": args.torch}
    rows = []
    for net in NETS:
        if not args.only or net.name in args.only:
            rows.append(compare(net, pythons, args.rounds, args.seconds))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    text = "dyn / torch.onnx (ratio)\n\n" + table(rows)
    print("\n" + text)
    out = Path("runs/bench")
    out.mkdir(parents=True, exist_ok=True)
    (out / "exporting.md").write_text(text + "\n")
    (out / "exporting.json").write_text(json.dumps({"goals": GOALS, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
