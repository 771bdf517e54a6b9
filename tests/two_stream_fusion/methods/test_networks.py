import pytest
import torch
from caffe import device

from two_stream_fusion.methods import models, networks


@pytest.mark.parametrize(
    ("name", "kind"),
    [(None, "two_stream"), (models.FAST, "two_stream"), ("N-stream_f16_k3-stack", "multi_stream")],
)
def test_the_kind_of_a_network_is_known_before_it_is_opened(name, kind):
    net, weights = models.model_files(name or models.DEFAULT)
    assert networks.kind(name) == networks.kind(net=net, weights=weights) == kind


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"net": "x"}, "net and weights go together"),
        ({"net": "x", "weights": "y", "model": "z"}, "either a model"),
        ({"model": "cnn"}, "cnn is a model of cnn"),
        ({"model": "z"}, "no model 'z'"),
        ({"model": ""}, "no model ''"),
        ({"model": "../models/cnn"}, "no model '../models/cnn'"),
    ],
)
@pytest.mark.parametrize("function", [networks.kind, networks.open_network])
def test_arguments_that_name_no_network_are_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(**arguments)


def test_precision_and_device_are_those_of_the_last_network(monkeypatch):
    """Caffe keeps both: a network must not get those of the one before."""
    networks.open_network(models.FAST, precision="bfloat16")
    assert device.precision() == "bfloat16"
    monkeypatch.setattr(device, "_device", torch.device("cuda", 0))
    networks.open_network(models.FAST)
    assert device.precision() == "float32" and device.device() == torch.device("cpu")
