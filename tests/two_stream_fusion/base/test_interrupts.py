import signal
import subprocess
import sys
import threading

import pytest

from two_stream_fusion.base.interrupts import delay_interrupt


def test_ctrl_c_waits_until_the_block_is_over():
    done = []
    with pytest.raises(KeyboardInterrupt):
        with delay_interrupt():
            signal.raise_signal(signal.SIGINT)
            done.append("the block")
        done.append("what follows")
    assert done == ["the block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_the_block_is_raised():
    with pytest.raises(ValueError, match="wrong"), delay_interrupt():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("wrong")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


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


def test_processes_that_begin_in_the_block_do_not_hear_of_it():
    with delay_interrupt():
        process = subprocess.Popen(
            [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('on')"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    assert process.communicate() == (b"on\n", b"")
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
