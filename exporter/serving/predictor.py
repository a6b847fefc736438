"""`Predictor`: runs an exported file in production, numpy arrays in and numpy arrays out.

It belongs to no process: the session opens at the first call in each one, so a predictor may be
pickled, sent to workers and carried across a fork. Batching and HTTP have modules of their own.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from exporter.serving.onnxfile import read_onnx
from exporter.serving.session import CPU, QUIET, Provider, check_providers, open_session
from exporter.serving.signature import PredictorError, Signature, TensorInfo, show
from exporter.serving.state import CarriedState, load_arrays, save_arrays


class Predictor:
    """An ONNX file as a function of numpy arrays.

    A stateful file (one that `exporter.export` wrote for a model whose forward assigns a
    buffer) goes on from call to call where it stopped. Each predictor has a state of its own.

    Several threads may call one predictor: calls of a stateless file run side by side, those of
    a stateful one in turn. Across a fork and in a pickle the state goes along, by value.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        providers: Sequence[Provider] = (CPU,),
        threads: int | None = None,
    ):
        """Read the file's outline; the weights are loaded at the first call, or by `open`.

        Args:
            path: the file. External data is looked for beside it.
            providers: onnxruntime execution providers, the preferred first: names, or pairs of
                name and options.
            threads: threads that one call may use. Default: `DYN_NUM_THREADS`, else what the
                process's affinity and its cgroup's CPU quota allow.

        Raises:
            PredictorError: the file is missing or damaged, or a provider is not installed.
        """
        if threads is not None and threads < 1:
            raise PredictorError(f"threads is {threads}, wanted at least 1")
        self._providers = check_providers(providers)
        self._threads = threads
        self._file = read_onnx(path)
        self._state = CarriedState(self._file)
        states = self._file.states
        self._inputs = tuple(info for info in self._file.inputs if info.name not in states)
        self._signature = Signature(self._file.inputs, self._file.name)
        hidden = set(states.values())
        self._outputs = tuple(info for info in self._file.outputs if info.name not in hidden)
        self._fetches = [info.name for info in self._outputs] + self._state.outputs
        self._session: ort.InferenceSession | None = None
        self._lock = threading.Lock()
        _LIVE.add(self)

    @property
    def path(self) -> str:
        """Absolute path of the file."""
        return self._file.path

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Name, dtype and shape of what a call takes, in order; states are not among them."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Name, dtype and shape of what a call returns, in order; states are not among them."""
        return self._outputs

    @property
    def states(self) -> tuple[TensorInfo, ...]:
        """Name, dtype and shape of what is carried from call to call."""
        return self._state.infos

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata properties that the file carries."""
        return dict(self._file.metadata)

    def __repr__(self) -> str:
        def listed(infos: tuple[TensorInfo, ...]) -> str:
            return ", ".join(f"{info.name}: {info}" for info in infos)

        states = f"; state {listed(self.states)}" if self._state else ""
        return f"Predictor({self.path!r}: {listed(self.inputs)} -> {listed(self.outputs)}{states})"

    def open(self) -> None:
        """Load the file now, so that the first call is as fast as the others.

        Raises:
            PredictorError: onnxruntime refuses the file, or a provider does not start.
        """
        with self._lock:
            if self._session is None:
                self._session = open_session(self._file, self._providers, self._threads)

    def run(self, *inputs: Any) -> list[np.ndarray]:
        """Compute the outputs.

        Arrays convert to the dtype in the file where numpy calls that safe (int32 to int64,
        float32 to float64); others, float64 to float32 among them, are refused. Python numbers
        and lists of them take the dtype in the file unless they overflow or lose a fraction.

        Args:
            inputs: a value for every input in file order, or one mapping of names to values. By
                name, inputs that have a default may be given too, and states: the call then starts
                from that value (the learning rate of a training step, say).

        Returns:
            One array for every output, in file order. They belong to the caller.

        Raises:
            PredictorError: everything that is wrong with the inputs, in one message; or what
                onnxruntime could not compute. A state is then as it was before the call.
        """
        feeds = self._signature.feeds(inputs)
        if self._session is None:
            self.open()
        if not self._state:
            return self._compute(feeds)
        with self._lock:
            results = self._compute(self._state.values | feeds)
            count = len(self._outputs)
            self._state.keep(results[count:])
        return results[:count]

    __call__ = run

    def _compute(self, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert self._session is not None
        try:
            results = self._session.run(self._fetches, feeds, QUIET)
        except Exception as error:
            # onnxruntime's exceptions share no base class but Exception.
            given = ", ".join(f"{name}: {show(array)}" for name, array in feeds.items())
            message = f"{self._file.name}: onnxruntime failed with {given or 'no input'}: {error}"
            raise PredictorError(message) from error
        return results  # pyright: ignore[reportReturnType]

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Copies of the values that the next call starts from, by name.

        Before the first call these are the defaults in the file.
        """
        with self._lock:
            return self._state.read()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Start the next call from these values; they are copied.

        Args:
            state: a value for every state (`{**predictor.state, name: value}` changes one).

        Raises:
            PredictorError: names, dtypes or shapes are not those of the file's states.
        """
        with self._lock:
            self._state.write(state)

    def reset(self) -> None:
        """Start the next call from the defaults in the file."""
        with self._lock:
            self._state.reset()

    def save_state(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a file that `numpy.load` reads too; no suffix is added."""
        save_arrays(path, self.state)

    def load_state(self, path: str | os.PathLike[str]) -> None:
        """Start the next call from a state that `save_state` wrote; no code in it is run.

        Raises:
            PredictorError: the file is missing, damaged, or of a model with other states.
        """
        self.set_state(load_arrays(path))

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            values = dict(self._state.values)
        options = {"providers": self._providers, "threads": self._threads}
        return {"path": self.path, "options": options, "values": values}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        Predictor.__init__(self, saved["path"], **saved["options"])
        if saved["values"]:
            self._state.write(saved["values"])


_LIVE: weakref.WeakSet[Predictor] = weakref.WeakSet()


def _renew_after_fork() -> None:
    """Give every predictor of a forked child a fresh lock, and no session yet."""
    for predictor in _LIVE:
        predictor._lock = threading.Lock()
        if predictor._session is not None:
            # The threads of an inherited session stayed in the parent: its destructor would wait
            # for them for ever. The object must outlive even the interpreter's shutdown.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(predictor._session))
            predictor._session = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)
