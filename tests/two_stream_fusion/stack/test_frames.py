import os

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ImageCms

from tests.two_stream_fusion.stack.scenes import levels, photograph
from two_stream_fusion.io import images
from two_stream_fusion.io.metadata import Metadata
from two_stream_fusion.stack import frames
from two_stream_fusion.stack.frames import Frames, find_images


def picture(i, shape=(20, 30, 3), dtype=np.uint8):
    return np.random.default_rng(i).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.fixture
def folder(tmp_path):
    for i in (1, 2, 10):
        images.write(tmp_path / f"f{i}.png", picture(i))
    return tmp_path


def test_images_come_in_their_order_and_none_is_kept(folder, monkeypatch):
    monkeypatch.setattr(frames, "KEPT_BYTES", 0)
    stack = Frames([folder / f"f{i}.png" for i in (1, 2, 10)])
    read = []
    load = images.load
    monkeypatch.setattr(images, "load", lambda *entry: read.append(entry[0].name) or load(*entry))
    for i, image in zip((1, 2, 10), stack):
        np.testing.assert_array_equal(image, picture(i))
    assert read == ["f1.png", "f2.png", "f10.png"]
    np.testing.assert_array_equal(stack[-1], picture(10))
    assert len(read) == 4 and len(stack) == 3
    with pytest.raises(IndexError):
        stack[3]


@pytest.mark.parametrize(("bytes_to_spare", "count"), [(0, 3), (-1, 7)])
def test_images_of_a_small_stack_are_read_once(bytes_to_spare, count, folder, monkeypatch):
    monkeypatch.setattr(frames, "KEPT_BYTES", 3 * picture(1).nbytes + bytes_to_spare)
    read, load = [], images.load
    monkeypatch.setattr(images, "load", lambda *entry: read.append(entry[0].name) or load(*entry))
    stack = Frames([folder / f"f{i}.png" for i in (1, 2, 10)])
    for sequence in (stack, stack.reordered([2, 0, 1])):
        assert len(list(sequence)) == 3
    assert len(read) == count
    stack.release()
    np.testing.assert_array_equal(stack[0], picture(1))
    assert len(read) == count + 1


def test_pages_are_images(tmp_path):
    stacked = np.stack([picture(i) for i in range(3)])
    tifffile.imwrite(tmp_path / "s.tif", stacked, photometric="rgb")
    images.write(tmp_path / "one.png", picture(9))
    stack = Frames([tmp_path / "s.tif", tmp_path / "one.png"])
    assert len(stack) == 4
    np.testing.assert_array_equal(np.stack(list(stack)), [*stacked, picture(9)])
    assert stack.name(1) == f"{tmp_path / 's.tif'}, page 1" and stack.name(3) == str(tmp_path / "one.png")


@pytest.mark.parametrize("clear", [None, 0, 2])
def test_each_image_has_its_own_alpha(tmp_path, clear):
    """It is known of all images once they are read, in copies of the sequence too."""
    alphas = [None] * 3
    if clear is not None:
        alphas[clear] = np.full((20, 30), 255, np.uint8)
        alphas[clear][:5] = 10
    for i, alpha in enumerate(alphas):
        images.write(tmp_path / f"{i}.png", picture(i), alpha)
    stack = Frames(sorted(tmp_path.iterdir()))
    list(stack.reordered([2, 0, 1]).spread())
    for path in tmp_path.iterdir():
        path.unlink()
    assert stack.has_alpha == (clear is not None)
    assert [stack.is_opaque(i) for i in range(3)] == [i != clear for i in range(3)]
    assert clear != 2 or not stack.reordered([0, 1]).has_alpha


def test_alpha_is_looked_for_where_images_are_not_read_yet(tmp_path):
    for i in range(3):
        images.write(tmp_path / f"{i}.png", picture(i), np.full((20, 30), 200, np.uint8) if i == 2 else None)
    stack = Frames(sorted(tmp_path.iterdir()))
    assert stack.is_opaque(0) and stack.has_alpha
    np.testing.assert_array_equal(stack.with_alpha(2)[1], 200)


