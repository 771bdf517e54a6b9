"""Nets of one layer in text form, and BVLC Caffe's numbers for them, by the source file of the layer."""

import functools
from pathlib import Path

import numpy as np
import pytest
from caffe import TEST, Net, layers
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tests.golden import layers as first_script
from tests.golden import more_layers as second_script
from tests.golden.layers import inputs, layer

SCRIPTS = (first_script, second_script)
CASES = {**first_script.CASES, **second_script.CASES}
# About the net around the layers; not a layer.
_NET_CASES = ("interleave", "shared", "weighed", "split_three", "in_place", "stopped", "frozen")


def _load():
    """{case: {what: array}}, BVLC Caffe's."""
    numbers = {}
    for script in SCRIPTS:
        for key, array in np.load(Path(script.__file__).with_suffix(".npz")).items():
            case, array_name = key.split("/")
            numbers.setdefault(case, {})[array_name] = array
    return numbers


_GOLDEN = _load()


@functools.lru_cache(None)
def source_of(case: str) -> str:
    """The source file of the layer that a case is about, without .py; "net" where it is about the net."""
    if case in _NET_CASES:
        return "net"
    specs = text_format.Parse(CASES[case], caffe_pb2.NetParameter()).layer
    name = "learned" if case == "parameter" else "layer"
    (layer_type,) = (spec.type for spec in specs if spec.name == name)
    return layers._REGISTRY[layer_type].__module__.rpartition(".")[2]


def cases_of(name: str) -> list:
    """The cases of a source file, which `source_of` names."""
    return [case for case in CASES if source_of(case) == name]


def assert_golden_numbers(case: str) -> None:
    """One forward and backward pass gives BVLC Caffe's numbers."""
    ours = first_script.run(CASES[case])
    assert set(ours) == set(_GOLDEN[case])
    for array_name, array in ours.items():
        assert array.shape == _GOLDEN[case][array_name].shape, array_name
        np.testing.assert_allclose(array, _GOLDEN[case][array_name], rtol=1e-5, atol=2e-6, err_msg=array_name)


X = inputs(x=(2, 3, 4, 5))
FC = inputs(x=(4, 3)) + layer("InnerProduct", "inner_product_param { num_output: 2 }", name="fc")


def net_with(layer_type, settings="", bottoms="x", tops="y"):
    """A net in text form: inputs x, w and label, and a layer that reads some of them."""
    return X + inputs(w=(2, 3), label=(2,)) + layer(layer_type, settings, bottoms, tops)


def net_of(text: str) -> Net:
    """The net of a text, without a file."""
    return Net(text_format.Parse(text, caffe_pb2.NetParameter()), TEST)


def assert_refused(text: str, reason: str, folder: Path) -> None:
    """The net of a file with this text is refused in one line that names the file and the layer."""
    path = folder / "net.prototxt"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason) as caught:
        Net(str(path), TEST)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    assert "layer" in message or "no field" in message
