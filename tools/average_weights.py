"""Average the weights of several caffemodels of one net, such as the last snapshots of a training.

Each weight of the result is the mean over all files. A mean over the last part of a training has less of the
noise of single batches (Izmailov et al. 2018, arXiv:1803.05407). Both Caffes read it.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

from typing import Sequence

import numpy as np

from two_stream_fusion.base import cli
from two_stream_fusion.base.files import atomic_write
from two_stream_fusion.methods import models

EXAMPLES = """examples:
  python tools/average_weights.py build/snapshots/adam_iter_9*.caffemodel -o build/average.caffemodel
  python tools/average_weights.py first.caffemodel second.caffemodel -o mean.caffemodel
  caffe test -model prototxt/2-1-2_f64_k5/train_val.prototxt -weights build/average.caffemodel -iterations 100
"""


def average(paths: Sequence[str], output: str) -> None:
    """Average caffemodels.

    Args:
        paths: the caffemodels; their layers have the same names and shapes.
        output: the caffemodel to write. All but the weights is that of the first.

    Raises:
        ValueError: a file is no caffemodel, or one without weights or from before 2015; or layers differ.
        OSError: a file cannot be read or written.
    """
    nets = [models.read_caffemodel(path) for path in paths]
    first = nets[0]
    if not any(blob.data for layer in first.layer for blob in layer.blobs):
        old = ": its layers have the form of before 2015" if first.layers else ""
        raise ValueError(f"{paths[0]}: has no weights to average{old}")
    for path, net in zip(paths[1:], nets[1:]):
        if _shapes(net) != _shapes(first):
            raise ValueError(f"{path}: other layers than those of {paths[0]}")
    for i, layer in enumerate(first.layer):
        for j, blob in enumerate(layer.blobs):
            values = [np.array(net.layer[i].blobs[j].data, np.float32) for net in nets]
            blob.data[:] = np.mean(values, axis=0, dtype=np.float64).astype(np.float32)
    with atomic_write(output) as beside:
        beside.write_bytes(first.SerializeToString())


def _shapes(net):
    """The names of the layers, and the shapes and lengths of their weights."""
    return [(layer.name, [(*blob.shape.dim, len(blob.data)) for blob in layer.blobs]) for layer in net.layer]


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument("weights", nargs="+", metavar="CAFFEMODEL", help="weights of the same net")
    cli.add_output(parser, "the result; replaces an existing file", required=True, metavar="CAFFEMODEL")
    args = parser.parse_args(argv)
    average(args.weights, args.output)
    print(f"{args.output}: the mean of {len(args.weights)} caffemodels")


if __name__ == "__main__":
    cli.run(main)
