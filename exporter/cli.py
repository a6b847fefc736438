"""The commands `dyn export`, `dyn check`, `dyn diff` and `dyn show`.

They parse, call the functions of the same names, and print. `dyn/cli.py` finds them by the entry
points in the group `dyn.commands`, because dyn does not import exporter.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import dyn
import exporter
from dyn.core.errors import DynError, user_line
from dyn.nn.layer import Layer
from exporter.opset import DEFAULT_OPSET
from exporter.text import show_text
from tracer import InputSpec

_INPUT = re.compile(r"(?P<name>[^:\[\]]+)(:(?P<dtype>\w+))?\[(?P<shape>[^\[\]]*)\]")


STEPS = 6
"""Steps that `export` tells of."""


@dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
        help: one line.
        arguments: adds its arguments to a parser.
        run: runs it with the parsed arguments; the exit status.
    """

    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


class UsageError(DynError):
    """The command line does not say what it must."""


def parse_input(text: str) -> InputSpec:
    """A spec from `image:float32[batch,3,224,224]`.

    `?` is a dynamic size without a name; without a dtype it is float32.

    Raises:
        argparse.ArgumentTypeError: the text is not of that form.
    """
    match = _INPUT.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an input; write name:dtype[size,...] such as image:float32[n,3,32,32]"
        )
    sizes = [part.strip() for part in match["shape"].split(",") if part.strip()]
    shape = [None if size == "?" else int(size) if size.isdigit() else size for size in sizes]
    try:
        return InputSpec(shape, match["dtype"] or "float32", match["name"])
    except DynError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error.message}") from error


def find_model(text: str) -> Any:
    """The model that `module:name` stands for.

    A Layer is taken as it is; a Layer class, and a function without required parameters, is called
    to make one; any other function is itself the forward.

    Raises:
        UsageError: there is no such module or name, or the class needs arguments.
    """
    module_name, _, path = text.partition(":")
    if not path:
        raise UsageError(f"{text!r} is not of the form module:name")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name.removesuffix(".py").replace("/", "."))
        for part in path.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        raise UsageError(f"cannot import {module_name!r}: {error}") from error
    except AttributeError as error:
        raise UsageError(f"{module_name} has no {path!r}") from error
    finally:
        sys.path.remove(os.getcwd())
    if not _makes_a_model(found):
        return found
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise UsageError(f"{text} cannot be called without arguments: {error}") from None
    return found()


def _makes_a_model(found: Any) -> bool:
    if isinstance(found, type):
        return issubclass(found, Layer)
    if isinstance(found, Layer) or not inspect.isfunction(found):
        return False
    parameters = inspect.signature(found).parameters.values()
    return not any(
        p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters
    )


@contextmanager
def _progress(title: str, delay: float = 1.0) -> Iterator[Callable[[str], None]]:
    """A display of the running step, on work that takes longer than `delay` seconds."""
    begun: list[str] = []
    finished = threading.Event()

    def display() -> None:
        if finished.wait(delay):
            return
        with tqdm(total=STEPS, desc=title, leave=False, file=sys.stderr) as bar:
            while not finished.wait(0.1):
                bar.n = max(len(begun) - 1, 0)
                bar.set_postfix_str(begun[-1] if begun else "", refresh=True)

    thread = threading.Thread(target=display, daemon=True)
    thread.start()
    try:
        yield begun.append
    finally:
        finished.set()
        thread.join()


def _model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="module:name of a Layer, a Layer class, or a function")
    parser.add_argument(
        "--input",
        action="append",
        type=parse_input,
        default=[],
        metavar="NAME:DTYPE[SIZES]",
        help="an input, such as image:float32[batch,3,224,224]; a word is a dynamic size, ? one "
        "without a name; give it once per input, in order",
    )
    parser.add_argument("--weights", metavar="FILE", help="load this state dict first")
    parser.add_argument("--training", action="store_true", help="record training behaviour")
    parser.add_argument("--opset", type=int, default=DEFAULT_OPSET, help="17 to 26 (%(default)s)")


