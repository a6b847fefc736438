"""The table of ops: one file per family, each with `ROWS`. `cases()` is all of them."""

import importlib
import pkgutil

from tests.optable.case import OpCase


def cases() -> list[OpCase]:
    """All rows of all families, with unique ids."""
    found: list[OpCase] = []
    for module in pkgutil.iter_modules(__path__):
        if module.name != "case":
            found += getattr(importlib.import_module(f"{__name__}.{module.name}"), "ROWS", [])
    seen: set[str] = set()
    for case in found:
        if case.id in seen:
            raise ValueError(f"two rows are called {case.id!r}; give one a note")
        seen.add(case.id)
    return found
