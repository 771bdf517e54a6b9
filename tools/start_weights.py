"""Make weights to start a training from: those of a net that does less, inside a net that is to do more.

Without --grow that is the mean of the two photographs: the first filters of every layer pass both on as they
are, and the last layer halves and adds them. A net of random filters has to learn first how to pass a
photograph on at all, and never comes to do it exactly. With --grow it is a trained net of the same
layers with fewer or smaller filters. All other filters are random, as the fillers of the prototxt have them,
and count for nothing in the last layer until they have learned what to correct.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import os

import numpy as np

from two_stream_fusion.base import cli
from two_stream_fusion.base.files import atomic_write
from two_stream_fusion.methods import models

EXAMPLES = """examples:
  python tools/start_weights.py models/2-1-2_f32_k3-defocus/training/1.prototxt -o build/start.caffemodel
  caffe train -solver models/2-1-2_f32_k3-defocus/training/1.prototxt -weights build/start.caffemodel
  python tools/start_weights.py models/2-1-2_f64_k5-defocus/training/1.prototxt -o build/start.caffemodel \\
      --grow models/2-1-2_f32_k3-defocus/2-1-2_f32_k3-defocus.caffemodel
"""
PLANES = 4  # of a photograph: R, G, B and gray


def mean_net(layers, paired=False):
    """A net that gives the mean of a and b, planes of 0 and more: {layer: (filters, biases)}.

    layers: names, in their order; filters: outputs x inputs x 1 x 1. Convolutions called `conv...` pass the
    PLANES of a stream on, all others but the last those of both, and the last adds up their halves. paired:
    the layer `fusion` sees one channel of a and one of b at a time (Eq. 2), and has to halve them itself.
    """
    one, both = np.eye(PLANES), np.eye(2 * PLANES)
    *inner, last = layers
    passing = {name: one if paired or name.startswith("conv") else both for name in inner}
    passing[last] = one if paired else np.hstack([one, one]) / 2
    if paired:
        passing["fusion"] = np.full((PLANES, 2), 0.5)
    return {name: (w[:, :, None, None], np.zeros(len(w))) for name, w in passing.items()}


def trained_net(path, types):
    """The filters of a caffemodel as `mean_net` has them; types: {layer: type}."""
    found = {}
    for layer in models.read_caffemodel(path).layer:
        if len(layer.blobs) == 2:
            weights, bias = (np.array(blob.data).reshape(blob.shape.dim) for blob in layer.blobs)
            found[layer.name] = (by_output(weights, types.get(layer.name)), bias)
    if not found:
        raise ValueError(f"{path}: a caffemodel without filters")
    return found


def by_output(weights, kind):
    """A view of filters as outputs x inputs x H x W: Caffe's Deconvolution has its inputs first."""
    return weights.swapaxes(0, 1) if kind == "Deconvolution" else weights


def embed(net, small, types):
    """Give the first filters of every layer of a caffe.Net the values of a smaller net's, padded by zeros.

    Nothing else reaches the outputs that the smaller net has, so the net gives what that gives. small: as
    `mean_net` has it; types: {layer: type}. ValueError where a layer does not fit, or where layers that share
    their filters are to have different ones.
    """
    given = []
    for name, blobs in net.params.items():
        if name not in small:
            raise ValueError(f"{name}: not in the smaller net, which has {', '.join(small)}")
        weights, bias = by_output(blobs[0].data, types[name]), blobs[1].data
        values, biases = small[name]
        outputs, inputs, height, width = values.shape
        top, left = (weights.shape[2] - height) // 2, (weights.shape[3] - width) // 2
        odd = (weights.shape[2] - height) % 2 or (weights.shape[3] - width) % 2
        if odd or any(own < wanted for own, wanted in zip(weights.shape, values.shape)):
            shapes = [" x ".join(map(str, shape)) for shape in (values.shape, weights.shape)]
            raise ValueError(f"{name}: filters of {shapes[0]} do not fit into {shapes[1]}")
        channels = np.arange(inputs)
        if name == "fusion":  # over the channels of one stream, then those of the other
            channels[inputs // 2 :] += (weights.shape[1] - inputs) // 2
        weights[:outputs] = 0
        weights[:outputs, channels, top : top + height, left : left + width] = values
        bias[:outputs] = biases
        given.append((name, weights[:outputs], weights[:outputs].copy()))
    for name, now, wanted in given:
        if (now != wanted).any():
            raise ValueError(f"{name}: shares filters with a layer that has others in the smaller net")


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add(
        "solver",
        help="the solver that will train: its net, its database, which must be there, its random_seed",
    )
    add("-o", "--output", required=True, metavar="CAFFEMODEL", help="replaced if it is there")
    add("--grow", metavar="CAFFEMODEL", help="a trained net of the same layers, fewer or smaller filters")
    args = parser.parse_args(argv)
    os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe speaks up for errors only
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
    embed(net, trained_net(args.grow, types) if args.grow else mean_net(net.params, paired), types)
    with atomic_write(args.output) as beside:
        net.save(str(beside))
    print(f"{args.output}: gives what {args.grow or 'the mean of both photographs'} gives")
    print(f"caffe train -solver {args.solver} -weights {args.output}")


if __name__ == "__main__":
    cli.run(main)
