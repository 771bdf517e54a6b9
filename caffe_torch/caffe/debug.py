"""What `debug_info: true` logs: the mean magnitude of every blob, parameter and gradient."""

import torch

from . import log


def forward(net) -> torch.Tensor:
    """Run the net layer by layer, logging each; the loss as `Net.forward_loss` gives it."""
    for i, layer in enumerate(net.layers):
        net._forward(i, i)
        name = layer.spec.name
        for top in layer.spec.top:
            log.info(f"    [Forward] Layer {name}, top blob {top} data: {_mean(net.blobs[top].tensor)}")
        for label, blob in _parameters(layer):
            log.info(f"    [Forward] Layer {name}, param blob {label} data: {_mean(blob.tensor)}")
    return sum(weight * net.blobs[name].tensor.float().sum() for name, weight in net.loss_weights.items())


def backward(net) -> None:
    """Run the net backward layer by layer, logging the gradients."""
    for i in reversed(range(len(net.layers))):
        if not net._runs_backward[i]:
            continue
        net._backward(i, i, keep=False)
        layer, (bottoms, params) = net.layers[i], net._needs[i]
        name = layer.spec.name
        for bottom, needed in zip(layer.spec.bottom, bottoms, strict=True):
            if needed:
                log.info(
                    f"    [Backward] Layer {name}, bottom blob {bottom} diff: {_mean(net.blobs[bottom].grad)}"
                )
        for (label, blob), needed in zip(_parameters(layer), params, strict=True):
            if needed:
                log.info(f"    [Backward] Layer {name}, param blob {label} diff: {_mean(blob.grad)}")
    norms = []
    for order in (1, 2):
        for tensors in (
            [b.tensor for b in net.learnable_params],
            [b.grad for b in net.learnable_params],
        ):
            norms.append(torch.stack([t.norm(order) for t in tensors]).norm(order).item())
    log.error(
        "    [Backward] All net params (data, diff): "
        f"L1 norm = ({norms[0]:g}, {norms[1]:g}); L2 norm = ({norms[2]:g}, {norms[3]:g})"
    )


def _parameters(layer):
    """(name or index, blob) of each parameter."""
    names = [param.name for param in layer.spec.param] + [""] * len(layer.blobs)
    return [(names[i] or i, blob) for i, blob in enumerate(layer.blobs)]


def _mean(tensor):
    return f"{tensor.float().abs().mean().item():g}"
