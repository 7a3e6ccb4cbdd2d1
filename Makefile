# The few tasks that people, hooks and CI share. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
RUN := $(BIN)/recsys-assets
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
RATE ?= 200
USERS ?= 20000
SEED ?= 7
KILLS ?= 3200
CLUSTER_TESTS ?= recsys_assets_tests/cluster

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo up down traffic test test-slow image cluster-binaries test-cluster lint format bench figures figures-check drill mutants lock clean kind-up kind-down

help: ## list the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(UV): requirements/bootstrap.lock
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; install Python 3.11 or set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/bootstrap.lock
	@touch $@

# A lock is installed once, and again when it changes. dev.lock holds everything that runtime.lock holds.
$(VENV)/.runtime: requirements/runtime.lock $(UV)
	@echo "installing what running needs, from hashes, byte-compiled: about half a minute ..."
	@test -f $(VENV)/.dev || $(UV) pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode --no-deps -r requirements/runtime.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m recsys_assets.doctor
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(UV)
	@echo "installing what developing and testing need, from hashes, byte-compiled ..."
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode --no-deps -r requirements/dev.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m recsys_assets.doctor
	@touch $@ $(VENV)/.runtime

install: $(VENV)/.runtime ## install what running needs, from hashes, byte-compiled
install-dev: $(VENV)/.dev ## install what developing and testing need as well

demo: install ## play the whole story on MovieLens-100K, from interactions to releases
	$(RUN) demo

up: install ## start everything on loopback and print the URLs
	$(RUN) up

down: ## stop everything that `make up` or `make demo` started
	@if [ -x $(RUN) ]; then $(RUN) down; fi

traffic: install ## replay users against the gateway (RATE=, USERS=, SEED=)
	$(RUN) traffic --rate $(RATE) --users $(USERS) --seed $(SEED)

test: install-dev ## install and run the tests, but for the slow ones
	$(PYTEST) -m "not cluster and not slow"

test-slow: install-dev ## run the tests that play whole stories, start the whole stack, or kill it
	$(PYTEST) -m slow

cluster-binaries: install-dev ## build the binaries of the test cluster from their Go modules, once (tens of minutes)
	$(BIN)/python -m cluster.check
	$(BIN)/python -m cluster.build

test-cluster: cluster-binaries image ## bring up a real Kubernetes cluster and run its tests (root, Go, Debian packages; CLUSTER_TESTS=)
	$(BIN)/python -m pytest -m cluster $(CLUSTER_TESTS)

image: install-dev ## build the container images, as root with buildah (docs/kubernetes.md)
	$(BIN)/python -m image.build all server

lint: install-dev ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install-dev ## let ruff format and fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install-dev ## measure; results go to benchmarks/results
	$(BIN)/python -m benchmarks.run_all

figures: install-dev ## write every figure that a page shows from benchmarks/results
	$(BIN)/python -m benchmarks.figures

figures-check: install-dev ## do the pages show the results, and which results are older than the code that they measure?
	$(BIN)/python -m benchmarks.measured
	$(BIN)/python -m benchmarks.figures --check

drill: install-dev ## kill processes at every write, then the live stack under traffic (KILLS=)
	$(BIN)/python -m benchmarks.kill_drill --kills $(KILLS) --seed $(SEED)
	$(BIN)/python -m benchmarks.control_plane_kills

mutants: install-dev ## take each guard out of the code that decides: does a test fail? (half an hour; FILES=)
	$(BIN)/python -m benchmarks.mutation_testing --show $(if $(FILES),--files $(FILES))

kind-up: ## a cluster in Docker with everything on it (docs/kubernetes.md; not run by our tests)
	kind/up.sh

kind-down: ## remove that cluster
	kind delete cluster --name recsys

lock: $(UV) ## resolve the dependencies again
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --upgrade --all-extras pyproject.toml -o requirements/dev.lock
	$(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --extra build -c requirements/dev.lock pyproject.toml -o requirements/runtime.lock
	$(UV) pip compile --quiet --universal --generate-hashes --no-header requirements/bootstrap.in -o requirements/bootstrap.lock

clean: down ## remove the environment and all caches; state in .recsys stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis
