"""What is carried over from a photograph besides its pixels: EXIF, ICC profile, XMP and resolution."""

from __future__ import annotations

import re
import struct
from typing import Any, Mapping, NamedTuple
from xml.etree import ElementTree

from PIL import Image

# What is kept of EXIF: description, camera, software, time, author, rights; exposure and place. The rest
# describes the old file: its size, orientation and thumbnail. The resolution is kept by Metadata.resolution.
TEXT_TAGS = (270, 271, 272, 305, 306, 315, 33432)
EXPOSURE_IFD, PLACE_IFD = 0x8769, 0x8825
SIZE_TAGS = (0xA002, 0xA003)
MAKER_NOTE = 0x927C
INTEROP_IFD = 0xA005
INTEROP_TAGS = (1, 2)  # ADOBE_RGB with its version
ADOBE_RGB = "R03"
COLOUR_SPACE, SRGB_SPACE = 0xA001, 1
ORIENTATION = 274
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
XMP_TAG = 700
TIFF_UNITS = {2: "inch", 3: "cm"}  # 1 stands for no unit: the numbers are the shape of a pixel
METRES = {"inch": 0.0254, "m": 1.0, "cm": 1e-2, "mm": 1e-3, "µm": 1e-6, "nm": 1e-9}
UNIT_NAMES = {
    "in": "inch",
    "micron": "µm",
    "microns": "µm",
    "micrometer": "µm",
    "um": "µm",
    "\u03bcm": "µm",  # the Greek letter in place of the micro sign
    "\\u00B5m": "µm",  # as ImageJ escapes it
    "centimeter": "cm",
    "millimeter": "mm",
    "nanometer": "nm",
    "meter": "m",
}
TIFF_NAMESPACE = "http://ns.adobe.com/tiff/1.0/"
EXIF_NAMESPACE = "http://ns.adobe.com/exif/1.0/"
EXTENSION_NAMESPACE = "http://ns.adobe.com/xmp/note/"
MAX_XMP = 1_000_000  # bytes; a packet of more holds pictures
MAX_PREFIXES = 8  # of one namespace of XMP


class Resolution(NamedTuple):
    """Pixels for each unit of length, across and down. unit: a key of METRES."""

    x: float
    y: float
    unit: str = "inch"

    def per(self, unit: str) -> Resolution:
        """The same resolution for another unit."""
        factor = METRES[unit] / METRES[self.unit]
        return Resolution(self.x * factor, self.y * factor, unit)


class Metadata(NamedTuple):
    """What is carried over from a photograph besides its pixels.

    exif: with its prefix; without what describes the old file. icc: the profile. xmp: a packet of XMP in
    UTF-8. They are empty where the file has none. resolution: None where the file names none.
    """

    exif: bytes = b""
    icc: bytes = b""
    xmp: bytes = b""
    resolution: Resolution | None = None


NO_METADATA = Metadata()


def from_info(info: Mapping[Any, Any], xmp: bytes | str | None = None) -> tuple[Metadata, int]:
    """Read the metadata of a file that Pillow or pillow-heif opened.

    Args:
        info: `Image.info`.
        xmp: in place of what `info` has.

    Returns:
        The metadata, and the EXIF orientation, 1 to 8.
    """
    exif = _parse_exif(info.get("exif") or b"")
    x, y = info.get("dpi", (0, 0))
    resolution = _resolution(x, y, "inch")
    if resolution is None:
        unit = TIFF_UNITS.get(exif.get(RESOLUTION_UNIT, 2))
        resolution = _resolution(exif.get(X_RESOLUTION, 0), exif.get(Y_RESOLUTION, 0), unit)
    xmp = info.get("xmp") if xmp is None else xmp
    kept = _exif_bytes(_kept_exif(exif))
    metadata = Metadata(kept, info.get("icc_profile") or b"", _kept_xmp(xmp), resolution)
    return metadata, exif.get(ORIENTATION, 1)


