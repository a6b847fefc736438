"""From a list of samples to a batch: fields stacked along a new first axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dyn.core.errors import DTypeError, ShapeError
from dyn.core.tensor import Tensor, to_array
from dyn.ops.join import stack


def default_collate_fn(batch: Sequence[Any]) -> Any:
    """Stack samples field by field.

    Args:
        batch: samples of one kind: tensors, arrays, numbers, text, or lists, tuples and
            dictionaries of them.

    Returns:
        A tensor for arrays and numbers, a list for text, and lists, dictionaries and named tuples
        of these for lists and tuples, dictionaries and named tuples. Samples that want a gradient
        are parts of a tensor that does.

    Raises:
        ShapeError: a field has several shapes.
        DTypeError: a field is of a kind that cannot be stacked.
    """
    first = batch[0]
    if isinstance(first, (Tensor, np.ndarray, np.generic)):
        arrays = [s._read() if isinstance(s, Tensor) else np.asarray(s) for s in batch]
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            listed = ", ".join(str(list(shape)) for shape in sorted(shapes))
            raise ShapeError(
                f"samples of shapes {listed} do not make a batch; make them equal, or pass a "
                "collate_fn"
            )
        if any(isinstance(s, Tensor) and not s.stop_gradient for s in batch):
            return stack([s if isinstance(s, Tensor) else Tensor(s) for s in batch])
        return Tensor(np.stack(arrays))
    if isinstance(first, (bool, int, float, complex)):
        return Tensor._of(to_array(list(batch)))
    if isinstance(first, (str, bytes)):
        return list(batch)
    if isinstance(first, Mapping):
        return {key: default_collate_fn([sample[key] for sample in batch]) for key in first}
    if isinstance(first, Sequence):
        lengths = {len(sample) for sample in batch}
        if len(lengths) > 1:
            raise ShapeError(f"samples have {sorted(lengths)} fields; all must have as many")
        fields = [default_collate_fn(list(field)) for field in zip(*batch, strict=True)]
        return type(first)(*fields) if hasattr(first, "_fields") else fields  # type: ignore[call-arg]
    raise DTypeError(
        f"samples of type {type(first).__name__} cannot be stacked; return tensors, arrays or "
        "numbers, or pass a collate_fn"
    )
