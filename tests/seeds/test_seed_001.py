"""Seed 001, "Hooks and DropHookModel": rows S1.01 to S1.29, by number in the names of the tests."""

import threading
from typing import Any

import numpy as np
import pytest

import dyn
import dyn as paddle
from dyn import nn

MODEL = """
class Model(paddle.nn.Layer):
    def __init__(self):
        super(Model, self).__init__()
        self.flatten = paddle.nn.Flatten()
    def forward(self, inputs):
        return self.flatten(inputs)
"""
PRE_HOOK = (
    MODEL
    + """
def forward_pre_hook(layer, input):
    print(input)
    return input

x = paddle.ones([10, 1], 'float32')
model = Model()
forward_pre_hook_handle = model.flatten.register_forward_pre_hook(forward_pre_hook)
out = model(x)
"""
)
POST_HOOK = (
    MODEL
    + """
def forward_post_hook(layer, input, output):
    return 2*output

x = paddle.ones([10, 1], 'float32')
model = Model()
forward_post_hook_handle = model.flatten.register_forward_post_hook(forward_post_hook)
out = model(x)
print(out)
forward_post_hook_handle.remove()
"""
)
TENSOR_HOOKS = """
import paddle

# hook function return None
def print_hook_fn(grad):
    print(grad)

# hook function return Tensor
def double_hook_fn(grad):
    grad = grad * 2
    return grad

x = paddle.to_tensor([0., 1., 2., 3.], stop_gradient=False)
y = paddle.to_tensor([4., 5., 6., 7.], stop_gradient=False)
z = paddle.to_tensor([1., 2., 3., 4.])

# one Tensor can register multiple hooks
h = x.register_hook(print_hook_fn)
x.register_hook(double_hook_fn)

w = x + y
# register hook by lambda function
w.register_hook(lambda grad: grad * 2)

o = z.matmul(w)
o.backward()
# print_hook_fn print content in backward
# Tensor(shape=[4], dtype=float32, place=CUDAPlace(0), stop_gradient=False,
#        [2., 4., 6., 8.])

print("w.grad:", w.grad) # w.grad: [1. 2. 3. 4.]
print("x.grad:", x.grad) # x.grad: [ 4. 8. 12. 16.]
print("y.grad:", y.grad) # y.grad: [2. 4. 6. 8.]

# remove hook
h.remove()
"""
DROP_HOOK_MODEL = """
import paddle
import paddle.nn as nn

class DropHookModel(nn.Layer):
    def __init__(self,model,hook_layer,hook_func,hook_type):
        super(DropHookModel, self).__init__()
        self.model = model
        self.hook_layer = hook_layer
        self.hook_func = hook_func
        self.hook_type = hook_type
        self.hooks=[]
        self.train()

    #在train里进行hook绑定
    def train(self):
        self.model.train()
        for layer,func,type_ in zip(self.hook_layer,self.hook_func,self.hook_type):
            if type_=="forward_pre_hook":
                hook=layer.register_forward_pre_hook(func)
            elif type_=="forwar_post_hook":
                hook=layer.register_forward_post_hook(func)
            else:
                raise("type_ must is one of ['forward_pre_hook','forwar_post_hook']")
            self.hooks.append(hook)

    #在eval里取消绑定
    def eval(self):
        self.model.eval()
        for hook in self.hooks:
            hook.remove()

    #用于前向传播
    def forward(self,x):
        return self.model.forward(x)

    #返回用于训练的参数
    def parameters(self):
        return self.model.parameters()

    #返回用于训练的参数
    def named_parameters(self):
        return self.model.parameters()

    #用于设置模型参数
    def set_state_dict(self,model_dict):
        self.model.set_state_dict(model_dict)

    #用于返回模型参数
    def state_dict(self):
        return self.model.state_dict()

#创建hook函数1
dropout2d_1=nn.Dropout2D(p=0.3)
dropout2d_1.train()
def farward_hook_1(module, input, output):
    output=dropout2d_1(output)
    return output

#创建hook函数2
dropout2d_2=nn.Dropout2D(p=0.3)
dropout2d_2.train()
def farward_hook_2(module, input, output):
    output=dropout2d_2(output)
    return output

model=paddle.vision.resnet18()

#设置要绑定的layer对象
hook_layer=[model.layer4,model.layer3]
#设置要绑定的hook函数
hook_func=[farward_hook_1,farward_hook_2]
#设置要绑定的hook类型
hook_type=["forwar_post_hook","forwar_post_hook"]

#继续hook函数的绑定
drop_model=DropHookModel(model,hook_layer,hook_func,hook_type)
"""
USE = """
test_data=paddle.rand(shape=(1,3,224,224))
print("drop_model in train mode:")
drop_model.train()
for i in range(5):
    out=drop_model(test_data)
    print(out.numpy().argmax(axis=1),out.numpy().max(axis=1))

print("\\ndrop_model in eval mode:")
drop_model.eval()
for i in range(5):
    out=drop_model(test_data)
    print(out.numpy().argmax(axis=1),out.numpy().max(axis=1))
"""
TRAIN = """
# 设置优化器
optim = paddle.optimizer.Adam(parameters=drop_model.parameters())
# 设置损失函数 其中内置了softmax和onehot
loss_fn = paddle.nn.CrossEntropyLoss()

x_data = paddle.rand(shape=(10,3,224,224))
y_data = paddle.randint(low=0, high=100, shape=[10,1])

for i in range(10):
    predicts=drop_model(x_data)
    loss = loss_fn(predicts, y_data)
    # 计算准确率 等价于 prepare 中metrics的设置
    acc = paddle.metric.accuracy(predicts, y_data)
    # 反向传播
    loss.backward()
    # 更新参数
    optim.step()
    # 梯度清零
    optim.clear_grad()
    print(i,loss.item())
"""


