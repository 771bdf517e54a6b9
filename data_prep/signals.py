"""Where Ctrl-C has to wait a moment."""

from __future__ import annotations

import contextlib
import signal
import threading


@contextlib.contextmanager
def uninterrupted():
    """SIGINT waits until the block is over.

    Python raises KeyboardInterrupt anywhere in the main thread: while a pool takes a job, which leaves its
    lock taken and its workers waiting for good, or where h5py frees an object, which loses the interrupt.
    """
    if threading.current_thread() is not threading.main_thread():  # nothing is raised there
        yield
        return
    came = []
    before = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)
