"""WindowData: windows of images, of objects and of background, as for training R-CNN."""

from __future__ import annotations

import math
import os
from collections import Counter
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from .. import device, parallel
from ..images import Transformation, opencv, read_file, read_image
from . import Source, register
from .images import size_line


class _Window(NamedTuple):
    image: int  # index into the images
    label: int
    box: tuple  # x1, y1, x2, y2, the ends included


def _round(number):
    """Round to the nearest integer, halves away from 0 (C's round)."""
    return int(math.copysign(math.floor(abs(number) + 0.5), number))


def _expand(box, crop, pad, square, size):
    """Widen a window by its context, clip it to the image, and find its place in the crop.

    Args:
        box: x1, y1, x2, y2 of the window.
        crop: the height and width of the crop, in pixels.
        pad: the width of the context, in pixels of the crop.
        square: whether to widen the window to a square first.
        size: (height, width) of the image.

    Returns:
        The clipped box; the (width, height) that it is resized to; and the rows above and the columns to the
        left and right of it that stay empty in the crop.
    """
    x1, y1, x2, y2 = box
    scale = np.float32(crop) / np.float32(crop - 2 * pad)
    half_height, half_width = np.float32((y2 - y1 + 1) / 2), np.float32((x2 - x1 + 1) / 2)
    center_x, center_y = np.float32(x1) + half_width, np.float32(y1) + half_height
    if square:
        half_height = half_width = max(half_height, half_width)
    x1, x2 = _round(center_x - half_width * scale), _round(center_x + half_width * scale)
    y1, y2 = _round(center_y - half_height * scale), _round(center_y + half_height * scale)
    scale_x, scale_y = (np.float32(crop) / np.float32(n) for n in (x2 - x1 + 1, y2 - y1 + 1))
    left, above = max(0, -x1), max(0, -y1)
    right, below = max(0, x2 - size[1] + 1), max(0, y2 - size[0] + 1)
    x1, x2, y1, y2 = x1 + left, x2 - right, y1 + above, y2 - below
    width, height = _round((x2 - x1 + 1) * scale_x), _round((y2 - y1 + 1) * scale_y)
    empty = _round(above * scale_y), _round(left * scale_x), _round(right * scale_x)
    return (x1, y1, x2, y2), (width, height), empty


