"""What a net refuses and how it says so; which layers run backward; what splits, shares and weighs."""

import os
import subprocess
import sys
from pathlib import Path

import caffe
import numpy as np
import pytest
from caffe import device
from caffe import layers as L

from tests.golden import layers as golden
from tests.golden.layers import inputs, layer

X = inputs(x=(2, 3, 4, 5))


def build(path, text, phase=caffe.TEST, **options):
    path.write_text(text)
    return caffe.Net(str(path), phase, **options)


@pytest.fixture
def net(tmp_path):
    return lambda text, phase=caffe.TEST, **options: build(tmp_path / "net.prototxt", text, phase, **options)


def one(kind, settings="", bottoms="x", tops="y"):
    return X + inputs(w=(2, 3), label=(2,)) + layer(kind, settings, bottoms, tops)


REFUSED = {
    "unknown type": (one("LSTM"), "layer type 'LSTM' is not supported"),
    "unknown field": (one("ReLU", "relu_param { nosuch: 1 }"), '4:70.*no field named "nosuch"'),
    "unknown layer field": (one("ReLU", "nosuch: 1"), 'no field named "nosuch"'),
    "too few bottoms": (one("EuclideanLoss"), "has 1 bottoms, needs 2"),
    "too many bottoms": (one("ReLU", bottoms="x w"), "has 2 bottoms, needs 1"),
    "too many tops": (one("ReLU", tops="y z"), "has 2 tops, needs 1"),
    "unknown bottom": (one("ReLU", bottoms="q"), "no layer before it has the top 'q'"),
    "top twice": (one("ReLU", tops="w"), "top 'w' is already the top of another layer"),
    "in place": (one("AbsVal", tops="x"), "cannot work in place"),
    "in place of another bottom": (one("Scale", bottoms="x w", tops="w"), "top 'w' is already"),
    "loss weights": (one("ReLU", "loss_weight: 1 loss_weight: 1"), "give one for each of the 1 tops"),
    "param entries": (one("ReLU", "param { lr_mult: 1 }"), "1 param entries for 0 parameters"),
    "no layers": ("", "net.prototxt: no layers in phase TEST"),
    "no layers left": (
        'layer { name: "x" type: "Input" top: "x" include { phase: TRAIN } }',
        "no layers in phase TEST",
    ),
    "propagate_down": (one("ReLU", "propagate_down: true propagate_down: true"), "a value for each bottom"),
    "rules": (one("ReLU", "include { phase: TEST } exclude { phase: TRAIN }"), "not both"),
    "conv without outputs": (one("Convolution", "convolution_param { kernel_size: 3 }"), "num_output"),
    "conv without kernel": (one("Convolution", "convolution_param { num_output: 3 }"), "kernel_size"),
    "conv group": (
        one("Convolution", "convolution_param { num_output: 4 kernel_size: 1 group: 2 }"),
        "group 2",
    ),
    "conv axis": (one("Convolution", "convolution_param { num_output: 4 kernel_size: 1 axis: 2 }"), "axis 2"),
    "conv kernel too large": (
        one("Convolution", "convolution_param { num_output: 4 kernel_size: 9 }"),
        r"does not fit bottoms of shape \(2, 3, 4, 5\)",
    ),
    "conv of rows": (
        one("Convolution", "convolution_param { num_output: 1 kernel_size: 1 }", "w"),
        "spatial axes",
    ),
    "inner axis": (one("InnerProduct", "inner_product_param { num_output: 1 axis: 7 }"), "axis 7 is outside"),
    "filler": (
        one(
            "Convolution", 'convolution_param { num_output: 1 kernel_size: 1 weight_filler { type: "best" } }'
        ),
        "unknown filler 'best'",
    ),
    "pool stochastic": (one("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }"), "STOCHASTIC"),
    "pool without kernel": (one("Pooling"), "give kernel_size"),
    "pool both kernels": (
        one("Pooling", "pooling_param { kernel_size: 2 kernel_h: 2 }"),
        "or both",
    ),
    "pool kernel 0": (one("Pooling", "pooling_param { kernel_size: 0 }"), "kernel sizes and strides are 1"),
    "pool stride 0": (
        one("Pooling", "pooling_param { kernel_size: 2 stride: 0 }"),
        "sizes and strides are 1",
    ),
    "pool pad": (one("Pooling", "pooling_param { kernel_size: 2 pad: 2 }"), "must be less than the kernel"),
    "pool global": (
        one("Pooling", "pooling_param { global_pooling: true kernel_size: 2 }"),
        "global_pooling",
    ),
    "pool mean place": (one("Pooling", "pooling_param { pool: AVE kernel_size: 2 }", tops="y z"), "one top"),
    "pool rows": (one("Pooling", "pooling_param { kernel_size: 2 }", "w"), "4 axes"),
    "pool floor": (one("Pooling", "pooling_param { kernel_size: 9 round_mode: FLOOR }"), "does not fit"),
    "concat shapes": (one("Concat", bottoms="x w"), "differ not only in axis 1"),
    "concat both": (one("Concat", "concat_param { axis: 1 concat_dim: 1 }"), "not both"),
    "slice equal": (one("Slice", tops="y z"), "cannot be cut into 2 equal parts"),
    "slice points": (one("Slice", "slice_param { slice_point: 3 }", tops="y z"), "do not rise"),
    "slice count": (one("Slice", "slice_param { slice_point: 1 }", tops="y z v"), "1 points for 3 tops"),
    "reshape": (one("Reshape", "reshape_param { shape { dim: 7 dim: -1 } }"), "cannot be reshaped"),
    "reshape of nothing": (
        inputs(x=(0, 3)) + layer("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }"),
        "cannot be reshaped",
    ),
    "reshape beyond": (one("Reshape", "reshape_param { shape {" + " dim: 0" * 5 + " } }"), "no axis to copy"),
    "flatten": (one("Flatten", "flatten_param { axis: 2 end_axis: 1 }"), "comes after"),
    "crop": (one("Crop", "crop_param { offset: 1 }", bottoms="x x"), "do not fit axis 2"),
    "crop axes": (one("Crop", bottoms="x w"), "as many axes"),
    "eltwise shapes": (one("Eltwise", bottoms="x w"), "differ in shape"),
    "eltwise coeff": (one("Eltwise", "eltwise_param { coeff: 1 }", bottoms="x x"), "1 coefficients for 2"),
    "eltwise product": (
        one("Eltwise", "eltwise_param { operation: PROD coeff: 1 coeff: 1 }", bottoms="x x"),
        "only a SUM",
    ),
    "scale axes": (one("Scale", "scale_param { axis: 2 num_axes: 3 }"), "do not fit"),
    "scale shapes": (one("Scale", bottoms="x w"), "do not fit from axis 1"),
    "batch norm": (one("BatchNorm", "param { lr_mult: 1 }"), "statistics are not learned"),
    "batch norm without channels": (inputs(x=(2, 0, 4)) + layer("BatchNorm"), "the second for channels"),
    "too many numbers": (inputs(x=(2**40, 2**40)), "takes 4503599627370496 GiB; there are"),
    "lrn": (one("LRN", "lrn_param { local_size: 4 }"), "not odd"),
    "softmax": (one("Softmax", "softmax_param { axis: 4 }"), "axis 4 is outside"),
    "prelu": (inputs(x=(3,)) + layer("PReLU"), "2 axes"),
    "log": (one("Log", "log_param { base: 1 }"), "no logarithm"),
    "exp": (one("Exp", "exp_param { base: -2 }"), "a base is above 0"),
    "exp shift": (
        one("Exp", "exp_param { shift: 1e10 }"),
        r"exp_param.shift 1e\+10: base \^ shift is too large",
    ),
    "dropout": (one("Dropout", "dropout_param { dropout_ratio: 1 }"), "dropout_ratio 1"),
    "euclidean": (one("EuclideanLoss", bottoms="x w"), "differ in size"),
    "softmax loss rows": (
        inputs(w=(2, 3), label=(3,)) + layer("SoftmaxWithLoss", "softmax_param { axis: 0 }", "w label"),
        "2 rows of scores and 3",
    ),
    "softmax loss of a scalar": (
        inputs(w=(2, 3), label=()) + layer("SoftmaxWithLoss", "", "w label"),
        "2 rows of scores and no of labels",
    ),
    "softmax loss": (one("SoftmaxWithLoss", bottoms="x label"), "need 40 labels, not 2"),
    "sigmoid loss": (one("SigmoidCrossEntropyLoss", bottoms="x w"), "differ in size"),
    "accuracy": (one("Accuracy", "accuracy_param { top_k: 4 }", "w label"), "top_k 4 is more than 3"),
    "argmax": (one("ArgMax", "argmax_param { axis: 1 top_k: 4 }"), "not in 1 .. 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_the_file_the_layer_and_the_reason(net, tmp_path, case):
    text, reason = REFUSED[case]
    with pytest.raises(ValueError, match=reason) as caught:
        net(text)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "net.prototxt")) and "\n" not in message
    assert "layer" in message or "no field" in message


