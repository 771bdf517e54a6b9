"""What an HDF5 file may hold: numbers of its own, of the shape that is wanted, in bounded memory.

HDF5 can name other files, which whoever sends a file would then have read, and a few bytes of it can stand
for many gigabytes. Both are refused by what the file says of itself, before any number is read.
"""

import math

import h5py
import numpy as np

_COMPRESSORS = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SZIP, h5py.h5z.FILTER_LZF
_REGISTERED = 256  # filters from this number on are of other makers, and compress
_MOST_CHUNK = 64 * 2**20  # bytes: a chunk is unpacked whole, however few of its numbers are used


def check_links(file: h5py.File, path: str) -> None:
    """Refuse a file that takes anything from other files, or that unpacks without bound.

    Args:
        file: the open file.
        path: its name, for errors.

    Raises:
        ValueError: a link leaves the file or leads nowhere, a dataset has its numbers in another file, or
            is packed twice or in chunks larger than itself. The link or dataset is named.
    """
    links: list = []
    file.id.links.visit(lambda name, info: links.append((name, info.type)), info=True)
    for name, kind in links:
        where = f"{path}: {name.decode(errors='replace')!r}"
        if kind not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
            raise ValueError(f"{where} is a link to another file, which is not followed")
    for name, kind in links:
        where = f"{path}: {name.decode(errors='replace')!r}"
        try:
            item = h5py.h5o.open(file.id, name)
        except (KeyError, ValueError):
            if kind == h5py.h5l.TYPE_HARD:
                raise
            raise ValueError(f"{where} is a link that leads to nothing in the file") from None
        if isinstance(item, h5py.h5d.DatasetID):
            _check_storage(item, where)


def _check_storage(dataset, where):
    """The same for one dataset, a low-level one."""
    made = dataset.get_create_plist()
    layout = made.get_layout()
    if layout == h5py.h5d.VIRTUAL:
        raise ValueError(f"{where} is a virtual dataset, with its numbers in other files: not read")
    if made.get_external_count():
        raise ValueError(f"{where} has its numbers in another file, which is not read")
    if layout != h5py.h5d.CHUNKED:
        return
    filters = [made.get_filter(i)[0] for i in range(made.get_nfilters())]
    if sum(code in _COMPRESSORS or code >= _REGISTERED for code in filters) > 1:
        raise ValueError(f"{where} is compressed twice, so that nobody knows its size: not read")
    size = dataset.get_type().get_size()
    chunk, whole = (math.prod(shape) * size for shape in (made.get_chunk(), dataset.shape))
    if chunk > max(whole, _MOST_CHUNK):
        raise ValueError(f"{where} has chunks of {chunk} bytes for {whole} in all: not read")


def read_numbers(dataset, where: str, check_shape=None) -> np.ndarray:
    """The numbers of a dataset as float32.

    Args:
        dataset: an h5py.Dataset.
        where: the file and what is read of it, for errors.
        check_shape: a function of the stored shape that raises ValueError where it is not the wanted one; it
            is called before anything is read.

    Returns:
        An array of the stored shape.

    Raises:
        ValueError: it is no dataset of numbers, has another shape, or is damaged.
    """
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{where}: no dataset")
    if dataset.dtype.kind not in "fiu" or dataset.shape is None:
        raise ValueError(f"{where}: holds {dataset.dtype}, not numbers")
    if check_shape is not None:
        check_shape(dataset.shape)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return dataset[()].astype(np.float32)
    except OSError as error:
        raise ValueError(f"{where}: damaged: {error}") from None


def read_whole_number(dataset, where: str) -> int:
    """The one whole number that a dataset holds; ValueError where it holds anything else."""
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "iu" or dataset.size != 1:
        raise ValueError(f"{where}: not one whole number")
    return int(np.ravel(dataset[()])[0])


def read_bytes(dataset, where: str, most: int) -> bytes:
    """The bytes of a string, or of a row of uint8, of `most` bytes at most; ValueError for anything else."""
    kind = h5py.check_string_dtype(dataset.dtype) if isinstance(dataset, h5py.Dataset) else None
    row = isinstance(dataset, h5py.Dataset) and dataset.dtype == np.uint8 and dataset.ndim == 1
    if not row and (kind is None or dataset.size != 1):
        raise ValueError(f"{where}: not a string")
    if dataset.size * dataset.dtype.itemsize > most:
        raise ValueError(f"{where}: {dataset.size * dataset.dtype.itemsize} bytes, more than the file has")
    value = dataset[()]
    value = np.ravel(value)[0] if not row and isinstance(value, np.ndarray) else value
    return value.tobytes() if row else value.encode() if isinstance(value, str) else bytes(value)
