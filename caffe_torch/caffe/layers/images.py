"""Layers that load images: Data (LMDB), ImageData, MemoryData.

A thread prefetches the next batch of Data and ImageData while one is used.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from .. import device, glog, parallel
from ..images import Database, Transformation, read_image, read_list, read_record
from ..proto import caffe_pb2
from . import Source, register

# Fields that moved to transform_param in 2014; Caffe no longer reads them here.
_MOVED = ("scale", "mean_file", "crop_size", "mirror")


def size_line(shape: tuple) -> str:
    """Caffe's log line about the shape of a batch."""
    return f"output data size: {','.join(map(str, shape))}"


class _Images(Source):
    """The base of Data and ImageData: images with labels, in order; the first follows the last.

    All images of a batch have one size. In data-parallel training each of n processes takes every n-th image.
    """

    top_count = (1, 2)

    def __init__(self, spec, phase):
        for name in _MOVED:
            if getattr(spec, self.options).HasField(name):
                raise ValueError(f"{self.options}.{name}: give transform_param.{name}")
        self.transformation = Transformation(spec.transform_param, phase)
        # A generator of its own: crops must not depend on other random numbers, such as those of tests.
        self._random = np.random.default_rng(device.rng().integers(2**63))
        self._reader = ThreadPoolExecutor(1, "images")
        self._prefetched: Future | None = None  # the next batch
        self.source_lines: list = []  # Caffe's log lines about the source
        super().__init__(spec, phase)
        if self.opt.batch_size < 1:
            raise ValueError(f"{self.options}.batch_size must be given, 1 or more")

    def position(self) -> object:
        """The position of the next image, for `seek`; JSON can store it."""
        raise NotImplementedError

    def seek(self, position) -> None:
        """Continue at a position that `position` returned.

        Raises:
            ValueError: the position does not fit the images.
        """
        raise NotImplementedError

    def next_image(self) -> tuple:
        """Read the next image.

        Returns:
            A C x H x W array, its label, and its name for errors.

        Raises:
            ValueError: the image cannot be read.
        """
        raise NotImplementedError

    def skip_image(self) -> None:
        """Skip the next image."""
        self.next_image()

    def top_shapes(self):
        start = self.position()
        array, _, name = self.next_image()
        self.seek(start)
        shape = (self.opt.batch_size, *self._named(name, self.transformation.shape, array.shape))
        self.setup_lines = [*self.transformation.lines(), *self.source_lines, size_line(shape)]
        return [shape, (self.opt.batch_size,)][: len(self.spec.top)]

    @staticmethod
    def _named(name, function, *arguments):
        try:
            return function(*arguments)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    def _read_batch(self):
        """The images and labels of the next batch, and the state before it."""
        state = {"position": self.position(), "random": self._random.bit_generator.state}
        share, rank = (parallel.count, parallel.rank) if self.phase == caffe_pb2.TRAIN else (1, 0)
        images: list[np.ndarray] = []
        labels = np.empty(self.opt.batch_size, np.float32)
        for i in range(self.opt.batch_size):
            for turn in range(share):
                if turn != rank:
                    self.skip_image()
                    continue
                array, labels[i], name = self.next_image()
                image = self._named(name, self.transformation.apply, array, self._random)
                if images and image.shape != images[0].shape:
                    raise ValueError(
                        f"{name}: {image.shape[1]} x {image.shape[2]} pixels in {image.shape[0]} channels, "
                        f"the batch begins with {images[0].shape}: resize the images, or take batches of 1"
                    )
                images.append(image)
        return np.stack(images), labels, state

    def load(self):
        prefetched, self._prefetched = self._prefetched, None
        images, labels, _ = prefetched.result() if prefetched else self._read_batch()
        self._prefetched = self._reader.submit(self._read_batch)
        tops = [torch.from_numpy(array).to(device.device()) for array in (images, labels)]
        return tops[: len(self.spec.top)]

    # Resuming an interrupted run

    def state(self) -> dict:
        """The position in the images and the random state, for `restore`."""
        if self._prefetched is not None:
            return self._prefetched.result()[2]
        return {"position": self.position(), "random": self._random.bit_generator.state}

    def restore(self, state: dict) -> None:
        """Continue at a state that `state` returned.

        Raises:
            ValueError: the state does not fit the images.
        """
        if self._prefetched is not None:
            self._prefetched.exception()  # wait: the thread moves the position
            self._prefetched = None
        self.seek(state["position"])
        self._random.bit_generator.state = state["random"]


