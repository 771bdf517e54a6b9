"""Files that are there whole or not at all."""

import contextlib
import os


@contextlib.contextmanager
def whole(path):
    """A temporary path beside `path` that takes its name when the block ends well."""
    path = os.fspath(path)
    folder, name = os.path.split(path)
    if not name:
        raise ValueError(f"{path!r} names no file to write")
    os.makedirs(folder or ".", exist_ok=True)
    beside = os.path.join(folder, f".{name}.{os.getpid()}.part")
    try:
        yield beside
        with open(beside, "rb") as file:
            os.fsync(file.fileno())  # on the disk before it takes the name
        os.replace(beside, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(beside)
