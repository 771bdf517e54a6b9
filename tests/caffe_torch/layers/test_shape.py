"""Layers that move or join values without changing them."""

import pytest

from tests.caffe_torch.golden_layers import assert_golden_numbers, assert_refused, cases_of, net_of, net_with
from tests.golden.layers import inputs, layer, one


@pytest.mark.parametrize("case", cases_of("shape"))
def test_forward_and_backward(case):
    assert_golden_numbers(case)


REFUSED = {
    "concat shapes": (net_with("Concat", bottoms="x w"), "differ not only in axis 1"),
    "concat both": (net_with("Concat", "concat_param { axis: 1 concat_dim: 1 }"), "not both"),
    "slice equal": (net_with("Slice", tops="y z"), "cannot be cut into 2 equal parts"),
    "slice points": (net_with("Slice", "slice_param { slice_point: 3 }", tops="y z"), "do not rise"),
    "slice count": (net_with("Slice", "slice_param { slice_point: 1 }", tops="y z v"), "1 points for 3 tops"),
    "reshape": (net_with("Reshape", "reshape_param { shape { dim: 7 dim: -1 } }"), "cannot be reshaped"),
    "reshape of nothing": (
        inputs(x=(0, 3)) + layer("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }"),
        "cannot be reshaped",
    ),
    "reshape beyond": (
        net_with("Reshape", "reshape_param { shape {" + " dim: 0" * 5 + " } }"),
        "no axis to copy",
    ),
    "flatten": (net_with("Flatten", "flatten_param { axis: 2 end_axis: 1 }"), "comes after"),
    "crop": (net_with("Crop", "crop_param { offset: 1 }", bottoms="x x"), "do not fit axis 2"),
    "crop axes": (net_with("Crop", bottoms="x w"), "as many axes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_file_the_layer_and_the_reason(case, tmp_path):
    assert_refused(*REFUSED[case], tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (one("Tile"), "tile_param.tiles must be given, 1 or more"),
        (one("Tile", "tile_param { tiles: 2 axis: 4 }"), "axis 4 is outside a blob of 4 axes"),
    ],
)
def test_what_does_not_fit_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        net_of(text)
