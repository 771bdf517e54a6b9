"""Files of weights and of solver states: .caffemodel, .solverstate, and the HDF5 form of both.

Files are written atomically. Reading refuses a file that is truncated, damaged or of another net; the error
names the file.
"""

import filecmp
import functools
import os

import h5py
import numpy as np
import torch
from google.protobuf.message import DecodeError, EncodeError

from . import atomic_files, bounded_files, glog, hdf5_checks, upgrade
from .blob import array_of, same_shape, shown
from .proto import caffe_pb2


def _write_proto(path, message):
    try:
        content = message.SerializeToString()
    except EncodeError:
        raise ValueError(
            f"{path}: larger than the 2 GB of the binary form: use HDF5 (snapshot_format, save_hdf5)"
        ) from None
    atomic_files.write(path, content)


def _read_proto(path, message):
    data = bounded_files.read(path)
    content = "weights" if isinstance(message, caffe_pb2.NetParameter) else "solver state"
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise ValueError(f"{path}: not a {content} file, or a truncated one ({len(data)} bytes)") from None
    if field := _non_text_field(message):
        raise ValueError(f"{path}: damaged: {field} holds bytes that are not text")
    return message


def _non_text_field(message):
    """The name of a string field that holds other bytes, which protobuf accepts; "" where none does."""
    for field, value in message.ListFields():
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        for item in value if hasattr(value, "extend") else [value]:
            if field.type == field.TYPE_MESSAGE:
                if name := _non_text_field(item):
                    return name
            elif isinstance(item, bytes) or "\0" in item:
                return field.name
    return ""


# The first byte of a message that Caffe writes: the tag of iter, name, layers or layer.
_FIRST_BYTES = b"\x08", b"\x0a", b"\x12", b"\xa2"


def holds_hdf5(path: str) -> bool:
    """Tell HDF5 from the binary form by the file's first bytes.

    Args:
        path: the file. Its ending .h5 counts where the first bytes are of neither form.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is a FIFO, a socket or a device.
    """
    bounded_files.check_regular(path)
    with open(path, "rb") as file:
        head = file.read(8)
    return head == b"\x89HDF\r\n\x1a\n" or (path.endswith(".h5") and head[:1] not in _FIRST_BYTES)


# Weights


def save_caffemodel(net, path: str | os.PathLike, write_diff: bool = False) -> None:
    """Write a net and its parameters in binary form.

    Args:
        net: the Net.
        path: the file to write.
        write_diff: whether to write the gradients too.

    Raises:
        ValueError: the message is larger than 2 GB, or `path` names no file.
        OSError: the file cannot be written.
    """
    _write_proto(path, net.to_proto(write_diff))


def save_hdf5(net, path: str | os.PathLike, write_diff: bool = False) -> None:
    """Write parameters in Caffe's HDF5 layout: /data/LAYER/INDEX, gradients below /diff.

    A shared parameter is written under the first layer that uses it.

    Args:
        net: the Net.
        path: the file to write.
        write_diff: whether to write the gradients too.

    Raises:
        ValueError: `path` names no file.
        OSError: the file cannot be written.
    """
    with atomic_files.new_hdf5(path) as file:
        for values in ("data", "diff") if write_diff else ("data",):
            written: set = set()
            for layer in (node.layer for node in net.nodes):
                group = file.create_group(f"{values}/{layer.spec.name}")
                for i, blob in enumerate(layer.blobs):
                    if id(blob.owner) not in written:
                        group.create_dataset(str(i), data=getattr(blob, values))
                        written.add(id(blob.owner))


def load_weights(net, path: str | os.PathLike) -> None:
    """Copy parameters from a .caffemodel, binary or HDF5.

    Layers are matched by name. A layer that only the file or only the net has is skipped, as in Caffe.

    Args:
        net: the Net.
        path: the file to read.

    Raises:
        ValueError: the file is damaged, does not fit the net, or holds NaN or infinite values.
        OSError: the file cannot be read.
    """
    path = os.fspath(path)
    if holds_hdf5(path):
        load_hdf5(net, path)
    else:
        stored = _read_proto(path, caffe_pb2.NetParameter())
        try:
            upgrade.net(stored, path)
            if not stored.layer:
                raise ValueError("holds no layers: not a .caffemodel")
            net.copy_trained_from(stored)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            if not np.isfinite(blob.data).all():
                raise ValueError(f"{path}: layer {name!r}, parameter {i} has NaN or infinite values")


