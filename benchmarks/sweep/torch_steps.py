"""The cases of `dyn_steps` in torch eager, by the fused update where there is one."""

import torch
from torch import nn, optim


def parameters(count, size):
    """Parameters with gradients."""
    made = [nn.Parameter(torch.randn(size)) for _ in range(count)]
    for p in made:
        p.grad = torch.randn(size)
    return made


def stepping(optimizer, **settings):
    """A case that steps; its result, the first gradient, wants none itself."""

    def case(count, size):
        params = parameters(count, size)
        step = optimizer(params, lr=1e-3, **settings).step
        return lambda: step() or params[0].grad, []

    return case


def clipping(clip):
    """A case that clips by 1."""

    def case(count, size):
        params = parameters(count, size)
        return lambda: (clip(params, 1.0), params[0].grad)[1], []

    return case


OPS = {
    "sgd": stepping(optim.SGD, fused=True),
    "momentum": stepping(optim.SGD, momentum=0.9, fused=True),
    "adam": stepping(optim.Adam, fused=True),
    "adam_amsgrad": stepping(optim.Adam, amsgrad=True, fused=True),
    "adamw": stepping(optim.AdamW, fused=True),
    "adagrad": stepping(optim.Adagrad, fused=True),
    "adadelta": stepping(optim.Adadelta),
    "rmsprop": stepping(optim.RMSprop, momentum=0.9),
    "rprop": stepping(optim.Rprop),
    "adamax": stepping(optim.Adamax),
    "nadam": stepping(optim.NAdam),
    "radam": stepping(optim.RAdam),
    "clip_norm": clipping(nn.utils.clip_grad_norm_),
    "clip_value": clipping(nn.utils.clip_grad_value_),
}
