"""Files that are written whole or not at all, and HDF5 files that are damaged."""

import errno
import os
import re
from pathlib import Path

import caffe
import h5py
import numpy as np
import pytest
from caffe import snapshot

from tests.caffe_torch.golden import training_cases as cases
from tests.caffe_torch.helpers import file_size_limit, solver_of


@pytest.fixture(autouse=True)
def folder(snapshot_folder):
    return snapshot_folder


@pytest.mark.parametrize("name", ["", "folder/"])
def test_a_name_that_names_no_file(name):
    net = caffe.Net("net.prototxt", caffe.TEST)
    for save in (net.save, net.save_hdf5):
        with pytest.raises(ValueError, match=f"^'{name}' names no file to write$"):
            save(name)


def test_a_failed_write_leaves_the_file_before_it(monkeypatch, folder):
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    for name in ("w.caffemodel", "w.caffemodel.h5"):
        snapshot.save_hdf5(net, name) if name.endswith("h5") else snapshot.save_caffemodel(net, name)
    contents = {path: path.read_bytes() for path in folder.glob("w.*")}

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        snapshot.save_caffemodel(net, "w.caffemodel")
    with pytest.raises(OSError, match="No space"):
        snapshot.save_hdf5(net, "w.caffemodel.h5")
    assert {path: path.read_bytes() for path in folder.glob("w.*")} == contents
    assert not list(folder.glob(".w*"))


@pytest.mark.parametrize("name", ["w.caffemodel", "w.caffemodel.h5", "s.solverstate", "s.solverstate.h5"])
def test_a_full_disk_is_told_with_the_file_and_leaves_nothing(name, folder):
    solver = solver_of(cases.COMMAND)
    state = snapshot.load_state("snap_iter_5.solverstate")
    with file_size_limit(1000), pytest.raises(OSError) as caught:
        if name.startswith("s"):
            snapshot.save_state(name, state)
        else:
            (snapshot.save_hdf5 if name.endswith("h5") else snapshot.save_caffemodel)(solver.net, name)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, name)
    assert caught.value.strerror == "File too large (nothing half-written is left)"
    assert not list(folder.glob(f"*{name}*"))


@pytest.mark.parametrize("name, make", [("folder", os.mkdir), ("pipe", os.mkfifo)])
def test_what_is_no_file_is_not_written_over(name, make, folder):
    make(name)
    net = caffe.Net("net.prototxt", caffe.TEST)
    for save in (net.save, net.save_hdf5):
        with pytest.raises(ValueError, match=f"^'{name}' names no file to write$"):
            save(name)
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("name", ["snap_iter_5.caffemodel.h5", "snap_iter_5.solverstate.h5"])
@pytest.mark.parametrize("content", [b"", b"not HDF5", None])
def test_damaged_hdf5_is_refused(name, content):
    data = Path(name).read_bytes()
    Path(name).write_bytes(data[: len(data) // 2] if content is None else content)
    with pytest.raises(ValueError, match=rf"{re.escape(name)}: not a complete HDF5 file"):
        snapshot.load_state(name) if "state" in name else caffe.Net("net.prototxt", name, caffe.TEST)


def read_hdf5(name):
    """What reads the file: a net its rows or weights, a solver its state."""
    if name.endswith("solverstate.h5"):
        snapshot.load_state(name)
    elif name.endswith("caffemodel.h5"):
        caffe.Net("net.prototxt", name, caffe.TEST)
    else:
        caffe.Net("net.prototxt", caffe.TEST).forward()


@pytest.mark.parametrize("name", ["snap_iter_5.caffemodel.h5", "snap_iter_5.solverstate.h5", "0.h5"])
@pytest.mark.parametrize("structure", [b"HEAP", b"TREE", b"SNOD"])
def test_hdf5_damaged_within_is_refused(name, structure):
    """Where h5py raises RuntimeError and KeyError."""
    data = Path(name).read_bytes()
    assert structure in data
    Path(name).write_bytes(data.replace(structure, b"\0\0\0\0"))
    with pytest.raises(ValueError, match=rf"^(net\.prototxt: .*)?{re.escape(name)}: [^\n]+$"):
        read_hdf5(name)


@pytest.mark.parametrize(
    "name, item, group",
    [
        ("snap_iter_5.caffemodel.h5", "data", False),
        ("snap_iter_5.caffemodel.h5", "data/conv1", False),
        ("snap_iter_5.caffemodel.h5", "data/conv1/0", True),
        ("snap_iter_5.solverstate.h5", "iter", True),
        ("snap_iter_5.solverstate.h5", "history", False),
    ],
)
def test_groups_and_datasets_in_each_others_places_are_refused(name, item, group):
    with h5py.File(name, "r+") as file:
        del file[item]
        if group:
            file.create_group(item)
        else:
            file[item] = np.zeros(3)
    with pytest.raises(ValueError, match=rf"^{re.escape(name)}: [^\n]+$"):
        read_hdf5(name)
