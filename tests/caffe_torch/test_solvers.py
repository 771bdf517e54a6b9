"""Update rules and learning rates: real Caffe's numbers over ten iterations, and steps by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from caffe import device, solvers
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from tests.caffe_torch import fake_cuda_graph
from tests.caffe_torch.golden import training_cases as cases

GOLDEN = np.load(Path(__file__).with_name("golden") / "training.npz")


def solver_param(text):
    return text_format.Parse(text, caffe_pb2.SolverParameter())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLOG_minloglevel", "1")
    cases.write_inputs()
    return tmp_path


# Ten iterations, as BVLC Caffe 1.0 trains them


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("name", cases.SOLVERS)
def test_ten_iterations_are_caffes(name, captured, folder, monkeypatch):
    if captured and device.device().type == "cpu":  # on a GPU iterations are
        fake_cuda_graph.capture_on_cpu(monkeypatch)
    losses, weights, history, step = cases.trained(cases.SOLVERS[name])
    np.testing.assert_allclose(losses, GOLDEN[f"{name}/losses"], rtol=1e-5)
    np.testing.assert_allclose(weights, GOLDEN[f"{name}/weights"], rtol=2e-5, atol=2e-6)
    scale = np.abs(GOLDEN[f"{name}/history"]).max()
    np.testing.assert_allclose(history, GOLDEN[f"{name}/history"], rtol=1e-4, atol=1e-5 * scale)
    assert step == GOLDEN[f"{name}/step"]


@pytest.mark.parametrize("name", solvers.RULES)
def test_rates_may_be_tensors(name):
    param = solver_param(f'type: "{name}"')
    results = []
    for as_tensors in (False, True):
        rule = solvers.RULES[name](param, [torch.zeros(3, 2), torch.zeros(5)])
        for rates in ([0.1, 0.3], [0.2, 0.0]):
            rates = list(torch.tensor(rates)) if as_tensors else rates
            steps = rule.step([torch.arange(6.0).reshape(3, 2), torch.ones(5)], rates)
        results.append(steps)
    for numbers, tensors in zip(*results, strict=True):
        torch.testing.assert_close(tensors, numbers)


# One and two steps by hand


def steps(text, *gradients, rate=0.1):
    """What a rule takes off a weight for one gradient after another."""
    param = solver_param(text)
    rule = solvers.rule_of(param)(param, [torch.zeros(1)])
    return [
        rule.step([torch.tensor([float(g)])], [rate * rule.correction(t)])[0].item()
        for t, g in enumerate(gradients, start=1)
    ]


@pytest.mark.parametrize(
    "text, expected",
    [
        ('type: "SGD"', [0.2, 0.4]),
        ('type: "SGD" momentum: 0.5', [0.2, 0.1 + 0.4]),
        # h1 = 0.2, step 1.5 h1; h2 = 0.1 + 0.4, step 1.5 h2 - 0.5 h1
        ('type: "Nesterov" momentum: 0.5', [0.3, 0.75 - 0.1]),
        ('type: "AdaGrad" delta: 1', [0.1 * 2 / (2 + 1), 0.1 * 4 / (math.sqrt(20) + 1)]),
        # h1 = 0.25 * 4, h2 = 0.75 + 0.25 * 16
        (
            'type: "RMSProp" rms_decay: 0.75 delta: 1',
            [0.1 * 2 / (1 + 1), 0.1 * 4 / (math.sqrt(4.75) + 1)],
        ),
        # h1 = 2, u1 = 2 sqrt(1 / 3), s1 = 0.5 u1^2 = 2/3; h2 = 1 + 8, u2 = 4 sqrt((2/3 + 1) / (9 + 1))
        (
            'type: "AdaDelta" momentum: 0.5 delta: 1',
            [0.1 * 2 * math.sqrt(1 / 3), 0.1 * 4 * math.sqrt((2 / 3 + 1) / 10)],
        ),
        # m1 = 1, v1 = 1; m2 = 2.5, v2 = 0.75 + 4; delta before the bias correction
        (
            'type: "Adam" momentum: 0.5 momentum2: 0.75 delta: 1',
            [
                0.1 * math.sqrt(0.25) / 0.5 * 1 / (1 + 1),
                0.1 * math.sqrt(1 - 0.75**2) / 0.75 * 2.5 / (math.sqrt(4.75) + 1),
            ],
        ),
    ],
)
def test_two_steps_by_hand(text, expected):
    assert steps(text, 2, 4) == pytest.approx(expected, rel=1e-6)


def test_adam_is_not_pytorchs():
    """With a large delta the two forms part: PyTorch adds it after the bias correction."""
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.1, betas=(0.5, 0.75), eps=1)
    weight.grad = torch.tensor([2.0])
    optimizer.step()
    ours = steps('type: "Adam" momentum: 0.5 momentum2: 0.75 delta: 1', 2)[0]
    assert abs(ours + weight.item()) > 1e-3


@given(
    st.sampled_from(["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"]),
    st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=5),
    st.sampled_from([0.0, 0.5, 2.0]),
)
def test_a_step_is_odd_in_the_gradient_and_linear_in_the_rate(name, gradients, factor):
    momentum = "" if name in ("AdaGrad", "RMSProp") else "momentum: 0.5"
    text = f'type: "{name}" {momentum}'
    expected = steps(text, *gradients)
    assert steps(text, *[-g for g in gradients]) == [-s for s in expected]
    assert steps(text, *gradients, rate=0.1 * factor) == pytest.approx(
        [factor * s for s in expected], rel=1e-5
    )


# Learning rates


@pytest.mark.parametrize(
    "text, expected",
    [
        ('lr_policy: "fixed"', {0: 0.5, 1000: 0.5}),
        ('lr_policy: "step" gamma: 0.1 stepsize: 10', {9: 0.5, 10: 0.05, 29: 0.005}),
        ('lr_policy: "exp" gamma: 0.5', {0: 0.5, 3: 0.0625}),
        ('lr_policy: "inv" gamma: 1 power: 2', {0: 0.5, 1: 0.125, 4: 0.02}),
        ('lr_policy: "multistep" gamma: 0.1 stepvalue: 3 stepvalue: 5', {2: 0.5, 3: 0.05, 4: 0.05, 5: 0.005}),
        # Caffe drops the rate once an iteration, in the order given
        (
            'lr_policy: "multistep" gamma: 0.1 stepvalue: 3 stepvalue: 3',
            {2: 0.5, 3: 0.05, 4: 0.005, 9: 0.005},
        ),
        (
            'lr_policy: "multistep" gamma: 0.1 stepvalue: 3 stepvalue: 1',
            {1: 0.5, 2: 0.5, 3: 0.05, 4: 0.005},
        ),
        ('lr_policy: "poly" power: 2 max_iter: 10', {0: 0.5, 5: 0.125, 10: 0}),
        ('lr_policy: "sigmoid" gamma: 1 stepsize: 4', {4: 0.25, 5: 0.5 / (1 + math.exp(-1))}),
        ('lr_policy: "sigmoid" gamma: 10 stepsize: 10000', {0: 0}),
        # Caffe takes 0 where gamma or power is missing: a constant rate
        ('lr_policy: "inv"', {0: 0.5, 1: 0.5, 100: 0.5}),
        ('lr_policy: "inv" gamma: 1', {0: 0.5, 1: 0.5, 100: 0.5}),
        ('lr_policy: "inv" power: 1', {0: 0.5, 1: 0.5, 100: 0.5}),
        ('lr_policy: "poly" max_iter: 10', {0: 0.5, 5: 0.5, 10: 0.5}),
        ('lr_policy: "sigmoid" stepsize: 4', {0: 0.25, 4: 0.25, 100: 0.25}),
        ('lr_policy: "multistep"', {0: 0.5, 100: 0.5}),
        ('lr_policy: "multistep" gamma: 0.1', {0: 0.5, 100: 0.5}),
        # It looks at gamma only where the policy has it
        ('lr_policy: "fixed" gamma: -1', {1: 0.5}),
        ('lr_policy: "poly" gamma: -1 power: 1 max_iter: 2', {1: 0.25}),
        # To have no rate after the first drop must be said
        ('lr_policy: "exp" gamma: 0', {0: 0.5, 1: 0}),
    ],
)
def test_learning_rates(text, expected):
    param = solver_param(f"base_lr: 0.5 {text}")
    solvers.check_policy(param)
    for iteration, rate in expected.items():
        assert solvers.learning_rate(param, iteration) == pytest.approx(rate, rel=1e-6, abs=1e-30)


@pytest.mark.parametrize(
    "text, iteration, expected",
    [
        ('lr_policy: "poly" power: 0.5 max_iter: 10', 11, math.nan),
        ('lr_policy: "poly" power: -1 max_iter: 10', 10, math.inf),
        ('lr_policy: "exp" gamma: 1.5', 2000, math.inf),
        ('lr_policy: "inv" gamma: 1e30 power: -30', 1, math.inf),
    ],
)
def test_a_rate_that_is_no_number_is_what_c_has(text, iteration, expected):
    rate = solvers.learning_rate(solver_param(f"base_lr: 0.5 {text}"), iteration)
    np.testing.assert_equal(rate, expected)


@pytest.mark.parametrize(
    "text, message",
    [
        ("base_lr: 1", "lr_policy '': use one of fixed, step"),
        ('lr_policy: "cosine"', "lr_policy 'cosine'"),
        ('lr_policy: "step" gamma: 0.1', "needs stepsize"),
        ('lr_policy: "step" stepsize: 10', "'step' needs gamma: the rate would drop to 0"),
        ('lr_policy: "exp"', "'exp' needs gamma: the rate would drop to 0"),
        ('lr_policy: "multistep" stepvalue: 10', "'multistep' needs gamma: the rate would drop to 0"),
        ('lr_policy: "step" gamma: 0.1 stepsize: 0', "stepsize of 1 or more"),
        ('lr_policy: "poly" power: 1', "needs max_iter"),
        ('lr_policy: "exp" gamma: -1', "negative"),
        ('lr_policy: "sigmoid" gamma: -1 stepsize: 4', "negative"),
    ],
)
def test_a_policy_that_lacks_something_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        solvers.check_policy(solver_param(text))


# Which rule


@pytest.mark.parametrize("name", solvers.RULES)
def test_the_older_solver_type_names_the_same_rules(name):
    assert solvers.rule_of(solver_param(f"solver_type: {name.upper()}")) is solvers.RULES[name]
    assert solvers.rule_of(solver_param(f'type: "{name}"')) is solvers.RULES[name]


@pytest.mark.parametrize(
    "text, message",
    [
        ('type: "Lion"', "unknown solver type 'Lion': use one of SGD, Nesterov"),
        ('type: "SGD" solver_type: ADAM', "not both"),
    ],
)
def test_an_unclear_rule_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        solvers.rule_of(solver_param(text))


@pytest.mark.parametrize(
    "text, message",
    [
        ("momentum: 1", r"^momentum 1: Adam divides by 1 - momentum\^t$"),
        ("momentum: -1", "momentum -1: Adam divides"),
        ("momentum2: 1.5", r"^momentum2 1\.5: Adam takes the root of 1 - momentum2\^t$"),
    ],
)
def test_settings_that_make_every_step_of_adam_nan_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        solvers.Adam(solver_param(text), [])


def test_a_momentum_above_one_is_taken_as_in_caffe():
    for text in ("momentum: 1.5", "momentum2: 1"):
        assert solvers.Adam(solver_param(text), []).correction(5000) == 0


@pytest.mark.parametrize(
    "text, message",
    [
        ('type: "AdaGrad" momentum: 0.9', "momentum has no meaning for AdaGrad"),
        ('type: "RMSProp" momentum: 0.9', "momentum has no meaning for RMSProp"),
        ('type: "RMSProp" rms_decay: 1', "rms_decay 1 is not"),
    ],
)
def test_settings_that_caffe_refuses(text, message):
    param = solver_param(text)
    with pytest.raises(ValueError, match=message):
        solvers.rule_of(param)(param, [])
