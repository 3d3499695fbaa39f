# make run    the bot, its studio and an embedded Redis in one process
# make test   every test, the browser's too
# make check  what CI runs: format, lint, types, imports, tests with coverage
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info < (3,14))' 2>/dev/null && command -v $$p && break; done)
BIN := .venv/bin

.PHONY: help
help:
	@sed -n 's/^# //p' Makefile

.venv/.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Parley needs Python 3.11, 3.12 or 3.13. Install one, then run this again."; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.PHONY: venv
venv: .venv/.ready

.PHONY: run
run: venv
	@exec $(BIN)/parley serve
