"""The entry point of the `caffe` command, outside the package, whose import loads PyTorch for seconds."""

import os
import signal
import sys


def main() -> int:
    """Run the command line. SIGINT ends it silently with status 130, during the imports too.

    Returns:
        The exit status.
    """
    previous_handler = signal.getsignal(signal.SIGINT)
    # A shell ignores SIGINT for its background processes; that is kept.
    if previous_handler is signal.default_int_handler:
        # Exit at once: PyTorch's import could swallow an exception.
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from caffe.main import main as command

    signal.signal(signal.SIGINT, previous_handler)
    return command()


if __name__ == "__main__":
    sys.exit(main())
