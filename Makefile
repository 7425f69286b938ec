# Watt It Takes. `make` alone lists what there is; each command sets up what it needs by itself.
#
# PYTHON names the Python that .venv is made with: make lab PYTHON=python3.12
# pip's own settings hold, such as PIP_INDEX_URL for a mirror, or PIP_EXTRA_INDEX_URL for torch's smaller
# CPU-only build on Linux, which the README explains.
# PROFILE names parameters from notebooks/profiles.toml: make run PROFILE=quick

PYTHON ?= python3
VENV := .venv
SHELL := bash
.SHELLFLAGS := -eu -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

ifeq ($(OS),Windows_NT)
PROGRAMS := Scripts
else
PROGRAMS := bin
endif
BIN := $(VENV)/$(PROGRAMS)

# The optional TensorFlow notebook, with an environment of its own.
EXTRA := extras/tensorflow
EXTRA_BIN := $(EXTRA)/.venv/$(PROGRAMS)

# pip shows its own progress on a terminal; elsewhere, as in CI, hundreds of lines would tell nothing.
install = [ -t 1 ] && quiet= || quiet=--quiet; \
	$(1) -m pip install --disable-pip-version-check $$quiet --requirement $(2)
STOPPED := Setup stopped: pip says above why. The first setup needs a network, and about 3 GB of disk. \
	Run the same command again: what has been downloaded is kept.

# The other model is for one notebook: a set-up goes on without it.
WITHOUT := Going on: the course opens without that model. Later, with a network: $(BIN)/python -m helpers fetch

# In a container one is often root, which Jupyter refuses unless told.
AS_ROOT = $(if $(filter 0,$(shell id -u)),--allow-root)
# JupyterLab asks no one for news, and looks for no updates: the course opens without a network.
LAB_SETTINGS := $(VENV)/share/jupyter/lab/settings
QUIET_LAB := {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}

.PHONY: help setup lab run learner test validate notebooks site extras check clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.ready ## make .venv with the pinned packages, and fetch the models
	@$(BIN)/python -m helpers fetch || { [ $$? = 1 ] && [ -d models/all-MiniLM-L6-v2 ] && echo "$(WITHOUT)"; }

lab: setup ## open the course in JupyterLab
	@$(BIN)/python -m jupyter lab $(AS_ROOT) --LabApp.default_url=/lab/tree/$(wildcard notebooks/*_welcome.ipynb)

run: setup ## execute every notebook; copies and a summary go to build/
	@$(BIN)/python -m tools run $(if $(PROFILE),--profile $(PROFILE))

learner: setup ## copy the notebooks without their solutions to learner/
	@$(BIN)/python -m jupyter nbconvert --to notebook --log-level WARN --output-dir learner notebooks/*.ipynb \
		--TagRemovePreprocessor.enabled=True --TagRemovePreprocessor.remove_cell_tags=solution

check: setup ## say what of this machine is ready, and how to fix the rest
	@$(BIN)/python -m helpers check

test: $(VENV)/.ready-test setup ## check the types and run the tests, two at a time
	@$(BIN)/python -m mypy
	@$(BIN)/python -m pytest --numprocesses 2 --no-loadscope-reorder

validate: $(VENV)/.ready-test setup ## run the stored notebooks again, two at a time, and compare their outputs
	@COURSE_STATIC=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbval-lax --nbval-current-env \
		--nbval-cell-timeout=600 --timeout=900 --numprocesses 2 --dist loadfile notebooks

notebooks: $(VENV)/.ready-test setup ## execute the notebooks for storage, and record what each cost
	@$(BIN)/python -m tools links
	@$(BIN)/python -m tools store

site: $(VENV)/.ready-test setup ## write the notebooks as a static site to build/site/
	@$(BIN)/python -m tools site

extras: $(EXTRA)/.venv/.ready setup ## run the optional TensorFlow notebook, in an environment of its own
	@$(EXTRA_BIN)/python $(EXTRA)/run.py

clean: ## remove what the commands wrote, except .venv and the models
	@rm -rf build learner .pytest_cache .ruff_cache .mypy_cache
	@find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -print0 | xargs -0 rm -rf

# A stamp is touched last, so a setup that was interrupted or failed is taken up again by the next command.
$(VENV)/.ready: requirements.txt pyproject.toml
	@rm -f $@
	@$(PYTHON) -c "" 2>/dev/null || { echo "No Python called $(PYTHON) runs here: 3.11 to 3.14 expected." \
		"Install one, or name another: make lab PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))" \
		|| { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1): 3.11 to 3.14 expected." \
		"Install one, or name another: make lab PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c "import venv, ensurepip" 2>/dev/null || { echo "$(PYTHON) cannot make a virtual environment:" \
		"its venv module is missing. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@if [ -x $(BIN)/python ]; then \
		$(BIN)/python -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))" 2>/dev/null \
		|| { echo "$(VENV) holds a Python that is too old, too new or gone. Remove it and try again: rm -rf $(VENV)"; \
		exit 1; }; fi
	@[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV): a few minutes the first time."
	@$(call install,$(BIN)/python,requirements.txt) || { echo "$(STOPPED)"; exit 1; }
	@$(BIN)/python -m pip install --no-deps --no-build-isolation --editable . >$(VENV)/install.log 2>&1 \
		|| { cat $(VENV)/install.log; exit 1; }
	@mkdir -p $(LAB_SETTINGS) && echo '$(QUIET_LAB)' >$(LAB_SETTINGS)/overrides.json
	@touch $@

$(VENV)/.ready-test: requirements-test.txt $(VENV)/.ready
	@rm -f $@
	@echo "Adding what the tests need."
	@$(call install,$(BIN)/python,requirements-test.txt) || { echo "$(STOPPED)"; exit 1; }
	@touch $@

$(EXTRA)/.venv/.ready: $(EXTRA)/requirements.txt $(VENV)/.ready
	@rm -f $@
	@[ -x $(EXTRA_BIN)/python ] && $(EXTRA_BIN)/python -m pip --version >/dev/null 2>&1 \
		|| $(BIN)/python -m venv $(EXTRA)/.venv
	@echo "Setting up $(EXTRA)/.venv: about 0.4 GB to download, 2 GB on disk."
	@$(call install,$(EXTRA_BIN)/python,$(EXTRA)/requirements.txt) \
		|| { echo "TensorFlow was not set up. Nothing else in the course needs it."; exit 1; }
	@$(EXTRA_BIN)/python -m ipykernel install --prefix $(VENV) --name tensorflow --display-name TensorFlow \
		>$(EXTRA)/.venv/kernel.log 2>&1 || { cat $(EXTRA)/.venv/kernel.log; exit 1; }
	@touch $@
