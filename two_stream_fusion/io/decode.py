"""Decoding of all formats but TIFF, and what the decoders share: errors, bounds, orientation."""

from __future__ import annotations

import errno
import io
import logging
import re
import warnings
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Iterator, NamedTuple

import cv2
import numpy as np
from PIL import Image

from two_stream_fusion.base.files import check_regular
from two_stream_fusion.base.memory import require_memory
from two_stream_fusion.base.pixels import round_half_even
from two_stream_fusion.io import icc, jpeg, png
from two_stream_fusion.io.metadata import Metadata, from_info, is_adobe_rgb
from two_stream_fusion.io.stderr import silenced_stderr

LOG = logging.getLogger(__name__)
PILLOW_FORMATS = ("BMP", "JPEG", "MPO", "PNG", "PPM", "WEBP")  # by Pillow's names
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
MAX_MEGAPIXELS = 500  # a file that claims more is damaged or a decompression bomb; it is not decoded
MAX_MEGAPIXELS_UNQUESTIONED = 16
MIN_BYTES_A_MEGAPIXEL = 500  # photographs take a hundred times as many; deflate needs 970 for plain black
NETPBM_HEAD = 4096  # bytes that hold its size and white
READ_FORMATS = "PNG, TIFF, JPEG, WebP, BMP, PPM, RAW and HEIC"  # for messages
BAND = 256  # rows of an image that are converted at once, for memory alone
OPENCV_NO_MEMORY = -4  # cv2.error.code where an allocation fails
# How files of kinds that are not read begin.
OTHER_FORMATS = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"v/1\x01": "EXR",
    b"PF\n": "PFM",
    b"Pf\n": "PFM",
}
# What HEIC and PNG say of their colours: numbers of ITU-T H.273.
UNKNOWN = 2  # both as primaries and as a transfer
SDR_TRANSFERS = (1, UNKNOWN, 6, 13, 14, 15)  # sRGB, unknown, and video's, which are shown alike
GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}  # transfers where light is a power of the level
TRANSFER_NAMES = {16: "PQ", 18: "HLG"}
SRGB_GAMMA = 2.2  # what stands for sRGB's curve in the chunk gAMA of PNG
GAMMA_TOLERANCE = 0.05  # relative; nearer ones look alike, and are those of sRGB
POINT_TOLERANCE = 0.01  # of chromaticities
AVIF_BRANDS = (b"avif", b"avis")
OPENCV_FLAGS = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_UNCHANGED  # alpha too; only TIFF's orientation is applied


class UnsupportedImage(ValueError):
    """An image of a kind that is not read; the message is for the user."""


@contextmanager
def decoder_errors(path: Path) -> Iterator[None]:
    """Turn what the libraries raise for a damaged file into one ValueError.

    Args:
        path: the file, for the message.

    Raises:
        ValueError: the file is damaged or not an image.
        MemoryError: memory does not hold it.
        OSError: the disk failed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (UnsupportedImage, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, cv2.error) and error.code == OPENCV_NO_MEMORY:
            raise MemoryError from None
        # An error of the disk, not of the decoder or of a place in the file that is none.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            error.filename = error.filename or str(path)
            raise
        raise ValueError(f"{path}: not an image, or a damaged one ({path.stat().st_size} bytes)") from None


def read_head(path: Path, size: int = 12) -> bytes:
    """The first bytes of an image file.

    Args:
        path: the file.
        size: the number of bytes.

    Returns:
        Fewer than `size` bytes where the file is shorter.

    Raises:
        OSError: the file cannot be read.
        UnsupportedImage: it is a FIFO, a socket or a device, or of a known kind that is not read.
    """
    if str(path) == "-" and not path.exists():
        raise UnsupportedImage("-: standard input is not read; save the image as a file and name that")
    try:
        check_regular(path)
    except ValueError as error:
        raise UnsupportedImage(str(error)) from None
    with open(path, "rb") as file:
        head = file.read(size)
    names = [name for magic, name in OTHER_FORMATS.items() if head.startswith(magic)]
    names += ["AVIF"] if head[4:8] == b"ftyp" and head[8:12] in AVIF_BRANDS else []
    if names:
        raise UnsupportedImage(f"{path}: {names[0]} files are not read; {READ_FORMATS} are")
    return head


class Header(NamedTuple):
    """What a file says of an image before it is decoded.

    width, height: as stored, before the orientation is applied. channels: of the decoded image, alpha too.
    itemsize: bytes of a level. decoding: bytes that memory holds at the peak of decoding, the image among
    them.
    """

    width: int
    height: int
    channels: int
    itemsize: int
    decoding: int

    @property
    def size(self) -> int:
        """Bytes of the decoded image."""
        return self.width * self.height * self.channels * self.itemsize


def check_header(path: Path, header: Header) -> None:
    """Check that an image can be decoded in bounded time and memory.

    Args:
        path: the file.
        header: of the image in it.

    Raises:
        UnsupportedImage: it claims more than MAX_MEGAPIXELS, or far more pixels than its bytes can describe.
        MemoryError: memory cannot hold it.
    """
    pixels, size = header.width * header.height, f"{header.width}x{header.height}"
    if pixels > MAX_MEGAPIXELS * 1e6:
        raise UnsupportedImage(f"{path}: {size}, more than {MAX_MEGAPIXELS} million pixels")
    length = path.stat().st_size
    if pixels > MAX_MEGAPIXELS_UNQUESTIONED * 1e6 and length < pixels / 1e6 * MIN_BYTES_A_MEGAPIXEL:
        raise UnsupportedImage(f"{path}: {size} pixels in {length} bytes cannot be an image; not decoded")
    require_memory(header.decoding + length, f"{path}: {size} pixels")


def open_with_pillow(file: str | Path | BinaryIO) -> Image.Image:
    """Open an image by Pillow without its size warning: the caller checks the size before decoding."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        return Image.open(file)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def header_by_pillow(path: Path) -> Header:
    """The header of a BMP, JPEG, PNG, PNM or WebP file.

    Raises:
        UnsupportedImage: it is of a kind that is not read.
    """
    with open_with_pillow(path) as file:
        return _pillow_header(path, file)


