"""The schema: Caffe's defaults and wire format by hand, and every field against real Caffe's."""

from caffe.proto import caffe_pb2
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from pathlib import Path
import numpy as np
import pytest
import subprocess



ROOT = Path(__file__).resolve().parents[3]
REAL_PYTHON = ROOT / "build/bvlc/bin/python"

NET = """
name: "two_streams"
state { phase: TRAIN stage: "small" }
layer {
  name: "data" type: "HDF5Data" top: "a" top: "clean"
  include { phase: TRAIN not_stage: "deploy" }
  hdf5_data_param { source: "train.txt" batch_size: 16 shuffle: true }
}
layer {
  name: "conv" type: "Convolution" bottom: "a" top: "conv"
  param { name: "w" lr_mult: 1 decay_mult: 0 }
  param { name: "b" lr_mult: 2 share_mode: PERMISSIVE }
  convolution_param {
    num_output: 64 kernel_size: 3 kernel_size: 5 pad: 1 pad: 2 stride: 1 dilation: 1 group: 4
    weight_filler { type: "msra" variance_norm: AVERAGE }
  }
}
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" relu_param { negative_slope: 0.25 } }
layer {
  name: "pairs" type: "Reshape" bottom: "conv" top: "pairs"
  reshape_param { shape { dim: 0 dim: 2 dim: -1 } axis: 1 num_axes: 1 }
}
layer {
  name: "sum" type: "Eltwise" bottom: "pairs" bottom: "clean" top: "sum"
  eltwise_param { operation: PROD coeff: 1 coeff: -0.5 }
}
layer {
  name: "loss" type: "EuclideanLoss" bottom: "sum" bottom: "clean" top: "loss"
  loss_weight: 2 propagate_down: true propagate_down: false
  loss_param { normalization: BATCH_SIZE }
}
"""


def test_a_net_survives_text_and_binary():
    net = text_format.Parse(NET, caffe_pb2.NetParameter())
    data, conv, _, reshape, eltwise, loss = net.layer
    assert list(net.state.stage) == ["small"] and data.include[0].phase == caffe_pb2.TRAIN
    assert (data.hdf5_data_param.batch_size, data.hdf5_data_param.shuffle) == (16, True)
    assert list(conv.convolution_param.kernel_size) == [3, 5] and conv.convolution_param.group == 4
    assert [p.lr_mult for p in conv.param] == [1, 2] and [p.decay_mult for p in conv.param] == [0, 1]
    assert conv.param[1].share_mode == caffe_pb2.ParamSpec.PERMISSIVE
    assert conv.convolution_param.weight_filler.variance_norm == caffe_pb2.FillerParameter.AVERAGE
    assert list(reshape.reshape_param.shape.dim) == [0, 2, -1]
    assert eltwise.eltwise_param.operation == 0 and list(eltwise.eltwise_param.coeff) == [1, -0.5]
    assert list(loss.loss_weight) == [2] and list(loss.propagate_down) == [True, False]
    assert loss.loss_param.normalization == 2
    assert text_format.Parse(text_format.MessageToString(net), caffe_pb2.NetParameter()) == net
    assert caffe_pb2.NetParameter.FromString(net.SerializeToString()) == net


def test_wire_format_by_hand():
    """A key byte is number * 8 + wire type; packed numbers and messages are of type 2, with a length."""
    blob = caffe_pb2.BlobProto(shape={"dim": [1, 2]}, data=[1, 2])
    shape = b"\x3a\x04" + b"\x0a\x02\x01\x02"  # field 7, a message whose field 1 is packed
    data = b"\x2a\x08" + b"\x00\x00\x80\x3f" + b"\x00\x00\x00\x40"  # field 5, packed float32
    assert blob.SerializeToString() == data + shape
    layer = b"\x3a\x10" + data + shape  # field 7 of a layer
    net = caffe_pb2.NetParameter(layer=[{"blobs": [blob]}])
    assert net.SerializeToString() == b"\xa2\x06\x12" + layer  # field 100: 802 takes two bytes
    assert caffe_pb2.BlobProto.FromString(b"\x2d\x00\x00\x80\x3f").data == [1]  # not packed: read too