def hooks_on(layer):
    return len(layer._forward_post_hooks)


@pytest.fixture(scope="module")
def drop():
    """The document's model, made once: building a ResNet costs more than running these tests."""
    dyn.seed(7)
    space: dict[str, Any] = {"paddle": dyn}
    source = DROP_HOOK_MODEL.replace("import paddle\nimport paddle.nn as nn", "from dyn import nn")
    exec(compile(source, "seed.py", "exec"), space)
    return space


def test_s1_01_layers_have_hooks_before_and_after_forward():
    layer = nn.ReLU()
    log = []
    layer.register_forward_pre_hook(lambda layer, inputs: log.append("pre"))
    layer.register_forward_post_hook(lambda layer, inputs, output: log.append("post"))
    layer(dyn.ones([1]))
    assert log == ["pre", "post"]


def test_s1_02_a_pre_hook_prints_a_tuple(verbatim):
    assert verbatim(PRE_HOOK)["printed"].startswith("(Tensor(shape=[10, 1], dtype=float32,")


def test_s1_03_removing_a_hook(verbatim):
    space = verbatim(POST_HOOK)
    rows = ",\n        ".join(["[2.]"] * 10)
    assert space["printed"].endswith(f"stop_gradient=True,\n       [{rows}])\n")
    assert space["model"](space["x"])[0].item() == 1.0
    space["forward_post_hook_handle"].remove()


def test_s1_04_tensor_hooks_may_replace_the_gradient():
    x: Any = paddle.to_tensor([1.0], stop_gradient=False)
    seen = []
    helper = x.register_hook(lambda grad: seen.append(grad.item()))
    x.register_hook(lambda grad: grad * 3)
    (x * 2).backward()
    assert seen == [2.0] and x.grad.item() == 6.0
    assert helper.remove() is True and helper.remove() is False


def test_s1_05_the_numbers_of_the_example(verbatim):
    # The document prints stop_gradient=False; a gradient without a history is a constant here.
    space = verbatim(TENSOR_HOOKS)
    head = "Tensor(shape=[4], dtype=float32, place=CPUPlace, stop_gradient=True,\n       "
    assert space["printed"] == (
        f"{head}[2., 4., 6., 8.])\n"
        f"w.grad: {head}[1., 2., 3., 4.])\n"
        f"x.grad: {head}[4. , 8. , 12., 16.])\n"
        f"y.grad: {head}[2., 4., 6., 8.])\n"
    )


