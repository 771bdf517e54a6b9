import math

import pytest

from tools import caffe_log

FUNCTIONS = (caffe_log.training_loss, caffe_log.tested_iteration, caffe_log.validation_loss)
PREFIX = "I1123 13:39:19.000000  1 solver.cpp:239] "


@pytest.mark.parametrize(
    ("line", "training", "tested", "validation"),
    [
        ("Iteration 20, loss = 12", (20, 12.0), None, None),
        ("Iteration 10 (4 iter/s, 2.5s/10 iters), loss = 1.65e+01", (10, 16.5), None, None),
        ("Iteration 0 (-nan iter/s, 0.2s/10 iters), loss = -21.5", (0, -21.5), None, None),
        ("Iteration 0, Testing net (#0)", None, 0, None),
        ("Iteration 0, Testing net (#1)", None, None, None),
        ("    Test net output #0: loss = 6", None, None, 6.0),
        ("    Test net output #1: loss = 10 (* 2 = 20 loss)", None, None, 20.0),
        ("    Train net output #0: loss = 10.75 (* 2 = 21.5 loss)", None, None, None),
        ("    Test net output #0: accuracy = 0.5", None, None, None),
        ("Iteration 0, lr = 0.001", None, None, None),
    ],
)
def test_lines_of_a_log(line, training, tested, validation):
    for text in (line, f"{PREFIX}{line}\n"):  # with and without glog's prefix
        assert tuple(function(text) for function in FUNCTIONS) == (training, tested, validation)


def test_a_loss_may_be_no_number():
    assert math.isnan(caffe_log.training_loss(f"{PREFIX}Iteration 3, loss = nan")[1])
    assert math.isnan(caffe_log.validation_loss(f"{PREFIX}    Test net output #0: loss = -nan"))
