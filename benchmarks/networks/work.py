"""What is timed: a training step or an inference, registered under a name."""

from collections.abc import Callable

from benchmarks.networks.library import compile_training, torch

WORKS: dict[str, Callable[[], Callable[[], None]]] = {}
"""By name what builds a network and its data and returns one step."""


def work(make):
    """Register a function that returns a step, under its own name."""
    WORKS[make.__name__] = make
    return make


def adam(parameters):
    return torch.optim.Adam(parameters, 1e-3)


def training(network, loss, optimizer=adam):
    """A step: the loss of the network, which is called without arguments, its gradient, an update.

    Args:
        network: an `nn.Module`.
        loss: called without arguments, runs the network.
        optimizer: made for the parameters.
    """
    made = optimizer(network.parameters())
    if compile_training is not None:
        return compile_training(loss, optimizer=made)

    def step():
        made.zero_grad()
        loss().backward()
        made.step()

    return step


def inference(network, *inputs):
    """A step: the network in evaluation mode, without gradients."""
    network.eval()

    def step():
        with torch.no_grad():
            network(*inputs)

    return step


def labels(classes, *shape):
    """Random integers below `classes`."""
    return torch.randint(0, classes, shape)
