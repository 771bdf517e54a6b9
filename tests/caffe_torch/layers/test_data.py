"""HDF5Data, HDF5Output and DummyData: which rows come when, of which numbers, and what is refused."""

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from caffe import device
from caffe.layers import data
from caffe.net import Net
from caffe.proto import caffe_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.caffe_torch.helpers import data_layer, file_size_limit, hdf5_data, load_rows, write_rows


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Which rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(1, 12), st.booleans())
def test_rows_come_in_order_across_files_and_around(lengths, batch, resident):
    write_rows(*lengths, folder=tempfile.mkdtemp(dir="."))
    source = hdf5_data(batch)
    source._resident = resident
    expected = [i % sum(lengths) for i in range(5 * batch)]
    assert load_rows(source, 5) == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(1, 5), st.booleans())
def test_shuffled_passes_are_permutations_that_keep_files_whole(lengths, batch, resident):
    write_rows(*lengths, folder=tempfile.mkdtemp(dir="."))
    device.set_random_seed(1)
    source = hdf5_data(batch, shuffle=True)
    source._resident = resident
    total = sum(lengths)
    rows = load_rows(source, 3 * total)[: 3 * total]
    file_of = np.repeat(np.arange(len(lengths)), lengths)
    for begin in range(0, 3 * total, total):
        one_pass = rows[begin : begin + total]
        assert sorted(one_pass) == list(range(total))
        changes = np.count_nonzero(np.diff(file_of[one_pass]))
        assert changes == len(lengths) - 1


def test_the_seed_decides_the_shuffle():
    write_rows(20, 30)

    def drawn(seed):
        device.set_random_seed(seed)
        return load_rows(hdf5_data(10, shuffle=True), 10)

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)
    first, second = drawn(5)[:50], drawn(5)[50:]
    assert first != second


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=3),
    st.integers(1, 5),
    st.integers(0, 6),
    st.booleans(),
)
def test_a_restored_layer_goes_on_where_the_state_was_taken(lengths, batch, batches_before, shuffle):
    write_rows(*lengths, folder=tempfile.mkdtemp(dir="."))
    device.set_random_seed(2)
    source = hdf5_data(batch, shuffle=shuffle)
    load_rows(source, batches_before)
    state = source.state()
    expected = load_rows(source, 6)
    again = hdf5_data(batch, shuffle=shuffle)
    again.restore(state)
    assert load_rows(again, 6) == expected


def test_a_position_in_other_files_is_refused():
    write_rows(5, 6)
    for shuffle in (False, True):
        write_rows(5, 6)
        source = hdf5_data(4, shuffle=shuffle)
        source.load()
        state = source.state()
        for other_lengths in ((5,), (4, 4), (7, 7) if shuffle else (3, 3)):
            write_rows(*other_lengths)
            with pytest.raises(ValueError, match="does not fit the files"):
                hdf5_data(4).restore(state)


# Which numbers


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i4", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_all_number_types_become_float32(dtype, compression):
    values = np.random.default_rng(0).integers(0, 100, (6, 2, 3)).astype(dtype)
    with h5py.File("0.h5", "w") as file:
        file.create_dataset("x", data=values, compression=compression)
    Path("list.txt").write_text("0.h5")
    batch = hdf5_data(6).load()[0].cpu().numpy()
    assert batch.dtype == np.float32
    np.testing.assert_array_equal(batch, values.astype(np.float32))


def test_tops_are_datasets_by_name_in_a_net():
    write_rows(5, y=np.arange(10.0).reshape(5, 2), z=np.zeros((5, 1, 2, 3), np.uint8))
    Path("net.prototxt").write_text(
        'layer { name: "d" type: "HDF5Data" top: "z" top: "y" '
        '        hdf5_data_param { source: "list.txt" batch_size: 2 } }'
    )
    net = Net("net.prototxt", caffe_pb2.TEST)
    assert net.blobs["z"].shape == (2, 1, 2, 3)
    net.forward()
    np.testing.assert_array_equal(net.forward()["y"], [[4, 5], [6, 7]])


def test_bytes_stay_bytes_where_they_are_kept():
    write_rows(4, z=np.full((4, 3), 200, np.uint8))
    source = hdf5_data(2, tops=("z",))
    source.load()
    assert [str(t.dtype) for t in source._files[0]] == ["torch.uint8"]


# What is refused


def not_hdf5(name):
    Path(name).write_text("not HDF5")


