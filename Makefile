# All set-up, and the commands that need it. Run twice, the second run does no work again: see the stamps.
# Set-up writes to stderr only, so that `make -s demo DEMO_ARGS="--no-serve --json"` leaves clean JSON on stdout.

PYTHON ?= python3
DEMO_ARGS ?=
TEST_ARGS ?=
TEST_WORKERS ?= 2
BENCH_ARGS ?=
UP_ARGS ?=

# Every process of the system imports the same code: what Python has compiled is kept, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=

VENV := .venv
BIN := $(VENV)/bin
MADE := $(VENV)/.made
LOCKED := $(VENV)/.locked
INSTALLED := $(VENV)/.installed
BROWSER := $(VENV)/.browser

.DEFAULT_GOAL := help
.PHONY: help setup demo up test test-thorough bench lint lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r name text; do printf 'make %-13s %s\n' "$$name" "$$text"; done

setup: $(BROWSER) ## all set-up and nothing else; the virtual environment is .venv/

demo: $(BROWSER) ## everything on this machine with simulated portals; DEMO_ARGS="--no-serve --json"
	@$(BIN)/oem-submissions demo $(DEMO_ARGS)

up: $(BROWSER) ## the stack for real use; UP_ARGS="--simulate"
	@$(BIN)/oem-submissions up $(UP_ARGS)

test: $(BROWSER) ## every test of every tier; TEST_ARGS="-k evidence"
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

test-thorough: $(BROWSER) ## the same, and all of what `test` tries a part of; takes hours
	@$(MAKE) test TEST_ARGS='--hypothesis-profile thorough $(TEST_ARGS)'

bench: $(BROWSER) ## what things cost, as a table; BENCH_ARGS="--json"
	@$(BIN)/python -m oem_submissions_tests.bench $(BENCH_ARGS)

lint: $(INSTALLED) ## ruff, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: ## resolve the dependencies anew into requirements.lock (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --upgrade -o requirements.lock

clean: ## remove the virtual environment and every cache; data in .local/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up -----------------------------------------------------------------------------------------------------

$(MADE):
	@command -v $(PYTHON) >/dev/null || { echo "Python was not found: install Python 3.11 or later, or run make PYTHON=/path/to/it." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed, and $(PYTHON) is $$($(PYTHON) -V 2>&1): run make PYTHON=/path/to/a/later/one." >&2; exit 1; }
	@if $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then :; \
	elif $(PYTHON) -m venv --clear $(VENV) >&2; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y python3-venv >&2 && $(PYTHON) -m venv --clear $(VENV) >&2; \
	else \
		echo "Python can't make a virtual environment: install its venv module (on Debian and Ubuntu: apt-get install python3-venv)." >&2; exit 1; \
	fi
	@touch $@

$(LOCKED): requirements.lock $(MADE)
	@echo "Installing the locked dependencies." >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock >&2
	@touch $@

$(INSTALLED): pyproject.toml $(LOCKED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . >&2
	@touch $@

$(BROWSER): oem_submissions/portal/install_browser.py $(INSTALLED)
	@$(BIN)/python -m oem_submissions.portal.install_browser >&2
	@touch $@
