"""`torch.func`'s transforms of functions: slopes, and `vmap` as one call after the other.

Arguments and results may be tuples, lists and dictionaries of tensors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from dyn import autograd
from dyn.compat.torch.tensor import Base, own
from dyn.core import autograd as graph
from dyn.core.dim import Dim
from dyn.core.dtype import is_inexact
from dyn.core.modes import enable_grad, is_grad_enabled
from dyn.core.tape import edge_of
from dyn.core.tree import Leaf, flatten, rebuild
from dyn.ops.control import scan
from dyn.ops.creation import zeros_like
from dyn.ops.join import stack, unbind
from dyn.ops.shape import moveaxis


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Base)


def _parts(value: Any) -> tuple[Any, list[Any]]:
    """A structure, and the tensors that are in it."""
    structure, pairs = flatten(value, _is_tensor)
    return structure, [x for _, x in pairs]


def _inner(x: Any) -> Any:
    """What an argument is inside of a function whose slopes are asked for.

    A value of the history of `x`, so that slopes of slopes work; its own node ends the walk.
    """
    if is_grad_enabled() and not x.stop_gradient:
        return own(x * 1)
    leaf = own(x.detach())
    leaf.stop_gradient = False
    return leaf


def _reaches_others(outs: list[Any], leaves: list[Any]) -> bool:
    """Whether results also depend on tensors that want gradients and are not `leaves`."""
    known = {edge_of(x)[0] for x in leaves if x.is_leaf}
    waiting = [edge_of(x)[0] for x in outs if not x.stop_gradient]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if not node.order:
            if node not in known:
                return True
            continue
        behind = {edge[0] for edge in node.edges if edge is not None} - seen
        seen |= behind
        waiting += behind
    return False


def _need_tensors(name: str, what: str, value: Any) -> list[Any]:
    """The tensors in a value; refuses whatever else is in it."""
    _, parts = flatten(value, lambda x: not isinstance(x, (tuple, list, dict)))
    for path, x in parts:
        if not _is_tensor(x):
            where = f" at {path}" if path else ""
            raise TypeError(
                f"{name}: {what} is {type(x).__name__} {x!r:.60}{where}, tensors are wanted"
            )
    return [x for _, x in parts]


def _need_slopes(name: str, argument: Any) -> None:
    """Refuse an argument by which there are no slopes."""
    for x in _need_tensors(name, "an argument that slopes are asked for by", argument):
        if not is_inexact(x._typed().dtype):
            raise TypeError(
                f"{name}: slopes by a tensor of {x.dtype} are asked for; only floating point has "
                "any, convert it with float()"
            )


class _Asked:
    """A function at some arguments, which are watched where slopes by them are asked for."""

    def __init__(self, name: str, func: Any, argnums: Any, has_aux: bool, args: Any, kwargs: Any):
        several = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        for i in several:
            if not -len(args) <= i < len(args):
                raise RuntimeError(
                    f"{name}: argnums={argnums} names an argument that was not given; there are "
                    f"{len(args)} by position"
                )
        given = list(args)
        chosen = []
        with enable_grad():
            for i in several:
                _need_slopes(name, args[i])
                structure, tensors = _parts(args[i])
                given[i] = rebuild(structure, [_inner(x) for x in tensors])
                chosen.append(given[i])
            made = func(*given, **kwargs)
        if has_aux and not (isinstance(made, tuple) and len(made) == 2):
            raise RuntimeError(
                f"{name}: with has_aux=True the function gives a pair, the result and what comes "
                f"with it; it gave a {type(made).__name__}"
            )
        self.out: Any
        self.aux: Any
        self.out, self.aux = made if has_aux else (made, None)
        self.structure, self.leaves = _parts(chosen[0] if isinstance(argnums, int) else chosen)
        if not isinstance(argnums, int):
            self.structure = tuple(self.structure)
        # Whether somebody may differentiate further, inside of another function of this kind say.
        self.deeper = is_grad_enabled() and _reaches_others(_parts(self.out)[1], self.leaves)

    def shown(self, value: Any) -> Any:
        """A result, with its history only where somebody differentiates further."""
        structure, tensors = _parts(value)
        return own(rebuild(structure, tensors if self.deeper else [x.detach() for x in tensors]))


def grad_and_value(
    func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that gives the gradient of `func`, and what `func` gives.

    Args:
        func: gives one number, or a pair of it and anything else with `has_aux`.
        argnums: by which argument, or arguments.
        has_aux: whether `func` gives a pair.

    Raises:
        RuntimeError: `func` gives several numbers, or an argument is missing.
        TypeError: such an argument holds something else than tensors of floating point.
    """

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        asked = _Asked("grad", func, argnums, has_aux, args, kwargs)
        if not _is_tensor(asked.out) or asked.out._read().size != 1 or asked.out.ndim:
            given = asked.out.shape if _is_tensor(asked.out) else type(asked.out).__name__
            raise RuntimeError(
                f"grad: the function gives {given}, a 0-d tensor is wanted; reduce it, with sum() "
                "say"
            )
        none: list[Any] = [None] * len(asked.leaves)
        found = none
        if not asked.out.stop_gradient:
            found = graph.grad([asked.out], asked.leaves, None, True, asked.deeper, True)
        pairs = zip(found, asked.leaves, strict=True)
        slopes = own([zeros_like(x) if g is None else g for g, x in pairs])
        value = asked.shown((asked.out, asked.aux) if has_aux else asked.out)
        return rebuild(asked.structure, slopes), value

    return call


