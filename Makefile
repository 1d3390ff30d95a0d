# What a newcomer, a developer and CI run. `make` alone lists the targets.
#
# The environment in .venv needs no ensurepip and no uv: the pip of $(PYTHON) fills it, pinned and
# hash-checked from deploy/lock/. Which package index it asks is pip's own configuration.

PYTHON ?= python3
UV ?= uv
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check
LOCK := $(UV) pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate

# Settings for other projects must not redirect the install away from .venv.
export PIP_USER := 0
export PIP_REQUIRE_HASHES := 0
unexport PIP_TARGET PIP_PREFIX PIP_ROOT PIP_CONSTRAINT PIP_REQUIREMENT PYTHONPATH PYTHONHOME

.PHONY: help demo test check bench bench-models bench-real bench-makespan bench-tools chaos fuzz fmt lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile

demo: $(VENV)/.run-installed ## install, then run a job on the embedded server and stand-in model
	$(BIN)/galerne run "Count the words in README.md and in docs/protocol.md, then say which is longer"

test: $(VENV)/.dev-installed ## install what the tests need, then run all of them (or: ARGS="-k name")
	$(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)

check: $(VENV)/.dev-installed ## format, lint, imports and types, as CI runs them
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python

bench: $(VENV)/.run-installed ## throughput, latency, CPU and memory, some minutes (shorter: ARGS=--quick)
	$(BIN)/python -m bench $(ARGS)

bench-makespan: $(VENV)/.run-installed ## plans over their critical path, two minutes (shorter: ARGS=--quick)
	$(BIN)/python -m bench.makespan $(ARGS)

bench-tools: $(VENV)/.run-installed ## tool calls beside plain NATS requests, two minutes (shorter: ARGS=--quick)
	$(BIN)/python -m bench.tools $(ARGS)

bench-models: $(VENV)/.bench-installed ## what a model's answer costs beside httpx and openai, some minutes
	$(BIN)/python -m bench.models $(ARGS)

bench-real: $(VENV)/.dev-installed ## a real small model over 20 goals, some 10 minutes (fetches 1.1 GB once; or: ARGS="--endpoint URL --model NAME")
	$(BIN)/python -m bench.real_model --weights ~/.cache/galerne-bench $(ARGS)

chaos: $(VENV)/.dev-installed ## kill every process at every boundary, half an hour (or: ARGS="matrix")
	cd tests && ../$(BIN)/python -m chaos $(ARGS)

fuzz: $(VENV)/.dev-installed ## 100,000 hostile messages on every subject, some minutes (or: FUZZ_MESSAGES=N)
	FUZZ_MESSAGES=$${FUZZ_MESSAGES:-100000} $(BIN)/python -m pytest -q -s tests/integration/test_hostile_bytes.py

fmt: $(VENV)/.dev-installed ## format, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: ## pin the dependencies anew; needs uv (newer versions: ARGS=--upgrade)
	$(LOCK) $(ARGS) --all-extras --group dev --output-file deploy/lock/dev.txt
	$(LOCK) $(ARGS) --extra server --extra fast --group build \
		--constraint deploy/lock/dev.txt --output-file deploy/lock/run.txt
	$(LOCK) $(ARGS) --extra server --extra fast --group bench \
		--constraint deploy/lock/dev.txt --output-file deploy/lock/bench.txt

clean: ## remove the environment, caches and built packages
	rm -rf $(VENV) dist build .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"Galerne needs Python 3.11 or later; name one: make PYTHON=python3.12")'
	@$(PYTHON) -m pip --version >/dev/null || { \
		echo "$(PYTHON) has no pip; on Debian: apt-get install python3-pip" >&2; exit 1; }
	$(PYTHON) -m venv --without-pip $(VENV)

$(VENV)/.run-installed $(VENV)/.dev-installed $(VENV)/.bench-installed: $(VENV)/.%-installed: \
		deploy/lock/%.txt pyproject.toml | $(BIN)/python
	@echo "Installing $< into $(VENV)"
	@$(INSTALL) --require-hashes --no-deps --requirement $<
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@
