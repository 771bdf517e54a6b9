"""Blob: arrays that show its values, shapes that change, memory that is shared."""

import numpy as np
import pytest

from tests.caffe_torch.golden_layers import FC, X
from tests.golden.layers import inputs, layer


def test_arrays_given_out_go_on_showing_the_blob(net):
    text = "force_backward: true " + X
    text += layer("Convolution", "convolution_param { num_output: 2 kernel_size: 1 }", "x", "y", "conv")
    text += layer("PReLU", "", "y", "y")
    observed, fresh = net(text), net(text)
    arrays = [observed.blobs["y"].data, observed.blobs["x"].diff, observed.params["layer"][0].diff]
    rows = observed.blobs["y"].data[1, :2]
    for i in range(1, 4):
        for n in (observed, fresh):
            n.params["conv"][0].data[...] = np.linspace(-1, i, n.params["conv"][0].count).reshape(2, 3, 1, 1)
            n.blobs["x"].data[...] = np.linspace(-i, 2, 120).reshape(2, 3, 4, 5)
            n.forward()
            n.blobs["y"].diff[...] = i
            n.clear_param_diffs()
            n.backward()
        fresh_arrays = [fresh.blobs["y"].data, fresh.blobs["x"].diff, fresh.params["layer"][0].diff]
        for array, expected in zip(arrays, fresh_arrays, strict=True):
            assert expected.any()
            np.testing.assert_array_equal(array, expected)
        np.testing.assert_array_equal(rows, arrays[0][1, :2])
    arrays[0][...] = 7  # and what is written to it counts
    assert (observed.blobs["y"].data == 7).all()
    observed.clear_param_diffs()
    assert not arrays[2].any()


def test_a_reshape_keeps_what_there_is_room_for(net):
    """BVLC Caffe's numbers: memory is new, and zero, only for a count that the blob never had before."""
    n = net(FC)
    x, y, (w, _) = n.blobs["x"], n.blobs["y"], n.params["fc"]
    counted = np.arange(12, dtype=np.float32)
    w.data[...] = 1
    x.data[...], x.diff[...] = counted.reshape(4, 3), -counted.reshape(4, 3)
    x.reshape(2, 3)
    np.testing.assert_array_equal(x.data, counted[:6].reshape(2, 3))
    np.testing.assert_array_equal(x.diff, -counted[:6].reshape(2, 3))
    assert n.forward()["y"].tolist() == [[3, 3], [12, 12]]
    y.diff[...] = 7
    for shape in ((3, 2, 2), (4, 3)):
        x.reshape(*shape)
        np.testing.assert_array_equal(x.data, counted.reshape(shape))
        np.testing.assert_array_equal(x.diff, -counted.reshape(shape))
    n.forward()
    assert y.data.ravel().tolist() == [3, 3, 12, 12, 21, 21, 30, 30]
    assert y.diff.ravel().tolist() == [7, 7, 7, 7, 0, 0, 0, 0]
    x.reshape(1, 3)
    n.reshape()
    assert (y.data.tolist(), y.diff.tolist()) == ([[3, 3]], [[7, 7]])
    y.reshape(4, 2)
    assert y.data.ravel().tolist() == [3, 3, 12, 12, 21, 21, 30, 30]
    x.reshape(5, 3)
    assert not x.data.any() and not x.diff.any()
    x.data[...] = 1
    x.reshape(4, 3)
    x.reshape(5, 3)
    assert (x.data == 1).all()


def test_what_is_written_and_shrunk_at_once_counts(net):
    n = net(FC)
    x = n.blobs["x"]
    x.reshape(2, 3)
    x.data[...] = 1  # on a GPU the device does not have it yet
    x.reshape(1, 3)
    x.data[...] += 1
    x.reshape(4, 3)
    assert x.data.tolist() == [[2, 2, 2], [1, 1, 1], [0, 0, 0], [0, 0, 0]]


def test_a_permissively_shared_parameter_has_a_shape_a_layer(net, tmp_path):
    """BVLC Caffe's numbers."""
    settings = 'inner_product_param {{ num_output: {} bias_term: false }} param {{ name: "w" {} }}'
    text = "force_backward: true " + inputs(a=(2, 3))
    text += layer("InnerProduct", settings.format(2, ""), "a", "x", "x")
    text += layer("InnerProduct", settings.format(3, "share_mode: PERMISSIVE"), "x", "y", "y")
    n = net(text)
    assert [blobs[0].data.shape for blobs in n.params.values()] == [(2, 3), (3, 2)]
    n.params["y"][0].data[...] = np.arange(6).reshape(3, 2)
    n.blobs["a"].data[...] = [[1, 2, 3], [-1, 0, 1]]
    assert n.forward()["y"].tolist() == [[26, 94, 162], [2, 10, 18]]
    n.blobs["y"].diff[...] = [[1, 0, 2], [0, 1, -1]]
    assert n.backward()["a"].tolist() == [[33, 52, 71], [-6, -10, -14]]
    assert n.params["x"][0].diff.tolist() == [[18, 42, 24], [15, 36, 81]]
    assert n.params["y"][0].diff.tolist() == [[18, 42], [24, 15], [36, 81]]
    for name in ("w.caffemodel", "w.caffemodel.h5"):
        path = str(tmp_path / name)
        (n.save_hdf5 if name.endswith("h5") else n.save)(path)
        again, sharing = net(text, weights=path), net(text)
        sharing.share_with(again)
        for other in (again, sharing):
            assert other.params["x"][0].data.ravel().tolist() == [0, 1, 2, 3, 4, 5]
            assert other.params["y"][0].data.shape == (3, 2) and len(other.learnable_params) == 1
            assert other.learnable_params[0].shape == (2, 3)
    with pytest.raises(ValueError, match="a shared parameter of 6 values"):
        n.params["y"][0].reshape(7)
