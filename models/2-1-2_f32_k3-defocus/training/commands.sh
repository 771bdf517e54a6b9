#!/usr/bin/env bash
# How models/2-1-2_f32_k3-defocus was trained, a command a stage, run from the root of the repository.
# A stage of two precisions has two commands: stop the first one as its comment says.
set -euo pipefail

# The photographs: 1000, with 631 masks.
python data_prep/fetch.py train

# Data
make data RECIPE=defocus

python tools/start_weights.py models/2-1-2_f32_k3-defocus/training/1.prototxt -o build/start.caffemodel

# Stage 1
caffe train -solver models/2-1-2_f32_k3-defocus/training/1.prototxt -weights build/start.caffemodel

# Stage 2: bfloat16, stopped (Ctrl-C) at iteration 27 000; the last 3000 iterations in float32
caffe train -solver models/2-1-2_f32_k3-defocus/training/2.prototxt -weights build/snapshots/2-1-2_f32_k3-defocus_1_iter_8000.caffemodel -precision bfloat16
caffe train -solver models/2-1-2_f32_k3-defocus/training/2.prototxt -snapshot build/snapshots/2-1-2_f32_k3-defocus_2_iter_27000.solverstate

# Data
make data RECIPE=defocus PAIRS=4

# Stage 3: on a GPU
caffe train -solver models/2-1-2_f32_k3-defocus/training/3.prototxt -weights build/snapshots/2-1-2_f32_k3-defocus_2_iter_30000.caffemodel -precision tf32 -gpu 0

# Stage 4: on a GPU
caffe train -solver models/2-1-2_f32_k3-defocus/training/4.prototxt -weights build/snapshots/2-1-2_f32_k3-defocus_3_iter_80000.caffemodel -precision tf32 -batch 64 -gpu 0

# Data
make data RECIPE=defocus PAIRS=4 RECOLOUR=1

# Stage 5: on a CPU
caffe train -solver models/2-1-2_f32_k3-defocus/training/5.prototxt -weights build/snapshots/2-1-2_f32_k3-defocus_4_iter_33000.caffemodel

# Stage 6: on a GPU
caffe train -solver models/2-1-2_f32_k3-defocus/training/6.prototxt -weights build/snapshots/2-1-2_f32_k3-defocus_5_iter_24000.caffemodel -precision tf32 -batch 64 -gpu 0
