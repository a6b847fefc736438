"""Images with their channels last: `data_format` of functions and layers."""

from __future__ import annotations

from typing import Any

from tests.peers.snippets import kind, ramp, snippet


@snippet()
def functions(paddle: Any) -> Any:
    f, x = paddle.nn.functional, paddle.to_tensor(ramp(2, 4, 6, 4))
    last = {"data_format": "NHWC"}
    mean, variance = paddle.zeros([4]), paddle.ones([4])
    found = [
        f.max_pool2d(x, 2, **last),
        f.avg_pool2d(x, 2, 2, 1, exclusive=False, **last),
        f.adaptive_avg_pool2d(x, 3, **last),
        f.interpolate(x, size=[8, 6], mode="bilinear", **last),
        f.interpolate(x, scale_factor=2, mode="nearest", **last),
        f.upsample(x, scale_factor=2, **last),
        f.pixel_shuffle(x, 2, **last),
        f.pixel_unshuffle(x, 2, **last),
        f.channel_shuffle(x, 2, **last),
        f.batch_norm(x, mean, variance, training=True, **last),
        f.local_response_norm(x, 3, **last),
        f.group_norm(x, 2, **last),
        f.temporal_shift(x, 2, 0.25, **last),
        f.dropout2d(x, 0.5, training=False, **last),
    ]
    deep = paddle.to_tensor(ramp(1, 4, 4, 4, 4))
    found += [
        f.max_pool3d(deep, 2, data_format="NDHWC"),
        f.avg_pool3d(deep, 2, data_format="NDHWC"),
    ]
    wrong = kind(lambda: f.max_pool2d(x, 2, data_format="HWC"), ValueError)
    return found, wrong, mean, variance, f.max_pool2d(x, 2, data_format="NCHW")


@snippet()
def layers(paddle: Any) -> Any:
    nn, x, last = paddle.nn, paddle.to_tensor(ramp(2, 4, 6, 4)), {"data_format": "NHWC"}
    x.stop_gradient = False
    made = [
        nn.MaxPool2D(2, **last), nn.AvgPool2D(2, **last), nn.AdaptiveAvgPool2D(2, **last),
        nn.BatchNorm2D(4, **last), nn.GroupNorm(2, 4, **last), nn.LocalResponseNorm(3, **last),
        nn.PixelShuffle(2, **last), nn.PixelUnshuffle(2, **last), nn.ChannelShuffle(2, **last),
        nn.Upsample(scale_factor=2, **last), nn.UpsamplingBilinear2D(scale_factor=2, **last),
        nn.UpsamplingNearest2D(scale_factor=2, **last),
    ]  # fmt: skip
    outs = [layer(x) for layer in made]
    sum((out * out).sum() for out in outs).backward()
    text = paddle.to_tensor(ramp(2, 5, 3))
    return [out.numpy() for out in outs], x.grad.numpy(), nn.BatchNorm1D(3, data_format="NLC")(text)


@snippet()
def network(paddle: Any) -> Any:
    nn = paddle.nn
    last = {"data_format": "NHWC"}
    weight = paddle.ParamAttr(initializer=nn.initializer.Constant(0.1))
    net = nn.Sequential(
        nn.Conv2D(3, 4, 3, padding=1, weight_attr=weight, **last), nn.BatchNorm2D(4, **last),
        nn.ReLU(), nn.MaxPool2D(2, **last), nn.AdaptiveAvgPool2D(1, **last), nn.Flatten(),
    )  # fmt: skip
    return net(paddle.to_tensor(ramp(2, 8, 8, 3))), list(net.state_dict())
