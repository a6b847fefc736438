"""Calls whose outcome is a rule: the dtype of a result, for all pairs of dtypes and ranks.

Written for either package, which is given as `torch`; `record_tables.py` records what PyTorch says.
"""

from __future__ import annotations

import itertools
import zlib
from typing import Any

_KINDS = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64"
KINDS = _KINDS.split()
RANKS = (((2,), ()), ((), (2,)), ((2,), (2,)), ((), ()))
"""Shapes of the two operands."""

_NAMES = "maximum fmin pow floor_divide fmod bitwise_and logical_or atan2 copysign ldexp hypot"
OPERATIONS: dict[str, Any] = {
    "x + y": lambda torch, x, y: x + y,
    "x - y": lambda torch, x, y: x - y,
    "x * y": lambda torch, x, y: x * y,
    "x / y": lambda torch, x, y: x / y,
    "x > y": lambda torch, x, y: x > y,
    "x % y": lambda torch, x, y: x % y,
    "x += y": lambda torch, x, y: x.add_(y),
    "where": lambda torch, x, y: torch.where(torch.tensor([True, False]), x, y),
    "xlogy": lambda torch, x, y: torch.xlogy(x, y),
    "result_type": lambda torch, x, y: torch.full((), 0, dtype=torch.result_type(x, y)),
    **{name: lambda torch, x, y, name=name: getattr(torch, name)(x, y) for name in _NAMES.split()},
}


def dtypes_of(name: str, torch: Any) -> str:
    """The dtypes of an operation's results, a digit each in the order of KINDS; "-" if it fails."""
    found = []
    for (first, second), (rank, other) in itertools.product(itertools.product(KINDS, KINDS), RANKS):
        x = torch.ones(rank, dtype=getattr(torch, first))
        y = torch.ones(other, dtype=getattr(torch, second))
        try:
            out = OPERATIONS[name](torch, x, y)
        except (RuntimeError, TypeError, ValueError):
            found.append("-")
        else:
            found.append(str(KINDS.index(str(out.dtype).removeprefix("torch."))))
    return "".join(found)


# ---- views -------------------------------------------------------------------------------------

