"""Prototxt files, and nets as they are built: layers chosen by rules, blobs read twice split."""

import os
from collections import Counter

from google.protobuf import text_format

from .proto import caffe_pb2


def read_prototxt(path, message):
    """Parse the text file at `path` into `message` and return it.

    OSError where it cannot be read; ValueError with file, line and field where it is not valid.
    """
    path = os.fspath(path)
    with open(path, encoding="utf-8") as file:
        try:
            return text_format.Parse(file.read(), message)
        except (text_format.ParseError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {error}") from None


def included(layer, state) -> bool:
    """Whether the include and exclude rules of a LayerParameter put it into a net of this NetState."""

    def met(rule):
        return (
            not (rule.HasField("phase") and rule.phase != state.phase)
            and not (rule.HasField("min_level") and state.level < rule.min_level)
            and not (rule.HasField("max_level") and state.level > rule.max_level)
            and all(stage in state.stage for stage in rule.stage)
            and not any(stage in state.stage for stage in rule.not_stage)
        )

    if layer.include and layer.exclude:
        raise ValueError(f"layer {layer.name!r}: give include rules or exclude rules, not both")
    if layer.include:
        return any(map(met, layer.include))
    return not any(map(met, layer.exclude))


def prepared(param: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """The net as it is built: legacy inputs as a layer, rules applied, blobs read twice split."""
    state, net = param.state, caffe_pb2.NetParameter()
    net.CopyFrom(param)
    del net.layer[:]
    if param.input:
        dims, shapes = list(param.input_dim), list(param.input_shape)
        if dims and len(dims) != 4 * len(param.input):
            raise ValueError("input_dim: four numbers are needed for each input")
        shapes = shapes or [caffe_pb2.BlobShape(dim=dims[4 * i : 4 * i + 4]) for i in range(len(dims) // 4)]
        spec = net.layer.add(name="input", type="Input", top=param.input)
        spec.input_param.shape.extend(shapes)
    net.layer.extend(layer for layer in param.layer if included(layer, state))
    return _with_splits(net)


def _with_splits(param):
    """Insert a Split after every blob that several layers read, under Caffe's names."""
    last = {}  # blob -> (layer index, top index) that wrote it last
    readers = Counter()
    wrote = {}  # (layer index, bottom index) -> (layer index, top index)
    for i, layer in enumerate(param.layer):
        for j, bottom in enumerate(layer.bottom):
            if bottom not in last:
                raise ValueError(f"layer {layer.name!r}: no layer before it has the top {bottom!r}")
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
                    spec.loss_weight[j] = 0
    return out
