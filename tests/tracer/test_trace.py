"""`trace`: signature, names, layers, lines, modes, and that the model is left as it was."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

import dyn
from dyn import nn
from dyn.core.tensor import Tensor
from tracer import Graph, InputSpec, Interpreter, TraceError, optimize, trace, validate

S = InputSpec


class Mlp(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(8, 2)

    def forward(self, image: Any) -> Any:
        return self.head(self.body(image))


# ---- signature ---------------------------------------------------------------------------------


def test_inputs_keep_names_and_order() -> None:
    def forward(x: Any, unused: Any, *rest: Any, scale: Any, pair: Any = None) -> Any:
        return rest[1] * scale + pair[0]

    graph = trace(
        forward, S([3]), S([3]), S([3]), S([3]), scale=S([3]), pair=(S([3]), {"k": S([3])})
    )
    names = ["x", "unused", "rest_0", "rest_1", "scale", "pair.0", "pair.1.k"]
    assert [v.name for v in graph.inputs] == names
    a = [np.full(3, i, np.float32) for i in range(7)]
    assert Interpreter(graph).run(*a)[0].tolist() == [17.0] * 3


def test_names_of_specs_go_first() -> None:
    graph = trace(lambda x, y: x + y, S([3], name="image"), S([3]))
    assert [v.name for v in graph.inputs] == ["image", "y"]
    with pytest.raises(TraceError, match="two inputs are called 'y'"):
        trace(lambda x, y: x + y, S([3], name="y"), S([3]))


def test_outputs_keep_structure_and_names() -> None:
    class Pair(NamedTuple):
        left: Any
        right: Any

    def forward(x: Any) -> Any:
        return {"logits": x * 2, "aux": [x, None, "text"], "pair": Pair(x, x + 1)}

    graph = trace(forward, S([2]))
    assert graph.output_names == ["logits", "aux.0", "pair.left", "pair.right"]
    result = Interpreter(graph)(np.ones(2, np.float32))
    assert result["logits"].tolist() == [2, 2] and result["aux"][1:] == [None, "text"]
    assert isinstance(result["pair"], Pair) and result["pair"].right.tolist() == [2, 2]
    assert trace(lambda x: x, S([2])).output_names == ["output"]
    assert trace(lambda x: (x, x), S([2])).output_names == ["output_0", "output_1"]
    assert trace(lambda x: {"x": x * 2}, S([2])).output_names == ["output_x"]


def test_output_names_may_be_given() -> None:
    graph = trace(lambda x: (x, x * 2), S([2]), output_names=["a", "b"])
    assert graph.output_names == ["a", "b"]
    with pytest.raises(TraceError, match="1 output names are given; the forward returns 2"):
        trace(lambda x: (x, x * 2), S([2]), output_names=["a"])
    with pytest.raises(TraceError, match="'x' of an output is that of another"):
        trace(lambda x: x * 2, S([2]), output_names=["x"])


def test_an_input_a_parameter_and_a_number_may_be_outputs() -> None:
    layer = nn.Linear(2, 2)
    graph = trace(lambda x: (x, layer.weight, layer(x), 3), S(["n", 2]))
    validate(graph)
    assert graph.outputs[0] is graph.inputs[0] and graph.outputs[1] is graph.params[0]
    assert graph.output_names == ["output_0", "output_1", "output_2", "output_3"]
    outputs = Interpreter(graph).run(np.ones((1, 2), np.float32))
    assert outputs[3] == 3


def test_a_size_may_be_an_output() -> None:
    graph = trace(lambda x: (x.shape[0] * 2, x), S(["n", 2]))
    assert Interpreter(graph).run(np.ones((5, 2), np.float32))[0] == 10


def test_what_does_not_fit_the_forward() -> None:
    with pytest.raises(TraceError, match="do not fit the forward: missing a required argument"):
        trace(Mlp())
    with pytest.raises(TraceError, match=r"called as forward\(image.*an InputSpec or an example"):
        trace(Mlp())
    with pytest.raises(TraceError, match=r"Mlp is a class; pass a model that is made of it, Mlp\("):
        trace(Mlp, S([2]))
    with pytest.raises(TraceError, match="must return a tensor"):
        trace(lambda x: None, S([2]))
    with pytest.raises(TraceError, match="int cannot be called"):
        trace(3, S([2]))  # type: ignore[arg-type]


def test_an_input_named_like_a_parameter() -> None:
    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.x = self.create_parameter([2])

        def forward(self, x: Any) -> Any:
            return x * self.x

    with pytest.raises(TraceError, match=r"called 'x' like a parameter.*InputSpec\(name="):
        trace(Model(), S([2]))
    assert trace(Model(), S([2], name="image")).inputs[0].name == "image"


def test_traces_do_not_nest() -> None:
    with pytest.raises(TraceError, match="while another trace runs"):
        trace(lambda x: trace(lambda y: y, x), S([2]))


# ---- where things come from --------------------------------------------------------------------


def test_nodes_know_layer_class_and_line() -> None:
    model = Mlp()
    graph = trace(model, S(["n", 4]))
    assert [(n.op, n.layer, n.layer_class) for n in graph.nodes] == [
        ("linear", "body.0", "Linear"),
        ("relu", "body.1", "ReLU"),
        ("linear", "head", "Linear"),
    ]
    assert graph.name == "Mlp"
    for node in graph.nodes:
        assert node.where is not None and node.where.file == __file__
        assert node.where.text == "return self.head(self.body(image))"


def test_names_are_state_dict_keys_and_values_are_shared() -> None:
    model = Mlp()
    graph = trace(model, S(["n", 4]))
    state = model.state_dict()
    assert [p.name for p in graph.params] == list(state)
    for param in graph.params:
        assert param.data is state[param.name]._array


def test_layers_of_a_function_are_found() -> None:
    encoder, decoder = nn.Linear(4, 3), nn.Linear(3, 4)

    def forward(x: Any) -> Any:
        return decoder(encoder(x))

    assert [p.name for p in trace(forward, S([1, 4])).params] == [
        "decoder.weight",
        "decoder.bias",
        "encoder.weight",
        "encoder.bias",
    ]
    single = trace(lambda x: encoder(x).relu(), S([1, 4]))
    assert [p.name for p in single.params] == ["weight", "bias"]
    given = trace(forward, S([1, 4]), layers={"e": encoder, "d": decoder})
    assert [p.name for p in given.params] == ["e.weight", "e.bias", "d.weight", "d.bias"]


NORM = nn.BatchNorm1D(3)


def normed(x: Any) -> Any:
    return NORM(x)


def test_layers_are_found_on_objects_and_in_functions_that_are_called() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.net, self.parts = nn.Linear(4, 3), {"head": nn.Linear(3, 2)}
            self.inner, self.unread = self.net, nn.Linear(1, 1)
            self.scale = nn.Parameter(np.ones(3, np.float32))

        def encoded(self, x: Any) -> Any:
            return self.inner(x) * self.scale

        def functions(self) -> list[Any]:
            return [lambda x: self.net(x), lambda x: self.parts["head"](normed(self.encoded(x)))]

    one, several = Trainer().functions()
    assert [p.name for p in trace(one, S([1, 4])).params] == ["weight", "bias"]
    graph = trace(several, S([2, 4]), training=True)
    assert {value.name for value in [*graph.params, *graph.buffers]} == {
        "self.inner.weight", "self.inner.bias", "self.scale", "NORM.weight", "NORM.bias",
        "NORM._mean", "NORM._variance", "self.parts['head'].weight", "self.parts['head'].bias",
    }  # fmt: skip
    near = nn.Linear(3, 3)
    names = {p.name for p in trace(lambda x: normed(near(x)), S([2, 3])).params}
    assert names == {"weight", "bias", "NORM.weight", "NORM.bias"}


def test_a_method_and_a_partial_are_models_too() -> None:
    import functools

    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2)

        def encode(self, x: Any, scale: float) -> Any:
            return self.fc(x) * scale

    model = Model()
    graph = trace(model.encode, S([1, 2]), 2.0)
    assert graph.name == "Model.encode" and [p.name for p in graph.params] == [
        "fc.weight",
        "fc.bias",
    ]
    fixed = trace(functools.partial(model.encode, scale=2.0), S([1, 2]))
    assert len(fixed.params) == 2


def test_shared_parameters_are_one_value() -> None:
    class Tied(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x))

    graph = trace(Tied(), S(["n", 3]))
    assert [p.name for p in graph.params] == ["a.weight", "a.bias", "b.bias"]


def test_equal_arrays_of_two_buffers_are_two_values() -> None:
    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            start = dyn.zeros([2])
            self.register_buffer("a", start.clone())
            self.register_buffer("b", start.clone())
            self.b.set_value(self.a)

        def forward(self, x: Any) -> Any:
            self.a += 1
            return x + self.a * 10 + self.b

    graph = trace(Model(), S([2]))
    assert [b.name for b in graph.buffers] == ["a", "b"]
    run = Interpreter(graph)
    assert [run.run(np.zeros(2, np.float32))[0][0] for _ in range(2)] == [10, 20]


def test_constants_from_outside_are_listed_once() -> None:
    table = dyn.to_tensor(np.arange(20, dtype=np.float32))

    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.mask = dyn.ones([20])

        def forward(self, x: Any) -> Any:
            return x * table * self.mask + table + 2.0 + dyn.to_tensor(np.ones(20, np.float32) * 5)

    graph = trace(Model(), S([20]))
    listed = [(c.name, c.kind) for c in graph.constants if c.shape]
    assert listed == [("const0", "const"), ("mask", "const"), ("c1", "literal")]
    assert graph.constants[0].where is not None


def test_views_of_state_made_before_the_trace_follow_it() -> None:
    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.weight = self.create_parameter([4, 2])
            self.first = self.weight[0]
            self.still = self.weight.detach()

        def forward(self, x: Any) -> Any:
            return x * self.first + self.still.sum()

    model = Model()
    graph = trace(model, S([2]))
    assert [p.name for p in graph.params] == ["weight"] and not graph.constants
    x = np.ones(2, np.float32)
    np.testing.assert_array_equal(Interpreter(graph).run(x)[0], model(dyn.to_tensor(x)).numpy())


# ---- random ops, problems ----------------------------------------------------------------------


def test_random_ops_stay_random() -> None:
    graph, _ = optimize(trace(lambda x: x + dyn.rand([2, 3]), S([2, 3])))
    assert [n.op for n in graph.nodes] == ["uniform", "add"]
    run = Interpreter(graph)
    x = np.zeros((2, 3), np.float32)
    assert not np.array_equal(run.run(x)[0], run.run(x)[0])


def test_all_problems_at_once() -> None:
    class Model(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Linear(3, 3)]
            self.seen = dyn.zeros([3])

        def forward(self, x: Any) -> Any:
            x = self.layers[0](x) * float(x.sum())
            self.seen += x.mean(axis=0)
            return x * int(x.max()) * len(x)

    problems: list[TraceError] = []
    graph = trace(Model(), S(["n", 3]), problems=problems)
    assert isinstance(graph, Graph)
    text = "\n".join(map(str, problems))
    for words in ("LayerList", "float() takes", "register_buffer", "int() takes", "dynamic size n"):
        assert words in text
    assert len(problems) == 6
    assert {tuple(p.layers) for p in problems} == {("Model",), ("Model", "Linear")}
    assert all(p.where is not None and p.where.file == __file__ for p in problems)


def test_errors_name_layer_and_line() -> None:
    class Inner(nn.Layer):
        def forward(self, x: Any) -> Any:
            return x * x.max().item()

    class Outer(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def forward(self, x: Any) -> Any:
            return self.inner(x)

    with pytest.raises(TraceError) as caught:
        trace(Outer(), S(["n"]))
    text = str(caught.value)
    assert "in layer Outer > inner" in text and "return x * x.max().item()" in text


def test_lists_with_tensors_and_sizes_become_tensors() -> None:
    def forward(x: Any) -> Any:
        n, d = x.shape
        return dyn.to_tensor([x.sum(), x.max()]) * dyn.to_tensor([n, d * 2], dtype="float32")

    graph = trace(forward, S(["n", 3]))
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert Interpreter(graph).run(x)[0].tolist() == [30.0, 30.0]


def test_tensors_in_messages_of_temporaries_are_named() -> None:
    outside = Tensor([1.0, 2.0])
    outside.name = "momentum"

    def forward(x: Any) -> Any:
        y = x + outside
        outside.set_value(y)
        return y

    with pytest.raises(TraceError, match="the tensor 'momentum' is written after it was read"):
        trace(forward, S([2]))
