#!/usr/bin/env bash
# How models/2-1-2_f64_k5-paper was trained, a command a stage, run from the root of the repository.
# A stage of two precisions has two commands: stop the first one as its comment says.
set -euo pipefail

# The photographs: 1000, with 631 masks.
python data_prep/fetch.py train

# Data
make data

python tools/start_weights.py models/2-1-2_f64_k5-paper/training/1.prototxt -o build/start.caffemodel

# Stage 1: bfloat16, stopped (Ctrl-C) at iteration 13 000; the last 1000 iterations in float32
caffe train -solver models/2-1-2_f64_k5-paper/training/1.prototxt -weights build/start.caffemodel -precision bfloat16
caffe train -solver models/2-1-2_f64_k5-paper/training/1.prototxt -snapshot build/snapshots/2-1-2_f64_k5-paper_1_iter_13000.solverstate

# Stage 2: bfloat16, stopped (Ctrl-C) at iteration 23 500; the last 2500 iterations in float32
caffe train -solver models/2-1-2_f64_k5-paper/training/2.prototxt -snapshot build/snapshots/2-1-2_f64_k5-paper_1_iter_14000.solverstate -precision bfloat16
caffe train -solver models/2-1-2_f64_k5-paper/training/2.prototxt -snapshot build/snapshots/2-1-2_f64_k5-paper_2_iter_23500.solverstate

# Data
make data PAIRS=4

# Stage 3: on a GPU, stopped at iteration 21 401 of 50 000, as the time was over
caffe train -solver models/2-1-2_f64_k5-paper/training/3.prototxt -weights build/snapshots/2-1-2_f64_k5-paper_2_iter_26000.caffemodel -precision tf32 -gpu 0

# Stage 4: on a CPU
caffe train -solver models/2-1-2_f64_k5-paper/training/4.prototxt -weights build/snapshots/2-1-2_f64_k5-paper_3_iter_21401.caffemodel

# Stage 5: on a GPU
caffe train -solver models/2-1-2_f64_k5-paper/training/5.prototxt -weights build/snapshots/2-1-2_f64_k5-paper_4_iter_8000.caffemodel -precision tf32 -batch 64 -gpu 0
