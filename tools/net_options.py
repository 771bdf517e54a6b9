"""Helpers of commands for nets: open the requested net, refuse unknown names, tell the batch size."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Iterable, Sequence

from two_stream_fusion.methods import models

if TYPE_CHECKING:
    import argparse

    import caffe
    from caffe.proto import caffe_pb2


def open_net(args: argparse.Namespace) -> caffe.Net:
    """Open the net that --model, --net and --weights name.

    Args:
        args: a parsed command line with the arguments of models.add_model_arguments.

    Returns:
        A caffe.Net in phase TEST.

    Raises:
        ValueError: an unknown model, or one of --net and --weights without the other.
        OSError, ValueError: as models.open_net raises them.
    """
    os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe prints errors only
    from caffe.proto import caffe_pb2  # late: --help and wrong arguments need no Caffe

    deploy, weights = models.resolve_model(args.model, args.net, args.weights)
    models.read_prototxt(deploy, caffe_pb2.NetParameter())  # BVLC Caffe would end the process, without a name
    return models.open_net(deploy, weights)


def refuse_unknown(requested: Iterable[str], names: Sequence[str], noun: str) -> None:
    """Check names.

    Args:
        requested: the names to check.
        names: the names that exist.
        noun: what they name, for the message.

    Raises:
        ValueError: a requested name does not exist; the message lists those that do.
    """
    for name in requested:
        if name not in names:
            raise ValueError(f"no {noun} {name!r}: there are {', '.join(names)}")


def batch_size(net: caffe_pb2.NetParameter) -> int:
    """Patches in a batch of a net that trains."""
    return next(layer.hdf5_data_param.batch_size for layer in net.layer if layer.type == "HDF5Data")
