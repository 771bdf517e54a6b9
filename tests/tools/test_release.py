"""`make release`: its plan, and a dry run of the whole."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from caffe.proto import caffe_pb2

from data_prep.photographs import TrainingSet, bundled_photographs
from tools import release
from two_stream_fusion.methods import models

ROOT = Path(__file__).resolve().parents[2]
PLANNED = [("one", ""), ("two", "to do again"), ("three", ""), ("four", "to do")]
STEPS = ["database", "start weights", "training", "validation", "scores", "card"]
NAME = "2-1-2_f32_k3-photographs"
COMMITTED = ROOT / f"models/{NAME}/training/solver.prototxt"


def test_the_plan_is_what_is_left_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    release.main([NAME, "--iterations", "5", "--out", str(tmp_path), "--plan"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["database: not made yet", *(f"{name}: to do" for name in STEPS[1:])]


def test_a_dry_run_is_shorter_and_has_files_of_its_own(tmp_path):
    made = release.prepare(
        release.parse_arguments([NAME, "--iterations", "600", "--out", str(tmp_path / "new")])
    )
    assert not (tmp_path / "new").exists()
    solver = made.solver
    committed = models.read_prototxt(COMMITTED, caffe_pb2.SolverParameter())
    assert solver.max_iter == 600 and solver.test_interval == 300
    assert solver.snapshot == round(committed.snapshot * 600 / committed.max_iter)
    assert solver.net == f"{tmp_path.as_posix()}/new/train_val.prototxt"
    assert solver.snapshot_prefix == f"{tmp_path.as_posix()}/new/snapshots/{NAME}"
    assert f"{tmp_path.as_posix()}/new/database/train.txt" in made.net_text and "build/" not in made.net_text
    assert "--pairs 1 " in made.options and "--pairs 4" not in made.options
    made.write_settings()
    assert models.read_prototxt(made.solver_path, caffe_pb2.SolverParameter()) == solver
    assert models.read_prototxt(solver.net, caffe_pb2.NetParameter()) == made.net


def test_a_release_has_the_committed_settings():
    made = release.prepare(release.parse_arguments([NAME, "--gpu", "0"]))
    assert made.gpu == "0" and made.folder == Path(f"build/release/{NAME}") and made.photos is None
    committed = models.read_prototxt(COMMITTED, caffe_pb2.SolverParameter())
    assert made.net == models.read_prototxt(ROOT / committed.net, caffe_pb2.NetParameter())
    assert made.solver.net == f"build/release/{NAME}/train_val.prototxt"
    committed.net = made.solver.net
    assert made.solver == committed
    assert made.options.endswith(f"--out build/release/{NAME}/database")


def test_a_stopped_training_says_how_to_resume(tmp_path, monkeypatch, capsys):
    def stop(steps):
        raise release.TrainingStopped("stopped at iteration 7")

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(release.release_steps, "run", stop)
    monkeypatch.setattr(release, "_copy_bundled", lambda folder: None)
    assert release.main([NAME, "--iterations", "9", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "stopped at iteration 7: the same command resumes\n"


def test_a_plan_says_what_depends_on_an_unfinished_step(tmp_path, monkeypatch, capsys):
    steps = [release.release_steps.Step(name, lambda r=reason: r, None) for name, reason in PLANNED]
    monkeypatch.setattr(release.release_steps, "plan", lambda release: steps)
    release.main([NAME, "--out", str(tmp_path / "new"), "--plan"])
    lines = [
        "one: finished",
        "two: to do again",
        "three: finished, if the step two gives the same files",
        "four: to do",
    ]
    assert capsys.readouterr().out.splitlines() == lines
    assert not (tmp_path / "new").exists()


def test_a_release_without_photographs_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "training_photographs", lambda: TrainingSet(bundled_photographs(), "", ""))
    with pytest.raises(ValueError, match="no photographs to train on: run data_prep/fetch"):
        release.main([NAME, "--out", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("model", ["cnn", "none"])
def test_a_model_without_such_a_training_is_refused(model):
    with pytest.raises(
        ValueError, match=f"no solver.prototxt in models/{model}/training; models that have one: 2-1-2"
    ):
        release.main([model])


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_make_passes_its_variables_on():
    make = ["make", "-n", "-o", "setup", "release", "MODEL=m", "GPU=0", "ITERATIONS=20", "PHOTOS=my photos"]
    command = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert ' "m" ' in command and "--gpu 0" in command and "--iterations 20" in command
    assert '--photos "my photos"' in command and "--precision" not in command


@pytest.mark.slow
def test_a_dry_run_makes_all_and_the_second_nothing(tmp_path):
    command = [sys.executable, "tools/release.py", NAME, "--iterations", "4", "--out", str(tmp_path)]
    gpu = ["--gpu", os.environ["TEST_GPU"]] if "TEST_GPU" in os.environ else []

    def run():
        done = subprocess.run([*command, *gpu], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [line.split(" ", 1)[1] for line in done.stdout.splitlines() if line[1:3] == "/6"]

    assert run() == ["database: not made yet", *(f"{name}: to do" for name in STEPS[1:])]
    card = (tmp_path / "card.md").read_text()
    assert f"`make release MODEL={NAME} " in card and " ITERATIONS=4`" in card and "iterations: 4\n" in card
    assert json.loads((tmp_path / "validation.json").read_text())["PSNR"]["last"] > 15
    weights = models.open_net(ROOT / "prototxt/2-1-2_f32_k3/deploy.prototxt", tmp_path / f"{NAME}.caffemodel")
    assert "fused" in weights.blobs
    assert {"log.csv", "plot.png"} <= {path.name for path in tmp_path.iterdir()}
    assert run() == [f"{name}: finished before" for name in STEPS]
