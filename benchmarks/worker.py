"""Runs in a peer's interpreter: times one work in each setting and prints one line of JSON.

Usage: python worker.py PEER WORK SECONDS. Imports nothing but the standard library and the peer.
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


def main(peer, work, seconds):
    """Print {"version": ..., "settings": {name: times}} or {"missing": reason}."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers"))
    began = time.perf_counter()
    try:
        module = importlib.import_module(f"{peer}_peer")
    except ImportError as error:
        print(json.dumps({"missing": f"not installed ({error})"}))
        return
    makers = module.WORKS.get(work)
    if not makers:
        print(json.dumps({"missing": "not implemented for this peer"}))
        return
    if work == "start_warm":
        makers["default"]()()
        spent = time.perf_counter() - began
        found = {"default": {"median": spent, "min": spent, "calls": 1, "first": spent}}
    else:
        found = {name: measure(make(), seconds) for name, make in makers.items()}
    print(json.dumps({"version": module.VERSION, "settings": found}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
