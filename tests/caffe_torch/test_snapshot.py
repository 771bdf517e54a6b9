"""Files of weights and solver states: Caffe's both ways, whole or not at all, refused when not right."""

import os
import shutil
import subprocess
from pathlib import Path

import caffe
import h5py
import numpy as np
import pytest
import torch
from caffe import snapshot
from caffe.proto import caffe_pb2
from google.protobuf.message import EncodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.caffe_torch.golden import training_cases as cases
from tests.caffe_torch.helpers import assert_arrays_equal, assert_same_log, log_lines, solver_of, weights_of


@pytest.fixture(autouse=True)
def folder(snapshot_folder):
    return snapshot_folder


GOLDEN = Path(__file__).with_name("golden")
REAL_PYTHON = Path(__file__).resolve().parents[2] / "build/bvlc/bin/python"
FORMS = {"BINARYPROTO": "", "HDF5": ".h5"}


# Real Caffe's files


@pytest.mark.parametrize("end", FORMS.values())
def test_caffes_weights_are_read(end):
    first, trained = (caffe.Net("net.prototxt", caffe.TEST) for _ in range(2))
    cases.first_weights(first)
    again = caffe.Net("net.prototxt", "first.caffemodel", caffe.TEST)
    assert_arrays_equal(weights_of(again), weights_of(first))
    trained.copy_from("snap_iter_5.caffemodel" + end)
    again.copy_from("snap_iter_5.caffemodel")
    assert_arrays_equal(weights_of(again), weights_of(trained))
    assert not np.array_equal(weights_of(first)[0], weights_of(again)[0])


@pytest.mark.parametrize("end", FORMS.values())
def test_a_run_of_caffes_is_resumed_as_caffe_does(end, capfd):
    solver = solver_of(cases.COMMAND)
    solver.restore("snap_iter_5.solverstate" + end)
    solver.solve()
    theirs = (GOLDEN / "resumed.log").read_text().strip().splitlines()
    ours = log_lines(capfd.readouterr().err)
    assert ("SGDSolver: restoring history" in ours) == (end == "")  # Caffe does not say so with HDF5
    at = theirs.index("Solving small")
    assert_same_log(ours[ours.index("Solving small") :], theirs[at:-1])


@pytest.mark.parametrize("end", FORMS.values())
def test_the_state_is_found_from_another_folder(end, folder, monkeypatch):
    state = folder / ("snap_iter_5.solverstate" + end)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    cases.write_inputs()
    solver = solver_of(cases.COMMAND)
    solver.restore(state)
    expected = caffe.Net("net.prototxt", str(folder / "snap_iter_5.caffemodel"), caffe.TEST)
    assert_arrays_equal(weights_of(solver.net), weights_of(expected))


@pytest.mark.parametrize("form, end", FORMS.items())
def test_a_state_moved_with_its_weights_takes_no_others(form, end, folder, capfd):
    """What another run has written since to the path that the state has for them is passed over."""
    solver = solver_of(cases.COMMAND + f"snapshot_format: {form} random_seed: 1")
    solver.step(5)
    expected = weights_of(solver.net)
    (folder / "archive").mkdir()
    for name in ("snap_iter_5.solverstate", "snap_iter_5.caffemodel"):
        shutil.copy(name + end, "archive")
    again = caffe.get_solver("solver.prototxt")
    again.restore("archive/snap_iter_5.solverstate" + end)
    assert "weights beside it" not in capfd.readouterr().err
    solver.net.params["conv1"][0].data[...] = 9
    solver.snapshot()
    again.restore("archive/snap_iter_5.solverstate" + end)
    assert_arrays_equal(weights_of(again.net), expected)
    warning = capfd.readouterr().err.splitlines()[-2 if end == "" else -1]
    assert warning.startswith("W") and warning.endswith(
        f"archive/snap_iter_5.solverstate{end}: taking the weights beside it, "
        f"archive/snap_iter_5.caffemodel{end}; snap_iter_5.caffemodel{end}, which it names, has others"
    )


REAL = """
import os, sys
os.environ["GLOG_minloglevel"] = "2"
import caffe, numpy as np
end = sys.argv[1]
net = caffe.Net("net.prototxt", caffe.TEST)
(net.load_hdf5 if end else net.copy_from)("ours_iter_5.caffemodel" + end)
solver = caffe.get_solver("solver.prototxt")
solver.restore("ours_iter_5.solverstate" + end)
assert solver.iter == 5
np.savez("real.npz", w=net.params["conv2"][0].data, s=solver.net.params["conv1"][1].data)
solver.step(1)
np.savez("step.npz", w=solver.net.params["conv2"][0].data)
"""


