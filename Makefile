# Each target makes its own environment in .venv and installs what it needs. Needed beforehand: Python 3.11 or newer, make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help demo test check bench clean

help:
	@echo "make demo    the gateway, the phone page and an echo bot   (ARGS=--check plays it without a browser)"
	@echo "make test    all tests                                     (ARGS='-k cursor' for some of them, '-n 0' in one process)"
	@echo "make check   formatting, lint, types in two checkers, the import rule"
	@echo "make bench   where we stand, side by side with others and with the limit"

demo: $(VENV)/.installed
	@$(BIN)/ilink demo $(ARGS)

test: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf $(VENV) .peers build dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ilink needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + "; name another: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make environments here: install its venv module (Debian: apt-get install python3-venv)"; exit 1; }

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing ilink into $(VENV) ..."
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing ilink and its test tools into $(VENV) ..."
	@$(PIP) --editable '.[dev,media,nats,postgres,s3,telemetry]'
	@touch $@ $(VENV)/.installed
