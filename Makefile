# GroundWatch. `make run` shows the demonstration network, `make test` proves the whole; the others are for builders.
PORT ?= 8000
VENV ?= .venv
PYTEST ?= $(VENV)/bin/python -m pytest
ARGS ?=

.PHONY: help run env test test-fast bench soak check format lock clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: env ## the demonstration network on http://127.0.0.1:$(PORT) (PORT=, GROUNDWATCH_HOME=)
	@exec $(VENV)/bin/groundwatch up --demo --port $(PORT) $(ARGS)

env: ## the environment .venv from the lock
	@VENV=$(VENV) bash deploy/bootstrap.sh

test: env ## the whole suite against the real database, broker and browser
	@bash deploy/test-packages.sh
	$(PYTEST) $(ARGS)

test-fast: env ## what needs neither database, broker nor browser
	$(PYTEST) -m "not stack and not page" $(ARGS)

bench: env ## benchmarks, each beside its plain equivalent
	$(VENV)/bin/python -m benchmarks $(ARGS)

soak: env ## the long run: steady load, killed processes, every observation counted
	$(VENV)/bin/python -m benchmarks.soak $(ARGS)

check: env ## format, lint, types and import contracts
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: env ## formats the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

lock: ## resolves the dependencies anew
	$(VENV)/bin/uv pip compile --generate-hashes --extra dev --no-emit-index-url --no-emit-find-links --no-header -q pyproject.toml -o requirements.lock

clean: ## removes the environment and the test homes (never a home with data of yours)
	rm -rf $(VENV) .home .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
