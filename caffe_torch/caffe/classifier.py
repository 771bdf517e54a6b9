"""caffe.Classifier: class scores of images, by a net with one image input."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from . import io
from .net import TEST, Net


def image_transformer(
    net: Net,
    mean: np.ndarray | None = None,
    input_scale: float | None = None,
    raw_scale: float | None = None,
    channel_swap: Sequence[int] | None = None,
) -> io.Transformer:
    """Make the Transformer from H x W x C images to the input of a net.

    Args:
        net: a net with one input, N x C x H x W.
        mean: one value a channel, or C x H x W, in the net's range and channel order.
        input_scale: the factor after the mean is subtracted.
        raw_scale: the factor before the mean is subtracted.
        channel_swap: the order of the channels: (2, 1, 0) for RGB to BGR.

    Returns:
        The Transformer.

    Raises:
        ValueError: the net has another input, or the mean or the order does not fit it.
    """
    inputs = {name: net.blobs[name].shape for name in net.inputs}
    if [len(shape) for shape in inputs.values()] != [4]:
        raise ValueError(f"one input of N x C x H x W is needed, the net's are {inputs}")
    name = net.inputs[0]
    transformer = io.Transformer(inputs)
    transformer.set_transpose(name, (2, 0, 1))
    if mean is not None:
        transformer.set_mean(name, mean)
    if input_scale is not None:
        transformer.set_input_scale(name, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(name, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(name, channel_swap)
    return transformer


def check_image(image: np.ndarray, net: Net, name: str) -> None:
    """Check that an image is H x W x C with the channels of the net's input.

    Raises:
        ValueError: it is not; `name` is in the message.
    """
    channels = net.blobs[net.inputs[0]].shape[1]
    if np.ndim(image) != 3 or np.shape(image)[2] != channels:
        raise ValueError(f"{name} has the shape {np.shape(image)}, the net takes H x W x {channels}")


class Classifier(Net):
    """A net that classifies images.

    Args:
        model_file: the deploy prototxt.
        pretrained_file: the weights.
        image_dims: (height, width) to resize images to before crops of the net's input size are taken; that
            size by default.
        mean, input_scale, raw_scale, channel_swap: as for `image_transformer`.

    Raises:
        ValueError: the net, the weights or a setting is wrong.
        OSError: a file cannot be read.
    """

    def __init__(
        self,
        model_file: str | os.PathLike,
        pretrained_file: str | os.PathLike,
        image_dims: Sequence[int] | None = None,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ):
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = image_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else image_dims
        if len(self.image_dims) != 2 or any(np.asarray(self.image_dims) < self.crop_dims):
            height, width = self.crop_dims
            raise ValueError(f"image_dims {image_dims}: the net takes crops of {height} x {width}")

    def predict(self, inputs: Sequence[np.ndarray], oversample: bool = True) -> np.ndarray:
        """Classify images.

        Args:
            inputs: N images H x W x C of any sizes, as `caffe.io.load_image` returns them.
            oversample: whether to average over ten crops (see `caffe.io.oversample`), or to take the centre.

        Returns:
            The net's first output, float32: N x scores with `oversample`, else N rows in the output's shape.

        Raises:
            ValueError: there are no images, or one has another shape.
        """
        if len(inputs) == 0:
            raise ValueError("no images to classify")
        for i, image in enumerate(inputs):
            check_image(image, self, f"image {i}")
        images = np.stack([io.resize_image(image, self.image_dims) for image in inputs])
        height, width = self.crop_dims
        if oversample:
            crops = io.oversample(images, self.crop_dims)
        else:
            y, x = (np.array(images.shape[1:3]) - self.crop_dims) // 2
            crops = images[:, y : y + height, x : x + width]
        name = self.inputs[0]
        rows = np.stack([self.transformer.preprocess(name, crop) for crop in crops])
        scores = self.forward_all(**{name: rows})[self.outputs[0]]
        return scores.reshape(len(inputs), 10, -1).mean(axis=1) if oversample else scores
