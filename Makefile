# `make help` lists the targets. PYTHON chooses the interpreter that the virtual environment is made with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help run test test-all lint format bench clean
.DEFAULT_GOAL := help

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 12

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

run: $(STAMP)  ## Run the whole pipeline; settings in ARGS, e.g. make run ARGS="data.variant=travel seed=1"
	$(BIN)/python scripts/run.py $(ARGS)

test: $(STAMP)  ## Run the tests (under ten minutes on two cores)
	$(BIN)/python -m pytest -n 2 $(ARGS)

test-all: $(STAMP)  ## Run all tests, the slow ones too
	$(BIN)/python -m pytest -n 2 -m 'not gpu' $(ARGS)

lint: $(STAMP)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## Mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## Run the benchmarks
	$(BIN)/python benchmarks/speed.py $(ARGS)

clean:  ## Remove caches and build files (not outputs)
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
