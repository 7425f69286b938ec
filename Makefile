# Watt It Takes. `make` alone lists what there is; each command sets up what it needs by itself, with start.py.
#
# PYTHON names the Python that .venv is made with: make lab PYTHON=python3.12
# KIT names a folder that `make kit` wrote, to set up from without a network: make lab KIT=/media/usb/kit
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

# A Python that isn't there; what else can be wrong with it, start.py says.
NO_PYTHON := No Python called $(PYTHON) runs here: 3.11 to 3.14 expected. \
	Install one, or name another: make lab PYTHON=python3.12
START := $(PYTHON) start.py $(if $(KIT),--kit "$(KIT)")

.PHONY: help python setup tests lab run learner test validate notebooks site slides kit extras check clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: python ## make .venv with the pinned packages, and fetch the models
	@$(START) setup

lab: python ## open the course in JupyterLab
	@$(START) lab

run: setup ## execute every notebook; copies and a summary go to build/
	@$(BIN)/python -m tools run $(if $(PROFILE),--profile $(PROFILE))

learner: setup ## copy the notebooks without their solutions to learner/
	@$(BIN)/python -m jupyter nbconvert --to notebook --log-level WARN --output-dir learner notebooks/*.ipynb \
		--TagRemovePreprocessor.enabled=True --TagRemovePreprocessor.remove_cell_tags=solution

check: setup ## say what of this machine is ready, and how to fix the rest
	@$(BIN)/python -m helpers check

test: tests ## check the types and run the tests, two at a time
	@$(BIN)/python -m mypy & types=$$!; \
		$(BIN)/python -m pytest --numprocesses 2 --no-loadscope-reorder && wait $$types

validate: tests ## run the stored notebooks again, two at a time, and compare their outputs
	@COURSE_STATIC=1 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --nbval-lax --nbval-current-env \
		--nbval-cell-timeout=600 --timeout=900 --numprocesses 2 --dist loadfile notebooks

notebooks: tests ## execute the notebooks for storage, and record what each cost
	@$(BIN)/python -m tools links
	@$(BIN)/python -m tools store

site: tests ## write the notebooks as a static site to build/site/
	@$(BIN)/python -m tools site

slides: tests ## write the slides, and flash cards for Anki, to build/
	@$(BIN)/python -m tools slides
	@$(BIN)/python -m tools cards

kit: tests ## write a folder for a room without a network to build/kit/
	@$(BIN)/python -m tools kit

extras: $(EXTRA)/.venv/.ready ## run the optional TensorFlow notebook, in an environment of its own
	@$(EXTRA_BIN)/python $(EXTRA)/run.py

clean: ## remove what the commands wrote, except .venv and the models
	@rm -rf build learner .pytest_cache .ruff_cache .mypy_cache
	@find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -print0 | xargs -0 rm -rf

python:
	@$(PYTHON) -c "" 2>/dev/null || { echo "$(NO_PYTHON)"; exit 1; }

tests: python
	@$(START) tests

# A stamp is touched last, so a setup that was interrupted or failed is taken up again by the next command.
$(EXTRA)/.venv/.ready: $(EXTRA)/requirements.txt | setup
	@rm -f $@
	@[ -x $(EXTRA_BIN)/python ] && $(EXTRA_BIN)/python -m pip --version >/dev/null 2>&1 \
		|| $(BIN)/python -m venv $(EXTRA)/.venv
	@echo "Setting up $(EXTRA)/.venv: about 0.4 GB to download, 2 GB on disk."
	@[ -t 1 ] && quiet= || quiet=--quiet; \
		$(EXTRA_BIN)/python -m pip install --disable-pip-version-check $$quiet --requirement $(EXTRA)/requirements.txt \
		|| { echo "TensorFlow was not set up. Nothing else in the course needs it."; exit 1; }
	@$(EXTRA_BIN)/python -m ipykernel install --prefix $(VENV) --name tensorflow --display-name TensorFlow \
		>$(EXTRA)/.venv/kernel.log 2>&1 || { cat $(EXTRA)/.venv/kernel.log; exit 1; }
	@touch $@
