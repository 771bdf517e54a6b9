"""Every net of prototxt/ gives the numbers that BVLC Caffe 1.0 gave (tests/golden/nets.py made them).

Across all source files: whole nets, forward and in training, done one by one and captured as CUDA graphs.
Slow are the nets that differ in size alone from one that is fast: those of more filters, larger kernels or
more layers train as 2-1-2_f32_k3 and 2-1-2_f64_k5 do. What is in cnn alone, maximum pooling, Concat and
SoftmaxWithLoss, test_cuda_graph.py captures in a small net.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from caffe import device

from tests.caffe_torch import fake_cuda_graph
from tests.golden import nets

GOLDEN = json.loads((Path(nets.__file__).with_suffix(".json")).read_text())
SLOW = ("2-1-2_f128_k5", "2-1-2_f64_k9")
SLOW_CAPTURED = (*SLOW, "2-1-2_f32_k5", "2-1-2_f64_k3", "2-1-2_f64_k5", "3-1-3_f64_k5", "cnn")


def names_with_marks(slow):
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in slow)) for name in nets.names()]


def assert_golden_losses(name):
    losses = nets.losses(name)
    np.testing.assert_allclose(losses[0], GOLDEN[name]["losses"][0], rtol=1e-6)
    np.testing.assert_allclose(losses, GOLDEN[name]["losses"], rtol=5e-6)


def test_every_net_has_golden_numbers():
    assert nets.names() == sorted(GOLDEN)


@pytest.mark.parametrize("name", nets.names())
def test_forward(name):
    np.testing.assert_allclose(nets.forward(name), GOLDEN[name]["forward"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", names_with_marks(SLOW))
def test_ten_iterations(name, tmp_folder):
    assert_golden_losses(name)


@pytest.mark.parametrize("name", names_with_marks(SLOW_CAPTURED))
def test_ten_captured_iterations(name, tmp_folder, monkeypatch):
    if device.device().type == "cpu":  # on a GPU all iterations are captured
        fake_cuda_graph.capture_on_cpu(monkeypatch)
    assert_golden_losses(name)
