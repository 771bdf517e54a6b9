"""Reading and writing photographs: pixels, alpha, and what the file says of them (EXIF, ICC profile)."""

from __future__ import annotations

import io
import logging
import os
import re
import threading
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from two_stream_fusion.base import files

READABLE = ("BMP", "JPEG", "MPO", "PNG", "PPM", "WEBP")  # Pillow's names; TIFF, HEIC, RAW go their own ways
WRITABLE = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp")
RAW = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2")
HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # how files name their kind
MEGAPIXELS = 500  # a file that claims more is taken for a mistake, or a bomb, before any of it is unpacked
# What is carried over of EXIF: description, camera, software, time, author, rights; exposure and place. The
# rest describes the old file: its size, orientation and thumbnail.
TEXTS = (270, 271, 272, 305, 306, 315, 33432)
PARTS = (0x8769, 0x8825)
OLD_SIZE = (0xA002, 0xA003, 0xA005)
DESCRIPTION, ORIENTATION, ICC = 270, 274, 34675  # TIFF's tags
STRUCTURE = re.compile(
    r'\s*(ImageJ=|<|{.*"shape": ?\[)', re.S
)  # descriptions that say how the old file is made
UNPACKED = (1, 2, 3, 4, 5, 7, 8, 32773, 32946)  # TIFF: not packed, CCITT, LZW, JPEG, deflate, PackBits


class Photograph(NamedTuple):
    """An image file: `pixels` as `read` gives them; `alpha`, H x W of their dtype, or None where the image is
    opaque throughout; `exif` (begins with its prefix) and `icc`, empty where the file has none.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    exif: bytes = b""
    icc: bytes = b""


def read(path, page=0) -> np.ndarray:
    """The pixels of the image at `path`: H x W (gray) or H x W x 3 (RGB), uint8 or uint16.

    Upright as its EXIF orientation says. page: of a TIFF file that holds several images. Floats in 0..1
    become uint16. OSError where the file cannot be read, ValueError where it is not a whole image of a kind
    that can be fused.
    """
    return load(path, page).pixels


def load(path, page=0) -> Photograph:
    """The image at `path` with alpha and metadata; otherwise as `read`."""
    path = Path(path)
    if path.suffix.lower() in RAW:
        return Photograph(_developed(path))
    with open(path, "rb") as file:
        head = file.read(12)
    with _decoding(path):
        if _is_tiff(head[:4]):
            pixels, exif, icc = _tiff(path, page)
        else:
            pixels, exif, icc = (_heif if head[4:8] == b"ftyp" and head[8:] in HEIF else _other)(path)
        if pixels.dtype not in (np.uint8, np.uint16):
            raise _Unsuitable(
                f"{path}: {pixels.dtype} pixels; 8 or 16 bit integers are needed, or TIFF's floats in 0..1"
            )
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        alpha = None
        if channels in (2, 4):
            alpha = np.ascontiguousarray(pixels[..., -1])
            alpha = None if alpha.min() == np.iinfo(alpha.dtype).max else alpha
            pixels = pixels[..., 0] if channels == 2 else pixels[..., :3]
        return Photograph(np.ascontiguousarray(pixels), alpha, exif, icc)


def pages(path) -> int:
    """How many images the file holds, 1 but for TIFF. Errors as `read`."""
    path = Path(path)
    with open(path, "rb") as file:
        if path.suffix.lower() in RAW or not _is_tiff(file.read(4)):
            return 1
    with _decoding(path), _tiff_file(path) as file:
        return len(_whole_pages(file))


def write(path, pixels, alpha=None, exif=b"", icc=b"") -> None:
    """Write H x W or H x W x 3 (RGB) uint8 or uint16 to `path`, whole or not at all.

    The ending of `path` names the format, one of WRITABLE. alpha, exif, icc: as of Photograph; JPEG has no
    alpha, TIFF takes the texts of EXIF. ValueError where the format cannot hold the image.
    """
    path = Path(path)
    check_writable(path, pixels.dtype, alpha is not None, pixels.shape)
    suffix = path.suffix.lower()
    if alpha is not None:
        pixels = np.dstack([pixels, alpha])
    encode = {".png": _png, ".webp": _webp, ".jpg": _jpeg, ".jpeg": _jpeg}.get(suffix, _tiff_bytes)
    data = encode(pixels, exif, icc)
    with files.atomic_write(path) as partial:
        partial.write_bytes(data)


def check_writable(path, dtype=np.uint8, alpha=False, shape=()) -> None:
    """ValueError where the ending of `path` names no format for such an image; shape: its own, if known."""
    suffix = Path(path).suffix.lower()
    if suffix not in WRITABLE:
        wrong = suffix or "a file without an ending"
        raise ValueError(f"{path}: cannot be written as {wrong}; there are {' '.join(WRITABLE)}")
    if dtype == np.uint16 and suffix not in (".png", ".tif", ".tiff"):
        raise ValueError(f"{path}: 16 bit images need .png or .tif")
    if alpha and suffix in (".jpg", ".jpeg"):
        raise ValueError(f"{path}: JPEG has no alpha channel; .png, .tif and .webp have")
    longest = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}.get(suffix)
    if longest and max(shape[:2], default=0) > longest:
        raise ValueError(f"{path}: {suffix} ends at {longest} pixels a side; use .png or .tif")


class _Unsuitable(ValueError):
    """A file that may be whole but is not for us; its words are for the user."""


@contextmanager
def _decoding(path):
    """Whatever the libraries raise over a damaged file becomes one ValueError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except _Unsuitable:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of the decoder
            raise
        raise ValueError(f"{path}: not an image, or a damaged one ({path.stat().st_size} bytes)") from None


