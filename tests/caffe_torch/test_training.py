"""The solve loop: Caffe's log line by line, what it tests and saves and when, and what stops it."""

import re
import signal
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe.signals import Signals

from tests.caffe_torch.golden import training_cases as cases

GOLDEN = Path(__file__).with_name("golden")
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?|nan|inf")

SMALL = """
train_net_param {
  layer {
    name: "data" type: "DummyData" top: "x" top: "t"
    dummy_data_param {
      shape { dim: 4 dim: 3 } data_filler { type: "constant" value: 1 }
      shape { dim: 4 dim: 2 } data_filler { type: "constant" value: 5 }
    }
  }
  layer {
    name: "fc" type: "InnerProduct" bottom: "x" top: "y"
    inner_product_param { num_output: 2 weight_filler { type: "constant" value: 1 } }
  }
  layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }
}
base_lr: 0.1 gamma: 0.5 momentum: 0.9
"""
MULTISTEP = 'lr_policy: "multistep" stepvalue: 0 stepvalue: 2 stepvalue: 2 stepvalue: 5 display: 2 '


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases.write_inputs()
    return tmp_path


def solver_of(text, cls=None):
    Path("solver.prototxt").write_text(text)
    solver = (cls or caffe.get_solver)("solver.prototxt")
    cases.first_weights(solver.net)
    return solver


def messages(text):
    """The log's lines without time and place, from the last line of starting up on."""
    lines = re.sub(r"(?m)^[IWE]\d{4} [\d:.]+ +\d+ \w+\.py:\d+\] ", "", text)
    lines = re.sub(r"\(.*iter/s.*iters\)", "(SPEED)", lines)
    return lines[lines.index("Solver scaffolding done.") :].strip().splitlines()


def assert_same_log(ours, theirs, rtol=3e-5):
    assert [NUMBER.sub("#", line) for line in ours] == [NUMBER.sub("#", line) for line in theirs]
    for our, their in zip(ours, theirs, strict=True):
        numbers = [[float(n) for n in NUMBER.findall(line)] for line in (our, their)]
        np.testing.assert_allclose(*numbers, rtol=rtol, err_msg=f"{our}\n{their}")


# The log


@pytest.mark.parametrize("name, text", [("command", cases.COMMAND), ("debug", cases.DEBUG)])
def test_the_log_is_caffes(name, text, capfd):
    solver_of(text).solve()
    theirs = (GOLDEN / f"{name}.log").read_text().strip().splitlines()
    theirs.remove("Starting Optimization")
    theirs.pop()  # both are the command's words
    assert_same_log(messages(capfd.readouterr().err), theirs)


