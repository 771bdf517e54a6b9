"""Two small nets to time, as in BVLC Caffe's examples, on random data: a logistic regression and LeNet."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

DATA = """layer { name: "data" type: "HDF5Data" top: "data" top: "label"
  hdf5_data_param { source: "%s" batch_size: %d } }
"""
LOSS = """layer { name: "loss" type: "SoftmaxWithLoss" bottom: "%s" bottom: "label" top: "loss" }
"""


class SmallNet(NamedTuple):
    """A net to time."""

    title: str
    layers: str  # between data and loss
    scores: str  # the blob that the loss reads
    shape: tuple[int, ...]  # of a row of data
    classes: int
    batch: int
    iterations: int  # between two trainings that are timed
    solver: str


def _learned(layer_type: str, name: str, bottom: str, settings: str, decay: str = "") -> str:
    """A layer with weights and a bias, whose learning rate is twice that of the weights."""
    rates = f"param {{ lr_mult: 1 }} param {{ lr_mult: 2 {decay} }}"
    fillers = 'weight_filler { type: "xavier" } bias_filler { type: "constant" }'
    field = {"Convolution": "convolution_param", "InnerProduct": "inner_product_param"}[layer_type]
    top = f'name: "{name}" type: "{layer_type}" bottom: "{bottom}" top: "{name}"'
    return f"layer {{ {top} {rates} {field} {{ {settings} {fillers} }} }}\n"


def _max_pooling(name: str, bottom: str) -> str:
    top = f'name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}"'
    return f"layer {{ {top} pooling_param {{ pool: MAX kernel_size: 2 stride: 2 }} }}\n"


NETS = {
    "logistic": SmallNet(
        "logistic regression",
        _learned("InnerProduct", "fc1", "data", "num_output: 2", "decay_mult: 0"),
        "fc1",
        (4,),
        2,
        10,
        20000,
        'lr_policy: "step" gamma: 0.1 stepsize: 5000',
    ),
    "lenet": SmallNet(
        "LeNet",
        _learned("Convolution", "conv1", "data", "num_output: 20 kernel_size: 5")
        + _max_pooling("pool1", "conv1")
        + _learned("Convolution", "conv2", "pool1", "num_output: 50 kernel_size: 5")
        + _max_pooling("pool2", "conv2")
        + _learned("InnerProduct", "ip1", "pool2", "num_output: 500")
        + 'layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }\n'
        + _learned("InnerProduct", "ip2", "ip1", "num_output: 10"),
        "ip2",
        (1, 28, 28),
        10,
        64,
        50,
        'lr_policy: "inv" gamma: 0.0001 power: 0.75',
    ),
}


def write_solver(net: SmallNet, folder: str | Path, iterations: int) -> Path:
    """Write a net, its solver and random data.

    Args:
        net: the net.
        folder: where the files go.
        iterations: how many the solver trains.

    Returns:
        The solver file.
    """
    import h5py

    folder, random = Path(folder).resolve(), np.random.RandomState(0)
    rows = 20 * net.batch
    with h5py.File(folder / "rows.h5", "w") as file:
        file["data"] = random.uniform(size=(rows, *net.shape)).astype(np.float32)
        file["label"] = random.randint(0, net.classes, rows).astype(np.float32)
    (folder / "rows.txt").write_text(f"{folder / 'rows.h5'}\n", encoding="utf-8")
    data = DATA % (folder / "rows.txt", net.batch)
    (folder / "net.prototxt").write_text(data + net.layers + LOSS % net.scores, encoding="utf-8")
    solver = folder / f"{iterations}.prototxt"
    solver.write_text(
        f'net: "{folder / "net.prototxt"}" base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 {net.solver} '
        f"max_iter: {iterations} snapshot_after_train: false "
        "random_seed: 1\n",
        encoding="utf-8",
    )
    return solver
