# make demo    compare every method on sample data; everything is fetched on the first run
# make test    the suite
# make lint    style, types, floors
# make bench   the measurements
# make clean   remove what make made (not the cache of weights and data)

PYTHON ?= python3
PIP := .venv/bin/python -m pip install -qq --disable-pip-version-check
READY := .venv/.ready
BENCH := bench/.venv/bin/python
BENCH_PIP := $(BENCH) -m pip install -qq --disable-pip-version-check
BENCH_READY := bench/.venv/.ready

.PHONY: demo test lint bench clean

demo: $(READY)
	@.venv/bin/pegbox demo $(ARGS)

test: $(READY)
	@.venv/bin/python -m pytest $(ARGS)

lint: $(READY)
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo

bench: $(BENCH_READY)
	@$(BENCH) -m bench $(ARGS)

OLD_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pegbox needs Python 3.11 or newer; name one: make PYTHON=python3.12")'

# torch goes first and by its exact version: left to a range, pip may take a build with gigabytes of CUDA.
$(READY): pyproject.toml constraints.txt
	@$(OLD_PYTHON)
	@echo "Setting up .venv (once, a few minutes)"
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@$(PIP) --constraint constraints.txt --editable '.[dev,lora,datasets,quantized,serve,tag,generate,constrain,fast]'
	@touch $@

# The peers go last and without what they ask for: see bench/requirements.txt.
$(BENCH_READY): pyproject.toml constraints.txt bench/requirements.txt
	@$(OLD_PYTHON)
	@echo "Setting up bench/.venv (once, a few minutes)"
	@test -x $(BENCH) || $(PYTHON) -m venv bench/.venv
	@$(BENCH_PIP) "$$(grep '^torch==' constraints.txt)"
	@$(BENCH_PIP) --constraint constraints.txt --editable '.[lora,fast]'
	@$(BENCH_PIP) --no-deps --requirement bench/requirements.txt
	@touch $@

clean:
	rm -rf .venv bench/.venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
