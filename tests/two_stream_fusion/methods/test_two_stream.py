import re
from pathlib import Path

import caffe
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.golden import nets
from two_stream_fusion.methods.two_stream import TwoStream, from_channels, receptive_field_radius, to_channels

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """The fast net with weights that are not trained, but not trivial either."""
    deploy = ROOT / "prototxt/2-1-2_f32_k3/deploy.prototxt"
    weights = tmp_path_factory.mktemp("weights") / "w.caffemodel"
    network = caffe.Net(str(deploy), caffe.TEST)
    nets.set_weights(network)
    network.save(str(weights))
    return TwoStream(deploy, weights)


def image(seed, shape=(45, 61, 3), dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize(("name", "pixels"), [("2-1-2_f64_k5", 8), ("2-1-2_f32_k3", 4), ("3-1-3_f64_k5", 12)])
def test_the_radius_is_half_the_receptive_field(name, pixels):
    assert receptive_field_radius(ROOT / "prototxt" / name / "deploy.prototxt") == pixels


def test_a_net_that_steps_is_refused(tmp_path):
    deploy = ROOT / "prototxt/2-1-2_f64_k5_stride5/deploy.prototxt"
    with pytest.raises(ValueError, match=r"stride5/deploy\.prototxt: conv1_a has a stride"):
        TwoStream(deploy, deploy)


def test_a_pixel_reaches_no_further(net):
    a, b = image(1), image(2)
    changed = a.copy()
    changed[20, 30] ^= 255
    difference = (net(a, b).astype(int) != net(changed, b)).any(2)
    rows, columns = np.nonzero(difference)
    assert difference.any()
    assert (
        abs(rows - 20).max() <= net.receptive_field_radius
        and abs(columns - 30).max() <= net.receptive_field_radius
    )


@pytest.mark.parametrize("tile", [16, 23, 40])
def test_tiled_equals_untiled(net, tile):
    sources = [image(i, dtype=np.uint16) for i in range(2)]
    untiled = net(*sources, tile=0).astype(int)
    tiled = net(*sources, tile=tile).astype(int)
    assert np.abs(untiled - tiled).max() <= 1  # of 65535 levels: float rounding alone


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), colour=st.booleans(), deep=st.booleans())
def test_shape_and_dtype_are_kept_and_inputs_too(net, height, width, colour, deep):
    shape = (height, width, 3) if colour else (height, width)
    a, b = (image(i, shape, np.uint16 if deep else np.uint8) for i in (1, 2))
    before = a.copy(), b.copy()
    fused = net(a, b, tile=16)
    assert fused.shape == a.shape and fused.dtype == a.dtype
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3)])
def test_channels_and_back(shape, dtype):
    picture = image(0, shape, dtype)
    channels = to_channels(picture)
    assert channels.shape == (4, 7, 9) and channels.dtype == np.float32
    assert channels.min() >= 0 and channels.max() <= 1
    np.testing.assert_array_equal(from_channels(channels, picture), picture)


def test_gray_is_rec601():
    channels = to_channels(np.array([[[100, 50, 200]]], np.uint8))
    assert channels[3, 0, 0] * 255 == pytest.approx(0.299 * 100 + 0.587 * 50 + 0.114 * 200, abs=1e-4)


def test_values_outside_are_clipped_not_wrapped():
    channels = np.full((4, 1, 2), 1.7, np.float32)
    channels[..., 1] = -0.3
    assert from_channels(channels, np.zeros((1, 2), np.uint8)).tolist() == [[255, 0]]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros((45, 61, 3), np.float32), "float32"),
        (np.zeros((45, 60, 3), np.uint8), "(45, 60, 3)"),
        (np.zeros((45, 61), np.uint8), "(45, 61)"),
        (np.zeros((45, 61, 3), np.uint16), "uint16"),
    ],
)
def test_images_that_do_not_fit_are_refused(net, bad, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        net(image(0), bad)


@pytest.mark.parametrize("shape", [(0, 5), (4, 5, 4), (5,)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="cannot be fused"):
        to_channels(np.zeros(shape, np.uint8))


def test_a_net_of_another_kind_is_refused(tmp_path):
    deploy = tmp_path / "deploy.prototxt"
    deploy.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }\n'
        'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }\n'
    )
    weights = tmp_path / "w.caffemodel"
    caffe.Net(str(deploy), caffe.TEST).save(str(weights))
    with pytest.raises(ValueError, match="not a fusion net"):
        TwoStream(deploy, weights)
    with pytest.raises(OSError, match="no such file"):
        TwoStream(deploy, tmp_path / "none.caffemodel")


def varied(tmp_path, *changes):
    """The fast net with its prototxt changed, (old, new) and how often, and some weights."""
    text = (ROOT / "prototxt/2-1-2_f32_k3/deploy.prototxt").read_text()
    for old, new, count in changes:
        assert text.count(old) >= count
        text = text.replace(old, new, count)
    deploy, weights = tmp_path / "deploy.prototxt", tmp_path / "w.caffemodel"
    deploy.write_text(text)
    network = caffe.Net(str(deploy), caffe.TEST)
    nets.set_weights(network)
    network.save(str(weights))
    return TwoStream(deploy, weights)


def test_even_filters_do_not_show_tiles(tmp_path):
    """Convolutions that take a pixel off, Deconvolutions that put it back: the window is not centred."""
    net = varied(tmp_path, ("kernel_size: 3", "kernel_size: 4", 6))
    a, b = image(1), image(2)
    assert net.receptive_field_radius == 8
    assert np.abs(net(a, b, tile=16).astype(int) - net(a, b, tile=0)).max() <= 1


def test_nets_that_change_the_size_are_refused(tmp_path):
    net = varied(tmp_path, ("pad: 1", "pad: 0", 4))
    with pytest.raises(ValueError, match=r"deploy\.prototxt: makes \(4, 41, 57\) of \(4, 45, 61\)"):
        net(image(1), image(2), tile=0)


def test_a_negative_tile_is_refused(net):
    with pytest.raises(ValueError, match="tile=-1"):
        net(image(1), image(2), tile=-1)
