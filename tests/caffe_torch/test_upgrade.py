"""The forms of older Caffe: nets from before 2015, input fields, solvers without a prefix."""

from pathlib import Path

import caffe
import pytest

from tests.caffe_torch.helpers import INPUT_X, log_of_net, run_caffe


@pytest.fixture(autouse=True)
def folder(tmp_folder):
    return tmp_folder


def test_old_forms_are_said_to_be_old(capfd):
    caffe.init_log()
    old = (
        'input: "x" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 '
        'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "bn" param { } param { } param { } }'
    )
    lines = log_of_net(capfd, old)
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
    lines = log_of_net(capfd, V1.read_text(), caffe.TRAIN)
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
    Path("net.prototxt").write_text(INPUT_X * ("older" in message) + text)
    with pytest.raises(ValueError, match=f"^net.prototxt: .*{message}"):
        caffe.Net("net.prototxt", caffe.TEST)


def test_snapshots_are_named_after_the_solver_beside_its_folder(training_folder):
    """As by BVLC Caffe: the name that snapshots get for want of one is not itself looked up as a folder."""
    folder = training_folder
    (folder / "exp").mkdir()
    Path("exp.prototxt").write_text('net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 1')
    assert run_caffe("train", "-solver", "exp.prototxt") == 0
    assert (folder / "exp_iter_1.caffemodel").exists() and not any((folder / "exp").iterdir())
