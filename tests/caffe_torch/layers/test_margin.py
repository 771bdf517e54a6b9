"""ContrastiveLoss, HingeLoss, MultinomialLogisticLoss and InfogainLoss."""

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from tests.caffe_torch.golden_layers import (
    assert_golden_numbers,
    cases_of,
    net_of,
)
from tests.golden.layers import one


@pytest.mark.parametrize("case", cases_of("margin"))
def test_forward_and_backward(case):
    assert_golden_numbers(case)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (one("ContrastiveLoss", x=(2, 3), w=(2, 4), label=(2,)), r"\(2, 3\) and \(2, 4\)"),
        (one("ContrastiveLoss", x=(2, 3), w=(2, 3), label=(3,)), "3 labels for 2 pairs"),
        (one("HingeLoss", x=(2, 3), label=(3,)), "need a label a row, not 3"),
        (one("MultinomialLogisticLoss", x=(2, 3), label=(3,)), "need a label a row, not 3"),
        (one("InfogainLoss", x=(2, 3), label=(2,)), "infogain_loss_param.source must be given"),
        (one("InfogainLoss", x=(2, 3), label=(2,), w=(2, 2)), r"shape \(2, 2\) for 3 classes"),
        (one("InfogainLoss", "loss_param { normalize: true }", x=(2, 3), label=(2,), w=(3, 3)), "normalize"),
    ],
)
def test_what_does_not_fit_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        net_of(text)


@pytest.mark.parametrize(
    ("text", "value", "message"),
    [
        (one("HingeLoss", x=(2, 3), label=(2,)), 3, "label 3 is not one of 3 classes"),
        (one("MultinomialLogisticLoss", x=(2, 3), label=(2,)), 5, "label 5 is not one of 3 classes"),
        (one("InfogainLoss", x=(2, 3), label=(2,), w=(3, 3)), 4, "label 4 is outside 0 to 2"),
    ],
)
def test_numbers_outside_their_range_are_named(text, value, message):
    built = net_of(text.replace("force_backward: true\n", ""))
    built.blobs["label"].data[0] = value
    with pytest.raises(ValueError, match=f"layer 'layer' .*{message}"):
        built.forward()


def test_infogain_reads_its_matrix_from_a_file(tmp_path):
    gains = np.random.default_rng(1).random((1, 1, 3, 3), np.float32)
    path = tmp_path / "gains.binaryproto"
    path.write_bytes(caffe_pb2.BlobProto(shape={"dim": gains.shape}, data=gains.ravel()).SerializeToString())
    scores = np.random.default_rng(2).random((4, 3), np.float32)
    of_file = net_of(one("InfogainLoss", f'infogain_loss_param {{ source: "{path}" }}', x=(4, 3), label=(4,)))
    of_blob = net_of(one("InfogainLoss", x=(4, 3), label=(4,), w=(1, 1, 3, 3), force=False))
    input_arrays = {"x": scores, "label": np.array([0, 1, 2, 1], np.float32)}
    assert of_file.forward(**input_arrays)["y"] == of_blob.forward(**input_arrays, w=gains)["y"]
