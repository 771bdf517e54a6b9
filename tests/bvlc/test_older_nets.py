"""Nets of 2013 and 2014, upgraded by BVLC Caffe and by caffe_torch: the same nets, log lines and numbers."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from caffe import upgrade, upgrade_v0
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tests.bvlc.conftest import BVLC, ROOT, run

pytestmark = pytest.mark.bvlc

V0 = ROOT / "tests/caffe_torch/golden/v0.prototxt"
FILLER = '{ type: "gaussian" std: 0.25 sparse: 3 }'


def their_upgrade(path):
    """What BVLC's upgrade_net_proto_text makes of a file: the net, and its lines of level ERROR."""
    lib = BVLC.parent / "usr/lib/x86_64-linux-gnu"
    folders = f"{lib}/openblas-pthread:{lib}:{BVLC.parent}/lib/x86_64-linux-gnu:{BVLC.parent}/usr/lib"
    env = {**os.environ, "LD_LIBRARY_PATH": folders, "GLOG_logtostderr": "1", "GLOG_minloglevel": "0"}
    command = [BVLC.parent / "usr/bin/upgrade_net_proto_text", path, "upgraded.prototxt"]
    done = subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True, timeout=60)
    assert "Wrote upgraded" in done.stderr, done.stderr
    net = text_format.Parse(Path("upgraded.prototxt").read_text(), caffe_pb2.NetParameter())
    return net, errors_of(done.stderr)


def errors_of(log):
    return [line for line in re.findall(r"(?m)^E.*?\] (.*)", log) if " above" not in line]


def all_fields(message):
    """A layer of a type of 2013 with every field, most of which no single type has."""
    values = {"weight_filler": FILLER, "bias_filler": FILLER, "blobs": "{ num: 1 data: 3 data: 4 }"}
    values["hdf5_output_param"] = '{ file_name: "f" }'
    text = f'name: "n {message}" type: "{message}" '
    for i, field in enumerate(caffe_pb2.V0LayerParameter.DESCRIPTOR.fields):
        if field.name in ("name", "type"):
            continue
        value = {field.TYPE_STRING: f'"s{i}"', field.TYPE_BOOL: "true", field.TYPE_ENUM: "AVE"}.get(
            field.type
        )
        text += f"{field.name}: {values.get(field.name, value or i)} "
    return text


def test_every_field_of_every_type_of_2013(both, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    text = 'name: "n" input: "x" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4 force_backward: true\n'
    for layer_type in upgrade_v0._TYPES:
        text += f'layers {{ layer {{ {all_fields(layer_type)} }} bottom: "x" top: "{layer_type}" }}\n'
        text += f'layers {{ layer {{ name: "bare" type: "{layer_type}" }} top: "x" }}\n'
    text += 'layers { layer { name: "p" type: "padding" pad: 7 } bottom: "x" top: "p" }\n'
    for layer_type in ("conv", "pool"):
        text += f'layers {{ layer {{ type: "{layer_type}" }} bottom: "p" top: "p {layer_type}" }}\n'
    (tmp_path / "old.prototxt").write_text(text)
    theirs, their_errors = their_upgrade("old.prototxt")
    ours = text_format.Parse(text, caffe_pb2.NetParameter())
    capfd.readouterr()
    upgrade.net(ours)
    assert len(theirs.layer) == 2 * len(upgrade_v0._TYPES) + 3
    assert ours == theirs
    assert errors_of(capfd.readouterr().err) == their_errors
    assert len(their_errors) > 500


def test_data_layers_of_before_2014(both, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = 'source: "s" scale: 2 mean_file: "m" crop_size: 3 mirror: true batch_size: 5'
    text = "".join(
        f'layers {{ name: "{kind}" type: {kind} top: "{kind}" {kind.lower()}_param {{ {old} }} }}\n'
        for kind in ("DATA", "IMAGE_DATA", "WINDOW_DATA")
    )
    (tmp_path / "old.prototxt").write_text(text)
    ours = text_format.Parse(text, caffe_pb2.NetParameter())
    upgrade.net(ours)
    assert ours == their_upgrade("old.prototxt")[0]


SCRIPT = """
import sys, caffe, numpy as np
from google.protobuf import text_format
caffe.init_log(0, True)
stored = caffe.proto.caffe_pb2.NetParameter()
text_format.Parse(open(sys.argv[1]).read(), stored)
random = np.random.RandomState(0)
shapes = {"c1": [(6, 2, 3, 3), (1, 1, 1, 6)], "c2": [(2, 4, 5, 5)], "fc": [(1, 1, 3, 72), (1, 1, 1, 3)]}
for old in stored.layers:
    for shape in shapes.get(old.layer.name, ()):
        blob = dict(zip(("num", "channels", "height", "width"), shape))
        old.layer.blobs.add(data=random.standard_normal(np.prod(shape)), **blob)
open(sys.argv[2] + ".caffemodel", "wb").write(stored.SerializeToString())
open("solver.prototxt", "w").write(f'net: "{sys.argv[1]}" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9')
solver = caffe.get_solver("solver.prototxt")
net = solver.net
net.copy_from(sys.argv[2] + ".caffemodel")
net.blobs["x"].data[...] = random.standard_normal(net.blobs["x"].data.shape)
net.blobs["t"].data[...] = np.array([0, 1, 2, 1]).reshape(4, 1, 1, 1)
losses = []
for _ in range(6):
    solver.step(1)
    losses.append(float(net.blobs["loss"].data))
filters = {"c1": net.params["c1"][0].data, "c2": net.params["c2"][0].diff}
np.savez(sys.argv[2], losses=losses, s=net.blobs["s"].data, **filters)
"""


def test_a_net_and_weights_of_2013_train_alike(both, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLOG_minloglevel", "0")
    logs = {name: run([folder / "python", "-c", SCRIPT, V0, name]) for name, folder in both.items()}
    theirs, ours = (
        [line for line in re.findall(r"(?m)^[IWE]\d{4} .*?\] (.*)", logs[name]) if "pgrad" in line]
        for name in both
    )
    assert len(theirs) == 14
    assert [line.replace("torch.", "bvlc.") for line in ours] == theirs
    theirs, ours = (np.load(f"{name}.npz") for name in both)
    assert np.ptp(theirs["losses"]) > 0.1
    for what in theirs:
        np.testing.assert_allclose(ours[what], theirs[what], rtol=1e-4, atol=1e-6, err_msg=what)
