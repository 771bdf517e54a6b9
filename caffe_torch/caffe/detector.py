"""caffe.Detector: class scores of windows of images, as in R-CNN (arXiv:1311.2524)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np

from . import io
from .classifier import check_image, image_transformer
from .net import TEST, Net


class Detector(Net):
    """A net that scores windows of images.

    Args:
        model_file: the deploy prototxt.
        pretrained_file: the weights.
        mean, input_scale, raw_scale, channel_swap: as for `image_transformer`.
        context_pad: the width of the context around the window, in pixels of the net's input. Beyond the
            image it is filled with the mean. Without context the window is stretched over the input.

    Raises:
        ValueError: the net, the weights or a setting is wrong.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        model_file: str | os.PathLike,
        pretrained_file: str | os.PathLike,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ):
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = image_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].shape[2:])
        self.configure_crop(context_pad)

    def configure_crop(self, context_pad: int | None) -> None:
        """Set the `context_pad` of the crops.

        Raises:
            ValueError: it does not fit the net's input.
        """
        height, width = self.crop_dims
        if context_pad and not 0 < 2 * context_pad < width <= height:
            raise ValueError(f"context_pad {context_pad} does not fit the net's input, {height} x {width}")
        self.context_pad = context_pad
        if context_pad:
            self.crop_mean = self._mean_image()

    def _mean_image(self):
        """The mean as an image H x W x C, in the images' range and channel order."""
        name, t = self.inputs[0], self.transformer
        shape = (*self.crop_dims, self.blobs[name].shape[1])
        mean = np.broadcast_to(np.moveaxis(np.asarray(t.mean.get(name, np.zeros((1, 1, 1)))), 0, -1), shape)
        if name in t.channel_swap:
            mean = mean[:, :, np.argsort(t.channel_swap[name])]
        return np.array(mean / t.raw_scale.get(name, 1), np.float32)

    def crop(self, im: np.ndarray, window: Sequence[float]) -> np.ndarray:
        """Crop a window of an image.

        Args:
            im: H x W x C, float32.
            window: (ymin, xmin, ymax, xmax), the ends excluded.

        Returns:
            The window, float32; with context, it and its context in the size of the net's input.

        Raises:
            ValueError: the window is empty or outside the image.
        """
        ymin, xmin, ymax, xmax = np.asarray(window).tolist()
        height, width = im.shape[:2]
        if not self.context_pad:
            rows, columns = slice(int(ymin), int(ymax)), slice(int(xmin), int(xmax))
            if not (0 <= rows.start < rows.stop <= height and 0 <= columns.start < columns.stop <= width):
                raise ValueError(f"window {window} is empty or outside the image, {height} x {width}")
            return im[rows, columns]
        size = int(self.crop_dims[1])  # crops with context are square, as in R-CNN
        rows, to_rows = _span(ymin, ymax, height, size, self.context_pad)
        columns, to_columns = _span(xmin, xmax, width, size, self.context_pad)
        crop = self.crop_mean.copy()
        target = crop[to_rows, to_columns]
        target[...] = io.resize_image(im[rows, columns], target.shape[:2])
        return crop

    def detect_windows(self, images_windows: Iterable[tuple]) -> list:
        """Score windows of images.

        Args:
            images_windows: pairs of an image file and its windows, each (ymin, xmin, ymax, xmax), the ends
                excluded.

        Returns:
            For each window {"window": as given, "filename": the image file, "prediction": the row of the
            net's first output}.

        Raises:
            ValueError: there are no windows, or one is empty or outside its image.
            OSError: an image cannot be read.
        """
        detections, rows, name = [], [], self.inputs[0]
        for filename, windows in images_windows:
            image = io.load_image(filename).astype(np.float32)
            check_image(image, self, filename)
            for window in windows:
                try:
                    rows.append(self.transformer.preprocess(name, self.crop(image, window)))
                except ValueError as error:
                    raise ValueError(f"{filename}: {error}") from None
                detections.append({"window": window, "filename": filename})
        if not rows:
            raise ValueError("no windows to score")
        scores = self.forward_all(**{name: np.stack(rows)})[self.outputs[0]]
        return [{**item, "prediction": row} for item, row in zip(detections, scores, strict=True)]

    def detect_selective_search(self, image_fnames: Iterable[str]) -> list:
        """Score the windows that selective search proposes.

        Args:
            image_fnames: the image files.

        Returns:
            As `detect_windows`.

        Raises:
            ValueError: selective_search_ijcv_with_python is not installed, which runs it in MATLAB.
        """
        try:
            import selective_search_ijcv_with_python as selective_search
        except ImportError:
            raise ValueError(
                "detect_selective_search needs the package selective_search_ijcv_with_python, and MATLAB"
            ) from None
        files = list(image_fnames)
        windows = selective_search.get_windows(files, cmd="selective_search_rcnn")
        return self.detect_windows(zip(files, windows, strict=True))


def _span(low, high, length, size, pad):
    """Along one axis, the slice of the image that a crop shows and the slice of the crop that it fills.

    The window is widened about its centre so that, in a crop of `size` pixels, `pad` pixels at each end are
    context.

    low, high: the ends of the window. length: of the image.
    """
    half = (high - low + 1) / 2
    wide_half = half * size / (size - 2 * pad)
    start, end = round(low + half - wide_half), round(low + half + wide_half)
    first, last = max(0, start), min(length, end)
    if not first < last:
        raise ValueError(f"window from {low} to {high} is empty or outside the image, {length}")
    # As in BVLC Caffe: the length counts the end, the slice excludes it.
    zoom = size / (end - start + 1)
    offset, filled = round((first - start) * zoom), round((last - first + 1) * zoom)
    return slice(first, last), slice(offset, min(offset + filled, size))
