"""Images for data layers: files, databases of Datum messages, and transform_param.

OpenCV and lmdb are optional dependencies. They are imported when a layer needs them.
"""

from __future__ import annotations

import os
import time
import weakref
from types import ModuleType

import numpy as np
from google.protobuf.message import DecodeError

from . import bounded_files
from .atomic_files import missing_path_hint
from .blob import array_of
from .proto import caffe_pb2


def opencv() -> ModuleType:
    """Import cv2.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise ValueError("reading images needs OpenCV: pip install opencv-python-headless") from None
    return cv2


def read_file(path: str, field: str) -> bytes:
    """Read a file.

    Args:
        path: the file.
        field: the field of the prototxt that has the path, for errors.

    Raises:
        ValueError: the file cannot be read, or the path is empty.
    """
    if not path:
        raise ValueError(f"{field} must be given")
    try:
        bounded_files.check_regular(path)
        return bounded_files.read(path)
    except OSError as error:
        hint = missing_path_hint(path) if isinstance(error, FileNotFoundError) else ""
        raise ValueError(f"{field} {path!r}: {error.strerror}{hint}") from None


def read_blob(path: str, field: str) -> np.ndarray:
    """Read a file that holds a BlobProto, such as a mean image.

    Args:
        path: the file.
        field: the field of the prototxt that has the path, for errors.

    Returns:
        A float32 array in the stored shape.

    Raises:
        ValueError: the file cannot be read, or is not a BlobProto.
    """
    try:
        return array_of(caffe_pb2.BlobProto.FromString(read_file(path, field)))
    except DecodeError:
        raise ValueError(f"{field} {path!r} is not a BlobProto (.binaryproto)") from None


def read_list(path: str, field: str) -> list:
    """Read a text file with an image and an integer label in each line.

    Args:
        path: the file.
        field: the field of the prototxt that has the path, for errors.

    Returns:
        [(name, label), ...].

    Raises:
        ValueError: the file cannot be read, or lists no images.
    """
    lines = os.fsdecode(read_file(path, field)).split("\n")
    entries = []
    for line in filter(str.strip, lines):
        name, _, label = line.rstrip("\r").rpartition(" ")
        entries.append((name, _leading_number(label)) if name else (label, 0))
    if not entries:
        raise ValueError(f"{field} {path!r} lists no images")
    return entries


def _leading_number(text):
    """The integer at the start of a text, 0 where there is none (C's atoi)."""
    digits = text.strip()
    while digits and not digits.lstrip("+-").isdigit():
        digits = digits[:-1]
    return int(digits) if digits else 0


def read_image(path: str, color: bool = True, size: tuple = (0, 0)) -> np.ndarray:
    """Read an image file.

    Args:
        path: the file.
        color: whether to return three channels, or one.
        size: (height, width) to resize to; zeros keep the file's.

    Returns:
        H x W x 3 (BGR) or H x W x 1, uint8.

    Raises:
        ValueError: OpenCV is not installed or cannot read the file.
    """
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
    """Read the array of a Datum.

    Args:
        datum: pixels, or an encoded image file.
        color: whether to decode an image file to three channels.
        gray: whether to decode it to one channel. Without both the file decides.

    Returns:
        C x H x W, uint8 or float32.

    Raises:
        ValueError: the number of values does not fit the shape, or OpenCV cannot decode the file.
    """
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
    """The transformation by transform_param: crop, subtract the mean, scale, mirror.

    Crops are random in training and central in testing. `mirror` flips each image with probability 1/2.

    Args:
        param: the settings.
        phase: TRAIN or TEST.

    Raises:
        ValueError: the settings contradict each other, or the mean cannot be read.
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
        """Caffe's log lines about the mean file."""
        return [] if self.mean is None else [f"Loading mean file from: {self.param.mean_file}"]

    def shape(self, shape: tuple) -> tuple:
        """The shape of the result for an array of shape (C, H, W).

        Raises:
            ValueError: the crop is larger than the array.
        """
        crop = self.param.crop_size
        if crop > min(shape[1:]):
            raise ValueError(
                f"transform_param.crop_size {crop} is larger than {shape[1]} x {shape[2]} pixels"
            )
        return (shape[0], crop or shape[1], crop or shape[2])

    def apply(self, array: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Transform an image.

        Args:
            array: C x H x W.
            random: the generator for mirroring and the place of the crop.

        Returns:
            C x h x w, float32.

        Raises:
            ValueError: the crop or the mean does not fit the image.
        """
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
    """The records of an LMDB, in the order of their keys; the first follows the last.

    Args:
        path: the LMDB, a folder or a file.

    Raises:
        ValueError: lmdb is not installed, or the LMDB cannot be read or has no records.
    """

    def __init__(self, path: str):
        self.environment = _environment(path)
        self._transaction = self.environment.begin(buffers=False)
        self._cursor = self._transaction.cursor()
        self.count = self.environment.stat()["entries"]
        if not self._cursor.first():
            raise ValueError(f"{path!r} holds no records")

    def next(self) -> tuple:
        """Read the next record: its key and value, both bytes."""
        record = self._cursor.item()
        if not self._cursor.next():
            self._cursor.first()
        return record

    def key(self) -> bytes:
        """The key of the next record."""
        return self._cursor.key()

    def seek(self, key: bytes) -> None:
        """Make the record of a key the next.

        Raises:
            ValueError: there is no such record.
        """
        previous_key = self.key()
        if not self._cursor.set_key(key):
            self._cursor.set_key(previous_key)
            raise ValueError(f"the database has no record {os.fsdecode(key)!r}")


def read_record(database: Database, source: str, color: bool = False, gray: bool = False) -> tuple:
    """Read the next record of an LMDB, a Datum.

    Args:
        database: the LMDB.
        source: its name for errors.
        color, gray: as of `datum_array`.

    Returns:
        A C x H x W array, uint8 or float32; its label; and the name of the record for errors.

    Raises:
        ValueError: the record is not a Datum, or its image cannot be read.
    """
    key, value = database.next()
    name = f"{source}, record {key.decode(errors='replace')!r}"
    try:
        datum = caffe_pb2.Datum.FromString(value)
    except Exception as error:  # protobuf's error types differ between its versions
        raise ValueError(f"{name} is not a Datum: {error}") from None
    try:
        return datum_array(datum, color, gray), datum.label, name
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def lmdb() -> ModuleType:
    """Import lmdb.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import lmdb
    except ImportError:
        raise ValueError("reading and writing LMDB needs lmdb: pip install lmdb") from None
    return lmdb


# Open environments by real path: a process must open an LMDB only once.
_OPEN: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def _environment(path):
    real_path = os.path.realpath(path)
    environment = _OPEN.get(real_path)
    if environment is None:
        if not os.path.exists(real_path):
            raise ValueError(f"{path!r}: no such folder{missing_path_hint(path)}")
        _OPEN[real_path] = environment = _open(path, real_path)
    return environment


def _open(path, real_path):
    module, attempts = lmdb(), 100
    for attempt in range(attempts):
        try:
            return module.open(
                real_path, readonly=True, lock=False, subdir=os.path.isdir(real_path), max_spare_txns=8
            )
        except module.Error as error:
            # Another thread may be closing that of a net which was collected: the reference is gone already.
            if "already open" not in str(error) or attempt == attempts - 1:
                raise ValueError(f"{path!r} is not an LMDB: {error}") from None
            time.sleep(0.01)
