"""Caffe's Python module on PyTorch: `import caffe`, as with BVLC Caffe 1.0."""

from . import io, layers
from .device import set_device, set_mode_cpu, set_mode_gpu, set_precision, set_random_seed
from .layers import type_list as layer_type_list
from .net import Net
from .net_spec import NetSpec, params, to_proto
from .proto.caffe_pb2 import TEST, TRAIN
from .training import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)

__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "get_solver",
    "io",
    "layer_type_list",
    "layers",
    "params",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_precision",
    "set_random_seed",
    "to_proto",
]
__version__ = "1.0.0"  # the Caffe that this follows
