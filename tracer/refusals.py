"""What tracing says when it refuses something: what was done, why it cannot be, and the remedy.

One function per kind. They make errors; whether one is raised or collected is up to the session.
"""

from __future__ import annotations

from dyn.core.dim import Dim
from dyn.core.errors import SourceLine
from dyn.core.expr import is_unknown
from dyn.core.tensor import Tensor
from dyn.nn.state import Buffer, Parameter
from tracer.errors import TraceError

_KEPT = "the file would keep the number of this one run for ever"
_CALLS = {
    "item": "item()",
    "int": "int()",
    "index": "use as an index or in range()",
    "float": "float()",
    "floor": "math.floor()",
    "ceil": "math.ceil()",
    "trunc": "math.trunc()",
    "complex": "complex()",
    "numpy": "numpy()",
    "tolist": "tolist()",
    "format": "formatting",
}
_REMEDIES = {
    "int": "keep it a tensor; to index with it, use x[i] with a tensor i or dyn.gather",
    "index": "keep it a tensor; to index with it, use x[i] with a 1-element index tensor",
    "float": "keep it a tensor and compute with ops",
    "floor": "keep it a tensor: dyn.floor, and cast",
    "ceil": "keep it a tensor: dyn.ceil, and cast",
    "trunc": "keep it a tensor: dyn.trunc, and cast",
    "numpy": "use ops of dyn instead of numpy's",
    "tolist": "use ops of dyn instead of Python lists",
    "format": "format it outside the forward",
}


def value_escapes(how: str, *, of_sizes: bool) -> TraceError:
    """A value that depends on the inputs, or on dynamic sizes alone, becomes plain numbers."""
    source, remedy = "the inputs", _REMEDIES.get(how, "keep it a tensor")
    remedy += ", or compute it outside the forward and pass it in"
    if of_sizes:
        source = "a dynamic size"
        remedy = (
            "compute with whole sizes (h // 2, h * 2, math.ceil(h / 2)), which stay sizes, or keep "
            "it a tensor"
        )
    return TraceError(
        f"{_CALLS.get(how, how)} takes a value that depends on {source} out of the graph; {_KEPT}. "
        f"Remedy: {remedy}"
    )


def size_escapes(dim: Dim, how: str) -> TraceError:
    """A dynamic size becomes a plain number."""
    use = f"{how}()"
    if how == "index":
        use = "range() or another function that needs a plain int"
    elif how == "len":
        use = "len(), which always gives a plain int (x.shape[0] stays a size)"
    elif how == "int":
        use = "int(), which always gives a plain int (leave it out: sizes count like ints)"
    symbols = sorted(dim.expr.symbols())
    if any(map(is_unknown, symbols)):
        remedy = "use ops that keep the number of results fixed (masks instead of nonzero)"
    else:
        remedy = f"declare {', '.join(symbols)} as a number in the InputSpec"
    return TraceError(
        f"the dynamic size {dim.expr} is used as a plain number by {use}; the file would keep the "
        f"sample's {dim.sample} for ever. Remedy: compute with tensors (dyn.arange, slices, "
        f"dyn.scan) or {remedy}"
    )


def size_outlives_trace(dim: Dim) -> TraceError:
    """A size of an earlier trace meets a tensor."""
    return TraceError(
        f"the size {dim.expr} of an earlier trace is used; sizes have no meaning outside it"
    )


def holds_for_sample_only(op: str, message: str) -> TraceError:
    """The shape rule of an op refuses the symbolic sizes where it took the sample's."""
    return TraceError(
        f"{op} holds for the sample sizes only, not for the declared dynamic ones: {message}"
    )


def leaks_from_block() -> TraceError:
    """A value computed inside a function of dyn.cond and its kin is used outside."""
    return TraceError(
        "a tensor that was computed inside a function given to dyn.cond, dyn.while_loop or "
        "dyn.scan is used outside of it; return it from the function"
    )


def state_written_in_block(name: str) -> TraceError:
    """A function of dyn.cond and its kin writes state."""
    return TraceError(
        f"{name} is written inside a function given to dyn.cond, dyn.while_loop or dyn.scan; "
        "return the new value from the function and assign it outside"
    )


def state_removed(name: str) -> TraceError:
    """A buffer is set to None."""
    return TraceError(
        f"the buffer {name} is set to None; what a file keeps from call to call always has a "
        "value. Write one that means nothing, such as zeros"
    )


def state_parted(attributes: list[str]) -> TraceError:
    """One of several attributes that hold the same buffer gets another one.

    Args:
        attributes: all that hold it.
    """
    return TraceError(
        f"{', '.join(attributes)} are one and the same buffer when the forward starts, and no "
        "longer when it ends; a file keeps one value for them. Register a tensor of its own for "
        "each (clone()), or write to the buffer in place (copy_, set_value)"
    )


