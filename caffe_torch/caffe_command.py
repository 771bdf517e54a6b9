"""The entry points of the commands, outside the package, whose import loads PyTorch for seconds."""

import importlib
import os
import signal
import sys


def main() -> int:
    """Run `caffe`. SIGINT ends it silently with status 130, during the imports too.

    Returns:
        The exit status.
    """
    return _run("caffe.main", "main")


def convert_imageset() -> int:
    """Run `convert_imageset`, like `main`.

    Returns:
        The exit status.
    """
    return _run("caffe.image_tools", "convert_main")


def compute_image_mean() -> int:
    """Run `compute_image_mean`, like `main`.

    Returns:
        The exit status.
    """
    return _run("caffe.image_tools", "mean_main")


def _run(module, function):
    previous_handler = signal.getsignal(signal.SIGINT)
    # A shell ignores SIGINT for its background processes; that is kept.
    if previous_handler is signal.default_int_handler:
        # Exit at once: PyTorch's import could swallow an exception.
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    command = getattr(importlib.import_module(module), function)

    signal.signal(signal.SIGINT, previous_handler)
    return command()


if __name__ == "__main__":
    sys.exit(main())
