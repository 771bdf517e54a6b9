"""The steps of a release: what is done again, and what is not."""

import json

import pytest
from caffe.proto import caffe_pb2

from tools import release_steps
from tools.release_card import Release
from tools.release_steps import TrainingStopped

NET = 'name: "n" layer { name: "data" type: "HDF5Data" hdf5_data_param { source: "x" batch_size: 8 } }'


@pytest.fixture
def release(tmp_path, monkeypatch):
    """A release in a folder of its own, with a database's manifest and start weights."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    solver = caffe_pb2.SolverParameter(net="net.prototxt", max_iter=100, snapshot_prefix="out/snapshots/n")
    (tmp_path / "solver.prototxt").write_text(str(solver))
    (tmp_path / "out/database").mkdir(parents=True)
    (tmp_path / "out/database/manifest.json").write_text(json.dumps({"sha256": {"train/000.h5": "1"}}))
    (tmp_path / "out/start.caffemodel").write_bytes(b"start")
    return Release("n", tmp_path / "out", tmp_path / "solver.prototxt", "--out out/database", None, "caffe")


@pytest.fixture
def trained(release, monkeypatch):
    """Puts in the place of `caffe train` what snapshots at given iterations: a list of its calls' flags."""
    calls = []

    def train(flags, caffe, log):
        calls.append(flags)
        for iteration in train.snapshots:
            for ending in ("caffemodel", "solverstate"):
                (release.folder / f"snapshots/n_iter_{iteration}.{ending}").write_bytes(b"%d" % iteration)
        return train.status

    train.status, train.snapshots, calls_of = 0, (50, 100), calls
    monkeypatch.setattr(release_steps.train, "train", train)
    return train, calls_of


def training(release):
    """The step that trains."""
    return next(step for step in release_steps.plan(release) if step.name == "training")


def test_a_step_is_done_once_for_the_same_inputs_and_files(release, trained):
    _, calls = trained
    for _ in range(2):
        release_steps.run([training(release)])
    assert len(calls) == 1 and training(release).reason() == ""
    final = release.folder / "snapshots/n_iter_100.caffemodel"
    final.write_bytes(b"another")
    assert training(release).reason() == "to do again: its files have changed"
    final.unlink()
    assert training(release).reason() == "to do again: its files have changed"


def test_a_stopped_training_resumes_from_its_last_snapshot(release, trained):
    train, calls = trained
    train.snapshots = (9, 10)
    with pytest.raises(TrainingStopped, match="stopped at iteration 10"):
        release_steps.run([training(release)])
    assert training(release).reason() == "to do"
    train.snapshots = (100,)
    release_steps.run([training(release)])
    assert calls[0][2:] == ["-weights", str(release.start)]
    assert calls[1][2:] == ["-snapshot", "out/snapshots/n_iter_10.solverstate"]
    assert training(release).reason() == ""


def test_snapshots_of_another_training_are_refused(release, trained):
    train, calls = trained
    train.snapshots = (10,)
    with pytest.raises(TrainingStopped):
        release_steps.run([training(release)])
    solver = release.read_solver()
    solver.base_lr = 1
    release.solver.write_text(str(solver))
    release.start.write_bytes(b"others")
    with pytest.raises(ValueError, match="a training with another start weights and solver; move"):
        release_steps.run([training(release)])
    assert len(calls) == 1


def test_comments_of_a_solver_change_nothing(release, trained):
    release_steps.run([training(release)])
    release.solver.write_text("# a word\n" + release.solver.read_text())
    assert training(release).reason() == ""


def test_a_training_that_fails_is_not_finished(release, trained):
    train, _ = trained
    train.status = 3
    with pytest.raises(ValueError, match="the training failed"):
        release_steps.run([training(release)])
    assert training(release).reason() == "to do"


def test_the_gpu_and_the_precision_are_for_caffe(release, trained):
    _, calls = trained
    release_steps.run([training(release._replace(gpu="0", precision="tf32"))])
    assert calls[0][-4:] == ["-gpu", "0", "-precision", "tf32"]
    assert training(release).reason() == ""  # trained anywhere it is the same training


def test_the_last_part_is_averaged(release):
    (release.folder / "snapshots").mkdir()
    for i in (80, 90, 91, 95, 100):
        (release.folder / f"snapshots/n_iter_{i}.caffemodel").touch()
    assert [path.stem for path in release_steps._candidates(release)] == [
        "n_iter_100",
        "n_iter_91",
        "n_iter_95",
    ]


def test_a_program_that_fails_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"ls nowhere ended with status \d: .*nowhere"):
        release_steps._run(["ls", "nowhere"], tmp_path / "logs/a.log")
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["a.log.part"]
