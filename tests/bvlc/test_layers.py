"""Random small nets, run by BVLC Caffe and by caffe_torch: the same tops, gradients and statistics.

RANDOM_NETS=1000 python -m pytest -m bvlc tests/bvlc/test_layers.py draws more of them.
"""

import os
import subprocess

import caffe
import numpy as np
import pytest
from caffe import Net
from caffe.proto import caffe_pb2
from google.protobuf import text_format
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.bvlc.conftest import ROOT, run
from tests.caffe_torch.helpers import readme_layers
from tests.golden import layers as golden
from tests.golden import more_layers as more
from tests.golden.pycaffe_checks import CHECKS

pytestmark = pytest.mark.bvlc

MORE = "RANDOM_NETS" in os.environ
NEURONS = {
    "ReLU": ["", "relu_param { negative_slope: 0.2 }"],
    "PReLU": ["", "prelu_param { channel_shared: true }"],
    "ELU": ["", "elu_param { alpha: 0.5 }"],
    "Sigmoid": [""],
    "TanH": [""],
    "BNLL": [""],
    "Swish": ["", "swish_param { beta: 0.5 }"],
    "Clip": ["clip_param { min: -1.5 max: 1 }"],
    "Exp": ["exp_param { scale: 0.3 }", "exp_param { base: 2 scale: 0.2 shift: 0.5 }"],
    "Dropout": ["", "dropout_param { dropout_ratio: 0.2 }"],
    "Scale": ["", "scale_param { bias_term: true }", "scale_param { axis: 0 num_axes: -1 }"],
    "Bias": ["", "bias_param { axis: -1 num_axes: 0 }"],
    "BatchNorm": ["batch_norm_param { eps: 0.1 }", "batch_norm_param { eps: 0.01 use_global_stats: true }"],
    "Softmax": ["", "softmax_param { axis: -1 }"],
}
NOT_IN_PLACE = {
    "AbsVal": [""],
    "Power": ["power_param { scale: -0.5 shift: 0.3 }", "power_param { power: 2 scale: 0.5 }"],
    "Tile": ["tile_param { tiles: 2 }", "tile_param { axis: -1 tiles: 3 }"],
    "Reduction": ["reduction_param { axis: -1 operation: SUMSQ coeff: 0.2 }"],
    "MVN": ["", "mvn_param { normalize_variance: false across_channels: true }"],
    "Flatten": ["", "flatten_param { axis: 0 end_axis: 1 }"],
    "Reshape": [
        "reshape_param { shape { dim: 0 dim: -1 } }",
        "reshape_param { shape { dim: 1 } axis: 1 num_axes: 0 }",
    ],
}
# Layers whose backward pass reads nothing of their tops: behind any other, a layer in place makes BVLC
# Caffe's gradients wrong.
BEFORE_IN_PLACE = {
    "Convolution",
    "Deconvolution",
    "InnerProduct",
    "BatchNorm",
    "Scale",
    "Bias",
    "PReLU",
    "Concat",
}


