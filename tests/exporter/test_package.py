"""The lazy front of the exporter package: what is public, and that nothing hides it."""

import pytest

import exporter
from tests.exporter.serving.models import run_python


def test_every_public_name_is_there():
    for name in exporter.__all__:
        assert getattr(exporter, name).__name__ == name
    assert set(exporter.__all__) <= set(dir(exporter))
    assert set(exporter.__all__) == set(exporter._MODULES)


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="'exporter' has no attribute 'nothing'"):
        _ = exporter.nothing


def test_a_submodule_does_not_hide_the_function_of_its_name():
    code = """
import exporter.export
from exporter.export import export
assert exporter.export is export
import exporter.registry
print(exporter.registry.__name__)
"""
    assert run_python(code).strip() == "exporter.registry"


def test_onnxruntime_reports_nothing_unless_it_is_asked_to():
    code = """
import os
os.environ.update(ORT_DISABLE_TELEMETRY="0") if {wanted} else None
import exporter
print(os.environ["ORT_DISABLE_TELEMETRY"])
"""
    assert run_python(code.format(wanted=False)).strip() == "1"
    assert run_python(code.format(wanted=True)).strip() == "0"
