"""Prototxt files, and nets as they are built: layers chosen by rules, a Split after every blob read twice."""

import math
import os
import re
from collections import Counter

from google.protobuf import text_format

from .proto import caffe_pb2


def read_prototxt(path, message):
    """Parse the text file at `path` into `message` and return it.

    In comments bytes of any encoding may stand; values are UTF-8. OSError where the file cannot be read;
    ValueError with file, line and field where it is not valid.
    """
    path = os.fspath(path)
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    if strange := re.search(r"[\0-\x08\x0e-\x1f]", text):
        raise ValueError(f"{path}: not a text file: it has the byte {ord(strange[0]):#04x}")
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        line = f"{error.GetLine()}: a value that is not UTF-8"
        words = " ".join(str(error).split())
        raise ValueError(f"{path}: {line if 'surrogates' in words else words[:_MOST_WORDS]}") from None
    except RecursionError:
        raise ValueError(f"{path}: messages within one another, deeper than any net has them") from None
    except Exception as error:  # protobuf's parser ends in any on some damaged texts, by its version
        if isinstance(error, MemoryError):
            raise
        raise ValueError(
            f"{path}: not a valid prototxt: {' '.join(str(error).split())[:_MOST_WORDS]}"
        ) from None


_MOST_WORDS = 1000  # characters of an error that are shown: protobuf's repeats the whole line of the file
# Infinity is a limit, or none, in other fields.
_FINITE = ("lr_mult", "decay_mult", "loss_weight", "blobs_lr", "weight_decay")


def check_numbers(message, finite=_FINITE) -> None:
    """Refuse numbers that no net is built of.

    Args:
        message: any message but for its weights, BlobProto.
        finite: names of the fields that infinity is wrong in; None for all.

    Raises:
        ValueError: a field holds NaN, or infinity where `finite` names it.
    """
    for field, value in message.ListFields():
        for one in value if hasattr(value, "extend") else [value]:
            if isinstance(one, float) and (
                math.isnan(one) or not (math.isfinite(one) or _may_be_infinite(field, finite))
            ):
                raise ValueError(f"{field.name} is {one:g}")
            if field.message_type is not None and field.message_type.name != "BlobProto":
                check_numbers(one, finite)


def _may_be_infinite(field, finite):
    return finite is not None and field.name not in finite


class LayerError(ValueError):
    """What is wrong with a layer; `layer` is its name."""

    def __init__(self, spec, error):
        super().__init__(f"layer {spec.name!r} ({spec.type}): {error}")
        self.layer = spec.name


def with_location(error, net, path=None, state=None) -> ValueError:
    """`error` with the net it is about in front, and the line of the layer where it is of one in a file.

    state: the NetState of the net; of layers of one name it tells those that are in.
    """
    layer = getattr(error, "layer", None)
    lines = _lines_of(path, layer) if layer is not None and path and os.path.isfile(path) else []
    if len(lines) > 1 and state is not None:
        named = [spec for spec in read_prototxt(path, caffe_pb2.NetParameter()).layer if spec.name == layer]
        if len(named) == len(lines):
            lines = [line for line, spec in zip(lines, named, strict=True) if included(spec, state)]
    where = f"line {' or '.join(map(str, lines))}: " if lines else ""
    words = str(error).removeprefix("net: ")  # what Net calls one without a file
    found = ValueError(f"{net}: {where}{words}")
    found.layer = layer
    return found


_TOKENS = re.compile(r"""#.*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[{}<>\n]|\w+""")


def _lines_of(path, layer):
    """The lines of a prototxt in which layers of that name begin, several where phases have their own."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    found, depth, line, begun, before = [], 0, 1, 1, ""
    for token in _TOKENS.findall(text):
        if token == "\n":
            line += 1
        elif token in "{<":
            depth += 1
            begun = line if depth == 1 else begun
        elif token in "}>":
            depth -= 1
        elif depth == 1 and before == "name" and token[1:-1] == layer:
            found.append(begun)
        before = token if token != "\n" else before
    return found


def included(layer, state) -> bool:
    """Whether the include and exclude rules of a LayerParameter put it into a net of this NetState."""

    if layer.include and layer.exclude:
        raise LayerError(layer, "give include rules or exclude rules, not both")
    met = any(not unmet_reason(rule, state) for rule in layer.include or layer.exclude)
    return met if layer.include else not met


def unmet_reason(rule, state) -> str:
    """Why a NetStateRule is not met, in Caffe's words; nothing where it is."""
    if rule.HasField("phase") and rule.phase != state.phase:
        return f"phase ({state.phase}) differed from the phase ({rule.phase})"
    if rule.HasField("min_level") and state.level < rule.min_level:
        return f"level ({state.level}) is above the min_level ({rule.min_level})"
    if rule.HasField("max_level") and state.level > rule.max_level:
        return f"level ({state.level}) is above the max_level ({rule.max_level})"
    for stage in rule.stage:
        if stage not in state.stage:
            return f"did not contain stage '{stage}'"
    for stage in rule.not_stage:
        if stage in state.stage:
            return f"contained a not_stage '{stage}'"
    return ""


def build_graph(param: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """The net as it is built: layers filtered by their rules, a Split after every blob read twice."""
    return _with_splits(filter_layers(param))


def filter_layers(param: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """The net with the layers that its state's rules leave in."""
    state, net = param.state, caffe_pb2.NetParameter()
    net.CopyFrom(param)
    del net.layer[:]
    net.layer.extend(layer for layer in param.layer if included(layer, state))
    return net


def _with_splits(param):
    """Insert a Split after every blob that several layers read, under Caffe's names."""
    last = {}  # blob -> (layer index, top index) that wrote it last
    readers = Counter()
    wrote = {}  # (layer index, bottom index) -> (layer index, top index)
    for i, layer in enumerate(param.layer):
        for j, bottom in enumerate(layer.bottom):
            if bottom not in last:
                raise LayerError(layer, f"no layer before it has the top {bottom!r}")
            wrote[i, j] = last[bottom]
            readers[last[bottom]] += 1
        for j, top in enumerate(layer.top):
            last[top] = (i, j)
        for j, weight in enumerate(layer.loss_weight):
            # a blob that counts as a loss and is read further is split too, the loss being one reader
            if weight and j < len(layer.top):
                readers[i, j] += 1
    weighted = {(i, j) for i, layer in enumerate(param.layer) for j, w in enumerate(layer.loss_weight) if w}

    def split_name(blob, layer_name, j, k):
        return f"{blob}_{layer_name}_{j}_split_{k}"

    used = Counter()
    out = caffe_pb2.NetParameter()
    out.CopyFrom(param)
    del out.layer[:]
    for i, layer in enumerate(param.layer):
        spec = out.layer.add()
        spec.CopyFrom(layer)
        for j, bottom in enumerate(layer.bottom):
            origin = wrote[i, j]
            if readers[origin] > 1:
                first = 1 if origin in weighted else 0
                name = param.layer[origin[0]].name
                spec.bottom[j] = split_name(bottom, name, origin[1], first + used[origin])
                used[origin] += 1
        for j, top in enumerate(layer.top):
            if readers[i, j] > 1:
                split = out.layer.add(name=f"{top}_{layer.name}_{j}_split", type="Split", bottom=[top])
                split.top.extend(split_name(top, layer.name, j, k) for k in range(readers[i, j]))
                if (i, j) in weighted:  # the weight goes to the split's first top
                    split.loss_weight.extend([layer.loss_weight[j]] + [0] * (readers[i, j] - 1))
                    del spec.loss_weight[:]  # all of them, as in Caffe; a loss then counts as 1 besides
    return out
