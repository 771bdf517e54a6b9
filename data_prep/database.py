"""HDF5 files of training rows, filled in any order, by several threads at once, in a folder made whole."""

from __future__ import annotations

import errno
from pathlib import Path

import h5py
import numpy as np

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
        """Write row `row` of the datasets, in their order; OSError where the disk does not take it whole."""
        path, starts = self.files[row // self.rows]
        with open(path, "r+b", buffering=0) as file:
            for start, array, (shape, dtype) in zip(starts, arrays, self.datasets.values()):
                if array.shape != shape or array.dtype != dtype:
                    raise ValueError(f"a row of {array.shape} {array.dtype}, not {shape} {dtype}")
                file.seek(start + row % self.rows * array.nbytes)
                written = file.write(array.tobytes())
                if written != array.nbytes:  # as on a disk that gets full in the middle
                    words = f"{written} of {array.nbytes} bytes were written: is the disk full?"
                    raise OSError(errno.ENOSPC, words, str(path))


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
