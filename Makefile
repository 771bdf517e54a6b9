# Everything derived goes into build/ and .venv/, nowhere else. `make help` lists the targets.
SHELL       := bash
.SHELLFLAGS := -e -o pipefail -c
PYTHON ?= python3
VENV   ?= .venv
# As pip gives it; CPUs alone: make setup TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
TORCH  ?= torch==2.13.0
SOLVER ?= solver/adam.prototxt

PY    := $(VENV)/bin/python
CAFFE := $(VENV)/bin/caffe

.PHONY: help setup demo data train fuse tables figures experiments bvlc-caffe bench test test-slow test-gpu test-bvlc lint clean

help:
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

setup: $(VENV)/.done ## .venv with `python` and `caffe`
$(VENV)/.done: pyproject.toml caffe_torch/pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet $(TORCH)
	$(PY) -m pip install --quiet -e caffe_torch -e '.[test]'
	# Programs run in place import one another by their folders' names: eval, data_prep, tools.
	echo "$(CURDIR)" > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/two-stream-fusion-checkout.pth"
	touch $@

demo: setup ## train a minute, fuse a pair with the shipped weights: build/demo
	test -f build/data/train.txt || $(MAKE) data
	mkdir -p build/demo build/logs
	$(CAFFE) train -solver solver/demo.prototxt 2>&1 | tee -i build/logs/demo.log
	$(PY) tools/plot_log.py build/logs/demo.log -o build/demo/loss.png
	$(PY) tools/demo_pair.py --out build/demo
	$(PY) tools/fuse.py build/demo/a.png build/demo/b.png -o build/demo/fused.png --panel build/demo/panel.png --force

data: setup ## patch databases in build/data: make data [PHOTOS=DIR] [PATCH=50] [RECIPE=paper] [PAIRS=1] [RECOLOUR=1]
	mkdir -p build/snapshots build/logs
	$(PY) data_prep/make_database.py $(and $(PHOTOS),--photos "$(PHOTOS)") $(and $(PATCH),--patch $(PATCH)) $(and $(RECIPE),--recipe $(RECIPE)) $(and $(PAIRS),--pairs $(PAIRS)) $(and $(RECOLOUR),--recolour)

train: setup ## make train [SOLVER=solver/adam.prototxt] [GPU=0] [BATCH=64] [FROM=....solverstate]; an earlier log stays, as .1
	mkdir -p build/snapshots build/logs
	name=$$(basename "$(SOLVER)"); log=build/logs/$${name%.*}.log; n=1; \
	while [ -e "$$log.$$n" ]; do n=$$((n + 1)); done; \
	if [ -z "$(FROM)" ] && [ -e "$$log" ]; then mv "$$log" "$$log.$$n"; fi; \
	$(CAFFE) train -solver "$(SOLVER)" $(and $(GPU),-gpu $(GPU)) $(and $(BATCH),-batch $(BATCH)) $(and $(FROM),-snapshot "$(FROM)") 2>&1 \
		| tee -i $(and $(FROM),-a) "$$log"

fuse: setup ## make fuse A=near.jpg B=far.jpg OUT=sharp.png
	$(PY) tools/fuse.py "$(A)" "$(B)" -o "$(OUT)"

tables: setup ## Tables 1-4, made again: build/tables
	$(PY) eval/tables.py

figures: setup ## Figures 6-9: build/figures
	$(PY) eval/figures.py

experiments: setup ## the analysis (Fig. 5, 2, 4): make experiments [NAME=fig5a] [ITERATIONS=500] [SEEDS=2]
	$(PY) experiments/run.py $(NAME) $(and $(ITERATIONS),--iterations $(ITERATIONS)) $(and $(SEEDS),--seeds $(SEEDS))

bvlc-caffe: ## BVLC Caffe 1.0 itself (CPU), without root or conda, in build/bvlc/bin
	$(PYTHON) tools/bvlc_caffe.py

bench: setup ## time metrics and methods; BVLC Caffe and caffe_torch in turns (needs build/data)
	$(PY) eval/bench.py --megapixels 24
	$(PY) tools/bench_caffe.py

test: setup ## the fast tests
	$(PY) -m pytest

test-slow: setup ## the slow ones too
	$(PY) -m pytest -m 'not bvlc'

test-gpu: setup ## the tests of caffe_torch on a CUDA GPU: make test-gpu [GPU=0]
	TEST_GPU=$(or $(GPU),0) $(PY) -m pytest tests/caffe_torch

test-bvlc: setup bvlc-caffe ## BVLC Caffe and caffe_torch side by side
	$(PY) -m pytest -m bvlc

lint: setup ## ruff and its formatter
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

clean: ## remove what was derived; .venv stays
	rm -rf build
