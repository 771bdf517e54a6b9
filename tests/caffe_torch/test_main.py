"""The `caffe` command: its flags, its words, its exit status, and what a kill leaves behind."""

import re
import signal
import sys
import time
from pathlib import Path

import caffe
import h5py
import numpy as np
import pytest
from caffe import main as command
from caffe import snapshot
from caffe.proto import caffe_pb2
from hypothesis import given
from hypothesis import strategies as st

from tests.caffe_torch.golden import training_cases as cases
from tests.caffe_torch.helpers import (
    TIME,
    assert_same_log,
    file_size_limit,
    log_lines,
    run_caffe,
    start_caffe,
)


@pytest.fixture(autouse=True)
def folder(training_folder):
    yield training_folder
    caffe.set_precision("float32")


GOLDEN = Path(__file__).with_name("golden")


# Flags


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "-solver", "s"],
        ["-solver", "s", "train"],
        ["train", "--solver", "s"],
        ["train", "-solver=s"],
        ["train", "--solver=s"],
    ],
)
def test_all_ways_to_write_a_flag(arguments):
    name, flags = command.parse(arguments)
    assert (name, flags["solver"]) == ("train", "s")


@given(
    st.sampled_from(["-", "--"]), st.booleans(), st.integers(-5, 10**6), st.sampled_from(["a=b", "-1", "x"])
)
def test_values_are_taken_as_they_are(dashes, joined, number, text):
    arguments = ["time"]
    for name, value in (("iterations", number), ("stage", text)):
        arguments += [f"{dashes}{name}={value}"] if joined else [f"{dashes}{name}", str(value)]
    _, flags = command.parse(arguments)
    assert (flags["iterations"], flags["stage"]) == (number, text)


@pytest.mark.parametrize(
    "argument, value",
    [
        ("-logtostderr", True),
        ("--logtostderr=1", True),
        ("-logtostderr=false", False),
        ("--nologtostderr", False),
    ],
)
def test_flags_that_are_true_or_false(argument, value, monkeypatch):
    monkeypatch.setenv("GLOG_logtostderr", str(int(not value)))
    command_name, flags = command.parse([argument, "time"])
    assert (command_name, flags["logtostderr"]) == ("time", value)


