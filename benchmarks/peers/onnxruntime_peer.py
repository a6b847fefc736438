"""onnxruntime, on files that our exporter wrote (two threads, all optimisations)."""

import os
import tempfile

import numpy as np
import onnxruntime

import dyn
import exporter
from dyn.vision import resnet18

VERSION = onnxruntime.__version__


def infer(batch):
    def build():
        dyn.seed(0)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "resnet18.onnx")
            spec = exporter.InputSpec([None, 3, 224, 224], "float32", name="image")
            exporter.export(resnet18(), path, input_spec=[spec], verify=False)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 2
            session = onnxruntime.InferenceSession(path, options)
        x = np.random.default_rng(0).standard_normal((batch, 3, 224, 224), dtype=np.float32)
        return lambda: session.run(None, {"image": x})

    return {"default": build}


WORKS = {"resnet_infer_1": infer(1), "resnet_infer_10": infer(10)}
