"""What pycaffe adds to a net: blobs by number, arrays of a MemoryData layer."""

import caffe
import numpy as np
import pytest
from caffe import layers as L

from tests.golden.layers import inputs, layer


def test_blobs_and_layers_by_number(tmp_path):
    """pycaffe's private names, with what they gave there."""
    text = inputs(a=(4, 3), t=(4, 2)) + layer(
        "InnerProduct", "inner_product_param { num_output: 2 }", "a", "b"
    )
    (tmp_path / "net.prototxt").write_text(text + layer("EuclideanLoss", "", "b t", "l", "loss"))
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TRAIN)
    assert net._blob_names == ["a", "t", "b", "l"]
    assert [blob.data.shape for blob in net._blobs] == [(4, 3), (4, 2), (4, 2), ()]
    assert (net._inputs, net._outputs, net._blob_loss_weights) == ([0, 1], [3], [0, 0, 0, 1])
    assert [net._top_ids(i) for i in range(4)] == [[0], [1], [2], [3]]
    assert [net._bottom_ids(i) for i in range(4)] == [[], [], [0], [2, 1]]
    net.blobs["t"].data[...] = 1
    assert (net._forward(0, 3), net._forward(0, 2)) == (1, 0)
    assert net._backward(3, 0) is None


def test_input_arrays_are_refused_with_the_way_to_go(tmp_path):
    (tmp_path / "net.prototxt").write_text(str(caffe.to_proto(L.Input(shape={"dim": [1]}))))
    with pytest.raises(ValueError, match="the first layer is not MemoryData"):
        caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST).set_input_arrays(np.zeros(1), np.zeros(1))
