"""Small nets run fastest on one thread, and always give the same numbers there."""

import os

import caffe
import pytest
import torch
from caffe import glog

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the commands that tests start
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def the_log_as_a_process_begins(monkeypatch):
    """What one test asks of the log is not asked of the next."""
    monkeypatch.delenv("GLOG_minloglevel", raising=False)  # commands of this project set it
    monkeypatch.setattr(glog, "nets", False)
    monkeypatch.setattr(glog, "_min_level", 0)
    monkeypatch.setattr(glog, "_logged_once", set())


@pytest.fixture(autouse=True)
def the_device():
    """With TEST_GPU=N in the environment (`make test-gpu`) the tests compute on that GPU."""
    if "TEST_GPU" not in os.environ:
        yield
        return
    caffe.set_device(int(os.environ["TEST_GPU"]))
    caffe.set_mode_gpu()
    torch.backends.cudnn.deterministic = True  # else a resumed run differs by rounding
    yield
    caffe.set_mode_cpu()
