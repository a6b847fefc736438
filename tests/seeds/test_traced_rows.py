"""The rows of seeds 000 and 003 that speak of traced graphs and exported files."""

from typing import Any

import numpy as np
import onnxruntime
import pytest

import dyn
import dyn as paddle
import exporter
import tracer
from dyn import nn
from dyn.nn import functional as F


def spec(*shape):
    return tracer.InputSpec(list(shape), "float32", name="x")


def ops_of(graph):
    return [node.op for node in graph.nodes]


class Saving(nn.Layer):
    """The document's model: keeps an intermediate value, as a temporary or as a buffer."""

    def __init__(self, register):
        super().__init__()
        saved_tensor = self.create_tensor(name="saved_tensor0")
        if register:
            self.register_buffer("saved_tensor", saved_tensor, persistable=True)
        else:
            self.saved_tensor = saved_tensor
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(10, 100)

    def forward(self, input):
        y = self.flatten(input)
        paddle.assign(y, self.saved_tensor)
        return self.fc(y)


def test_s0_06_leaving_through_numpy_stops_the_trace():
    class Model(nn.Layer):
        def forward(self, inputs):
            return paddle.to_tensor(inputs.numpy().flatten())

    with pytest.raises(tracer.TraceError, match=r"numpy\(\) takes a value") as caught:
        tracer.trace(Model(), spec(None, 3))
    assert "test_traced_rows.py" in str(caught.value) and "inputs.numpy()" in str(caught.value)


def test_s0_26_a_temporary_is_not_in_the_graph(tmp_path):
    model = Saving(register=False)
    graph = tracer.trace(model, spec(None, 10))
    assert "saved_tensor" not in str(graph)
    exporter.export(model, tmp_path / "m.onnx", [spec(None, 10)])
    session: Any = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    x = np.ones((3, 10), np.float32)
    (out,) = session.run(None, {"x": x})
    np.testing.assert_allclose(out, model(dyn.to_tensor(x)).numpy(), rtol=1e-5, atol=1e-6)


def test_s0_27_a_registered_buffer_is_a_state_of_the_graph(tmp_path):
    model = Saving(register=True)
    graph = tracer.trace(model, spec(None, 10))
    assert "buffer saved_tensor ->" in str(graph)
    exporter.export(model, tmp_path / "m.onnx", [spec(None, 10)])
    session: Any = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    kept = next(out.name for out in session.get_outputs() if "saved_tensor" in out.name)
    x = np.arange(20, dtype=np.float32).reshape(2, 10)
    assert np.array_equal(session.run([kept], {"x": x})[0], x)


def test_s0_27_a_counter_counts_from_call_to_call(tmp_path):
    class Counting(nn.Layer):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", dyn.zeros([1]))

        def forward(self, x):
            self.count += 1
            return x * self.count

    model: Any = Counting()
    exporter.export(model, tmp_path / "m.onnx", [spec(None, 2)])
    assert model.count.item() == 0.0
    predictor = exporter.Predictor(tmp_path / "m.onnx")
    x = np.ones((1, 2), np.float32)
    assert [float(predictor.run(x)[0][0, 0]) for _ in range(3)] == [1.0, 2.0, 3.0]


def test_s0_28_a_buffer_that_is_not_persistable_is_a_constant():
    class Scaled(nn.Layer):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", dyn.to_tensor([3.0]), persistable=False)

        def forward(self, x):
            return x * self.scale

    graph = tracer.trace(Scaled(), spec(None, 2))
    assert not graph.buffers and len(graph.constants) == 1


def test_s0_34_a_hook_is_a_node_of_the_graph():
    class Model(nn.Layer):
        def __init__(self):
            super().__init__()
            self.flatten = nn.Flatten()

        def forward(self, x):
            return self.flatten(x)

    model = Model()
    assert "multiply" not in ops_of(tracer.trace(model, spec(10, 1)))
    model.flatten.register_forward_post_hook(lambda layer, inputs, output: 2 * output)
    assert "multiply" in ops_of(tracer.trace(model, spec(10, 1)))


def test_s3_04_a_random_branch_is_an_if_with_both_outcomes(tmp_path):
    class MyModel(nn.Layer):
        def __init__(self, input_size, hidden_size):
            super().__init__()
            self.linear1 = nn.Linear(input_size, hidden_size)
            self.linear2 = nn.Linear(hidden_size, hidden_size)
            self.linear3 = nn.Linear(hidden_size, 1)

        def forward(self, inputs):
            x = F.relu(self.linear1(inputs))
            if paddle.rand([1]) > 0.5:
                x = F.relu(self.linear2(x))
            return self.linear3(x)

    model = MyModel(8, 16)
    assert "cond" in ops_of(tracer.trace(model, spec(None, 8)))
    exporter.export(model, tmp_path / "m.onnx", [spec(None, 8)])
    session: Any = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    x = np.ones((1, 8), np.float32)
    found = {round(float(session.run(None, {"x": x})[0][0, 0]), 4) for _ in range(40)}
    dyn.seed(0)
    wanted = {round(model(dyn.to_tensor(x)).item(), 4) for _ in range(40)}
    assert len(wanted) == 2 and found == wanted
