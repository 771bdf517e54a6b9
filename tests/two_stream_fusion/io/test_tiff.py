import struct
import time
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from two_stream_fusion.io import decode, images, tiff


def noise(dtype, channels=3):
    levels = np.random.default_rng(0).integers(0, 65535, (130, 170, channels), np.uint16, endpoint=True)
    if np.dtype(dtype).kind == "f":
        return (levels / 65535).astype(dtype), levels
    levels = (levels >> (16 - 8 * np.dtype(dtype).itemsize)).astype(dtype)
    return levels, levels


@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_separate_planes_are_read(tmp_path, dtype, channels, compression, predictor):
    if predictor and (compression is None or np.dtype(dtype).kind == "f"):
        pytest.skip("packed integers alone")
    stored, expected = noise(dtype, channels)
    tifffile.imwrite(
        tmp_path / "x.tif",
        np.moveaxis(stored, 2, 0),
        photometric="rgb",
        planarconfig="separate",
        extrasamples=["unassalpha"] if channels == 4 else None,
        compression=compression,
        predictor=predictor,
        rowsperstrip=40,
    )
    loaded = images.load(tmp_path / "x.tif")
    np.testing.assert_array_equal(loaded.pixels, expected[..., :3])
    if channels == 4:
        np.testing.assert_array_equal(loaded.alpha, expected[..., 3])


def separate_lzw(path, planes):
    """Write separate planes packed by LZW: OpenCV packs each, tifffile puts them into one file."""
    packed = []
    for plane in planes:
        cv2.imwrite(str(path), plane)
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            assert page.compression == 5
            rows, predictor = page.rowsperstrip, page.predictor
            for offset, count in zip(page.dataoffsets, page.databytecounts):
                file.filehandle.seek(offset)
                packed.append(file.filehandle.read(count))
    zeros = b"\x78\x9c\x03\x00\x00\x00\x00\x01"
    tifffile.imwrite(
        path,
        iter([zeros] * len(packed)),
        shape=planes.shape,
        dtype=planes.dtype,
        photometric="rgb",
        planarconfig="separate",
        compression="zlib",
        predictor=int(predictor) > 1 and planes.dtype.kind == "u",
        rowsperstrip=rows,
        metadata=None,
    )
    with tifffile.TiffFile(path) as file:
        page, order = file.pages[0], file.byteorder
        tags = {
            name: page.tags[name].valueoffset for name in ("Compression", "StripOffsets", "StripByteCounts")
        }
        kinds = {name: page.tags[name].dtype for name in tags}
    data = bytearray(path.read_bytes())
    offsets, counts = [], [len(p) for p in packed]
    for part in packed:
        offsets.append(len(data))
        data += part
    for name, values in {"Compression": [5], "StripOffsets": offsets, "StripByteCounts": counts}.items():
        dtype = np.dtype({3: "u2", 4: "u4", 16: "u8"}[int(kinds[name])]).newbyteorder(order)
        values = np.array(values, dtype).tobytes()
        data[tags[name] : tags[name] + len(values)] = values
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_separate_planes_packed_by_lzw_are_read(tmp_path, dtype):
    levels = noise(dtype)[1] // 3
    separate_lzw(tmp_path / "x.tif", np.ascontiguousarray(np.moveaxis(levels, 2, 0)))
    np.testing.assert_array_equal(images.read(tmp_path / "x.tif"), levels)


def test_what_a_library_decodes_is_checked(tmp_path, monkeypatch):
    Image.fromarray(noise(np.uint8)[1]).save(tmp_path / "x.tif", compression="tiff_lzw")
    for wrong in (np.zeros((130, 170), np.uint8), np.zeros((170, 130, 3), np.uint8)):
        monkeypatch.setattr(decode, "decode_with_opencv", lambda data, wrong=wrong: wrong)
        with pytest.raises(ValueError, match=r"x\.tif: read as .* the file says 130x170x3 of 8 bits"):
            images.read(tmp_path / "x.tif")
    monkeypatch.setattr(decode, "decode_with_opencv", lambda data: np.zeros((130, 170, 3), np.uint16))
    with pytest.raises(ValueError, match="uint16, the file says"):
        images.read(tmp_path / "x.tif")


