"""Numbers of every net of prototxt/: a forward pass and ten Adam iterations, by whichever Caffe runs this.

Made with BVLC Caffe 1.0, from the repository root:
    build/bvlc/bin/python tests/golden/nets.py > tests/golden/nets.json
The tests run the same with caffe_torch and compare.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import caffe
import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
PATCH, ROWS = 12, 40  # rows that do not divide by the batch of 16, so that batches wrap
STRIDED = {"2-1-2_f64_k5_stride5": 25}  # what the sides of an image have to be multiples of
SOLVER = """net: "{net}" type: "Adam" base_lr: 1e-5 momentum: 0.9 momentum2: 0.999 delta: 1e-8
lr_policy: "fixed" max_iter: 10 snapshot_prefix: "build/x" train_state {{ stage: "detail" }} """
DATA = {  # what the nets read: folders below build/, and the datasets in them
    "data": dict.fromkeys(("a", "b", "label"), (4, PATCH, PATCH)),
    "data_stack": dict.fromkeys((*(f"frame{i}" for i in range(1, 7)), "label"), (4, PATCH, PATCH)),
    "data_cnn": {"a": (1, 16, 16), "b": (1, 16, 16), "label": ()},
    "data_srcnn_detail": dict.fromkeys(("data", "label"), (1, PATCH, PATCH)),
    "data_srcnn_approximation": dict.fromkeys(("data", "label"), (1, PATCH, PATCH)),
}


def names():
    """The nets, sorted."""
    return sorted(path.parent.name for path in ROOT.glob("prototxt/*/deploy.prototxt"))


def make_data(net=""):
    """Small databases of bytes for a net, below the current folder, the same on every machine."""
    side = STRIDED.get(net)
    strided = {"data": dict.fromkeys(DATA["data"], (4, side, side))} if side else {}
    for folder, datasets in {**DATA, **strided}.items():
        random = np.random.RandomState(3)  # the generator whose numbers no NumPy release changes
        os.makedirs(f"build/{folder}", exist_ok=True)
        for split in ("train", "val"):
            with h5py.File(f"build/{folder}/{split}.h5", "w") as file:
                for name, shape in datasets.items():
                    top = 256 if shape else 2  # a row's single number is a class
                    file[name] = random.randint(0, top, (ROWS, *shape)).astype(np.uint8)
            with open(f"build/{folder}/{split}.txt", "w") as file:
                file.write(f"build/{folder}/{split}.h5\n")


def set_weights(net):
    """Weights of about msra's size, biases near zero, but 0.5 at the last layer."""
    random = np.random.RandomState(5)
    for name, blobs in net.params.items():
        weight = blobs[0]
        shape = tuple(weight.shape)
        inputs = shape[0] if name.startswith("deconv") else shape[1]
        deviation = np.sqrt(2.0 / (inputs * shape[2] * shape[3]))
        if name == list(net.params)[-1]:
            deviation *= 0.1
        weight.data[...] = random.standard_normal(shape) * deviation
        if len(blobs) == 1:
            continue
        bias = blobs[1]
        bias.data[...] = random.standard_normal(tuple(bias.shape)) * 0.01
        if name == list(net.params)[-1]:
            bias.data[...] += 0.5


def input_shapes(net, size):
    """{input: shape} of a net for an image of a size; the inputs of multi-stream nets differ in scale."""
    shapes = {blob: tuple(net.blobs[blob].shape) for blob in net.inputs}
    side = shapes[net.inputs[0]][2]
    return {
        blob: (1, channels, *(n * height // side for n in size))
        for blob, (_, channels, height, _) in shapes.items()
    }


def forward(name):
    """Every 37th value of the output for random inputs of 24 x 31 pixels, or of multiples of STRIDED."""
    net = caffe.Net(str(ROOT / "prototxt" / name / "deploy.prototxt"), caffe.TEST)
    set_weights(net)
    random = np.random.RandomState(7)
    side = STRIDED.get(name)
    size = (side, 2 * side) if side else (24, 31)
    if name.startswith("N-"):
        size = (24, 32)
    shapes = input_shapes(net, size)
    for blob, shape in shapes.items():
        net.blobs[blob].reshape(*shape)
    net.reshape()
    for blob, shape in shapes.items():
        net.blobs[blob].data[...] = random.random_sample(shape)
    (output,) = net.forward().values()
    return [float(x) for x in output.flatten()[::37]]


def losses(name):
    """The losses of the first ten iterations of Adam, before each update.

    At 1e-5, as in the paper: at 1e-3 they leap to 400, and a change of the gradients by 1e-7 of their size,
    which is rounding, moves what follows by a thousandth.
    """
    make_data(name)
    with open("solver.prototxt", "w") as file:
        file.write(SOLVER.format(net=ROOT / "prototxt" / name / "train_val.prototxt"))
    solver = caffe.get_solver("solver.prototxt")
    set_weights(solver.net)
    values = []
    for _ in range(10):
        solver.step(1)
        values.append(float(solver.net.blobs["loss"].data))
    return values


def run(selected=None):
    """{net: {"forward": [...], "losses": [...]}}, computed in a temporary folder."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return {n: {"forward": forward(n), "losses": losses(n)} for n in selected or names()}
        finally:
            os.chdir(before)


if __name__ == "__main__":
    json.dump(run(sys.argv[1:]), sys.stdout, indent=0)
    print()
