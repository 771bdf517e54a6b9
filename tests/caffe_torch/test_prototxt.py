"""Prototxt files, rules that choose layers, and the line that an error names."""

from pathlib import Path

import caffe
import pytest
from caffe import TEST, Net

from tests.caffe_torch.golden_layers import X
from tests.golden.layers import layer, one


def test_comments_may_be_of_any_encoding(tmp_path):
    """GBK, Latin-1 and a mixture, as with BVLC Caffe."""
    path = tmp_path / "net.prototxt"
    path.write_bytes(
        b"# \xb2\xe2\xca\xd4 \x93\x7b caf\xe9 \xe6\xb5\x8b\n" + X.encode() + b'name: "\xe6\xb5\x8b" # \xe9"\n'
    )
    assert caffe.Net(str(path), caffe.TEST).name == "\u6d4b"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a text file: it has the byte 0x1a"),
        (X.encode() + b"# \0", "not a text file: it has the byte 0x00"),
        (b'\nname: "caf\xe9"', "2: a value that is not UTF-8"),
    ],
)
def test_what_is_not_text_is_named(tmp_path, content, message):
    (tmp_path / "net.prototxt").write_bytes(content)
    with pytest.raises(ValueError, match=f"net.prototxt: {message}$"):
        caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)


@pytest.mark.parametrize("named", ["net.prototxt", "solver.prototxt"])
def test_the_line_of_a_layer_is_said(tmp_path, monkeypatch, named):
    """By a net and by a solver; comments and settings that look like the layer are not taken for it."""
    monkeypatch.chdir(tmp_path)
    text = """name: "odd"  # layer { name: "odd" }
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 1 } } }
layer {
  # }
  type: "LSTM"
  param { name: 'odd' }
  name:
    "odd"
  bottom: "x" top: "{"
}
"""
    Path("net.prototxt").write_text(text)
    Path("solver.prototxt").write_text('net: "net.prototxt" base_lr: 1 lr_policy: "fixed" max_iter: 1')
    with pytest.raises(
        ValueError, match=r"net\.prototxt: line 3: layer 'odd' \(LSTM\): layer type 'LSTM' is not"
    ):
        caffe.Net(named, caffe.TRAIN) if named == "net.prototxt" else caffe.get_solver(named)


def test_of_layers_of_one_name_the_phase_tells_the_line(net):
    data = 'layer {{ name: "data" type: "{}" top: "x" include {{ phase: {} }} }}\n'
    with pytest.raises(ValueError, match=r"net\.prototxt: line 2: layer 'data' \(LSTM\)"):
        net(data.format("Input", "TRAIN") + data.format("LSTM", "TEST"))


def test_the_line_of_a_layer_is_named(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(one("Tile", "tile_param { tiles: 0 }", force=False))
    with pytest.raises(ValueError, match=r"net.prototxt: line 2: layer 'layer' \(Tile\): tile_param.tiles"):
        Net(str(path), TEST)


def test_rules_choose_layers_by_phase_level_and_stage(net):
    text = X + "".join(
        layer("ReLU", f"include {{ {rule} }}", tops=name, name=name)
        for name, rule in {
            "train": "phase: TRAIN",
            "test": "phase: TEST",
            "high": "min_level: 2",
            "low": "max_level: 1",
            "deploy": 'stage: "deploy"',
            "learn": 'not_stage: "deploy"',
        }.items()
    )
    assert net(text).outputs == ["learn", "low", "test"]
    assert net(text, caffe.TRAIN, level=2, stages=["deploy"]).outputs == ["deploy", "high", "train"]
