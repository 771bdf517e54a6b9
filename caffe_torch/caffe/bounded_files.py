"""Files read in bounded memory, whatever their name leads to: a device, a pipe, a file of another kind."""

from __future__ import annotations

import io
import os
import stat

TEXT_LIMIT = 2**26  # bytes: no net, solver or list is longer
BINARY_LIMIT = 2**31 - 1  # bytes: the longest message of protobuf


def check_regular(path: str | os.PathLike) -> None:
    """Refuse what is no file on a disk.

    Args:
        path: of something to be read.

    Raises:
        ValueError: it is a FIFO, a socket or a device, whose reading might never end.
        OSError: there is nothing at `path`.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError(f"{os.fspath(path)}: is a FIFO, a socket or a device; a file is needed")


def read(path: str | os.PathLike, limit: int = BINARY_LIMIT) -> bytes:
    """Read a file or a pipe.

    Args:
        path: the file. A shell's <(...) is a pipe.
        limit: the largest size in bytes.

    Returns:
        Its bytes.

    Raises:
        ValueError: it is a device, or larger than `limit`.
        OSError: it cannot be read.
    """
    path, content = os.fspath(path), io.BytesIO()
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            raise ValueError(f"{path}: is a device; a file is needed")
        while status.st_size <= limit and content.tell() <= limit and (part := file.read(2**20)):
            content.write(part)
    if max(status.st_size, content.tell()) > limit:
        raise ValueError(f"{path}: larger than {(limit + 1) >> 20} MiB, too large for such a file")
    return content.getvalue()


def read_text(path: str | os.PathLike) -> str:
    """Read a text as Python does: bytes that are not UTF-8 become surrogates, and each end of a line is \\n.

    Args:
        path: the file or pipe.

    Raises:
        ValueError, OSError: as `read`.
    """
    text = read(path, TEXT_LIMIT).decode("utf-8", "surrogateescape")
    return text.replace("\r\n", "\n").replace("\r", "\n")
