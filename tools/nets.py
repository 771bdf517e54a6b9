"""What the commands that show nets share: which net it is, opened with its weights, and what is in it."""

from __future__ import annotations

import os

from two_stream_fusion.methods import models


def open_net(args):
    """The caffe.Net that --model, --net and --weights name, in phase TEST.

    Errors as models.open_net; ValueError for an unknown model too, and where --net and --weights do not come
    together.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe speaks up for errors only
    from caffe.proto import caffe_pb2  # late: --help and wrong arguments need no Caffe

    deploy, weights = models.resolve_model(args.model, args.net, args.weights)
    models.read_prototxt(deploy, caffe_pb2.NetParameter())  # BVLC Caffe would end the process, without a name
    return models.open_net(deploy, weights)


def refuse_unknown(wanted, names, kind):
    """ValueError, with what there is, where one of `wanted` is not among `names`."""
    for name in wanted:
        if name not in names:
            raise ValueError(f"no {kind} {name!r}: there are {', '.join(names)}")
