# Everything sets itself up: `make quickstart` on a fresh machine is enough. Needs make and Python 3.11 or newer.
#
#   make quickstart   install the core, then train a small chat model end to end and open a chat
#   make test         everything a user needs to trust the installation
#   make check        what a change must pass: tests, lint, format, types, import contracts
#   make peers        the tests against lm-eval, in .venv-peers: an environment of its own, since lm-eval brings thirty packages
#   make browser      install Debian's Chromium (as root), in which the chat page is tested; without it those tests are skipped
#   make setup        only install (with the tools for tests)
#   make clean        remove what the targets made; runs/ stays
#
# PYTHON  the interpreter that makes .venv                     make test PYTHON=python3.12
# TORCH   what pip installs for torch, before everything else. A plain `torch` may fetch several GB of CUDA on Linux; for a
#         CPU build wherever you are:  make quickstart TORCH="torch==2.13.0 --index-url URL-OF-A-CPU-BUILD-INDEX"
#         and to use a torch that the interpreter already has:  make quickstart VENV_FLAGS=--system-site-packages TORCH=
# JOBS    parallel test processes (0: none)

PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV_FLAGS ?=
JOBS ?= 2

BIN := .venv/bin
CORE := .venv/.core-installed
DEV := .venv/.dev-installed
PEERS := .venv-peers/.peers-installed
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: quickstart test lint check setup peers browser clean

quickstart: $(CORE)
	$(BIN)/trivium run quickstart

test: $(DEV)
	$(BIN)/python -m pytest -n $(JOBS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/lint-imports

check: lint test

setup: $(DEV)

peers: $(PEERS)
	.venv-peers/bin/python -m pytest tests/evals/test_lm_eval.py

browser:
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; }

.venv/bin/python .venv-peers/bin/python: %/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "trivium needs Python 3.11 or newer; '$(PYTHON)' is not. Try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV_FLAGS) $* || { rm -rf $*; echo "'$(PYTHON) -m venv' failed; on Debian or Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }

# The stamps are older than pyproject.toml only when the dependencies may have changed.
$(CORE): pyproject.toml | $(BIN)/python
	$(if $(strip $(TORCH)),$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH))
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEV): $(CORE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

$(PEERS): pyproject.toml | .venv-peers/bin/python
	$(if $(strip $(TORCH)),.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH))
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[eval,hf]" "lm-eval[hf]" pytest
	@touch $@

clean:
	rm -rf .venv .venv-peers build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
