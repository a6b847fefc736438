"""Records what `tables.py` gives in PyTorch, beside this file; run by hand with torch.

python tests/compat/record_tables.py
"""

import json
import sys
import warnings
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import torch  # noqa: E402
from tables import OPERATIONS, WRITES, dtypes_of, expressions, written  # noqa: E402


def main() -> None:
    """Write tables.json."""
    warnings.simplefilter("ignore")
    lines = [f'"{name}": "{dtypes_of(name, torch)}"' for name in OPERATIONS]
    for expression in expressions():
        held = " ".join(written(expression, how, torch, torch.nn) for how in WRITES)
        lines.append(f'{json.dumps(expression)}: "{held}"')
    (HERE / "tables.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