@register("Data")
class Data(_Images):
    """Images and labels from an LMDB of Datum messages, in the order of their keys."""

    options = "data_param"
    supported = ("source", "batch_size", "backend", "prefetch", "rand_skip")  # the last two have no effect

    def setup(self):
        if not self.opt.source:
            raise ValueError("data_param.source must be given")
        # Nets of 2013 cannot say that a database is an LMDB.
        unsaid = not self.opt.HasField("backend") and os.path.isfile(
            os.path.join(self.opt.source, "data.mdb")
        )
        if self.opt.backend != caffe_pb2.DataParameter.LMDB and not unsaid:
            raise ValueError(
                "data_param.backend: LEVELDB, the default, is not supported; "
                "make an LMDB with convert_imageset and set backend: LMDB"
            )
        try:
            self.database = Database(self.opt.source)
        except ValueError as error:
            raise ValueError(f"data_param.source {error}") from None
        self.opening_lines = [f"Opened lmdb {self.opt.source}"]

    def position(self):
        return self.database.key().hex()

    def seek(self, position):
        self.database.seek(bytes.fromhex(position))

    def skip_image(self):
        self.database.next()

    def next_image(self):
        param = self.spec.transform_param
        source = f"data_param.source {self.opt.source!r}"
        return read_record(self.database, source, param.force_color, param.force_gray)


@register("ImageData")
class ImageData(_Images):
    """Image files and labels from a text file with a path and an integer in each line.

    With `shuffle` the order is random in every pass. At the start a random number of images below `rand_skip`
    is skipped.
    """

    options = "image_data_param"
    supported = (
        *("source", "batch_size", "rand_skip", "shuffle", "new_height", "new_width", "is_color"),
        "root_folder",
    )
    top_count = (2, 2)

    def setup(self):
        opt = self.opt
        if bool(opt.new_height) != bool(opt.new_width):
            raise ValueError("image_data_param: give both new_height and new_width, or neither")
        self.entries = read_list(opt.source, "image_data_param.source")
        self._order, self._next = np.arange(len(self.entries)), 0
        self.source_lines = [f"Opening file {opt.source}", f"A total of {len(self.entries)} images."]
        if opt.shuffle:
            self.source_lines.insert(1, "Shuffling data")
            self._random.shuffle(self._order)
        if opt.rand_skip:
            self._next = int(self._random.integers(opt.rand_skip))
            if self._next >= len(self.entries):
                raise ValueError(
                    f"image_data_param.rand_skip {opt.rand_skip} for {len(self.entries)} images: give less"
                )
            self.source_lines.append(f"Skipping first {self._next} data points.")

    def position(self):
        return {"order": self._order.tolist(), "next": self._next}

    def seek(self, position):
        order, following = position["order"], position["next"]
        if sorted(order) != list(range(len(self.entries))) or not 0 <= following < len(order):
            raise ValueError("the position in the images does not fit those listed now")
        self._order, self._next = np.array(order), following

    def _step(self):
        entry = self.entries[self._order[self._next]]
        self._next += 1
        if self._next == len(self.entries):
            self._next = 0
            if self.opt.shuffle:
                self._random.shuffle(self._order)
        return entry

    def skip_image(self):
        self._step()

    def next_image(self):
        opt, (name, label) = self.opt, self._step()
        size = opt.new_height, opt.new_width
        pixels = read_image(opt.root_folder + name, opt.is_color, size)
        return pixels.transpose(2, 0, 1), label, f"image {opt.root_folder + name!r}"


@register("MemoryData")
class MemoryData(Source):
    """Batches of rows of the arrays set by Net.set_input_arrays; the first row follows the last."""

    options = "memory_data_param"
    supported = ("batch_size", "channels", "height", "width")
    top_count = (2, 2)

    def setup(self):
        names = self.supported
        if any(getattr(self.opt, name) < 1 for name in names):
            raise ValueError(f"memory_data_param: {', '.join(names)} must be given, 1 or more each")
        self._arrays: tuple[np.ndarray, np.ndarray] | None = None
        self._row = 0

    def top_shapes(self):
        opt = self.opt
        return [(opt.batch_size, opt.channels, opt.height, opt.width), (opt.batch_size,)]

    def set_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Set the arrays to take rows from.

        Args:
            data: N x C x H x W, float32.
            labels: N or N x 1 x 1 x 1, float32.

        Raises:
            ValueError: they do not fit the layer, or N is not a multiple of the batch size.
        """
        [(batch, *row), _] = self.top_shapes()
        for name, array in (("data", data), ("labels", labels)):
            if array.dtype != np.float32 or not array.flags.c_contiguous:
                raise ValueError(f"set_input_arrays: {name} must be a C-contiguous float32 array")
        if list(data.shape[1:]) != row:
            raise ValueError(
                f"set_input_arrays: data of shape {data.shape}, the layer takes N x {tuple(row)}"
            )
        if labels.shape not in ((len(data),), (len(data), 1, 1, 1)):
            raise ValueError(f"set_input_arrays: labels of shape {labels.shape} for {len(data)} rows")
        if not len(data) or len(data) % batch:
            raise ValueError(
                f"set_input_arrays: {len(data)} rows are not a multiple of the batch size {batch}"
            )
        if self.spec.HasField("transform_param"):
            glog.warning("MemoryData does not transform array data")
        self._arrays, self._row = (data, labels.reshape(-1, 1, 1, 1)), 0

    def load(self):
        if self._arrays is None:
            raise ValueError(f"layer {self.spec.name!r} (MemoryData): call net.set_input_arrays first")
        rows = slice(self._row, self._row + self.opt.batch_size)
        self._row = rows.stop % len(self._arrays[0])
        return [torch.from_numpy(array[rows]).to(device.device(), copy=True) for array in self._arrays]