@pytest.mark.parametrize(
    ("message", "defaults"),
    [
        ("AccuracyParameter", {"top_k": 1, "axis": 1}),
        ("ArgMaxParameter", {"out_max_val": False, "top_k": 1}),
        ("BatchNormParameter", {"moving_average_fraction": 0.999, "eps": 1e-5}),
        ("BiasParameter", {"axis": 1, "num_axes": 1}),
        ("ConcatParameter", {"axis": 1, "concat_dim": 1}),
        ("ConvolutionParameter", {"bias_term": True, "group": 1, "axis": 1, "force_nd_im2col": False}),
        ("CropParameter", {"axis": 2}),
        ("DropoutParameter", {"dropout_ratio": 0.5}),
        ("ELUParameter", {"alpha": 1}),
        ("EltwiseParameter", {"operation": caffe_pb2.EltwiseParameter.SUM, "stable_prod_grad": True}),
        ("ExpParameter", {"base": -1, "scale": 1, "shift": 0}),
        ("FillerParameter", {"type": "constant", "value": 0, "min": 0, "max": 1, "std": 1, "sparse": -1}),
        ("FlattenParameter", {"axis": 1, "end_axis": -1}),
        ("HDF5DataParameter", {"shuffle": False}),
        ("InnerProductParameter", {"bias_term": True, "axis": 1, "transpose": False}),
        ("LRNParameter", {"local_size": 5, "alpha": 1, "beta": 0.75, "k": 1, "norm_region": 0}),
        ("LogParameter", {"base": -1, "scale": 1, "shift": 0}),
        ("LossParameter", {"normalization": caffe_pb2.LossParameter.VALID}),
        ("NetState", {"phase": caffe_pb2.TEST, "level": 0}),
        ("ParamSpec", {"lr_mult": 1, "decay_mult": 1, "share_mode": caffe_pb2.ParamSpec.STRICT}),
        ("PoolingParameter", {"pool": 0, "stride": 1, "pad": 0, "global_pooling": False, "round_mode": 0}),
        ("PowerParameter", {"power": 1, "scale": 1, "shift": 0}),
        ("PReLUParameter", {"channel_shared": False}),
        ("ReLUParameter", {"negative_slope": 0}),
        ("ReshapeParameter", {"axis": 0, "num_axes": -1}),
        ("ScaleParameter", {"axis": 1, "num_axes": 1, "bias_term": False}),
        ("SliceParameter", {"axis": 1, "slice_dim": 1}),
        ("SoftmaxParameter", {"axis": 1}),
        ("SolverParameter", {"type": "SGD", "solver_type": 0, "regularization_type": "L2"}),
        ("SolverParameter", {"momentum": 0, "momentum2": 0.999, "delta": 1e-8, "rms_decay": 0.99}),
        ("SolverParameter", {"iter_size": 1, "average_loss": 1, "clip_gradients": -1, "random_seed": -1}),
        ("SolverParameter", {"test_interval": 0, "test_initialization": True, "test_compute_loss": False}),
        ("SolverParameter", {"snapshot": 0, "snapshot_after_train": True, "snapshot_diff": False}),
        ("SolverParameter", {"snapshot_format": caffe_pb2.SolverParameter.BINARYPROTO}),
        ("SolverParameter", {"solver_mode": caffe_pb2.SolverParameter.GPU, "layer_wise_reduce": True}),
        ("V0LayerParameter", {"biasterm": True, "group": 1, "stride": 1, "beta": 0.75, "det_crop_mode": "warp"}),
        ("TransformationParameter", {"scale": 1, "mirror": False, "crop_size": 0}),
    ],
)
def test_defaults(message, defaults):
    empty = getattr(caffe_pb2, message)()
    for name, value in defaults.items():
        expected = pytest.approx(value, rel=1e-6, abs=0) if isinstance(value, float) else value  # float32
        assert getattr(empty, name) == expected, name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name: "n"\nlayer {\n  convolution_param { kernal_size: 3 }\n}', r'^3:\d+.*"kernal_size"'),
        ('layer { name: "a" }\nlayer { convolution_parameter { } }', r'^2:\d+.*"convolution_parameter"'),
        ("layer {\n  eltwise_param { operation: MEAN }\n}", r"^2:\d+.*EltwiseOp.* MEAN\b"),
        ("layer { }\nlayerz { }", r'^2:\d+.*"layerz"'),
        ("layers { layer { kernel: 3 } }", r'^1:\d+.*V0LayerParameter.*"kernel"'),
        ("force_backward: maybe", r"^1:\d+"),
        ("layer {\n", r"^2:\d+|^1:\d+"),
    ],
)
def test_a_mistake_in_text_is_named_with_its_line(text, message):
    with pytest.raises(text_format.ParseError, match=message):
        text_format.Parse(text, caffe_pb2.NetParameter())


