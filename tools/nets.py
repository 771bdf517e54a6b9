"""What the commands that show nets share: which net it is, opened with its weights, and what is in it."""

from __future__ import annotations

import os

from two_stream_fusion.methods import models


def add_arguments(parser):
    """The options that say which net and which weights: see `open_net`."""
    parser.add_argument("--model", default=models.DEFAULT, help="a model of models/ (default: %(default)s)")
    parser.add_argument("--net", metavar="DEPLOY", help="a deploy.prototxt instead; needs --weights")
    parser.add_argument("--weights", metavar="CAFFEMODEL", help="weights for --net")


def open_net(args):
    """The caffe.Net of parsed `add_arguments`, in phase TEST.

    Errors as models.open_net; ValueError for an unknown model too, and where --net and --weights do not come
    together.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe speaks up for errors only
    from caffe.proto import caffe_pb2  # late: --help and wrong arguments need no Caffe

    if (args.net is None) != (args.weights is None):
        raise ValueError("--net and --weights go together")
    deploy, weights = (args.net, args.weights) if args.net else models.files(args.model)
    models.read_prototxt(deploy, caffe_pb2.NetParameter())  # BVLC Caffe would end the process, without a name
    return models.open_net(deploy, weights)


def refuse_unknown(wanted, names, kind):
    """ValueError, with what there is, where one of `wanted` is not among `names`."""
    for name in wanted:
        if name not in names:
            raise ValueError(f"no {kind} {name!r}: there are {', '.join(names)}")
