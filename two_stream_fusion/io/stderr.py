"""What C libraries print on standard error while they decode: dropped, or taken for what it says."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from contextlib import contextmanager, suppress
from typing import Iterator

_lock = threading.Lock()


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """Drop what the C libraries print about a damaged file; the error says it once.

    One thread at a time: a second one would restore the null device of the first as stderr.
    """
    with open(os.devnull, "wb") as null, _redirected(null.fileno()):
        yield


@contextmanager
def captured_stderr(messages: re.Pattern[bytes]) -> Iterator[list[bytes]]:
    """Take the messages that match a pattern; what else is printed meanwhile is printed at the end.

    Args:
        messages: of C libraries, each a line.

    Yields:
        A list, which has the messages after the block. One thread at a time, as `silenced_stderr`.
    """
    captured: list[bytes] = []
    with tempfile.TemporaryFile() as file:
        try:
            with _redirected(file.fileno()):
                yield captured
        finally:
            file.seek(0)
            printed = file.read()
            captured += messages.findall(printed)
            other_output = messages.sub(b"", printed)
            if other_output:  # of another thread
                with suppress(OSError):
                    os.write(2, other_output)


@contextmanager
def _redirected(descriptor):
    with _lock:
        try:
            original = os.dup(2)
        except OSError:  # closed, as by 2>&-
            yield
            return
        try:
            os.dup2(descriptor, 2)
            yield
        finally:
            os.dup2(original, 2)
            os.close(original)
