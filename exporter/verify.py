"""Step "verify": runs the written file in onnxruntime against the live model.

Both get the same inputs: the sample, and others at other sizes of every dynamic dimension, in
successive calls so that state counts. Comparisons of sizes that the trace took for granted are put
to the test with sizes that break them. Which inputs and sizes those are is decided in `trials.py`.
The model goes first, while onnxruntime loads the file in a thread.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx

import tracer
from dyn.core.expr import is_unknown
from dyn.core.rng import drawing_from
from exporter.errors import VerificationError
from exporter.nudges import NUDGES, difference, farther, is_rounding, nudged, nudging
from exporter.report import Comparison
from exporter.serving import Predictor
from exporter.trials import Trials, random_results
from tracer.graph import Graph, Guard
from tracer.steady import same

RELATIVE = {"float64": 1e-7, "float32": 3e-4, "float16": 2e-2, "bfloat16": 5e-2}
"""Largest allowed error of each dtype, relative to the largest value of an output."""
OTHER_SIZES = 2
"""Sets of sizes beside the traced ones that a file is compared at."""
BREAKING = 6
"""Sets of sizes with which each comparison of sizes is challenged."""
DRAWS = 5
"""Runs in which a random output is drawn, in the model and in the file."""
_NO_KERNEL = re.compile(r"Could not find an implementation for (\w+)\(\d+\) node with name '(.*?)'")
"""What onnxruntime says of an operator that it does not have for some dtype."""


Results = dict[tuple[str, str], np.ndarray]
"""Arrays by ("output", name) and ("state", name)."""


class Live(Protocol):
    """The live model over flat lists of arrays; see `tracer.Live`."""

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs; state carries from call to call."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """State by name, as the last run left it."""
        ...

    def restart(self) -> None:
        """Back to the state before the first run."""
        ...

    def change(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Change all parameters until the next restart."""
        ...

    def keeps(self) -> bool:
        """Whether the runs since the start have changed attributes of layers."""
        ...

    def refuse(self) -> None:
        """Raise, with the line, if the model is not the same twice."""
        ...


@dataclass
class Trial:
    """Successive calls of the model at one set of sizes.

    Attributes:
        sizes: the sizes.
        calls: inputs of each call.
        wanted: what the model gave in each.
        repeated: whether later calls have the inputs of the first, as the model raised at others.
    """

    sizes: Mapping[str, int]
    calls: list[Sequence[np.ndarray]]
    wanted: list[Results]
    repeated: bool = False


