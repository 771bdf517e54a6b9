"""Layers that work element by element."""

import caffe
import numpy as np
import pytest

from tests.caffe_torch.golden_layers import (
    X,
    assert_golden_numbers,
    assert_refused,
    cases_of,
    net_of,
    net_with,
)
from tests.golden.layers import inputs, layer, one


@pytest.mark.parametrize("case", cases_of("neuron"))
def test_forward_and_backward(case):
    assert_golden_numbers(case)


REFUSED = {
    "prelu": (inputs(x=(3,)) + layer("PReLU"), "2 axes"),
    "log": (net_with("Log", "log_param { base: 1 }"), "no logarithm"),
    "exp": (net_with("Exp", "exp_param { base: -2 }"), "a base is above 0"),
    "exp shift": (
        net_with("Exp", "exp_param { shift: 1e10 }"),
        r"exp_param.shift 1e\+10: base \^ shift is too large",
    ),
    "dropout": (net_with("Dropout", "dropout_param { dropout_ratio: 1 }"), "dropout_ratio 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_file_the_layer_and_the_reason(case, tmp_path):
    assert_refused(*REFUSED[case], tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (one("Clip", "clip_param { min: 2 max: 1 }"), "clip_param: min 2 is above max 1"),
        (one("Clip"), "clip_param: give min and max"),
    ],
)
def test_what_does_not_fit_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        net_of(text)


def test_prelu_starts_with_a_quarter(net):
    built = net(X + layer("PReLU", "", "x", "y"))
    np.testing.assert_array_equal(built.params["layer"][0].data, [0.25] * 3)


def test_dropout_keeps_the_mean_and_does_nothing_in_testing(net):
    text = inputs(x=(100, 100)) + layer("Dropout", "dropout_param { dropout_ratio: 0.2 }")
    caffe.set_random_seed(1)
    train, test = net(text, caffe.TRAIN), net(text)
    for n in (train, test):
        n.blobs["x"].data[...] = 1
    out = train.forward()["y"]
    assert set(np.unique(out)) == {np.float32(0), np.float32(1.25)}
    assert np.mean(out == 0) == pytest.approx(0.2, abs=0.02)  # 5 standard deviations
    assert (test.forward()["y"] == 1).all()
