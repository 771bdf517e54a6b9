"""LeNet and CIFAR-10 quick with the layers and solvers that BVLC/caffe publishes, on digits that are drawn.

To print the losses that tests/caffe_torch/layers/test_images.py has, from the repository root:
    GLOG_minloglevel=2 build/bvlc/bin/python -m tests.golden.digits
"""

import os
import tempfile
from pathlib import Path

import caffe
import cv2
import numpy as np
from caffe.proto import caffe_pb2

from tests.golden.images import command

MAX, AVE = caffe_pb2.PoolingParameter.MAX, caffe_pb2.PoolingParameter.AVE
XAVIER = {"type": "xavier"}
# The path of each example without its ends, its name, the name of its data and how those are scaled.
EXAMPLES = {
    "lenet": ("examples/mnist/lenet", "LeNet", "examples/mnist/mnist", {"scale": 1 / 256}, (64, 100)),
    "cifar10_quick": (
        "examples/cifar10/cifar10_quick",
        "CIFAR10_quick",
        "examples/cifar10/cifar10",
        {"mean_file": "examples/cifar10/mean.binaryproto"},
        (100, 100),
    ),
}
SOLVERS = {
    "lenet": 'base_lr: 0.01 weight_decay: 0.0005 lr_policy: "inv" gamma: 0.0001 power: 0.75 max_iter: 10000 '
    "snapshot: 5000 ",
    "cifar10_quick": 'base_lr: 0.001 weight_decay: 0.004 lr_policy: "fixed" max_iter: 4000 snapshot: 4000 ',
}
# Bars of a digit as (top, left, height, width) in pixels, and which of them each digit has, one bit a bar.
BARS = ((0, 2, 2, 7), (2, 9, 6, 2), (10, 9, 6, 2), (16, 2, 2, 7), (10, 0, 6, 2), (2, 0, 6, 2), (8, 2, 2, 7))
SEGMENTS = (0x3F, 0x06, 0x5B, 0x4F, 0x66, 0x6D, 0x7D, 0x07, 0x7F, 0x6F)
COMMON = "momentum: 0.9 test_iter: 100 test_interval: 500 display: 100 solver_mode: GPU "


def gaussian(std):
    return {"type": "gaussian", "std": std}


class Layers(list):
    """LayerParameters, each appended with a line."""

    def append_layer(self, layer_type, name, bottom, top=None, **settings):
        bottoms = bottom if isinstance(bottom, list) else [bottom]
        self.append(
            caffe_pb2.LayerParameter(
                type=layer_type, name=name, bottom=bottoms, top=[top or name], **settings
            )
        )

    def data(self, name, source, transformation, batches):
        for phase, end in ((caffe.TRAIN, "train"), (caffe.TEST, "test")):
            settings = {"source": f"{source}_{end}_lmdb", "batch_size": batches[phase], "backend": 1}
            self.append(
                caffe_pb2.LayerParameter(
                    type="Data",
                    name=name,
                    top=["data", "label"],
                    include=[{"phase": phase}],
                    transform_param=transformation,
                    data_param=settings,
                )
            )

    def learned(self, layer_type, name, bottom, **settings):
        rates = [{"lr_mult": 1}, {"lr_mult": 2}]
        self.append_layer(layer_type, name, bottom, param=rates, **settings)

    def convolution(self, name, bottom, num_output, filler, **more):
        settings = dict(
            kernel_size=[5], stride=[1], weight_filler=filler, bias_filler={"type": "constant"}, **more
        )
        self.learned("Convolution", name, bottom, convolution_param=dict(num_output=num_output, **settings))

    def pooling(self, name, bottom, pool, size):
        self.append_layer(
            "Pooling", name, bottom, pooling_param={"pool": pool, "kernel_size": size, "stride": 2}
        )

    def inner_product(self, name, bottom, num_output, filler):
        settings = {"weight_filler": filler, "bias_filler": {"type": "constant"}}
        self.learned(
            "InnerProduct", name, bottom, inner_product_param=dict(num_output=num_output, **settings)
        )

    def scores(self):
        self.append_layer("Accuracy", "accuracy", ["ip2", "label"], include=[{"phase": caffe.TEST}])
        self.append_layer("SoftmaxWithLoss", "loss", ["ip2", "label"])


