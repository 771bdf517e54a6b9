"""Draw a net: its layers from top to bottom, with arrows for the blobs between them."""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

from typing import TYPE_CHECKING, Iterable, Sequence

from tools import pictures
from two_stream_fusion.base import cli
from two_stream_fusion.methods import models

if TYPE_CHECKING:
    from caffe.proto import caffe_pb2

EXAMPLES = """examples:
  python tools/draw_net.py prototxt/2-1-2_f64_k5/deploy.prototxt -o net.png
  python tools/draw_net.py prototxt/2-1-2_f64_k5/train_val.prototxt -o net.pdf --phase TEST
  python tools/draw_net.py prototxt/srcnn/train_val.prototxt -o net.png --stage detail
"""
COLOURS = {
    "Convolution": "#cfe3f7",
    "Deconvolution": "#fbdcc4",
    "Concat": "#d8efd3",
    "Input": "#eeeeee",
    "HDF5Data": "#eeeeee",
}
OTHER = "#f6efc8"
LINE = "#555555"


class Node:
    """A box: a layer with its in-place layers, or one output of a layer without inputs.

    Attributes:
        text: the lines in the box.
        colour: of the box.
        bottoms: the boxes that it reads.
        rank: its row, from 0 at the top.
    """

    def __init__(self, text, colour, bottoms):
        self.text, self.colour, self.bottoms = text, colour, bottoms
        self.rank = max((node.rank + 1 for node in bottoms), default=0)


def is_included(layer: caffe_pb2.LayerParameter, phase: str, stages: Iterable[str]) -> bool:
    """Whether a layer is in the net of a phase and stages, at level 0.

    Args:
        layer: of the net.
        phase: "TRAIN" or "TEST".
        stages: as of `caffe train`.

    Returns:
        As Caffe decides by the layer's include and exclude rules.

    Raises:
        ValueError: the layer has rules of both kinds.
    """
    if layer.include and layer.exclude:
        raise ValueError(f"layer {layer.name!r}: give include rules or exclude rules, not both")
    is_met = any(_meets(rule, phase, set(stages)) for rule in layer.include or layer.exclude)
    return is_met if layer.include else not is_met


def _meets(rule, phase, stages):
    """Whether a state at level 0 meets a rule: Caffe's StateMeetsRule, which pycaffe does not offer."""
    return (
        (not rule.HasField("phase") or rule.phase == ("TRAIN", "TEST").index(phase))
        and (not rule.HasField("min_level") or rule.min_level <= 0)
        and (not rule.HasField("max_level") or rule.max_level >= 0)
        and stages.issuperset(rule.stage)
        and stages.isdisjoint(rule.not_stage)
    )


def describe(layer: caffe_pb2.LayerParameter) -> str:
    """Describe a layer in a few words: its type, and of a convolution the filters."""
    conv = layer.convolution_param
    if layer.type not in ("Convolution", "Deconvolution"):
        return layer.type
    kernel = list(conv.kernel_size) or [conv.kernel_h, conv.kernel_w]
    words = f"{layer.type} {conv.num_output}, {kernel[0]}x{kernel[-1]}"
    if conv.stride and list(conv.stride) != [1]:
        words += f", stride {conv.stride[0]}"
    return words + (f", groups {conv.group}" if conv.group > 1 else "")


def build_graph(net: caffe_pb2.NetParameter, phase: str = "TEST", stages: Iterable[str] = ()) -> list[Node]:
    """Build the graph of a net.

    Args:
        net: a NetParameter.
        phase: "TRAIN" or "TEST".
        stages: as of `caffe train`.

    Returns:
        The nodes, in the order of the layers.

    Raises:
        ValueError: a layer reads a blob that no earlier layer writes, or has include and exclude rules.
    """
    sources = {name: Node([name, "Input"], COLOURS["Input"], []) for name in net.input}
    nodes = list(sources.values())
    for layer in net.layer:
        if not is_included(layer, phase, stages):
            continue
        for bottom in layer.bottom:
            if bottom not in sources:
                raise ValueError(f"layer {layer.name!r} reads {bottom!r}, which no earlier layer outputs")
        if len(layer.bottom) == 1 and list(layer.top) == list(layer.bottom):
            sources[layer.bottom[0]].text[-1] += f" + {layer.type}"
            continue
        colour = COLOURS.get(layer.type, OTHER)
        if layer.bottom:
            new = Node([layer.name, describe(layer)], colour, [sources[bottom] for bottom in layer.bottom])
            nodes.append(new)
            sources.update(dict.fromkeys(layer.top, new))
        else:
            for top in layer.top:
                sources[top] = Node([top, layer.type], colour, [])
                nodes.append(sources[top])
    for node in nodes:
        if not node.bottoms:  # an input that is read late, such as a label, stands just above its reader
            node.rank = min((n.rank for n in nodes if node in n.bottoms), default=1) - 1
    return nodes


