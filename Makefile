# `make demo` and `make test` work in a fresh clone: `setup` makes .venv, and remakes it when
# pyproject.toml or constraints.txt change.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Idle OpenMP threads must sleep, not spin: on shared cores spinning takes five times the work.
export OMP_WAIT_POLICY := passive
export GOMP_SPINCOUNT := 0

.PHONY: help setup demo test lint bench docs
.DEFAULT_GOAL := help

help:
	@echo "make demo   train every model on the embedded market; prints the table and the report's path"
	@echo "make test   every test and doctest"
	@echo "make lint   ruff, mypy, import-linter"
	@echo "make bench  every speed benchmark as one table: ours, peer or limit, ratio, peak memory"
	@echo "make docs   the documents and the API reference as a site: site/index.html"
	@echo "make setup  the virtual environment .venv (the others call it)"

setup: $(INSTALLED)

# Install torch first and pinned, so that an index with the CPU build can supply it.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/gogooku3 demo

test: setup
	$(BIN)/python -m pytest -n 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python benchmarks/run_all.py

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html; its search needs a server: $(BIN)/python -m http.server -d site"
