"""caffe.Classifier: images of any size to class scores, by a net with one image input."""

import numpy as np

from . import io
from .net import TEST, Net


def image_transformer(net: Net, mean=None, input_scale=None, raw_scale=None, channel_swap=None):
    """The Transformer from H x W x C images to the input of `net`; ValueError where it has no such input.

    mean: one value a channel or C x H x W, in the net's range and order of channels. raw_scale is
    multiplied before the mean is taken off, input_scale after. channel_swap: (2, 1, 0) makes BGR of RGB.
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


def check_image(image, net: Net, what: str) -> None:
    """ValueError unless `image` is H x W x C with the channels of the net's input."""
    channels = net.blobs[net.inputs[0]].shape[1]
    if np.ndim(image) != 3 or np.shape(image)[2] != channels:
        raise ValueError(f"{what} has the shape {np.shape(image)}, the net takes H x W x {channels}")


class Classifier(Net):
    """A net that classifies images.

    model_file, pretrained_file: the deploy prototxt and its weights. image_dims: (height, width) that
    images are resized to before crops of the net's input size are taken, that size itself by default.
    The rest: see `image_transformer`.
    """

    def __init__(
        self,
        model_file,
        pretrained_file,
        image_dims=None,
        mean=None,
        input_scale=None,
        raw_scale=None,
        channel_swap=None,
    ):
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = image_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else image_dims
        if len(self.image_dims) != 2 or any(np.asarray(self.image_dims) < self.crop_dims):
            height, width = self.crop_dims
            raise ValueError(f"image_dims {image_dims}: the net takes crops of {height} x {width}")

    def predict(self, inputs, oversample: bool = True) -> np.ndarray:
        """The net's first output for each image, N rows of float32.

        inputs: images H x W x C, as `caffe.io.load_image` gives them, of any sizes. oversample: the mean
        over the four corners, the centre and their mirror images, as N x scores; else the centre alone,
        in the output's own shape. ValueError for what is no such image.
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
