"""Upgrades nets of 2013, `layers { layer { name type } }`, to the form of 2014, `layers { name type }`."""

from __future__ import annotations

import os

from . import glog
from .proto import caffe_pb2
from .prototxt import LayerError

# The type of a layer in 2013 -> its type in 2014, and the field of its settings.
_TYPES = {
    "accuracy": ("ACCURACY", ""),
    "bnll": ("BNLL", ""),
    "concat": ("CONCAT", "concat_param"),
    "conv": ("CONVOLUTION", "convolution_param"),
    "data": ("DATA", "data_param"),
    "dropout": ("DROPOUT", "dropout_param"),
    "euclidean_loss": ("EUCLIDEAN_LOSS", ""),
    "flatten": ("FLATTEN", ""),
    "hdf5_data": ("HDF5_DATA", "hdf5_data_param"),
    "hdf5_output": ("HDF5_OUTPUT", ""),
    "im2col": ("IM2COL", ""),
    "images": ("IMAGE_DATA", "image_data_param"),
    "infogain_loss": ("INFOGAIN_LOSS", "infogain_loss_param"),
    "innerproduct": ("INNER_PRODUCT", "inner_product_param"),
    "lrn": ("LRN", "lrn_param"),
    "multinomial_logistic_loss": ("MULTINOMIAL_LOGISTIC_LOSS", ""),
    "pool": ("POOLING", "pooling_param"),
    "relu": ("RELU", ""),
    "sigmoid": ("SIGMOID", ""),
    "softmax": ("SOFTMAX", ""),
    "softmax_loss": ("SOFTMAX_LOSS", ""),
    "split": ("SPLIT", ""),
    "tanh": ("TANH", ""),
    "window_data": ("WINDOW_DATA", "window_data_param"),
}
_FILTERS, _SOURCES = ("conv", "innerproduct"), ("data", "hdf5_data", "images", "window_data")
# A field of 2013, its name among the settings of 2014, and the types that have it; in BVLC Caffe's order.
_FIELDS = (
    ("num_output", "num_output", _FILTERS),
    ("biasterm", "bias_term", _FILTERS),
    ("weight_filler", "weight_filler", _FILTERS),
    ("bias_filler", "bias_filler", _FILTERS),
    ("pad", "pad", ("conv", "pool")),
    ("kernelsize", "kernel_size", ("conv", "pool")),
    ("group", "group", ("conv",)),
    ("stride", "stride", ("conv", "pool")),
    ("pool", "pool", ("pool",)),
    ("dropout_ratio", "dropout_ratio", ("dropout",)),
    ("local_size", "local_size", ("lrn",)),
    ("alpha", "alpha", ("lrn",)),
    ("beta", "beta", ("lrn",)),
    ("k", "k", ("lrn",)),
    ("source", "source", (*_SOURCES, "infogain_loss")),
    ("batchsize", "batch_size", _SOURCES),
    ("rand_skip", "rand_skip", ("data", "images")),
    ("shuffle_images", "shuffle", ("images",)),
    ("new_height", "new_height", ("images",)),
    ("new_width", "new_width", ("images",)),
    ("concat_dim", "concat_dim", ("concat",)),
    ("det_fg_threshold", "fg_threshold", ("window_data",)),
    ("det_bg_threshold", "bg_threshold", ("window_data",)),
    ("det_fg_fraction", "fg_fraction", ("window_data",)),
    ("det_context_pad", "context_pad", ("window_data",)),
    ("det_crop_mode", "crop_mode", ("window_data",)),
)
# A field of 2013 that any layer may have, and its name in transform_param.
_TRANSFORMATION = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}


def needed(net: caffe_pb2.NetParameter) -> bool:
    """Whether a net has layers in the form of 2013."""
    return any(layer.HasField("layer") for layer in net.layers)


