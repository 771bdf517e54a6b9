"""The training net and the test nets that a solver names."""

import re
from pathlib import Path

import caffe
import pytest

from tests.caffe_torch.helpers import SMALL, solver_with_first_weights


@pytest.fixture(autouse=True)
def folder(training_folder):
    return training_folder


STAGES = """
layer { name: "in" type: "DummyData" top: "x" dummy_data_param { shape { dim: 2 dim: 3 } } }
layer { name: "one" type: "Power" bottom: "x" top: "one" include { phase: TRAIN } }
layer { name: "two" type: "Power" bottom: "x" top: "two" include { phase: TEST stage: "a" } }
layer { name: "three" type: "Power" bottom: "x" top: "three" include { phase: TEST not_stage: "a" } }
layer { name: "four" type: "Power" bottom: "x" top: "four" include { min_level: 2 } }
"""


def test_states_choose_the_layers_of_each_net():
    Path("stages.prototxt").write_text(STAGES)
    Path("solver.prototxt").write_text(
        'net: "stages.prototxt" base_lr: 0 lr_policy: "fixed" max_iter: 1 test_interval: 1 '
        'test_iter: 1 test_iter: 1 train_state { level: 2 } test_state { stage: "a" } test_state { level: 3 }'
    )
    solver = caffe.get_solver("solver.prototxt")
    nets = [solver.net, *solver.test_nets]
    outputs = [["four", "one"], ["two"], ["four", "three"]]
    assert [sorted(net.outputs) for net in nets] == outputs


def test_all_ways_to_name_nets():
    net = Path("net.prototxt").read_text()
    settings = 'base_lr: 0.001 lr_policy: "fixed" max_iter: 1'
    tests = "test_iter: 2 test_interval: 1"
    for text, count in (
        (f'train_net: "net.prototxt" {settings}', 0),
        (f'train_net: "net.prototxt" test_net: "net.prototxt" {tests} {settings}', 1),
        (f'net: "net.prototxt" test_net: "net.prototxt" test_iter: 1 {tests} {settings}', 2),
        (f"net_param {{ {net} }} {tests} {settings}", 1),
        (f"train_net_param {{ {net} }} test_net_param {{ {net} }} {tests} {settings}", 1),
    ):
        solver = solver_with_first_weights(text)
        assert len(solver.test_nets) == count
        solver.step(1)  # which tests first
        for test_net in solver.test_nets:
            solver.net.params["conv1"][0].data[0] = 3
            assert (test_net.params["conv1"][0].data[0] == 3).all()


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "one training net, by net, .* none"),
        ('net: "net.prototxt" train_net: "net.prototxt"', "train_net and net"),
        ('net: "absent.prototxt"', "absent.prototxt"),
        ('net: "net.prototxt" test_iter: 1', "test_interval must be 1 or more"),
        ('train_net: "net.prototxt" test_iter: 1 test_interval: 1', "0 test nets and 1 values of test_iter"),
        ('net: "net.prototxt" test_net: "net.prototxt"', "1 test nets and 0 values of test_iter"),
        (
            'net: "net.prototxt" test_iter: 1 test_interval: 1 test_state {} test_state {}',
            "2 values of test_state for 1",
        ),
        (
            'net: "net.prototxt" average_loss: 0',
            r"solver\.prototxt: average_loss and iter_size are 1 or more",
        ),
        ('net: "net.prototxt" iter_size: 0', "average_loss and iter_size are 1 or more"),
        ('net: "net.prototxt" test_iter: -1 test_interval: 1', "test_iter is 0 or more"),
        ('net: "net.prototxt" type: "AdaGrad" momentum: 0.9', "momentum has no meaning for AdaGrad"),
        ('net: "net.prototxt" display: -1', "display -1 is negative"),
        ('net: "net.prototxt" regularization_type: "L3"', "'L3': use L1 or L2"),
        ('net: "net.prototxt" base_learning_rate: 1', r"solver\.prototxt: 1:\d+ .*base_learning_rate"),
        ('net: "net.prototxt" type: "Adamw"', r"solver\.prototxt: unknown solver type 'Adamw'"),
        ('net: "net.prototxt" snapshot: 1 snapshot_prefix: "list.txt/x"', "list.txt cannot be written to"),
    ],
)
def test_solvers_that_contradict_themselves_are_refused(text, message):
    Path("solver.prototxt").write_text(f'{text} base_lr: 0.001 lr_policy: "fixed" max_iter: 1')
    with pytest.raises((ValueError, OSError), match=message) as caught:
        caffe.get_solver("solver.prototxt")
    assert re.search(r"^solver\.prototxt: |absent\.prototxt", str(caught.value))


def test_test_nets_have_their_own_weights_before_the_first_test():
    """BVLC Caffe's numbers."""
    text = SMALL.replace("train_net_param", "net_param") + 'lr_policy: "fixed" test_iter: 1 test_interval: 2 '
    Path("solver.prototxt").write_text(text + "test_initialization: false")
    solver = caffe.get_solver("solver.prototxt")
    trained, tested = (net.params["fc"][0].data for net in (solver.net, solver.test_nets[0]))
    tested[...] = 9
    assert trained[0, 0] == 1
    solver.step(1)
    assert (trained[0, 0], tested[0, 0]) == (pytest.approx(1.2), 9)
    solver.step(2)
    solver.test_nets[0].params["fc"][0].data[...] = 3
    assert trained[0, 0] == 3