def _is_tiff(head):
    return head in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _check_size(path, width, height):
    if width * height > MEGAPIXELS * 1e6:
        raise _Unsuitable(f"{path}: {width}x{height}, more than {MEGAPIXELS} million pixels")


def opened(file) -> Image.Image:
    """By Pillow, without its warnings of size: who calls looks at that before any of it is unpacked."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        return Image.open(file)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _other(path):
    """Pixels, with alpha as their last channel, EXIF and profile of all that is not TIFF."""
    data = path.read_bytes()
    with opened(io.BytesIO(data)) as file:
        if file.format not in READABLE:
            raise _Unsuitable(f"{path}: {file.format} files are not read; PNG, TIFF, JPEG, WebP and HEIC are")
        _check_size(path, *file.size)
        frames = getattr(file, "n_frames", 1)
        if frames > 1 and file.format != "MPO":  # that is a camera's JPEG, with previews behind it
            raise _Unsuitable(f"{path}: animated, {frames} frames; save them as files of their own")
        if file.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
            raise _Unsuitable(f"{path}: {file.mode} pixels; gray and RGB are fused, so convert it first")
        found = Image.Exif()
        found.load(file.info.get("exif") or b"")
        orientation, exif, icc = (
            found.get(ORIENTATION, 1),
            _carried(found),
            file.info.get("icc_profile") or b"",
        )
        raw = [str(tile[3]) for tile in file.tile]
        if file.format == "PPM" or file.mode.startswith("I") or any("16" in kind for kind in raw):
            # Pillow has 16 bit for gray alone.
            pixels = _portable(data) if file.format == "PPM" else _by_opencv(data)
            pixels = pixels[..., 2:] if any("LA" in kind for kind in raw) else pixels
        else:
            mode = "L" if file.mode in ("1", "L", "LA") else "RGB"
            if "A" in file.mode or "transparency" in file.info:
                mode += "A"
            pixels = np.array(file.convert(mode))
        return _upright(pixels, orientation), exif, icc


def _portable(data):
    """PBM, PGM or PPM; white, which the file names, becomes the largest number of the type."""
    plain = data[:2] in (b"P2", b"P3")
    if not plain and data[:2] not in (b"P5", b"P6"):
        return _by_opencv(data)
    words = re.sub(rb"#[^\n]*", b"", data[2:] if plain else data[2:4096]).split(None, -1 if plain else 3)
    width, height, white = map(int, words[:3])
    if plain:  # OpenCV stretches some of these, but not as it should
        pixels = np.array(words[3:], int).reshape(height, width, *((3,) if data[:2] == b"P3" else ()))
    else:
        pixels = _by_opencv(data)
    kind = np.uint8 if white < 256 else np.uint16
    top = np.iinfo(kind).max
    return (
        pixels.astype(kind) if white == top else np.clip(np.rint(pixels * (top / white)), 0, top).astype(kind)
    )


_AS_IT_IS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_UNCHANGED  # alpha too, and no orientation but TIFF's


def _by_opencv(data):
    with _without_words_on_stderr():
        return _rgb(cv2.imdecode(np.frombuffer(data, np.uint8), _AS_IT_IS))


_STDERR = threading.Lock()


@contextmanager
def _without_words_on_stderr():
    """What the C libraries print of a damaged file is dropped: the error says it once.

    One thread at a time, or the second would keep the first one's nowhere for stderr.
    """
    with _STDERR:
        kept = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


def _rgb(image):
    """OpenCV's order of channels as ours, and ours as OpenCV's."""
    return image if image.ndim == 2 else image[..., [2, 1, 0, 3][: image.shape[2]]]


def _upright(pixels, orientation):
    """As EXIF's orientation (1 to 8) has the image seen."""
    if orientation in (2, 4, 5, 7):  # mirrored; what is left is a turn
        pixels, orientation = pixels[:, ::-1], {2: 1, 4: 3, 5: 8, 7: 6}[orientation]
    return np.rot90(pixels, {3: 2, 6: 3, 8: 1}.get(orientation, 0))


