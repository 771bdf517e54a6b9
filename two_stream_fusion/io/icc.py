"""ICC profiles: whether one fits the pixels, and one for colours that a file describes by numbers."""

from __future__ import annotations

import struct
from typing import Sequence

import numpy as np

D50 = (0.9642, 1.0, 0.8249)  # XYZ of the white of all profiles
MAX_CONES = 10.0  # how much more or less of red, green or blue a white has than D50; candle light has 8
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
# g, a, b, c and d of (a x + b) ** g, and of c x below d
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
D65 = (0.3127, 0.329)
C = (0.31, 0.316)
SRGB = ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06), D65)  # (x, y) of red, green, blue and white
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65)
ADOBE_RGB_GAMMA = 563 / 256
# The same with a name, by the number of ITU-T H.273 (Table 2).
PRIMARIES = {
    1: ("BT.709", *SRGB),
    4: ("BT.470 M", (0.67, 0.33), (0.21, 0.71), (0.14, 0.08), C),
    5: ("BT.470 B, G", (0.64, 0.33), (0.29, 0.6), (0.15, 0.06), D65),
    6: ("BT.601, 525 lines", (0.63, 0.34), (0.31, 0.595), (0.155, 0.07), D65),
    7: ("SMPTE 240M", (0.63, 0.34), (0.31, 0.595), (0.155, 0.07), D65),
    8: ("film", (0.681, 0.319), (0.243, 0.692), (0.145, 0.049), C),
    9: ("BT.2020", (0.708, 0.292), (0.17, 0.797), (0.131, 0.046), D65),
    11: ("DCI P3", (0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.314, 0.351)),
    12: ("Display P3", (0.68, 0.32), (0.265, 0.69), (0.15, 0.06), D65),
    22: ("EBU 3213", (0.63, 0.34), (0.295, 0.605), (0.155, 0.077), D65),
}


def rgb_profile(icc: bytes | None) -> bytes:
    """The ICC profile that a file of RGB pixels may hold.

    Args:
        icc: the profile of the colours; may be empty or None.

    Returns:
        `icc`, or b"" where it is a profile of other colours, such as gray.
    """
    return icc if icc and icc[16:20] == b"RGB " else b""


def make_profile(name: str, points: Sequence[Sequence[float]], gamma: float | None = None) -> bytes:
    """Make a profile of RGB colours.

    Args:
        name: its description, ASCII.
        points: the chromaticities (x, y) of red, green, blue and white.
        gamma: light is the level to this power; None for sRGB's curve.

    Returns:
        An ICC profile of version 4.

    Raises:
        ValueError: the chromaticities are none, the primaries lie on a line, or white is not among them.

    Source: ICC.1:2010, 8.3 and annex E (Bradford adaptation).
    """
    chromaticities = np.array(points, np.float64)
    x, y = chromaticities.T
    if min(x.min(), 1 - (x + y).max()) < -1e-4 or y.min() <= 0:
        raise ValueError("chromaticities of no colours")
    xyz = np.column_stack([chromaticities, 1 - chromaticities.sum(axis=1)]) / chromaticities[:, 1:]
    colours, white_xyz = xyz[:3].T, xyz[3]
    if abs(np.linalg.det(colours)) < 1e-6:
        raise ValueError("primaries on one line")
    shares = np.linalg.solve(colours, white_xyz)
    if shares.min() <= 0:
        raise ValueError("chromaticities of a white outside of the primaries")
    colours = colours * shares
    cones = BRADFORD @ D50 / (BRADFORD @ white_xyz)
    if not 1 / MAX_CONES < cones.min() <= cones.max() < MAX_CONES:
        raise ValueError("chromaticities of no white")
    adaptation = np.linalg.solve(BRADFORD, cones[:, None] * BRADFORD)
    red, green, blue = (adaptation @ colours).T
    if min(red[1], green[1], blue[1]) < 0:
        raise ValueError("chromaticities of colours darker than black")
    curve = _curve(gamma)
    tags = {
        b"desc": _text(name),
        b"cprt": _text("CC0"),
        b"wtpt": _xyz(D50),
        b"chad": b"sf32\0\0\0\0" + _fixed(adaptation.ravel()),
        b"rXYZ": _xyz(red),
        b"gXYZ": _xyz(green),
        b"bXYZ": _xyz(blue),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    return _assemble(b"RGB ", tags)


def make_gray_profile(name: str, gamma: float) -> bytes:
    """Make a profile of gray levels.

    Args:
        name, gamma: as of `make_profile`.

    Returns:
        An ICC profile of version 4.
    """
    tags = {b"desc": _text(name), b"cprt": _text("CC0"), b"wtpt": _xyz(D50), b"kTRC": _curve(gamma)}
    return _assemble(b"GRAY", tags)


def _curve(gamma):
    """The curve from levels to light: sRGB's where gamma is None."""
    kind, values = (0, (gamma,)) if gamma else (3, SRGB_CURVE)
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + _fixed(values)


def _assemble(colours, tags):
    """A profile of a display with these colours and tags; equal tags are stored once."""
    offset = 128 + 4 + 12 * len(tags)
    table, data, places = struct.pack(">I", len(tags)), b"", {}
    for signature, value in tags.items():
        if value not in places:
            places[value] = offset + len(data)
            data += value + bytes(-len(value) % 4)
        table += signature + struct.pack(">II", places[value], len(value))
    body = table + data
    header = struct.pack(">I4xI", 128 + len(body), 0x04300000) + b"mntr" + colours + b"XYZ "
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp"
    header = header.ljust(68, b"\0") + _fixed(D50)
    return header.ljust(128, b"\0") + body


def _fixed(values):
    """Numbers as s15Fixed16."""
    return np.rint(np.asarray(values) * 65536).astype(">i4").tobytes()


def _xyz(values):
    return b"XYZ \0\0\0\0" + _fixed(values)


def _text(text):
    data = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(data), 28) + data
