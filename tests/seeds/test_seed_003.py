"""Seed 003, "Dynamic graphs": rows S3.01 to S3.17, by number in the names of the tests.

Tracing the model with its random branch (S3.04) is tested with the tracer.
"""

import re
from typing import Any

import numpy as np
import pytest

import dyn
import dyn as paddle
from dyn import nn

MODEL = """
import paddle
import paddle.nn.functional as F
import numpy as np


class MyModel(paddle.nn.Layer):
    def __init__(self, input_size, hidden_size):
        super(MyModel, self).__init__()
        self.linear1 = paddle.nn.Linear(input_size, hidden_size)
        self.linear2 = paddle.nn.Linear(hidden_size, hidden_size)
        self.linear3 = paddle.nn.Linear(hidden_size, 1)

    def forward(self, inputs):
        x = self.linear1(inputs)
        x = F.relu(x)

        if paddle.rand([1,]) > 0.5: 
            x = self.linear2(x)
            x = F.relu(x)

        x = self.linear3(x)
        
        return x     

"""
TRAIN = """
total_data, batch_size, input_size, hidden_size = 1000, 64, 128, 256

x_data = np.random.randn(total_data, input_size).astype(np.float32)
y_data = np.random.randn(total_data, 1).astype(np.float32)

model = MyModel(input_size, hidden_size)
paddle.summary(model, (input_size))

loss_fn = paddle.nn.MSELoss(reduction='mean')
optimizer = paddle.optimizer.SGD(learning_rate=0.01, 
                                 parameters=model.parameters())

for t in range(200 * (total_data // batch_size)):
    idx = np.random.choice(total_data, batch_size, replace=False)
    x = paddle.to_tensor(x_data[idx,:])
    y = paddle.to_tensor(y_data[idx,:])
    y_pred = model(x)

    loss = loss_fn(y_pred, y)
    if t % 200 == 0:
        print(t, loss.numpy())

    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
paddle.summary(model, (input_size))
"""
INFER = """
x = np.random.randn(input_size).astype(np.float32)
x =  paddle.to_tensor(x)
y_infer = model(x)
print(y_infer)

paddle.summary(model, (input_size))
"""
HEAD = """\
---------------------------------------------------------------------------
 Layer (type)       Input Shape          Output Shape         Param #    
===========================================================================
"""
ROWS = """\
   Linear-{}          [[128]]               [256]             33,024     
   Linear-{}          [[256]]               [256]             65,792     
   Linear-{}          [[256]]                [1]                257      
"""
TOTALS = """\
===========================================================================
Total params: {0}
Trainable params: {0}
Non-trainable params: 0
---------------------------------------------------------------------------
Input size (MB): 0.00
Forward/backward pass size (MB): 0.00
Params size (MB): {1}
Estimated Total Size (MB): {1}
---------------------------------------------------------------------------

"""
LONG, SHORT = TOTALS.format("99,073", "0.38"), TOTALS.format("33,281", "0.13")


def tables(model):
    """The two tables that a model of the document may print."""
    numbers = [
        int(layer.full_name().split("_")[-1]) + 1
        for layer in (model.linear1, model.linear2, model.linear3)
    ]
    cells = [
        ("[[128]]", "[256]", "33,024"),
        ("[[256]]", "[256]", "65,792"),
        ("[[256]]", "[1]", "257"),
    ]
    # Numbers of any width: each cell is centred in its column.
    rows = [
        f"{f'Linear-{n}':^15} {a:^20} {b:^20} {c:^15}\n"
        for n, (a, b, c) in zip(numbers, cells, strict=True)
    ]
    return HEAD + "".join(rows) + LONG, HEAD + rows[0] + rows[2] + SHORT


@pytest.fixture(scope="module")
def trained():
    """The document's script, run as it stands: 3,000 steps."""
    import contextlib
    import io

    dyn.seed(5)
    np.random.seed(5)
    printed = io.StringIO()
    space: dict[str, Any] = {}
    source = (MODEL + TRAIN).replace("import paddle\n", "import dyn as paddle\n")
    source = source.replace("import paddle.nn", "import dyn.nn")
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "seed.py", "exec"), space)
    space["printed"] = printed.getvalue()
    return space


