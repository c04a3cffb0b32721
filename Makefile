# Every target sets up what it needs. The only tools asked for are make and a Python of 3.10 or newer:
# `make demo PYTHON=python3.12` picks one. Downloads come from the package index that pip and uv are set to.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.otelier-synced
# Servers, workers and notebooks, for tests/running.
RUNNING := .envs/running
# MkDocs, for the documentation site.
SITE := .envs/docs

# uv must neither look for another interpreter nor work in an environment that happens to be active.
unexport VIRTUAL_ENV
# Some images ask Python to keep no bytecode. Then every process that a test starts would compile openai anew, which
# takes half of its time.
unexport PYTHONDONTWRITEBYTECODE
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never
# The certificates that pip trusts.
export UV_SYSTEM_CERTS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r name line; do \
		printf '  make %-13s %s\n' "$$name" "$$line"; done

.PHONY: setup
setup: $(STAMP) ## make the virtual environment, exactly as locked

$(BIN)/uv:
	@echo "Setting up $(VENV) with $$($(PYTHON) --version 2>&1) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "otelier needs Python 3.10 or newer: name one with 'make PYTHON=python3.12'." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet 'uv>=0.11'

$(STAMP): $(BIN)/uv pyproject.toml uv.lock
	@$(BIN)/uv sync --frozen --quiet
	@touch $@

$(RUNNING)/.otelier-synced: $(STAMP)
	@UV_PROJECT_ENVIRONMENT=$(RUNNING) $(BIN)/uv sync --frozen --quiet --no-default-groups --group running --python $(BIN)/python
	@touch $@

$(SITE)/.otelier-synced: $(STAMP)
	@UV_PROJECT_ENVIRONMENT=$(SITE) $(BIN)/uv sync --frozen --quiet --no-default-groups --group docs --no-install-project --python $(BIN)/python
	@touch $@

.PHONY: demo
demo: $(STAMP) ## show it working: two services, five agents, a worker that is killed; their traces and tables
	@$(BIN)/otelier demo

.PHONY: test
test: $(STAMP) ## run the tests, and every example in docs and docstrings: some minutes, and it says how many
	@scripts/quick.sh $(BIN)/python

.PHONY: slow
slow: $(STAMP) $(RUNNING)/.otelier-synced ## run the tests that start servers and workers
	@$(BIN)/python -m pytest -q -m slow -n auto --dist worksteal

.PHONY: backends
backends: ## build Collector, Jaeger and Prometheus for test-backends: needs Go, a quarter of an hour
	@scripts/build_backends.sh

.PHONY: test-backends
test-backends: $(STAMP) ## prove collector-config and docs/jaeger.md on these; not part of check
	@$(BIN)/python -m pytest -m backends tests/backends -rs

.PHONY: restate
restate: $(STAMP) ## get Restate's server by npm, and run the tests on it
	@scripts/get_restate.sh
	@$(BIN)/python -m pytest -q -n2 --dist worksteal -m "restate and not slow" tests

.PHONY: lint
lint: $(STAMP) ## check style, format, spelling, the tests' docstrings, and that the lock is current
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/codespell
	@$(BIN)/interrogate --quiet tests typing_tests || { $(BIN)/interrogate -vv tests typing_tests | grep MISSED; exit 1; }
	@$(BIN)/uv lock --check --quiet

.PHONY: hooks
hooks: $(STAMP) ## let git check each commit as lint does
	@$(BIN)/pre-commit install

.PHONY: lock
lock: $(BIN)/uv ## write uv.lock anew for what pyproject.toml says
	@$(BIN)/uv lock

.PHONY: build
build: $(STAMP) ## build the sdist and the wheel in dist/
	@rm -rf dist
	@$(BIN)/uv build --quiet
	@ls dist

.PHONY: fix
fix: $(STAMP) ## mend style and format, write the generated pages
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/python scripts/make_reference.py

.PHONY: types
types: $(STAMP) ## check types: pyright strict on src, mypy strict on typing_tests
	@$(BIN)/pyright
	@$(BIN)/mypy

# The variable: Material's last year of support is announced at each start.
.PHONY: docs
docs: $(SITE)/.otelier-synced ## build the documentation site in build/site; a warning fails it
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --strict --clean --quiet
	@echo "Built $$(find build/site -name '*.html' | wc -l) pages: open build/site/index.html."

.PHONY: snippets
snippets: $(STAMP) ## run the examples of docs, README and docstrings
	@$(BIN)/python -m pytest docs src README.md CONTRIBUTING.md tests/test_docs.py

.PHONY: examples
examples: $(STAMP) ## run the programs in examples/
	@$(BIN)/python -m pytest tests/examples

.PHONY: bench
bench: $(STAMP) ## measure what otelier costs
	@for each in benchmarks/*.py; do echo "--- $$each ---"; $(BIN)/python "$$each" || exit 1; done

.PHONY: bench-agents
bench-agents: $(STAMP) ## measure a step of an agent beside the OpenAI Agents SDK and pydantic-ai
	@scripts/bench_agents.sh $(BIN)

.PHONY: bench-workflows
bench-workflows: $(STAMP) ## measure workflows beside DBOS on SQLite: some minutes
	@scripts/bench_workflows.sh $(BIN)

.PHONY: bench-restate
bench-restate: $(STAMP) ## measure workflows on Restate beside bare restate-sdk: some minutes
	@scripts/get_restate.sh
	@$(BIN)/python benchmarks/on_restate.py

.PHONY: minimal
minimal: $(STAMP) ## build the wheel, install it without extras, look at what an import loads
	@scripts/minimal.sh $(BIN)

.PHONY: floor
floor: $(STAMP) ## run the tests on the oldest releases that pyproject.toml allows
	@scripts/floor.sh $(BIN)

.PHONY: coverage
coverage: $(STAMP) ## run the tests on one more Python, and tell which lines of src none of them runs
	@scripts/coverage.sh $(BIN)

.PHONY: matrix
matrix: $(STAMP) ## run the tests on every other Python, 3.10 to 3.14, that is at hand
	@scripts/matrix.sh $(BIN)

.PHONY: openai
openai: $(STAMP) ## run the tests of the openai room on openai 2, between the oldest and the newest
	@scripts/openai.sh $(BIN)

.PHONY: beside
beside: $(STAMP) ## run the tests beside other instrumentations of openai
	@scripts/beside.sh $(BIN)

.PHONY: check
check: lint types docs minimal floor openai coverage matrix beside restate slow test ## all that CI runs

.PHONY: clean
clean: ## remove what was built, the virtual environments too
	@rm -rf $(VENV) build dist .coverage* .pytest_cache .ruff_cache .mypy_cache .envs