def _pillow_header(path, file):
    if file.format not in PILLOW_FORMATS:
        raise UnsupportedImage(f"{path}: {file.format} files are not read; {READ_FORMATS} are")
    frames = getattr(file, "n_frames", 1)
    if frames > 1 and file.format != "MPO":  # a camera's JPEG, followed by previews
        raise UnsupportedImage(f"{path}: animated, {frames} frames; save them as files of their own")
    if file.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        raise UnsupportedImage(f"{path}: {file.mode} pixels; gray and RGB are fused, so convert it first")
    if _is_beyond_pillow(file):
        channels = 1 if file.mode[0] in "1LI" else 3
        if file.format == "PNG":
            channels = png.CHANNELS[read_head(path, png.IHDR_END)[25]] + ("transparency" in file.info)
        itemsize = 2
        decoding = 2 * channels * itemsize  # the image, and its channels in another order
        if file.format == "PPM":
            head = read_head(path, NETPBM_HEAD)
            white = _netpbm_numbers(head)[2]
            itemsize = 1 if white < 256 else 2
            decoding = 3 * channels * itemsize
            if head[:2] in (b"P1", b"P2", b"P3"):
                decoding = 60 * channels  # numbers written as text become objects of Python
            elif white not in (1, 255, 65535):
                decoding = 28 * channels  # scaled in float64
    else:
        channels, itemsize = len(_pillow_mode(file)), 1
        pillow_bytes = 1 if file.mode in ("1", "L", "P") else 4
        decoding = channels + pillow_bytes
        if file.format == "WEBP":
            decoding = 24  # two canvases, the frame and two copies of it
        elif file.info.get("progressive"):
            decoding = max(decoding, 6 + pillow_bytes)  # libjpeg holds all coefficients, 2 bytes each
    width, height = file.size
    return Header(width, height, channels, itemsize, width * height * decoding)


def _raw_mode(file):
    """How the file stores its samples, by Pillow's names of raw modes."""
    return " ".join(str(tile[3][0] if isinstance(tile[3], tuple) else tile[3]) for tile in file.tile)


def _is_beyond_pillow(file):
    """Whether OpenCV decodes the file: Pillow has 16 bits for gray only. In BMP 16 are those of a pixel."""
    if file.format == "BMP":
        return False
    return file.format == "PPM" or file.mode.startswith("I") or "16" in _raw_mode(file)


def _pillow_mode(file):
    """The mode that Pillow's pixels are taken in."""
    mode = "L" if file.mode in ("1", "L", "LA") else "RGB"
    return mode + "A" if "A" in file.mode or "transparency" in file.info else mode


