"""Cross entropy of images: neighbours in the lanes of vectors, against sums written in numpy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyn.kernels import cross_entropy, cross_entropy_planes


def reference(logits, label, weight, axis, ignore_index, reduction, smoothing):
    """Loss and gradient in float64."""
    x = np.moveaxis(logits.astype(np.float64), axis, -1)
    classes = x.shape[-1]
    logs = x - x.max(-1, keepdims=True)
    logs = logs - np.log(np.exp(logs).sum(-1, keepdims=True))
    counted = label != ignore_index
    target = np.eye(classes)[np.where(counted, label, 0)]
    share = counted * (1.0 if weight is None else weight.astype(np.float64)[label * counted])
    if reduction == "mean":
        share = share / share.sum()
    wanted = (1 - smoothing) * target + smoothing / classes
    loss = -(wanted * logs).sum(-1) * share
    grad = (np.exp(logs) - wanted) * share[..., None]
    return loss if reduction == "none" else loss.sum(), np.moveaxis(grad, -1, axis)


@st.composite
def cases(draw):
    classes = draw(st.sampled_from([1, 2, 3, 8, 9, 16, 21, 33]))
    if draw(st.booleans()):
        shape, axis = (draw(st.sampled_from([127, 128, 1023, 2051])), classes), 1
    else:
        outer = draw(st.sampled_from([(), (1,), (3,), (9,)]))
        inner = draw(st.sampled_from([(2,), (2, 4), (9,), (16, 16), (7, 61), (64, 64)]))
        shape, axis = (*outer, classes, *inner), len(outer)
    return shape, axis, draw(st.sampled_from(["C", "last"])), draw(st.booleans())


@settings(max_examples=60, deadline=None)
@given(
    cases(),
    st.sampled_from(["none", "sum", "mean"]),
    st.sampled_from([0.0, 0.1]),
    st.integers(0, 99),
)
def test_any_shape(case, reduction, smoothing, seed):
    shape, axis, order, weighted = case
    rng = np.random.default_rng(seed)
    logits = (4 * rng.standard_normal(shape)).astype(np.float32)
    if order == "last":
        logits = np.moveaxis(np.ascontiguousarray(np.moveaxis(logits, axis, -1)), -1, axis)
    label = rng.integers(0, shape[axis], (*shape[:axis], *shape[axis + 1 :]))
    label.reshape(-1)[::7] = -100
    weight = rng.uniform(0.5, 2, shape[axis]).astype(np.float32) if weighted else None
    loss, grad, _ = cross_entropy.softmax_cross_entropy(
        logits, label, weight, axis=axis, ignore_index=-100, reduction=reduction,
        label_smoothing=smoothing, nan_of_none=False,
    )  # fmt: skip
    wanted, slope = reference(logits, label, weight, axis, -100, reduction, smoothing)
    np.testing.assert_allclose(loss, wanted, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(grad, slope, rtol=2e-5, atol=2e-6)


def test_pixels_that_do_not_count_are_not_looked_at():
    logits = np.zeros((1, 3, 32, 32), np.float32)
    label = np.zeros((1, 32, 32), np.int64)
    logits[0, 1, 4, 5], label[0, 4, 5] = np.nan, -100
    logits[0, 2, 7, 7] = -np.inf
    given = {"axis": 1, "ignore_index": -100, "label_smoothing": 0.0, "nan_of_none": True}
    loss, grad, _ = cross_entropy.softmax_cross_entropy(
        logits, label, None, reduction="mean", **given
    )
    assert np.isfinite(loss) and np.isfinite(grad).all() and not grad[0, :, 4, 5].any()
    logits[0, 0, 9, 9] = np.nan
    loss, grad, _ = cross_entropy.softmax_cross_entropy(
        logits, label, None, reduction="mean", **given
    )
    assert np.isnan(loss) and np.isnan(grad).sum() == 3


@pytest.mark.parametrize("bad", [3, -1])
def test_a_label_that_is_no_class_is_named(bad):
    logits, label = np.zeros((2, 3, 16, 16), np.float32), np.zeros((2, 16, 16), np.int64)
    label[1, 2, 3] = bad
    with pytest.raises(IndexError, match=f"label {bad} of row 291 is not in 0..2"):
        cross_entropy.softmax_cross_entropy(
            logits, label, None, axis=1, ignore_index=-100, reduction="mean",
            label_smoothing=0.0, nan_of_none=False,
        )  # fmt: skip


def test_these_shapes_go_by_planes():
    assert cross_entropy_planes.suits((4, 21, 64, 64), 1, True)
    assert cross_entropy_planes.suits((4, 2, 64, 64), 1, False)
    assert cross_entropy_planes.suits((1024, 2), 1, True)
    assert cross_entropy_planes.suits((1, 50, 3, 4), 1, True)
    assert not cross_entropy_planes.suits((1, 50, 3, 4), 1, False)
    assert not cross_entropy_planes.suits((64, 1000), 1, True)
    assert not cross_entropy_planes.suits((32, 3), 1, True)
