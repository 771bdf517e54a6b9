"""A Python layer in its net: its program reads and writes the blobs themselves."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import device, python_layer
from .node import Node


@dataclass
class PythonNode(Node):
    """A Node whose layer is a program. Its gradients are what the program writes, not autograd's."""

    def __post_init__(self):
        # One list for both, so that the program sees the blobs of another layer or net where they are shared.
        self.layer.program.blobs[:] = self.layer.blobs
        self.layer.blobs = self.layer.program.blobs

    def reshape(self, loss_weights: dict) -> None:
        """Let the program give the tops their shapes; set the gradient of those that count as losses."""
        self._call("reshape", self.bottoms, self.tops)
        for name, blob in zip(self.layer.spec.top, self.tops, strict=True):
            device.require_memory(blob.shape, f"top {name!r}")
            if name in loss_weights:
                blob.diff[...] = loss_weights[name]

    def forward(self) -> None:
        """Run the program's `reshape`, then its `forward`, as BVLC Caffe does at every pass."""
        for top in self.tops:
            if top in self.bottoms:  # in place: what the layer below keeps for its gradient stays
                top.tensor = top.tensor.clone()
        self._call("reshape", self.bottoms, self.tops)
        self._call("forward", self.bottoms, self.tops)

    def backward(self, keep: bool) -> None:
        """Run the program's `backward`."""
        needs = [bool(need) for need in self.bottom_needs]
        self._call("backward", self.tops, needs, self.bottoms)

    def _call(self, method, *arguments):
        with torch.no_grad():
            python_layer.call(self.layer.spec, method, getattr(self.layer.program, method), *arguments)
