"""Seed 000, "Models and layers": rows S0.01 to S0.39, by number in the names of the tests."""

import math
import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import dyn
import dyn as paddle
from dyn import nn

FLATTEN = """
class Model(paddle.nn.Layer):
    def __init__(self):
        super(Model, self).__init__()
        self.flatten = paddle.nn.Flatten()
    def forward(self, inputs):
        y = self.flatten(inputs)
        return y
"""
NUMPY = """
class Model(paddle.nn.Layer):
    def __init__(self):
        super(Model, self).__init__()
        self.flatten = paddle.nn.Flatten()
    def forward(self, inputs):
        y = self.Flatten(inputs)
        return y
    def Flatten(self, inputs):
        return paddle.to_tensor(inputs.numpy().flatten())
"""
FORGOTTEN = """
class Model(paddle.nn.Layer):
    def __init__(self):
        super(Model, self).__init__()
        self.flatten = paddle.nn.Flatten()
        self.f1 = paddle.nn.Flatten()
    def forward(self, inputs):
        y = self.Flatten(inputs)
        return y
model = Model()
print(model.sublayers())
print("----------------------")
for item in model.named_sublayers():
    print(item)
"""
IMAGE = """
class Model(paddle.nn.Layer):
    def __init__(self):
        super(Model, self).__init__()
        img = self.create_parameter([1,3,256,256])
        self.add_parameter("img", img)
        self.flatten = paddle.nn.Flatten()
    def forward(self):
        y = self.flatten(self.img)
        return y
model = Model()
model.parameters()
print('--------------------------------------------')
for item in model.named_parameters():
    print(item)
model = Model()
out = model()
out.backward()
"""
TEMPORARY = """
class Model(paddle.nn.Layer):
    def __init__(self):
        super(Model, self).__init__()
        self.saved_tensor = self.create_tensor(name="saved_tensor0")
        self.flatten = paddle.nn.Flatten()
        self.fc = paddle.nn.Linear(10, 100)
    def forward(self, input):
        y = self.flatten(input)
        # Save intermediate tensor
        paddle.assign(y, self.saved_tensor)
        y = self.fc(y)
        return y
model = Model()
print(model.sublayers())
"""
BUFFER = """
class Model(paddle.nn.Layer):
    def __init__(self):
        super(Model, self).__init__()
        saved_tensor = self.create_tensor(name="saved_tensor0")
        self.register_buffer("saved_tensor", saved_tensor, persistable=True)
        self.flatten = paddle.nn.Flatten()
        self.fc = paddle.nn.Linear(10, 100)
    def forward(self, input):
        y = self.flatten(input)
        # Save intermediate tensor
        paddle.assign(y, self.saved_tensor)
        y = self.fc(y)
        return y
model = Model()
print(model.buffers())
for item in model.named_buffers():
    print(item)
"""


@pytest.fixture
def model(verbatim: Any) -> Any:
    """The document's first model with its linear layer added."""
    made = verbatim(FLATTEN)["Model"]()
    made.add_sublayer("fc", nn.Linear(10, 3))
    return made


def test_s0_01_a_model_is_a_layer(verbatim):
    model = verbatim(FLATTEN)["Model"]()
    assert isinstance(model, nn.Layer) and isinstance(model.flatten, nn.Layer)

    class OnlyForward(nn.Layer):
        def forward(self, x):
            return x + 1

    assert OnlyForward()(dyn.ones([1])).item() == 2.0


def test_s0_02_flatten_begins_at_the_second_axis(verbatim):
    space = verbatim(
        FLATTEN + "x = paddle.to_tensor([[1,2,3],[4,5,6]])\nprint(x)\n"
        "model = Model()\ny = model(x)\nprint(y)\n"
    )
    text = (
        "Tensor(shape=[2, 3], dtype=int64, place=CPUPlace, stop_gradient=True,\n"
        "       [[1, 2, 3],\n        [4, 5, 6]])\n"
    )
    assert space["printed"] == text * 2
    assert nn.Flatten(0)(space["x"]).shape == [6]
    assert nn.Flatten()(dyn.ones([2, 3, 4, 5])).shape == [2, 60]


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1, "int64"),
        (1.0, "float32"),
        (True, "bool"),
        ([1, 2], "int64"),
        ([1, 2.0], "float32"),
        (np.float64(1.0), "float64"),
        (np.array([1.0]), "float64"),
        (np.array([1]), "int64"),
        (1j, "complex64"),
        (np.float32(1), "float32"),
    ],
)
def test_s0_03_dtype_of_to_tensor(data, dtype):
    tensor = paddle.to_tensor(data)
    assert tensor.dtype.name == dtype and tensor.stop_gradient


