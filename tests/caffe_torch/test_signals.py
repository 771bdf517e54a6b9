"""What SIGINT and SIGHUP ask of a running solver."""

import signal

import pytest
from caffe.signals import Signals


def test_signals_are_noted_one_by_one_and_handlers_put_back():
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)
    with Signals("stop", "snapshot") as action:
        assert action() is None
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGINT)
        assert [action(), action(), action()] == ["snapshot", "stop", None]
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)) == handlers
    with Signals("none", "none") as action:
        signal.raise_signal(signal.SIGHUP)
        assert action() is None
