import shutil
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2

from tests.golden import nets
from tools import start_weights

ROOT = Path(__file__).resolve().parents[2]
SOLVER = 'net: "prototxt/{}/train_val.prototxt" type: "Adam" base_lr: 1e-3 lr_policy: "fixed" random_seed: 1'


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A current folder with prototxt/ and small databases where the nets look for them."""
    (tmp_path / "prototxt").symlink_to(ROOT / "prototxt")
    monkeypatch.chdir(tmp_path)
    nets.make_data()
    return tmp_path


def start(name, *options, out="start.caffemodel"):
    """start_weights.py for a net of prototxt/; the net with what it wrote."""
    Path("solver.prototxt").write_text(SOLVER.format(name))
    start_weights.main(["solver.prototxt", "-o", out, *options])
    return deployed(name, out)


def deployed(name, weights):
    return caffe.Net(f"prototxt/{name}/deploy.prototxt", caffe.TEST, weights=weights)


def run(net, a, b):
    for name, image in (("a", a), ("b", b)):
        net.blobs[name].reshape(*image.shape)
        net.blobs[name].data[...] = image
    net.reshape()
    return net.forward()["fused"].copy()


@pytest.fixture
def pair():
    return np.random.default_rng(0).random((2, 1, 4, 20, 24)).astype(np.float32)


@pytest.mark.parametrize(
    "name",
    [p.name for p in (ROOT / "prototxt").iterdir() if p.name[0].isdigit() and p.name not in nets.STRIDED],
)
def test_begins_with_the_mean_of_both(work, pair, name):
    np.testing.assert_allclose(run(start(name), *pair), pair.mean(0), rtol=0, atol=1e-6)


def test_the_other_filters_are_there_to_learn(work):
    net = start("2-1-2_f32_k3")
    for name, blobs in net.params.items():
        unused = np.abs(blobs[0].data).sum(axis=(0, 2, 3) if name.startswith("deconv") else (1, 2, 3)) == 0
        assert not unused.any(), name
    solver = caffe.get_solver("solver.prototxt")
    solver.net.copy_from("start.caffemodel")
    before = {name: blobs[0].data.copy() for name, blobs in solver.net.params.items()}
    solver.step(2)  # first the last layer learns to use them, then they learn
    for name, blobs in solver.net.params.items():
        assert (blobs[0].data != before[name]).mean() > 0.9, name


def test_the_same_every_time(work):
    for name in ("1", "2"):
        start("2-1-2_f32_k3", out=name)
    assert Path("1").read_bytes() == Path("2").read_bytes()


@pytest.mark.parametrize(
    ("small", "large"),
    [("2-1-2_f32_k3", "2-1-2_f64_k5"), ("2-1-2_f32_k5", "2-1-2_f64_k9"), ("2-1-2_f64_k3", "2-1-2_f64_k5")],
)
def test_a_grown_net_gives_what_the_small_one_gives(work, pair, small, large):
    net = caffe.Net(f"prototxt/{small}/train_val.prototxt", caffe.TRAIN)
    nets.set_weights(net)
    net.save("small.caffemodel")
    own = deployed(small, "small.caffemodel")
    grown = start(large, "--grow", "small.caffemodel")
    np.testing.assert_allclose(run(grown, *pair), run(own, *pair), rtol=0, atol=2e-6)


def test_mistakes_are_reported(work, capsys):
    start("2-1-2_f64_k5")
    with pytest.raises(
        ValueError, match=r"conv1_a: filters of 64 x 4 x 5 x 5 do not fit into 32 x 4 x 3 x 3"
    ):
        start("2-1-2_f32_k3", "--grow", "start.caffemodel", out="other")
    with pytest.raises(ValueError, match="conv3_a: not in the smaller net, which has conv1_a, conv2_a"):
        start("3-1-3_f64_k5", "--grow", "start.caffemodel", out="other")
    with pytest.raises(ValueError, match="conv1_a: shares filters with a layer whose filters differ"):
        start("2-1-2_f64_k5_shared", "--grow", "start.caffemodel", out="other")
    Path("folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        start("2-1-2_f64_k5", out="folder")
    Path("noise").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="noise: not a caffemodel"):
        start("2-1-2_f64_k5", "--grow", "noise", out="other")
    Path("empty").write_bytes(caffe_pb2.NetParameter(name="x").SerializeToString())
    with pytest.raises(ValueError, match="empty: a caffemodel without filters"):
        start("2-1-2_f64_k5", "--grow", "empty", out="other")
    with pytest.raises(FileNotFoundError):
        start("2-1-2_f64_k5", "--grow", "nowhere", out="other")
    with pytest.raises(ValueError, match=r"stride5/train_val\.prototxt: conv1_a has a stride"):
        start("2-1-2_f64_k5_stride5", out="other")
    shutil.rmtree("build")
    with pytest.raises((ValueError, OSError), match=r"build/data/train\.txt"):
        start("2-1-2_f64_k5", out="other")
    assert not Path("other").exists() and not list(Path().glob("*.part*"))
