from pathlib import Path

import caffe
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tools import draw_net
from two_stream_fusion.methods import models

PROTOTXT = Path(draw_net.__file__).resolve().parents[1] / "prototxt"
FILES = sorted(PROTOTXT.glob("*/*.prototxt"))


def graph(path, *arguments):
    return draw_net.build_graph(models.read_prototxt(path, caffe_pb2.NetParameter()), *arguments)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_net_has_a_box_for_each_layer_below_what_it_reads(path):
    nodes = graph(path, "TRAIN", ["detail"])
    assert len(nodes) >= 5 and min(node.rank for node in nodes) == 0
    for node in nodes:
        assert all(bottom.rank < node.rank for bottom in node.bottoms)
    spots = {(node.rank, x) for node, x in draw_net.layout(nodes).items()}
    assert len(spots) == len(nodes)


def test_the_papers_net():
    nodes = graph(PROTOTXT / "2-1-2_f64_k5" / "deploy.prototxt")
    by_name = {node.text[0]: node for node in nodes}
    assert by_name["conv2_b"].text[1] == "Convolution 64, 5x5 + ReLU"
    assert by_name["deconv2"].text[1] == "Deconvolution 4, 5x5 + ReLU"
    assert [n.text[0] for n in by_name["concat"].bottoms] == ["conv2_a", "conv2_b"]
    assert by_name["deconv2"].rank == len(nodes) - 4  # a and b side by side, and each stream's two
    x = draw_net.layout(nodes)
    assert x[by_name["conv1_a"]] == x[by_name["a"]] == -0.5 and x[by_name["fusion"]] == 0


def test_phases_and_stages_choose_layers():
    net = models.read_prototxt(PROTOTXT / "srcnn" / "train_val.prototxt", caffe_pb2.NetParameter())
    data = [layer for layer in net.layer if layer.type == "HDF5Data"]
    for phase in ("TRAIN", "TEST"):
        (included,) = [layer for layer in data if draw_net.is_included(layer, phase, ["detail"])]
        assert "detail" in included.hdf5_data_param.source
    hidden = caffe_pb2.LayerParameter()
    hidden.exclude.add(phase=caffe_pb2.TEST)
    assert draw_net.is_included(hidden, "TRAIN", []) and not draw_net.is_included(hidden, "TEST", [])


RULES = {
    "": True,
    "include { phase: TEST }": True,
    "include { phase: TRAIN }": False,
    "include { min_level: 0 }": True,
    "include { min_level: 1 }": False,
    "include { min_level: -1 max_level: 1 }": True,
    "include { max_level: -1 }": False,
    'include { stage: "x" }': True,
    'include { stage: "x" stage: "y" }': False,
    'include { not_stage: "x" }': False,
    'include { not_stage: "y" }': True,
    'include { stage: "x" not_stage: "y" max_level: 0 }': True,
    'include { min_level: 1 } include { stage: "x" }': True,
    "exclude { phase: TEST }": False,
    "exclude { min_level: 1 }": True,
    "exclude { max_level: 0 }": False,
    'exclude { stage: "x" }': False,
    'exclude { stage: "x" not_stage: "x" }': True,
    'exclude { not_stage: "x" }': True,
    'exclude { stage: "y" } exclude { not_stage: "y" }': False,
}


@pytest.mark.parametrize("rules", RULES)
def test_all_rules_count(rules):
    """In phase TEST at level 0 and stage x; `caffe.Net` decides the same."""
    layer = text_format.Parse(f'name: "l" type: "Input" top: "l" {rules}', caffe_pb2.LayerParameter())
    assert draw_net.is_included(layer, "TEST", ["x"]) == RULES[rules]


def test_caffe_decides_by_the_same_rules(tmp_path):
    path = tmp_path / "n.prototxt"
    shape = "input_param { shape { dim: 1 } }"
    layers = (
        f'layer {{ name: "{i}" type: "Input" top: "{i}" {shape} {rules} }}' for i, rules in enumerate(RULES)
    )
    path.write_text("\n".join(layers))
    net = caffe.Net(str(path), caffe.TEST, stages=["x"])
    assert [str(i) in net.blobs for i in range(len(RULES))] == list(RULES.values())


def test_rules_of_both_kinds_are_refused(tmp_path):
    path = tmp_path / "n.prototxt"
    path.write_text('layer { name: "l" type: "Input" include { phase: TEST } exclude { stage: "x" } }')
    with pytest.raises(ValueError, match=r"n\.prototxt: layer 'l': give include rules or exclude rules, not"):
        draw_net.main([str(path), "-o", str(tmp_path / "n.png")])


def test_the_picture(tmp_path, capsys):
    out = tmp_path / "n.png"
    draw_net.main([str(PROTOTXT / "srcnn" / "train_val.prototxt"), "-o", str(out), "--stage", "detail"])
    assert out.read_bytes().startswith(b"\x89PNG")
    assert "srcnn, 7 boxes" in capsys.readouterr().out


def test_mistakes_are_reported(tmp_path):
    out = ["-o", str(tmp_path / "n.png")]
    with pytest.raises(FileNotFoundError):
        draw_net.main(["nothing.prototxt", *out])
    path = tmp_path / "x.prototxt"
    path.write_text('layer { name: "r" type: "ReLU" bottom: "x" top: "y" }')
    with pytest.raises(ValueError, match=r"x\.prototxt: layer 'r' reads 'x', which no earlier layer"):
        draw_net.main([str(path), *out])
    path.write_text("")
    with pytest.raises(ValueError, match="no layers in phase TEST"):
        draw_net.main([str(path), *out])
    path.write_text("nonsense")
    with pytest.raises(ValueError, match=r"x\.prototxt"):
        draw_net.main([str(path), *out])
