"""What programs in the style of Paddle's model collections do besides computing."""

from __future__ import annotations

from typing import Any

from tests.peers.snippets import ramp, snippet


@snippet()
def normalised_and_activated(paddle: Any) -> Any:
    norm = paddle.nn.BatchNorm(
        4, act="relu", param_attr=paddle.ParamAttr(learning_rate=0.5), moving_mean_name="m"
    )
    x = paddle.to_tensor(ramp(2, 4, 3, 3))
    first = norm(x)
    norm.eval()
    return first, norm(x), sorted(norm.state_dict())


@snippet()
def synchronised(paddle: Any) -> Any:
    nn = paddle.nn
    net = nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4))
    return sorted(nn.SyncBatchNorm.convert_sync_batchnorm(net).state_dict())


@snippet()
def padding_row_written(paddle: Any) -> Any:
    layer = paddle.nn.Embedding(5, 3, padding_idx=1)
    layer.weight.set_value(ramp(5, 3))
    out = layer(paddle.to_tensor([[0, 1], [1, 4]]))
    out.square().sum().backward()
    negative = paddle.nn.functional.embedding(paddle.to_tensor([4, 2]), layer.weight, -1)
    return out, layer.weight.grad.numpy(), negative


@snippet()
def half_precision_loop(paddle: Any) -> Any:
    net = paddle.nn.Linear(3, 2)
    net.weight.set_value(ramp(3, 2))
    optimizer = paddle.optimizer.Momentum(
        learning_rate=0.1, parameters=net.parameters(), multi_precision=False
    )
    scaler, losses = paddle.amp.GradScaler(enable=False, init_loss_scaling=1024.0), []
    for _ in range(3):
        with paddle.amp.auto_cast(enable=False, level="O1"):
            loss = net(paddle.to_tensor(ramp(4, 3))).square().mean()
        scaled = scaler.scale(loss)
        scaled.backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.clear_grad()
        losses.append(float(loss))
    return losses


@snippet()
def batches_of_one_process(paddle: Any) -> Any:
    data = paddle.io.TensorDataset([paddle.arange(10)])
    sampler = paddle.io.DistributedBatchSampler(data, 4, shuffle=True, drop_last=False)
    first, second = list(sampler), list(sampler)
    sampler.set_epoch(0)
    return first, second, list(sampler), len(sampler)


@snippet()
def places_and_words(paddle: Any) -> Any:
    x = paddle.to_tensor(ramp(2, 3))
    return (
        paddle.reshape(x, shape=[3, 2]),
        x.reshape(shape=[-1]),
        x.cpu(),
        x.to("float64"),
        x.to("cpu"),
        x.to(dtype="int32"),
        paddle.is_empty(x),
        paddle.tolist(x > 0),
        paddle.unstack(x, axis=1)[2],
    )


@snippet()
def masks_and_losses(paddle: Any) -> Any:
    F, x = paddle.nn.functional, paddle.to_tensor(ramp(4, 3))
    soft = F.softmax(x * 2)
    return (
        F.sequence_mask(paddle.to_tensor([1, 3, 2])),
        F.sequence_mask(paddle.to_tensor([[1], [3]]), maxlen=4, dtype="float32"),
        F.softmax_with_cross_entropy(x, paddle.to_tensor([[0], [2], [1], [0]])),
        F.softmax_with_cross_entropy(x, soft, soft_label=True, return_softmax=True),
        F.zeropad2d(paddle.to_tensor(ramp(1, 1, 2, 2)), [1, 2, 0, 1]),
    )


@snippet()
def arguments_without_names(paddle: Any) -> Any:
    nn, F, x = paddle.nn, paddle.nn.functional, paddle.to_tensor(ramp(1, 4, 5, 5))
    weight = paddle.to_tensor(ramp(4, 2, 3, 3))
    deep = paddle.to_tensor(ramp(1, 2, 3, 3, 3))
    statistics = paddle.to_tensor(ramp(4)), paddle.to_tensor(ramp(4)) + 2
    layer = nn.Conv2DTranspose(4, 4, 3, 2, 1, 0, 2, 1)
    whole = nn.Conv3DTranspose(2, 2, 2, 1, 0, 0, 1, 2)
    return (
        nn.Unfold(2, 1, 1, 3)(x),
        F.unfold(x, 2, 3, 1, 1),
        layer.weight.shape,
        layer(x).shape,
        whole.weight.shape,
        whole(deep).shape,
        F.conv2d_transpose(x, weight, None, 1, 0, 0, 2, 1),
        F.conv2d_transpose(x, weight, None, 1, 0, 0, 1, 2),
        F.interpolate(x, [2, 3], None, "nearest", False, 0, "NHWC"),
        F.upsample(x, [3, 3], None, "bilinear", True, 0, "NCHW"),
        F.batch_norm(x, *statistics, None, None, True, 0.9, 1e-5, "NCHW"),
        F.batch_norm(x, *statistics, None, None, True, 0.9, 1e-5, "NCHW", True),
    )


@snippet()
def gradients_of_inputs_only(paddle: Any) -> Any:
    x, unused = paddle.to_tensor(ramp(2, 2)), paddle.to_tensor(ramp(2))
    x.stop_gradient = unused.stop_gradient = False
    y = (x**3).sum()
    (first,) = paddle.grad(y, x, create_graph=True, retain_graph=True, only_inputs=True)
    return first, paddle.grad([first.sum()], [x, unused], None, True, False, True, True)


@snippet()
def optimizers_with_all_arguments(paddle: Any) -> Any:
    found = []
    for make in (
        lambda p: paddle.optimizer.SGD(0.1, p, None, None, False),
        lambda p: paddle.optimizer.SGD(learning_rate=0.1, parameters=p, multi_precision=True),
        lambda p: paddle.optimizer.Adam(0.1, 0.9, 0.99, 1e-8, p, None, None, False, False, False),
    ):
        layer = paddle.nn.Linear(2, 1)
        layer.weight.set_value(ramp(2, 1))
        optimizer = make(layer.parameters())
        layer(paddle.to_tensor(ramp(3, 2))).sum().backward()
        optimizer.step()
        found.append(layer.weight)
    return found


@snippet()
def sizes_as_tensors(paddle: Any) -> Any:
    F, x = paddle.nn.functional, paddle.to_tensor(ramp(2, 3, 4, 6))
    sizes, one = paddle.shape(x), paddle.to_tensor(1)
    corner = paddle.to_tensor([0, 0, 1, 1])
    cell = paddle.nn.LSTMCell(3, 4)
    return (
        F.interpolate(x, sizes[2:] * 2, mode="bilinear"),
        F.interpolate(x, [sizes[2] // 2, sizes[3]]),
        F.adaptive_avg_pool2d(x, sizes[2:] // 2),
        paddle.topk(x, sizes[0])[0],
        paddle.linspace(0, 1, sizes[3]),
        paddle.crop(x, shape=paddle.to_tensor([2, 2, 2, 2]), offsets=corner),
        x[:, :, : sizes[2] // 2],
        paddle.sum(x, one),
        paddle.concat([x, x], one),
        paddle.unsqueeze(x, one).shape,
        paddle.unsqueeze(x, [2, 0]).shape,
        paddle.unsqueeze(x, [-2, -1]).shape,
        cell.get_initial_states(x, [5]).shape,
        cell.get_initial_states(x, init_value=0.5, batch_dim_idx=1),
        paddle.nn.Conv2D(3, 2, 3, stride=2, padding="same")(x).shape,
    )
