"""What both Caffes log while they build nets: the same lines in the same order, for every net and solver."""

import os
import re
from pathlib import Path

import pytest
from caffe.proto import caffe_pb2
from hypothesis import HealthCheck, given, settings

from tests.bvlc.conftest import ROOT, run
from tests.bvlc.test_both import SOLVERS, short, work  # noqa: F401 (a fixture)
from tests.bvlc.test_layers import nets as random_nets
from tests.golden import layers, nets

pytestmark = pytest.mark.bvlc

SCRIPT = """
import sys, caffe
caffe.init_log(0, True)
for net in sys.argv[1:]:
    path, phase, stages = net.split("@")
    caffe.Net(path, int(phase), stages=stages.split())
"""
OLD = """
name: "old" input: "data" input: "more" input_dim: 2 input_dim: 3 input_dim: 6 input_dim: 5
input_dim: 2 input_dim: 3 input_dim: 6 input_dim: 5 force_backward: true
layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" param { lr_mult: 0 } param { } param { } }
layer { name: "scale" type: "Scale" bottom: "bn" top: "bn" scale_param { bias_term: true } }
layer { name: "sum" type: "Eltwise" bottom: "bn" bottom: "more" top: "sum" }
layer { name: "later" type: "Power" bottom: "sum" top: "later"
        include { min_level: 1 } include { stage: "a" } }
layer { name: "never" type: "Power" bottom: "sum" top: "never"
        exclude { phase: TRAIN } exclude { not_stage: "a" } }
"""
SHARED = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "one" type: "InnerProduct" bottom: "x" top: "one"
        param { name: "w" lr_mult: 0 } param { name: "b" } inner_product_param { num_output: 3 } }
layer { name: "two" type: "InnerProduct" bottom: "one" top: "two" param { name: "w" } param { name: "b" }
        inner_product_param { num_output: 3 } loss_weight: 0.1 }
layer { name: "loss" type: "EuclideanLoss" bottom: "two" bottom: "x" loss_weight: 0.5 }
layer { name: "more" type: "EuclideanLoss" bottom: "two" bottom: "one" top: "more"
        propagate_down: false propagate_down: true }
