"""Checks of untrusted HDF5 files: only numbers in the file itself, of the expected shape, in bounded memory.

An HDF5 file can refer to other files, and so have any file of the user read. A few bytes of it can expand to
many gigabytes. Both are refused from the file's metadata, before any number is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import h5py
import numpy as np

_COMPRESSORS = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SZIP, h5py.h5z.FILTER_LZF
_REGISTERED = 256  # filters from this number on are registered by third parties, and compress
_MAX_CHUNK = 64 * 2**20  # bytes: a chunk is always unpacked whole


def check_links(file: h5py.File, path: str) -> None:
    """Refuse a file that refers to other files, or whose size in memory is unbounded.

    Args:
        file: the open file.
        path: its name, for errors.

    Raises:
        ValueError: a link leaves the file or leads nowhere; or a dataset has its numbers in another file, is
            compressed twice, or has chunks larger than itself. The message names the link or dataset.
    """
    links: list = []
    file.id.links.visit(lambda name, info: links.append((name, info.type)), info=True)
    for name, link_type in links:
        location = f"{path}: {name.decode(errors='replace')!r}"
        if link_type not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            raise ValueError(f"{location} is a link to another file, which is not followed")
    for name, link_type in links:
        location = f"{path}: {name.decode(errors='replace')!r}"
        try:
            item = h5py.h5o.open(file.id, name)
        except (KeyError, ValueError):
            if link_type == h5py.h5l.TYPE_HARD:
                raise
            raise ValueError(f"{location} is a link that leads to nothing in the file") from None
        if isinstance(item, h5py.h5d.DatasetID):
            _check_storage(item, location)


def _check_storage(dataset, location):
    """The same for one dataset, of h5py's low-level interface."""
    properties = dataset.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.VIRTUAL:
        raise ValueError(f"{location} is a virtual dataset, with its numbers in other files: not read")
    if properties.get_external_count():
        raise ValueError(f"{location} has its numbers in another file, which is not read")
    if layout != h5py.h5d.CHUNKED:
        return
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    if sum(code in _COMPRESSORS or code >= _REGISTERED for code in filters) > 1:
        raise ValueError(f"{location} is compressed twice, so its size in memory is unknown: not read")
    size = dataset.get_type().get_size()
    chunk, total = (math.prod(shape) * size for shape in (properties.get_chunk(), dataset.shape))
    if chunk > max(total, _MAX_CHUNK):
        raise ValueError(f"{location} has chunks of {chunk} bytes for {total} in all: not read")


def read_numbers(dataset, location: str, check_shape: Callable[[tuple], None] | None = None) -> np.ndarray:
    """Read the numbers of a dataset as float32.

    Args:
        dataset: an h5py.Dataset; anything else is refused.
        location: the file and the dataset, for errors.
        check_shape: called with the stored shape before anything is read; it raises ValueError for another
            shape than the expected.

    Returns:
        An array of the stored shape.

    Raises:
        ValueError: it is not a dataset of numbers, has another shape, or is damaged.
    """
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{location}: no dataset")
    if dataset.dtype.kind not in "fiu" or dataset.shape is None:
        raise ValueError(f"{location}: holds {dataset.dtype}, not numbers")
    if check_shape is not None:
        check_shape(dataset.shape)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return dataset[()].astype(np.float32)
    except OSError as error:
        raise ValueError(f"{location}: damaged: {error}") from None


def read_whole_number(dataset, location: str) -> int:
    """Read a dataset that holds one integer.

    Raises:
        ValueError: it holds anything else.
    """
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "iu" or dataset.size != 1:
        raise ValueError(f"{location}: not one whole number")
    return int(np.ravel(dataset[()])[0])


def read_bytes(dataset, location: str, max_size: int) -> bytes:
    """Read a dataset that holds a string, or a vector of uint8.

    Args:
        dataset: an h5py.Dataset; anything else is refused.
        location: the file and the dataset, for errors.
        max_size: bytes.

    Raises:
        ValueError: it holds anything else, or more bytes.
    """
    string = h5py.check_string_dtype(dataset.dtype) if isinstance(dataset, h5py.Dataset) else None
    row = isinstance(dataset, h5py.Dataset) and dataset.dtype == np.uint8 and dataset.ndim == 1
    if not row and (string is None or dataset.size != 1):
        raise ValueError(f"{location}: not a string")
    if dataset.size * dataset.dtype.itemsize > max_size:
        raise ValueError(f"{location}: {dataset.size * dataset.dtype.itemsize} bytes, more than the file has")
    value = dataset[()]
    value = np.ravel(value)[0] if not row and isinstance(value, np.ndarray) else value
    return value.tobytes() if row else value.encode() if isinstance(value, str) else bytes(value)
