"""The steps of a release: what is done again, and what is not."""

import hashlib
import json
import sys

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
    solver = caffe_pb2.SolverParameter(
        net="out/train_val.prototxt", max_iter=100, snapshot=10, snapshot_prefix="out/snapshots/n"
    )
    (tmp_path / "out/database/train").mkdir(parents=True)
    (tmp_path / "out/database/train/000.h5").write_bytes(b"rows")
    made = {"train/000.h5": hashlib.sha256(b"rows").hexdigest()}
    (tmp_path / "out/database/manifest.json").write_text(json.dumps({"sha256": made}))
    (tmp_path / "out/start.caffemodel").write_bytes(b"start")
    monkeypatch.setattr(release_steps, "_check_pairs", lambda release: None)
    return Release("n", tmp_path / "out", solver, NET, "--out out/database", None, "caffe")


@pytest.fixture
def trained(release, monkeypatch):
    """Puts in the place of `caffe train` what snapshots at given iterations: a list of its calls' flags."""
    calls = []

    def train(flags, caffe, log):
        calls.append(flags)
        for iteration in train.snapshots:
            snapshot = release.folder / f"snapshots/n_iter_{iteration}.caffemodel"
            weights = caffe_pb2.NetParameter(name=f"weights {iteration}")
            snapshot.write_bytes(weights.SerializeToString())
            state = caffe_pb2.SolverState(iter=iteration).SerializeToString()
            snapshot.with_suffix(".solverstate").write_bytes(state)
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
    final.unlink()
    assert training(release).reason() == "to do again: its files have changed"


def test_foreign_weights_in_the_place_of_the_last_snapshot_are_trained_anew(release, trained):
    _, calls = trained
    release_steps.run([training(release)])
    final = release.folder / "snapshots/n_iter_100.caffemodel"
    made = final.read_bytes()
    final.write_bytes((release.folder / "snapshots/n_iter_50.caffemodel").read_bytes())
    assert training(release).reason() == "to do again: its files have changed"
    release_steps.run([training(release)])
    assert calls[1][2:] == ["-snapshot", "out/snapshots/n_iter_50.solverstate"]
    assert final.read_bytes() == made and training(release).reason() == ""


@pytest.mark.parametrize("ending", ["caffemodel", "solverstate"])
@pytest.mark.parametrize("size", [0, 5])
def test_a_damaged_snapshot_is_not_resumed_from(release, trained, capsys, ending, size):
    train, calls = trained
    train.snapshots = (50, 60)
    with pytest.raises(TrainingStopped):
        release_steps.run([training(release)])
    damaged = release.folder / f"snapshots/n_iter_60.{ending}"
    damaged.write_bytes(damaged.read_bytes()[:size] if size == 0 else b"\xff" * size)
    train.snapshots = (100,)
    release_steps.run([training(release)])
    assert calls[1][2:] == ["-snapshot", "out/snapshots/n_iter_50.solverstate"]
    assert "the snapshot of iteration 60 is not whole" in capsys.readouterr().err


def test_a_training_without_a_whole_snapshot_is_not_begun_anew(release, trained):
    train, calls = trained
    train.snapshots = (50,)
    with pytest.raises(TrainingStopped):
        release_steps.run([training(release)])
    (release.folder / "snapshots/n_iter_50.solverstate").write_bytes(b"")
    with pytest.raises(ValueError, match="has no whole snapshot; remove what is there to train anew"):
        release_steps.run([training(release)])
    assert len(calls) == 1


def test_a_step_is_marked_with_the_inputs_that_it_had(release, trained, monkeypatch):
    train, _ = trained

    def changed_meanwhile(flags, caffe, log):
        release.start.write_bytes(b"others")
        return train(flags, caffe, log)

    monkeypatch.setattr(release_steps.train, "train", changed_meanwhile)
    release_steps.run([training(release)])
    assert training(release).reason() == "to do again: other start weights"


