"""Developing of RAW files by rawpy, where it is installed."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import numpy as np

from two_stream_fusion.io.decode import Header, check_decoded, check_header


@contextmanager
def _opened_raw(path):
    """A RAW file, opened by rawpy."""
    try:
        import rawpy
    except ImportError:
        raise ValueError(f"{path}: RAW files need rawpy (pip install rawpy)") from None
    with open(path, "rb") as file:
        try:
            with rawpy.imread(file) as raw:
                yield raw
        except rawpy.LibRawError as error:
            reason = error.args[0] if error.args else "cannot be read"
            reason = reason.decode() if isinstance(reason, bytes) else reason
            raise ValueError(f"{path}: not a RAW file, or incomplete: {reason}") from None


def header_of_raw(path: Path) -> Header:
    """The header of a RAW file. Errors as `develop_raw`."""
    with _opened_raw(path) as raw:
        return _raw_header(raw)


def _raw_header(raw):
    sizes = raw.sizes
    # the sensor's levels, four channels of the image, and the developed image twice
    decoding = 2 * sizes.raw_width * sizes.raw_height + 20 * sizes.iwidth * sizes.iheight
    return Header(sizes.iwidth, sizes.iheight, 3, 2, decoding)


def develop_raw(path: Path) -> np.ndarray:
    """Develop a RAW file with the camera's white balance and the sensor's white level: H x W x 3 uint16."""
    with _opened_raw(path) as raw:
        header = _raw_header(raw)
        check_header(path, header)
        # By LibRaw's default the brightest pixel may become white: frames of one stack would differ.
        pixels = raw.postprocess(output_bps=16, use_camera_wb=True, no_auto_bright=True, adjust_maximum_thr=0)
        is_turned = raw.sizes.flip in (5, 6)  # by a quarter
    size = (header.height, header.width)
    check_decoded(path, pixels, size[::-1] if is_turned else size, 3, 2)
    return pixels
