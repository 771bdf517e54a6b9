"""Convolution, Deconvolution, InnerProduct and Im2col."""

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
from tests.golden.layers import layer, one


@pytest.mark.parametrize("case", cases_of("convolution"))
def test_forward_and_backward(case):
    assert_golden_numbers(case)


REFUSED = {
    "conv without outputs": (net_with("Convolution", "convolution_param { kernel_size: 3 }"), "num_output"),
    "conv without kernel": (net_with("Convolution", "convolution_param { num_output: 3 }"), "kernel_size"),
    "conv group": (
        net_with("Convolution", "convolution_param { num_output: 4 kernel_size: 1 group: 2 }"),
        "group 2",
    ),
    "conv axis": (
        net_with("Convolution", "convolution_param { num_output: 4 kernel_size: 1 axis: 2 }"),
        "axis 2",
    ),
    "conv kernel too large": (
        net_with("Convolution", "convolution_param { num_output: 4 kernel_size: 9 }"),
        r"does not fit bottoms of shape \(2, 3, 4, 5\)",
    ),
    "conv of rows": (
        net_with("Convolution", "convolution_param { num_output: 1 kernel_size: 1 }", "w"),
        "spatial axes",
    ),
    "inner axis": (
        net_with("InnerProduct", "inner_product_param { num_output: 1 axis: 7 }"),
        "axis 7 is outside",
    ),
    "filler": (
        net_with(
            "Convolution", 'convolution_param { num_output: 1 kernel_size: 1 weight_filler { type: "best" } }'
        ),
        "unknown filler 'best'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_file_the_layer_and_the_reason(case, tmp_path):
    assert_refused(*REFUSED[case], tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (one("Im2col", "convolution_param { kernel_size: 9 }"), "the top would be empty"),
        (one("Im2col", "convolution_param { kernel_size: 1 axis: 2 }"), "axis 2 is not supported"),
    ],
)
def test_what_does_not_fit_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        net_of(text)


def test_the_least_that_fits(net):
    """Kernels of the size of the image, and of one value."""
    text = X + layer(
        "Convolution", "convolution_param { num_output: 2 kernel_h: 4 kernel_w: 5 }", "x", "whole"
    )
    text += layer("Convolution", "convolution_param { num_output: 2 kernel_size: 1 }", "x", "one", "point")
    text += layer("Pooling", "pooling_param { kernel_h: 4 kernel_w: 5 }", "x", "most", "pool")
    text += layer("Pooling", "pooling_param { kernel_size: 1 }", "x", "same", "none")
    small = net(text)
    small.blobs["x"].data[...] = np.arange(120).reshape(2, 3, 4, 5)
    outputs = small.forward()
    assert outputs["whole"].shape == (2, 2, 1, 1) and outputs["one"].shape == (2, 2, 4, 5)
    np.testing.assert_array_equal(outputs["most"].ravel(), np.arange(19, 120, 20))
    np.testing.assert_array_equal(outputs["same"], small.blobs["x"].data)
