"""Averages of caffemodels."""

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from tools import average_weights
from two_stream_fusion.methods import models


@pytest.fixture
def caffemodel(tmp_path):
    """Writes a caffemodel of one layer with a weight for each value, and returns its path."""

    def write(name, *values, layer="conv"):
        net = caffe_pb2.NetParameter(name="net")
        blob = net.layer.add(name=layer, type="Convolution").blobs.add(data=values)
        blob.shape.dim.extend([len(values), 1])
        (tmp_path / name).write_bytes(net.SerializeToString())
        return str(tmp_path / name)

    return write


def test_each_weight_is_the_mean(caffemodel, tmp_path, capsys):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 5)).astype(np.float32)
    paths = [caffemodel(f"{i}.caffemodel", *row) for i, row in enumerate(values)]
    out = str(tmp_path / "mean.caffemodel")
    average_weights.main([*paths, "-o", out])
    net = models.read_caffemodel(out)
    np.testing.assert_allclose(net.layer[0].blobs[0].data, values.mean(axis=0), rtol=1e-6)
    assert net.layer[0].name == "conv" and list(net.layer[0].blobs[0].shape.dim) == [5, 1]
    assert capsys.readouterr().out == f"{out}: the mean of 3 caffemodels\n"


def test_the_mean_of_one_is_that_one(caffemodel, tmp_path):
    path = caffemodel("a.caffemodel", 0.1, -2)
    average_weights.average([path], tmp_path / "mean.caffemodel")
    assert (tmp_path / "mean.caffemodel").read_bytes() == (tmp_path / "a.caffemodel").read_bytes()


@pytest.mark.parametrize("other", [{"layer": "deconv"}, {}])
def test_other_layers_are_refused(caffemodel, tmp_path, other):
    first, second = (
        caffemodel("a.caffemodel", 1, 2),
        caffemodel("b.caffemodel", 1, 2, *[3] * (not other), **other),
    )
    with pytest.raises(ValueError, match=r"b.caffemodel: other layers than those of .*a.caffemodel"):
        average_weights.average([first, second], tmp_path / "mean.caffemodel")
    assert not (tmp_path / "mean.caffemodel").exists()


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (caffe_pb2.NetParameter(), "$"),
        (caffe_pb2.NetParameter(layer=[{"name": "conv"}]), "$"),
        (
            caffe_pb2.NetParameter(layers=[{"blobs": [{"data": [1]}]}]),
            ": its layers have the form of before 2015$",
        ),
    ],
)
def test_files_without_weights_have_no_mean(net, reason, tmp_path):
    path = tmp_path / "a.caffemodel"
    path.write_bytes(net.SerializeToString())
    with pytest.raises(ValueError, match=f"a.caffemodel: has no weights to average{reason}"):
        average_weights.average([path, path], tmp_path / "mean.caffemodel")