def layout(nodes: Sequence[Node]) -> dict[Node, float]:
    """Choose {node: x}: rows centred on 0, a unit between boxes, each near the boxes that it reads."""
    x = {}
    for rank in sorted({node.rank for node in nodes}):
        row = [node for node in nodes if node.rank == rank]

        def above(node):
            return sum(x[n] for n in node.bottoms) / len(node.bottoms) if node.bottoms else len(nodes)

        for i, node in enumerate(sorted(row, key=above)):
            x[node] = i - (len(row) - 1) / 2
    return x


def draw(nodes: Sequence[Node], title: str, path: str) -> None:
    """Draw boxes and arrows into a file.

    Args:
        nodes: as `build_graph` returns them.
        title: above the drawing.
        path: the file; its suffix names the format.
    """
    pyplot = pictures.pyplot()
    x = layout(nodes)
    ranks, columns = max(n.rank for n in nodes) + 1, 1 + 2 * max(map(abs, x.values()))
    figure, axes = pyplot.subplots(figsize=(2.8 * max(2, columns), 0.75 * ranks + 0.5))
    for node in nodes:
        for bottom in node.bottoms:
            start, end = (x[bottom], -bottom.rank - 0.3), (x[node], -node.rank + 0.3)
            if node.rank > bottom.rank + 1:  # past boxes: around their left
                left = min(x[n] for n in nodes if bottom.rank <= n.rank <= node.rank) - 0.54
                axes.plot(
                    [x[bottom] - 0.46, left, left], [-bottom.rank, -bottom.rank, -node.rank], color=LINE, lw=1
                )
                start, end = (left, -node.rank), (x[node] - 0.46, -node.rank)
            axes.annotate(
                "", end, start, arrowprops={"arrowstyle": "-|>", "color": LINE, "shrinkA": 0, "shrinkB": 0}
            )
        box = pyplot.Rectangle((x[node] - 0.46, -node.rank - 0.3), 0.92, 0.6, fc=node.colour, ec=LINE)
        axes.add_patch(box)
        axes.text(x[node], -node.rank, "\n".join(node.text), ha="center", va="center", fontsize=8)
    half = max(1, columns / 2) + 0.06
    axes.set(xlim=(-half, half), ylim=(0.5 - ranks, 0.5), title=title)
    axes.set_axis_off()
    figure.tight_layout()
    pictures.save(figure, path, dpi=100)


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("net", help="a deploy.prototxt or train_val.prototxt")
    cli.add_output(parser, "the picture (.png .pdf .svg); replaces an existing file", required=True)
    add("--phase", choices=("TRAIN", "TEST"), default="TEST", help="(default: %(default)s)")
    add("--stage", action="append", default=[], help="as of `caffe train`; again for more")
    args = parser.parse_args(argv)
    from caffe.proto import caffe_pb2

    net = models.read_prototxt(args.net, caffe_pb2.NetParameter())
    try:
        nodes = build_graph(net, args.phase, args.stage)
    except ValueError as error:
        raise ValueError(f"{args.net}: {error}") from None
    if not nodes:
        raise ValueError(f"{args.net}: no layers in phase {args.phase}")
    draw(nodes, net.name, args.output)
    print(f"{args.output}: {net.name}, {len(nodes)} boxes")


if __name__ == "__main__":
    cli.run(main)
