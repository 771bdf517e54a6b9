"""Images as data layers read them: decoded, from databases of Datum messages, cropped, mirrored, less a mean.

OpenCV and lmdb are imported when such a layer is used: they are no dependencies of this package.
"""

import os
import time
import weakref

import numpy as np
from google.protobuf.message import DecodeError

from .atomic_files import missing_path_hint
from .blob import array_of
from .proto import caffe_pb2


def opencv():
    """The module cv2; ValueError where it is not installed."""
    try:
        import cv2
    except ImportError:
        raise ValueError("reading images needs OpenCV: pip install opencv-python-headless") from None
    return cv2


def read_file(path: str, field: str) -> bytes:
    """The bytes of a file; ValueError names the `field` of the prototxt that has the path."""
    if not path:
        raise ValueError(f"{field} must be given")
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        hint = missing_path_hint(path) if isinstance(error, FileNotFoundError) else ""
        raise ValueError(f"{field} {path!r}: {error.strerror}{hint}") from None


def read_blob(path: str, field: str) -> np.ndarray:
    """The float32 array in a file that holds a BlobProto, a mean image for instance."""
    try:
        return array_of(caffe_pb2.BlobProto.FromString(read_file(path, field)))
    except DecodeError:
        raise ValueError(f"{field} {path!r} is not a BlobProto (.binaryproto)") from None


def read_list(path: str, field: str) -> list:
    """[(name, label), ...] of a text file with an image and a whole number in each line."""
    lines = os.fsdecode(read_file(path, field)).split("\n")
    entries = []
    for line in filter(str.strip, lines):
        name, _, label = line.rstrip("\r").rpartition(" ")
        entries.append((name, _leading_number(label)) if name else (label, 0))
    if not entries:
        raise ValueError(f"{field} {path!r} lists no images")
    return entries


def _leading_number(text):
    """The whole number that a text begins with, 0 where it begins with none (C's atoi)."""
    digits = text.strip()
    while digits and not digits.lstrip("+-").isdigit():
        digits = digits[:-1]
    return int(digits) if digits else 0


def read_image(path: str, color: bool = True, size: tuple = (0, 0)) -> np.ndarray:
    """An image file as H x W x 3 (BGR) or H x W x 1 bytes, resized to (height, width) unless that is 0."""
    cv2 = opencv()
    pixels = cv2.imread(path, cv2.IMREAD_COLOR if color else cv2.IMREAD_GRAYSCALE)
    if pixels is None:
        hint = (
            "not an image that OpenCV reads"
            if os.path.exists(path)
            else f"no such file{missing_path_hint(path)}"
        )
        raise ValueError(f"image {path!r}: {hint}")
    if all(size):
        pixels = cv2.resize(pixels, (size[1], size[0]))
    return np.atleast_3d(pixels)


def datum_array(datum: caffe_pb2.Datum, color: bool = False, gray: bool = False) -> np.ndarray:
    """The C x H x W array in a Datum: bytes, decoded where they are an image file's, or float32."""
    if datum.encoded:
        cv2 = opencv()
        flag = cv2.IMREAD_COLOR if color else cv2.IMREAD_GRAYSCALE if gray else cv2.IMREAD_UNCHANGED
        pixels = cv2.imdecode(np.frombuffer(datum.data, np.uint8), flag) if datum.data else None
        if pixels is None:
            raise ValueError("holds an image that OpenCV does not read")
        if pixels.dtype != np.uint8:
            raise ValueError(f"holds an image of {pixels.dtype}, not of bytes")
        return np.atleast_3d(pixels).transpose(2, 0, 1)
    values = np.frombuffer(datum.data, np.uint8) if datum.data else np.array(datum.float_data, np.float32)
    shape = datum.channels, datum.height, datum.width
    if values.size != shape[0] * shape[1] * shape[2] or not values.size:
        raise ValueError(f"holds {values.size} values for the shape {shape}")
    return values.reshape(shape)


