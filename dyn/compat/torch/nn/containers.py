"""Modules and parameters held in lists and dictionaries, under PyTorch's names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from dyn.compat.torch.nn.module import Module
from dyn.compat.torch.tensor import Base, Parameter
from dyn.nn import container
from dyn.printing import layer_text


class Sequential(container.Sequential, Module):
    """Modules called one after the other: given one by one, or as one OrderedDict."""

    def __init__(self, *args: Any):
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            args = tuple(args[0].items())
        super().__init__(*args)

    def _like(self, items: list[Any]) -> Sequential:
        return Sequential(*items)


class ModuleList(container.LayerList, Module):
    """A list of modules whose parameters count. It has no `forward`: index or iterate it."""

    def __init__(self, modules: Iterable[Any] | None = None):
        super().__init__(modules)

    def __repr__(self) -> str:
        shown, start = [], 0
        for text, run in groupby(self._items(), repr):
            count = len(list(run))
            end = start + count - 1
            shown.append((f"{start}-{end}" if count > 1 else f"{start}", _Text(text, count)))
            start = end + 1
        return layer_text(type(self).__name__, self.extra_repr(), shown)


class _Text:
    """Prints as a text, said to occur several times."""

    def __init__(self, text: str, count: int):
        self.text = text if count == 1 else f"{count} x {text}"

    def __repr__(self) -> str:
        return self.text


class ModuleDict(container.LayerDict, Module):
    """A dictionary of modules whose parameters count. It has no `forward`."""

    def __init__(self, modules: Any = None):
        super().__init__(modules)


class ParameterList(container.ParameterList, Module):
    """A list of parameters that count; tensors become parameters."""

    def __init__(self, values: Iterable[Any] | None = None):
        super().__init__(values)

    def _add(self, name: str, item: Any) -> None:
        super()._add(name, _parameter(item))

    def extra_repr(self) -> str:
        lines = [_line(i, item, item.dtype) for i, item in enumerate(self._items())]
        return "\n".join(lines)


class ParameterDict(container.ParameterDict, Module):
    """A dictionary of parameters that count; tensors become parameters."""

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None):
        super().__init__(parameters)  # type: ignore[arg-type]

    def update(self, parameters: Any) -> None:
        """Add or replace items; those of a plain dict come in the order of their keys.

        PyTorch sorts them, and the state of an optimiser counts parameters in that order.
        """
        plain = isinstance(parameters, Mapping) and not isinstance(parameters, OrderedDict)
        super().update(sorted(parameters.items()) if plain else parameters)

    def _add(self, name: str, item: Any) -> None:
        super()._add(name, _parameter(item))

    def extra_repr(self) -> str:
        return "\n".join(_line(key, item, item.type()) for key, item in self.items())


def _parameter(item: Any) -> Any:
    return Parameter(item) if isinstance(item, Base) and not isinstance(item, Parameter) else item


def _line(key: Any, item: Any, kind: Any) -> str:
    size = "x".join(map(str, item.shape))
    return f"  ({key}): Parameter containing: [{kind} of size {size}]"


class DataParallel(Module):
    """Stands around a module as PyTorch's wrapper does; there is one device, so it only calls it.

    Args:
        module: the module; its state is found under names that begin with `module.`.
        device_ids, output_device, dim: accepted.
    """

    def __init__(
        self, module: Any, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ):
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)
