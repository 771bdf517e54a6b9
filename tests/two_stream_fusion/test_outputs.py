"""outputs.py: what tests/tools/test_fuse.py does not see of it."""

import os
from pathlib import Path

import numpy as np
import pytest

from two_stream_fusion import outputs
from two_stream_fusion.io import icc, images
from two_stream_fusion.io.metadata import Metadata
from two_stream_fusion.outputs import Outputs
from two_stream_fusion.pipeline import Aligned, Result
from two_stream_fusion.stack.frames import Frames


def test_a_choice_is_spread_over_black_to_white(tmp_path):
    outputs.write_choice_map(tmp_path / "m.png", np.array([[0, 1, 2, 3]], np.uint16), 4)
    assert images.read(tmp_path / "m.png").tolist() == [[0, 85, 170, 255]]
    outputs.write_choice_map(tmp_path / "m.png", np.array([[0, 299]], np.uint16), 300)
    deep = images.read(tmp_path / "m.png")
    assert deep.dtype == np.uint16 and deep.tolist() == [[0, 65535]]


def test_a_panel_shows_some_of_many(tmp_path):
    frames = Frames([np.full((4, 5), 10 * i, np.uint8) for i in range(9)])
    outputs.write_panel(tmp_path / "p.png", frames, np.full((4, 5), 255, np.uint8))
    assert images.read(tmp_path / "p.png")[0, ::5].tolist() == [0, 30, 50, 80, 255]
    deep = Frames([np.full((4, 5), level, np.uint16) for level in (65406, 65407)])
    outputs.write_panel(tmp_path / "p.png", deep, deep[1])
    assert images.read(tmp_path / "p.png")[0, ::5].tolist() == [254, 255, 255]  # rounded


def test_a_panel_of_few_levels_is_as_bright_as_if_they_were_all(tmp_path):
    twelve_bits = [np.full((4, 5), level, np.uint16) for level in (4095, 2048)]
    outputs.write_panel(tmp_path / "p.png", Frames(twelve_bits), twelve_bits[1])
    assert images.read(tmp_path / "p.png")[0, ::5].tolist() == [255, 128, 128]


WIDE = [(0.64, 0.33), (0.21, 0.71), (0.15, 0.06), (0.3127, 0.3290)]  # red, green, blue, white


def test_a_panel_has_the_profile_of_the_sources(tmp_path):
    metadata = Metadata(exif=b"Exif\0\0II*\0", icc=icc.make_profile("wide", WIDE, 2.2))
    pixels = np.full((4, 5, 3), 9, np.uint8)
    for name in "ab":
        images.write(tmp_path / f"{name}.png", pixels, metadata=metadata)
    outputs.write_panel(tmp_path / "p.png", Frames([tmp_path / "a.png", tmp_path / "b.png"]), pixels)
    assert images.load(tmp_path / "p.png").metadata == Metadata(icc=metadata.icc)


def test_nothing_is_written_beside_an_image_that_cannot_be(tmp_path):
    frames = Frames([np.full((4, 5), level, np.uint8) for level in (3, 4)])
    aligned = Aligned(frames, [0, 1], names=["a", "b"])
    alpha = np.full((4, 5), 7, np.uint8)
    result = Result(frames[0], alpha, None, [], "none", None, None, aligned, {})
    wanted = Outputs(image=tmp_path / "o.jpg", panel=tmp_path / "p.png")
    with pytest.raises(ValueError, match="no alpha channel"):
        outputs.write_outputs(wanted, result, "lp")
    assert not list(tmp_path.iterdir())


def test_the_files_are_named():
    paths = [Path(name) for name in "abcd"]
    assert Outputs(*paths, map_folder=Path("m")).files() == paths and Outputs().files() == []


def test_maps_need_a_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file: is not a folder"):
        outputs.check_outputs(Outputs(map_folder=tmp_path / "file"), [], "gf")


def test_aligned_images_need_a_folder(tmp_path):
    """A file in the way was found after all images were aligned."""
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/deeper"):
        with pytest.raises(ValueError, match="file: is not a folder"):
            outputs.check_outputs(Outputs(aligned_folder=folder), [], "two_stream")
    outputs.check_outputs(Outputs(aligned_folder=tmp_path / "new/folder"), [], "two_stream")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "named",
    [
        {"image": "x.png"},
        {"panel": "x.png"},
        {"choice_map": "x.png"},
        {"report": "x.json"},
        {"page": "x.html"},
        {"map_folder": "maps"},
        {"map_folder": "."},
        {"aligned_folder": "a/b/c"},
    ],
)
def test_a_folder_that_cannot_be_written_to_is_named_first(tmp_path, monkeypatch, named):
    """Its permissions are simulated, for root may write anywhere."""
    folder = tmp_path / "locked"
    folder.mkdir()
    named = {kind: folder / name for kind, name in named.items()}
    outputs.check_outputs(Outputs(**named), [], "gf")
    access = os.access
    monkeypatch.setattr(outputs.os, "access", lambda path, mode: Path(path) != folder and access(path, mode))
    with pytest.raises(ValueError, match="locked: no permission to write to this folder"):
        outputs.check_outputs(Outputs(**named), [], "gf")


def frames_of(count, shape):
    frame = np.arange(np.prod(shape), dtype=np.uint32).reshape(shape).astype(np.uint8)
    return Frames([frame] * count)


@pytest.mark.parametrize(
    ("named", "count", "shape", "words"),
    [
        ({"panel": "p.webp"}, 2, (4, 5500), r"p\.webp: \.webp ends at 16383 pixels"),
        ({"panel": "p.webp"}, 9, (4, 3300), r"p\.webp: \.webp ends at 16383 pixels"),
        ({"panel": "p.jpg"}, 2, (4, 22_000), r"p\.jpg: \.jpg ends at 65500 pixels"),
        ({"choice_map": "m.jpg"}, 257, (4, 5), r"m\.jpg: 16 bit images need"),
        ({"choice_map": "m.webp"}, 257, (4, 5), r"m\.webp: 16 bit images need"),
        ({"choice_map": "m.webp"}, 3, (4, 16_400), r"m\.webp: \.webp ends at 16383 pixels"),
    ],
)
def test_outputs_beside_the_image_are_checked_before_the_work(named, count, shape, words):
    named = {kind: Path(name) for kind, name in named.items()}
    frames = frames_of(count, shape)
    with pytest.raises(ValueError, match=words):
        outputs.check_kinds(Outputs(**named), frames, "two_stream", "select", is_cropped=False)


def test_outputs_that_fit_pass():
    for kind, name, count, shape in (
        ("panel", "p.webp", 2, (4, 5461)),
        ("panel", "p.png", 2, (4, 6000)),
        ("choice_map", "m.jpg", 256, (4, 5)),
        ("choice_map", "m.png", 257, (4, 5)),
    ):
        files = Outputs(**{kind: Path(name)})
        outputs.check_kinds(files, frames_of(count, shape), "two_stream", "select", is_cropped=False)
    cropped = Outputs(panel=Path("p.webp"))  # to a size that is not known yet
    outputs.check_kinds(cropped, frames_of(2, (4, 5500)), "two_stream", "select", is_cropped=True)