def test_colours_under_zero_alpha_are_the_nearest_visible_ones(tmp_path):
    pixels, alpha = picture(0, dtype=np.uint16) >> 4, np.full((20, 30), 65535, np.uint16)
    alpha[:, 10:] = 0
    pixels[:, 10:] = 65535
    images.write(tmp_path / "a.png", pixels, alpha)
    images.write(tmp_path / "b.png", np.full_like(pixels, 9), np.zeros_like(alpha))
    stack = Frames([tmp_path / "a.png", tmp_path / "b.png"])
    assert stack.level_map == (0, 4, False)  # what is hidden does not count
    np.testing.assert_array_equal(stack[0][:, 10:], pixels[:, 9:10].repeat(20, axis=1))
    assert not stack[1].any()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (picture(0, (20, 31, 3)), "31x20 8 bit colour"),
        (picture(0, (20, 30)), "30x20 8 bit gray"),
        (picture(0, dtype=np.uint16), "30x20 16 bit colour"),
    ],
)
def test_images_that_differ_are_named(folder, other, words):
    images.write(folder / "other.png", other)
    stack = Frames([folder / "f1.png", folder / "other.png"])
    with pytest.raises(ValueError, match=words) as error:
        list(stack)
    assert "other.png is" in str(error.value) and "f1.png is 30x20 8 bit colour" in str(error.value)


def test_one_image_is_no_stack(folder):
    with pytest.raises(ValueError, match="two or more"):
        Frames([folder / "f1.png"])


