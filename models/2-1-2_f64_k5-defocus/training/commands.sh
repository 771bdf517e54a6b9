#!/usr/bin/env bash
# How models/2-1-2_f64_k5-defocus was trained, a command a stage, run from the root of the repository.
# A stage of two precisions has two commands: stop the first one as its comment says.
set -euo pipefail

# The photographs: 1000, with 631 masks.
python data_prep/fetch.py train

# Data
make data RECIPE=defocus

# The start: the weights of stage 1 of 2-1-2_f32_k3-defocus inside the larger net.
python tools/start_weights.py models/2-1-2_f64_k5-defocus/training/1.prototxt -o build/start.caffemodel --grow build/snapshots/2-1-2_f32_k3-defocus_1_iter_8000.caffemodel

# Stage 1: bfloat16, stopped (Ctrl-C) at iteration 19 000; the last 1000 iterations in float32
caffe train -solver models/2-1-2_f64_k5-defocus/training/1.prototxt -weights build/start.caffemodel -precision bfloat16
caffe train -solver models/2-1-2_f64_k5-defocus/training/1.prototxt -snapshot build/snapshots/2-1-2_f64_k5-defocus_1_iter_19000.solverstate

# Stage 2: bfloat16, stopped (Ctrl-C) at iteration 40 000; the last 5000 iterations in float32
caffe train -solver models/2-1-2_f64_k5-defocus/training/2.prototxt -snapshot build/snapshots/2-1-2_f64_k5-defocus_1_iter_20000.solverstate -precision bfloat16
caffe train -solver models/2-1-2_f64_k5-defocus/training/2.prototxt -snapshot build/snapshots/2-1-2_f64_k5-defocus_2_iter_40000.solverstate

# Stage 3: bfloat16, stopped (Ctrl-C) at iteration 65 000; the last 5000 iterations in float32
caffe train -solver models/2-1-2_f64_k5-defocus/training/3.prototxt -snapshot build/snapshots/2-1-2_f64_k5-defocus_2_iter_45000.solverstate -precision bfloat16
caffe train -solver models/2-1-2_f64_k5-defocus/training/3.prototxt -snapshot build/snapshots/2-1-2_f64_k5-defocus_3_iter_65000.solverstate

# Data
make data RECIPE=defocus PAIRS=4

# Stage 4: on a GPU
caffe train -solver models/2-1-2_f64_k5-defocus/training/4.prototxt -weights build/snapshots/2-1-2_f64_k5-defocus_3_iter_70000.caffemodel -precision tf32 -gpu 0

# Stage 5: on a GPU
caffe train -solver models/2-1-2_f64_k5-defocus/training/5.prototxt -weights build/snapshots/2-1-2_f64_k5-defocus_4_iter_90000.caffemodel -precision tf32 -batch 64 -gpu 0

# Data
make data RECIPE=defocus PAIRS=3 RECOLOUR=1

# Stage 6: on a CPU
caffe train -solver models/2-1-2_f64_k5-defocus/training/6.prototxt -weights build/snapshots/2-1-2_f64_k5-defocus_5_iter_32000.caffemodel

# Data
make data RECIPE=defocus PAIRS=4 RECOLOUR=1

# Stage 7: on a GPU; it was stopped at iteration 66 201 and resumed
caffe train -solver models/2-1-2_f64_k5-defocus/training/7.prototxt -weights build/snapshots/2-1-2_f64_k5-defocus_6_iter_11000.caffemodel -precision tf32 -batch 64 -gpu 0