@register("WindowData")
class WindowData(Source):
    """Random windows and labels: background, label 0, then objects, a fraction fg_fraction of the batch.

    A window of the file `source` is an object if its overlap is fg_threshold or more, and background if it is
    below bg_threshold. Windows are resized to crop_size x crop_size.
    Source: Girshick et al. 2014 (arXiv 1311.2524).
    """

    options = "window_data_param"
    supported = (
        *("source", "scale", "batch_size", "fg_threshold", "bg_threshold", "fg_fraction", "context_pad"),
        *("crop_mode", "cache_images", "root_folder"),
    )
    top_count = (2, 2)

    def setup(self):
        opt, param = self.opt, self.spec.transform_param
        if opt.batch_size < 1:
            raise ValueError("window_data_param.batch_size must be given, 1 or more")
        if param.HasField("scale"):
            raise ValueError("transform_param.scale: WindowData has window_data_param.scale")
        self.transformation, self.crop = Transformation(param, self.phase), param.crop_size
        if self.crop < 1:
            raise ValueError("transform_param.crop_size must be given, 1 or more")
        if opt.context_pad * 2 >= self.crop:
            raise ValueError("window_data_param.context_pad must be less than half of crop_size")
        if opt.crop_mode not in ("warp", "square"):
            raise ValueError(f"window_data_param.crop_mode {opt.crop_mode!r}: use warp or square")
        self._images: list[str] = []  # paths
        self._cache: dict[int, np.ndarray] = {}  # index -> pixels
        self._progress: list = []  # lines of the log
        self._windows: tuple = ([], [])  # of background, of objects
        self._read_windows()
        for windows, label in zip(self._windows, ("background", "objects"), strict=True):
            if not windows:
                raise ValueError(f"window_data_param.source {opt.source!r} has no windows of {label}")
        self._mean = self._mean_window()
        self.setup_lines = self._lines()
        self._random = np.random.default_rng([int(device.rng().integers(2**63)), parallel.rank])

    def _read_windows(self):
        source = self.opt.source
        words = iter(os.fsdecode(read_file(source, "window_data_param.source")).split())
        for mark in words:
            try:
                index, path, *size, count = islice(words, 6)
                if mark != "#" or int(index) != len(self._images):
                    raise ValueError
                self._channels = int(size[0])
                self._images.append(self.opt.root_folder + path)
                if int(index) % 100 == 0:
                    self._progress.append(
                        f"num: {index} {self._images[-1]} {' '.join(size)} windows to process: {count}"
                    )
                for _ in range(int(count)):
                    label, overlap, *box = islice(words, 6)
                    self._add(int(label), float(overlap), tuple(map(int, box)))
            except ValueError:
                location = f"image {len(self._images)}"
                raise ValueError(
                    f"window_data_param.source {source!r}: {location}: an image is `# number path channels "
                    "height width windows`, a window `label overlap x1 y1 x2 y2`, an object's label above 0"
                ) from None
        if not self._images or self._channels != 3:
            raise ValueError(f"window_data_param.source {source!r}: images of 3 channels are needed")

    def _add(self, label, overlap, box):
        is_object = bool(np.float32(overlap) >= np.float32(self.opt.fg_threshold))
        if (is_object and label < 1) or len(box) != 4:
            raise ValueError
        if is_object or np.float32(overlap) < np.float32(self.opt.bg_threshold):
            window = _Window(len(self._images) - 1, label if is_object else 0, box)
            self._windows[is_object].append(window)

    def _lines(self):
        """Caffe's log lines about the setup."""
        opt, mean = self.opt, self.transformation.lines()
        labels = Counter(window.label for windows in self._windows for window in windows)
        return [
            *mean,
            "Window data layer:",
            f"  foreground (object) overlap threshold: {opt.fg_threshold:g}",
            f"  background (non-object) overlap threshold: {opt.bg_threshold:g}",
            f"  foreground sampling fraction: {opt.fg_fraction:g}",
            f"  cache_images: {opt.cache_images:d}",
            f"  root_folder: {opt.root_folder}",
            *self._progress,
            f"Number of images: {len(self._images)}",
            *(f"class {label} has {labels[label]} samples" for label in sorted(labels)),
            f"Amount of context padding: {opt.context_pad}",
            f"Crop mode: {opt.crop_mode}",
            size_line(self.top_shapes()[0]),
            *mean,
        ]

    def _mean_window(self):
        """The mean to subtract, which broadcasts over 3 x crop x crop; 0 without one."""
        mean, values = self.transformation.mean, list(self.spec.transform_param.mean_value)
        if mean is None:
            if len(values) not in (0, 1, 3):
                raise ValueError("transform_param.mean_value: give one, or 3: one a channel")
            return np.array(values or [0], np.float32)[:, None, None]
        start = (mean.shape[2] - self.crop) // 2
        mean = mean[:, start : start + self.crop, start : start + self.crop] if start >= 0 else mean[:0]
        if mean.shape != (3, self.crop, self.crop):
            raise ValueError("transform_param.mean_file: the mean is smaller than crop_size")
        return mean

    def top_shapes(self):
        return [(self.opt.batch_size, 3, self.crop, self.crop), (self.opt.batch_size,)]

    def load(self):
        opt = self.opt
        objects = int(np.float32(opt.batch_size) * np.float32(opt.fg_fraction))
        images, labels = np.zeros(self.top_shapes()[0], np.float32), np.zeros(opt.batch_size, np.float32)
        for i in range(opt.batch_size):
            windows = self._windows[i >= opt.batch_size - objects]
            window = windows[self._random.integers(len(windows))]
            mirrored = bool(self.spec.transform_param.mirror and self._random.integers(2))
            self._render(window, mirrored, images[i])
            labels[i] = window.label
        return [torch.from_numpy(array).to(device.device()) for array in (images, labels)]

    def _render(self, window, mirrored, target):
        """Write a window into `target`, 3 x crop x crop zeros."""
        pixels, crop, empty = self._pixels(window.image), self.crop, (0, 0, 0)
        box, (width, height) = window.box, (crop, crop)
        if self.opt.context_pad or self.opt.crop_mode == "square":
            square = self.opt.crop_mode == "square"
            box, (width, height), empty = _expand(box, crop, self.opt.context_pad, square, pixels.shape[:2])
        x1, y1, x2, y2 = box
        if not (0 <= x1 <= x2 < pixels.shape[1] and 0 <= y1 <= y2 < pixels.shape[0]):
            raise ValueError(f"image {self._images[window.image]!r}: the window {window.box} is not inside")
        top, left = empty[0], empty[2 if mirrored else 1]
        width, height = min(width, crop - left), min(height, crop - top)  # both may have been rounded up
        resized = opencv().resize(pixels[y1 : y2 + 1, x1 : x2 + 1], (width, height))
        resized = (resized[:, ::-1] if mirrored else resized).transpose(2, 0, 1).astype(np.float32)
        region = np.s_[:, top : top + height, left : left + width]
        mean = np.broadcast_to(self._mean, target.shape)[region]
        target[region] = (resized - mean) * np.float32(self.opt.scale)

    def _pixels(self, index):
        if index in self._cache:
            return self._cache[index]
        pixels = read_image(self._images[index])
        if self.opt.cache_images:
            self._cache[index] = pixels
        return pixels

    # Resuming an interrupted run

    def state(self) -> dict:
        """The random state, for `restore`."""
        return {"random": self._random.bit_generator.state}

    def restore(self, state: dict) -> None:
        """Continue at a state that `state` returned."""
        self._random.bit_generator.state = state["random"]
