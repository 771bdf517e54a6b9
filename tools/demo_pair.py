"""Write a pair of photographs to try fusion on: a real one if it can be fetched, else a rendered one.

The real pair is fetched by URL and sha256 (or taken from FUSION_DATA). The rendered pair comes from the
motorcycle photograph and disparity map inside scikit-image. `--pair board` is README's: the first and last
frame of the stack pcb (MIT licence), aligned and downscaled. `--pair coffee` is scikit-image's
coffee photograph (CC0), blurred in and around the cup as the paper blurs its training pairs.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

from pathlib import Path
from typing import Sequence

import cv2
import numpy as np

from data_prep import depth_pair, fetch, photographs
from data_prep.recipes import RECIPES
from two_stream_fusion.base import cli
from two_stream_fusion.io import images
from two_stream_fusion.stack import align
from two_stream_fusion.stack.exposure import match_exposure

EXAMPLES = """examples:
  python tools/demo_pair.py --out build/demo
  python tools/demo_pair.py --pair coffee --out build/coffee
  python tools/fuse.py build/demo/a.png build/demo/b.png -o sharp.png
"""
SHRINK = 4  # the board is shown at a quarter of its height and width


def make_coffee_pair() -> list[np.ndarray]:
    """Make a pair of the coffee photograph: cup and saucer blurred, and all else blurred.

    Returns:
        The two images, H x W x 3 uint8.
    """
    path = next(path for path, _ in photographs.bundled_photographs() if path.endswith("coffee.png"))
    clean, _ = photographs.read(path)
    cup = np.zeros(clean.shape[:2], np.uint8)
    cv2.ellipse(cup, (279, 222), (204, 160), 12, 0, 360, 1, -1)  # the saucer
    cv2.ellipse(cup, (290, 114), (122, 99), 5, 0, 360, 1, -1)  # the rim of the cup
    a, b, _ = RECIPES["paper"](clean, cup > 0, np.random.default_rng(1))
    return [a, b]


def fetch_board_pair() -> list[np.ndarray]:
    """Fetch a circuit board focused near and focused far.

    Returns:
        The two images, H x W x 3 uint8, in register.

    Raises:
        OSError: it cannot be fetched.
    """
    near, far = (images.read(fetch.fetch(f"stacks/pcb/pcb_00{i}.jpg")) for i in (1, 7))
    matrix = align.estimate(near, far)
    inside = align.common_window([np.eye(3), matrix], near.shape)
    near, far = near[inside], match_exposure(near, align.warp(far, matrix))[inside]
    size = [n // SHRINK for n in near.shape[1::-1]]
    return [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (near, far)]


def make_pair(name: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Get a pair to fuse: a real one, or a rendered one where that cannot be fetched.

    Args:
        name: board, coffee, or a pair of data_prep/fetch.py.

    Returns:
        Two images, H x W x 3 uint8, and their source in words.

    Raises:
        ValueError: an unknown name.
    """
    if name == "coffee":
        return (*make_coffee_pair(), "scikit-image's coffee photograph, blurred in two ways")
    try:
        is_board = name == "board"
        a, b = fetch_board_pair() if is_board else map(images.read, fetch.pair_files(name)[:2])
        return a, b, f"the real pair {name}"
    except OSError as error:
        near, far, _ = depth_pair.render_depth_pair()
        source = "a pair rendered from scikit-image's motorcycle photograph and its disparity map"
        return near, far, f"{source}\n({error})"


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add(
        "--pair",
        default="lytro/lytro-06",
        help="board, coffee, or a pair of data_prep/fetch.py --list (default: %(default)s)",
    )
    add(
        "--out", type=Path, default="build/demo", help="the folder for a.png and b.png (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    a, b, words = make_pair(args.pair)
    args.out.mkdir(parents=True, exist_ok=True)
    images.write(args.out / "a.png", a)
    images.write(args.out / "b.png", b)
    print(f"{args.out}/a.png, b.png: {words}")


if __name__ == "__main__":
    cli.run(main)
