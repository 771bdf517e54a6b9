"""Convolution, Deconvolution, InnerProduct and Im2col."""

import numpy as np
import pytest
import torch
from caffe.layers import convolution

from tests.caffe_torch.golden_layers import (
    X,
    assert_golden_numbers,
    assert_refused,
    cases_of,
    net_of,
    net_with,
)
from tests.golden.layers import inputs, layer, one


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
        (one("Im2col", "convolution_param { kernel_size: 9 }"), "nothing would be left"),
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
    found = small.forward()
    assert found["whole"].shape == (2, 2, 1, 1) and found["one"].shape == (2, 2, 4, 5)
    np.testing.assert_array_equal(found["most"].ravel(), np.arange(19, 120, 20))
    np.testing.assert_array_equal(found["same"], small.blobs["x"].data)


@pytest.mark.parametrize(
    ("options", "once"),
    [
        ("kernel_size: 5 pad: 2", True),
        ("kernel_h: 1 kernel_w: 5 pad_w: 4", True),
        ("kernel_size: 3 kernel_size: 2 pad: 2 pad: 0 bias_term: false", True),
        ("kernel_size: 2 pad: 3", False),  # zeros that no place of the filter reaches from a pixel
        ("kernel_size: 3 stride: 2", False),
        ("kernel_size: 3 dilation: 2", False),
        ("kernel_size: 1", False),
    ],
)
def test_a_filter_alone_gives_what_pytorch_gives(net, options, once, monkeypatch):
    """By a way that is faster, where it can be taken."""
    times, way = [], convolution._one_plane
    monkeypatch.setattr(convolution, "_one_plane", lambda *what: times.append(what) or way(*what))
    fillers = 'weight_filler { type: "gaussian" std: 1 } bias_filler { type: "constant" value: 3 }'
    text = layer("Convolution", f"convolution_param {{ num_output: 1 {fillers} {options} }}", "x", "y")
    made = net(inputs(x=(2, 16, 90, 470)) + text)
    x = made.blobs["x"].data[...] = np.random.default_rng(0).normal(size=(2, 16, 90, 470)).astype(np.float32)
    found, filters = made.forward()["y"], made.layers[1]
    assert len(times) == once
    params = [torch.from_numpy(blob.data) for blob in filters.blobs]
    bias = params[1] if len(params) > 1 else None
    geometry = filters.stride, filters.pad, filters.dilation
    expected = torch.nn.functional.conv2d(torch.from_numpy(x), params[0], bias, *geometry)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert found.std() > 3
