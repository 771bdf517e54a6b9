import hashlib
import os
import shutil
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from data_prep import fetch, photographs


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def test_find_in_depth_in_order_with_masks(tmp_path, picture):
    for name in ("b/2.JPG", "b/2.png", "a/c/1.jpeg", "z.png", "a/.hidden.jpg", "3.jpg"):
        save(tmp_path / name, picture)
    (tmp_path / "notes.txt").write_text("no photograph")
    paths = [
        tuple(path and str(path)[len(str(tmp_path)) + 1 :] for path in pair)
        for pair in photographs.find(tmp_path)
    ]
    assert paths == [("3.jpg", None), ("z.png", None), ("a/c/1.jpeg", None), ("b/2.JPG", "b/2.png")]


def names(folder, **options):
    """As `photographs.find`, by names relative to the folder."""
    sources = photographs.find(folder, **options)
    return [tuple(path and os.path.relpath(path, folder) for path in pair) for pair in sources]


def test_masks_are_found_for_any_format_and_in_capitals(tmp_path):
    for name in ("1.jpg", "1.PNG", "2.Jpg", "2.png", "3.tif", "3.png", "4.WEBP", "4.Png", "5.PNG", "6.bmp"):
        (tmp_path / name).touch()
    expected = [("1.jpg", "1.PNG"), ("2.Jpg", "2.png"), ("3.tif", "3.png"), ("4.WEBP", "4.Png")]
    assert names(tmp_path) == [*expected, ("5.PNG", None), ("6.bmp", None)]


def test_linked_folders_are_searched_once(tmp_path):
    for name in ("photos/1.jpg", "photos/in/2.jpg", "away/3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "photos/away").symlink_to(tmp_path / "away")
    (tmp_path / "photos/in/away").symlink_to(tmp_path / "away")
    (tmp_path / "photos/in/up").symlink_to(tmp_path / "photos")
    assert names(tmp_path / "photos") == [("1.jpg", None), ("away/3.jpg", None), ("in/2.jpg", None)]


def test_a_folder_that_cannot_be_read_is_reported(tmp_path, monkeypatch):
    for name in ("1.jpg", "private/2.jpg", "public/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    scandir, errors = os.scandir, []

    def forbidden(path):  # the permissions of a folder do not keep root out
        if os.path.basename(path) == "private":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    assert names(tmp_path, unreadable=errors.append) == [("1.jpg", None), ("public/3.jpg", None)]
    assert [error.filename for error in errors] == [str(tmp_path / "private")]


def test_read_gives_the_pixels_and_the_hash(tmp_path, picture):
    path = save(tmp_path / "1.png", picture)
    pixels, sha256 = photographs.read(path)
    assert np.array_equal(pixels, picture)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_gray_becomes_three_equal_channels(tmp_path, picture):
    pixels, _ = photographs.read(save(tmp_path / "1.png", picture[..., 0]))
    assert np.array_equal(pixels, np.repeat(picture[..., :1], 3, axis=2))


def test_upright_as_the_camera_says(tmp_path, picture):
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise
    pixels, _ = photographs.read(save(tmp_path / "1.png", picture, exif=exif))
    assert np.array_equal(pixels, np.rot90(picture, -1))


def broken(name, picture, folder):
    if name == "truncated":
        path = save(folder / "1.jpg", picture)
        path.write_bytes(path.read_bytes()[:-400])
    elif name == "truncated png":
        path = save(folder / "1.png", picture)
        path.write_bytes(path.read_bytes()[:-400])
    elif name == "cmyk":
        path = folder / "1.jpg"
        Image.fromarray(picture).convert("CMYK").save(path)
    elif name == "animated":
        path = folder / "1.gif"
        frames = [Image.fromarray(picture), Image.fromarray(255 - picture)]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    elif name == "16 bit":
        path = save(folder / "1.png", picture[..., 0].astype(np.uint16) * 256)
    else:
        path = folder / "1.jpg"
        path.write_bytes({"empty": b"", "text": b"not a photograph"}[name])
    return path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("truncated", "truncated"),
        ("truncated png", "truncated"),
        ("empty", "cannot identify"),
        ("text", "cannot identify"),
        ("cmyk", "CMYK"),
        ("animated", "animation"),
        ("16 bit", "8 bit"),
    ],
)
def test_what_cannot_serve_is_refused_with_the_reason(name, reason, tmp_path, picture):
    with pytest.raises(ValueError, match=reason):
        photographs.read(broken(name, picture, tmp_path))


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_refused_in_gray_and_in_colour(channels, ending, tmp_path):
    deep = np.random.default_rng(0).integers(0, 65536, (40, 60, channels), np.uint16)
    path = str(tmp_path / f"1.{ending}")
    assert cv2.imwrite(path, deep)
    with pytest.raises(ValueError, match=r"^16 bit pixels; 8 bit gray or RGB is needed$"):
        photographs.read(path)
    assert cv2.imwrite(path, (deep >> 8).astype(np.uint8))
    assert photographs.read(path)[0].shape == (40, 60, 3)


