import io
import os
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import skimage.data
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from two_stream_fusion.base import memory
from two_stream_fusion.io import decode, icc, images, png, tiff
from two_stream_fusion.io.metadata import Metadata, Resolution

ENDINGS = (".png", ".tif", ".jpg", ".webp")


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="none"></x:xmpmeta>'


def sample(dtype, channels=3, size=(13, 17)):
    """An image of noise: H x W for one channel, else H x W x channels."""
    shape = (*size, channels) if channels > 1 else size
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def exif(orientation=None):
    tags = Image.Exif()
    tags[271], tags[306] = "a camera", "2026:01:02 03:04:05"
    tags[0x8769] = {33434: 0.125}  # exposure time
    if orientation:
        tags[274] = orientation
    return tags.tobytes()


def retag(path, name, value):
    """Write another number over that of a tag of a TIFF."""
    with tifffile.TiffFile(path) as file:
        offset, order = file.pages[0].tags[name].valueoffset, file.byteorder
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(struct.pack(order + "H", value))


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("ending", "dtype"),
    [(".png", np.uint8), (".png", np.uint16), (".tif", np.uint8), (".tif", np.uint16), (".webp", np.uint8)],
)
def test_written_images_read_back_the_same(tmp_path, ending, dtype, channels, alpha):
    if ending == ".webp" and channels == 1:
        pytest.skip("WebP has no gray")
    pixels, see_through = sample(dtype, channels), sample(dtype, 1)
    if alpha:
        pixels[see_through == 0] = 0  # WebP keeps no colour where nothing is seen
    path = tmp_path / f"x{ending}"
    profile = b"a profile of an RGB colour" * 9  # "RGB " is where profiles have it
    images.write(path, pixels, see_through if alpha else None, Metadata(exif(), profile))
    back = images.load(path)
    assert back.pixels.dtype == dtype
    np.testing.assert_array_equal(back.pixels, pixels)
    if alpha:
        np.testing.assert_array_equal(back.alpha, see_through)
    else:
        assert back.alpha is None
    assert back.metadata.icc == profile
    tags = Image.Exif()
    tags.load(back.metadata.exif)
    assert tags[271] == "a camera"
    if ending != ".tif":
        assert tags.get_ifd(0x8769)[33434] == 0.125
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_opaque_alpha_is_none(tmp_path):
    Image.fromarray(np.dstack([sample(np.uint8), np.full((13, 17), 255, np.uint8)])).save(tmp_path / "x.png")
    assert images.load(tmp_path / "x.png").alpha is None


def test_colour_is_red_first(tmp_path):
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = 200
    for ending in ENDINGS:
        images.write(tmp_path / f"red{ending}", image)
        red, green, blue = images.read(tmp_path / f"red{ending}")[0, 0]
        assert red > 195 and green < 5 and blue < 5


# What EXIF's orientations have done to a file, by the place of the first pixel of the upright image in it.
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".jpg", ".png", ".tif"])
def test_images_are_upright_and_say_so(tmp_path, ending, orientation):
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:8, :20], upright[16:, 20:] = 250, 120
    expected_of = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, 3),
    }[orientation]
    path = tmp_path / f"x{ending}"
    if ending == ".tif":
        tags = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(path, np.ascontiguousarray(expected_of), photometric="rgb", extratags=tags)
    else:
        Image.fromarray(np.ascontiguousarray(expected_of)).save(path, exif=exif(orientation))
    loaded = images.load(path)
    assert loaded.pixels.shape == upright.shape
    assert np.abs(loaded.pixels.astype(int) - upright).max() <= 6  # JPEG
    kept_exif = Image.Exif()
    kept_exif.load(loaded.metadata.exif)
    assert 274 not in kept_exif


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_pages_of_a_tiff(tmp_path, dtype, compression):
    path = tmp_path / "stack.tif"
    stacked = np.stack([sample(np.uint16), sample(np.uint16)[::-1], sample(np.uint16)[:, ::-1]])
    stack = (stacked / 65535).astype(dtype) if dtype == np.float32 else stacked.astype(dtype)
    tifffile.imwrite(path, stack, photometric="rgb", compression=compression)
    assert images.pages(path) == 3
    for i in range(3):
        expected = stacked[i] if dtype == np.float32 else stack[i]
        np.testing.assert_array_equal(images.read(path, i), expected)
    with pytest.raises(ValueError, match=r"stack\.tif"):
        images.read(path, 3)


def test_lzw_is_read(tmp_path):
    cv2.imwrite(str(tmp_path / "x.tif"), sample(np.uint16)[..., ::-1])  # OpenCV's default
    with tifffile.TiffFile(tmp_path / "x.tif") as file:
        assert file.pages[0].compression == 5
    np.testing.assert_array_equal(images.read(tmp_path / "x.tif"), sample(np.uint16))


@pytest.mark.parametrize("packed", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_of_a_tiff_leaves_the_colours_alone(tmp_path, packed, channels):
    """However it is packed: OpenCV would multiply alpha into the colours."""
    expected = sample(np.uint8, 4)[..., 4 - channels :]
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(expected, 2, 0)]
    Image.merge("RGBA" if channels == 4 else "LA", planes).save(tmp_path / "x.tif", compression=packed)
    loaded = images.load(tmp_path / "x.tif")
    np.testing.assert_array_equal(np.dstack([loaded.pixels, loaded.alpha]), expected)


def test_associated_alpha_is_divided_out(tmp_path):
    alpha = np.array([[255, 128, 1], [0, 200, 51]], np.uint8)
    stored = np.array([[90, 64, 1], [7, 200, 10]], np.uint8)  # colours times alpha / 255
    tifffile.imwrite(
        tmp_path / "x.tif",
        np.dstack([stored] * 3 + [alpha]),
        photometric="rgb",
        extrasamples=["assocalpha"],
    )
    loaded = images.load(tmp_path / "x.tif")
    np.testing.assert_array_equal(loaded.pixels[..., 1], [[90, 128, 255], [7, 255, 50]])
    np.testing.assert_array_equal(loaded.alpha, alpha)


