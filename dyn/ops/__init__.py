"""The ops, one family a file. Importing this package declares them all and binds the methods."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    if _module.name != "methods":
        importlib.import_module(f"{__name__}.{_module.name}")

import dyn.ops.methods  # noqa: E402, F401
