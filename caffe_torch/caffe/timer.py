"""A stopwatch, as Caffe's benchmarks use it."""

import time

import torch

from . import device, glog


class Timer:
    """Milliseconds between `start` and `stop`; what a GPU was asked to do in between is waited for."""

    def __init__(self):
        self._begun = None  # the clock at `start`, while it runs
        self._ms = None

    def start(self) -> None:
        """Begin to measure; nothing where it runs already."""
        if self._begun is None:
            self._begun = _now()

    def stop(self) -> None:
        """End the measurement; nothing where it does not run."""
        if self._begun is not None:
            self._ms, self._begun = 1e3 * (_now() - self._begun), None

    @property
    def ms(self) -> float:
        """The milliseconds measured; stops a running timer. 0 and a warning where it never ran."""
        self.stop()
        if self._ms is None:
            glog.warning("Timer has never been run before reading time.")
            return 0.0
        return self._ms


def _now():
    if device.device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
