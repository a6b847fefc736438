"""Reads the text form of a graph back. Weights are not in the text, so their values have no data.

The form itself is defined by `text.py`; what that prints, this reads, and prints the same again.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from dyn.core.dtype import as_numpy
from dyn.core.errors import SourceLine
from dyn.core.expr import Expr
from dyn.core.op import OPS, Type
from tracer.check import inferred_types
from tracer.errors import GraphError
from tracer.graph import RELATIONS, Assumption, Block, Graph, Guard, Node, State, Value
from tracer.sizes import parse_size
from tracer.text import DTYPES

_DTYPES = {short: as_numpy(name) for name, short in DTYPES.items()}
_HEADER = re.compile(r"(training )?graph (\S+?)\((.*)\) -> \((.*)\)")
_BLOCK = re.compile(r"(\w+)(?:\((.*)\))? -> \((.*)\)")
_CALL = re.compile(r"(.*?) = (\w+)\((.*)\)")
_TYPED = re.compile(r"(\w+)\((.*)\)")


def parse(text: str) -> Graph:
    """The graph whose text form is `text`.

    Raises:
        GraphError: a line cannot be read; it is quoted.
    """
    lines = [_Line(line) for line in text.splitlines() if line.strip()]
    try:
        return _Reader(lines).graph()
    except (KeyError, ValueError, IndexError, AttributeError, SyntaxError) as error:
        raise GraphError(f"the text of a graph cannot be read: {error}") from error


class _Line:
    """One line: indentation, code, and what its comment says."""

    def __init__(self, line: str):
        code, _, comment = line.partition("  # ")
        self.text = code.strip()
        self.indent = len(code) - len(code.lstrip())
        parts = comment.split()
        self.where: SourceLine | None = None
        if parts and re.fullmatch(r".+:\d+", parts[-1]):
            file, _, number = parts.pop().rpartition(":")
            self.where = SourceLine(file, int(number), "")
        self.layer = parts[0] if parts else ""

    def match(self, pattern: re.Pattern[str]) -> tuple[Any, ...]:
        found = pattern.fullmatch(self.text)
        if found is None:
            raise ValueError(self.text)
        return found.groups()


class _Reader:
    def __init__(self, lines: list[_Line]):
        self.lines = lines
        self.at = 0
        self.values: dict[str, Value] = {}
        self.literals: list[Value] = []

    def graph(self) -> Graph:
        training, name, inputs, outputs = self.next().match(_HEADER)
        graph = Graph([], [], [], name, training=bool(training))
        graph.inputs = [self.declared(item, "input") for item in split(inputs)]
        pending: list[tuple[str, Value | None, str, SourceLine | None]] = []
        while (line := self.peek()) is not None and self.fact(graph, line, pending):
            self.at += 1
        graph.nodes = self.nodes(2, graph.sizes)
        for item in split(outputs):
            output, _, value = item.partition("=")
            graph.output_names.append(output)
            graph.outputs.append(self.value(value, None))
        graph.states = [
            State(name, value, self.value(following, None), where)
            for name, value, following, where in pending
        ]
        graph.constants += self.literals
        return graph

    # -- lines -------------------------------------------------------------------------------

    def peek(self) -> _Line | None:
        return self.lines[self.at] if self.at < len(self.lines) else None

    def next(self) -> _Line:
        self.at += 1
        return self.lines[self.at - 1]

    def fact(self, graph: Graph, line: _Line, pending: list[Any]) -> bool:
        """Read a line about state, sizes or guards; False if it is none."""
        kind, _, rest = line.text.partition(" ")
        rest = rest.strip()
        if kind in ("param", "buffer"):
            declared, _, following = rest.partition(" -> ")
            value = None
            if ":" in declared:
                value = self.declared(declared, kind)
                (graph.params if kind == "param" else graph.buffers).append(value)
            if following:
                pending.append((declared.partition(":")[0], value, following, line.where))
        elif kind in ("const", "literal"):
            declared, _, numbers = rest.partition(" = ")
            value = self.declared(declared, kind)
            value.where = line.where
            if numbers:
                value.data = np.array(_literal(numbers), value.dtype).reshape(value.shape)
            graph.constants.append(value)
        elif kind == "size":
            name, _, sample = rest.partition(" = ")
            graph.sizes[name] = int(sample)
        elif kind == "guard":
            comparison, _, answer = rest.rpartition(" is ")
            (relation,) = (r for r in RELATIONS if f" {r} " in comparison)
            left, _, right = comparison.partition(f" {relation} ")
            sides = Expr.of(parse_size(left)), Expr.of(parse_size(right))
            graph.guards.append(Guard(sides[0], relation, sides[1], answer == "True", line.where))
        elif kind == "assume":
            answer, _, error = rest.partition(", otherwise ")
            graph.assumptions.append(Assumption(answer == "True", line.where, error))
        else:
            return False
        return True

    def nodes(self, indent: int, sizes: dict[str, int]) -> list[Node]:
        found: list[Node] = []
        while (line := self.peek()) is not None and line.indent == indent:
            self.at += 1
            outputs, op, arguments = line.match(_CALL)
            node = Node(op, [], {}, [], line.layer, "", line.where)
            self.fill(node, split(arguments))
            while (inner := self.peek()) is not None and inner.indent == indent + 2:
                self.at += 1
                name, given, results = inner.match(_BLOCK)
                inputs = [self.declared(item, "block") for item in split(given or "")]
                nodes = self.nodes(indent + 4, sizes)
                values = [self.value(item, None) for item in split(results)]
                node.blocks[name] = Block(inputs, nodes, values)
            node.outputs = self.outputs(node, split(outputs), sizes)
            found.append(node)
        return found

    def outputs(self, node: Node, items: list[str], sizes: dict[str, int]) -> list[Value]:
        """Results; the types of those that are not shown are inferred."""
        types = inferred_types(node, sizes) if node.op in OPS else [None] * len(items)
        items = items + ["_"] * (len(types) - len(items))
        return [
            Value("_", type_, "node") if item == "_" and type_ else self.declared(item, "node")
            for item, type_ in zip(items, types, strict=True)
        ]

    def fill(self, node: Node, arguments: list[str]) -> None:
        """Inputs and attributes of a node."""
        op = OPS.get(node.op)
        positional = []
        given: dict[str, Any] = {}
        for argument in arguments:
            name, equals, text = argument.partition("=")
            if equals and name.isidentifier():
                given[name] = _index(text) if text[0] == "[" else _literal(text)
            else:
                positional.append(argument)
        named = [self.values[item] for item in positional if item in self.values]
        beside = next((v.dtype for v in named if v.kind != "literal" or v.shape), None)
        node.inputs = [None if item == "None" else self.value(item, beside) for item in positional]
        node.attrs = given
        if op is not None:
            absent = 0 if op.variadic else len(op.inputs) - len(node.inputs)
            node.inputs += [None] * absent
            node.attrs = {k: given.get(k, default) for k, default in op.attrs.items()}

    # -- values ------------------------------------------------------------------------------

    def declared(self, text: str, kind: str) -> Value:
        """A value from `name: f32[N, 3]`."""
        name, _, type_ = text.partition(": ")
        value = Value(name, _type(type_), kind)
        if name != "_":
            self.values[name] = value
        return value

    def value(self, text: str, beside: np.dtype | None) -> Value:
        """A known value by name, or a number as a literal."""
        if text in self.values:
            return self.values[text]
        typed = _TYPED.fullmatch(text)
        if typed is not None and typed[1] in _DTYPES:
            dtype, number = _DTYPES[typed[1]], typed[2]
        elif beside is not None:
            dtype, number = beside, text
        else:
            raise ValueError(f"there is no value {text!r}")
        array = np.array(_literal(number), dtype)
        key = (dtype.name, array.tobytes())
        for known in self.literals:
            assert known.data is not None
            if (known.dtype.name, np.asarray(known.data).tobytes()) == key:
                return known
        name = f"number{len(self.literals)}"
        self.literals.append(Value(name, Type((), dtype), "literal", array))
        return self.literals[-1]


def split(text: str) -> list[str]:
    """The parts of a list separated by commas, commas inside brackets and quotes left alone."""
    return [part.strip() for part in _split(text) if part.strip()]


def _split(text: str) -> Iterator[str]:
    depth, quote, start = 0, "", 0
    for i, character in enumerate(text):
        if quote:
            quote = "" if character == quote and text[i - 1] != "\\" else quote
        elif character in "'\"":
            quote = character
        elif character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
        elif character == "," and depth == 0:
            yield text[start:i]
            start = i + 1
    yield text[start:]


def _type(text: str) -> Type:
    dtype, _, sizes = text.partition("[")
    return Type(tuple(parse_size(s) for s in split(sizes.removesuffix("]"))), _DTYPES[dtype])


def _index(text: str) -> tuple[Any, ...]:
    """An index attribute from `[:, 0]`."""
    tree = ast.parse(f"_{text}", mode="eval").body
    assert isinstance(tree, ast.Subscript)
    entries = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
    return tuple(map(_entry, entries))


def _entry(tree: ast.expr) -> tuple[Any, ...]:
    if isinstance(tree, ast.Slice):
        parts = (tree.lower, tree.upper, tree.step)
        return ("slice", *(None if part is None else _attr(part) for part in parts))
    value = _attr(tree)
    return ("new",) if value is None else ("int", value)


def _literal(text: str) -> Any:
    return _attr(ast.parse(text.strip(), mode="eval").body)


def _attr(tree: ast.expr) -> Any:
    """An attribute value from its syntax tree."""
    if isinstance(tree, (ast.Tuple, ast.List)):
        items = [_attr(item) for item in tree.elts]
        return tuple(items) if isinstance(tree, ast.Tuple) else items
    if isinstance(tree, ast.Constant):
        return tree.value
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == "float":
        return float(ast.literal_eval(tree.args[0]))
    text = ast.unparse(tree)
    try:
        return ast.literal_eval(text)
    except ValueError:
        return parse_size(text)
