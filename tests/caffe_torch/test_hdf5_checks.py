"""What an HDF5 file may hold: numbers of its own, in bounded memory."""

import re

import h5py
import numpy as np
import pytest

from tests.caffe_torch.helpers import STATE, WEIGHTS, train_status


@pytest.fixture(autouse=True)
def folder(trained_folder):
    return trained_folder


def test_the_shape_is_compared_before_anything_is_read(folder, capfd):
    with h5py.File(WEIGHTS + ".h5", "r+") as file:
        del file["data/c1/0"]
        file["data/c1"].create_dataset("0", (2**40,), "f4", chunks=(2**18,), compression="gzip")
    status, line = train_status(capfd, "-weights", WEIGHTS + ".h5")
    assert status == 1
    assert line.endswith(
        ".h5: layer 'c1', parameter 0: stored shape (1099511627776,), the net has (4, 2, 3, 3)"
    )


@pytest.mark.parametrize("dtype", ["S8", "c8", np.dtype(("f4", (2**20,))), h5py.string_dtype()])
def test_weights_that_are_no_numbers_are_refused(dtype, folder, capfd):
    with h5py.File(WEIGHTS + ".h5", "r+") as file:
        del file["data/c1/1"]
        file["data/c1"].create_dataset("1", (4,), dtype)
    status, line = train_status(capfd, "-weights", WEIGHTS + ".h5")
    assert status == 1 and "layer 'c1', parameter 1: holds" in line and "not numbers" in line


def external_link(file, name):
    file[name] = h5py.ExternalLink("other.h5", "/values")


def link_out_of_the_file(file, name):
    file["aside"] = h5py.ExternalLink("other.h5", "/")
    file[name] = h5py.SoftLink("/aside/values")


def virtual(file, name):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "values", (4,))
    file.create_virtual_dataset(name, layout)


def external_storage(file, name):
    file.create_dataset(name, (4,), "f4", external=[("other.h5", 0, 16)])


@pytest.mark.parametrize("make", [external_link, link_out_of_the_file, virtual, external_storage])
@pytest.mark.parametrize(
    ("path", "name", "flag"),
    [
        (WEIGHTS + ".h5", "data/c1/1", "-weights"),
        (STATE + ".h5", "history/1", "-snapshot"),
        ("data.h5", "label", ""),
    ],
)
def test_numbers_of_other_files_are_not_read(make, path, name, flag, folder, capfd):
    with h5py.File("other.h5", "w") as file:
        file["values"] = np.zeros(4, np.float32)
    with h5py.File(path, "r+") as file:
        del file[name]
        make(file, name)
    status, line = train_status(capfd, *([flag, path] if flag else []))
    assert status == 1
    assert re.search(rf"{re.escape(path)}: '(aside|{name})' (is|has) .*other file", line), line


def test_a_link_within_the_file_is_followed(folder, capfd):
    with h5py.File(WEIGHTS + ".h5", "r+") as file:
        file.move("data/c1/1", "aside")
        file["data/c1/1"] = h5py.SoftLink("/aside")
    assert train_status(capfd, "-weights", WEIGHTS + ".h5")[0] == 0


def test_a_link_to_nothing_is_refused(folder, capfd):
    with h5py.File(WEIGHTS + ".h5", "r+") as file:
        file["data/c1/2"] = h5py.SoftLink("/nothing")
    status, line = train_status(capfd, "-weights", WEIGHTS + ".h5")
    assert status == 1 and "'data/c1/2' is a link that leads to nothing in the file" in line


def test_chunks_larger_than_their_dataset_are_refused(folder, capfd):
    with h5py.File(WEIGHTS + ".h5", "r+") as file:
        del file["data/c1/1"]
        file["data/c1"].create_dataset("1", (4,), "f4", maxshape=(None,), chunks=(2**28,), compression="gzip")
    status, line = train_status(capfd, "-weights", WEIGHTS + ".h5")
    assert status == 1 and "'data/c1/1' has chunks of 1073741824 bytes for 16 in all" in line
