"""What SIGINT and SIGHUP ask of a running solver."""

import signal

EFFECTS = ("stop", "snapshot", "none")


class Signals:
    """While entered, SIGINT and SIGHUP are noted; called, it gives the next effect asked for, or None.

    sigint, sighup: what each asks for, of EFFECTS. A second SIGINT before the first was answered
    interrupts at once.
    """

    def __init__(self, sigint: str, sighup: str):
        self.effects = {signal.SIGINT: sigint, signal.SIGHUP: sighup}
        self._noted: list = []

    def __enter__(self):
        self._before = {number: signal.signal(number, self._note) for number in self.effects}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        if number == signal.SIGINT and number in self._noted:
            raise KeyboardInterrupt
        self._noted.append(number)

    def __call__(self):
        effect = self.effects[self._noted.pop(0)] if self._noted else "none"
        return None if effect == "none" else effect
