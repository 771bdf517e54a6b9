"""Every layer gives the numbers that BVLC Caffe 1.0 gave; tests/golden/layers.py made them."""

from pathlib import Path

import numpy as np
import pytest

from tests.golden import layers as golden

GOLDEN = {}
for _key, _array in np.load(Path(golden.__file__).with_suffix(".npz")).items():
    GOLDEN.setdefault(_key.split("/")[0], {})[_key.split("/")[1]] = _array


def test_every_case_has_golden_numbers():
    assert set(golden.CASES) == set(GOLDEN)


@pytest.mark.parametrize("case", golden.CASES)
def test_forward_and_backward(case):
    ours = golden.run(golden.CASES[case])
    assert set(ours) == set(GOLDEN[case])
    for what, array in ours.items():
        assert array.shape == GOLDEN[case][what].shape, what
        np.testing.assert_allclose(array, GOLDEN[case][what], rtol=1e-5, atol=2e-6, err_msg=what)
