"""The losses in the lines that `caffe train` logs, the same in BVLC Caffe and caffe_torch."""

from __future__ import annotations

import re

# "Iteration 100, loss = 5.1" and "Iteration 100 (9.8 iter/s, 10s/100 iters), loss = 5.1"
_TRAINING = re.compile(r"Iteration (\d+)(?: \([^)]*\))?, loss = (\S+)")
_TESTING = re.compile(r"Iteration (\d+), Testing net \(#0\)")
# The weighted value is in brackets where the weight is not 1: "loss = 0.5 (* 2 = 1 loss)".
_VALIDATION = re.compile(r"Test net output #\d+: loss = (\S+)(?: \(\* \S+ = (\S+) loss\))?")


def training_loss(line: str) -> tuple[int, float] | None:
    """The iteration and its training loss in a line of a log; None in other lines."""
    match = _TRAINING.search(line)
    return (int(match[1]), float(match[2])) if match else None


def tested_iteration(line: str) -> int | None:
    """The iteration at which a test begins, in a line of a log; None in other lines."""
    match = _TESTING.search(line)
    return int(match[1]) if match else None


def validation_loss(line: str) -> float | None:
    """The validation loss, weighted, in a line of a log; None in other lines."""
    match = _VALIDATION.search(line)
    return float(match[2] or match[1]) if match else None
