import os
import re
import subprocess
import sys
from pathlib import Path

import caffe
import numpy as np
import pytest
import torch

from fusion import images
from tests.golden import nets
from tools import fuse

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "prototxt/2-1-2_f32_k3/deploy.prototxt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two images, one of another size, one truncated, one that is none, and weights."""
    folder = tmp_path_factory.mktemp("fuse")
    random = np.random.default_rng(0)
    for name, shape in (("a", (40, 50, 3)), ("b", (40, 50, 3)), ("small", (30, 50, 3)), ("gray", (40, 50))):
        images.write(folder / f"{name}.png", random.integers(0, 255, shape, np.uint8))
    images.write(folder / "deep.png", random.integers(0, 65535, (40, 50, 3), np.uint16))
    whole = (folder / "a.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("not an image")
    (folder / "folder.png").mkdir()
    net = caffe.Net(str(DEPLOY), caffe.TEST)
    nets.set_weights(net)
    net.save(str(folder / "w.caffemodel"))
    (folder / "broken.caffemodel").write_bytes((folder / "w.caffemodel").read_bytes()[:1000])
    return folder


@pytest.fixture
def run(folder, monkeypatch, capfd):
    """Runs the command in `folder`; (status, stdout, stderr)."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GLOG_minloglevel", "2")  # set here, so that it is unset after the test

    def run(*arguments):
        try:
            status = fuse.main(list(map(str, arguments)))
        except SystemExit as stop:  # argparse
            status = stop.code
        return (status, *capfd.readouterr())

    return run


def test_runs_as_a_program_from_anywhere(folder, tmp_path):
    command = [sys.executable, ROOT / "tools/fuse.py", "a.png", "truncated.png", "-o", tmp_path / "out.png"]
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert re.fullmatch(r"fuse\.py: error: truncated\.png: .*\n", done.stderr), done.stderr


NET = ("--net", DEPLOY, "--weights", "w.caffemodel")


def test_fuses_and_shows(run, tmp_path):
    out, panel = tmp_path / "out.png", tmp_path / "panel.png"
    status, said, errors = run("a.png", "b.png", "-o", out, "--panel", panel, *NET)
    assert status == 0, errors
    assert str(out) in said
    assert images.read(out).shape == (40, 50, 3)
    sides = images.read(panel)
    assert sides.shape == (40, 150, 3)
    np.testing.assert_array_equal(sides[:, 100:], images.read(out))
    assert sorted(os.listdir(tmp_path)) == ["out.png", "panel.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a.png", "small.png", *NET), "small.png is 50x30"),
        (("a.png", "gray.png", *NET), "gray.png is 50x40 8 bit gray"),
        (("a.png", "deep.png", *NET), "deep.png is 50x40 16 bit"),
        (("a.png", "none.png", *NET), "none.png"),
        (("a.png", "folder.png", *NET), "folder.png"),
        (("a.png", "text.png", *NET), "text.png: not an image"),
        (("a.png", "b.png", "--net", DEPLOY, "--weights", "none.caffemodel"), "none.caffemodel"),
        (("a.png", "b.png", "--net", "none.prototxt", "--weights", "w.caffemodel"), "none.prototxt"),
        (("a.png", "b.png", "--net", DEPLOY, "--weights", "broken.caffemodel"), "broken.caffemodel"),
        (("a.png", "b.png", "--net", DEPLOY, "--weights", "text.png"), "text.png"),
        (("a.png", "b.png", "--model", "none"), "no model 'none'"),
        (("a.png", "b.png", "--gpu", "0", *NET), "no GPU"),
    ],
)
def test_faults_get_one_line_and_leave_nothing(run, tmp_path, arguments, words):
    if "--gpu" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    status, _, errors = run(*arguments, "-o", tmp_path / "out.png")
    assert status == 1
    assert len(errors.strip().splitlines()) == 1, errors
    assert errors.startswith("fuse.py: error: ") and words in errors
    assert not list(tmp_path.iterdir())


def test_outputs_are_not_written_over(run, folder, tmp_path):
    before = (folder / "a.png").read_bytes()
    status, _, errors = run("a.png", "b.png", "-o", "a.png", "--force", *NET)
    assert status == 1 and "one of the images" in errors
    (tmp_path / "out.png").write_text("precious")
    status, _, errors = run("a.png", "b.png", "-o", tmp_path / "out.png", *NET)
    assert status == 1 and "--force" in errors
    assert (tmp_path / "out.png").read_text() == "precious"
    assert (folder / "a.png").read_bytes() == before


@pytest.mark.parametrize(
    "arguments", [("a.png",), ("a.png", "b.png", "--net", "x"), ("a.png", "b.png", "--tile", "3")]
)
def test_wrong_usage_is_status_2(run, tmp_path, arguments):
    assert run(*arguments, "-o", tmp_path / "o.png")[0] == 2
