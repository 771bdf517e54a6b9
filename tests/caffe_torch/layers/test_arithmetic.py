"""Eltwise, Scale, Bias and Reduction."""

import numpy as np
import pytest

from tests.caffe_torch.golden_layers import (
    assert_golden_numbers,
    assert_refused,
    cases_of,
    net_of,
    net_with,
)
from tests.golden.layers import inputs, layer, one


@pytest.mark.parametrize("case", cases_of("arithmetic"))
def test_forward_and_backward(case):
    assert_golden_numbers(case)


REFUSED = {
    "eltwise shapes": (net_with("Eltwise", bottoms="x w"), "differ in shape"),
    "eltwise coeff": (
        net_with("Eltwise", "eltwise_param { coeff: 1 }", bottoms="x x"),
        "1 coefficients for 2",
    ),
    "eltwise product": (
        net_with("Eltwise", "eltwise_param { operation: PROD coeff: 1 coeff: 1 }", bottoms="x x"),
        "only a SUM",
    ),
    "eltwise maximum": (
        net_with("Eltwise", "eltwise_param { operation: MAX coeff: 1 }", bottoms="x x"),
        "1 coefficients for 2",
    ),
    "scale axes": (net_with("Scale", "scale_param { axis: 2 num_axes: 3 }"), "do not fit"),
    "scale shapes": (net_with("Scale", bottoms="x w"), "do not fit from axis 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_file_the_layer_and_the_reason(case, tmp_path):
    assert_refused(*REFUSED[case], tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (one("Reduction", "reduction_param { axis: -5 }"), "axis -5 is outside"),
    ],
)
def test_what_does_not_fit_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        net_of(text)


@pytest.mark.parametrize("layer_type, expected", [("Scale", 9), ("Bias", 6)])
def test_a_scalar_is_scaled_by_itself(net, layer_type, expected):
    scalar = net(inputs(x=()) + layer(layer_type, "", "x x"))
    scalar.blobs["x"].data[...] = 3
    assert scalar.forward()["y"] == expected


def test_a_maximum_ignores_coefficients():
    """As in BVLC Caffe, forward and backward."""
    settings = "eltwise_param { operation: MAX coeff: -1 coeff: 3 }"
    net = net_of(one("Eltwise", settings, a=(1, 3), b=(1, 3)))
    assert net.forward(a=np.array([[1, 5, 2]]), b=np.array([[2, 4, -7]]))["y"].tolist() == [[2, 5, 2]]
    net.backward(y=np.array([[1, 2, 3]]))
    assert net.blobs["a"].diff.tolist() == [[0, 2, 3]]
    assert net.blobs["b"].diff.tolist() == [[1, 0, 0]]
