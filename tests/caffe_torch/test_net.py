"""What a net refuses and how it says so; which layers run backward; what splits, shares and weighs."""

import caffe
import numpy as np
import pytest

from tests.caffe_torch.golden_layers import (
    FC,
    assert_golden_numbers,
    assert_refused,
    cases_of,
    net_with,
)
from tests.golden.layers import inputs, layer


@pytest.mark.parametrize("case", cases_of("net"))
def test_forward_and_backward(case):
    assert_golden_numbers(case)


REFUSED = {
    "unknown type": (net_with("LSTM"), "layer type 'LSTM' is not supported"),
    "unknown field": (net_with("ReLU", "relu_param { nosuch: 1 }"), '4:70.*no field named "nosuch"'),
    "unknown layer field": (net_with("ReLU", "nosuch: 1"), 'no field named "nosuch"'),
    "too few bottoms": (net_with("EuclideanLoss"), "has 1 bottoms, needs 2"),
    "too many bottoms": (net_with("ReLU", bottoms="x w"), "has 2 bottoms, needs 1"),
    "too many tops": (net_with("ReLU", tops="y z"), "has 2 tops, needs 1"),
    "unknown bottom": (net_with("ReLU", bottoms="q"), "no layer before it has the top 'q'"),
    "top twice": (net_with("ReLU", tops="w"), "top 'w' is already the top of another layer"),
    "in place": (net_with("AbsVal", tops="x"), "cannot work in place"),
    "in place of another bottom": (net_with("Scale", bottoms="x w", tops="w"), "top 'w' is already"),
    "loss weights": (net_with("ReLU", "loss_weight: 1 loss_weight: 1"), "give one for each of the 1 tops"),
    "param entries": (net_with("ReLU", "param { lr_mult: 1 }"), "1 param entries for 0 parameters"),
    "no layers": ("", "net.prototxt: no layers in phase TEST"),
    "no layers left": (
        'layer { name: "x" type: "Input" top: "x" include { phase: TRAIN } }',
        "no layers in phase TEST",
    ),
    "propagate_down": (
        net_with("ReLU", "propagate_down: true propagate_down: true"),
        "a value for each bottom",
    ),
    "rules": (net_with("ReLU", "include { phase: TEST } exclude { phase: TRAIN }"), "not both"),
    "too many numbers": (inputs(x=(2**40, 2**40)), "takes 4503599627370496 GiB; there are"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_file_the_layer_and_the_reason(case, tmp_path):
    assert_refused(*REFUSED[case], tmp_path)


def test_inputs_are_anything_like_an_array(net):
    n = net(FC)
    n.params["fc"][0].data[...] = 1
    assert n.forward(x=[[1, 2, 3]] * 4)["y"].tolist() == [[6, 6]] * 4
    for array, message in (([[1, 2, 3]], "1 rows given, the net takes 4"), (3, "no rows given")):
        with pytest.raises(ValueError, match=f"input 'x': {message}"):
            n.forward(x=array)


def test_arrays_that_do_not_fit_are_named(net):
    n = net(FC)
    for call, message in (
        (
            lambda: n.forward(x=np.zeros((4, 5))),
            r"^input 'x': could not broadcast .*\(4,5\) into shape \(4,3\)$",
        ),
        (lambda: n.backward(y=np.zeros((4, 5))), r"^gradient of 'y': could not broadcast .*\(4,2\)$"),
        (lambda: n.backward(start="x", y=0), r"^gradients given: \['y'\]; the outputs: \['x'\]$"),
        (lambda: n.forward_all(x=np.zeros((0, 3))), "^no rows given$"),
        (n.forward_all, "^no rows given$"),
        (n.forward_backward_all, "^no rows given$"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_shapes_that_no_longer_fit_are_named(net):
    inner = net(net_with("InnerProduct", "inner_product_param { num_output: 2 }"))
    inner.blobs["x"].reshape(2, 3, 4, 6)
    with pytest.raises(
        ValueError, match=r"layer 'layer' .InnerProduct.: .* has not 60 values from axis 1 on"
    ):
        inner.reshape()
    with pytest.raises(
        ValueError, match=r"layer 'layer' .InnerProduct.: .* has not 60 values from axis 1 on"
    ):
        inner.forward()


def test_a_loss_without_a_top_counts_and_is_no_output(net):
    euclid = net(inputs(a=(2, 3), b=(2, 3)) + layer("EuclideanLoss", "", "a b", ""))
    euclid.blobs["a"].data[...] = 2
    assert euclid.outputs == []
    assert float(euclid.forward_loss()) == pytest.approx(2 * 3 * 4 / 4)


def test_weights_of_a_layer_with_a_top_read_further(net):
    """BVLC Caffe's: they go to the splits, those of other tops are lost, and a loss counts as 1 besides."""
    text = inputs(x=(4, 3), y=(4, 3)) + layer("EuclideanLoss", "loss_weight: 2", "x y", "loss", "loss")
    text += layer("Power", "", "loss", "again", "again") + layer("Power", "", "half", "more", "more")
    slices = "loss_weight: 3 loss_weight: 5 slice_param { slice_point: 1 }"
    weighed = net(
        text.replace(
            'layer { name: "more"', layer("Slice", slices, "x", "half rest") + 'layer { name: "more"'
        )
    )
    weighed.blobs["x"].data[...] = 1
    weighed.blobs["y"].data[...] = 3
    assert weighed.forward()["again"] == 6
    assert weighed.forward_loss() == 2 * 6 + 1 * 6 + 3 * 4


def test_loss_weights_outlive_a_reshape(net):
    weighed = net("force_backward: true " + inputs(x=(1, 3)) + layer("Power", "loss_weight: 3"))
    weighed.blobs["x"].reshape(4, 5)
    weighed.reshape()
    weighed.forward()
    assert (weighed.backward()["x"] == np.full((4, 5), 3)).all()


TWICE = """
name: "dup" input: "data" input_shape { dim: 1 dim: 3 }
layer { name: "twice" type: "ReLU" bottom: "data" top: "a" }
layer { name: "twice" type: "%s" bottom: "a" top: "b" %s }
"""


def test_layers_of_one_name_unless_both_have_parameters(tmp_path):
    """As in mnist_autoencoder's and HED's files; BVLC Caffe builds them."""
    path, weights = tmp_path / "net.prototxt", str(tmp_path / "w.caffemodel")
    path.write_text(TWICE % ("InnerProduct", "inner_product_param { num_output: 2 }"))
    net = caffe.Net(str(path), caffe.TEST)
    assert net.layer_names == ["input", "twice", "twice"] and list(net.params) == ["twice"]
    net.params["twice"][0].data[...] = 3
    net.save(weights)
    assert np.all(caffe.Net(str(path), weights, caffe.TEST).params["twice"][0].data == 3)
    path.write_text(path.read_text().replace("ReLU", "PReLU"))
    with pytest.raises(ValueError, match=r"line 3 or 4: layer 'twice' .*both have parameters"):
        caffe.Net(str(path), caffe.TEST)


def test_an_input_without_a_shape_is_dropped(tmp_path):
    path = tmp_path / "net.prototxt"
    layers = (
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }'
        'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    )
    path.write_text(f'input: "x" {layers}')
    assert caffe.Net(str(path), caffe.TEST).blobs["y"].shape == (1, 3)
    path.write_text('input: "x" layer { name: "r" type: "ReLU" bottom: "x" top: "y" }')
    with pytest.raises(ValueError, match="no layer before it has the top 'x'"):
        caffe.Net(str(path), caffe.TEST)


def test_a_gradient_of_other_rows_is_refused(tmp_path):
    path = tmp_path / "net.prototxt"
    relu = 'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    path.write_text(f'force_backward: true input: "x" input_shape {{ dim: 2 dim: 3 }} {relu}')
    net = caffe.Net(str(path), caffe.TRAIN)
    net.forward(x=np.ones((2, 3)))
    with pytest.raises(ValueError, match="gradient of 'y': 1 rows given, the net takes 2"):
        net.backward(y=np.ones((1, 3)))


def test_backward_before_forward_is_at_what_the_blobs_hold(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(
        TWICE % ("InnerProduct", "inner_product_param { num_output: 2 }") + "force_backward: true"
    )
    net = caffe.Net(str(path), caffe.TRAIN)
    net.params["twice"][0].data[...] = 2
    net.blobs["a"].data[...] = 3
    net.blobs["b"].diff[...] = 1
    net._backward(2, 2)
    assert np.all(net.blobs["a"].diff == 4) and np.all(net.params["twice"][0].diff == 3)
