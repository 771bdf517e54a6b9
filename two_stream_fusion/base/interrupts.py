"""Delay Ctrl-C where it would do harm."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import Iterator


@contextlib.contextmanager
def delay_interrupt() -> Iterator[None]:
    """Hold SIGINT back until the block is over.

    Python raises KeyboardInterrupt anywhere in the main thread: while a pool takes a job, which leaves its
    lock taken and its workers waiting for good, or where h5py frees an object, which loses the interrupt.
    Processes that begin in the block never hear of SIGINT: their parent ends them.
    """
    if threading.current_thread() is not threading.main_thread():  # nothing is raised there
        yield
        return
    received = []
    previous = signal.signal(signal.SIGINT, lambda *_: received.append(True))
    has_masks = hasattr(signal, "pthread_sigmask")  # not on Windows
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if has_masks else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, previous)
    if received:
        signal.raise_signal(signal.SIGINT)
