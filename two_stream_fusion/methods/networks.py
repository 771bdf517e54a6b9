"""The networks that the method two_stream runs: which kind one is, and opening it.

Caffe is imported where a network is opened: the other methods need none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from two_stream_fusion.methods import models

if TYPE_CHECKING:
    from two_stream_fusion.methods.multi_stream import MultiStream
    from two_stream_fusion.methods.two_stream import TwoStream

KINDS = ("two_stream", "multi_stream")  # as the cards of models say


def open_network(
    model: str | None = None,
    net: str | Path | None = None,
    weights: str | Path | None = None,
    *,
    gpu: int | None = None,
    precision: str = "float32",
) -> TwoStream | MultiStream:
    """Open a two-stream or a multi-stream network.

    Args:
        model: a name of models/ (default: models.DEFAULT).
        net, weights: a deploy.prototxt and its caffemodel, in place of a model.
        gpu: the number of a GPU; the CPU where None. It holds for Caffe as a whole, as precision does.
        precision: float32, or bfloat16 with caffe_torch.

    Returns:
        The network, ready to fuse.

    Raises:
        OSError: a file is missing.
        ValueError: a file is not what it should be, there is no such model or GPU, or options exclude each
            other.
    """
    deploy, weights = models.resolve_model(model, net, weights, *KINDS)
    import caffe

    from two_stream_fusion.methods.multi_stream import MultiStream, is_multi_stream
    from two_stream_fusion.methods.two_stream import TwoStream

    # Both are set each time: Caffe keeps them from one network to the next.
    if gpu is None:
        caffe.set_mode_cpu()
    else:
        caffe.set_device(gpu)
        caffe.set_mode_gpu()
    if hasattr(caffe, "set_precision"):
        caffe.set_precision(precision)
    elif precision != "float32":
        raise ValueError(f"precision {precision}: this Caffe has only float32; caffe_torch has more")
    return (MultiStream if is_multi_stream(deploy) else TwoStream)(deploy, weights)


def kind(model: str | None = None, net: str | Path | None = None, weights: str | Path | None = None) -> str:
    """Say which kind of network a model is, before it is opened.

    Args:
        model, net, weights: as of `open_network`.

    Returns:
        One of KINDS.

    Raises:
        OSError, ValueError: as of `open_network`.
    """
    from two_stream_fusion.methods.multi_stream import is_multi_stream

    deploy, _ = models.resolve_model(model, net, weights, *KINDS)
    return KINDS[is_multi_stream(deploy)]