def net(name, batches=None):
    """The NetParameter of an example, perhaps with other batch sizes in training and testing."""
    _, title, source, transformation, published = EXAMPLES[name]
    layers = Layers()
    layers.data(
        source.split("/")[-1].replace("cifar10", "cifar"), source, transformation, batches or published
    )
    if name == "lenet":
        for i, bottom, count in ((1, "data", 20), (2, "pool1", 50)):
            layers.convolution(f"conv{i}", bottom, count, XAVIER)
            layers.pooling(f"pool{i}", f"conv{i}", MAX, 2)
        layers.inner_product("ip1", "pool2", 500, XAVIER)
        layers.append_layer("ReLU", "relu1", "ip1", "ip1")
        layers.inner_product("ip2", "ip1", 10, XAVIER)
    else:
        layers.convolution("conv1", "data", 32, gaussian(0.0001), pad=[2])
        layers.pooling("pool1", "conv1", MAX, 3)
        layers.append_layer("ReLU", "relu1", "pool1", "pool1")
        for i, count in ((2, 32), (3, 64)):
            layers.convolution(f"conv{i}", f"pool{i - 1}", count, gaussian(0.01), pad=[2])
            layers.append_layer("ReLU", f"relu{i}", f"conv{i}", f"conv{i}")
            layers.pooling(f"pool{i}", f"conv{i}", AVE, 3)
        layers.inner_product("ip1", "pool3", 64, gaussian(0.1))
        layers.inner_product("ip2", "ip1", 10, gaussian(0.1))
    layers.scores()
    return caffe_pb2.NetParameter(name=title, layer=layers)


def draw_digit(label, size, random):
    """A digit of seven bars on noise, in a random place and colour: BGR, 8 bit, of size x size pixels."""
    image = random.randint(0, 90, (size, size, 3)).astype(np.uint8)
    top, left = random.randint(1, size - 20, 2)
    colour = random.randint(120, 256, 3)
    for bit, (i, j, height, width) in enumerate(BARS):
        if SEGMENTS[label] >> bit & 1:
            image[top + i : top + i + height, left + j : left + j + width] = colour
    return image


def files(name):
    """{path: text} of the net and the solver of an example."""
    path = EXAMPLES[name][0]
    solver = f'net: "{path}_train_test.prototxt" snapshot_prefix: "{path}" {COMMON}{SOLVERS[name]}'
    return {f"{path}_train_test.prototxt": str(net(name)), f"{path}_solver.prototxt": solver}


def write_images(name, counts=(150, 60)):
    """Databases of drawn digits where an example looks for its data; for CIFAR-10 quick also their mean."""
    source, transformation = EXAMPLES[name][2:4]
    size = 28 if name == "lenet" else 32
    random = np.random.RandomState(0)
    os.makedirs("images", exist_ok=True)
    os.makedirs(os.path.dirname(source), exist_ok=True)
    for split, count in zip(("train", "test"), counts):
        lines = []
        for i in range(count):
            label = random.randint(10)
            cv2.imwrite(f"images/{split}{i}.png", draw_digit(label, size, random))
            lines.append(f"{split}{i}.png {label}\n")
        Path(f"{split}.txt").write_text("".join(lines))
        gray = ["--gray"] if name == "lenet" else []
        command("convert_imageset", *gray, "images/", f"{split}.txt", f"{source}_{split}_lmdb")
    if "mean_file" in transformation:
        command("compute_image_mean", f"{source}_train_lmdb", transformation["mean_file"])


def losses(name, iterations=2):
    """The losses of a short training with small batches, in the current folder."""
    write_images(name, (3, 2))
    path = EXAMPLES[name][0]
    for file, text in files(name).items():
        Path(file).write_text(text + "test_initialization: false" * ("solver" in file))
    Path(f"{path}_train_test.prototxt").write_text(str(net(name, (2, 2))))
    solver = caffe.get_solver(f"{path}_solver.prototxt")
    random = np.random.RandomState(1)
    for blobs in solver.net.params.values():
        fan_in = blobs[0].data[0].size
        blobs[0].data[...] = random.standard_normal(blobs[0].data.shape) / fan_in**0.5
        blobs[1].data[...] = 0
    values = []
    for _ in range(iterations):
        solver.step(1)
        values.append(float(solver.net.blobs["loss"].data))
    solver.test_nets[0].share_with(solver.net)
    values.append(float(solver.test_nets[0].forward()["loss"]))
    return values


if __name__ == "__main__":
    for name in EXAMPLES:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            print(name, losses(name))
