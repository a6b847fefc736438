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

Each line below is a snippet of user code under `tests/peers/`. It runs unchanged in the original
framework and here; values, dtypes, shapes, order of keys, messages and printed text are compared.
`python -m tests.peers --peer paddle=PYTHON --peer torch=PYTHON` records the originals' results and
writes this page; the ordinary tests run the snippets against what was recorded. Of PyTorch's
expressions the printed result is compared.
"""


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
    rows, wrong, same = [], [], 0
    for name, item in snippets.items():
        text = difference(wanted[name], found[name])
        if "raised" in wanted[name]:
            wrong.append(f"{name}: does not run in the peer: {wanted[name]['raised']}")
        if text and not item.differs:
            wrong.append(f"{name}: {text}")
        if item.differs and not text:
            wrong.append(f"{name}: agrees, but is said to differ: {item.differs}")
        same += not text
        verdict = f"differs on purpose: {item.differs}" if text else "same"
        rows.append(f"| `{name}` | {item.flavour} | {verdict} |")
    versions = " and ".join(f"{flavour} {version}" for flavour, version in peers.items())
    counts = f"Recorded from {versions}: {same} the same, {len(rows) - same} different on purpose."
    table = "\n".join(["| snippet | original | result |", "|---|---|---|", *rows])
    return f"{HEAD}\n{counts}\n\n{table}\n", wrong
