"""The stopwatch of Caffe's benchmarks."""

import time

import caffe


def test_a_timer(capfd):
    timer = caffe.Timer()
    assert timer.ms == 0 and "Timer has never been run" in capfd.readouterr().err
    timer.start()
    time.sleep(0.02)
    timer.start()  # no effect: it runs already
    assert timer.ms >= 20
    assert timer.ms == timer.ms  # `ms` stopped it
