"""Schedulers beside others and beside rates that are changed by hand, by PyTorch's formulas."""

import math

import numpy as np
import pytest

import dyn.compat.torch as torch
from dyn.compat.torch import nn
from dyn.compat.torch.optim import lr_scheduler as schedules
from dyn.compat.torch.optim.swa_utils import SWALR


def made(*makers):
    """An optimiser with a rate of 0.1, and its schedulers."""
    p = nn.Parameter(torch.zeros(1))
    p.grad = torch.ones(1)
    optimizer = torch.optim.SGD([p], lr=0.1)
    return optimizer, [make(optimizer) for make in makers]


def rates(optimizer, schedulers, count, halved=None):
    """The rate after each of `count` epochs, which is halved by hand after epoch `halved`."""
    found = []
    for epoch in range(count):
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
        if epoch == halved:
            optimizer.param_groups[0]["lr"] *= 0.5
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize(
    "make, wanted",
    [
        (lambda o: schedules.StepLR(o, 3), [0.1, 0.05, 0.005, 0.005]),
        (lambda o: schedules.ExponentialLR(o, 0.5), [0.05, 0.0125, 0.00625, 0.003125]),
        (lambda o: schedules.LinearLR(o, 0.5, total_iters=5), [0.06, 0.035, 0.04, 0.045]),
        (lambda o: schedules.LambdaLR(o, lambda e: 0.5**e), [0.05, 0.0125, 0.0125, 0.00625]),
    ],
)
def test_what_is_changed_by_hand_stays_changed_where_rates_are_multiplied(make, wanted):
    np.testing.assert_allclose(rates(*made(make), 4, halved=1), wanted)


def test_a_cosine_goes_on_from_what_was_changed_by_hand():
    along = [0.01 + 0.09 * (1 + math.cos(math.pi * e / 4)) / 2 for e in range(5)]
    halved = along[2] / 2
    share = (halved - 0.01) / (along[2] - 0.01)
    wanted = [along[1], halved, 0.01 + (along[3] - 0.01) * share, 0.01]
    wanted.append(0.01 + 0.09 * (1 - math.cos(math.pi / 4)) / 2)  # upwards again, by a sum
    found = rates(*made(lambda o: schedules.CosineAnnealingLR(o, 4, 0.01)), 5, halved=1)
    np.testing.assert_allclose(found, wanted)


def test_two_schedulers_of_one_optimizer_multiply():
    both = made(
        lambda o: schedules.LinearLR(o, 0.5, total_iters=2),
        lambda o: schedules.ExponentialLR(o, 0.9),
    )
    assert both[0].param_groups[0]["lr"] == 0.05
    np.testing.assert_allclose(rates(*both, 3), [0.075 * 0.9, 0.1 * 0.9**2, 0.1 * 0.9**3])


def test_a_loaded_scheduler_leaves_the_loaded_rate():
    optimizer, schedulers = made(lambda o: schedules.StepLR(o, 10))
    rates(optimizer, schedulers, 3, halved=1)
    again, fresh = made(lambda o: schedules.StepLR(o, 10))
    again.load_state_dict(optimizer.state_dict())
    fresh[0].load_state_dict(schedulers[0].state_dict())
    assert again.param_groups[0]["lr"] == 0.05 and fresh[0].get_last_lr() == [0.05]
    assert rates(again, fresh, 2) == [0.05, 0.05]


def test_averaging_goes_on_from_where_another_schedule_leads():
    optimizer, (before, swa) = made(
        lambda o: schedules.ExponentialLR(o, 0.1), lambda o: SWALR(o, 0.05, 2, "linear")
    )
    rates(optimizer, [before], 2)
    np.testing.assert_allclose(rates(optimizer, [swa], 3), [(0.001 + 0.05) / 2, 0.05, 0.05])
    assert made(lambda o: SWALR(o, 0.05, 0))[0].param_groups[0]["lr"] == 0.05


@pytest.mark.parametrize(
    "values, settings, wanted",
    [  # what PyTorch 2.13 gives
        # The best value may be one of an epoch behind a reduction, which does not count.
        (
            [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.4, 0.4, 0.4],
            {"patience": 1, "cooldown": 2, "factor": 0.5},
            [0.1, 0.1, *[0.05] * 4, *[0.025] * 4],
        ),
        ([math.nan, 3, 3, 3, 2, 2], {"patience": 0}, [0.01, 0.01, 1e-3, 1e-4, 1e-4, 1e-5]),
        ([-1, -1.05, -1, -2, -2], {"patience": 0, "threshold": 0.1}, [0.1] * 5),
    ],
)
def test_plateaus_are_pytorchs(values, settings, wanted):
    optimizer, (schedule,) = made(lambda o: schedules.ReduceLROnPlateau(o, **settings))
    found = []
    for value in values:
        schedule.step(value)
        found.append(optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(found, wanted)


def test_a_plateau_goes_on_from_what_was_changed_by_hand():
    optimizer, (schedule,) = made(
        lambda o: schedules.ReduceLROnPlateau(o, patience=1, factor=0.5, min_lr=[0.02])
    )
    optimizer.param_groups[0]["lr"] = 0.05
    found = []
    for _ in range(6):
        schedule.step(torch.tensor(1.0))
        found.append(optimizer.param_groups[0]["lr"])
    np.testing.assert_allclose(found, [0.05, 0.05, 0.025, 0.025, 0.02, 0.02])
    assert schedule.best == 1.0 and schedule.num_bad_epochs == 1
    with pytest.raises(ValueError, match="expected 1 min_lrs, got 2"):
        schedules.ReduceLROnPlateau(optimizer, min_lr=[0.1, 0.2])


def test_what_is_no_optimiser_is_refused():
    with pytest.raises(TypeError, match="Linear is not an Optimizer"):
        torch.optim.lr_scheduler.StepLR(torch.nn.Linear(2, 2), 3)
