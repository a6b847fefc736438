"""Snippets about Layer: registration, walks, names, state dictionaries, hooks, copies, errors."""

from __future__ import annotations

import copy
from typing import Any

from tests.peers.snippets import kind, message, ramp, snippet, warned


def net(paddle: Any) -> Any:
    """Linear, ReLU and batch normalisation, with values of its own."""
    nn = paddle.nn

    class Net(nn.Layer):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 4)
            self.body = nn.Sequential(nn.ReLU(), nn.BatchNorm1D(4))
            self.scale = self.create_parameter([4])
            self.register_buffer("count", paddle.zeros([1]))
            self.register_buffer("scratch", paddle.ones([2]), persistable=False)

        def forward(self, x):
            return self.body(self.fc(x)) * self.scale

    out = Net()
    for p in out.parameters():
        if not p.stop_gradient:
            p.set_value(paddle.to_tensor(ramp(*p.shape)))
    return out


@snippet()
def sublayers(paddle):
    print(net(paddle).sublayers())
    return [name for name, _ in net(paddle).named_sublayers()]


@snippet()
def sublayers_with_self(paddle):
    return [
        (name, type(layer).__name__)
        for name, layer in net(paddle).named_sublayers(include_self=True)
    ]


@snippet()
def named_sublayers_prefix(paddle):
    return [name for name, _ in net(paddle).named_sublayers(prefix="model")]


@snippet()
def children(paddle):
    model = net(paddle)
    print(list(model.children()))
    return [name for name, _ in model.named_children()]


@snippet()
def layer_text(paddle):
    print(net(paddle))
    return repr(net(paddle)) == str(net(paddle))


@snippet()
def extra_repr(paddle):
    class Scale(paddle.nn.Layer):
        def extra_repr(self):
            return "by=2"

    print(Scale(), paddle.nn.Sequential(Scale(), Scale()))


