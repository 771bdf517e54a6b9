"""What programs may rely on in pycaffe, as functions that any Caffe passes. Each runs in an empty folder.

With BVLC Caffe, from the repository root:
    GLOG_minloglevel=2 build/bvlc/bin/python -m tests.golden.pycaffe_checks
"""

import os
import tempfile
from pathlib import Path

import caffe
import numpy as np
from caffe import layers as L
from caffe import params as P
from caffe.coord_map import coord_map_from_to, crop
from caffe.proto import caffe_pb2

MODULE = "tests.golden.pycaffe_checks"
DATA = """
layer { name: "in" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 3 dim: 2 dim: 5 dim: 4 } shape { dim: 3 } data_filler { type: "gaussian" }
  data_filler { value: 1 } } }
"""
NET = 'name: "checked" force_backward: true\n' + DATA
NET += """
layer { name: "conv" type: "Convolution" bottom: "x" top: "c" param { } param { decay_mult: 0 }
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.5 } } }
layer { name: "fc" type: "InnerProduct" bottom: "c" top: "scores"
        inner_product_param { num_output: 6 weight_filler { type: "gaussian" } bias_filler { value: -2 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "t" top: "loss" }
"""


CHECKS = []


def check(function):
    """Decorator: one of CHECKS."""
    CHECKS.append(function)
    return function


def build(text, phase=caffe.TRAIN, **options):
    """The net of a text or a NetParameter."""
    Path("net.prototxt").write_text(str(text))
    return caffe.Net("net.prototxt", phase, **options)


def small_solver(more=""):
    Path("net.prototxt").write_text(NET)
    text = 'net: "net.prototxt" test_iter: 2 test_interval: 3 base_lr: 0.25 momentum: 0.9 lr_policy: "fixed" '
    text += 'display: 0 max_iter: 5 snapshot_prefix: "kept" snapshot_after_train: false '
    Path("solver.prototxt").write_text(text + more)
    return caffe.SGDSolver("solver.prototxt")


def params_of(net):
    return [blob for blobs in net.params.values() for blob in blobs]


# Nets


@check
def arrays_outlive_their_net():
    net = build(NET)
    net.forward()
    blobs, params, array = list(net.blobs.values()), params_of(net), net.blobs["c"].data
    expected = array.copy()
    del net
    for blob in blobs + params:
        assert np.isfinite(blob.data).all() and np.isfinite(blob.diff).all()
    np.testing.assert_array_equal(array, expected)


@check
def nets_outlive_their_solver():
    solver = small_solver()
    solver.step(1)
    nets = [solver.net, *solver.test_nets]
    assert len(nets) == 2
    del solver
    for net in nets:
        assert np.isfinite(net.forward()["loss"]).all()
        assert all(np.isfinite(blob.data).all() for blob in params_of(net))


@check
def layers_and_blobs_have_their_names():
    net = build(NET)
    assert list(net.layer_dict) == list(net._layer_names) == ["in", "conv", "fc", "loss"]
    assert [net.layer_dict[name].type for name in net.layer_dict] == [layer.type for layer in net.layers]
    assert (net.inputs, net.outputs) == ([], ["loss"])
    assert list(net.top_names.items())[:2] == [("in", ["x", "t"]), ("conv", ["c"])]
    assert net.bottom_names["in"] == [] and net.bottom_names["loss"] == ["scores", "t"]


@check
def a_part_of_a_net_runs_on_what_is_written():
    net = build(NET)
    weights, bias = (blob.data for blob in net.params["fc"])
    net.blobs["c"].data[...] = np.random.RandomState(0).standard_normal(net.blobs["c"].data.shape)
    outputs = net.forward(start="fc", end="fc")
    assert list(outputs) == ["scores"]
    expected = net.blobs["c"].data.reshape(3, -1).dot(weights.T) + bias
    np.testing.assert_allclose(net.blobs["scores"].data, expected, rtol=1e-4, atol=1e-5)
    net.blobs["scores"].diff[...] = np.random.RandomState(1).standard_normal((3, 6))
    outputs = net.backward(start="fc", end="fc")
    assert list(outputs) == ["c"]
    expected = net.blobs["scores"].diff.dot(weights).reshape(net.blobs["c"].diff.shape)
    np.testing.assert_allclose(net.blobs["c"].diff, expected, rtol=1e-4, atol=1e-5)


