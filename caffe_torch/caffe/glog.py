"""The log, in glog's form, on stderr and in files as Caffe writes it; and a progress bar on a terminal."""

import contextlib
import datetime
import getpass
import os
import socket
import sys
import threading
from collections.abc import Iterator

from tqdm import tqdm

# glog's flags among the command's. name: (default, description). GLOG_name in the environment sets them too.
FLAGS = {
    "logtostderr": (False, "no log files"),
    "alsologtostderr": (True, "the log on stderr as well as in files"),
    "stderrthreshold": (2, "the lowest level always shown on stderr: 0 INFO, 1 WARNING, 2 ERROR"),
    "log_dir": ("", "the folder of log files, caffe.INFO and others; without it there are none"),
    "minloglevel": (0, "leave out lines below this level"),
    "v": (0, "no effect: Caffe has no verbose lines"),
}
_LEVELS = {"I": "INFO", "W": "WARNING", "E": "ERROR", "F": "FATAL"}

quiet = False  # whether INFO lines are left out: in all processes of a training but the root
nets = False  # whether nets log how they are built: in the command, and after `init_log`
_min_level = 0  # set by `init_log`
_logged_once: set = set()  # the messages of `once`
_bar = None
_flags: dict = {}  # the command's values of FLAGS
_files: dict = {}  # level -> the file of its lines and those of the levels above
_incomplete: set = set()  # the levels whose file lacks lines


@contextlib.contextmanager
def of_command(flags: dict) -> Iterator[None]:
    """Context manager: log as the command does, including how nets are built.

    Args:
        flags: values for FLAGS; others are ignored.
    """
    global nets, _flags
    nets, _flags = True, {name: flags[name] for name in FLAGS}
    try:
        yield
    finally:
        nets, _flags = False, {}
        for file in _files.values():
            with contextlib.suppress(OSError):  # of lines that could not be written, which was reported
                file.close()
        _files.clear()
        _incomplete.clear()
        _logged_once.clear()


def shows(level: str) -> bool:
    """Whether lines of a level ("I", "W" or "E") are written."""
    text = os.environ.get("GLOG_minloglevel", "")  # noqa: SIM112 (glog's name)
    min_level = _flags.get("minloglevel", int(text) if text.isdigit() else 0)
    return max(_min_level, min_level) <= "IWE".index(level) and not (quiet and level == "I")


def _write(level, message):
    if not shows(level):
        return
    line = _line(level, message, 3)
    _to_files(level, line)
    files_only = _flags and not (_flags["logtostderr"] or _flags["alsologtostderr"])
    if files_only and "IWE".index(level) < _flags["stderrthreshold"]:
        return
    if _bar is not None:
        _bar.clear()
    _show(line)
    if _bar is not None:
        _bar.refresh()


def _show(line):
    """Print on stderr. On a full disk the line is lost and the program continues, as with glog."""
    try:
        print(line, file=sys.stderr, flush=True, end="")
    except BrokenPipeError:  # the reader of the pipe has ended
        raise
    except OSError:
        pass


def drop_unwritten() -> None:
    """Drop what stderr, full or without a reader, does not take: Python would end with the status 120."""
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _line(level, message, depth):
    """A line in glog's form, with the place in the function that is `depth` calls up."""
    caller = sys._getframe(depth)
    source_line = f"{os.path.basename(caller.f_code.co_filename)}:{caller.f_lineno}"
    now = datetime.datetime.now()
    line = f"{level}{now:%m%d %H:%M:%S.%f} {threading.get_native_id():5d} {source_line}] {message}"
    return line.removesuffix("\n") + "\n"


def _to_files(level, line):
    """Write a line to the files of its level and of the levels below, if there are log files.

    A file that cannot be written is named once, on stderr. The program continues, as with glog.
    """
    if not _flags or not _flags["log_dir"] or _flags["logtostderr"]:
        return
    for below in "IWEF"[: "IWEF".index(level) + 1]:
        try:
            if below not in _files:
                _files[below] = _open_log_file(_LEVELS[below])
            _files[below].write(line)
            _files[below].flush()
        except OSError as error:
            path = _files[below].name if below in _files else error.filename
            if below not in _incomplete:
                _show(f"caffe: {path}: {error.strerror}; lines will be missing from this log file\n")
            _incomplete.add(below)


def _user():
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user number without a name, as in many containers
        return "invalid-user"  # glog's word


def _open_log_file(level):
    """A new log file with glog's name and head; caffe.LEVEL links to it where links are possible."""
    host, now = socket.gethostname(), datetime.datetime.now()
    name = f"caffe.{host}.{_user()}.log.{level}.{now:%Y%m%d-%H%M%S}.{os.getpid()}"
    file = open(  # noqa: SIM115 (of_command closes it)
        os.path.join(_flags["log_dir"], name), "a", encoding="utf-8", errors="backslashreplace"
    )
    link = os.path.join(_flags["log_dir"], f"caffe.{level}")
    with contextlib.suppress(OSError):
        if os.path.lexists(link):
            os.remove(link)
        os.symlink(name, link)
    file.write(f"Log file created at: {now:%Y/%m/%d %H:%M:%S}\nRunning on machine: {host}\n")
    file.write("Log line format: [IWEF]mmdd hh:mm:ss.uuuuuu threadid file:line] msg\n")
    return file


def init_log(level: int = 0, stderr: bool = True) -> None:
    """Set the lowest level that is logged, and log how nets are built.

    Args:
        level: 0 INFO, 1 WARNING, 2 ERROR, 3 none of them.
        stderr: no effect: the log always goes to stderr.
    """
    global _min_level, nets
    _min_level, nets = level, True


def info(message: str) -> None:
    """Log a line of level INFO."""
    _write("I", message)


def once(message: str) -> None:
    """Log a line of level INFO, the first time only."""
    if message not in _logged_once:
        _logged_once.add(message)
        _write("I", message)


def warning(message: str) -> None:
    """Log a line of level WARNING."""
    _write("W", message)


def error(message: str) -> None:
    """Log a line of level ERROR."""
    _write("E", message)


def failed(message: object) -> None:
    """Write the last line of a command that fails; in log files it has level FATAL."""
    _to_files("F", _line("F", message, 2))
    _show(f"caffe: error: {message}\n")


class progress:
    """Context manager: a progress bar below the log lines, on a terminal only.

    It gives a function that takes the number of steps done.

    Args:
        total: the number of steps.
        done: the steps done before.
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
        return self._update

    def _update(self, done):
        if _bar is not None:
            _bar.update(done - _bar.n)

    def __exit__(self, *_):
        global _bar
        _bar.close()
        _bar = None
