import cv2
import numpy as np
import pytest

from data_prep import fetch
from tools import demo_pair
from two_stream_fusion.io import images
from two_stream_fusion.stack import align


def test_coffee_is_sharp_in_one_of_the_two_everywhere(tmp_path, capsys):
    demo_pair.main(["--pair", "coffee", "--out", str(tmp_path / "demo")])
    a, b = (images.read(tmp_path / "demo" / f"{name}.png") for name in "ab")
    assert a.shape == b.shape == (400, 600, 3)
    assert np.abs(np.diff(a[222, 100:400].astype(int), axis=0)).mean() < 2  # the cup is blurred in a
    assert np.abs(np.diff(b[222, 100:400].astype(int), axis=0)).mean() > 4  # and not in b
    assert "coffee" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["lytro/lytro-06", "board"])
def test_without_the_real_pair_one_is_rendered(tmp_path, capsys, monkeypatch, rendered_pair, name):
    def offline(name, *_):
        raise fetch.FetchError(name, "no connection", f"https://example.org/{name}.jpg")

    monkeypatch.setattr(demo_pair.fetch, "fetch", offline)
    monkeypatch.setattr(demo_pair.depth_pair, "render_depth_pair", lambda: rendered_pair)
    demo_pair.main(["--pair", name, "--out", str(tmp_path)])
    output = capsys.readouterr().out
    assert "motorcycle" in output and "cannot be fetched: no connection)" in output and "http" not in output
    assert images.read(tmp_path / "a.png").shape == (500, 741, 3)


@pytest.mark.skipif("not os.environ.get('FUSION_DATA')", reason="FUSION_DATA names no folder of stacks")
def test_the_board_is_in_register_and_sharp_near_or_far(tmp_path, capsys):
    demo_pair.main(["--pair", "board", "--out", str(tmp_path)])
    assert "the real pair board" in capsys.readouterr().out
    a, b = (images.read(tmp_path / f"{name}.png") for name in "ab")
    assert a.shape == b.shape == (384, 512, 3)
    sharpness = [[cv2.Laplacian(part, cv2.CV_32F).std() for part in (x[260:360], x[:120])] for x in (a, b)]
    assert sharpness[0][0] > 2 * sharpness[1][0]  # the connectors
    assert sharpness[1][1] > 2 * sharpness[0][1]  # the bars behind the board
    assert align.misalignment(a, b) == 0


def test_an_unknown_pair_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no set or pair 'nonsense'"):
        demo_pair.main(["--pair", "nonsense", "--out", str(tmp_path)])