def test_multistep_says_when_the_rate_drops(capfd):
    """BVLC Caffe's lines."""
    Path("solver.prototxt").write_text(SMALL + MULTISTEP + "max_iter: 4")
    caffe.get_solver("solver.prototxt").solve()
    assert [line for line in messages(capfd.readouterr().err) if re.search("MultiStep|lr =", line)] == [
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
    assert [line for line in messages(capfd.readouterr().err) if "est" in line] == [
        "Iteration 0, Testing net (#0)",
        "Test loss: nan",
        "Iteration 2, Testing net (#0)",
        "Test loss: nan",
    ]


def test_a_net_with_debug_info_logs_its_layers(capfd):
    """BVLC Caffe's lines; a solver's own debug_info counts for its nets."""
    net = SMALL[SMALL.index("{") + 1 : SMALL.rindex("}")]
    Path("debug.prototxt").write_text("debug_info: true" + net)
    debug = caffe.Net("debug.prototxt", caffe.TRAIN)
    debug.forward(end="fc")
    debug.forward(start="loss")
    debug.backward_once()
    lines = re.sub(r"(?m)^[IE]\d{4} .*?\] ", "", capfd.readouterr().err).splitlines()
    assert lines == [
        "    [Forward] Layer data, top blob x data: 1",
        "    [Forward] Layer data, top blob t data: 5",
        "    [Forward] Layer fc, top blob y data: 3",
        "    [Forward] Layer fc, param blob 0 data: 1",
        "    [Forward] Layer fc, param blob 1 data: 0",
        "    [Forward] Layer loss, top blob loss data: 4",
        "    [Backward] Layer loss, bottom blob y diff: 0.5",
        "    [Backward] Layer fc, param blob 0 diff: 2",
        "    [Backward] Layer fc, param blob 1 diff: 2",
        "    [Backward] All net params (data, diff): L1 norm = (6, 16); L2 norm = (2.44949, 5.65685)",
    ]
    text = 'net: "debug.prototxt" base_lr: 0.1 lr_policy: "fixed" test_iter: 1 test_interval: 1 '
    Path("solver.prototxt").write_text(text)
    caffe.get_solver("solver.prototxt").step(2)
    assert "ward]" not in capfd.readouterr().err


def test_log_lines_have_glogs_form(capfd):
    solver_of(cases.DEBUG).solve()
    lines = capfd.readouterr().err.splitlines()
    form = re.compile(r"[IE]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \w+\.py:\d+\] ")
    start = next(i for i, line in enumerate(lines) if "Creating training net" in line)
    assert all(form.match(line) for line in lines[start:])


def test_the_log_can_be_silenced(capfd, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "2")
    solver_of(cases.COMMAND).solve()
    assert capfd.readouterr().err == ""


# When what happens


def run_events(text, capfd):
    """The iterations at which a run shows, tests and saves."""
    solver_of(cases.SOLVER.replace("snapshot_after_train: false", "") + text).solve()
    lines = messages(capfd.readouterr().err)

    def found(pattern):
        return [int(m[1]) for m in (re.match(pattern, line) for line in lines) if m]

    return {
        "shown": found(r"Iteration (\d+)[ ,].*loss ="),
        "tested": found(r"Iteration (\d+), Testing net"),
        "saved": found(r"Snapshotting to binary proto file \S+_iter_(\d+)"),
    }


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", {"shown": [], "tested": [], "saved": [10]}),
        ("snapshot_after_train: false", {"shown": [], "tested": [], "saved": []}),
        ("snapshot: 4", {"shown": [], "tested": [], "saved": [4, 8, 10]}),
        ("snapshot: 5", {"shown": [], "tested": [], "saved": [5, 10]}),
        ("display: 4", {"shown": [0, 4, 8], "tested": [], "saved": [10]}),
        ("display: 5", {"shown": [0, 5, 10], "tested": [], "saved": [10]}),
        ("test_iter: 1 test_interval: 4", {"shown": [], "tested": [0, 4, 8], "saved": [10]}),
        (
            "test_iter: 1 test_interval: 5 test_initialization: false",
            {"shown": [], "tested": [5, 10], "saved": [10]},
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
        solver_of(f'net: "net.prototxt" base_lr: 0 lr_policy: "fixed" max_iter: 10 {prefix}').solve()
        assert Path(expected + ".caffemodel").exists()
        assert Path(expected + ".solverstate").exists()


def test_average_loss_is_the_mean_of_the_last(capfd):
    solver = solver_of(cases.SOLVER + 'base_lr: 0.001 lr_policy: "fixed" display: 1 average_loss: 4')
    losses = []
    solver.add_callback(lambda: None, lambda: losses.append(0.25 * float(solver.net.blobs["loss"].data)))
    solver.solve()
    losses.append(0.25 * float(solver.net.blobs["loss"].data))
    lines = messages(capfd.readouterr().err)
    shown = [float(m[1]) for m in (re.match(r"Iteration \d+[ ,].*loss = (\S+)", line) for line in lines) if m]
    expected = [np.mean(losses[max(0, i - 3) : i + 1]) for i in range(11)]
    np.testing.assert_allclose(shown, expected, rtol=1e-5)


# Which nets

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
    rest = 'base_lr: 0.001 lr_policy: "fixed" max_iter: 1'
    tests = "test_iter: 2 test_interval: 1"
    for text, count in (
        (f'train_net: "net.prototxt" {rest}', 0),
        (f'train_net: "net.prototxt" test_net: "net.prototxt" {tests} {rest}', 1),
        (f'net: "net.prototxt" test_net: "net.prototxt" test_iter: 1 {tests} {rest}', 2),
        (f"net_param {{ {net} }} {tests} {rest}", 1),
        (f"train_net_param {{ {net} }} test_net_param {{ {net} }} {tests} {rest}", 1),
    ):
        solver = solver_of(text)
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


def test_a_folder_for_the_last_snapshot_is_tried_before_training():
    solver = solver_of(
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
        solver = solver_of(f'net: "net.prototxt" lr_policy: "fixed" max_iter: 1 {rate}')
        solver.solve()
        assert solver.lr == (pytest.approx(0.1) if "0.1" in rate else 0)
        log = capfd.readouterr().err
        assert len(re.findall(r"(?m)^W.*\] solver\.prototxt: no base_lr: it is 0, ", log)) == warnings


# NaN


def test_a_loss_that_is_not_finite_stops_before_saving(folder):
    solver = solver_of(
        'net: "net.prototxt" base_lr: 1e6 lr_policy: "fixed" max_iter: 20 snapshot: 1 snapshot_prefix: "run"'
    )
    with pytest.raises(FloatingPointError, match=r"iteration \d+: .*NaN or infinite.*(parameter|blob) '\w+"):
        solver.solve()
    for path in folder.glob("run_iter_*.caffemodel"):
        net = caffe.Net("net.prototxt", str(path), caffe.TEST)  # refuses NaN
        assert np.isfinite(net.params["conv1"][0].data).all()


def test_the_first_bad_blob_is_named():
    solver = solver_of(cases.SOLVER + 'base_lr: 0.001 lr_policy: "fixed"')
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
    solver = solver_of('net: "net.prototxt" base_lr: 0.001 lr_policy: "poly" power: 0.5 max_iter: 3')
    with pytest.raises(
        FloatingPointError, match=r"^iteration 4: the learning rate by lr_policy 'poly' is nan$"
    ):
        solver.step(6)
    assert all(np.isfinite(blob.data).all() for blob in solver.net.learnable_params)


# Signals


def act_at(solver, iteration, action):
    """Make the solver's action function ask for something after an iteration."""
    asked = []

    def ask():
        if solver.iter >= iteration and not asked:
            asked.append(action)
            return action
        return None

    solver.action = ask


@pytest.mark.parametrize("test", ["", "test_iter: 5 test_interval: 4"])
def test_stopping_saves_and_ends(test, capfd):
    solver = solver_of(f'net: "net.prototxt" base_lr: 0.001 lr_policy: "fixed" max_iter: 10 {test}')
    act_at(solver, 4, "stop")
    solver.solve()
    assert solver.iter == 4
    assert Path("solver_iter_4.solverstate").exists()
    lines = messages(capfd.readouterr().err)
    assert lines[-1] == "Optimization stopped early."


def test_stopping_within_a_test_ends_it(capfd):
    solver = solver_of(
        'net: "net.prototxt" base_lr: 0 lr_policy: "fixed" max_iter: 10 test_iter: 3 test_interval: 4'
    )
    calls = []
    solver.action = lambda: calls.append(1) or ("stop" if len(calls) == 2 else None)
    solver.solve()
    assert solver.iter == 0
    assert "Test interrupted." in messages(capfd.readouterr().err)


def test_a_snapshot_on_demand_does_not_end_training():
    solver = solver_of(cases.SOLVER + 'base_lr: 0.001 lr_policy: "fixed"')
    act_at(solver, 3, "snapshot")
    solver.solve()
    assert solver.iter == 10
    assert Path("solver_iter_3.solverstate").exists()


def test_signals_are_noted_one_by_one_and_handlers_put_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)
    with Signals("stop", "snapshot") as action:
        assert action() is None
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGINT)
        assert [action(), action(), action()] == ["snapshot", "stop", None]
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)) == before
    with Signals("none", "none") as action:
        signal.raise_signal(signal.SIGHUP)
        assert action() is None