def test_the_version(capfd):
    assert run_caffe("--version") == 0
    assert capfd.readouterr().out == "caffe version 1.0.0\n"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "-sover", "s"], "unknown flag '-sover'"),
        (["train", "---solver", "s"], "unknown flag '---solver'"),
        (["train", "-solver"], "flag '-solver' needs a value"),
        (["test", "-iterations", "many"], "-iterations needs a whole number, not 'many'"),
        (["train", "test"], "one command at a time, not 'train test'"),
        (["tarin"], "unknown command 'tarin': use one of train, test, time, export, device_query"),
        (["train"], "this command needs -solver"),
        (["test", "-model", "net.prototxt"], "this command needs -weights"),
        (["train", "-solver", "absent"], "absent: No such file or directory"),
        (["train", "-solver", "s", "-snapshot", "a", "-weights", "b"], "not both"),
        (["train", "-solver", "s", "-sigint_effect", "explode"], "-sigint_effect explode: use stop"),
        (["train", "-solver", "s", "-batch", "-1"], "-batch -1: use 1 or more"),
        (["time", "-model", "net.prototxt", "-phase", "EVAL"], "-phase EVAL: use TRAIN or TEST"),
        (["time", "-model", "net.prototxt", "-iterations", "0"], "-iterations 0: use 1 or more"),
        (["time", "-model", "net.prototxt", "-gpu", "first"], "-gpu first: give the number of a GPU"),
        (["time", "-model", "net.prototxt", "-gpu", "1,0,1"], "-gpu 1,0,1: names a GPU twice"),
        (["time", "-model", "net.prototxt", "-precision", "int8"], "unknown precision 'int8'"),
        (["time", "-model", "0.h5"], "0.h5: "),
        (["time", "-logtostderr=maybe"], "-logtostderr needs true or false, not 'maybe'"),
        (["time", "-log_dir=absent"], "-log_dir absent: not a folder that can be written to"),
        (["time", f"-log_dir={sys.executable}"], ": not a folder that can be written to"),
        (["time", "-nosolver"], "unknown flag '-nosolver'"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(arguments, message, capfd):
    assert run_caffe(*arguments) == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("caffe: error: ")
    assert message in error


def test_a_mistake_in_the_environment_is_named(capfd, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "many")
    assert run_caffe(*TIME) == 1
    assert capfd.readouterr().err == "caffe: error: GLOG_minloglevel needs a whole number, not 'many'\n"
    caffe.log("a line")  # in Python it is 0, as glog has it
    assert capfd.readouterr().err.endswith("] a line\n")


@pytest.mark.parametrize(
    "text, arguments",
    [
        ('net: "no/net"', []),
        ('train_net: "no/net"', []),
        ('train_net: "net.prototxt" test_net: "no/net" test_iter: 1 test_interval: 1', []),
        ('net: "net.prototxt"', ["-weights", "no/net"]),
        ('net: "net.prototxt"', ["-snapshot", "no/net"]),
    ],
)
def test_a_relative_path_is_told_to_be_one(text, arguments, capfd, folder):
    settings = ' base_lr: 0.1 lr_policy: "fixed"'
    Path("solver.prototxt").write_text(text + settings)
    command = ["train", "-solver", "solver.prototxt"]
    assert run_caffe(*command, *arguments) == 1
    message = (
        "caffe: error: no/net: No such file or directory (paths are relative to the folder caffe runs in)"
    )
    assert capfd.readouterr().err.splitlines()[-1] == message
    absent = str(folder / "no/net")
    Path("solver.prototxt").write_text(text.replace("no/net", absent) + settings)
    assert run_caffe(*command, *(word.replace("no/net", absent) for word in arguments)) == 1
    assert capfd.readouterr().err.endswith(f"caffe: error: {absent}: No such file or directory\n")


@pytest.mark.parametrize("arguments", [[], ["-help"], ["train", "--help"]])
def test_usage_names_every_command_and_flag(arguments, capfd):
    assert run_caffe(*arguments) == 0
    usage = capfd.readouterr().out
    for name in [*command.COMMANDS, *command.FLAGS]:
        assert re.search(rf"(?m)^  -?{name} ", usage)


# Training


def test_train_is_caffes_line_by_line(capfd):
    Path("solver.prototxt").write_text(cases.COMMAND)
    Path("first.caffemodel").write_bytes((GOLDEN / "snapshots/first.caffemodel").read_bytes())
    assert run_caffe("train", "-solver", "solver.prototxt", "-weights", "first.caffemodel") == 0
    log = capfd.readouterr().err
    theirs = (GOLDEN / "command.log").read_text().strip().splitlines()
    assert_same_log(log_lines(log), theirs)
    building = re.sub(r"(?m)^[IWE]\d{4} .*?\] ", "", log)
    assert building[: building.index("Solver scaffolding")] == (GOLDEN / "building.log").read_text()


def test_how_nets_are_built_is_the_commands_to_tell(capfd):
    Path("solver.prototxt").write_text(cases.COMMAND.replace("max_iter: 8", "max_iter: 0"))
    weights = str(GOLDEN / "snapshots/first.caffemodel")
    assert run_caffe("train", "-solver", "solver.prototxt", "-weights", weights) == 0
    assert "Creating Layer conv1" in capfd.readouterr().err
    caffe.Net("net.prototxt", caffe.TEST)
    assert capfd.readouterr().err == ""
    caffe.get_solver("solver.prototxt")
    assert "Creating Layer" not in capfd.readouterr().err


def test_resuming_is_caffes_line_by_line(capfd):
    Path("solver.prototxt").write_text(cases.COMMAND)
    state = GOLDEN / "snapshots/snap_iter_5.solverstate"
    for file in (state, state.with_suffix(".caffemodel")):
        Path(file.name).write_bytes(file.read_bytes())
    assert run_caffe("train", "-solver", "solver.prototxt", "-snapshot", state.name) == 0
    theirs = (GOLDEN / "resumed.log").read_text().strip().splitlines()
    assert_same_log(log_lines(capfd.readouterr().err), theirs)


def test_several_weights_in_turn():
    first = caffe.Net("net.prototxt", caffe.TRAIN)
    first.save("a.caffemodel")
    cases.first_weights(first)
    second = caffe.Net("net.prototxt", caffe.TRAIN)
    second.copy_from(str(GOLDEN / "snapshots/first.caffemodel"))
    second.save("b.caffemodel")
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0 lr_policy: "fixed" max_iter: 1 snapshot_prefix: "end"'
    )
    assert run_caffe("train", "-solver", "solver.prototxt", "-weights", "a.caffemodel,b.caffemodel") == 0
    end = caffe.Net("net.prototxt", "end_iter_1.caffemodel", caffe.TEST)
    np.testing.assert_array_equal(end.params["conv1"][0].data, second.params["conv1"][0].data)


