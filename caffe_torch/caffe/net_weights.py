"""Parameters into a net and out of it: shared with another net, copied, read and written."""

from __future__ import annotations

from . import glog, snapshot
from .proto import caffe_pb2


class NetWeights:
    """The part of `Net` that concerns weights. The files themselves are snapshot.py's."""

    def share_with(self, other) -> None:
        """Use the parameters of the layers of the same names in `other`, now and from then on.

        Args: other: a Net.
        Raises: ValueError where a layer has other shapes there.
        """
        theirs_by_name = other.params
        for node in self.nodes:
            theirs = theirs_by_name.get(node.name)
            if theirs is None:
                continue
            given, expected = ([blob.shape for blob in blobs] for blobs in (theirs, node.layer.blobs))
            if given != expected:
                raise ValueError(
                    f"layer {node.name!r}: no parameters to share: their shapes are {expected}, "
                    f"in the other net {given}"
                )
            for parameter, blob in zip(node.parameters, theirs, strict=True):
                parameter.blob = blob.owner
            node.layer.blobs[:] = theirs

    share_trained_layers_with = share_with

    def copy_trained_from(self, source) -> None:
        """Copy the parameters of layers of the same names.

        Args: source: a NetParameter, or the path of a weights file.
        Raises: ValueError where they do not fit; OSError for a file that cannot be read.
        """
        if not isinstance(source, caffe_pb2.NetParameter):
            snapshot.load_weights(self, source)
            return
        by_name = {**dict.fromkeys(self.layer_names), **self.params}
        for stored in source.layer:
            blobs = by_name.get(stored.name)
            if stored.name not in by_name and glog.nets:
                glog.info(f"Ignoring source layer {stored.name}")
            if blobs and stored.blobs:
                _copy_blobs(blobs, stored)

    copy_from = copy_trained_from

    def to_proto(self, write_diff: bool = False) -> caffe_pb2.NetParameter:
        """The net with its parameters, as a .caffemodel holds it; `write_diff` adds the gradients."""
        param = caffe_pb2.NetParameter(name=self.name)
        for layer in (node.layer for node in self.nodes):
            spec = param.layer.add()
            spec.CopyFrom(layer.spec)
            spec.top[:] = [top for top in spec.top if not top.startswith("(automatic)")]
            del spec.blobs[:]
            spec.blobs.extend(blob.to_proto(write_diff) for blob in layer.blobs)
        return param

    def save(self, path) -> None:
        """Write the net and its parameters as a .caffemodel."""
        snapshot.save_caffemodel(self, path)

    def save_hdf5(self, path) -> None:
        """Write the parameters in Caffe's HDF5 form."""
        snapshot.save_hdf5(self, path)

    def load_hdf5(self, path) -> None:
        """Read parameters written by `save_hdf5`, here or by Caffe."""
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