@pytest.mark.parametrize("by_opencv", [False, True])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_associated_alpha_of_16_bits_and_floats_is_divided_out(tmp_path, monkeypatch, dtype, by_opencv):
    if by_opencv:  # as where it is packed by LZW
        monkeypatch.setattr(tiff, "OWN_COMPRESSIONS", ())
    top = 65535 if dtype == np.uint16 else 1
    pixels = np.empty((5, 7, 4), np.float64)
    pixels[..., :3], pixels[..., 3] = 0.4, 0.5  # colours of 0.8, times alpha
    pixels = (pixels * top).astype(dtype)
    tifffile.imwrite(
        tmp_path / "x.tif", pixels, photometric="rgb", extrasamples=["assocalpha"], compression="deflate"
    )
    loaded = images.load(tmp_path / "x.tif")
    np.testing.assert_allclose(loaded.pixels.astype(int), 0.8 * 65535, atol=2)
    np.testing.assert_allclose(loaded.alpha.astype(int), 0.5 * 65535, atol=1)


def test_associated_alpha_packed_by_lzw_is_divided_out_once(tmp_path):
    """Pillow, which unpacks it, divides too, and rounds down."""
    alpha = np.full((3, 4), 128, np.uint8)
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4) * 10
    planes = [Image.fromarray(plane) for plane in (stored, stored, stored, alpha)]
    Image.merge("RGBA", planes).save(tmp_path / "x.tif", compression="tiff_lzw")
    retag(tmp_path / "x.tif", "ExtraSamples", 1)
    loaded = images.load(tmp_path / "x.tif")
    assert np.abs(loaded.pixels - stored[..., None] * (255 / 128)).max() <= 1
    np.testing.assert_array_equal(loaded.alpha, alpha)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_may_be_zero(tmp_path, dtype):
    levels = sample(dtype, 1)
    tifffile.imwrite(tmp_path / "x.tif", levels, photometric="miniswhite")
    np.testing.assert_array_equal(images.read(tmp_path / "x.tif"), np.iinfo(dtype).max - levels)


def test_thumbnails_and_masks_are_no_pages(tmp_path):
    image = sample(np.uint8)
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(image[:3, :4], photometric="rgb", subfiletype=1)
        file.write(image, photometric="rgb")
        file.write(image[..., 0] > 9, photometric="mask", subfiletype=4)
        file.write(image[::-1], photometric="rgb", subfiletype=2)  # a page of several
    assert images.pages(tmp_path / "x.tif") == 2
    np.testing.assert_array_equal(images.read(tmp_path / "x.tif"), image)
    np.testing.assert_array_equal(images.read(tmp_path / "x.tif", 1), image[::-1])


FIRST_AXES = {"description": '{"axes": "ZYX", "shape": [3, 13, 17]}', "metadata": None}  # as older tifffiles


@pytest.mark.parametrize("how", [{"imagej": True}, {"ome": True}, {}, FIRST_AXES])
def test_descriptions_of_how_a_file_is_made_are_not_carried_over(tmp_path, how):
    """A reader would look in the new file for as many pages as the old one had."""
    stack = np.stack([sample(np.uint8, 1)] * 3)
    how = {"metadata": {"axes": "ZYX"}, **how}
    tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack", **how)
    loaded = images.load(tmp_path / "x.tif")
    images.write(tmp_path / "one.tif", loaded.pixels, None, loaded.metadata)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "one.tif"), stack[0])
    tifffile.imwrite(tmp_path / "said.tif", stack[0], description="a fly", metadata=None)
    assert b"a fly" in images.load(tmp_path / "said.tif").metadata.exif


def test_colours_without_opacity_are_kept(tmp_path):
    alpha = np.where(sample(np.uint8, 1) > 99, 255, 0).astype(np.uint8)
    for name in ("x.webp", "x.png", "x.tif"):
        images.write(tmp_path / name, sample(np.uint8), alpha)
        np.testing.assert_array_equal(images.read(tmp_path / name), sample(np.uint8))


def unsuitable(folder):
    """{what is said: a file}, whole files of kinds that are not fused."""
    files = {
        "animated, 2": folder / "animated.webp",
        "animated, 3": folder / "animated.png",
        "CMYK": folder / "cmyk.jpg",
        "SEPARATED": folder / "cmyk.tif",
        "GIF": folder / "x.gif",
        "nan": folder / "nan.tif",
        "floats from -1 to": folder / "negative.tif",
        "int32": folder / "int32.tif",
        "float16": folder / "float16.tif",
        "5 channels": folder / "five.tif",
        "packed by ZSTD": folder / "packed.tif",
        "million": folder / "bomb.png",
        "RAW": folder / "x.nef",
    }
    frames = [Image.fromarray(np.roll(sample(np.uint8), i, 0)) for i in range(3)]
    frames[0].save(files["animated, 2"], save_all=True, append_images=frames[1:2])
    frames[0].save(files["animated, 3"], save_all=True, append_images=frames[1:])
    Image.fromarray(sample(np.uint8, 4), "CMYK").save(files["CMYK"])
    Image.fromarray(sample(np.uint8, 4), "CMYK").save(files["SEPARATED"])
    frames[0].save(files["GIF"])
    floats = np.full((5, 6), 0.5, np.float32)
    for name, value in (("nan", np.nan), ("floats from -1 to", -1)):
        floats[2, 2] = value
        tifffile.imwrite(files[name], floats)
    tifffile.imwrite(files["int32"], floats.astype(np.int32))
    tifffile.imwrite(files["float16"], floats.astype(np.float16))
    tifffile.imwrite(
        files["5 channels"], np.dstack([sample(np.uint8), sample(np.uint8)[..., :2]]), photometric="rgb"
    )
    tifffile.imwrite(files["packed by ZSTD"], sample(np.uint8, 1))
    retag(files["packed by ZSTD"], "Compression", 50000)
    small = io.BytesIO()
    Image.fromarray(sample(np.uint8, 1)).save(small, "PNG")
    data = bytearray(small.getvalue())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    head = png.make_chunk(b"IHDR", bytes(data[16:29]))
    files["million"].write_bytes(bytes(data[:8]) + head + bytes(data[33:]))
    files["RAW"].write_bytes(b"none")
    return files


