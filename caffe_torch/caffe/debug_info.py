"""What `debug_info: true` logs: the mean magnitude of every blob, parameter and gradient."""

import torch

from . import glog


def forward(net, i) -> None:
    """Log what layer i of the net made, and its parameters."""
    layer, name = net.layers[i], net.layers[i].spec.name
    for top in layer.spec.top:
        glog.info(f"    [Forward] Layer {name}, top blob {top} data: {_mean(net.blobs[top].tensor)}")
    for j, blob in enumerate(layer.blobs):
        label = (layer.spec.param[j].name if j < len(layer.spec.param) else "") or j
        glog.info(f"    [Forward] Layer {name}, param blob {label} data: {_mean(blob.tensor)}")


def backward(net, i) -> None:
    """Log the gradients that layer i of the net made."""
    layer, (bottoms, params) = net.layers[i], net._needs[i]
    name = layer.spec.name
    for bottom, needed in zip(layer.spec.bottom, bottoms, strict=True):
        if needed:
            diff = _mean(net.blobs[bottom].grad)
            glog.info(f"    [Backward] Layer {name}, bottom blob {bottom} diff: {diff}")
    for j, (blob, needed) in enumerate(zip(layer.blobs, params, strict=True)):
        if needed:
            glog.info(f"    [Backward] Layer {name}, param blob {j} diff: {_mean(blob.grad)}")


def norms(net) -> None:
    """Log how large all parameters and all their gradients are together."""
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