layer { name: "last" type: "SigmoidCrossEntropyLoss" bottom: "two" bottom: "x" loss_weight: 0 }
layer { name: "quiet" type: "Silence" bottom: "two" }
"""


@pytest.fixture(autouse=True)
def talkative(monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "0")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")


def lines(log):
    """The messages of a log; that a file holds integers only BVLC Caffe says, whenever it loads it."""
    log = re.sub(r"(?m)^[IWE]\d{4} [\d:.]+ +\d+ [\w.]+:\d+\] ", "", log)
    log = log.replace("WARNING: Logging before InitGoogleLogging() is written to STDERR\n", "")
    return [line for line in log.splitlines() if line != "Datatype class: H5T_INTEGER"]


def assert_same_lines(both, *arguments, at_least=0):
    """The same log of SCRIPT or of the `caffe` command, up to where there are numbers, by both; its lines."""
    command = ["python", "-c", SCRIPT] if arguments[0] == "nets" else ["caffe", arguments[0]]
    logs = [lines(run([f / command[0], *command[1:], *arguments[1:]])) for f in both.values()]
    ends = ("Starting Optimization", "Running for 1 iterations.")
    theirs, ours = (log[: next((i for i, line in enumerate(log) if line in ends), None)] for log in logs)
    assert len(theirs) > at_least
    assert ours == theirs
    return ours


@pytest.mark.parametrize("name", nets.names())
def test_every_net(both, work, name):  # noqa: F811
    nets.make_data(name)
    kinds = [
        f"prototxt/{name}/{kind}.prototxt@{phase}@{stage}"
        for kind in ("train_val", "deploy")
        for phase in (0, 1)
        for stage in (("detail", "approximation") if name == "srcnn" else ("",))
    ]
    assert_same_lines(both, "nets", *kinds, at_least=300)


def test_every_layer_and_what_is_rare(both, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = {**layers.CASES, "old": OLD, "shared": SHARED}
    for name, text in texts.items():
        (tmp_path / f"{name}.prototxt").write_text(text)
    kinds = [
        f"{name}.prototxt@{phase}@{stages}" for name in texts for phase in (0, 1) for stages in ("", "a b")
    ]
    assert_same_lines(both, "nets", *kinds, at_least=10000)


def test_random_nets(both, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nets_drawn = []

    @settings(
        max_examples=int(os.environ.get("RANDOM_NETS", 100)),
        derandomize="RANDOM_NETS" not in os.environ,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(random_nets())
    def draw(text):
        nets_drawn.append(f"{len(nets_drawn)}.prototxt@{int('TRAIN' not in text)}@")
        (tmp_path / nets_drawn[-1].split("@")[0]).write_text(text)

    draw()
    assert_same_lines(both, "nets", *nets_drawn, at_least=len(nets_drawn) * 20)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver(both, work, solver):  # noqa: F811
    assert_same_lines(both, "train", "-solver", short(solver, 1), at_least=300)


def test_the_flags_and_old_solvers(both, work):  # noqa: F811
    (work / "old.prototxt").write_text(OLD)
    (work / "shared.prototxt").write_text(SHARED)
    rest = 'base_lr: 0.1 lr_policy: "fixed" max_iter: 0 '
    train = (
        'train_net: "shared.prototxt" test_net: "old.prototxt" test_iter: 1 test_interval: 9 '
        "test_initialization: false test_state { level: 3 } solver_type: ADAM "
    )
    (work / "first.prototxt").write_text(rest + train)
    assert_same_lines(both, "train", "-solver", "first.prototxt", at_least=200)
    weights, flags = "first_iter_0.caffemodel", ["-level", "2", "-stage", "a,b"]
    assert (work / weights).exists()
    old_solver = (
        f"net_param {{ {SHARED} }} test_net_param {{ {SHARED} }} test_iter: 1 test_iter: 1 test_interval: 9 "
    )
    old_solver += 'test_initialization: false snapshot_prefix: "build"'
    (work / "build" / "given.prototxt").write_text(rest + old_solver)
    assert_same_lines(both, "train", "-solver", "build/given.prototxt", "-weights", weights, *flags)
    assert_same_lines(both, "train", "-solver", "first.prototxt", "-snapshot", "first_iter_0.solverstate")
    (work / "more.prototxt").write_text(SHARED.replace('"two"', '"three"'))
    test = ["test", "-model", "more.prototxt", "-weights", weights, "-iterations", "1", *flags]
    log = assert_same_lines(both, *test)
    assert sum(line.startswith("Ignoring source layer") for line in log) == 2


def test_layers_of_before_2015(both, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = ROOT / "tests/caffe_torch/golden/v1.prototxt"
    Path("solver.prototxt").write_text(f'net: "{path}" base_lr: 0.1 lr_policy: "fixed" max_iter: 0')
    assert_same_lines(both, "train", "-solver", "solver.prototxt", at_least=200)


def test_what_is_saved_of_a_net(both, tmp_path, monkeypatch):
    """All but the numbers: phases and weights of losses are filled in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shared.prototxt").write_text(SHARED)
    script = """
import sys, caffe
for phase in (caffe.TRAIN, caffe.TEST):
    for path in sys.argv[1:]:
        caffe.Net(path, phase).save("saved")
        net = caffe.proto.caffe_pb2.NetParameter()
        net.ParseFromString(open("saved", "rb").read())
        for layer in net.layer:
            del layer.blobs[:]
        print(net.SerializeToString().hex())
"""
    paths = ["shared.prototxt", ROOT / "tests/caffe_torch/golden/v1.prototxt"]
    monkeypatch.setenv("GLOG_minloglevel", "2")
    printed = (run([folder / "python", "-c", script, *paths]).split() for folder in both.values())
    theirs, ours = (
        [caffe_pb2.NetParameter.FromString(bytes.fromhex(net)) for net in nets] for nets in printed
    )
    assert min(len(net.layer) for net in theirs) > 8
    assert ours == theirs
