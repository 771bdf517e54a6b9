import os
import re
import subprocess
import sys
from pathlib import Path

import caffe
import numpy as np
import pytest
import torch

from fusion import images, methods
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
    "arguments",
    [
        (),
        ("a.png", "b.png", "--net", "x"),
        ("a.png", "b.png", "--tile", "3"),
        ("a.png", "b.png", "--method", "lp", "--refine", "select"),
        ("a.png", "b.png", "--fast", "--model", "x"),
        ("a.png", "--batch", "x.csv"),
        ("--batch", "x.csv", "--json", "x.json"),
    ],
)
def test_wrong_usage_is_status_2(run, tmp_path, arguments):
    assert run(*arguments, "-o", tmp_path / "o.png")[0] == 2


@pytest.mark.parametrize("method", sorted(set(methods.TITLES) - {"two_stream"}))
@pytest.mark.parametrize("sources", [("a.png", "b.png"), ("deep.png", "deep.png", "deep.png")])
def test_every_method_fuses(run, folder, tmp_path, method, sources):
    status, said, errors = run(*sources, "-o", tmp_path / "out.png", "--method", method)
    assert status == 0, errors
    source, fused = images.read(folder / sources[0]), images.read(tmp_path / "out.png")
    assert fused.shape == source.shape and fused.dtype == source.dtype
    assert f"{len(sources)} images" in said


def test_options_reach_the_method(run, tmp_path):
    results = []
    for name, setting in (("one", "levels=1"), ("four", "levels=4"), ("area", "rule=area_max")):
        out = tmp_path / f"{name}.png"
        assert run("a.png", "b.png", "-o", out, "--method", "lp", "--set", setting)[0] == 0
        results.append(images.read(out).tobytes())
    assert len(set(results)) == 3


@pytest.mark.parametrize("setting", ["levels=many", "nonsense=1", "levels", "rule=best"])
def test_options_that_do_not_fit_are_refused(run, tmp_path, setting):
    status, _, errors = run("a.png", "b.png", "-o", tmp_path / "o.png", "--method", "lp", "--set", setting)
    assert status == 1 and len(errors.splitlines()) == 1 and setting.split("=")[-1] in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", methods.TITLES)
def test_help_of_a_method_names_its_options(run, method):
    status, said, errors = run("--help-method", method)
    assert status == 0, errors
    assert all(f"  {key}=" in said for key in methods.options(method))
