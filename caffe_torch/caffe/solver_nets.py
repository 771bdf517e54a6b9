"""Solver files, and the training net and test nets that they name."""

from __future__ import annotations

import os

from . import glog, python_layer, upgrade
from .net import Net
from .proto import caffe_pb2
from .prototxt import read_prototxt, with_location


def read_solver(path: str | os.PathLike) -> caffe_pb2.SolverParameter:
    """Read a solver prototxt and upgrade its deprecated fields.

    A missing snapshot_prefix is derived from the path.

    Args:
        path: the file.

    Returns:
        The SolverParameter.

    Raises:
        ValueError: the file is not a valid solver; the message has the file and line.
        OSError: the file cannot be read.
    """
    param = read_prototxt(path, caffe_pb2.SolverParameter())
    upgrade.solver(param, path)
    return param


def train_source(param: caffe_pb2.SolverParameter) -> tuple:
    """Find the field that names the training net.

    Returns:
        The field's name and value.

    Raises:
        ValueError: there is not exactly one such field.
    """
    fields = ("train_net_param", "train_net", "net_param", "net")
    present = [name for name in fields if param.HasField(name)]
    if len(present) != 1:
        raise ValueError(
            "a solver names one training net, by net, net_param, train_net or train_net_param; "
            f"this one has {' and '.join(present) or 'none'}"
        )
    return present[0], getattr(param, present[0])


def test_sources(param: caffe_pb2.SolverParameter) -> list:
    """Find the fields that name the test nets.

    Returns:
        [(field name, value), ...], in the order of test_iter.

    Raises:
        ValueError: the numbers of test nets, test_iter and test_state do not agree.
    """
    sources = [(name, source) for name in ("test_net_param", "test_net") for source in getattr(param, name)]
    instances = len(param.test_iter)
    generic = [(name, getattr(param, name)) for name in ("net_param", "net") if param.HasField(name)]
    if instances < len(sources) or (instances > len(sources) and not generic):
        raise ValueError(f"{len(sources)} test nets and {instances} values of test_iter: give one for each")
    sources += generic * (instances - len(sources))
    if instances and param.test_interval < 1:
        raise ValueError("test_iter is given, so test_interval must be 1 or more")
    if param.test_state and len(param.test_state) != instances:
        raise ValueError(f"{len(param.test_state)} values of test_state for {instances} test nets")
    return sources


def train_net(param: caffe_pb2.SolverParameter, batch: int = 0) -> Net:
    """Build the training net, with its initial weights.

    Args:
        param: the solver.
        batch: rows in a batch of its HDF5Data layers; 0 keeps the number in the net.

    Returns:
        The Net.

    Raises:
        ValueError: the net is wrong.
        OSError: a file cannot be read.
    """
    field, source = train_source(param)
    origin = f"specified in {field}." if field.endswith("_param") else f"from {field} file: {source}"
    glog.info(f"Creating training net {origin}")
    net, name = _read_net(source)
    if batch:
        layers = [layer for layer in net.layer if layer.type == "HDF5Data"]
        if not layers:
            raise ValueError(f"{name}: has no HDF5Data layer to take batches of {batch} from")
        for layer in layers:
            layer.hdf5_data_param.batch_size = batch
    return _build(param, net, name, caffe_pb2.TRAIN, param.train_state)


def test_nets(param: caffe_pb2.SolverParameter) -> list:
    """Build the test nets.

    Args:
        param: the solver.

    Returns:
        The Nets, in the order of test_iter.

    Raises:
        ValueError: a net is wrong.
        OSError: a file cannot be read.
    """
    sources = test_sources(param)
    states = list(param.test_state) or [caffe_pb2.NetState()] * len(sources)
    read, nets = [_read_net(source) for _, source in sources], []
    for i, ((field, source), (net, name), state) in enumerate(zip(sources, read, states, strict=True)):
        origin = field if field.endswith("_param") else f"{field} file: {source}"
        glog.info(f"Creating test net (#{i}) specified by {origin}")
        # With initial weights too: it may have layers that the training net lacks.
        nets.append(_build(param, net, name, caffe_pb2.TEST, state))
        nets[-1].debug_info = param.debug_info
    return nets


def _read_net(source):
    """The NetParameter of a path or a NetParameter, and its name for errors."""
    net, path = caffe_pb2.NetParameter(), None
    if isinstance(source, caffe_pb2.NetParameter):
        net.CopyFrom(source)
    else:
        path = source
        read_prototxt(path, net)
    name = path or "the net in the solver"
    try:
        upgrade.net(net, path)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return net, name


def _build(param, net, name, phase, state):
    """The Net of a NetParameter, with the solver's initial weights."""
    merged = caffe_pb2.NetState(phase=phase)
    merged.MergeFrom(net.state)
    merged.MergeFrom(state)
    net.state.CopyFrom(merged)
    try:
        built = Net(net, merged.phase, level=None)
    except ValueError as error:
        if python_layer.failure(error):
            raise
        raise with_location(error, name, name, merged) from None
    for weights in filter(None, ",".join(param.weights).split(",")):
        glog.info(f"Finetuning from {weights}")
        built.copy_from(weights)
    return built