@check
def gradients_of_parameters_are_cleared():
    net = build(NET)
    net.forward()
    net.backward()
    diff = net.params["conv"][0].diff
    assert np.abs(diff).max() > 0
    net.clear_param_diffs()
    assert (diff == 0).all()


@check
def weights_are_saved_and_read():
    net = build(NET)
    net.save("w.caffemodel")
    net.save_hdf5("w.h5")
    others = [
        caffe.Net("net.prototxt", caffe.TRAIN, weights="w.caffemodel"),
        caffe.Net("net.prototxt", "w.caffemodel", caffe.TRAIN),
        build(NET),
        build(NET),
    ]
    others[2].load_hdf5("w.h5")
    others[3].copy_from("w.caffemodel")
    for other in others:
        for ours, theirs in zip(params_of(other), params_of(net)):
            np.testing.assert_array_equal(ours.data, theirs.data)


@check
def rules_select_layers():
    """By level, by one of several stages, by all of them, and by a phase and a stage."""

    def layer(name, *rules):
        rules = " ".join(f"include {{ {rule} }}" for rule in rules)
        return f'layer {{ name: "{name}" type: "Power" bottom: "x" top: "{name}" {rules} }}\n'

    text = (
        DATA
        + layer("always", *[])
        + layer("low", "min_level: 0 max_level: 0")
        + layer("high", "min_level: 1")
    )
    text += layer("any", 'stage: "a"', 'stage: "b"') + layer("both", 'stage: "a" stage: "b"')
    text += layer("not", 'not_stage: "b"') + layer("val", 'phase: TEST stage: "a"')
    text += 'layer { name: "quiet" type: "Silence" bottom: "x" bottom: "t" }'
    for options, expected in (
        ({}, "always low not"),
        ({"level": 1}, "always high not"),
        ({"stages": ["a"]}, "always low any not"),
        ({"stages": ["b"], "level": 2}, "always high any"),
        ({"stages": ["a", "b"]}, "always low any both"),
        ({"stages": ["a"], "phase": caffe.TEST}, "always low any not val"),
    ):
        net = build(text, **options)
        names = [name for name in net._layer_names if net.layer_dict[name].type == "Power"]
        assert names == expected.split(), options
        assert sorted(net.outputs) == sorted(names)


# Solvers


@check
def a_solver_counts_its_iterations():
    solver = small_solver()
    assert solver.iter == 0 and len(solver.test_nets) == 1
    solver.solve()
    assert solver.iter == 5
    assert type(caffe.get_solver("solver.prototxt")).__name__ == "SGDSolver"


@check
def an_update_is_applied_alone():
    solver = small_solver()
    weights = solver.net.layers[1].blobs[0]
    weights.data[...], weights.diff[...] = 0.5, 1
    solver.apply_update()
    np.testing.assert_allclose(weights.data, 0.25, rtol=0, atol=1e-7)
    assert solver.iter == 1


@check
def a_snapshot_is_written_on_request():
    solver = small_solver()
    solver.step(2)
    solver.snapshot()
    assert sorted(os.listdir(".")) == [
        "kept_iter_2.caffemodel",
        "kept_iter_2.solverstate",
        "net.prototxt",
        "solver.prototxt",
    ]
    other = small_solver()
    other.restore("kept_iter_2.solverstate")
    assert other.iter == 2
    for ours, theirs in zip(params_of(other.net), params_of(solver.net)):
        np.testing.assert_array_equal(ours.data, theirs.data)


