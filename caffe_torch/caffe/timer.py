"""caffe.Timer, the stopwatch of Caffe's benchmarks."""

import time

import torch

from . import device, glog


class Timer:
    """Measures the milliseconds between `start` and `stop`, including the work of a GPU."""

    def __init__(self):
        self._start_time = None  # seconds, while it runs
        self._ms = None

    def start(self) -> None:
        """Start the timer; no effect while it runs."""
        if self._start_time is None:
            self._start_time = _now()

    def stop(self) -> None:
        """Stop the timer; no effect unless it runs."""
        if self._start_time is not None:
            self._ms, self._start_time = 1e3 * (_now() - self._start_time), None

    @property
    def ms(self) -> float:
        """The measured milliseconds. A running timer is stopped; one that never ran gives 0 and a warning."""
        self.stop()
        if self._ms is None:
            glog.warning("Timer has never been run before reading time.")
            return 0.0
        return self._ms


def _now():
    if device.device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
