# One entry for everything. PY may name another Python 3.11; VENV another environment.
PY ?= $(shell command -v python3.11 || echo python3)
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help

help: ## show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## create .venv and install the lock (nothing to do: no cost)

$(VENV)/.ready: $(wildcard requirements/*.txt requirements/*.py requirements/README.md) pyproject.toml
	@rm -f $@
	$(PY) requirements/install.py $(VENV)
	@touch $@

check: $(VENV)/.ready ## format, lint, types, import rules, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m serving.codes | diff -u docs/codes.md -
	$(BIN)/python -m serving.facts.model | diff -u docs/modelz.schema.json -
	$(BIN)/python -m serving.report.json | diff -u docs/report.schema.json -
	$(BIN)/python -m loadtest.document | diff -u docs/loadtest.schema.json -
	$(BIN)/python -m serving.report.compare | diff -u docs/compare.schema.json -
	$(BIN)/python -m serving.report.rules | diff -u docs/lint.md -
	$(BIN)/hadolint Dockerfile

# Tests with real engines that time nothing, so that two of them may run side by side.
BESIDE := tests/engine/test_failures.py tests/engine/test_fine_tune.py tests/engine/test_batch_inference.py

test: $(VENV)/.ready ## the whole test suite, with real vLLM and real Envoy
	$(BIN)/pytest --numprocesses 3 --dist loadfile --ignore tests/engine --ignore tests/e2e
	$(BIN)/pytest --numprocesses 2 $(BESIDE)
	$(BIN)/pytest tests/engine tests/e2e $(addprefix --ignore ,$(BESIDE))

render: $(VENV)/.ready ## write what chart and kustomizations render to below build/rendered
	$(BIN)/python -m tests.rendered build/rendered

demo: $(VENV)/.ready ## serve, verify and load-test the embedded model; KEEP=1 leaves it up
	$(BIN)/warmgate demo $(if $(KEEP),--keep)

bench-agent: $(VENV)/.ready ## what the agent costs and how quickly it answers, beside bare vLLM (9 minutes)
	$(BIN)/python -m tests.bench.agent

bench-loadtest: $(VENV)/.ready ## the harness against its peers and against the ground truth (25 minutes; more the first time)
	$(BIN)/python -m tests.bench.loadtest

bench-lint: $(VENV)/.ready ## how long lint takes over 2,000 documents, and where the time goes (1 minute)
	$(BIN)/python -m tests.bench.lint

lock: ## write requirements/lock.txt anew (5 minutes, 6 GB for a while)
	requirements/relock.sh

clean: ## remove .venv, caches and reports; the prepared model stays
	@test ! -e $(VENV)/pyvenv.cfg || rm -rf $(VENV)
	rm -rf build dist reports .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
	@echo "kept: the model in $${XDG_CACHE_HOME:-$$HOME/.cache}/warmgate (270 MB, remove it by hand)"

.PHONY: help setup check test render demo bench-agent bench-loadtest bench-lint lock clean