# Net specifications


@check
def nets_are_specified_with_and_without_names():
    def tops(n):
        data, label = L.DummyData(shape=[{"dim": [2, 1, 6, 6]}, {"dim": [2]}], ntop=2)
        if n is not None:
            n.data, n.label = data, label
        conv = L.Convolution(data, num_output=2, kernel_size=3)
        pool = L.Pooling(conv, kernel_size=2, stride=2, pool=P.Pooling.AVE)
        relu = L.ReLU(L.InnerProduct(pool, num_output=3), in_place=True)
        return L.SoftmaxWithLoss(relu, label)

    n = caffe.NetSpec()
    n.loss = tops(n)
    for proto in (n.to_proto(), tops(None).to_proto()):
        assert [layer.type for layer in proto.layer] == [
            "DummyData",
            "Convolution",
            "Pooling",
            "InnerProduct",
            "ReLU",
            "SoftmaxWithLoss",
        ]
        assert proto.layer[4].bottom == proto.layer[4].top
        assert len(build(proto, caffe.TEST).layers) == 6
    assert list(n.to_proto().layer[0].top) == ["data", "label"]


@check
def layers_may_have_no_tops():
    n = caffe.NetSpec()
    n.one, n.two = L.DummyData(shape={"dim": [3]}, ntop=2)
    n.quiet, n.still = L.Silence(n.one, ntop=0), L.Silence(n.two, ntop=0)
    assert build(n.to_proto(), caffe.TEST).forward() == {}


@check
def what_is_no_top_is_refused():
    pair = L.DummyData(ntop=2)
    try:
        L.Silence(pair, ntop=0)
    except TypeError as error:
        assert str(error) == "Silence input 0 is not a Top (type is <class 'tuple'>)"
    else:
        raise AssertionError("no TypeError")
    L.Silence(*pair, ntop=0)


# caffe.io, and what the build has


@check
def blobs_become_arrays():
    values = [float(i) for i in range(6)]
    old = caffe_pb2.BlobProto(num=1, channels=2, height=1, width=3, data=values)
    new = caffe_pb2.BlobProto(shape={"dim": [3, 2]}, data=values)
    assert caffe.io.blobproto_to_array(old).shape == (1, 2, 1, 3)
    assert caffe.io.blobproto_to_array(new).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert caffe.io.blobproto_to_array(caffe_pb2.BlobProto(data=[7])) == 7
    try:
        caffe.io.blobproto_to_array(caffe_pb2.BlobProto(data=values))
    except ValueError:
        return
    raise AssertionError("six values without a shape")


@check
def a_datum_has_a_label_only_if_given():
    image = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    with_label, without = caffe.io.array_to_datum(image, 3), caffe.io.array_to_datum(image)
    assert with_label.label == 3 and not without.HasField("label")
    np.testing.assert_array_equal(caffe.io.datum_to_array(without), image)


