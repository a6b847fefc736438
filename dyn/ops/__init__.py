"""The ops, one family a file. Importing this package declares them all and binds the methods."""

import gc
import importlib
import pkgutil

# Nothing of what is made here is garbage, and to look for some would take a fifth of the time: it
# counts as old at once, which is what freezing and unfreezing come to.
_collects = gc.isenabled()
gc.disable()
try:
    for _module in pkgutil.iter_modules(__path__):
        if _module.name != "methods":
            importlib.import_module(f"{__name__}.{_module.name}")
    import dyn.ops.methods  # noqa: F401

    if not gc.get_freeze_count():
        gc.freeze()
        gc.unfreeze()
finally:
    if _collects:
        gc.enable()
