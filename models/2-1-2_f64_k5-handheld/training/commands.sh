#!/usr/bin/env bash
# How models/2-1-2_f64_k5-handheld was trained, a command a stage, run from the root of the repository.
# A stage of two precisions has two commands: stop the first one as its comment says.
set -euo pipefail

# The photographs: 1000, with 631 masks.
python data_prep/fetch.py train

# Data
make data RECIPE=handheld PAIRS=4

# Stage 1: on a GPU, from the weights after stage 4 of 2-1-2_f64_k5-defocus
caffe train -solver models/2-1-2_f64_k5-handheld/training/1.prototxt -weights build/snapshots/2-1-2_f64_k5-defocus_4_iter_90000.caffemodel -precision tf32 -batch 64 -gpu 0

# Data
make data RECIPE=handheld PAIRS=3 RECOLOUR=1

# Stage 2: on a CPU
caffe train -solver models/2-1-2_f64_k5-handheld/training/2.prototxt -weights build/snapshots/2-1-2_f64_k5-handheld_1_iter_31000.caffemodel

# Data
make data RECIPE=handheld PAIRS=4 RECOLOUR=1

# Stage 3: on a GPU; it was stopped at iteration 66 201 and resumed
caffe train -solver models/2-1-2_f64_k5-handheld/training/3.prototxt -weights build/snapshots/2-1-2_f64_k5-handheld_2_iter_5500.caffemodel -precision tf32 -batch 64 -gpu 0
