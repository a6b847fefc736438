"""Both sides of an `if`: the tree of all paths through a forward, and the walk that fills it.

A run follows a path; `bool()` of a traced value is a fork in it. The forward is run again until
every fork has been taken both ways. What two runs share is recorded once and compared the second
time, so a forward that is not the same twice is found out. Merging the tree is in `merge.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dyn.core.errors import SourceLine, is_ours
from dyn.core.op import Type
from tracer.errors import TraceError, headline
from tracer.graph import Assumption, Block, Node, Value
from tracer.match import same_attrs, same_block

MAX_PATHS = 64


@dataclass(eq=False)
class End:
    """Where a path ends.

    Attributes:
        outputs: results of the forward, or of the function that a block is made from.
        structure: how the results are nested.
        states: last value and line of every piece of state that was written.
        error: what the forward raised instead, on a side that it refuses.
    """

    outputs: list[Value] = field(default_factory=list)
    structure: Any = None
    states: dict[str, tuple[Value, SourceLine | None]] = field(default_factory=dict)
    error: Exception | None = None


@dataclass(eq=False)
class Fork:
    """A condition on a value, and what is recorded on either side of it."""

    condition: Value
    layer: tuple[str, str]
    where: SourceLine | None
    sides: dict[bool, Segment]


@dataclass(eq=False)
class Segment:
    """Nodes from one fork to the next, or to the end."""

    nodes: list[Node] = field(default_factory=list)
    then: Fork | End | None = None


class Path:
    """One run through the tree: follows what earlier runs recorded, then records on.

    Attributes:
        taken, lines: the answer at each fork so far, and its line.
        answers: the same by condition; a condition that is asked again is no new fork.
        compared: the same for sizes that depend on values, by what is compared.
        counts: how often each point of the program was passed at which a size arises.
    """

    def __init__(self, root: Segment, decisions: tuple[bool, ...]):
        """Start at the root.

        Args:
            decisions: answers to give at the first forks; later ones are answered by the values.
        """
        self.root = root
        self.segment = root
        self.decisions = decisions
        self.taken: list[bool] = []
        self.lines: list[SourceLine | None] = []
        self._cursor = 0
        self.answers: dict[Value, bool] = {}
        self.compared: dict[Any, bool] = {}
        self.counts: Counter[Any] = Counter()

    def step(
        self,
        op: str,
        inputs: list[Value | None],
        attrs: dict[str, Any],
        types: Callable[[], list[Type]],
        layer: tuple[str, str],
        where: SourceLine | None,
        blocks: dict[str, Block] | None = None,
    ) -> tuple[Node, bool]:
        """The node for one run of an op, and whether it is a new one.

        Args:
            types: gives the types of the outputs; asked only for a new node.

        Raises:
            TraceError: an earlier run did something else here.
        """
        nodes = self.segment.nodes
        if self._cursor < len(nodes):
            node = nodes[self._cursor]
            same = node.op == op and node.inputs == inputs and same_attrs(node.attrs, attrs)
            if not same or not _same_blocks(node.blocks, blocks or {}):
                raise _unsteady(f"{node.op} at {node.where}", f"{op} at {where}", where)
            self._cursor += 1
            return node, False
        if self.segment.then is not None:
            raise _unsteady(_what(self.segment.then), f"{op} at {where}", where)
        outputs = [Value("", type_, "node") for type_ in types()]
        node = Node(op, inputs, attrs, outputs, *layer, where, blocks or {})
        nodes.append(node)
        self._cursor += 1
        return node, True

    def fork(
        self, condition: Value, answer: bool, layer: tuple[str, str], where: SourceLine | None
    ) -> bool:
        """Take one side of a condition.

        Args:
            answer: what the value is in this run; taken unless the path's decisions say otherwise.
        """
        if len(self.taken) >= MAX_PATHS:
            raise _too_many(self.lines)
        if len(self.taken) < len(self.decisions):
            answer = self.decisions[len(self.taken)]
        self._leave(f"a condition at {where}", Fork)
        if self.segment.then is None:
            self.segment.then = Fork(condition, layer, where, {})
        fork = self.segment.then
        assert isinstance(fork, Fork)
        if fork.condition is not condition:
            raise _unsteady(_what(fork), f"a condition at {where}", where)
        self.segment = fork.sides.setdefault(answer, Segment())
        self._cursor = 0
        self.answers[condition] = answer
        self.taken.append(answer)
        self.lines.append(where)
        return answer

    def nodes(self) -> Iterator[Node]:
        """What was recorded along this path so far."""
        segment = self.root
        yield from segment.nodes
        for answer in self.taken:
            assert isinstance(segment.then, Fork)
            segment = segment.then.sides[answer]
            yield from segment.nodes

    def end(self, end: End) -> None:
        """Finish the run."""
        self._leave("the end of the forward", End)
        self.segment.then = end

    def _leave(self, what: str, kind: type) -> None:
        """Check that the segment ends here, in the way it did before."""
        if self._cursor < len(self.segment.nodes):
            node = self.segment.nodes[self._cursor]
            raise _unsteady(f"{node.op} at {node.where}", what, node.where)
        then = self.segment.then
        if not isinstance(then, (kind, type(None))):
            raise _unsteady(_what(then), what, then.where if isinstance(then, Fork) else None)


def explore(run: Callable[[Path], End]) -> Segment:
    """Run along every path and return the tree.

    Args:
        run: runs the forward along a path and says how it ended.

    Raises:
        TraceError: there are more than MAX_PATHS paths, or a side cannot be run with the sample.
    """
    root = Segment()
    pending: list[tuple[bool, ...]] = [()]
    count = 0
    while pending:
        path = Path(root, pending.pop())
        try:
            end = run(path)
        except TraceError as error:
            error.of_branches = error.of_branches or bool(path.decisions)
            raise
        except Exception as error:
            if not path.decisions:
                raise
            if _is_ours(error):
                raise _cannot_run(path, error) from error
            end = End(error=error)
        path.end(end)
        count += 1
        if count > MAX_PATHS:
            raise _too_many(path.lines)
        for i in range(len(path.decisions), len(path.taken)):
            pending.append((*path.taken[:i], not path.taken[i]))
    return root


def ends(root: Segment) -> list[End]:
    """All ends of the tree."""
    found: list[End] = []
    stack = [root]
    while stack:
        then = stack.pop().then
        if isinstance(then, End):
            found.append(then)
        elif isinstance(then, Fork):
            stack.extend(then.sides.values())
    return found


def _is_ours(error: Exception) -> bool:
    """Whether dyn raised the error, rather than the user's own `raise` or `assert`."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and is_ours(last.tb_frame.f_code.co_filename)