def load_hdf5(net, path: str | os.PathLike) -> None:
    """Copy parameters from an HDF5 file written by `save_hdf5` or by Caffe.

    Args:
        net: the Net.
        path: the file to read.

    Raises:
        ValueError: the file is damaged or does not fit the net.
        OSError: the file cannot be read.
    """
    with atomic_files.hdf5(path) as file:
        if "data" not in file:
            raise ValueError(f"{path}: no group /data: not a file of weights")
        if not isinstance(file["data"], h5py.Group):
            raise ValueError(f"{path}: /data is not a group: not a file of weights")
        for name, stored in file["data"].items() if glog.nets else ():
            if name not in net.bottom_names:
                glog.info(f"Ignoring source layer {name}")
            elif isinstance(stored, h5py.Group) and len(stored):
                glog.once("Datatype class: H5T_FLOAT")
        owners: dict = {}
        for name, node in net.nodes_by_name().items():
            stored = file["data"].get(name)
            if stored is not None:
                _check_count(f"{path}: layer {name!r}", stored, len(node.parameters))
            for i, blob in enumerate(node.layer.blobs):
                location = f"{path}: layer {name!r}, parameter {i}"
                first = owners.setdefault(id(blob.owner), (name, i)) == (name, i)
                if stored is None:
                    continue
                if str(i) not in stored:
                    if first:
                        raise ValueError(f"{location}: missing")
                    continue  # a shared parameter, stored under the first layer that uses it
                values = hdf5_checks.read_numbers(
                    stored[str(i)], location, functools.partial(_check_weights, location, blob)
                )
                blob.data[...] = values.reshape(blob.shape)


def _check_count(location, stored, count):
    """ValueError where an HDF5 file has more parameters of a layer than the net."""
    if not isinstance(stored, h5py.Group):
        raise ValueError(f"{location}: not a group of parameters")
    # A group in a layer's group belongs to another layer, whose name has a slash.
    parameters = [key for key in stored if stored.get(key, getclass=True) is not h5py.Group]
    if len(parameters) > count:
        raise ValueError(f"{location}: {len(parameters)} parameters stored, the net has {count}")


def _check_weights(location, blob, stored):
    if not same_shape(stored, blob.shape):
        raise ValueError(f"{location}: stored shape {shown(stored)}, the net has {blob.shape}")


# Solver states


def proto_of(tensor: torch.Tensor) -> caffe_pb2.BlobProto:
    """Store a tensor in a BlobProto."""
    proto = caffe_pb2.BlobProto(shape=caffe_pb2.BlobShape(dim=tensor.shape))
    proto.data.extend(tensor.flatten().cpu().numpy())
    return proto


def history_of(state: caffe_pb2.SolverState, expected: list, path: str) -> list:
    """Read the history of a solver state.

    Args:
        state: the solver state.
        expected: tensors of the shapes that the history must have.
        path: the file of the state, for errors.

    Returns:
        CPU tensors, float32, of the shapes of `expected`.

    Raises:
        ValueError: the history does not fit, or has NaN or infinite values.
    """
    if len(state.history) != len(expected):
        raise ValueError(_other_count(path, len(state.history), len(expected)))
    _check_iteration(state, path)
    history = []
    for i, (proto, tensor) in enumerate(zip(state.history, expected, strict=True)):
        try:
            values = array_of(proto)
        except ValueError as error:
            raise ValueError(f"{path}: history {i}: {error}") from None
        _check_history(f"{path}: history {i}", tensor, values.shape)
        if not np.isfinite(values).all():
            raise ValueError(f"{path}: history {i} has NaN or infinite values")
        history.append(torch.from_numpy(values).reshape(tensor.shape))
    return history


def _check_iteration(state, path):
    for name in ("iter", "current_step"):
        if getattr(state, name) < 0:
            raise ValueError(f"{path}: damaged: {name} is {getattr(state, name)}")