def test_another_batch_is_what_the_net_would_have_said(capfd):
    """The same weights in the end, of training batches alone: tests are as the net says."""
    text = 'base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" max_iter: 5 display: 5 test_iter: 2 '
    text += "test_interval: 5"
    weights = ["-weights", str(GOLDEN / "snapshots/first.caffemodel")]
    start, end = re.search(r"layer \{[^{}]*HDF5Data.*?\}\s*\}", cases.NET, re.S).span()
    data, other_layers = cases.NET[start:end].removesuffix("}"), cases.NET[end:]
    six = data.replace("batch_size: 4", "batch_size: 6")
    phases = [f"{layer} include {{ phase: {phase} }} }}" for layer, phase in ((six, "TRAIN"), (data, "TEST"))]
    Path("six.net").write_text(cases.NET[:start] + "\n".join(phases) + other_layers)
    logs, ends = [], []
    for name, net, batch in (("flag", "net.prototxt", ["-batch", "6"]), ("file", "six.net", [])):
        Path(name).write_text(f'net: "{net}" snapshot_prefix: "{name}" {text}')
        assert run_caffe("train", "-solver", name, *weights, *batch) == 0
        logs.append([line for line in log_lines(capfd.readouterr().err) if "output" in line])
        end = caffe.Net("net.prototxt", f"{name}_iter_5.caffemodel", caffe.TEST)
        ends.append([blob.data.tolist() for blob in end.learnable_params])
    assert logs[0] == logs[1]
    assert any("Test" in line for line in logs[0])
    assert ends[0] == ends[1]


def test_a_batch_for_a_net_without_a_database_is_refused(capfd):
    Path("dummy.net").write_text(
        'layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } } } '
        'layer { name: "l" type: "EuclideanLoss" bottom: "x" bottom: "x" top: "l" }'
    )
    Path("solver.prototxt").write_text('net: "dummy.net" base_lr: 1 lr_policy: "fixed" max_iter: 1')
    assert run_caffe("train", "-solver", "solver.prototxt", "-batch", "8") == 1
    last = capfd.readouterr().err.splitlines()[-1]
    assert last == "caffe: error: dummy.net: has no HDF5Data layer to take batches of 8 from"


def test_level_and_stage_choose_layers(capfd):
    net = Path("net.prototxt").read_text() + (
        'layer { name: "extra" type: "Power" bottom: "conv3" top: "extra" '
        '        include { stage: "more" min_level: 2 } }'
    )
    Path("net.prototxt").write_text(net)
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0 lr_policy: "fixed" max_iter: 1 display: 1 snapshot_after_train: false'
    )
    counts = []
    for flags in ([], ["-stage", "more,other", "-level", "2"]):
        assert run_caffe("train", "-solver", "solver.prototxt", *flags) == 0
        counts.append(len(re.findall(r"Train net output #\d+: extra", capfd.readouterr().err)))
    assert counts == [0, 4 * 3 * 5 * 5]


