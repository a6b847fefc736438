"""Training ResNet-18 lives on the memory of its first two steps."""

from __future__ import annotations

import numpy as np

import dyn
from dyn.kernels.runtime.memory import empty_cache, memory_info
from dyn.nn import functional as F
from dyn.vision import resnet18


def test_a_training_step_allocates_nothing_new_after_the_second() -> None:
    empty_cache()
    net = resnet18(num_classes=10)
    adam = dyn.optimizer.Adam(learning_rate=1e-3, parameters=net.parameters())
    rng = np.random.default_rng(0)
    images = dyn.to_tensor(rng.standard_normal((2, 3, 64, 64), dtype=np.float32))
    labels = dyn.to_tensor(rng.integers(0, 10, 2))
    fresh, waiting = [], []
    for _ in range(5):
        F.cross_entropy(net(images), labels).backward()
        adam.step()
        adam.clear_grad(set_to_zero=False)
        fresh.append(memory_info()["fresh_count"])
        waiting.append(memory_info()["waiting_bytes"])
    assert fresh[0] < fresh[1] == fresh[2] == fresh[3] == fresh[4]
    assert waiting[1] == waiting[4]


def test_activations_are_freed_while_the_tape_is_walked() -> None:
    empty_cache()
    x = dyn.ones([256, 1024])
    x.stop_gradient = False
    before = memory_info()["live_bytes"]
    y = x
    for _ in range(16):
        y = dyn.tanh(y)
    kept = memory_info()["live_bytes"] - before
    loss = y.sum()
    del y
    most = []
    x.register_hook(lambda g: most.append(memory_info()["live_bytes"] - before))
    loss.backward()
    # At the end of the walk nothing of the sixteen activations is left but what is in hand.
    assert most[0] < kept / 3
