# Everything a person or a machine does with this repository. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV_VERSION := 0.13.9
# Test files side by side; what a file's tests share stays within one process.
SPREAD := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# Targets side by side; what one of them has to say stays together.
BESIDE = $(MAKE) --no-print-directory --jobs=2 --output-sync=target
# Compiled code is kept, as wherever nobody forbids it: else each test process and each `wops` compiles everything anew.
unexport PYTHONDONTWRITEBYTECODE
# mariadbd lives in /usr/sbin, which an ordinary user's search path may lack.
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: help run test check lint types fast-test bench box-chaos format lock clean binaries

help:  ## list the targets
	@grep -E '^[a-z-]+:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*  ## /\t/' | expand -t 14

run: $(VENV)/.runtime  ## start the platform with its demo instances and walk through the story
	@exec $(BIN)/wops up --demo --walk

test: $(VENV)/.development binaries  ## everything: format, lint, types, imports, spelling, all tests on SQLite and MariaDB
	@$(BESIDE) lint types
	@$(BIN)/pytest $(SPREAD)

check: $(VENV)/.development  ## what every commit passes: the above with unit and architecture tests only (< 60 s)
	@$(BESIDE) lint types fast-test

bench: $(VENV)/.development binaries  ## all benchmarks, or some: make bench ONLY="name name"
	@$(BIN)/python -m tests.bench $(ONLY)

box-chaos: $(VENV)/.development  ## kill -9 of gateway, boxes and line under load: make box-chaos MINUTES=10 SEED=1
	@$(BIN)/python -m tests.integration.fsb_gateway.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

format: $(VENV)/.development  ## rewrite the code in the one format and mend what can be mended
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

lint: $(VENV)/.development
	@$(BIN)/ruff format --check . || { echo "not formatted: run 'make format'" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-logo | tail -n 25
	@$(BIN)/codespell

types: $(VENV)/.development
	@$(BIN)/mypy --no-error-summary

# The few long files first, so that none of them is what everybody waits for in the end.
fast-test: $(VENV)/.development
	@$(BIN)/pytest $(SPREAD) tests/architecture tests/unit

binaries:
	@bash .ci/binaries

lock:  ## recompile the requirement files from pyproject.toml (LOCK_FLAGS=--upgrade takes newer versions)
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(PYTHON) -m venv "$$scratch"; \
	"$$scratch/bin/pip" --disable-pip-version-check --quiet install uv==$(UV_VERSION); \
	for pair in build:requirements.txt development:requirements-dev.txt; do \
		UV_SYSTEM_CERTS=1 "$$scratch/bin/uv" pip compile pyproject.toml --group "$${pair%%:*}" \
			--output-file "$${pair#*:}" --python-version 3.11 --generate-hashes --no-header --no-config \
			--no-emit-index-url --no-emit-find-links --quiet $(LOCK_FLAGS); \
	done

clean:  ## remove the checkers' caches (the virtual environment stays)
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# One environment, two levels: `make run` does without the development tools.
$(BIN)/python:
	@bash .ci/python $(PYTHON) $(VENV)

$(VENV)/.runtime: requirements.txt pyproject.toml | $(BIN)/python
	@echo "installing what wops needs ..." >&2
	@$(PIP) install --require-hashes --requirement requirements.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.development: requirements-dev.txt $(VENV)/.runtime
	@echo "installing the development tools ..." >&2
	@$(PIP) install --require-hashes --requirement requirements-dev.txt
	@touch $@