@pytest.mark.bvlc
@pytest.mark.parametrize("form, end", FORMS.items())
def test_real_caffe_reads_our_files(form, end):
    solver = solver_of(cases.COMMAND.replace('"snap"', '"ours"') + f"snapshot_format: {form}")
    cases.first_weights(solver.net)
    solver.step(5)
    # Without the position in the data, as real Caffe resumes.
    ours = caffe.get_solver("solver.prototxt")
    state = snapshot.load_state("ours_iter_5.solverstate" + end)
    state.ClearField("resume")
    snapshot.save_state("plain.solverstate" + end, state)
    ours.restore("plain.solverstate" + end)
    ours.step(1)
    subprocess.run([str(REAL_PYTHON), "-c", REAL, end], check=True)
    read = np.load("real.npz")
    np.testing.assert_array_equal(read["w"], solver.net.params["conv2"][0].data)
    np.testing.assert_array_equal(read["s"], solver.net.params["conv1"][1].data)
    weights = np.load("step.npz")["w"]
    np.testing.assert_allclose(weights, ours.net.params["conv2"][0].data, rtol=1e-5, atol=1e-6)


# Going on as if nothing had happened

DROPOUT = cases.NET.replace(
    'layer { name: "relu1"',
    'layer { name: "drop" type: "Dropout" bottom: "conv1" top: "conv1" }\nlayer { name: "relu1"',
)
SHUFFLED = cases.NET.replace("batch_size: 4", "batch_size: 4 shuffle: true")


@pytest.mark.parametrize("form, end", FORMS.items())
@pytest.mark.parametrize("net", [cases.NET, SHUFFLED, SHUFFLED.replace("batch_size: 4", "batch_size: 13")])
@pytest.mark.parametrize("name", ["adam", "adadelta", "iter_size"])
def test_resuming_equals_not_having_stopped(name, net, form, end):
    Path("net.prototxt").write_text(net)
    text = (
        cases.SOLVER + cases.SOLVERS[name] + " random_seed: 3 test_iter: 1 test_interval: 2 "
        f"average_loss: 4 snapshot_format: {form} "
    )
    uninterrupted = solver_of(text)
    cases.first_weights(uninterrupted.net)
    uninterrupted.step(5)
    uninterrupted.snapshot()
    uninterrupted.solve()
    resumed = solver_of(text)
    resumed.solve("solver_iter_5.solverstate" + end)
    assert resumed.iter == uninterrupted.iter == 10
    assert_arrays_equal(weights_of(resumed.net), weights_of(uninterrupted.net))
    histories = [[h.cpu().numpy() for h in solver._rule.history] for solver in (resumed, uninterrupted)]
    assert_arrays_equal(*histories)
    assert resumed._smoothed() == uninterrupted._smoothed()
    for expected, actual in zip(uninterrupted.test_nets, resumed.test_nets, strict=True):
        assert_arrays_equal([expected.blobs["x"].data], [actual.blobs["x"].data])


def test_random_numbers_go_on_too():
    Path("net.prototxt").write_text(DROPOUT)
    text = cases.SOLVER + cases.SOLVERS["adam"] + " random_seed: 3"
    uninterrupted = solver_of(text)
    uninterrupted.step(5)
    uninterrupted.snapshot()
    uninterrupted.step(3)
    resumed = solver_of(text)
    resumed.restore("solver_iter_5.solverstate")
    resumed.step(3)
    assert_arrays_equal(weights_of(resumed.net), weights_of(uninterrupted.net))


def test_other_data_begins_at_its_first_row(capfd):
    text = cases.SOLVER + cases.SOLVERS["adam"]
    solver = solver_of(text)
    solver.step(2)
    solver.snapshot()
    Path("list.txt").write_text("1.h5\n")
    resumed = solver_of(text)
    resumed.restore("solver_iter_2.solverstate")
    assert "layer 'data' begins at its first row" in capfd.readouterr().err
    resumed.step(1)
    with h5py.File("1.h5") as file:
        np.testing.assert_array_equal(resumed.net.blobs["x"].data, file["x"][:4])


