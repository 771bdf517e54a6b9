"""stack/fuse_network.py: aligned images by the network, folded or selected."""

import contextlib
from pathlib import Path

import caffe
import numpy as np
import pytest

from tests.golden import nets
from two_stream_fusion.methods.two_stream import TwoStream
from two_stream_fusion.stack import depth_edges, fuse_network
from two_stream_fusion.stack.blend import blend_frames

DEPLOY = Path(__file__).resolve().parents[3] / "prototxt/2-1-2_f32_k3/deploy.prototxt"


def image(seed, shape=(45, 61, 3), dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def larger(a, b, **_):
    """A net that knows the truth where photographs are darker out of focus."""
    return np.maximum(a, b)


larger.receptive_field_radius = 0


@pytest.mark.parametrize("count", [2, 4])
def test_selected_pixels_say_where_they_are_from(count):
    """Each of the images is sharp in a strip of its own."""
    truth = image(0, (40, 160))
    strip = np.arange(160) * count // 160
    stack = [np.where(strip == i, truth, truth // 3) for i in range(count)]
    fused, choice = fuse_network.fuse_by_network(larger, stack, refine="select")
    assert choice.dtype == np.uint16
    middle = (np.arange(160) % 40 >= 12) & (np.arange(160) % 40 < 28)
    np.testing.assert_array_equal(choice[:, middle], np.tile(strip, (40, 1))[:, middle])
    np.testing.assert_array_equal(fused[:, middle], truth[:, middle])


def test_depth_edges_have_the_networks_image_of_all_frames(tmp_path, monkeypatch):
    """As if the whole images were fused in a tree, though only the squares near the edge are computed."""
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    nets.set_weights(net)  # not trained, but not trivial either
    net.save(str(tmp_path / "w.caffemodel"))
    net = TwoStream(DEPLOY, tmp_path / "w.caffemodel")
    monkeypatch.setattr(fuse_network, "EDGE_TILE", 40)
    stack = [image(i, (60, 300)) for i in range(4)]
    choice = np.zeros((60, 300), np.uint16)
    choice[:, 50:] = 3
    monkeypatch.setattr(fuse_network, "select_frames", lambda *_, **__: choice)
    squares = []

    @contextlib.contextmanager
    def progress(stage, total, unit):
        squares.append((stage, total))
        yield iter

    fused, _ = fuse_network.fuse_by_network(net, stack, refine="select", progress=progress)
    chosen = blend_frames(stack, choice)
    whole = depth_edges.fuse_tree(net, stack)
    weight = depth_edges.edge_weight(choice, 4)
    np.testing.assert_array_equal(fused, depth_edges.blend_network(chosen, whole, stack, weight))
    assert (fused[:, 40:60] != chosen[:, 40:60]).any()
    assert squares == [("fusing", 3), ("depth edges", 2 * 2 * 3)]  # 2 of 8 columns


@pytest.mark.parametrize(("count", "refine", "words"), [(1, "none", "two images"), (2, "best", "'best'")])
def test_wrong_folds_are_refused(count, refine, words):
    with pytest.raises(ValueError, match=words):
        fuse_network.fuse_by_network(larger, [image(0)] * count, refine=refine)


def test_two_images_are_fused_and_more_are_selected():
    assert [fuse_network.resolve_refine(None, count) for count in (2, 3, 9)] == ["none", "select", "select"]
    assert fuse_network.resolve_refine("select", 2) == "select"
    assert fuse_network.resolve_refine("none", 3) == "none"
