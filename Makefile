# make help lists what there is. Three variables choose the Python:
#   make test                            .venv, made on the first call
#   make test PYTHON=/path/to/python     a machine with a working stack, used as it is
#   make test STACK=upstream             .venv-upstream with OpenMMLab's own releases
#   make test STACK=oldest               .venv-oldest with the oldest versions that are supported
# BASE_PYTHON is the interpreter from which an environment is made; WORKERS is how many tests run at
# once in the default suite.

STACK ?= onedl
BASE_PYTHON ?= python3
WORKERS ?= 2
VENV := .venv$(patsubst %,-%,$(filter-out onedl,$(STACK)))
RUN := $(or $(PYTHON),$(CURDIR)/$(VENV)/bin/python)

# The checkout comes first, so that a given PYTHON needs no installation of this package.
TEST_PYTHON := PYTHONPATH="$(CURDIR)$${PYTHONPATH:+:$$PYTHONPATH}" OMP_NUM_THREADS=1 "$(RUN)"
PYTEST := $(TEST_PYTHON) -m pytest

.PHONY: help setup demo test test-slow test-all coverage lint docs wheel nightly

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## the environment alone; what trains or tests does this first
ifdef PYTHON
	@"$(PYTHON)" tools/setup_env.py --check mmcv._ext mmengine mmdet xdist
else
	@command -v "$(BASE_PYTHON)" >/dev/null || \
		{ echo "$(BASE_PYTHON) was not found: install Python 3.10 or later, or name one in BASE_PYTHON." >&2; exit 1; }
	@"$(BASE_PYTHON)" tools/setup_env.py --stack "$(STACK)" --venv "$(VENV)"
endif

demo: setup ## a small batch, a large one and a large one with Muon, on the CPU
	@PYTHON="$(RUN)" bash tools/demo.sh

test: setup ## the default suite
	$(PYTEST) -n $(WORKERS) -m 'not slow'

test-slow: setup ## the slow suite: real models, long runs
	$(PYTEST) -m slow

test-all: setup ## both suites
	$(PYTEST)

coverage: setup ## lines of package and laboratory that the default suite reaches; about twice its time
	$(TEST_PYTHON) -m coverage run -m pytest -n $(WORKERS) -m 'not slow'
	"$(RUN)" -m coverage combine -q
	"$(RUN)" -m coverage report --fail-under=90

lint: setup ## ruff and mypy
	"$(RUN)" -m ruff check .
	"$(RUN)" -m ruff format --check .
	"$(RUN)" -m mypy

# Without --quiet, which hides the warnings that its strict mode counts.
docs: .venv-docs/bin/mkdocs ## the pages and the API reference as a site in site/; a broken link fails
	NO_MKDOCS_2_WARNING=1 PATH="$(CURDIR)/.venv-docs/bin:$$PATH" mkdocs build

.venv-docs/bin/mkdocs: docs/site/requirements.txt
	"$(BASE_PYTHON)" -m venv .venv-docs
	.venv-docs/bin/python -m pip install -qq --disable-pip-version-check -r $<
	touch $@

# The torch that is tested with STACK; pip would take the newest.
TORCH = $(shell cd tools && "$(BASE_PYTHON)" -c "from setup_env import STACKS; print(STACKS['$(STACK)'].torch)")

wheel: ## sdist and wheel in dist/, both installed and tried in an environment without MMEngine
	rm -rf dist
	"$(BASE_PYTHON)" -m venv --clear .venv-wheel
	.venv-wheel/bin/python -m pip install -qq --disable-pip-version-check build
	.venv-wheel/bin/python -m build --outdir dist >.venv-wheel.log 2>&1 || { cat .venv-wheel.log; exit 1; }
	"$(BASE_PYTHON)" -m venv --clear .venv-wheel
	for archive in dist/*.whl dist/*.tar.gz; do \
		.venv-wheel/bin/python -m pip uninstall -qq -y agvm_mm && \
		.venv-wheel/bin/python -m pip install -qq --disable-pip-version-check $(TORCH) "$$archive" && \
		.venv-wheel/bin/python examples/plain_loop.py || exit 1; \
	done

nightly: setup ## coverage, mutants, soak, slow suite and all stacks; goes on after a failure
	@PYTHON="$(RUN)" BASE_PYTHON="$(BASE_PYTHON)" WORKERS="$(WORKERS)" STEPS="$(STEPS)" \
		MUTANTS="$(MUTANTS)" UPDATES="$(UPDATES)" bash .ci/nightly
