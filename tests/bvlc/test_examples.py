"""Examples as one writes them for Caffe 1.0, by BVLC Caffe and caffe_torch: the same logs and numbers."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.bvlc.conftest import run
from tests.caffe_torch.helpers import assert_same_log

pytestmark = pytest.mark.bvlc

EXAMPLES = Path(__file__).with_name("examples")


@pytest.fixture
def work(tmp_path, monkeypatch, both):
    """The folder of the examples, a copy, with their data and first weights."""
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLOG_minloglevel", "0")
    run([both["torch"] / "python", "data.py"])
    return tmp_path


def first_weights(both, example):
    """Weights for both to begin with, as BVLC Caffe's fillers draw them."""
    script = f"import caffe; caffe.Net('{example}.prototxt', caffe.TRAIN).save('first.caffemodel')"
    run([both["bvlc"] / "python", "-c", script])
    return "first.caffemodel"


def solving(log):
    """The lines of a log from the first of the training on, without times and places."""
    lines = re.sub(r"(?m)^[IWE]\d{4} [\d:.]+ +\d+ \w+\.\w+:\d+\] ", "", log)
    lines = re.sub(r"\(.*iter/s.*iters\)", "(SPEED)", lines)
    lines = lines[lines.index("Solving ") :].strip().splitlines()
    return [line for line in lines if line != "Datatype class: H5T_INTEGER"]  # said of each file


@pytest.mark.parametrize("example", ["classifier", "autoencoder", "own_layers"])
def test_the_command(both, work, example, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(work), prepend=os.pathsep)  # of own_layers.py
    solver, weights = f"{example}_solver.prototxt", first_weights(both, example)
    train = ["train", "-solver", solver, "-weights", weights]
    logs = {name: solving(run([folder / "caffe", *train])) for name, folder in both.items()}
    # BVLC Caffe adds the 10 800 terms of a cross entropy one after another in float32, which
    # puts its sum off by up to 6e-5.
    assert_same_log(logs["torch"], logs["bvlc"], rtol=2e-4 if example == "autoencoder" else 3e-5)
    if example == "classifier":  # without a stage the other has no data to test on
        test = ["test", "-model", f"{example}.prototxt", "-weights", weights, "-iterations", "2"]
        theirs, ours = (
            re.findall(r"\] ((?:Batch \d, )?\w+ = \S+)", run([folder / "caffe", *test]))
            for folder in both.values()
        )
        assert_same_log(ours, theirs)


@pytest.mark.parametrize("script, net", [("script", "classifier"), ("own_layers_script", "own_layers")])
def test_the_script(both, work, script, net):
    first_weights(both, net)
    for name, folder in both.items():
        run([folder / "python", f"{script}.py", f"{name}.npz"])
    theirs, ours = (np.load(f"{name}.npz") for name in ("bvlc", "torch"))
    assert list(ours) == list(theirs)
    for what in theirs:
        if theirs[what].dtype.kind == "U":
            assert np.array_equal(ours[what], theirs[what]), what
            continue
        size = max(1e-6, np.abs(theirs[what]).max())
        np.testing.assert_allclose(ours[what], theirs[what], rtol=1e-4, atol=1e-5 * size, err_msg=what)
