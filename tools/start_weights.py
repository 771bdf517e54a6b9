"""Make weights to start a training from: those of a simple net, inside the net to train.

By default the simple net returns the mean of the two photographs. The first filters of every layer pass both
on unchanged, and the last layer halves and adds them. A net of random filters must first learn to pass a
photograph on, and never does so exactly. With --grow the simple net is a trained one of the same layers with
fewer or smaller filters. All other filters are random, by the fillers of the prototxt. Their weights in the
last layer are zero until training changes them.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import os
from typing import TYPE_CHECKING, Dict, Iterable, Mapping, Tuple

import numpy as np

from two_stream_fusion.base import cli
from two_stream_fusion.base.files import atomic_write
from two_stream_fusion.methods import models

if TYPE_CHECKING:
    import caffe

EXAMPLES = """examples:
  python tools/start_weights.py models/2-1-2_f32_k3-defocus/training/1.prototxt -o build/start.caffemodel
  caffe train -solver models/2-1-2_f32_k3-defocus/training/1.prototxt -weights build/start.caffemodel
  python tools/start_weights.py models/2-1-2_f64_k5-defocus/training/1.prototxt -o build/start.caffemodel \\
      --grow models/2-1-2_f32_k3-defocus/2-1-2_f32_k3-defocus.caffemodel
"""
PLANES = 4  # of a photograph: R, G, B and gray
Filters = Dict[str, Tuple[np.ndarray, np.ndarray]]  # {layer: (filters, biases)}


def mean_filters(layers: Iterable[str], paired: bool = False) -> Filters:
    """Make the filters of a net that returns the mean of a and b.

    Layers called `conv...` pass on the PLANES of one stream. All others but the last pass on those of both,
    and the last adds up their halves.

    Args:
        layers: names, in their order.
        paired: whether the layer `fusion` reads one channel of a and one of b at a time (Eq. 2); it then
            halves them itself.

    Returns:
        {layer: (filters, biases)}; filters are outputs x inputs x 1 x 1. Exact for inputs of 0 and more,
        because of the ReLUs.
    """
    one, both = np.eye(PLANES), np.eye(2 * PLANES)
    *inner, last = layers
    passing = {name: one if paired or name.startswith("conv") else both for name in inner}
    passing[last] = one if paired else np.hstack([one, one]) / 2
    if paired:
        passing["fusion"] = np.full((PLANES, 2), 0.5)
    return {name: (w[:, :, None, None], np.zeros(len(w))) for name, w in passing.items()}


def read_filters(path: str, types: Mapping[str, str]) -> Filters:
    """Read the filters of a caffemodel.

    Args:
        path: the caffemodel.
        types: {layer: Caffe's type}.

    Returns:
        {layer: (filters, biases)}; filters are outputs x inputs x H x W.

    Raises:
        ValueError: the caffemodel has no filters.
    """
    filters: Filters = {}
    for layer in models.read_caffemodel(path).layer:
        if len(layer.blobs) == 2:
            weights, bias = (np.array(blob.data).reshape(blob.shape.dim) for blob in layer.blobs)
            filters[layer.name] = (output_major(weights, types.get(layer.name)), bias)
    if not filters:
        raise ValueError(f"{path}: a caffemodel without filters")
    return filters


def output_major(weights: np.ndarray, layer_type: str | None) -> np.ndarray:
    """A view of filters as outputs x inputs x H x W: Caffe's Deconvolution has its inputs first.

    Args:
        weights: the filters of a layer as Caffe has them.
        layer_type: Caffe's type; None for a layer that is not a Deconvolution.

    Returns:
        The view.
    """
    return weights.swapaxes(0, 1) if layer_type == "Deconvolution" else weights


def embed(net: caffe.Net, small: Filters, types: Mapping[str, str]) -> None:
    """Copy the filters of a smaller net into the first filters of a caffe.Net, padded by zeros.

    No other filter reaches the outputs of the smaller net, so both nets compute the same.

    Args:
        net: changed in place.
        small: the smaller net, as `mean_filters` or `read_filters` returns it.
        types: {layer: Caffe's type}.

    Raises:
        ValueError: a layer does not fit, or layers that share their filters would have different ones.
    """
    copied = []
    for name, blobs in net.params.items():
        if name not in small:
            raise ValueError(f"{name}: not in the smaller net, which has {', '.join(small)}")
        weights, bias = output_major(blobs[0].data, types[name]), blobs[1].data
        values, biases = small[name]
        outputs, inputs, height, width = values.shape
        top, left = (weights.shape[2] - height) // 2, (weights.shape[3] - width) // 2
        odd = (weights.shape[2] - height) % 2 or (weights.shape[3] - width) % 2
        if odd or any(n < needed for n, needed in zip(weights.shape, values.shape)):
            shapes = [" x ".join(map(str, shape)) for shape in (values.shape, weights.shape)]
            raise ValueError(f"{name}: filters of {shapes[0]} do not fit into {shapes[1]}")
        channels = np.arange(inputs)
        if name == "fusion":  # over the channels of one stream, then those of the other
            channels[inputs // 2 :] += (weights.shape[1] - inputs) // 2
        weights[:outputs] = 0
        weights[:outputs, channels, top : top + height, left : left + width] = values
        bias[:outputs] = biases
        copied.append((name, weights[:outputs], weights[:outputs].copy()))
    for name, current, expected in copied:
        if (current != expected).any():
            raise ValueError(f"{name}: shares filters with a layer whose filters differ in the smaller net")


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add(
        "solver",
        help="the solver of the training: its random_seed is used, and its database must exist",
    )
    cli.add_output(parser, "the result; replaces an existing file", required=True, metavar="CAFFEMODEL")
    add("--grow", metavar="CAFFEMODEL", help="a trained net of the same layers, fewer or smaller filters")
    args = parser.parse_args(argv)
    os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe prints errors only
    import caffe  # late: --help and wrong arguments need no Caffe
    from caffe.proto import caffe_pb2

    from two_stream_fusion.methods.two_stream import refuse_strides

    # Read here first: BVLC Caffe would end the process, without a name.
    path = models.read_prototxt(args.solver, caffe_pb2.SolverParameter()).net
    if not path:
        raise ValueError(f"{args.solver}: names no net by `net`")
    refuse_strides(models.read_prototxt(path, caffe_pb2.NetParameter()), path)
    net = caffe.get_solver(args.solver).net
    types = {name: layer.type for name, layer in zip(net._layer_names, net.layers)}
    paired = "fusion" in net.params and net.params["fusion"][0].shape[1] == 2
    embed(net, read_filters(args.grow, types) if args.grow else mean_filters(net.params, paired), types)
    with atomic_write(args.output) as beside:
        net.save(str(beside))
    expected = args.grow or "the mean of both photographs"
    print(f"{args.output}: has the same output as {expected}")
    print(f"caffe train -solver {args.solver} -weights {args.output}")


if __name__ == "__main__":
    cli.run(main)
