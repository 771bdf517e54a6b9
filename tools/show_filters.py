"""Show the learned filters of a layer: mid-gray is zero, lighter is positive, darker is negative.

In a layer of 4 channels (the first of each stream, the last of the decoder) each tile is a filter, with the
weights of R, G and B as colours. In other layers each tile joins one input to one output channel, and a row
belongs to one channel.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import numpy as np

from tools import net_options, pictures
from two_stream_fusion.base import cli
from two_stream_fusion.io import images
from two_stream_fusion.methods import models

EXAMPLES = """examples:
  python tools/show_filters.py --layer conv1_a -o filters.png --enlarge 8
  python tools/show_filters.py --layer fusion -o fusion.png --enlarge 4
  python tools/show_filters.py --net prototxt/2-1-2_f32_k3/deploy.prototxt \\
      --weights build/snapshots/demo_iter_500.caffemodel --layer deconv2 -o last.png
"""


def draw_filters(weights: np.ndarray, columns: int, enlarge: int) -> np.ndarray:
    """Draw filters as tiles.

    Args:
        weights: N x M x H x W.
        columns: tiles in colour in a row.
        enlarge: side of a weight in pixels.

    Returns:
        A uint8 picture of N tiles in colour if M is 4 or 3, else of N x M gray ones.
    """
    tiles = pictures.signed_to_gray(weights)
    if tiles.shape[1] in (3, 4):
        return pictures.mosaic(tiles[:, :3].transpose(0, 2, 3, 1), columns, enlarge)
    return pictures.mosaic(tiles.reshape(-1, *tiles.shape[2:]), tiles.shape[1], enlarge)


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    models.add_model_arguments(parser)
    add("--layer", required=True, help="the layer's name in the prototxt")
    cli.add_output(parser, "the picture (.png ...); replaces an existing file", required=True)
    add("--columns", type=int, default=16, metavar="N", help="of tiles in colour (default: %(default)s)")
    add("--enlarge", type=int, default=1, metavar="N", help="side of a weight (default: %(default)s)")
    args = parser.parse_args(argv)
    if min(args.columns, args.enlarge) < 1:
        parser.error("--columns and --enlarge must be at least 1")
    net = net_options.open_net(args)
    net_options.refuse_unknown([args.layer], list(net.params), "layer with weights")
    weights = net.params[args.layer][0].data
    if weights.ndim != 4:
        raise ValueError(f"{args.layer}: weights of shape {weights.shape} are not filters of N x M x H x W")
    images.write(args.output, draw_filters(weights, args.columns, args.enlarge))
    size = " x ".join(map(str, weights.shape))
    print(f"{args.output}: {args.layer}, {size}, between {weights.min():.3g} and {weights.max():.3g}")


if __name__ == "__main__":
    cli.run(main)