def test_s1_06_a_tensor_that_is_held_shows_its_gradient_before_its_own_hooks():
    x: Any = paddle.to_tensor([1.0, 2.0], stop_gradient=False)
    w = x * 1
    w.register_hook(lambda grad: grad * 2)
    (w * 3).backward()
    assert w.grad.tolist() == [3.0, 3.0] and x.grad.tolist() == [6.0, 6.0]


def test_s1_07_hooks_run_in_the_order_of_registration():
    def run(*hooks):
        x: Any = paddle.to_tensor([1.0], stop_gradient=False)
        for hook in hooks:
            x.register_hook(hook)
        (x * 3).backward()

    seen = []
    see, double = lambda grad: seen.append(grad.item()), lambda grad: grad * 2
    run(see, double)
    run(double, see)
    assert seen == [3.0, 6.0]


@pytest.mark.parametrize("leaf", [True, False])
def test_s1_08_a_hook_sees_the_sum_of_all_uses_once(leaf):
    x: Any = paddle.to_tensor([1.0], stop_gradient=False)
    a = x if leaf else x * 1
    seen = []
    a.register_hook(lambda grad: seen.append(grad.item()))
    (a * 2 + a * 3).backward()
    assert seen == [5.0]


def test_s1_09_no_hook_without_a_gradient():
    with pytest.raises(
        RuntimeError, match=r"Cannot register hook on a tensor that stop gradient\."
    ):
        paddle.ones([1]).register_hook(print)


def test_s1_10_a_lambda_is_a_hook():
    w: Any = paddle.to_tensor([1.0], stop_gradient=False)
    w.register_hook(lambda grad: grad * 2)
    (w * 1).backward()
    assert w.grad.item() == 2.0


def test_s1_11_a_removed_hook_is_silent(verbatim):
    space = verbatim(TENSOR_HOOKS)
    assert space["h"].remove() is False
    x, calls = space["x"], []
    helper = x.register_hook(calls.append)
    helper.remove()
    x.sum().backward()
    assert not calls


def test_s1_12_matmul_of_vectors_is_a_number(verbatim):
    o = verbatim(TENSOR_HOOKS)["o"]
    assert o.shape == [] and o.item() == 80.0


def test_s1_13_the_place_is_printed():
    assert "place=CPUPlace," in repr(paddle.ones([1]))
    assert repr(paddle.ones([1]).place) == "CPUPlace" and paddle.get_device() == "cpu"
    with pytest.raises(ValueError, match="CPU"):
        paddle.to_tensor([1.0], place="gpu:0")


def test_s1_14_drop_hook_model_binds_and_unbinds(verbatim):
    small = DROP_HOOK_MODEL.replace("paddle.vision.resnet18()", "Small()")
    source = (
        "class Small(paddle.nn.Layer):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer3 = paddle.nn.Conv2D(1, 4, 1)\n"
        "        self.layer4 = paddle.nn.Conv2D(4, 4, 1)\n"
        "    def forward(self, x):\n"
        "        return self.layer4(self.layer3(x))\n"
    )
    space = verbatim(source + small)
    model, wrapper = space["model"], space["drop_model"]
    assert [hooks_on(model.layer3), hooks_on(model.layer4)] == [1, 1]
    wrapper.train()
    assert [hooks_on(model.layer3), hooks_on(model.layer4)] == [2, 2]
    wrapper.eval()
    assert [hooks_on(model.layer3), hooks_on(model.layer4)] == [0, 0]
    # eval() does not call super(): the wrapper's own flag stays as it was.
    assert wrapper.training and not model.training
    assert wrapper.set_state_dict(wrapper.state_dict()) is None


def test_s1_15_a_plain_list_registers_nothing(drop):
    model, wrapper = drop["model"], drop["drop_model"]
    assert isinstance(wrapper.hook_layer, list)
    assert len(wrapper.parameters()) == len(model.parameters())
    assert [name for name, _ in wrapper.named_children()] == ["model"]