def upgrade(net: caffe_pb2.NetParameter, path: str | os.PathLike | None = None) -> None:
    """Upgrade the `layers` of a net in place. A padding layer becomes the `pad` of the layers that read it.

    A field that the layer's type does not have is dropped, with an error in the log, as by BVLC Caffe.

    Args:
        net: the net.
        path: its file; the upgrade is logged only if there is one.

    Raises:
        ValueError: BVLC Caffe has no such layer type, or a padding layer is read by other layers than
            convolutions and poolings.
    """
    logs = path and glog.nets
    if logs:
        old = "file specified using deprecated V0LayerParameter"
        glog.info(f"Attempting to upgrade input {old}: {path}")
    pairs = [(layer, _upgraded(layer)) for layer in _without_padding(net)]
    dropped = [_move_settings(old.layer, new) for old, new in pairs]
    net.ClearField("layers")
    net.layers.extend(new for _, new in pairs)
    if any(dropped):
        glog.error(
            "Warning: had one or more problems upgrading V0NetParameter to NetParameter (see above); "
            "continuing anyway."
        )
    elif logs:
        glog.info(f"Successfully upgraded {old}")
    if logs:
        glog.warning(
            "Note that future Caffe releases will not support V0NetParameter; "
            "use ./build/tools/upgrade_net_proto_text for prototxt and "
            "./build/tools/upgrade_net_proto_binary for model weights upgrade this and any other net protos "
            "to the new format."
        )


def _without_padding(net):
    """The layers but those of type padding, whose readers get their `pad` and bottom."""
    writers = dict.fromkeys(net.input)  # blob -> the layer that wrote it last; None: an input
    kept = []
    for layer in net.layers:
        if not layer.HasField("layer"):
            raise ValueError(f"layer {layer.name!r}: `layers` of 2013 and of 2014 in one net: use one form")
        new = caffe_pb2.V1LayerParameter()
        new.CopyFrom(layer)
        for j, bottom in enumerate(layer.bottom):
            if bottom not in writers:
                raise LayerError(layer.layer, f"no layer before it has the top {bottom!r}")
            writer = writers[bottom]
            if writer is not None and writer.layer.type == "padding":
                _check_padding(writer, layer)
                new.layer.pad = writer.layer.pad
                new.bottom[j] = writer.bottom[0]
        writers.update(dict.fromkeys(layer.top, layer))
        if layer.layer.type != "padding":
            kept.append(new)
    return kept


def _check_padding(padding, reader):
    """LayerError where a padding layer cannot be merged into the layer that reads it."""
    if reader.layer.type not in ("conv", "pool"):
        raise LayerError(
            reader.layer,
            f"reads the padding layer {padding.layer.name!r}: only conv and pool may, "
            "which then have its pad themselves",
        )
    if len(reader.bottom) != 1:
        raise LayerError(reader.layer, f"has {len(reader.bottom)} bottoms, needs 1")
    for end, names in (("bottom", padding.bottom), ("top", padding.top)):
        if len(names) != 1:
            raise LayerError(padding.layer, f"has {len(names)} {end}s, needs 1")


def _upgraded(layer):
    """The layer of 2014, without the settings of its type."""
    old = layer.layer
    new = caffe_pb2.V1LayerParameter(bottom=layer.bottom, top=layer.top)
    if old.HasField("name"):
        new.name = old.name
    if old.type not in _TYPES:
        raise LayerError(
            old, f"type {old.type!r} did not exist in 2013; known are {', '.join(_TYPES)}, padding"
        )
    new.type = new.LayerType.Value(_TYPES[old.type][0])
    for name in ("blobs", "blobs_lr", "weight_decay"):
        getattr(new, name).extend(getattr(old, name))
    for name, field in _TRANSFORMATION.items():
        if old.HasField(name):
            setattr(new.transform_param, field, getattr(old, name))
    return new


def _move_settings(old, new):
    """Write the settings of a V0LayerParameter to a V1LayerParameter; whether any was dropped."""
    dropped = []
    for name, field, types in _FIELDS:
        if old.HasField(name) and old.type in types:
            _set(getattr(new, _TYPES[old.type][1]), field, getattr(old, name))
        elif old.HasField(name):
            dropped.append(field if name == "shuffle_images" else name)
    if old.HasField("hdf5_output_param") and old.type == "hdf5_output":
        new.hdf5_output_param.CopyFrom(old.hdf5_output_param)
    elif old.HasField("hdf5_output_param"):
        dropped.append("hdf5_output_param")
    for name in dropped:
        glog.error(f"Unknown parameter {name} for layer type {old.type}")
    return bool(dropped)


def _set(message, field, value):
    """Set a field that is a number, a message, or repeated in 2014."""
    current = getattr(message, field)
    if hasattr(current, "CopyFrom"):
        current.CopyFrom(value)
    elif hasattr(current, "append"):
        current.append(value)
    else:
        setattr(message, field, value)
