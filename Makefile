# Each target is complete on a fresh machine: it makes the environment it needs in $(VENV).

PYTHON ?=
VENV ?= .venv
# Processes that share the tests.
JOBS ?= 2
# Passed on, as in: make test ARGS="tests/test_plans.py -x" or make quickstart ARGS="--seeds 3".
ARGS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false
# The tests run in $(JOBS) processes already.
test: export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help quickstart test lint clean

help: ## Say what there is to make
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20
	@echo 'Variables: PYTHON (3.11 or newer), VENV=$(VENV), JOBS=$(JOBS), ARGS'

quickstart: $(INSTALLED) ## Train and measure the coordination gap: minutes, offline
	HF_HUB_OFFLINE=1 $(BIN)/python recipes/quickstart.py $(ARGS)

test: $(INSTALLED) ## Run the tests
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

lint: $(INSTALLED) ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean: ## Remove the environment, the caches and what the builds left
	rm -rf $(VENV) .cache .hypothesis .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is newer than what it was made from as long as nothing has to be installed.
# Torch comes first and by itself: it is the big download, and the rest then builds on the torch found.
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "Making $(VENV) with $$($$python --version)"; \
	        exec $$python -m venv $(VENV); \
	    fi; \
	done; \
	echo 'This needs Python 3.11 or newer. Say where one is: make PYTHON=/path/to/python3.12' >&2; \
	exit 1
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	@touch $@
