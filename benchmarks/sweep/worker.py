"""Runs in a peer's interpreter: times the cases given on stdin, a line of JSON for each.

Usage: python worker.py PEER < cases.json
"""

import gc
import importlib
import json
import os
import sys
import time


def best(function, seconds=0.04):
    """The shortest of many calls; short ones are timed in groups."""
    function()
    start = time.perf_counter()
    function()
    once = max(time.perf_counter() - start, 1e-7)
    group = max(1, int(2e-4 / once))
    shortest = once
    end = time.perf_counter() + seconds
    turns = 0
    while turns < 4 or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(group):
            function()
        shortest = min(shortest, (time.perf_counter() - start) / group)
        turns += 1
    return shortest


def measure(peer, make, numbers):
    """Seconds of the forward without gradients, and of forward and backward."""
    function, tensors = make(*numbers)

    def forward():
        with peer.NO_GRADIENT():
            return function(*tensors)

    found = {"forward": best(forward)}
    if not peer.has_gradient(function(*tensors)):
        return found
    gradient = peer.like(forward())

    def both():
        peer.backward(function(*tensors), gradient)
        peer.clear(tensors)

    return {**found, "both": best(both)}


def main(peer):
    """Time every case."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    module = importlib.import_module(f"{peer}_ops")
    made = dict(module.OPS)
    for more in ("dtypes", "moves", "solving", "steps"):
        made |= importlib.import_module(f"{peer}_{more}").OPS
    gc.disable()
    for name, numbers in json.load(sys.stdin):
        gc.collect()
        try:
            print(json.dumps(measure(module, made[name], numbers)), flush=True)
        except Exception as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"[:200]}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
