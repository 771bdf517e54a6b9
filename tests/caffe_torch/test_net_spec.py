"""Nets written in Python."""

import caffe
import pytest
from caffe import layers as L


def test_layers_made_in_python_build_the_same_net(net, tmp_path):
    n = caffe.NetSpec()
    n.x = L.Input(shape={"dim": [1, 3, 8, 8]})
    n.conv = L.Convolution(n.x, num_output=2, kernel_size=3, param=[{"lr_mult": 1}, {"lr_mult": 2}])
    n.relu = L.ReLU(n.conv, in_place=True)
    n.pool = L.Pooling(n.relu, pool=caffe.params.Pooling.AVE, kernel_size=2, stride=2)
    built = net(str(n.to_proto()))
    assert list(built.blobs) == ["x", "conv", "pool"]
    assert built.blobs["pool"].data.shape == (1, 2, 3, 3)
    assert built.params_lr == [1, 2]


def test_nets_in_python_name_what_is_wrong():
    data = L.Input(shape={"dim": [1, 3]})
    with pytest.raises(TypeError, match="ReLU input 0 is not a Top"):
        L.ReLU("data")
    with pytest.raises(AttributeError, match="no field 'nosuch'"):
        caffe.to_proto(L.ReLU(data, nosuch=3))
    with pytest.raises(AttributeError):
        _ = caffe.params.Pooling.BEST
    with pytest.raises(AttributeError, match="no layer 'conv'"):
        _ = caffe.NetSpec().conv
