# make install   an environment in .venv with everything that using and developing recurseg needs
# make demo      install, then a small run from training to report on made-up data, into demo/
# make test      install, then the fast tests
# make coverage  the same, with the lines that no test runs
# make lint      style, types and the direction of imports
# make docs      the documentation, into site/

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

.PHONY: install demo test coverage lint docs clean

install: $(READY)

demo: $(READY)
	$(BIN)/recurseg demo --out demo

test: $(READY)
	$(PYTEST)

coverage: $(READY)
	$(PYTEST) --cov --cov-report=term-missing:skip-covered

lint: $(READY)
	$(BIN)/ruff check src tests tools
	$(BIN)/ruff format --check src tests tools
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf .venv site demo dist build .coverage .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@for python in $(PYTHON) python3.13 python3.12 python3.11; do \
	    if "$$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        test -x $(BIN)/python || "$$python" -m venv .venv || exit 1; exit 0; fi; \
	done; \
	echo "recurseg needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)." >&2; \
	echo "Install one, or name it: make install PYTHON=/path/to/python3.12" >&2; exit 1
	@echo "Installing into .venv: this takes a few minutes, once."
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e ".[dev]"
	@touch $(READY)