@pytest.fixture
def model(verbatim):
    return verbatim(MODEL)["MyModel"](128, 256)


def test_s3_01_the_graph_is_what_ran(model):
    dyn.seed(0)
    names = set()
    for _ in range(20):
        model.clear_gradients(set_to_zero=False)
        model(dyn.ones([2, 128])).sum().backward()
        names.add(tuple(name for name, p in model.named_parameters() if p.grad is not None))
    assert {len(found) for found in names} == {4, 6}


def test_s3_02_the_branch_is_taken_in_about_half_of_the_runs(model):
    dyn.seed(0)
    x = dyn.ones([128])
    assert len({model(x).item() for _ in range(20)}) == 2
    model.clear_gradients(set_to_zero=False)
    while True:
        model(x).backward()
        if model.linear2.weight.grad is None:
            break
        model.clear_gradients(set_to_zero=False)
    assert model.linear1.weight.grad is not None


def test_s3_03_a_tensor_of_one_element_is_a_condition():
    assert dyn.to_tensor([0.7]) > 0.5
    assert not dyn.to_tensor(0.3) > 0.5
    with pytest.raises(ValueError, match="only a tensor of one element can be used as a Python"):
        bool(dyn.to_tensor([1.0, 2.0]) > 0.5)


def test_s3_05_summary_takes_sizes_of_every_kind(model, capsys):
    class InputSpec:
        def __init__(self, shape, dtype):
            self.shape, self.dtype = shape, dtype

    for size, shown in (
        ((128), "[[128]]"),
        ((1, 128), "[[1, 128]]"),
        ([None, 128], "[[1, 128]]"),
        ([(-1, 128)], "[[1, 128]]"),
        (InputSpec(["batch", 128], "float32"), "[[1, 128]]"),
    ):
        paddle.summary(model, size)
        assert shown in capsys.readouterr().out
    paddle.summary(model, input=dyn.ones([3, 128]))
    assert "[[3, 128]]" in capsys.readouterr().out

    class Two(nn.Layer):
        def __init__(self):
            super().__init__()
            self.table, self.fc = nn.Embedding(4, 8), nn.Linear(8, 2)

        def forward(self, x, index):
            return self.fc(x + self.table(index))

    counts = paddle.summary(Two(), [(5, 8), (5,)], dtypes=["float32", "int64"])
    assert counts == {"total_params": 4 * 8 + 8 * 2 + 2, "trainable_params": 50}
    for wrong in (0, (-2, 3), ("a.b", 0), [(1, 2.5)]):
        with pytest.raises(dyn.AttributeValueError, match="positive integer or None"):
            paddle.summary(model, wrong)
    with pytest.raises(dyn.AttributeValueError, match="input_size or input"):
        paddle.summary(model)
    wrong_model: Any = [model]
    with pytest.raises(TypeError, match="a Layer is wanted"):
        paddle.summary(wrong_model, 128)


def test_s3_06_the_layout_of_the_table(verbatim, capsys):
    model = verbatim(MODEL)["MyModel"](128, 256)
    for layer, number in ((model.linear1, 18), (model.linear2, 19), (model.linear3, 20)):
        layer._full_name = f"linear_{number}"
    found = set()
    for _ in range(30):
        paddle.summary(model, (128))
        found.add(capsys.readouterr().out)
    lines = ROWS.format(19, 20, 21).splitlines(keepends=True)
    assert found == {HEAD + "".join(lines) + LONG, HEAD + lines[0] + lines[2] + SHORT}


def test_s3_07_only_layers_that_ran_are_shown(model, capsys):
    found = set()
    for _ in range(30):
        counts = paddle.summary(model, (128))
        found.add((counts["total_params"], capsys.readouterr().out))
    assert found == set(zip((99073, 33281), tables(model), strict=True))


