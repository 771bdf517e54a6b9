"""The commands convert_imageset and compute_image_mean, with the flags of BVLC Caffe's tools."""

from __future__ import annotations

import os
import shutil
import sys

import numpy as np

from . import atomic_files, command_line, glog
from .images import Database, lmdb, opencv, read_file, read_image, read_list, read_record
from .proto import caffe_pb2

_CONVERT = """usage: convert_imageset [FLAGS] ROOTFOLDER/ LISTFILE DB_NAME

Write the images that LISTFILE lists, a path and an integer in each line, into a new LMDB.

  -gray               read images as grayscale
  -shuffle            write in random order
  -backend lmdb       the only supported one
  -resize_width 0     width and height to resize to; 0 keeps the image's
  -resize_height 0
  -check_size         require all images to have one size
  -encoded            store the bytes of image files, not pixels
  -encode_type ""     store images encoded as png, jpg, ...
"""
_MEAN = """usage: compute_image_mean [FLAGS] INPUT_DB [OUTPUT_FILE]

Write the mean of the images of an LMDB as a .binaryproto; log the mean of each channel.

  -backend lmdb       the only supported one
"""
_CONVERT_FLAGS = {
    **{"gray": False, "shuffle": False, "backend": "lmdb", "resize_width": 0, "resize_height": 0},
    **{"check_size": False, "encoded": False, "encode_type": ""},
}
_MEAN_FLAGS = {"backend": "lmdb"}
_FLUSH_EVERY = 1000  # records in a transaction, as in Caffe


def _image_datum(path, label, color, size, encoding):
    """The Datum of an image file (its pixels, or with an `encoding` the bytes of a file), and its shape."""
    pixels = read_image(path, color, size)
    datum = caffe_pb2.Datum(label=label)
    if not encoding:
        datum.channels, datum.height, datum.width = pixels.shape[2], *pixels.shape[:2]
        datum.data = pixels.transpose(2, 0, 1).tobytes()
        datum.encoded = False
        return datum, pixels.shape
    datum.encoded = True
    extension = os.path.splitext(path)[1][1:].lower()
    same = extension == encoding.lower() or (encoding.lower(), extension) == ("jpg", "jpeg")
    if same and not any(size):
        datum.data = read_file(path, "image")
        return datum, pixels.shape
    try:
        datum.data = opencv().imencode(f".{encoding}", pixels)[1].tobytes()
    except opencv().error:
        raise ValueError(f"image {path!r}: OpenCV does not write {encoding!r}") from None
    return datum, pixels.shape


def convert_imageset(
    root: str,
    list_file: str,
    database: str,
    gray: bool = False,
    shuffle: bool = False,
    resize_height: int = 0,
    resize_width: int = 0,
    check_size: bool = False,
    encoded: bool = False,
    encode_type: str = "",
) -> int:
    """Write listed images into a new LMDB of Datum messages.

    An image that cannot be read is logged as an error and left out, as in Caffe.

    Args:
        root: a prefix of every path.
        list_file: a text file with a path and an integer label in each line.
        database: the folder to create.
        gray: whether to read images as grayscale.
        shuffle: whether to write in random order.
        resize_height, resize_width: pixels to resize to; 0 keeps the image's.
        check_size: whether all images must have one size.
        encoded: whether to store image files, each in its own format, and not pixels.
        encode_type: an extension such as png: store image files in this format.

    Returns:
        The number of images written.

    Raises:
        ValueError: the list cannot be read, the database exists, or an image has another size (check_size).
        OSError: the database cannot be written. Nothing is left of it.
    """
    entries = read_list(list_file, "LISTFILE")
    if shuffle:
        glog.info("Shuffling data")
        np.random.default_rng().shuffle(entries)
    glog.info(f"A total of {len(entries)} images.")
    if os.path.exists(database):
        raise ValueError(f"{database!r} exists: give the name of a new database")
    module, temporary = lmdb(), f"{database.rstrip('/')}.{os.getpid()}.part"
    count, batch, expected = 0, [], None
    try:
        with module.open(temporary, map_size=1 << 28) as environment:
            for i, (name, label) in enumerate(entries):
                encoding = encode_type or (os.path.splitext(name)[1][1:].lower() if encoded else "")
                try:
                    size = max(0, resize_height), max(0, resize_width)
                    datum, shape = _image_datum(root + name, label, not gray, size, encoding)
                except ValueError as error:
                    glog.error(str(error))
                    continue
                expected = shape if expected is None else expected
                if check_size and shape != expected:
                    sizes = ["x".join(map(str, x)) for x in (shape, expected)]
                    raise ValueError(f"image {root + name!r} is {sizes[0]}, those before are {sizes[1]}")
                batch.append(
                    (f"{i:08d}_{name}".encode("utf-8", "surrogateescape"), datum.SerializeToString())
                )
                count += 1
                if count % _FLUSH_EVERY == 0:
                    _write(environment, batch)
                    glog.info(f"Processed {count} files.")
            if batch:
                _write(environment, batch)
                glog.info(f"Processed {count} files.")
        os.rename(temporary, database)
    except module.Error as error:
        raise OSError(None, str(error), database) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count


