import caffe
import numpy as np
import pytest

from tools import pictures, show_filters
from two_stream_fusion.io import images


def test_filters_over_four_channels_are_tiles_in_colour(tiny, tmp_path, capsys):
    path = tmp_path / "f.png"
    show_filters.main([*tiny, "--layer", "conv_a", "-o", str(path), "--columns", "2", "--enlarge", "5"])
    picture = images.read(path)
    assert picture.shape == (31, 31, 3)
    weights = caffe.Net(tiny[1], caffe.TEST, weights=tiny[3]).params["conv_a"][0].data
    first = pictures.signed_to_gray(weights)[0, :3].transpose(1, 2, 0)
    np.testing.assert_array_equal(picture[:15:5, :15:5], first)
    assert "conv_a, 3 x 4 x 3 x 3, between " in capsys.readouterr().out


def test_other_filters_are_a_row_for_each_channel(tiny, tmp_path):
    show_filters.main([*tiny, "--layer", "fusion", "-o", str(tmp_path / "f.png")])
    assert images.read(tmp_path / "f.png").shape == (7, 11)  # 4 x 6 weights of a pixel


def test_mistakes_are_reported(tiny, tmp_path):
    out = ["-o", str(tmp_path / "f.png")]
    with pytest.raises(ValueError, match="no layer with weights 'relu': there are conv_a, conv_b, fusion"):
        show_filters.main([*tiny, "--layer", "relu", *out])
    with pytest.raises(ValueError, match="go together"):
        show_filters.main([*tiny[:2], "--layer", "conv_a", *out])
    with pytest.raises(FileNotFoundError, match="nothing"):
        show_filters.main([*tiny[:3], "nothing", "--layer", "conv_a", *out])
    with pytest.raises(FileNotFoundError, match="nothing"):
        show_filters.main(["--net", "nothing", *tiny[2:], "--layer", "conv_a", *out])
    with pytest.raises(ValueError, match="no model 'x'"):
        show_filters.main(["--model", "x", "--layer", "conv_a", *out])
    (tmp_path / "deploy.prototxt").write_text("layers are { not this")
    with pytest.raises(ValueError, match=r"deploy\.prototxt"):
        show_filters.main([*tiny, "--layer", "conv_a", *out])
    assert not (tmp_path / "f.png").exists()
