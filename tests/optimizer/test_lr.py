"""Learning-rate schedules against values of PyTorch 2.13 and against their formulas."""

import math
from typing import Any

import pytest

from dyn.core.errors import AttributeValueError
from dyn.optimizer import lr


def values(schedule, count):
    found = []
    for _ in range(count):
        found.append(schedule())
        schedule.step()
    return found


# PyTorch 2.13 with the same settings.
TORCH = [
    (
        lambda: lr.OneCycleLR(0.5, 10, end_learning_rate=0.02 / 1000),
        [0.02, 0.26, 0.5, 0.4752432073, 0.4058762156, 0.3056380083, 0.1943819917, 0.0941437844],
    ),
    (
        lambda: lr.OneCycleLR(
            0.5, 20, end_learning_rate=0.02 / 1000, anneal_strategy="linear", three_phase=True
        ),
        [0.02, 0.116, 0.212, 0.308, 0.404, 0.5, 0.404, 0.308, 0.212, 0.116, 0.02, 0.01778],
    ),
    (
        lambda: lr.CyclicLR(0.1, 0.5, 2, 3, mode="triangular2"),
        [0.1, 0.3, 0.5, 0.3666666667, 0.2333333333, 0.1, 0.2, 0.3, 0.2333333333, 0.1666666667],
    ),
    (
        lambda: lr.CyclicLR(0.1, 0.5, 2, mode="exp_range", exp_gamma=0.9),
        [0.1, 0.28, 0.424, 0.2458, 0.1, 0.218098, 0.3125764],
    ),
    (
        lambda: lr.CosineAnnealingWarmRestarts(0.1, 3, 2, eta_min=0.01),
        [0.1, 0.0775, 0.0325, 0.1, 0.0939711432, 0.0775, 0.055, 0.0325, 0.0160288568, 0.1],
    ),
    (
        lambda: lr.CosineAnnealingDecay(0.1, 5, eta_min=0.01),
        [0.1, 0.0914057647, 0.0689057647, 0.0410942353, 0.0185942353, 0.01, 0.0185942353],
    ),
    (lambda: lr.LinearLR(0.1, 4), [0.0333333333, 0.05, 0.0666666667, 0.0833333333, 0.1, 0.1]),
    (lambda: lr.MultiStepDecay(0.1, [2, 4], 0.5), [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]),
    (
        lambda: lr.PolynomialDecay(0.1, 4, end_lr=0.0, power=2.0),
        [0.1, 0.05625, 0.025, 0.00625, 0.0, 0.0],
    ),
]


@pytest.mark.parametrize("number", range(len(TORCH)))
def test_values_of_pytorch(number):
    make, wanted = TORCH[number]
    assert values(make(), len(wanted)) == pytest.approx(wanted, abs=1e-9)


