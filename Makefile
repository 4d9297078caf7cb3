# make train   .venv if missing, then: python src/main.py --config=fop --env-config=sc2 with env_args.map_name=3s_vs_3z
# make install .venv if missing, with requirements.txt
# make test    .venv if missing, then the whole test suite
# make lint    .venv if missing, then ruff and mypy
#
# Needs bash, git, make and Python 3.10 to 3.13. Variables, given as in `make train CONFIG=qmix ENV=matrix_game`:
CONFIG = fop
ENV = sc2
# the map, for ENV=sc2
MAP = 3s_vs_3z
# further assignments for train ("t_max=50000 seed=3"), options of pytest for test ("-k buffer")
ARGS =
# processes that share the tests
JOBS = 2
# the interpreter .venv is made with; empty: the first suitable one that is found
PYTHON =

SHELL := bash
.SHELLFLAGS := -euf -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help train install test lint

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

help:
	@sed -n 's/^# \{0,1\}//p; /^$$/q' Makefile | head -n 7

train: $(VENV)/.run-ready
	$(BIN)/python src/main.py --config=$(CONFIG) --env-config=$(ENV) with $(if $(filter sc2,$(ENV)),env_args.map_name=$(MAP)) $(ARGS)

install: $(VENV)/.run-ready
	@echo "$(VENV) is ready: . $(VENV)/bin/activate"

test: $(VENV)/.dev-ready
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

lint: $(VENV)/.dev-ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

$(VENV)/.run-ready: requirements.txt $(VENV)/.made
	@echo "installing requirements.txt into $(VENV) (minutes the first time)"
	@$(PIP) install -r requirements.txt
	@touch $@

$(VENV)/.dev-ready: requirements-dev.txt requirements-sc2-client.txt $(VENV)/.run-ready
	@echo "installing requirements-dev.txt and requirements-sc2-client.txt into $(VENV)"
	@$(PIP) install -r requirements-dev.txt
	@$(PIP) install --no-deps -r requirements-sc2-client.txt
	@touch $@

# Stays as it is once made; an attempt that was cut short is repeated.
$(VENV)/.made:
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then touch $@; exit 0; fi; \
	wanted="$(PYTHON)"; \
	for python in $${wanted:-python3.11 python3.12 python3.13 python3.10 python3}; do \
	  if "$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	    echo "making $(VENV) with $$("$$python" --version)"; \
	    "$$python" -m venv --clear $(VENV); \
	    touch $@; \
	    exit 0; \
	  fi; \
	done; \
	echo "No suitable Python found: 3.10 to 3.13 with its venv module is needed (on Debian: apt install python3-venv)." >&2; \
	echo "Name one with: make ... PYTHON=/path/to/python3.11" >&2; \
	exit 1
