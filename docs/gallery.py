"""Make the pictures of stacks in docs/gallery.md: first frame, last frame, fused image, and depth map.

The stacks are in the folder FUSION_DATA; their licences allow showing them. The command in the gallery
fuses them. The full-size results are in build/gallery.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import os
from pathlib import Path

os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
import cv2
import numpy as np

from tools import fuse, pictures
from two_stream_fusion.base import cli
from two_stream_fusion.io import images
from two_stream_fusion.stack import frames

ROOT = Path(__file__).resolve().parents[1]

EXAMPLES = """examples:
  FUSION_DATA=~/data python docs/gallery.py
  FUSION_DATA=build/photos python docs/gallery.py pcb          after `python data_prep/fetch.py pcb`
  FUSION_DATA=~/data python docs/gallery.py ring --out /tmp
"""
STACKS = {
    "pcb": "pcb_*.jpg",
    "pcb-depthmap": "*.jpg",
    "ring": "*.jpg",
}
WIDTH = 700  # of each of the four in a picture


def make_picture(first: np.ndarray, last: np.ndarray, fused: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Put four images into one picture, two by two.

    Args:
        first, last: frames, H x W x 3 uint8; cut around the middle to the shape of the fused image.
        fused: H x W x 3 uint8.
        depth: the map, H x W uint8.

    Returns:
        The picture, H x W x 3 uint8.
    """
    height = round(WIDTH * fused.shape[0] / fused.shape[1])
    tiles = []
    for image in (first, last, fused, cv2.cvtColor(depth, cv2.COLOR_GRAY2RGB)):
        share = max(WIDTH / image.shape[1], height / image.shape[0])
        size = tuple(max(n, round(m * share)) for n, m in zip((WIDTH, height), image.shape[1::-1]))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        top, left = (small.shape[0] - height) // 2, (small.shape[1] - WIDTH) // 2
        tiles.append(small[top : top + height, left : left + WIDTH])
    return pictures.mosaic(np.stack(tiles), 2)


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument("names", nargs="*", metavar="STACK", help=f"(default: {' '.join(STACKS)})")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs", help="the folder for NAME.jpg (default: docs)"
    )
    args = parser.parse_args(argv)
    unknown = [name for name in args.names if name not in STACKS]
    if unknown:
        parser.error(f"no stack {unknown[0]}: there are {', '.join(STACKS)}")
    if not os.environ.get("FUSION_DATA"):
        parser.error("FUSION_DATA names the folder of the stacks; it is not set")
    work = ROOT / "build/gallery"
    work.mkdir(parents=True, exist_ok=True)
    for name in args.names or STACKS:
        pattern = str(Path(os.environ["FUSION_DATA"], "stacks", name, STACKS[name]))
        fused, depth = work / f"{name}.png", work / f"{name}-depth.png"
        outputs = ["-o", str(fused), "--map", str(depth), "--force"]
        if fuse.main([pattern, "--align", "--fast", *outputs]):
            return 1
        sources = frames.find_images([pattern])
        picture = make_picture(*(images.read(path) for path in (sources[0], sources[-1], fused, depth)))
        images.write(args.out / f"{name}.jpg", picture)
        print(f"{args.out / name}.jpg: first frame, last frame, fused image, depth map")
    return 0


if __name__ == "__main__":
    cli.run(main)