def truncated(name):
    with open(name, "r+b") as file:
        file.truncate(file.seek(0, 2) // 2)


@pytest.mark.parametrize(
    "damage, message",
    [
        (not_hdf5, r"1\.h5: not a complete HDF5 file"),
        (truncated, r"1\.h5: not a complete HDF5 file"),
        (lambda name: Path(name).write_bytes(b""), r"1\.h5: not a complete HDF5 file"),
        (
            lambda name: Path(name).unlink(),
            r"source 'list\.txt' lists \./1\.h5: no such file \(paths are rel",
        ),
    ],
)
def test_a_damaged_file_is_named(damage, message):
    write_rows(5, 6)
    damage("1.h5")
    with pytest.raises(ValueError, match=message):
        hdf5_data(4)


@pytest.mark.parametrize(
    "datasets, message",
    [
        ({"y": np.zeros(3)}, r"0\.h5: no dataset 'x'; it has y"),
        ({"x": np.zeros((0, 2))}, r"0\.h5: dataset 'x' has no rows"),
        ({"x": np.float32(1)}, r"0\.h5: dataset 'x' has no rows"),
        ({"x": np.array([b"a", b"b"])}, r"0\.h5: dataset 'x' holds \|S1, not numbers"),
        ({"x": np.zeros(3), "y": np.zeros(4)}, r"0\.h5: the datasets x, y differ in rows: \[3, 4\]"),
    ],
)
def test_a_file_without_the_right_datasets_is_named(datasets, message):
    with h5py.File("0.h5", "w") as file:
        for name, array in datasets.items():
            file[name] = array
    Path("list.txt").write_text("0.h5")
    with pytest.raises(ValueError, match=message):
        hdf5_data(2, tops=("x", "y") if "y" in datasets and "x" in datasets else ("x",))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("resident", [True, False])
def test_nan_in_a_file_is_named(value, resident):
    write_rows(3, 3, 3)
    with h5py.File("2.h5", "r+") as file:
        file["x"][1] = value
    source = hdf5_data(3)
    source._resident = resident
    assert load_rows(source, 2) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match=r"2\.h5: dataset 'x' holds NaN"):
        source.load()


@pytest.mark.filterwarnings("error")
def test_a_number_beyond_float32_is_infinite():
    write_rows(3, y=np.array([1.0, 1e300, 2.0]))
    with pytest.raises(ValueError, match=r"0\.h5: dataset 'y' holds NaN or infinite values"):
        hdf5_data(1, tops=("y",)).load()


def test_rows_of_another_shape_in_a_later_file_are_refused():
    write_rows(3, 3)
    with h5py.File("1.h5", "w") as file:
        file["x"] = np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"1\.h5: rows of shape \[\(2,\)\], those of ./0\.h5 \[\(1,\)\]"):
        hdf5_data(2)


@pytest.mark.parametrize(
    "text, message",
    [
        ('hdf5_data_param { source: "list.txt" }', "batch_size must be given"),
        (
            'hdf5_data_param { source: "absent.txt" batch_size: 2 }',
            r"'absent.txt': No such file or directory \(paths",
        ),
        ('hdf5_data_param { source: "empty.txt" batch_size: 2 }', "lists no files"),
        ("hdf5_data_param { batch_size: 2 }", "^hdf5_data_param.source must be given$"),
        (
            'hdf5_data_param { source: "0.h5" batch_size: 2 }',
            r"\.source '0\.h5' is an HDF5 file: give a text file that lists such, one a line$",
        ),
        (
            'transform_param { scale: 2 } hdf5_data_param { source: "list.txt" batch_size: 2 }',
            "transform_param",
        ),
    ],
)
def test_settings_that_cannot_be_met(text, message):
    write_rows(3)
    Path("empty.txt").touch()
    with pytest.raises(ValueError, match=message):
        data_layer(text)


def test_a_list_that_is_missing_is_said_to_be_one(folder):
    """By whom it is written, and where a relative path is looked for."""
    writes = "No such file or directory{}; the program that makes the HDF5 files writes this list of them"
    for source, problem in (
        ("build/data/train.txt", writes.format(" (paths are relative to the folder caffe runs in)")),
        (folder / "absent", writes.format("")),
        (folder, "Is a directory"),
    ):
        with pytest.raises(ValueError) as caught:
            data_layer(f'hdf5_data_param {{ source: "{source}" batch_size: 2 }}')
        assert str(caught.value) == f"hdf5_data_param.source '{source}': {problem}"


# HDF5Output

OUTPUT = """
layer {{ name: "in" type: "DummyData" top: "a" top: "b"
         dummy_data_param {{ shape {{ dim: 2 dim: 3 }} shape {{ dim: {rows} }}
                             data_filler {{ type: "uniform" }} }} }}
layer {{ name: "out" type: "HDF5Output" bottom: "a" bottom: "b" hdf5_output_param {{ file_name: "{name}" }} }}
"""


