# Everything one does with zfnb; `make help` lists it.
# Another Python than python3:  make report PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
STAMP := $(VENV)/installed
NOTEBOOKS = $(wildcard notebooks/*.ipynb)

.PHONY: help report test lint unit nbval browser lab bench wheel wheel-test clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##/\1:/p' $(firstword $(MAKEFILE_LIST)) | sort

report: $(STAMP)  ## run the notebooks, write reports/index.html (ARGS="--only 02 --profile quick")
	$(BIN)/zfnb report $(ARGS)

test: lint unit nbval  ## style, unit tests, browser test, every notebook in the quick profile

lab: $(STAMP)  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=notebooks

browser: $(STAMP)  ## the browser test alone
	$(BIN)/python -m pytest tests/browser

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify --keep-id $(NOTEBOOKS)

unit: $(STAMP)
	$(BIN)/python -m pytest

# nbval runs notebooks as they are: it gets copies in which the quick profile is set.
nbval: $(STAMP)
	$(BIN)/python tests/notebooks/quick.py build/quick
	$(BIN)/python -m pytest --nbval-lax --nbval-current-env build/quick

bench: $(STAMP)  ## speed beside other packages, some minutes on a quiet machine (ARGS="--write")
	$(BIN)/python -m benchmarks.deconvnet --check $(ARGS)
	$(BIN)/python -m benchmarks.contrast_norm --check $(ARGS)
	$(BIN)/python -m benchmarks.top_activations --check $(ARGS)
	$(BIN)/python -m benchmarks.features --check $(ARGS)
	$(BIN)/python -m benchmarks.occlusion --check $(ARGS)
	$(BIN)/python -m benchmarks.training --check $(ARGS)
	$(BIN)/python -m benchmarks.loading --check $(ARGS)

wheel: $(STAMP)  ## build dist/zfnb-...whl
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation

wheel-test: wheel  ## install the wheel into an empty environment, run a notebook there
	$(PYTHON) -m venv --clear build/empty
	build/empty/$(notdir $(BIN))/python -m pip install --quiet --constraint constraints.txt dist/*.whl
	cd build/empty && $(notdir $(BIN))/zfnb report --profile quick --only 00 --out report
	rm -rf build/empty

clean:  ## remove all that was made, the environment too
	rm -rf $(VENV) build dist reports .pytest_cache .ruff_cache

$(STAMP): pyproject.toml constraints.txt | $(VENV)
	@echo "Installing the tested versions into $(VENV): some minutes the first time."
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	@touch $@

$(VENV):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit((3, 11) > v or v > (3, 13))' \
	|| { echo "zfnb needs Python 3.11, 3.12 or 3.13: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
