"""Runs in a library's interpreter: times networks, a line of JSON for each.

Usage: NETWORKS_LIBRARY=torch python -m benchmarks.networks.worker SECONDS NETWORK ...
"""

import json
import sys

from benchmarks.networks import science, sequences, tables, vision
from benchmarks.networks.library import torch
from benchmarks.networks.work import WORKS
from benchmarks.worker import measure

MODULES = (vision, sequences, tables, science)


def main(seconds, names):
    torch.manual_seed(0)
    for name in names:
        try:
            print(json.dumps(measure(WORKS[name](), seconds)), flush=True)
        except Exception as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"[:200]}), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
