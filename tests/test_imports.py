"""The rules of the house, read from the source text: who imports whom, file lengths, docstrings.

`make check` runs this file alone, so it imports none of our packages and needs no compiler.
A file that has to break a rule is listed here with its reason; the lists are meant to stay short.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("dyn", "tracer", "exporter")

ALLOWED = {
    "dyn": {"numpy", "numba", "llvmlite", "ml_dtypes", "safetensors", "tqdm"},
    "tracer": {"dyn", "numpy"},
    "exporter": {"dyn", "tracer", "ml_dtypes", "numpy", "onnx", "onnxruntime", "tqdm"},
    "exporter.serving": {"numpy", "onnxruntime"},
}
"""What each package may import beside itself and the standard library."""

FLOORS = {
    "dyn.core": {"dyn.core"},
    "dyn.kernels": {"dyn.kernels"},
    "dyn.ops": {"dyn.core", "dyn.kernels", "dyn.ops"},
    "exporter.serving": {"exporter.serving"},
}
"""Folders that stand below the rest of their package, and what of ours they may import."""

SHORTEST, LONGEST = 50, 400

MIRRORS = ("dyn/kernels/", "exporter/lower/")
"""Folders that mirror `dyn/ops` file by file, so that a small family makes a small file."""

LENGTH_EXCEPTIONS = {
    "dyn/__main__.py": "what `python -m dyn` runs, and nothing else",
    "dyn/regularizer.py": "a public module of Paddle's API with two classes",
    "exporter/command.py": "where the command starts, before anything of ours is imported",
    "exporter/errors.py": "one file for the errors of a package",
    "tracer/errors.py": "one file for the errors of a package",
}
"""Files of another length: path and reason."""

LATE_IMPORTS: dict[str, str] = {}
"""Files that import our own modules inside functions: path and reason."""

FORMULA_TABLES = {
    "dyn.kernels.elementwise.formulas",
    "dyn.kernels.elementwise.gradient_formulas",
}
"""Modules whose functions are one-line formulas, each documented by the op of its name."""


@dataclass(frozen=True)
class Import:
    """One import statement: the module it stands in, what it names, and where."""

    module: str
    target: str
    line: int
    late: bool
    typing_only: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> dict[str, tuple[Path, str, ast.Module]]:
    """Path, text and syntax tree of every module of the packages, by dotted name."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    texts = [(path, path.read_text("utf-8")) for path in paths]
    return {module_name(path): (path, text, ast.parse(text)) for path, text in texts}


def imports_of(module: str) -> Iterator[Import]:
    """Every import in a module; `from a import b` names `a.b` where that is a module of ours."""

    def visit(node: ast.AST, late: bool, typing_only: bool) -> Iterator[Import]:
        targets = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                targets.append(inner if inner in sources() else base)
        for target in targets:
            yield Import(module, target, getattr(node, "lineno", 0), late, typing_only)
        late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            typing_only = True
        for child in ast.iter_child_nodes(node):
            yield from visit(child, late, typing_only)

    yield from visit(sources()[module][2], False, False)


def rule_of(module: str) -> str:
    """The strictest key of `ALLOWED` that covers a module."""
    return max((key for key in ALLOWED if within(module, [key])), key=len)


def test_there_is_something_to_check():
    assert set(PACKAGES) <= set(sources())
    assert any(True for _ in imports_of("exporter.serving.predictor"))


def within(module: str, names: Iterable[str]) -> bool:
    """Whether a module is one of `names`, or lies below one of them."""
    return any(module == name or module.startswith(f"{name}.") for name in names)