def test_a_damaged_database_is_not_trained_on(release, trained):
    _, calls = trained
    (release.folder / "database/train/000.h5").write_bytes(b"Rows")
    with pytest.raises(ValueError, match=r"out/database/train/000\.h5: was damaged; remove its database"):
        release_steps.run([training(release)])
    assert not calls


def test_damaged_marks_count_as_none(release, trained):
    release_steps.run([training(release)])
    mark = release.folder / "finished/training.json"
    for text in ("", "[]", "{}", '{"inputs": {}}'):
        mark.write_text(text)
        assert training(release).reason() == "to do"


def test_two_runs_in_one_folder_are_refused(release):
    with release_steps.alone(release):
        second = release_steps.alone(release)
        with pytest.raises(ValueError, match="out: another run is at work in it"):
            second.__enter__()
    with release_steps.alone(release):
        pass


def test_other_settings_are_refused_before_anything_is_written(release, trained, monkeypatch):
    changed_data: list = []
    monkeypatch.setattr(release_steps.make_database, "changed_inputs", lambda request: changed_data)
    release_steps.refuse_other_training(release)
    train, _ = trained
    train.snapshots = (10,)
    with pytest.raises(TrainingStopped):
        release_steps.run([training(release)])
    release_steps.refuse_other_training(release)
    changed_data += ["made_with"]
    release_steps.refuse_other_training(release)
    changed_data += ["sources"]
    with pytest.raises(ValueError, match="snapshots of a training with another database; move"):
        release_steps.refuse_other_training(release)
    other = release._replace(net_text=NET.replace("8", "9"))
    with pytest.raises(ValueError, match="snapshots of a training with another net and database; move"):
        release_steps.refuse_other_training(other)


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
    release.solver.base_lr = 1
    release.start.write_bytes(b"others")
    with pytest.raises(ValueError, match="a training with another start weights and solver; move"):
        release_steps.run([training(release)])
    assert len(calls) == 1


def test_a_training_that_fails_is_not_finished(release, trained):
    train, _ = trained
    train.status = 3
    with pytest.raises(ValueError, match="the training failed"):
        release_steps.run([training(release)])
    assert training(release).reason() == "to do"


def test_the_gpu_and_the_precision_are_for_caffe(release, trained):
    _, calls = trained
    release_steps.run([training(release._replace(gpu="0", precision="tf32"))])
    assert calls[0][-4:] == ["-precision", "tf32", "-gpu", "0"]
    assert training(release).reason() == ""  # trained anywhere it is the same training


def test_validation_is_on_the_gpu_in_float32(release, monkeypatch):
    monkeypatch.setattr(release_steps, "_run", lambda command, log: log.write_text(" ".join(command)))
    release.solver.test_iter[:] = [3]
    on_gpu = release._replace(gpu="0", precision="tf32")
    with pytest.raises(ValueError, match=r"test-last\.log: has no line"):
        release_steps._test(on_gpu, release.weights, "last")
    command = (release.folder / "test-last.log").read_text()
    assert command.startswith("caffe test ") and command.endswith(" -iterations 3 -gpu 0")


def test_the_last_part_is_averaged(release):
    (release.folder / "snapshots").mkdir()
    release.solver.snapshot = 4
    for i in (88, 90, 92, 95, 96, 100):  # at 95 a run was interrupted
        (release.folder / f"snapshots/n_iter_{i}.caffemodel").touch()
    names = [path.stem for path in release_steps._candidates(release)]
    assert names == ["n_iter_100", "n_iter_92", "n_iter_96"]


def test_a_program_that_fails_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"ls nowhere ended with status \d: .*nowhere"):
        release_steps._run(["ls", "nowhere"], tmp_path / "logs/a.log")
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["a.log.part"]


def test_what_a_program_warns_of_is_not_in_its_table(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "2")
    code = "import os, sys; print(os.environ.get('GLOG_minloglevel')); print('skipped', file=sys.stderr)"
    release_steps._run([sys.executable, "-c", code], tmp_path / "a.md", tmp_path / "a.log")
    assert (tmp_path / "a.md").read_text() == "None\n"
    assert (tmp_path / "a.log").read_text() == "skipped\n"
