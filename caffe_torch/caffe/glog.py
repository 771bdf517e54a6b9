"""Log lines in glog's form on stderr, as Caffe writes them, and a progress bar on a terminal."""

import datetime
import os
import sys
import threading

from tqdm import tqdm

quiet = False  # whether INFO lines are left out: for all processes of a training but one
nets = False  # whether nets log how they are built: the command's do, and all after `init_log`
_least = 0  # the level that `init_log` asked for
_bar = None


def shows(level: str) -> bool:
    """Whether lines of a level ("I", "W" or "E") are written."""
    least = max(_least, int(os.environ.get("GLOG_minloglevel") or 0))  # noqa: SIM112 (glog's name)
    return least <= "IWE".index(level) and not (quiet and level == "I")


def _write(level, message):
    if not shows(level):
        return
    caller = sys._getframe(2)
    place = f"{os.path.basename(caller.f_code.co_filename)}:{caller.f_lineno}"
    now = datetime.datetime.now()
    line = f"{level}{now:%m%d %H:%M:%S.%f} {threading.get_native_id():5d} {place}] {message}"
    if _bar is not None:
        _bar.clear()
    print(line, file=sys.stderr, flush=True, end="" if line.endswith("\n") else "\n")
    if _bar is not None:
        _bar.refresh()


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Log how nets are built too; leave out lines below a level: 0 INFO, 1 WARNING, 2 ERROR, 3 all of them.

    The log goes to stderr whatever `stderr` says.
    """
    global _least, nets
    _least, nets = level, True


def info(message: str) -> None:
    """A line of level INFO; left out when the environment has GLOG_minloglevel of 1 or more."""
    _write("I", message)


def warning(message: str) -> None:
    """A line of level WARNING."""
    _write("W", message)


def error(message: str) -> None:
    """A line of level ERROR."""
    _write("E", message)


class progress:
    """Context manager: a bar with the time left below the log lines, on a terminal only.

    Gives a function that takes the number of steps done.
    """

    def __init__(self, total: int, done: int):
        self.total, self.done = total, done

    def __enter__(self):
        global _bar
        _bar = tqdm(
            total=self.total,
            initial=self.done,
            unit="iter",
            disable=quiet or None,
            leave=False,
            mininterval=0.5,
        )
        return self._to

    def _to(self, done):
        if _bar is not None:
            _bar.update(done - _bar.n)

    def __exit__(self, *_):
        global _bar
        _bar.close()
        _bar = None