def test_a_snapshot_that_cannot_be_written_ends_with_its_name(folder, capfd):
    Path("solver.prototxt").write_text(cases.COMMAND)
    with file_size_limit(1000):
        assert run_caffe("train", "-solver", "solver.prototxt", "-minloglevel=2") == 1
    problem = "snap_iter_5.caffemodel: File too large (nothing half-written is left)"
    assert capfd.readouterr().err == f"caffe: error: {problem}\n"
    assert not list(folder.glob("*snap_iter*"))


def test_a_nan_ends_with_status_1(capfd):
    Path("solver.prototxt").write_text('net: "net.prototxt" base_lr: 1e9 lr_policy: "fixed" max_iter: 20')
    weights = str(GOLDEN / "snapshots/first.caffemodel")
    assert run_caffe("train", "-solver", "solver.prototxt", "-weights", weights) == 1
    assert re.search(r"caffe: error: iteration \d+: the loss is", capfd.readouterr().err)


@pytest.mark.parametrize("arguments, reason", [((), ""), (("no\nroom",), " (no)")])
def test_pythons_memory_errors_too(arguments, reason, capfd, monkeypatch):
    def fail(flags):
        raise MemoryError(*arguments)

    monkeypatch.setitem(command.COMMANDS, "time", fail)
    assert run_caffe("time") == 1
    assert capfd.readouterr().err == f"caffe: error: out of memory: a smaller batch_size needs less{reason}\n"


def test_other_errors_are_not_taken_for_the_users(monkeypatch):
    def fail(flags):
        raise RuntimeError("a mistake of the program's own")

    monkeypatch.setitem(command.COMMANDS, "time", fail)
    with pytest.raises(RuntimeError, match="own"):
        run_caffe("time")


# Testing and timing


def test_another_precision_is_logged(capfd):
    weights = str(GOLDEN / "snapshots/first.caffemodel")
    flags = ["-model", "net.prototxt", "-weights", weights, "-iterations", "1", "-precision", "tf32"]
    assert run_caffe("test", *flags) == 0
    lines = [re.sub(r"^.*?\] ", "", line) for line in capfd.readouterr().err.splitlines()]
    assert lines[:2] == ["Use CPU.", "Precision: tf32"]


def test_test_gives_caffes_lines_and_means(capfd):
    weights = str(GOLDEN / "snapshots/first.caffemodel")
    assert run_caffe("test", "-model", "net.prototxt", "-weights", weights, "-iterations", "2") == 0
    lines = [re.sub(r"^.*?\] ", "", line) for line in capfd.readouterr().err.splitlines()]
    assert lines[0] == "Use CPU." and not any(line.startswith("Precision") for line in lines)
    assert lines[1] == "Initializing net from parameters: "
    lines[1:] = lines[lines.index("Network initialization done.") + 1 :]
    assert lines[1] == "Running for 2 iterations."
    theirs = (GOLDEN / "command.log").read_text()  # its first test has the same weights and batches
    loss = float(re.search(r"Test net output #0: loss = (\S+)", theirs)[1])
    batches = [float(re.match(r"Batch \d, loss = (\S+)$", line)[1]) for line in lines[2:4]]
    assert np.mean(batches) == pytest.approx(loss, rel=1e-5)
    theirs = [f"Loss: {0.25 * loss:g}", f"loss = {loss:g} (* 0.25 = {0.25 * loss:g} loss)"]
    assert_same_log(lines[4:], theirs)


def test_time_gives_caffes_lines(capfd):
    assert run_caffe("time", "-model", "net.prototxt", "-iterations", "3") == 0
    lines = [re.sub(r"^.*?\] ", "", line) for line in capfd.readouterr().err.splitlines()]
    assert sum(line.startswith("Iteration: ") for line in lines) == 3
    for name in ("data", "conv1", "relu1", "conv2", "conv3", "loss"):
        for direction in ("forward", "backward"):
            assert any(re.match(rf" *{name}\t{direction}: \S+ ms\.$", line) for line in lines)
    for start in ("Average Forward pass", "Average Backward pass", "Average Forward-Backward", "Total Time"):
        assert any(re.match(rf"{start}: \S+ ms\.$", line) for line in lines)


