"""Nets of 2013. Live runs of both Caffes: tests/bvlc/test_older_nets.py."""

from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe import upgrade, upgrade_v0
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tests.caffe_torch.helpers import log_of_net

V0 = Path(__file__).with_name("golden") / "v0.prototxt"
OLD = "file specified using deprecated V0LayerParameter"
DATA = 'layers { layer { name: "d" type: "data" source: "db" batchsize: 1 } top: "x" }\n'


@pytest.fixture(autouse=True)
def folder(tmp_folder):
    return tmp_folder


def upgraded(text):
    """The NetParameter of a text, upgraded to the present form."""
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    upgrade.net(net)
    return net


def test_layers_of_2013_are_upgraded(capfd):
    """BVLC Caffe's log lines, types, shapes and loss."""
    caffe.init_log()
    lines = log_of_net(capfd, V0.read_text(), caffe.TRAIN)
    assert lines[:2] == [f"Attempting to upgrade input {OLD}: net.prototxt", f"Successfully upgraded {OLD}"]
    assert lines[2].startswith("Note that future Caffe releases will not support V0NetParameter; use ")
    assert lines[3].startswith("Attempting to upgrade input file specified using deprecated V1LayerParameter")
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    types = "Input Split Split Convolution Convolution ReLU Pooling Pooling LRN Concat Dropout Sigmoid TanH"
    types += " BNLL Flatten InnerProduct Split Accuracy SoftmaxWithLoss"
    assert [layer.type for layer in net.layers] == types.split()
    assert net.blobs["c1"].shape == (4, 6, 5, 4) and net.blobs["pooled"].shape == (4, 6, 3, 3)
    assert (net.params_lr, net.params_weight_decay) == ([1, 2, 1, 3, 1], [1, 0, 1, 1, 1])
    net.blobs["x"].data[...] = np.linspace(-1, 1, 672).reshape(4, 4, 7, 6)
    net.params["fc"][0].data[1] = 0
    assert net.forward()["loss"] == pytest.approx(0.693665, rel=1e-5)


def test_a_padding_layer_becomes_the_pad_of_its_readers():
    pad = 'layers { layer { name: "p" type: "padding" pad: 2 } bottom: "x" top: "p" }'
    conv = 'layers { layer { name: "c" type: "conv" num_output: 1 kernelsize: 3 } bottom: "p" top: "c" }'
    pool = 'layers { layer { name: "q" type: "pool" kernelsize: 3 pad: 1 } bottom: "p" top: "q" }'
    data, conv, pool = upgraded(DATA + pad + conv + pool).layer
    assert data.data_param.batch_size == 1
    assert (list(conv.bottom), list(conv.convolution_param.pad)) == (["x"], [2])
    assert (list(pool.bottom), pool.pooling_param.pad) == (["x"], 2)  # in place of its own, as by BVLC Caffe


def test_settings_of_other_types_are_dropped_with_an_error(capfd):
    layer = (
        'layers { layer { name: "r" type: "relu" shuffle_images: true k: 2 scale: 3 } bottom: "x" top: "x" }'
    )
    net = upgraded(DATA + layer)
    lines = [line.split("] ")[1] for line in capfd.readouterr().err.splitlines()]
    assert lines == [
        "Unknown parameter k for layer type relu",
        "Unknown parameter shuffle for layer type relu",
        "Warning: had one or more problems upgrading V0NetParameter to NetParameter (see above); "
        "continuing anyway.",
    ]
    assert net.layer[1].transform_param.scale == 3  # any layer may have it


def test_every_field_of_2013_is_in_the_table():
    """Of each field what becomes of it: a setting, a field of the layer, or nothing as in BVLC Caffe."""
    fields = {field.name for field in caffe_pb2.V0LayerParameter.DESCRIPTOR.fields}
    settings = {name for name, _, _ in upgrade_v0._FIELDS}
    layer_fields = {"name", "type", "blobs", "blobs_lr", "weight_decay", "hdf5_output_param"}
    unused = {"new_num", "new_channels"}
    assert fields == settings | set(upgrade_v0._TRANSFORMATION) | layer_fields | unused


