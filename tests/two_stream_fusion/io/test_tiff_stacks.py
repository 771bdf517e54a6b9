import numpy as np
import pytest
import tifffile
from PIL import Image

from two_stream_fusion.io import images, tiff_stacks


def hyperstack(*sizes):
    """Planes of 13 x 17 uint16, each of noise of its own."""
    return np.random.default_rng(0).integers(0, 65535, (*sizes, 13, 17), np.uint16, endpoint=True)


@pytest.mark.parametrize("how", [{"imagej": True}, {"ome": True}, {}])
def test_z_of_a_chosen_channel_and_time_is_the_stack(tmp_path, how):
    levels, path = hyperstack(2, 5, 3), tmp_path / "x.tif"  # the order that ImageJ needs
    tifffile.imwrite(path, levels, photometric="minisblack", metadata={"axes": "TZCYX"}, **how)
    assert images.pages(path, channel=3, time=2) == 5
    for z in range(5):
        np.testing.assert_array_equal(images.read(path, z, channel=3, time=2), levels[1, z, 2])
    with pytest.raises(ValueError, match=r"3 channels and 2 times \(axes TZCYX\).*--channel N and --time N"):
        images.pages(path)
    with pytest.raises(ValueError, match=r"2 times \(axes TZCYX\).*choose one by --time N"):
        images.read(path, channel=1)
    with pytest.raises(ValueError, match=r"--channel 4: 3 channels \(axes TZCYX\)"):
        images.pages(path, channel=4, time=1)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.95])
def test_a_file_cut_short_is_no_shorter_stack(tmp_path, byteorder, bigtiff, share):
    """Pages that are whole are still there; fused alone they would be a stack without its last frames."""
    path = tmp_path / "x.tif"
    with tifffile.TiffWriter(path, byteorder=byteorder, bigtiff=bigtiff) as file:
        for page in hyperstack(6):
            file.write(page, compression="zlib", contiguous=False, metadata=None)
    assert images.pages(path) == 6
    content = path.read_bytes()
    path.write_bytes(content[: round(share * len(content))])
    with pytest.raises(ValueError, match=r"x\.tif"):
        for index in range(images.pages(path)):
            images.read(path, index)


def test_pages_of_pillow_cut_short_are_refused(tmp_path):
    path = tmp_path / "x.tif"
    first, *others = (Image.fromarray((page >> 8).astype(np.uint8)) for page in hyperstack(6))
    first.save(path, save_all=True, append_images=others, compression="tiff_lzw")
    content = path.read_bytes()
    assert images.pages(path) == 6
    for share in (0.6, 0.8, 0.9, 0.99):
        path.write_bytes(content[: round(share * len(content))])
        with pytest.raises(ValueError, match=r"x\.tif: "):
            images.pages(path)


def test_the_order_of_axes_is_the_files(tmp_path):
    levels = hyperstack(2, 5)
    tifffile.imwrite(tmp_path / "x.ome.tif", levels, photometric="minisblack", metadata={"axes": "CZYX"})
    assert images.pages(tmp_path / "x.ome.tif", channel=2) == 5
    np.testing.assert_array_equal(images.read(tmp_path / "x.ome.tif", 3, channel=2), levels[1, 3])


@pytest.mark.parametrize("how", [{}, {"imagej": True}])
def test_planes_of_one_directory_are_a_stack(tmp_path, how):
    levels, path = hyperstack(5), tmp_path / "x.tif"
    tifffile.imwrite(path, levels, photometric="minisblack", truncate=True, metadata={"axes": "ZYX"}, **how)
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1
    assert images.pages(path) == 5
    for z in range(5):
        np.testing.assert_array_equal(images.read(path, z), levels[z])
    path.write_bytes(path.read_bytes()[: levels[:4].nbytes])
    with pytest.raises(ValueError, match="damaged"):
        images.read(path, 4)


@pytest.mark.parametrize("how", [{"imagej": True}, {"ome": True}, {}])
def test_samples_of_rgb_are_no_channels(tmp_path, how):
    levels = np.random.default_rng(0).integers(0, 255, (4, 13, 17, 3), np.uint8)
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, levels, photometric="rgb", metadata={"axes": "ZYXS"}, **how)
    assert images.pages(path) == images.pages(path, channel=1) == 4
    np.testing.assert_array_equal(images.read(path, 2), levels[2])


def test_one_of_several_ome_images_is_not_guessed(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.ome.tif", ome=True) as file:
        for _ in range(2):
            file.write(hyperstack(3), photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.raises(ValueError, match="2 images of several planes"):
        images.pages(tmp_path / "x.ome.tif")


def test_other_files_have_one_channel(tmp_path):
    images.write(tmp_path / "x.png", hyperstack())
    images.read(tmp_path / "x.png", channel=1, time=1)
    with pytest.raises(ValueError, match=r"x\.png: --channel 2: 1 channel \(axes YX\)"):
        images.read(tmp_path / "x.png", channel=2)


def test_more_pages_than_can_be_looked_at_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_stacks, "MAX_PAGES", 3)
    for count in (3, 4):
        tifffile.imwrite(
            tmp_path / f"{count}.tif", hyperstack(count), photometric="minisblack", metadata=None
        )
    assert images.pages(tmp_path / "3.tif") == 3
    with pytest.raises(ValueError, match=r"4\.tif: more than 3 pages"):
        images.pages(tmp_path / "4.tif")


def test_planes_of_one_directory_have_their_own_colours(tmp_path):
    levels, path = hyperstack(4).astype(np.uint8), tmp_path / "x.tif"
    colours = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16)
    options = {"photometric": "palette", "colormap": colours * 257, "metadata": {"axes": "ZYX"}}
    tifffile.imwrite(path, levels, truncate=True, **options)
    assert images.pages(path) == 4
    for z in range(4):
        np.testing.assert_array_equal(images.read(path, z), np.moveaxis(colours, 0, -1)[levels[z]])


@pytest.mark.parametrize("ending", [".tif", ".tiff"])
def test_a_thumbnail_is_not_taken_for_the_image(tmp_path, ending):
    """RAW files are TIFF whose image is in a directory of its own, below that of a thumbnail."""
    path = tmp_path / f"x{ending}"
    with tifffile.TiffWriter(path) as file:
        file.write(
            np.zeros((12, 16, 3), np.uint8), photometric="rgb", subfiletype=1, subifds=1, metadata=None
        )
        file.write(np.zeros((120, 160), np.uint16), photometric=32803, metadata=None)
    with pytest.raises(ValueError, match="holds a thumbnail"):
        images.pages(path)
