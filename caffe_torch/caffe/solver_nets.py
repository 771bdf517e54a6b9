"""Solver files: read, and made into the training net and the test nets that they name."""

from __future__ import annotations

from . import glog, upgrade
from .net import Net
from .proto import caffe_pb2
from .prototxt import read_prototxt, with_location


def read_solver(path) -> caffe_pb2.SolverParameter:
    """Read a solver prototxt, upgraded to today's form.

    Snapshots without a prefix are named after the file.
    Raises: ValueError with file and line; OSError where it cannot be read.
    """
    param = read_prototxt(path, caffe_pb2.SolverParameter())
    upgrade.solver(param, path)
    return param


def train_source(param: caffe_pb2.SolverParameter) -> tuple:
    """The field that names the training net, and its value; ValueError unless there is exactly one."""
    fields = ("train_net_param", "train_net", "net_param", "net")
    given = [name for name in fields if param.HasField(name)]
    if len(given) != 1:
        raise ValueError(
            "a solver names one training net, by net, net_param, train_net or train_net_param; "
            f"this one has {' and '.join(given) or 'none'}"
        )
    return given[0], getattr(param, given[0])


def test_sources(param: caffe_pb2.SolverParameter) -> list:
    """(field, value) of each test net; ValueError where test_iter and the like do not fit them."""
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
    """The training net, with the weights that training starts from.

    Args: batch: rows in a batch of its HDF5Data layers; 0 for the number in the file.
    """
    field, source = train_source(param)
    how = f"specified in {field}." if field.endswith("_param") else f"from {field} file: {source}"
    glog.info(f"Creating training net {how}")
    net, name = _read_net(source)
    if batch:
        layers = [layer for layer in net.layer if layer.type == "HDF5Data"]
        if not layers:
            raise ValueError(f"{name}: has no HDF5Data layer to take batches of {batch} from")
        for layer in layers:
            layer.hdf5_data_param.batch_size = batch
    return _build(param, net, name, caffe_pb2.TRAIN, param.train_state)


def test_nets(param: caffe_pb2.SolverParameter) -> list:
    """The test nets, in the order of test_iter."""
    sources = test_sources(param)
    states = list(param.test_state) or [caffe_pb2.NetState()] * len(sources)
    read, nets = [_read_net(source) for _, source in sources], []
    for i, ((field, source), (net, name), state) in enumerate(zip(sources, read, states, strict=True)):
        how = field if field.endswith("_param") else f"{field} file: {source}"
        glog.info(f"Creating test net (#{i}) specified by {how}")
        # It may have layers of its own, which need weights too.
        nets.append(_build(param, net, name, caffe_pb2.TEST, state))
        nets[-1].debug_info = param.debug_info
    return nets


def _read_net(source):
    """(NetParameter, name for errors) of a path or a NetParameter."""
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
        raise with_location(error, name, name, merged) from None
    for weights in filter(None, ",".join(param.weights).split(",")):
        glog.info(f"Finetuning from {weights}")
        built.copy_from(weights)
    return built
