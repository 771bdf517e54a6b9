"""Upgrades nets and solvers of deprecated forms, and logs it in Caffe's words."""

from __future__ import annotations

import os

from . import glog, layers, solvers, upgrade_v0
from .proto import caffe_pb2


def net(param: caffe_pb2.NetParameter, path: str | os.PathLike | None = None) -> None:
    """Upgrade a net in place: `layers` to `layer`, input fields to an Input layer, BatchNorm's rates to 0.

    The `layers` of 2013 are upgraded by upgrade_v0.py first.

    Args:
        param: the net.
        path: its file; the upgrade is logged only if there is one.

    Raises:
        ValueError: the net has `layer` and `layers`, or input_dim has not four numbers for each input.
    """
    if upgrade_v0.needed(param):
        upgrade_v0.upgrade(param, path)
    _move_transformation(param, path)
    if param.layers:
        if path and glog.nets:
            old = "file specified using deprecated V1LayerParameter"
            glog.info(f"Attempting to upgrade input {old}: {path}")
        if param.layer:
            raise ValueError("has both `layer` and `layers`, which is the older form: use one of them")
        param.layer.extend(map(_layer, param.layers))
        param.ClearField("layers")
        if path and glog.nets:
            glog.info(f"Successfully upgraded {old}")
    if param.input:
        if path and glog.nets:
            glog.info(f"Attempting to upgrade input file specified using deprecated input fields: {path}")
        _inputs(param)
        if path and glog.nets:
            glog.info("Successfully upgraded file specified using deprecated input fields.")
            glog.warning(
                "Note that future Caffe releases will only support input layers and not input fields."
            )
    statistics = [layer for layer in param.layer if layer.type == "BatchNorm" and len(layer.param) == 3]
    for spec in (spec for layer in statistics for spec in layer.param):
        spec.lr_mult = spec.decay_mult = 0
    if statistics and path and glog.nets:
        glog.info(f"Attempting to upgrade batch norm layers using deprecated params: {path}")
        glog.info("Successfully upgraded batch norm layers using deprecated params.")


def _layer(old):
    """The LayerParameter of a V1LayerParameter."""
    spec = caffe_pb2.LayerParameter()
    for field, value in old.ListFields():
        if field.name not in ("type", "param", "blob_share_mode", "blobs_lr", "weight_decay"):
            target = getattr(spec, field.name)
            if hasattr(target, "CopyFrom"):
                target.CopyFrom(value)
            elif hasattr(target, "extend"):
                target.extend(value)
            else:
                setattr(spec, field.name, value)
    name = old.LayerType.Name(old.type)
    types = {type_name.upper(): type_name for type_name in layers.type_list()}
    spec.type = {**types, "SOFTMAXLOSS": "SoftmaxWithLoss"}.get(name.replace("_", ""), name)
    for ours, theirs in (
        ("name", old.param),
        ("share_mode", old.blob_share_mode),
        ("lr_mult", old.blobs_lr),
        ("decay_mult", old.weight_decay),
    ):
        for i, value in enumerate(theirs):
            while len(spec.param) <= i:
                spec.param.add()
            setattr(spec.param[i], ours, value)
    return spec


_SETTINGS = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}


def _move_transformation(param, path):
    """Move the transformation fields that data layers had before 2014 to transform_param."""
    moved = [
        (layer, getattr(layer, _SETTINGS[type_name]), name)
        for layer in param.layers
        if (type_name := layer.LayerType.Name(layer.type)) in _SETTINGS
        for name in ("scale", "mean_file", "crop_size", "mirror")
        if getattr(layer, _SETTINGS[type_name]).HasField(name)
    ]
    if moved and path and glog.nets:
        old = "file specified using deprecated transformation parameters"
        glog.info(f"Attempting to upgrade input {old}: {path}")
    for layer, settings, name in moved:
        setattr(layer.transform_param, name, getattr(settings, name))
        settings.ClearField(name)
    if moved and path and glog.nets:
        glog.info("Successfully upgraded file specified using deprecated data transformation parameters.")
        glog.warning(
            "Note that future Caffe releases will only support transform_param messages for transformation "
            "fields."
        )


def _inputs(param):
    dims, shapes = list(param.input_dim), list(param.input_shape)
    if dims and len(dims) != 4 * len(param.input):
        raise ValueError("input_dim: four numbers are needed for each input")
    shapes = shapes or [caffe_pb2.BlobShape(dim=dims[4 * i : 4 * i + 4]) for i in range(len(dims) // 4)]
    inputs = list(param.input)
    for name in ("input", "input_dim", "input_shape"):
        param.ClearField(name)
    if not shapes:  # the names say nothing then: a layer has to make those blobs
        return
    spec = caffe_pb2.LayerParameter(name="input", type="Input", top=inputs)
    spec.input_param.shape.extend(shapes)
    param.layer.insert(0, spec)


def solver(param: caffe_pb2.SolverParameter, path: str | os.PathLike) -> None:
    """Upgrade a solver in place: solver_type to type. Complete its snapshot_prefix.

    Args:
        param: the solver.
        path: its file; snapshots are named after it where the prefix has no file name.

    Raises:
        ValueError: the solver has both types.
    """
    if param.HasField("solver_type"):
        old = "file specified using deprecated 'solver_type' field (enum)"
        glog.info(f"Attempting to upgrade input {old}': {path}")
        try:
            param.type = solvers.rule_of(param).__name__
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        param.ClearField("solver_type")
        glog.info(f"Successfully upgraded {old} to 'type' field (string).")
        glog.warning(
            "Note that future Caffe releases will only support 'type' field (string) for a solver's type."
        )
    folder, name = os.path.split(os.fspath(path))
    stem = os.path.splitext(name)[0]
    if not param.snapshot_prefix:
        param.snapshot_prefix = os.path.join(folder, stem)
        glog.info(f"snapshot_prefix was not specified and is set to {param.snapshot_prefix}")
    elif os.path.isdir(param.snapshot_prefix):
        param.snapshot_prefix = os.path.join(param.snapshot_prefix, stem)
        glog.info(f"snapshot_prefix was a directory and is replaced to {param.snapshot_prefix}")
