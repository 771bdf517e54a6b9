"""For all tests."""

import signal

# A shell ignores SIGINT for what runs in its background, children too: Ctrl-C could not be tested.
signal.signal(signal.SIGINT, signal.default_int_handler)
