"""The decorators: what they compile and when, what they refuse, and how kernels call each other."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import numpy as np
import pytest

from dyn.kernels.runtime import cache, jit
from dyn.kernels.runtime.jit import call_address, kernel, microkernel, task
from dyn.kernels.runtime.words import atomic_load, atomic_store


def test_importing_the_kernels_compiles_nothing():
    program = """
import importlib
from dyn.kernels.runtime import cache, jit
for name in filter(None, cache._files()):
    importlib.import_module("dyn.kernels." + name)
assert cache.folder.cache_info().currsize == 0
assert all(not made.overloads for made in jit.KERNELS.values() if isinstance(made, jit.Kernel))
"""
    root = str(cache.SOURCES.parents[1])
    environment = dict(os.environ, PYTHONPATH=root)
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=120)


def test_every_kernel_is_found_again():
    program = """
from dyn.kernels.runtime.jit import cache_info, warmup
warmup()
info = cache_info()
print(info["misses"], info["uncached"])
"""
    environment = dict(os.environ, PYTHONPATH=str(cache.SOURCES.parents[1]))
    command = [sys.executable, "-c", program]
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "[]"]


def plus(x, y):
    """A kernel's plain function; every test decorates it anew."""
    return x + y


def square(x):
    return x * x


@kernel
def squares(x):
    out = np.empty_like(x)
    for i in range(x.size):
        out[i] = squared(x[i])
    return out


squared = kernel(forceinline=True)(square)


@kernel
def divide(x, y):
    return x / y


@microkernel(3)
def swap(a, b, unused):
    held = atomic_load(a)
    atomic_store(a, atomic_load(b))
    atomic_store(b, held)


@task
def fill(args, chunk, chunks):
    atomic_store(args + 8 * chunk, 100 * chunks + chunk)


@kernel
def swap_all(address, x, y):
    for i in range(x.size):
        call_address(address, x.ctypes.data + 8 * i, y.ctypes.data + 8 * i, np.int32(0))


def test_kernels_call_kernels_and_microkernels():
    np.testing.assert_array_equal(squares(np.arange(4.0)), np.arange(4.0) ** 2)
    x, y = np.arange(5), np.arange(5) + 10
    swap_all(swap.address, x, y)
    np.testing.assert_array_equal(x, np.arange(5) + 10)
    np.testing.assert_array_equal(y, np.arange(5))
    swap(x.ctypes.data, y.ctypes.data, 0)
    assert (x[0], y[0]) == (0, 10)
    out = np.zeros(3, np.int64)
    for chunk in range(3):
        fill(out.ctypes.data, chunk, 3)
    np.testing.assert_array_equal(out, [300, 301, 302])
    assert swap.address == swap.address != fill.address


def test_readonly_and_strided_arrays_have_versions_of_their_own():
    x = np.arange(6.0)
    x.setflags(write=False)
    np.testing.assert_array_equal(squares(x), x**2)
    np.testing.assert_array_equal(squares(x[::2]), x[::2] ** 2)


def test_division_by_zero_is_numpys():
    assert divide(1.0, 0.0) == np.inf
    assert np.isnan(divide(0.0, 0.0))


@kernel
def factorial(n):
    return 1 if n < 2 else n * factorial(n - 1)


@kernel
def refused(n):
    if n > 3:
        raise ValueError("more than three")
    return factorial(n)


@kernel
def passed_on(n):
    return refused(n) + 1


@kernel
def extremes(a, b, c):
    return min(a, b), max(a, b, c), min(max(a, 0), b)


@kernel
def extremes_of_a_tuple(a, b):
    return min((a, b)), max((a, b))


def test_kernels_call_themselves_and_pass_exceptions_on():
    collecting = gc.isenabled()
    assert factorial(10) == 3628800
    assert passed_on(3) == 7
    with pytest.raises(ValueError, match="more than three"):
        passed_on(4)
    assert gc.isenabled() == collecting


def test_the_least_and_the_greatest_number():
    assert extremes(3, -5, 9) == (-5, 9, -5)
    assert extremes(np.uint64(3), np.uint64(2**63), np.uint64(4)) == (3, 2**63, 3)
    assert extremes(3, 2.5, np.float32(7)) == (2.5, 7.0, 2.5)
    assert extremes(2.0, 3.0, 1.0) == (2.0, 3.0, 2.0)
    assert extremes_of_a_tuple(4, 2) == (2, 4)
    assert extremes_of_a_tuple(4.5, 2.5) == (2.5, 4.5)


def test_registered_by_name():
    assert jit.KERNELS[f"{__name__}.squares"] is squares
    assert jit.KERNELS[f"{__name__}.swap"] is swap


def test_only_functions_of_a_module():
    def local(x):
        return x

    for decorate in (kernel, kernel(forceinline=True), microkernel(1)):
        with pytest.raises(TypeError, match="top level"):
            decorate(local)
    with pytest.raises(TypeError, match="3 arguments"):
        task(plus)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="fastmath"):
        kernel(fastmath=("fast",))(plus)
