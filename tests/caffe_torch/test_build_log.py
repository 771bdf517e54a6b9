"""What is logged while nets are built; the order of it all is in golden/building.log (test_command.py)."""

import re
from pathlib import Path

import caffe
import pytest
from caffe import glog

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    monkeypatch.setattr(glog, "nets", False)
    monkeypatch.setattr(glog, "_min_level", 0)


def logged(capfd, text, phase=caffe.TEST, **options):
    """The messages of a net in text form."""
    Path("net.prototxt").write_text(text)
    capfd.readouterr()
    caffe.Net("net.prototxt", phase, **options)
    return re.sub(r"(?m)^[IWE]\d{4} .*?\] ", "", capfd.readouterr().err).splitlines()


def test_python_says_nothing_before_init_log(capfd, monkeypatch):
    assert logged(capfd, INPUT) == []
    caffe.init_log()
    assert logged(capfd, INPUT)[-1] == "Network initialization done."
    caffe.init_log(1)
    assert logged(capfd, INPUT) == []
    caffe.init_log(0, True)
    monkeypatch.setenv("GLOG_minloglevel", "2")
    assert logged(capfd, INPUT) == []


def test_rules_say_why_a_layer_is_left_out(capfd):
    caffe.init_log()
    rules = (
        "include { phase: TRAIN } include { min_level: 2 } include { max_level: -1 } "
        'include { stage: "a" stage: "b" } include { not_stage: "a" }'
    )
    text = INPUT + f'layer {{ name: "r" type: "Power" bottom: "x" top: "r" {rules} }}'
    lines = logged(capfd, text, stages=["a"])
    end = " specified by a rule in layer r"
    assert lines[: lines.index("Initializing net from parameters: ")] == [
        f"The NetState phase (1) differed from the phase (0){end}",
        f"The NetState level (0) is above the min_level (2){end}",
        f"The NetState level (0) is above the max_level (-1){end}",
        f"The NetState did not contain stage 'b'{end}",
        f"The NetState contained a not_stage 'a'{end}",
    ]


def test_old_forms_are_said_to_be_old(capfd):
    caffe.init_log()
    old = (
        'input: "x" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 '
        'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "bn" param { } param { } param { } }'
    )
    lines = logged(capfd, old)
    assert lines[:5] == [
        "Attempting to upgrade input file specified using deprecated input fields: net.prototxt",
        "Successfully upgraded file specified using deprecated input fields.",
        "Note that future Caffe releases will only support input layers and not input fields.",
        "Attempting to upgrade batch norm layers using deprecated params: net.prototxt",
        "Successfully upgraded batch norm layers using deprecated params.",
    ]
    assert lines.count("    lr_mult: 0") == lines.count("    decay_mult: 0") == 3
    assert "bn does not need backward computation." in lines


V1 = Path(__file__).with_name("golden") / "v1.prototxt"


def test_layers_of_before_2015_are_upgraded(capfd):
    """BVLC Caffe's types, parameters and losses."""
    caffe.init_log()
    lines = logged(capfd, V1.read_text(), caffe.TRAIN)
    old = "file specified using deprecated V1LayerParameter"
    assert lines[:2] == [f"Attempting to upgrade input {old}: net.prototxt", f"Successfully upgraded {old}"]
    types = "DummyData Convolution Convolution Pooling Split Sigmoid Dropout LRN Flatten InnerProduct"
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    assert [layer.type for layer in net.layers] == [*types.split(), "SoftmaxWithLoss", "Silence"]
    assert (net.params_lr, net.params_weight_decay) == ([1, 2, 3, 1], [1, 0, 1, 1])
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" weight_decay: 0.1'
    )
    solver = caffe.get_solver("solver.prototxt")
    for loss in (1.38629, 0.00170875, 0.0020839, 0.00251987):
        solver.step(1)
        assert solver.net.blobs["loss"].data * 2 == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize(
    "text, message",
    [
        ('layers { name: "b" type: BNLL bottom: "x" top: "y" }', "the older form"),
        (
            'input: "x" input_shape { dim: 1 } layers { type: NONE bottom: "x" top: "y" }',
            "'NONE' is not supp",
        ),
    ],
)
def test_older_nets_that_cannot_be_built(text, message):
    Path("net.prototxt").write_text(INPUT * ("older" in message) + text)
    with pytest.raises(ValueError, match=f"^net.prototxt: .*{message}"):
        caffe.Net("net.prototxt", caffe.TEST)


def test_weights_of_layers_that_the_net_lacks(capfd):
    caffe.init_log()
    inner = (
        'layer {{ name: "{0}" type: "InnerProduct" bottom: "x" top: "{0}" '
        "inner_product_param {{ num_output: 1 }} }}\n"
    )
    logged(capfd, INPUT + inner.format("b") + inner.format("a"))
    net = caffe.Net("net.prototxt", caffe.TEST)
    net.save("w.caffemodel")
    net.save_hdf5("w.h5")
    ignored = ["Ignoring source layer x_x_0_split", "Ignoring source layer b"]
    assert logged(capfd, INPUT + inner.format("a"), weights="w.caffemodel")[-2:] == ignored
    said = ["Datatype class: H5T_FLOAT", *ignored[::-1]]  # once
    assert logged(capfd, INPUT + inner.format("a"), weights="w.h5")[-3:] == said
    assert "Datatype class: H5T_FLOAT" not in logged(capfd, INPUT + inner.format("a"), weights="w.h5")


def test_statistics_not_fixed_count_for_the_backward_pass(capfd):
    # As in BVLC Caffe: what lies above a BatchNorm has gradients, though the layer learns nothing.
    text = INPUT + (
        'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "bn" }'
        'layer { name: "loss" type: "EuclideanLoss" bottom: "bn" bottom: "x" top: "loss" }'
    )
    caffe.init_log()
    lines = logged(capfd, text)
    assert "bn needs backward computation." in lines
    assert "x_x_0_split does not need backward computation." in lines
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    net.blobs["x"].data[...] = [[1, 2, 4], [3, 1, 1]]
    net.forward()
    net.backward()
    assert net.blobs["bn"].diff.any() and not net.params["bn"][0].diff.any()


def test_a_net_that_cannot_be_built_logs_its_error_alone(capfd):
    caffe.init_log()
    with pytest.raises(ValueError, match="layer 'r'"):
        logged(capfd, INPUT + 'layer { name: "r" type: "Pooling" bottom: "x" top: "r" }')
    assert capfd.readouterr().err == ""
