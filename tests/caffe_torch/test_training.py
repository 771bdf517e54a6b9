"""The solve loop: Caffe's log line by line, what it tests and saves and when, and what stops it."""

import re
from pathlib import Path

import caffe
import numpy as np
import pytest

from tests.caffe_torch.golden import training_cases as cases
from tests.caffe_torch.helpers import MULTISTEP, SMALL, assert_same_log, log_lines, solver_with_first_weights


@pytest.fixture(autouse=True)
def folder(training_folder):
    return training_folder


GOLDEN = Path(__file__).with_name("golden")
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?|nan|inf")


# The log


@pytest.mark.parametrize("name, text", [("command", cases.COMMAND), ("debug", cases.DEBUG)])
def test_the_log_is_caffes(name, text, capfd):
    solver_with_first_weights(text).solve()
    theirs = (GOLDEN / f"{name}.log").read_text().strip().splitlines()
    theirs.remove("Starting Optimization")
    theirs.pop()  # both are the command's words
    assert_same_log(log_lines(capfd.readouterr().err), theirs)


def test_multistep_says_when_the_rate_drops(capfd):
    """BVLC Caffe's lines."""
    Path("solver.prototxt").write_text(SMALL + MULTISTEP + "max_iter: 4")
    caffe.get_solver("solver.prototxt").solve()
    assert [line for line in log_lines(capfd.readouterr().err) if re.search("MultiStep|lr =", line)] == [
        "MultiStep Status: Iteration 0, step = 1",
        "Iteration 0, lr = 0.05",
        "MultiStep Status: Iteration 2, step = 2",
        "Iteration 2, lr = 0.025",
        "MultiStep Status: Iteration 3, step = 3",
    ]


def test_no_iterations_of_testing_are_a_line_each_time(capfd):
    """BVLC Caffe's lines."""
    text = SMALL.replace("train_net_param", "net_param") + 'lr_policy: "fixed" test_iter: 0 test_interval: 2 '
    Path("solver.prototxt").write_text(text + "max_iter: 3 test_compute_loss: true")
    caffe.get_solver("solver.prototxt").solve()
    assert [line for line in log_lines(capfd.readouterr().err) if "est" in line] == [
        "Iteration 0, Testing net (#0)",
        "Test loss: nan",
        "Iteration 2, Testing net (#0)",
        "Test loss: nan",
    ]


# When what happens


def run_events(text, capfd):
    """The iterations at which a run shows, tests and saves."""
    solver_with_first_weights(cases.SOLVER.replace("snapshot_after_train: false", "") + text).solve()
    lines = log_lines(capfd.readouterr().err)

    def iterations(pattern):
        return [int(m[1]) for m in (re.match(pattern, line) for line in lines) if m]

    return {
        "displayed": iterations(r"Iteration (\d+)[ ,].*loss ="),
        "tested": iterations(r"Iteration (\d+), Testing net"),
        "saved": iterations(r"Snapshotting to binary proto file \S+_iter_(\d+)"),
    }


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", {"displayed": [], "tested": [], "saved": [10]}),
        ("snapshot_after_train: false", {"displayed": [], "tested": [], "saved": []}),
        ("snapshot: 4", {"displayed": [], "tested": [], "saved": [4, 8, 10]}),
        ("snapshot: 5", {"displayed": [], "tested": [], "saved": [5, 10]}),
        ("display: 4", {"displayed": [0, 4, 8], "tested": [], "saved": [10]}),
        ("display: 5", {"displayed": [0, 5, 10], "tested": [], "saved": [10]}),
        ("test_iter: 1 test_interval: 4", {"displayed": [], "tested": [0, 4, 8], "saved": [10]}),
        (
            "test_iter: 1 test_interval: 5 test_initialization: false",
            {"displayed": [], "tested": [5, 10], "saved": [10]},
        ),
    ],
)
def test_what_is_shown_tested_and_saved_when(text, expected, capfd):
    assert run_events('base_lr: 0 lr_policy: "fixed" ' + text, capfd) == expected


