"""Measure ways to fuse a focus stack, where the ground truth is known.

The frames are rendered from scikit-image's motorcycle photograph and its depth, focused from back to front.
Compared are the network's own images and --refine select, and the choice among all frames of
stack/choice.py. The first two are folded (each frame with the result of those before it) or fused in a tree
(neighbours two by two). The command prints a Markdown table of PSNR in dB.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

from functools import reduce
from typing import Callable

import numpy as np

from data_prep import depth_pair
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.methods import models, registry
from two_stream_fusion.methods.two_stream import TwoStream
from two_stream_fusion.metrics.fidelity import psnr
from two_stream_fusion.stack import select
from two_stream_fusion.stack.blend import blend_frames
from two_stream_fusion.stack.choice import select_frames

EXAMPLES = """examples:
  python experiments/stacks/measure.py
  python experiments/stacks/measure.py --frames 20 --model 2-1-2_f64_k5-defocus
"""


def render(count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Render `count` frames and the ground truth, H x W x 3 uint8; a point is sharp in one or two frames."""
    sharp, disparity = depth_pair.scene()
    places = np.linspace(*np.percentile(disparity, (1, 99)), count)
    depth = 0.55 * (places[1] - places[0])
    return [depth_pair.focus(sharp, disparity, at, depth) for at in places], sharp


def fuse_tree(fuse, frames):
    """Fuse neighbours two by two until one image is left."""
    while len(frames) > 1:
        frames = [reduce(fuse, frames[i : i + 2]) for i in range(0, len(frames), 2)]
    return frames[0]


def list_ways(net) -> dict[str, Callable]:
    """{label: a function of a list of frames that returns the fused image}."""

    def selected(a, b):
        return select.refine(a, b, net(a, b))[0]

    return {
        "the network's images, folded": lambda frames: reduce(net, frames),
        "the network's images, a tree": lambda frames: fuse_tree(net, frames),
        "select, folded": lambda frames: reduce(selected, frames),
        "select, a tree": lambda frames: fuse_tree(selected, frames),
        "choice among all frames": lambda frames: blend_frames(frames, select_frames(net, frames)),
        "GF": lambda frames: registry.fuse("gf", frames).image,
        "LP, folded": lambda frames: registry.fuse("lp", frames).image,
    }


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument("--frames", type=int, default=8, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--model", default=models.FAST, help="(default: %(default)s)")
    args = parser.parse_args(argv)
    if args.frames < 2:
        parser.error("--frames takes 2 or more")
    net = TwoStream(*models.model_files(args.model, "two_stream"))
    frames, sharp = render(args.frames)
    print(f"{args.frames} frames, {args.model}\n\n" + markdown_tables.markdown(["", "PSNR"], []), end="")
    for name, fuse in list_ways(net).items():
        print(markdown_tables.row([name, f"{psnr(sharp, fuse(frames)):.2f}"]), flush=True)


if __name__ == "__main__":
    cli.run(main)
