"""How programs of this project end: after a mistake, after Ctrl-C; and where Ctrl-C has to wait a moment."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from pathlib import Path


def command(main):
    """Exit with what a program's main returns; with a line and 1 after a user's mistake, 130 after Ctrl-C."""
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


@contextlib.contextmanager
def uninterrupted():
    """SIGINT waits until the block is over.

    Python raises KeyboardInterrupt anywhere in the main thread: while a pool takes a job, which leaves its
    lock taken and its workers waiting for good, or where h5py frees an object, which loses the interrupt.
    Processes that begin in the block never hear of SIGINT: who began them ends them.
    """
    if threading.current_thread() is not threading.main_thread():  # nothing is raised there
        yield
        return
    came = []
    before = signal.signal(signal.SIGINT, lambda *_: came.append(True))
    masks = hasattr(signal, "pthread_sigmask")  # not on Windows
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if masks else None
    try:
        yield
    finally:
        if masks:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)
