"""Work in several processes that Ctrl-C ends cleanly."""

from __future__ import annotations

from two_stream_fusion.base.cli import PARENT

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from typing import Iterator, Mapping

from two_stream_fusion.base import files

KILLED = "a process was killed, as where memory ends"  # what users are told of a BrokenProcessPool


@contextlib.contextmanager
def process_pool(count: int, environment: Mapping[str, str] | None = None) -> Iterator[ProcessPoolExecutor]:
    """A pool of new processes that end where the block ends by an error or Ctrl-C, or with this process.

    Half-finished work is not waited for, and its partial files are removed. However this process ends, by
    SIGKILL too, they end with it: else they would work on, and hold its standard output open.

    Args:
        count: number of processes, 1 or more.
        environment: variables that the processes get besides those of this one, which has its own again
            after the block.

    Yields:
        The pool.
    """
    _start_quiet_tracker()
    environment = {**(environment or {}), PARENT: str(os.getpid())}
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)  # processes begin as work comes, and inherit it then
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), _end_with_parent, (files.remove_partial_files,)
    )
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        raise
    finally:
        pool.shutdown()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _start_quiet_tracker():
    """Start multiprocessing's tracker, which frees the semaphores of this process wherever that is killed.

    It would warn of them then, on a standard error that belongs to the user's shell again. Another process
    tells it what to ignore as Python does, by the options of its command.
    """
    if os.name != "posix":  # Windows frees semaphores itself
        return
    from multiprocessing import resource_tracker

    sys.warnoptions.append("ignore:resource_tracker")
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.pop()


def _end_with_parent(end):
    """Call `end` at SIGTERM, and when the parent has ended. A function of ours: Python 3.8 can send it."""
    multiprocessing.set_start_method("spawn", force=True)  # as it was; rawpy warns where it finds "fork"
    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=_wait_for_parent, args=(end,), daemon=True).start()


def _wait_for_parent(end):
    multiprocessing.parent_process().join()  # by a pipe that only the parent holds: no polling, on any system
    end()
