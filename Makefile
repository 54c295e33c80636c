# make demo   fuses the two example pairs into out/
# make test   checks everything that CI checks: style, types, floors, tests
# make lint   checks style (ruff) and floors (import-linter)
# make types  checks types (mypy)
# make docs   builds the site into site/
# make clean  removes .venv and everything that was built
# Each sets up .venv first if needed; only Python 3.10 or later is required.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DATA = examples/data

.PHONY: demo test lint types docs clean

demo: $(VENV)/.core
	@mkdir -p out
	@$(call fuse,olinda_infrared,olinda_visible,out/olinda.png,)
	@$(call fuse,brain_t1,brain_pd,out/brain.png,--task medical)

# Several tests run at a time, with one thread each: more threads speed up only a few.
test: lint types $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: $(VENV)/.dev
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) out site build dist *.egg-info

# Fuses $(1) and $(2) into $(3) with the options $(4), and prints the seconds.
define fuse
began=$$(date +%s) && \
$(BIN)/ddfm fuse $(DATA)/$(1).png $(DATA)/$(2).png -o $(3) $(4) && \
echo "$(3): $(1) and $(2) fused in $$(($$(date +%s) - began)) s"
endef

# torch is installed first, in this version; the other packages then keep it.
$(VENV)/.core: setup.cfg setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("ddfm needs Python 3.10 or later; specify it: make PYTHON=...")'
	@# Without ensurepip, venv fails and leaves a Python without pip; it goes on from there.
	$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install torch==2.13.0
	$(BIN)/python -m pip install -e .
	touch $@

$(VENV)/.test: $(VENV)/.core
	$(BIN)/python -m pip install -e '.[test]'
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/python -m pip install -e '.[dev]'
	touch $@

$(VENV)/.docs: $(VENV)/.core
	$(BIN)/python -m pip install -e '.[docs]'
	touch $@