@check
def a_transformer_prepares_images():
    t = caffe.io.Transformer({"x": (1, 3, 4, 2)})
    t.set_transpose("x", (2, 0, 1))
    t.set_channel_swap("x", (2, 1, 0))
    t.set_raw_scale("x", 255)
    t.set_mean("x", np.array([10.0, 20, 30]))
    t.set_input_scale("x", 0.5)
    image = np.random.RandomState(0).random_sample((4, 2, 3)).astype(np.float32)
    mean = np.array([10, 20, 30])[:, None, None]
    expected = (255 * image.transpose(2, 0, 1)[::-1] - mean) * 0.5
    np.testing.assert_allclose(t.preprocess("x", image), expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(t.deprocess("x", t.preprocess("x", image)), image, rtol=1e-4, atol=1e-5)
    for wrong in ((t.set_transpose, (0, 1)), (t.set_channel_swap, (0, 1)), (t.set_mean, np.zeros(2))):
        try:
            wrong[0]("x", wrong[1])
        except Exception:  # BVLC Caffe raises Exception itself
            continue
        raise AssertionError(wrong[0].__name__)


@check
def the_build_lists_what_it_has():
    assert {"Data", "Convolution", "InnerProduct", "Python"} <= set(caffe.layer_type_list())
    assert caffe.has_nccl() is False and caffe.solver_count() == 1


# Layers in Python


class Scaled(caffe.Layer):
    """Multiplies by param_str, or by 10."""

    def setup(self, bottom, top):
        self.factor = float(self.param_str or 10)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.factor * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[...] = self.factor * top[0].diff


class Learned(Scaled):
    """Has a parameter whose gradient is 1."""

    def setup(self, bottom, top):
        self.factor = 1
        self.blobs.add_blob(1)
        self.blobs[0].data[0] = 3

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[0] = 1


class Lost(ValueError):
    """An error of the user's own."""


class Faulty(Scaled):
    """Raises Lost in the method that param_str names."""

    def setup(self, bottom, top):
        self.factor = 1
        self.raise_in("setup")

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.raise_in("reshape")

    def forward(self, bottom, top):
        self.raise_in("forward")

    def backward(self, top, propagate_down, bottom):
        self.raise_in("backward")

    def raise_in(self, method):
        if self.param_str == method:
            raise Lost(method, 3)


class Phase(caffe.Layer):
    """Makes a scalar: its phase."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        top[0].data[()] = self.phase


def python_net(*classes):
    """A net of Python layers in a row; of each a class, or a class and its param_str."""
    text = 'force_backward: true input: "y0" input_shape { dim: 4 dim: 3 dim: 2 }\n'
    for i, entry in enumerate(classes):
        cls, param = entry if isinstance(entry, tuple) else (entry, "")
        text += f'layer {{ type: "Python" name: "n{i + 1}" bottom: "y{i}" top: "y{i + 1}" python_param {{ '
        text += f'module: "{MODULE}" layer: "{cls.__name__}" param_str: "{param}" }} }}\n'
    return text


@check
def layers_in_python_run():
    net = build(python_net(Scaled, (Scaled, "-0.5"), Scaled))
    net.blobs["y0"].data[...] = 3
    net.forward()
    assert (net.blobs["y3"].data == -150).all()
    net.blobs["y3"].diff[...] = 7
    net.backward()
    assert (net.blobs["y0"].diff == -350).all()
    net.blobs["y0"].reshape(2, 2, 2, 2)
    net.forward()
    assert {blob.data.shape for blob in net.blobs.values()} == {(2, 2, 2, 2)}
    assert [layer.factor for layer in list(net.layers)[1:]] == [10, -0.5, 10]


@check
def an_error_of_a_layer_in_python_is_raised():
    for method in ("setup", "reshape", "forward", "backward"):
        try:
            net = build(python_net(Scaled, (Faulty, method)))
            net.forward()
            net.backward()
        except ValueError as error:
            # By name: this module may be __main__ too.
            assert (type(error).__name__, error.args) == ("Lost", (method, 3))
        else:
            raise AssertionError("no error in " + method)


@check
def layers_in_python_have_parameters():
    net = build(python_net(Learned))
    net.forward()
    net.backward()
    blob = net.layers[list(net._layer_names).index("n1")].blobs[0]
    assert (blob.data[0], blob.diff[0]) == (3, 1)
    blob.data[0] += blob.diff[0]
    net.save("w.caffemodel")
    blob.data[0] = -1
    net.copy_from("w.caffemodel")
    assert blob.data[0] == 4
    other = build(python_net(Learned))
    other.share_with(net)
    blob.data[0] = 5
    assert other.params["n1"][0].data[0] == 5


@check
def layers_in_python_know_their_phase():
    text = (
        f'layer {{ type: "Python" name: "p" top: "p" python_param {{ module: "{MODULE}" layer: "Phase" }} }}'
    )
    for phase in (caffe.TRAIN, caffe.TEST):
        assert build(text, phase).forward()["p"] == phase


# Coordinates


def up_and_down(kernel=3, stride=1, pad=0, pool=2, up=2, up_pad=0, size=(40, 40)):
    """Convolution, pooling, and a Deconvolution of twice its stride."""
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [1, 1, *size]})
    n.conv = L.Convolution(n.data, num_output=2, kernel_size=kernel, stride=stride, pad=pad)
    n.pool = L.Pooling(n.conv, kernel_size=pool, stride=pool)
    double = [2 * s for s in up] if isinstance(up, list) else 2 * up
    n.up = L.Deconvolution(n.pool, num_output=2, kernel_size=double, stride=up, pad=up_pad)
    return n


def map_of(n, top=None, reference=None):
    """The axis, scales and shifts from a top, n.up if not given, to n.data or another reference."""
    axis, scale, shift = coord_map_from_to(top or n.up, reference or n.data)
    return axis, np.ravel(scale).tolist(), np.ravel(shift).tolist()


@check
def coordinates_are_mapped_through_nets():
    assert map_of(up_and_down()) == (1, [1], [0])
    assert map_of(up_and_down(pool=4, up=4)) == (1, [1], [-1])
    assert map_of(up_and_down(pad=3)) == (1, [1], [-3])
    assert map_of(up_and_down(up_pad=3)) == (1, [1], [3])
    assert map_of(up_and_down(pad=3, up_pad=3)) == (1, [1], [0])
    n = up_and_down()
    n.relu = L.ReLU(n.up)
    n.same = L.Convolution(n.relu, num_output=1, kernel_size=1)
    assert map_of(n, n.relu) == map_of(n, n.same) == (1, [1], [0])
    n.cut = L.Crop(n.up, n.data, axis=2, offset=5)
    assert map_of(n, n.cut) == (1, [1], [5])
    square, other = map_of(up_and_down()), map_of(up_and_down(kernel=5, stride=2, pad=4))
    mixed = map_of(up_and_down(kernel=[3, 5], stride=[1, 2], pad=[0, 4]))
    assert mixed == (1, square[1] + other[1], square[2] + other[2])
    n = up_and_down(kernel=[3, 3, 3], stride=[1, 1, 1], pad=[0, 1, 2], size=(9, 9, 9))
    assert map_of(n) == (1, [1, 1, 1], [0, -1, -2])
    n.aux = L.Input(shape={"dim": [1, 1, 9, 9]})
    n.a, n.b = L.Convolution(n.data, n.aux, ntop=2, num_output=1, kernel_size=5, stride=2)
    assert map_of(n, n.a) == map_of(n, n.b, n.aux)


@check
def arrays_are_in_c_order_and_show_the_memory():
    """So that a program may write through reshape(-1), ravel() and the like."""
    net = build(NET)
    for _ in range(2):
        net.forward()
        net.backward()
        for blob in [*net.blobs.values(), *params_of(net)]:
            assert blob.data.flags.c_contiguous and blob.diff.flags.c_contiguous
    held = net.blobs["c"].data
    net.forward(end="conv")
    for array in (net.blobs["c"].data.reshape(-1), net.blobs["c"].data.ravel(), held):
        array[...] = array + 1
        expected = held.copy()
        scores = net.forward(start="fc", end="fc")["scores"].copy()
        weight, bias = (blob.data for blob in net.params["fc"])
        np.testing.assert_allclose(scores, expected.reshape(3, -1) @ weight.T + bias, rtol=1e-4, atol=1e-4)
    gradients = []
    for value in (1, 5):
        net.forward(end="conv")
        net.blobs["c"].diff.reshape(-1)[:] = value
        net.backward(start="conv")
        gradients.append(net.blobs["x"].diff.copy())
    assert gradients[0].any()
    np.testing.assert_allclose(gradients[1], 5 * gradients[0], rtol=1e-5, atol=1e-6)


@check
def what_is_written_before_the_backward_pass_counts_there():
    """The gradient of a sigmoid is that of the values which its top has then."""
    more = 'layer { name: "sigmoid" type: "Sigmoid" bottom: "c" top: "s" } layer { name: "fc" '
    net = build(
        NET.replace('layer { name: "fc" ', more).replace('bottom: "c" top: "sc', 'bottom: "s" top: "sc')
    )
    for _ in range(2):
        net.forward()
        net.backward()
        net.blobs["s"].data.reshape(-1)[::2] = 0.25
        net.blobs["s"].diff.reshape(-1)[:] = 2
        net.backward(start="sigmoid", end="sigmoid")
        s = net.blobs["s"].data
        np.testing.assert_allclose(net.blobs["c"].diff, 2 * s * (1 - s), rtol=1e-4, atol=1e-6)


@check
def blobs_of_several_readers_are_one_memory():
    """The blob that several layers read, and those that Caffe makes of it for each, show the same values."""
    more = (
        'layer { name: "other" type: "Sigmoid" bottom: "c" top: "s" } layer { name: "quiet" type: "Silence"'
    )
    net = build(NET.replace('layer { name: "loss"', more + ' bottom: "s" } layer { name: "loss"'))
    names = ["c"] + [name for name in net.blobs if name.startswith("c_")]
    assert len(names) == 3
    for name in names + names[::-1]:
        net.forward()
        arrays = [net.blobs[n].data for n in names]
        net.blobs[name].data.reshape(-1)[:] = 0.5
        assert all((array == 0.5).all() for array in arrays)
        net.forward(start="other", end="other")
        np.testing.assert_allclose(net.blobs["s"].data, 1 / (1 + np.exp(-0.5)), rtol=1e-5)
        net.forward(start="fc", end="fc")
        weight, bias = (blob.data for blob in net.params["fc"])
        expected = np.tile(weight.sum(axis=1) / 2 + bias, (3, 1))
        np.testing.assert_allclose(net.blobs["scores"].data, expected, rtol=1e-3, atol=1e-4)
        del arrays


@check
def a_gradient_after_a_step_leaves_no_traces():
    """Neither in the statistics of BatchNorm, nor in the mask of Dropout."""
    more = """layer { name: "norm" type: "BatchNorm" bottom: "c" top: "n" }
        layer { name: "drop" type: "Dropout" bottom: "n" top: "d" }
        layer { name: "fc" """
    text = NET.replace('layer { name: "fc" ', more).replace(
        'bottom: "c" top: "scores"', 'bottom: "d" top: "scores"'
    )
    solver = small_solver()
    Path("net.prototxt").write_text(text)
    solver = caffe.SGDSolver("solver.prototxt")
    solver.step(2)
    net = solver.net
    before = [blob.data.copy() for blob in net.params["norm"]]
    dropped = net.blobs["d"].data == 0
    assert 0.3 < dropped.mean() < 0.7
    net.backward()
    for blob, values in zip(net.params["norm"], before):
        np.testing.assert_array_equal(blob.data, values)
    np.testing.assert_array_equal(net.blobs["n"].diff == 0, dropped)


@check
def impossible_crops_are_refused():
    n = up_and_down(pad=20)
    assert list(crop(n.up, n.data).fn.params["crop_param"]["offset"]) == [20]
    n.fc = L.InnerProduct(n.up, num_output=1)
    for function, top, error in (
        (coord_map_from_to, n.fc, RuntimeError),
        (crop, up_and_down(pool=3, up=2), AssertionError),  # another scale
        (crop, up_and_down(up_pad=5), AssertionError),  # a negative offset
    ):
        n, top = (top, top.up) if isinstance(top, caffe.NetSpec) else (n, top)
        try:
            function(top, n.data)
        except error:
            continue
        raise AssertionError(f"no {error.__name__}")


if __name__ == "__main__":
    for function in CHECKS:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            function()
        print(function.__name__)
