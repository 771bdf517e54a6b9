"""HDF5 files of training rows, filled in any order, by several threads at once, in a folder made whole."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

import h5py
import numpy as np

from two_stream_fusion.base.cli import uninterrupted

SIZE = (
    61_440_000  # bytes in a file at most: 2048 rows of 50x50 pairs; 246 MB as the floats Caffe makes of bytes
)


class Database:
    """Room for `rows` rows in each of `datasets`, {name: (shape of a row, dtype)}.

    The files are 000.h5, 001.h5, ... in `folder`, SIZE bytes each, allocated at once and not yet written:
    HDF5 lays a plain dataset out as one block, so a row's place in the file is known and `put` needs no
    HDF5, no lock and no memory.
    """

    def __init__(self, folder, rows, datasets):
        self.datasets = {name: (tuple(shape), np.dtype(dtype)) for name, (shape, dtype) in datasets.items()}
        self.rows = max(1, SIZE // row_bytes(datasets))  # in a file
        self.files = []  # (path, where each dataset starts)
        Path(folder).mkdir(parents=True)
        for first in range(0, rows, self.rows):
            path = Path(folder, f"{len(self.files):03d}.h5")
            self.files.append((path, _allocate(path, min(self.rows, rows - first), self.datasets)))

    def put(self, row, arrays):
        """Write row `row` of the datasets, in their order."""
        path, starts = self.files[row // self.rows]
        with open(path, "r+b", buffering=0) as file:
            for start, array, (shape, dtype) in zip(starts, arrays, self.datasets.values()):
                if array.shape != shape or array.dtype != dtype:
                    raise ValueError(f"a row of {array.shape} {array.dtype}, not {shape} {dtype}")
                file.seek(start + row % self.rows * array.nbytes)
                file.write(array.tobytes())


def row_bytes(datasets):
    """The bytes of one row of all `datasets`, as of Database."""
    return sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in datasets.values())


def _allocate(path, rows, datasets):
    """Make the file and its datasets; the places where they start."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)  # the same rows make the same file, whenever it is made
    starts = []
    with h5py.File(path, "w") as file:
        for name, (shape, dtype) in datasets.items():
            space, kind = h5py.h5s.create_simple((rows, *shape)), h5py.h5t.py_create(dtype)
            starts.append(h5py.h5d.create(file.id, name.encode(), kind, space, layout).get_offset())
    return starts


@contextlib.contextmanager
def replacing(out):
    """An empty folder beside `out`, which takes the place of `out` when the block is over.

    Where the block fails, the folder is removed and `out` is as before. ValueError where another process is
    in such a block.
    """
    out = Path(os.path.realpath(out)) if out.is_symlink() else out
    part, old = (out.with_name(out.name + ending) for ending in (".part", ".old"))
    part.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if fcntl and not _locked(stack, part / "lock"):
            raise ValueError(f"{out}: another run is making it: wait for it, or give another --out")
        if old.exists() and not out.exists():  # a run was killed between the two
            os.rename(old, out)
        try:
            for left in part.iterdir():  # by a run that was killed
                if left.is_dir():
                    shutil.rmtree(left)
                elif left.name != "lock":
                    left.unlink()
            yield part
            shutil.rmtree(old, ignore_errors=True)
            with uninterrupted():
                _exchange(part, out, old)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        (out / "lock").unlink(missing_ok=True)
        shutil.rmtree(old, ignore_errors=True)


def _exchange(part, out, old):
    """Give the folder `out` the name `old`, and `part` that of `out`; neither where the second fails."""
    if out.exists():
        os.rename(out, old)
    try:
        os.rename(part, out)  # with its lock, so that nobody takes the folder meanwhile
    except OSError:
        if old.exists():
            os.rename(old, out)
        raise


def _locked(stack, path):
    """Whether this process alone holds the file at `path` now, until `stack` is closed."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        stack.callback(os.close, file)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file), os.stat(path))
    except (BlockingIOError, FileNotFoundError):  # or its folder was moved just now
        return False
