"""What an export did, in numbers and names; prints as a short readable block."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Comparison:
    """Largest differences between the live model and the file in onnxruntime.

    Attributes:
        absolute, relative: largest error, and largest error over (tolerance scale of) the value.
        output: name of the output that has it.
        sizes: sizes of the dynamic dimensions it was seen at.
        runs: number of runs compared.
        unchecked: outputs that depend on random ops, of which only shape and dtype are compared.
        fixed: the model took none of the other sizes that were tried for the dynamic ones.
        repeated: later calls had the inputs of the first, as the model raised at others.
    """

    absolute: float = 0.0
    relative: float = 0.0
    output: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    unchecked: tuple[str, ...] = ()
    fixed: bool = False
    repeated: bool = False


@dataclass(frozen=True)
class Report:
    """The result of `exporter.export`.

    Attributes:
        path: the file.
        opset, ir_version: what it declares.
        nodes: number of ONNX nodes, sub-graphs included.
        bytes: size on disk, side file included.
        initializers: names of the weights, as in `state_dict`.
        states: state input name -> state output name, for state that the forward writes.
        constants: tensors found outside the model's state that were stored in the file, with the
            line that read them.
        guards: comparisons of sizes that the file relies on, with their lines.
        notes: what the passes did.
        verified: the comparison with the live model, or None if it was switched off.
    """

    path: Path
    opset: int
    ir_version: int
    nodes: int
    bytes: int
    initializers: tuple[str, ...]
    states: dict[str, str]
    constants: tuple[str, ...]
    guards: tuple[str, ...]
    notes: tuple[str, ...]
    verified: Comparison | None

    @property
    def largest_error(self) -> float:
        """Largest absolute difference seen by the verification; 0.0 if it was switched off."""
        return self.verified.absolute if self.verified else 0.0

    def __str__(self) -> str:
        lines = [
            f"exported {self.path}",
            f"  opset {self.opset}, IR {self.ir_version}, {self.nodes} nodes, "
            f"{self.bytes:,} bytes, {len(self.initializers)} initializers",
        ]
        if self.states:
            lines.append("  state: " + ", ".join(f"{a} -> {b}" for a, b in self.states.items()))
        lines += [f"  stored constant: {text}" for text in self.constants]
        lines += [f"  relies on: {text}" for text in self.guards]
        lines += [f"  {text}" for text in self.notes]
        if self.verified is None:
            lines.append("  not verified (verify=False)")
        else:
            found = self.verified
            sizes = ", ".join(f"{k}={v}" for k, v in found.sizes.items())
            at = f" in {found.output!r}" + (f" at {sizes}" if sizes else "") if found.output else ""
            lines.append(
                f"  verified in onnxruntime in {found.runs} runs: largest difference "
                f"{found.absolute:.2e} ({found.relative:.2e} relative){at}"
            )
            if found.fixed:
                lines.append("  the model takes none of the other sizes that were tried")
            if found.repeated:
                lines.append(
                    "  the model raised at other inputs: later calls had those of the first"
                )
            if found.unchecked:
                lines.append(f"  random outputs, values not compared: {', '.join(found.unchecked)}")
        return "\n".join(lines)