def _write(environment, batch):
    """Write the records of `batch` in one transaction and clear it; the map grows until they fit."""
    while batch:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in batch:
                    transaction.put(key, value)
            batch.clear()
        except lmdb().MapFullError:
            environment.set_mapsize(environment.info()["map_size"] * 2)


def compute_image_mean(database: str) -> np.ndarray:
    """Compute the mean of the images of an LMDB, summed in float32 as in Caffe.

    Args:
        database: the LMDB.

    Returns:
        1 x C x H x W, float32.

    Raises:
        ValueError: the LMDB or a record of it cannot be read, or the images differ in shape.
    """
    records, total = Database(database), None
    for i in range(records.count):
        image, _, name = read_record(records, repr(database))
        if total is None:
            total = np.zeros(image.shape, np.float32)
        if image.shape != total.shape:
            raise ValueError(f"{name}: has the shape {image.shape}, those before {total.shape}")
        total += image
        if (i + 1) % 10000 == 0 or i + 1 == records.count:
            glog.info(f"Processed {i + 1} files.")
    return (total / np.float32(records.count))[None]


def _write_mean(database, path=None):
    mean = compute_image_mean(database)
    if path is not None:
        shape = dict(zip(("num", "channels", "height", "width"), mean.shape, strict=True))
        glog.info(f"Write to {path}")
        atomic_files.write(path, caffe_pb2.BlobProto(**shape, data=mean.ravel()).SerializeToString())
    glog.info(f"Number of channels: {mean.shape[1]}")
    for i, channel in enumerate(mean[0]):
        glog.info(f"mean_value channel [{i}]: {channel.mean(dtype=np.float64):g}")


def _run(function, arguments, defaults, usage, counts):
    """Call a function with the words, as many as one of `counts`, and flags of a command line."""
    words, flags = command_line.parse(arguments, defaults)
    if words is None or len(words) not in counts:
        print(usage)
        return 0 if words is None else 1
    if flags.pop("backend") != "lmdb":
        raise ValueError("-backend: only lmdb is supported")
    function(*words, **flags)
    return 0


def convert_main(arguments: list | None = None) -> int:
    """Run the command convert_imageset.

    Args:
        arguments: its words; those of the process by default.

    Returns:
        The exit status.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    return command_line.run(_run, convert_imageset, arguments, _CONVERT_FLAGS, _CONVERT, (3,))


def mean_main(arguments: list | None = None) -> int:
    """Run the command compute_image_mean.

    Args:
        arguments: its words; those of the process by default.

    Returns:
        The exit status.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    return command_line.run(_run, _write_mean, arguments, _MEAN_FLAGS, _MEAN, (1, 2))
