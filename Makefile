# make run        the bot, its studio and a Redis of its own, in one process
# make test       every test, browser tests included
# make check      what CI runs: format, lint, types, imports, documentation, every test with coverage
#
# make venv       only the virtual environment for development, .venv (PYTHON=... chooses the Python)
# make docs       builds the documentation site, build/docs/site; a broken link is an error
# make lock       resolves the lock files again, with uv; what they pin stays unless it no longer fits
# make lint       ruff and oxlint report     make format     rewrites with ruff
# make types      pyright and tsc, strict    make imports    who may import whom
# make emulators  drives Parley through third-party emulators of Slack, Teams and Azure OpenAI
# make bench      turns a second, memory     make chaos      kills processes at random, counts what is
#                                            lost, duplicated, silent or paid twice (minutes;
#                                            CHAOS="--events 5000 --kills 200 --refusals 0.2 --platforms 20")
# make intent     600 sentences in five languages through every surface: whether people get what they mean (minutes)
# make installs   builds the wheel, installs it with the oldest supported pip, and starts it
# make fuzz       200,000 odd requests to every route (minutes; FUZZ="--requests 20000 --seed 7")
# make isolation  20,000 random operations of nine tenants with equal ids against an oracle of who may see and do
#                 what (minutes; ISOLATION="--operations 2000 --seed 7")
# make clean      removes what the others made, but not Parley's data
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
# The tests start Python hundreds of times; without compiled files each start compiles a thousand modules.
unexport PYTHONDONTWRITEBYTECODE
# Tests run side by side: most of them wait for a process, a browser or a clock.
SUITE := $(BIN)/python -m pytest -n 4 --dist worksteal -m "not installs"

.PHONY: help
help:
	@sed -n '/^\./q; s/^# \{0,1\}//p' Makefile

# The development lock holds everything that the other one holds, so an environment made from it runs Parley too.
# install.sh looks each time whether there is something to do: also when the Python of .venv is gone, or .venv was moved.
.venv/.run: always
	@.ci/install.sh requirements.lock

.venv/.dev: always
	@.ci/install.sh requirements-dev.lock

always:

.PHONY: venv
venv: .venv/.dev

.PHONY: run
run: .venv/.run
	@exec $(BIN)/parley serve

.PHONY: test
test: venv
	@browser="$$(.ci/browser.sh)" && PARLEY_CHROMIUM="$$browser" $(SUITE)

.PHONY: check
check: venv docs
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@.ci/javascript.sh lint
	@$(BIN)/pyright
	@.ci/javascript.sh types
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m pytest --collect-only -qq >/dev/null || true  # compiles the tests once, not in each process
	@browser="$$(.ci/browser.sh)" && PARLEY_CHROMIUM="$$browser" $(SUITE) --cov --cov-report=term
	@$(BIN)/python -m pytest -m installs tests/project/test_install.py

.PHONY: installs
installs: venv
	@$(BIN)/python -m pytest -m installs tests/project/test_install.py

.PHONY: lint
lint: venv
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@.ci/javascript.sh lint

.PHONY: format
format: venv
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: types
types: venv
	@$(BIN)/pyright
	@.ci/javascript.sh types

.PHONY: imports
imports: venv
	@$(BIN)/lint-imports --no-logo

.PHONY: docs
docs:
	@.ci/install.sh requirements-docs.lock
	@.venv-docs/bin/python .ci/pages.py
	@.venv-docs/bin/zensical build --strict --config-file build/docs/zensical.toml

.PHONY: emulators
emulators: venv
	@$(BIN)/python -m tests.emulators

.PHONY: bench
bench: venv
	@$(BIN)/python -m tests.benchmarks

.PHONY: chaos
chaos: venv
	@$(BIN)/python -m tests.chaos $(CHAOS)

.PHONY: intent
intent: venv
	@$(BIN)/python -m tests.intent

.PHONY: fuzz
fuzz: venv
	@$(BIN)/python -m tests.fuzz $(FUZZ)

.PHONY: isolation
isolation: venv
	@$(BIN)/python -m tests.isolation $(ISOLATION)

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-header
.PHONY: lock
lock:
	@$(LOCK) pyproject.toml --group dev --output-file requirements-dev.lock
	@$(LOCK) pyproject.toml --group build --constraint requirements-dev.lock --output-file requirements.lock
	@$(LOCK) --group docs --output-file requirements-docs.lock

.PHONY: clean
clean:
	@rm -rf .venv .venv-docs .coverage* .pytest_cache .hypothesis .ruff_cache .import_linter_cache .grimp_cache dist build
	@rm -rf .ci/javascript/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
