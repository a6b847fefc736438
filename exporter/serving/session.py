"""Opens onnxruntime sessions the way a server needs them, and says plainly why one cannot open.

Threads are always set, so that onnxruntime neither counts the host's CPUs nor pins threads to
them. All settings of sessions live here; nothing here knows of calls or states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnxruntime as ort

from exporter.serving.onnxfile import OnnxFile
from exporter.serving.signature import PredictorError
from exporter.serving.threads import thread_budget

CPU = "CPUExecutionProvider"

Provider = str | tuple[str, dict[str, Any]]
"""A provider of onnxruntime by name, or its name and options."""

_ERRORS, _FATAL = 3, 4

QUIET = ort.RunOptions()
"""Options of every call: what goes wrong is raised, and not printed as well."""
QUIET.log_severity_level = _FATAL


def check_providers(providers: Sequence[Provider]) -> tuple[Provider, ...]:
    """`providers` as a tuple, once it is certain that this onnxruntime has them all.

    Raises:
        PredictorError: the list is empty, or names a provider that is not installed.
    """
    providers = (providers,) if isinstance(providers, str) else tuple(providers)
    available = ort.get_available_providers()
    missing = [name for name in provider_names(providers) if name not in available]
    if missing or not providers:
        raise PredictorError(
            f"no execution provider {', '.join(missing) or 'given'}: "
            f"this onnxruntime {ort.__version__} has {', '.join(available)}"
        )
    return providers


def provider_names(providers: Sequence[Provider]) -> list[str]:
    """The names in a list of providers, without their options."""
    return [item if isinstance(item, str) else item[0] for item in providers]


def open_session(
    file: OnnxFile, providers: Sequence[Provider], threads: int | None
) -> ort.InferenceSession:
    """Load a file into onnxruntime.

    Args:
        file: the outline of the file, as it was read before.
        providers: execution providers, the preferred first.
        threads: threads of one call; None for the budget of this process.

    Raises:
        PredictorError: onnxruntime refuses the file, a provider does not start, or the file is
            no longer the one that was read.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or thread_budget()
    options.inter_op_num_threads = 1
    # Warnings of the loader (a state is an initializer that can be overridden) are no news here.
    options.log_severity_level = _ERRORS
    # A plan of memory is kept for every combination of input sizes ever seen, so memory would
    # grow with each. The arena itself stays: it levels off, and large buffers from malloc are
    # mapped and zeroed anew in every call.
    options.enable_mem_pattern = all(info.is_static for info in (*file.inputs, *file.outputs))
    # Threads spin within a call, which small models gain from, and sleep right after it: by
    # default they would burn their cores for some ten milliseconds more.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        session = ort.InferenceSession(
            file.path, options, providers=list(providers), enable_fallback=0
        )
    except Exception as error:
        # onnxruntime's exceptions share no base class but Exception.
        raise PredictorError(f"onnxruntime cannot load {file.path}: {error}") from error
    started = session.get_providers()
    failed = [name for name in provider_names(providers) if name not in started]
    if failed:
        raise PredictorError(
            f"{file.name}: {', '.join(failed)} did not start (its libraries or device are "
            f"missing); running: {', '.join(started)}"
        )
    nodes = (*session.get_inputs(), *session.get_overridable_initializers())
    if {node.name for node in nodes} != {info.name for info in file.inputs}:
        raise PredictorError(f"{file.path} has been replaced by another model: open it anew")
    return session
