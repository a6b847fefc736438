"""Runs exported files in production. Needs numpy and onnxruntime; never dyn, tracer or numba."""

from exporter.serving.predictor import Predictor
from exporter.serving.signature import PredictorError, TensorInfo

__all__ = ["Predictor", "PredictorError", "TensorInfo"]
