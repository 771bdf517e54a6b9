"""BVLC Caffe and caffe_torch side by side: each trains, and resumes from snapshots of the other."""

import json
import re
import shutil

import numpy as np
import pytest

from tests.bvlc.conftest import ROOT, run
from tests.golden import nets
from tools import plot_log
from two_stream_fusion.io import images
from two_stream_fusion.methods import models

pytestmark = pytest.mark.bvlc

SOLVERS = sorted(path.name for path in (ROOT / "solver").glob("*.prototxt"))


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder that looks like the repository to a solver; what its net reads is made by `short`."""
    (tmp_path / "prototxt").symlink_to(ROOT / "prototxt")
    (tmp_path / "build" / "snapshots").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def short(solver, iterations, snapshot=0):
    """A solver of solver/ cut to a few iterations, everything shown, as a file in the current folder.

    Makes the small databases that the solver's net reads.
    """
    text = (ROOT / "solver" / solver).read_text()
    nets.make_data(re.search("prototxt/(.*)/train_val", text)[1])
    for name, value in (
        ("max_iter", iterations),
        ("display", 1),
        ("average_loss", 1),
        ("test_iter", 2),
        ("test_interval", 2),
        ("snapshot", snapshot),
        ("snapshot_prefix", '"build/snapshots/x"'),
    ):
        text = re.sub(rf"^{name}:.*$", "", text, flags=re.M) + f"{name}: {value}\n"
    with open("solver.prototxt", "w") as file:
        file.write(text)
    return "solver.prototxt"


def curves(log):
    """(iterations and losses shown, iterations and losses tested) in a log of either Caffe."""
    train, test = plot_log.parse(log.splitlines())
    return np.array(train), np.array(test)


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_train_alike(both, work, solver):
    path = short(solver, 4)
    run([both["bvlc"] / "caffe", "train", "-solver", path])
    start = "build/snapshots/x_iter_4.caffemodel"
    shutil.move(start, "start.caffemodel")  # the same first weights for both, whatever their random numbers
    logs = {
        name: run([folder / "caffe", "train", "-solver", path, "-weights", "start.caffemodel"])
        for name, folder in both.items()
    }
    train, test = curves(logs["bvlc"])
    ours_train, ours_test = curves(logs["torch"])
    assert len(train) == 5 and len(test) == 3
    # Adam turns gradients near zero, where rounding decides, into full steps: with another BLAS kernel BVLC
    # Caffe differs from itself by up to 2e-4, and filters of 9x9 have the most such gradients.
    np.testing.assert_allclose(ours_train, train, rtol=5e-4)
    np.testing.assert_allclose(ours_test, test, rtol=5e-4)


@pytest.mark.parametrize("snapshot_format", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize(("first", "second"), [("bvlc", "torch"), ("torch", "bvlc")])
def test_one_goes_on_where_the_other_stopped(both, work, first, second, snapshot_format):
    path = short("adam.prototxt", 6, snapshot=3)
    with open(path, "a") as file:
        file.write(f"snapshot_format: {snapshot_format}\n")
    run([both[first] / "caffe", "train", "-solver", path])
    end = ".h5" if snapshot_format == "HDF5" else ""
    state = f"build/snapshots/x_iter_3.solverstate{end}"
    command = ["train", "-solver", path, "-snapshot", state]
    losses = {name: curves(run([folder / "caffe", *command]))[0] for name, folder in both.items()}
    # BVLC Caffe resumes at row 0; ours resumes at its last row if it wrote the state itself.
    if first == "bvlc":
        np.testing.assert_allclose(losses["torch"], losses["bvlc"], rtol=3e-4)
    assert [int(i) for i, _ in losses[second]] == [3, 4, 5, 6]


@pytest.mark.parametrize("kind", ["caffemodel", "caffemodel.h5"])
def test_weights_give_the_same_output_in_both(both, work, kind):
    script = f"""
import sys, numpy as np, caffe
net = caffe.Net("prototxt/2-1-2_f64_k5_shared/deploy.prototxt", caffe.TEST)
sys.path.insert(0, {str(ROOT)!r})
from tests.golden import nets
if sys.argv[1] == "write":
    nets.set_weights(net)
    net.save_hdf5(sys.argv[2]) if sys.argv[2].endswith("h5") else net.save(sys.argv[2])
else:
    net.copy_from(sys.argv[2])
for name in "ab":
    net.blobs[name].data[...] = np.random.RandomState(1).random_sample((1, 4, 50, 50))
np.save(sys.argv[3], net.forward()["fused"])
"""
    for writer in both:
        for reader in both:
            run([both[writer] / "python", "-c", script, "write", f"w.{kind}", "written.npy"])
            run([both[reader] / "python", "-c", script, "read", f"w.{kind}", "read.npy"])
            np.testing.assert_allclose(np.load("read.npy"), np.load("written.npy"), rtol=0, atol=1e-6)


def test_every_net_trains_and_deploys_in_both(both):
    printed = run([both["bvlc"] / "python", ROOT / "tests/golden/nets.py"])
    theirs, _ = json.JSONDecoder().raw_decode(printed)  # the log stands behind it
    golden = json.loads((ROOT / "tests/golden/nets.json").read_text())
    assert sorted(theirs) == sorted(golden) == nets.names()
    for name in golden:  # the same build on another processor rounds in another order
        np.testing.assert_allclose(theirs[name]["forward"], golden[name]["forward"], rtol=0, atol=1e-6)
        np.testing.assert_allclose(theirs[name]["losses"], golden[name]["losses"], rtol=5e-6)


@pytest.mark.parametrize("dtype, ending", [(np.uint8, "png"), (np.uint16, "tif")])
@pytest.mark.parametrize("model", [*models.names(), *models.names("multi_stream")])
def test_fuse_writes_the_same_image_in_both(both, tmp_path, model, dtype, ending):
    random = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    for name in ("a", "b"):
        images.write(tmp_path / f"{name}.png", random.integers(0, top, (70, 90, 3), dtype, endpoint=True))
    fused = {}
    for name, folder in both.items():
        out = tmp_path / f"{name}.{ending}"
        command = [folder / "python", ROOT / "tools/fuse.py", tmp_path / "a.png", tmp_path / "b.png"]
        run([*command, "-o", out, "--model", model, "--tile", "40"])
        fused[name] = images.read(out).astype(int)
    # float32 sums in another order: half a level at most, so one after rounding. The weights of a
    # multi-stream net multiply the difference of two frames, here of the whole range: some 1e-5 of it.
    # The scores of the net of two scales are larger, and so are their roundings.
    share = 1e-4 if model == "N-stream_f32_k3-stack" else 5e-5
    bound = 1 if model in models.names() else max(1, top * share)
    assert np.abs(fused["bvlc"] - fused["torch"]).max() <= bound
