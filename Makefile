# Every target sets itself up: Python 3.11 or newer and make are all that has to be there.
# Everything is installed into .venv, from the locks and with their hashes.

PYTHON ?= python3
LOCK_FLAGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo cluster run quick test long test-cluster hostile fuzz bench soak kills orders screenshots lint format lock clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
# Stamps: they say which lock is installed, and make compares their times.
RUNTIME := $(VENV)/.installed-runtime
DEVELOPMENT := $(VENV)/.installed-development

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(RUNTIME) ## install the program: .venv/bin/image-gateway
	@$(BIN)/image-gateway --version

demo: $(RUNTIME) ## watch the gateway work: a request, a cached answer, a refusal, the spend
	@$(BIN)/image-gateway demo

cluster: $(DEVELOPMENT) ## watch three gateways on PostgreSQL and S3, and one be killed; ONCE=1 ends by itself
	@exec env PYTHONPATH=deploy $(BIN)/python -m cluster $(if $(ONCE),--once)

run: $(RUNTIME) ## serve with the simulated upstream inside; needs no key and no settings
	@$(BIN)/image-gateway serve --sandbox

# Two processes for each processor, for tests wait; who has none left takes half of another's.
# Those that measure time come behind, one by one: in between, each would have all others wait.
test: $(DEVELOPMENT) ## run all tests but those of `make long`
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal -m 'not long and not alone'
	@$(BIN)/python -m pytest -m 'alone and not long'

long: $(DEVELOPMENT) ## run the tests that take half a minute and more each
	@$(BIN)/python -m pytest -m long --timeout 600

# All that several gateways share is in its files, too, with every PostgreSQL that is here; a
# failure says which file to run alone: IMAGE_GATEWAY_TEST_STORES=shared python -m pytest FILE
test-cluster: $(DEVELOPMENT) ## run the end-to-end tests on PostgreSQL and S3, and long chaos: half an hour
	@IMAGE_GATEWAY_TEST_STORES=shared IMAGE_GATEWAY_TEST_CHAOS_ROUNDS=$(or $(ROUNDS),3) \
	  $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal \
	  tests/e2e tests/adapters tests/background tests/browser tests/cli tests/deploy tests/process tests/services

# Too much for each change: every night, and by hand.
hostile: $(DEVELOPMENT) ## send 100,000 hostile requests and answers of upstream; REQUESTS=1000: fewer
	@IMAGE_GATEWAY_TEST_HOSTILE_REQUESTS=$(or $(REQUESTS),100000) \
	  $(BIN)/python -m pytest --numprocesses auto --dist loadfile --timeout 7200 tests/hostile

# It installs atheris for the while, from the package index; it is no dependency.
fuzz: $(DEVELOPMENT) ## look for bytes that break what reads them, guided by what they reach: SECONDS=60 for each, ONLY='pictures requests'
	@$(BIN)/python tests/hostile/fuzz $(or $(SECONDS),60) $(ONLY)

quick: $(DEVELOPMENT) ## run the tests that need no server, browser or other process: about a minute
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal -m 'not slow and not alone and not long' \
	  --ignore tests/e2e --ignore tests/hostile --ignore tests/browser --ignore tests/deploy --ignore tests/cli

bench: $(DEVELOPMENT) ## measure all that docs/performance.md tells, half an hour; ONLY='hit poll': these cases alone
	@$(BIN)/python -m benchmarks --json bench.json $(if $(ONLY),--only $(ONLY)) $(BENCH)

soak: $(DEVELOPMENT) ## run a gateway under load, faults and restarts (MINUTES=5): does anything grow, drift or get lost?
	@$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),5)

kills: $(DEVELOPMENT) ## kill a gateway under load at random moments (KILLS=1000): is anything paid twice or lost?
	@IMAGE_GATEWAY_TEST_KILLS=$(or $(KILLS),1000) $(BIN)/python -m pytest tests/e2e/test_crash.py -k killed_dozens

orders: $(DEVELOPMENT) ## send a gateway many orders (ORDERS=50000): does its memory stay flat?
	@IMAGE_GATEWAY_TEST_ORDERS=$(or $(ORDERS),50000) $(BIN)/python -m pytest tests/e2e/test_processes.py -k memory_is_flat --timeout 7200

screenshots: $(DEVELOPMENT) ## take the pictures in docs/ anew, of the console and the demo (needs Chromium)
	@$(BIN)/python docs/screenshots.py

lint: $(DEVELOPMENT) ## check style, formatting and types; changes nothing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(DEVELOPMENT) ## put the code into its one format and mend what can be mended
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

lock: $(BIN)/python ## write the locks anew from pyproject.toml (LOCK_FLAGS=--upgrade: newest versions)
	@$(PIP) install 'uv>=0.13,<0.14'
	@$(COMPILE) --extra dev --group build --output-file requirements-dev.lock
	@$(COMPILE) --extra postgres --extra s3 --constraints requirements-dev.lock --output-file requirements.lock
	@$(COMPILE_BUILD) --constraints requirements-dev.lock --output-file requirements-build.lock

clean: ## remove what make has made: .venv, caches, built packages (never the data folder)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find gateway tests -name __pycache__ -type d -prune -exec rm -rf {} +

# One set of versions for every platform and every Python from 3.11 on; no index address in the file.
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--system-certs --no-emit-index-url --no-emit-find-links --annotation-style line \
	--custom-compile-command 'make lock' $(LOCK_FLAGS)
COMPILE = $(UV_COMPILE) pyproject.toml
COMPILE_BUILD = $(UV_COMPILE) --group build

$(DEVELOPMENT): requirements-dev.lock $(RUNTIME)
	@echo 'Installing the development tools ...'
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@touch $@

$(RUNTIME): requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	@echo 'Installing the gateway into $(VENV) ...'
	@$(PIP) install --require-hashes --requirement requirements-build.lock --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(BIN)/python:
	@command -v '$(PYTHON)' >/dev/null || { \
	  echo "There is no '$(PYTHON)'. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "'$(PYTHON)' is $$('$(PYTHON)' --version 2>&1), but 3.11 or newer is needed. Name one: make PYTHON=python3.12" >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@'$(PYTHON)' -m venv --clear $(VENV)
