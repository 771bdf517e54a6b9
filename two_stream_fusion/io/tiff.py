"""Decoding of TIFF: tifffile reads the structure and the pixels, OpenCV those that tifffile cannot."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from two_stream_fusion.base.pixels import round_half_even
from two_stream_fusion.io import decode, jpeg
from two_stream_fusion.io.decode import Header, UnsupportedImage
from two_stream_fusion.io.metadata import (
    ORIENTATION,
    RESOLUTION_UNIT,
    TEXT_TAGS,
    X_RESOLUTION,
    XMP_TAG,
    Y_RESOLUTION,
    Metadata,
    from_info,
    resolution_of_tiff,
)
from two_stream_fusion.io.stderr import captured_stderr, silenced_stderr
from two_stream_fusion.io.tiff_stacks import open_tiff, stack_planes

DESCRIPTION, ICC, JPEG_TABLES = 270, 34675, 347  # tags
JPEG, CCITT, DEFLATE = 7, (2, 3, 4), (8, 32946)  # compressions
FAX_MESSAGES = re.compile(rb"[^\n]*\bFax[34]\w*:[^\n]*\n")  # of libtiff, through OpenCV: all of damage
# Descriptions that say how the old file is structured
STRUCTURE = re.compile(r'\s*(ImageJ=|<|{.*"shape": ?\[)', re.S)
COMPRESSIONS = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)  # none, CCITT, LZW, JPEG, deflate, PackBits
OWN_COMPRESSIONS = (1, 8, 32773, 32946)  # those that tifffile decodes without imagecodecs


def decode_tiff(
    path: Path,
    index: int,
    channel: int | None = None,
    time: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> tuple[np.ndarray, Metadata]:
    """Decode an image of a TIFF file.

    Args:
        path: the file.
        index: of the image in the stack, from 0.
        channel, time: as of tiff_stacks.stack_planes.
        value_range: as of images.load.

    Returns:
        H x W or H x W x C, whose last channel may be alpha, uint8 or uint16, and the metadata.
    """
    planes = stack_planes(path, channel, time)
    with open_tiff(path) as file:
        plane = planes[index]
        page = file.pages[plane.page]
        _check_page(path, page)
        decode.check_header(path, _page_header(page))
        metadata = _page_metadata(file, page)
        pixels, is_multiplied = _decode_page(path, page, plane)
    levels = _scale_levels(path, pixels, value_range)
    return _divide_by_alpha(levels) if is_multiplied else levels, metadata


def header_of_tiff(path: Path, index: int, channel: int | None = None, time: int | None = None) -> Header:
    """Read the header of an image of a TIFF file.

    Args:
        path, index, channel, time: as of `decode_tiff`.

    Returns:
        The header.
    """
    planes = stack_planes(path, channel, time)
    with open_tiff(path) as file:
        page = file.pages[planes[index].page]
        _check_page(path, page)
        return _page_header(page)


def _page_header(page):
    samples = 3 if page.photometric == 3 else page.samplesperpixel
    stored = max(1, page.bitspersample // 8)  # bytes of a level
    itemsize = 1 if stored == 1 else 2
    # Unpacked, in the order of an image, and what comes of it; other levels are scaled in float64.
    decoding = samples * (3 * stored + (16 if stored > 2 or page.dtype != np.dtype(f"u{stored}") else 0))
    width, height = page.imagewidth, page.imagelength
    return Header(width, height, samples, itemsize, width * height * decoding)


def _page_metadata(file, page):
    """What is carried over of a page: texts, profile, XMP and resolution."""
    exif = Image.Exif()
    for tag in TEXT_TAGS:
        text = page.tags[tag].value if tag in page.tags else None
        if isinstance(text, str) and not (tag == DESCRIPTION and STRUCTURE.match(text)):
            exif[tag] = text.encode()
    icc, xmp = (page.tags[tag].value if tag in page.tags else b"" for tag in (ICC, XMP_TAG))
    tags = (X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT)
    values = {tag: page.tags[tag].value for tag in tags if tag in page.tags}
    ome = file.ome_metadata if file.is_ome else None
    imagej = file.imagej_metadata if file.is_imagej else None
    info = {"exif": exif.tobytes() if len(exif) else b"", "icc_profile": bytes(icc)}
    metadata, _ = from_info(info, xmp if isinstance(xmp, bytes) else str(xmp))
    return metadata._replace(resolution=resolution_of_tiff(values, imagej, ome))


def _check_page(path, page):
    """Raise UnsupportedImage where the pixels or the compression of a page are not read."""
    if page.photometric not in (0, 1, 2, 3, 6):  # gray, inverted or not, RGB, palette, YCbCr
        kind = getattr(page.photometric, "name", page.photometric)
        raise UnsupportedImage(f"{path}: {kind} pixels; gray and RGB are fused, so convert it first")
    if page.compression not in COMPRESSIONS:
        kind = getattr(page.compression, "name", page.compression)
        raise UnsupportedImage(f"{path}: packed by {kind}, which is not read; LZW and deflate are")
    if page.photometric in (2, 6) and page.samplesperpixel < 3:
        raise UnsupportedImage(f"{path}: damaged: RGB of {page.samplesperpixel} channels")
    if page.samplesperpixel > 1 and page.planarconfig not in (1, 2):
        raise UnsupportedImage(f"{path}: damaged: PlanarConfiguration is {int(page.planarconfig)}")
    colours = 3 if page.photometric in (2, 6) else 1
    if 0 in page.extrasamples or page.samplesperpixel - colours != len(page.extrasamples):
        raise UnsupportedImage(
            f"{path}: {page.samplesperpixel} channels, and the file does not say what the last one is;"
            " save it without that one, or marked as alpha"
        )
    if page.samplesperpixel > 4:
        raise UnsupportedImage(
            f"{path}: {page.samplesperpixel} channels; gray and RGB are fused, alpha with them"
        )
    if page.bitspersample not in (1, 8, 16, 32, 64) and page.photometric != 3:
        raise UnsupportedImage(f"{path}: {page.bitspersample} bits a level; 8 or 16 are read")
    if page.dtype == np.float16:
        raise UnsupportedImage(f"{path}: float16 pixels; 8 or 16 bit integers are needed, or float32 in 0..1")
    if getattr(page, "imagedepth", 1) > 1:
        raise UnsupportedImage(f"{path}: a volume of {page.imagedepth} planes in one page, which is not read")


def _decode_page(path, page, plane):
    """The pixels of a page, upright, and whether alpha is multiplied into the colours."""
    if page.extrasamples and (page.axes not in ("YX", "YXS", "SYX") or page.photometric not in (1, 2)):
        raise UnsupportedImage(f"{path}: alpha beside other than gray or RGB; convert it first")
    pixels, orientation = _decode_samples(path, page, plane)
    _check_decoded(path, page, pixels, orientation)
    is_multiplied = bool(page.extrasamples) and page.extrasamples[0] == 1 and pixels.dtype.kind in "fu"
    is_divided = orientation is None and page.dtype == np.uint8  # by Pillow
    return decode.apply_orientation(pixels, orientation or 1), is_multiplied and not is_divided


def _decode_samples(path, page, plane):
    """The samples of a page and their orientation; None where the library has applied it already."""
    tagged = page.tags[ORIENTATION].value if ORIENTATION in page.tags else 1
    _check_segments(page)
    if plane.number is not None and page.photometric == 3 and page.bitspersample in (8, 16):
        palette = np.moveaxis(np.asarray(page.colormap) >> 8, 0, -1).astype(np.uint8)
        return palette[_read_plane(page, plane.number)], tagged
    if page.compression in OWN_COMPRESSIONS and page.photometric in (0, 1, 2) and page.bitspersample >= 8:
        try:
            pixels = _read_plane(page, plane.number) if plane.number is not None else page.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):  # else a predictor that tifffile alone cannot undo
                raise
        else:
            pixels = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels
            if page.photometric == 0 and pixels.dtype.kind == "u":  # white is zero
                pixels = ~pixels
            return pixels, tagged
    if plane.number is not None:
        raise UnsupportedImage(f"{path}: many planes in one page; save each as a page of its own")
    if page.compression == JPEG and page.bitspersample == 8:
        _check_jpeg_segments(path, page)
    if page.compression in DEFLATE:
        _check_deflated_segments(path, page)
    if page.extrasamples and page.dtype == np.uint8:
        # OpenCV would multiply alpha into the colours. Pillow divides associated alpha out.
        with silenced_stderr(), decode.open_with_pillow(path) as file:
            file.seek(plane.page)
            pixels = np.array(file)
        return decode.apply_orientation(pixels, tagged), None
    if page.planarconfig == 2 and page.samplesperpixel > 1 and page.dtype != np.uint8:
        return np.dstack([_decode_separate(page, i) for i in range(page.samplesperpixel)]), tagged
    if page.dtype is None or page.dtype.itemsize == 1:
        _check_by_pillow(path, plane.page)
    if page.compression in CCITT:
        _check_fax(path, plane.page)
    pixels = _decode_with_opencv(path, plane.page)
    if page.photometric == 0 and pixels.dtype == np.uint16:  # white is zero: OpenCV inverts 8 bits only
        pixels = ~pixels
    return pixels, None


def _check_by_pillow(path, number):
    """Raise what Pillow does for a damaged strip or tile: OpenCV fills those of 8 bits with what it finds."""
    with silenced_stderr(), decode.open_with_pillow(path) as file:
        file.seek(number)
        file.load()


def _check_jpeg_segments(path, page):
    """Raise UnsupportedImage where a strip or tile lacks data: libjpeg fills it with gray."""
    tables = page.tags[JPEG_TABLES].value[2:-2] if JPEG_TABLES in page.tags else b""
    segments = [segment[:2] + tables + segment[2:] for segment in _read_segments(page)]
    structures = [jpeg.read_structure(one) for one in segments]
    width, rows = (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip)
    rows = min(rows or page.imagelength, page.imagelength)
    last = rows if page.is_tiled else page.imagelength - rows * (len(segments) - 1)  # of a shorter strip
    if page.planarconfig == 2:  # planes of colour may be smaller
        width, rows, last = 1, 1, 1
    heights = [rows] * (len(segments) - 1) + [last]
    is_small = any(one.width < width or one.height < high for one, high in zip(structures, heights))
    if is_small or not all(one.has_end for one in structures) or jpeg.lacks_pixels(*segments):
        raise _lacks_data(path)


def _check_deflated_segments(path, page):
    """Raise UnsupportedImage where a strip or tile lacks data: libtiff reads no checksum at its end."""
    size = page.tilewidth * page.tilelength if page.is_tiled else page.imagewidth * page.imagelength
    largest = (size + page.imagelength) * page.samplesperpixel * max(1, page.bitspersample // 8) + 1
    for segment in _read_segments(page):
        stream = zlib.decompressobj()
        try:
            stream.decompress(segment, largest)
        except zlib.error:
            raise _lacks_data(path) from None
        if not stream.eof:
            raise _lacks_data(path)


def _read_segments(page):
    """The bytes of each strip or tile of a page."""
    for offset, count in zip(page.dataoffsets, page.databytecounts):
        page.parent.filehandle.seek(offset)
        yield page.parent.filehandle.read(count)


def _lacks_data(path):
    return UnsupportedImage(f"{path}: truncated or damaged: data of its pixels is missing")


def _read_plane(page, index):
    """Plane `index` of a page whose data are many planes in one piece."""
    file = page.parent
    dtype = np.dtype(page.dtype).newbyteorder(file.byteorder)
    count = int(np.prod(page.shape))
    file.filehandle.seek(page.dataoffsets[0] + index * count * dtype.itemsize)
    data = file.filehandle.read(count * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(page.shape).astype(page.dtype)


def _check_segments(page):
    """Raise ValueError where strips or tiles are missing: libraries would fill them with black."""
    rows, columns = page.imagelength, page.imagewidth
    if page.is_tiled:
        expected = -(-rows // page.tilelength) * -(-columns // page.tilewidth)
    else:
        expected = -(-rows // min(page.rowsperstrip or rows, rows))
    expected *= page.samplesperpixel if page.planarconfig == 2 else 1
    is_single = len(page.dataoffsets) == len(page.databytecounts) == 1
    if is_single and page.compression == 1:  # tifffile joins strips that follow one another
        size = rows * columns * page.samplesperpixel * page.bitspersample // 8
        expected = 1 if sum(page.databytecounts) >= size else expected
    complete = len(page.dataoffsets) >= expected and len(page.databytecounts) >= expected
    if page.compression == 1 and page.photometric != 6:  # colours of YCbCr may be smaller
        complete = complete and _has_raw_bytes(page)
    if not complete or not all(page.dataoffsets) or not all(page.databytecounts):
        raise ValueError("strips or tiles are missing")


def _has_raw_bytes(page):
    """Whether strips or tiles that are not packed have as many bytes as their pixels take."""
    is_separate = page.planarconfig == 2 and page.samplesperpixel > 1
    bits = page.bitspersample * (1 if is_separate else page.samplesperpixel)
    if page.is_tiled:
        size = page.tilelength * (-(-page.tilewidth * bits // 8))
        return all(count >= size for count in page.databytecounts)
    size = page.imagelength * (-(-page.imagewidth * bits // 8))
    return sum(page.databytecounts) >= size * (page.samplesperpixel if is_separate else 1)


def _decode_separate(page, sample):
    """One plane of a page with separate planes, by OpenCV, from a TIFF of that plane alone.

    OpenCV takes several planes of 16 bits for interleaved ones.
    """
    count = len(page.dataoffsets) // page.samplesperpixel
    segments = []
    for i in range(sample * count, (sample + 1) * count):
        page.parent.filehandle.seek(page.dataoffsets[i])
        segments.append(page.parent.filehandle.read(page.databytecounts[i]))
    lengths = [len(segment) for segment in segments]
    offsets = [8 + sum(lengths[:i]) for i in range(count)]
    sample_format = {"u": 1, "i": 2, "f": 3}[page.dtype.kind]
    tags = {
        256: [page.imagewidth],
        257: [page.imagelength],
        258: [page.bitspersample],
        259: [int(page.compression)],
        262: [1],
        277: [1],
        317: [int(page.predictor)],
        339: [sample_format],
    }
    if page.is_tiled:
        tags.update({322: [page.tilewidth], 323: [page.tilelength], 324: offsets, 325: lengths})
    else:
        tags.update({273: offsets, 278: [page.rowsperstrip], 279: lengths})
    order = page.parent.byteorder
    directory = 8 + sum(lengths)
    beyond = directory + 2 + 12 * len(tags) + 4
    entries, values = struct.pack(order + "H", len(tags)), b""
    for tag, numbers in sorted(tags.items()):
        field = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            field, values = struct.pack(order + "I", beyond + len(values)), values + field
        entries += struct.pack(order + "HHI", tag, 4, len(numbers)) + field
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    head = mark + struct.pack(order + "I", directory)
    return decode.decode_with_opencv(head + b"".join(segments) + entries + bytes(4) + values)


def _decode_with_opencv(path, number):
    if not number:
        return decode.decode_with_opencv(path.read_bytes())
    with silenced_stderr():
        return decode.swap_rgb(_read_with_opencv(path, number))


def _read_with_opencv(path, number):
    if hasattr(cv2, "imcount"):
        return cv2.imreadmulti(str(path), number, 1, flags=decode.OPENCV_FLAGS)[1][0]
    # OpenCV before 4.5.4 reads all pages or none.
    return cv2.imreadmulti(str(path), flags=decode.OPENCV_FLAGS)[1][number]


def _check_fax(path, number):
    """Raise UnsupportedImage where coded data of CCITT is missing: libtiff fills in white and prints it."""
    with captured_stderr(FAX_MESSAGES) as messages:
        _read_with_opencv(path, number)
    if messages:
        raise _lacks_data(path)


def _check_decoded(path, page, pixels, orientation):
    """Raise UnsupportedImage where what was decoded is not what the file says."""
    size = (page.imagelength, page.imagewidth)
    tagged = page.tags[ORIENTATION].value if ORIENTATION in page.tags else 1
    if orientation is None and tagged in (5, 6, 7, 8):
        size = size[::-1]
    samples = 3 if page.photometric == 3 else page.samplesperpixel
    shape = size if samples == 1 else (*size, samples)
    bits = 8 if page.photometric == 3 or page.bitspersample < 8 else page.bitspersample
    code = "u" if page.dtype is None or page.photometric == 3 or page.dtype.kind == "b" else page.dtype.kind
    is_other = pixels.dtype.kind != code or (bits in (8, 16, 32, 64) and 8 * pixels.dtype.itemsize != bits)
    if pixels.shape != shape or is_other:
        actual = "x".join(map(str, pixels.shape))
        expected = "x".join(map(str, shape))
        packed = getattr(page.compression, "name", page.compression)
        raise UnsupportedImage(
            f"{path}: read as {actual} {pixels.dtype}, the file says {expected} of {bits} bits (packed by"
            f" {packed}); save it packed by deflate, or not packed"
        )


def _divide_by_alpha(pixels):
    """Colours that alpha is not multiplied into. Those under zero alpha stay as they are."""
    alpha, top = pixels[..., -1:], np.iinfo(pixels.dtype).max
    colours = pixels[..., :-1] * np.float32(top) / np.where(alpha, alpha, top)
    return np.concatenate([round_half_even(colours, pixels.dtype), alpha], axis=-1)


def _scale_levels(path, pixels, value_range):
    """Levels as uint8 or uint16: those of `value_range`, or floats of 0..1, become 0..65535."""
    if pixels.dtype in (np.uint8, np.uint16):
        if value_range is not None:
            raise UnsupportedImage(f"{path}: {pixels.dtype} pixels need no --range")
        return pixels
    if pixels.dtype.kind not in "fiu":
        return pixels
    low, high = pixels.min().item(), pixels.max().item()  # Python's numbers do not overflow
    if not np.isfinite([low, high]).all():
        raise UnsupportedImage(f"{path}: floats that are not finite (NaN or infinite)")
    if value_range is not None:
        if pixels.shape[2:] in ((2,), (4,)):
            raise UnsupportedImage(f"{path}: alpha beside levels that need --range; leave alpha out")
        bottom, top = value_range
        if high <= bottom or low >= top or (high - low) < (top - bottom) / 65535:
            raise UnsupportedImage(
                f"{path}: levels from {low:g} to {high:g}, of which --range {bottom:g},{top:g} shows nothing"
            )
        scale = 65535 / (top - bottom)
        return round_half_even(np.clip((pixels.astype(np.float64) - bottom) * scale, 0, 65535), np.uint16)
    if pixels.dtype.kind != "f":
        raise UnsupportedImage(
            f"{path}: {pixels.dtype} pixels from {low} to {high}; 8 or 16 bit unsigned integers are read,"
            " others by --range LOW,HIGH"
        )
    if low < 0 or high > 1:
        raise UnsupportedImage(
            f"{path}: floats from {low:g} to {high:g}; those in 0..1 are read, others by --range LOW,HIGH"
        )
    return round_half_even(pixels * 65535, np.uint16)
