"""Plays the snippets in the peers and in dyn, records the peers' results and writes the table.

    python -m tests.peers --peer paddle=/path/to/python --peer torch=/path/to/python

A peer that is not named keeps its recorded results. The exit status is 1 if anything differs
without a reason, or agrees in spite of one.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.peers.compare import page
from tests.peers.play import HERE, load, record
from tests.peers.snippets import SNIPPETS

OURS = {"paddle": "dyn", "torch": "dyn.compat.torch"}
"""Which of our modules takes the place of each peer."""

PAGE = HERE.parents[1] / "docs" / "compatibility.md"


def recorded(flavour: str) -> Path:
    """Where the results of one peer are kept."""
    return HERE / f"{flavour}_results.json"


def ask(flavour: str, python: str) -> dict[str, Any]:
    """Play the snippets of one flavour in the peer's own interpreter."""
    command = [python, "-m", "tests.peers.play", flavour]
    done = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{python} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().rsplit("\n", 1)[-1])


def write(flavour: str, found: dict[str, Any]) -> None:
    """Keep the results of one peer: one line a snippet, so that changes can be read."""
    lines = [f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found["snippets"].items()]
    body = ",\n".join(lines)
    text = f'{{"version": "{found["version"]}", "snippets": {{\n{body}\n}}}}\n'
    recorded(flavour).write_text(text, encoding="utf-8")


def main() -> int:
    """Run, compare, write; 1 if the table would not be true."""
    parser = argparse.ArgumentParser(prog="python -m tests.peers", description=__doc__)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    for pair in parser.parse_args().peer:
        flavour, _, python = pair.partition("=")
        write(flavour, ask(flavour, python))
    peers, wanted, found = {}, {}, {}
    for flavour, ours in OURS.items():
        if not recorded(flavour).exists():
            continue
        results = json.loads(recorded(flavour).read_text(encoding="utf-8"))
        load(flavour)
        peers[flavour] = results["version"]
        wanted.update(results["snippets"])
        found.update(record(flavour, importlib.import_module(ours)))
    text, wrong = page(peers, SNIPPETS, wanted, found)
    PAGE.write_text(text, encoding="utf-8")
    print("\n".join(wrong))
    print(f"{len(SNIPPETS)} snippets, {len(wrong)} of them not as they should be")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