def test_a_state_of_ours_without_its_record_resumes_as_caffes_do():
    text = cases.SOLVER + cases.SOLVERS["adam"]
    solver = solver_of(text)
    solver.step(2)
    solver.snapshot()
    state = snapshot.load_state("solver_iter_2.solverstate")
    state.ClearField("resume")
    snapshot.save_state("plain.solverstate", state)
    resumed = solver_of(text)
    resumed.restore("plain.solverstate")
    resumed.step(1)
    with h5py.File("0.h5") as file:
        np.testing.assert_array_equal(resumed.net.blobs["x"].data, file["x"][:4])


# Forms


@pytest.mark.parametrize("write_diff", [False, True])
def test_both_forms_hold_the_same(write_diff):
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    cases.first_weights(net)
    net.forward()
    net.backward()
    snapshot.save_caffemodel(net, "w.caffemodel", write_diff)
    snapshot.save_hdf5(net, "w.caffemodel.h5", write_diff)
    for name in ("w.caffemodel", "w.caffemodel.h5"):
        again = caffe.Net("net.prototxt", name, caffe.TEST)
        assert_arrays_equal(weights_of(again), weights_of(net))
    with h5py.File("w.caffemodel.h5") as file:
        assert sorted(file) == (["data", "diff"] if write_diff else ["data"])
        assert sorted(file["data"]) == sorted(net.layer_names)
        assert list(file["data/conv3"]) == []  # conv2's filters
        if write_diff:
            np.testing.assert_array_equal(file["diff/conv1/0"], net.params["conv1"][0].diff)
    stored = caffe_pb2.NetParameter.FromString(Path("w.caffemodel").read_bytes())
    conv1 = next(layer for layer in stored.layer if layer.name == "conv1")
    assert [len(blob.diff) for blob in conv1.blobs] == ([54, 3] if write_diff else [0, 0])


def test_the_hdf5_state_has_caffes_layout():
    solver = solver_of(cases.COMMAND + "snapshot_format: HDF5")
    solver.step(5)
    theirs, ours = {}, {}
    for path, datasets in (
        (GOLDEN / "snapshots/snap_iter_5.solverstate.h5", theirs),
        ("snap_iter_5.solverstate.h5", ours),
    ):
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item, datasets=datasets: datasets.update(
                    {name: (item.shape, item.dtype)} if isinstance(item, h5py.Dataset) else {}
                )
            )
    del ours["resume"]
    assert ours == theirs


# Files that are not right


def test_hdf5_weights_that_do_not_fit_are_refused():
    with h5py.File("snap_iter_5.caffemodel.h5", "r+") as file:
        values = file["data/conv1/0"][()]
        del file["data/conv1/0"]
        file["data/conv1/0"] = values[:2]
    message = r"\.h5: layer 'conv1', parameter 0: stored shape \(2, 2, 3, 3\), the net has \(3, 2, 3, 3\)"
    with pytest.raises(ValueError, match=message):
        caffe.Net("net.prototxt", "snap_iter_5.caffemodel.h5", caffe.TEST)


def test_the_form_is_told_by_the_content():
    """Whatever the file is called, as BVLC Caffe does with weights."""
    expected = weights_of(caffe.Net("net.prototxt", "snap_iter_5.caffemodel", caffe.TEST))
    for name, other_name in (
        (name, name + ".h5") for name in ("snap_iter_5.caffemodel", "snap_iter_5.solverstate")
    ):
        Path(name).rename("moved")
        Path(other_name).rename(name)
        Path("moved").rename(other_name)
    for end in FORMS.values():
        assert_arrays_equal(
            weights_of(caffe.Net("net.prototxt", "snap_iter_5.caffemodel" + end, caffe.TEST)), expected
        )
        assert snapshot.load_state("snap_iter_5.solverstate" + end).iter == 5


def test_hdf5_of_another_kind_is_refused():
    message = r"0\.h5: no group /data: not a file of weights"
    with pytest.raises(ValueError, match=message):
        caffe.Net("net.prototxt", "0.h5", caffe.TEST)
    with pytest.raises(ValueError, match=r"0\.h5: no iter: not a solver state"):
        snapshot.load_state("0.h5")


@pytest.mark.parametrize("cut", [0, 1, 3, 26, 300, 900, 1200])
def test_a_truncated_state_is_refused(cut):
    data = Path("snap_iter_5.solverstate").read_bytes()
    assert len(data) == 1206
    Path("cut.solverstate").write_bytes(data[:cut])
    with pytest.raises(ValueError, match=r"cut\.solverstate: "):
        solver_of(cases.COMMAND).restore("cut.solverstate")