def test_s0_04_the_printed_form_of_a_tensor():
    text = (
        "Tensor(shape=[2, 3], dtype=int64, place=CPUPlace, stop_gradient=True,\n"
        "       [[1, 2, 3],\n"
        "        [4, 5, 6]])"
    )
    tensor = paddle.to_tensor([[1, 2, 3], [4, 5, 6]])
    assert repr(tensor) == str(tensor) == text


def test_s0_05_eight_digits_and_a_point_for_whole_numbers():
    # The other golden strings are in tests/test_printing.py.
    assert "[-0.26968753]" in repr(paddle.to_tensor([-0.26968753]))
    assert "[2.]" in repr(paddle.to_tensor([2.0]))


def test_s0_06_a_model_that_leaves_by_numpy(verbatim):
    space = verbatim(
        NUMPY + "x = paddle.to_tensor([[1,2,3],[4,5,6]])\nmodel = Model()\ny = model(x)\nprint(y)\n"
    )
    assert space["printed"] == (
        "Tensor(shape=[6], dtype=int64, place=CPUPlace, stop_gradient=True,\n"
        "       [1, 2, 3, 4, 5, 6])\n"
    )
    assert space["y"].stop_gradient


def test_s0_07_calling_a_method_that_is_missing(verbatim):
    space = verbatim(FORGOTTEN)
    with pytest.raises(AttributeError, match="'Model' object has no attribute 'Flatten'"):
        space["model"](dyn.ones([2, 3]))


def test_s0_08_sublayers(verbatim):
    assert repr(verbatim(FLATTEN)["Model"]().sublayers()) == "[Flatten()]"
    space = verbatim(FORGOTTEN)
    assert space["printed"].splitlines()[0] == "[Flatten(), Flatten()]"
    model = space["model"]
    assert model.sublayers(include_self=True)[0] is model
    model.again = model.f1
    assert len(model.sublayers()) == 2


def test_s0_09_named_sublayers(verbatim):
    space = verbatim(FORGOTTEN)
    assert space["printed"].splitlines()[2:] == ["('flatten', Flatten())", "('f1', Flatten())"]
    model = space["model"]
    assert isinstance(model.named_sublayers(), Iterator)
    assert next(model.named_sublayers(include_self=True)) == ("", model)
    nested = nn.Sequential(("m", nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU()))))
    assert [name for name, _ in nested.named_sublayers()] == ["m", "m.0", "m.1", "m.1.0"]


def test_s0_10_assignment_registers_and_deletion_removes(verbatim):
    model = verbatim(FLATTEN)["Model"]()
    model.f1 = nn.Flatten()
    assert len(model.sublayers()) == 2
    del model.f1
    assert len(model.sublayers()) == 1 and not hasattr(model, "f1")


def test_s0_11_add_sublayer(verbatim):
    space = verbatim(
        FLATTEN + "model = Model()\nfc = paddle.nn.Linear(10, 3)\n"
        'added = model.add_sublayer("fc", fc)\nprint(model.sublayers())\n'
    )
    assert space["printed"] == (
        "[Flatten(), Linear(in_features=10, out_features=3, dtype=float32)]\n"
    )
    assert space["added"] is space["fc"] is space["model"].fc
    with pytest.raises(TypeError, match="should be a Layer, but received int"):
        space["model"].add_sublayer("n", 3)


def test_s0_12_linear_prints_itself_and_keeps_in_by_out():
    layer = nn.Linear(10, 3)
    assert repr(layer) == "Linear(in_features=10, out_features=3, dtype=float32)"
    assert layer.weight.shape == [10, 3] and layer.bias.shape == [3]


