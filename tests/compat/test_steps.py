"""Losses as PyTorch's users write them: compiled steps and files beside plain steps."""

import copy

import numpy as np
import pytest

import dyn.compat.torch as torch
import dyn.compat.torch.nn.functional as F
from dyn.compat.torch import nn
from dyn.compat.torch.utils.checkpoint import checkpoint
from exporter import InputSpec, Predictor, export, export_training
from tracer import compile_training


def joined_labels(scores, labels, lengths):
    """Texts of several lengths one behind the other, as `CTCLoss` takes them."""
    steps = torch.full((scores.shape[0],), scores.shape[1], dtype=torch.long)
    criterion = nn.CTCLoss(reduction="sum")
    return criterion(scores.log_softmax(2).transpose(0, 1), labels, steps, lengths)


def weighted(scores, labels, lengths):
    """A criterion that is made where it is used, with weights of its own."""
    target = F.one_hot(labels[:4] % 5, 5).float()
    first = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5]))
    second = nn.CrossEntropyLoss(weight=torch.arange(1.0, 6.0))
    return first(scores[0, :4], target) + second(scores[1, :4], labels[:4] % 5) + lengths.sum() * 0


def check_compiled(criterion):
    """Three steps compiled give the losses and parameters of three plain ones."""
    torch.manual_seed(0)
    plain = nn.Linear(4, 5)
    twin = copy.deepcopy(plain)
    x = torch.randn(3, 7, 4)
    labels, lengths = torch.tensor([1, 2, 3, 1, 4, 4, 2, 3, 1]), torch.tensor([4, 2, 3])
    ours = torch.optim.SGD(plain.parameters(), 0.1)
    step = compile_training(
        lambda x, *given: criterion(twin(x), *given),
        optimizer=torch.optim.SGD(twin.parameters(), 0.1),
    )
    for turn in range(3):
        given = labels.roll(turn), lengths.roll(turn)
        ours.zero_grad()
        loss = criterion(plain(x), *given)
        loss.backward()
        ours.step()
        found = step(x, *given)
        np.testing.assert_allclose(found.item(), loss.item(), rtol=1e-5)
    for p, q in zip(plain.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(q.detach().numpy(), p.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("criterion", ["smooth_l1_loss", "mse_loss", "bce_with_logits"])
def test_rows_that_a_mask_selects_are_compared(criterion):
    loss = getattr(F, criterion.replace("bce", "binary_cross_entropy"))

    def masked(scores, labels, lengths):
        mask = (labels > 2).view(3, 3)[:, :, None].expand(3, 3, 5)
        target = (labels.view(3, 3, 1) % 2).float().expand(3, 3, 5)
        return loss(scores[:, :3][mask].view(-1, 5), target[mask].view(-1, 5), reduction="sum")

    check_compiled(masked)


@pytest.mark.parametrize("criterion", [joined_labels, weighted])
def test_compiled_steps_are_the_plain_ones(criterion):
    check_compiled(criterion)


def test_a_file_takes_labels_of_other_lengths(tmp_path):
    class Costs(nn.Module):
        def forward(self, scores, labels, lengths):
            return joined_labels(scores, labels, lengths)

    specs = [
        InputSpec([3, 7, 5], name="scores"),
        InputSpec([6], "int64", name="labels", example=np.array([1, 2, 3, 1, 4, 4])),
        InputSpec([3], "int64", name="lengths", example=np.array([1, 2, 3])),
    ]
    # Drawn labels and lengths would not fit each other.
    export(Costs(), tmp_path / "m.onnx", specs, verify=False)
    scores = torch.randn(3, 7, 5)
    labels, lengths = torch.tensor([2, 2, 4, 1, 3, 1]), torch.tensor([4, 0, 2])
    (found,) = Predictor(tmp_path / "m.onnx").run(scores.numpy(), labels.numpy(), lengths.numpy())
    rows = [scores[i : i + 1] for i in range(3)]
    parts = [labels[:4], labels[:0], labels[4:]]
    wanted = [joined_labels(r, p, torch.tensor([len(p)])) for r, p in zip(rows, parts, strict=True)]
    np.testing.assert_allclose(found, sum(one.item() for one in wanted), rtol=1e-5)
    # More labels than there are would be taken from elsewhere: the file refuses, as the model does.
    beyond = np.array([4, 2, 2])
    with pytest.raises(Exception, match="bounds"):
        Predictor(tmp_path / "m.onnx").run(scores.numpy(), labels.numpy(), beyond)


def test_a_compiled_step_refuses_lengths_beyond_the_joined_labels():
    model = nn.Linear(4, 5)
    step = compile_training(
        lambda x, *given: joined_labels(model(x), *given),
        optimizer=torch.optim.SGD(model.parameters(), 0.1),
    )
    x, labels = torch.randn(3, 7, 4), torch.tensor([1, 2, 3, 1, 4, 4])
    step(x, labels, torch.tensor([2, 3, 1]))
    with pytest.raises(IndexError, match="out of range for an axis of size 6"):
        step(x, labels, torch.tensor([2, 3, 3]))


def test_a_checkpoint_updates_statistics_twice_however_it_runs(tmp_path):
    """PyTorch runs a checkpointed function again in the backward pass, statistics included."""
    x = torch.arange(24.0).view(6, 4).sin()

    def made():
        torch.manual_seed(0)
        net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.0))

        def loss(x):
            # The first takes an input that wants no gradient, the second one that does.
            h = checkpoint(net[:2], x, use_reentrant=False)
            return checkpoint(net[2:], h, use_reentrant=False).pow(3).mean()

        return net, loss, torch.optim.SGD(net.parameters(), 0.1)

    plain, loss, optimizer = made()
    for _ in range(2):
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()
    assert plain[0].num_batches_tracked == 4 and plain[2].num_batches_tracked == 4
    # Four updates of a tenth each with the same means.
    np.testing.assert_allclose(
        plain[0].running_mean.numpy(), x.mean(0).numpy() * (1 - 0.9**4), rtol=1e-5, atol=1e-7
    )
    twin, loss, optimizer = made()
    export_training(loss, tmp_path / "step.onnx", InputSpec([6, 4], example=x), optimizer=optimizer)
    predictor = Predictor(tmp_path / "step.onnx")
    step = compile_training(loss, optimizer=optimizer)
    for _ in range(2):
        step(x)
        predictor.run(x.numpy())
    for name, value in plain.state_dict().items():
        np.testing.assert_allclose(twin.state_dict()[name].numpy(), value.numpy(), 1e-4, 1e-6)
        np.testing.assert_allclose(predictor.state[name], value.numpy(), 1e-4, 1e-6)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: {"a": (x,)}])
def test_a_checkpoint_runs_again_whatever_its_results_are_in(wrap):
    weight, calls = torch.ones(2, requires_grad=True), []

    def run(x):
        calls.append(x)
        return wrap(x * weight)

    out = checkpoint(run, torch.ones(2), use_reentrant=False)
    while not isinstance(out, torch.Tensor):
        (out,) = out.values() if isinstance(out, dict) else out
    out.sum().backward()
    assert len(calls) == 2 and weight.grad.tolist() == [1, 1]