def test_imports_go_one_way_only():
    wrong = []
    for module in sources():
        allowed = ALLOWED[rule_of(module)]
        for item in imports_of(module):
            top = item.target.partition(".")[0]
            if top not in sys.stdlib_module_names | allowed | {module.partition(".")[0]}:
                wrong.append(f"{module}:{item.line} imports {item.target}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("floor", FLOORS)
def test_floors_know_nothing_of_what_stands_on_them(floor):
    wrong = [
        f"{module}:{item.line} imports {item.target}"
        for module in sources()
        if within(module, [floor])
        for item in imports_of(module)
        if item.target.partition(".")[0] in PACKAGES and not within(item.target, FLOORS[floor])
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_is_imported_inside_a_function_to_dodge_a_cycle():
    wrong = [
        f"{item.module}:{item.line} imports {item.target}"
        for module in sources()
        for item in imports_of(module)
        if item.late and item.target.partition(".")[0] in PACKAGES
        if str(sources()[module][0].relative_to(ROOT)) not in LATE_IMPORTS
    ]
    assert not wrong, "\n".join(wrong)


def test_modules_import_each_other_without_cycles():
    graph = {
        module: sorted(
            {
                item.target
                for item in imports_of(module)
                if item.target in sources() and not item.typing_only and not item.late
            }
            - {module}
        )
        for module in sources()
    }
    done: set[str] = set()

    def walk(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for target in graph[module]:
                walk(target, (*trail, module))
            done.add(module)

    for module in graph:
        walk(module, ())


def test_a_file_is_a_room_of_fifty_to_four_hundred_lines():
    wrong = []
    for path, text, _ in sources().values():
        name = str(path.relative_to(ROOT))
        lines = len(text.splitlines())
        fits = lines <= LONGEST and (name.startswith(MIRRORS) or lines >= SHORTEST)
        if not fits and path.name != "__init__.py" and name not in LENGTH_EXCEPTIONS:
            wrong.append(f"{name}: {lines} lines")
    assert not wrong, "\n".join(wrong)


def test_exceptions_are_still_needed():
    paths = {str(path.relative_to(ROOT)): text for path, text, _ in sources().values()}
    assert set(LATE_IMPORTS) <= set(paths)
    assert set(sources()) >= FORMULA_TABLES
    fitting = [
        name
        for name in LENGTH_EXCEPTIONS
        if SHORTEST <= len(paths.get(name, "").splitlines() or range(SHORTEST)) <= LONGEST
    ]
    assert not fitting, f"no exceptions any more: {fitting}"


def test_a_room_opens_by_saying_what_it_is():
    silent = [module for module, (_, _, tree) in sources().items() if not ast.get_docstring(tree)]
    assert not silent, "\n".join(silent)


def test_files_that_a_room_names_exist():
    names = [f"/{path.relative_to(ROOT)}" for path, _, _ in sources().values()]
    wrong = [
        f"{module}: {named}"
        for module, (_, text, _) in sources().items()
        for named in re.findall(r"`([\w/]+\.py)`", text)
        if not any(name.endswith(f"/{named}") for name in names)
    ]
    assert not wrong, "\n".join(wrong)


@cache
def methods_by_class() -> dict[str, tuple[set[str], list[str]]]:
    """For each class of ours: the names of its documented methods, and its base classes."""
    found: dict[str, tuple[set[str], list[str]]] = {}
    for _, _, tree in sources().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                methods = {
                    item.name
                    for item in node.body
                    if isinstance(item, ast.FunctionDef) and ast.get_docstring(item)
                }
                bases = [ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases]
                known, known_bases = found.setdefault(node.name, (set(), []))
                known |= methods
                known_bases += bases
    return found


def inherits_docstring(name: str, bases: list[str], seen: frozenset[str] = frozenset()) -> bool:
    """Whether a base class of ours documents the method `name`."""
    for base in bases:
        methods, further = methods_by_class().get(base, (set(), []))
        if base not in seen and (
            name in methods or inherits_docstring(name, further, seen | {base})
        ):
            return True
    return False


def undocumented(body: list[ast.stmt], owner: str, bases: list[str]) -> Iterator[str]:
    """Public classes, functions and methods in `body` that say nothing about themselves."""
    for node in body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_"):
            continue
        marks = {ast.unparse(mark).split(".")[-1] for mark in node.decorator_list}
        if marks & {"overload", "setter", "deleter"}:
            continue
        name = f"{owner}.{node.name}"
        if not ast.get_docstring(node) and not inherits_docstring(node.name, bases):
            yield f"{name} (line {node.lineno})"
        if isinstance(node, ast.ClassDef):
            above = [ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases]
            yield from undocumented(node.body, name, above)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_documented(package):
    wrong = [
        name
        for module, (_, _, tree) in sources().items()
        if module.partition(".")[0] == package and module not in FORMULA_TABLES
        for name in undocumented(tree.body, module, [])
    ]
    assert not wrong, "\n".join(wrong)