def test_s0_13_apply_goes_from_the_inside_out(model, capsys):
    def function(layer):
        print(layer)

    assert model.apply(function) is model
    assert capsys.readouterr().out == (
        "Flatten()\n"
        "Linear(in_features=10, out_features=3, dtype=float32)\n"
        "Model(\n"
        "  (flatten): Flatten()\n"
        "  (fc): Linear(in_features=10, out_features=3, dtype=float32)\n"
        ")\n"
    )


def test_s0_14_children_are_iterated_in_order(model):
    assert isinstance(model.children(), Iterator)
    assert [type(layer).__name__ for layer in model.children()] == ["Flatten", "Linear"]
    assert [name for name, _ in model.named_children()] == ["flatten", "fc"]
    model.again = model.fc
    assert len(list(model.children())) == 2
    model.deep = nn.Sequential(nn.ReLU())
    assert len(list(model.children())) == 3


def test_s0_15_nested_layers_are_indented(model):
    model.deep = nn.Sequential(nn.ReLU())
    assert repr(model) == (
        "Model(\n"
        "  (flatten): Flatten()\n"
        "  (fc): Linear(in_features=10, out_features=3, dtype=float32)\n"
        "  (deep): Sequential(\n"
        "    (0): ReLU()\n"
        "  )\n"
        ")"
    )


def test_s0_16_create_parameter_is_xavier_uniform():
    layer = nn.Layer()
    p = layer.create_parameter([1, 3, 256, 256])
    bound = math.sqrt(6 / (3 * 256 * 256 + 256 * 256))
    largest = float(np.abs(p.numpy()).max())
    assert 0.99 * bound < largest <= np.float32(bound)
    assert repr(p).startswith(
        "Parameter containing:\nTensor(shape=[1, 3, 256, 256], dtype=float32, place=CPUPlace, "
        "stop_gradient=False,\n       [[[["
    )
    assert not p.stop_gradient and p.name == f"{layer.full_name()}.w_0"
    assert layer.create_parameter([3], is_bias=True).tolist() == [0.0] * 3


def test_s0_17_add_parameter(verbatim):
    model = verbatim(IMAGE)["model"]
    assert [name for name, _ in model.named_parameters()] == ["img"]
    assert model.img is model.parameters()[0]
    with pytest.raises(TypeError) as caught:
        model.add_parameter("n", 3)
    assert "The parameter to be added should be a Parameter, but received int." in str(caught.value)
    with pytest.raises(KeyError):
        model.add_parameter("a.b", model.img)


def test_s0_18_parameters_is_a_list_without_repetition(verbatim):
    model = verbatim(IMAGE)["model"]
    model.same = model.img
    assert isinstance(model.parameters(), list) and len(model.parameters()) == 1
    assert repr(model.parameters()).startswith("[Parameter containing:\nTensor(shape=[1, 3, 256,")


def test_s0_19_named_parameters(verbatim):
    lines = verbatim(IMAGE)["printed"].splitlines()
    assert lines[1] == "('img', Parameter containing:"
    model = nn.Sequential(nn.Linear(2, 2))
    assert isinstance(model.named_parameters(), Iterator)
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    assert model[0].weight.name == f"{model[0].full_name()}.w_0"


def test_s0_20_large_tensors_are_summarised():
    text = repr(dyn.ones([1, 3, 256, 256]))
    assert text.count("...") == 3 * 7 and ",\n\n" in text
    row = "[1., 1., 1., ..., 1., 1., 1.]"
    block = (
        f"[{row},\n          {row},\n          {row},\n          ...,\n"
        f"          {row},\n          {row},\n          {row}]"
    )
    assert text.endswith(f"[[{block},\n\n         {block},\n\n         {block}]])")


def test_s0_21_backward_of_a_non_scalar_counts_ones(verbatim):
    model = verbatim(IMAGE)["model"]
    assert model.img.grad.shape == [1, 3, 256, 256]
    assert np.array_equal(model.img.grad.numpy(), np.ones([1, 3, 256, 256]))
    model().backward()
    assert model.img.grad.sum().item() == 2 * 196608


def test_s0_22_clear_gradients(verbatim):
    space = verbatim(IMAGE + "model.clear_gradients()\n")
    assert space["model"].img.grad.sum().item() == 0.0


