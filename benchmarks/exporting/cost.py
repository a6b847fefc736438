"""What an export costs beside the goals: memory beyond the weights, growth with nodes, times.

Usage: python -m benchmarks.exporting.cost [--gigabytes N]

Every figure is taken in a process of its own; times are the least of several, those of growth CPU
times, which other work on the machine changes little. Memory is the kernel's high-water mark of the
process, so this needs Linux.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MEMORY = """
import sys
from pathlib import Path
from dyn import nn
import exporter

def mark(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024

def net(width, layers):
    if kind == "linear":
        return nn.Sequential(*(nn.Linear(width, width) for _ in range(layers)))
    pairs = [(nn.Conv2D(width, width, 3, padding=1), nn.BatchNorm2D(width)) for _ in range(layers)]
    return nn.Sequential(*(layer for pair in pairs for layer in pair)).eval()

kind, layers, path, external = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4] == "side"
shape = [None, 2048] if kind == "linear" else [None, 512, 1, 1]
spec = exporter.InputSpec(shape)
width = shape[1]
options = dict(verify=False, external_data=external)
if kind == "linear":
    exporter.export(net(width, 1), path, spec, **options)
large = net(width, layers)
weights = sum(p.numpy().nbytes for p in large.parameters())
Path("/proc/self/clear_refs").write_text("5")
before = mark("VmRSS")
exporter.export(large, path, spec, **options)
print(f"{weights / 1e9:.2f} {(mark('VmHWM') - before) / weights:.3f}")
"""

GROWTH = """
import sys, time
from dyn import nn
import exporter

path, verify = sys.argv[1], sys.argv[2] == "verified"
spec = exporter.InputSpec([None, 64])
least = []
for layers in (20, 200, 400, 800):
    net = nn.Sequential(*(nn.Linear(64, 64) for _ in range(layers)))
    times = []
    for _ in range(5):
        start = time.process_time()
        exporter.export(net, path, spec, verify=verify)
        times.append(time.process_time() - start)
    least.append(min(times))
print(*(f"{t:.3f}" for t in least[1:]), *(f"{b / a:.2f}" for a, b in zip(least[1:], least[2:])))
"""

TIMES = """
import sys, time
sys.path[:0] = sys.argv[2:4]
import dyn_nets, exporter, nets

net = nets.BY_NAME[sys.argv[4]]
model = dyn_nets.MAKERS[net.name]()
model.eval()
dtype = "int64" if net.high else "float32"
spec = exporter.InputSpec(["batch", *net.shape], dtype, name=net.input)
found = {}
for verify in (True, False):
    times = []
    for _ in range(5):
        start = time.perf_counter()
        exporter.export(model, sys.argv[1], spec, verify=verify)
        times.append(time.perf_counter() - start)
    found[verify] = times
print(f"{found[True][0]:.3f} {min(found[True]):.3f} {min(found[False]):.3f}")
"""


def run(code: str, *arguments: object) -> list[str]:
    """Words that a script prints last."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.split("\n")[-2].split()


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exporting.cost")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="weights of the memory test")
    parser.add_argument("--only", choices=("memory", "growth", "times"), help="one part")
    args = parser.parse_args()
    here = Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.onnx")
        if args.only in (None, "memory"):
            for kind, each in (("linear", 2048 * 2048 * 4), ("convolution", 512 * 512 * 9 * 4)):
                for where in ("file", "side"):
                    layers = max(2, round(args.gigabytes * 1e9 / each))
                    size, extra = run(MEMORY, kind, layers, path, where)
                    text = f"{kind} layers with {size} GB of weights in the {where} file"
                    print(f"{text}: {extra} x the weights beyond them (goal 0.2)", flush=True)
        if args.only in (None, "growth"):
            for mode in ("plain", "verified"):
                *times, a, b = run(GROWTH, path, mode)
                text = f"200, 400, 800 layers, {mode}: {', '.join(times)} s"
                print(f"{text}; ratios {a} and {b} (goal 2.3)", flush=True)
        if args.only in (None, "times"):
            for net, goal in (("resnet18", "0.5 and 0.15 s"), ("gpt24", "2 s")):
                first, again, plain = run(TIMES, path, here, here.parent, net)
                text = f"{net}: first {first} s, again {again} s, without verification {plain} s"
                print(f"{text} (goal {goal})", flush=True)


if __name__ == "__main__":
    main()
