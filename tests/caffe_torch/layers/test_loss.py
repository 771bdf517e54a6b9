"""EuclideanLoss, cross entropies, Accuracy and ArgMax."""

import numpy as np
import pytest
from caffe import device

from tests.caffe_torch.golden_layers import (
    assert_golden_numbers,
    assert_refused,
    cases_of,
    net_with,
)
from tests.golden.layers import inputs, layer


@pytest.mark.parametrize("case", cases_of("loss"))
def test_forward_and_backward(case):
    assert_golden_numbers(case)


REFUSED = {
    "euclidean": (net_with("EuclideanLoss", bottoms="x w"), "differ in size"),
    "softmax loss rows": (
        inputs(w=(2, 3), label=(3,)) + layer("SoftmaxWithLoss", "softmax_param { axis: 0 }", "w label"),
        "2 rows of scores and 3",
    ),
    "softmax loss of a scalar": (
        inputs(w=(2, 3), label=()) + layer("SoftmaxWithLoss", "", "w label"),
        "2 rows of scores and no of labels",
    ),
    "softmax loss": (net_with("SoftmaxWithLoss", bottoms="x label"), "need 40 labels, not 2"),
    "sigmoid loss": (net_with("SigmoidCrossEntropyLoss", bottoms="x w"), "differ in size"),
    "accuracy": (net_with("Accuracy", "accuracy_param { top_k: 4 }", "w label"), "top_k 4 is more than 3"),
    "argmax": (net_with("ArgMax", "argmax_param { axis: 1 top_k: 4 }"), "not in 1 .. 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_file_the_layer_and_the_reason(case, tmp_path):
    assert_refused(*REFUSED[case], tmp_path)


@pytest.mark.parametrize("layer_type", ["SoftmaxWithLoss", "Accuracy"])
@pytest.mark.parametrize("label", [3, -1])
def test_a_label_that_is_no_class_is_found(net, layer_type, label):
    loss = net(inputs(w=(2, 3), label=(2,)) + layer(layer_type, "", "w label"))
    loss.blobs["label"].data[...] = label, 0
    if device.device().type == "cuda":  # it cannot raise
        (value,) = loss.forward().values()
        assert np.isnan(value)
        return
    message = rf"^layer 'layer' \({layer_type}\): the label {label} is not one of 3 classes, 0 to 2$"
    with pytest.raises(ValueError, match=message):
        loss.forward()


def test_the_softmax_of_a_loss_is_its_second_top(net):
    text = inputs(w=(2, 3), label=(2,)) + layer("SoftmaxWithLoss", "", "w label", "loss p")
    loss = net(text)
    loss.blobs["w"].data[...] = [[1, 2, 3], [0, 0, 0]]
    out = loss.forward()
    expected = np.exp([[1, 2, 3], [0, 0, 0]])
    np.testing.assert_allclose(out["p"], expected / expected.sum(1, keepdims=True), rtol=1e-6)
    assert loss.blob_loss_weights["p"] == 0