def test_s0_23_create_tensor_makes_a_temporary(verbatim):
    model = verbatim(TEMPORARY)["model"]
    assert repr(model.saved_tensor) == "Tensor(Not initialized)"
    assert model.saved_tensor.name == "saved_tensor0"
    assert list(model.state_dict()) == ["fc.weight", "fc.bias"] and not model.buffers()


def test_s0_24_assign_writes_to_it_each_time(verbatim):
    model = verbatim(TEMPORARY)["model"]
    for batch in (2, 3):
        x = dyn.randn([batch, 2, 5])
        assert model(x).shape == [batch, 100]
        assert np.array_equal(model.saved_tensor.numpy(), x.numpy().reshape(batch, 10))


def test_s0_25_sublayers_of_that_model(verbatim):
    # The document prints only [Flatten()], which its own code cannot have printed.
    assert verbatim(TEMPORARY)["printed"] == (
        "[Flatten(), Linear(in_features=10, out_features=100, dtype=float32)]\n"
    )


def test_s0_27_a_registered_buffer_is_state(verbatim):
    space = verbatim(BUFFER)
    assert space["printed"] == (
        "[Tensor(Not initialized)]\n('saved_tensor', Tensor(Not initialized))\n"
    )
    model = space["model"]
    assert list(model.state_dict()) == ["saved_tensor", "fc.weight", "fc.bias"]
    x = dyn.randn([2, 10])
    model(x)
    assert np.array_equal(model.state_dict()["saved_tensor"].numpy(), x.numpy())


def test_s0_28_a_buffer_that_is_not_persistable_is_not_saved():
    layer = nn.Layer()
    layer.register_buffer("kept", dyn.ones([1]))
    layer.register_buffer("loose", dyn.ones([1]), persistable=False)
    assert list(layer.state_dict()) == ["kept"] and len(layer.buffers()) == 2


def test_s0_29_buffers_is_a_list_and_named_buffers_an_iterator(verbatim):
    model = nn.Sequential(verbatim(BUFFER)["model"])
    assert isinstance(model.buffers(), list) and isinstance(model.named_buffers(), Iterator)
    assert [name for name, _ in model.named_buffers()] == ["0.saved_tensor"]


@pytest.mark.parametrize(
    ("name", "value", "kind", "text"),
    [
        ("a.b", 1.0, KeyError, "The name of buffer can not contain `.`, "),
        ("", 1.0, KeyError, "The name of buffer can not be empty."),
        ("flatten", 1.0, KeyError, "attribute 'flatten' already exists."),
        ("b", None, TypeError, "The registered buffer should be a dyn.Tensor, but received int."),
        (5, 1.0, TypeError, "The name of buffer should be a string, but received int."),
    ],
)
def test_s0_30_errors_of_register_buffer(verbatim, name, value, kind, text):
    model: Any = verbatim(FLATTEN)["Model"]()
    with pytest.raises(kind) as caught:
        model.register_buffer(name, 5 if value is None else paddle.to_tensor([value]))
    assert text in str(caught.value)


def test_s0_31_train_and_eval_overwrite_each_other(verbatim):
    space = verbatim(
        "x = paddle.randn([10, 1], 'float32')\n" + FLATTEN + "model = Model()\n"
        "model.eval() # set model to eval mode\nout = model(x)\n"
        "model.train() # set model to train mode\nout = model(x)\n"
    )
    model = space["model"]
    assert model.training and model.flatten.training
    assert model.eval() is model and not model.flatten.training
    assert model.train() is model and model.flatten.training


def test_s0_32_randn():
    dyn.seed(1)
    first = paddle.randn([10, 1], "float32")
    dyn.seed(1)
    assert first.shape == [10, 1] and first.dtype == dyn.float32
    assert np.array_equal(first.numpy(), paddle.randn([10, 1], "float32").numpy())


def test_s0_33_calling_runs_hooks_and_forward_does_not(verbatim):
    space = verbatim(
        NUMPY + "x = paddle.randn([10, 1], 'float32')\nmodel = Model()\nout = model(x)\n"
    )
    model, x, calls = space["model"], space["x"], []
    assert np.array_equal(space["out"].numpy(), model.forward(x).numpy())
    model.register_forward_post_hook(lambda *args: calls.append(args))
    model.forward(x)
    assert not calls
    model(x)
    assert len(calls) == 1


