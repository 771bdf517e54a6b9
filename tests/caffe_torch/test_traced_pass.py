"""Passes of small nets as one function: the same bits as untraced, or none."""

import caffe
import numpy as np
import pytest
from caffe import layers, traced_pass, training
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from tests.caffe_torch.helpers import assert_arrays_equal

NEVER = 10**9
INNER = 'inner_product_param { num_output: 3 weight_filler { type: "xavier" } bias_filler { value: 0.1 } }'
NET = f"""
layer {{ name: "in" type: "Input" top: "x" top: "y"
  input_param {{ shape {{ dim: 6 dim: 4 dim: 1 dim: 1 }} shape {{ dim: 6 }} }} }}
MIDDLE
layer {{ name: "ip" type: "InnerProduct" bottom: "h" top: "ip" param {{ decay_mult: 0 }} {INNER} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "y" top: "loss" }}
"""
SOLVER = 'base_lr: 0.05 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.01 random_seed: 3 '


def middle(layer_type="Sigmoid", settings=""):
    return f'layer {{ name: "h" type: "{layer_type}" bottom: "x" top: "h" {settings} }}'


def fill(net):
    random = np.random.default_rng(0)
    net.blobs["x"].data[...] = random.normal(size=net.blobs["x"].shape)
    net.blobs["y"].data[...] = random.integers(0, 3, net.blobs["y"].shape)


def build(text="", settings=""):
    """A solver whose inputs have values, the same each time."""
    text = SOLVER + settings + " net_param { " + NET.replace("MIDDLE", text or middle()) + " }"
    solver = training.Solver(text_format.Parse(text, caffe_pb2.SolverParameter()))
    fill(solver.net)
    return solver


def trained(monkeypatch, warm_up, *arguments, steps=9):
    monkeypatch.setattr(traced_pass, "WARM_UP", warm_up)
    solver = build(*arguments)
    solver.step(steps)
    return solver


def is_traced(solver):
    return solver._traced_pass._proven


def assert_equal_nets(ours, theirs):
    """All values and gradients have the same bits."""
    for blobs in ("_blobs", "learnable_params"):
        for array in ("data", "diff"):
            arrays = [[getattr(b, array) for b in getattr(net, blobs)] for net in (ours.net, theirs.net)]
            assert_arrays_equal(*arrays)


@pytest.mark.parametrize(
    "text",
    [
        middle("Sigmoid"),
        middle("Dropout"),
        middle("ReLU") + 'layer { name: "r" type: "ReLU" bottom: "h" top: "h" }',
        middle("InnerProduct", INNER + " param { lr_mult: 0 } param { lr_mult: 2 }"),
        middle("PReLU"),
        middle("Softmax") + 'layer { name: "s" type: "Silence" bottom: "x" }',
        middle("LRN"),
        middle("Power", "power_param { scale: 2 shift: 1 }"),
    ],
)
@pytest.mark.parametrize("settings", ["", 'type: "Adam" clip_gradients: 1'])
def test_traced_training_has_the_same_bits(monkeypatch, text, settings):
    traced = trained(monkeypatch, 2, text, settings)
    untraced = trained(monkeypatch, NEVER, text, settings)
    assert is_traced(traced) and not is_traced(untraced)
    assert_equal_nets(traced, untraced)


@pytest.mark.parametrize(
    "text, settings",
    [
        (middle("BatchNorm"), ""),  # it changes its parameters itself
        (middle("Convolution", "convolution_param { num_output: 2 kernel_size: 1 }"), ""),
        (middle("Sigmoid"), "iter_size: 2"),
    ],
)
def test_what_cannot_be_traced_runs_as_before(monkeypatch, text, settings):
    solver = trained(monkeypatch, 2, text, settings)
    assert not is_traced(solver)
    assert_equal_nets(solver, trained(monkeypatch, NEVER, text, settings))


def test_a_large_net_is_not_traced(monkeypatch):
    monkeypatch.setattr(traced_pass, "MAX_VALUES", 10)
    assert not is_traced(trained(monkeypatch, 2))


def test_other_results_in_the_proof_end_the_trace(monkeypatch):
    """A layer that computes another thing each time, behind PyTorch's back."""
    counts = iter(range(100))
    sigmoid = layers.neuron.Sigmoid.forward
    monkeypatch.setattr(
        layers.neuron.Sigmoid, "forward", lambda self, params, x: sigmoid(self, params, x) * next(counts)
    )
    solver = trained(monkeypatch, 2)
    assert solver._traced_pass._trace and not is_traced(solver)
    assert next(counts) == 9  # no pass is run twice


def test_a_wrong_label_is_named_after_the_proof_too(monkeypatch):
    solver = trained(monkeypatch, 2)
    assert is_traced(solver)
    solver.net.blobs["y"].data[...] = 7
    with pytest.raises(ValueError, match=r"layer 'loss' .*the label 7.* is none of 3 classes"):
        solver.step(1)
    fill(solver.net)
    solver.step(1)


def test_what_a_program_writes_takes_effect(monkeypatch):
    solvers = [trained(monkeypatch, warm_up) for warm_up in (2, NEVER)]
    arrays = [
        (s.net.blobs["ip"].data, s.net.params["ip"][0].data, s.net.params["ip"][0].diff) for s in solvers
    ]
    for solver in solvers:
        solver.net.params["ip"][1].data[...] = [1, 2, 3]
        solver.net.blobs["x"].data[...] *= 2
        solver.net.blobs["loss"].diff[...] = 0.5
        solver.step(2)
    assert is_traced(solvers[0])
    assert_equal_nets(*solvers)
    assert_arrays_equal(*arrays)  # arrays that were read before show the new values
    np.testing.assert_array_equal(arrays[0][0], solvers[0].net.blobs["ip"].data)


def test_another_shape_or_shared_parameters_are_traced_anew(monkeypatch):
    solvers = [trained(monkeypatch, warm_up) for warm_up in (2, NEVER)]
    for warm_up, solver in zip((2, NEVER), solvers, strict=True):
        monkeypatch.setattr(traced_pass, "WARM_UP", warm_up)
        solver.net.blobs["x"].reshape(9, 4, 1, 1)
        solver.net.blobs["y"].reshape(9)
        solver.net.reshape()
        fill(solver.net)
        first = solver._traced_pass._trace
        solver.step(5)
        assert warm_up == NEVER or (is_traced(solver) and solver._traced_pass._trace is not first)
        sharer = build()
        solver.net.share_with(sharer.net)
        solver.step(5)
        assert (sharer.net.params["ip"][0].data == solver.net.params["ip"][0].data).all()
    assert is_traced(solvers[0])
    assert_equal_nets(*solvers)


def test_hooks_are_called_and_bfloat16_is_untraced(monkeypatch):
    solver, calls = trained(monkeypatch, 2), []
    solver.net.after_forward(calls.append)
    solver.step(1)
    assert calls == [0, 1, 2, 3]
    caffe.set_precision("bfloat16")
    try:
        assert not traced_pass.can_trace(build().net)
    finally:
        caffe.set_precision("float32")
