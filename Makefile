# One entry for everything. PY may name another interpreter; VENV another environment.
PY ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help

help: ## show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

check: $(VENV)/.ready ## format, lint, types, import rules, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m serving.codes | diff -u docs/codes.md -
	$(BIN)/python -m serving.facts.model | diff -u docs/modelz.schema.json -

.PHONY: help check