def test_snapshots_are_named_as_caffe_does(folder):
    (folder / "runs").mkdir()
    for prefix, expected in (
        ("", "solver_iter_10"),
        ('snapshot_prefix: "runs"', "runs/solver_iter_10"),
        ('snapshot_prefix: "new/run"', "new/run_iter_10"),
    ):
        solver_with_first_weights(
            f'net: "net.prototxt" base_lr: 0 lr_policy: "fixed" max_iter: 10 {prefix}'
        ).solve()
        assert Path(expected + ".caffemodel").exists()
        assert Path(expected + ".solverstate").exists()


def test_average_loss_is_the_mean_of_the_last(capfd):
    solver = solver_with_first_weights(
        cases.SOLVER + 'base_lr: 0.001 lr_policy: "fixed" display: 1 average_loss: 4'
    )
    losses = []
    solver.add_callback(lambda: None, lambda: losses.append(0.25 * float(solver.net.blobs["loss"].data)))
    solver.solve()
    losses.append(0.25 * float(solver.net.blobs["loss"].data))
    lines = log_lines(capfd.readouterr().err)
    logged = [
        float(m[1]) for m in (re.match(r"Iteration \d+[ ,].*loss = (\S+)", line) for line in lines) if m
    ]
    expected = [np.mean(losses[max(0, i - 3) : i + 1]) for i in range(11)]
    np.testing.assert_allclose(logged, expected, rtol=1e-5)


# Which nets


def test_a_folder_for_the_last_snapshot_is_tried_before_training():
    solver = solver_with_first_weights(
        'net: "net.prototxt" snapshot_prefix: "list.txt/x" base_lr: 0.001 lr_policy: "fixed" max_iter: 2'
    )
    with pytest.raises(
        ValueError, match=r"^solver\.prototxt: snapshot_prefix 'list\.txt/x': list\.txt cannot be"
    ):
        solver.solve()
    assert solver.iter == 0
    solver.step(1)  # which saves nothing
    solver.param.snapshot_after_train = False
    solver.solve()
    assert solver.iter == 2


def test_a_solver_without_a_rate_is_warned_of(capfd):
    """It trains at rate 0 to a good end, as with BVLC Caffe; who says 0 is not warned."""
    for rate, warnings in (("", 1), ("base_lr: 0", 0), ("base_lr: 0.1", 0)):
        solver = solver_with_first_weights(f'net: "net.prototxt" lr_policy: "fixed" max_iter: 1 {rate}')
        solver.solve()
        assert solver.lr == (pytest.approx(0.1) if "0.1" in rate else 0)
        log = capfd.readouterr().err
        assert len(re.findall(r"(?m)^W.*\] solver\.prototxt: no base_lr: it is 0, ", log)) == warnings


# NaN


def test_a_loss_that_is_not_finite_stops_before_saving(folder):
    solver = solver_with_first_weights(
        'net: "net.prototxt" base_lr: 1e6 lr_policy: "fixed" max_iter: 20 snapshot: 1 snapshot_prefix: "run"'
    )
    with pytest.raises(FloatingPointError, match=r"iteration \d+: .*NaN or infinite.*(parameter|blob) '\w+"):
        solver.solve()
    for path in folder.glob("run_iter_*.caffemodel"):
        net = caffe.Net("net.prototxt", str(path), caffe.TEST)  # refuses NaN
        assert np.isfinite(net.params["conv1"][0].data).all()


def test_the_first_bad_blob_is_named():
    solver = solver_with_first_weights(cases.SOLVER + 'base_lr: 0.001 lr_policy: "fixed"')
    solver.step(2)
    solver.net.params["conv2"][0].data[0, 0, 0, 0] = np.nan
    with pytest.raises(
        FloatingPointError, match=r"iteration 2: the loss is nan; .* is parameter 'conv2\[0\]'"
    ):
        solver.step(1)
    with pytest.raises(FloatingPointError, match=r"parameter 'conv2\[0\]' .*nothing was saved"):
        solver.snapshot()
    assert not list(Path().glob("*.caffemodel"))


def test_steps_beyond_the_end_of_a_policy_are_refused():
    """There the rate is NaN, which BVLC Caffe goes on with."""
    solver = solver_with_first_weights(
        'net: "net.prototxt" base_lr: 0.001 lr_policy: "poly" power: 0.5 max_iter: 3'
    )
    with pytest.raises(
        FloatingPointError, match=r"^iteration 4: the learning rate by lr_policy 'poly' is nan$"
    ):
        solver.step(6)
    assert all(np.isfinite(blob.data).all() for blob in solver.net.learnable_params)


