"""Every snippet of user code does in dyn what it was recorded to do in the original framework."""

from __future__ import annotations

import importlib
import importlib.util
import json
from typing import Any

import pytest

from tests.peers.__main__ import OURS, PAGE, recorded
from tests.peers.compare import difference, page
from tests.peers.play import load
from tests.peers.snippets import SNIPPETS, play

FLAVOURS = [name for name in OURS if recorded(name).exists()]
for _flavour in FLAVOURS:
    load(_flavour)


def results(flavour: str) -> dict[str, Any]:
    return json.loads(recorded(flavour).read_text(encoding="utf-8"))


WANTED = {name: record for f in FLAVOURS for name, record in results(f)["snippets"].items()}


@pytest.mark.parametrize("name", SNIPPETS)
def test_does_what_the_original_does(name: str) -> None:
    item = SNIPPETS[name]
    assert "raised" not in WANTED[name], "the snippet does not run in the original"
    found = play(item, importlib.import_module(OURS[item.flavour]))
    text = difference(WANTED[name], found)
    if item.differs:
        assert text, f"agrees by now: {item.differs}"
    else:
        assert not text, text


def test_there_are_enough_snippets() -> None:
    assert len(SNIPPETS) >= 150
    assert set(WANTED) == set(SNIPPETS)


def test_the_page_is_what_the_script_writes() -> None:
    """Every verdict stands in the tests above; here the page must say the same."""
    peers = {flavour: results(flavour)["version"] for flavour in FLAVOURS}
    ours = {n: {} if SNIPPETS[n].differs else WANTED[n] for n in SNIPPETS}
    text, _ = page(peers, SNIPPETS, WANTED, ours)
    assert PAGE.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "wanted, found",
    [
        ({"values": [1.0]}, {"values": [1.0001]}),
        ({"values": [1.0]}, {"values": [float("nan")]}),
        ({"printed": "a"}, {"printed": "a\n"}),
        ({"dict": [["a", 1], ["b", 2]]}, {"dict": [["b", 2], ["a", 1]]}),
        ({"tuple": []}, []),
        ([1], [True]),
        ([1], [1, 2]),
    ],
)
def test_a_difference_is_seen(wanted: Any, found: Any) -> None:
    assert difference(wanted, found)
    assert not difference(wanted, wanted)