def test_s3_08_numbers_stay_with_the_object_and_count_on(verbatim, capsys):
    space = verbatim(MODEL)
    first, second = (space["MyModel"](128, 256) for _ in range(2))

    def numbers(model):
        text = ""
        while "65,792" not in text:
            paddle.summary(model, (128))
            text = capsys.readouterr().out
        return [int(n) for n in re.findall(r"Linear-(\d+)", text)]

    a = numbers(first)
    assert a == list(range(a[0], a[0] + 3)) == numbers(first)
    assert numbers(second) == [n + 3 for n in a]


def test_s3_09_totals_count_running_statistics_as_not_trained(capsys):
    model = nn.Sequential(nn.Conv2D(1, 4, 3), nn.BatchNorm2D(4))
    paddle.summary(model, (1, 1, 8, 8))
    text = capsys.readouterr().out
    assert "Total params: 56\nTrainable params: 48\nNon-trainable params: 8\n" in text
    assert re.search(r"BatchNorm2D-\d+ .* 16 ", text)
    paddle.summary(dyn.vision.LeNet(), (1, 1, 28, 28))
    text = capsys.readouterr().out
    assert re.search(r" Conv2D-\d+ +\[\[1, 1, 28, 28\]\]      \[1, 6, 28, 28\]          60 ", text)
    assert text.endswith(
        "Total params: 61,610\n"
        "Trainable params: 61,610\n"
        "Non-trainable params: 0\n"
        "---------------------------------------------------------------------------\n"
        "Input size (MB): 0.00\n"
        "Forward/backward pass size (MB): 0.11\n"
        "Params size (MB): 0.24\n"
        "Estimated Total Size (MB): 0.35\n"
        "---------------------------------------------------------------------------\n\n"
    )


def test_s3_10_summary_returns_plain_ints(model):
    counts = paddle.summary(model, (128))
    assert repr(counts) in (
        "{'total_params': 99073, 'trainable_params': 99073}",
        "{'total_params': 33281, 'trainable_params': 33281}",
    )


def test_s3_11_mse_loss():
    a, b = dyn.to_tensor([[1.0, 2.0]]), dyn.to_tensor([[3.0, 5.0]])
    assert nn.MSELoss(reduction="mean")(a, b).item() == 6.5
    assert nn.MSELoss(reduction="mean")(a, b).shape == []
    assert nn.MSELoss(reduction="sum")(a, b).item() == 13.0
    assert nn.MSELoss(reduction="none")(a, b).tolist() == [[4.0, 9.0]]
    with pytest.raises(ValueError) as caught:
        nn.MSELoss(reduction="avg")
    assert str(caught.value).startswith(
        "'reduction' in 'MSELoss' should be 'sum', 'mean' or 'none', but received avg."
    )


def test_s3_12_sgd_and_its_complaints():
    p = nn.Parameter([1.0])
    optimizer = paddle.optimizer.SGD(learning_rate=0.01, parameters=[p])
    (p * 3).backward()
    optimizer.step()
    assert p.item() == pytest.approx(1 - 0.03)
    with pytest.raises(AttributeError) as caught:
        paddle.optimizer.SGD(learning_rate=0.01)
    assert str(caught.value).startswith(
        "parameters argument given to the Optimizer should not be None in dygraph mode."
    )
    with pytest.raises(TypeError, match="should be an iterable of Tensors, but got argument type"):
        paddle.optimizer.SGD(learning_rate=0.01, parameters=p)


def test_s3_13_the_training_loop_as_it_stands(trained):
    lines = [line for line in trained["printed"].splitlines() if re.match(r"\d+ ", line)]
    assert [int(line.split()[0]) for line in lines] == list(range(0, 3000, 200))
    losses = [float(line.split()[1]) for line in lines]
    assert losses[-1] < 0.2 * losses[0]
    assert trained["loss"].numpy().shape == ()


