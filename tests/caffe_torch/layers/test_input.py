"""Input and Parameter."""

import pytest

from tests.caffe_torch.golden_layers import assert_golden_numbers, cases_of
from tests.golden.layers import layer


@pytest.mark.parametrize("case", cases_of("input"))
def test_forward_and_backward(case):
    assert_golden_numbers(case)


@pytest.mark.parametrize(
    ("shapes", "expected"), [(1, [(2, 3), (2, 3)]), (2, [(2, 3), (3, 3)]), (0, [(), ()])]
)
def test_tops_take_one_shape_or_one_each(net, shapes, expected):
    text = "".join(f"shape {{ dim: {2 + i} dim: 3 }} " for i in range(shapes))
    built = net(layer("Input", f"input_param {{ {text} }}", "", "a b"))
    assert [blob.shape for blob in built.blobs.values()] == expected


def test_three_shapes_for_two_tops_are_refused(net):
    with pytest.raises(ValueError, match="3 shapes for 2 tops: give one, or one each"):
        net(layer("Input", "input_param { shape {} shape {} shape {} }", "", "a b"))
