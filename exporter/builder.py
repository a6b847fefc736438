"""Builds one ONNX graph: nodes, constants, sizes. Owns all names.

Lowerings call it with values and get values back. A symbolic size becomes Shape, arithmetic on
int64, and is computed once per graph. Branches of control flow are built by child builders, which
see what their parent has built so far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from dyn.core.errors import SourceLine
from dyn.core.expr import Atom, Expr, decide
from exporter.peephole import DRAWS, same_call, simplified

VALUES = "dyn.values"
"""Metadata of a node: which values of the graph its outputs are, comma-separated."""


@dataclass(frozen=True)
class Val:
    """A value of the ONNX graph, known by its name."""

    name: str


@dataclass
class Scope:
    """What nodes made now are attributed to: op, layer path, layer class, user line."""

    op: str = ""
    layer: str = ""
    layer_class: str = ""
    where: SourceLine | None = None


class Names:
    """Unique names of one file: values and nodes, in the order they are asked for."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def reserve(self, name: str) -> str:
        """Take exactly this name (inputs, outputs, state); an error if it is taken."""
        if name in self._taken:
            raise ValueError(f"the name {name!r} is used twice in the graph")
        self._taken.add(name)
        return name

    def fresh(self, stem: str) -> str:
        """`stem`, or `stem_1`, `stem_2` ... if it is taken."""
        name, count = stem, self._next.get(stem, 0)
        while name in self._taken:
            count += 1
            name = f"{stem}_{count}"
        self._next[stem] = count
        self._taken.add(name)
        return name


