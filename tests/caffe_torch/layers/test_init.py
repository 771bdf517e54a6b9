"""The registry of layers, and what all layers have in common."""

import os
import subprocess
import sys
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe import layers

from tests.caffe_torch.golden_layers import CASES, FC, SCRIPTS, source_of
from tests.caffe_torch.helpers import readme_layers
from tests.golden import layers as golden


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_every_case_has_golden_numbers(script):
    stored = {key.split("/")[0] for key in np.load(Path(script.__file__).with_suffix(".npz"))}
    assert stored == set(script.CASES)


def test_every_golden_case_is_in_a_test_file():
    """`cases_of` names the source file, and the test file of that file runs its cases."""
    for name in {source_of(case) for case in CASES} - {"net"}:
        assert f'cases_of("{name}")' in Path(__file__).with_name(f"test_{name}.py").read_text()


@pytest.mark.parametrize("number", ["BNLL", "IM2COL", "THRESHOLD", "MVN", "CONTRASTIVE_LOSS", "HINGE_LOSS"])
def test_types_by_number_are_of_before_2015(number):
    assert number.replace("_", "") in {name.upper() for name in layers.type_list()}


def test_layers_are_listed_as_caffe_names_them():
    assert {"Convolution", "PReLU", "InnerProduct", "TanH", "ELU"} <= set(caffe.layer_type_list())
    assert caffe.__version__ == "1.0.0"


@pytest.mark.parametrize(
    ("layer_type", "message"),
    [
        ("LSTM", "^layer type 'LSTM' is not supported: recurrent nets .* Python layer .* or use BVLC Caffe$"),
        ("LSTMUnit", "recurrent nets are outside the scope"),
        ("RNN", "recurrent nets are outside the scope"),
        ("Convolutoin", "^layer type 'Convolutoin' is not supported; the nearest are Convolution, Deconvol"),
        ("relu", "the nearest are ReLU, "),
        ("SoftmaxLoss", "the nearest are .*SoftmaxWithLoss"),
        ("PSROIPooling", "; if it is a type of another Caffe fork, write it as a Python layer "),
        ("Zzz", "^layer type 'Zzz' is not supported; if it is a type of another Caffe fork, write it as"),
        ("", "^type must be given$"),
    ],
)
def test_a_type_that_is_refused_says_what_to_do_instead(layer_type, message):
    with pytest.raises(ValueError, match=message):
        layers.create(caffe.proto.caffe_pb2.LayerParameter(name="odd", type=layer_type), caffe.TEST)


def test_the_readme_lists_the_layers():
    assert readme_layers()["yes"] == caffe.layer_type_list()
    assert readme_layers()["no"] == sorted(layers._RECURRENT)


def test_the_shapes_said_are_those_computed(net):
    for text in golden.CASES.values():
        built = net(text, caffe.TRAIN if "phase: TRAIN" in text else caffe.TEST)
        declared = {name: blob.shape for name, blob in built.blobs.items()}
        for name in built.inputs:
            built.blobs[name].data[...] = 1
        built.forward()
        assert {name: blob.shape for name, blob in built.blobs.items()} == declared, text


def test_building_a_net_does_not_load_pytorchs_compiler():
    """It takes seconds, which every command would begin with."""
    script = (
        "import sys, caffe; from google.protobuf import text_format; from tests.golden import layers\n"
        "for text in layers.CASES.values():\n"
        "    net = text_format.Parse(text, caffe.proto.caffe_pb2.NetParameter())\n"
        "    caffe.Net(net, net.state.phase)\n"
        "    assert not {'torch._dynamo', 'sympy'} & set(sys.modules), text"
    )
    root = Path(__file__).resolve().parents[3]
    path = os.pathsep.join([str(root), *sys.path])
    subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, check=True)


def test_a_layer_goes_on_with_a_parameter_of_another_shape(net):
    n = net(FC)
    w = n.params["fc"][0]
    w.data[...] = np.arange(6).reshape(2, 3)
    w.reshape(2, 3, 1, 1)
    assert w.data.ravel().tolist() == [0, 1, 2, 3, 4, 5]
    n.blobs["x"].data[...] = 1
    n.reshape()
    assert n.forward()["y"].tolist() == [[3, 12]] * 4
    w.reshape(2, 2)
    with pytest.raises(ValueError, match=r"layer 'fc' .*shapes \[\(2, 2\), \(2,\)\] now.*\(2, 3\)"):
        n.forward()
