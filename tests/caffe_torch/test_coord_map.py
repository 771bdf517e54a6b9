"""Crop offsets, calculated by hand. Live runs of both Caffes: tests/bvlc/test_examples.py, own_layers."""

import caffe
import pytest
from caffe import layers as L
from caffe.coord_map import conv_params, coord_map_from_to, crop


def upsampled(pads, factor, pool=2, kernel=3, cut=0):
    """A Convolution and a pooling for each of `pads`, then one Deconvolution by `factor`."""
    n = caffe.NetSpec()
    n.data = top = L.Input(shape={"dim": [1, 1, 300, 300]})
    for i, pad in enumerate(pads):
        n[f"conv{i}"] = L.Convolution(top, num_output=1, kernel_size=kernel, pad=pad)
        n[f"pool{i}"] = top = L.Pooling(L.ReLU(n[f"conv{i}"]), kernel_size=pool, stride=pool)
    window = {"num_output": 1, "kernel_size": 2 * factor, "stride": factor, "pad": cut}
    n.up = L.Deconvolution(top, convolution_param=window)
    return n


@pytest.mark.parametrize(
    "pads, factor, offset",
    [
        ([1], 2, 1),  # data x is pool (x - 0.5) / 2, which is up 2 * that + 1.5: x + 1
        ([1, 1, 1], 8, 4),  # (x - 3.5) / 8, then 8 * that + 7.5: x + 4
        ([100, 1], 4, 2 + 99),  # a border of 99 more moves all by 99
    ],
)
def test_offset_of_a_crop(pads, factor, offset):
    n = upsampled(pads, factor)
    spec = caffe.to_proto(crop(n.up, n.data)).layer[-1]
    assert (spec.type, spec.crop_param.axis, list(spec.crop_param.offset)) == ("Crop", 2, [offset])


def test_axes_have_maps_of_their_own():
    n = upsampled([[1, 4]], 2)
    axis, scale, shift = coord_map_from_to(n.up, n.data)
    assert (axis, list(scale), list(shift)) == (1, [1], [-1, -4])


def test_a_crop_moves_the_map_by_its_offset():
    n = upsampled([1], 2)
    n.cut = L.Crop(n.up, n.data, axis=2, offset=5)
    assert coord_map_from_to(n.cut, n.data)[2] == 4


def test_siblings_meet_in_what_both_are_made_of():
    """The other branch may come by any path; FCN's score_pool4 and upscore2 meet in pool4."""
    n = upsampled([1], 2)
    n.side = L.Convolution(n.pool0, num_output=1, kernel_size=1)
    n.up2 = L.Deconvolution(
        L.Pooling(n.pool0, kernel_size=2, stride=2), num_output=1, kernel_size=4, stride=2
    )
    assert coord_map_from_to(n.side, n.up2)[2] == 1
    assert coord_map_from_to(n.up2, n.side)[2] == -1


def test_what_cannot_be_cropped_is_refused():
    n = upsampled([1], 2, pool=3)
    with pytest.raises(AssertionError, match="differ in scale"):
        crop(n.up, n.data)
    n = upsampled([1], 2, cut=7)
    with pytest.raises(AssertionError, match="offset would be negative"):
        crop(n.up, n.data)
    n = upsampled([1], 2, kernel=2)
    with pytest.raises(AssertionError, match="lies between pixels"):
        crop(n.up, n.data)
    with pytest.raises(RuntimeError, match="no map between the two tops"):
        coord_map_from_to(L.InnerProduct(n.up, num_output=2), n.data)


def test_conv_params_with_dilation_and_settings_in_a_message():
    [spec] = [L.Convolution(L.Input(), convolution_param={"kernel_size": 3, "dilation": 2, "pad": [1, 2]}).fn]
    axis, stride, kernel, pad = conv_params(spec)
    assert (axis, list(stride), list(kernel), list(pad)) == (1, [1], [5], [1, 2])
    with pytest.raises(ValueError, match="Pooling with kernel_h"):
        conv_params(L.Pooling(L.Input(), kernel_h=2, kernel_w=3).fn)
