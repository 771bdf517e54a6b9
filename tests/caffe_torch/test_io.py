"""caffe.io: images as arrays, and arrays as messages."""

import numpy as np
import pytest
from caffe import io
from caffe.proto import caffe_pb2


@pytest.fixture
def pictures(tmp_path):
    """A picture in colour, one with alpha, one in gray: each a file of 4 x 6 pixels."""
    skimage_io = pytest.importorskip("skimage.io")
    colour = np.zeros((4, 6, 4), np.uint8)
    colour[..., 0], colour[..., 3] = 255, 128
    for name, array in {"colour": colour[..., :3], "alpha": colour, "gray": colour[..., 3]}.items():
        skimage_io.imsave(tmp_path / f"{name}.png", array, check_contrast=False)
    return tmp_path


def test_images_are_read_as_colour_or_gray(pictures):
    for name in ("colour", "alpha"):
        image = io.load_image(pictures / f"{name}.png")
        assert image.shape == (4, 6, 3) and image.dtype == np.float32
        assert (image == [1, 0, 0]).all()
        gray = io.load_image(pictures / f"{name}.png", color=False)
        assert gray.shape == (4, 6, 1)
        np.testing.assert_allclose(gray, 0.2125, atol=1e-6)  # the share of red in skimage's gray
    assert (io.load_image(pictures / "gray.png") == np.float32(128 / 255)).all()
    assert io.load_image(pictures / "gray.png").shape == (4, 6, 3)
    assert io.load_image(pictures / "gray.png", color=False).shape == (4, 6, 1)


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_file_that_is_no_image_is_an_os_error(tmp_path, content):
    pytest.importorskip("skimage.io")
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(OSError):
        io.load_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("set_transpose", (1, 0), "3 axes"),
        ("set_channel_swap", (1, 0), "3 channels"),
        ("set_mean", np.zeros((3, 4, 4)), "does not fit"),
        ("set_mean", np.zeros(2), "shape"),
    ],
)
def test_settings_that_do_not_fit_the_input(setting, value, reason):
    transformer = io.Transformer({"data": (1, 3, 9, 7)})
    with pytest.raises(ValueError, match=reason):
        getattr(transformer, setting)("data", value)
    with pytest.raises(ValueError, match="'x' is not one of the inputs: data"):
        getattr(transformer, setting)("x", value)


def test_messages_that_do_not_fit():
    with pytest.raises(ValueError, match="does not fit its 1 values"):
        io.blobproto_to_array(caffe_pb2.BlobProto(shape={"dim": [2]}, data=[1]))
    with pytest.raises(ValueError, match="gradient of shape"):
        io.array_to_blobproto(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="C x H x W"):
        io.array_to_datum(np.zeros(2))
    with pytest.raises(ValueError, match="larger than the images"):
        io.oversample(np.zeros((1, 3, 3, 1)), (4, 4))
