"""Caffe's Python module on PyTorch: `import caffe`, as with BVLC Caffe 1.0."""

import os

# PyTorch reads this at its first allocation: large blobs are then put in huge pages. On a CPU that saves an
# eighth of the time of a 512x512 forward pass, which page faults take otherwise.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "1.0.0"  # the Caffe that this follows

from . import _caffe, coord_map, io, layers, net_spec
from .classifier import Classifier
from .detector import Detector
from .device import set_device, set_mode_cpu, set_mode_gpu, set_precision, set_random_seed
from .glog import info as log
from .glog import init_log
from .layers import type_list as layer_type_list
from .net import Net
from .net_spec import NetSpec, params, to_proto
from .parallel import (
    has_nccl,
    set_multiprocess,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from .proto.caffe_pb2 import TEST, TRAIN
from .pycaffe import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)
from .python_layer import Layer
from .timer import Timer

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Classifier",
    "Detector",
    "Layer",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "Timer",
    "_caffe",
    "coord_map",
    "get_solver",
    "has_nccl",
    "init_log",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "net_spec",
    "params",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_precision",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]
