"""Prototxt files; and the graph of a net: layers filtered by rules, a Split after every blob read twice."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from .bounded_files import read_text
from .proto import caffe_pb2

_Message = TypeVar("_Message", bound=Message)


def read_prototxt(path: str | os.PathLike, message: _Message) -> _Message:
    """Parse a prototxt.

    Args:
        path: the file. Values are UTF-8; comments may have any encoding.
        message: the message to parse into.

    Returns:
        `message`.

    Raises:
        ValueError: the text is not valid; the message has the file, line and field. Or the file is a device,
            or too large.
        OSError: the file cannot be read.
    """
    path = os.fspath(path)
    text = read_text(path)
    if control := re.search(r"[\0-\x08\x0e-\x1f]", text):
        raise ValueError(f"{path}: not a text file: it has the byte {ord(control[0]):#04x}")
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        line = f"{error.GetLine()}: a value that is not UTF-8"
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: {line if 'surrogates' in reason else reason[:_MAX_LENGTH]}") from None
    except RecursionError:
        raise ValueError(f"{path}: messages within one another, deeper than in any net") from None
    except Exception as error:  # some versions of protobuf's parser raise other errors on damaged texts
        if isinstance(error, MemoryError):
            raise
        raise ValueError(
            f"{path}: not a valid prototxt: {' '.join(str(error).split())[:_MAX_LENGTH]}"
        ) from None


_MAX_LENGTH = 1000  # characters shown of an error: protobuf's repeats the whole line of the file
# Fields that must be finite. In others infinity stands for no limit.
_FINITE = ("lr_mult", "decay_mult", "loss_weight", "blobs_lr", "weight_decay")


def check_numbers(message: Message, finite: tuple | None = _FINITE) -> None:
    """Refuse NaN and misplaced infinity.

    Args:
        message: any message; weights (BlobProto) within it are not checked.
        finite: names of the fields that must be finite; None for all.

    Raises:
        ValueError: a field holds NaN, or infinity where it must be finite.
    """
    for field, value in message.ListFields():
        for item in value if hasattr(value, "extend") else [value]:
            if isinstance(item, float) and (
                math.isnan(item) or not (math.isfinite(item) or _may_be_infinite(field, finite))
            ):
                raise ValueError(f"{field.name} is {item:g}")
            if field.message_type is not None and field.message_type.name != "BlobProto":
                check_numbers(item, finite)


def _may_be_infinite(field, finite):
    return finite is not None and field.name not in finite


class LayerError(ValueError):
    """An error of a layer; the attribute `layer` is the layer's name."""

    def __init__(self, spec, error):
        super().__init__(f"layer {spec.name!r} ({spec.type}): {error}")
        self.layer = spec.name


def with_location(
    error: ValueError,
    net: object,
    path: str | os.PathLike | None = None,
    state: caffe_pb2.NetState | None = None,
) -> ValueError:
    """Put the place of an error in front of its message.

    Args:
        error: the error; a LayerError names a layer.
        net: the name of the net.
        path: the prototxt of the net, if it has one: the line of the layer is looked up there.
        state: the net's state: only layers of its phase are meant.

    Returns:
        A ValueError with the longer message.
    """
    layer = getattr(error, "layer", None)
    lines = _lines_of(path, layer) if layer is not None and path and os.path.isfile(path) else []
    if len(lines) > 1 and state is not None:
        named = [spec for spec in read_prototxt(path, caffe_pb2.NetParameter()).layer if spec.name == layer]
        if len(named) == len(lines):
            lines = [line for line, spec in zip(lines, named, strict=True) if included(spec, state)]
    line_prefix = f"line {' or '.join(map(str, lines))}: " if lines else ""
    reason = str(error).removeprefix("net: ")  # Net's name for a net without a file
    located = ValueError(f"{net}: {line_prefix}{reason}")
    located.layer = layer  # for an outer `with_location`
    return located


_TOKENS = re.compile(r"""#.*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[{}<>\n]|\w+""")


def _lines_of(path, layer):
    """The lines of a prototxt in which layers of this name begin: several where each phase has its own."""
    if not os.path.isfile(path):  # a pipe, whose text is gone
        return []
    text = read_text(path)
    lines, fields, line, first_line, previous = [], [], 1, 1, ""
    for token in _TOKENS.findall(text):
        if token == "\n":
            line += 1
        elif token in "{<":
            fields.append(previous)
            first_line = line if len(fields) == 1 else first_line
        elif token in "}>":
            del fields[-1:]
        elif previous == "name" and token[1:-1] == layer and fields and fields[1:] in ([], ["layer"]):
            lines.append(first_line)  # "layer" within `layers` is the form of 2013
        previous = token if token != "\n" else previous
    return lines


def included(layer: caffe_pb2.LayerParameter, state: caffe_pb2.NetState) -> bool:
    """Whether the include and exclude rules of a layer put it into a net of this state.

    Raises:
        LayerError: the layer has rules of both kinds.
    """
    if layer.include and layer.exclude:
        raise LayerError(layer, "give include rules or exclude rules, not both")
    met = any(not unmet_reason(rule, state) for rule in layer.include or layer.exclude)
    return met if layer.include else not met


def unmet_reason(rule: caffe_pb2.NetStateRule, state: caffe_pb2.NetState) -> str:
    """Why a rule is not met, in Caffe's words; "" where it is met."""
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
    """Filter the layers of a net by their rules, and insert a Split after every blob read twice.

    Raises:
        LayerError: a layer reads a blob that no layer before it makes, or has rules of both kinds.
    """
    return _with_splits(filter_layers(param))


def filter_layers(param: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """Remove the layers of a net that the rules exclude in its state.

    Raises:
        LayerError: a layer has rules of both kinds.
    """
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
            # The loss is one reader: a blob with a loss weight that a layer reads too is split.
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
                if (i, j) in weighted:  # the weight moves to the split's first top
                    split.loss_weight.extend([layer.loss_weight[j]] + [0] * (readers[i, j] - 1))
                    del spec.loss_weight[:]  # all of them, as in Caffe: a loss layer then has weight 1 again
    return out
