"""Snippets about training: gradients, tensor hooks, optimisers, schedulers, clipping, metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.peers.snippets import kind, ramp, snippet


def leaf(paddle: Any, *values: float) -> Any:
    """A tensor that wants a gradient."""
    return paddle.to_tensor([float(v) for v in values], stop_gradient=False)


@snippet()
def backward_of_many(paddle):
    x = leaf(paddle, 1, 2)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    return x.grad.numpy()


@snippet()
def backward_with_gradient(paddle):
    x = leaf(paddle, 1, 2)
    (x * x).backward(paddle.to_tensor([1.0, 10.0]))
    return x.grad.numpy()


@snippet()
def backward_twice(paddle):
    x = leaf(paddle, 1, 2)
    y = (x * x).sum()
    y.backward()
    return kind(y.backward, RuntimeError, SystemError)


@snippet()
def broadcast_gradients(paddle):
    x, b = paddle.to_tensor(ramp(3, 2), stop_gradient=False), leaf(paddle, 1, 2)
    (x * b + b).sum().backward()
    return [x.grad.numpy(), b.grad.numpy()]


@snippet()
def clear_grad(paddle):
    x = leaf(paddle, 1, 2)
    (x * 2).sum().backward()
    x.clear_grad()
    cleared = x.grad.numpy()
    x.clear_gradient(False)
    return [cleared, x.grad is None]


@snippet()
def gradient_of_gradient(paddle):
    x = leaf(paddle, 1, 2)
    (g,) = paddle.grad((x**3).sum(), x, create_graph=True)
    (h,) = paddle.grad(g.sum(), x)
    return [g.numpy(), h.numpy(), g.stop_gradient]


@snippet()
def grad_unused(paddle):
    x, y = leaf(paddle, 1), leaf(paddle, 1)
    found = paddle.grad((x * 2).sum(), [x, y], allow_unused=True)
    return [
        found[0].numpy(),
        found[1],
        kind(lambda: paddle.grad((x * 2).sum(), [x, y]), RuntimeError, ValueError),
    ]


@snippet()
def no_grad(paddle):
    x = leaf(paddle, 1)
    with paddle.no_grad():
        y = x * 2
    return [y.stop_gradient, (x * 2).stop_gradient, paddle.no_grad()(lambda: x * 2)().stop_gradient]


@snippet()
def stop_gradient_cuts(paddle):
    x = leaf(paddle, 2)
    y = x * x
    z = y.detach() * x
    z.sum().backward()
    return x.grad.numpy()


@snippet()
def tensor_hooks(paddle):
    x = leaf(paddle, 1, 2)
    y = x * 3
    y.register_hook(lambda g: g * 2)
    helper = x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: None)
    y.sum().backward()
    first = x.grad.numpy()
    x.clear_grad()
    print(helper.remove(), helper.remove())
    (x * 3).sum().backward()
    return [first, x.grad.numpy()]


@snippet()
def hook_needs_gradient(paddle):
    return kind(lambda: paddle.ones([1]).register_hook(lambda g: g))


def trained(paddle: Any, optimizer: Any, steps: int = 4) -> list[Any]:
    """Parameters of a small regression after a few steps."""
    layer = paddle.nn.Linear(3, 2)
    layer.set_state_dict({"weight": ramp(3, 2), "bias": np.zeros(2, "float32")})
    opt = optimizer(layer.parameters())
    x, y = paddle.to_tensor(ramp(5, 3)), paddle.to_tensor(ramp(5, 2, scale=2.0))
    for _ in range(steps):
        loss = paddle.nn.functional.mse_loss(layer(x), y)
        loss.backward()
        opt.step()
        opt.clear_grad()
    return [layer.weight.numpy(), layer.bias.numpy(), opt.get_lr()]


@snippet()
def sgd(paddle):
    return trained(paddle, lambda p: paddle.optimizer.SGD(0.1, parameters=p))


@snippet()
def sgd_decay(paddle):
    return trained(paddle, lambda p: paddle.optimizer.SGD(0.1, parameters=p, weight_decay=0.1))


@snippet()
def momentum(paddle):
    return trained(paddle, lambda p: paddle.optimizer.Momentum(0.1, 0.8, parameters=p))


@snippet()
def nesterov(paddle):
    return trained(
        paddle, lambda p: paddle.optimizer.Momentum(0.1, 0.8, parameters=p, use_nesterov=True)
    )


@snippet()
def adam(paddle):
    return trained(paddle, lambda p: paddle.optimizer.Adam(0.05, parameters=p))


@snippet()
def adam_options(paddle):
    return trained(
        paddle,
        lambda p: paddle.optimizer.Adam(0.05, 0.8, 0.9, 1e-3, parameters=p, weight_decay=0.1),
    )


@snippet()
def adamw(paddle):
    return trained(
        paddle,
        lambda p: paddle.optimizer.AdamW(
            0.05, parameters=p, weight_decay=0.2, apply_decay_param_fun=lambda n: "b_" not in n
        ),
    )


@snippet()
def adamax(paddle):
    return trained(paddle, lambda p: paddle.optimizer.Adamax(0.05, parameters=p))


@snippet()
def adagrad(paddle):
    return trained(paddle, lambda p: paddle.optimizer.Adagrad(0.05, parameters=p))


@snippet()
def adadelta(paddle):
    return trained(paddle, lambda p: paddle.optimizer.Adadelta(0.5, parameters=p))


@snippet()
def rmsprop(paddle):
    return trained(paddle, lambda p: paddle.optimizer.RMSProp(0.05, parameters=p))


@snippet()
def rmsprop_centered(paddle):
    return trained(
        paddle, lambda p: paddle.optimizer.RMSProp(0.05, momentum=0.5, centered=True, parameters=p)
    )


@snippet()
def lamb(paddle):
    return trained(paddle, lambda p: paddle.optimizer.Lamb(0.05, parameters=p))


@snippet()
def nadam(paddle):
    return trained(paddle, lambda p: paddle.optimizer.NAdam(0.05, parameters=p))


@snippet()
def radam(paddle):
    return trained(paddle, lambda p: paddle.optimizer.RAdam(0.05, parameters=p), steps=8)


@snippet()
def rprop(paddle):
    return trained(paddle, lambda p: paddle.optimizer.Rprop(0.01, parameters=p))


@snippet()
def l1_decay(paddle):
    decay = paddle.regularizer.L1Decay(0.1)
    return trained(paddle, lambda p: paddle.optimizer.SGD(0.1, parameters=p, weight_decay=decay))


@snippet()
def clip_by_global_norm(paddle):
    clip = paddle.nn.ClipGradByGlobalNorm(0.3)
    return trained(paddle, lambda p: paddle.optimizer.SGD(0.1, parameters=p, grad_clip=clip))


@snippet()
def clip_by_norm(paddle):
    clip = paddle.nn.ClipGradByNorm(0.2)
    return trained(paddle, lambda p: paddle.optimizer.SGD(0.1, parameters=p, grad_clip=clip))


@snippet()
def clip_by_value(paddle):
    clip = paddle.nn.ClipGradByValue(0.1)
    return trained(paddle, lambda p: paddle.optimizer.SGD(0.1, parameters=p, grad_clip=clip))


@snippet()
def parameter_groups(paddle):
    def groups(parameters):
        w, b = parameters
        return paddle.optimizer.SGD(
            0.1, parameters=[{"params": [w]}, {"params": [b], "learning_rate": 0.5}]
        )

    return trained(paddle, groups)


@snippet()
def parameter_learning_rate(paddle):
    layer = paddle.nn.Linear(
        1, 1, weight_attr=paddle.ParamAttr(learning_rate=0.5), bias_attr=paddle.ParamAttr()
    )
    layer.set_state_dict({"weight": np.ones((1, 1), "float32"), "bias": np.zeros(1, "float32")})
    opt = paddle.optimizer.SGD(0.1, parameters=layer.parameters())
    layer(paddle.ones([1, 1])).backward()
    opt.step()
    return [layer.weight.numpy(), layer.bias.numpy()]


@snippet()
def optimizer_of_no_parameters(paddle):
    return kind(lambda: paddle.optimizer.SGD(0.1, parameters=paddle.ones([1])))


@snippet()
def set_lr(paddle):
    opt = paddle.optimizer.SGD(0.1, parameters=paddle.nn.Linear(1, 1).parameters())
    opt.set_lr(0.01)
    return opt.get_lr()


@snippet()
def optimizer_state(paddle):
    layer = paddle.nn.Linear(1, 1, bias_attr=False)
    opt = paddle.optimizer.Adam(0.1, parameters=layer.parameters())
    layer(paddle.ones([1, 1])).backward()
    opt.step()
    name = layer.weight.name
    return sorted(key.replace(name, "w") for key in opt.state_dict())


def rates(scheduler: Any, steps: int = 8) -> list[float]:
    """The learning rates of the first steps."""
    found = []
    for _ in range(steps):
        found.append(scheduler())
        scheduler.step()
    return found


@snippet()
def step_decay(paddle):
    return rates(paddle.optimizer.lr.StepDecay(0.5, step_size=3, gamma=0.8))


@snippet()
def multi_step_decay(paddle):
    return rates(paddle.optimizer.lr.MultiStepDecay(0.5, milestones=[2, 5]))


@snippet()
def exponential_decay(paddle):
    return rates(paddle.optimizer.lr.ExponentialDecay(0.5, gamma=0.9))


@snippet()
def natural_exp_decay(paddle):
    return rates(paddle.optimizer.lr.NaturalExpDecay(0.5, gamma=0.1))


@snippet()
def inverse_time_decay(paddle):
    return rates(paddle.optimizer.lr.InverseTimeDecay(0.5, gamma=0.1))


@snippet()
def polynomial_decay(paddle):
    lr = paddle.optimizer.lr
    return [
        rates(lr.PolynomialDecay(0.5, decay_steps=4)),
        rates(lr.PolynomialDecay(0.5, decay_steps=3, cycle=True, power=2.0)),
    ]


@snippet()
def piecewise_decay(paddle):
    return rates(paddle.optimizer.lr.PiecewiseDecay([2, 5], [0.1, 0.2, 0.3]))


@snippet()
def cosine_annealing(paddle):
    return rates(paddle.optimizer.lr.CosineAnnealingDecay(0.5, T_max=3, eta_min=0.1))


@snippet()
def noam_decay(paddle):
    return rates(paddle.optimizer.lr.NoamDecay(64, warmup_steps=3, learning_rate=1.0))


@snippet()
def linear_warmup(paddle):
    lr = paddle.optimizer.lr
    inner = lr.StepDecay(0.5, step_size=2)
    return [
        rates(lr.LinearWarmup(0.5, warmup_steps=3, start_lr=0.0, end_lr=0.5)),
        rates(lr.LinearWarmup(inner, warmup_steps=3, start_lr=0.0, end_lr=0.5)),
    ]


@snippet()
def lambda_decay(paddle):
    lr = paddle.optimizer.lr
    return [
        rates(lr.LambdaDecay(0.5, lr_lambda=lambda n: 0.9**n)),
        rates(lr.MultiplicativeDecay(0.5, lr_lambda=lambda n: 0.9)),
    ]


@snippet()
def one_cycle(paddle):
    return rates(paddle.optimizer.lr.OneCycleLR(1.0, total_steps=8))


@snippet()
def cyclic(paddle):
    return rates(paddle.optimizer.lr.CyclicLR(0.1, 0.5, step_size_up=2))


@snippet()
def reduce_on_plateau(paddle):
    scheduler = paddle.optimizer.lr.ReduceOnPlateau(0.5, patience=1, factor=0.5)
    found = []
    for loss in (1.0, 0.9, 0.9, 0.9, 0.9, 0.8):
        scheduler.step(paddle.to_tensor(loss))
        found.append(scheduler())
    return found


@snippet()
def scheduler_state(paddle):
    scheduler = paddle.optimizer.lr.StepDecay(0.5, step_size=2)
    rates(scheduler, 3)
    other = paddle.optimizer.lr.StepDecay(0.5, step_size=2)
    other.set_state_dict(scheduler.state_dict())
    return rates(other, 3)


@snippet(differs="the numbers that a schedule was made with are kept too, as in PyTorch")
def scheduler_state_keys(paddle):
    return list(paddle.optimizer.lr.StepDecay(0.5, step_size=2).state_dict())


@snippet()
def scheduler_state_of_paddle(paddle):
    scheduler = paddle.optimizer.lr.StepDecay(0.5, step_size=2)
    scheduler.set_state_dict({"last_epoch": 3, "last_lr": 0.05})
    return rates(scheduler, 3)


@snippet()
def scheduler_in_optimizer(paddle):
    scheduler = paddle.optimizer.lr.StepDecay(0.5, step_size=2)
    return trained(paddle, lambda p: paddle.optimizer.SGD(scheduler, parameters=p))


@snippet()
def custom_scheduler(paddle):
    class Halves(paddle.optimizer.lr.LRScheduler):
        def get_lr(self):
            return self.base_lr * 0.5**self.last_epoch

    return rates(Halves(0.8), 4)


@snippet()
def accuracy(paddle):
    m = paddle.metric.Accuracy(topk=(1, 2))
    predicted = paddle.to_tensor([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
    m.update(m.compute(predicted, paddle.to_tensor([[1], [0]])))
    before = m.accumulate()
    m.reset()
    return [before, m.name(), m.accumulate()]


@snippet()
def precision_recall(paddle):
    predicted = np.array([0.1, 0.4, 0.6, 0.7], "float32")
    labels = np.array([0, 1, 1, 0])
    precision, recall = paddle.metric.Precision(), paddle.metric.Recall()
    precision.update(predicted, labels)
    recall.update(predicted, labels)
    return [precision.accumulate(), recall.accumulate(), precision.name(), recall.name()]


@snippet(differs="a probability of 0.5 counts as positive, as it does in Precision")
def recall_at_one_half(paddle):
    recall = paddle.metric.Recall()
    recall.update(np.array([0.5], "float32"), np.array([1]))
    return recall.accumulate()


@snippet()
def auc(paddle):
    m = paddle.metric.Auc()
    p = np.array([0.2, 0.8, 0.6, 0.4, 0.9])
    m.update(np.stack([1 - p, p], 1), np.array([[0], [1], [1], [1], [0]]))
    return float(m.accumulate())


@snippet()
def functional_accuracy(paddle):
    return paddle.metric.accuracy(
        paddle.to_tensor([[0.1, 0.9], [0.8, 0.2]]), paddle.to_tensor([[1], [1]])
    )


@snippet()
def parameter_of_no_layer(paddle):
    weight = paddle.create_parameter(shape=[2, 3], dtype="float32")
    bias = paddle.create_parameter([2], "float32", name="own_bias", is_bias=True)
    return weight.name.rsplit("_", 1)[-1], bias.name, weight.shape == [2, 3], bias


@snippet()
def py_layer(paddle):
    class Cube(paddle.autograd.PyLayer):
        @staticmethod
        def forward(ctx, x, factor):
            y = paddle.tanh(x)
            ctx.save_for_backward(x, y)
            ctx.factor = factor
            return y * factor, x + 1

        @staticmethod
        def backward(ctx, first, second):
            _, y = ctx.saved_tensor()
            return first * ctx.factor * (1 - paddle.square(y)) * 2 + second

    x = paddle.to_tensor(ramp(3), stop_gradient=False)
    a, b = Cube.apply(x, 3.0)
    (a * 2 + b).sum().backward()
    return a, b, x.grad.numpy(), Cube.apply(x.detach(), 1.0)[0].stop_gradient


@snippet()
def backward_of_several(paddle):
    x = paddle.to_tensor(ramp(2), stop_gradient=False)
    paddle.autograd.backward([x * 2, x * x], [paddle.ones([2]), None])
    return x.grad.numpy()


@snippet()
def amsgrad(paddle):
    weight = paddle.create_parameter([3], "float32", attr=paddle.nn.initializer.Constant(1.0))
    optimizer = paddle.optimizer.AdamW(
        0.1, 0.5, 0.6, parameters=[weight], weight_decay=0.1, amsgrad=True
    )
    for i in range(8):
        (paddle.to_tensor(ramp(3)) * weight * (i % 3 - 1)).sum().backward()
        optimizer.step()
        optimizer.clear_grad()
    return weight.numpy()


@snippet(
    differs="a gradient without a history is a constant, as in PyTorch; Paddle says it is none"
)
def stop_gradient_of_gradients(paddle):
    x = paddle.to_tensor([1.0, 2.0], stop_gradient=False)
    seen = []
    x.register_hook(lambda g: seen.append(g.stop_gradient))
    (x * x).sum().backward()
    return seen, x.grad.stop_gradient
