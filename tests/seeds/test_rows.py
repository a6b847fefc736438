"""Every row of the seed documents' behaviours has a test whose name carries its number."""

import re
from pathlib import Path

import pytest

# Behaviours by document: 000 models and layers, 001 hooks, 002 the class Module, 003 dynamic
# graphs, 004 layers of one's own.
ROWS = {"s0": 39, "s1": 29, "s2": 31, "s3": 17, "s4": 16}


@pytest.mark.parametrize("document", ROWS)
def test_every_row_has_a_test(document):
    text = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    names = re.findall(r"^def (test_s\w+)", text, re.MULTILINE)
    found = {row for name in names for row in re.findall(r"s\d_\d\d", name)}
    assert {f"{document}_{number:02d}" for number in range(1, ROWS[document] + 1)} <= found
