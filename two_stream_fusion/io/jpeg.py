"""What a JPEG file says of itself and whether the data of its pixels is whole, before it is decoded."""

from __future__ import annotations

import re
from typing import Iterable, NamedTuple

import cv2
import numpy as np

from two_stream_fusion.io.stderr import captured_stderr

END = b"\xff\xd9"
XMP_SIGNATURE = b"http://ns.adobe.com/xap/1.0/\0"
# The bound that libjpeg-turbo proposes against files that keep a decoder busy (djpeg -maxscans). Photographs
# have about ten scans. Each scan visits all blocks, so that large images get fewer.
MAX_SCANS = 500
MAX_SCAN_MEGAPIXELS = 12_000
STANDALONE_MARKERS = (0x01, *range(0xD0, 0xD9))  # markers that stand alone
SOF_MARKERS = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # after coded data
# What libjpeg prints: of coded data that does not suffice or is not what it should be, and harmless notes.
LIBJPEG_MESSAGES = re.compile(
    rb"(?:Corrupt JPEG data|Premature end of JPEG|Invalid|Inconsistent|Unknown)[^\n]*\n"
)
TRUNCATION_MESSAGE = re.compile(rb"premature end|bad Huffman code|found marker", re.I)


class Structure(NamedTuple):
    """The markers of a JPEG file.

    scans: how often the image is gone through. components: gray 1, colour 3. is_progressive: it comes in
    passes of growing detail. is_refined: all passes that the file begins reach the last bit. has_end: the
    end marker is there. width, height: in pixels, 0 where the file does not say.
    """

    scans: int
    components: int
    is_progressive: bool
    is_refined: bool
    has_end: bool
    width: int = 0
    height: int = 0


def read_structure(data: bytes) -> Structure:
    """Read the markers of a JPEG file (ITU-T T.81, Annex B). Other files give a structure without scans.

    Args:
        data: the file.

    Returns:
        The structure, of a truncated file as far as it goes.
    """
    scans, components, is_progressive, has_end, width, height = 0, 0, False, False, 0, 0
    lowest_bits: dict[tuple[int, int], int] = {}  # of each component and coefficient
    offset = data.find(b"\xff", 2)
    while 0 <= offset < len(data) - 1:
        marker, start = data[offset + 1], offset + 2
        if marker == 0xD9:
            has_end = True
            break
        if marker == 0xFF:  # a fill byte
            offset += 1
            continue
        if marker in STANDALONE_MARKERS or marker == 0:
            offset = data.find(b"\xff", start)
            continue
        length = int.from_bytes(data[start : start + 2], "big")
        body, end = data[start + 2 : start + length], start + length
        if length < 2 or end > len(data):
            break
        if marker in SOF_MARKERS and len(body) > 5:
            components, is_progressive = body[5], marker in PROGRESSIVE
            height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        if marker == 0xDA and body:
            scans += 1
            count = body[0]
            if len(body) < 4 + 2 * count:
                break
            first, last, bits = body[1 + 2 * count : 4 + 2 * count]
            for component in body[1 : 1 + 2 * count : 2]:
                lowest_bits.update({(component, k): bits & 15 for k in range(first, min(last, 63) + 1)})
            next_marker = MARKER.search(data, end)
            end = next_marker.start() if next_marker else len(data)
        offset = data.find(b"\xff", end)
    named = {component for component, _ in lowest_bits}
    is_refined = len(named) >= components and not any(lowest_bits.values())
    if is_progressive:
        is_refined = is_refined and len(lowest_bits) == 64 * len(named)
    return Structure(scans, components, is_progressive, is_refined, has_end, width, height)


def max_scans(width: int, height: int) -> int:
    """The number of scans that an image of this size may have.

    Args:
        width, height: in pixels.

    Returns:
        MAX_SCANS, and fewer for images so large that scans of them would take long.
    """
    return int(min(MAX_SCANS, MAX_SCAN_MEGAPIXELS * 1e6 / (width * height)))


def lacks_pixels(*files: bytes) -> bool:
    """Whether coded data is missing or damaged in one of several JPEG files.

    Decoders fill in gray for it without an error. libjpeg prints a warning, which OpenCV lets through; the
    image of 1/8 is enough, for all data is gone through.
    """
    flags = cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION
    with captured_stderr(LIBJPEG_MESSAGES) as printed:
        for data in files:
            cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    return any(map(TRUNCATION_MESSAGE.search, printed))


def with_xmp(data: bytes, xmp: bytes) -> bytes:
    """A JPEG file with a packet of XMP after its first segment; unchanged where it is too long for one.

    Args:
        data: the bytes of the file.
        xmp: the packet; may be empty.

    Returns:
        The bytes of the new file.
    """
    body = XMP_SIGNATURE + xmp
    if not xmp or len(body) > 65533:
        return data
    offset = 4 + int.from_bytes(data[4:6], "big")
    segment = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    return data[:offset] + segment + data[offset:]


def find_xmp(segments: Iterable[tuple[str, bytes]]) -> bytes:
    """The packet of XMP among the segments (name, content) of a JPEG file; b"" if there is none."""
    packets = (content for name, content in segments if name == "APP1" and content.startswith(XMP_SIGNATURE))
    return next(packets, b"")[len(XMP_SIGNATURE) :]