def decode_with_pillow(path: Path) -> tuple[np.ndarray, Metadata]:
    """Decode a BMP, JPEG, PNG, PNM or WebP file: pixels (alpha is the last channel), and metadata."""
    check_header(path, header_by_pillow(path))
    data = path.read_bytes()
    with open_with_pillow(io.BytesIO(data)) as file:
        header = _pillow_header(path, file)
        if file.format in ("JPEG", "MPO"):
            data = _complete_jpeg(path, data, file.size)
            file = open_with_pillow(io.BytesIO(data))
            file.info.setdefault("xmp", jpeg.find_xmp(getattr(file, "applist", ())))  # Pillow before 11
        elif file.format == "PNG":
            file.info.setdefault("xmp", png.find_xmp(data))
        metadata, orientation = from_info(file.info)
        if file.format == "PNG":
            profile = _png_profile(path, data, metadata, header.channels > 2)
        else:
            profile = metadata.icc or _profile_of_exif(metadata.exif, header.channels > 2)
        metadata = metadata._replace(icc=profile)
        if _is_beyond_pillow(file):
            pixels = _decode_netpbm(path, data) if file.format == "PPM" else decode_with_opencv(data)
            pixels = pixels[..., 2:] if "LA" in _raw_mode(file) else pixels
            hidden = file.info.get("transparency") if file.format == "PNG" and pixels.ndim == 2 else None
            if hidden is not None:  # a gray level that stands for alpha 0, which OpenCV heeds for RGB alone
                alpha = np.where(pixels == hidden, 0, np.iinfo(pixels.dtype).max).astype(pixels.dtype)
                pixels = np.dstack([pixels, alpha])
        else:
            pixels = _pixels_of_pillow(file, _pillow_mode(file))
        check_decoded(path, pixels, (file.height, file.width), header.channels, header.itemsize)
        if file.format == "PNG" and b"IEND" not in data[-1024:]:  # known only now that all pixels are there
            _warn_once(f"{path}: has no end chunk (IEND), so it may be cut off; its pixels are complete")
        return apply_orientation(pixels, orientation), metadata


def _pixels_of_pillow(file, mode):
    """The pixels of an open image, H x W or H x W x C uint8, converted in bands: each copy takes memory."""
    file.load()
    width, height = file.size
    pixels = np.empty((height, width, len(mode)) if len(mode) > 1 else (height, width), np.uint8)
    for top in range(0, height, BAND):
        bottom = min(top + BAND, height)
        band = file.crop((0, top, width, bottom))
        pixels[top:bottom] = np.asarray(band if band.mode == mode else band.convert(mode))
    return pixels


def _complete_jpeg(path, data, size):
    """A JPEG file whose pixels are complete; the end marker is added where only that is missing.

    Raises:
        UnsupportedImage: data of the pixels is missing, or it has more scans than photographs have.
    """
    structure = jpeg.read_structure(data)
    most = jpeg.max_scans(*size)
    if structure.scans > most:
        raise UnsupportedImage(
            f"{path}: a JPEG of {size[0]}x{size[1]} pixels in {structure.scans} scans, which takes minutes to"
            f" decode; at most {most} are read"
        )
    whole = data if structure.has_end else data + jpeg.END
    if jpeg.lacks_pixels(whole) or not (structure.has_end or structure.is_refined):
        raise UnsupportedImage(f"{path}: truncated or damaged: pixel data is missing")
    if not structure.has_end:
        _warn_once(f"{path}: has no end marker (EOI), so it may be cut off; its pixels are complete")
    return whole


@lru_cache(maxsize=256)
def _warn_once(message):
    """Log a warning, once for each file: stacks are read several times."""
    LOG.warning("%s", message)


def check_decoded(
    path: Path, pixels: np.ndarray, size: tuple[int, ...], channels: int, itemsize: int
) -> None:
    """Check what a library decoded against what the file says.

    Args:
        path: the file.
        pixels: what was decoded.
        size: (rows, columns) that the file says.
        channels: its samples a pixel, alpha too.
        itemsize: the bytes of a level.

    Raises:
        UnsupportedImage: they differ.
    """
    expected = (*size, channels) if channels > 1 else tuple(size)
    if pixels.shape != expected or pixels.dtype.kind != "u" or pixels.dtype.itemsize != itemsize:
        actual, stated = ("x".join(map(str, shape)) for shape in (pixels.shape, expected))
        raise UnsupportedImage(
            f"{path}: read as {actual} {pixels.dtype}, the file says {stated} of {8 * itemsize} bits;"
            " save it as TIFF packed by deflate"
        )


def _netpbm_numbers(data):
    """Width, height and white level of a PBM, PGM or PPM file."""
    words = re.sub(rb"#[^\n]*", b"", data[2:NETPBM_HEAD]).split(None, 3)
    return int(words[0]), int(words[1]), 1 if data[:2] in (b"P1", b"P4") else int(words[2])