# Signals


def act_at(solver, iteration, action):
    """Make the solver's action function ask for something after an iteration."""
    actions = []

    def ask():
        if solver.iter >= iteration and not actions:
            actions.append(action)
            return action
        return None

    solver.action = ask


@pytest.mark.parametrize("test", ["", "test_iter: 5 test_interval: 4"])
def test_stopping_saves_and_ends(test, capfd):
    solver = solver_with_first_weights(
        f'net: "net.prototxt" base_lr: 0.001 lr_policy: "fixed" max_iter: 10 {test}'
    )
    act_at(solver, 4, "stop")
    solver.solve()
    assert solver.iter == 4
    assert Path("solver_iter_4.solverstate").exists()
    lines = log_lines(capfd.readouterr().err)
    assert lines[-1] == "Optimization stopped early."


def test_stopping_within_a_test_ends_it(capfd):
    solver = solver_with_first_weights(
        'net: "net.prototxt" base_lr: 0 lr_policy: "fixed" max_iter: 10 test_iter: 3 test_interval: 4'
    )
    calls = []
    solver.action = lambda: calls.append(1) or ("stop" if len(calls) == 2 else None)
    solver.solve()
    assert solver.iter == 0
    assert "Test interrupted." in log_lines(capfd.readouterr().err)


def test_a_snapshot_on_demand_does_not_end_training():
    solver = solver_with_first_weights(cases.SOLVER + 'base_lr: 0.001 lr_policy: "fixed"')
    act_at(solver, 3, "snapshot")
    solver.solve()
    assert solver.iter == 10
    assert Path("solver_iter_3.solverstate").exists()


# pycaffe


def test_a_step_by_hand_is_a_step():
    text = cases.SOLVER + cases.SOLVERS["sgd"]
    solver, by_hand = solver_with_first_weights(text), solver_with_first_weights(text)
    solver.step(1)
    by_hand.net.clear_param_diffs()
    by_hand.net.forward()
    by_hand.net.backward()
    by_hand.apply_update()
    weights = [[b.data for b in s.net.params["conv1"]] for s in (solver, by_hand)]
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "text, weights",
    [
        (
            'type: "Adam" lr_policy: "step" stepsize: 2 gamma: 0.1',
            [1.1, 1.198813, 1.208444, 1.217954, 1.218897],
        ),
        (MULTISTEP, [1.1, 1.27, 1.446, 1.6071, 1.746735]),
    ],
)
def test_steps_by_hand_count(text, weights):
    """BVLC Caffe's numbers: the rate, Adam's corrections and a snapshot's name go on with the iterations."""
    Path("solver.prototxt").write_text(SMALL.replace("gamma: 0.5 " if "gamma" in text else "", "") + text)
    solver = caffe.get_solver("solver.prototxt")
    for i, weight in enumerate(weights):
        solver.net.clear_param_diffs()
        solver.net.forward()
        solver.net.backward()
        solver.apply_update()
        assert solver.iter == i + 1
        assert solver.net.params["fc"][0].data[0, 0] == pytest.approx(weight, abs=1e-6)
    solver.snapshot()
    assert Path("solver_iter_5.solverstate").exists()
    solver.step(2)
    assert solver.iter == 7
    last = 1.219929 if "Adam" in text else 1.964635
    assert solver.net.params["fc"][0].data[0, 0] == pytest.approx(last, abs=1e-6)


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_after_a_step_the_diffs_are_the_step(rule):
    solver = solver_with_first_weights(cases.SOLVER + cases.SOLVERS[rule])
    solver.step(2)
    weights = [blob.data.copy() for blob in solver.net.learnable_params]
    solver.step(1)
    for old, blob in zip(weights, solver.net.learnable_params, strict=True):
        np.testing.assert_array_equal(old - blob.diff, blob.data)


def test_a_step_that_cannot_write_its_snapshot_is_an_os_error(training_folder):
    text = cases.SOLVER + 'base_lr: 0.001 lr_policy: "fixed" snapshot: 1 snapshot_prefix: "kept/s"'
    solver = solver_with_first_weights(text.replace('snapshot_prefix: "snap"', ""))
    Path("kept").write_text("a file, not a folder")
    with pytest.raises(OSError):
        solver.step(1)
