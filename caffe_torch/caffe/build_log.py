"""Caffe's log of how a net is built: its definition, its layers, and which of them run backward."""

import math

from . import glog
from .proto import caffe_pb2
from .prototxt import filter_layers, unmet_reason


def log(net, param: caffe_pb2.NetParameter) -> None:
    """Log how a net was built, in Caffe's words and order.

    Args:
        net: the Net.
        param: the NetParameter that it was built from.
    """
    for spec in param.layer:
        for rule in spec.include or spec.exclude:
            reason = unmet_reason(rule, param.state)
            if not reason:
                break
            glog.info(f"The NetState {reason} specified by a rule in layer {spec.name}")
    glog.info(f"Initializing net from parameters: \n{filter_layers(param)}")
    counts: list = []  # the number of values in each top so far
    owners: dict = {}  # name of a parameter -> the layer and index that use it first
    for layer in (node.layer for node in net.nodes):
        for line in _layer(layer, [net.blobs[name].shape for name in layer.spec.top], counts):
            glog.info(line)
        for i, param_spec in enumerate(layer.spec.param[: len(layer.blobs)]):
            name, position = param_spec.name, (layer.spec.name, i)
            owner = owners.setdefault(name, position) if name else position
            if owner != position:
                glog.info(f"Sharing parameters '{name}' owned by layer '{owner[0]}', param index {owner[1]}")
    for node in reversed(net.nodes):
        need = "needs" if node.needs_backward else "does not need"
        glog.info(f"{node.name} {need} backward computation.")
    for name in net.outputs:
        glog.info(f"This network produces output {name}")
    glog.info("Network initialization done.")


def _layer(layer, shapes, counts):
    name, bottoms, tops = layer.spec.name, layer.spec.bottom, layer.spec.top
    yield f"Creating layer {name}"
    yield from layer.opening_lines
    yield f"Creating Layer {name}"
    for bottom in bottoms:
        yield f"{name} <- {bottom}"
    for i, top in enumerate(tops):
        top_name = "(automatic)" if top.startswith("(automatic)") else top
        yield f"{name} -> {top_name}" + (" (in-place)" if top in bottoms[i : i + 1] else "")
    if layer.type == "HDF5Data":
        yield f"Loading list of HDF5 filenames from: {layer.opt.source}"
        yield f"Number of HDF5 files: {len(layer.paths)}"
        if layer.floats:
            glog.once("Datatype class: H5T_FLOAT")
    elif layer.type in ("SoftmaxWithLoss", "InfogainLoss") or (layer.type == "Scale" and layer.opt.bias_term):
        yield f"Creating layer {name}"  # Caffe's layer contains another one
    yield from layer.setup_lines
    yield f"Setting up {name}"
    for shape, weight in zip(shapes, layer.loss_weights(), strict=True):
        counts.append(math.prod(shape))
        yield f"Top shape: {''.join(f'{n} ' for n in shape)}({counts[-1]})"
        if weight:
            yield f"    with loss weight {weight:g}"
    yield f"Memory required for data: {4 * sum(counts)}"