class Drawing:
    """A net in the making: its text, and the blob that the next layer reads."""

    def __init__(self, draw):
        self.draw, self.count, self.last = draw, 0, "Input"
        self.one_of = lambda *choices: draw(st.sampled_from(choices))
        size = st.integers(3, 7)
        shape = (draw(st.integers(2, 3)), self.one_of(1, 2, 4, 6), draw(size), draw(size))
        phase = self.one_of("", "state { phase: TRAIN }\n")
        self.text, self.blob = phase + golden.FORCE + golden.inputs(x=shape), "x"

    def shape(self):
        net = text_format.Parse(self.text, caffe_pb2.NetParameter())
        return Net(net, net.state.phase).blobs[self.blob].shape

    def add(self, layer_type, settings="", bottoms=None, tops=None):
        self.count += 1
        tops = tops or f"y{self.count}"
        self.text += golden.layer(
            layer_type, settings, bottoms or self.blob, tops, f"{layer_type}{self.count}".lower()
        )
        self.blob, self.last = tops.split()[0], layer_type

    def neuron(self):
        layer_type = self.one_of(*NEURONS)
        if len(self.shape()) < 2:
            layer_type = "TanH"
        if layer_type == "Dropout" and "TRAIN" in self.text:
            layer_type = "ReLU"  # random numbers cannot agree
        in_place = self.last in BEFORE_IN_PLACE and self.draw(st.booleans())
        self.add(layer_type, self.one_of(*NEURONS[layer_type]), tops=self.blob if in_place else None)

    def simple(self):
        layer_type = self.one_of(*NOT_IN_PLACE)
        settings, axes = self.one_of(*NOT_IN_PLACE[layer_type]), len(self.shape())
        if layer_type == "Flatten" and self.last == "Reshape":
            return  # BVLC Caffe loses the gradient there
        if axes == 4 and "num_axes: 0" in settings:
            return  # and many of its layers take 4 axes at most
        if axes > 1:
            self.add(layer_type, settings)

    def filters(self):
        shape = self.shape()
        if len(shape) != 4:
            self.add("InnerProduct", f"inner_product_param {{ num_output: {self.one_of(2, 3, 6)} axis: -1 }}")
            return
        divisors = [g for g in (1, 2, 3) if shape[1] % g == 0]
        group = self.one_of(*divisors)
        layer_type = self.one_of("Convolution", "Deconvolution")
        pad, dilation = self.one_of(0, 1), self.one_of(1, 1, 2)
        room = min(shape[2:]) + 2 * pad if layer_type == "Convolution" else 4
        kernel = self.draw(st.integers(1, max(1, min(4, (room - 1) // dilation + 1))))
        if layer_type == "Deconvolution" and kernel <= 2 * pad:
            pad = 0
        self.add(
            layer_type,
            f"convolution_param {{ num_output: {group * self.one_of(1, 2)} kernel_size: {kernel} "
            f"group: {group} stride: {self.one_of(1, 2, 3)} pad: {pad} dilation: {dilation} "
            f"bias_term: {self.one_of('true', 'false')} }}",
        )

    def windows(self):
        shape = self.shape()
        if len(shape) != 4:
            return
        if self.draw(st.booleans()):
            region = self.one_of("ACROSS_CHANNELS", "WITHIN_CHANNEL")
            self.add(
                "LRN", f"lrn_param {{ norm_region: {region} local_size: {self.one_of(1, 3, 5)} alpha: 0.5 }}"
            )
            return
        pool, rounding = self.one_of("MAX", "AVE"), self.one_of("CEIL", "FLOOR")
        if self.one_of(*range(6)) == 0:
            self.add("Pooling", f"pooling_param {{ pool: {pool} global_pooling: true }}")
            return
        kernels = [self.draw(st.integers(1, min(size, 4))) for size in shape[2:]]
        pads = [self.draw(st.integers(0, kernel - 1)) for kernel in kernels]
        # a stride over the kernel leaves a last window empty, where Caffe reads what is not there
        strides = [self.draw(st.integers(1, kernel)) for kernel in kernels]
        sizes = " ".join(
            f"{name}_h: {h} {name}_w: {w}"
            for name, (h, w) in {"kernel": kernels, "pad": pads, "stride": strides}.items()
        )
        self.add("Pooling", f"pooling_param {{ pool: {pool} round_mode: {rounding} {sizes} }}")

    def branches(self):
        """The blob and something made of it, joined."""
        source, shape = self.blob, self.shape()
        self.add(self.one_of("TanH", "Sigmoid", "AbsVal"))
        joined = f"{source} {self.blob}"
        join = self.one_of("Concat", "Eltwise", "Slice", "Crop", "Scale")
        if join == "Concat":
            axis = self.draw(st.integers(-len(shape), len(shape) - 1))
            self.add("Concat", f"concat_param {{ axis: {axis} }}", joined)
        elif join == "Eltwise":
            operation = self.one_of(
                "operation: SUM coeff: 1 coeff: -2", "operation: PROD", "operation: MAX", ""
            )
            self.add("Eltwise", f"eltwise_param {{ {operation} }}", joined)
        elif join == "Scale":
            self.add("Scale", "scale_param { axis: 0 bias_term: true }", joined)
        elif join == "Crop" and len(shape) == 4 and min(shape[2:]) > 1:
            self.add("Pooling", "pooling_param { kernel_size: 2 }")
            offset = self.one_of("offset: 1", "offset: 0 offset: 1", "")
            self.add("Crop", f"crop_param {{ {offset} }}", f"{source} {self.blob}")
        elif join == "Slice" and len(shape) > 1 and shape[1] > 1:
            at = self.draw(st.integers(1, shape[1] - 1))
            first, second = f"p{self.count}", f"q{self.count}"
            self.add("Slice", f"slice_param {{ slice_point: {at} }}", source, f"{first} {second}")
            self.add("Concat", "", f"{second} {first}")

    def loss(self):
        shape = self.shape()
        layer_type = self.one_of("EuclideanLoss", "SigmoidCrossEntropyLoss", "SoftmaxWithLoss", "none")
        ignore, divisor = (
            self.one_of("", "ignore_label: 1"),
            self.one_of("FULL", "VALID", "BATCH_SIZE", "NONE"),
        )
        settings = f"loss_weight: {self.one_of(0.5, 1, 2)} "
        if layer_type == "none":
            return
        if layer_type == "SoftmaxWithLoss":
            axis = self.draw(st.integers(0, len(shape) - 1))
            labels, size = "label", shape[:axis] + shape[axis + 1 :]
            if axis == 0 or shape[axis] < 3:  # rows must agree, and the labels are 0 to 2
                layer_type = "EuclideanLoss"
            else:
                settings += f"softmax_param {{ axis: {axis} }} "
        if layer_type != "SoftmaxWithLoss":
            labels, size = ("w" if layer_type == "EuclideanLoss" else "label"), shape
        if layer_type != "EuclideanLoss":
            settings += f"loss_param {{ {ignore} normalization: {divisor} }}"
        self.text += golden.inputs(**{labels: size})
        self.add(layer_type, settings, f"{self.blob} {labels}")


@st.composite
def nets(draw):
    """The text of a net of up to five steps, and mostly a loss at its end."""
    net = Drawing(draw)
    steps = st.sampled_from([net.neuron, net.simple, net.filters, net.filters, net.windows, net.branches])
    for step in draw(st.lists(steps, min_size=1, max_size=5)):
        step()
    net.loss()
    return net.text


class Bvlc:
    """BVLC Caffe in a process of its own, started anew where a net has ended it."""

    def __init__(self, folder, python):
        self.folder, self.python, self.process = folder, python, None

    def run(self, text):
        if self.process is None or self.process.poll() is not None:
            self.log = open(self.folder / "log", "w+")  # noqa: SIM115
            self.process = subprocess.Popen(
                [self.python, golden.__file__, "--serve"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.log,
                text=True,
                env={**os.environ, "GLOG_minloglevel": "2", "OPENBLAS_NUM_THREADS": "1"},
            )
        path = self.folder / "net.prototxt"
        path.write_text(text)
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer:
            self.process.wait()
            self.log.seek(0)
            pytest.fail(f"BVLC Caffe refuses what caffe_torch accepts: {self.log.read()[-1000:]}")
        return dict(np.load(answer))

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()


@pytest.fixture(scope="module")
def bvlc(both, tmp_path_factory):
    bvlc = Bvlc(tmp_path_factory.mktemp("nets"), both["bvlc"] / "python")
    yield bvlc
    bvlc.close()


def same(ours, theirs):
    assert list(ours) == list(theirs)
    for what, expected in theirs.items():
        assert ours[what].shape == expected.shape, what
        size = max(1, np.abs(expected).max(initial=0))
        np.testing.assert_allclose(ours[what], expected, rtol=1e-4, atol=2e-5 * size, err_msg=what)


@settings(
    max_examples=int(os.environ.get("RANDOM_NETS", 100)),
    derandomize=not MORE,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
@given(text=nets())
def test_random_nets(bvlc, text):
    note(text)
    same(golden.run(text), bvlc.run(text))


def test_a_pycaffe_script(both, tmp_path):
    script = golden.__file__.replace("layers.py", "pycaffe.py")
    for name, folder in both.items():
        run([folder / "python", script, tmp_path / f"{name}.npz"])
    theirs, ours = (dict(sorted(np.load(tmp_path / f"{name}.npz").items())) for name in ("bvlc", "torch"))
    for what in [what for what in theirs if theirs[what].dtype.kind == "U"]:
        assert ours.pop(what).tolist() == theirs.pop(what).tolist()
    same(ours, theirs)


def test_pycaffe_passes_our_checks(both):
    command = [both["bvlc"] / "python", "-m", "tests.golden.pycaffe_checks"]
    assert run(command, cwd=ROOT).split("\n")[: len(CHECKS)] == [check.__name__ for check in CHECKS]


@pytest.mark.parametrize("text", [pytest.param(t, id=n) for n, t in {**golden.CASES, **more.CASES}.items()])
def test_golden_cases(bvlc, text):
    same(golden.run(text), bvlc.run(text))


def test_the_readme_lists_all_layer_types(both):
    """Those that it says are missing are what only BVLC Caffe has."""
    script = "import caffe; print(*sorted(set(caffe.layer_type_list())))"
    theirs = run([both["bvlc"] / "python", "-c", script]).split("\n")[0].split()
    table = readme_layers()
    assert sorted(table["yes"] + table["no"]) == theirs
    assert table["yes"] == caffe.layer_type_list()
