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