def test_unsuitable_files_are_refused_by_name(tmp_path):
    for words, path in unsuitable(tmp_path).items():
        with pytest.raises(ValueError, match=words) as error:
            images.read(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def write_raw(path, photograph):
    """A DNG of an H x W x 3 uint8 photograph: an RGGB sensor with the primaries of sRGB."""
    coded = photograph / 255  # by the curve of BT.709, which LibRaw develops with
    linear = np.where(coded < 0.081, coded / 4.5, ((coded + 0.099) / 1.099) ** (1 / 0.45)) * 65535
    sensor = np.empty(photograph.shape[:2], np.uint16)
    for (y, x), channel in zip(np.ndindex(2, 2), (0, 1, 1, 2)):
        sensor[y::2, x::2] = linear[y::2, x::2, channel]
    to_camera = (32405, -15371, -4985, -9693, 18760, 416, 556, -2040, 10572)  # from XYZ, in 1/10000
    tags = [
        (33421, "H", 2, (2, 2), True),  # CFARepeatPatternDim
        (33422, "B", 4, bytes((0, 1, 1, 2)), True),  # CFAPattern
        (50706, "B", 4, bytes((1, 4, 0, 0)), True),  # DNGVersion
        (50708, "s", 0, "a camera", True),  # UniqueCameraModel
        (50721, "2i", 9, sum(((v, 10000) for v in to_camera), ()), True),  # ColorMatrix1
        (50728, "2I", 3, (1, 1) * 3, True),  # AsShotNeutral
        (50778, "H", 1, 21, True),  # CalibrationIlluminant1: D65
    ]
    tifffile.imwrite(path, sensor, photometric=32803, extratags=tags, metadata=None)


def test_raw_is_developed_and_refused_where_not_whole(tmp_path):
    pytest.importorskip("rawpy")
    photograph = cv2.GaussianBlur(skimage.data.coffee()[:240, :320], (0, 0), 1)
    path = tmp_path / "x.dng"
    write_raw(path, photograph)
    pixels = images.read(path)
    assert pixels.shape == photograph.shape and pixels.dtype == np.uint16
    inside = np.abs(pixels / 257 - photograph)[8:-8, 8:-8]
    assert inside.mean() < 1.5
    content = path.read_bytes()
    for share in (0.01, 0.2, 0.5, 0.9):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ValueError, match=r"x\.dng: not a RAW file, or incomplete: Input/output error"):
            images.read(path)


def test_raw_frames_have_one_white_level(tmp_path):
    """However bright a highlight is, which changes with focus, everything else stays as it is."""
    pytest.importorskip("rawpy")
    photograph = cv2.GaussianBlur(skimage.data.coffee()[:240, :320], (0, 0), 1) // 2
    developed = []
    for highlight in (255, 230, 100):
        photograph[40:80, 40:80] = highlight
        write_raw(tmp_path / "x.dng", photograph)
        developed.append(images.read(tmp_path / "x.dng")[120:])
    np.testing.assert_array_equal(developed[1], developed[0])
    np.testing.assert_array_equal(developed[2], developed[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("shape", "photometric"), [((2,), "minisblack"), ((3,), "minisblack"), ((4,), "rgb")]
)
def test_a_channel_that_no_tag_names_is_refused(tmp_path, shape, photometric, dtype):
    pixels = np.random.default_rng(0).integers(0, 255, (13, 17, *shape)).astype(dtype)
    path = tmp_path / "x.tif"
    extra = ["unassalpha"] * (shape[0] - (3 if photometric == "rgb" else 1))
    tifffile.imwrite(path, pixels, photometric=photometric, planarconfig="contig", extrasamples=extra)
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].tags["ExtraSamples"].offset
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(struct.pack("<H", 60000))  # a tag that nobody knows
    with pytest.raises(ValueError, match="channels"):
        images.load(path)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_a_range_may_be_that_of_the_whole_type(tmp_path, dtype):
    ends = np.iinfo(dtype)
    levels = np.array([[ends.min, 0, ends.max]], dtype).repeat(4, axis=0)
    tifffile.imwrite(tmp_path / "x.tif", levels)
    pixels = images.read(tmp_path / "x.tif", value_range=(float(ends.min), float(ends.max)))
    np.testing.assert_allclose(pixels[0].astype(int), [0, 32768, 65535], atol=130)


def test_bmp_of_16_bits_a_pixel(tmp_path):
    head = struct.pack("<IiiHHIIiiII", 40, 2, 1, 1, 16, 3, 4, 0, 0, 0, 0) + struct.pack(
        "<III", 0xF800, 0x7E0, 0x1F
    )
    row = struct.pack("<HH", 0xF800, 0x07E0)  # red, green
    start = 14 + len(head)
    (tmp_path / "x.bmp").write_bytes(b"BM" + struct.pack("<IHHI", start + 4, 0, 0, start) + head + row)
    np.testing.assert_array_equal(images.read(tmp_path / "x.bmp"), [[[255, 0, 0], [0, 255, 0]]])


