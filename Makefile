# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Arguments for pytest come in ARGS: make test ARGS="tests/lens -k memory"
PYTHON ?= python3
BIN := .venv/bin
INSTALL := python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# A worker for each core; one that has nothing left takes tests from another.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal
# What `make quick` leaves out: what starts browsers or processes, fits, draws, or asks a model many times.
LONG := browser bench causal cause fit lens studies train views test_tour.py

.PHONY: demo test quick lint types unit browser peers bench page clean

# Modules are compiled once, not again by every process that a test starts, whatever the shell says of it.
export PYTHONDONTWRITEBYTECODE :=

demo: .venv/.run
	$(BIN)/patchlens demo --out patchlens-demo

# One part takes one core and the other all: side by side they end sooner.
test: .venv/.test lint
	$(MAKE) --no-print-directory --jobs 2 types unit

quick: .venv/.test lint
	$(PYTEST) $(LONG:%=--ignore=tests/%) $(ARGS)
	@echo "left out, for make test: types, and of tests/: $(LONG)"

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.test
	$(BIN)/pyright

unit: .venv/.test browser
	$(PYTEST) $(ARGS)

# The page is tested in the Chrome or Chromium of this machine; where there is none, Debian's is installed.
browser: .venv/.test
	$(BIN)/python tests/browser/find.py

# Other implementations of the same reading, in an environment of their own under the same torch.
peers: .venv-peers/.done
	.venv-peers/bin/python -m pytest peers

bench: .venv/.test browser
	$(BIN)/python benchmarks/lens.py
	$(BIN)/python benchmarks/capture.py
	$(BIN)/python benchmarks/fit.py
	$(BIN)/python benchmarks/cause.py
	$(BIN)/python benchmarks/study.py
	$(BIN)/python benchmarks/viewer.py

# The page's bundle, from viewer/ into the package; a test holds the two together.
page: .venv/.test
	cd viewer && npm ci && npm run build

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.run: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/$(INSTALL) torch==2.13.0
	$(BIN)/$(INSTALL) --editable .
	touch $@

.venv/.test: .venv/.run
	$(BIN)/$(INSTALL) --editable '.[test]'
	touch $@

.venv-peers/.done: pyproject.toml constraints.txt peers/requirements.txt peers/alone.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/$(INSTALL) torch==2.13.0
	.venv-peers/bin/$(INSTALL) torch==2.13.0 --requirement peers/requirements.txt --editable .
	.venv-peers/bin/$(INSTALL) --no-deps --requirement peers/alone.txt
	touch $@

clean:
	rm -rf .venv .venv-peers patchlens-demo viewer/node_modules
