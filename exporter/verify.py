"""Step "verify": runs the written file in onnxruntime against the live model.

Both get the same inputs: the sample, perturbed ones, and other sizes of every dynamic dimension, in
successive calls so that state counts. Comparisons of sizes that the trace took for granted are put
to the test with sizes that break them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dyn.core.op import OPS
from dyn.core.rng import drawing_from
from exporter.errors import VerificationError
from exporter.report import Comparison
from exporter.serving import Predictor
from tracer.graph import Graph, Guard, Value
from tracer.sizes import to_int
from tracer.spec import draw

Live = Callable[[Sequence[np.ndarray]], list[np.ndarray]]
"""The live model over flat lists of arrays; state carries from call to call."""

RELATIVE = {"float64": 1e-7, "float32": 3e-4, "float16": 2e-2, "bfloat16": 5e-2}
"""Largest allowed error of each dtype, relative to the largest value of an output."""
FLOOR = {"float64": 1e-9, "float32": 1e-5, "float16": 1e-3, "bfloat16": 1e-2}
"""Absolute error that is always allowed: outputs that are all but zero have no scale."""
STEPS = (1, 2, 7, 4, 3, 16)
"""Other sizes that are tried for a dimension; spatial ones are tried in multiples of 32."""
OTHER_SIZES = 2
DRAWS = 5
"""Runs in which a random output is drawn, in the model and in the file."""


@dataclass
class Verifier:
    """One verification.

    Attributes:
        live: the model.
        restart: puts the live model back to where it was before the first call.
        graph: what was exported; gives types, sizes, guards and names.
        path: the file.
        tolerance: replaces RELATIVE for all dtypes if given.
    """

    live: Live
    restart: Callable[[], None]
    graph: Graph
    path: Path
    tolerance: float | None = None

    def run(self) -> Comparison:
        """Compare at the sample and at other sizes.

        Raises:
            VerificationError: an output differs by more than the tolerance, onnxruntime refuses
                what the model accepts, or the file is wrong for sizes that a comparison of sizes
                in the model rules out only in the trace.
        """
        self.random = random_outputs(self.graph)
        self.worst = Comparison(unchecked=tuple(self.random))
        self.runs = 0
        self.predictor = Predictor(self.path)
        self.at(self.graph.sizes, first=self.graph.samples)
        found = 0
        for sizes in self.other_sizes():
            found += self.at(sizes, may_refuse=True)
            if found == OTHER_SIZES:
                break
        for guard in self.graph.guards:
            self.challenge(guard)
        if self.random:
            self.draws()
        w = self.worst
        return Comparison(w.absolute, w.relative, w.output, w.sizes, self.runs, w.unchecked)

    def at(
        self,
        sizes: Mapping[str, int],
        first: Sequence[np.ndarray] | None = None,
        may_refuse: bool = False,
    ) -> bool:
        """Two successive calls at one set of sizes; False if the model itself refuses them."""
        rng = np.random.default_rng(sum(sizes.values()) + 1)
        calls = [first or self.inputs(sizes, rng), self.inputs(sizes, rng)]
        self.restart()
        self.predictor.reset()
        try:
            for arrays in calls:
                try:
                    wanted = self.live(arrays)
                except Exception:
                    if may_refuse:  # asserts and checks of the user's own included
                        return False
                    raise
                self.compare(wanted, self.served(arrays, sizes), sizes)
        finally:
            self.restart()
        return True

    def inputs(self, sizes: Mapping[str, int], rng: np.random.Generator) -> list[np.ndarray]:
        """Fresh inputs; integers are shuffled samples, which are valid where the sample was."""
        made = []
        for value, sample in zip(self.graph.inputs, self.graph.samples, strict=True):
            shape = to_int(value.type.shape, sizes)
            if sample.dtype.kind in "iu" and sample.size:
                made.append(rng.choice(sample.reshape(-1), shape).astype(sample.dtype))
            else:
                made.append(draw(shape, sample.dtype, rng))
        return made

    def served(self, arrays: Sequence[np.ndarray], sizes: Mapping[str, int]) -> list[np.ndarray]:
        """What onnxruntime computes from the file; state carries from call to call."""
        try:
            return self.predictor.run(*arrays)
        except Exception as error:
            raise VerificationError(
                f"onnxruntime fails on what the model accepts, at {_at(sizes)}: {error}"
            ) from error

    def compare(
        self, wanted: Sequence[np.ndarray], given: Sequence[np.ndarray], sizes: Mapping[str, int]
    ) -> None:
        """Raise if an output of the file is not that of the model; keep the largest error."""
        self.runs += 1
        for name, a, b in zip(self.graph.output_names, wanted, given, strict=False):
            if a.shape != b.shape or a.dtype != b.dtype:
                raise VerificationError(
                    f"output {name!r} is {a.dtype.name} {list(a.shape)} in the model and "
                    f"{b.dtype.name} {list(b.shape)} in onnxruntime, at {_at(sizes)}"
                )
            if name in self.random or a.size == 0:
                continue
            absolute, relative = difference(a, b)
            if relative > self.worst.relative or not self.worst.output:
                self.worst = Comparison(
                    max(absolute, self.worst.absolute),
                    relative,
                    name,
                    dict(sizes),
                    0,
                    self.worst.unchecked,
                )
            allowed = self.allowed(a.dtype)
            floor = FLOOR.get(a.dtype.name, 0.0)
            if not (relative <= allowed or absolute <= floor):
                raise VerificationError(
                    f"output {name!r} differs from the model by {absolute:.3g} ({relative:.3g} of "
                    f"its largest value, {allowed:g} is allowed) at {_at(sizes)}; "
                    "exporter.diff(model, path, ...) names the first node that differs "
                    "(export with verify=False to get the file)"
                )

    def allowed(self, dtype: np.dtype) -> float:
        """Largest relative error of an output of this dtype."""
        exact = dtype.name not in RELATIVE
        if exact:
            return 0.0
        return self.tolerance if self.tolerance is not None else RELATIVE[dtype.name]

    def draws(self) -> None:
        """Outputs that differ with every seed must differ between runs of the file, too."""
        arrays = self.graph.samples
        lives = []
        with drawing_from(np.random.default_rng(0)):
            for _ in range(DRAWS):
                self.restart()
                lives.append(self.live(arrays))
        self.restart()
        files = []
        for _ in range(DRAWS):
            self.predictor.reset()
            files.append(self.served(arrays, self.graph.sizes))
        self.predictor.reset()
        for i, name in enumerate(self.graph.output_names):
            if name not in self.random:
                continue
            distinct = {run[i].tobytes() for run in lives}
            if len(distinct) == DRAWS and len({run[i].tobytes() for run in files}) == 1:
                raise VerificationError(
                    f"output {name!r} is random in the model and the same in every run of the file"
                )

    # -- sizes -------------------------------------------------------------------------------

    def other_sizes(self) -> Iterator[dict[str, int]]:
        """Sets of sizes in which every dynamic size differs from the traced one; guards hold."""
        for candidate in self.candidates():
            if all(candidate[s] != n for s, n in self.declared().items()) and all(
                _holds(guard, candidate) for guard in self.graph.guards
            ):
                yield candidate

    def declared(self) -> dict[str, int]:
        """Sizes that the inputs declare (not those that depend on values)."""
        return {s: n for s, n in self.graph.sizes.items() if not s.startswith("_")}

    def candidates(self) -> Iterator[dict[str, int]]:
        """Many sets of sizes, likely ones first."""
        declared = self.declared()
        if not declared:
            return
        options = {s: _options(n) for s, n in declared.items()}
        together = zip(*options.values(), strict=False)
        mixed = itertools.islice(itertools.product(*options.values()), 64)
        for numbers in itertools.chain(together, mixed):
            yield dict(zip(declared, numbers, strict=True))

    def challenge(self, guard: Guard) -> None:
        """Try sizes at which a comparison comes out differently.

        Either the model refuses them too (then the guard is an assumption of the model's own), or
        the file must be right there as well.
        """
        tried = itertools.chain(self.candidates(), self.near(guard))
        broken = (c for c in tried if guard.left.symbols() | guard.right.symbols() <= set(c))
        for sizes in itertools.islice((c for c in broken if not _holds(guard, c)), 2):
            try:
                self.at(sizes, may_refuse=True)
            except VerificationError as error:
                raise VerificationError(
                    f"the model takes another path where {guard} does not hold, and the file "
                    f"would be wrong there; declare that size as fixed, or compute without "
                    f"comparing it ({error.message})",
                    where=guard.where,
                ) from None

    def near(self, guard: Guard) -> Iterator[dict[str, int]]:
        """Sizes around the traced ones, one symbol of the guard changed at a time."""
        declared = self.declared()
        for symbol in sorted((guard.left.symbols() | guard.right.symbols()) & set(declared)):
            for delta in (1, -1, 2, 3, 5, 8, 16, 33):
                if declared[symbol] + delta > 0:
                    yield {**declared, symbol: declared[symbol] + delta}


def _options(sample: int) -> list[int]:
    near = [n for n in STEPS if n != sample]
    if sample < 32:
        return near
    return [sample + 32, sample * 2, sample // 2, sample + 1, *near]


def _holds(guard: Guard, sizes: Mapping[str, int]) -> bool:
    try:
        return guard.holds(dict(sizes))
    except KeyError:
        return True


def _at(sizes: Mapping[str, int]) -> str:
    declared = [f"{s}={n}" for s, n in sizes.items() if not s.startswith("_")]
    return ", ".join(declared) or "the traced sizes"


def difference(wanted: np.ndarray, given: np.ndarray) -> tuple[float, float]:
    """Largest absolute difference, and that over the largest finite magnitude wanted.

    NaN equals NaN, an infinity equals itself; any other pair with one of them is infinitely far.
    """
    if wanted.dtype.kind in "biu":
        differs = wanted != given
        return (float(differs.any()), float(differs.mean()))
    a, b = (np.atleast_1d(side).astype(np.float64) for side in (wanted, given))
    with np.errstate(invalid="ignore"):
        gap = np.abs(a - b)
    gap[(np.isnan(a) & np.isnan(b)) | (a == b)] = 0.0
    gap[np.isnan(gap)] = np.inf
    finite = np.abs(a[np.isfinite(a)])
    scale = float(finite.max()) if finite.size else 0.0
    absolute = float(gap.max())
    return absolute, absolute / scale if scale else (0.0 if absolute == 0 else np.inf)


def random_outputs(graph: Graph) -> list[str]:
    """Names of the outputs that random numbers reach."""
    tainted: set[Value] = set()
    for node in graph.walk():
        drawn = node.op in OPS and OPS[node.op].random
        inside = any(
            OPS[n.op].random for block in node.blocks.values() for n in block.walk() if n.op in OPS
        )
        if drawn or inside or any(v in tainted for v in node.inputs if v is not None):
            tainted.update(node.outputs)
    return [n for n, v in zip(graph.output_names, graph.outputs, strict=True) if v in tainted]


__all__ = ["Live", "Verifier", "difference", "random_outputs"]
