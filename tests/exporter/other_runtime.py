"""Runs in the interpreter of another onnxruntime: every file of a folder on its inputs.

Usage: python other_runtime.py FOLDER. Imports numpy and onnxruntime alone, whatever their versions.
Beside `m.onnx` lies `m.in.npz`, inputs by name; `m.out.npz` is written, outputs by place, or the
message of the error is printed, as one line of JSON by file name.
"""

import json
import os
import sys

import numpy as np
import onnxruntime as ort


def main(folder):
    """Run all files; print the errors."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    errors = {}
    for file in sorted(os.listdir(folder)):
        stem, ending = os.path.splitext(os.path.join(folder, file))
        if ending != ".onnx":
            continue
        try:
            session = ort.InferenceSession(
                stem + ".onnx", options, providers=["CPUExecutionProvider"]
            )
            with np.load(stem + ".in.npz") as inputs:
                given = {value.name: inputs[value.name] for value in session.get_inputs()}
            results = session.run(None, given)
            np.savez(stem + ".out.npz", **{f"o{i}": a for i, a in enumerate(results)})
        except Exception as error:
            errors[file] = str(error)
    print(json.dumps({"version": ort.__version__, "errors": errors}))


if __name__ == "__main__":
    main(sys.argv[1])
