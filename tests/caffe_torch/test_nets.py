"""Every net of prototxt/ gives the numbers that BVLC Caffe 1.0 gave (tests/golden/nets.py made them)."""

import json
from pathlib import Path

import numpy as np
import pytest
from caffe import device

from tests.caffe_torch import fake_cuda_graph
from tests.golden import nets

GOLDEN = json.loads((Path(nets.__file__).with_suffix(".json")).read_text())


def test_every_net_has_golden_numbers():
    assert nets.names() == sorted(GOLDEN)


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("name", nets.names())
def test_forward_and_ten_iterations(name, recorded, monkeypatch):
    if recorded and device.device().type == "cpu":  # on a GPU iterations are
        fake_cuda_graph.capture_on_cpu(monkeypatch)
    ours = nets.run([name])[name]
    np.testing.assert_allclose(ours["forward"], GOLDEN[name]["forward"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours["losses"][0], GOLDEN[name]["losses"][0], rtol=1e-6)
    np.testing.assert_allclose(ours["losses"], GOLDEN[name]["losses"], rtol=5e-6)
