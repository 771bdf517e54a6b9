"""Show the feature maps of a net for a pair of images, as Fig. 2 of the paper.

Of each blob, the maps that vary the most over the image, each stretched from black to white.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

from typing import TYPE_CHECKING, Mapping, Sequence

import numpy as np

from tools import net_options, pictures
from two_stream_fusion.base import cli
from two_stream_fusion.base.files import check_output
from two_stream_fusion.base.pixels import check_alike
from two_stream_fusion.io import images
from two_stream_fusion.methods import models

if TYPE_CHECKING:
    import caffe
    import matplotlib.axes

EXAMPLES = """examples:
  python tools/show_maps.py near.jpg far.jpg -o maps.png
  python tools/show_maps.py near.jpg far.jpg -o maps.png --blobs conv1_a conv1_b deconv1 --maps 6
  python tools/show_maps.py near.jpg far.jpg -o maps.png --net prototxt/2-1-2_f32_k3/deploy.prototxt \\
      --weights build/snapshots/demo_iter_500.caffemodel
"""
FIGURE_2 = ("conv2_a", "conv2_b", "fusion")  # the second convolutions of both streams, the fusion layer


def compute_maps(net: caffe.Net, a: np.ndarray, b: np.ndarray, blobs: Sequence[str]) -> dict[str, np.ndarray]:
    """Compute the feature maps of a net for two images.

    Args:
        net: a caffe.Net with the inputs a and b, of 4 channels or of one, which is gray.
        a, b: images of one shape, H x W or H x W x 3, uint8 or uint16.
        blobs: names of blobs of the net.

    Returns:
        {blob: C x H x W float32}.

    Raises:
        ValueError: the net has other inputs, a blob is unknown, or a blob holds no maps.
    """
    from two_stream_fusion.methods.two_stream import to_channels

    if list(net.inputs) != ["a", "b"]:
        raise ValueError(f"a net with the inputs a and b is needed, not {', '.join(net.inputs)}")
    net_options.refuse_unknown(blobs, list(net.blobs), "blob")
    channels = net.blobs["a"].data.shape[1]
    for name, image in (("a", a), ("b", b)):
        planes = to_channels(image)[-channels:]  # the last is gray
        net.blobs[name].reshape(1, *planes.shape)
        net.blobs[name].data[...] = planes
    net.reshape()
    net.forward()
    values = {name: net.blobs[name].data for name in blobs}
    for name, data in values.items():
        if data.ndim != 4:
            raise ValueError(f"blob {name}: shape {data.shape}, no maps of 1 x C x H x W")
    return {name: data[0].copy() for name, data in values.items()}


def most_varied(planes: np.ndarray, count: int) -> np.ndarray:
    """The maps with the largest variance.

    Args:
        planes: C x H x W.
        count: of the maps to return.

    Returns:
        Their indices, in ascending order.
    """
    return np.sort(np.argsort(-planes.var(axis=(1, 2)), kind="stable")[:count])


def draw(a: np.ndarray, b: np.ndarray, maps: Mapping[str, np.ndarray], count: int, path: str) -> None:
    """Draw two images and feature maps into a file: a row of images, then a block for each blob.

    Args:
        a, b: the images.
        maps: {blob: C x H x W}.
        count: maps of each blob.
        path: the file; its suffix names the format.
    """
    pyplot = pictures.pyplot()
    columns = 8
    height, width = a.shape[:2]
    blocks = {}
    for name, planes in maps.items():
        indices = most_varied(planes, count)
        tiles = [pictures.stretch_to_gray(planes[i]) for i in indices]
        title = f"{name}, maps {', '.join(map(str, indices))} of {len(planes)}"
        blocks[title] = pictures.mosaic(tiles, min(columns, len(tiles)))
    rows = [height / width / 2, *(block.shape[0] / block.shape[1] for block in blocks.values())]
    figure = pyplot.figure(figsize=(8, 8 * sum(rows) + 0.35 * len(rows)), constrained_layout=True)
    grid = figure.add_gridspec(len(rows), 2, height_ratios=rows)
    for cell, image, title in ((grid[0, 0], a, "a"), (grid[0, 1], b, "b")):
        show_image(figure.add_subplot(cell), image, title)
    for i, (title, block) in enumerate(blocks.items(), 1):
        show_image(figure.add_subplot(grid[i, :]), block, title)
    pictures.save(figure, path, dpi=100)


def show_image(axes: matplotlib.axes.Axes, image: np.ndarray, title: str) -> None:
    """Show an image without axes, from black to white if it is gray.

    Args:
        axes: of a figure; changed in place.
        image: H x W or H x W x 3, uint8 or uint16.
        title: above the image.
    """
    scale = np.iinfo(image.dtype).max
    axes.imshow(image / scale, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("images", nargs=2, metavar="IMAGE", help="a and b, of one size")
    cli.add_output(parser, "the picture (.png .pdf .svg); replaces an existing file", required=True)
    add("--blobs", nargs="+", default=FIGURE_2, metavar="BLOB", help=f"(default: {' '.join(FIGURE_2)})")
    add("--maps", type=int, default=16, metavar="N", help="of each blob (default: %(default)s)")
    models.add_model_arguments(parser)
    args = parser.parse_args(argv)
    if args.maps < 1:
        parser.error("--maps must be at least 1")
    check_output(args.output, args.images, force=True)
    a, b = map(images.read, args.images)
    check_alike(a, b)
    maps = compute_maps(net_options.open_net(args), a, b, args.blobs)
    draw(a, b, maps, args.maps, args.output)
    print(f"{args.output}: {', '.join(f'{name} {planes.shape}' for name, planes in maps.items())}")


if __name__ == "__main__":
    cli.run(main)
