"""The trained models that ship with the project, models/NAME/ with a readme.md that is their card; and how
any prototxt and caffemodel is read."""

from __future__ import annotations

import hashlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = "2-1-2_f64_k5-defocus"
FAST = "2-1-2_f32_k3-defocus"
HEAD = ("method", "net", "caffemodel", "sha256")  # what the head of a readme.md has, as KEY: VALUE


def names(method="two_stream") -> list[str]:
    """Names of the models of a method, sorted."""
    return [name for name in _all() if card(name)["method"] == method]


def card(name) -> dict[str, str]:
    """The head of a model's readme.md: name, method, net, caffemodel, sha256, license, ...

    ValueError for a name that is none, such as that of a model which is not trained yet, and for a readme
    without the lines of HEAD.
    """
    path = ROOT / "models" / name / "readme.md"
    if not path.is_file():
        raise ValueError(f"no model {name!r}: there are {', '.join(_all()) or 'none'}")
    _, *head = path.read_text(encoding="utf-8").split("---", 2)
    found = dict(line.split(": ", 1) for line in (head or [""])[0].splitlines() if ": " in line)
    lacking = [key for key in HEAD if key not in found]
    if lacking:
        raise ValueError(f"{path}: no line {lacking[0]!r}: between --- and --- it has {', '.join(HEAD)}")
    return found


def files(name, method=None) -> tuple[Path, Path]:
    """The deploy.prototxt and the .caffemodel of a model.

    ValueError where there is no such model, it is not of the `method` named, or its weights are not whole.
    """
    head = card(name)
    if method not in (None, head["method"]):
        raise ValueError(f"{name} is a model of {head['method']}, {method} has {', '.join(names(method))}")
    weights = ROOT / "models" / name / head["caffemodel"]
    if not weights.is_file():
        raise ValueError(f"{weights}: not there, though its readme.md names it")
    if hashlib.sha256(weights.read_bytes()).hexdigest() != head["sha256"]:
        raise ValueError(f"{weights}: not the file its readme.md describes (sha256 differs)")
    return ROOT / "prototxt" / head["net"] / "deploy.prototxt", weights


def open_net(deploy, weights):
    """The caffe.Net of a deploy.prototxt and weights for it, .caffemodel or HDF5, in phase TEST.

    OSError where a file is missing; ValueError where a file is not what it should be, or where the weights
    have nothing for a layer: Caffe would leave that as its fillers have it.
    """
    import caffe  # late: names and cards need no Caffe

    for path in (deploy, weights):
        if not Path(path).is_file():
            raise FileNotFoundError(f"no such file: {path}")
    given = _layers(weights)
    net = caffe.Net(str(deploy), caffe.TEST, weights=str(weights))
    lacking = [name for name in net.params if name not in given]
    if lacking:
        there = ", ".join(name for name, filled in given.items() if filled) or "no layers"
        raise ValueError(f"{weights}: nothing for {', '.join(lacking)} of {deploy}; it has {there}")
    return net


def _layers(weights):
    """{layer: whether there is something for it} of a file of weights; ValueError where it is none.

    In HDF5 a layer that shares its parameters with an earlier one has nothing of its own.
    """
    import h5py

    if h5py.is_hdf5(weights):
        with h5py.File(weights, "r") as file:
            return {name: len(group) > 0 for name, group in file.get("data", {}).items()}
    net = parse(weights)
    return {layer.name: True for layer in (*net.layer, *net.layers) if layer.blobs}


def read_prototxt(path, message):
    """Fill a protobuf message of Caffe's from the prototxt at `path`; returns it.

    Bytes that are not UTF-8, as in old comments, do not matter. OSError where there is no such file,
    ValueError where it is not such a message, or a net as they were before 2015.
    """
    from google.protobuf import text_format  # late: names and cards need no Caffe

    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        text = file.read().encode("utf-8", "replace").decode()
    try:
        text_format.Merge(text, message)
    except text_format.ParseError as error:
        raise ValueError(f"{path}: {error}") from None
    if getattr(message, "layers", None):
        raise ValueError(f"{path}: a net of before 2015; BVLC Caffe's upgrade_net_proto_text rewrites it")
    return message


def parse(caffemodel):
    """The NetParameter that a .caffemodel holds; ValueError where it is none."""
    from caffe.proto import caffe_pb2

    data, net = Path(caffemodel).read_bytes(), caffe_pb2.NetParameter()
    try:
        net.ParseFromString(data)
    except Exception:  # DecodeError, whose home depends on the version of protobuf
        raise ValueError(f"{caffemodel}: not a caffemodel") from None
    return net


def _all():
    return sorted(path.parent.name for path in (ROOT / "models").glob("*/readme.md"))
