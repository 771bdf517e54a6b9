"""caffe.draw: pictures of nets. Needs pydot and Graphviz."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import atomic_files
from .proto import caffe_pb2
from .prototxt import included

if TYPE_CHECKING:
    import pydot

_COLOURS = {
    "Convolution": "#FF5050",
    "Deconvolution": "#FF5050",
    "Pooling": "#FF9900",
    "InnerProduct": "#CC33FF",
}


def _pydot():
    try:
        import pydot
    except ImportError:
        raise ValueError(
            "caffe.draw needs pydot and Graphviz: pip install pydot, and apt install graphviz"
        ) from None
    return pydot


def get_pydot_graph(
    caffe_net: caffe_pb2.NetParameter,
    rankdir: str = "LR",
    label_edges: bool = True,
    phase: int | None = None,
) -> pydot.Dot:
    """Draw the layers and blobs of a net as a graph.

    Args:
        caffe_net: the net.
        rankdir: Graphviz's direction: LR, TB, RL or BT.
        label_edges: whether edges show num_output.
        phase: TRAIN or TEST to leave out the layers of the other phase.

    Returns:
        A pydot.Dot.

    Raises:
        ValueError: pydot is not installed.
    """
    pydot = _pydot()
    graph = pydot.Dot(caffe_net.name or "Net", graph_type="digraph", rankdir=rankdir)
    state = caffe_pb2.NetState(phase=phase) if phase is not None else None
    blobs = set()
    for layer in caffe_net.layer:
        if state is not None and not included(layer, state):
            continue
        name = f"{layer.name}_{layer.type}"
        graph.add_node(
            pydot.Node(
                name,
                label=f'"{layer.name}\\n({layer.type})"',
                shape="record",
                style="filled",
                fillcolor=_COLOURS.get(layer.type, "#6495ED"),
            )
        )
        in_place = set(layer.bottom) & set(layer.top)
        for blob in {*layer.bottom, *layer.top} - blobs:
            graph.add_node(pydot.Node(f"{blob}_blob", label=f'"{blob}"', shape="octagon"))
            blobs.add(blob)
        for blob in layer.bottom:
            graph.add_edge(pydot.Edge(f"{blob}_blob", name, dir="both" if blob in in_place else "forward"))
        outputs = layer.convolution_param.num_output or layer.inner_product_param.num_output
        for blob in layer.top:
            if blob not in in_place:
                label = f'"{outputs}"' if label_edges and outputs else '""'
                graph.add_edge(pydot.Edge(name, f"{blob}_blob", label=label))
    return graph


def draw_net(
    caffe_net: caffe_pb2.NetParameter, rankdir: str, ext: str = "png", phase: int | None = None
) -> bytes:
    """Draw a net as an image file.

    Args:
        caffe_net, rankdir, phase: as for `get_pydot_graph`.
        ext: the format.

    Returns:
        The bytes of the file.

    Raises:
        ValueError: pydot is not installed.
    """
    return get_pydot_graph(caffe_net, rankdir, phase=phase).create(format=ext)


def draw_net_to_file(
    caffe_net: caffe_pb2.NetParameter, filename: str, rankdir: str = "LR", phase: int | None = None
) -> None:
    """Draw a net and write the image file.

    Args:
        caffe_net, rankdir, phase: as for `get_pydot_graph`.
        filename: the file to write; its ending is the format, png by default.

    Raises:
        ValueError: pydot is not installed.
        OSError: the file cannot be written.
    """
    ext = os.path.splitext(filename)[1][1:] or "png"
    atomic_files.write(filename, draw_net(caffe_net, rankdir, ext, phase))