class Builder:
    """One graph under construction.

    Attributes:
        opset: target opset.
        seed: what the next operator that draws random numbers is seeded with; None for no seeds.
        nodes: NodeProtos in order.
        constants: arrays of small constants by name, kept by the outermost builder.
        makers: the node of this graph that makes a value, by the value's name.
        scope: set by the exporter before each lowering.
    """

    def __init__(
        self,
        opset: int,
        names: Names | None = None,
        parent: Builder | None = None,
        seed: int | None = None,
    ):
        self.opset = opset
        self.seed = seed
        self.names = names or (parent.names if parent else Names())
        self.parent = parent
        self.root: Builder = parent.root if parent else self
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.makers: dict[str, onnx.NodeProto] = {}
        self.scope = parent.scope if parent else Scope()
        self._constant_names: dict[Any, str] = {}
        self._calls: dict[Any, tuple[Val, ...]] = {}
        self._sizes: dict[Any, Val] = {}
        self._true: Val | None = None
        self._symbols: dict[str, tuple[Val, int]] = {}

    def child(self) -> Builder:
        """A builder for a sub-graph, which may use every value built here so far."""
        return Builder(self.opset, parent=self)

    # -- what the target has -----------------------------------------------------------------

    def has(self, op_type: str, since: int = 0) -> bool:
        """Whether the target opset defines `op_type` (with a definition of opset >= `since`)."""
        try:
            schema = onnx.defs.get_schema(op_type, self.opset, "")
        except onnx.defs.SchemaError:
            return False
        return schema.since_version >= since

    # -- nodes -------------------------------------------------------------------------------

    def op(
        self, op_type: str, *inputs: Val | None, outputs: int = 1, domain: str = "", **attrs: Any
    ) -> Any:
        """Add a node. Attributes that are None are left out.

        Returns:
            Its output, or a tuple of outputs if there are several.
        """
        names = [v.name if v else "" for v in inputs]
        given = {key: value for key, value in attrs.items() if value is not None}
        if not domain:
            simpler = simplified(op_type, names, given, self.maker)
            if isinstance(simpler, str):
                return Val(simpler)
            op_type, names, given = simpler
        if op_type in DRAWS and self.root.seed is not None:
            # An int in Dropout and a float in all others.
            given["seed"] = self.root.seed if op_type == "Dropout" else float(self.root.seed)
            self.root.seed += 1
        key = same_call(op_type, names, outputs, given)
        made = self._known(lambda builder: builder._calls.get(key)) if key else None
        if made is None:
            stem = self._stem(op_type)
            results = [self.names.fresh(stem if i == 0 else f"{stem}.{i}") for i in range(outputs)]
            self.add_node(op_type, names, results, domain, given)
            made = tuple(Val(name) for name in results)
            if key:
                self._calls[key] = made
        return made[0] if outputs == 1 else made

    def copy(self, value: Val) -> Val:
        """The value under another name, for where it must be made in this very graph."""
        name = self.names.fresh(self._stem("Identity"))
        self.add_node("Identity", [value.name], [name])
        return Val(name)

    def maker(self, name: str) -> onnx.NodeProto | None:
        """The node, of this graph or of one around it, that makes a value."""
        return self._known(lambda builder: builder.makers.get(name))

    def _known(self, find: Callable[[Builder], Any]) -> Any:
        """What this builder or the nearest one around it knows."""
        builder: Builder | None = self
        while builder is not None:
            found = find(builder)
            if found is not None:
                return found
            builder = builder.parent
        return None

    def add_node(
        self,
        op_type: str,
        inputs: list[str],
        outputs: list[str],
        domain: str = "",
        attrs: dict[str, Any] | None = None,
    ) -> onnx.NodeProto:
        """Add a node over names; trailing absent inputs are cut off."""
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        node = helper.make_node(
            op_type, inputs, outputs, name=outputs[0], domain=domain, **(attrs or {})
        )
        self._annotate(node)
        self.nodes.append(node)
        for output in outputs:
            self.makers[output] = node
        return node

    def tag(self, val: Val, value: str) -> None:
        """Note in the file that `val` is the value called `value` in the graph."""
        node = self.makers.get(val.name)
        if node is None:
            return
        place = list(node.output).index(val.name)
        entry = next((e for e in node.metadata_props if e.key == VALUES), None)
        names = entry.value.split(",") if entry is not None else []
        names += [""] * (place + 1 - len(names))
        names[place] = names[place] or value
        entry = entry or node.metadata_props.add(key=VALUES)
        entry.value = ",".join(names)

    def _stem(self, op_type: str) -> str:
        return f"{self.scope.layer}/{op_type}" if self.scope.layer else op_type

    def _annotate(self, node: onnx.NodeProto) -> None:
        scope = self.scope
        metadata = {"op": scope.op, "layer": scope.layer, "class": scope.layer_class}
        if scope.where is not None:
            metadata["source"] = str(scope.where)
            node.doc_string = f"{scope.where.short} {scope.where.text}".strip()
        for key, value in metadata.items():
            if value:
                entry = node.metadata_props.add()
                entry.key, entry.value = f"dyn.{key}", value

    # -- constants ---------------------------------------------------------------------------

    def const(self, value: Any, dtype: Any = None, name: str = "const") -> Val:
        """A constant initializer; equal constants are stored once."""
        array = np.asarray(value, dtype)
        root = self.root
        key = (array.dtype.str, array.dtype.name, array.shape, array.tobytes())
        found = root._constant_names.get(key)
        if found is None:
            found = root._constant_names[key] = root.names.fresh(name)
            root.constants[found] = array
        return Val(found)

    def ints(self, *values: int) -> Val:
        """A 1-D int64 constant."""
        return self.const(np.array(values, np.int64))

    def run_time_true(self) -> Val:
        """A true bool that no optimizer computes ahead: one round of a loop gives it."""
        root = self.root
        if root._true is None:
            kinds = [onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.BOOL]
            infos = [
                helper.make_tensor_value_info(root.names.fresh(name), kind, [])
                for name, kind in zip(("iteration", "going", "value"), kinds, strict=True)
            ]
            body = root.child()
            made = [body.copy(Val(infos[i].name)) for i in (1, 2)]
            outputs = [helper.make_tensor_value_info(v.name, kinds[1], []) for v in made]
            graph = helper.make_graph(body.nodes, "body", infos, outputs)
            start = [root.const(1), root.const(True), root.const(True)]
            root._true = root.op("Loop", *start, body=graph)
        return root._true  # type: ignore[return-value]

    def dropped(self, x: Val, p: float) -> Val:
        """A bool per element of x, each False with probability p, drawn anew at every run."""
        # onnxruntime removes a Dropout whose mask is not read, and folds one of constants, also
        # in training mode. So it is the mask that is used, and the mode that is not a constant.
        ratio = self.const(p, np.float32)
        return self.op("Dropout", x, ratio, self.run_time_true(), outputs=2)[1]

    # -- sizes -------------------------------------------------------------------------------

    def bind_symbol(self, name: str, value: Val, axis: int) -> None:
        """Say where the size `name` is read from: axis `axis` of `value` (first one wins)."""
        self._symbols.setdefault(name, (value, axis))

    def shape_vector(self, sizes: Any) -> Val:
        """A 1-D int64 value holding `sizes` (ints or Exprs)."""
        sizes = list(sizes)
        if all(isinstance(s, (int, np.integer)) for s in sizes):
            return self.ints(*sizes)
        parts: list[Val] = []
        run: list[int] = []
        for size in sizes:
            constant = size.constant if isinstance(size, Expr) else int(size)
            if constant is not None:
                run.append(constant)
                continue
            if run:
                parts.append(self.ints(*run))
                run = []
            parts.append(self._size(size))
        if run:
            parts.append(self.ints(*run))
        return parts[0] if len(parts) == 1 else self.op("Concat", *parts, axis=0)

    def size(self, size: int | Expr) -> Val:
        """A 0-d int64 value holding one size."""
        if not isinstance(size, Expr):
            return self.const(np.int64(size))
        if size.constant is not None:
            return self.const(np.int64(size.constant))
        return self.op("Squeeze", self._size(size), self.ints(0))

    def _size(self, expr: Expr) -> Val:
        """A size as an int64 vector of one element."""
        found = self._known(lambda builder: builder._sizes.get(expr.key))
        if found is not None:
            return found
        total: Val | None = None
        for monomial, coefficient in expr.terms.items():
            term: Val | None = None if coefficient == 1 and monomial else self.ints(coefficient)
            for atom in monomial:
                factor = self._atom(atom)
                term = factor if term is None else self.op("Mul", term, factor)
            total = term if total is None else self.op("Add", total, term)
        made = total if total is not None else self.ints(0)
        self._sizes[expr.key] = made
        return made

    def _atom(self, atom: Atom) -> Val:
        key = ("atom", atom.key)
        found = self._known(lambda builder: builder._sizes.get(key))
        if found is not None:
            return found
        if not atom.args:
            value, axis = self._symbol(atom.name)
            made = self.op("Shape", value, start=axis, end=axis + 1)
        else:
            a, b = (self._size(arg) for arg in atom.args)
            made = self._size_function(atom, a, b)
        self._sizes[key] = made
        return made

    def _size_function(self, atom: Atom, a: Val, b: Val) -> Val:
        if atom.name == "max":
            return self.op("Max", a, b)
        if atom.name == "min":
            return self.op("Min", a, b)
        if atom.name == "mod":
            return self.op("Mod", a, b)
        if decide(atom.args[0], ">=") and decide(atom.args[1], ">="):
            return self.op("Div", a, b)
        # ONNX: Div of integers rounds toward zero, // of sizes toward minus infinity.
        return self.op("Div", self.op("Sub", a, self.op("Mod", a, b)), b)

    def _symbol(self, name: str) -> tuple[Val, int]:
        found = self._known(lambda builder: builder._symbols.get(name))
        if found is not None:
            return found
        raise KeyError(f"the size {name!r} is not the size of any input or earlier value")

    # -- small helpers of many lowerings -----------------------------------------------------

    def cast(self, value: Val, dtype: Any) -> Val:
        """`value` in another element type."""
        return self.op("Cast", value, to=tensor_type(np.dtype(dtype)))

    def index(self, value: Val, dtype: Any, *, narrow: bool = False) -> Val:
        """Indices of a dtype as int64, or as they are if they are int32 and may be `narrow`."""
        fits = dtype == np.int64 or (narrow and dtype == np.int32)
        return value if fits else self.cast(value, np.int64)

    def axes(self, op_type: str, value: Val, axes: Any, *, keepdims: bool = True) -> Val:
        """A reduction: axes are an attribute up to opset 17 and an input after (Sum since 13)."""
        keep = int(keepdims)
        if axes is None:
            return self.op(op_type, value, keepdims=keep)
        axes = [int(a) for a in axes]
        if not axes:
            return value
        if op_type == "ReduceSum" or self.has(op_type, since=18):
            return self.op(op_type, value, self.ints(*axes), keepdims=keep)
        return self.op(op_type, value, axes=axes, keepdims=keep)

    def reshape(self, value: Val, sizes: Any) -> Val:
        """`value` with the given sizes (ints or Exprs; zero means zero)."""
        sizes = list(sizes)
        unknown = [i for i, s in enumerate(sizes) if isinstance(s, Expr) and s.constant is None]
        zero = any(isinstance(s, int) and s == 0 for s in sizes)
        if len(unknown) == 1 and not zero:
            # One unknown size needs no Shape node: Reshape infers it.
            sizes[unknown[0]] = -1
        elif not all(decide(sizes[i], ">") for i in unknown):
            zero = True
        return self.op("Reshape", value, self.shape_vector(sizes), allowzero=1 if zero else None)

    def unsqueeze(self, value: Val, *axes: int) -> Val:
        """`value` with axes of size 1 inserted."""
        return self.op("Unsqueeze", value, self.ints(*axes)) if axes else value

    def squeeze(self, value: Val, *axes: int) -> Val:
        """`value` without the given axes of size 1."""
        return self.op("Squeeze", value, self.ints(*axes)) if axes else value

    def transpose(self, value: Val, perm: Any) -> Val:
        """`value` with its axes in the order `perm`."""
        return self.op("Transpose", value, perm=[int(p) for p in perm])


def tensor_type(dtype: np.dtype) -> int:
    """The ONNX element type of a numpy dtype (bfloat16 included)."""
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def tensor_proto(array: np.ndarray, name: str) -> onnx.TensorProto:
    """An initializer over the bytes of an array."""
    return numpy_helper.from_array(np.asarray(array, order="C"), name)
