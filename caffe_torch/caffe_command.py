"""What the `caffe` command starts with; outside the package, whose import loads PyTorch, for seconds."""

import os
import signal
import sys


def main() -> int:
    """Run the command line; the exit status. SIGINT ends with 130 and no word, from the first moment on."""
    before = signal.getsignal(signal.SIGINT)
    # Where a shell runs it in the background, SIGINT is ignored and stays so.
    if before is signal.default_int_handler:
        # At once: an exception could be swallowed where PyTorch starts.
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from caffe.main import main as command

    signal.signal(signal.SIGINT, before)
    return command()


if __name__ == "__main__":
    sys.exit(main())
