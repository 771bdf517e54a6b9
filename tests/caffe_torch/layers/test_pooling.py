"""Pooling and SPP."""

import pytest

from tests.caffe_torch.golden_layers import assert_golden_numbers, assert_refused, cases_of, net_of, net_with
from tests.golden.layers import one


@pytest.mark.parametrize("case", cases_of("pooling"))
def test_forward_and_backward(case):
    assert_golden_numbers(case)


REFUSED = {
    "pool stochastic": (
        net_with("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }"),
        "STOCHASTIC",
    ),
    "pool without kernel": (net_with("Pooling"), "give kernel_size"),
    "pool both kernels": (
        net_with("Pooling", "pooling_param { kernel_size: 2 kernel_h: 2 }"),
        "or both",
    ),
    "pool kernel 0": (
        net_with("Pooling", "pooling_param { kernel_size: 0 }"),
        "kernel sizes and strides must be",
    ),
    "pool stride 0": (
        net_with("Pooling", "pooling_param { kernel_size: 2 stride: 0 }"),
        "sizes and strides must be",
    ),
    "pool pad": (
        net_with("Pooling", "pooling_param { kernel_size: 2 pad: 2 }"),
        "must be less than the kernel",
    ),
    "pool global": (
        net_with("Pooling", "pooling_param { global_pooling: true kernel_size: 2 }"),
        "global_pooling",
    ),
    "pool mean place": (
        net_with("Pooling", "pooling_param { pool: AVE kernel_size: 2 }", tops="y z"),
        "one top",
    ),
    "pool rows": (net_with("Pooling", "pooling_param { kernel_size: 2 }", "w"), "4 axes"),
    "pool floor": (net_with("Pooling", "pooling_param { kernel_size: 9 round_mode: FLOOR }"), "does not fit"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_file_the_layer_and_the_reason(case, tmp_path):
    assert_refused(*REFUSED[case], tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (one("SPP"), "spp_param.pyramid_height must be given"),
        (one("SPP", "spp_param { pyramid_height: 2 pool: STOCHASTIC }"), "STOCHASTIC is not supported"),
        (one("SPP", "spp_param { pyramid_height: 4 }"), "5 pixels cannot have 4 windows"),
        (one("SPP", "spp_param { pyramid_height: 1 }", x=(2, 3)), "4 axes are needed"),
    ],
)
def test_what_does_not_fit_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        net_of(text)
