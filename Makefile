# Everything derived goes into build/ and .venv/, nowhere else.
PYTHON ?= python3
VENV   ?= .venv
# The CPU build of this release; for a CUDA machine: make setup TORCH="torch --index-url https://download.pytorch.org/whl/cu126"
TORCH  ?= torch==2.13.0

PY := $(VENV)/bin/python

.PHONY: setup data bvlc-caffe test test-bvlc clean

setup: $(VENV)/.done ## .venv with `python` and `caffe`
$(VENV)/.done: pyproject.toml caffe_torch/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet $(TORCH)
	$(PY) -m pip install --quiet -e caffe_torch -e '.[test]'
	touch $@

data: setup ## patch databases in build/data: make data [PHOTOS=DIR] [PATCH=50] [RECIPE=paper]
	$(PY) data_prep/make_database.py $(if $(PHOTOS),--photos "$(PHOTOS)") $(PATCH:%=--patch %) $(RECIPE:%=--recipe %)

bvlc-caffe: ## BVLC Caffe 1.0 itself (CPU), without root or conda, in build/bvlc/bin
	$(PYTHON) tools/bvlc_caffe.py

test-bvlc: setup bvlc-caffe ## both Caffes side by side
	$(PY) -m pytest -m bvlc

test: setup ## fast tests
	$(PY) -m pytest

clean: ## remove what was derived; .venv stays
	rm -rf build