FORMULAS = [
    (lambda: lr.ExponentialDecay(0.5, 0.9), lambda t: 0.5 * 0.9**t),
    (lambda: lr.NaturalExpDecay(0.5, 0.1), lambda t: 0.5 * math.exp(-0.1 * t)),
    (lambda: lr.InverseTimeDecay(0.5, 0.1), lambda t: 0.5 / (1 + 0.1 * t)),
    (lambda: lr.StepDecay(0.5, 3, 0.1), lambda t: 0.5 * 0.1 ** (t // 3)),
    (lambda: lr.LambdaDecay(0.5, lambda t: 1 / (t + 1)), lambda t: 0.5 / (t + 1)),
    (lambda: lr.MultiplicativeDecay(0.5, lambda t: 0.9), lambda t: 0.5 * 0.9**t),
    (
        lambda: lr.PiecewiseDecay([2, 4], [0.3, 0.2, 0.1]),
        lambda t: 0.3 if t < 2 else 0.2 if t < 4 else 0.1,
    ),
    (
        lambda: lr.NoamDecay(64, 4, 2.0),
        lambda t: 2.0 * 64**-0.5 * min(t**-0.5 if t else 1.0, t * 4**-1.5),
    ),
    (
        lambda: lr.LinearWarmup(0.5, 4, 0.1, 0.3),
        lambda t: 0.1 + 0.2 * t / 4 if t < 4 else 0.5,
    ),
    (
        lambda: lr.LinearWarmup(lr.StepDecay(0.5, 2, 0.1), 3, 0.0, 0.3),
        lambda t: 0.1 * t if t < 3 else 0.5 * 0.1 ** ((t - 3) // 2),
    ),
    (
        lambda: lr.PolynomialDecay(1.0, 3, end_lr=0.1, cycle=True),
        lambda t: 0.9 * (1 - t / (3 * max(1, math.ceil(t / 3)))) + 0.1,
    ),
    (
        lambda: lr.CyclicLR(0.0, 1.0, 2, scale_fn=lambda c: 1 / c),
        lambda t: [0, 1, 2, 1][t % 4] / 2 / (1 + t // 4),
    ),
    (
        lambda: lr.CosineAnnealingWarmRestarts(1.0, 3),
        lambda t: (1 + math.cos(math.pi * (t % 3) / 3)) / 2,
    ),
]


@pytest.mark.parametrize("number", range(len(FORMULAS)))
def test_formulas(number):
    make, formula = FORMULAS[number]
    assert values(make(), 9) == pytest.approx([formula(t) for t in range(9)], abs=1e-12)


def test_plateau():
    schedule = lr.ReduceOnPlateau(1.0, factor=0.5, patience=1, cooldown=1, threshold=0.1)
    found = []
    for value in [1, 0.95, 0.94, 0.93, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.2]:
        schedule.step(value)
        found.append(schedule())
    # By hand: two bad epochs in a row halve the rate, the epoch after a reduction does not count.
    assert found == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125]


def test_plateau_upwards_in_absolute_terms_down_to_a_floor():
    schedule = lr.ReduceOnPlateau(
        1.0, "max", factor=0.1, patience=0, threshold=1.0, threshold_mode="abs", min_lr=0.05
    )
    found = []
    for value in [1.0, 2.5, 3.0, 3.0, 3.0]:
        schedule.step(value)
        found.append(schedule())
    assert found == pytest.approx([1.0, 1.0, 0.1, 0.05, 0.05])
    with pytest.raises(TypeError, match="metrics must be a number"):
        schedule.step("good")


@pytest.mark.parametrize(
    "make",
    [
        lambda: lr.ReduceOnPlateau(1.0, patience=0),
        lambda: lr.LinearWarmup(lr.StepDecay(0.5, 2, 0.1), 3, 0.0, 0.3),
        lambda: lr.CosineAnnealingDecay(0.1, 5),
        lambda: lr.LambdaDecay(0.5, lambda t: 1 / (t + 1)),
    ],
)
def test_states_are_numbers_and_go_on(make):
    a, b = make(), make()

    def forward(schedule, count):
        for _ in range(count):
            schedule.step(1.0) if isinstance(schedule, lr.ReduceOnPlateau) else schedule.step()

    forward(a, 4)
    state = a.state_dict()
    assert all(isinstance(v, (int, float, str, dict, list, type(None))) for v in state.values())
    b.set_state_dict({**state, "unknown": 1})
    forward(a, 3)
    forward(b, 3)
    assert a() == b() and a.last_epoch == b.last_epoch


def test_going_to_an_epoch_and_talking_about_it(capsys):
    schedule: Any = lr.ExponentialDecay(1.0, 0.5, verbose=True)
    schedule.step(3)
    assert schedule() == 0.125 and schedule.last_epoch == 3
    assert "Epoch 3: ExponentialDecay set learning rate to 0.125." in capsys.readouterr().out


@pytest.mark.parametrize(
    "make",
    [
        lambda: lr.StepDecay(-0.1, 2),
        lambda: lr.StepDecay(0.1, 0),
        lambda: lr.NoamDecay(0, 1),
        lambda: lr.PiecewiseDecay([4, 2], [1, 2, 3]),
        lambda: lr.PolynomialDecay(0.1, 0),
        lambda: lr.MultiStepDecay(0.1, [4, 2]),
        lambda: lr.LinearLR(0.1, 0),
        lambda: lr.CosineAnnealingDecay(0.1, 0),
        lambda: lr.CosineAnnealingWarmRestarts(0.1, 0),
        lambda: lr.OneCycleLR(0.1, 0),
        lambda: lr.OneCycleLR(0.1, 10, anneal_strategy="step"),
        lambda: lr.OneCycleLR(0.1, 10, phase_pct=0.6, three_phase=True),
        lambda: values(lr.OneCycleLR(0.1, 3), 5),
        lambda: lr.CyclicLR(0.1, 0.2, 2, mode="square"),
        lambda: lr.CyclicLR(0.1, 0.2, 0),
        lambda: lr.LinearWarmup(0.1, -1, 0.0, 0.1),
        lambda: lr.ReduceOnPlateau(0.1, factor=1.0),
        lambda: lr.ReduceOnPlateau(0.1, mode="low"),
    ],
)
def test_settings_that_make_no_sense(make):
    with pytest.raises(AttributeValueError):
        make()
