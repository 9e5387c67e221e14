# `make run` and `make test` do everything on a fresh machine with Python 3.11 to 3.13 and make. `make help` lists the rest.
SHELL := /bin/sh
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location -c constraints.txt
TORCH := $(shell sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.txt)
export PYTHON
export PIP_ROOT_USER_ACTION = ignore

.DEFAULT_GOAL := help
.PHONY: help run demo test test-fast test-all lint hooks faults bench screenshots constraints clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

run: $(VENV)/.installed  ## serve on http://127.0.0.1:5000 (installs what is missing first)
	@exec $(BIN)/millwright serve

demo: $(VENV)/.installed  ## fill a running server (or, without one, the data folder); with keys: make demo KEY_FILE=path
	@$(BIN)/millwright demo fill $(if $(KEY_FILE),--api-key-file "$(KEY_FILE)")

test: $(VENV)/.installed-dev  ## run linters, type checks and all tests
	@$(MAKE) --no-print-directory --jobs=2 lint test-all

# More workers than processors: many tests wait for a server or for a process to end.
# A worker that crashes is not replaced: pytest-xdist would wait for ever for a test that it has not passed on.
test-all: $(VENV)/.installed-dev
	@./scripts/need.sh curl curl
	@./scripts/need.sh chromium chromium || echo "The pages are not tested in a browser" >&2
	@./scripts/need.sh strace strace || echo "No single system calls are made to fail" >&2
	PYTHON_OF_TESTS=$(BIN)/python ./scripts/with_postgresql.sh ./scripts/with_mosquitto.sh \
	  $(BIN)/python -m pytest -n $$(($$(nproc) + 3)) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test-fast: $(VENV)/.installed-dev  ## run the cheap tests only: no servers, databases, browsers or neural networks
	$(BIN)/python -m pytest -n $$(nproc) --dist loadfile --no-loadscope-reorder \
	  -m 'not (slow or faults or browser or server or torch or postgres)'

lint: $(VENV)/.installed-dev  ## run ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy .

hooks: $(VENV)/.installed-dev  ## run ruff and mypy before every commit
	$(BIN)/pre-commit install

faults: $(VENV)/.installed-dev  ## kill at every step and at 100 random moments
	@./scripts/need.sh strace strace || echo "No single system calls are made to fail" >&2
	FAULT_KILLS=100 TEST_EVERY_POINT=1 $(BIN)/python -m pytest --timeout 3600 tests/faults \
	  tests/storage/test_crashes.py tests/training/test_crashes.py

bench: $(VENV)/.installed-dev  ## run the benchmarks; results go to benchmarks/results
	$(BIN)/python -m benchmarks

screenshots: $(VENV)/.installed-dev  ## take a picture of every page into docs/screenshots
	@./scripts/need.sh chromium chromium
	$(BIN)/python -m tests.browser.screenshots

constraints: $(VENV)/.installed-dev  ## pin what is installed now in constraints.txt
	@{ echo '# Every package of a complete environment. Made by `make constraints`; do not edit.'; \
	  $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.txt

clean:  ## remove the environment and caches, but no data, models or backups
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: a step runs again only when what it depends on has changed.
$(VENV)/.created: scripts/create_venv.sh
	./scripts/create_venv.sh $(VENV)
	@touch $@

$(VENV)/.torch: $(VENV)/.created
	@echo "Installing what Millwright needs into $(VENV): one to three minutes" >&2
	@$(PIP) $(TORCH)
	@touch $@

$(VENV)/.installed: pyproject.toml requirements.txt constraints.txt $(VENV)/.torch
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-keras.txt requirements-mcp.txt $(VENV)/.installed
	$(PIP) -r requirements-dev.txt
	@touch $@
