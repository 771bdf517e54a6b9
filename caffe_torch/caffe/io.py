"""caffe.io: images as arrays, prepared for a net and brought back, and arrays as Caffe's messages.

Images are height x width x channels, float32, RGB, 0..1, as in pycaffe. Reading and resizing them
needs scikit-image, which is not a dependency of this package.
"""

import numpy as np

from .blob import array_of
from .proto import caffe_pb2


def load_image(filename, color: bool = True) -> np.ndarray:
    """An image file as H x W x 3 float32 in 0..1, or H x W x 1 where `color` is False; alpha is dropped."""
    skimage = _skimage()
    image = skimage.util.img_as_float32(skimage.io.imread(filename))
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
    image = image[:, :, :3] if image.shape[2] > 2 else image[:, :, :1]
    if color:
        return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    return skimage.color.rgb2gray(image)[:, :, np.newaxis] if image.shape[2] == 3 else image


def resize_image(im, new_dims, interp_order: int = 1) -> np.ndarray:
    """The H x W x C image `im` with (height, width) `new_dims`, by splines of the order given.

    As in pycaffe, 1 or 3 channels are averaged where they shrink and fade to the least value at the
    edges where they grow; any other number is only interpolated, from corner to corner.
    """
    im, skimage = np.asarray(im, np.float64), _skimage()
    if im.shape[-1] in (1, 3):
        from scipy.ndimage import gaussian_filter  # scikit-image brings it

        # The averaging as scikit-image does it, but by itself: what is resized then stays within the range of
        # the averages, as with the scikit-image of BVLC Caffe's time.
        how = {"mode": "constant", "cval": im.min()}
        sigmas = [max(0, (old / new - 1) / 2) for new, old in zip(new_dims, im.shape[:2], strict=True)]
        im = gaussian_filter(im, (*sigmas, 0), **how)
        how.update(preserve_range=True, anti_aliasing=False)
        resized = skimage.transform.resize(im, tuple(new_dims), order=interp_order, **how)
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
    """What pycaffe's caffe.io has because it imports it: `skimage`, its `resize`, and scipy's `zoom`."""
    if name not in ("skimage", "resize", "zoom"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    skimage = _skimage()
    if name == "zoom":
        from scipy.ndimage import zoom

        return zoom
    return skimage if name == "skimage" else skimage.transform.resize


def oversample(images, crop_dims) -> np.ndarray:
    """The four corners and the centre of each image, and their mirror images: (10 N) x h x w x C."""
    images = np.stack([np.asarray(image) for image in images])
    (height, width), (h, w) = images.shape[1:3], (int(n) for n in crop_dims)
    if h > height or w > width:
        raise ValueError(f"crops of {h} x {w} are larger than the images, {height} x {width}")
    corners = [(y, x) for y in (0, height - h) for x in (0, width - w)]
    corners.append(((height - h) // 2, (width - w) // 2))
    crops = np.stack([images[:, y : y + h, x : x + w] for y, x in corners], axis=1)
    both = np.concatenate([crops, crops[:, :, :, ::-1]], axis=1)
    return both.reshape(-1, h, w, images.shape[3]).astype(np.float32)


class Transformer:
    """Prepares images for the input blobs of a net, and brings blobs back to images.

    inputs: {blob name: its shape, N x C x H x W}. In this order: resize to H x W, axes transposed,
    channels swapped, times raw_scale, minus the mean, times input_scale.
    """

    def __init__(self, inputs):
        self.inputs = dict(inputs)
        self.transpose, self.channel_swap, self.raw_scale = {}, {}, {}
        self.mean, self.input_scale = {}, {}

    def _check(self, name):
        if name not in self.inputs:
            raise ValueError(f"{name!r} is not one of the inputs: {', '.join(self.inputs)}")

    def set_transpose(self, in_, order):
        """Axes of the image in the order the blob has them, mostly (2, 0, 1)."""
        self._check(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise ValueError(f"transpose {order}: {len(self.inputs[in_]) - 1} axes are needed")
        self.transpose[in_] = order

    def set_channel_swap(self, in_, order):
        """Channels in the order the net wants them: (2, 1, 0) makes BGR of RGB."""
        self._check(in_)
        if len(order) != self.inputs[in_][1]:
            raise ValueError(f"channel swap {order}: the input has {self.inputs[in_][1]} channels")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_, scale):
        """The factor before the mean is taken off: 255 for nets trained on 0..255."""
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_, mean):
        """What is taken off: a value a channel, or an array C x H x W."""
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

    def set_input_scale(self, in_, scale):
        """The factor after the mean is taken off."""
        self._check(in_)
        self.input_scale[in_] = scale

    def preprocess(self, in_, data) -> np.ndarray:
        """An image H x W x C as the net takes it, C x H x W float32."""
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

    def deprocess(self, in_, data) -> np.ndarray:
        """The image that a blob, or a row of it, was made from: `preprocess` undone, but for the size."""
        self._check(in_)
        image = np.array(data, np.float32).squeeze()
        image = image / np.float32(self.input_scale.get(in_, 1)) + self.mean.get(in_, 0)
        image = (image / np.float32(self.raw_scale.get(in_, 1))).astype(np.float32)
        if in_ in self.channel_swap:
            image = image[np.argsort(self.channel_swap[in_])]
        return image.transpose(np.argsort(self.transpose[in_])) if in_ in self.transpose else image


# Caffe's messages


def blobproto_to_array(blob: caffe_pb2.BlobProto, return_diff: bool = False) -> np.ndarray:
    """The float32 array in a BlobProto, or its gradient.

    Raises: ValueError where shape and values differ; without a shape only one value fits.
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


def array_to_blobproto(arr, diff=None) -> caffe_pb2.BlobProto:
    """An array, and a gradient of its shape, as a BlobProto."""
    arr = np.asarray(arr)
    blob = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=arr.shape))
    blob.data.extend(arr.astype(np.float32).ravel())
    if diff is not None:
        if np.shape(diff) != arr.shape:
            raise ValueError(f"an array of shape {arr.shape} and a gradient of shape {np.shape(diff)}")
        blob.diff.extend(np.asarray(diff, np.float32).ravel())
    return blob


def arraylist_to_blobprotovector_str(arraylist) -> bytes:
    """Arrays as the bytes of a BlobProtoVector."""
    return caffe_pb2.BlobProtoVector(blobs=map(array_to_blobproto, arraylist)).SerializeToString()


def blobprotovector_str_to_arraylist(str) -> list:
    """The arrays in the bytes of a BlobProtoVector."""
    return [array_of(blob) for blob in caffe_pb2.BlobProtoVector.FromString(str).blobs]


def array_to_datum(arr, label=None) -> caffe_pb2.Datum:
    """A C x H x W array as a Datum: uint8 as bytes, all else as floats."""
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
    """The C x H x W array in a Datum; its label is `datum.label`."""
    values = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data)
    return values.reshape(datum.channels, datum.height, datum.width)