def test_output_is_written_as_caffe_does(folder):
    (folder / "net.prototxt").write_text(OUTPUT.format(rows=2, name="out.h5"))
    net = Net("net.prototxt", caffe_pb2.TEST)
    assert not (folder / "out.h5").exists()
    net.forward()
    with h5py.File("out.h5") as file:
        assert {name: (array.shape, array.dtype) for name, array in file.items()} == {
            "data": ((2, 3, 1, 1), np.float32),
            "label": ((2, 1, 1, 1), np.float32),
        }
        np.testing.assert_array_equal(file["data"][:, :, 0, 0], net.blobs["a"].data)
    with pytest.raises(ValueError, match=r"out\.h5 holds a batch already"):
        net.forward()


def test_output_to_a_full_disk_is_named(folder):
    (folder / "net.prototxt").write_text(OUTPUT.format(rows=2, name="out.h5"))
    net = Net("net.prototxt", caffe_pb2.TEST)
    with file_size_limit(1000), pytest.raises(OSError, match=r"nothing half-written is left\): 'out\.h5'$"):
        net.forward()
    assert not list(folder.glob("*out.h5*"))


def test_output_of_unequal_rows_is_refused(folder):
    (folder / "net.prototxt").write_text(OUTPUT.format(rows=3, name="out.h5"))
    with pytest.raises(ValueError, match="bottoms of 2 and 3 rows"):
        Net("net.prototxt", caffe_pb2.TEST)


# DummyData


def test_dummy_constants_stay_and_others_are_drawn_anew():
    source = data_layer(
        """dummy_data_param {
             shape { dim: 2 dim: 3 } shape { dim: 4 }
             data_filler { type: "constant" value: 1.5 } data_filler { type: "gaussian" std: 2 } }""",
        tops=("a", "b"),
        layer_type="DummyData",
    )
    assert source.top_shapes() == [(2, 3), (4,)]
    (a1, b1), (a2, b2) = source.load(), source.load()
    assert a1 is a2 and bool((a1 == 1.5).all())
    assert not bool((b1 == b2).all())


def test_dummy_legacy_shapes_and_default_zeros():
    source = data_layer("dummy_data_param { num: 2 channels: 3 height: 4 width: 5 }", ("a", "b"), "DummyData")
    assert source.top_shapes() == [(2, 3, 4, 5)] * 2
    assert not source.load()[1].any()


@pytest.mark.parametrize(
    "text, shapes",
    [
        ("num: 2 channels: 3 channels: 4 height: 5 width: 1 width: 6", [(2, 3, 5, 1), (2, 4, 5, 6)]),
        ("num: 2 num: 7 channels: 3 height: 5 width: 1", [(2, 3, 5, 1), (7, 3, 5, 1)]),
    ],
)
def test_each_legacy_size_is_given_once_or_once_a_top(text, shapes):
    """As in BVLC Caffe, whose shapes these are."""
    source = data_layer(f"dummy_data_param {{ {text} }}", ("a", "b"), "DummyData")
    assert source.top_shapes() == shapes
    assert [top.shape for top in source.load()] == shapes


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "shape: 0 values for 1 tops"),
        ("shape { dim: 2 } num: 1 channels: 1 height: 1 width: 1", "not both"),
        ("num: 1 channels: 1 height: 1", "width: 0 values for 1 tops: give one, or one each"),
        ("num: 1 num: 2 channels: 1 height: 1 width: 1", "num: 2 values for 1 tops"),
        ("shape { dim: 0 }", "every dimension must be at least 1"),
        ("shape { dim: 1 } data_filler {} data_filler {}", "data_filler: 2 values for 1 tops"),
    ],
)
def test_unclear_dummies_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        data_layer(f"dummy_data_param {{ {text} }}", layer_type="DummyData")


def test_whether_files_stay_in_memory_is_decided_by_their_size(monkeypatch):
    write_rows(4, 4)  # 32 bytes in memory, half of what is free at most
    for free, resident in ((66, True), (64, False)):
        monkeypatch.setattr(data, "_free_memory", lambda device, free=free: free)
        source = hdf5_data(8)
        source.load()
        assert source._resident is resident
        assert len(source._files) == (2 if resident else 1)


def test_a_file_that_changed_since_the_start_is_named():
    write_rows(3, 3, 3)
    source = hdf5_data(3)
    with h5py.File("2.h5", "w") as file:
        file["x"] = np.zeros((2, 1))
    assert load_rows(source, 2) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match=r"2\.h5: dataset 'x' had 3 rows before and has 2 now"):
        source.load()


def test_what_is_written_into_a_batch_does_not_change_the_data():
    write_rows(2)
    source = hdf5_data(2)
    source.load()[0].fill_(7)
    assert load_rows(source, 1) == [0, 1]
