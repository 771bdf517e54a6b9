import numpy as np
import pytest

from fusion import images


def sample(dtype, colour, size=(13, 17)):
    top = np.iinfo(dtype).max
    shape = (*size, 3) if colour else size
    return np.random.default_rng(0).integers(0, top, shape, dtype, endpoint=True)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(("ending", "dtype"), [(".png", np.uint8), (".png", np.uint16), (".tif", np.uint16)])
def test_written_images_read_back_the_same(tmp_path, ending, dtype, colour):
    image = sample(dtype, colour)
    images.write(tmp_path / f"x{ending}", image)
    back = images.read(tmp_path / f"x{ending}")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, image)
    assert [p.name for p in tmp_path.iterdir()] == [f"x{ending}"]


def test_colour_is_red_first(tmp_path):
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = 200
    images.write(tmp_path / "red.png", image)
    assert images.read(tmp_path / "red.png")[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_truncated_files_are_refused(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    images.write(path, sample(np.uint8, True, (64, 64)))
    whole = path.read_bytes()
    for share in (0.02, 0.5, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ValueError, match=path.name):
            images.read(path)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.png"):
        images.read(path)


def test_sixteen_bits_do_not_fit_into_a_jpeg(tmp_path):
    with pytest.raises(ValueError, match="16 bit"):
        images.write(tmp_path / "x.jpg", sample(np.uint16, False))
    assert not list(tmp_path.iterdir())


def test_an_unknown_ending_writes_nothing(tmp_path):
    with pytest.raises(ValueError, match="cannot be written"):
        images.write(tmp_path / "x.nonsense", sample(np.uint8, False))
    assert not list(tmp_path.iterdir())
