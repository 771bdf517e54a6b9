"""The commands convert_imageset and compute_image_mean."""

import pytest
from caffe import image_tools

from tests.caffe_torch.helpers import assert_golden_batches

pytest.importorskip("lmdb", reason="pip install lmdb")


@pytest.fixture
def folder(image_folder):
    return image_folder


def test_means_are_bvlc_caffes(image_batches):
    assert_golden_batches(*image_batches, "mean")


def test_a_mistake_is_one_line_and_status_1(folder, capfd):
    """And nothing is left of the database."""
    for arguments, message in (
        (["-colour", "./", "list.txt", "db"], "unknown flag '-colour'"),
        (["-backend=leveldb", "./", "list.txt", "db"], "-backend: only lmdb is supported"),
        (["-check_size", "./", "mixed.txt", "db"], "image './wide.png' has 3600 values, those before 360"),
    ):
        assert image_tools.convert_main(arguments) == 1
        assert capfd.readouterr().err.splitlines()[-1].startswith(f"caffe: error: {message}")
    assert not list(folder.glob("db*"))
