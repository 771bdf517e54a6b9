"""Exported nets in ONNX Runtime give the numbers of BVLC Caffe, at three sizes where they are free."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs onnx: pip install './caffe_torch[onnx]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime")

from tests.bvlc import export_table, run_exported
from tests.caffe_torch import exported_nets

pytestmark = pytest.mark.bvlc


@pytest.fixture(scope="module")
def places(both, tmp_path_factory):
    places = export_table.prepare(tmp_path_factory.mktemp("nets"))
    export_table.run(both["bvlc"] / "python", "caffe", places.values())
    return places


@pytest.mark.parametrize("name", [*exported_nets.RELEASED, *exported_nets.SMALL])
def test_onnx_runtime_agrees(places, name):
    expected = list(np.load(places[name] / "caffe.npz").values())
    # A score of cnn sums 32 768 products of either sign: rounding is 1e-6 of their magnitudes, 1200 together.
    bound = 2e-4 if name == "cnn" else 1e-5
    for ours, theirs in zip(run_exported.run_onnxruntime(places[name]), expected, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < bound * max(1, np.abs(theirs).max())