def carries_state(
    tensor: Tensor, path: str | None, how: str, where: SourceLine | None
) -> TraceError:
    """A temporary keeps a value from call to call.

    Args:
        path: the attribute it hangs on, if it hangs on a layer.
        how: what was seen, such as "is read before it is written".
    """
    if path is not None:
        name = f"self.{path}"
    elif tensor._name is not None:
        name = f"the tensor {tensor._name!r}"
    else:
        kind = "buffer" if isinstance(tensor, Buffer) else "tensor"
        name = f"a {kind} of shape {list(tensor._array.shape)}"
    attribute = path.rsplit(".", 1)[-1].split("[")[0] if path is not None else "name"
    remedy = f"Make it state with self.register_buffer({attribute!r}, ...)"
    if path is None:
        remedy += ", or with state={'name': tensor}"
    return TraceError(
        f"{name} {how}: it carries a value from one call to the next, and a temporary is not part "
        f"of the file. {remedy}",
        where=where,
    )


def gradients_add_up(name: str, where: SourceLine | None) -> TraceError:
    """A call reads a gradient of before it, mostly to add to it.

    Args:
        name: of the gradient.
    """
    return TraceError(
        f"{name} is read as an earlier call has left it, as where a backward pass adds to it: it "
        "carries a value from one call to the next, and gradients are not part of the file. "
        "Remedy: clear them first (optimizer.clear_grad(), layer.clear_gradients()), or keep their "
        "sum in buffers",
        where=where,
    )


def unsteady(changed: list[str], where: SourceLine | None, *, drawn: bool) -> TraceError:
    """A forward gives other results when it is called again with the same inputs.

    Args:
        changed: attributes that a call changes.
        drawn: whether it draws from Python's or numpy's random numbers.
    """
    if drawn:
        why = (
            "it draws from Python's or numpy's random numbers, and the file would keep those of "
            "this one run for ever. Remedy: draw with ops (dyn.rand, dyn.randn, dyn.randint), "
            "which stay random in the file, or draw outside the forward and pass the numbers in"
        )
    elif changed:
        names = ", ".join(f"self.{name}" for name in changed[:3])
        why = (
            f"a call changes {names}, and what Python keeps is not part of the file. Remedy: make "
            f"it a tensor with self.register_buffer({changed[0].rsplit('.', 1)[-1]!r}, ...)"
        )
    else:
        why = (
            "what it computes may depend on inputs, parameters and buffers only, not on counters "
            "or random numbers of Python, files, the time, or a dynamic size as a key or text. "
            "Remedy: pass such a value in as an input, or keep it in a buffer"
        )
    return TraceError(
        f"the forward is not the same twice: called again with the same inputs it gives another "
        f"result; {why}",
        where=where,
    )


def fails_again(error: str, changed: list[str], where: SourceLine | None) -> TraceError:
    """A forward raises when it is called again with the same inputs."""
    names = ", ".join(f"self.{name}" for name in changed[:3]) or "what Python keeps"
    return TraceError(
        f"the forward is not the same twice: called again with the same inputs it raises {error}. "
        f"Remedy: keep what a call changes ({names}) in buffers (self.register_buffer)",
        where=where,
    )


def not_registered(
    tensor: Tensor, where: SourceLine | None, *, created: bool, in_model: bool, untrained: bool
) -> TraceError:
    """A parameter or persistable buffer has no name in the model.

    Args:
        created: whether the forward made it.
        in_model: whether a model is traced, rather than a function that uses layers.
        untrained: whether the function knows an optimiser, in a trace that is not of training.
    """
    kind = "parameter" if isinstance(tensor, Parameter) else "buffer"
    made = "is made in the forward" if created else "is not in the model's state_dict"
    remedy = "Name the layers that the function uses with layers={'name': layer}"
    if untrained:
        remedy = f"If an optimiser steps here, pass training=True. {remedy}"
    if in_model:
        remedy = (
            "Assign its layer to an attribute in __init__, and keep lists of layers in "
            "nn.LayerList or nn.Sequential"
        )
    return TraceError(
        f"the {kind} {tensor.name!r} {made}, so it would be lost as state. {remedy}", where=where
    )


def infer_is_wrong(op: str, inferred: object, actual: object) -> TraceError:
    """The shape rule of an op does not say what its kernel does."""
    return TraceError(
        f"infer of {op} says {inferred}, but its kernel gave {actual}; this is a fault of dyn"
    )
