# Every target makes `.venv` by itself and installs what it needs; again when pyproject.toml changes.
#   make demo    train, export, verify and serve a digit classifier
#   make test    the test suite
#   make check   lint, format, types and the rules of the house
#   make bench   time the same work here and in the peers that are installed
# Another interpreter: make test PYTHON=python3.12

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test check bench clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/installed-demo
	@$(BIN)/python -m examples.mnist

test: $(VENV)/installed-test
	@$(BIN)/python -m pytest

check: $(VENV)/installed-test
	@echo 'ruff check';  $(BIN)/ruff check --quiet .
	@echo 'ruff format'; $(BIN)/ruff format --quiet --check .
	@echo 'pyright';     $(BIN)/pyright --pythonpath $(BIN)/python
	@echo 'rules of the house'; $(BIN)/python -m pytest -q tests/test_imports.py

bench: $(VENV)/installed-bench
	@$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) dist build

$(BIN)/python:
	@echo 'Creating $(VENV) with $(PYTHON)'
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 10) else \
	    f"Python 3.10 or newer is needed, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo '$(PYTHON) cannot make environments (on Debian: apt-get install python3-venv)'; exit 1; }

# pip's own output is long: it goes to a log, and only the package at hand is shown.
$(VENV)/installed-%: pyproject.toml | $(BIN)/python
	@echo 'Installing dyn-onnx[$*] into $(VENV)'
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -e '.[$*]' 2>&1 \
	    | tee $(VENV)/install-$*.log \
	    | sed -un -e 's/^Collecting \([^ ]*\).*/  \1/p' \
	        -e 's/^Installing collected packages.*/  unpacking/p' \
	    || { tail -n 20 $(VENV)/install-$*.log; exit 1; }
	@touch $@
