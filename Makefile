# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint types unit browser peers bench page clean

demo: .venv/.run
	$(BIN)/patchlens demo --out patchlens-demo

test: .venv/.test lint types unit

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.test
	$(BIN)/pyright

unit: .venv/.test browser
	$(BIN)/python -m pytest

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