@snippet()
def multiline_extra_repr(paddle):
    class Scale(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.fc = paddle.nn.Linear(1, 2)

        def extra_repr(self):
            return "by=2"

    print(Scale())


@snippet(
    differs="the running statistics of batch normalisation are buffers here, parameters in Paddle"
)
def named_parameters(paddle):
    return [(name, p.shape, p.stop_gradient) for name, p in net(paddle).named_parameters()]


@snippet()
def trainable_parameters(paddle):
    return [name for name, p in net(paddle).named_parameters() if not p.stop_gradient]


@snippet()
def state_dict_keys(paddle):
    return {name: value.shape for name, value in net(paddle).state_dict().items()}


@snippet()
def state_dict_prefix(paddle):
    return list(net(paddle).fc.state_dict(structured_name_prefix="head."))


@snippet()
def state_dict_shares_values(paddle):
    layer = paddle.nn.Linear(2, 2)
    state = layer.state_dict()
    layer.weight.set_value(paddle.zeros([2, 2]))
    return state["weight"]


@snippet()
def set_state_dict_result(paddle):
    layer = paddle.nn.Linear(2, 2)
    other = {"weight": paddle.ones([2, 2]), "extra": paddle.ones([1])}
    with_warning = warned(lambda: layer.set_state_dict(other))
    missing, unexpected = layer.set_state_dict(other)
    return [missing, unexpected, with_warning, layer.weight]


@snippet()
def set_state_dict_shape(paddle):
    layer = paddle.nn.Linear(2, 2, bias_attr=False)
    return warned(lambda: layer.set_state_dict({"weight": paddle.ones([3, 2])}))


@snippet()
def set_state_dict_numpy(paddle):
    layer = paddle.nn.Linear(2, 2, bias_attr=False)
    layer.set_state_dict({"weight": ramp(2, 2)})
    return layer.weight


@snippet()
def load_dict_alias(paddle):
    layer = paddle.nn.Linear(2, 2, bias_attr=False)
    layer.load_dict({"weight": paddle.ones([2, 2])})
    layer.set_dict({"weight": layer.weight * 2})
    return layer.weight


@snippet()
def buffers(paddle):
    model = paddle.nn.Layer()
    model.register_buffer("a", paddle.ones([1]))
    model.register_buffer("b", paddle.zeros([1]), persistable=False)
    return [[name for name, _ in model.named_buffers()], list(model.state_dict())]


@snippet()
def buffer_reassigned(paddle):
    model = paddle.nn.Layer()
    model.register_buffer("a", paddle.ones([1]))
    model.a = paddle.zeros([1])
    return [model.state_dict()["a"], len(model.buffers())]


@snippet(differs="the messages say dyn.Tensor, and why a name has no dot in our words")
def buffer_error_messages(paddle):
    model = paddle.nn.Layer()
    model.fc = paddle.nn.Linear(1, 1)
    one = paddle.ones([1])
    return [
        message(lambda: model.register_buffer("a.b", one)),
        message(lambda: model.register_buffer("", one)),
        message(lambda: model.register_buffer("fc", one)),
        message(lambda: model.register_buffer("n", 1)),
        message(lambda: model.register_buffer(3, one)),
    ]


@snippet()
def buffer_errors(paddle):
    model = paddle.nn.Layer()
    model.fc = paddle.nn.Linear(1, 1)
    one = paddle.ones([1])
    return [
        kind(lambda: model.register_buffer("a.b", one), KeyError),
        message(lambda: model.register_buffer("", one), KeyError),
        message(lambda: model.register_buffer("fc", one), KeyError),
        kind(lambda: model.register_buffer("n", 1)),
        message(lambda: model.register_buffer(3, one)),
    ]


@snippet()
def parameter_errors(paddle):
    model = paddle.nn.Layer()
    model.fc = paddle.nn.Linear(1, 1)
    p = model.create_parameter([1])
    return [
        message(lambda: model.add_parameter("n", 1)),
        kind(lambda: model.add_parameter("a.b", p), KeyError),
        kind(lambda: model.add_parameter("", p), KeyError),
        kind(lambda: model.add_parameter("fc", p), KeyError),
    ]


@snippet()
def no_forward(paddle):
    class Empty(paddle.nn.Layer):
        pass

    return kind(lambda: Empty()(paddle.ones([1])))


@snippet()
def missing_attribute(paddle):
    class Model(paddle.nn.Layer):
        pass

    return message(lambda: Model().flatten)


@snippet()
def before_init(paddle):
    class LayerFirst(paddle.nn.Layer):
        def __init__(self):
            self.fc = paddle.nn.Linear(1, 1)

    class ParameterFirst(paddle.nn.Layer):
        def __init__(self):
            self.w = paddle.nn.Linear(1, 1).weight

    return [message(LayerFirst), message(ParameterFirst)]


@snippet()
def deleted_sublayer(paddle):
    model = net(paddle)
    del model.body
    return [list(model.state_dict()), message(lambda: model.body)]


@snippet()
def deleted_parameter(paddle):
    layer = paddle.nn.Linear(2, 2)
    del layer.bias
    return list(layer.state_dict())


@snippet()
def none_for_sublayer(paddle):
    model = net(paddle)
    model.body = None
    print(model)
    return [list(model.state_dict()), model.body]


@snippet()
def none_for_parameter(paddle):
    layer = paddle.nn.Linear(2, 2)
    layer.bias = None
    return [list(layer.state_dict()), layer.bias]


@snippet()
def number_for_parameter(paddle):
    layer = paddle.nn.Linear(2, 2)

    def assign():
        layer.bias = 3

    return kind(assign)


@snippet()
def replaced_sublayer(paddle):
    model = net(paddle)
    model.fc = paddle.nn.Linear(3, 4, bias_attr=False)
    return list(model.state_dict())


@snippet()
def shared_layer(paddle):
    nn = paddle.nn
    fc = nn.Linear(2, 2)
    model = nn.Sequential(fc, nn.ReLU(), fc)
    return [
        len(model.parameters()),
        [name for name, _ in model.named_sublayers()],
        list(model.state_dict()),
    ]


@snippet()
def shared_parameter(paddle):
    a, b = paddle.nn.Linear(2, 2), paddle.nn.Linear(2, 2)
    b.weight = a.weight
    model = paddle.nn.Sequential(a, b)
    return [[name for name, _ in model.named_parameters()], list(model.state_dict())]


@snippet()
def plain_list_is_not_registered(paddle):
    class Model(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.layers = [paddle.nn.Linear(1, 1)]

    return [len(Model().parameters()), len(Model().sublayers())]


@snippet()
def deep_copy(paddle):
    model = paddle.nn.Linear(2, 2)
    other = copy.deepcopy(model)
    model.weight.set_value(paddle.zeros([2, 2]))
    return [list(other.state_dict()), bool((other.weight.numpy() == 0).any())]


@snippet()
def train_and_eval(paddle):
    model = net(paddle)
    off = [layer.training for layer in model.eval().sublayers(include_self=True)]
    on = [layer.training for layer in model.train().sublayers(include_self=True)]
    return [off, on]


@snippet()
def apply_order(paddle):
    def show(layer):
        print(layer)

    return net(paddle).apply(show).training


@snippet()
def add_sublayer(paddle):
    model = paddle.nn.Layer()
    fc = model.add_sublayer("fc", paddle.nn.Linear(2, 3))
    return [fc is model.fc, list(model.state_dict())]


@snippet()
def clear_gradients(paddle):
    layer = paddle.nn.Linear(2, 2)
    layer(paddle.ones([1, 2])).sum().backward()
    before = layer.weight.grad.numpy()
    layer.clear_gradients()
    return [before, layer.weight.grad.numpy()]


@snippet()
def to_dtype(paddle):
    model = net(paddle)
    model.to(dtype="float64")
    return {name: str(value.numpy().dtype) for name, value in model.state_dict().items()}


@snippet()
def forward_output(paddle):
    model = net(paddle)
    model.eval()
    return model(paddle.to_tensor(ramp(2, 3)))


@snippet()
def post_hooks_chain(paddle):
    model = paddle.nn.Identity()
    model.register_forward_post_hook(lambda layer, inputs, output: output * 2)
    helper = model.register_forward_post_hook(lambda layer, inputs, output: output + 1)
    model.register_forward_post_hook(lambda layer, inputs, output: None)
    first = model(paddle.ones([2]))
    helper.remove()
    helper.remove()
    return [first, model(paddle.ones([2]))]


@snippet()
def pre_hooks(paddle):
    model = paddle.nn.Identity()
    seen = []
    model.register_forward_pre_hook(lambda layer, inputs: seen.append(type(inputs).__name__))
    model.register_forward_pre_hook(lambda layer, inputs: inputs[0] * 3)
    model.register_forward_pre_hook(lambda layer, inputs: (inputs[0] + 1,))
    return [model(paddle.ones([2])), seen]


@snippet()
def forward_skips_hooks(paddle):
    model = paddle.nn.Identity()
    model.register_forward_post_hook(lambda layer, inputs, output: output * 2)
    return [model.forward(paddle.ones([1])), model(paddle.ones([1]))]


@snippet()
def create_parameter_kinds(paddle):
    layer = paddle.nn.Layer()
    bias = layer.create_parameter([3], is_bias=True)
    weight = layer.create_parameter(
        [2], default_initializer=paddle.nn.initializer.Constant(2.5), dtype="float64"
    )
    none = layer.create_parameter([2], attr=False)
    return [bias, weight, none, bias.trainable, bias.persistable]


@snippet()
def param_attr(paddle):
    attr = paddle.ParamAttr(
        initializer=paddle.nn.initializer.Constant(0.5), trainable=False, learning_rate=0.1
    )
    layer = paddle.nn.Linear(2, 2, weight_attr=attr, bias_attr=False)
    return [layer.weight, layer.bias, layer.weight.trainable]


@snippet()
def create_tensor_text(paddle):
    layer = paddle.nn.Layer()
    layer.saved = layer.create_tensor(name="saved_tensor0")
    print(layer.saved)
    paddle.assign(paddle.ones([2]), layer.saved)
    return [layer.saved.numpy(), list(layer.state_dict())]


@snippet()
def sequential(paddle):
    nn = paddle.nn
    model = nn.Sequential(("a", nn.Linear(1, 2)), ("b", nn.ReLU()))
    print(model)
    return [
        len(model),
        type(model[1]).__name__,
        type(model["a"]).__name__,
        type(model[-1]).__name__,
    ]


@snippet()
def sequential_slice(paddle):
    nn = paddle.nn
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Tanh())
    model.append(nn.Sigmoid())
    print(model[1:])
    return [type(layer).__name__ for layer in model]


@snippet()
def layer_list(paddle):
    nn = paddle.nn
    layers = nn.LayerList([nn.Linear(1, 1) for _ in range(3)])
    layers.append(nn.ReLU())
    layers.insert(1, nn.Tanh())
    layers.extend([nn.Sigmoid()])
    layers[0] = nn.Identity()
    del layers[2]
    print(layers)
    return [len(layers), [name for name, _ in layers.named_children()]]


@snippet()
def layer_dict(paddle):
    nn = paddle.nn
    layers = nn.LayerDict({"a": nn.Linear(1, 1), "b": nn.ReLU()})
    layers["c"] = nn.Tanh()
    layers.pop("a")
    print(layers)
    return [list(layers.keys()), len(layers), "b" in layers]


@snippet()
def parameter_list(paddle):
    p = [paddle.nn.Layer().create_parameter([n]) for n in (1, 2)]
    layers = paddle.nn.ParameterList(p)
    layers.append(paddle.nn.Layer().create_parameter([3]))
    return [[v.shape for v in layers], list(layers.state_dict())]


@snippet()
def numpy_in_forward(paddle):
    class Model(paddle.nn.Layer):
        def forward(self, x):
            return paddle.to_tensor(x.numpy().flatten())

    return Model()(paddle.to_tensor([[1, 2, 3], [4, 5, 6]]))


@snippet()
def copies_have_no_gradients(paddle):
    model = paddle.nn.Linear(2, 2)
    model(paddle.ones([1, 2])).sum().backward()
    x = paddle.ones([2])
    x.stop_gradient = False
    (x * 2).sum().backward()
    return [copy.deepcopy(t).grad for t in (model.weight, x)] + [copy.deepcopy(model).bias.grad]
