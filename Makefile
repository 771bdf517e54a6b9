# All outputs go into build/ and .venv/. `make help` lists the targets.
SHELL       := bash
.SHELLFLAGS := -e -o pipefail -c
PYTHON ?= python3
VENV   ?= .venv
# The PyTorch to install. The default is the build for CPUs where there is no NVIDIA GPU, else pip's default (CUDA on Linux).
# To choose another: make setup TORCH="torch==2.13.0"
TORCH  ?=
SOLVER ?= solver/adam.prototxt

PY    := $(VENV)/bin/python
CAFFE := $(VENV)/bin/caffe

.PHONY: help setup demo data train release fuse tables report figures experiments bvlc-caffe bench test test-slow test-gpu test-bvlc test-wheel lint clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

setup: $(VENV)/.done ## .venv with `python` and `caffe`
$(VENV)/.done: pyproject.toml caffe_torch/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	torch="$(TORCH)"; test -n "$$torch" || torch="$$($(PY) tools/choose_torch.py)"; \
	$(PY) -m pip install --quiet $$torch
	$(PY) -m pip install --quiet -e caffe_torch -e '.[test]'
	# Commands run in place import the folders of this checkout by name: eval, data_prep, tools.
	echo "$(CURDIR)" > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/two-stream-fusion-checkout.pth"
	touch $@

demo: setup ## fuse a pair with the released weights, then train for a minute: build/demo
	$(PY) tools/demo.py --caffe "$(CAFFE)"

data: setup ## patch databases in build/data (stacks: build/data_stack): make data [PHOTOS=DIR] [PATCH=50] [RECIPE=paper] [PAIRS=1] [RECOLOUR=1]
	mkdir -p build/snapshots build/logs
	$(PY) data_prep/make_database.py $(and $(PHOTOS),--photos "$(PHOTOS)") $(and $(PATCH),--patch $(PATCH)) $(and $(RECIPE),--recipe $(RECIPE)) $(and $(PAIRS),--pairs $(PAIRS)) $(and $(filter-out 0,$(RECOLOUR)),--recolour)

train: setup ## train a net: make train [SOLVER=solver/adam.prototxt] [GPU=0] [BATCH=64] [FROM=....solverstate]; an earlier log is kept as .1
	$(PY) tools/train.py --caffe "$(CAFFE)" -solver "$(SOLVER)" $(and $(GPU),-gpu $(GPU)) $(and $(BATCH),-batch $(BATCH)) $(and $(FROM),-snapshot "$(FROM)")

release: setup ## train and score a two-stream model, resumable: make release MODEL=NAME [GPU=0] [PRECISION=tf32] [PHOTOS=DIR] [ITERATIONS=20: a dry run]
	$(PY) tools/release.py "$(MODEL)" --caffe "$(CAFFE)" $(and $(GPU),--gpu $(GPU)) $(and $(PRECISION),--precision $(PRECISION)) $(and $(PHOTOS),--photos "$(PHOTOS)") $(and $(ITERATIONS),--iterations $(ITERATIONS))

fuse: setup ## fuse a pair: make fuse A=near.jpg B=far.jpg OUT=sharp.png
	$(PY) tools/fuse.py "$(A)" "$(B)" -o "$(OUT)"

tables: setup ## Tables 1-4: build/tables
	$(PY) eval/tables.py

report: setup ## the tables and their images as a page for a browser: build/report.html
	$(PY) eval/report.py

figures: setup ## Figures 6-9: build/figures
	$(PY) eval/figures.py

experiments: setup ## the analysis (Fig. 5, 2, 4): make experiments [NAME=fig5a] [ITERATIONS=500] [SEEDS=2]
	$(PY) experiments/run.py $(NAME) $(and $(ITERATIONS),--iterations $(ITERATIONS)) $(and $(SEEDS),--seeds $(SEEDS))

bvlc-caffe: ## BVLC Caffe 1.0 itself (CPU), without root or conda, in build/bvlc/bin
	$(PYTHON) tools/bvlc_caffe.py

bench: setup ## time metrics, methods, BVLC Caffe and caffe_torch (needs build/data)
	$(PY) eval/bench.py --megapixels 24
	$(PY) tools/bench_caffe.py

test: setup ## the fast tests
	$(PY) -m pytest

test-slow: setup ## the fast and the slow tests
	$(PY) -m pytest -m 'not bvlc'

test-gpu: setup ## the tests of caffe_torch on a CUDA GPU: make test-gpu [GPU=0]
	TEST_GPU=$(or $(GPU),0) $(PY) -m pytest tests/caffe_torch

test-bvlc: setup bvlc-caffe ## BVLC Caffe and caffe_torch side by side
	$(PY) -m pytest -m bvlc -n 2

lint: setup ## ruff, its formatter, spelling, types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m codespell_lib
	$(PY) -m mypy

test-wheel: setup ## install the wheel elsewhere and run its commands
	$(PY) -m pytest -m 'slow or not slow' tests/test_wheel.py

clean: ## remove build, but not .venv
	rm -rf build
