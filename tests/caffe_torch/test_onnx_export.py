"""Exported nets give the same numbers in ONNX Runtime: every layer type, at several sizes."""

import sys

import caffe
import numpy as np
import pytest
from caffe import main as command
from caffe import onnx_export
from caffe.onnx_layers import EXPORTS

from tests.caffe_torch import exported_nets
from tests.golden import layers as golden
from tests.golden import more_layers as more
from tests.golden import nets as golden_nets

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install './caffe_torch[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install onnxruntime")

BOUND = 1e-5


def image(text, **shapes):
    """A net of one input or more, N x C x H x W, and the layers of `text`."""
    return golden.inputs(**(shapes or {"x": (2, 4, 6, 8)})) + text


FURTHER = {
    "conv_two_strides": image(
        golden.layer(
            "Convolution",
            "convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 group: 2 }",
        )
    ),
    "deconv_stride_1_groups": image(
        golden.layer(
            "Deconvolution",
            "convolution_param { num_output: 6 kernel_size: 3 kernel_size: 2 pad: 1 dilation: 2 group: 2 }",
        )
    ),
    "deconv_stride_1_wide_pad": image(
        golden.layer("Deconvolution", "convolution_param { num_output: 2 kernel_size: 2 pad: 2 }")
    ),
    "deconv_3d": image(
        golden.layer("Deconvolution", "convolution_param { num_output: 2 kernel_size: 2 stride: 2 }"),
        x=(1, 2, 3, 4, 3),
    ),
    "inner_last_axis": image(golden.layer("InnerProduct", "inner_product_param { num_output: 3 axis: -1 }")),
    "eltwise_max_coefficients": image(
        golden.layer("Eltwise", "eltwise_param { operation: MAX coeff: -1 coeff: 3 }", "x w"),
        x=(2, 4, 6, 8),
        w=(2, 4, 6, 8),
    ),
    "pool_max_gap": image(golden.layer("Pooling", "pooling_param { kernel_size: 1 stride: 2 }")),
    **{
        f"pool_{pool.lower()}_one_pad_{axis}": image(
            golden.layer(
                "Pooling",
                f"pooling_param {{ pool: {pool} kernel_h: {kernel_h} kernel_w: {kernel_w} pad_{axis}: 1 "
                f"pad_{other}: 0 stride_{axis}: 1 stride_{other}: 3 }}",
            ),
            x=(2, 4, 5, 8),
        )
        for axis, other, kernel_h, kernel_w in (("w", "h", 1, 3), ("h", "w", 3, 1))
        for pool in ("MAX", "AVE")
    },
    "pool_mask_global": image(golden.layer("Pooling", "pooling_param { global_pooling: true }", tops="y z")),
    "slice_points_rows": image(
        golden.layer("Slice", "slice_param { axis: 2 slice_point: 1 slice_point: 4 }", tops="y z w")
    ),
    "slice_equal_columns": image(golden.layer("Slice", "slice_param { axis: 3 }", tops="y z")),
    "slice_dim_rows": image(golden.layer("Slice", "slice_param { slice_dim: 2 }", tops="y z")),
    "slice_one_top": image(golden.layer("Slice")),
    "reshape_rows": image(golden.layer("Reshape", "reshape_param { shape { dim: 0 dim: 0 dim: -1 } }")),
    "reshape_channels": image(
        golden.layer("Reshape", "reshape_param { shape { dim: 2 dim: 2 } axis: 1 num_axes: 1 }")
    ),
    "reshape_squeeze": image(
        golden.layer("Reshape", "reshape_param { shape { dim: 0 } axis: 0 num_axes: 2 }"), x=(3, 1, 4, 5)
    ),
    "reshape_nothing": image(
        golden.layer("Reshape", "reshape_param { shape { dim: 0 dim: 0 } num_axes: 2 }")
    ),
    "interleave_three": image(
        "".join(
            golden.layer(
                "Reshape", "reshape_param { shape { dim: 1 } axis: 2 num_axes: 0 }", n, n + "1", n + "r"
            )
            for n in "abc"
        )
        + golden.layer("Concat", "concat_param { axis: 2 }", "a1 b1 c1", "abc", "join")
        + golden.layer("Reshape", "reshape_param { shape { dim: 12 } axis: 1 num_axes: 2 }", "abc"),
        a=(2, 4, 3, 5),
        b=(2, 4, 3, 5),
        c=(2, 4, 3, 5),
    ),
    "crop_channels": image(
        golden.layer("Crop", "crop_param { axis: 1 offset: 1 offset: 2 offset: 3 }", "x w"),
        x=(2, 4, 6, 8),
        w=(1, 2, 3, 4),
    ),
    "argmax_image": image(golden.layer("ArgMax")),
    "argmax_image_values": image(golden.layer("ArgMax", "argmax_param { out_max_val: true }")),
    "argmax_channels": image(golden.layer("ArgMax", "argmax_param { axis: 1 top_k: 3 }")),
    "argmax_rows": image(golden.layer("ArgMax", "argmax_param { axis: 2 top_k: 2 out_max_val: true }")),
    "batch_norm_of_the_batch": image(
        golden.layer("BatchNorm", "batch_norm_param { use_global_stats: false }")
    ),
    "mvn_columns": image(golden.layer("MVN"), x=(2, 3, 4)),
    "power_nothing": image(golden.layer("Power")),
    "prelu_rows": image(golden.layer("PReLU"), x=(3, 4)),
    "dropout_last": image(
        golden.layer("Convolution", "convolution_param { num_output: 2 kernel_size: 1 }", "x", "y", "conv")
        + golden.layer("ReLU", "", "y", "y", "relu")
        + golden.layer("Dropout", "", "y", "y", "drop")
    ),
    "changed_input": image(
        golden.layer("ReLU", "", "x", "x", "relu") + golden.layer("TanH", "", "x", "y", "tanh")
    ),
    "filter_then_rows": image(
        golden.layer("Filter", "", "x label", "f", "filter")
        + golden.layer("Flatten", "flatten_param { axis: 0 end_axis: 1 }", "f", "y", "flat")
        + golden.layer("InnerProduct", "inner_product_param { num_output: 2 axis: 2 }", "f", "z", "inner"),
        x=(6, 2, 3),
        label=(6,),
    ),
    "im2col_image": image(golden.layer("Im2col", "convolution_param { kernel_size: 2 dilation: 2 pad: 1 }")),
}
CASES = {**golden.CASES, **more.CASES, **FURTHER}
REFUSED = {"silence", "scale_in_place", "pool_ave_gap"}