def _model(arguments: argparse.Namespace) -> Any:
    model = find_model(arguments.model)
    if arguments.weights:
        if not isinstance(model, Layer):
            raise UsageError(f"--weights needs a Layer; {arguments.model} is none")
        model.set_state_dict(dyn.load(arguments.weights))
    return model


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    _model_arguments(parser)
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="where to write")
    parser.add_argument("--no-verify", action="store_true", help="do not run it in onnxruntime")
    parser.add_argument("--external-data", action="store_true", help="weights beside the file")
    parser.add_argument("--functions", action="store_true", help="one function per layer class")
    parser.add_argument("--seed", type=int, help="seed the random numbers of the file")
    parser.add_argument("--test-data", action="store_true", help="also write test_data_set_0")


def _export(arguments: argparse.Namespace) -> int:
    with _progress("exporting") as progress:
        report = exporter.export(
            _model(arguments),
            arguments.output,
            arguments.input,
            opset=arguments.opset,
            training=arguments.training,
            verify=not arguments.no_verify,
            external_data=arguments.external_data or None,
            functions=arguments.functions,
            seed=arguments.seed,
            test_data=arguments.test_data,
            progress=progress,
        )
    print(report)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    problems = exporter.check(
        _model(arguments), arguments.input, opset=arguments.opset, training=arguments.training
    )
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems" if problems else "no problems: it can be exported")
    return 1 if problems else 0


def _diff_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="module:name of what was exported")
    parser.add_argument("file", help="the ONNX file")
    parser.add_argument("data", nargs="*", help="one .npy file per input (default: drawn numbers)")
    parser.add_argument("--weights", metavar="FILE", help="load this state dict first")


def _diff(arguments: argparse.Namespace) -> int:
    arrays = [np.load(file) for file in arguments.data]
    found = exporter.diff(_model(arguments), arguments.file, *arrays)
    print("no difference" if found is None else found)
    return 0 if found is None else 1


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="the ONNX file")
    parser.add_argument("--graph", action="store_true", help="list every node")


def _show(arguments: argparse.Namespace) -> int:
    print(show_text(Path(arguments.file), nodes=arguments.graph))
    return 0


def guarded(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Errors of the user's as one message on stderr: status 1, or 2 for a wrong command line."""

    def inner(arguments: argparse.Namespace) -> int:
        called = user_line()
        try:
            return run(arguments)
        except (DynError, OSError, exporter.PredictorError) as error:
            if isinstance(error, DynError) and error.where == called:
                error.where = None  # the script `dyn`: no line of the user's
            text = error.message if isinstance(error, UsageError) else str(error)
            print(f"error: {text}", file=sys.stderr)
            return 2 if isinstance(error, UsageError) else 1

    return inner


EXPORT = Command("write a model as a verified ONNX file", _export_arguments, guarded(_export))
CHECK = Command("list what keeps a model from being exported", _model_arguments, guarded(_check))
DIFF = Command(
    "name the first node of a file that is not the model's", _diff_arguments, guarded(_diff)
)
SHOW = Command("inputs, outputs, state and operators of a file", _show_arguments, guarded(_show))
COMMANDS = {"export": EXPORT, "check": CHECK, "diff": DIFF, "show": SHOW}


def add_commands(parser: argparse.ArgumentParser, commands: Iterable[tuple[str, Command]]) -> None:
    """Give a parser its subcommands."""
    choices = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, command in commands:
        inner = choices.add_parser(name, help=command.help, description=command.help)
        command.arguments(inner)
        inner.set_defaults(run=command.run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands with `arguments` (those of the process by default); the status."""
    parser = argparse.ArgumentParser(prog="python -m exporter.cli", description=__doc__)
    add_commands(parser, COMMANDS.items())
    chosen = parser.parse_args(arguments)
    return chosen.run(chosen)


if __name__ == "__main__":
    raise SystemExit(main())