def test_s3_14_a_layer_that_was_skipped_is_not_updated(model):
    optimizer = paddle.optimizer.SGD(learning_rate=1e-3, parameters=model.parameters())
    dyn.seed(2)
    skipped = 0
    for _ in range(12):
        before, other = model.linear2.weight.numpy(), model.linear1.weight.numpy()
        model(dyn.ones([4, 128])).sum().backward()
        ran = model.linear2.weight.grad is not None
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)
        assert np.array_equal(model.linear2.weight.numpy(), before) != ran
        assert not np.array_equal(model.linear1.weight.numpy(), other)
        skipped += not ran
    assert 0 < skipped < 12


def test_s3_15_inference_on_a_single_row(trained, verbatim):
    names = {k: trained[k] for k in ("model", "input_size", "np")}
    space = verbatim(INFER, **names)
    assert re.match(
        r"Tensor\(shape=\[1\], dtype=float32, place=CPUPlace, stop_gradient=False,\n"
        r"       \[-?\d\.\d{8}\]\)\n---",
        space["printed"],
    )
    assert space["y_infer"].shape == [1] and not space["y_infer"].stop_gradient


def test_s3_16_the_structure_differs_at_inference_too(trained, verbatim):
    names = {k: trained[k] for k in ("model", "input_size", "np")}
    texts = [verbatim(INFER, **names)["printed"] for _ in range(30)]
    totals = {re.search(r"^Total params: (.*)$", text, re.M)[1] for text in texts}  # type: ignore[index]
    assert totals == {"99,073", "33,281"}


def test_s3_17_arrays_keep_their_dtype(trained):
    assert trained["x"].dtype == trained["y"].dtype == dyn.float32
    assert trained["x"].shape == [64, 128]


def test_summary_leaves_the_model_as_it_was(capsys):
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1D(4))
    model[1].eval()
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    dyn.seed(1)
    expected = dyn.rand([1]).item()
    dyn.seed(1)
    paddle.summary(model, (2, 4))
    assert dyn.rand([1]).item() == expected
    assert [layer.training for layer in model] == [True, False, True]
    assert not any(layer._forward_post_hooks for layer in model)
    for key, value in model.state_dict().items():
        assert np.array_equal(value.numpy(), state[key])
    with pytest.raises(dyn.ShapeError):
        paddle.summary(model, (2, 5))
    assert model.training and not any(layer._forward_post_hooks for layer in model)


def test_summary_points_at_plain_lists(capsys):
    class Trap(nn.Layer):
        def __init__(self):
            super().__init__()
            self.blocks = [nn.Linear(4, 4) for _ in range(2)]
            self.named = {"a": nn.ReLU()}
            self.fc = nn.Linear(4, 2)
            self.also = [self.fc]

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return self.fc(x)

    assert paddle.summary(Trap(), (1, 4))["total_params"] == 10
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert lines == [
        "Not counted: blocks is a plain list, its layers are neither trained nor saved; use "
        "LayerList",
        "Not counted: named is a plain dict, its layers are neither trained nor saved; use "
        "LayerDict",
    ]


def test_flops(capsys):
    assert paddle.flops(dyn.vision.LeNet(), [1, 1, 28, 28]) == 347560
    assert capsys.readouterr().out == "Total Flops: 347560     Total Params: 61610\n"
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    assert paddle.flops(model, (3, 4), print_detail=True) == 3 * (4 * 8 + 8 * 2)
    assert "0: 96\n2: 48\n" in capsys.readouterr().out

    def count(layer, inputs, output):
        layer.total_ops += output.size

    assert paddle.flops(model, (3, 4), custom_ops={nn.ReLU: count}) == 3 * 48 + 24
    assert paddle.flops(model, (3, 4), custom_ops={nn.Linear: count}) == 24 + 6
    norm = nn.Sequential(nn.Conv2D(2, 4, 3, groups=2, bias_attr=False), nn.BatchNorm2D(4))
    assert paddle.flops(norm, (1, 2, 6, 6)) == 64 * 9 + 2 * 64
