"""Layers that read images give BVLC Caffe's batches, from databases that each makes with its own tools."""

import numpy as np
import pytest

from tests.bvlc.conftest import run
from tests.golden import images as golden

pytestmark = pytest.mark.bvlc


def test_batches_of_images(both, tmp_path):
    pytest.importorskip("lmdb", reason="pip install lmdb")
    for name, folder in both.items():
        run([folder / "python", golden.__file__, tmp_path / f"{name}.npz"])
    theirs, ours = (dict(np.load(tmp_path / f"{name}.npz")) for name in ("bvlc", "torch"))
    assert list(ours) == list(theirs)
    for what, expected in theirs.items():
        np.testing.assert_allclose(ours[what], expected, rtol=1e-6, atol=1e-5, err_msg=what)
