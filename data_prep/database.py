"""HDF5 files of training rows, filled in any order and by several threads at once."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Mapping, Sequence, Tuple

import h5py
import numpy as np

MAX_FILE_BYTES = 61_440_000  # 2048 rows of 50x50 pairs; 246 MB as the floats that Caffe makes of bytes
Datasets = Mapping[str, Tuple[Tuple[int, ...], str]]  # {name: (shape of a row, dtype)}


class Database:
    """Files of rows: 000.h5, 001.h5, ... in a folder.

    The files are allocated at once and not yet written. HDF5 lays a plain dataset out as one block, so a
    row's place in its file is known, and `write_row` needs no HDF5, no lock and no memory.

    Args:
        folder: is made here; it must not exist.
        rows: number of rows in all files.
        datasets: what a row consists of.

    Attributes:
        paths: the files.
        rows_per_file: rows in each file but the last.
    """

    def __init__(self, folder: str | Path, rows: int, datasets: Datasets):
        self.datasets = {name: (tuple(shape), np.dtype(dtype)) for name, (shape, dtype) in datasets.items()}
        self.rows_per_file = max(1, MAX_FILE_BYTES // row_bytes(datasets))
        self.paths = []
        self._offsets = []  # for each file, where each dataset starts
        Path(folder).mkdir(parents=True)
        for first in range(0, rows, self.rows_per_file):
            self.paths.append(Path(folder, f"{len(self.paths):03d}.h5"))
            count = min(self.rows_per_file, rows - first)
            self._offsets.append(_allocate(self.paths[-1], count, self.datasets))

    def write_row(self, row: int, arrays: Sequence[np.ndarray]) -> None:
        """Write one row.

        Args:
            row: its number, 0 or more.
            arrays: one for each dataset, in their order.

        Raises:
            ValueError: an array of another shape or dtype.
            OSError: the disk did not take the whole row.
        """
        file_index, row_in_file = divmod(row, self.rows_per_file)
        with open(self.paths[file_index], "r+b", buffering=0) as file:
            for offset, array, (shape, dtype) in zip(
                self._offsets[file_index], arrays, self.datasets.values()
            ):
                if array.shape != shape or array.dtype != dtype:
                    raise ValueError(f"a row of {array.shape} {array.dtype}, not {shape} {dtype}")
                file.seek(offset + row_in_file * array.nbytes)
                written = file.write(array.tobytes())
                if written != array.nbytes:  # as on a disk that fills up
                    message = f"{written} of {array.nbytes} bytes were written: is the disk full?"
                    raise OSError(errno.ENOSPC, message, str(self.paths[file_index]))


def row_bytes(datasets: Datasets) -> int:
    """The bytes of one row of all datasets."""
    return sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in datasets.values())


def _allocate(path, rows, datasets):
    """Make a file with room for its datasets; where each of them starts."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)  # the same rows make the same file, whenever it is made
    offsets = []
    with h5py.File(path, "w") as file:
        for name, (shape, dtype) in datasets.items():
            space, h5_type = h5py.h5s.create_simple((rows, *shape)), h5py.h5t.py_create(dtype)
            offsets.append(h5py.h5d.create(file.id, name.encode(), h5_type, space, layout).get_offset())
    return offsets
