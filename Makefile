# `make demo` and `make test` do all their own set-up in .venv; they need python3 (3.11 or newer), make and a package index.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint clean

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cosearch needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# The main job: OFA-MobileNetV3 networks and Eyeriss-like hardware, searched together, and the picture of the front.
demo: $(READY)
	rm -rf runs/demo
	$(BIN)/cosearch search --space ofa-mobilenet-v3 --target eyeriss --objectives top1,latency,energy \
		--budget 2000 --seed 0 --workers 2 --out runs/demo
	$(BIN)/cosearch front runs/demo --format csv > runs/demo/front.csv
	$(BIN)/cosearch plot runs/demo -o runs/demo/front.png
	@echo "look at runs/demo/front.png"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -n 2

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
