# Every verb works on a machine that has only python3, git and make; `make` alone lists them.
PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help setup serve test soak check bench bench-quick format clean

help: ## say what each verb does
	@echo 'usage: make VERB [ARGS="..."]'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

setup: $(STAMP) ## install sessionary and its tools into .venv

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

serve: setup ## run the server on ./sessionary.db; ARGS go to `sessionary serve`
	$(BIN)/sessionary serve $(ARGS)

test: setup ## run the whole suite with its coverage; ARGS go to pytest
	@scripts/system-packages
	$(BIN)/python -m pytest --cov --numprocesses 2 --dist worksteal $(ARGS)

# SOAK is the share of the way from the dose of every day (0) to the long one (1).
SOAK ?= 1

soak: setup ## let faults and overload strike for long, about 15 minutes; SOAK=0.1 for less; ARGS go to pytest
	@scripts/system-packages
	SOAK=$(SOAK) $(BIN)/python -m pytest tests/faults tests/overload --timeout 3600 -o log_cli=true -o log_cli_level=WARNING $(ARGS)

check: setup ## lint, formatting, types, layers and the generated client
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/generate_sync_client.py --check

bench: setup ## measure everything beside its limits and others, about 15 minutes; ARGS go to the benchmark
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python -m bench $(ARGS)

bench-quick: setup ## measure the three main loads, a few minutes
	$(BIN)/python -m bench --quick $(ARGS)

format: setup ## put the code into the house's shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/python scripts/generate_sync_client.py

clean: ## remove everything that make made
	rm -rf .venv dist htmlcov .coverage .coverage.* .hypothesis .schemathesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find src tests -name __pycache__ -prune -exec rm -rf {} +
