"""The released models, models/NAME/ with a card readme.md each, and readers for Caffe's files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from two_stream_fusion.base.files import TEXT_LIMIT, check_regular

if TYPE_CHECKING:
    import argparse

    import caffe
    from caffe.proto import caffe_pb2
    from google.protobuf.message import Message

DEFAULT = "2-1-2_f64_k5-defocus"
FAST = "2-1-2_f32_k3-defocus"
CAFFEMODEL_LIMIT = 2**31 - 1  # bytes: the longest message of protobuf
CARD_KEYS = ("method", "net", "caffemodel", "sha256")  # the lines KEY: VALUE that every card has

_PACKAGE = Path(__file__).resolve().parents[1]
M = TypeVar("M", bound="Message")


def data_folder() -> Path:
    """The folder that holds models/ and prototxt/.

    An installed wheel has them inside the package, a checkout at its root.
    """
    return _PACKAGE if (_PACKAGE / "models").is_dir() else _PACKAGE.parent


def names(method: str = "two_stream") -> list[str]:
    """The names of the models of a method, sorted. Errors as `card`."""
    return [name for name in _all_names() if card(name)["method"] == method]


def card(name: str) -> dict[str, str]:
    """Read the head of a model's card.

    Args:
        name: of the model, a folder of models/.

    Returns:
        {key: value}, with the keys CARD_KEYS and others such as name, license and recipe.

    Raises:
        ValueError: there is no such model, or its readme.md lacks one of CARD_KEYS.
    """
    path = data_folder() / "models" / name / "readme.md"
    if name not in _all_names():
        raise ValueError(f"no model {name!r}: there are {', '.join(_all_names()) or 'none'}")
    _, *head = path.read_text(encoding="utf-8").split("---", 2)
    values = dict(line.split(": ", 1) for line in (head or [""])[0].splitlines() if ": " in line)
    missing = [key for key in CARD_KEYS if key not in values]
    if missing:
        raise ValueError(f"{path}: no line {missing[0]!r}: between --- and --- it has {', '.join(CARD_KEYS)}")
    return values


def model_files(name: str, *methods: str) -> tuple[Path, Path]:
    """Find the files of a model.

    Args:
        name: of the model.
        methods: those that it may be of; any where none is given.

    Returns:
        The paths of its deploy.prototxt and its .caffemodel.

    Raises:
        ValueError: there is no such model, it belongs to another method, or its weights are missing or
            damaged.
    """
    head = card(name)
    if methods and head["method"] not in methods:
        others = ", ".join(other for method in methods for other in names(method))
        raise ValueError(f"{name} is a model of {head['method']}, {methods[0]} has {others}")
    weights = data_folder() / "models" / name / head["caffemodel"]
    if not weights.is_file():
        raise ValueError(f"{weights}: does not exist, though its readme.md names it")
    if hashlib.sha256(weights.read_bytes()).hexdigest() != head["sha256"]:
        raise ValueError(f"{weights}: not the file its readme.md describes (sha256 differs)")
    return data_folder() / "prototxt" / head["net"] / "deploy.prototxt", weights


def add_model_arguments(parser: argparse._ActionsContainer) -> None:
    """Add --model, --net and --weights to an argparse parser or group; `resolve_model` reads them.

    Args:
        parser: an ArgumentParser or a group of one.
    """
    parser.add_argument("--model", metavar="NAME", help=f"a model of models/ (default: {DEFAULT})")
    parser.add_argument("--net", metavar="DEPLOY", help="a deploy.prototxt instead; needs --weights")
    parser.add_argument("--weights", metavar="CAFFEMODEL", help="weights for --net")


def resolve_model(
    model: str | None = None,
    net: str | Path | None = None,
    weights: str | Path | None = None,
    *methods: str,
) -> tuple[str | Path, str | Path]:
    """Find the files that --model, --net and --weights name.

    Args:
        model: a released model; None for DEFAULT.
        net, weights: a deploy.prototxt and its weights, in place of a model.
        methods: as for `model_files`.

    Returns:
        The paths of the deploy.prototxt and the weights.

    Raises:
        ValueError: `net` and `weights` are not given together or beside a model, or as `model_files`.
    """
    if (net is None) != (weights is None):
        raise ValueError("net and weights go together")
    if net is None or weights is None:
        return model_files(DEFAULT if model is None else model, *methods)
    if model is not None:
        raise ValueError("either a model, or net and weights")
    return net, weights


def open_net(deploy: str | Path, weights: str | Path) -> caffe.Net:
    """Open a net with its weights.

    Args:
        deploy: path of a deploy.prototxt.
        weights: path of a .caffemodel or an HDF5 file of weights.

    Returns:
        The caffe.Net, in phase TEST.

    Raises:
        OSError: a file is missing.
        ValueError: a file is not of its kind, or the weights lack a layer of the net. Caffe would leave that
            layer as its fillers initialise it.
    """
    import caffe  # late: names and cards need no Caffe

    for path in (deploy, weights):
        if not Path(path).is_file():
            raise FileNotFoundError(f"no such file: {path}")
    layers = _layers_with_weights(weights)
    net = caffe.Net(str(deploy), caffe.TEST, weights=str(weights))
    missing = [name for name in net.params if name not in layers]
    if missing:
        existing = ", ".join(name for name, filled in layers.items() if filled) or "no layers"
        raise ValueError(f"{weights}: no weights for {', '.join(missing)} of {deploy}; it has {existing}")
    return net


def read_prototxt(path: str | Path, message: M) -> M:
    """Read a prototxt into a protobuf message.

    Args:
        path: of the prototxt. Bytes that are not UTF-8, as in old comments, are replaced.
        message: an empty message of Caffe's, such as a NetParameter.

    Returns:
        `message`, filled.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not such a message, a net in a format from before 2015, not a file, or too large.
    """
    from google.protobuf import text_format  # late: names and cards need no Caffe

    check_regular(path, TEXT_LIMIT)
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        text = file.read().encode("utf-8", "replace").decode()
    try:
        text_format.Merge(text, message)
    except text_format.ParseError as error:
        raise ValueError(f"{path}: {error}") from None
    if getattr(message, "layers", None):
        raise ValueError(f"{path}: a net from before 2015; BVLC Caffe's upgrade_net_proto_text rewrites it")
    return message


def read_caffemodel(path: str | Path) -> caffe_pb2.NetParameter:
    """Read the NetParameter of a .caffemodel.

    Args:
        path: of the .caffemodel.

    Returns:
        The net with its blobs.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a caffemodel, or no file on a disk.
    """
    from caffe.proto import caffe_pb2  # late: names and cards need no Caffe

    check_regular(path, CAFFEMODEL_LIMIT)
    data, net = Path(path).read_bytes(), caffe_pb2.NetParameter()
    try:
        net.ParseFromString(data)
    except Exception:  # DecodeError, whose module depends on the version of protobuf
        raise ValueError(f"{path}: not a caffemodel") from None
    return net


def _layers_with_weights(path):
    """{layer: whether the file has blobs for it}; ValueError where the file is not one of weights.

    In HDF5 a layer that shares its parameters with an earlier one has an empty group.
    """
    import h5py

    check_regular(path)
    if h5py.is_hdf5(path):
        try:
            with h5py.File(path, "r") as file:
                return {name: len(group) > 0 for name, group in file.get("data", {}).items()}
        except (OSError, RuntimeError, KeyError, TypeError, AttributeError):  # a damaged part, or no groups
            raise ValueError(f"{path}: not a complete HDF5 file of weights") from None
    net = read_caffemodel(path)
    return {layer.name: True for layer in (*net.layer, *net.layers) if layer.blobs}


def _all_names():
    return sorted(path.parent.name for path in (data_folder() / "models").glob("*/readme.md"))
