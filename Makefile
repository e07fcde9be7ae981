# make demo | make demo-detection | make demo QUICK=1 | make test | make test-slow | make docs
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo demo-detection test test-slow docs format setup

demo: $(READY)
	$(BIN)/pixeldistill distill recipes/demo.yaml $(if $(QUICK),--quick)
	@echo "(these after: source $(BIN)/activate)"

demo-detection: $(READY)
	$(BIN)/pixeldistill distill recipes/demo_detection.yaml $(if $(QUICK),--quick)
	@echo "(these after: source $(BIN)/activate)"

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile

test-slow: $(READY)
	$(BIN)/pytest -m slow

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "the site is in site/: $(BIN)/python -m http.server --directory site"

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(READY)

# Written last: a set-up that was interrupted lacks it and is done again, on top of what is there or, if that is broken, anew.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pixeldistill needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 2; }
	@echo "setting up $(VENV) (once: about 6 GB, some minutes) ..."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import torch, torchvision, timm, pixeldistill.cli' || \
	  { rm -rf $(VENV); echo "the set-up was broken and has been removed: give the same command again" >&2; exit 1; }
	@touch $@
