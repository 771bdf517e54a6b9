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
    held, wanted = noise(dtype, channels)
    tifffile.imwrite(
        tmp_path / "x.tif",
        np.moveaxis(held, 2, 0),
        photometric="rgb",
        planarconfig="separate",
        extrasamples=["unassalpha"] if channels == 4 else None,
        compression=compression,
        predictor=predictor,
        rowsperstrip=40,
    )
    found = images.load(tmp_path / "x.tif")
    np.testing.assert_array_equal(found.pixels, wanted[..., :3])
    if channels == 4:
        np.testing.assert_array_equal(found.alpha, wanted[..., 3])


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
        kind = np.dtype({3: "u2", 4: "u4", 16: "u8"}[int(kinds[name])]).newbyteorder(order)
        values = np.array(values, kind).tobytes()
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
        place, size = tag.valueoffset, {3: 2, 4: 4, 16: 8}[int(tag.dtype)]
    data = bytearray(path.read_bytes())
    data[place + size : place + 2 * size] = bytes(size)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        images.read(path)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_a_range_scales_other_levels(tmp_path, dtype):
    levels = np.linspace(-100, 4000, 130 * 170).reshape(130, 170).astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", levels)
    with pytest.raises(ValueError, match=r"(int16 pixels|floats) from -100 to 4000.*--range LOW,HIGH"):
        images.read(tmp_path / "x.tif")
    found = images.read(tmp_path / "x.tif", value_range=(0, 2000))
    np.testing.assert_array_equal(found, np.rint(np.clip(levels.astype(float) * (65535 / 2000), 0, 65535)))
    assert found.dtype == np.uint16


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
