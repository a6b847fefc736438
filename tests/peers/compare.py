"""Compares what two frameworks did with one snippet, and writes the table of all of them.

Text, order, types, shapes and dtypes must be equal; floating-point numbers may differ by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tests.peers.snippets import Snippet

RELATIVE, ABSOLUTE = 2e-5, 2e-6


def difference(wanted: Any, found: Any, where: str = "") -> str:
    """The first place where two records differ; empty if they agree."""
    if isinstance(wanted, float) or isinstance(found, float):
        return "" if _close(wanted, found) else f"{where}: {wanted} there, {found} here"
    if isinstance(wanted, dict) and isinstance(found, dict):
        if wanted.keys() != found.keys():
            return f"{where}: {_short(wanted)} there, {_short(found)} here"
        if "float" in wanted:
            return difference(float(wanted["float"]), float(found["float"]), where)
        pairs = ((f"{where}/{key}", wanted[key], found[key]) for key in wanted)
    elif isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            return f"{where}: {_short(wanted)} there, {_short(found)} here"
        pairs = ((f"{where}/{i}", a, b) for i, (a, b) in enumerate(zip(wanted, found, strict=True)))
    elif type(wanted) is type(found) and wanted == found:
        return ""
    else:
        return f"{where}: {_short(wanted)} there, {_short(found)} here"
    return next((text for path, a, b in pairs if (text := difference(a, b, path))), "")


def _close(a: Any, b: Any) -> bool:
    if not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
        return False
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 160 else text[:157] + "..."


HEAD = """\
# Compatibility with the originals

Each line of the tables is a snippet of user code under `tests/peers/`. It runs unchanged in the
original framework and here; values, dtypes, shapes, order of keys, messages and printed text are
compared. `python -m tests.peers --peer paddle=PYTHON --peer torch=PYTHON` records the originals'
results and writes this page; the ordinary tests run the snippets against what was recorded.
`python -m tests.peers.wide` compares whole networks that PyTorch saved.
"""

TITLES = {"paddle": "Paddle", "torch": "PyTorch"}
NOTES = {
    "paddle": "`import dyn as paddle`.",
    "torch": "`import dyn.compat.torch as torch`. Of an expression, what it prints is compared.",
}
"""What stands above the tables of each peer."""


def page(
    peers: Mapping[str, str],
    snippets: Mapping[str, Snippet],
    wanted: Mapping[str, Mapping[str, Any]],
    found: Mapping[str, Mapping[str, Any]],
) -> tuple[str, list[str]]:
    """The table as Markdown, and the snippets that do not do what it should say.

    Args:
        peers: version of each peer, by flavour.
        snippets: all snippets, by name.
        wanted: what the peers did, by name.
        found: what dyn did, by name.
    """
    rows: dict[str, list[str]] = {flavour: [] for flavour in peers}
    reasons: dict[str, list[str]] = {flavour: [] for flavour in peers}
    wrong = []
    for name, item in snippets.items():
        text = difference(wanted[name], found[name])
        if "raised" in wanted[name]:
            wrong.append(f"{name}: does not run in the peer: {wanted[name]['raised']}")
        if text and not item.differs:
            wrong.append(f"{name}: {text}")
        if item.differs and not text:
            wrong.append(f"{name}: agrees, but is said to differ: {item.differs}")
        rows[item.flavour].append(f"| `{name}` | {'differs on purpose' if text else 'same'} |")
        if text:
            reasons[item.flavour].append(f"| `{name}` | {item.differs} |")
    sections = [
        _section(flavour, version, reasons[flavour], rows[flavour])
        for flavour, version in peers.items()
    ]
    return "\n".join([HEAD, *sections]), wrong


def _section(flavour: str, version: str, reasons: list[str], rows: list[str]) -> str:
    """One peer: how many agree, why the others do not, and all of them."""
    lines = [
        f"## {TITLES[flavour]} {version}",
        "",
        f"{NOTES[flavour]} {len(rows) - len(reasons)} the same, {len(reasons)} different on "
        "purpose.",
        "",
        "| different on purpose | reason |",
        "|---|---|",
        *reasons,
        "",
        "| snippet | result |",
        "|---|---|",
        *rows,
        "",
    ]
    return "\n".join(lines)