def test_a_transparent_gray_level_of_16_bits(tmp_path):
    levels = sample(np.uint16, 1)
    hidden = int(levels[3, 4])
    Image.fromarray(levels).save(tmp_path / "x.png", transparency=hidden)
    loaded = images.load(tmp_path / "x.png")
    np.testing.assert_array_equal(loaded.pixels, levels)
    np.testing.assert_array_equal(loaded.alpha, np.where(levels == hidden, 0, 65535))


def write_heic(path, pixels, mode, exif=None):
    """By libheif without loss of colour, where the kind of image allows."""
    heif = pytest.importorskip("pillow_heif")
    heif_file = heif.from_bytes(mode, pixels.shape[1::-1], pixels.tobytes())
    heif_file.save(
        path, quality=-1, chroma=444, matrix_coefficients=0, exif=exif, icc_profile=b"a profile" * 20
    )


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_heic_is_read(tmp_path, mode):
    pixels = sample(np.uint8, len(mode))
    write_heic(tmp_path / "x.heic", pixels, mode, exif())
    loaded = images.load(tmp_path / "x.heic")
    np.testing.assert_array_equal(loaded.pixels, pixels if mode == "L" else pixels[..., :3])
    if mode == "RGBA":
        np.testing.assert_array_equal(loaded.alpha, pixels[..., 3])
    else:
        assert loaded.alpha is None
    kept_exif = Image.Exif()
    kept_exif.load(loaded.metadata.exif)
    assert kept_exif[271] == "a camera" and loaded.metadata.icc == b"a profile" * 20


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, 3), (8, 1)])
def test_heic_is_turned_once(tmp_path, orientation, turns):
    """Its own field says how it is turned, EXIF says so again."""
    pixels = sample(np.uint8)
    write_heic(tmp_path / "x.heic", pixels, "RGB", exif(orientation))
    loaded = images.load(tmp_path / "x.heic")
    np.testing.assert_array_equal(loaded.pixels, np.rot90(pixels, turns))
    kept_exif = Image.Exif()
    kept_exif.load(loaded.metadata.exif)
    assert 274 not in kept_exif


def test_heic_of_ten_bits_is_16_bit(tmp_path):
    levels = np.arange(1024, dtype=np.uint16).repeat(6).reshape(32, 64, 3)
    write_heic(tmp_path / "x.heic", levels << 6, "RGB;16")
    pixels_read = images.read(tmp_path / "x.heic")
    assert pixels_read.dtype == np.uint16
    np.testing.assert_allclose(pixels_read, levels * (65535 / 1023), atol=0.51)
    assert pixels_read.max() == 65535


def test_heic_is_refused_where_it_is_not_whole(tmp_path):
    path = tmp_path / "x.heic"
    write_heic(path, skimage.data.coffee()[:64, :80], "RGB")
    data = path.read_bytes()
    for share in (0.05, 0.3, 0.6, 0.95):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ValueError, match=r"x\.heic: not an image, or a damaged one"):
            images.read(path)


def write_heic_with_numbers(path, pixels, **numbers):
    """HEIC without an ICC profile, whose colours are numbers of H.273."""
    heif = pytest.importorskip("pillow_heif")
    heif_file = heif.from_bytes("L" if pixels.ndim == 2 else "RGB", pixels.shape[1::-1], pixels.tobytes())
    heif_file.save(path, quality=-1, chroma=444, full_range_flag=1, **numbers)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG"), (9, "transfer 9")])
def test_heic_of_hdr_is_refused(tmp_path, transfer, name):
    """Its levels were taken for those of sRGB."""
    path = tmp_path / "x.heic"
    numbers = {"color_primaries": 9, "transfer_characteristics": transfer, "matrix_coefficients": 9}
    write_heic_with_numbers(path, sample(np.uint8), **numbers)
    for function in (images.read, images.header):
        with pytest.raises(ValueError, match=rf"x\.heic: its levels are coded as {name}.*; export it as SDR"):
            function(path)


@pytest.mark.parametrize(
    ("primaries", "name"), [(12, "Display P3"), (9, "BT.2020"), (6, "BT.601, 525 lines")]
)
@pytest.mark.parametrize("transfer", [1, 13])
def test_numbers_of_colours_of_heic_become_a_profile(tmp_path, primaries, name, transfer):
    numbers = {"color_primaries": primaries, "transfer_characteristics": transfer, "matrix_coefficients": 6}
    write_heic_with_numbers(tmp_path / "x.heic", sample(np.uint8), **numbers)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(images.load(tmp_path / "x.heic").metadata.icc)).profile
    assert profile.profile_description == name
    if primaries == 12:
        assert profile.red_colorant[0] == pytest.approx((0.51512, 0.2412, -0.00105), abs=2e-5)


@pytest.mark.parametrize("primaries", [1, 2])
@pytest.mark.parametrize("transfer", [1, 2, 6, 13])
def test_heic_of_srgb_needs_no_profile(tmp_path, primaries, transfer):
    numbers = {
        "color_primaries": primaries,
        "transfer_characteristics": transfer,
        "matrix_coefficients": 6,
    }
    write_heic_with_numbers(tmp_path / "x.heic", sample(np.uint8), **numbers)
    assert images.load(tmp_path / "x.heic").metadata.icc == b""


def test_gray_heic_has_no_profile_of_colours(tmp_path):
    numbers = {"color_primaries": 12, "transfer_characteristics": 13, "matrix_coefficients": 6}
    write_heic_with_numbers(tmp_path / "x.heic", sample(np.uint8, 1), **numbers)
    assert images.load(tmp_path / "x.heic").metadata.icc == b""


def test_unknown_colours_of_heic_get_a_warning(tmp_path, caplog):
    numbers = {"color_primaries": 10, "transfer_characteristics": 13, "matrix_coefficients": 6}  # CIE XYZ
    write_heic_with_numbers(tmp_path / "x.heic", sample(np.uint8), **numbers)
    assert images.load(tmp_path / "x.heic").metadata.icc == b""
    assert "x.heic: its colours (primaries 10 of H.273) are unknown and taken for sRGB" in caplog.text


