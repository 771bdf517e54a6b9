"""Files written atomically, and HDF5 files read with the path in every error."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator

import h5py

from . import bounded_files, device, hdf5_checks

# What h5py raises for a damaged part of a file, or for a group in place of a dataset.
_DAMAGED = OSError, RuntimeError, KeyError, TypeError, AttributeError


def missing_path_hint(path: str) -> str:
    """A hint for the error about a missing file; "" for an absolute path."""
    return "" if os.path.isabs(path) else " (paths are relative to the folder caffe runs in)"


def write(path: str | os.PathLike, content: bytes | memoryview) -> None:
    """Write a file atomically: to a temporary file in the same folder, which is then renamed.

    Args:
        path: the file. A missing folder is created.
        content: the bytes.

    Raises:
        OSError: the file cannot be written; nothing is left of it.
        ValueError: `path` names no file.
    """
    path = os.fspath(path)
    folder, name = os.path.split(path)
    if not name or (os.path.exists(path) and not os.path.isfile(path)):
        raise ValueError(f"{path!r} names no file to write")
    os.makedirs(folder or ".", exist_ok=True)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # on the disk before the renaming
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} (nothing half-written is left)", path) from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


@contextlib.contextmanager
def hdf5(path: str | os.PathLike) -> Iterator[h5py.File]:
    """Context manager: an HDF5 file to read in the block.

    Args:
        path: the file.

    Raises:
        ValueError: the file is not HDF5, is damaged, refers to other files, or is no file on a disk.
        OSError: the file cannot be opened.
    """
    path = os.fspath(path)
    bounded_files.check_regular(path)
    with open(path, "rb"):  # its OSError is clearer than h5py's
        pass
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path}: not a complete HDF5 file: {_line(error)}") from None
    with file:
        try:
            hdf5_checks.check_links(file, path)
            yield file
        except (ValueError, *_DAMAGED) as error:
            ours = isinstance(error, ValueError) and str(error).startswith(path)
            if ours or device.out_of_memory(error):
                raise
            raise ValueError(f"{path}: damaged: {_line(error)}") from None


def _line(error):
    return " ".join(str(error.args[0] if isinstance(error, KeyError) else error).split())


@contextlib.contextmanager
def new_hdf5(path: str | os.PathLike) -> Iterator[h5py.File]:
    """Context manager: an HDF5 file in memory, to fill in the block, then written atomically.

    h5py does not write the file itself: on a full disk its error names no path and may be no OSError.

    Args:
        path: the file to write.

    Raises:
        OSError: the file cannot be written.
        ValueError: `path` names no file.
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        yield file
    write(path, memory.getbuffer())
