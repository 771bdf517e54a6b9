"""Layers in Python. Live runs of both Caffes: tests/bvlc/test_examples.py, own_layers."""

import os
import subprocess
import sys
from pathlib import Path

import caffe
import numpy as np
import pytest
import torch
from caffe import python_layer

EXAMPLES = Path(__file__).parents[1] / "bvlc" / "examples"
INPUT = 'input: "x" input_shape { dim: 2 dim: 3 } force_backward: true'


class Scaled(caffe.Layer):
    """param_str times the bottom."""

    def setup(self, bottom, top):
        self.params = float(self.param_str or 10)  # scripts use names like this one

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.params * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = self.params * top[0].diff


class Lost(Exception):
    """An error of the user's own, whose constructor takes two values."""

    def __init__(self, method, number):
        super().__init__(method, number)
        self.number = number


class Failing(Scaled):
    """Raises in the method that param_str names first, an error of the class that it names second."""

    def __init__(self, spec):
        super().__init__(spec)
        self.fail("constructor")

    def fail(self, method):
        where, cls = self.param_str.split()
        if method == where:
            raise {"Lost": Lost, "ValueError": ValueError, "OSError": OSError}[cls](method, 3)

    def setup(self, bottom, top):
        self.params = 10
        self.fail("setup")

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.fail("reshape")

    def forward(self, bottom, top):
        self.fail("forward")

    def backward(self, top, propagate_down, bottom):
        self.fail("backward")


class NoBackward(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        top[0].data[0] = bottom[0].data.sum()


@pytest.fixture(autouse=True)
def this_module_has_a_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "layers_of_the_test", sys.modules[__name__])


def layer(name, program="Scaled", bottom="x", settings="", param_str=""):
    return (
        f'layer {{ name: "{name}" type: "Python" bottom: "{bottom}" top: "{name}" {settings} '
        f'python_param {{ module: "layers_of_the_test" layer: "{program}" param_str: "{param_str}" }} }}'
    )


@pytest.fixture
def build(tmp_path):
    def net(*layers, phase=caffe.TRAIN):
        path = tmp_path / "net.prototxt"
        path.write_text("\n".join([INPUT, *layers]))
        return caffe.Net(str(path), phase)

    return net


def test_it_runs_both_ways_and_follows_shapes(build):
    relu = 'layer { name: "r" type: "ReLU" bottom: "a" top: "r" }'
    net = build(layer("a"), relu, layer("b", bottom="r", param_str="0.5"))
    for shape in ((2, 3), (4, 1, 2)):
        net.blobs["x"].reshape(*shape)
        x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) - 2
        net.blobs["x"].data[...] = x
        np.testing.assert_array_equal(net.forward()["b"], 5 * np.maximum(x, 0))
        net.blobs["b"].diff[...] = 1
        np.testing.assert_array_equal(net.backward()["x"], 5 * (x > 0))


def test_in_place_leaves_the_gradient_below_right(build):
    """ELU's gradient needs its own output, which the Python layer writes over."""
    above = layer("e").replace('bottom: "x"', 'bottom: "e"')
    net = build('layer { name: "elu" type: "ELU" bottom: "x" top: "e" }', above)
    x = np.array([[-1, 0.5, -0.25], [2, -3, 1]], np.float32)
    net.forward(x=x)
    net.blobs["e"].diff[...] = 1
    net.backward()
    np.testing.assert_allclose(net.blobs["x"].diff, 10 * np.where(x > 0, 1, np.exp(x)), rtol=1e-6)


def test_setup_gets_the_phase_and_param_str(build):
    for phase in (caffe.TRAIN, caffe.TEST):
        program = build(layer("a", param_str="3"), phase=phase).layer_dict["a"]
        assert (type(program), program.phase, program.params, program.param_str) == (Scaled, phase, 3.0, "3")


