"""Pictures of nets."""

import importlib.util
from pathlib import Path

import pytest
from caffe import draw
from caffe.proto import caffe_pb2

from tests.caffe_torch.helpers import file_size_limit
from tests.golden import pycaffe as script


@pytest.mark.skipif(importlib.util.find_spec("pydot") is not None, reason="pydot is here")
def test_drawing_without_pydot_says_what_to_install(tmp_path):
    with pytest.raises(ValueError, match="pip install pydot"):
        draw.draw_net_to_file(script.classifier(1), str(tmp_path / "net.png"))
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_written_leaves_the_one_before(monkeypatch, tmp_folder):
    monkeypatch.setattr(draw, "draw_net", lambda *_: bytes(2000))
    Path("net.png").write_bytes(b"before")
    with file_size_limit(1000), pytest.raises(OSError, match=r"File too large .*: 'net\.png'"):
        draw.draw_net_to_file(caffe_pb2.NetParameter(), "net.png")
    assert [path.name for path in tmp_folder.glob("*net.png*")] == ["net.png"]
    assert Path("net.png").read_bytes() == b"before"