def test_transformation_fields_of_before_2014_are_moved(capfd):
    caffe.init_log()
    Path("list.txt").write_text("")
    net = text_format.Parse(
        'layers { name: "i" type: IMAGE_DATA top: "x" top: "t" image_data_param { source: "l" scale: 2 '
        'mean_file: "m" crop_size: 3 mirror: true } }',
        caffe_pb2.NetParameter(),
    )
    capfd.readouterr()
    upgrade.net(net, "n.prototxt")
    lines = [line.split("] ")[1] for line in capfd.readouterr().err.splitlines()]
    assert lines[:3] == [
        "Attempting to upgrade input file specified using deprecated transformation parameters: n.prototxt",
        "Successfully upgraded file specified using deprecated data transformation parameters.",
        "Note that future Caffe releases will only support transform_param messages for "
        "transformation fields.",
    ]
    (layer,) = net.layer
    assert text_format.MessageToString(layer.image_data_param) == 'source: "l"\n'
    param = layer.transform_param
    assert (param.scale, param.mean_file, param.crop_size, param.mirror) == (2, "m", 3, True)


@pytest.mark.parametrize(
    "text, message",
    [
        (
            'layers { layer { name: "a" type: "rellu" } bottom: "x" top: "y" }',
            "line 2: layer 'a'.*'rellu' did not exist in 2013",
        ),
        (
            'layers { layer { name: "a" type: "relu" } bottom: "z" top: "y" }',
            "line 2: layer 'a'.*no layer .*'z'",
        ),
        ('layers { name: "a" type: RELU bottom: "x" top: "y" }', "layer 'a': `layers` of 2013 and of 2014"),
        (
            'layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "p" }\n'
            'layers { layer { name: "a" type: "relu" } bottom: "p" top: "y" }',
            r"line 3: layer 'a' \(relu\): reads the padding layer 'p'",
        ),
        (
            'layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" bottom: "x" top: "p" }\n'
            'layers { layer { name: "a" type: "pool" } bottom: "p" top: "y" }',
            r"line 2: layer 'p' \(padding\): has 2 bottoms, needs 1",
        ),
    ],
)
def test_nets_of_2013_that_cannot_be_upgraded(text, message):
    Path("net.prototxt").write_text(DATA + text)
    with pytest.raises(ValueError, match=f"^net.prototxt: {message}"):
        caffe.Net("net.prototxt", caffe.TEST)


def test_weights_of_2013_are_read(capfd):
    caffe.init_log()
    Path("net.prototxt").write_text(V0.read_text())
    net, stored = caffe.Net("net.prototxt", caffe.TEST), caffe_pb2.NetParameter()
    text_format.Parse(V0.read_text(), stored)
    weights = np.arange(216, dtype=np.float32).reshape(3, 72)
    for layer in stored.layers:
        if layer.layer.type == "conv":
            for blob in net.params[layer.layer.name]:
                shape = (1,) * (4 - blob.data.ndim) + blob.data.shape
                sizes = dict(zip(("num", "channels", "height", "width"), shape, strict=True))
                layer.layer.blobs.add(**sizes, data=blob.data.ravel())
        if layer.layer.name == "fc":
            layer.layer.blobs.add(num=1, channels=1, height=3, width=72, data=weights.ravel())
            layer.layer.blobs.add(num=1, channels=1, height=1, width=3, data=[1, 2, 3])
    Path("w.caffemodel").write_bytes(stored.SerializeToString())
    capfd.readouterr()
    net.copy_from("w.caffemodel")
    assert f"Attempting to upgrade input {OLD}: w.caffemodel" in capfd.readouterr().err
    np.testing.assert_array_equal(net.params["fc"][0].data, weights)
    assert net.params["fc"][1].data.tolist() == [1, 2, 3]
