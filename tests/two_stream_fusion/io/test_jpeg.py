import io
import logging

import numpy as np
import pytest
import skimage.data
from PIL import Image

from two_stream_fusion.io import decode, images, jpeg

END = b"\xff\xd9"


def photograph(**options):
    """(data, pixels) of a small JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(skimage.data.coffee()[100:170, 200:290]).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue(), np.array(Image.open(buffer))


KINDS = [{}, {"progressive": True}, {"restart_marker_rows": 1}]


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("missing", [1, 2])
def test_a_missing_end_marker_alone_is_a_warning(tmp_path, caplog, options, missing):
    data, pixels = photograph(**options)
    path = tmp_path / "x.jpg"
    path.write_bytes(data[:-missing])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):  # frames are read more than once
            np.testing.assert_array_equal(images.read(path), pixels)
    assert [record.message for record in caplog.records] == [
        f"{path}: has no end marker (EOI), so it may be cut off; its pixels are complete"
    ]


@pytest.mark.parametrize("end", [b"", END])
@pytest.mark.parametrize("options", KINDS)
def test_missing_pixels_are_refused(tmp_path, options, end):
    """With an end marker too: decoders fill in gray without an error."""
    data, _ = photograph(**options)
    path = tmp_path / "x.jpg"
    for length in (len(data) - 3, len(data) - 10, len(data) * 9 // 10, len(data) // 2):
        path.write_bytes(data[:length] + end)
        with pytest.raises(
            ValueError, match=r"x\.jpg: (truncated or damaged|not an image, or a damaged one)"
        ):
            images.read(path)


def test_a_missing_last_scan_is_refused(tmp_path):
    data, _ = photograph(progressive=True)
    for start in (data.rindex(b"\xff\xda"), data.rindex(b"\xff\xc4")):
        (tmp_path / "x.jpg").write_bytes(data[:start])
        with pytest.raises(ValueError, match="pixel data is missing"):
            images.read(tmp_path / "x.jpg")


def test_more_scans_than_photographs_have_are_refused(tmp_path, monkeypatch):
    data, pixels = photograph(progressive=True)
    scans = jpeg.read_structure(data).scans
    last = data[data.rindex(b"\xff\xda") : -2]
    for count in (jpeg.MAX_SCANS, jpeg.MAX_SCANS + 1):
        (tmp_path / "x.jpg").write_bytes(data[:-2] + last * (count - scans) + END)
        if count == jpeg.MAX_SCANS:
            assert images.read(tmp_path / "x.jpg").shape == pixels.shape
    monkeypatch.setattr(jpeg, "lacks_pixels", None)  # nothing is decoded
    with pytest.raises(ValueError, match=r"x\.jpg: a JPEG of 90x70 pixels in 501 scans, .* at most 500"):
        images.read(tmp_path / "x.jpg")


def test_large_images_may_have_fewer_scans():
    assert jpeg.max_scans(100, 100) == jpeg.MAX_SCANS
    assert 20 <= jpeg.max_scans(25_000, 20_000) <= 30


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"\xff\xd8", b"\xff" * 9, b"\xff\xd8\xff\xe0\0\1", b"\xff\xd8\xff\xda\0\3\4", b"x\xff"],
)
def test_the_structure_of_anything_is_read_to_its_end(data):
    assert not jpeg.read_structure(data).has_end


def test_harmless_bytes_between_segments_are_read_over(tmp_path):
    data, pixels = photograph()
    (tmp_path / "x.jpg").write_bytes(data[:-2] + b"\0\0\0" + END + b"what a phone appends")
    np.testing.assert_array_equal(images.read(tmp_path / "x.jpg"), pixels)


def test_few_bytes_do_not_make_many_pixels(tmp_path, monkeypatch):
    """In every format: a few bytes cannot unpack to an image."""
    Image.new("RGB", (60, 50)).save(tmp_path / "x.webp", lossless=True)
    Image.new("L", (60, 50)).save(tmp_path / "x.png")
    Image.new("L", (60, 50)).save(tmp_path / "x.tif", compression="tiff_adobe_deflate")
    Image.new("L", (60, 50)).save(tmp_path / "x.jpg")
    for path in tmp_path.iterdir():
        images.read(path)
    monkeypatch.setattr(decode, "MAX_MEGAPIXELS_UNQUESTIONED", 0.001)
    monkeypatch.setattr(decode, "MIN_BYTES_A_MEGAPIXEL", 1e6)
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=rf"{path.name}: 60x50 pixels in \d+ bytes cannot be an image"):
            images.read(path)