def test_what_a_user_may_name(folder, monkeypatch):
    (folder / "notes.txt").write_text("# the good ones\nf10.png\n\nf1.png\n")
    in_order = [folder / f"f{i}.png" for i in (1, 2, 10)]
    assert frames.find_images([folder]) == in_order  # 10 after 2; no text files
    assert frames.find_images([str(folder / "f*.png")]) == in_order
    assert frames.find_images([f"@{folder / 'notes.txt'}"]) == [folder / "f10.png", folder / "f1.png"]
    assert frames.find_images([folder / "f2.png", folder / "f1.png"]) == [
        folder / "f2.png",
        folder / "f1.png",
    ]
    (folder / "f[1].png").write_bytes((folder / "f2.png").read_bytes())
    assert frames.find_images([str(folder / "f[1].png")]) == [folder / "f[1].png"]  # a name before a pattern
    (folder / "notes.txt").write_text("f1.png\nf2.png\n", encoding="utf-8-sig")  # as Notepad writes it
    assert frames.find_images([f"@{folder / 'notes.txt'}"]) == [*in_order[:1], folder / "f2.png"]
    (folder / "._f1.png").write_bytes(b"what macOS leaves beside f1.png")
    (folder / "sub.png").mkdir()
    assert frames.images_in_folder(folder) == [folder / f"f{i}.png" for i in (1, 2, 10)] + [
        folder / "f[1].png"
    ]
    (folder / "empty").mkdir()
    for word in (folder / "empty", f"{folder}/*.jpg"):
        with pytest.raises(ValueError, match="no images there"):
            frames.find_images([word])
    with pytest.raises(OSError, match=r"none\.txt"):
        frames.find_images(["@none.txt"])
    (folder / "binary.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"binary\.txt: not a list"):
        frames.find_images([f"@{folder / 'binary.txt'}"])


def test_levels_of_a_part_of_the_type_are_spread_and_restored():
    twelve = [picture(i, dtype=np.uint16) >> 4 for i in range(3)]
    stack = Frames(twelve)
    assert stack.level_map == stack.spread().level_map == (0, 4, False)
    for image, spread, plain in zip(twelve, stack.spread(), stack):
        np.testing.assert_array_equal(spread, image << 4)
        np.testing.assert_array_equal(plain, image)
        np.testing.assert_array_equal(stack.restore(spread), image)
    values = np.array([0, 7, 8, 23, 24, 65519, 65528, 65535], np.uint16)
    assert stack.restore(values).tolist() == [0, 0, 1, 1, 2, 4095, 4095, 4095]


@pytest.mark.parametrize(("last", "bits"), [(0, 7), (1, 7), (3, 6), (127, 1), (128, 0)])
def test_the_largest_level_of_all_images_counts(last, bits):
    images = [np.ones((4, 5), np.uint8), np.zeros((4, 5), np.uint8), np.full((4, 5), last, np.uint8)]
    assert Frames(images).level_map == (0, bits, False)
    assert Frames([np.zeros((4, 5), np.uint8)] * 2).level_map == (0, 0, False)


def test_no_more_is_read_where_the_first_image_uses_its_type(folder, monkeypatch):
    stack = Frames([folder / f"f{i}.png" for i in (1, 2, 10)])
    monkeypatch.setattr(images, "load", lambda *_: pytest.fail("read"))
    assert stack.spread().level_map == (0, 0, False)


def test_registered_images_keep_the_levels_of_their_sources():
    photo = cv2.cvtColor(photograph(), cv2.COLOR_RGB2GRAY) >> 4
    aligned = Frames([photo[:, 3:], photo[:, :-3]]).registered(0, "translation", exposure=False)
    np.testing.assert_array_equal(aligned[0], photo[:, 3:][aligned.window])
    assert aligned[1].max() <= 15
    assert np.abs(aligned[1].astype(int) - aligned[0]).mean() < 0.5


def test_odd_names_are_read(tmp_path):
    stack = tmp_path / "stack [2]"
    stack.mkdir()
    for name in ("2²3.png", "10²3.png", "x³.png"):
        images.write(stack / name, picture(0))
    in_order = [stack / name for name in ("2²3.png", "10²3.png", "x³.png")]
    assert frames.find_images([stack]) == in_order
    assert frames.find_images([f"{stack}/*.png"]) == in_order
    assert frames.find_images([f"{tmp_path}/st* [[]2]/*.png"]) == in_order  # brackets that are escaped


def test_a_broken_link_in_a_folder_is_named(folder):
    (folder / "f3.png").symlink_to(folder / "gone.png")
    with pytest.raises(ValueError, match=r"f3\.png: is a link to .*gone\.png, which does not exist"):
        frames.find_images([folder])


def test_raw_beside_jpeg_asks_for_a_pattern(tmp_path):
    for name in ("a.JPG", "a.NEF", "b.JPG", "b.NEF"):
        (tmp_path / name).touch()
    with pytest.raises(
        ValueError, match=r"a\.NEF stands beside a\.JPG; choose by '.*\*\.JPG' or '.*\*\.NEF'"
    ):
        frames.find_images([tmp_path])
    assert len(frames.find_images([f"{tmp_path}/*.NEF"])) == 2


def test_different_profiles_are_refused_by_name(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    later = srgb[:24] + bytes(12) + srgb[36:]  # another date
    for name, icc in (("a", srgb), ("b", later), ("c", b""), ("d", lab)):
        images.write(tmp_path / f"{name}.png", picture(0), metadata=Metadata(icc=icc))
    assert len(list(Frames([tmp_path / f"{name}.png" for name in "abc"]))) == 3
    with pytest.raises(ValueError, match=r"d\.png and .*a\.png have different ICC profiles"):
        list(Frames([tmp_path / "a.png", tmp_path / "d.png"]))
    for pair in ("cd", "dc"):  # without a profile it counts as sRGB
        with pytest.raises(ValueError, match=r"d\.png has an ICC profile .*, .*c\.png does not"):
            list(Frames([tmp_path / f"{name}.png" for name in pair]))


def test_a_list_of_names_that_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match="fifo: is a FIFO, a socket or a device"):
        find_images([f"@{tmp_path / 'fifo'}"])
    (tmp_path / "nul.txt").write_bytes(b"a\0b.png\n")
    with pytest.raises(ValueError, match=r"nul\.txt: not a list of names"):
        find_images([f"@{tmp_path / 'nul.txt'}"])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_matched_brightness_is_cut_off_by_the_type_alone(dtype):
    """Also where no image uses the upper bits."""
    top = 1500 if dtype == np.uint16 else 46
    bright = levels(photograph()[::2, ::2] / 255 * top + top / 75, dtype)
    dark = levels(bright / 1.3, dtype)
    dark[100:110, 100:110] = highlight = 2000 if dtype == np.uint16 else 62
    frames = Frames([bright, dark]).registered(0, "translation", crop=False)
    assert frames[1][102:108, 102:108].max() == pytest.approx(1.3 * highlight, rel=0.03)


def test_a_list_may_have_comments_and_names_that_begin_like_them(tmp_path):
    (tmp_path / "list.txt").write_text("# two frames\n#1.jpg\n#2.jpg\n3.jpg\n" + "#" * 300 + "\n#\n")
    (tmp_path / "#1.jpg").touch()
    assert find_images([f"@{tmp_path / 'list.txt'}"]) == [tmp_path / "#1.jpg", tmp_path / "3.jpg"]
