"""How programs of this project end: after a mistake, after Ctrl-C; and where Ctrl-C has to wait a moment."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def command(main):
    """Exit with what a program's main returns; with a line and 1 after a user's mistake, 130 after Ctrl-C."""
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        said = told(error)
        if said is None:
            raise
    # Only here: a thread that still reads for what the error held keeps stderr away till then.
    sys.exit(f"{Path(sys.argv[0]).name}: error: {said}")


def told(error) -> str | None:
    """An error that is the user's, or the machine's, in one line; None for any other."""
    if isinstance(error, MemoryError) or _torch_without_memory(error):
        return "not enough memory"
    if not isinstance(error, (ValueError, OSError, ImportError)):
        return None
    path = getattr(error, "filename", None)
    return f"{path}: {error.strerror}" if path and getattr(error, "strerror", None) else str(error)


def _torch_without_memory(error):
    """Whether PyTorch says so: on a GPU by an error of its own, on a CPU by a RuntimeError.

    caffe_torch can tell too, but is not there under BVLC Caffe.
    """
    gpu = type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, RuntimeError) and (gpu or "can't allocate memory" in str(error))


@contextlib.contextmanager
def processes(count):
    """A ProcessPoolExecutor of so many new processes, which are ended where the block ends by an error or
    Ctrl-C: what is half done is not waited for, and removed."""
    from two_stream_fusion.io import images  # late: not all programs have what it imports

    ended = (images.leave_nothing_unfinished,)
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _when_ended, ended)
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown()


def _when_ended(handler):
    signal.signal(signal.SIGTERM, handler)  # in a function of ours, which Python 3.8 can send to a process


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