def _cannot_run(path: Path, error: Exception) -> TraceError:
    index = len(path.decisions) - 1
    return _of_branches(
        f"the side of the condition where it is {path.decisions[index]} cannot be recorded with "
        f"this sample ({headline(error)}). Give an InputSpec(example=...) for which "
        "both sides run, or write it with dyn.where",
        where=path.lines[index],
    )


def assumptions(root: Segment) -> list[Assumption]:
    """Cut off the sides that only raise, and say what is assumed instead."""
    return _cut(root)[1]


def _cut(segment: Segment) -> tuple[Exception | None, list[Assumption]]:
    """The error that every path from here ends in, if so, and what is assumed otherwise."""
    then = segment.then
    if isinstance(then, End):
        return then.error, []
    assert isinstance(then, Fork)
    cut = {answer: _cut(side) for answer, side in then.sides.items()}
    failing = [answer for answer, (error, _) in cut.items() if error is not None]
    if len(failing) == 2:
        return cut[True][0], []
    found = [one for answer, (_, below) in cut.items() if answer not in failing for one in below]
    for answer in failing:
        kept = then.sides[not answer]
        found.insert(0, Assumption(not answer, then.where, _one_line(cut[answer][0])))
        segment.nodes.extend(kept.nodes)
        segment.then = kept.then
    return None, found


def _one_line(error: Exception | None) -> str:
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _same_blocks(a: dict[str, Block], b: dict[str, Block]) -> bool:
    return a.keys() == b.keys() and all(same_block(a[name], b[name]) for name in a)


def _what(then: Fork | End | None) -> str:
    if isinstance(then, Fork):
        return f"a condition at {then.where}"
    return "the end of the forward"


def _unsteady(first: str, second: str, where: SourceLine | None) -> TraceError:
    return TraceError(
        f"the forward is not the same twice: it came to {first} in one run and to {second} in "
        "another. What it does may depend on its inputs only, not on Python's or numpy's random "
        "numbers, counters or the time; use dyn.rand and buffers for those",
        where=where,
    )


def _too_many(lines: list[SourceLine | None]) -> TraceError:
    counts: dict[SourceLine | None, int] = {}
    for line in lines:
        counts[line] = counts.get(line, 0) + 1
    often = max(counts, key=lambda line: counts[line])
    return _of_branches(
        f"conditions on values make more than {MAX_PATHS} paths through the forward; the one at "
        f"{often} is met {counts[often]} times. Use dyn.while_loop for a loop that ends by a "
        "value, dyn.where for a choice between two results, dyn.cond for an `if` in a loop",
        where=often,
    )


def _of_branches(message: str, where: SourceLine | None) -> TraceError:
    error = TraceError(message, where=where)
    error.of_branches = True
    return error
