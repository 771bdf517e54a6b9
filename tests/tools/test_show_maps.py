from pathlib import Path

import caffe
import numpy as np
import pytest

from tools import show_maps
from two_stream_fusion.io import images
from two_stream_fusion.methods.two_stream import to_channels


@pytest.fixture
def pair(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for name in "ab":
        paths.append(str(tmp_path / f"{name}.png"))
        images.write(paths[-1], rng.integers(0, 255, (10, 14, 3), dtype=np.uint8))
    return paths


def test_maps_are_the_nets_for_the_whole_images(tiny, pair):
    net = caffe.Net(tiny[1], caffe.TEST, weights=tiny[3])
    a, b = map(images.read, pair)
    maps = show_maps.compute_maps(net, a, b, ["conv_a", "fusion"])
    assert {name: planes.shape for name, planes in maps.items()} == {
        "conv_a": (3, 10, 14),
        "fusion": (4, 10, 14),
    }
    filters, channels = net.params["conv_a"][0].data, to_channels(a)
    value = (filters[0] * channels[:, 3:6, 6:9]).sum()
    assert maps["conv_a"][0, 4, 7] == pytest.approx(max(value, 0), abs=1e-5)


def test_the_most_varied_maps_in_their_order():
    planes = np.zeros((4, 2, 2), np.float32)
    planes[:, 0, 0] = 1, 5, 0, 3
    assert show_maps.most_varied(planes, 2).tolist() == [1, 3]
    assert show_maps.most_varied(planes, 9).tolist() == [0, 1, 2, 3]


def test_the_picture(tiny, pair, tmp_path, capsys):
    out = tmp_path / "m.png"
    show_maps.main([*pair, *tiny, "-o", str(out), "--blobs", "conv_a", "conv_b", "--maps", "2"])
    assert out.read_bytes().startswith(b"\x89PNG")
    assert "conv_a (3, 10, 14), conv_b (3, 10, 14)" in capsys.readouterr().out


def test_mistakes_are_reported(tiny, pair, tmp_path):
    out = ["-o", str(tmp_path / "m.png")]
    with pytest.raises(ValueError, match="no blob 'conv9': there are a, b, conv_a, conv_b, concat, fusion"):
        show_maps.main([*pair, *tiny, *out, "--blobs", "conv9"])
    images.write(pair[1], np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match="images differ"):
        show_maps.main([*pair, *tiny, *out])
    with pytest.raises(FileNotFoundError):
        show_maps.main([pair[0], "nothing.png", *tiny, *out])
    before = Path(pair[0]).read_bytes()
    with pytest.raises(ValueError, match="is one of the images"):
        show_maps.main([*pair, *tiny, "-o", pair[0]])
    assert Path(pair[0]).read_bytes() == before
    single = tmp_path / "single.prototxt"
    single.write_text('layer { name: "i" type: "Input" top: "x" input_param { shape { dim: 1 } } }')
    with pytest.raises(ValueError, match="inputs a and b is needed, not x"):
        show_maps.compute_maps(caffe.Net(str(single), caffe.TEST), None, None, [])