VIEWS = r"""
x[0] | x[:, 1:] | x[::2] | x[..., 0] | x[None] | x[:] | x[...] | x[1, 2] | x[0:0] | x[0][1:][::2]
x.view(-1) | x.view(3, 2, 2) | x.view_as(x.new_zeros(4, 3)) | x.reshape(4, 3) | x.reshape(-1)
x.reshape_as(x.new_zeros(2, 6)) | x.flatten() | x.flatten(0) | x.ravel() | x.unflatten(1, (2, 2))
x.t() | x.T | x.mT | x.H | x.mH | x.adjoint() | x.transpose(0, 1) | x.permute(1, 0)
x.swapaxes(0, 1) | x.swapdims(0, 1) | x.movedim(0, 1) | x.moveaxis(1, 0) | torch.permute(x, (1, 0))
x.t().reshape(-1) | x.t().flatten() | x.t().ravel() | x.t().contiguous() | x.contiguous()
x.t().reshape(2, 2, 3) | x.t()[1:3].reshape(6) | x[:, :2].reshape(-1) | x[1:].reshape(-1)
x.t().unsqueeze(0).reshape(4, 3) | x.t().t().reshape(12) | x[:, 0].reshape(3, 1)
x[:, 1:3].flatten() | x.squeeze() | x.squeeze(0) | x.unsqueeze(1) | x.unsqueeze(-1).squeeze(-1)
x[:1].squeeze(0) | x.expand(3, 4) | x.expand(1, 3, 4) | x.expand(-1, -1) | x.expand_as(x)
x.broadcast_to((1, 3, 4)) | x.expand(2, 3, 4) | x[:, :1].expand(3, 4) | x[:, :1].expand_as(x)
torch.broadcast_to(x, (2, 3, 4)) | torch.broadcast_tensors(x, x.new_zeros(2, 3, 4))[0]
torch.broadcast_tensors(x[0], x)[1] | x[:, :1].expand(3, 4).contiguous()
x[0].expand(2, 4).reshape(-1) | x[:1].expand(1, 4)[0] | x.diagonal() | x.diagonal(1)
x.diagonal(-1, 1, 0) | x.t().diagonal() | torch.linalg.diagonal(x)
x.view(3, 2, 2).diagonal(0, 1, 2) | x.view(3, 2, 2).diagonal(0, 0, 2) | x.view(2, 2, 3).diagonal()
x.unfold(0, 2, 1) | x.unfold(1, 2, 2) | x.unfold(1, 3, 3) | x.unfold(0, 1, 1) | x.unfold(1, 1, 3)
x.as_strided((2, 2), (4, 1)) | torch.as_strided(x, (3, 3), (1, 1), 2) | x.narrow(1, 1, 2)
x.select(1, 2) | x.split(2)[0] | x.split([1, 3], 1)[1] | x.chunk(2, 1)[1] | x.tensor_split(2)[1]
x.hsplit(2)[0] | x.vsplit(3)[2] | x.view(3, 2, 2).dsplit(2)[1] | x.unbind()[1] | x.unbind(1)[0]
x.split_with_sizes([1, 2])[1] | torch.unbind(x, 1)[3] | torch.chunk(x, 3)[2] | x.detach() | x.data
x.detach()[0] | x.real | x.conj() | x.positive() | x.resolve_conj() | torch.atleast_1d(x)
torch.atleast_3d(x) | torch.atleast_2d(x[0]) | x.type_as(x) | x.float() | x.cpu()
x.to(torch.float32) | x.to("cpu") | torch.as_tensor(x) | torch.asarray(x) | x.requires_grad_(False)
x.clone() | x.flip(0) | x.fliplr() | x.flipud() | x.rot90() | x.rot90(0) | x.rot90(2)
x.roll(1, 0) | x.roll(0, 0) | x.roll(0) | x.roll(4) | x.roll(3, 0) | x.repeat(1, 1) | x.tile(1)
x.tile((1, 1)) | x.diag() | x[0].diag() | x.tril(9) | x.triu(-9) | x.index_select(0, i)
x.gather(0, i[None]) | x[i] | x[x > 3] | x[[0, 1]] | x.masked_select(x > 3) | x.take(i)
torch.cat([x]) | torch.stack([x]) | torch.hstack([x]) | torch.where(x > 3, x, x)
x.repeat_interleave(1, 0) | x.double().float() | x.abs() | x.relu() | x.clamp(0) | x.sum(())
x.cumsum(0) | x.sort(1).values | torch.tensor(x) | torch.meshgrid(x[0], indexing="ij")[0]
torch.meshgrid(x[0], x[1], indexing="ij")[0] | torch.column_stack([x]) | x.movedim(0, 0)
x.nan_to_num() | F.dropout(x, 0.0) | F.dropout(x, 0.5, False) | F.pad(x, (0, 0)) | F.relu(x)
nn.Identity()(x) | nn.Flatten()(x) | nn.Flatten(0)(x.t()) | nn.Unflatten(1, (2, 2))(x)
nn.Dropout(0.5).eval()(x) | F.unfold(x.view(1, 1, 3, 4), 1) | F.fold(x[None, :1], (2, 2), 1)
F.pixel_shuffle(x.view(1, 12, 1, 1), 1) | x.round(decimals=0) | x.sum_to_size(3, 4)
x.sum_to_size(1, 4) | x.take_along_dim(x.long() % 3, 0) | torch.msort(x) | x.index_add(0, i, x[:2])
x.select_scatter(x[0], 0, 0) | x.squeeze((0, 1)) | x.max(0).values | x.mean(())
"""
"""Expressions of a tensor x of shape (3, 4): views, and copies that look like views."""

WRITES: dict[str, Any] = {
    "fill_": lambda v, one: v.fill_(50.0),
    "zero_": lambda v, one: v.zero_(),
    "v[...] =": lambda v, one: v.__setitem__(..., -5.0),
    "v[0] =": lambda v, one: v.__setitem__(0, 7.0),
    "v[:1] +=": lambda v, one: v[:1].add_(3.0),
    "+=": lambda v, one: v.__iadd__(100.0),
    "mul_": lambda v, one: v.mul_(-2.0),
    "copy_": lambda v, one: v.copy_(v.detach().clone() + 0.5),
    "masked_fill_": lambda v, one: v.masked_fill_(v > 5, 0.25),
    "v[v > 5] =": lambda v, one: v.__setitem__(v > 5, 0.25),
    "flat": lambda v, one: v.view(-1).mul_(3.0),
    "detached": lambda v, one: v.detach().sub_(one),
    "x": lambda v, one: None,
}
"""Writes to a view v; the last writes to the base alone."""


def expressions() -> list[str]:
    """The expressions of VIEWS."""
    return [part.strip() for line in VIEWS.strip().splitlines() for part in line.split(" | ")]


def written(expression: str, how: str, torch: Any, nn: Any) -> str:
    """A checksum of what base and view hold after a write to the view and one to the base.

    It is "-" if the write to the view is refused.
    """
    x = torch.arange(12.0).view(3, 4)
    space = {"torch": torch, "nn": nn, "F": nn.functional, "x": x, "i": torch.tensor([0, 1])}
    v = eval(expression, space)
    try:
        WRITES[how](v, torch.ones(1))
    except (RuntimeError, IndexError, TypeError):
        return "-"
    x[1:].add_(1000.0)
    held = [n + 0.0 for t in (x, v) for n in t.reshape(-1).tolist()]
    return f"{zlib.crc32(repr(held).encode()):08x}"
