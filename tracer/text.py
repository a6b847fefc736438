"""The text form of a graph, made to be read beside the model. `parse.py` reads it back.

One line a node: results with types, op, inputs, the attributes that differ from the op's defaults,
then layer path and line of the user's code. Nothing here looks at what the ops mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dyn.core.errors import SourceLine
from dyn.core.expr import Expr
from dyn.core.op import OPS, Type
from tracer.sizes import unknown_sizes

if TYPE_CHECKING:
    from tracer.graph import Block, Graph, Node, Value

DTYPES = {
    "float16": "f16",
    "bfloat16": "bf16",
    "float32": "f32",
    "float64": "f64",
    "int8": "i8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "uint8": "u8",
    "bool": "bool",
    "complex64": "c64",
    "complex128": "c128",
}
MAX_SHOWN = 8
"""Elements of a constant that are written out; longer ones show their type only."""
_WIDEST = 76
"""Column beyond which the comments of a block do not follow its longest line."""


def type_text(type_: Type) -> str:
    """A type as `f32[N, 784]`."""
    return f"{DTYPES[np.dtype(type_.dtype).name]}[{', '.join(map(str, type_.shape))}]"


def attr_text(value: Any) -> str:
    """An attribute value; sizes as they are, strings quoted."""
    if isinstance(value, Expr):
        return str(value)
    if isinstance(value, tuple):
        inner = ", ".join(attr_text(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)


def index_text(index: tuple[Any, ...]) -> str:
    """An index attribute as Python writes it: `[:, 0, None, ::2]`."""
    return "[" + ", ".join(map(_entry_text, index)) + "]"


def _entry_text(entry: tuple[Any, ...]) -> str:
    if entry[0] == "int":
        return attr_text(entry[1])
    if entry[0] == "new":
        return "None"
    start, stop, step = ("" if part is None else attr_text(part) for part in entry[1:])
    return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"


def attrs_text(node: Node) -> list[str]:
    """`name=value` for each attribute that differs from the op's default."""
    op = OPS.get(node.op)
    defaults = op.attrs if op else {}
    return [
        f"{name}={index_text(value) if name == 'index' and value else attr_text(value)}"
        for name, value in node.attrs.items()
        if name not in defaults or not _same(defaults[name], value)
    ]


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b


def scalar_text(array: np.ndarray) -> str:
    """A 0-d array as a number that gives the same element when it is read back."""
    value = array[()]
    if array.dtype.kind in "biu":
        return str(value)
    if array.dtype.kind == "c":
        return str(value)
    if not math.isfinite(float(value)):
        return f"float('{float(value)}')"
    # numpy knows the fewest digits of each dtype, but its versions write exponents differently.
    return repr(float(value) if array.dtype.name == "bfloat16" else float(str(value)))


def input_text(value: Value | None, beside: np.dtype | None) -> str:
    """A value as an argument: its name, or the number of a 0-d literal.

    The number stands bare when its dtype is that of `beside`, the node's first named input.
    """
    if value is None:
        return "None"
    if value.kind != "literal" or value.data is None or value.data.ndim:
        return value.name
    text = scalar_text(np.asarray(value.data))
    if value.dtype == beside:
        return text
    return f"{DTYPES[value.dtype.name]}({text})"


def named_dtype(values: list[Value | None]) -> np.dtype | None:
    """Dtype of the first input that is not printed as a number."""
    for value in values:
        if value is not None and (value.kind != "literal" or value.shape):
            return value.dtype
    return None


def outputs_text(outputs: list[Value]) -> str:
    """Results with their types; `_` for those that nothing reads, trailing ones left out.

    The types of those follow from the op, except where a size of them depends on values.
    """
    hidden = [value.name == "_" and not unknown_sizes(value.shape) for value in outputs]
    count = len(outputs)
    while count > 1 and hidden[count - 1]:
        count -= 1
    return ", ".join(
        "_" if unseen and count > 1 else f"{value.name}: {type_text(value.type)}"
        for value, unseen in zip(outputs[:count], hidden, strict=False)
    )


