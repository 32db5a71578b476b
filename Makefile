# Verbs of this repository. Each makes the environment it needs in .venv, from the lock files, so none wants a step before it.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-header --no-annotate
ARGS ?=
ONLY ?=
unexport PYTHONDONTWRITEBYTECODE  # tests start hundreds of processes: each would compile the product anew

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench evidence lock audit clean

help:  ## list the verbs
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: .venv/runtime  ## make a sample shop, load it and open the pages (ARGS="--orders 20000 --no-dashboard" is passed on)
	$(BIN)/backhaul demo $(ARGS)

test: .venv/dev  ## run the tests (ARGS="tests/test_cli.py -x" is passed on)
	OMP_NUM_THREADS=1 BACKHAUL_CHROMIUM="$$(.ci/browser)" $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/dev  ## check style, formatting, types and rules of security
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/dev .venv/bench/made  ## time loads, metrics and peers against DuckDB by hand (ARGS="--orders 300000 --write")
	$(BIN)/python -m tests.bench $(ARGS)

evidence: .venv/dev .venv/tpcds/made .venv/schemathesis/made .venv/bench/made .venv/boosting/made  ## run the long proofs and refresh docs/evidence.md (ONLY=first_light runs one subject)
	$(BIN)/python -m tests.evidence.run $(ONLY)

lock: .venv/dev  ## resolve pyproject.toml anew into the two lock files
	$(PIP) install uv
	$(LOCK) --upgrade --output-file requirements.lock
	$(LOCK) --upgrade --extra dev --constraint requirements.lock --output-file requirements-dev.lock

audit: .venv/dev  ## ask OSV, the register of published faults, about every pinned package; bandit about our lines
	$(PIP) install uv
	$(BIN)/python -m tests.audit $(ARGS)
	$(BIN)/bandit --quiet --configfile bandit.yaml --recursive models pipelines dashboard

clean:  ## remove the environment and caches; a warehouse is never touched
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find models pipelines dashboard tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/runtime: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Backhaul needs Python 3.11 or newer; '$(PYTHON)' is not. Name another: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Making .venv from requirements.lock, about a minute ..."
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --editable .
	@touch $@

.venv/dev: .venv/runtime requirements-dev.lock
	@echo "Adding what tests need from requirements-dev.lock, about a minute ..."
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

.venv/%/made: requirements-%.lock | .venv/dev
	@$(PYTHON) -m venv --clear .venv/$*
	@.venv/$*/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r $<
	@touch $@
