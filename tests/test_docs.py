"""The pages in docs: every block of Python runs, and prints what the block of text below it says.

The blocks of a page share one namespace and an empty folder. In a text, `...` stands for anything.
"""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGES = [page for page in sorted(DOCS.glob("*.md")) if "```python" in page.read_text()]


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """Language, text and first line number of each block."""
    text = page.read_text()
    return [(m[1], m[2], text.count("\n", 0, m.start(2))) for m in BLOCK.finditer(text)]


def matches(wanted: str, given: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in wanted.split("..."))
    return re.fullmatch(pattern, given, re.DOTALL) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": page.stem}
    printed = ""
    for language, text, line in blocks(page):
        if language == "python":
            assert printed == "", f"line {line}: what the block before prints is not shown"
            with contextlib.redirect_stdout(io.StringIO()) as out:
                # The empty lines give the code the line numbers it has in the page.
                exec(compile("\n" * line + text, str(page), "exec"), namespace)
            printed = out.getvalue()
        elif language == "text":
            assert matches(text, printed), f"line {line}: printed was\n{printed}"
            printed = ""
    assert printed == ""


def test_the_words_of_a_text() -> None:
    assert matches("a ... c\n", "a b c\n") and not matches("a ... c\n", "a b\n")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_files_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    named = re.findall(r"`([\w.]+/[\w./]*)`", text) + re.findall(r"\]\((\w[\w./-]*)\)", text)
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_there_are_pages() -> None:
    assert "exporting" in [page.stem for page in PAGES]
