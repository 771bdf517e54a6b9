import signal
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from experiments import run, schedule, trainings
from tools import timing
from two_stream_fusion.base import cli


def test_every_test_of_a_short_training_sees_the_same_patches(stub, lab):
    (lab.folder / "out").mkdir()
    settings = run.parse_arguments(stub())
    row = trainings.Row("x", "solver/2-1-2_f32_k3.prototxt", "random", "--patch 8", "--patch 8", "line 2")
    training = trainings.plan_training(row, 0, settings.iterations, settings.caffe, settings.out)
    (path,) = schedule.write_sample(training).read_text().split()
    val = lab.folder / "out" / "data" / "patch_8" / "val"
    with h5py.File(path) as short, h5py.File(val / "000.h5") as full:
        assert full["a"].shape == (48, 4, 8, 8)
        for name in ("a", "b", "label"):
            np.testing.assert_array_equal(short[name], full[name][:16])
    training.solver.test_iter[:] = [3]  # as many as there are
    assert schedule.write_sample(training) == lab.folder / "out" / "data" / "patch_8" / "val.txt"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_training_goes_on(number, status, stub, lab, monkeypatch, capsys):
    options, sleep = stub(wait=0.3), schedule.time.sleep

    def interrupted(seconds):
        logs = list((lab.folder / "out").glob("runs/*/train.log"))
        if logs and "Iteration 1, loss" in logs[0].read_text():
            signal.raise_signal(number)
        sleep(0.02)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(schedule.time, "sleep", interrupted)
        cli.run(lambda: run.main(options))
    assert ended.value.code == status and "the same command resumes" in capsys.readouterr().err
    (state,) = (lab.folder / "out").glob("runs/*/run_iter_*.solverstate")
    stopped = int(state.stem.split("_")[-1])
    assert 1 <= stopped < 4
    monkeypatch.setattr(timing, "time_training", None)  # timed already
    stub(wait=0)
    run.main(options)
    (log,) = (lab.folder / "out").glob("runs/*/train.log")
    assert [line for line in log.read_text().splitlines() if "begins" in line] == [
        "begins at 0",
        f"begins at {stopped}",
    ]
    assert [r["iteration"] for r in lab.rows("curves") if r["set"] == "val"] == list("01234")
    assert not list((lab.folder / "out").glob("runs/*/run_iter_*"))


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.default_int_handler])
def test_steps_hear_of_interrupts_in_the_background_too(handler, tmp_path):
    """A shell has SIGINT ignored there, and processes inherit that."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        program = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
        step = schedule.Step([sys.executable, "-Ic", program], tmp_path / "log")
        schedule.start_step(step, 1).process.wait()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "log").read_text() == "True\n"


def test_a_training_that_fails_is_named_with_its_last_words(stub, lab):
    with pytest.raises(OSError, match=r"fast: caffe failed: F1 net\.cpp:1\] out of luck \(.*train\.log\)"):
        run.main([*stub(), "--seeds", "2"])


@pytest.mark.parametrize("start, programs", [("random", ["caffe"]), ("mean", ["python", "caffe"])])
def test_the_start_decides_the_first_weights(stub, lab, start, programs):
    settings = run.parse_arguments(stub())
    row = trainings.Row("x", "solver/2-1-2_f32_k3.prototxt", start, "--patch 16", "--patch 16", "line 2")
    training = trainings.plan_training(row, 0, settings.iterations, settings.caffe, settings.out)
    commands = []
    for _ in programs:
        command = schedule.next_step(training, settings.caffe).command
        commands.append([Path(command[0]).name, *map(str, command[1:])])
        (training.folder / "first.caffemodel").touch()
    assert [command[0] for command in commands] == programs
    assert commands[-1][1] == "train" and ("-weights" in commands[-1]) == (start == "mean")
