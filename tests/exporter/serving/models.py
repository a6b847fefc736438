"""Small ONNX files for the serving tests, written with onnx alone, and code run in fresh processes.

No test here may need dyn: the files stand for whatever the exporter writes.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT


def tensor(name: str, shape: Sequence[int | str | None] | None, code: int = FLOAT):
    """A value info; None as shape leaves the rank open."""
    return helper.make_tensor_value_info(name, code, shape)


def write(path: Path, nodes, inputs, outputs, initializers=(), states=None, **options: Any) -> Path:
    """Check a graph and write it to `path`."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(initializers))
    options = {"ir_version": 9, "opset_imports": [helper.make_opsetid("", 20)]} | options
    model = helper.make_model(graph, **options)
    if states is not None:
        helper.set_model_props(model, {"dyn.states": json.dumps(states), "author": "tests"})
    # The checker wants a shape on every input and output; ONNX itself and onnxruntime do not.
    if all(value.type.tensor_type.HasField("shape") for value in (*inputs, *outputs)):
        onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def write_add(path: Path, code: int = FLOAT) -> Path:
    """z[n, 3] = x[n, 3] + y[n, 3]."""
    sides = [tensor(name, ["n", 3], code) for name in "xyz"]
    return write(path, [helper.make_node("Add", ["x", "y"], ["z"])], sides[:2], sides[2:])


def write_counter(path: Path, start: float = 0.0) -> Path:
    """y = x + total; total.next = total + 1, with total (float32[2]) a state."""
    one = numpy_helper.from_array(np.ones(2, np.float32), "one")
    total = numpy_helper.from_array(np.full(2, start, np.float32), "total")
    nodes = [
        helper.make_node("Add", ["x", "total"], ["y"]),
        helper.make_node("Add", ["total", "one"], ["total.next"]),
    ]
    inputs = [tensor("x", ["n", 2]), tensor("total", [2])]
    outputs = [tensor("y", ["n", 2]), tensor("total.next", [2])]
    return write(path, nodes, inputs, outputs, [one, total], {"total": "total.next"})


def write_gather(path: Path) -> Path:
    """y = table[x], which fails inside onnxruntime when x is out of range; counts its calls."""
    table = numpy_helper.from_array(np.arange(4, dtype=np.float32), "table")
    one = numpy_helper.from_array(np.ones((), np.int64), "one")
    calls = numpy_helper.from_array(np.zeros((), np.int64), "calls")
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["y"]),
        helper.make_node("Add", ["calls", "one"], ["calls.next"]),
    ]
    inputs = [tensor("x", ["n"], TensorProto.INT64), tensor("calls", [], TensorProto.INT64)]
    outputs = [tensor("y", ["n"]), tensor("calls.next", [], TensorProto.INT64)]
    return write(path, nodes, inputs, outputs, [table, one, calls], {"calls": "calls.next"})


def write_layers(path: Path, layers: int = 4, width: int = 64) -> Path:
    """`layers` rounds of self-attention-like products over x[n, t, width]; work of many sizes."""
    rng = np.random.default_rng(3)
    nodes, weights, value = [], [], "x"
    for i in range(layers):
        w = rng.normal(0, 0.05, (width, 4 * width)).astype(np.float32)
        weights += [
            numpy_helper.from_array(w, f"up{i}"),
            numpy_helper.from_array(np.ascontiguousarray(w.T), f"down{i}"),
        ]
        nodes += [
            helper.make_node("Transpose", [value], [f"t{i}"], perm=[0, 2, 1]),
            helper.make_node("MatMul", [value, f"t{i}"], [f"scores{i}"]),
            helper.make_node("Softmax", [f"scores{i}"], [f"p{i}"]),
            helper.make_node("MatMul", [f"p{i}", value], [f"mixed{i}"]),
            helper.make_node("MatMul", [f"mixed{i}", f"up{i}"], [f"hidden{i}"]),
            helper.make_node("Erf", [f"hidden{i}"], [f"erf{i}"]),
            helper.make_node("MatMul", [f"erf{i}", f"down{i}"], [f"y{i}"]),
        ]
        value = f"y{i}"
    shape = ["n", "t", width]
    return write(path, nodes, [tensor("x", shape)], [tensor(value, shape)], weights)


def run_python(code: str, *args: object, timeout: float = 120) -> str:
    """What `code` prints in a fresh interpreter; an error there or on stderr fails the test.

    Args:
        code: the program; `sys.argv[1:]` are `args`.
        timeout: seconds after which a hanging program fails the test.
    """
    command = [sys.executable, "-W", "error", "-c", code, *map(str, args)]
    root = Path(__file__).parents[3]
    # onnxruntime behaves differently where CI is set; users' machines do not set it.
    hidden = {"CI", "ORT_DISABLE_TELEMETRY"}
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, cwd=root, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout
