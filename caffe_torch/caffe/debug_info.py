"""The log of `debug_info: true`: the mean magnitude of every blob, parameter and gradient."""

import torch

from . import glog
from .node import Node


def forward(node: Node) -> None:
    """Log the tops and the parameters of a layer that has run forward."""
    layer, name = node.layer, node.name
    for top, blob in zip(layer.spec.top, node.tops, strict=True):
        glog.info(f"    [Forward] Layer {name}, top blob {top} data: {_mean(blob.tensor)}")
    for j, blob in enumerate(layer.blobs):
        label = (layer.spec.param[j].name if j < len(layer.spec.param) else "") or j
        glog.info(f"    [Forward] Layer {name}, param blob {label} data: {_mean(blob.tensor)}")


def backward(node: Node) -> None:
    """Log the gradients of a layer that has run backward."""
    for bottom, blob, needed in zip(node.layer.spec.bottom, node.bottoms, node.bottom_needs, strict=True):
        if needed:
            glog.info(f"    [Backward] Layer {node.name}, bottom blob {bottom} diff: {_mean(blob.grad)}")
    for j, (blob, needed) in enumerate(zip(node.layer.blobs, node.param_needs, strict=True)):
        if needed:
            glog.info(f"    [Backward] Layer {node.name}, param blob {j} diff: {_mean(blob.grad)}")


def norms(net) -> None:
    """Log the L1 and L2 norm of all parameters together, and of all their gradients.

    Args:
        net: the Net.
    """
    if not net.learnable_params:
        return
    data = torch.cat([blob.tensor.flatten() for blob in net.learnable_params])
    diff = torch.cat([blob.grad.flatten() for blob in net.learnable_params])
    l1, l2 = (
        ", ".join(f"{torch.linalg.vector_norm(values, order).item():g}" for values in (data, diff))
        for order in (1, 2)
    )
    glog.error(f"    [Backward] All net params (data, diff): L1 norm = ({l1}); L2 norm = ({l2})")


def _mean(tensor):
    return f"{tensor.float().abs().mean().item():g}"
