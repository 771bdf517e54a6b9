import signal
import subprocess
import sys
import threading

import pytest

from two_stream_fusion.base import cli, files
from two_stream_fusion.base.interrupts import TERMINATING, delay_interrupt, exit_when_terminated


@pytest.mark.parametrize("number", [signal.SIGINT, *TERMINATING])
@pytest.mark.parametrize("write", [files.atomic_write, files.atomic_folder])
def test_a_command_that_is_ended_leaves_no_partial_file(number, write, tmp_path):
    def main():
        with write(tmp_path / "out") as partial:
            (partial / "x" if partial.is_dir() else partial).write_text("half")
            signal.raise_signal(number)

    with pytest.raises(SystemExit) as ended:
        cli.run(main)
    assert ended.value.code == 128 + number
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", TERMINATING)
def test_signals_that_are_ignored_or_handled_stay_so(number):
    before = signal.getsignal(number)
    assert before is signal.SIG_DFL
    with exit_when_terminated():
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before
    try:
        signal.signal(number, signal.SIG_IGN)  # as nohup does
        with exit_when_terminated():
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", TERMINATING)
def test_termination_waits_until_the_block_is_over(number):
    done = []
    with pytest.raises(SystemExit), exit_when_terminated():
        with delay_interrupt():
            signal.raise_signal(number)
            done.append("the block")
        done.append("what follows")
    assert done == ["the block"]


def test_ctrl_c_waits_until_the_block_is_over():
    done = []
    with pytest.raises(KeyboardInterrupt):
        with delay_interrupt():
            signal.raise_signal(signal.SIGINT)
            done.append("the block")
        done.append("what follows")
    assert done == ["the block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(len(TERMINATING) < 2, reason="there is no SIGHUP here")
def test_a_signal_that_is_ignored_hides_no_other():
    """As under nohup, where a terminal closes and then the system shuts down."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(SystemExit) as stop, exit_when_terminated(), delay_interrupt():
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
        assert stop.value.code == 128 + signal.SIGTERM
    finally:
        signal.signal(signal.SIGHUP, before)


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
