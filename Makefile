# The two commands of the README. Each makes .venv, once, and runs; the second time starts at once.
#   PYTHON     the interpreter to start from (3.11 or newer)
#   PIP_FLAGS  more for pip; a smaller torch without CUDA, for one:
#              make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
#   WORKERS    how many tests run side by side; 2 by default
#   KEYCAST_DATA  clips and networks that are no part of the project, for the tests that want them; by default
#              shared/data beside the checkout, where that is. Without it they are skipped.

PYTHON ?= python3
PIP_FLAGS ?=
BIN := .venv/bin
INSTALLED := .venv/.installed
WORKERS ?= 2
# What was compiled for one run, the tests themselves above all, serves the next.
unexport PYTHONDONTWRITEBYTECODE
export KEYCAST_DATA ?= $(wildcard $(dir $(CURDIR))shared/data)
# What a file of tests sets up is set up once; calls mostly wait, and may do so beside what computes.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: check test lint demo

# The linters and whatever takes no seconds of its own: for every change while it is made.
check: lint
	$(PYTEST) -m "not slow"

test: lint
	$(PYTEST)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: $(INSTALLED)
	$(BIN)/bench loopback --two-way --source demo --output demo.mp4 --sheet demo.png --json demo.json

# The stamp comes last: an installation that was interrupted is taken up again.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "keycast needs Python 3.11 or newer, this is %d.%d; try: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $@
