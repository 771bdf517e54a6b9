"""What `debug_info: true` logs: the mean magnitude of every blob, parameter and gradient."""

import torch

from . import glog


def forward(net) -> torch.Tensor:
    """Run the net layer by layer, logging each; the loss as `Net.forward_loss` gives it."""
    for at, layer in enumerate(net.layers):
        net._run(at, at)
        name = layer.spec.name
        for top in layer.spec.top:
            glog.info(f"    [Forward] Layer {name}, top blob {top} data: {_mean(net.blobs[top].tensor)}")
        for i, blob in enumerate(layer.blobs):
            label = (layer.spec.param[i].name if i < len(layer.spec.param) else "") or i
            glog.info(f"    [Forward] Layer {name}, param blob {label} data: {_mean(blob.tensor)}")
    return sum(weight * net.blobs[name].tensor.float().sum() for name, weight in net.loss_weights.items())


def backward(net) -> None:
    """Run the net backward layer by layer, logging the gradients."""
    for at in reversed(range(len(net.layers))):
        if not net._runs_backward[at]:
            continue
        net._backward(at, at, keep=False)
        layer, (bottoms, params) = net.layers[at], net._needs[at]
        name = layer.spec.name
        for bottom, needed in zip(layer.spec.bottom, bottoms, strict=True):
            if needed:
                glog.info(
                    f"    [Backward] Layer {name}, bottom blob {bottom} diff: {_mean(net.blobs[bottom].grad)}"
                )
        for i, (blob, needed) in enumerate(zip(layer.blobs, params, strict=True)):
            if needed:
                glog.info(f"    [Backward] Layer {name}, param blob {i} diff: {_mean(blob.grad)}")
    if net.learnable_params:
        data = torch.cat([blob.tensor.flatten() for blob in net.learnable_params])
        diff = torch.cat([blob.grad.flatten() for blob in net.learnable_params])
        l1, l2 = (
            ", ".join(f"{torch.linalg.vector_norm(values, order).item():g}" for values in (data, diff))
            for order in (1, 2)
        )
        glog.error(f"    [Backward] All net params (data, diff): L1 norm = ({l1}); L2 norm = ({l2})")


def _mean(tensor):
    return f"{tensor.float().abs().mean().item():g}"
