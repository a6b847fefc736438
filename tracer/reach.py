"""What code reads around it: variables, attributes and items, followed from function to function.

Nothing is run. The names in the code of the user's functions say which variables of modules, and
which attributes of classes and objects, it may read; containers are looked through. What a library
or Python does behind a call is not followed, nor what is looked up by a name that is computed.
"""

from __future__ import annotations

import dis
import functools
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from dyn.core.tensor import Tensor
from dyn.nn.hooks import WithKwargs
from dyn.nn.layer import Layer

_ABSENT = object()
"""Stands for a variable or attribute that is not there."""
_FEW = 256
"""Items of a container that are looked at one by one; of larger ones only the number is."""
_MOST = 1 << 16
"""Objects that are looked through: more than the largest models have, with all that is on them."""
_SMALL = 1 << 20
"""Bytes of an array that are compared; of larger ones only the identity is."""

_LEAVES = (bool, int, float, complex, str, bytes, type(None))
_CONTAINERS = (list, tuple, set, frozenset, deque, dict)
_WRAPPERS = {
    MethodType: ("__func__", "__self__"),
    functools.partial: ("func", "args", "keywords"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget",),
    type(functools.lru_cache(lambda: None)): ("__wrapped__",),
    WithKwargs: ("hook",),
}
_OURS = {"dyn", "tracer", "exporter"}
_LIBRARIES = {*sys.stdlib_module_names, "numpy", "numba", *_OURS}
_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM"}


class View(NamedTuple):
    """Values that the user's program may bind anew.

    Attributes:
        values: shows them as they are when it is walked.
        title: what the one at a position is called.
    """

    values: Iterable[Any]
    title: Callable[[int], str]


class Now:
    """What a function returns, as something to be walked."""

    def __init__(self, read: Callable[[], Iterable[Any]]):
        self._read = read

    def __iter__(self) -> Iterator[Any]:
        return iter(self._read())


def is_users(module: str | None) -> bool:
    """Whether a module is the user's, by its name; so is what was typed into an interpreter."""
    return _package(module) not in _LIBRARIES


def reach(roots: Iterable[tuple[str, Any]]) -> tuple[list[View], dict[str, Tensor]]:
    """Everything that what is given can read, each thing once.

    Args:
        roots: functions, layers and other values, and what they are called.

    Returns:
        Views of the values, and the tensors among these by what they are called.
    """
    walk = _Walk(roots)
    return walk.views, walk.tensors


def reach_kinds(root: tuple[str, Any], kinds: tuple[type, ...]) -> list[tuple[str, Any]]:
    """What is of some types among all that `root` can read, each after what it is called.

    What these hold themselves is not looked into.
    """
    return _Walk([root], kinds).found


class _Space:
    """Variables or attributes, of which only those count whose names the code reads."""

    def __init__(self, where: str, values: Mapping[str, Any]):
        self._where = where
        self._values = values
        self._found: list[str] = []

    def more(self, names: set[str]) -> list[tuple[str, Any]]:
        """What counts with these names and did not before."""
        fresh = sorted(names.intersection(self._values).difference(self._found))
        self._found += fresh
        return [(f"{self._where}.{name}", self._values[name]) for name in fresh]

    def view(self) -> View:
        """All that counts."""
        values, names = self._values, self._found
        return View(
            Now(lambda: [values.get(name, _ABSENT) for name in names]),
            lambda i: f"{self._where}.{names[i]}",
        )


class _Walk:
    """Follows what is given, until no code that was found reads anything new."""

    def __init__(self, roots: Iterable[tuple[str, Any]], kinds: tuple[type, ...] = ()):
        self.views: list[View] = []
        self.tensors: dict[str, Tensor] = {}
        self.found: list[tuple[str, Any]] = []  # what is one of the kinds
        self._kinds = kinds
        self._names = {"forward", "backward"}
        self._spaces: list[_Space] = []
        self._seen: dict[int, Any] = {}  # with the objects, so that no other gets their numbers
        self._queue = deque(roots)
        while self._queue:
            while self._queue and len(self._seen) < _MOST:
                self._visit(*self._queue.popleft())
            self._queue.clear()
            for space in self._spaces:
                self._queue += space.more(self._names)
        self.views += [space.view() for space in self._spaces]

    def _add(self, values: Iterable[Any], title: Callable[[int], str]) -> None:
        self.views.append(View(values, title))

    def _visit(self, where: str, value: Any) -> None:
        if isinstance(value, _LEAVES) or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if isinstance(value, self._kinds):
            self.found.append((where, value))
        elif isinstance(value, Tensor):
            self.tensors[where] = value
        elif isinstance(value, FunctionType):
            if is_users(value.__module__):
                self._function(value)
            else:  # what a library has made around a function of the user's
                inner = map(_content, value.__closure__ or ())
                self._queue += [(where, one) for one in inner if _is_call(one)]
        elif isinstance(value, _CONTAINERS):
            self._container(where, value)
        elif isinstance(value, np.ndarray):
            if value.nbytes <= _SMALL and not value.dtype.hasobject:
                self._add(Now(lambda: [value.tobytes()]), lambda _: f"a number in {where}")
        elif type(value) in _WRAPPERS:
            self._queue += [(where, getattr(value, name)) for name in _WRAPPERS[type(value)]]
        elif isinstance(value, ModuleType):
            if is_users(value.__name__):
                self._spaces.append(_Space(where, vars(value)))
        elif isinstance(value, type):
            self._class(value)
        else:
            self._object(where, value)

    def _function(self, function: FunctionType) -> None:
        code, around = function.__code__, function.__globals__
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        used = sorted(_loads(code, {"LOAD_GLOBAL"}).intersection(around))
        own = f"the code of {function.__name__} and its defaults"
        if used:
            self._add(Now(lambda: [around.get(name, _ABSENT) for name in used]), used.__getitem__)
        if cells:
            self._add(Now(lambda: [*map(_content, cells.values())]), [*cells].__getitem__)
        self._add(Now(lambda: (function.__code__, *_defaults(function))), lambda _: own)
        self._names |= _loads(code, _LOADS) | _texts(code)
        self._queue += [(name, around[name]) for name in used]
        self._queue += [(name, _content(cell)) for name, cell in cells.items()]
        self._queue += [(f"a default of {function.__name__}", v) for v in _defaults(function)]

    def _container(self, where: str, value: Any) -> None:
        if len(value) > _FEW:
            self._add(Now(lambda: [len(value)]), lambda _: f"the length of {where}")
        elif isinstance(value, dict):
            self._add(value.keys(), lambda _: f"the keys of {where}")
            if value:  # the keys tell when there are some
                self._add(value.values(), lambda i: f"{where}[{[*value][i]!r}]")
            self._queue += [(f"{where}[{key!r}]", item) for key, item in value.items()]
        else:
            if not isinstance(value, (tuple, frozenset)):
                self._add(value, lambda i: f"{where}[{i}]")
            self._queue += [(f"{where}[{i}]", item) for i, item in enumerate(value)]

    def _space(self, where: str, attributes: Mapping[str, Any]) -> None:
        # An attribute that is new may hide one of the class, or be asked for.
        self._add(Now(lambda: [len(attributes)]), lambda _: f"the attributes of {where}")
        self._spaces.append(_Space(where, attributes))

    def _class(self, kind: type) -> None:
        self._queue += [(one.__name__, one) for one in kind.__bases__]
        if is_users(kind.__module__):
            self._space(kind.__name__, vars(kind))
            # Operators and calls do not have the names of their methods in the code.
            found = vars(kind).items()
            self._names |= {n for n, v in found if n[:2] == "__" and isinstance(v, FunctionType)}

    def _object(self, where: str, value: Any) -> None:
        kind = type(value)
        own: Any = getattr(value, "__dict__", None)
        if isinstance(value, Layer):
            self._add(own.values(), lambda i: f"{where}.{[*own][i]}")
            self._queue += [(f"{where}.{name}", item) for name, item in own.items()]
        elif own is not None and _package(kind.__module__) not in {*_OURS, "numpy"}:
            self._space(where, own)
        if slots := _slots(kind):
            read = functools.partial(_attributes, value, slots)
            self._add(Now(read), lambda i: f"{where}.{slots[i]}")
            self._queue += [(f"{where}.{s}", v) for s, v in zip(slots, read(), strict=True)]
        self._queue.append((kind.__name__, kind))


def _is_call(value: Any) -> bool:
    """Whether a value may run code of the user's when it is called."""
    if isinstance(value, FunctionType) or type(value) in _WRAPPERS:
        return True
    return callable(value) and is_users(type(value).__module__)


def _package(module: str | None) -> str:
    return str(module or "").partition(".")[0]


def _loads(code: CodeType, kinds: set[str]) -> set[str]:
    """Names that code reads by instructions of some kinds, also in functions that it makes."""
    found = {line.argval for line in dis.get_instructions(code) if line.opname in kinds}
    return found.union(*[_loads(c, kinds) for c in code.co_consts if isinstance(c, CodeType)])


def _texts(code: CodeType) -> set[str]:
    """Texts in code that may be names, as `getattr` takes them."""
    found = {c for c in code.co_consts if isinstance(c, str) and c.isidentifier()}
    return found.union(*[_texts(c) for c in code.co_consts if isinstance(c, CodeType)])


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing was bound yet, or no longer
        return _ABSENT


def _defaults(function: FunctionType) -> Iterator[Any]:
    return chain(function.__defaults__ or (), (function.__kwdefaults__ or {}).values())


def _slots(kind: type) -> list[str]:
    """Names of the slots that the user's classes among the bases declare."""
    declared = [vars(one).get("__slots__", ()) for one in kind.__mro__ if is_users(one.__module__)]
    return [name for names in declared for name in ([names] if isinstance(names, str) else names)]


def _attributes(value: Any, names: Iterable[str]) -> list[Any]:
    return [getattr(value, name, _ABSENT) for name in names]