def _decode_netpbm(path, data):
    """Decode PBM, PGM or PPM; the file's own white level becomes the largest value of the type.

    Raises:
        UnsupportedImage: a number is below 0 or above the file's white level.
    """
    plain = data[:2] in (b"P2", b"P3")
    if not plain and data[:2] not in (b"P5", b"P6"):
        return decode_with_opencv(data)
    width, height, white = _netpbm_numbers(data)
    if plain:  # OpenCV scales some of these wrongly
        words = re.sub(rb"#[^\n]*", b"", data[2:]).split()
        pixels = np.array(words[3:], int).reshape(height, width, *((3,) if data[:2] == b"P3" else ()))
    else:
        pixels = decode_with_opencv(data)
    if pixels.min() < 0 or pixels.max() > white:
        raise UnsupportedImage(
            f"{path}: damaged: numbers from {pixels.min()} to {pixels.max()}, though white is {white}"
        )
    dtype = np.uint8 if white < 256 else np.uint16
    top = np.iinfo(dtype).max
    return pixels.astype(dtype) if white == top else round_half_even(pixels * (top / white), dtype)


def decode_with_opencv(data: bytes) -> np.ndarray:
    """Decode by OpenCV: H x W or H x W x C, R, G, B and alpha in this order.

    Args:
        data: the bytes of the file.

    Returns:
        The pixels, uint8 or uint16 or float32 as the file has them.

    Raises:
        ValueError: OpenCV cannot decode it.
    """
    with silenced_stderr():
        image = cv2.imdecode(np.frombuffer(data, np.uint8), OPENCV_FLAGS)
    if image is None:
        raise ValueError("OpenCV cannot decode it")
    return swap_rgb(image)


def swap_rgb(image: np.ndarray) -> np.ndarray:
    """Convert OpenCV's order of channels to RGB(A), or back."""
    return image if image.ndim == 2 else image[..., [2, 1, 0, 3][: image.shape[2]]]


