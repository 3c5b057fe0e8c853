# The two commands of the README. Each makes .venv, once, and runs; the second time starts at once.
#   PYTHON     the interpreter to start from (3.11 or newer)
#   PIP_FLAGS  more for pip; a smaller torch without CUDA, for one:
#              make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
PIP_FLAGS ?=
BIN := .venv/bin
INSTALLED := .venv/.installed
# Tests that hold calls, or watch the clock, come one after the other; all others run side by side.
CALLS := tests/integration tests/receiver \
    $(addprefix tests/bench/test_,animate.py bandwidth.py loopback.py soak.py survive.py throughput.py)

.PHONY: test demo

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile $(CALLS:%=--ignore=%)
	$(BIN)/pytest $(CALLS)

demo: $(INSTALLED)
	$(BIN)/bench loopback --source demo --output demo.mp4 --sheet demo.png --json demo.json

# The stamp comes last: an installation that was interrupted is taken up again.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "keycast needs Python 3.11 or newer, this is %d.%d; try: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $@
