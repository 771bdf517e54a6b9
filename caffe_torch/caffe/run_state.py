"""The state that Caffe's solver states lack: the position in the data, the random state, the last losses."""

from __future__ import annotations

import base64
import json

import numpy as np
import torch

from . import device, glog, parallel


def dump(nets: dict, losses: list) -> bytes:
    """Serialise the state that an exact resumption needs besides Caffe's solver state.

    Args:
        nets: {name: Net}, of the names that `restore` is called with.
        losses: the losses that the smoothed loss averages.

    Returns:
        JSON.
    """
    gpu = device.device().type == "cuda"
    state = {
        "layers": {
            f"{role}/{layer.spec.name}": layer.state()
            for role, net in nets.items()
            for layer in (node.layer for node in net.nodes)
            if hasattr(layer, "state")
        },
        "losses": losses,
        "numpy": device.rng().bit_generator.state,
        "cpu": base64.b64encode(torch.get_rng_state().numpy()).decode(),
        "cuda": base64.b64encode(torch.cuda.get_rng_state().numpy()).decode() if gpu else None,
    }
    return json.dumps(state).encode()


def restore(nets: dict, stored: bytes, path: str) -> list:
    """Restore the state that `dump` serialised.

    A position that does not fit the data is skipped with a warning: a net may be trained further on other
    data.

    Args:
        nets: {name: Net}, of the names that `dump` was called with.
        stored: what `dump` returned.
        path: the file of the state, for errors.

    Returns:
        The losses.

    Raises:
        ValueError: the state is damaged.
    """
    try:
        state = json.loads(stored)
        for role, net in nets.items():
            for layer in (node.layer for node in net.nodes):
                position = state["layers"].get(f"{role}/{layer.spec.name}")
                if not hasattr(layer, "restore") or position is None:
                    continue
                try:
                    layer.restore(position)
                except ValueError as error:
                    glog.warning(f"{path}: layer {layer.spec.name!r} begins at its first row: {error}")
        device.rng().bit_generator.state = state["numpy"]
        if parallel.rank == 0:
            torch.set_rng_state(_rng_state(state["cpu"]))
        if parallel.rank == 0 and state["cuda"] and device.device().type == "cuda":
            torch.cuda.set_rng_state(_rng_state(state["cuda"]))
        losses = [float(loss) for loss in state["losses"]]
        if not np.isfinite(losses).all():
            raise ValueError("a loss is NaN or infinite")
        return losses
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise ValueError(f"{path}: the stored data position and random state are damaged: {error}") from None


def _rng_state(text):
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
