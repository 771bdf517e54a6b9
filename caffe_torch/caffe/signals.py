"""SIGINT and SIGHUP to a running solver."""

import signal

EFFECTS = ("stop", "snapshot", "none")


class Signals:
    """Context manager that queues SIGINT and SIGHUP. A call returns the next effect, or None.

    A second SIGINT before the first was handled interrupts at once.

    Args:
        sigint: the effect of SIGINT, one of EFFECTS.
        sighup: the effect of SIGHUP.
    """

    def __init__(self, sigint: str, sighup: str):
        self.effects = {signal.SIGINT: sigint, signal.SIGHUP: sighup}
        self._pending: list = []

    def __enter__(self):
        self._before = {number: signal.signal(number, self._queue) for number in self.effects}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _queue(self, number, frame):
        if number == signal.SIGINT and number in self._pending:
            raise KeyboardInterrupt
        self._pending.append(number)

    def __call__(self):
        effect = self.effects[self._pending.pop(0)] if self._pending else "none"
        return None if effect == "none" else effect
