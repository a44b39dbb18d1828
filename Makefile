# make demo: install into .venv and run the main job, offline.   make test: everything that CI checks.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo

.PHONY: setup demo test check format personas clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found; name another Python >= 3.11: make PYTHON=python3 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: setup
	$(BIN)/unsee demo --out $(OUT) --overwrite

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Trains the five shipped models again, about 20 minutes of two cores each; goes on where it was interrupted.
personas: setup
	$(BIN)/python -m unsee.benchmarks.personas.train

clean:
	rm -rf $(VENV) $(OUT) personas-training .pytest_cache .mypy_cache .ruff_cache
