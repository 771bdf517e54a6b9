"""What the commands share: flags in gflags' form, and errors in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable

from . import atomic_files, device, glog, parallel, python_layer

_TRUE, _FALSE = ("1", "t", "true", "y", "yes"), ("0", "f", "false", "n", "no")


def parse(arguments: list, defaults: dict) -> tuple:
    """Parse a command line: -flag value, -flag=value, and the same with two dashes; -flag and -noflag.

    Args:
        arguments: the words after the command.
        defaults: {flag: default}. Values have the type of the default.

    Returns:
        The words that are not flags, or None for the usage text (-help or -h); and {flag: value}.

    Raises:
        ValueError: a flag is unknown, or its value is missing or of another type.
    """
    flags, words, remaining = dict(defaults), [], list(arguments)
    while remaining:
        word = remaining.pop(0)
        if not word.startswith("-"):
            words.append(word)
            continue
        name, equals, text = word.removeprefix("-").removeprefix("-").partition("=")
        if name in ("help", "h"):
            return None, flags
        boolean = name.removeprefix("no")
        if isinstance(flags.get(boolean), bool) and not (equals and name.startswith("no")):
            flags[boolean] = value(text, True, f"-{boolean}") if equals else name == boolean
            continue
        if name not in flags:
            raise ValueError(f"unknown flag {word!r}: -help lists them")
        if not equals:
            if not remaining:
                raise ValueError(f"flag {word!r} needs a value")
            text = remaining.pop(0)
        flags[name] = value(text, flags[name], f"-{name}")
    return words, flags


def value(text: str, default: str | int | bool, source: str) -> str | int | bool:
    """Convert the text of a flag to the type of its default.

    Args:
        text: the text.
        default: a value of the type.
        source: the flag or environment variable, for errors.

    Raises:
        ValueError: the text is of another type.
    """
    if isinstance(default, bool):
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError(f"{source} needs true or false, not {text!r}")
        return text.lower() in _TRUE
    try:
        return type(default)(text)
    except ValueError:
        raise ValueError(f"{source} needs a whole number, not {text!r}") from None


# Errors of the input or the machine, shown in one line. Any other is a fault of this package.
_USER_ERRORS = ValueError, OSError, FloatingPointError, parallel.ProcessLost


def run(command: Callable, *arguments: object) -> int:
    """Run a command. An error of the user's becomes a line on stderr; Ctrl-C ends the command silently.

    Args:
        command: returns the exit status, or None for 0.
        arguments: its arguments.

    Returns:
        The exit status.

    Raises:
        Exception: a fault of this package.
    """
    try:
        return command(*arguments) or 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        layer_failure = python_layer.failure(error)
        if not (layer_failure or isinstance(error, _USER_ERRORS) or device.out_of_memory(error)):
            raise
        if layer_failure:
            print(python_layer.user_traceback(error), file=sys.stderr, end="")
        process = f"process {parallel.rank} of {parallel.count}: " if parallel.count > 1 else ""
        glog.failed(f"{process}{layer_failure or _message(error)}")
        return 1
    finally:
        glog.drop_unwritten()


def _message(error):
    if isinstance(error, OSError) and error.filename is not None:
        hint = atomic_files.missing_path_hint(error.filename) if isinstance(error, FileNotFoundError) else ""
        return f"{error.filename}: {error.strerror}{hint}"
    if device.out_of_memory(error):
        reason = str(error).partition("\n")[0]
        return f"out of memory: a smaller batch_size needs less{reason and f' ({reason})'}"
    return error