def resolution_of_tiff(
    values: Mapping[int, Any], imagej: Mapping[str, Any] | None = None, ome: str | None = None
) -> Resolution | None:
    """The resolution that a TIFF file names: that of OME, of ImageJ, or of its tags.

    Args:
        values: {tag: value} of the tags 282, 283 and 296 where the page has them; ratios as pairs.
        imagej: the description that ImageJ writes, parsed.
        ome: the description of OME, XML.

    Returns:
        The resolution; None where the file has none.
    """
    if ome:
        resolution = _resolution_of_ome(ome)
        if resolution:
            return resolution
    x, y = (_ratio(values.get(tag, 0)) for tag in (X_RESOLUTION, Y_RESOLUTION))
    unit = TIFF_UNITS.get(int(values.get(RESOLUTION_UNIT, 2)))
    return _resolution(x, y, str((imagej or {}).get("unit") or "") or unit)


def _ratio(value):
    if isinstance(value, (tuple, list)):
        return value[0] / value[1] if len(value) > 1 and value[1] else 0.0
    return value


def _resolution_of_ome(description):
    """The resolution of the first image of OME's XML; entities are not resolved."""
    if "<!DOCTYPE" in description or "<!ENTITY" in description:
        return None
    try:
        root = ElementTree.fromstring(description.encode())
    except (ElementTree.ParseError, ValueError):
        return None
    pixels = next((node for node in root.iter() if node.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return None
    sizes, units = [], set()
    for axis in "XY":
        try:
            sizes.append(float(pixels.get(f"PhysicalSize{axis}", 0)))
        except ValueError:
            return None
        units.add(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    if len(units) > 1 or min(sizes) <= 0:
        return None
    return _resolution(1 / sizes[0], 1 / sizes[1], units.pop())


def _resolution(x, y, unit):
    """A Resolution, or None where the numbers or the unit are none."""
    unit = UNIT_NAMES.get(unit, unit)
    try:
        x, y = float(x), float(y)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if unit not in METRES or not (0 < x < 1e12 and 0 < y < 1e12):  # NaN and infinity too
        return None
    return Resolution(x, y, unit)


def _parse_exif(data):
    """EXIF as Pillow parses it; empty where it has no head of a TIFF file."""
    exif = Image.Exif()
    try:
        exif.load(data)
    except (SyntaxError, struct.error):  # a wrong head, or one that is cut short
        return Image.Exif()
    return exif


def _exif_bytes(exif):
    """EXIF as bytes; b"" where it is empty or damaged: a value has a type that its tag cannot have."""
    try:
        return exif.tobytes() if len(exif) else b""
    except Exception:  # Pillow raises errors of many types for such values
        return b""


def _kept_exif(exif):
    """EXIF without the tags that describe the old file."""
    kept = Image.Exif()
    for tag in TEXT_TAGS:
        if tag in exif:
            kept[tag] = _keep_bytes(exif[tag])
    dropped = (*SIZE_TAGS, INTEROP_IFD)
    for part in (EXPOSURE_IFD, PLACE_IFD):
        values = {tag: _keep_bytes(v) for tag, v in exif.get_ifd(part).items() if tag not in dropped}
        if part == EXPOSURE_IFD:
            values.update(_kept_interop(exif) if INTEROP_IFD in exif.get_ifd(part) else {})
        if values:
            kept[part] = values
    return kept


def _kept_interop(exif):
    """{INTEROP_IFD: what it says of the colours}, or {} where it says nothing of them."""
    interop = exif.get_ifd(INTEROP_IFD)
    values = {tag: interop[tag] for tag in INTEROP_TAGS if tag in interop}
    return {INTEROP_IFD: values} if isinstance(values.get(1), str) else {}


def is_adobe_rgb(exif: bytes) -> bool:
    """Whether EXIF says that the colours are Adobe RGB, as cameras say it (DCF 2.0, Exif 2.3: 4.6.7)."""
    parsed = _parse_exif(exif)
    if parsed.get_ifd(EXPOSURE_IFD).get(COLOUR_SPACE) == SRGB_SPACE:  # set by a program that converted them
        return False
    interop = _kept_interop(parsed).get(INTEROP_IFD, {})
    return interop.get(1, "").rstrip("\0 ") == ADOBE_RGB


class _Text(str):
    """A text of EXIF, in UTF-8 or whatever code, that Pillow writes as it read it.

    It reads Latin-1, which is all bytes as they are, and writes ASCII, with a ? for each other byte.
    """

    def __str__(self):
        return self

    def encode(self, *_):
        return super().encode("latin-1")


def _keep_bytes(value):
    return _Text(value) if isinstance(value, str) else value


def _kept_xmp(xmp):
    """A packet of XMP, upright and without what describes the old file; b"" where it is not UTF-8 XML."""
    if isinstance(xmp, bytes):
        try:
            xmp = xmp.rstrip(b"\0").decode("utf-8-sig")
        except UnicodeDecodeError:
            return b""
    if not xmp or "<" not in xmp or len(xmp) > MAX_XMP:
        return b""
    for namespace, names in (
        (TIFF_NAMESPACE, ("Orientation", "ImageWidth", "ImageLength")),
        (EXIF_NAMESPACE, ("PixelXDimension", "PixelYDimension")),
        (EXTENSION_NAMESPACE, ("HasExtendedXMP",)),  # the rest of it stays behind
    ):
        prefixes = re.findall(rf"xmlns:([\w.-]+)\s*=\s*[\"']{re.escape(namespace)}[\"']", xmp)
        for prefix in sorted(set(prefixes))[:MAX_PREFIXES]:
            name = rf"{re.escape(prefix)}:(?:{'|'.join(names)})"
            xmp = re.sub(rf"\s{name}\s*=\s*(?:\"[^\"]*\"|'[^']*')", "", xmp)
            xmp = re.sub(rf"<({name})\b[^<>]*?(?:/>|>[^<]*</\1\s*>)", "", xmp)
    return _without_thumbnails(xmp).encode()


def _without_thumbnails(xmp):
    """XMP without the small versions of the old image."""
    start = xmp.find("<xmp:Thumbnails")
    closing = "</xmp:Thumbnails>"
    end = xmp.find(closing, start)
    return xmp[:start] + xmp[end + len(closing) :] if 0 <= start < end else xmp


def exif_with_resolution(exif: bytes, resolution: Resolution | None) -> bytes:
    """EXIF with a resolution for each inch or centimetre, for formats that have no place of their own.

    Args:
        exif: the bytes of the old EXIF; may be empty.
        resolution: None leaves `exif` as it is.

    Returns:
        The bytes of the new EXIF.
    """
    if resolution is None:
        return exif
    with_resolution = _kept_exif(_parse_exif(exif))
    unit = 2 if resolution.unit == "inch" else 3
    resolution = resolution.per(TIFF_UNITS[unit])
    with_resolution[X_RESOLUTION], with_resolution[Y_RESOLUTION] = resolution.x, resolution.y
    with_resolution[RESOLUTION_UNIT] = unit
    return with_resolution.tobytes()


def exif_without_maker_note(exif: bytes) -> bytes:
    """EXIF without the camera maker's own data, which is the largest part of it.

    Args:
        exif: the bytes of the old EXIF; may be empty.

    Returns:
        The bytes of the new EXIF; empty where nothing else was in it.
    """
    kept = _kept_exif(_parse_exif(exif))
    values = {tag: value for tag, value in kept.get(EXPOSURE_IFD, {}).items() if tag != MAKER_NOTE}
    if values:
        kept[EXPOSURE_IFD] = values
    elif EXPOSURE_IFD in kept:
        del kept[EXPOSURE_IFD]
    return _exif_bytes(kept)
