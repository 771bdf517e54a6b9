"""The parameters of a net: shared with another net, copied, read and written."""

from __future__ import annotations

import os

from . import glog, snapshot
from .proto import caffe_pb2


class NetWeights:
    """The part of `Net` that concerns weights. snapshot.py reads and writes the files."""

    def nodes_by_name(self) -> dict:
        """The nodes by name, in their order. Of several of one name it is the one that has parameters."""
        learning = {node.name for node in self.nodes if node.parameters}
        return {node.name: node for node in self.nodes if node.parameters or node.name not in learning}

    def share_with(self, other) -> None:
        """Use the parameters of another net, in the layers of the same names; later changes are shared too.

        Args:
            other: a Net.

        Raises:
            ValueError: a layer has another number of parameters there, or other shapes.
        """
        others = other.nodes_by_name()
        for name, node in self.nodes_by_name().items():
            if name not in others:
                continue
            theirs = others[name].layer.blobs
            if len(theirs) != len(node.parameters):
                raise ValueError(
                    f"layer {name!r}: {len(theirs)} parameters in the other net, this net has "
                    f"{len(node.parameters)}"
                )
            shapes, expected = ([blob.shape for blob in blobs] for blobs in (theirs, node.layer.blobs))
            if shapes != expected:
                raise ValueError(
                    f"layer {name!r}: no parameters to share: their shapes are {expected}, "
                    f"in the other net {shapes}"
                )
            for parameter, blob in zip(node.parameters, theirs, strict=True):
                parameter.blob = blob.owner
            node.layer.blobs[:] = theirs

    share_trained_layers_with = share_with

    def copy_trained_from(self, source: str | os.PathLike | caffe_pb2.NetParameter) -> None:
        """Copy the parameters of the layers of the same names.

        Args:
            source: the path of a weights file, or a NetParameter.

        Raises:
            ValueError: the parameters do not fit, or the file is damaged.
            OSError: the file cannot be read.
        """
        if not isinstance(source, caffe_pb2.NetParameter):
            snapshot.load_weights(self, source)
            return
        nodes, with_blobs = self.nodes_by_name(), {stored.name for stored in source.layer if stored.blobs}
        for stored in source.layer:
            if stored.name not in nodes:
                if glog.nets:
                    glog.info(f"Ignoring source layer {stored.name}")
            elif stored.blobs or stored.name not in with_blobs:  # another layer of the name has the blobs
                _copy_blobs(nodes[stored.name].layer.blobs, stored)

    copy_from = copy_trained_from

    def to_proto(self, write_diff: bool = False) -> caffe_pb2.NetParameter:
        """Store the net and its parameters in a NetParameter, as in a .caffemodel.

        Args:
            write_diff: whether to store the gradients too.
        """
        param = caffe_pb2.NetParameter(name=self.name)
        for layer in (node.layer for node in self.nodes):
            spec = param.layer.add()
            spec.CopyFrom(layer.spec)
            spec.top[:] = [top for top in spec.top if not top.startswith("(automatic)")]
            del spec.blobs[:]
            spec.blobs.extend(blob.to_proto(write_diff) for blob in layer.blobs)
        return param

    def save(self, path: str | os.PathLike) -> None:
        """Write the net and its parameters as a .caffemodel.

        Raises:
            ValueError: the message is larger than 2 GB, or `path` names no file.
            OSError: the file cannot be written.
        """
        snapshot.save_caffemodel(self, path)

    def save_hdf5(self, path: str | os.PathLike) -> None:
        """Write the parameters in Caffe's HDF5 layout.

        Raises:
            ValueError: `path` names no file.
            OSError: the file cannot be written.
        """
        snapshot.save_hdf5(self, path)

    def load_hdf5(self, path: str | os.PathLike) -> None:
        """Read parameters written by `save_hdf5`, of this package or of BVLC Caffe.

        Raises:
            ValueError: the file is damaged or does not fit the net.
            OSError: the file cannot be read.
        """
        snapshot.load_hdf5(self, path)


def _copy_blobs(blobs, stored):
    if len(stored.blobs) != len(blobs):
        raise ValueError(
            f"layer {stored.name!r}: {len(stored.blobs)} parameters stored, the net has {len(blobs)}"
        )
    for i, (blob, proto) in enumerate(zip(blobs, stored.blobs, strict=True)):
        try:
            blob.from_proto(proto)
        except ValueError as error:
            raise ValueError(f"layer {stored.name!r}, parameter {i}: {error}") from None