@pytest.mark.parametrize(
    ("kind", "channels", "reason"),
    [
        (np.uint16, 3, "^16 bit pixels; 8 bit"),
        (np.float32, 1, "^32 bit pixels; 8 bit"),
        (np.float32, 3, "^a TIFF of floats, .*; 8 bit"),
        (np.float16, 1, "^a TIFF of floats, .*; 8 bit"),
    ],
)
def test_tiffs_of_other_numbers_are_refused_as_such(kind, channels, reason, tmp_path):
    planes = np.ones((channels, 40, 60), kind)
    layout = {"photometric": "rgb", "planarconfig": "separate"} if channels == 3 else {}
    tifffile.imwrite(tmp_path / "1.tif", planes if channels == 3 else planes[0], **layout)
    with pytest.raises(ValueError, match=reason):
        photographs.read(tmp_path / "1.tif")


def test_a_bilevel_tiff_is_read(tmp_path, picture):
    Image.fromarray(picture[..., 0] > 127).save(tmp_path / "1.tif")
    assert set(np.unique(photographs.read(tmp_path / "1.tif")[0])) == {0, 255}


def test_a_huge_photograph_is_refused_before_it_is_decoded(tmp_path, picture, monkeypatch):
    path = save(tmp_path / "1.png", picture)
    path.write_bytes(path.read_bytes()[:100])  # the header is whole, the pixels are not
    monkeypatch.setattr(photographs, "MAX_PIXELS", 2399)
    with pytest.raises(ValueError, match="60x40 is over"):
        photographs.read(path)


@pytest.mark.filterwarnings("error")
def test_hundreds_of_megapixels_are_refused_in_the_same_words(tmp_path, picture):
    data = save(tmp_path / "1.png", picture).read_bytes()
    for width in (10_000, 20_000):  # Pillow warns of the one and refuses the other
        header = data[12:16] + struct.pack(">II", width, 10_000) + data[24:29]
        changed = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
        (tmp_path / "1.png").write_bytes(changed)
        with pytest.raises(ValueError, match=f"{width}x10000 is over 64 megapixels; scale it"):
            photographs.read(tmp_path / "1.png")


def test_mask_is_where_it_is_over_127(tmp_path):
    mask = np.array([[0, 127], [128, 255]], np.uint8)
    region = photographs.read_mask(save(tmp_path / "1.png", mask), (2, 2))
    assert region.tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (np.full((40, 61), 200), "mask of 61x40, photograph of 60x40"),
        (np.zeros((40, 60)), "over 127"),
        (np.full((40, 60), 255), "over 127"),
        (np.arange(7200).reshape(40, 60, 3) % 256, "coloured"),
    ],
)
def test_unfit_masks_are_refused(mask, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        photographs.read_mask(save(tmp_path / "1.png", mask.astype(np.uint8)), (40, 60))


def test_bundled_photographs_are_read_and_not_judged_on():
    sources = photographs.bundled_photographs()
    assert len(sources) >= 8
    for path, mask in sources:
        pixels, sha256 = photographs.read(path)
        assert min(pixels.shape[:2]) >= 100 and mask is None
        assert sha256 not in fetch.evaluation_hashes()


def test_default_photographs(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "ROOT", tmp_path / "none")
    monkeypatch.delenv("FUSION_DATA", raising=False)
    assert "scikit-image" in photographs.training_photographs().description
    shutil.copytree(folder, tmp_path / "given" / "train")
    monkeypatch.setenv("FUSION_DATA", str(tmp_path / "given"))
    assert "FUSION_DATA" in photographs.training_photographs().description
    shutil.copytree(folder, tmp_path / "fetched" / "train")
    monkeypatch.setattr(fetch, "ROOT", tmp_path / "fetched")
    sources, root, description = photographs.training_photographs()
    assert "fetched" in description and len(sources) == 12 and Path(root) == tmp_path / "fetched" / "train"


def test_the_more_complete_photographs_are_the_default(folder, tmp_path, monkeypatch):
    local, fetched = tmp_path / "given" / "train", tmp_path / "fetched" / "train"
    shutil.copytree(folder, local)
    fetched.mkdir(parents=True)
    # The last is a mask whose photograph is not there.
    for name in ("0001.jpg", "0002.jpg", "0002.png", "0003.png"):
        (fetched / name).touch()
    monkeypatch.setattr(fetch, "ROOT", tmp_path / "fetched")
    monkeypatch.setenv("FUSION_DATA", str(tmp_path / "given"))
    assert len(photographs.training_photographs().photographs) == 12
    monkeypatch.delenv("FUSION_DATA")
    sources, _, description = photographs.training_photographs()
    assert [os.path.basename(path) for path, _ in sources] == ["0001.jpg", "0002.jpg"]
    missing = len(fetch.list_files("train")) - 4
    resumes = "data_prep/fetch.py train resumes"
    assert description == f"build/photos/train (fetched; {missing} files are missing: {resumes})"
    monkeypatch.setattr(fetch, "list_files", lambda _: ["train/0001.jpg", "train/0002.jpg", "train/0002.png"])
    monkeypatch.setenv("FUSION_DATA", str(tmp_path / "given"))
    (fetched / "0003.png").unlink()
    assert photographs.training_photographs().description == "build/photos/train (fetched)"  # whole, if fewer


def test_a_wrong_folder_of_data_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "ROOT", tmp_path / "none")
    monkeypatch.setenv("FUSION_DATA", str(tmp_path / "wrong"))
    errors = []
    description = photographs.training_photographs(None, errors.append).description
    assert errors == []  # that nothing is fetched is no failure
    assert "scikit-image" in description and f"FUSION_DATA has none: {tmp_path}/wrong/train" in description
