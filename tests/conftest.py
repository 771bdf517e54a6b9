"""For all tests."""

import os
import signal

# Each process of `-n auto` has a core: threads of several would wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest

from data_prep import depth_pair

# A shell ignores SIGINT for what runs in its background, children too: Ctrl-C could not be tested.
signal.signal(signal.SIGINT, signal.default_int_handler)


hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one is no failure
hypothesis.settings.load_profile("any machine")

FAST = "not slow and not bvlc"  # what pyproject.toml asks for


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """`-n auto`: a process for each core for all fast tests, this process alone for any other choice.

    Files that are named take less time than processes that start. Slow tests and those of a GPU want the
    machine for themselves. `make test-bvlc` asks for two processes.
    """
    if config.option.markexpr != FAST or config.option.file_or_dir or "TEST_GPU" in os.environ:
        return 0
    return min(os.cpu_count(), 8)


def pictures():
    """A, B, F by whole-number arithmetic: texture sharp on one side each, a black and a saturated patch."""
    i, j = np.indices((96, 80))
    sharp = ((i * j) // 8 + 37 * (i // 16) + (j * j) // 11) % 256
    soft = sharp
    for _ in range(3):
        soft = (soft + np.roll(soft, 1, 0) + np.roll(soft, 1, 1) + np.roll(soft, (1, 1), (0, 1))) // 4
    a, b = np.where(j < 40, sharp, soft), np.where(j < 40, soft, sharp)
    for image in (a, b):
        image[:24, :32] = 0
        image[60:80, 50:70] = 200
    return [image.astype(np.uint8) for image in (a, b, (a + 2 * b) // 3)]


@pytest.fixture
def triple():
    return pictures()


@pytest.fixture(scope="session")
def rendered_pair():
    """depth_pair.render_depth_pair(), which takes seconds, once for all tests: read-only."""
    images = depth_pair.render_depth_pair()
    for image in images:
        image.flags.writeable = False
    return images
