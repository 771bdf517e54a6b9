"""How a command begins and ends: its parser, its exit status, and errors in one line.

A command imports this module before all others (ruff sorts it there), so that Ctrl-C during its imports,
which take seconds, ends it as it does later. Its workers end with it during theirs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

PARENT = "TWO_STREAM_FUSION_PARENT"  # the variable that tells a worker the number of its parent
COMMAND_FOLDERS = ("tools", "eval", "experiments", "data_prep", "docs")


def _end_at_interrupt(*_) -> None:
    os._exit(130)  # at once: an exception could be swallowed where PyTorch starts


def _is_command():
    """Whether this process runs a command of this checkout: no test, and nothing of its .venv."""
    program = getattr(sys.modules["__main__"], "__file__", None)
    if program is None:
        return False
    root = os.path.realpath(os.path.join(os.path.dirname(__file__), os.pardir, os.pardir))
    return os.path.relpath(os.path.realpath(program), root).split(os.sep)[0] in COMMAND_FOLDERS


def _is_starting_worker():
    """Whether this is a process of multiprocessing that imports its parent's program, before its work."""
    process = sys.modules.get("multiprocessing.process")
    is_worker = process is not None and process.current_process().name != "MainProcess"
    return is_worker and process.parent_process() is None


def _end_if_orphaned(parent):
    """End this process if its parent has ended, until `base.parallel` watches instead.

    multiprocessing knows no parent so early, so this asks again and again.
    """
    while _is_starting_worker():
        if os.getppid() != parent:
            os._exit(1)
        time.sleep(0.05)


if os.name == "posix" and PARENT in os.environ and _is_starting_worker():
    threading.Thread(target=_end_if_orphaned, args=(int(os.environ[PARENT]),), daemon=True).start()

# Where a shell runs it in the background, SIGINT is ignored and stays so.
if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    and _is_command()
):
    signal.signal(signal.SIGINT, _end_at_interrupt)

# What takes time to import comes after the handler.
import argparse  # noqa: E402
import contextlib  # noqa: E402
import io  # noqa: E402
import logging  # noqa: E402
import unicodedata  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, Callable  # noqa: E402

from two_stream_fusion.base.interrupts import exit_when_terminated  # noqa: E402
from two_stream_fusion.base.memory import NotEnoughMemory  # noqa: E402


def end_imports() -> None:
    """Let Ctrl-C raise KeyboardInterrupt from now on: `run` calls it, or a command without `run`."""
    if signal.getsignal(signal.SIGINT) is _end_at_interrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def parser(doc: str, examples: str = "") -> argparse.ArgumentParser:
    """An argument parser in this project's form.

    Args:
        doc: the module's docstring, shown above the options as it is.
        examples: command lines, one a line, shown below the options as they are.

    Returns:
        The parser, without options.
    """
    return argparse.ArgumentParser(
        description=doc, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_output(parser: argparse.ArgumentParser, help: str, **options: Any) -> None:
    """Add the option that names the file to write: -o, --out or --output.

    Args:
        parser: of the command; its arguments get the attribute `output`.
        help: what the file is.
        **options: others of add_argument, such as metavar.
    """
    parser.add_argument("-o", "--out", "--output", dest="output", help=help, **options)


def run(main: Callable[[], int | None]) -> None:
    """Run a command and end the process.

    The exit status is what `main` returns, 1 with a one-line message after an error of the user or of the
    machine, 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP. Any other exception is a fault of ours
    and keeps its traceback.

    Args:
        main: the command; it reads sys.argv.

    Raises:
        SystemExit: always, but for faults of ours.
    """
    end_imports()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be any bytes; as stderr has it
    try:
        with exit_when_terminated():
            status = main()
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk is an error too
        sys.exit(status)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # who read standard output has ended, as `head` does
        sys.exit(1)
    except Exception as error:
        message = user_message(error)
        if message is None:
            raise
    finally:
        _drop_output()
    # Outside of the handler: a thread that still decodes for what the error held keeps stderr until then.
    sys.exit(f"{Path(sys.argv[0]).name}: error: {message}")


def _drop_output():
    """Drop what standard output, full or closed, does not take: Python would complain at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable(text: str) -> str:
    """A text as one line that does nothing to a terminal, for names of files may hold any characters.

    Args:
        text: any text.

    Returns:
        The text, with control characters, ends of lines and what is no Unicode escaped: \\n, \\x1b, \\udcff.
    """
    hidden = ("Cc", "Cs", "Zl", "Zp")
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in hidden else c for c in text)


class LineFormatter(logging.Formatter):
    """A formatter whose lines are `printable`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return printable(super().format(record))


def user_message(error: BaseException) -> str | None:
    """One line for an error that the user or the machine caused.

    Args:
        error: any exception.

    Returns:
        The line, `printable` and without the name of the program; None for a fault of ours.
    """
    if isinstance(error, NotEnoughMemory):
        return printable(str(error))
    if isinstance(error, MemoryError) or _is_torch_out_of_memory(error):
        return "not enough memory"
    if not isinstance(error, (ValueError, OSError, ImportError)):
        return None
    path = getattr(error, "filename", None)
    reason = getattr(error, "strerror", None)
    return printable(f"{path}: {reason}" if path and reason else str(error))


def _is_torch_out_of_memory(error):
    """Whether PyTorch ran out of memory: an error of its own on a GPU, a RuntimeError on a CPU.

    caffe_torch can tell too, but is not there under BVLC Caffe.
    """
    on_gpu = type(error).__name__ == "OutOfMemoryError"
    return isinstance(error, RuntimeError) and (on_gpu or "can't allocate memory" in str(error))