def write_png_with_chunks(path, pixels, chunks):
    """A PNG file with chunks {name: content} before its pixels."""
    images.write(path, pixels)
    data = path.read_bytes()
    added = b"".join(png.make_chunk(*chunk) for chunk in chunks.items())
    path.write_bytes(data[: png.IHDR_END] + added + data[png.IHDR_END :])


def uint32(*values):
    return struct.pack(f">{len(values)}I", *values)


SRGB_POINTS = uint32(31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)  # white, red, green, blue
ADOBE_POINTS = uint32(31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("chunks", "refused"),
    [
        ({b"cICP": bytes([9, 16, 0, 1])}, "its levels are coded as PQ"),
        ({b"cICP": bytes([9, 18, 0, 1])}, "its levels are coded as HLG"),
        ({b"cICP": bytes([1, 13, 0, 0])}, "its levels are in video's range"),
        ({b"cICP": bytes([9, 16, 0, 1]), b"sRGB": b"\0"}, "its levels are coded as PQ"),
    ],
)
def test_png_of_hdr_is_refused(tmp_path, dtype, chunks, refused):
    """Its levels were taken for those of sRGB."""
    write_png_with_chunks(tmp_path / "x.png", sample(dtype), chunks)
    with pytest.raises(ValueError, match=rf"x\.png: {refused}"):
        images.read(tmp_path / "x.png")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "chunks",
    [
        {b"cICP": bytes([1, 13, 0, 1])},
        {b"gAMA": uint32(45455)},
        {b"gAMA": uint32(45455), b"cHRM": SRGB_POINTS},  # as ImageMagick writes them
        {b"gAMA": uint32(55556), b"cHRM": ADOBE_POINTS, b"sRGB": b"\0"},
        {b"gAMA": uint32(0)},
    ],
)
def test_png_of_srgb_needs_no_profile(tmp_path, dtype, channels, chunks):
    write_png_with_chunks(tmp_path / "x.png", sample(dtype, channels), chunks)
    assert images.load(tmp_path / "x.png").metadata.icc == b""


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("chunks", "points", "gamma"),
    [
        ({b"cICP": bytes([12, 13, 0, 1])}, icc.PRIMARIES[12][1:], None),
        ({b"gAMA": uint32(100000)}, icc.SRGB, 1),
        ({b"gAMA": uint32(55556)}, icc.SRGB, 1.8),
        ({b"gAMA": uint32(45470), b"cHRM": ADOBE_POINTS}, icc.ADOBE_RGB, 2.199),
        ({b"cHRM": ADOBE_POINTS}, icc.ADOBE_RGB, None),
        ({b"cICP": bytes([1, 8, 0, 1])}, icc.SRGB, 1),
        ({b"cICP": bytes([2, 4, 0, 1])}, icc.SRGB, 2.2),
        ({b"cICP": bytes([2, 2, 0, 1]), b"gAMA": uint32(55556)}, icc.SRGB, 1.8),
    ],
)
def test_chunks_of_colours_of_png_become_a_profile(tmp_path, dtype, chunks, points, gamma):
    """The fused image is shown as its sources: in the same colours, from dark to bright."""
    write_png_with_chunks(tmp_path / "x.png", sample(dtype), chunks)
    made = images.load(tmp_path / "x.png").metadata.icc
    profile = ImageCms.ImageCmsProfile(io.BytesIO(made)).profile
    expected = ImageCms.ImageCmsProfile(io.BytesIO(icc.make_profile("x", points, gamma))).profile
    for colorant in ("red_colorant", "green_colorant", "blue_colorant"):
        assert getattr(profile, colorant)[0] == pytest.approx(getattr(expected, colorant)[0], abs=2e-5)
    grays = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2))
    shown = [
        ImageCms.profileToProfile(
            grays, ImageCms.ImageCmsProfile(io.BytesIO(data)), ImageCms.createProfile("sRGB")
        )
        for data in (made, icc.make_profile("x", points, gamma))
    ]
    assert np.abs(np.asarray(shown[0], int) - np.asarray(shown[1], int)).max() <= 1
    copy = tmp_path / "y.png"
    images.write(copy, images.read(tmp_path / "x.png"), metadata=images.load(tmp_path / "x.png").metadata)
    assert images.load(copy).metadata.icc == made


@pytest.mark.parametrize("numbers", [(2, 2), (10, 13), (1, 2), (9, 2)])
def test_numbers_of_no_colours_leave_the_profile_of_png(tmp_path, numbers, caplog):
    profile = icc.make_profile("x", icc.PRIMARIES[12][1:])
    chunks = {b"cICP": bytes([*numbers, 0, 1]), b"iCCP": b"ICC\0\0" + zlib.compress(profile)}
    write_png_with_chunks(tmp_path / "x.png", sample(np.uint8), chunks)
    assert images.load(tmp_path / "x.png").metadata.icc == profile
    assert not caplog.text


@pytest.mark.parametrize("chunk", [(b"gAMA", uint32(100000)), (b"cICP", bytes([9, 16, 0, 1]))])
def test_chunks_of_colour_after_the_pixels_of_png_do_not_count(tmp_path, chunk):
    images.write(tmp_path / "x.png", sample(np.uint8))
    data = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(data[:-12] + png.make_chunk(*chunk) + data[-12:])
    assert images.load(tmp_path / "x.png").metadata.icc == b""


