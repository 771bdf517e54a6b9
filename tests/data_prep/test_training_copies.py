import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from data_prep import training_copies


def photograph(height, width, seed=1):
    """A JPEG file of smooth colours."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=95)
    return file.getvalue()


def decode(data):
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("repository", "size", "copied"),
    [
        ("sasky1/DRPL", (375, 500), (273, 364)),
        ("sasky1/DRPL", (500, 333), (364, 242)),
        ("sasky1/DRPL", (200, 300), (200, 300)),
        ("BIDS/BSDS500", (321, 481), (321, 481)),
    ],
)
def test_photographs_are_scaled_down_where_their_repository_has_large_ones(repository, size, copied):
    data = photograph(*size)
    copy = training_copies.copy_photograph(data, repository)
    assert decode(copy).shape == (*copied, 3)
    if size == copied:
        assert np.abs(decode(copy).astype(int) - decode(data)).mean() < 2
    assert copy == training_copies.copy_photograph(data, repository)


def test_gray_photographs_become_colour():
    file = io.BytesIO()
    Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20)).save(file, "JPEG")
    assert decode(training_copies.copy_photograph(file.getvalue(), "BIDS/BSDS500")).shape == (10, 20, 3)


def test_the_jpeg_library_writes_the_bytes_it_always_wrote():
    """The registry has the sha256 of all copies, so a change here would make all of them strangers."""
    levels = np.add.outer(np.arange(40) * 3, np.arange(56) * 2)[..., None] + np.array([0, 20, 40])
    file = io.BytesIO()
    Image.fromarray(levels.astype(np.uint8)).save(file, "PNG")
    copy = training_copies.copy_photograph(file.getvalue(), "BIDS/BSDS500")
    sha256 = "630257b55ee09787a87517ea320540406a9b188a2cea0b486aeacbe4cfb62435"
    assert hashlib.sha256(copy).hexdigest() == sha256


def test_a_mask_keeps_its_largest_region():
    levels = np.zeros((8, 10), np.uint8)
    levels[0:3, 0:3] = 128
    levels[3:6, 3:7] = 255  # touches the first by a corner alone
    levels[7, :] = 127
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    assert (decode(training_copies.copy_mask(file.getvalue())) == np.where(levels == 255, 255, 0)).all()


def test_a_mask_without_an_object_is_refused():
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4), 127, np.uint8)).save(file, "PNG")
    with pytest.raises(ValueError, match="the mask is empty"):
        training_copies.copy_mask(file.getvalue())


def test_masks_are_known_by_their_pixels_and_photographs_by_their_file(tmp_path):
    pixels = np.zeros((4, 4), np.uint8)
    for level in (1, 9):
        Image.fromarray(pixels).save(tmp_path / f"{level}.png", compress_level=level)
    assert (tmp_path / "1.png").read_bytes() != (tmp_path / "9.png").read_bytes()
    assert training_copies.fingerprint(tmp_path / "1.png") == training_copies.fingerprint(tmp_path / "9.png")
    (tmp_path / "a.jpg").write_bytes(b"bytes")
    assert training_copies.fingerprint(tmp_path / "a.jpg") == hashlib.sha256(b"bytes").hexdigest()
    (tmp_path / "a.png").write_bytes(b"bytes")
    assert training_copies.fingerprint(tmp_path / "a.png") == ""


def test_damaged_masks_and_those_of_other_modes_are_no_copies(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    whole = path.read_bytes()
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 255]) + whole[i + 1 :])
        training_copies.fingerprint(path)  # raises nothing
    Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P").save(path)
    assert training_copies.fingerprint(path) == ""