def test_the_least_that_fits(net):
    """Kernels of the size of the image, and of one value."""
    text = X + layer(
        "Convolution", "convolution_param { num_output: 2 kernel_h: 4 kernel_w: 5 }", "x", "whole"
    )
    text += layer("Convolution", "convolution_param { num_output: 2 kernel_size: 1 }", "x", "one", "point")
    text += layer("Pooling", "pooling_param { kernel_h: 4 kernel_w: 5 }", "x", "most", "pool")
    text += layer("Pooling", "pooling_param { kernel_size: 1 }", "x", "same", "none")
    small = net(text)
    small.blobs["x"].data[...] = np.arange(120).reshape(2, 3, 4, 5)
    found = small.forward()
    assert found["whole"].shape == (2, 2, 1, 1) and found["one"].shape == (2, 2, 4, 5)
    np.testing.assert_array_equal(found["most"].ravel(), np.arange(19, 120, 20))
    np.testing.assert_array_equal(found["same"], small.blobs["x"].data)


def test_prelu_starts_with_a_quarter(net):
    made = net(X + layer("PReLU", "", "x", "y"))
    np.testing.assert_array_equal(made.params["layer"][0].data, [0.25] * 3)


@pytest.mark.parametrize("named", ["net.prototxt", "solver.prototxt"])
def test_the_line_of_a_layer_is_said(tmp_path, monkeypatch, named):
    """By a net and by a solver; comments and settings that look like the layer are not taken for it."""
    monkeypatch.chdir(tmp_path)
    text = """name: "odd"  # layer { name: "odd" }
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 1 } } }
layer {
  # }
  type: "LSTM"
  param { name: 'odd' }
  name:
    "odd"
  bottom: "x" top: "{"
}
"""
    Path("net.prototxt").write_text(text)
    Path("solver.prototxt").write_text('net: "net.prototxt" base_lr: 1 lr_policy: "fixed" max_iter: 1')
    with pytest.raises(
        ValueError, match=r"net\.prototxt: line 3: layer 'odd' \(LSTM\): layer type 'LSTM' is not"
    ):
        caffe.Net(named, caffe.TRAIN) if named == "net.prototxt" else caffe.get_solver(named)


