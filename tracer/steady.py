"""A forward must do the same when it is called again: what only Python keeps is not in a file.

Attributes of layers, and the random numbers of Python and numpy, are watched during the first run.
Where they changed, the model is called again as the first call left it and the results compared.
How values are known and recorded is `recorder.py`.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from dyn.core.errors import DynError, user_line
from dyn.core.observe import Observer, observing
from dyn.core.op import Op
from dyn.core.tensor import Tensor
from dyn.core.tree import flatten
from tracer import refusals
from tracer.call import Call, is_output
from tracer.errors import TraceError, headline
from tracer.session import Session

LOWEST, HIGHEST = 0, 0x12DD9BB3
"""Words of the Mersenne twister's state that it gives out as no bit set and as all bits set."""
_EXTREMES = 64
"""Words in a row that are one of these; then ordinary ones follow, as some samplers need them."""


def draws() -> Any:
    """Where Python's and numpy's global random numbers stand; changes with every number drawn."""
    return random.getstate(), pickle.dumps(np.random.get_state(legacy=False))


def need_steady(
    session: Session,
    call: Call,
    suspects: Mapping[str, Tensor],
    drawn: bool,
    record: Callable[[], Any],
) -> None:
    """Call the model again and refuse it if it gives other results for the same inputs.

    Tensors of the model are put back before, as they are state of the file; attributes are not. A
    forward that draws random numbers outside of the graph is also called with the smallest and
    the largest of them, which take both sides of a comparison with any other number.

    Args:
        suspects: tensors by attribute that the first call computed from its inputs and kept.
        drawn: whether the first call drew from Python's or numpy's random numbers.
        record: records the forward once more; raises where it is not what was recorded before.

    Raises:
        TraceError: it names the attributes that changed and, where it can, the line.
    """
    changed = [
        f"{session.layer_paths.get(id(layer), '')}.{name}".lstrip(".")
        for layer, name in session.snapshot.changed()
    ]
    for word in (None, LOWEST, HIGHEST) if drawn else (None,):
        with _drawing(word):
            try:
                again = _call(session, call, suspects)
            except TraceError as error:
                session.problem(error, "")
                return
            except Exception as error:
                where = error.where if isinstance(error, DynError) else None
                session.problem(refusals.fails_again(headline(error), changed, where), "")
                return
        if not same(session.results, again):
            with _drawing(word):
                where = _line(session, record)
            session.problem(refusals.unsteady(changed, where, drawn=drawn), "")
            return


def same(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> bool:
    """Whether two lists of arrays are equal bit for bit."""
    return len(a) == len(b) and all(
        x.shape == y.shape and x.dtype == y.dtype and x.tobytes() == y.tobytes()
        for x, y in zip(a, b, strict=True)
    )


def arrays_of(result: Any) -> list[np.ndarray]:
    """The arrays of what a forward gives, in the order of a graph's outputs."""
    _, leaves = flatten(result, is_output)
    return [(v if isinstance(v, Tensor) else Tensor(v))._read() for _, v in leaves]


def _call(session: Session, call: Call, suspects: Mapping[str, Tensor]) -> list[np.ndarray]:
    session.start_run(attributes=False)
    tensors = []
    for spec, _, array in session.inputs:
        # As it lies in memory: in another order its numbers may round otherwise.
        tensors.append(Tensor._of(array))
        tensors[-1].stop_gradient = spec.stop_gradient
    args, kwargs = call.arguments(tensors)
    with observing(_Watch(suspects)):
        return arrays_of(session.model.function(*args, **kwargs))


def _line(session: Session, record: Callable[[], Any]) -> Any:
    """The first line at which the forward does not do what was recorded, if one is found."""
    session.start_run(attributes=False)
    try:
        record()
    except DynError as error:
        return error.where
    return None


class _Watch(Observer):
    """Refuses to read tensors that an earlier call has left behind."""

    def __init__(self, suspects: Mapping[str, Tensor]):
        self._suspects = {id(tensor): (path, tensor) for path, tensor in suspects.items()}

    def on_op(
        self,
        op: Op,
        inputs: Sequence[Tensor | None],
        attrs: dict[str, Any],
        outputs: Sequence[Tensor],
    ) -> None:
        """An op that reads such a tensor."""
        for tensor in inputs:
            if tensor is not None:
                self.on_escape(tensor, "")

    def on_escape(self, tensor: Tensor, how: str) -> Any:
        """Python reads such a tensor."""
        if id(tensor) in self._suspects:
            path, _ = self._suspects[id(tensor)]
            how = "is computed from inputs in one call and read in the next"
            raise refusals.carries_state(tensor, path, how, user_line())


@contextmanager
def _drawing(word: int | None) -> Iterator[None]:
    """Let the next numbers be extreme ones; None changes nothing."""
    if word is None:
        yield
        return
    ours, theirs = random.getstate(), np.random.get_state(legacy=False)
    version, words, _ = ours
    extreme = (word,) * _EXTREMES + words[_EXTREMES:-1]
    random.setstate((version, (*extreme, 0), None))
    if theirs["bit_generator"] == "MT19937":  # type: ignore[call-overload]
        np.random.set_state(("MT19937", np.array(extreme, np.uint32), 0, 0, 0.0))
    try:
        yield
    finally:
        random.setstate(ours)
        np.random.set_state(theirs)
