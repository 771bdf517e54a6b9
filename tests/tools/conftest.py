import caffe
import pytest

NET = """
name: "tiny"
layer { name: "input" type: "Input" top: "a" top: "b"
  input_param { shape { dim: 1 dim: 4 dim: 8 dim: 8 } } }
layer { name: "conv_a" type: "Convolution" bottom: "a" top: "conv_a"
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "relu_a" type: "ReLU" bottom: "conv_a" top: "conv_a" }
layer { name: "conv_b" type: "Convolution" bottom: "b" top: "conv_b"
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "concat" type: "Concat" bottom: "conv_a" bottom: "conv_b" top: "concat" }
layer { name: "fusion" type: "Convolution" bottom: "concat" top: "fusion"
  convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "msra" } } }
"""


@pytest.fixture
def tiny(tmp_path):
    """The options --net and --weights of a small two-stream net."""
    deploy, weights = tmp_path / "deploy.prototxt", tmp_path / "w.caffemodel"
    deploy.write_text(NET)
    caffe.Net(str(deploy), caffe.TEST).save(str(weights))
    return ["--net", str(deploy), "--weights", str(weights)]