def test_layers_by_net_spec():
    n = caffe.NetSpec()
    n.x = caffe.layers.Input(shape={"dim": [1, 2]})
    n.a, n.b = caffe.layers.Python(n.x, module="m", layer="L", ntop=2, param_str="{}")
    spec = n.to_proto().layer[1]
    assert (spec.type, spec.python_param.layer, list(spec.top)) == ("Python", "L", ["a", "b"])


@pytest.mark.parametrize(
    "change, message",
    [
        (('module: "layers_of_the_test"', ""), "python_param.module must be given"),
        (('"layers_of_the_test"', '"no_such_module"'), "put the folder of no_such_module.py into PYTHONPATH"),
        (('"Scaled"', '"Missing"'), "layers_of_the_test has no such class of caffe.Layer"),
        (('"Scaled"', '"np"'), "layers_of_the_test has no such class of caffe.Layer"),
    ],
)
def test_a_program_that_is_not_there_is_one_line(build, change, message):
    with pytest.raises(ValueError, match=r"net.prototxt: line 2: layer 'a' \(Python\): ") as caught:
        build(layer("a").replace(*change))
    assert message in str(caught.value)


METHODS = ("constructor", "setup", "reshape", "forward", "backward")


@pytest.mark.parametrize("cls", [Lost, ValueError, OSError], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_callers_get_what_the_program_raises(build, method, cls):
    """As with BVLC Caffe: tests/golden/pycaffe_checks.py. A ValueError is not one of this package's."""
    with pytest.raises(cls) as caught:
        net = build(layer("a", program="Failing", param_str=f"{method} {cls.__name__}"))
        net.forward()
        net.backward()
    error = caught.value
    assert type(error) is cls and error.args == (method, 3) and error.__cause__ is None
    step = {"constructor": "the constructor"}.get(method, method)
    message = f"layer 'a' (Python, layers_of_the_test.Failing): {step} raised an error"
    assert error.__notes__ == [message] and python_layer.failure(error) == message
    assert [frame.name for frame in caught.traceback][-1] == "fail"
    traceback = python_layer.user_traceback(error)
    assert traceback.count("File ") == traceback.count(__file__) == 2  # the method and fail
    assert "caffe/net" not in traceback and message not in traceback and cls.__name__ in traceback


def test_an_error_keeps_its_cause_and_its_layer(build):
    """An error that passes through a layer whose program runs a net of its own is named once."""

    class Nested(Scaled):
        def forward(self, bottom, top):
            try:
                build(layer("inner", program="Failing", param_str="forward Lost")).forward()
            except Lost as error:
                raise KeyError("outer") from error

    sys.modules["layers_of_the_test"].Nested = Nested
    net = build(layer("a", program="Nested"))
    with pytest.raises(KeyError) as caught:
        net.forward()
    assert "layer 'a'" in python_layer.failure(caught.value)
    assert "layer 'inner'" in python_layer.failure(caught.value.__cause__)
    traceback = python_layer.user_traceback(caught.value)
    assert "direct cause" in traceback and traceback.endswith("'outer'\n")


def test_a_layer_without_bottoms_and_tops_runs(build):
    """As in BVLC Caffe: a program may only look on."""
    calls = []

    class Look(caffe.Layer):
        def setup(self, bottom, top):
            calls.append(("setup", bottom, top))

        def reshape(self, bottom, top):
            pass

        def forward(self, bottom, top):
            calls.append(("forward", bottom, top))

    sys.modules["layers_of_the_test"].Look = Look
    text = layer("a", program="Look").replace('bottom: "x" top: "a"', "")
    net = build(text)
    assert list(net.forward()) == ["x"]
    net.backward()
    assert calls == [("setup", [], []), ("forward", [], [])]


def test_a_solver_raises_what_the_program_raises(build, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loss = 'layer { name: "l" type: "Reduction" bottom: "a" top: "l" loss_weight: 1 }'
    solver = caffe.proto.caffe_pb2.SolverParameter(net="net.prototxt", base_lr=1, lr_policy="fixed")
    for method in ("setup", "forward", "backward"):
        text = layer("a", program="Failing", param_str=f"{method} ValueError")
        Path("net.prototxt").write_text("\n".join([INPUT, text, loss]))
        Path("solver.prototxt").write_text(str(solver))
        with pytest.raises(ValueError) as caught:
            caffe.get_solver("solver.prototxt").step(1)
        assert caught.value.args == (method, 3)


def test_errors_of_this_package_are_no_programs():
    assert python_layer.failure(ValueError("x")) == ""


def test_a_method_that_is_missing_is_named(build):
    net = build(layer("a", program="NoBackward"))
    net.forward()
    with pytest.raises(NotImplementedError, match="has no method backward") as caught:
        net.backward()
    assert "backward raised an error" in python_layer.failure(caught.value)


@pytest.mark.parametrize("content, cls", [("1 / 0", ZeroDivisionError), ("import no_such", ImportError)])
def test_a_module_raises_its_own_error_when_imported(build, tmp_path, monkeypatch, content, cls):
    (tmp_path / "broken_layers.py").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(cls) as caught:
        build(layer("a").replace("layers_of_the_test", "broken_layers"))
    assert "importing the module raised an error" in python_layer.failure(caught.value)
    assert python_layer.user_traceback(caught.value).count("File ") == 1


def test_several_processes_are_refused(build, monkeypatch):
    monkeypatch.setattr(caffe.parallel, "count", 2)
    with pytest.raises(ValueError, match="Python layers are for one process"):
        build(layer("a"))


def test_the_command_shows_the_programs_own_traceback(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import caffe\nclass L(caffe.Layer):\n    def setup(self, b, t):\n        1 / 0\n"
    )
    (tmp_path / "n.prototxt").write_text(
        f"{INPUT} {layer('a', program='L')}".replace("layers_of_the_test", "mine")
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    process = subprocess.run(
        [sys.executable, "-m", "caffe.main", "time", "-model", "n.prototxt"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
    )  # fmt: skip
    assert process.returncode == 1
    assert 'mine.py", line 4, in setup' in process.stderr and "ZeroDivisionError" in process.stderr
    assert "layer 'a' (Python, mine.L): setup raised an error" in process.stderr.splitlines()[-1]
    assert "caffe/net.py" not in process.stderr


def test_parameters_are_trained_saved_and_shared(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(EXAMPLES)
    solver = caffe.SGDSolver("own_layers_solver.prototxt")
    [offset] = solver.net.params["offset"]
    np.testing.assert_array_equal(offset.data, np.float32([0.1, 0.1]))
    solver.step(3)
    assert not np.any(offset.data == np.float32(0.1))
    solver.net.save(str(tmp_path / "w.caffemodel"))
    loaded = caffe.Net("own_layers.prototxt", str(tmp_path / "w.caffemodel"), caffe.TEST)
    np.testing.assert_array_equal(loaded.params["offset"][0].data, offset.data)
    solver.test_nets[0].share_with(solver.net)
    program = solver.test_nets[0].layers[2]
    offset.data[...] = 4
    assert np.all(program.blobs[0].data == 4)


def test_data_loading_in_the_program_takes_no_gradient(build):
    """Numbers in a net are what the program writes, with autograd off while it runs."""
    modes = []

    class Look(Scaled):
        def forward(self, bottom, top):
            modes.append(torch.is_grad_enabled())
            super().forward(bottom, top)

    sys.modules["layers_of_the_test"].Look = Look
    build(layer("a", program="Look")).forward()
    assert modes == [False]


def test_weights_files_run_no_program(tmp_path):
    """A .caffemodel names layers; reading it builds none."""
    spec = caffe.proto.caffe_pb2.NetParameter()
    spec.layer.add(name="x", type="Python").python_param.module = "antigravity_of_nobody"
    (tmp_path / "w.caffemodel").write_bytes(spec.SerializeToString())
    (tmp_path / "n.prototxt").write_text(f'{INPUT} layer {{ name: "r" type: "ReLU" bottom: "x" top: "r" }}')
    caffe.Net(str(tmp_path / "n.prototxt"), str(tmp_path / "w.caffemodel"), caffe.TEST)
