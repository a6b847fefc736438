"""`torch.nn.utils.parametrizations`: weights of unit length, of spectral norm 1, and orthogonal."""

from __future__ import annotations

from typing import Any

import numpy as np

from dyn.compat.torch import creation
from dyn.compat.torch.exponential import matrix_exp
from dyn.compat.torch.nn import functional as F
from dyn.compat.torch.nn.module import Module
from dyn.compat.torch.nn.parametrize import register_parametrization
from dyn.compat.torch.tensor import Base, own
from dyn.core.modes import no_grad
from dyn.nn.reparametrized import matrix_of, norm_but
from dyn.ops import decompose, solutions
from dyn.ops.linalg import dot, matmul, mv
from dyn.ops.matrix import eye, tril, triu
from dyn.ops.shape import t


class _WeightNorm(Module):
    """g * v / |v|, with the norm over all axes but `dim`, or over all of them."""

    def __init__(self, dim: int | None = 0):
        super().__init__()
        self.dim = dim

    def forward(self, weight_g: Any, weight_v: Any) -> Any:
        return weight_v * (weight_g / norm_but(weight_v, self.dim))

    def right_inverse(self, weight: Any) -> Any:
        """Length and direction."""
        return own(norm_but(weight, self.dim)), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Any:
    """Split a weight into length and direction, `original0` and `original1`.

    A state of the older `torch.nn.utils.weight_norm` can be loaded. Source: arXiv 1602.07868.

    Args:
        module: the module.
        name: of the weight.
        dim: the axis along which lengths differ; None for one length.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state: Any, prefix: str, *rest: Any) -> None:
        old = [f"{prefix}{name}_{part}" for part in "gv"]
        if all(key in state for key in old):
            for i, key in enumerate(old):
                state[f"{prefix}parametrizations.{name}.original{i}"] = state.pop(key)

    module._register_load_state_dict_pre_hook(rename)
    return module


class _SpectralNorm(Module):
    """A weight over its largest singular value, approached by power iterations in training."""

    _u: Any
    _v: Any

    def __init__(self, weight: Any, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12):
        super().__init__()
        if not -weight.ndim <= dim < weight.ndim:
            raise IndexError(
                "Dimension out of range (expected to be in range of "
                f"[{-weight.ndim}, {weight.ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but "
                f"got n_power_iterations={n_power_iterations}"
            )
        self.dim, self.eps, self.n_power_iterations = dim % weight.ndim, eps, n_power_iterations
        if weight.ndim > 1:
            matrix = matrix_of(weight.detach(), self.dim)
            for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                self.register_buffer(name, self._unit(creation.randn(size, dtype=weight.dtype)))
            self._u, self._v = self._iterated(matrix, 15)

    def _unit(self, vector: Any) -> Any:
        return own(F.normalize(vector, dim=0, eps=self.eps))

    def _iterated(self, matrix: Any, count: int) -> tuple[Any, Any]:
        """Singular vectors that are closer to those of the largest value."""
        u, v = self._u, self._v
        with no_grad():
            for _ in range(count):
                u = self._unit(mv(matrix, v))
                v = self._unit(mv(t(matrix), u))
        return u, v

    def forward(self, weight: Any) -> Any:
        if weight.ndim == 1:
            return self._unit(weight)
        matrix = matrix_of(weight, self.dim)
        u, v = self._u, self._v
        if self.training:
            self._u, self._v = u, v = self._iterated(matrix, self.n_power_iterations)
        return weight / dot(u, mv(matrix, v))

    def right_inverse(self, value: Any) -> Any:
        """The value itself, which is taken to have the norm 1."""
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Any:
    """Divide a weight by its spectral norm, a vector by its length. Source: arXiv 1802.05957.

    Args:
        module: the module.
        name: of the weight.
        n_power_iterations: how many a reading of the weight takes in training.
        eps: the smallest length that is divided by.
        dim: the axis of the outputs; that of the class by default.
    """
    weight = _weight(module, name)
    if dim is None:
        dim = 1 if "ConvTranspose" in type(module).__name__ else 0
    made = _SpectralNorm(weight, n_power_iterations, dim, eps)
    return register_parametrization(module, name, made)


def _weight(module: Any, name: str) -> Any:
    weight = getattr(module, name, None)
    if not isinstance(weight, Base):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


_MAPS = ("matrix_exp", "cayley", "householder")


class _Orthogonal(Module):
    """Matrices whose columns, or rows if there are fewer of them, are orthonormal."""

    def __init__(self, weight: Any, orthogonal_map: str, use_trivialization: bool = True):
        super().__init__()
        self.shape, self.orthogonal_map = weight.shape, orthogonal_map
        self.use_trivialization = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Any) -> Any:
        wide = X.size(-2) < X.size(-1)
        tall = X.mT if wide else X
        n, k = tall.shape[-2:]
        if self.orthogonal_map == "householder":
            found = _reflected(tall)
        else:
            # The triangle below the diagonal of a matrix of n rows is what there is to choose.
            lower = own(tril(tall))
            if n != k:
                lower = own(F.pad(lower, (0, n - k)))
            skew = lower - lower.mT
            if self.orthogonal_map == "matrix_exp":
                found = matrix_exp(skew)
            else:
                unit = eye(n, dtype=skew.dtype)
                found = own(solutions.solve(unit - 0.5 * skew, unit + 0.5 * skew))
            found = found[..., :k]
        if self.use_trivialization:
            found = own(matmul(self.base, found))
        return found.mT if wide else found

    def right_inverse(self, Q: Any) -> Any:
        """What gives an orthogonal matrix, or the nearest by QR to one that is not."""
        if tuple(Q.shape) != tuple(self.shape):
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. "
                f"Got a tensor of shape {Q.shape}."
            )
        wide = Q.size(-2) < Q.size(-1)
        tall = Q.mT if wide else Q
        if not self.use_trivialization:
            if self.orthogonal_map != "householder":
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley "
                    "parametrizations when use_trivialization=False."
                )
            found = own(Base(_reflectors(tall._read())))
            return found.mT if wide else found
        n, k = tall.shape[-2:]
        if n != k:
            more = creation.randn(*tall.shape[:-1], n - k, dtype=tall.dtype)
            self.base = _orthogonalized(own(F.pad(tall, (0, n - k))) + F.pad(more, (k, 0)))
        else:
            self.base = tall.clone() if _is_orthogonal(tall) else _orthogonalized(tall)
        # With the sign that makes the reflections by zeros the identity.
        return own(Q * 0.0) - own(eye(*Q.shape[-2:], dtype=Q.dtype))


def _reflected(x: Any) -> Any:
    """The first columns of a product of reflections, whose vectors are below the diagonal.

    Together they are I - V S^-1 V^T with the triangle S of V^T V, half of it on the diagonal.
    Source: Schreiber & Van Loan, A storage-efficient WY representation, 1989.
    """
    n, k = x.shape[-2:]
    unit = eye(n, k, dtype=x.dtype)
    vectors = own(tril(x, -1)) + unit
    products = own(matmul(vectors, vectors, transpose_x=True))
    half = own(triu(products, 1)) + 0.5 * products * eye(k, dtype=x.dtype)
    inner = solutions.triangular_solve(half, vectors[..., :k, :].mT, upper=True)
    signs = x.detach().diagonal(0, -2, -1).trunc().unsqueeze(-2)
    return (unit - own(matmul(vectors, inner))) * signs


def _reflectors(matrices: np.ndarray) -> np.ndarray:
    """The vectors of the reflections that make orthogonal matrices, with signs on the diagonal."""
    made = np.empty_like(matrices)
    for at in np.ndindex(matrices.shape[:-2]):
        turned, tau = np.linalg.qr(matrices[at], mode="raw")
        made[at] = turned.T
        signs = np.sign(np.diagonal(turned))
        # No reflection leaves the sign as it was.
        np.fill_diagonal(made[at], np.where(tau == 0, -signs, signs))
    return made


def _is_orthogonal(x: Any) -> bool:
    value = x._read()
    unit = np.swapaxes(value, -1, -2) @ value
    eps = 10.0 * value.shape[-2] * np.finfo(value.dtype).eps
    return bool(np.allclose(unit, np.eye(value.shape[-1], dtype=value.dtype), atol=eps))


def _orthogonalized(x: Any) -> Any:
    """The Q of a QR whose R has a diagonal that is not negative."""
    q, r = map(own, decompose.qr(x))
    return q * r.diagonal(0, -2, -1).sign().unsqueeze(-2)


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Any:
    """Keep the columns of a matrix, or its rows if there are fewer, orthonormal.

    Args:
        module: the module.
        name: of a matrix, or of matrices along leading axes.
        orthogonal_map: "matrix_exp" (of square matrices by default), "cayley" or "householder".
        use_trivialization: multiply by the matrix that there was, kept as `base`, so that what is
            trained begins at zero. Source: Lezcano-Casado, arXiv 1909.09501.

    Raises:
        ValueError: there is no such matrix, or no such map.
    """
    weight = _weight(module, name)
    if weight.ndim < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions."
        )
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.size(-2) == weight.size(-1) else "householder"
    if orthogonal_map not in _MAPS:
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". '
            f"Got: {orthogonal_map}"
        )
    made = _Orthogonal(weight, orthogonal_map, use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)


__all__ = ["orthogonal", "spectral_norm", "weight_norm"]
