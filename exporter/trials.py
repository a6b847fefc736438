"""What a file is tried with: sizes that were never traced and inputs of those sizes; and which of
its results are random, so that they cannot be compared.

Knows the graph only; nothing here runs a model or a file.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from dyn.core.expr import is_unknown
from dyn.core.op import OPS
from tracer.graph import Graph, Guard, Node, Value
from tracer.sizes import to_int
from tracer.spec import draw

STEPS = (1, 2, 3, 7, 4, 16)
"""Other sizes that are tried for a dimension; spatial ones are tried in multiples of 32."""
SPATIAL = 32
"""From this size on, a size is taken for one of an image."""
NEAR = (1, -1, 2, 3, 5, 8, 16, 33)
"""Steps from a traced size that are tried to break a comparison of sizes."""
HEAVY = 2**29
"""Bytes of all results in a run, from which on sizes are tried only where no lighter ones are left;
a run that is as light as the traced one is never put off."""


class Trials:
    """Sizes and inputs to try a graph with.

    Attributes:
        declared: traced size of each symbol that the inputs declare.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.declared = {s: n for s, n in graph.sizes.items() if not is_unknown(s)}
        self._results = Counter(
            (value.type.shape, value.type.dtype.itemsize)
            for node in graph.walk()
            for value in node.outputs
        )
        self._limit = max(HEAVY, self._bytes(self.declared))

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

    def other_sizes(self) -> Iterator[dict[str, int]]:
        """Sets of sizes in which every dynamic size differs from the traced one; guards hold."""
        heavy = []
        for candidate in self.candidates():
            if all(candidate[s] != n for s, n in self.declared.items()) and all(
                holds(guard, candidate) for guard in self.graph.guards
            ):
                if self._is_heavy(candidate):
                    heavy.append(candidate)
                else:
                    yield candidate
        yield from heavy

    def _is_heavy(self, sizes: Mapping[str, int]) -> bool:
        """Whether a run at these sizes would take memory out of all proportion.

        What attention over the pixels of an image keeps grows with the fourth power of its side.
        """
        return self._bytes(sizes) > self._limit

    def _bytes(self, sizes: Mapping[str, int]) -> int:
        """Memory of all results of a run, but for those whose sizes depend on values."""
        total = 0
        for (shape, itemsize), count in self._results.items():
            try:
                total += count * itemsize * math.prod(to_int(shape, sizes))
            except (KeyError, ZeroDivisionError):
                continue
        return total

    def candidates(self) -> Iterator[dict[str, int]]:
        """Many sets of sizes, likely ones first; none if all sizes are fixed."""
        if not self.declared:
            return
        options = [_options(n) for n in self.declared.values()]
        together = zip(*options, strict=False)
        mixed = itertools.islice(itertools.product(*options), 64)
        for numbers in itertools.chain(together, mixed):
            yield dict(zip(self.declared, numbers, strict=True))

    def breaking(self, guard: Guard) -> Iterator[dict[str, int]]:
        """Sets of declared sizes at which a comparison comes out differently.

        Where its sides are equal both ways often meet, as those of `max(n, m)` do, and small sizes
        leave little to tell them by: first come extremes, then all.
        """
        symbols = guard.left.symbols() | guard.right.symbols()
        if not symbols <= set(self.declared):
            return
        tried = itertools.chain(self.candidates(), self._near(symbols))
        broken = [sizes for sizes in tried if not holds(guard, sizes)]
        broken = [sizes for sizes in broken if not self._is_heavy(sizes)] or broken
        measures: list[Callable[[dict[str, int]], int]] = [
            lambda sizes: _apart(guard, sizes),
            lambda sizes: -_apart(guard, sizes),
            lambda sizes: sum(sizes.values()),
            *(lambda sizes, s=s: 2 * sizes[s] - sum(sizes.values()) for s in sorted(symbols)),
        ]
        chosen: list[dict[str, int]] = []
        for measure in measures if broken else ():
            if (extreme := max(broken, key=measure)) not in chosen:
                chosen.append(extreme)
        yield from chosen
        yield from (sizes for sizes in broken if sizes not in chosen)

    def _near(self, symbols: set[str]) -> Iterator[dict[str, int]]:
        """Sizes around the traced ones, one symbol changed at a time."""
        for symbol in sorted(symbols):
            for step in NEAR:
                if self.declared[symbol] + step > 0:
                    yield {**self.declared, symbol: self.declared[symbol] + step}


def _options(sample: int) -> list[int]:
    near = [n for n in STEPS if n != sample]
    if sample < SPATIAL:
        return near
    return [sample + SPATIAL, sample * 2, sample // 2, sample + 1, *near]


def _apart(guard: Guard, sizes: Mapping[str, int]) -> int:
    """How far the sides of a comparison are apart; 0 where they divide by zero."""
    try:
        return abs(guard.left.value(sizes) - guard.right.value(sizes))
    except ZeroDivisionError:
        return 0


def holds(guard: Guard, sizes: Mapping[str, int]) -> bool:
    """Whether a comparison comes out as traced; one of sizes that depend on values counts as so.

    Where its arithmetic divides by zero the model raises, so nothing comes out as traced.
    """
    try:
        return guard.holds(dict(sizes))
    except KeyError:
        return True
    except ZeroDivisionError:
        return False


def random_results(graph: Graph) -> set[str]:
    """Names of the outputs and states that random numbers reach, in whichever call."""
    reached: set[Value] = set()
    results = list(zip(graph.output_names, graph.outputs, strict=True))
    results += [(state.name, state.next) for state in graph.states]
    known = -1
    while len(reached) > known:
        known = len(reached)
        for node in graph.walk():
            if _is_reached(node, reached):
                reached.update(node.outputs)
        # State that is random is read so in the next call.
        reached.update(s.value for s in graph.states if s.value is not None and s.next in reached)
    return {name for name, value in results if value in reached}


def _is_reached(node: Node, reached: set[Value]) -> bool:
    """Whether a node draws, or reads or hands on a reached value, its blocks included."""
    nodes = [node, *(inner for block in node.blocks.values() for inner in block.walk())]
    read = [value for one in nodes for value in one.inputs]
    read += [value for block in node.blocks.values() for value in block.outputs]
    draws = any(OPS[one.op].random for one in nodes if one.op in OPS)
    return draws or any(value in reached for value in read)
