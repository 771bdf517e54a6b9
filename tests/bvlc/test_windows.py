"""Classifier and Detector of both Caffes, on photographs and windows drawn anew."""

import numpy as np
import pytest

from tests.bvlc.conftest import ROOT, run

pytestmark = pytest.mark.bvlc


def test_classifier_and_detector_find_the_same(both, tmp_path):
    seed = int(np.random.default_rng().integers(2**31))
    for name, folder in both.items():
        run([folder / "python", ROOT / "tests/golden/windows.py", tmp_path / f"{name}.npz", seed])
    theirs, ours = (np.load(tmp_path / f"{name}.npz") for name in ("bvlc", "torch"))
    assert ours.files == theirs.files
    for what in theirs:
        if theirs[what].dtype.kind == "f":
            message = f"{what}, seed {seed}"
            np.testing.assert_allclose(ours[what], theirs[what], rtol=1e-5, atol=1e-5, err_msg=message)
        else:
            assert ours[what].tolist() == theirs[what].tolist(), seed
