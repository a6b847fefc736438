"""Runs in the interpreter of a peer: plays its snippets and prints what they did as JSON.

    python -m tests.peers.play paddle

It imports no dyn. The last line of its output is the record; a peer may print before it.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from tests.peers.snippets import SNIPPETS, play

HERE = Path(__file__).parent


def load(flavour: str) -> None:
    """Import the files of snippets of one flavour."""
    for path in sorted(HERE.glob(f"{flavour}_*.py")):
        importlib.import_module(f"tests.peers.{path.stem}")


def record(flavour: str, framework: Any) -> dict[str, Any]:
    """What every snippet of a flavour does in a framework, by name."""
    load(flavour)
    chosen = [item for item in SNIPPETS.values() if item.flavour == flavour]
    return {item.name: play(item, framework) for item in chosen}


def main(flavour: str) -> None:
    """Print the version of the framework and the record."""
    framework = importlib.import_module(flavour)
    found = {"version": framework.__version__, "snippets": record(flavour, framework)}
    print()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