# pycaffe


def test_the_solver_classes_of_pycaffe():
    text = cases.SOLVER + 'base_lr: 0.001 lr_policy: "step" gamma: 0.5 stepsize: 2 type: "Adam" momentum: 0.9'
    assert type(solver_of(text)) is caffe.AdamSolver
    solver = solver_of(text, caffe.SGDSolver)
    assert type(solver._rule).__name__ == "SGD"
    solver.step(3)
    assert solver.iter == 3
    assert solver.lr == pytest.approx(0.0005)
    assert (solver.param.max_iter, solver.param.base_lr) == (10, pytest.approx(0.001))
    solver.step(0)
    assert solver.iter == 3


def test_a_step_by_hand_is_a_step():
    text = cases.SOLVER + cases.SOLVERS["sgd"]
    solver, by_hand = solver_of(text), solver_of(text)
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
    solver = solver_of(cases.SOLVER + cases.SOLVERS[rule])
    solver.step(2)
    before = [blob.data.copy() for blob in solver.net.learnable_params]
    solver.step(1)
    for old, blob in zip(before, solver.net.learnable_params, strict=True):
        np.testing.assert_array_equal(old - blob.diff, blob.data)


def test_shared_weights_follow_the_training():
    solver = solver_of(cases.SOLVER + cases.SOLVERS["sgd"])
    net = caffe.Net("net.prototxt", caffe.TEST)
    solver.share_weights(net)
    solver.step(2)
    np.testing.assert_array_equal(net.params["conv2"][0].data, solver.net.params["conv2"][0].data)


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


def test_weights_that_cannot_be_shared_are_named():
    text = SMALL.replace("train_net_param", "net_param") + 'lr_policy: "fixed" '
    Path("solver.prototxt").write_text(text)
    solver = caffe.get_solver("solver.prototxt")
    Path("other.prototxt").write_text(
        text[text.index("{") + 1 : text.rindex("}")].replace("dim: 3", "dim: 4")
    )
    message = r"^layer 'fc': .* shapes are \[\(2, 4\), \(2,\)\], in the other net \[\(2, 3\), \(2,\)\]$"
    with pytest.raises(ValueError, match=message):
        solver.share_weights(caffe.Net("other.prototxt", caffe.TEST))