def _heif(path):
    """As `_other`, of the main image of HEIC: libheif has it upright."""
    try:
        import pillow_heif
    except ImportError:
        raise _Unsuitable(f"{path}: HEIC files need pillow-heif (pip install pillow-heif)") from None
    file = pillow_heif.open_heif(path, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    _check_size(path, *file.size)
    if file.premultiplied_alpha:
        raise _Unsuitable(f"{path}: alpha multiplied into the colours, which is not read of HEIC")
    pixels, white = np.array(file), 2 ** file.info["bit_depth"] - 1
    if white > 255:
        pixels = np.rint(pixels * np.float32(65535 / white)).astype(np.uint16)
    found = Image.Exif()
    found.load(file.info.get("exif") or b"")
    return pixels, _carried(found), file.info.get("icc_profile") or b""


def _tiff_file(path):
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it would say, an error says in one line
    return tifffile.TiffFile(path)


def _tiff(path, number):
    """As `_other`, of a page of a TIFF file: OpenCV unpacks what tifffile has looked at."""
    with _tiff_file(path) as file:
        number = _whole_pages(file)[number]
        page = file.pages[number]
        _check_tiff(path, page)
        icc = page.tags[ICC].value if ICC in page.tags else b""
        exif = Image.Exif()
        for tag in TEXTS:
            text = page.tags[tag].value if tag in page.tags else None
            if isinstance(text, str) and not (tag == DESCRIPTION and STRUCTURE.match(text)):
                exif[tag] = text
        pixels = _with_alpha(path, page, number) if page.extrasamples else None
    if pixels is None:
        pixels = _tiff_by_opencv(path, number)
        if page.photometric == 0 and pixels.dtype == np.uint16:  # white is zero: it turns bytes alone
            pixels = ~pixels
    if pixels.dtype.kind == "f":
        pixels = _from_floats(path, pixels)
    return pixels, exif.tobytes() if len(exif) else b"", bytes(icc)


def _whole_pages(file):
    """The places of the pages of a TIFF file, thumbnails and masks left out unless there is no other.

    IndexError where there is none at all.
    """
    file.pages[0]
    every = range(len(file.pages))
    return [i for i in every if not file.pages[i].subfiletype & 5] or list(every)


def _check_tiff(path, page):
    """_Unsuitable where a page's kind of pixels, or how they are packed, is not read here."""
    _check_size(path, page.imagewidth, page.imagelength)
    if page.photometric not in (0, 1, 2, 3, 6):  # gray, inverted or not, RGB, palette, YCbCr
        kind = getattr(page.photometric, "name", page.photometric)
        raise _Unsuitable(f"{path}: {kind} pixels; gray and RGB are fused, so convert it first")
    if page.compression not in UNPACKED:
        kind = getattr(page.compression, "name", page.compression)
        raise _Unsuitable(f"{path}: packed by {kind}, which is not read; LZW and deflate are")
    if page.samplesperpixel > 4:
        raise _Unsuitable(f"{path}: {page.samplesperpixel} channels; gray and RGB are fused, alpha with them")
    if page.dtype == np.float16:
        raise _Unsuitable(f"{path}: float16 pixels; 8 or 16 bit integers are needed, or float32 in 0..1")


def _tiff_by_opencv(path, number):
    if not number:
        return _by_opencv(path.read_bytes())
    with _without_words_on_stderr():
        if hasattr(cv2, "imcount"):
            return _rgb(cv2.imreadmulti(str(path), number, 1, flags=_AS_IT_IS)[1][0])
        every = cv2.imreadmulti(str(path), flags=_AS_IT_IS)[1]  # before 4.5.4 it reads all of them or none
        return _rgb(every[number])


def _with_alpha(path, page, number):
    """The pixels of a page with alpha, upright, the colours as they are without it."""
    if page.axes not in ("YX", "YXS", "SYX") or page.photometric not in (1, 2):
        raise _Unsuitable(f"{path}: alpha beside other than gray or RGB; convert it first")
    associated = page.extrasamples[0] == 1  # multiplied into the colours
    orientation = page.tags[ORIENTATION].value if ORIENTATION in page.tags else 1
    try:
        pixels = page.asarray()
        pixels = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels
    except ValueError:  # packed as tifffile alone cannot unpack: LZW
        if page.dtype == np.uint8:  # OpenCV would multiply alpha into the colours, Pillow divides it out
            with opened(path) as file:
                file.seek(number)
                return _upright(np.array(file), orientation)
        pixels, orientation = _tiff_by_opencv(path, number), 1
        if pixels.shape[2:] != (page.samplesperpixel,):
            kind = page.compression.name
            raise _Unsuitable(f"{path}: alpha packed by {kind}; pack it by deflate, or not") from None
    if associated and pixels.dtype.kind == "u":
        alpha, top = pixels[..., -1:], np.iinfo(pixels.dtype).max
        colours = np.rint(pixels[..., :-1] * np.float32(top) / np.where(alpha, alpha, top))  # as held under 0
        pixels = np.concatenate([np.minimum(colours, top).astype(pixels.dtype), alpha], axis=-1)
    return _upright(pixels, orientation)


def _from_floats(path, pixels):
    low, high = pixels.min(), pixels.max()
    if not np.isfinite([low, high]).all():
        raise _Unsuitable(f"{path}: floats that are not finite (NaN or infinite)")
    if low < 0 or high > 1:
        raise _Unsuitable(f"{path}: floats from {low:g} to {high:g}; those in 0..1 are read, as 16 bit")
    return np.rint(pixels * 65535).astype(np.uint16)


def _developed(path):
    """A RAW file as its camera's white balance has it, 16 bit."""
    try:
        import rawpy
    except ImportError:
        raise ValueError(f"{path}: RAW files need rawpy (pip install rawpy)") from None
    with open(path, "rb") as file:
        try:
            with rawpy.imread(file) as raw:
                return raw.postprocess(output_bps=16, use_camera_wb=True, no_auto_bright=True)
        except rawpy.LibRawError as error:
            said = error.args[0] if error.args else "cannot be read"
            said = said.decode() if isinstance(said, bytes) else said
            raise ValueError(f"{path}: not a RAW file, or not whole: {said}") from None


def _carried(exif):
    """EXIF bytes without what describes the old file."""
    kept = Image.Exif()
    for tag in TEXTS:
        if tag in exif:
            kept[tag] = exif[tag]
    for part in PARTS:
        values = {tag: v for tag, v in exif.get_ifd(part).items() if tag not in OLD_SIZE}
        if values:
            kept[part] = values
    return kept.tobytes() if len(kept) else b""


def _png(pixels, exif, icc):
    """PNG by OpenCV, which has 16 bit colour; metadata as chunks of their own behind the first, IHDR."""
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        data = _gray_with_alpha(pixels)
    else:
        data = cv2.imencode(".png", _rgb(pixels))[1].tobytes()
    more = b""
    if icc:
        more += _chunk(b"iCCP", b"ICC\0\0" + zlib.compress(icc))
    if exif:
        more += _chunk(b"eXIf", exif[6:])
    return data[:33] + more + data[33:]


def _gray_with_alpha(pixels):
    """The PNG that OpenCV has no array for: H x W x 2."""
    height, width = pixels.shape[:2]
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    rows = pixels.astype(pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (1, 0)))  # each row begins with its filter, 0: none
    header = size + bytes([8 * pixels.itemsize, 4, 0, 0, 0])
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def _tiff_bytes(pixels, exif, icc):
    import tifffile

    texts = Image.Exif()
    texts.load(exif)
    tags = [(tag, "s", 0, texts[tag], True) for tag in TEXTS if tag in texts]
    if icc:
        tags.append((ICC, "B", len(icc), icc, True))
    file = io.BytesIO()
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    tifffile.imwrite(
        file,
        pixels,
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        metadata=None,
        software=False,
        extratags=tags,
    )
    return file.getvalue()


def _jpeg(pixels, exif, icc):
    return _by_pillow(pixels, exif, icc, format="JPEG", quality=95, subsampling=0)


def _webp(pixels, exif, icc):
    return _by_pillow(pixels, exif, icc, format="WEBP", lossless=True, exact=True)


def _by_pillow(pixels, exif, icc, **how):
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        image = Image.merge("LA", [Image.fromarray(np.ascontiguousarray(pixels[..., i])) for i in range(2)])
    else:
        image = Image.fromarray(pixels)
    file = io.BytesIO()
    image.save(file, exif=exif, icc_profile=icc, **how)
    return file.getvalue()
