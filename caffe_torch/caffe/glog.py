"""Log lines in glog's form on stderr and in files, as Caffe writes them, and a progress bar on a terminal."""

import contextlib
import datetime
import getpass
import os
import socket
import sys
import threading

from tqdm import tqdm

# The command's flags that are glog's. name: (default, what it is); GLOG_name in the environment counts too
FLAGS = {
    "logtostderr": (False, "no log files"),
    "alsologtostderr": (True, "the log on stderr too where it goes to files"),
    "stderrthreshold": (
        2,
        "the level from which lines go to stderr all the same: 0 INFO, 1 WARNING, 2 ERROR",
    ),
    "log_dir": ("", "the folder of log files, caffe.INFO and others; without it there are none"),
    "minloglevel": (0, "leave out lines below this level"),
    "v": (0, "no effect: Caffe has no lines for it"),
}
_LEVELS = {"I": "INFO", "W": "WARNING", "E": "ERROR", "F": "FATAL"}

quiet = False  # whether INFO lines are left out: for all processes of a training but one
nets = False  # whether nets log how they are built: the command's do, and all after `init_log`
_least = 0  # the level that `init_log` asked for
_said: set = set()  # what `once` was told
_bar = None
_flags: dict = {}  # what the command was given of FLAGS
_files: dict = {}  # level -> the file of its lines and those of the levels above
_incomplete: set = set()  # the levels whose file lacks lines


@contextlib.contextmanager
def of_command(flags: dict):
    """Log as the command does, how nets are built too, and where its flags say."""
    global nets, _flags
    nets, _flags = True, {name: flags[name] for name in FLAGS}
    try:
        yield
    finally:
        nets, _flags = False, {}
        for file in _files.values():
            with contextlib.suppress(OSError):  # of lines that could not be written, which was said
                file.close()
        _files.clear()
        _incomplete.clear()
        _said.clear()


def shows(level: str) -> bool:
    """Whether lines of a level ("I", "W" or "E") are written."""
    given = os.environ.get("GLOG_minloglevel", "")  # noqa: SIM112 (glog's name)
    least = _flags.get("minloglevel", int(given) if given.isdigit() else 0)
    return max(_least, least) <= "IWE".index(level) and not (quiet and level == "I")


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
    """Print on stderr; on a full disk the line is lost, as with glog, and nothing ends."""
    try:
        print(line, file=sys.stderr, flush=True, end="")
    except BrokenPipeError:  # nobody reads any more
        raise
    except OSError:
        pass


def _line(level, message, depth):
    """A line in glog's form, as from the function that is `depth` calls up."""
    caller = sys._getframe(depth)
    place = f"{os.path.basename(caller.f_code.co_filename)}:{caller.f_lineno}"
    now = datetime.datetime.now()
    line = f"{level}{now:%m%d %H:%M:%S.%f} {threading.get_native_id():5d} {place}] {message}"
    return line.removesuffix("\n") + "\n"


def _to_files(level, line):
    """Write a line to the file of its level and of those below, where there are to be files.

    A file that cannot be written is named once, on stderr; as with glog it ends nothing.
    """
    if not _flags or not _flags["log_dir"] or _flags["logtostderr"]:
        return
    for below in "IWEF"[: "IWEF".index(level) + 1]:
        try:
            if below not in _files:
                _files[below] = _opened(_LEVELS[below])
            _files[below].write(line)
            _files[below].flush()
        except OSError as error:
            path = _files[below].name if below in _files else error.filename
            if below not in _incomplete:
                _show(f"caffe: {path}: {error.strerror}; the log goes on, with lines missing there\n")
            _incomplete.add(below)


def _user():
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a number without a name, as in many a container
        return "invalid-user"  # glog's word


def _opened(level):
    """A new log file, under glog's name and with its head; caffe.LEVEL links to it, if it can."""
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
    """Log how nets are built too; leave out lines below a level: 0 INFO, 1 WARNING, 2 ERROR, 3 all of them.

    The log goes to stderr whatever `stderr` says.
    """
    global _least, nets
    _least, nets = level, True


def info(message: str) -> None:
    """A line of level INFO; left out when the environment has GLOG_minloglevel of 1 or more."""
    _write("I", message)


def once(message: str) -> None:
    """A line of level INFO, the first time only."""
    if message not in _said:
        _said.add(message)
        _write("I", message)


def warning(message: str) -> None:
    """A line of level WARNING."""
    _write("W", message)


def error(message: str) -> None:
    """A line of level ERROR."""
    _write("E", message)


def failed(message: str) -> None:
    """The line that the command ends with where it fails, in the files as one of level FATAL."""
    _to_files("F", _line("F", message, 2))
    _show(f"caffe: error: {message}\n")


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