class Transformation:
    """What transform_param asks for: crop, mirror, mean and scale of a C x H x W array, in Caffe's order.

    Crops are at random places in training, in the middle in testing; `mirror` flips half of them.
    """

    def __init__(self, param: caffe_pb2.TransformationParameter, phase: int):
        self.param, self.training = param, phase == caffe_pb2.TRAIN
        self.mean = None
        if param.HasField("mean_file"):
            if param.mean_value:
                raise ValueError("transform_param: give mean_file or mean_value, not both")
            self.mean = read_blob(param.mean_file, "transform_param.mean_file")
            self.mean = self.mean.reshape(self.mean.shape[-3:])
        if param.force_color and param.force_gray:
            raise ValueError("transform_param: give force_color or force_gray, not both")

    def lines(self) -> list:
        """What Caffe's log says of it."""
        return [] if self.mean is None else [f"Loading mean file from: {self.param.mean_file}"]

    def shape(self, shape: tuple) -> tuple:
        """The shape of the result for an array of a C x H x W shape."""
        crop = self.param.crop_size
        if crop > min(shape[1:]):
            raise ValueError(
                f"transform_param.crop_size {crop} is larger than {shape[1]} x {shape[2]} pixels"
            )
        return (shape[0], crop or shape[1], crop or shape[2])

    def apply(self, array: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """`array` as float32 for the net; `random` decides on mirroring and on the place of a crop."""
        height, width = self.shape(array.shape)[1:]
        mirrored = self.param.mirror and random.integers(2)
        room = array.shape[1] - height, array.shape[2] - width
        if self.training and self.param.crop_size:
            top, left = (int(random.integers(pixels + 1)) for pixels in room)
        else:
            top, left = room[0] // 2, room[1] // 2
        window = np.s_[:, top : top + height, left : left + width]
        values = array[window].astype(np.float32)
        if self.mean is not None:
            if self.mean.shape != array.shape:
                raise ValueError(
                    f"transform_param.mean_file: a mean of shape {self.mean.shape} for {array.shape} images"
                )
            values = values - self.mean[window]
        elif self.param.mean_value:
            means = np.array(self.param.mean_value, np.float32)
            if len(means) not in (1, len(array)):
                raise ValueError(f"transform_param.mean_value: give one, or {len(array)}: one a channel")
            values = values - means[:, None, None]
        values = values * np.float32(self.param.scale)
        return values[:, :, ::-1] if mirrored else values


class Database:
    """The records of an LMDB, in the order of their keys, round and round."""

    def __init__(self, path: str):
        self.environment = _environment(path)
        self._transaction = self.environment.begin(buffers=False)
        self._cursor = self._transaction.cursor()
        self.count = self.environment.stat()["entries"]
        if not self._cursor.first():
            raise ValueError(f"{path!r} holds no records")

    def next(self) -> tuple:
        """(key, value), both bytes, of the next record; the first follows the last."""
        record = self._cursor.item()
        if not self._cursor.next():
            self._cursor.first()
        return record

    def key(self) -> bytes:
        """The key of the record that comes next."""
        return self._cursor.key()

    def seek(self, key: bytes) -> None:
        """Go to a record; ValueError where there is none of this key."""
        before = self.key()
        if not self._cursor.set_key(key):
            self._cursor.set_key(before)
            raise ValueError(f"the database has no record {os.fsdecode(key)!r}")


def lmdb():
    """The module lmdb; ValueError where it is not installed."""
    try:
        import lmdb
    except ImportError:
        raise ValueError("reading and writing LMDB needs lmdb: pip install lmdb") from None
    return lmdb


_OPEN: weakref.WeakValueDictionary = weakref.WeakValueDictionary()  # an LMDB is opened once a process


def _environment(path):
    place = os.path.realpath(path)
    environment = _OPEN.get(place)
    if environment is None:
        if not os.path.exists(place):
            raise ValueError(f"{path!r}: no such folder{missing_path_hint(path)}")
        _OPEN[place] = environment = _open(path, place)
    return environment


def _open(path, place):
    module, attempts = lmdb(), 100
    for attempt in range(attempts):
        try:
            return module.open(
                place, readonly=True, lock=False, subdir=os.path.isdir(place), max_spare_txns=8
            )
        except module.Error as error:
            # Another thread may be closing that of a net which was collected: the reference is gone already.
            if "already open" not in str(error) or attempt == attempts - 1:
                raise ValueError(f"{path!r} is not an LMDB: {error}") from None
            time.sleep(0.01)
