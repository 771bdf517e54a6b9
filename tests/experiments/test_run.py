"""The experiments from end to end: trained once, resumed, and reported."""

import csv
import shlex
import signal
from pathlib import Path

import caffe
import h5py
import numpy as np
import pytest

from experiments import report, run
from tools import timing
from two_stream_fusion.base import cli
from two_stream_fusion.base.files import exclusive

ROOT = Path(run.__file__).resolve().parents[1]


def test_two_iterations_by_caffe_itself(trained, forbid_processes):
    lab, options, printed = trained
    (row,) = lab.rows()
    assert row["net"] == "2-1-2_f32_k3" and row["parameters"] == "33348" and row["iterations"] == "2"
    assert row["s per iteration"] == "0.020" and row["s per megapixel"] == "1.00"
    (folder,) = (lab.folder / "out" / "runs").iterdir()
    assert sorted(p.suffix for p in folder.iterdir()) == [".caffemodel", *[".log"] * 2, *[".prototxt"] * 2]
    (log,) = folder.glob("test-*.log")
    loss = float(log.read_text().split("Loss: ")[1].split()[0])
    assert float(row["PSNR"]) == pytest.approx(10 * np.log10(4 * 16 * 16 / loss), abs=0.006)
    curve = [(r["iteration"], r["set"]) for r in lab.rows("curves")]
    assert curve == [(str(i), set_name) for set_name in ("train", "val") for i in (0, 1, 2)]
    assert "tiny: rough, 2 iterations of 16 patches" in printed
    assert f"| fast | {row['PSNR']} | 33348 |" in printed
    kept_files = [path.name for path in lab.runs_csv.parent.iterdir()]
    assert sorted(kept_files) == ["curves.csv", "plot.png", "plot.svg", "runs.csv", "summary.csv"]
    forbid_processes()
    run.main(options)  # nothing is left to do


def read_val(lab):
    """The rows to validate on: a, b and label."""
    with h5py.File(lab.folder / "out" / "data" / "patch_16_stride_9" / "val" / "000.h5") as file:
        return [file[name][:] / np.float32(255) for name in ("a", "b", "label")]


def test_every_validation_patch_is_scored_once(trained):
    lab, _, _ = trained
    (folder,) = (lab.folder / "out" / "runs").iterdir()
    (log,) = folder.glob("test-*.log")
    assert log.read_text().count(", loss = ") == 2  # 24 patches, 12 at a time
    text = (folder / "train_val.prototxt").read_text()
    assert "batch_size: 12" in text and "batch_size: 16" in text
    weights = str(folder / "final.caffemodel")
    net = caffe.Net(str(ROOT / "prototxt/2-1-2_f32_k3/deploy.prototxt"), caffe.TEST, weights=weights)
    a, b, label = read_val(lab)
    net.blobs["a"].reshape(*a.shape)
    net.blobs["b"].reshape(*b.shape)
    fused = net.forward(a=a, b=b)["fused"]
    assert len(a) == 24
    psnr = 10 * np.log10(1 / np.square(fused - label).mean())
    assert float(lab.rows()[0]["PSNR"]) == pytest.approx(psnr, abs=0.006)


def test_a_training_from_the_mean_begins_there(trained):
    lab, _, _ = trained
    first = next(row for row in lab.rows("curves") if row["set"] == "val" and row["iteration"] == "0")
    a, b, label = (values[:16] for values in read_val(lab))  # those of one batch
    loss = np.square((a + b) / 2 - label).sum() / 16  # Eq. 4
    assert float(first["loss"]) == pytest.approx(loss, rel=1e-4)
    assert lab.rows()[0]["start"] == "mean"
    assert not list((lab.folder / "out").glob("runs/*/first.*"))


def test_what_changes_a_training_runs_it_again(stub, lab, forbid_processes):
    options = stub()
    run.main(options)
    run.main([*options[:-1], "5"])
    run.main([*options, "--precision", "bfloat16"])
    assert len(list((lab.folder / "out" / "runs").iterdir())) == 3
    timings = list((lab.folder / "out" / "timing").iterdir())
    assert len(timings) == 4  # an iteration takes as long in 4 as in 5
    forbid_processes()
    run.main(options)
    (lab.folder / "shared" / "train" / "0.png").unlink()
    with pytest.raises(AssertionError, match="was started"):
        for path in (lab.folder / "out" / "data").iterdir():
            path.rename(path.with_name("old"))
        run.main(options)  # the photographs are others, so the data and the training are


