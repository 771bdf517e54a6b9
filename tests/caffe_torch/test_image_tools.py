"""The commands convert_imageset and compute_image_mean."""

import pytest
from caffe import image_tools
from caffe.proto import caffe_pb2

from tests.caffe_torch.helpers import DAMAGED_RECORDS, assert_golden_batches, write_records

pytest.importorskip("lmdb", reason="pip install lmdb")


@pytest.fixture
def folder(image_folder):
    return image_folder


def test_means_are_bvlc_caffes(image_batches):
    assert_golden_batches(*image_batches, "mean")


def test_a_mistake_is_one_line_and_status_1(folder, capfd):
    """And nothing is left of the database."""
    mixed = ["./", "mixed.txt", "db"]
    size = "image './wide.png' is 30x40x3, those before are 12x10x3"
    for arguments, message in (
        (["-colour", "./", "list.txt", "db"], "unknown flag '-colour'"),
        (["-gray=maybe", "./", "list.txt", "db"], "-gray needs true or false, not 'maybe'"),
        (["-backend=leveldb", "./", "list.txt", "db"], "-backend: only lmdb is supported"),
        (["-check_size", *mixed], size),
        (["-check_size", "-encoded", *mixed], size),
        (["-check_size", "-encode_type=png", *mixed], size),
    ):
        assert image_tools.convert_main(arguments) == 1
        assert capfd.readouterr().err.splitlines()[-1].startswith(f"caffe: error: {message}")
    assert not list(folder.glob("db*"))


@pytest.mark.parametrize("arguments, status", [(["-help"], 0), (["./", "list.txt"], 1)])
def test_usage_names_every_flag(arguments, status, capfd):
    assert image_tools.convert_main(arguments) == status
    usage = capfd.readouterr().out
    assert all(f"\n  -{name} " in usage for name in image_tools._CONVERT_FLAGS)


def test_ctrl_c_ends_silently_and_leaves_nothing(folder, capfd, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(image_tools, "read_image", interrupt)
    assert image_tools.convert_main(["./", "list.txt", "db"]) == 130
    assert "caffe:" not in capfd.readouterr().err
    assert not list(folder.glob("db*"))


PIXEL = caffe_pb2.Datum(channels=1, height=1, width=1, data=b"a").SerializeToString()
PIXELS = caffe_pb2.Datum(channels=1, height=1, width=2, data=b"ab").SerializeToString()
OTHER_SHAPE = {"other shape": (PIXELS, ": has the shape (1, 1, 2), those before (1, 1, 1)")}


@pytest.mark.parametrize("damage", [*DAMAGED_RECORDS, *OTHER_SHAPE])
def test_a_record_that_a_mean_cannot_count_is_named(damage, tmp_folder, capfd):
    record, message = {**DAMAGED_RECORDS, **OTHER_SHAPE}[damage]
    write_records(PIXEL, record)
    assert image_tools.mean_main(["db", "mean.binaryproto"]) == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith(f"caffe: error: 'db', record '1'{message}")
    assert not (tmp_folder / "mean.binaryproto").exists()
