"""Measure stack/align.py: known motions of photographs, and the unregistered stacks of FUSION_DATA.

Each of scikit-image's photographs is blurred in one half and in the other, moved by a known transform, made
darker or brighter, and noisy. The error is the root mean square distance between the corners moved by the
estimated transform and by the true one. The command prints Markdown tables.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import os
import time
from pathlib import Path
from typing import Iterable, Iterator, Sequence

os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
import cv2
import numpy as np
from scipy import ndimage

from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.base.pixels import round_half_even
from two_stream_fusion.io import images
from two_stream_fusion.stack import align, frames
from two_stream_fusion.stack.registration import normalize

EXAMPLES = """examples:
  python experiments/alignment/measure.py
  python experiments/alignment/measure.py --pairs 10
  FUSION_DATA=~/photos python experiments/alignment/measure.py     also stacks/* and pairs/handheld/* there
"""
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "ihc.png", "rocket.jpg", "motorcycle_left.png")
MARGIN = 48  # pixels of a photograph that motion may bring in from each side
# Of each kind of motion: pixels, degrees, scale and tilt (change of scale across half an image) at most.
MOTIONS = {
    "shift": ("translation", 20, 0, 0, 0),
    "rotation": ("euclidean", 8, 1.5, 0, 0),
    "scale": ("affine", 8, 0, 0.03, 0),
    "scale, rotation": ("affine", 8, 1.5, 0.03, 0),
    "homography": ("homography", 8, 1.5, 0.03, 0.01),
}


def read_photograph(name: str) -> np.ndarray:
    """Read a photograph of scikit-image: H x W x 3 float32 in 0..255."""
    import skimage

    return images.read(Path(skimage.__file__).parent / "data" / name).astype(np.float32)


def random_motion(
    rng: np.random.Generator, size: tuple[int, int], pixels: float, degrees: float, scale: float, tilt: float
) -> np.ndarray:
    """Draw a random motion about the centre of an image.

    Args:
        rng: makes the draws, each uniform.
        size: height and width of the image, in pixels.
        pixels: the largest shift in x and in y.
        degrees: the largest rotation.
        scale: the largest change of size, as a share.
        tilt: the largest perspective: the share by which it changes the size at a border.

    Returns:
        3 x 3 float64.
    """
    height, width = size
    centre = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    angle = np.deg2rad(rng.uniform(-degrees, degrees))
    factor = 1 + rng.uniform(-scale, scale)
    cos, sin = factor * np.cos(angle), factor * np.sin(angle)
    x, y = rng.uniform(-pixels, pixels, 2)
    moved = np.array([[cos, -sin, x], [sin, cos, y], [0, 0, 1]])
    moved[2, :2] = rng.uniform(-tilt, tilt, 2) / (max(size) / 2)
    return normalize(centre @ moved @ np.linalg.inv(centre))


def make_moved_pair(
    photo: np.ndarray, rng: np.random.Generator, limits: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make a pair with a known motion: one image focused on the left, the other on the right.

    Args:
        photo: H x W x 3 float32 in 0..255.
        rng: makes the draws.
        limits: the last four arguments of `random_motion`.

    Returns:
        (reference, image, matrix): uint8 images, cut to the inside of the photograph, and the motion.
    """
    height, width = photo.shape[:2]
    left = np.clip(0.5 - (np.arange(width, dtype=np.float32) - width / 2) / 20, 0, 1)[None, :, None]
    if rng.random() < 0.5:
        left = 1 - left
    blurred = cv2.GaussianBlur(photo, (0, 0), rng.uniform(2, 4))
    size = (height - 2 * MARGIN, width - 2 * MARGIN)
    matrix = random_motion(rng, size, *limits)
    cut = np.array([[1, 0, MARGIN], [0, 1, MARGIN], [0, 0, 1]])
    reference = photo * left + blurred * (1 - left)
    reference = reference[MARGIN:-MARGIN, MARGIN:-MARGIN]
    image = resample(blurred * left + photo * (1 - left), cut @ np.linalg.inv(matrix), size)
    image = image * np.exp(rng.uniform(np.log(0.8), np.log(1.25)))
    return (*(add_noise(v, rng) for v in (reference, image)), matrix)


def resample(photo: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Sample a photograph at the places a matrix gives, by cubic splines, which shift nothing by themselves.

    Args:
        photo: H x W x 3 float32.
        matrix: 3 x 3; takes places in the result to places in the photograph.
        size: height and width of the result.

    Returns:
        height x width x 3 float32.
    """
    rows, columns = np.indices(size)
    coordinates = np.stack([columns.ravel(), rows.ravel(), np.ones(rows.size)])
    x, y, w = matrix @ coordinates
    planes = [
        ndimage.map_coordinates(photo[..., c], [y / w, x / w], order=3, mode="mirror") for c in range(3)
    ]
    return np.stack(planes, axis=-1).reshape(*size, 3)


def add_noise(values: np.ndarray, rng: np.random.Generator, sigma: float = 3) -> np.ndarray:
    """Add Gaussian noise and round.

    Args:
        values: floats in 0..255.
        rng: draws the noise.
        sigma: of the noise, in levels.

    Returns:
        uint8, of the shape of `values`.
    """
    return round_half_even(values + rng.normal(0, sigma, values.shape), np.uint8)


def measure_known_motions(count: int) -> Iterator[list[str]]:
    """Rows of the table for `count` pairs of every photograph and kind of motion."""
    photos = [read_photograph(name) for name in PHOTOGRAPHS]
    for label, (motion, *limits) in MOTIONS.items():
        errors, failed, seconds = [], 0, 0.0
        for i, photo in enumerate(photos):
            for j in range(count):
                reference, image, truth = make_moved_pair(photo, np.random.default_rng([i, j]), limits)
                start = time.perf_counter()
                try:
                    estimate = align.estimate(reference, image, motion)
                except align.AlignmentError:
                    failed += 1
                    continue
                seconds += time.perf_counter() - start
                errors.append(align.corner_distance(estimate, truth, image.shape))
        numbers = ["-"] * 4
        if errors:
            values = np.median(errors), np.quantile(errors, 0.9), max(errors), seconds / len(errors)
            numbers = [f"{value:.3f}" for value in values]
        yield [label, motion, f"{len(errors) + failed}", *numbers, f"{failed}"]


def measure_large_pair() -> tuple[float, float]:
    """Seconds that a pair of 24 megapixels takes, and its error in pixels."""
    photo = cv2.resize(read_photograph("astronaut.png"), (6000, 4000), interpolation=cv2.INTER_CUBIC)
    truth = np.array([[1.01, 0.005, -60], [-0.005, 1.01, 40], [0, 0, 1]])
    image = align.warp(photo.astype(np.uint8), np.linalg.inv(truth))
    start = time.perf_counter()
    estimate = align.estimate(photo.astype(np.uint8), image)
    return time.perf_counter() - start, align.corner_distance(estimate, truth, image.shape)


def measure_folder(folder: Path) -> Iterator[list[str]]:
    """Rows of the table for the stacks and hand-held pairs below `folder`."""
    for subfolder in sorted([*folder.glob("stacks/*/"), *folder.glob("pairs/handheld/*/")]):
        paths = [path for path in frames.images_in_folder(subfolder) if path.stem != "expected"]
        if len(paths) < 2:
            continue
        stack = frames.Frames(paths)
        middle = len(stack) // 2
        reference = stack[middle]
        start = time.perf_counter()
        matrices = align.estimate_stack(stack, middle)
        seconds = (time.perf_counter() - start) / (len(stack) - 1)
        likes = [
            [align.correlate_images(reference, image, m) for m in (None, matrix)]
            for image, matrix in zip(stack, matrices)
        ]
        farthest = max(align.corner_distance(m, np.eye(3), reference.shape) for m in matrices)
        before, after = np.min(likes, axis=0)
        yield [
            subfolder.name,
            f"{len(stack)}",
            f"{reference.shape[1]}x{reference.shape[0]}",
            f"{farthest:.1f}",
            *(f"{n:.3f}" for n in (before, after)),
            f"{seconds:.2f}",
        ]


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table, each row as soon as it is known.

    Args:
        header: the titles of the columns.
        rows: the cells of each row.
    """
    print(markdown_tables.markdown(header, []), end="")
    for row in rows:
        print(markdown_tables.row(row), flush=True)
    print()


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument(
        "--pairs",
        type=int,
        default=3,
        metavar="N",
        help="for each photograph and motion (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    if args.pairs < 1:
        parser.error("--pairs takes 1 or more")
    print("Errors in pixels, root mean square over the corners\n")
    header = ["motion", "model", "pairs", "median", "90 %", "largest", "seconds", "failed"]
    print_table(header, measure_known_motions(args.pairs))
    print("A pair of 24 megapixels: {:.1f} s, {:.2f} pixels off\n".format(*measure_large_pair()))
    if os.environ.get("FUSION_DATA"):
        print(
            "Stacks, aligned to their middle frame by the affine model: how far the corners of the frame that"
        )
        print("is farthest go, and the likeness to the middle of the frame that is least alike\n")
        header = ["stack", "frames", "size", "pixels", "before", "after", "seconds a frame"]
        print_table(header, measure_folder(Path(os.environ["FUSION_DATA"])))
    return 0


if __name__ == "__main__":
    cli.run(main)