def test_a_moved_caffe_and_explicit_float32_do_not_train_again(stub, lab, monkeypatch, forbid_processes):
    options = stub()
    run.main(options)
    (lab.folder / "bin").rename(lab.folder / "moved")
    (lab.folder / "link").symlink_to(lab.folder / "moved")
    program = lab.folder / "moved" / "caffe"
    program.write_text(program.read_text().replace("#!", "#!/usr/bin/env ", 1))
    forbid_processes()
    monkeypatch.setattr(timing, "time_training", None)
    for folder in ("moved", "link"):
        new_options = [*options[:4], str(lab.folder / folder), *options[5:]]
        assert options[3] == "--caffe"
        run.main(new_options)
        run.main([*new_options, "--precision", "float32"])
    program.write_text(program.read_text() + "# another\n")
    monkeypatch.setattr(timing, "time_training", lambda *_: 20.0)
    with pytest.raises(AssertionError, match="was started"):
        run.main(new_options)


def test_the_same_rows_made_again_do_not_train_again(stub, lab, forbid_processes):
    options = stub()
    run.main(options)
    for path in (lab.folder / "shared" / "train").iterdir():
        path.touch()
    forbid_processes()
    run.main(options)


def test_trained_on_photographs_are_not_validated_on(stub, lab):
    path = lab.runs_csv
    path.write_text(path.read_text().replace("--patch 16\n", "--patch 16 --val-share 0.5\n"))
    with pytest.raises(
        ValueError, match=r"fast: patch_16_val_share_0\.5 holds photographs that are trained on"
    ):
        run.main(stub())


def test_one_at_a_time_in_a_folder(stub, lab):
    with exclusive(lab.folder / "out" / "lock", ""), pytest.raises(ValueError, match="running there already"):
        run.main(stub())


@pytest.mark.parametrize(
    "options, words",
    [
        (["tiny"], "fast: start 'half': one of mean, random"),
        (["fig5z"], "no experiment 'fig5z': there are tiny"),
        (["--iterations", "0"], "must be at least 1"),
        (["--caffe", "/nowhere"], "no program `caffe`"),
    ],
)
def test_bad_options_are_refused(lab, capsys, options, words):
    runs_csv = lab.runs_csv
    runs_csv.write_text(runs_csv.read_text().replace("random", "half"))
    options += ["--out", str(lab.folder / "out")]
    with pytest.raises((SystemExit, ValueError)) as error:
        run.main(options)
    assert words in str(error.value) + capsys.readouterr().err


def test_commands_are_run_with_their_folder(lab, capfd):
    folder = lab.folder / "experiments" / "drawn"
    folder.mkdir()
    (folder / "commands.txt").write_text("-c 'import sys; open(sys.argv[1], \"w\")' {out}/made.png\n")
    run.main(["drawn", "--out", str(lab.folder / "out"), "--keep"])
    assert (folder / "made.png").exists()
    (folder / "commands.txt").write_text("-c 'raise SystemExit(3)'\n")
    with pytest.raises(OSError, match="drawn: failed"):
        run.main(["drawn", "--out", str(lab.folder / "out")])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_draws_ends_with_its_parent(number, status, lab, monkeypatch):
    """It removes what it has not finished."""
    folder = lab.folder / "experiments" / "drawn"
    folder.mkdir()
    program = folder / "draw.py"
    program.write_text(
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))\n"
        "try:\n    open(sys.argv[1], 'w').close()\n"
        f"    os.kill(os.getppid(), {int(number)})\n    time.sleep(20 if {int(number)} == 15 else 0.1)\n"
        "finally:\n    os.remove(sys.argv[1])\n"
    )
    (folder / "commands.txt").write_text(f"-I {program} {{out}}/part\n")
    out = lab.folder / "out" / "drawn"
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: run.run_commands("drawn", out))
    assert ended.value.code == status and out.is_dir() and not list(out.iterdir())


@pytest.mark.parametrize(
    "path", sorted((ROOT / "experiments").glob("*/commands.txt")), ids=lambda p: p.parent.name
)
def test_commands_are_installed(path):
    for line in path.read_text().splitlines():
        assert (ROOT / shlex.split(line)[0]).is_file()


@pytest.mark.parametrize("name", run.experiment_names())
def test_readmes_say_what_was_kept(name):
    folder = ROOT / "experiments" / name
    text = (folder / "README.md").read_text(encoding="utf-8")
    for path in folder.glob("*.[pj][np]g"):
        assert f"]({path.name})" in text
    if (folder / "summary.csv").exists():
        with open(folder / "summary.csv", newline="") as file:
            assert report.markdown(list(csv.DictReader(file))) in text