def grad(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that gives the gradient of `func`: see `grad_and_value`.

    With `has_aux` it gives the pair of the gradient and what came with the result.
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        slopes, value = both(*args, **kwargs)
        return (slopes, value[1]) if has_aux else slopes

    return call


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """What `func` gives, and a function from gradients of it to gradients of the arguments."""
    every = tuple(range(len(primals)))
    asked = _Asked("vjp", func, every, has_aux, primals, {})
    outs = _parts(asked.out)[1]

    def back(
        *cotangents: Any, retain_graph: bool | None = None, create_graph: bool | None = None
    ) -> Any:
        given = _parts(cotangents[0] if len(cotangents) == 1 else cotangents)[1]
        pairs = [(x, g) for x, g in zip(outs, given, strict=True) if not x.stop_gradient]
        found: list[Any] = [None] * len(asked.leaves)
        if pairs:
            ends, starts = map(list, zip(*pairs, strict=True))
            deeper = asked.deeper or any(not g.stop_gradient for g in starts)
            found = graph.grad(ends, asked.leaves, starts, True, deeper, True)
        both = zip(found, asked.leaves, strict=True)
        slopes = [zeros_like(x) if g is None else g for g, x in both]
        return rebuild(asked.structure, own(slopes))

    value = asked.shown(asked.out)
    return (value, back, asked.aux) if has_aux else (value, back)


def jacrev(
    func: Callable[..., Any],
    argnums: Any = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    randomness: str = "error",
) -> Any:
    """A function that gives all slopes of `func`: shapes of the result, then of the argument.

    `chunk_size` and `randomness` are accepted: `func` is called once, its slopes row by row.
    """

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        asked = _Asked("jacrev", func, argnums, has_aux, args, kwargs)
        outer, outs = _parts(asked.out)
        rows = [
            rebuild(asked.structure, own(autograd.slopes_of(out, asked.leaves, asked.deeper)))
            for out in outs
        ]
        found = rebuild(outer, rows)
        return (found, asked.aux) if has_aux else found

    return call


def hessian(func: Callable[..., Any], argnums: Any = 0) -> Callable[..., Any]:
    """A function that gives all second slopes of `func`, which gives one number."""
    return jacrev(jacrev(func, argnums), argnums)


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that calls `func` for each sample of a batch and puts the results together.

    One call after the other: what has no loop, with the batch as the first axis, is faster. A
    dynamic number of samples becomes a `dyn.scan` while a model is traced.

    Args:
        func: takes and gives tensors of one sample.
        in_dims: the axis of the samples, or for each argument an axis, None for one that all
            samples share, or such a structure of axes as the argument is.
        out_dims: where the axis of the samples goes, for each result.
        randomness: accepted; every call draws its own numbers ("different").
        chunk_size: accepted.

    Raises:
        ValueError: no argument has an axis of samples, the numbers of samples differ, there are
            none, or randomness is to be the "same" for all.
        TypeError: `func` gives something else than tensors.
    """
    if randomness == "same":
        raise ValueError("vmap: randomness='same' is not available: draw before the call")
    if randomness not in ("error", "different"):
        raise ValueError(f"vmap: randomness is 'error' or 'different', got {randomness!r}")

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        structure, tensors = _parts((args, kwargs))
        axes = in_dims if isinstance(in_dims, (tuple, list)) else (in_dims,) * len(args)
        if len(axes) != len(args):
            raise ValueError(f"vmap: in_dims={in_dims!r} does not fit {len(args)} arguments")
        by_tensor: list[Any] = [None] * len(tensors)
        for part, axis in zip(structure[0], axes, strict=True):
            _spread(part, axis, by_tensor)
        _spread(structure[1], 0, by_tensor)
        batched = [
            None if axis is None else moveaxis(x, axis, 0) if axis else x
            for x, axis in zip(tensors, by_tensor, strict=True)
        ]
        sizes = [x.shape[0] for x in batched if x is not None]
        if not sizes or any(not isinstance(n, Dim) and n != sizes[0] for n in sizes):
            raise ValueError(
                f"vmap: the numbers of samples are {sizes}; one axis of one size is wanted in "
                "some argument"
            )
        if not isinstance(sizes[0], Dim) and not sizes[0]:
            raise ValueError(
                "vmap: there are no samples to call the function with, and so no shape of its "
                "result; leave out empty batches"
            )

        def one(samples: list[Any]) -> Any:
            rest = iter(samples)
            pairs = zip(tensors, batched, strict=True)
            given = [x if b is None else own(next(rest)) for x, b in pairs]
            inner_args, inner_kwargs = rebuild(structure, given)
            made = func(*inner_args, **inner_kwargs)
            # A number would be that of the first sample for all.
            _need_tensors("vmap", "what the function gives", made)
            return made

        return _stacked(one, [x for x in batched if x is not None], sizes[0], out_dims)

    return call


def _spread(part: Any, axis: Any, into: list[Any]) -> None:
    """Note the axis of the samples of each tensor in an argument."""
    if isinstance(part, Leaf):
        into[part.index] = axis
    elif isinstance(part, dict):
        for key, inner in part.items():
            _spread(inner, axis[key] if isinstance(axis, dict) else axis, into)
    elif isinstance(part, (tuple, list)):
        several = axis if isinstance(axis, (tuple, list)) else [axis] * len(part)
        for inner, its in zip(part, several, strict=True):
            _spread(inner, its, into)


def _stacked(one: Callable[..., Any], batched: list[Any], size: Any, out_dims: Any) -> Any:
    """The results of all samples with the axis of the samples where it is wanted."""
    if isinstance(size, Dim):
        made = scan(lambda state, xs: (state, one(list(xs))), (), tuple(batched))[1]
        structure, joined = _parts(made)
    else:
        rows = [one(list(samples)) for samples in zip(*map(unbind, batched), strict=True)]
        structure = _parts(rows[0])[0]
        joined = [stack(list(column)) for column in zip(*(_parts(r)[1] for r in rows), strict=True)]
    axes: list[Any] = [None] * len(joined)
    _spread(structure, out_dims, axes)
    moved = [moveaxis(x, 0, axis) if axis else x for x, axis in zip(joined, axes, strict=True)]
    return own(rebuild(structure, moved))
