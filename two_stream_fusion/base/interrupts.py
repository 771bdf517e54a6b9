"""Signals that end a command: raised as exceptions, and delayed where they would do harm."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import Iterator

# Sent by `kill`, by a system that shuts down, and by a terminal that closes. Windows has no SIGHUP.
TERMINATING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def exit_when_terminated() -> Iterator[None]:
    """Raise SystemExit where one of TERMINATING comes, with the exit status 128 + its number.

    By default they end Python at once, without any `finally`. Those that are ignored, as by nohup, or have a
    handler stay so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    changed = [number for number in TERMINATING if signal.getsignal(number) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, _exit)
    try:
        yield
    finally:
        for number in changed:
            if signal.getsignal(number) is _exit:
                signal.signal(number, signal.SIG_DFL)


def _exit(number, _):
    sys.exit(128 + number)


@contextlib.contextmanager
def delay_interrupt() -> Iterator[None]:
    """Hold SIGINT and TERMINATING back until the block is over.

    Python raises KeyboardInterrupt, or what `exit_when_terminated` raises, anywhere in the main thread: while
    a pool takes a job, which leaves its lock taken and its workers waiting for good, or where h5py frees an
    object, which loses the interrupt. Processes that begin in the block never hear of SIGINT: their parent
    ends them.
    """
    if threading.current_thread() is not threading.main_thread():  # nothing is raised there
        yield
        return
    received = []
    delayed = [number for number in (signal.SIGINT, *TERMINATING) if signal.getsignal(number) is not None]
    previous = [signal.signal(number, lambda number, _: received.append(number)) for number in delayed]
    has_masks = hasattr(signal, "pthread_sigmask")  # not on Windows
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if has_masks else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in zip(delayed, previous):
            signal.signal(number, handler)
    for number in dict.fromkeys(received):  # the first may be one that is ignored
        signal.raise_signal(number)
