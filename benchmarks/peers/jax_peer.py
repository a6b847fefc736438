"""JAX, jitted whole training steps with donated state."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

VERSION = jax.__version__
RNG = np.random.default_rng(0)


def parameters(sizes):
    return [
        (jnp.asarray(RNG.standard_normal((a, b), dtype=np.float32) / np.sqrt(a)), jnp.zeros(b))
        for a, b in itertools.pairwise(sizes)
    ]


def forward(weights, x):
    for w, b in weights[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = weights[-1]
    return x @ w + b


def mse(weights, x, y):
    return jnp.mean((forward(weights, x) - y) ** 2)


def cross_entropy(weights, x, y):
    logits = jax.nn.log_softmax(forward(weights, x))
    return -jnp.mean(jnp.take_along_axis(logits, y[:, None], 1))


def mlp_sgd():
    weights = parameters((128, 256, 256, 1))
    x, y = RNG.standard_normal((64, 128), np.float32), RNG.standard_normal((64, 1), np.float32)

    @functools.partial(jax.jit, donate_argnums=0)
    def update(weights, x, y):
        grads = jax.grad(mse)(weights, x, y)
        return jax.tree.map(lambda w, g: w - 0.01 * g, weights, grads)

    state = [weights, jnp.asarray(x), jnp.asarray(y)]

    def step():
        state[0] = update(*state)
        jax.block_until_ready(state[0])

    return step


def mlp_adam():
    weights = parameters((784, 512, 512, 10))
    x, y = RNG.standard_normal((128, 784), np.float32), RNG.integers(0, 10, 128)

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(weights, m, v, t, x, y):
        grads = jax.grad(cross_entropy)(weights, x, y)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        a, b = 1 - 0.9**t, 1 - 0.999**t

        def move(w, m, v):
            return w - 1e-3 * (m / a) / (jnp.sqrt(v / b) + 1e-8)

        return jax.tree.map(move, weights, m, v), m, v, t + 1

    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = [weights, zeros, jax.tree.map(jnp.zeros_like, weights), jnp.float32(1)]
    batch = (jnp.asarray(x), jnp.asarray(y))

    def step():
        state[:] = update(*state, *batch)
        jax.block_until_ready(state[0])

    return step


def square():
    a = jnp.asarray(RNG.standard_normal((1000, 1000), dtype=np.float32))
    product = jax.jit(jnp.matmul)
    return lambda: jax.block_until_ready(product(a, a))


WORKS = {
    "mlp_sgd": {"jit": mlp_sgd},
    "mlp_adam": {"jit": mlp_adam},
    "matmul_1000": {"jit": square},
}
