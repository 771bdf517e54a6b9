"""pycaffe's compiled module, by its name: scripts import Net, Layer and the solvers from here.

`__all__` lists the names that `caffe` has too.
"""

from . import __version__ as __version__
from .blob import Blob as Blob
from .device import set_device, set_mode_cpu, set_mode_gpu, set_random_seed
from .glog import info as log
from .glog import init_log
from .layers import type_list as layer_type_list
from .net import Net
from .parallel import (
    has_nccl,
    set_multiprocess,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from .pycaffe import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)
from .python_layer import BlobVec as BlobVec
from .python_layer import Layer
from .timer import Timer
from .training import Solver as Solver

__all__ = [
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Layer",
    "NesterovSolver",
    "Net",
    "RMSPropSolver",
    "SGDSolver",
    "Timer",
    "get_solver",
    "has_nccl",
    "init_log",
    "layer_type_list",
    "log",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
]