def test_layers_of_one_name_have_several_lines(net):
    data = 'layer {{ name: "data" type: "{}" top: "x" include {{ phase: {} }} }}\n'
    with pytest.raises(ValueError, match=r"net\.prototxt: line 1 or 2: layer 'data' \(LSTM\)"):
        net(data.format("Input", "TRAIN") + data.format("LSTM", "TEST"))


@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "Accuracy"])
@pytest.mark.parametrize("label", [3, -1])
def test_a_label_that_is_no_class_is_found(net, kind, label):
    loss = net(inputs(w=(2, 3), label=(2,)) + layer(kind, "", "w label"))
    loss.blobs["label"].data[...] = label, 0
    if device.device().type == "cuda":  # it cannot raise
        (value,) = loss.forward().values()
        assert np.isnan(value)
        return
    message = rf"^layer 'layer' \({kind}\): the label {label} is none of 3 classes, 0 to 2$"
    with pytest.raises(ValueError, match=message):
        loss.forward()


def test_comments_may_be_of_any_encoding(tmp_path):
    """GBK, Latin-1 and a mixture, as with BVLC Caffe."""
    path = tmp_path / "net.prototxt"
    path.write_bytes(
        b"# \xb2\xe2\xca\xd4 \x93\x7b caf\xe9 \xe6\xb5\x8b\n" + X.encode() + b'name: "\xe6\xb5\x8b" # \xe9"\n'
    )
    assert caffe.Net(str(path), caffe.TEST).name == "\u6d4b"