def test_settings_of_unsupported_layers_can_be_read():
    """So that the error is about the layer's type."""
    text = """
    layer { name: "images" type: "Data" data_param { source: "lmdb" backend: LMDB batch_size: 8 } }
    layer { name: "steps" type: "LSTM" recurrent_param { num_output: 5 } }
    layer { name: "mine" type: "Python" python_param { module: "m" layer: "L" param_str: "{}" } }
    """
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    assert [layer.type for layer in net.layer] == ["Data", "LSTM", "Python"]


def test_generated_code_is_of_the_schema(tmp_path):
    protoc = pytest.importorskip("grpc_tools.protoc", reason="pip install grpcio-tools")
    out = tmp_path / "set"
    file = "caffe/proto/caffe.proto"
    assert protoc.main(["protoc", f"-I{ROOT / 'caffe_torch'}", f"--descriptor_set_out={out}", file]) == 0
    [schema] = FileDescriptorSet.FromString(out.read_bytes()).file
    assert _facts(schema) == _facts(FileDescriptorProto.FromString(caffe_pb2.DESCRIPTOR.serialized_pb))


def test_generated_code_does_not_ask_for_a_protobuf_version():
    """Code made by protoc 27 and later refuses a protobuf older than itself."""
    assert "runtime_version" not in Path(caffe_pb2.__file__).read_text()


@pytest.mark.bvlc
def test_every_field_is_real_caffes():
    if not REAL_PYTHON.exists():
        pytest.skip(f"no {REAL_PYTHON.relative_to(ROOT)}: run make bvlc-caffe")
    code = (
        "import sys; from caffe.proto import caffe_pb2;"
        "sys.stdout.buffer.write(caffe_pb2.DESCRIPTOR.serialized_pb)"
    )
    dump = subprocess.run([REAL_PYTHON, "-E", "-c", code], check=True, capture_output=True).stdout
    real = _facts(FileDescriptorProto.FromString(dump))
    ours = _facts(FileDescriptorProto.FromString(caffe_pb2.DESCRIPTOR.serialized_pb))
    assert len(ours) > 400
    assert {name: ours[name] for name in ours if name in real and ours[name] != real[name]} == {}
    assert ours.keys() - real.keys() == {"SolverState.resume"}
    assert real.keys() - ours.keys() == set()


def _facts(file) -> dict:
    """What decides how files are read: of each field all but its order, of each enum value the number."""
    facts = {}

    def enum(descriptor, scope):
        facts.update({f"{scope}{descriptor.name}.{value.name}": value.number for value in descriptor.value})

    for descriptor in file.enum_type:
        enum(descriptor, "")
    for message in file.message_type:
        for descriptor in message.enum_type:
            enum(descriptor, f"{message.name}.")
        for field in message.field:
            default = field.default_value
            if default and field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
                default = np.float32(default)  # 1e-08 and 9.99999994e-09 are one number
            label, packed = field.label, field.options.packed
            facts[f"{message.name}.{field.name}"] = (
                field.number,
                label,
                field.type,
                field.type_name,
                field.HasField("default_value"),
                default,
                packed,
            )
    return facts
