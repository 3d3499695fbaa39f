# make run        the bot, its studio and a Redis of its own, in one process
# make test       every test, the browser's too
# make check      what CI runs: format, lint, types, imports, every test with coverage
#
# make venv       only the virtual environment, .venv, from the lock (PYTHON=... chooses one)
# make lint       ruff's findings            make format     ruff rewrites
# make types      pyright, strict            make imports    who may import whom
# make emulators  drives Parley through third-party emulators of Slack, Teams and Azure OpenAI
# make bench      turns a second, memory     make chaos      kills processes at random, counts what is
#                                            lost or doubled (minutes; CHAOS="--events 5000 --kills 200")
# make clean      removes what the others made, but not the bot's data
.DEFAULT_GOAL := help
SHELL := /bin/sh
# The newest Python here that Parley runs on.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && command -v "$$p" && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
# Tests run side by side: most of them wait for a process, a browser or a clock.
SUITE := $(BIN)/python -m pytest -n auto --maxprocesses 4

.PHONY: help
help:
	@sed -n '/^\./q; s/^# \{0,1\}//p' Makefile

.venv/.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Parley needs Python 3.11, 3.12 or 3.13. Install one, then run this again."; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv || { rm -rf .venv; exit 1; }
	@echo "Installing into .venv from requirements.lock ..."
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation --no-deps -e .
	@touch $@

.PHONY: venv
venv: .venv/.ready

.PHONY: run
run: venv
	@exec $(BIN)/parley serve

.PHONY: test
test: venv
	@browser="$$(.ci/browser.sh)" && PARLEY_CHROMIUM="$$browser" $(SUITE)

.PHONY: check
check: venv
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-logo
	@browser="$$(.ci/browser.sh)" && PARLEY_CHROMIUM="$$browser" $(SUITE) --cov --cov-report=term

.PHONY: lint
lint: venv
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

.PHONY: format
format: venv
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: types
types: venv
	@$(BIN)/pyright

.PHONY: imports
imports: venv
	@$(BIN)/lint-imports --no-logo

.PHONY: emulators
emulators: venv
	@$(BIN)/python -m tests.emulators

.PHONY: bench
bench: venv
	@$(BIN)/python -m tests.benchmarks

.PHONY: chaos
chaos: venv
	@$(BIN)/python -m tests.chaos $(CHAOS)

.PHONY: clean
clean:
	@rm -rf .venv .coverage* .pytest_cache .ruff_cache .import_linter_cache .grimp_cache dist build
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