def test_missing_strips_are_not_filled(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, noise(np.uint16)[1], photometric="rgb", rowsperstrip=40, compression="zlib")
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags["StripByteCounts"]
        offset, size = tag.valueoffset, {3: 2, 4: 4, 16: 8}[int(tag.dtype)]
    data = bytearray(path.read_bytes())
    data[offset + size : offset + 2 * size] = bytes(size)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        images.read(path)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_a_range_scales_other_levels(tmp_path, dtype):
    levels = np.linspace(-100, 4000, 130 * 170).reshape(130, 170).astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", levels)
    with pytest.raises(ValueError, match=r"(int16 pixels|floats) from -100 to 4000.*--range LOW,HIGH"):
        images.read(tmp_path / "x.tif")
    pixels = images.read(tmp_path / "x.tif", value_range=(0, 2000))
    np.testing.assert_array_equal(pixels, np.rint(np.clip(levels.astype(float) * (65535 / 2000), 0, 65535)))
    assert pixels.dtype == np.uint16


def test_a_range_is_for_what_is_not_read_without(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", noise(np.uint16)[1], photometric="rgb")
    with pytest.raises(ValueError, match="uint16 pixels need no --range"):
        images.read(tmp_path / "x.tif", value_range=(0, 1))
    tifffile.imwrite(tmp_path / "nan.tif", np.full((9, 9), np.nan, np.float32))
    with pytest.raises(ValueError, match="NaN"):
        images.read(tmp_path / "nan.tif", value_range=(0, 1))


def test_compressions_of_ours_need_no_opencv(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "_decode_with_opencv", None)
    for packed in ("raw", "tiff_adobe_deflate", "packbits"):
        Image.fromarray(noise(np.uint8)[1]).save(tmp_path / "x.tif", compression=packed)
        np.testing.assert_array_equal(images.read(tmp_path / "x.tif"), noise(np.uint8)[1])


def write_packed(path, levels, bits, is_deflated):
    """Write H x W levels of any number of bits, each row padded to whole bytes."""
    shifts = np.arange(bits - 1, -1, -1)
    rows = [np.packbits((row[:, None] >> shifts & 1).astype(np.uint8).ravel()) for row in levels]
    data = np.concatenate(rows).tobytes()
    data = zlib.compress(data) if is_deflated else data
    data += bytes(len(data) % 2)
    height, width = levels.shape
    tags = {256: width, 257: height, 258: bits, 259: 8 if is_deflated else 1, 262: 1, 273: 8, 277: 1}
    tags.update({278: height, 279: len(data)})
    directory = struct.pack(">H", len(tags)) + b"".join(
        struct.pack(">HHII", t, 4, 1, v) for t, v in tags.items()
    )
    path.write_bytes(b"MM\0*" + struct.pack(">I", 8 + len(data)) + data + directory + bytes(4))


@pytest.mark.parametrize("is_deflated", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16, 24, 32])
def test_any_number_of_bits_is_read_right_or_refused(tmp_path, bits, is_deflated):
    levels = np.random.default_rng(bits).integers(0, 2**bits, (20, 32))
    write_packed(tmp_path / "x.tif", levels, bits, is_deflated)
    if bits in (1, 8, 16):
        np.testing.assert_array_equal(images.read(tmp_path / "x.tif"), levels * (255 if bits == 1 else 1))
    else:
        with pytest.raises(ValueError, match=rf"x\.tif: ({bits} bits a level|uint32 pixels)"):
            images.read(tmp_path / "x.tif")


def test_signed_levels_packed_by_lzw_are_not_taken_for_unsigned(tmp_path):
    levels = np.arange(-300, 300, dtype=np.int16).reshape(20, 30)
    cv2.imwrite(str(tmp_path / "x.tif"), levels.view(np.uint16))
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+b") as file:
        assert file.pages[0].compression == 5
        file.pages[0].tags[339].overwrite(2)
    with pytest.raises(ValueError, match=r"x\.tif: int16 pixels from -300 to 299"):
        images.read(tmp_path / "x.tif")


