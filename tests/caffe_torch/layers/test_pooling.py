"""Pooling and SPP."""

import numpy as np
import pytest

from tests.caffe_torch.golden_layers import assert_golden_numbers, assert_refused, cases_of, net_of, net_with
from tests.golden.layers import one


@pytest.mark.parametrize("case", cases_of("pooling"))
def test_forward_and_backward(case):
    assert_golden_numbers(case)


# kernel, stride and pad: a list for the height and one for the width. The top of 0..24 in rows of 5.
ONE_PAD = [
    ("MAX", (1, 3), (3, 1), (0, 1), [[1, 2, 3, 4, 4], [16, 17, 18, 19, 19]]),
    ("AVE", (1, 3), (3, 1), (0, 1), [[1 / 3, 1, 2, 3, 7 / 3], [31 / 3, 16, 17, 18, 37 / 3]]),
    ("MAX", (3, 1), (1, 3), (1, 0), [[5, 8], [10, 13], [15, 18], [20, 23], [20, 23]]),
    ("AVE", (3, 1), (1, 3), (1, 0), [[5 / 3, 11 / 3], [5, 8], [10, 13], [15, 18], [35 / 3, 41 / 3]]),
    # Without padding the third window remains, and is empty.
    ("MAX", (1, 3), (3, 1), (0, 0), [[2, 3, 4], [17, 18, 19], [np.finfo(np.float32).min] * 3]),
]


@pytest.mark.parametrize("pool, kernel, stride, pad, expected", ONE_PAD)
def test_padding_along_one_axis_leaves_out_windows_along_both(pool, kernel, stride, pad, expected):
    settings = f"pool: {pool} " + " ".join(
        f"{name}_h: {height} {name}_w: {width}"
        for name, (height, width) in (("kernel", kernel), ("stride", stride), ("pad", pad))
    )
    net = net_of(one("Pooling", f"pooling_param {{ {settings} }}", x=(1, 1, 5, 5)))
    top = net.forward(x=np.arange(25).reshape(1, 1, 5, 5))["y"]
    np.testing.assert_allclose(top, [[expected]], rtol=1e-6)


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
