"""The nets, data and solvers that real Caffe and caffe_torch both train: see make_training.py.

Runs under pycaffe's Python 3.8 too.
"""

import caffe
import h5py
import numpy as np
from caffe.proto import caffe_pb2

NET = """
name: "small"
layer {
  name: "data" type: "HDF5Data" top: "x" top: "y"
  hdf5_data_param { source: "list.txt" batch_size: 4 }
}
layer {
  name: "conv1" type: "Convolution" bottom: "x" top: "conv1"
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer {
  name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  param { name: "square" lr_mult: 0.5 }
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 bias_term: false }
}
layer {
  name: "conv3" type: "Convolution" bottom: "conv2" top: "conv3"
  param { name: "square" }
  convolution_param { num_output: 3 kernel_size: 3 pad: 1 bias_term: false }
}
layer { name: "loss" type: "EuclideanLoss" bottom: "conv3" bottom: "y" top: "loss" loss_weight: 0.25 }
"""

SOLVER = 'net: "net.prototxt" max_iter: 10 snapshot_after_train: false '

_FIXED = 'base_lr: 0.02 lr_policy: "fixed" '
_SGD = 'type: "SGD" base_lr: 0.001 momentum: 0.9 '
SOLVERS = {
    "sgd": _SGD + 'lr_policy: "fixed"',
    "sgd_plain": _FIXED + 'type: "SGD"',
    "nesterov": 'base_lr: 0.001 lr_policy: "fixed" type: "Nesterov" momentum: 0.9',
    "adagrad": _FIXED + 'type: "AdaGrad" delta: 1e-6',
    "rmsprop": _FIXED + 'type: "RMSProp" rms_decay: 0.8 delta: 1e-6',
    "adadelta": 'base_lr: 1 lr_policy: "fixed" type: "AdaDelta" momentum: 0.9 delta: 1e-5',
    "adam": _FIXED + 'type: "Adam" momentum: 0.9',
    "adam_delta": _FIXED + 'type: "Adam" momentum: 0.8 momentum2: 0.95 delta: 10',
    "step": _SGD + 'lr_policy: "step" gamma: 0.5 stepsize: 3',
    "exp": _SGD + 'lr_policy: "exp" gamma: 0.8',
    "inv": _SGD + 'lr_policy: "inv" gamma: 0.1 power: 0.75',
    "multistep": _SGD + 'lr_policy: "multistep" gamma: 0.3 stepvalue: 2 stepvalue: 2 stepvalue: 7',
    "poly": _SGD + 'lr_policy: "poly" power: 1.5',
    "sigmoid": _SGD + 'lr_policy: "sigmoid" gamma: 0.9 stepsize: 5',
    "clip": _SGD + 'lr_policy: "fixed" clip_gradients: 0.3',
    "iter_size": _SGD + 'lr_policy: "fixed" iter_size: 3',
    "clip_iter_size_decay": _SGD + 'lr_policy: "fixed" iter_size: 2 clip_gradients: 0.5 weight_decay: 0.1',
    "sgd_l1": _SGD + 'lr_policy: "fixed" weight_decay: 0.1 regularization_type: "L1"',
    "adam_l1": _FIXED + 'type: "Adam" momentum: 0.9 weight_decay: 0.1 regularization_type: "L1"',
}
for _name in ("sgd", "nesterov", "adagrad", "rmsprop", "adadelta", "adam"):
    SOLVERS[_name + "_decay"] = SOLVERS[_name] + " weight_decay: 0.1"

# What the `caffe` command is run with: tests, smoothing, snapshots, in both forms.
COMMAND = (
    'net: "net.prototxt" base_lr: 0.02 lr_policy: "step" gamma: 0.5 stepsize: 3 type: "Adam" momentum: 0.9 '
    "max_iter: 8 display: 2 average_loss: 3 test_iter: 2 test_interval: 3 test_compute_loss: true "
    'snapshot: 5 snapshot_prefix: "snap" solver_mode: CPU clip_gradients: 1 '
)
DEBUG = (
    'net: "net.prototxt" base_lr: 0.001 lr_policy: "fixed" max_iter: 1 display: 1 debug_info: true '
    "snapshot_after_train: false solver_mode: CPU "
)


def write_inputs():
    """Into the working folder: two HDF5 files of 5 and 6 rows, of four number types, their list, a net."""
    r = np.random.RandomState(1)
    with h5py.File("0.h5", "w") as file:
        file.create_dataset("x", data=r.randint(0, 4, (5, 2, 5, 5)).astype(np.uint8), compression="gzip")
        file["y"] = r.randn(5, 3, 5, 5)
    with h5py.File("1.h5", "w") as file:
        file["x"] = r.randint(-2, 3, (6, 2, 5, 5)).astype(np.int32)
        file["y"] = r.randn(6, 3, 5, 5).astype(np.float32)
    with open("list.txt", "w") as file:
        file.write("0.h5\n1.h5\n")
    with open("net.prototxt", "w") as file:
        file.write(NET)


def first_weights(net):
    """Give a net its first weights: the same in any Caffe."""
    r = np.random.RandomState(2)
    for name in ("conv1", "conv2"):
        for blob in net.params[name]:
            blob.data[...] = 0.3 * r.randn(*blob.data.shape)


def trained(text):
    """Ten iterations of one solver of SOLVERS: losses, weights, history, and its current step."""
    with open("solver.prototxt", "w") as file:
        file.write(SOLVER + text)
    solver = caffe.get_solver("solver.prototxt")
    first_weights(solver.net)
    losses = []
    for _ in range(10):
        solver.step(1)
        losses.append(float(solver.net.blobs["loss"].data))
    solver.snapshot()
    state = caffe_pb2.SolverState()
    with open("solver_iter_10.solverstate", "rb") as file:
        state.ParseFromString(file.read())
    weights = [blob.data.ravel() for name in ("conv1", "conv2") for blob in solver.net.params[name]]
    history = [np.array(blob.data, np.float32) for blob in state.history]
    return np.array(losses), np.concatenate(weights), np.concatenate(history), state.current_step
