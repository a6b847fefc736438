"""Layers that are one product or one rearrangement: Linear, Bilinear, Embedding, Flatten ..."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dyn.core.errors import AttributeValueError
from dyn.core.tensor import Tensor
from dyn.nn import functional as F
from dyn.nn.layer import Layer
from dyn.nn.state import in_order
from dyn.ops import shape as shape_ops
from dyn.ops.infer import need_whole


class Identity(Layer):
    """Returns its input; takes any arguments, so that it can stand for any layer."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class Linear(Layer):
    """x @ weight + bias.

    Args:
        in_features: last size of the input.
        out_features: last size of the output.
        weight_attr: wishes for the weight [in_features, out_features]; Xavier-uniform by default.
        bias_attr: wishes for the bias [out_features]; zeros by default, False for none.

    Shapes: (..., in_features) -> (..., out_features). ONNX: Gemm or MatMul and Add.
    """

    _transposed = False
    """Whether the weight is kept as [out_features, in_features]; it lies in memory all the same."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        weight_attr: Any = None,
        bias_attr: Any = None,
        name: str | None = None,
    ):
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        sizes = [in_features, out_features]
        self.weight = self.create_parameter(sizes[::-1] if self._transposed else sizes, weight_attr)
        if self._transposed and self.weight is not None:
            self.weight._array = in_order(self.weight._array, (1, 0))
        self.bias = self.create_parameter([out_features], bias_attr, is_bias=True)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias, self._transposed)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, dtype={self._dtype}"
        )


class Bilinear(Layer):
    """out[:, k] = x1 @ weight[k] @ x2 + bias[k].

    Args:
        in1_features, in2_features: last sizes of the inputs.
        out_features: last size of the output.
        weight_attr: wishes for the weight [out_features, in1_features, in2_features].
        bias_attr: wishes for the bias [1, out_features]; False for none.

    Shapes: (N, in1_features), (N, in2_features) -> (N, out_features).
    """

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        weight_attr: Any = None,
        bias_attr: Any = None,
        name: str | None = None,
    ):
        super().__init__()
        self._sizes = (in1_features, in2_features, out_features)
        self.weight = self.create_parameter([out_features, in1_features, in2_features], weight_attr)
        self.bias = self.create_parameter([1, out_features], bias_attr, is_bias=True)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        a, b, out = self._sizes
        return f"in1_features={a}, in2_features={b}, out_features={out}, dtype={self._dtype}"


class Embedding(Layer):
    """A row of the weight for every index.

    Args:
        num_embeddings: number of rows.
        embedding_dim: length of a row.
        padding_idx: index whose row is zero and gets no gradient; negative counts from the end.
        sparse: accepted for Paddle's sake.
        weight_attr: wishes for the weight [num_embeddings, embedding_dim].
        max_norm, norm_type: rows that are looked up are shortened in the weight, as
            `functional.embedding` says.
        scale_grad_by_freq: divide the gradient of a row by how often it is looked up at once.

    Shapes: integers (...) -> (..., embedding_dim). ONNX: Gather.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        sparse: bool = False,
        weight_attr: Any = None,
        name: str | None = None,
        *,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
    ):
        super().__init__()
        need_whole(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if num_embeddings <= 0 or embedding_dim <= 0:
            raise AttributeValueError(
                f"num_embeddings={num_embeddings} and embedding_dim={embedding_dim} must be "
                "positive"
            )
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise AttributeValueError(
                f"padding_idx must be within [{-num_embeddings}, {num_embeddings}), "
                f"but got {padding_idx}"
            )
        self._sizes = (num_embeddings, embedding_dim)
        self._sparse, self._max_norm, self._norm_type = sparse, max_norm, norm_type
        self._scale_grad_by_freq = scale_grad_by_freq
        self._padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.weight = self.create_parameter([num_embeddings, embedding_dim], weight_attr)
        if self._padding_idx is not None and self.weight is not None:
            rows = np.array(self.weight._read())
            rows[self._padding_idx] = 0
            self.weight.set_value(rows)

    def forward(self, x: Tensor) -> Tensor:
        return F.embedding(
            x,
            self.weight,
            padding_idx=self._padding_idx,
            max_norm=self._max_norm,
            norm_type=self._norm_type,
            scale_grad_by_freq=self._scale_grad_by_freq,
        )

    def extra_repr(self) -> str:
        padding = "" if self._padding_idx is None else f", padding_idx={self._padding_idx}"
        rows, width = self._sizes
        text = f"{rows}, {width}{padding}, sparse={self._sparse}"
        return f"{text}, scale_grad_by_freq={self._scale_grad_by_freq}"


class Flatten(Layer):
    """Joins the axes from `start_axis` to `stop_axis`: all but the batch by default.

    ONNX: Flatten or Reshape.
    """

    def __init__(self, start_axis: int = 1, stop_axis: int = -1):
        super().__init__()
        self.start_axis = start_axis
        self.stop_axis = stop_axis

    def forward(self, input: Tensor) -> Tensor:
        return shape_ops.flatten(input, self.start_axis, self.stop_axis)


class Unflatten(Layer):
    """Splits one axis into several sizes, one of which may be -1. ONNX: Reshape."""

    def __init__(self, axis: int, shape: Sequence[int], name: str | None = None):
        super().__init__()
        self.axis = axis
        self.shape = shape

    def forward(self, input: Tensor) -> Tensor:
        return shape_ops.unflatten(input, self.axis, self.shape)

    def extra_repr(self) -> str:
        return f"axis={self.axis}, shape={list(self.shape)}"