def test_gray_png_of_another_gamma_gets_a_profile_of_gray(tmp_path):
    write_png_with_chunks(tmp_path / "x.png", sample(np.uint8, 1), {b"gAMA": uint32(100000)})
    made = images.load(tmp_path / "x.png").metadata.icc
    profile = ImageCms.ImageCmsProfile(io.BytesIO(made))
    assert profile.profile.xcolor_space.strip() == "GRAY"
    levels = Image.fromarray(np.array([[0, 64, 128, 255]], np.uint8))
    shown = ImageCms.profileToProfile(levels, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    light = np.array([0, 64, 128, 255]) / 255
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(np.asarray(shown)[0, :, 1] - expected).max() < 1.5


def test_an_icc_profile_of_png_counts_before_its_gamma(tmp_path):
    profile = icc.make_profile("x", icc.PRIMARIES[9][1:])
    chunks = {b"iCCP": b"ICC\0\0" + zlib.compress(profile), b"gAMA": uint32(100000)}
    write_png_with_chunks(tmp_path / "x.png", sample(np.uint8), chunks)
    assert images.load(tmp_path / "x.png").metadata.icc == profile


def test_colours_of_png_that_are_none_get_a_warning(tmp_path, caplog):
    write_png_with_chunks(tmp_path / "x.png", sample(np.uint8), {b"cHRM": uint32(*[30000, 0] * 4)})
    assert images.load(tmp_path / "x.png").metadata.icc == b""
    assert "x.png: its chunk cHRM is no set of colours; they are taken for sRGB" in caplog.text


def test_heic_without_its_library_says_what_is_missing(tmp_path, monkeypatch):
    path = tmp_path / "x.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ValueError, match=r"x\.heic: HEIC files need pillow-heif \(pip install pillow-heif\)"):
        images.read(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("ending", ENDINGS)
def test_truncated_files_are_refused(tmp_path, ending, dtype):
    if dtype == np.uint16 and ending in (".jpg", ".webp"):
        pytest.skip("8 bit alone")
    path = tmp_path / f"x{ending}"
    images.write(path, sample(dtype, 3, (64, 64)))
    content = path.read_bytes()
    for share in (0.01, 0.2, 0.5, 0.9):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ValueError, match=path.name):
            images.read(path)


def damaged(rng, data):
    """A copy of a file with bytes changed, cut out, put in or doubled."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 20))
        damage = rng.integers(4)
        if damage == 0:
            data[at] = rng.integers(256)
        elif damage == 1:
            del data[at : at + length]
        elif damage == 2:
            data[at:at] = rng.bytes(length)
        else:
            data[at:at] = data[at : at + length]
        if not data:
            break
    return bytes(data)


def fuzz(folder, rounds, seed):
    """Reads damaged files: an image or a ValueError, nothing else; returns how many were refused."""
    rng = np.random.default_rng(seed)
    seeds = []
    for ending, dtype, channels in (
        (".png", np.uint8, 3), (".png", np.uint16, 3), (".png", np.uint16, 1), (".tif", np.uint8, 3),
        (".tif", np.uint16, 3), (".jpg", np.uint8, 3), (".jpg", np.uint8, 1), (".webp", np.uint8, 3),
    ):  # fmt: skip
        metadata = Metadata(exif(), b"profile", XMP, Resolution(300, 200))
        images.write(folder / f"x{ending}", sample(dtype, channels, (40, 31)), None, metadata)
        seeds.append((ending, (folder / f"x{ending}").read_bytes()))
    refused = 0
    for i in range(rounds):
        ending, data = seeds[i % len(seeds)]
        path = folder / f"damaged{ending}"
        path.write_bytes(damaged(rng, data))
        try:
            loaded = images.load(path)
            assert loaded.pixels.dtype in (np.uint8, np.uint16) and loaded.pixels.ndim in (2, 3)
            images.write(folder / "again.png", loaded.pixels, loaded.alpha, loaded.metadata)
            images.pages(path)
        except ValueError as error:
            refused += 1
            assert path.name in str(error) and "\n" not in str(error)
    return refused


def test_damaged_files_are_read_or_refused(tmp_path):
    assert fuzz(tmp_path, 400, seed=1) > 100


@pytest.mark.slow
def test_ten_thousand_damaged_files(tmp_path):
    assert fuzz(tmp_path, 10_000, seed=2) > 2500


@pytest.mark.parametrize(
    "content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"II*\0", b"II*\0\x08\0\0\0"]
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    for function in (images.read, images.pages):
        if function is images.pages and not content.startswith(b"II"):
            continue
        with pytest.raises(ValueError, match=r"x\.png"):
            function(path)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(ENDINGS), st.booleans())
def test_any_size_is_kept(tmp_path_factory, height, width, ending, deep):
    path = tmp_path_factory.mktemp("size") / f"x{ending}"
    dtype = np.uint16 if deep and ending in (".png", ".tif") else np.uint8
    images.write(path, sample(dtype, 3, (height, width)))
    read_back = images.read(path)
    assert read_back.shape == (height, width, 3) and read_back.dtype == dtype


@pytest.mark.parametrize(
    ("name", "pixels", "alpha", "words"),
    [
        ("x.jpg", sample(np.uint16), None, "16 bit"),
        ("x.webp", sample(np.uint16), None, "16 bit"),
        ("x.jpg", sample(np.uint8), sample(np.uint8, 1), "alpha"),
        ("x.nonsense", sample(np.uint8), None, "cannot be written as .nonsense"),
        ("x", sample(np.uint8), None, "without an ending"),
        ("x.webp", np.zeros((1, 17000), np.uint8), None, "16383"),
        ("x.png", np.full((4, 4), 0.5), None, "float64 pixels; uint8 and uint16 are written"),
        ("x.tif", np.full((4, 4), 0.5, np.float32), None, "float32 pixels"),
        ("x.png", np.full((4, 4), True), None, "bool pixels"),
        ("x.png", np.full((4, 4), 300, np.int64), None, "int64 pixels"),
    ],
)
def test_pixels_a_format_cannot_hold_are_refused(tmp_path, name, pixels, alpha, words):
    with pytest.raises(ValueError, match=words):
        images.write(tmp_path / name, pixels, alpha)
    assert not list(tmp_path.iterdir())


def test_webp_of_gray_has_no_profile_of_gray(tmp_path):
    """Its pixels are RGB."""
    rgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile, expected in ((rgb, rgb), (rgb[:16] + b"GRAY" + rgb[20:], None)):
        images.write(tmp_path / "x.webp", sample(np.uint8, 1), metadata=Metadata(icc=profile))
        with Image.open(tmp_path / "x.webp") as file:
            assert file.mode == "RGB" and file.info.get("icc_profile") == expected


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "x.png"
    images.write(path, sample(np.uint8))
    before = path.read_bytes()

    def full(self, data):
        with open(self, "wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(type(path), "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        images.write(path, sample(np.uint8, 1))
    monkeypatch.undo()
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_a_folder_without_write_permission_is_named(tmp_path):
    with pytest.raises(OSError) as error:
        images.write(tmp_path / "none/x.png", sample(np.uint8))
    assert error.value.filename == str(tmp_path / "none/x.png")


@pytest.mark.parametrize("white", [1, 100, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
def test_pgm_and_ppm_may_name_another_white(tmp_path, kind, white):
    rng = np.random.default_rng(white)
    values = rng.integers(0, white + 1, (5, 7, 3) if kind in ("P3", "P6") else (5, 7))
    values[0, 0], values[1, 1] = 0, white
    head = f"{kind}\n# of {white} levels\n7 5\n{white}\n".encode()
    if kind in ("P2", "P3"):
        data = " ".join(map(str, values.ravel())).encode()
    else:
        data = values.astype(">u2" if white > 255 else "u1").tobytes()
    (tmp_path / "x.ppm").write_bytes(head + data)
    top = 65535 if white > 255 else 255
    pixels = images.read(tmp_path / "x.ppm")
    assert pixels.dtype == (np.uint16 if white > 255 else np.uint8)
    np.testing.assert_array_equal(pixels, np.rint(values * (top / white)))


def test_floats_are_tiffs_alone(tmp_path):
    (tmp_path / "x.pfm").write_bytes(b"Pf\n3 2\n-1.0\n" + np.full(6, 0.5, "<f4").tobytes())
    with pytest.raises(ValueError, match=r"x\.pfm: PFM files are not read"):
        images.read(tmp_path / "x.pfm")


def test_threads_that_read_leave_stderr_where_it_was(tmp_path):
    images.write(tmp_path / "x.png", sample(np.uint16))
    before = os.fstat(2)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(images.read, [tmp_path / "x.png"] * 40))
    assert os.path.samestat(os.fstat(2), before)


@pytest.mark.parametrize("levels", ["300 -5 256 999", "0 1 2 256", "0 1 2 -1"])
@pytest.mark.parametrize("magic", ["P2", "P3"])
def test_numbers_beyond_white_are_refused(tmp_path, magic, levels):
    path = tmp_path / "wrap.pnm"
    path.write_text(f"{magic}\n2 2\n255\n" + f"{levels} " * (3 if magic == "P3" else 1))
    with pytest.raises(ValueError, match=r"wrap\.pnm: damaged: numbers from .* though white is"):
        images.read(path)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"v/1\x01", "EXR"),
        (b"PF\n2 2\n", "PFM"),
        (b"\0\0\0\x20ftypavif", "AVIF"),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path, head, name):
    path = tmp_path / "x.img"
    path.write_bytes(head + bytes(40))
    with pytest.raises(ValueError, match=f"x.img: {name} files are not read"):
        images.read(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_a_fifo_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    for function in (images.read, images.pages):
        with pytest.raises(ValueError, match=r"x\.png: is a FIFO, a socket or a device"):
            function(tmp_path / "x.png")


@pytest.mark.parametrize("error", [MemoryError(), cv2.error("no memory")])
def test_lack_of_memory_is_no_damage(tmp_path, monkeypatch, error):
    images.write(tmp_path / "x.png", np.zeros((4, 4), np.uint8))
    if isinstance(error, cv2.error):
        error.code = decode.OPENCV_NO_MEMORY

    def fail(path):
        raise error

    monkeypatch.setattr(decode, "decode_with_pillow", fail)
    with pytest.raises(MemoryError):
        images.read(tmp_path / "x.png")


def test_standard_input_is_refused_by_name():
    for function in (images.read, images.pages, images.header):
        with pytest.raises(ValueError, match="-: standard input is not read; save the image as a file"):
            function("-")


def write_16_bit_png(path, colour_type, transparent=None):
    """A PNG of 16 bits, of a type that Pillow cannot write."""
    channels = png.CHANNELS[colour_type]
    levels = sample(np.uint16, channels)
    rows = levels.astype(">u2").reshape(13, -1).view(np.uint8)
    header = struct.pack(">IIBBBBB", 17, 13, 16, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes()))]
    if transparent is not None:
        chunks.insert(1, (b"tRNS", transparent))
    chunks.append((b"IEND", b""))
    path.write_bytes(png.SIGNATURE + b"".join(png.make_chunk(*chunk) for chunk in chunks))
    return levels


@pytest.mark.parametrize("colour_type", [0, 2, 4, 6])
@pytest.mark.parametrize("is_transparent", [False, True])
def test_16_bit_png_is_read_as_it_says_or_refused(tmp_path, colour_type, is_transparent):
    if is_transparent and colour_type > 2:
        pytest.skip("has alpha of its own")
    path = tmp_path / "x.png"
    transparent = b"\0\1" * png.CHANNELS[colour_type] if is_transparent else None
    levels = write_16_bit_png(path, colour_type, transparent)
    try:
        loaded = images.load(path)
    except ValueError as error:
        assert is_transparent and "the file says 13x17x" in str(error)
        return
    stored = loaded.pixels if colour_type in (0, 2) else np.dstack([loaded.pixels, loaded.alpha])
    np.testing.assert_array_equal(stored, levels)


@pytest.mark.parametrize("wrong", [np.zeros((13, 17), np.uint16), np.zeros((13, 17, 3), np.uint8)])
def test_what_opencv_decodes_is_checked(tmp_path, monkeypatch, wrong):
    write_16_bit_png(tmp_path / "x.png", 2)
    monkeypatch.setattr(decode, "decode_with_opencv", lambda data: wrong)
    with pytest.raises(ValueError, match=r"x\.png: read as .* the file says 13x17x3 of 16 bits"):
        images.read(tmp_path / "x.png")


def test_what_libheif_decodes_is_checked(tmp_path, monkeypatch):
    write_heic(tmp_path / "x.heic", sample(np.uint8, size=(64, 64)), "RGB")
    monkeypatch.setattr(decode.np, "array", lambda file: np.zeros((64, 64, 4), np.uint8))
    with pytest.raises(ValueError, match=r"x\.heic: read as 64x64x4 uint8, the file says 64x64x3 of 8 bits"):
        images.read(tmp_path / "x.heic")


@pytest.mark.parametrize("ending", [*ENDINGS, ".bmp", ".ppm"])
def test_headers_say_what_is_decoded(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    for channels in (1, 3):
        Image.fromarray(sample(np.uint8, channels)).save(path)
        header, pixels = images.header(path), images.read(path)
        assert (header.height, header.width) == pixels.shape[:2] and header.itemsize == 1
        assert header.size == pixels.size or ending == ".webp"
        assert header.decoding >= header.size


def test_headers_of_raw_and_heic_say_what_is_decoded(tmp_path):
    pytest.importorskip("rawpy")
    write_raw(tmp_path / "x.dng", sample(np.uint8, size=(64, 96)))
    write_heic(tmp_path / "x.heic", sample(np.uint8, size=(64, 96)), "RGB")
    for name in ("x.dng", "x.heic"):
        header, pixels = images.header(tmp_path / name), images.read(tmp_path / name)
        assert (header.height, header.width, header.channels) == pixels.shape
        assert header.itemsize == pixels.itemsize


@pytest.mark.parametrize("ending", [*ENDINGS, ".ppm", ".dng", ".heic"])
def test_an_image_that_memory_cannot_hold_is_refused(tmp_path, monkeypatch, ending):
    path = tmp_path / f"x{ending}"
    if ending == ".dng":
        pytest.importorskip("rawpy")
        write_raw(path, sample(np.uint8, size=(64, 96)))
    elif ending == ".heic":
        write_heic(path, sample(np.uint8, size=(64, 96)), "RGB")
    else:
        Image.fromarray(sample(np.uint8, size=(64, 96))).save(path)
    monkeypatch.setattr(memory, "available", lambda: 1000)
    with pytest.raises(MemoryError, match=rf"x\{ending}: 96x64 pixels: not enough memory: .* are needed"):
        images.read(path)


def claims(path, width, height):
    """A small image whose header claims another size, by the ending of its name."""
    buffer = io.BytesIO()
    Image.fromarray(sample(np.uint8)).save(buffer, {".jpg": "JPEG", ".bmp": "BMP"}.get(path.suffix, "PNG"))
    data = bytearray(buffer.getvalue())
    if path.suffix == ".webp":  # lossless, of one colour
        data = bytearray(
            bytes.fromhex("524946461a000000574542505650384c0e0000002ffebfff0f071011fd0f4444ff03")
        )
    elif path.suffix == ".jpg":
        marker = data.index(b"\xff\xc0") + 5
        data[marker : marker + 4] = struct.pack(">HH", height, width)
    elif path.suffix == ".bmp":
        data[18:26] = struct.pack("<II", width, height)
    elif path.suffix == ".ppm":
        data = b"P6 %d %d 255\n" % (width, height) + bytes(99)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, sample(np.uint8), photometric="rgb", compression="zlib")
        for name, value in (("ImageWidth", width), ("ImageLength", height), ("RowsPerStrip", height)):
            retag(path, name, value)
        return
    else:
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)


@pytest.mark.parametrize("ending", [*ENDINGS, ".bmp", ".ppm"])
def test_files_that_claim_far_more_than_they_hold_are_refused(tmp_path, monkeypatch, ending):
    path = tmp_path / f"x{ending}"
    width, height = (16383, 16383) if ending == ".webp" else (22400, 22300)
    claims(path, width, height)
    monkeypatch.setattr(np, "empty", None)  # nothing is decoded
    with pytest.raises(
        ValueError, match=rf"x\{ending}: {width}x{height} pixels in \d+ bytes cannot be an image"
    ):
        images.read(path)


def test_a_png_without_its_end_chunk_is_read_with_a_warning(tmp_path, caplog):
    """As a JPEG without its end marker. Pixels that are missing are an error."""
    path, pixels = tmp_path / "x.png", np.arange(600, dtype=np.uint8).reshape(20, 30)
    images.write(path, pixels)
    data = path.read_bytes()
    end = data.index(b"IEND") - 4
    path.write_bytes(data[:end])
    np.testing.assert_array_equal(images.read(path), pixels)
    assert caplog.messages == [
        f"{path}: has no end chunk (IEND), so it may be cut off; its pixels are complete"
    ]
    cut = tmp_path / "cut.png"
    cut.write_bytes(data[: end - 30])
    with pytest.raises(ValueError, match=r"cut\.png: not an image, or a damaged one"):
        images.read(cut)
    assert len(caplog.messages) == 1  # nobody says that its pixels are complete
