"""Chunks of PNG files."""

from __future__ import annotations

import zlib
from typing import Iterator, Mapping

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp"
CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # of each type of colour, which byte 25 names
IHDR_END = 33  # bytes; other chunks come after this one


def make_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk with its length and checksum.

    Args:
        name: its type, 4 ASCII letters.
        data: its contents.

    Returns:
        The bytes of the chunk (PNG specification, 5.3).
    """
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def read_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(name, content) of each whole chunk of a file; the content of pixels (IDAT) is left out."""
    offset = len(SIGNATURE)
    while offset + 12 <= len(data):
        length = int.from_bytes(data[offset : offset + 4], "big")
        name, end = data[offset + 4 : offset + 8], offset + 12 + length
        if end > len(data):
            break
        yield name, b"" if name == b"IDAT" else data[offset + 8 : end - 4]
        offset = end


def chunks_before_pixels(data: bytes) -> dict[bytes, bytes]:
    """{name: content} of the chunks before the pixels, where those of colour are; the first of each name."""
    chunks: dict[bytes, bytes] = {}
    for name, content in read_chunks(data):
        if name == b"IDAT":
            break
        chunks.setdefault(name, content)
    return chunks


def gamma(chunks: Mapping[bytes, bytes]) -> float | None:
    """The power of the level that is light, by the chunk gAMA (11.3.2.2).

    Args:
        chunks: {name: content}.

    Returns:
        The exponent; None where there is no such chunk, or its number is out of all reason.
    """
    content = chunks.get(b"gAMA", b"")
    value = int.from_bytes(content, "big") if len(content) == 4 else 0
    return round(1e5 / value, 3) if 1e4 <= value <= 1e6 else None


def chromaticities(chunks: Mapping[bytes, bytes]) -> list[tuple[float, float]] | None:
    """The chromaticities that the chunk cHRM names (11.3.2.1).

    Args:
        chunks: {name: content}.

    Returns:
        (x, y) of red, green, blue and white; None where there is no such chunk.
    """
    content = chunks.get(b"cHRM", b"")
    if len(content) != 32:
        return None
    numbers = [int.from_bytes(content[i : i + 4], "big") / 1e5 for i in range(0, 32, 4)]
    white, *colours = zip(numbers[::2], numbers[1::2])
    return [*colours, white]


def find_xmp(data: bytes) -> bytes:
    """The packet of XMP anywhere in a file; b"" if there is none or it is compressed."""
    for name, content in read_chunks(data):
        keyword, _, rest = content.partition(b"\0")
        if name == b"iTXt" and keyword == XMP_KEYWORD and rest[:1] == b"\0":
            return rest[2:].split(b"\0", 2)[-1]  # after the language and the translated keyword
    return b""


def xmp_chunk(xmp: bytes) -> bytes:
    """The chunk that holds a packet of XMP."""
    return make_chunk(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + xmp)


def resolution_chunk(x: float, y: float) -> bytes:
    """The chunk pHYs, which holds a resolution (PNG specification, 11.3.5.3).

    Args:
        x, y: pixels a metre.

    Returns:
        The bytes of the chunk; empty where a number leaves its field of 31 bits.
    """
    counts = [round(value) for value in (x, y)]
    if not all(0 < count < 2**31 for count in counts):
        return b""
    return make_chunk(b"pHYs", b"".join(count.to_bytes(4, "big") for count in counts) + b"\1")
