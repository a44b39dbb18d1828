# make demo: install into .venv and run the main job, offline.   make test: everything that CI checks.
# make bench: all methods on two splits and three seeds, then the ablation, into docs/; hours of two cores, goes on
# where it was interrupted.   make bench-quick: one split, one seed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo

# What was invented here beside nscvf takes minutes a cell and stands with the ablation.
METHODS := nscvf,rmu,vkd,mmunlearner,manu,siu,fisher,grad_ascent,grad_diff,kl,npo,po,dpo,finetune
BENCH := $(BIN)/unsee bench --thin 6 --jobs 2

.PHONY: setup demo test check format personas ladder bench bench-quick clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found; name another Python >= 3.11: make PYTHON=python3 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@# axe-core looks through the pages in the tests; without npm that test is skipped.
	-@command -v npm >/dev/null && npm install --silent --no-audit --no-fund --prefix $(VENV)/axe axe-core@4.11
	@touch $@

# Its exit code is 1 where the request missed its aim. The page says so then, and the demo has done what it is for.
demo: setup
	$(BIN)/unsee demo --out $(OUT) --overwrite || test $$? -eq 1

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two processes: models are tiny, and a thread more for each would only wait.
test: check
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Trains the four shipped models again, about 50 minutes of one core each; goes on where it was interrupted.
personas: setup
	$(BIN)/python -m unsee.benchmarks.personas.train

# Trains the models of the ladder that do not ship (about 50 minutes of one core each, two at a time; goes on where it
# was interrupted; three minutes of a GPU, make ladder DEVICE=cuda), makes the reported request on each, and writes
# docs/ladder.md.
LADDER := attention joint wide merger
DEVICE ?= cpu
ladder: setup
	mkdir -p personas-training/logs
	printf '%s\n' $(LADDER) $(LADDER:%=%_retain_reported) remember_retain_reported | xargs -P 2 -I NAME sh -c '\
	  OMP_NUM_THREADS=1 $(BIN)/python -m unsee.benchmarks.personas.train NAME --threads 1 --device $(DEVICE) \
	  --out personas-training/models/ >> personas-training/logs/NAME.log 2>&1'
	$(BIN)/python scripts/ladder.py run --split reported --seeds 0,1,2

bench: setup
	$(BENCH) --methods $(METHODS) --splits forget_10,reported --seeds 0,1,2 --out bench
	$(BENCH) --methods ablation,closed_form,streaming --splits forget_10 --seeds 0 --out bench
	cp bench/bench.md bench/*.svg docs/

bench-quick: setup
	$(BENCH) --methods $(METHODS) --splits forget_10 --seeds 1 --out bench-quick

clean:
	rm -rf $(VENV) $(OUT) bench bench-quick personas-training .pytest_cache .mypy_cache .ruff_cache
