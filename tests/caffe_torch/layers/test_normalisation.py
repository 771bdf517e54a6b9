"""BatchNorm, LRN, Softmax and MVN."""

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


@pytest.mark.parametrize("case", cases_of("normalisation"))
def test_forward_and_backward(case):
    assert_golden_numbers(case)


REFUSED = {
    "batch norm": (net_with("BatchNorm", "param { lr_mult: 1 }"), "statistics are not learned"),
    "batch norm without channels": (inputs(x=(2, 0, 4)) + layer("BatchNorm"), "the second for channels"),
    "lrn": (net_with("LRN", "lrn_param { local_size: 4 }"), "not odd"),
    "softmax": (net_with("Softmax", "softmax_param { axis: 4 }"), "axis 4 is outside"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_file_the_layer_and_the_reason(case, tmp_path):
    assert_refused(*REFUSED[case], tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (one("MVN", x=(1, 2, 3, 4, 5)), "4 axes at most"),
    ],
)
def test_what_does_not_fit_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        net_of(text)


def test_solvers_and_testing_leave_batch_norm_statistics_alone(net):
    text = X + layer("BatchNorm")
    train, test = net(text, caffe.TRAIN), net(text)
    assert train.params_lr == [0, 0, 0]
    train.forward()
    assert train.params["layer"][2].data == pytest.approx([1])
    test.forward()
    assert not any(blob.data.any() for blob in test.params["layer"])


def test_equal_pixels_have_a_gradient():
    built = net_of(one("MVN", "mvn_param { eps: 0.5 }"))
    built.blobs["x"].data[...] = 3
    built.forward()
    built.blobs["y"].diff[...] = np.random.default_rng(1).random(built.blobs["y"].shape)
    assert np.isfinite(built.backward()["x"]).all()
