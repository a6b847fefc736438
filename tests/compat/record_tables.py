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
from tables import OPERATIONS, dtypes_of  # noqa: E402


def main() -> None:
    """Write tables.json."""
    warnings.simplefilter("ignore")
    found = {"dtypes": {name: dtypes_of(name, torch) for name in OPERATIONS}}
    (HERE / "tables.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