def test_s1_16_another_type_of_hook_raises_a_string(drop):
    with pytest.raises(TypeError, match="exceptions must derive from BaseException"):
        drop["DropHookModel"](nn.ReLU(), [nn.ReLU()], [print], ["forward_post_hook"])


def test_s1_17_dropout2d_drops_whole_channels():
    dyn.seed(0)
    layer = nn.Dropout2D(p=0.5)
    assert repr(nn.Dropout2D(p=0.3)) == "Dropout2D(p=0.3, data_format=NCHW)"
    out = layer(dyn.ones([64, 32, 3, 3])).numpy()
    channels = out.reshape(64 * 32, 9)
    assert set(np.unique(channels)) == {0.0, 2.0} and (channels.std(axis=1) == 0).all()
    assert abs(out.mean() - 1) < 0.1
    layer.eval()
    assert np.array_equal(layer(dyn.ones([2, 2, 3, 3])).numpy(), np.ones([2, 2, 3, 3]))


def test_s1_18_a_dropout_outside_the_model_follows_its_own_flag():
    dropout = nn.Dropout2D(p=0.5)
    model = nn.Sequential(nn.ReLU())
    helper = model[0].register_forward_post_hook(lambda layer, inputs, output: dropout(output))
    model.eval()
    assert dropout.training
    x = dyn.ones([8, 32, 1, 1])
    assert (model(x).numpy() == 0).any()
    helper.remove()
    assert (model(x).numpy() == 1).all()


def test_s1_19_resnet18(drop):
    model = drop["model"]
    count = sum(int(np.prod(p.shape)) for p in model.state_dict().values())
    trained = sum(int(np.prod(p.shape)) for p in model.parameters())
    assert (count, trained) == (11_699_112, 11_689_512)
    assert len(model.state_dict()) == 102 and len(model.parameters()) == 62
    assert list(model.state_dict())[:6] == [
        "conv1.weight",
        "bn1.weight",
        "bn1.bias",
        "bn1._mean",
        "bn1._variance",
        "layer1.0.conv1.weight",
    ]
    model.eval()
    assert model(dyn.rand([1, 3, 64, 64])).shape == [1, 1000]


@pytest.fixture(scope="module")
def used(drop):
    """What the document's second part prints: five lines in train mode, five in eval mode."""
    import contextlib
    import io

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(USE, "seed.py", "exec"), drop)
    text = printed.getvalue()
    first, second = text.split("\ndrop_model in eval mode:\n")
    return first.splitlines()[1:], second.splitlines()


def test_s1_20_in_train_mode_the_outputs_differ(used):
    assert len(used[0]) == 5 and len(set(used[0])) == 5


def test_s1_21_in_eval_mode_the_outputs_are_equal(used):
    assert len(used[1]) == 5 and len(set(used[1])) == 1


def test_s1_22_best_class_and_score_as_arrays_of_one(used):
    for line in used[0] + used[1]:
        best, score = line.split("] [")
        assert best.startswith("[") and score.endswith("]")
        assert 0 <= int(best[1:]) < 1000 and float(score[:-1])


def test_s1_23_adam_has_paddles_settings():
    layer = nn.Linear(2, 1)
    optim = paddle.optimizer.Adam(parameters=layer.parameters())
    assert optim.get_lr() == 0.001
    before = layer.weight.numpy()
    layer(dyn.to_tensor([[1.0, -2.0]])).sum().backward()
    optim.step()
    g = np.array([[1.0], [-2.0]])
    m, v = 0.1 * g, 0.001 * g * g
    wanted = before - 0.001 * (m / (1 - 0.9)) / (np.sqrt(v / (1 - 0.999)) + 1e-8)
    np.testing.assert_allclose(layer.weight.numpy(), wanted, rtol=1e-5)
    keys = [f"{layer.weight.name}_{k}_0" for k in
            ("moment1", "moment2", "beta1_pow_acc", "beta2_pow_acc")]  # fmt: skip
    assert list(optim.state_dict())[:4] == keys
    other = paddle.optimizer.Adam(parameters=layer.parameters())
    other.set_state_dict(optim.state_dict())
    for key, value in optim.state_dict().items():
        assert np.array_equal(other.state_dict()[key].numpy(), value.numpy())


