"""What the seed tests have: a function that runs the code of the documents."""

import contextlib
import io
import re
from collections.abc import Callable
from typing import Any

import pytest

import dyn


@pytest.fixture
def verbatim() -> Callable[..., dict[str, Any]]:
    """`run(source)`: the names that the code leaves behind, and what it printed as "printed".

    The code stands as in its document, but for the name of the package; line breaks that the
    documents lost are restored.
    """

    def run(source: str, **names: Any) -> dict[str, Any]:
        source = source.replace("import paddle\n", "import dyn as paddle\n")
        source = source.replace("import paddle.", "import dyn.")
        source = re.sub(r"^import torch$", "import dyn.compat.torch as torch", source, flags=re.M)
        source = re.sub(r"^(import|from) torch\b", r"\1 dyn.compat.torch", source, flags=re.M)
        space: dict[str, Any] = {"__name__": "seed", "paddle": dyn, **names}
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, "seed.py", "exec"), space)
        space["printed"] = printed.getvalue()
        return space

    return run