@dataclass
class Verifier:
    """One verification.

    Attributes:
        live: the model.
        graph: what was exported; gives types, sizes, guards and names.
        path: the file.
        tolerance: replaces RELATIVE for all dtypes if given.
    """

    live: Live
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
        self.trials = Trials(self.graph)
        self.random = random_results(self.graph)
        self.worst = Comparison()
        self.runs = 0
        self.predictor = Predictor(self.path)
        with ThreadPoolExecutor(1) as aside:
            # If the file does not load, the first run of it says so.
            aside.submit(self.predictor.open)
            trials = [self.of_model(self.graph.sizes, self.graph.samples)]
            others = (self.of_model(sizes, may_refuse=True) for sizes in self.trials.other_sizes())
            trials += itertools.islice(filter(None, others), OTHER_SIZES)
        for trial in trials:
            self.of_file(trial)
        for guard in self.graph.guards:
            self.challenge(guard)
        unchecked = tuple(name for name in self.graph.output_names if name in self.random)
        if unchecked:
            self.draws(unchecked)
        w = self.worst
        fixed = bool(self.trials.declared) and len(trials) == 1
        repeated = any(trial is not None and trial.repeated for trial in trials)
        return Comparison(
            w.absolute, w.relative, w.output, w.sizes, self.runs, unchecked, fixed, repeated
        )

    def of_model(
        self,
        sizes: Mapping[str, int],
        first: Sequence[np.ndarray] | None = None,
        *,
        may_refuse: bool = False,
        repeated: bool = False,
    ) -> Trial | None:
        """Successive calls of the model at one set of sizes; None if it refuses them.

        Args:
            sizes: by symbol.
            first: inputs of the first call, otherwise drawn.
            may_refuse: whether an error of the model means that it refuses; else it is raised.
            repeated: see `Trial`.
        """
        rng = np.random.default_rng(sum(sizes.values()) + 1)
        trial = Trial(sizes, [first or self.trials.inputs(sizes, rng)], [], repeated)

        def once_more() -> None:
            drawn = [*trial.calls[0]] if repeated else self.trials.inputs(sizes, rng)
            trial.calls.append(drawn)

        if self.graph.states or not self.trials.declared:
            once_more()
        self.live.restart()
        try:
            for arrays in trial.calls:
                try:
                    outputs = self.live.run(arrays)
                except Exception:
                    if may_refuse:  # asserts and checks of the user's own included
                        return None
                    if trial.wanted and not repeated:
                        return self.of_model(sizes, first, repeated=True)
                    raise
                if arrays is first and not same(self.graph.results, outputs):
                    self.refuse()
                if len(trial.calls) == 1 and self.live.keeps():
                    once_more()
                trial.wanted.append(self.results(outputs, self.live.state))
        finally:
            self.live.restart()
        return trial

    def of_file(self, trial: Trial | None) -> None:
        """The same calls of the file, each compared with what the model gave."""
        if trial is None:
            return
        self.predictor.reset()
        for i, (arrays, wanted) in enumerate(zip(trial.calls, trial.wanted, strict=True), 1):
            self.runs += 1
            outputs = self.served(arrays, trial.sizes)
            given = self.results(outputs, lambda: self.predictor.state)
            self.compare(wanted, given, trial.sizes, trial.calls[:i])

    def refuse(self) -> None:
        """Say that the model is not the same twice, with the line if two traces tell it."""
        self.live.refuse()
        raise VerificationError(
            "the model is not the same twice: with the same inputs it gives other outputs now and "
            "then. They may depend on inputs, parameters and buffers only, not on counters or "
            "random numbers of Python, files, the time, or a size that is used as a key or text"
        )

    def served(self, arrays: Sequence[np.ndarray], sizes: Mapping[str, int]) -> list[np.ndarray]:
        """What onnxruntime computes from the file; state carries from call to call."""
        try:
            return self.predictor.run(*arrays)
        except Exception as error:
            missing = _NO_KERNEL.search(str(error))
            if missing is not None:
                raise self.lacks_kernel(*missing.groups()) from error
            raise VerificationError(
                f"onnxruntime fails on what the model accepts, at {_at(sizes)}: {error}"
            ) from error

    def lacks_kernel(self, op_type: str, name: str) -> VerificationError:
        """What to say of an operator that onnxruntime does not have for these dtypes."""
        nodes = onnx.load(self.path, load_external_data=False).graph.node
        found = (n.metadata_props for n in nodes if name and n.name == name)
        entries = {e.key: e.value for e in next(found, ())}
        layer = f" in layer {entries['dyn.layer']}" if entries.get("dyn.layer") else ""
        line = f" (of {entries['dyn.source']})" if "dyn.source" in entries else ""
        return VerificationError(
            f"onnxruntime has no {op_type} for the dtypes it is used with{layer}{line}; compute "
            "that part in float32, or export with verify=False for another runtime"
        )

    def results(
        self, outputs: Sequence[np.ndarray], state: Callable[[], Mapping[str, np.ndarray]]
    ) -> Results:
        """Outputs and state after a call."""
        found = {
            ("output", name): array
            for name, array in zip(self.graph.output_names, outputs, strict=False)
        }
        if self.graph.states:
            after = state()
            carried = [s.name for s in self.graph.states if s.value is not None]
            found |= {("state", name): after[name] for name in carried}
        return found

    def compare(
        self,
        wanted: Results,
        given: Results,
        sizes: Mapping[str, int],
        calls: Sequence[Sequence[np.ndarray]],
    ) -> None:
        """Raise if a result of the file is not that of the model; keep the largest error."""
        moves: Results | None = None
        for (kind, name), a in wanted.items():
            b = given[kind, name]
            if a.shape != b.shape or a.dtype != b.dtype:
                raise VerificationError(
                    f"{kind} {name!r} is {a.dtype.name} {list(a.shape)} in the model and "
                    f"{b.dtype.name} {list(b.shape)} in onnxruntime, at {_at(sizes)}"
                )
            if name in self.random or a.size == 0:
                continue
            absolute, relative = difference(a, b)
            w = self.worst
            if relative > w.relative or not w.output:
                self.worst = Comparison(max(absolute, w.absolute), relative, name, dict(sizes))
            allowed = RELATIVE.get(a.dtype.name, 0.0)
            if allowed and self.tolerance is not None:
                allowed = self.tolerance
            if relative <= allowed:
                continue
            if moves is None:
                moves = self.moves(calls, wanted)
            if not is_rounding(a, b, allowed, moves.get((kind, name))):
                raise VerificationError(
                    f"{kind} {name!r} differs from the model by {absolute:.3g} ({relative:.3g} of "
                    f"its largest value, {allowed:g} is allowed) at {_at(sizes)}; export with "
                    "verify=False to get the file, then exporter.diff(model, path, ...) names the "
                    "first node that differs"
                )

    def moves(self, calls: Sequence[Sequence[np.ndarray]], wanted: Results) -> Results:
        """How far results of the model move when its numbers change by what rounding is.

        Results that are all but zero, such as the batch norm of one sample, have no other scale,
        and integers that were rounded have none at all. Inputs and parameters are changed: some
        models have integers for inputs. Functions that are all but flat there, such as tanh far
        from zero, hide this from what follows, and their results are changed, too (Monte Carlo
        arithmetic, Parker 1997). What an optimiser makes of gradients that are all but zero is told
        by neither: there the results of all ops are changed. The runs serve all results at once: a
        training step may have hundreds of such states.
        """
        found: Results = {}
        compared = [key for key, a in wanted.items() if key[1] not in self.random and a.size]

        def moved(unmoved: Results, results: Results) -> None:
            for key in compared:
                found[key] = farther(found.get(key), unmoved[key], results[key])

        def of_graph(watch: Any = None) -> Results:
            graph = tracer.Interpreter(self.graph)
            with np.errstate(all="ignore"):
                outputs = [graph.run(*arrays, watch=watch) for arrays in calls]
            return self.results(outputs[-1], lambda: graph.state)

        self.live.restart()
        again = [self.live.run(arrays) for arrays in calls]
        twice = self.results(again[-1], self.live.state)
        if not same([wanted[key] for key in compared], [twice[key] for key in compared]):
            self.refuse()
        rng = np.random.default_rng(0)
        for _ in range(NUDGES):
            self.live.restart()
            self.live.change(lambda array: nudged(array, rng))
            outputs = [self.live.run([nudged(a, rng) for a in arrays]) for arrays in calls]
            moved(wanted, self.results(outputs[-1], self.live.state))
        self.live.restart()
        # From where the graph is unmoved: what it does otherwise than the model is no noise.
        unmoved = of_graph()
        for _ in range(NUDGES):
            moved(unmoved, of_graph(nudging(rng, functions=not self.graph.training)))
        return found

    def challenge(self, guard: Guard) -> None:
        """Try sizes at which a comparison comes out differently.

        Either the model refuses them too (then the guard is an assumption of the model's own), or
        the file must be right there as well.
        """
        for sizes in itertools.islice(self.trials.breaking(guard), BREAKING):
            trial = self.of_model(sizes, may_refuse=True)
            try:
                self.of_file(trial)
            except VerificationError as error:
                raise VerificationError(
                    f"the model takes another path where {guard} does not hold, and the file "
                    f"would be wrong there; declare that size as fixed, or compute without "
                    f"comparing it ({error.message})",
                    where=guard.where,
                ) from None

    def draws(self, names: Sequence[str]) -> None:
        """Outputs that differ with every seed must differ between runs of the file, too."""
        arrays = self.graph.samples
        lives, files = [], []
        with drawing_from(np.random.default_rng(0)):
            for _ in range(DRAWS):
                self.live.restart()
                lives.append(self.live.run(arrays))
        self.live.restart()
        for _ in range(DRAWS):
            self.predictor.reset()
            files.append(self.served(arrays, self.graph.sizes))
        for name in names:
            i = self.graph.output_names.index(name)
            distinct = {run[i].tobytes() for run in lives}
            if len(distinct) == DRAWS and len({run[i].tobytes() for run in files}) == 1:
                raise VerificationError(
                    f"output {name!r} is random in the model and the same in every run of the file"
                )


def _at(sizes: Mapping[str, int]) -> str:
    declared = [f"{s}={n}" for s, n in sizes.items() if not is_unknown(s)]
    return ", ".join(declared) or "the traced sizes"