def node_text(node: Node) -> str:
    """One node without its comment. Optional inputs that are absent at the end are left out."""
    inputs = list(node.inputs)
    while inputs and inputs[-1] is None:
        inputs.pop()
    beside = named_dtype(inputs)
    arguments = [input_text(value, beside) for value in inputs] + attrs_text(node)
    return f"{outputs_text(node.outputs)} = {node.op}({', '.join(arguments)})"


def comment_text(layer: str, where: SourceLine | None) -> str:
    """`# fc1  model.py:12`."""
    parts = [part for part in (layer, where.short if where else "") if part]
    return f"# {'  '.join(parts)}" if parts else ""


Line = tuple[str, str]
"""Text and comment."""


def block_lines(block: Block, indent: str) -> list[Line]:
    """The nodes of a block, inner blocks indented below their node."""
    lines: list[Line] = []
    for node in block.nodes:
        lines.append((indent + node_text(node), comment_text(node.layer, node.where)))
        for name, inner in node.blocks.items():
            inputs = ", ".join(f"{v.name}: {type_text(v.type)}" for v in inner.inputs)
            outputs = ", ".join(input_text(v, None) for v in inner.outputs)
            given = f"({inputs})" if inputs else ""
            lines.append((f"{indent}  {name}{given} -> ({outputs})", ""))
            lines += block_lines(inner, indent + "    ")
    return lines


def state_lines(graph: Graph) -> list[Line]:
    """What the graph stands on: parameters, buffers, constants, sizes, guards."""
    written = {state.name: state for state in graph.states}
    lines: list[Line] = []
    for kind, values in (("param", graph.params), ("buffer", graph.buffers)):
        for value in values:
            state = written.pop(value.name, None)
            arrow = f" -> {state.next.name}" if state else ""
            comment = comment_text("", state.where) if state else ""
            lines.append((f"  {kind:6} {value.name}: {type_text(value.type)}{arrow}", comment))
    for state in written.values():
        arrow = f" -> {input_text(state.next, None)}"
        lines.append((f"  buffer {state.name}{arrow}", comment_text("", state.where)))
    for value in graph.constants:
        if value.kind == "literal" and not value.shape:
            continue
        text = f"  {value.kind:6} {value.name}: {type_text(value.type)}"
        if value.data is not None and value.data.size <= MAX_SHOWN:
            text += f" = {array_text(np.asarray(value.data))}"
        lines.append((text, comment_text("", value.where)))
    for name, sample in graph.sizes.items():
        lines.append((f"  size   {name} = {sample}", ""))
    for guard in graph.guards:
        text = f"{guard.left} {guard.relation} {guard.right} is {guard.answer}"
        lines.append((f"  guard  {text}", comment_text("", guard.where)))
    for assumption in graph.assumptions:
        text = f"  assume {assumption.answer}, otherwise {assumption.error}"
        lines.append((text, comment_text("", assumption.where)))
    return lines


def array_text(array: np.ndarray) -> str:
    """An array as nested lists of numbers."""
    if array.ndim == 0:
        return scalar_text(array)
    return "[" + ", ".join(array_text(np.asarray(row)) for row in array) + "]"


def header_text(graph: Graph) -> str:
    """`graph name(inputs) -> (outputs)`."""
    inputs = ", ".join(f"{v.name}: {type_text(v.type)}" for v in graph.inputs)
    outputs = ", ".join(
        f"{name}={input_text(value, None)}"
        for name, value in zip(graph.output_names, graph.outputs, strict=True)
    )
    mode = "training graph" if graph.training else "graph"
    return f"{mode} {graph.name}({inputs}) -> ({outputs})"


def graph_text(graph: Graph) -> str:
    """The whole graph, ending with a newline."""
    lines = [(header_text(graph), ""), *state_lines(graph), *block_lines(graph, "  ")]
    widths = [len(text) for text, comment in lines if comment and len(text) <= _WIDEST]
    column = max(widths, default=0)
    return "".join(
        (f"{text:{column}}  {comment}" if comment else text).rstrip() + "\n"
        for text, comment in lines
    )