def save_state(path: str | os.PathLike, state: caffe_pb2.SolverState) -> None:
    """Write a solver state, in HDF5 where the name ends in .h5.

    Raises:
        ValueError: the message is larger than 2 GB, or `path` names no file.
        OSError: the file cannot be written.
    """
    if not os.fspath(path).endswith(".h5"):
        _write_proto(path, state)
        return
    with atomic_files.new_hdf5(path) as file:
        file["iter"], file["current_step"] = np.int32([state.iter]), np.int32([state.current_step])
        name = state.learned_net.encode()
        file["learned_net"] = np.array(name, f"S{len(name) + 1}")  # with the zero byte that ends it in Caffe
        file["resume"] = np.frombuffer(state.resume, np.uint8)  # of this package; Caffe ignores it
        group = file.create_group("history")
        for i, proto in enumerate(state.history):
            group.create_dataset(str(i), data=array_of(proto))


def load_state(path: str | os.PathLike, expected: list | None = None) -> caffe_pb2.SolverState:
    """Read a solver state, in either form, of this package or of BVLC Caffe.

    Args:
        path: the file.
        expected: tensors of the shapes that the history must have; None accepts any.

    Returns:
        The state.

    Raises:
        ValueError: the file is not a solver state, is damaged, or does not fit `expected`.
        OSError: the file cannot be read.
    """
    path = os.fspath(path)
    if not holds_hdf5(path):
        state = _read_proto(path, caffe_pb2.SolverState())
        for name in ("iter", "learned_net", "current_step"):
            if not state.HasField(name):
                raise ValueError(f"{path}: no {name}: not a solver state")
        return state
    state, size = caffe_pb2.SolverState(), os.path.getsize(path)
    with atomic_files.hdf5(path) as file:
        for name in ("iter", "learned_net", "current_step", "history"):
            if name not in file:
                raise ValueError(f"{path}: no {name}: not a solver state")
        for name in ("iter", "current_step"):
            number = hdf5_checks.read_whole_number(file[name], f"{path}: {name}")
            if not 0 <= number < 2**31:
                raise ValueError(f"{path}: damaged: {name} is {number}")
            setattr(state, name, number)
        name = hdf5_checks.read_bytes(file["learned_net"], f"{path}: learned_net", size)
        try:
            state.learned_net = name.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{path}: damaged: learned_net holds bytes that are not text") from None
        if "\0" in state.learned_net:
            raise ValueError(f"{path}: damaged: learned_net holds bytes that are not text")
        if "resume" in file:
            state.resume = hdf5_checks.read_bytes(file["resume"], f"{path}: resume", size)
        count = len(file["history"])
        if expected is not None and count != len(expected):
            raise ValueError(_other_count(path, count, len(expected)))
        for i in range(count):
            location = f"{path}: history {i}"
            check = None if expected is None else functools.partial(_check_history, location, expected[i])
            values = hdf5_checks.read_numbers(file["history"].get(str(i)), location, check)
            state.history.append(proto_of(torch.from_numpy(values)))
    return state


def find_weights(state: str, stored: str) -> str:
    """Find the weights of a solver state.

    A file of the stored name in the state's folder is preferred where its contents differ: a state is moved
    together with its weights, and another run may then write to the stored path. BVLC Caffe always reads the
    stored path.

    Args:
        state: the path of the solver state.
        stored: the path of the weights, as stored in the state.

    Returns:
        The path of the weights to load.

    Raises:
        FileNotFoundError: neither file exists.
    """
    beside = os.path.join(os.path.dirname(state), os.path.basename(stored))
    if not os.path.exists(beside):
        if not os.path.exists(stored):
            raise FileNotFoundError(2, f"No such file or directory, nor one beside {state}", stored)
        return stored
    if os.path.exists(stored):
        if filecmp.cmp(stored, beside, shallow=False):
            return stored
        glog.warning(f"{state}: taking the weights beside it, {beside}; {stored}, which it names, has others")
    return beside


def _other_count(path, stored, expected):
    return (
        f"{path}: {stored} history blobs, this solver keeps {expected}: "
        "the state of another net or solver type"
    )


def _check_history(location, tensor, stored):
    if not same_shape(stored, tuple(tensor.shape)):
        raise ValueError(f"{location} has the shape {shown(stored)}, this net's is {tuple(tensor.shape)}")