@pytest.mark.parametrize(
    "content, message",
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a text file: it has the byte 0x1a"),
        (X.encode() + b"# \0", "not a text file: it has the byte 0x00"),
        (b'\nname: "caf\xe9"', "2: a value that is not UTF-8"),
    ],
)
def test_what_is_not_text_is_named(tmp_path, content, message):
    (tmp_path / "net.prototxt").write_bytes(content)
    with pytest.raises(ValueError, match=f"net.prototxt: {message}$"):
        caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)


def test_inputs_are_anything_like_an_array(net):
    n = net(FC)
    n.params["fc"][0].data[...] = 1
    assert n.forward(x=[[1, 2, 3]] * 4)["y"].tolist() == [[6, 6]] * 4
    for given, message in (([[1, 2, 3]], "1 rows given, the net takes 4"), (3, "no rows given")):
        with pytest.raises(ValueError, match=f"input 'x': {message}"):
            n.forward(x=given)


def test_arrays_that_do_not_fit_are_named(net):
    n = net(FC)
    for call, message in (
        (
            lambda: n.forward(x=np.zeros((4, 5))),
            r"^input 'x': could not broadcast .*\(4,5\) into shape \(4,3\)$",
        ),
        (lambda: n.backward(y=np.zeros((4, 5))), r"^gradient of 'y': could not broadcast .*\(4,2\)$"),
        (lambda: n.backward(start="x", y=0), r"^gradients given: \['y'\]; the outputs: \['x'\]$"),
        (lambda: n.forward_all(x=np.zeros((0, 3))), "^no rows given$"),
        (n.forward_all, "^no rows given$"),
        (n.forward_backward_all, "^no rows given$"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_shapes_that_no_longer_fit_are_named(net):
    inner = net(one("InnerProduct", "inner_product_param { num_output: 2 }"))
    inner.blobs["x"].reshape(2, 3, 4, 6)
    with pytest.raises(
        ValueError, match=r"layer 'layer' .InnerProduct.: .* has not 60 values from axis 1 on"
    ):
        inner.reshape()
    with pytest.raises(
        ValueError, match=r"layer 'layer' .InnerProduct.: .* has not 60 values from axis 1 on"
    ):
        inner.forward()


def test_a_gradient_to_labels_is_refused_unless_disabled(net):
    text = (
        inputs(w=(2, 3), v=(2, 4))
        + layer("InnerProduct", "inner_product_param { num_output: 1 }", "v", "label", "inner")
        + layer("SoftmaxWithLoss", "SENT", "w label", "loss")
    )
    wrong = net(text.replace("SENT", ""))
    wrong.forward()
    with pytest.raises(ValueError, match="sends no gradient to 'label'"):
        wrong.backward()
    right = net(text.replace("SENT", "propagate_down: true propagate_down: false"))
    right.forward()
    right.backward()
    assert not right.params["inner"][0].diff.any()


def test_a_loss_without_a_top_counts_and_is_no_output(net):
    euclid = net(inputs(a=(2, 3), b=(2, 3)) + layer("EuclideanLoss", "", "a b", ""))
    euclid.blobs["a"].data[...] = 2
    assert euclid.outputs == []
    assert float(euclid.forward_loss()) == pytest.approx(2 * 3 * 4 / 4)


def test_weights_of_a_layer_with_a_top_read_further(net):
    """BVLC Caffe's: they go to the splits, those of other tops are lost, and a loss counts as 1 besides."""
    text = inputs(x=(4, 3), y=(4, 3)) + layer("EuclideanLoss", "loss_weight: 2", "x y", "loss", "loss")
    text += layer("Power", "", "loss", "again", "again") + layer("Power", "", "half", "more", "more")
    slices = "loss_weight: 3 loss_weight: 5 slice_param { slice_point: 1 }"
    weighed = net(
        text.replace(
            'layer { name: "more"', layer("Slice", slices, "x", "half rest") + 'layer { name: "more"'
        )
    )
    weighed.blobs["x"].data[...] = 1
    weighed.blobs["y"].data[...] = 3
    assert weighed.forward()["again"] == 6
    assert weighed.forward_loss() == 2 * 6 + 1 * 6 + 3 * 4


@pytest.mark.parametrize("kind, expected", [("Scale", 9), ("Bias", 6)])
def test_a_scalar_is_scaled_by_itself(net, kind, expected):
    scalar = net(inputs(x=()) + layer(kind, "", "x x"))
    scalar.blobs["x"].data[...] = 3
    assert scalar.forward()["y"] == expected


def test_the_softmax_of_a_loss_is_its_second_top(net):
    text = inputs(w=(2, 3), label=(2,)) + layer("SoftmaxWithLoss", "", "w label", "loss p")
    loss = net(text)
    loss.blobs["w"].data[...] = [[1, 2, 3], [0, 0, 0]]
    out = loss.forward()
    expected = np.exp([[1, 2, 3], [0, 0, 0]])
    np.testing.assert_allclose(out["p"], expected / expected.sum(1, keepdims=True), rtol=1e-6)
    assert loss.blob_loss_weights["p"] == 0


def test_dropout_keeps_the_mean_and_does_nothing_in_testing(net):
    text = inputs(x=(100, 100)) + layer("Dropout", "dropout_param { dropout_ratio: 0.2 }")
    caffe.set_random_seed(1)
    train, test = net(text, caffe.TRAIN), net(text)
    for n in (train, test):
        n.blobs["x"].data[...] = 1
    out = train.forward()["y"]
    assert set(np.unique(out)) == {np.float32(0), np.float32(1.25)}
    assert np.mean(out == 0) == pytest.approx(0.2, abs=0.02)  # 5 standard deviations
    assert (test.forward()["y"] == 1).all()


def test_solvers_and_testing_leave_batch_norm_statistics_alone(net):
    text = X + layer("BatchNorm")
    train, test = net(text, caffe.TRAIN), net(text)
    assert train.params_lr == [0, 0, 0]
    train.forward()
    assert train.params["layer"][2].data == pytest.approx([1])
    test.forward()
    assert not any(blob.data.any() for blob in test.params["layer"])


def test_gradients_of_parameters_add_up_until_cleared(net):
    text = "force_backward: true " + inputs(x=(1, 3)) + layer("Bias", "loss_weight: 2")
    bias = net(text)
    for expected in (2, 4):
        bias.forward()
        bias.backward()
        assert (bias.params["layer"][0].diff == expected).all()
    bias.params["layer"][0].diff[...] = 0  # not the loss weight itself
    assert (bias.blobs["y"].diff == 2).all()
    bias.clear_param_diffs()
    assert not bias.params["layer"][0].diff.any()


def test_loss_weights_outlive_a_reshape(net):
    weighed = net("force_backward: true " + inputs(x=(1, 3)) + layer("Power", "loss_weight: 3"))
    weighed.blobs["x"].reshape(4, 5)
    weighed.reshape()
    weighed.forward()
    assert (weighed.backward()["x"] == np.full((4, 5), 3)).all()


def test_rules_choose_layers_by_phase_level_and_stage(net):
    text = X + "".join(
        layer("ReLU", f"include {{ {rule} }}", tops=name, name=name)
        for name, rule in {
            "train": "phase: TRAIN",
            "test": "phase: TEST",
            "high": "min_level: 2",
            "low": "max_level: 1",
            "deploy": 'stage: "deploy"',
            "learn": 'not_stage: "deploy"',
        }.items()
    )
    assert net(text).outputs == ["learn", "low", "test"]
    assert net(text, caffe.TRAIN, level=2, stages=["deploy"]).outputs == ["deploy", "high", "train"]


def test_layers_made_in_python_build_the_same_net(net, tmp_path):
    n = caffe.NetSpec()
    n.x = L.Input(shape={"dim": [1, 3, 8, 8]})
    n.conv = L.Convolution(n.x, num_output=2, kernel_size=3, param=[{"lr_mult": 1}, {"lr_mult": 2}])
    n.relu = L.ReLU(n.conv, in_place=True)
    n.pool = L.Pooling(n.relu, pool=caffe.params.Pooling.AVE, kernel_size=2, stride=2)
    built = net(str(n.to_proto()))
    assert list(built.blobs) == ["x", "conv", "pool"]
    assert built.blobs["pool"].data.shape == (1, 2, 3, 3)
    assert built.params_lr == [1, 2]


def test_the_shapes_said_are_those_computed(net):
    for text in golden.CASES.values():
        built = net(text, caffe.TRAIN if "phase: TRAIN" in text else caffe.TEST)
        said = {name: blob.shape for name, blob in built.blobs.items()}
        for name in built.inputs:
            built.blobs[name].data[...] = 1
        built.forward()
        assert {name: blob.shape for name, blob in built.blobs.items()} == said, text


def test_building_a_net_does_not_load_pytorchs_compiler():
    """It takes seconds, which every command would begin with."""
    script = (
        "import sys, caffe; from google.protobuf import text_format; from tests.golden import layers\n"
        "for text in layers.CASES.values():\n"
        "    net = text_format.Parse(text, caffe.proto.caffe_pb2.NetParameter())\n"
        "    caffe.Net(net, net.state.phase)\n"
        "    assert not {'torch._dynamo', 'sympy'} & set(sys.modules), text"
    )
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join([str(root), *sys.path])
    subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": path}, check=True)


def test_arrays_given_out_go_on_showing_the_blob(net):
    text = "force_backward: true " + X
    text += layer("Convolution", "convolution_param { num_output: 2 kernel_size: 1 }", "x", "y", "conv")
    text += layer("PReLU", "", "y", "y")
    held, fresh = net(text), net(text)
    arrays = [held.blobs["y"].data, held.blobs["x"].diff, held.params["layer"][0].diff]
    rows = held.blobs["y"].data[1, :2]
    for i in range(1, 4):
        for n in (held, fresh):
            n.params["conv"][0].data[...] = np.linspace(-1, i, n.params["conv"][0].count).reshape(2, 3, 1, 1)
            n.blobs["x"].data[...] = np.linspace(-i, 2, 120).reshape(2, 3, 4, 5)
            n.forward()
            n.blobs["y"].diff[...] = i
            n.clear_param_diffs()
            n.backward()
        now = [fresh.blobs["y"].data, fresh.blobs["x"].diff, fresh.params["layer"][0].diff]
        for array, expected in zip(arrays, now, strict=True):
            assert expected.any()
            np.testing.assert_array_equal(array, expected)
        np.testing.assert_array_equal(rows, arrays[0][1, :2])
    arrays[0][...] = 7  # and what is written to it counts
    assert (held.blobs["y"].data == 7).all()
    held.clear_param_diffs()
    assert not arrays[2].any()


FC = inputs(x=(4, 3)) + layer("InnerProduct", "inner_product_param { num_output: 2 }", name="fc")


def test_a_reshape_keeps_what_there_is_room_for(net):
    """BVLC Caffe's numbers: memory is new, and zero, only for a count that the blob never had before."""
    n = net(FC)
    x, y, (w, _) = n.blobs["x"], n.blobs["y"], n.params["fc"]
    counted = np.arange(12, dtype=np.float32)
    w.data[...] = 1
    x.data[...], x.diff[...] = counted.reshape(4, 3), -counted.reshape(4, 3)
    x.reshape(2, 3)
    np.testing.assert_array_equal(x.data, counted[:6].reshape(2, 3))
    np.testing.assert_array_equal(x.diff, -counted[:6].reshape(2, 3))
    assert n.forward()["y"].tolist() == [[3, 3], [12, 12]]
    y.diff[...] = 7
    for shape in ((3, 2, 2), (4, 3)):
        x.reshape(*shape)
        np.testing.assert_array_equal(x.data, counted.reshape(shape))
        np.testing.assert_array_equal(x.diff, -counted.reshape(shape))
    n.forward()
    assert y.data.ravel().tolist() == [3, 3, 12, 12, 21, 21, 30, 30]
    assert y.diff.ravel().tolist() == [7, 7, 7, 7, 0, 0, 0, 0]
    x.reshape(1, 3)
    n.reshape()
    assert (y.data.tolist(), y.diff.tolist()) == ([[3, 3]], [[7, 7]])
    y.reshape(4, 2)
    assert y.data.ravel().tolist() == [3, 3, 12, 12, 21, 21, 30, 30]
    x.reshape(5, 3)
    assert not x.data.any() and not x.diff.any()
    x.data[...] = 1
    x.reshape(4, 3)
    x.reshape(5, 3)
    assert (x.data == 1).all()


def test_a_layer_goes_on_with_a_parameter_of_another_shape(net):
    n = net(FC)
    w = n.params["fc"][0]
    w.data[...] = np.arange(6).reshape(2, 3)
    w.reshape(2, 3, 1, 1)
    assert w.data.ravel().tolist() == [0, 1, 2, 3, 4, 5]
    n.blobs["x"].data[...] = 1
    n.reshape()
    assert n.forward()["y"].tolist() == [[3, 12]] * 4
    w.reshape(2, 2)
    with pytest.raises(ValueError, match=r"layer 'fc' .*shapes \[\(2, 2\), \(2,\)\] now.*\(2, 3\)"):
        n.forward()


def test_what_is_written_and_shrunk_at_once_counts(net):
    n = net(FC)
    x = n.blobs["x"]
    x.reshape(2, 3)
    x.data[...] = 1  # on a GPU the device does not have it yet
    x.reshape(1, 3)
    x.data[...] += 1
    x.reshape(4, 3)
    assert x.data.tolist() == [[2, 2, 2], [1, 1, 1], [0, 0, 0], [0, 0, 0]]


def test_a_permissively_shared_parameter_has_a_shape_a_layer(net, tmp_path):
    """BVLC Caffe's numbers."""
    settings = 'inner_product_param {{ num_output: {} bias_term: false }} param {{ name: "w" {} }}'
    text = "force_backward: true " + inputs(a=(2, 3))
    text += layer("InnerProduct", settings.format(2, ""), "a", "x", "x")
    text += layer("InnerProduct", settings.format(3, "share_mode: PERMISSIVE"), "x", "y", "y")
    n = net(text)
    assert [blobs[0].data.shape for blobs in n.params.values()] == [(2, 3), (3, 2)]
    n.params["y"][0].data[...] = np.arange(6).reshape(3, 2)
    n.blobs["a"].data[...] = [[1, 2, 3], [-1, 0, 1]]
    assert n.forward()["y"].tolist() == [[26, 94, 162], [2, 10, 18]]
    n.blobs["y"].diff[...] = [[1, 0, 2], [0, 1, -1]]
    assert n.backward()["a"].tolist() == [[33, 52, 71], [-6, -10, -14]]
    assert n.params["x"][0].diff.tolist() == [[18, 42, 24], [15, 36, 81]]
    assert n.params["y"][0].diff.tolist() == [[18, 42], [24, 15], [36, 81]]
    for name in ("w.caffemodel", "w.caffemodel.h5"):
        path = str(tmp_path / name)
        (n.save_hdf5 if name.endswith("h5") else n.save)(path)
        again, sharing = net(text, weights=path), net(text)
        sharing.share_with(again)
        for other in (again, sharing):
            assert other.params["x"][0].data.ravel().tolist() == [0, 1, 2, 3, 4, 5]
            assert other.params["y"][0].data.shape == (3, 2) and len(other.learnable_params) == 1
            assert other.learnable_params[0].shape == (2, 3)
    with pytest.raises(ValueError, match="a shared parameter of 6 values"):
        n.params["y"][0].reshape(7)
