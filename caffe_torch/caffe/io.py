"""caffe.io: images as arrays, their preprocessing for a net, and arrays as Caffe's messages.

Images are H x W x C, float32, RGB, 0..1, as in pycaffe. Reading and resizing need scikit-image, which is not
a dependency of this package.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np

from .blob import array_of
from .proto import caffe_pb2


def load_image(filename: str | os.PathLike, color: bool = True) -> np.ndarray:
    """Read an image file; alpha is dropped.

    Args:
        filename: the path.
        color: whether to return three channels, or one.

    Returns:
        H x W x 3 (RGB) or H x W x 1, float32, 0..1.

    Raises:
        ValueError: scikit-image is not installed.
        OSError: the file cannot be read.
    """
    skimage = _skimage()
    image = skimage.util.img_as_float32(skimage.io.imread(filename))
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
    image = image[:, :, :3] if image.shape[2] > 2 else image[:, :, :1]
    if color:
        return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    return skimage.color.rgb2gray(image)[:, :, np.newaxis] if image.shape[2] == 3 else image


def resize_image(im: np.ndarray, new_dims: Sequence[int], interp_order: int = 1) -> np.ndarray:
    """Resize an image by spline interpolation.

    Images of 1 or 3 channels are resized as by scikit-image, which pycaffe uses for them: smoothed before
    they shrink, with the image's minimum beyond the edges. Others are resized by `scipy.ndimage.zoom`, which
    maps corners to corners and does not smooth.

    Args:
        im: H x W x C.
        new_dims: (height, width).
        interp_order: the order of the splines.

    Returns:
        height x width x C, float32.

    Raises:
        ValueError: scikit-image is not installed.
    """
    im, skimage = np.asarray(im, np.float64), _skimage()
    if im.shape[-1] in (1, 3):
        from scipy.ndimage import gaussian_filter  # a dependency of scikit-image

        # scikit-image's own smoothing, as a separate step: its result is then clipped to the range of the
        # smoothed image, as by the scikit-image of BVLC Caffe's time.
        border = {"mode": "constant", "cval": im.min()}
        sigmas = [max(0, (old / new - 1) / 2) for new, old in zip(new_dims, im.shape[:2], strict=True)]
        im = gaussian_filter(im, (*sigmas, 0), **border)
        resized = skimage.transform.resize(
            im, tuple(new_dims), order=interp_order, preserve_range=True, anti_aliasing=False, **border
        )
    else:
        from scipy.ndimage import zoom

        factors = [new / old for new, old in zip(new_dims, im.shape[:2], strict=True)]
        resized = zoom(im, (*factors, 1), order=interp_order)
    return resized.astype(np.float32)


def _skimage():
    try:
        import skimage.color
        import skimage.io
        import skimage.transform
        import skimage.util
    except ImportError:
        raise ValueError("caffe.io needs scikit-image for this: pip install scikit-image") from None
    return skimage


def __getattr__(name):
    """The names that pycaffe's caffe.io imports: `skimage`, its `resize`, and scipy's `zoom`."""
    if name not in ("skimage", "resize", "zoom"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    skimage = _skimage()
    if name == "zoom":
        from scipy.ndimage import zoom

        return zoom
    return skimage if name == "skimage" else skimage.transform.resize


def oversample(images: Iterable[np.ndarray], crop_dims: Sequence[int]) -> np.ndarray:
    """Take ten crops of each image: the four corners, the centre, and the mirror images of all five.

    Args:
        images: N images of one shape, H x W x C.
        crop_dims: (h, w) of the crops.

    Returns:
        10 N x h x w x C, float32.

    Raises:
        ValueError: the crops are larger than the images.
    """
    images = np.stack([np.asarray(image) for image in images])
    (height, width), (h, w) = images.shape[1:3], (int(n) for n in crop_dims)
    if h > height or w > width:
        raise ValueError(f"crops of {h} x {w} are larger than the images, {height} x {width}")
    corners = [(y, x) for y in (0, height - h) for x in (0, width - w)]
    corners.append(((height - h) // 2, (width - w) // 2))
    crops = np.stack([images[:, y : y + h, x : x + w] for y, x in corners], axis=1)
    crops_and_mirrored = np.concatenate([crops, crops[:, :, :, ::-1]], axis=1)
    return crops_and_mirrored.reshape(-1, h, w, images.shape[3]).astype(np.float32)


class Transformer:
    """Preprocesses images for the input blobs of a net, and reverses it.

    The steps, in order: resize to H x W, transpose the axes, swap the channels, multiply by raw_scale,
    subtract the mean, multiply by input_scale.

    Args:
        inputs: {blob name: shape, N x C x H x W}.
    """

    def __init__(self, inputs: dict):
        self.inputs = dict(inputs)
        self.transpose, self.channel_swap, self.raw_scale = {}, {}, {}
        self.mean, self.input_scale = {}, {}

    def _check(self, name):
        if name not in self.inputs:
            raise ValueError(f"{name!r} is not one of the inputs: {', '.join(self.inputs)}")

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of the image's axes in the blob, (2, 0, 1) for H x W x C to C x H x W.

        Raises:
            ValueError: another number of axes, or no input of the name `in_`.
        """
        self._check(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise ValueError(f"transpose {order}: {len(self.inputs[in_]) - 1} axes are needed")
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of the channels: (2, 1, 0) for RGB to BGR.

        Raises:
            ValueError: another number of channels, or no input of the name `in_`.
        """
        self._check(in_)
        if len(order) != self.inputs[in_][1]:
            raise ValueError(f"channel swap {order}: the input has {self.inputs[in_][1]} channels")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Set the factor before the mean is subtracted: 255 for nets trained on 0..255.

        Raises:
            ValueError: no input of the name `in_`.
        """
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: np.ndarray) -> None:
        """Set the mean to subtract.

        Args:
            in_: the name of the input.
            mean: one value a channel, H x W, or C x H x W.

        Raises:
            ValueError: the mean does not fit the input, or no input of the name `in_`.
        """
        self._check(in_)
        mean, shape = np.asarray(mean), tuple(self.inputs[in_][1:])
        if mean.ndim == 1 and mean.shape[0] in (1, shape[0]):
            mean = mean[:, np.newaxis, np.newaxis]
        elif mean.ndim == 2:
            mean = mean[np.newaxis]
        elif mean.ndim != 3:
            raise ValueError(f"a mean of shape {mean.shape}: give one value a channel, or C x H x W")
        if mean.shape[1:] not in ((1, 1), shape[1:]) or mean.shape[0] not in (1, shape[0]):
            raise ValueError(f"a mean of shape {mean.shape} does not fit the input, {shape}")
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Set the factor after the mean is subtracted.

        Raises:
            ValueError: no input of the name `in_`.
        """
        self._check(in_)
        self.input_scale[in_] = scale

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """Convert an image to a row of an input blob.

        Args:
            in_: the name of the input.
            data: H x W x C.

        Returns:
            C x H x W, float32.

        Raises:
            ValueError: no input of the name `in_`.
        """
        self._check(in_)
        image, size = np.asarray(data).astype(np.float32), tuple(self.inputs[in_][2:])
        if image.shape[:2] != size:
            image = resize_image(image, size)
        if in_ in self.transpose:
            image = image.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            image = image[list(self.channel_swap[in_])]
        image = image * np.float32(self.raw_scale.get(in_, 1))
        image = image - np.asarray(self.mean.get(in_, 0), np.float32)
        return image * np.float32(self.input_scale.get(in_, 1))

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """Reverse `preprocess`, except for the resizing.

        Args:
            in_: the name of the input.
            data: a blob of one row, or a row of a blob.

        Returns:
            H x W x C, float32.

        Raises:
            ValueError: no input of the name `in_`.
        """
        self._check(in_)
        image = np.array(data, np.float32).squeeze()
        image = image / np.float32(self.input_scale.get(in_, 1)) + self.mean.get(in_, 0)
        image = (image / np.float32(self.raw_scale.get(in_, 1))).astype(np.float32)
        if in_ in self.channel_swap:
            image = image[np.argsort(self.channel_swap[in_])]
        return image.transpose(np.argsort(self.transpose[in_])) if in_ in self.transpose else image


# Caffe's messages


def blobproto_to_array(blob: caffe_pb2.BlobProto, return_diff: bool = False) -> np.ndarray:
    """Read the values, or the gradient, of a BlobProto.

    Returns:
        A float32 array in the stored shape.

    Raises:
        ValueError: the shape does not fit the number of values; without a shape there is one value.
    """
    if not any(blob.HasField(name) for name in ("shape", "num", "channels", "height", "width")):
        return np.array(blob.diff if return_diff else blob.data, np.float32).reshape(())
    if not return_diff:
        return array_of(blob)
    proto = caffe_pb2.BlobProto()
    proto.CopyFrom(blob)
    proto.ClearField("data")
    proto.data.extend(blob.diff)
    return array_of(proto)


def array_to_blobproto(arr: np.ndarray, diff: np.ndarray | None = None) -> caffe_pb2.BlobProto:
    """Store an array, and a gradient of the same shape, in a BlobProto as float32.

    Raises:
        ValueError: the gradient has another shape.
    """
    arr = np.asarray(arr)
    blob = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=arr.shape))
    blob.data.extend(arr.astype(np.float32).ravel())
    if diff is not None:
        if np.shape(diff) != arr.shape:
            raise ValueError(f"an array of shape {arr.shape} and a gradient of shape {np.shape(diff)}")
        blob.diff.extend(np.asarray(diff, np.float32).ravel())
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[np.ndarray]) -> bytes:
    """Serialise arrays as a BlobProtoVector."""
    return caffe_pb2.BlobProtoVector(blobs=map(array_to_blobproto, arraylist)).SerializeToString()


def blobprotovector_str_to_arraylist(str: bytes) -> list:
    """Read the arrays of a serialised BlobProtoVector."""
    return [array_of(blob) for blob in caffe_pb2.BlobProtoVector.FromString(str).blobs]


def array_to_datum(arr: np.ndarray, label: int | None = None) -> caffe_pb2.Datum:
    """Store a C x H x W array in a Datum: uint8 as bytes, other types as floats.

    Raises:
        ValueError: the array has not three axes.
    """
    if arr.ndim != 3:
        raise ValueError(f"an array of shape {arr.shape}: a Datum is C x H x W")
    datum = caffe_pb2.Datum(**dict(zip(("channels", "height", "width"), arr.shape, strict=True)))
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).ravel())
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: caffe_pb2.Datum) -> np.ndarray:
    """Read the C x H x W array of a Datum: uint8, or float64 where it holds floats."""
    values = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data)
    return values.reshape(datum.channels, datum.height, datum.width)
