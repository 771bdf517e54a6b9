"""Several processes: the numbers of one with a larger batch, and an orderly end when one is gone."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe import device, parallel
from caffe.proto import caffe_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.caffe_torch.golden import training_cases as cases
from tests.caffe_torch.helpers import (
    Process,
    hdf5_data,
    load_rows,
    loads_torch,
    run_caffe,
    wait_until,
    write_rows,
)

FIRST = Path(__file__).with_name("golden") / "snapshots/first.caffemodel"
LAUNCH = "import sys; from caffe import parallel; sys.exit(parallel.launch(sys.argv[1:], 2))"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases.write_inputs()
    return tmp_path


def write_solver(text, prefix, batch=4, shuffle=""):
    data = f"batch_size: {batch} {shuffle}"
    Path(f"{prefix}.net").write_text(cases.NET.replace("batch_size: 4", data))
    Path(f"{prefix}.prototxt").write_text(
        f'net: "{prefix}.net" snapshot_prefix: "{prefix}" random_seed: 5 {text}'
    )
    return ["train", "-solver", f"{prefix}.prototxt"]


# Which process takes which rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=3), st.integers(1, 5), st.integers(1, 4), st.booleans()
)
def test_processes_share_a_larger_batch(lengths, batch, count, shuffle):
    write_rows(*lengths, folder=tempfile.mkdtemp(dir="."))

    def drawn(batch, rank, count):
        parallel.rank, parallel.count = rank, count
        try:
            device.set_random_seed(3)
            source = hdf5_data(batch, shuffle=shuffle)
            return load_rows(source, 4), source.state()
        finally:
            parallel.rank, parallel.count = 0, 1

    together, state_after = drawn(batch * count, 0, 1)
    for rank in range(count):
        share, state = drawn(batch, rank, count)
        assert share == together[rank::count]
        assert state == state_after


def test_test_data_is_not_shared_out():
    write_rows(8)
    source = hdf5_data(3)
    source.phase = caffe_pb2.TEST
    parallel.rank, parallel.count = 1, 2
    try:
        assert load_rows(source, 2) == [0, 1, 2, 3, 4, 5]
    finally:
        parallel.rank, parallel.count = 0, 1


# Whole runs


@pytest.mark.parametrize("shuffle", [pytest.param("", marks=pytest.mark.slow), "shuffle: true"])
def test_two_processes_equal_one_with_twice_the_batch(shuffle, capfd):
    text = (
        'base_lr: 0.001 momentum: 0.9 lr_policy: "fixed" clip_gradients: 1 iter_size: 2 max_iter: 8 '
        "snapshot: 4 display: 4 test_iter: 2 test_interval: 4"
    )
    weights = ["-weights", str(FIRST)]
    assert parallel.launch([*write_solver(text, "two", 4, shuffle), *weights], 2) == 0
    log = capfd.readouterr().err
    assert log.count("Iteration 4, Testing net") == 1  # the root speaks for both
    single = write_solver(text, "one", 8, shuffle)
    assert run_caffe(*single, *weights) == 0
    for iteration in (4, 8):
        nets = [
            caffe.Net("net.prototxt", f"{name}_iter_{iteration}.caffemodel", caffe.TEST)
            for name in ("one", "two")
        ]
        for single, double in zip(*(net.learnable_params for net in nets), strict=True):
            np.testing.assert_allclose(double.data, single.data, rtol=1e-5, atol=1e-6)


ENDLESS = 'base_lr: 1e-5 lr_policy: "fixed" type: "Adam" momentum: 0.9 max_iter: 10000000 snapshot: 20'


def start():
    """A launcher of two processes, once it has saved twice."""
    launcher = Process(parallel.launch, write_solver(ENDLESS, "run"), 2)
    saved = 0
    for line in launcher.stderr:
        saved += "Snapshotting solver state" in line
        if saved == 2:
            return launcher
    raise AssertionError(f"ended with {launcher.wait()}")


def assert_resumable(folder):
    states = sorted(folder.glob("run_iter_*.solverstate"), key=lambda path: path.stat().st_mtime)
    solver = caffe.get_solver("run.prototxt")
    solver.restore(states[-1])
    assert solver.iter == int(re.search(r"iter_(\d+)", states[-1].name)[1])
    return solver


def children_of(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_dying_process_ends_the_others_after_a_whole_snapshot(victim, folder):
    launcher = start()
    pids = children_of(launcher)
    os.kill(pids[victim], signal.SIGKILL)
    log = launcher.stderr.read()
    assert launcher.wait(30) == 1
    message = f"caffe: error: process {1 - victim} of 2: another process of this training has ended"
    assert message in log
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert_resumable(folder)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
def test_no_process_outlives_the_launcher(folder):
    launcher = start()
    pids = children_of(launcher)
    launcher.kill()
    launcher.stderr.read()  # until all have closed it
    launcher.wait()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids)
    assert_resumable(folder)


def alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.slow
def test_ctrl_c_stops_all_after_a_snapshot(folder):
    launcher = start()
    launcher.send_signal(signal.SIGINT)
    log = launcher.stderr.read()
    assert launcher.wait(30) == 0
    assert log.count("Optimization stopped early.") == 1
    saved = int(re.findall(r"solver state to binary proto file run_iter_(\d+)", log)[-1])
    assert assert_resumable(folder).iter == saved


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
def test_ctrl_c_while_they_load_pytorch_ends_all_without_a_word(folder):
    command = [sys.executable, "-c", LAUNCH, *write_solver(ENDLESS, "run")]
    launcher = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(children_of(launcher)) == 2 and all(map(loads_torch, children_of(launcher))))
    began = time.monotonic()
    launcher.send_signal(signal.SIGINT)
    assert (launcher.communicate()[1], launcher.returncode) == ("", 130)
    assert time.monotonic() - began < 9


@pytest.mark.slow
def test_torchrun_starts_processes_too(folder):
    text = 'base_lr: 0.001 lr_policy: "fixed" max_iter: 4'
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "caffe.main"]
    subprocess.run([*torchrun, *write_solver(text, "run")], check=True)
    assert assert_resumable(folder).iter == 4


def test_one_process_is_one_solver():
    caffe.set_multiprocess(True)
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    assert (caffe.solver_count(), caffe.solver_rank(), caffe.has_nccl()) == (1, 0, False)
    with pytest.raises(ValueError, match="solver_count 2: it is 1 here; caffe train -gpu 0,1"):
        caffe.set_solver_count(2)
    with pytest.raises(ValueError, match="solver_rank 1"):
        caffe.set_solver_rank(1)
