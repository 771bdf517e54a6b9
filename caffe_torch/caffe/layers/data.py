"""Layers that read, write or make data: HDF5Data, HDF5Output, DummyData."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor

import h5py
import numpy as np
import torch

from .. import atomic_files, bounded_files, device, fillers, parallel
from ..proto import caffe_pb2
from . import Layer, Source, register

_READER = ThreadPoolExecutor(1, "hdf5")  # prefetches files, for all layers


@register("HDF5Data")
class HDF5Data(Source):
    """Rows of the datasets named as the tops, from the files that `source` lists.

    Files are read in their order. The first row follows the last, within a batch too. Values become float32.
    With `shuffle` the order of the files, and of the rows within each, is random in every pass.

    Files that fit in half of the free memory are read once and stay on the device, uint8 as uint8. Otherwise
    the next file is prefetched while one is used. In data-parallel training each of n processes takes every
    n-th row.
    """

    options, supported = "hdf5_data_param", ("source", "batch_size", "shuffle")
    top_count = (1, None)

    def setup(self):
        if self.spec.HasField("transform_param"):
            raise ValueError("transform_param: HDF5Data takes rows as they are (Caffe refuses it too)")
        if self.opt.batch_size < 1:
            raise ValueError("hdf5_data_param.batch_size must be given, 1 or more")
        self.paths = _read_paths(self.opt.source)
        heads = [_head(path, self.spec.top) for path in self.paths]
        self.row_shapes = heads[0][1]
        self.floats = heads[0][3]  # whether the first file holds floats
        for path, (_, shapes, *_) in zip(self.paths, heads, strict=True):
            if shapes != self.row_shapes:
                raise ValueError(
                    f"{path}: rows of shape {shapes}, those of {self.paths[0]} {self.row_shapes}"
                )
        self.lengths = [rows for rows, *_ in heads]
        self.bytes = sum(size for _, _, size, _ in heads)
        self._files: dict = {}  # file index -> its datasets as tensors
        self._prefetched: tuple[int, Future] | None = None  # a file's index and its datasets
        self._resident: bool | None = None  # whether all files stay in memory, decided at the first load
        self._file_order = np.arange(len(self.paths))
        # A generator of its own: the order must not depend on other random numbers, such as those of tests.
        self._random = np.random.default_rng(device.rng().integers(2**63))
        self._start_pass()

    def top_shapes(self):
        return [(self.opt.batch_size, *shape) for shape in self.row_shapes]

    # The order of rows: position `place` of the pass in file order, row `row` of that file.

    def _start_pass(self):
        if self.opt.shuffle:
            self._random.shuffle(self._file_order)
        self._place = 0
        self._start_file()

    def _start_file(self):
        self._row = 0
        length = self.lengths[self._file_order[self._place]]
        self._row_order = self._random.permutation(length) if self.opt.shuffle else None

    def load(self):
        training = self.phase == caffe_pb2.TRAIN
        step, skip = (parallel.count, parallel.rank) if training else (1, 0)
        missing, parts = self.opt.batch_size * step, []
        while missing:
            index = int(self._file_order[self._place])
            take = min(missing, self.lengths[index] - self._row)
            rows: slice | torch.Tensor = slice(self._row + skip, self._row + take, step)
            skip = (skip - take) % step
            if self._row_order is not None:
                rows = torch.from_numpy(self._row_order[rows])
            parts.append([dataset[rows].to(torch.float32, copy=True) for dataset in self._datasets(index)])
            self._row += take
            missing -= take
            if self._row == self.lengths[index]:
                self._place += 1
                if self._place == len(self.paths):
                    self._start_pass()
                else:
                    self._start_file()
        if len(parts) == 1:
            return parts[0]
        return [torch.cat(pieces) for pieces in zip(*parts, strict=True)]

    def _datasets(self, index):
        target_device = device.device()
        if self._resident is None:
            # A single file is in use all the time.
            self._resident = len(self.paths) == 1 or self.bytes < _free_memory(target_device) // 2
        if index not in self._files:
            if self._resident:
                self._files[index] = self._read(index, target_device)
            else:
                self._files = {index: self._take_prefetched(index, target_device)}
                following = int(self._file_order[(self._place + 1) % len(self.paths)])
                self._prefetched = following, _READER.submit(self._read, following, target_device)
        return self._files[index]

    def _take_prefetched(self, index, target_device):
        if self._prefetched is None or self._prefetched[0] != index:
            return self._read(index, target_device)
        return self._prefetched[1].result()

    def _read(self, index, target_device):
        return _read(self.paths[index], self.spec.top, self.lengths[index], target_device)

    # Resuming an interrupted run

    def state(self) -> dict:
        """The position in the data, for `restore`."""
        return {
            "files": self._file_order.tolist(),
            "place": self._place,
            "row": self._row,
            "rows": None if self._row_order is None else self._row_order.tolist(),
            "random": self._random.bit_generator.state,
        }

    def restore(self, state: dict) -> None:
        """Continue at a position that `state` returned.

        Raises:
            ValueError: the position does not fit the files listed now.
            TypeError: it is not a position.
        """
        files, file_index, row, rows = (state[name] for name in ("files", "place", "row", "rows"))
        if not (
            _is_order(files)
            and _is_index(file_index)
            and _is_index(row)
            and (rows is None or _is_order(rows))
        ):
            raise TypeError("the position in the data is not one")
        fits_files = (
            len(files) == len(self.paths)
            and file_index < len(files)
            and row < self.lengths[files[file_index]]
        )
        if not fits_files or (rows is not None and len(rows) != self.lengths[files[file_index]]):
            raise ValueError("the position in the data does not fit the files listed now")
        self._file_order, self._place, self._row = np.array(files), file_index, row
        self._row_order = None if rows is None else np.array(rows)
        self._random.bit_generator.state = state["random"]


@register("HDF5Output")
class HDF5Output(Layer):
    """Writes its bottoms to `file_name` as the datasets data and label, float32 with four axes.

    It writes one batch, as in Caffe: a second forward pass is an error.
    """

    options, supported = "hdf5_output_param", ("file_name",)
    bottom_count, top_count = (2, 2), (0, 0)

    def setup(self):
        if not self.opt.file_name:
            raise ValueError("hdf5_output_param.file_name must be given")
        self.written = False

    def forward(self, params, data, label):
        if data.shape[0] != label.shape[0]:
            raise ValueError(f"bottoms of {data.shape[0]} and {label.shape[0]} rows")
        if data.is_meta:
            return ()
        if self.written:
            raise ValueError(f"{self.opt.file_name} holds a batch already, and HDF5Output writes one")
        with atomic_files.new_hdf5(self.opt.file_name) as file:
            for name, blob in (("data", data), ("label", label)):
                shape = (*blob.shape, 1, 1, 1, 1)[: max(4, blob.dim())]
                file[name] = blob.detach().float().cpu().numpy().reshape(shape)
        self.written = True
        return ()


@register("DummyData")
class DummyData(Source):
    """Tops of given shapes, filled anew for every batch; constants are filled once."""

    options = "dummy_data_param"
    supported = ("data_filler", "shape", "num", "channels", "height", "width")
    top_count = (1, None)

    def setup(self):
        opt = self.opt
        legacy = {name: list(getattr(opt, name)) for name in ("num", "channels", "height", "width")}
        if any(legacy.values()):
            if opt.shape:
                raise ValueError("dummy_data_param: give shape, or num, channels, height and width, not both")
            sizes = (self._for_each_top(name, numbers) for name, numbers in legacy.items())
            self.shapes = list(zip(*sizes, strict=True))
        else:
            self.shapes = self._for_each_top("shape", [tuple(shape.dim) for shape in opt.shape])
        if any(n < 1 for shape in self.shapes for n in shape):
            raise ValueError("dummy_data_param: every dimension must be at least 1")
        data_fillers = list(opt.data_filler) or [caffe_pb2.FillerParameter()]
        self.fillers = self._for_each_top("data_filler", data_fillers)
        self._constants: dict = {}

    def _for_each_top(self, field, values):
        tops = len(self.spec.top)
        if len(values) not in (1, tops):
            raise ValueError(
                f"dummy_data_param.{field}: {len(values)} values for {tops} tops: give one, or one each"
            )
        return values if len(values) == tops else values * tops

    def top_shapes(self):
        return self.shapes

    def load(self):
        return [self._values(i) for i in range(len(self.shapes))]

    def _values(self, i):
        if i in self._constants:
            return self._constants[i]
        values = fillers.fill(self.fillers[i], self.shapes[i]).to(device.device())
        if self.fillers[i].type == "constant":
            self._constants[i] = values
        return values


def _is_index(value):
    """Whether a value from a file is a whole number, 0 or more."""
    return type(value) is int and value >= 0


def _is_order(values):
    """Whether a value from a file is a permutation of 0, 1, ..., as a list."""
    indices = isinstance(values, list) and all(map(_is_index, values))
    return indices and sorted(values) == list(range(len(values)))


def _read_paths(source):
    """The paths that the text file `source` lists, one a line."""
    if not source:
        raise ValueError("hdf5_data_param.source must be given")
    if os.path.isfile(source) and h5py.is_hdf5(source):
        raise ValueError(
            f"hdf5_data_param.source {source!r} is an HDF5 file: give a text file that lists such, one a line"
        )
    try:
        paths = bounded_files.read_text(source).split()
    except OSError as error:
        hint = ""
        if isinstance(error, FileNotFoundError):
            hint = (
                f"{atomic_files.missing_path_hint(source)}; the program that makes the HDF5 files"
                " writes this list of them"
            )
        raise ValueError(f"hdf5_data_param.source {source!r}: {error.strerror}{hint}") from None
    if not paths:
        raise ValueError(f"hdf5_data_param.source {source!r} lists no files")
    for path in paths:
        if not os.path.exists(path):
            hint = atomic_files.missing_path_hint(path)
            raise ValueError(f"hdf5_data_param.source {source!r} lists {path}: no such file{hint}")
    return paths


def _head(path, names):
    """The number of rows, the shape of a row of each dataset, the bytes in memory, whether any is float."""
    with atomic_files.hdf5(path) as file:
        missing = [name for name in names if not isinstance(file.get(name), h5py.Dataset)]
        if missing:
            raise ValueError(f"{path}: no dataset {missing[0]!r}; it has {', '.join(file) or 'none'}")
        datasets = [file[name] for name in names]
        for name, dataset in zip(names, datasets, strict=True):
            if dataset.dtype.kind not in "fiu":
                raise ValueError(f"{path}: dataset {name!r} holds {dataset.dtype}, not numbers")
            if not dataset.shape or dataset.shape[0] == 0:
                raise ValueError(f"{path}: dataset {name!r} has no rows")
        rows = {dataset.shape[0] for dataset in datasets}
        if len(rows) > 1:
            raise ValueError(f"{path}: the datasets {', '.join(names)} differ in rows: {sorted(rows)}")
        size = sum(int(d.size) * (1 if d.dtype == np.uint8 else 4) for d in datasets)
        unpacked = max(int(d.size) * d.dtype.itemsize for d in datasets)
        if max(size, unpacked) > device.machine_memory():
            raise ValueError(
                f"{path}: takes {max(size, unpacked) / 2**30:.0f} GiB of memory; "
                f"there are {device.machine_memory() / 2**30:.0f} in all: split it into several files"
            )
        floats = any(d.dtype.kind == "f" for d in datasets)
        return rows.pop(), [d.shape[1:] for d in datasets], size, floats


def _read(path, names, rows, target_device):
    """The datasets as tensors on the device `target_device`: uint8 as uint8, other types as float32."""
    arrays = []
    with atomic_files.hdf5(path) as file:
        for name in names:
            try:
                array = file[name][()]
            except (OSError, KeyError) as error:
                raise ValueError(f"{path}: dataset {name!r} is damaged: {error}") from None
            if len(array) != rows:
                raise ValueError(f"{path}: dataset {name!r} had {rows} rows before and has {len(array)} now")
            if array.dtype != np.uint8:
                with np.errstate(over="ignore", invalid="ignore"):
                    array = array.astype(np.float32, copy=False)
                if not np.isfinite(array).all():
                    raise ValueError(f"{path}: dataset {name!r} holds NaN or infinite values")
            arrays.append(array)
    return [torch.from_numpy(array).to(target_device) for array in arrays]


def _free_memory(target_device):
    if target_device.type == "cuda":
        return torch.cuda.mem_get_info(target_device)[0]
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("MemAvailable")) * 1024
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