@given(st.integers(0, 1250))
def test_truncated_weights_are_refused_unless_cut_between_layers(cut):
    data = (GOLDEN / "snapshots/first.caffemodel").read_bytes()
    net = caffe.Net("net.prototxt", caffe.TEST)
    intact = caffe_pb2.NetParameter.FromString(data)
    ends = [
        caffe_pb2.NetParameter(name=intact.name, layer=intact.layer[:n]).ByteSize()
        for n in range(1, len(intact.layer))
    ]
    Path("cut.caffemodel").write_bytes(data[:cut])
    if cut in ends:
        net.copy_from("cut.caffemodel")
    else:
        with pytest.raises(ValueError, match=r"cut\.caffemodel: "):
            net.copy_from("cut.caffemodel")


@settings(max_examples=50)
@given(st.binary(max_size=200))
@example(b"\x08\x00")  # iter: 0
@example(b"\x08\x05\x20\x00")  # iter: 5 current_step: 0
def test_other_peoples_files_are_refused(content):
    Path("foreign").write_bytes(content)
    with pytest.raises(ValueError, match="foreign"):
        snapshot.load_state("foreign")


def test_the_state_of_another_solver_is_refused():
    solver = solver_of('net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" type: "SGD"')
    message = r"snap_iter_5\.solverstate: 6 history blobs, this solver keeps 3"
    with pytest.raises(ValueError, match=message):
        solver.restore("snap_iter_5.solverstate")


def test_the_state_of_another_net_is_refused():
    Path("net.prototxt").write_text(cases.NET.replace("kernel_size: 3 pad: 1 }", "kernel_size: 1 }", 1))
    solver = solver_of(cases.COMMAND)
    message = r"solverstate: history 0 has the shape \(3, 2, 3, 3\), this net's is \(3, 2, 1, 1\)"
    with pytest.raises(ValueError, match=message):
        solver.restore("snap_iter_5.solverstate")


def test_a_damaged_record_of_the_position_is_refused():
    solver = solver_of(cases.COMMAND)
    state = snapshot.load_state("snap_iter_5.solverstate")
    for record in (b"{", b"{}", b"[]", b"\xff"):
        state.resume = record
        snapshot.save_state("bad.solverstate", state)
        with pytest.raises(ValueError, match=r"bad\.solverstate: the stored .* are damaged"):
            solver.restore("bad.solverstate")


def test_missing_files_are_named():
    solver = solver_of(cases.COMMAND)
    with pytest.raises(FileNotFoundError, match="absent"):
        solver.restore("absent.solverstate")
    with pytest.raises(FileNotFoundError, match="absent"):
        solver.net.copy_from("absent.caffemodel.h5")
    os.remove("snap_iter_5.caffemodel")
    with pytest.raises(FileNotFoundError, match=r"snap_iter_5\.caffemodel"):
        solver.restore("snap_iter_5.solverstate")
    os.mkdir("moved")
    shutil.move("snap_iter_5.solverstate", "moved")
    with pytest.raises(FileNotFoundError, match=r"nor one beside moved/snap.*: 'snap_iter_5\.caffemodel'$"):
        solver.restore("moved/snap_iter_5.solverstate")


# Whole or not at all


def test_more_than_the_binary_form_holds_is_refused(folder):
    class TooLarge:  # as protobuf answers for more than 2 GB
        def SerializeToString(self):
            raise EncodeError("Failed to serialize proto")

    with pytest.raises(
        ValueError, match=r"^s\.solverstate: larger than the 2 GB .* use HDF5 \(snapshot_format"
    ):
        snapshot.save_state("s.solverstate", TooLarge())
    assert not list(folder.glob("*s.solverstate*"))


def test_state_and_weights_survive_a_float_exactly():
    """What a state stores is what the solver had, bit for bit, subnormals and extremes too."""
    values = torch.tensor([0.0, -0.0, 1e-45, -3.4e38, 1 / 3])
    proto = snapshot.proto_of(values)
    again = caffe_pb2.BlobProto.FromString(proto.SerializeToString())
    (restored,) = snapshot.history_of(caffe_pb2.SolverState(history=[again]), [values], "x")
    assert restored.numpy().tobytes() == values.numpy().tobytes()
