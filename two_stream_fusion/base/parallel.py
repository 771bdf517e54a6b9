"""Work in several processes that Ctrl-C ends cleanly."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from typing import Iterator

from two_stream_fusion.base import files


@contextlib.contextmanager
def process_pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of new processes that end where the block ends by an error or Ctrl-C.

    Half-finished work is not waited for, and its partial files are removed.

    Args:
        count: number of processes, 1 or more.
    """
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), _on_terminate, (files.remove_partial_files,)
    )
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown()


def _on_terminate(handler):
    signal.signal(signal.SIGTERM, handler)  # in a function of ours, which Python 3.8 can send to a process