@pytest.mark.parametrize("is_loop", [False, True])
def test_files_of_very_many_pages_are_refused_at_once(tmp_path, is_loop):
    """A long chain of directories, or one that leads back to its first."""
    count = 3 if is_loop else 100_000
    pages = []
    for i in range(count):
        tags = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 64}
        size = 2 + 12 * len(tags) + 4
        following = 8 + (i + 1) * size if i + 1 < count else 8 * is_loop
        fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        pages.append(struct.pack("<H", len(tags)) + fields + struct.pack("<I", following))
    (tmp_path / "x.tif").write_bytes(b"II*\0\x08\0\0\0" + b"".join(pages) + bytes(64))
    start = time.process_time()
    for function in (images.pages, images.header, images.read):
        with pytest.raises(ValueError, match=r"x\.tif: more than 10000 pages"):
            function(tmp_path / "x.tif")
    assert time.process_time() - start < 5


@pytest.mark.parametrize("shape", [(120, 180), (120, 180, 3)])
@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg"])
@pytest.mark.parametrize("fault", ["cut", "zeros at its end"])
def test_strips_that_lack_data_are_refused(tmp_path, shape, compression, fault):
    path, rng = tmp_path / "x.tif", np.random.default_rng(0)
    pixels = cv2.GaussianBlur(rng.integers(0, 256, shape, np.uint8), (0, 0), 1)
    Image.fromarray(pixels).save(path, compression=compression)
    loaded = images.read(path)
    assert cv2.PSNR(loaded, pixels) > 25
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        offset, count = page.dataoffsets[0], page.databytecounts[0]
        counts_offset = page.tags["StripByteCounts"].valueoffset
        size = page.tags["StripByteCounts"].dtype
    if fault == "cut":
        width = {3: 2, 4: 4}[int(size)]
        data[counts_offset : counts_offset + width] = (count // 2).to_bytes(width, "little")
    else:
        data[offset + count // 2 : offset + count] = bytes(count - count // 2)
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.tif: .*damaged"):
        images.read(path)


@pytest.mark.parametrize("channels", [2, 4])
def test_a_channel_that_the_file_does_not_name_is_refused(tmp_path, channels):
    pixels = np.zeros((20, 30, channels), np.uint8)
    photometric = "rgb" if channels == 4 else "minisblack"
    tifffile.imwrite(
        tmp_path / "x.tif",
        pixels,
        photometric=photometric,
        planarconfig="contig",
        extrasamples=["unspecified"],
    )
    with pytest.raises(ValueError, match=f"x.tif: {channels} channels, and the file does not say what"):
        images.read(tmp_path / "x.tif")


def test_a_range_that_shows_nothing_is_refused(tmp_path):
    pixels = np.linspace(4, 945, 600).reshape(20, 30).astype(np.int16)
    tifffile.imwrite(tmp_path / "x.tif", pixels)
    assert images.read(tmp_path / "x.tif", value_range=(0, 1000)).max() == 61931
    for value_range in ((5000, 6000), (-9, 4), (0, 1e308)):
        with pytest.raises(ValueError, match=r"levels from 4 to 945, of which --range .* shows nothing"):
            images.read(tmp_path / "x.tif", value_range=value_range)
    images.write(tmp_path / "x.png", np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match="--range is for the levels of TIFF alone"):
        images.read(tmp_path / "x.png", value_range=(0, 1))


CONTRADICTIONS = {
    "strips missing": ("deflate", "RowsPerStrip", 8, 1),
    "strips of raw data missing": ("raw strips", "StripOffsets", 4, 1),
    "strips of LZW missing": ("lzw", "RowsPerStrip", 8, 1),
    "a strip at the head of the file": ("deflate", "StripOffsets", 8, 0),
    "a place before the file": ("gray", "StripOffsets", 2, 10),
    "no order of planes": ("deflate", "PlanarConfiguration", 8, 0),
    "another order of planes": ("deflate", "PlanarConfiguration", 8, 3),
    "RGB of two channels": ("deflate", "SamplesPerPixel", 8, 2),
    "RGB of one channel": ("lzw", "SamplesPerPixel", 8, 1),
    "wider than its JPEG": ("jpeg", "ImageWidth", 8, 300),
    "higher than its JPEG": ("jpeg", "ImageLength", 8, 300),
}


@pytest.mark.parametrize("fault", CONTRADICTIONS)
def test_tags_that_contradict_the_data_are_refused(tmp_path, fault):
    """Libraries fill what is missing, or take what follows in the file for pixels."""
    path, pixels = tmp_path / "x.tif", cv2.GaussianBlur(noise(np.uint8)[1], (0, 0), 2)
    kind, name, place, value = CONTRADICTIONS[fault]
    if kind == "raw strips":
        tifffile.imwrite(path, pixels, rowsperstrip=16)
    elif kind == "gray":
        pixels = pixels[..., 0]
        tifffile.imwrite(path, pixels)
    elif kind == "deflate":
        tifffile.imwrite(path, pixels, compression="zlib", rowsperstrip=130)
    elif kind == "lzw":
        cv2.imwrite(str(path), pixels.astype(np.uint16))
        if name == "RowsPerStrip":
            value = 20  # fewer than it has
    else:
        Image.fromarray(pixels).save(path, compression="jpeg")
    assert images.read(path).shape == pixels.shape
    with tifffile.TiffFile(path) as file:
        offset, order = file.pages[0].tags[name].offset, file.byteorder
    data = bytearray(path.read_bytes())
    field = struct.pack(order + ("H" if place == 2 else "I"), value)
    data[offset + place : offset + place + len(field)] = field
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.tif: .*damaged"):
        images.read(path)


PACKED = [
    *[
        ("1", kind)
        for kind in (None, "group3", "group4", "tiff_ccitt", "tiff_lzw", "packbits", "tiff_deflate")
    ],
    *[("L", kind) for kind in (None, "tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg")],
    *[("RGBA", kind) for kind in ("tiff_lzw", "jpeg")],
    *[("P", kind) for kind in (None, "tiff_lzw", "packbits", "tiff_adobe_deflate")],
]


@pytest.mark.parametrize("rows", [20, 130], ids=["strips", "strip"])
@pytest.mark.parametrize(("mode", "compression"), PACKED)
def test_truncated_strips_are_refused_in_one_line(mode, compression, rows, tmp_path, capfd):
    path = tmp_path / "x.tif"
    levels = cv2.GaussianBlur(noise(np.uint8)[0], (0, 0), 3)
    picture = Image.fromarray(levels).convert("L" if mode == "1" else "RGB").point(lambda x: 3 * x - 256)
    picture = picture.convert(mode)
    rows = 24 if compression == "jpeg" and rows == 20 else rows
    picture.save(path, compression=compression, tiffinfo={278: rows}, strip_size=2**20)
    with tifffile.TiffFile(path) as file:
        counts = list(file.pages[0].databytecounts)
    capfd.readouterr()
    images.read(path)
    for share in (0.02, 0.5, 0.9):
        with tifffile.TiffFile(path, mode="r+") as file:
            shorter = [*counts[:-1], int(counts[-1] * share)]
            file.pages[0].tags["StripByteCounts"].overwrite(shorter if len(shorter) > 1 else shorter[0])
        with pytest.raises(ValueError, match=r"x\.tif"):
            images.read(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt", "tiff_deflate"])
def test_lost_data_of_one_bit_is_refused(compression, tmp_path):
    path = tmp_path / "x.tif"
    levels = cv2.GaussianBlur(noise(np.uint8)[0][..., 0], (0, 0), 3) > 127
    Image.fromarray(levels).save(path, compression=compression)
    with tifffile.TiffFile(path) as file:
        (offset,), (count,) = file.pages[0].dataoffsets, file.pages[0].databytecounts
    with open(path, "r+b") as file:
        file.seek(offset + count // 2)
        file.write(bytes(count - count // 2))
    with pytest.raises(ValueError, match=r"x\.tif: truncated or damaged"):
        images.read(path)
