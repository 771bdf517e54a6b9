"""A layer in its net: which layers run backward, and where gradients go."""

import caffe
import numpy as np
import pytest

from tests.caffe_torch.helpers import INPUT_X, log_of_net
from tests.golden.layers import inputs, layer

ONES = 'weight_filler { type: "constant" value: 1 }'


@pytest.fixture(autouse=True)
def folder(tmp_folder):
    return tmp_folder


def test_statistics_not_fixed_count_for_the_backward_pass(capfd):
    # As in BVLC Caffe: what lies above a BatchNorm has gradients, though the layer learns nothing.
    text = INPUT_X + (
        'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "bn" }'
        'layer { name: "loss" type: "EuclideanLoss" bottom: "bn" bottom: "x" top: "loss" }'
    )
    caffe.init_log()
    lines = log_of_net(capfd, text)
    assert "bn needs backward computation." in lines
    assert "x_x_0_split does not need backward computation." in lines
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    net.blobs["x"].data[...] = [[1, 2, 4], [3, 1, 1]]
    net.forward()
    net.backward()
    assert net.blobs["bn"].diff.any() and not net.params["bn"][0].diff.any()


def test_a_gradient_to_labels_is_refused_unless_disabled(net):
    text = (
        inputs(w=(2, 3), v=(2, 4))
        + layer("InnerProduct", "inner_product_param { num_output: 1 }", "v", "label", "inner")
        + layer("SoftmaxWithLoss", "SENT", "w label", "loss")
    )
    wrong = net(text.replace("SENT", ""))
    wrong.forward()
    with pytest.raises(ValueError, match="sends no gradient to 'label'"):
        wrong.backward()
    disabled = net(text.replace("SENT", "propagate_down: true propagate_down: false"))
    disabled.forward()
    disabled.backward()
    assert not disabled.params["inner"][0].diff.any()


STOPPED = (
    inputs(x=(1, 2), t=(1, 2))
    + layer("InnerProduct", f"inner_product_param {{ num_output: 2 {ONES} }}", "x", "ip", "ip")
    + layer("Power", "propagate_down: false power_param { scale: 2 }", "ip", "pw", "pw")
    + layer("EuclideanLoss", "", "pw t", "loss", "loss")
)


@pytest.mark.parametrize("force", [False, True])
def test_propagate_down_stops_gradients_below_the_layer_not_above(force, capfd):
    """BVLC Caffe's lines and diffs: ip = 2 and pw = 4, so the gradient of the loss in pw is 4 - t."""
    caffe.init_log()
    lines = log_of_net(capfd, "force_backward: true " * force + STOPPED, caffe.TRAIN)
    needs = [line.split()[:2] for line in lines if line.endswith("backward computation.")]
    assert needs == [["loss", "needs"], ["pw", "needs"], ["ip", "does"], ["t", "does"], ["x", "does"]]
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    net.forward(x=[[1, 1]], t=[[1, 5]])
    net.backward()
    assert net.blobs["pw"].diff.tolist() == [[3, -1]]
    assert net.blobs["ip"].diff.tolist() == [[6, -2] if force else [0, 0]]
    weights, bias = net.params["ip"]
    assert weights.diff.tolist() == ([[6, 6], [-2, -2]] if force else [[0, 0], [0, 0]])
    assert bias.diff.tolist() == ([6, -2] if force else [0, 0])


def test_propagate_down_to_data_makes_no_layer_run_backward(capfd):
    """As in BVLC Caffe, where nothing below the layer learns."""
    text = (
        inputs(x=(1, 2), t=(1, 2))
        + layer("Power", "propagate_down: true power_param { scale: 2 }", "x", "pw", "pw")
        + layer("EuclideanLoss", "", "pw t", "loss", "loss")
    )
    caffe.init_log()
    lines = log_of_net(capfd, text, caffe.TRAIN)
    assert not [line for line in lines if line.endswith(" needs backward computation.")]
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    net.forward(x=[[1, 1]], t=[[1, 5]])
    net.backward()
    assert not net.blobs["pw"].diff.any() and not net.blobs["x"].diff.any()


def test_gradients_of_parameters_add_up_until_cleared(net):
    text = "force_backward: true " + inputs(x=(1, 3)) + layer("Bias", "loss_weight: 2")
    bias = net(text)
    for expected in (2, 4):
        bias.forward()
        bias.backward()
        assert (bias.params["layer"][0].diff == expected).all()
    bias.params["layer"][0].diff[...] = 0  # not the loss weight itself
    assert (bias.blobs["y"].diff == 2).all()
    bias.clear_param_diffs()
    assert not bias.params["layer"][0].diff.any()


HOOKED = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "out" type: "Power" bottom: "ip" top: "out" power_param { scale: 2 } }
"""


def test_functions_are_called_around_layers(tmp_path):
    (tmp_path / "net.prototxt").write_text(HOOKED)
    net, calls = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST), []
    net.params["ip"][0].data[...] = 1
    for hook in ("before_forward", "after_forward", "before_backward", "after_backward"):
        getattr(net, hook)(lambda i, hook=hook: calls.append((hook, i, net.blobs["ip"].data[0, 0])))
    net.forward(x=np.ones((1, 2)))
    net.backward()
    directions = [("forward", range(3)), ("backward", range(2, -1, -1))]
    expected = [
        (f"{moment}_{direction}", i)
        for direction, layers in directions
        for i in layers
        for moment in ("before", "after")
    ]
    assert [call[:2] for call in calls] == expected  # BVLC Caffe's order
    assert [value for *_, value in calls] == [0, 0, 0] + [2] * 9
    net.forward(start="out", end="out")
    assert [call[:2] for call in calls[12:]] == [("before_forward", 2), ("after_forward", 2)]