def test_s1_24_cross_entropy_takes_labels_with_and_without_an_axis():
    logits = dyn.to_tensor([[0.5, 0.25, -1.0], [1.0, 2.0, 0.0]])
    loss = nn.CrossEntropyLoss()
    a = loss(logits, dyn.to_tensor([0, 1]))
    b = loss(logits, dyn.to_tensor([[0], [1]]))
    z = logits.numpy().astype(np.float64)
    wanted = (np.log(np.exp(z).sum(1)) - z[[0, 1], [0, 1]]).mean()
    assert a.shape == [] and a.item() == b.item() == pytest.approx(wanted, rel=1e-6)


def test_s1_25_randint():
    drawn = paddle.randint(low=0, high=100, shape=[10, 1])
    assert drawn.shape == [10, 1] and drawn.dtype == dyn.int64
    assert drawn.numpy().min() >= 0 and drawn.numpy().max() < 100


def test_s1_26_accuracy():
    scores = dyn.to_tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]])
    label = dyn.to_tensor([[1], [1]])
    top = paddle.metric.accuracy(scores, label)
    assert top.shape == [] and top.dtype == dyn.float32 and top.item() == 0.5
    assert paddle.metric.accuracy(scores, label, k=2).item() == 1.0


def test_s1_27_and_s1_28_training_lowers_the_loss(verbatim):
    # The document's loop at 64 x 64 pixels and three steps.
    dyn.seed(0)
    source = TRAIN.replace("(10,3,224,224)", "(10,3,64,64)").replace("range(10)", "range(3)")
    space = verbatim(DROP_HOOK_MODEL + source)
    losses = [float(line.split()[1]) for line in space["printed"].splitlines()]
    assert len(losses) == 3 and losses[-1] < losses[0]
    assert isinstance(space["loss"].item(), float) and space["acc"].shape == []
    assert all(p.grad.sum().item() == 0.0 for p in space["drop_model"].parameters())


def test_s1_28_a_parameter_without_gradient_is_skipped():
    used, unused = nn.Linear(2, 2), nn.Linear(2, 2)
    optim = paddle.optimizer.Adam(parameters=[*used.parameters(), *unused.parameters()])
    before = unused.weight.numpy()
    used(dyn.ones([1, 2])).sum().backward()
    optim.step()
    optim.clear_grad()
    assert np.array_equal(unused.weight.numpy(), before) and unused.weight.grad is None
    assert used.weight.grad.sum().item() == 0.0


def test_s1_29_set_state_dict_tells_what_it_skipped():
    layer = nn.Linear(2, 3)
    with pytest.warns(UserWarning) as caught:
        answer = layer.set_state_dict({"weight": dyn.ones([3, 3]), "extra": dyn.ones([1])})
    assert answer == (["weight", "bias"], ["extra"])
    assert [str(w.message) for w in caught] == [
        "Skip loading for weight. weight receives a shape [3, 3], but the expected shape is "
        "[2, 3].",
        "Skip loading for bias. bias is not found in the provided dict.",
    ]


def test_two_threads_build_and_run_models_at_once():
    failures: list = []

    def work(number):
        try:
            for _ in range(20):
                net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
                optim = paddle.optimizer.Adam(0.01, parameters=net.parameters())
                x = dyn.ones([3, 4])
                losses = []
                for _ in range(3):
                    loss = (net(x) - number).square().mean()
                    loss.backward()
                    optim.step()
                    optim.clear_grad()
                    losses.append(loss.item())
                assert losses[-1] < losses[0]
                names.extend(p.name for p in net.parameters())
        except Exception as error:
            failures.append(error)

    names: list = []
    threads = [threading.Thread(target=work, args=(n,)) for n in (5, -5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and len(names) == len(set(names)) == 2 * 20 * 4
