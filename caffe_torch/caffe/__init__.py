"""Caffe's Python module on PyTorch: `import caffe`, as with BVLC Caffe 1.0."""

import os

# PyTorch reads this at its first allocation: large blobs are then put in huge pages. On a CPU that saves an
# eighth of the time of a 512x512 forward pass, which page faults take otherwise.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "1.0.0"  # the Caffe that this follows

from . import _caffe, coord_map, io, layers, net_spec
from ._caffe import *  # noqa: F403
from .classifier import Classifier
from .detector import Detector
from .device import set_precision
from .net_spec import NetSpec, params, to_proto
from .proto.caffe_pb2 import TEST, TRAIN

__all__ = [
    "TEST",
    "TRAIN",
    "Classifier",
    "Detector",
    "NetSpec",
    "_caffe",
    "coord_map",
    "io",
    "layers",
    "net_spec",
    "params",
    "set_precision",
    "to_proto",
]
__all__ += _caffe.__all__
