"""Records dyn.cond, dyn.while_loop and dyn.scan: one node each, with the functions as its blocks.

A function runs once (and once more for each side of an `if` in it) to be recorded; what a loop
computes in this run is found by running it eagerly without recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dyn.core.errors import user_line
from dyn.core.modes import is_grad_enabled, no_grad
from dyn.core.observe import unobserved
from dyn.core.op import OPS, Op, Type
from dyn.core.tensor import Tensor
from dyn.core.tree import flatten, rebuild
from dyn.ops import control as eager
from tracer.branch import End, Path, assumptions, explore
from tracer.errors import TraceError
from tracer.graph import Block, Value
from tracer.merge import common_type, may_be_one, merge, need_same_structure, nesting_text
from tracer.session import FROZEN, TRACED
from tracer.text import type_text

if TYPE_CHECKING:
    from tracer.recorder import Recorder


def record(
    recorder: Recorder,
    kind: str,
    functions: dict[str, Callable[..., Any]],
    operands: Sequence[Any],
) -> Any:
    """Record control flow as a node; returns its results, or NotImplemented to run it plainly."""
    if kind == "cond":
        return _cond(recorder, functions, operands)
    if kind == "while_loop":
        return _while_loop(recorder, functions, list(operands))
    return _scan(recorder, functions["body"], *operands)


def condition(tensor: Tensor) -> Tensor:
    """A tensor of one element as a 0-d bool, by recorded ops where it is not."""
    if tensor._read().dtype != np.bool_:
        tensor = OPS["cast"](tensor, dtype="bool")
    return tensor if tensor.ndim == 0 else OPS["reshape"](tensor, shape=())


@dataclass
class Recorded:
    """A function as a block.

    Attributes:
        structure: how its results are nested.
        tensors: its results in the run that followed the values.
    """

    block: Block
    structure: Any
    tensors: list[Tensor]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def record_block(
    recorder: Recorder,
    kind: str,
    function: Callable[[list[Tensor]], Any],
    given: list[tuple[Tensor, Type]],
) -> Recorded:
    """Record a function of tensors.

    Args:
        kind: of the control flow that the block is for.
        function: gets fresh tensors for the inputs of the block, returns nested tensors.
        given: a tensor with the value of each input in this run, and the input's type.
    """
    inputs = [Value("", type_, "block") for _, type_ in given]
    for value in inputs:
        recorder.session.levels[value] = TRACED
    first: list[Recorded] = []
    paths: list[Path] = []

    def run(path: Path) -> End:
        paths.append(path)
        with recorder.inside(path):
            tensors = []
            for (tensor, _), value in zip(given, inputs, strict=True):
                with unobserved():
                    tensors.append(_NO_GRADIENT[kind](tensor))
                recorder.know(tensors[-1]._array, value)
            structure, leaves = flatten(function(tensors), _is_tensor)
            results = [tensor for _, tensor in leaves]
            for result in results:
                result._read()
            values = [recorder.value_of(result) for result in results]
        if not first:
            first.append(Recorded(Block([], [], []), structure, results))
        return End(values, structure)

    root = explore(run)
    recorder.paths[-1].counts += paths[0].counts
    recorder.session.assumptions += assumptions(root)
    need_same_structure(root)
    names = [f"result {i}" for i in range(len(first[0].tensors))]
    nodes, results = merge(root, lambda end: end.outputs, names, recorder.session.sizes)
    first[0].block = Block(inputs, nodes, results)
    return first[0]


def _emit(
    recorder: Recorder,
    kind: str,
    inputs: list[Value],
    attrs: dict[str, Any],
    types: Callable[[], list[Type]],
    blocks: dict[str, Block],
    results: list[Tensor],
    recorded: list[Tensor],
) -> list[Tensor]:
    """Add the node and give out fresh tensors for its results.

    Args:
        results: hold what the node computes in this run.
        recorded: what the block returned while it was recorded.
    """
    node, _ = recorder.paths[-1].step(
        kind, list(inputs), attrs, types, recorder.layer, user_line(), blocks
    )
    tensors = []
    for tensor, value, inner in zip(results, node.outputs, recorded, strict=True):
        out = Tensor._of(tensor._array.view())
        if is_grad_enabled() and not inner.stop_gradient:
            # On the tape stands an op without rules: a gradient through it is an error, not zero.
            with unobserved():
                marked = _NO_GRADIENT[kind](inner)
            out._node, out._index, out.stop_gradient = marked._node, marked._index, False
        recorder.session.levels[value] = TRACED
        recorder.bind(out, value)
        tensors.append(out)
    return tensors


def _without_rules(kind: str) -> Op:
    def kernel(x):
        return x.view()

    kernel.__name__ = f"dyn.{kind} in a traced model"
    return Op(
        kernel,
        infer=lambda x: x,
        outputs=("out",),
        public=1,
        promote=False,
        differentiable=True,
        random=False,
        dynamic=False,
        view=False,
    )


_NO_GRADIENT = {kind: _without_rules(kind) for kind in ("cond", "while_loop", "scan")}


def _cond(
    recorder: Recorder, functions: dict[str, Callable[..., Any]], operands: Sequence[Any]
) -> Any:
    pred, *arguments = operands
    if recorder.session.levels[recorder.value_of(pred)] <= FROZEN:
        return NotImplemented
    answer = bool(pred._read().item())
    chosen = recorder.value_of(condition(pred))
    sides = {
        name: record_block(
            recorder, "cond", lambda _, f=f: None if f is None else f(*arguments), []
        )
        for name, f in functions.items()
    }
    then, other = sides["then"], sides["else"]
    pairs = list(zip(then.block.outputs, other.block.outputs, strict=False))
    fits = all(may_be_one(a.type, b.type) for a, b in pairs)
    if then.structure != other.structure or not fits:
        alike = then.structure == other.structure
        returned = [
            _types_text(side) if alike else nesting_text(side.structure) for side in (then, other)
        ]
        raise TraceError(
            "the functions of dyn.cond must return the same structure of tensors of the same "
            f"shapes and dtypes; true_fn returns {returned[0]}, false_fn {returned[1]}"
        )
    if not pairs:
        return then.structure
    blocks = {name: side.block for name, side in sides.items()}
    ran = then if answer else other
    inner = [b if a.stop_gradient else a for a, b in zip(then.tensors, other.tensors, strict=True)]
    sizes = recorder.session.sizes
    tensors = _emit(
        recorder,
        "cond",
        [chosen],
        {},
        lambda: [common_type(a.type, b.type, sizes) for a, b in pairs],
        blocks,
        ran.tensors,
        inner,
    )
    return rebuild(then.structure, tensors)


def _types_text(side: Recorded) -> str:
    return ", ".join(type_text(value.type) for value in side.block.outputs)


def _while_loop(
    recorder: Recorder, functions: dict[str, Callable[..., Any]], loop_vars: list[Any]
) -> list[Any]:
    structure, leaves = flatten(loop_vars, _is_tensor)
    tensors = [tensor for _, tensor in leaves]
    inputs = [recorder.value_of(tensor) for tensor in tensors]
    given = [(tensor, value.type) for tensor, value in zip(tensors, inputs, strict=True)]

    def test(fresh: list[Tensor]) -> Any:
        answer = functions["cond"](*rebuild(structure, fresh))
        return condition(answer if isinstance(answer, Tensor) else Tensor(answer))

    def body(fresh: list[Tensor]) -> Any:
        return eager.next_values(functions["body"](*rebuild(structure, fresh)), len(loop_vars))

    tested = record_block(recorder, "while_loop", test, given)
    step = record_block(recorder, "while_loop", body, given)
    _need_same_loop("loop variable", leaves, inputs, structure, step, step.structure)
    with recorder.muted(), no_grad():
        last = eager.while_loop(functions["cond"], functions["body"], loop_vars)
    blocks = {"cond": tested.block, "body": step.block}
    types = [value.type for value in inputs]
    results = [tensor for _, tensor in flatten(last, _is_tensor)[1]]
    out = _emit(recorder, "while_loop", inputs, {}, lambda: types, blocks, results, step.tensors)
    return rebuild(structure, out)


def _need_same_loop(
    what: str,
    leaves: list[tuple[str, Tensor]],
    before: list[Value],
    structure: Any,
    step: Recorded,
    after: Any,
) -> None:
    """Raise unless what a step returns can be given to the next step."""
    if after != structure:
        raise TraceError(
            f"each {what} must keep its structure from step to step; before a step it is "
            f"{nesting_text(structure)}, after it {nesting_text(after)}"
        )
    for (path, _), a, b in zip(leaves, before, step.block.outputs, strict=False):
        if a.type != b.type:
            raise TraceError(
                f"{what} {path} is {type_text(a.type)} before a step and {type_text(b.type)} "
                "after it; it must keep its shape and dtype (cast or reshape it before the loop)"
            )


def _scan(recorder: Recorder, function: Callable[..., Any], init: Any, xs: Any) -> Any:
    carry_structure, carry_leaves = flatten(init, _is_tensor)
    xs_structure, xs_leaves = flatten(xs, _is_tensor)
    carries = [tensor for _, tensor in carry_leaves]
    rows = [tensor for _, tensor in xs_leaves]
    count = len(carries)
    inputs = [recorder.value_of(tensor) for tensor in (*carries, *rows)]
    length = inputs[count].shape[0]
    given = [(t, value.type) for t, value in zip(carries, inputs, strict=False)]
    with unobserved():
        first = [tensor[0] for tensor in rows]
    for row, value in zip(first, inputs[count:], strict=True):
        given.append((row, Type(value.shape[1:], value.dtype)))

    def body(fresh: list[Tensor]) -> Any:
        carry = rebuild(carry_structure, fresh[:count])
        return eager.step_values(function(carry, rebuild(xs_structure, fresh[count:])))

    step = record_block(recorder, "scan", body, given)
    _need_same_loop("carry", carry_leaves, inputs[:count], carry_structure, step, step.structure[0])
    with recorder.muted(), no_grad():
        results = flatten(eager.scan(function, init, xs), _is_tensor)[1]
    types = [value.type for value in step.block.outputs]
    types[count:] = [Type((length, *t.shape), t.dtype) for t in types[count:]]
    out = _emit(
        recorder,
        "scan",
        inputs,
        {"carried": count},
        lambda: types,
        {"body": step.block},
        [tensor for _, tensor in results],
        step.tensors,
    )
    return rebuild(step.structure, out)
