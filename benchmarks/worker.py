"""Runs in a peer's interpreter: measures one work in each setting and prints one line of JSON.

Usage: python worker.py PEER WORK SECONDS MEASURE, with MEASURE as in `works.py`. Imports nothing
but the standard library and the peer.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import statistics
import sys
import time


def measure(step, seconds):
    """Median, minimum and count of single calls of `step`, for about `seconds` after a warm-up."""
    start = time.perf_counter()
    step()
    first = time.perf_counter() - start
    spent, warm = 0.0, 0
    while spent < seconds * 0.3 or warm < 2:
        start = time.perf_counter()
        step()
        spent += time.perf_counter() - start
        warm += 1
        if spent > 5 * seconds:
            break
    # Calls shorter than the clock is good for are timed in groups.
    group = max(1, int(2e-5 / max(spent / warm, 1e-9)))
    times = []
    gc.collect()
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(times) < 3:
            start = time.perf_counter()
            for _ in range(group):
                step()
            times.append((time.perf_counter() - start) / group)
    finally:
        gc.enable()
    return {
        "median": statistics.median(times),
        "min": min(times),
        "calls": len(times) * group,
        "first": first,
    }


def peak_memory(step):
    """Largest resident memory of this process after a few calls, in bytes."""
    import resource  # not on Windows

    for _ in range(5):
        step()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(peer, work, seconds, what):
    """Print {"version": ..., "settings": {name: measured}} or {"missing": reason}."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers"))
    began = time.perf_counter()
    try:
        module = importlib.import_module(f"{peer}_peer")
    except ImportError as error:
        print(json.dumps({"missing": f"not installed ({error})"}))
        return
    makers = module.WORKS.get(work)
    if not makers:
        print(json.dumps({"missing": "-"}))
        return
    if what in ("start", "cold"):
        makers["default"]()()
        found = {"default": {"median": time.perf_counter() - began}}
    elif what == "memory":
        # One setting a process: the memory of another would count, too.
        name, make = next(iter(makers.items()))
        found = {name: {"median": peak_memory(make())}}
    else:
        found = {name: measure(make(), seconds) for name, make in makers.items()}
    print(json.dumps({"version": module.VERSION, "settings": found}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4])
