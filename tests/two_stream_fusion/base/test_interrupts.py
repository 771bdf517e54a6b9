import signal
import threading

import pytest

from two_stream_fusion.base.interrupts import delay_interrupt


def test_an_interrupt_comes_after_the_block():
    steps = []
    with pytest.raises(KeyboardInterrupt):
        with delay_interrupt():
            signal.raise_signal(signal.SIGINT)
            steps.append("block")
        steps.append("behind")
    assert steps == ["block"]


def test_handlers_stay_as_they_were():
    before = signal.getsignal(signal.SIGINT)
    with delay_interrupt():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_are_left_alone():
    handlers = []

    def work():
        with delay_interrupt():
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGINT)]
