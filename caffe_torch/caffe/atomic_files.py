"""Files that are written whole or not at all, and read with their names in what is wrong with them."""

import contextlib
import io
import os

import h5py

from . import device, hdf5_checks

# What h5py raises in the middle of a file that is damaged, or holds a group where a dataset is looked for.
_DAMAGED = OSError, RuntimeError, KeyError, TypeError, AttributeError


def missing_path_hint(path) -> str:
    """What to add where the file at `path` is missing: nothing for an absolute path."""
    return "" if os.path.isabs(path) else " (paths are relative to the folder caffe runs in)"


def write(path, content) -> None:
    """Make `content`, bytes, the file at `path`; its folder is made where it is missing.

    It is written beside its place and renamed. OSError names `path` where it could not be written;
    ValueError where that names no file.
    """
    path = os.fspath(path)
    folder, name = os.path.split(path)
    if not name or (os.path.exists(path) and not os.path.isfile(path)):
        raise ValueError(f"{path!r} names no file to write")
    os.makedirs(folder or ".", exist_ok=True)
    beside = os.path.join(folder, f".{name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # on the disk before it takes the name
        os.replace(beside, path)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} (nothing half-written is left)", path) from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(beside)


@contextlib.contextmanager
def hdf5(path):
    """The HDF5 file at `path`, to read in the block; ValueError with its name where it is none or damaged."""
    path = os.fspath(path)
    with open(path, "rb"):  # OSError says better than h5py's what hinders
        pass
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path}: not a whole HDF5 file: {_line(error)}") from None
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
def new_hdf5(path):
    """An HDF5 file to fill, in memory; written to `path` when the block ends well.

    What h5py raises where a disk is full names no path, and may be no OSError.
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        yield file
    write(path, memory.getbuffer())
