"""The state of a stateful file: what one call leaves for the next, and its place on disk.

Arrays that are carried are never written to, only replaced, so handing them on needs no copy.
No lock and no session in this module: the predictor owns both.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from exporter.serving.onnxfile import OnnxFile
from exporter.serving.signature import PredictorError, Signature, TensorInfo


class CarriedState:
    """The values that a file's state inputs get at the next call."""

    def __init__(self, file: OnnxFile):
        """Start from the defaults that the file holds."""
        self._file = file
        self.infos = tuple(
            TensorInfo(info.name, info.dtype, info.shape)
            for info in file.inputs
            if info.name in file.states
        )
        self._check = Signature(self.infos, f"the state of {file.name}").check
        self.outputs = [file.states[info.name] for info in self.infos]
        self.values: dict[str, np.ndarray] = {}
        """By input name; empty until the first call, when the file's own defaults hold."""

    def __bool__(self) -> bool:
        return bool(self.infos)

    def keep(self, results: list[np.ndarray]) -> None:
        """Carry the values of `self.outputs`, as one call has computed them."""
        names = [info.name for info in self.infos]
        self.values = dict(zip(names, results, strict=True))

    def read(self) -> dict[str, np.ndarray]:
        """Copies of the values that the next call starts from."""
        if not self.infos:
            return {}
        if self.values:
            return {name: array.copy() for name, array in self.values.items()}
        return self._file.defaults([info.name for info in self.infos])

    def write(self, values: Mapping[str, Any]) -> None:
        """Start the next call from copies of `values`, which must name every state.

        Raises:
            PredictorError: names, dtypes or shapes are not those of the file's states.
        """
        checked = self._check(values)
        self.values = {name: np.array(array) for name, array in checked.items()}

    def reset(self) -> None:
        """Start the next call from the file's defaults."""
        self.values = {}


def save_arrays(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a file that `numpy.load` reads, under exactly this path, or not at all.

    Raises:
        PredictorError: what has this path already is no regular file.
    """
    path = os.path.abspath(os.fspath(path))
    # Renaming a file over a device or a pipe would take its place.
    if os.path.exists(path) and not os.path.isfile(path):
        raise PredictorError(f"{path} is not a regular file and will not be replaced")
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".state-")
    try:
        # numpy.savez takes names as keyword arguments, so not every name would do.
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read what `save_arrays` wrote; no code in the file is ever run.

    Raises:
        PredictorError: the file is missing or is no archive of plain arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise PredictorError(f"cannot read a state from {os.fspath(path)}: {error}") from error
