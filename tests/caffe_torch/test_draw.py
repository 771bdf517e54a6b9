"""Pictures of nets."""

import importlib.util
import shutil
import sys
import types
from pathlib import Path

import caffe
import pytest
from caffe import draw
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tests.caffe_torch.helpers import file_size_limit
from tests.golden import pycaffe as script
from tests.golden.layers import inputs, layer


@pytest.mark.skipif(importlib.util.find_spec("pydot") is not None, reason="pydot is here")
def test_drawing_without_pydot_says_what_to_install(tmp_path):
    with pytest.raises(ValueError, match="pip install pydot"):
        draw.draw_net_to_file(script.classifier(1), str(tmp_path / "net.png"))
    assert not list(tmp_path.iterdir())


class FakePydot(types.ModuleType):
    """What draw.py uses of pydot: nodes and edges are tuples, a graph collects them."""

    class Dot:
        def __init__(self, name, **options):
            self.name, self.nodes, self.edges = name, [], []
            self.add_node, self.add_edge = self.nodes.append, self.edges.append

    @staticmethod
    def Node(name, label, **options):
        return name, label

    @staticmethod
    def Edge(start, end, label="", **options):
        return start, end, label or options["dir"]


def test_layers_and_blobs_are_nodes(monkeypatch):
    """One edge both ways for a blob changed in place; without the layers of the other phase."""
    monkeypatch.setitem(sys.modules, "pydot", FakePydot("pydot"))
    text = inputs(x=(1, 3)) + layer("InnerProduct", "inner_product_param { num_output: 2 }", name="fc")
    text += layer("ReLU", "include { phase: TEST }", "y", "y", name="relu")
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    fc = [("x_Input", "x_blob", '""'), ("x_blob", "fc_InnerProduct", "forward")]
    fc.append(("fc_InnerProduct", "y_blob", '"2"'))
    graph = draw.get_pydot_graph(net, phase=caffe.TRAIN)
    assert graph.edges == fc
    assert dict(graph.nodes)["fc_InnerProduct"] == '"fc\\n(InnerProduct)"'
    assert draw.get_pydot_graph(net).edges == [*fc, ("y_blob", "relu_ReLU", "both")]


def test_a_picture_that_cannot_be_written_leaves_the_one_before(monkeypatch, tmp_folder):
    monkeypatch.setattr(draw, "draw_net", lambda *_: bytes(2000))
    Path("net.png").write_bytes(b"before")
    with file_size_limit(1000), pytest.raises(OSError, match=r"File too large .*: 'net\.png'"):
        draw.draw_net_to_file(caffe_pb2.NetParameter(), "net.png")
    assert [path.name for path in tmp_folder.glob("*net.png*")] == ["net.png"]
    assert Path("net.png").read_bytes() == b"before"


@pytest.mark.skipif(
    not (importlib.util.find_spec("pydot") and shutil.which("dot")), reason="no pydot or Graphviz"
)
@pytest.mark.parametrize("name", ["2-1-2_f64_k5/train_val", "srcnn/deploy"])
def test_graphviz_draws_a_net(name):
    net = caffe_pb2.NetParameter()
    text_format.Parse((Path(__file__).parents[2] / f"prototxt/{name}.prototxt").read_text(), net)
    assert draw.draw_net(net, "LR").startswith(b"\x89PNG")