def apply_orientation(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an image upright by its EXIF orientation, 1 to 8.

    Args:
        pixels: H x W or H x W x C.
        orientation: of EXIF (tag 274). 1 is upright.

    Returns:
        A view of `pixels`, W x H... for 5 to 8.
    """
    if orientation in (2, 4, 5, 7):  # mirrored; what is left is a turn
        pixels, orientation = pixels[:, ::-1], {2: 1, 4: 3, 5: 8, 7: 6}[orientation]
    return np.rot90(pixels, {3: 2, 6: 3, 8: 1}.get(orientation, 0))


def is_heif(head: bytes) -> bool:
    """Whether a file that begins with these 12 bytes is HEIC."""
    return head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS


def header_of_heif(path: Path) -> Header:
    """The header of the main image of a HEIC file. Errors as `decode_heif`."""
    file = _open_heif(path)
    _heif_profile(path, file)
    return _heif_header(file)


def _open_heif(path):
    try:
        import pillow_heif
    except ImportError:
        raise UnsupportedImage(f"{path}: HEIC files need pillow-heif (pip install pillow-heif)") from None
    return pillow_heif.open_heif(path, convert_hdr_to_8bit=False, hdr_to_16bit=False)


def _heif_header(file):
    width, height = file.size
    channels, itemsize = len(file.mode.split(";")[0]), 2 if file.info["bit_depth"] > 8 else 1
    # libheif's planes, its interleaved image, ours; more bits than 8 are scaled in float32
    decoding = (3 * itemsize + (6 if itemsize > 1 else 0)) * channels
    return Header(width, height, channels, itemsize, width * height * decoding)


def _heif_profile(path, file):
    """The ICC profile of a HEIC file, made where it describes its colours by numbers; b"" for sRGB.

    Raises:
        UnsupportedImage: its levels are coded for HDR.
    """
    profile, colour = file.info.get("icc_profile"), file.info.get("nclx_profile")
    if profile or not colour:
        return profile or b""
    numbers = int(colour["color_primaries"]), int(colour["transfer_characteristics"])
    return _profile_of_numbers(path, *numbers, file.mode.startswith("RGB"))


def _png_profile(path, data, metadata, is_colour):
    """The ICC profile of a PNG file, made where other chunks describe its colours; b"" for sRGB.

    Of several chunks the first of cICP, iCCP, sRGB, and gAMA with cHRM counts; where there is none, EXIF.

    Raises:
        UnsupportedImage: its levels are coded for HDR or in video's range.

    Source: the PNG specification, third edition, 4.3 and 11.3.2.
    """
    chunks = png.chunks_before_pixels(data)
    numbers = chunks.get(b"cICP", b"")
    if len(numbers) == 4:
        if not numbers[3]:
            raise UnsupportedImage(f"{path}: its levels are in video's range; export it in full range")
        _refuse_hdr(path, numbers[1])
        if numbers[0] in icc.PRIMARIES and numbers[1] != UNKNOWN:
            return _profile_of_numbers(path, numbers[0], numbers[1], is_colour)
    if metadata.icc or b"sRGB" in chunks:
        return metadata.icc
    gamma, points = png.gamma(chunks), png.chromaticities(chunks)
    if gamma or points:
        return _profile_of_gamma(path, gamma, points, is_colour)
    if len(numbers) == 4:
        return _profile_of_numbers(path, numbers[0], numbers[1], is_colour)
    return _profile_of_exif(metadata.exif, is_colour)


def _profile_of_gamma(path, gamma, points, is_colour):
    """The ICC profile of levels to the power gamma, of colours with these chromaticities; None: sRGB's."""
    if points and np.abs(np.subtract(points, icc.SRGB)).max() < POINT_TOLERANCE:
        points = None
    if gamma and not (points and is_colour) and abs(gamma / SRGB_GAMMA - 1) < GAMMA_TOLERANCE:
        gamma = None
    try:
        return _make_profile("Colours of PNG", points or icc.SRGB, gamma, is_colour)
    except ValueError:
        _warn_once(f"{path}: its chunk cHRM is no set of colours; they are taken for sRGB")
        return b""


def _profile_of_exif(exif, is_colour):
    """The ICC profile of Adobe RGB where EXIF says so; b"" elsewhere."""
    if not is_colour or not is_adobe_rgb(exif):
        return b""
    return icc.make_profile("Adobe RGB (1998)", icc.ADOBE_RGB, icc.ADOBE_RGB_GAMMA)


def _refuse_hdr(path, transfer):
    if transfer not in SDR_TRANSFERS and transfer not in GAMMAS:
        name = TRANSFER_NAMES.get(transfer, f"transfer {transfer} of H.273")
        raise UnsupportedImage(
            f"{path}: its levels are coded as {name}; export it as SDR (sRGB) and fuse that"
        )


def _profile_of_numbers(path, primaries, transfer, is_colour):
    """The ICC profile of colours that numbers of H.273 describe; b"" for sRGB.

    Raises:
        UnsupportedImage: the levels are coded for HDR.
    """
    _refuse_hdr(path, transfer)
    if is_colour and primaries != UNKNOWN and primaries not in icc.PRIMARIES:
        name = f"primaries {primaries} of H.273"
        _warn_once(f"{path}: its colours ({name}) are unknown and taken for sRGB; they may look paler")
    name, *points = icc.PRIMARIES.get(primaries, icc.PRIMARIES[1])
    return _make_profile(name, points, GAMMAS.get(transfer), is_colour)


def _make_profile(name, points, gamma, is_colour):
    """A profile as of icc.make_profile; one of gray levels for gray, and b"" where sRGB's says the same."""
    curve = f", gamma {gamma:.3g}" if gamma else ""
    if not is_colour:
        return icc.make_gray_profile(f"Gray{curve}", gamma) if gamma else b""
    if not gamma and tuple(points) == icc.SRGB:
        return b""
    return icc.make_profile(name + curve, points, gamma)


def decode_heif(path: Path) -> tuple[np.ndarray, Metadata]:
    """Decode the main image of a HEIC file as `decode_with_pillow` does; libheif turns it upright.

    Args:
        path: the file.

    Returns:
        H x W or H x W x C, uint8 or uint16, and the metadata.

    Raises:
        UnsupportedImage: premultiplied alpha, HDR, or levels above the file's own white.
    """
    file = _open_heif(path)
    header = _heif_header(file)
    check_header(path, header)
    if file.premultiplied_alpha:
        raise UnsupportedImage(f"{path}: premultiplied alpha is not read from HEIC")
    pixels, white = np.array(file), 2 ** file.info["bit_depth"] - 1
    check_decoded(path, pixels, (header.height, header.width), header.channels, header.itemsize)
    if white > 255:
        if pixels.max() > white:
            raise UnsupportedImage(f"{path}: levels up to {pixels.max()}, the file says {white}")
        pixels = round_half_even(pixels * np.float32(65535 / white), np.uint16)
    return pixels, from_info(file.info)[0]._replace(icc=_heif_profile(path, file))