# Processes: signals and kills


LONG = """
net: "net.prototxt" base_lr: 1e-5 lr_policy: "fixed" type: "Adam" momentum: 0.9 random_seed: 1
max_iter: 400 snapshot: 20 snapshot_prefix: "run" average_loss: 10 display: 100
"""


def wait_for(process, text):
    """Read the log up to a line with `text`."""
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"ended with {process.wait()} before {text!r}")


def endless():
    Path("solver.prototxt").write_text(LONG.replace("max_iter: 400", "max_iter: 10000000"))


@pytest.mark.parametrize("name, flag", [("SIGINT", "-sigint_effect"), ("SIGHUP", "-sighup_effect")])
def test_a_signal_stops_with_a_snapshot(name, flag):
    endless()
    process = start_caffe("train", "-solver", "solver.prototxt", flag, "stop")
    wait_for(process, "Iteration 100 ")
    process.send_signal(getattr(signal, name))
    log = process.stderr.read()
    assert process.wait(60) == 0
    assert "Optimization stopped early." in log
    saved = re.findall(r"Snapshotting solver state to binary proto file (\S+)", log)[-1]
    state = caffe_pb2.SolverState.FromString(Path(saved).read_bytes())
    assert state.iter >= 100
    assert Path(state.learned_net).exists()


def test_sighup_saves_and_goes_on():
    endless()
    process = start_caffe("train", "-solver", "solver.prototxt")
    wait_for(process, "Iteration 0 ")
    process.send_signal(signal.SIGHUP)
    wait_for(process, "Snapshotting solver state")
    wait_for(process, "Iteration 100 ")
    process.kill()
    process.wait()
    process.stderr.close()


def test_resuming_after_kill_9_gives_the_uninterrupted_numbers(folder):
    """Killed twice at random moments, resumed from what is there: the same end, bit for bit."""
    Path("net.prototxt").write_text(cases.NET.replace("batch_size: 4", "batch_size: 4 shuffle: true"))
    Path("solver.prototxt").write_text(LONG)
    uninterrupted = caffe.get_solver("solver.prototxt")
    uninterrupted.param.snapshot_prefix = "whole"
    uninterrupted.solve()

    random = np.random.default_rng()
    resume = []
    for _ in range(2):
        process = start_caffe("train", "-solver", "solver.prototxt", *resume)
        wait_for(process, "Snapshotting to")
        time.sleep(random.uniform(0, 0.1))
        process.kill()
        process.wait()
        process.stderr.close()
        states = sorted(folder.glob("run_iter_*.solverstate"), key=lambda path: path.stat().st_mtime)
        resume = ["-snapshot", str(states[-1])] if states else []
    process = start_caffe("train", "-solver", "solver.prototxt", *resume)
    process.stderr.read()
    assert process.wait() == 0
    process.stderr.close()
    nets = [caffe.Net("net.prototxt", f"{run}_iter_400.caffemodel", caffe.TEST) for run in ("run", "whole")]
    for resumed, expected in zip(*(net.learnable_params for net in nets), strict=True):
        np.testing.assert_array_equal(resumed.data, expected.data)
    states = [snapshot.load_state(f"{run}_iter_400.solverstate") for run in ("run", "whole")]
    assert states[0].history == states[1].history
    assert states[0].resume == states[1].resume


def test_a_damaged_database_ends_training_with_its_name(capfd):
    with h5py.File("1.h5", "r+") as file:
        file["y"][2, 0] = np.nan
    Path("solver.prototxt").write_text(LONG)
    assert run_caffe("train", "-solver", "solver.prototxt") == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert error == "caffe: error: 1.h5: dataset 'y' holds NaN or infinite values"