def parse(text, tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    return caffe.Net(str(path), caffe.TEST)


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def is_free(model):
    return any(dim.dim_param for value in model.graph.input for dim in value.type.tensor_type.shape.dim)


def check(net, runtime, batch, bound=BOUND):
    """The outputs of ONNX Runtime have the names, shapes and values of caffe_torch's."""
    expected = exported_nets.forward(net, batch)
    outputs = [value.name for value in runtime.get_outputs()]
    assert outputs == net.outputs
    for name, array in zip(outputs, runtime.run(None, batch), strict=True):
        assert array.shape == expected[name].shape, name
        bound_here = bound * max(1, np.abs(expected[name]).max(initial=0))
        np.testing.assert_allclose(array, expected[name], rtol=0, atol=bound_here, err_msg=name)


def exportable(text):
    types = {word.split('"')[1] for word in text.split("type: ")[1:] if word.startswith('"')}
    fillers = {"xavier", "gaussian", "constant", "msra"}
    return types - fillers <= set(EXPORTS)


@pytest.mark.parametrize("case", [c for c, text in CASES.items() if exportable(text) and c not in REFUSED])
def test_layers(case, tmp_path):
    net, random = parse(CASES[case], tmp_path), np.random.RandomState(3)
    exported_nets.fill(net)
    model = onnx_export.to_onnx(net)
    runtime, shapes = session(model), {name: net.blobs[name].shape for name in net.inputs}
    for height, width in ((1, 1), (2, 3), (3, 1)) if is_free(model) else ((1, 1),):
        batch = {}
        for name, shape in shapes.items():
            if len(shape) == 4:
                shape = (*shape[:2], shape[2] * height, shape[3] * width)
            batch[name] = golden.values(random, name, shape).astype(np.float32)
        check(net, runtime, batch)


def test_every_exported_type_has_a_case():
    text = "".join(text for case, text in CASES.items() if exportable(text) and case not in REFUSED)
    assert {name for name in EXPORTS if f'type: "{name}"' not in text} == set()


@pytest.mark.parametrize("pool", ["MAX", "AVE"])
def test_windows_at_the_edges(pool, tmp_path):
    """Every kernel up to 4, stride and pad, at sizes that leave every remainder."""
    text = golden.inputs(x=(1, 2, 8, 9))
    for kernel in range(1, 5):
        for stride in range(1, kernel + 1 + (pool == "MAX")):
            for pad in range(kernel):
                for rounding in ("CEIL", "FLOOR"):
                    settings = f"pool: {pool} kernel_size: {kernel} stride: {stride} pad: {pad}"
                    settings += f" round_mode: {rounding}"
                    name = f"y_{kernel}_{stride}_{pad}_{rounding}"
                    text += golden.layer("Pooling", f"pooling_param {{ {settings} }}", "x", name, name)
    net, random = parse(text, tmp_path), np.random.RandomState(3)
    runtime = session(onnx_export.to_onnx(net))
    for size in ((8, 9), (11, 5), (4, 6)):
        check(net, runtime, {"x": random.standard_normal((1, 2, *size)).astype(np.float32) - 3})


@pytest.mark.parametrize("name", exported_nets.SMALL)
def test_small_nets(name, tmp_path):
    net = parse(exported_nets.SMALL[name], tmp_path)
    exported_nets.fill(net)
    model = onnx_export.to_onnx(net)
    assert is_free(model) == ("InnerProduct" not in exported_nets.SMALL[name])
    runtime = session(model)
    for batch in exported_nets.feeds(net, is_free(model)):
        check(net, runtime, batch)


@pytest.mark.parametrize("name", golden_nets.names())
def test_nets_of_the_repository(name):
    net = caffe.Net(exported_nets.deploy(name), caffe.TEST)
    golden_nets.set_weights(net)
    model = onnx_export.to_onnx(net)
    assert [d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim][2:] == ["height", "width"]
    operators = {node.op_type for node in model.graph.node}
    assert "Shape" not in operators  # which OpenCV 4 and ncnn do not read where sizes are free
    runtime, random, sizes = session(model), np.random.RandomState(3), ((16, 18), (19, 16), (17, 21))
    if "stride5" in name:
        sizes = ((25, 25), (25, 30), (30, 25))
    elif name.startswith("N-"):
        sizes = ((16, 20), (20, 16))
    for size in sizes:
        shapes = golden_nets.input_shapes(net, size)
        check(net, runtime, {n: random.rand(*shape).astype(np.float32) for n, shape in shapes.items()})


@pytest.mark.parametrize("name", exported_nets.RELEASED)
def test_released_models(name):
    net = caffe.Net(exported_nets.deploy(exported_nets.RELEASED[name]), caffe.TEST)
    net.copy_from(exported_nets.weights(name))
    runtime, random = session(onnx_export.to_onnx(net)), np.random.RandomState(3)
    channels = net.blobs[net.inputs[0]].shape[1]
    batch = {n: random.rand(1, channels, 24, 30).astype(np.float32) for n in net.inputs}
    # A score of cnn sums 32 768 products that cancel: float32 has 3e-6 of their size, 1200, in any runtime.
    check(net, runtime, batch, 2e-3 if name == "cnn" else BOUND)


# The file


def test_names_are_kept(tmp_path):
    net = parse(exported_nets.FCN8S, tmp_path)
    graph = onnx_export.to_onnx(net).graph
    layers = {
        spec.name
        for spec in (layer.spec for layer in net.layers)
        if spec.type not in ("Input", "Split", "Dropout")
    }
    assert layers <= {node.name for node in graph.node}
    values = {name for node in graph.node for name in node.output}
    assert {"conv1", "pool3", "fc6", "score_fr", "fuse_pool4", "score"} <= values
    assert [value.name for value in graph.input] == ["data"]
    assert [value.name for value in graph.output] == ["score"]
    dims = [dim.dim_param or dim.dim_value for dim in graph.output[0].type.tensor_type.shape.dim]
    assert dims == [1, 3, "height", "width"]


def test_layers_in_place_make_values_of_their_own(tmp_path):
    graph = onnx_export.to_onnx(parse(exported_nets.ENCODER_DECODER, tmp_path)).graph
    values = [name for node in graph.node for name in node.output]
    assert len(values) == len(set(values))
    last = next(node for node in graph.node if "conv1" in node.output)
    assert last.name == "prelu1"  # conv1, norm1, scale1 and prelu1 all have the top conv1


def test_shared_parameters_are_stored_once(tmp_path):
    graph = onnx_export.to_onnx(parse(golden.CASES["shared"], tmp_path)).graph
    assert {value.name for value in graph.initializer} == {"convx.weight", "convx.bias", "convw.bias"}


def test_inputs_of_two_sizes(tmp_path):
    graph = onnx_export.to_onnx(parse(FURTHER["crop_channels"], tmp_path)).graph
    dims = {v.name: [d.dim_param for d in v.type.tensor_type.shape.dim][2:] for v in graph.input}
    assert dims == {"x": ["height", "width"], "w": ["w_height", "w_width"]}


def test_an_axis_of_one_stays(tmp_path):
    graph = onnx_export.to_onnx(parse(image(golden.layer("TanH"), x=(1, 1, 1, 9)), tmp_path)).graph
    assert [d.dim_param for d in graph.input[0].type.tensor_type.shape.dim][2:] == ["", "width"]


@pytest.mark.parametrize(
    "text, message",
    [
        (golden.CASES["euclidean"], r"layer 'layer' \(EuclideanLoss\): losses"),
        (golden.CASES["accuracy"], r"layer 'layer' \(Accuracy\): losses and measures"),
        (
            golden.layer("DummyData", "dummy_data_param { shape { dim: 2 } }", "", "y"),
            r"layer 'layer' \(DummyData\): ONNX has no layers that read data",
        ),
        (golden.CASES["pool_ave_gap"], r"layer 'layer' \(Pooling\): the last window is empty"),
        (golden.CASES["scale_in_place"], "output 'x' is an input that a layer changes in place"),
        (golden.CASES["silence"], "the net has no output"),
    ],
)
def test_refusals(text, message, tmp_path, capfd):
    (tmp_path / "net.prototxt").write_text(text)
    output = tmp_path / "net.onnx"
    output.write_text("before")
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    net.save(str(tmp_path / "w.caffemodel"))
    with pytest.raises(ValueError, match=message) as caught:
        onnx_export.export(tmp_path / "net.prototxt", [str(tmp_path / "w.caffemodel")], output)
    assert str(caught.value).count("\n") == 0
    assert str(tmp_path / "net.prototxt") in str(caught.value)
    assert output.read_text() == "before"


def test_a_net_for_training_is_refused():
    with pytest.raises(ValueError, match="phase TRAIN"):
        onnx_export.to_onnx(caffe.Net(exported_nets.deploy("srcnn"), caffe.TRAIN))


def test_the_command(tmp_path, capfd):
    weights = exported_nets.weights("srcnn-detail")
    output = tmp_path / "new" / "net.onnx"
    flags = ["-model", exported_nets.deploy("srcnn"), "-weights", weights, "-output", str(output)]
    assert command.main(["export", *flags]) == 0
    assert f"Wrote {output}" in capfd.readouterr().err
    model = onnx.load(str(output))
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", onnx_export.OPSET)]
    assert model.ir_version == onnx_export.IR_VERSION
    assert command.main(["export", *flags[:4]]) == 1
    assert "this command needs -output" in capfd.readouterr().err


def test_without_onnx(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match=r"needs onnx: pip install './caffe_torch\[onnx\]'"):
        onnx_export.export(exported_nets.deploy("srcnn"), [], tmp_path / "net.onnx")
