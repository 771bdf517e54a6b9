"""HDF5 files of training patches, filled in any order, by several threads at once."""

from __future__ import annotations

from pathlib import Path

import h5py

DATASETS = ("a", "b", "label")
SIZE = 61_440_000  # bytes in a file at most: 2048 rows of 50x50; 246 MB as the floats that Caffe makes of it


class Database:
    """Room for `rows` patches of 4 x patch x patch bytes in each of the datasets a, b and label.

    The files are 000.h5, 001.h5, ... in `folder`, SIZE bytes each, allocated at once and not yet written:
    HDF5 lays a plain dataset out as one block, so a row's place in the file is known and `put` needs no
    HDF5, no lock and no memory.
    """

    def __init__(self, folder, rows, patch):
        self.shape = (4, patch, patch)
        self.rows = max(1, SIZE // (len(DATASETS) * 4 * patch**2))  # in a file
        self.files = []  # (path, where each dataset starts)
        Path(folder).mkdir(parents=True)
        for first in range(0, rows, self.rows):
            path = Path(folder, f"{len(self.files):03d}.h5")
            self.files.append((path, _allocate(path, (min(self.rows, rows - first), *self.shape))))

    def put(self, row, patches):
        """Write row `row` of the datasets: a, b and label, each 4 x patch x patch uint8."""
        path, starts = self.files[row // self.rows]
        with open(path, "r+b", buffering=0) as file:
            for start, patch in zip(starts, patches):
                if patch.shape != self.shape or patch.dtype != "uint8":
                    raise ValueError(f"a patch of {patch.shape} {patch.dtype}, not {self.shape} uint8")
                file.seek(start + row % self.rows * patch.size)
                file.write(patch.tobytes())


def _allocate(path, shape):
    """Make the file and its datasets; the places where they start."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)  # the same rows make the same file, whenever it is made
    space = h5py.h5s.create_simple(shape)
    with h5py.File(path, "w") as file:
        made = [
            h5py.h5d.create(file.id, name.encode(), h5py.h5t.STD_U8LE, space, layout) for name in DATASETS
        ]
        return [dataset.get_offset() for dataset in made]