POST_HOOK = (
    FLATTEN
    + """
def forward_post_hook(layer, input, output):
    return 2*output
x = paddle.ones([10, 1], 'float32')
model = Model()
forward_post_hook_handle = model.flatten.register_forward_post_hook(forward_post_hook)
out = model(x)
print(out)
"""
)


def test_s0_34_a_post_hook_replaces_the_output(verbatim):
    space = verbatim(POST_HOOK)
    rows = ",\n        ".join(["[2.]"] * 10)
    assert space["printed"] == (
        "Tensor(shape=[10, 1], dtype=float32, place=CPUPlace, stop_gradient=True,\n"
        f"       [{rows}])\n"
    )
    model, x, seen = space["model"], space["x"], []
    model.flatten.register_forward_post_hook(lambda layer, inputs, output: output + 1)
    model.flatten.register_forward_post_hook(lambda layer, inputs, output: seen.append(inputs))
    assert model(x)[0].item() == 3.0
    assert isinstance(seen[0], tuple)


def test_s0_35_a_pre_hook_replaces_the_input(verbatim):
    model, x = verbatim(FLATTEN)["Model"](), dyn.ones([10, 1])
    for hook, value in (
        (lambda layer, inputs: (inputs[0] * 3,), 3.0),
        (lambda layer, inputs: inputs[0] * 4, 4.0),
        (lambda layer, inputs: None, 1.0),
    ):
        with model.flatten.register_forward_pre_hook(hook):
            assert model(x)[0].item() == value


def test_s0_36_ones():
    assert np.array_equal(paddle.ones([10, 1], "float32").numpy(), np.ones([10, 1], np.float32))


def test_s0_37_state_dict_is_ordered():
    class Own(nn.Layer):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 2)
            self.register_buffer("buf", dyn.ones([1]))
            self.w = self.create_parameter([1])

    assert list(Own().state_dict()) == ["w", "buf", "fc.weight", "fc.bias"]
    assert list(nn.BatchNorm2D(4).state_dict()) == ["weight", "bias", "_mean", "_variance"]
    keys = list(paddle.vision.resnet18().state_dict())
    assert len(keys) == 102 and keys[:6] == [
        "conv1.weight",
        "bn1.weight",
        "bn1.bias",
        "bn1._mean",
        "bn1._variance",
        "layer1.0.conv1.weight",
    ]
    assert [k for k in keys if "downsample" in k][:5] == [
        "layer2.0.downsample.0.weight",
        "layer2.0.downsample.1.weight",
        "layer2.0.downsample.1.bias",
        "layer2.0.downsample.1._mean",
        "layer2.0.downsample.1._variance",
    ]
    assert keys[-2:] == ["fc.weight", "fc.bias"]


SAVE = (
    FLATTEN
    + """
model = Model()
state_dict = model.state_dict()
paddle.save( state_dict, "./paddle_dy.pdparams")
"""
)


def test_s0_38_saving_an_empty_dictionary_warns_once(verbatim, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        space = verbatim(SAVE)
        code = compile('paddle.save( state_dict, "./paddle_dy.pdparams")', "again.py", "exec")
        for _ in range(2):
            exec(code, space)
    texts = [str(w.message) for w in caught]
    assert texts == ["The input state dict is empty, no need to save."] * 2
    assert {w.category for w in caught} == {UserWarning}
    assert [w.filename for w in caught] == ["seed.py", "again.py"]
    assert paddle.load("./paddle_dy.pdparams") == {}


def test_s0_39_load_gives_back_the_tensors(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1D(2))
    paddle.save(model.state_dict(), tmp_path / "m.pdparams")
    back = paddle.load(str(tmp_path / "m.pdparams"))
    assert list(back) == list(model.state_dict())
    for key, value in model.state_dict().items():
        assert isinstance(back[key], dyn.Tensor) and np.array_equal(
            back[key].numpy(), value.numpy()
        )
    assert re.match(rb".{8}\{", (tmp_path / "m.pdparams").read_bytes()[:9], re.DOTALL)
