"""Fuse aligned images by the two-stream network: two, or a stack in the order of its focus."""

from __future__ import annotations

import contextlib
from functools import partial, reduce
from typing import TYPE_CHECKING, Callable, ContextManager, Iterable, Iterator

import cv2
import numpy as np

from two_stream_fusion.base.tiles import NETWORK_TILE, tiles
from two_stream_fusion.stack import depth_edges, pair_selection
from two_stream_fusion.stack.blend import blend_frames
from two_stream_fusion.stack.frame_selection import select_frames
from two_stream_fusion.stack.frames import Frames

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

    from two_stream_fusion.methods.multi_stream import MultiStream

EDGE_TILE = 192  # pixels a side near depth edges, for speed alone: they are a small part of an image
REFINEMENTS = ("none", "select")

Track = Callable[[Iterable], Iterable]
Progress = Callable[[str, int, str], ContextManager[Track]]


@contextlib.contextmanager
def no_progress(stage: str, total: int, unit: str) -> Iterator[Track]:
    """Show nothing. Others show a bar.

    Args:
        stage: what is done: "looking", "aligning", "fusing" or "depth edges".
        total: the number of units in this stage.
        unit: "image" or "tile".

    Yields:
        A function that wraps an iterable; all that it wraps in this stage has `total` items.
    """
    yield iter


def fuse_by_network(
    network: Callable[..., np.ndarray] | MultiStream,
    frames: Frames | list[np.ndarray],
    *,
    refine: str = "none",
    tile: int = NETWORK_TILE,
    progress: Progress = no_progress,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Fuse aligned images by a network.

    Args:
        network: fuses two images: a TwoStream; or all at once: a MultiStream.
        frames: two or more images, alike. They are read once, by "select" up to three times where there are
            more than two.
        refine: "none", the network's output, folded left to right (each fold costs some detail). Or "select",
            each pixel from one of the images: of two by stack/pair_selection.py, of more, in the order of
            their focus, by stack/frame_selection.py and stack/blend.py. Near depth edges a stack has the
            network's image of all frames (stack/depth_edges.py).
        tile: as of TwoStream.
        progress: shows how far the work is; see no_progress.

    Returns:
        (fused, choice): an image like the others, and H x W uint16, the index in `frames` of the image that
        each pixel comes from; None for "none".

    Raises:
        ValueError: images differ, there are fewer than two, or `refine` is another.
    """
    if refine not in REFINEMENTS:
        raise ValueError(f"unknown refine {refine!r}: none or select")
    if len(frames) < 2:
        raise ValueError("two images or more are needed")
    frames = frames if isinstance(frames, Frames) else Frames(frames)
    with progress("fusing", count_tiles(network, frames, tile), "tile") as track:
        if fuses_stacks(network):
            image, choice = network(frames, tile=tile, progress=track)
            return (image, None) if refine == "none" else (blend_frames(frames, choice), choice)
        if refine == "none":
            return reduce(lambda a, b: network(a, b, tile=tile, progress=track), frames), None
        if len(frames) == 2:
            a, b = frames
            fused, from_b = pair_selection.select_pixels(a, b, network(a, b, tile=tile, progress=track))
            return fused, from_b.astype(np.uint16)
        choice = select_frames(network, frames, tile=tile, progress=track)
    return fuse_depth_edges(network, frames, blend_frames(frames, choice), choice, tile, progress), choice


def fuse_depth_edges(
    network: Callable[..., np.ndarray],
    frames: Frames,
    image: np.ndarray,
    choice: np.ndarray,
    tile: int = NETWORK_TILE,
    progress: Progress = no_progress,
) -> np.ndarray:
    """Take the network's image of a stack near depth edges: see stack/depth_edges.py.

    The network is computed only on the squares that this needs.

    Args:
        network: a TwoStream.
        frames: in the order of their focus.
        image: their fusion otherwise.
        choice: H x W, for each pixel the index of its frame.
        tile, progress: as of `fuse_by_network`.

    Returns:
        The image; `image` itself where there are no depth edges.
    """
    weight = depth_edges.edge_weight(choice, len(frames))
    if weight is None:
        return image
    tile = min(tile or EDGE_TILE, EDGE_TILE)
    margin = depth_edges.WINDOW // 2 + network.receptive_field_radius * (len(frames) - 1).bit_length()
    where = cv2.dilate((weight > 0).astype(np.uint8), np.ones((2 * margin + 1,) * 2, np.uint8)) > 0
    squares = sum(int(where[inner].any()) for inner, _, _ in tiles(where.shape, tile, 0))
    with progress("depth edges", squares * (len(frames) - 1), "tile") as track:
        fuse = partial(network, tile=tile, where=where, progress=track)
        fused = depth_edges.fuse_tree(fuse, frames)
    return depth_edges.blend_network(image, fused, frames, weight)


def fuses_stacks(network: Callable[..., np.ndarray] | MultiStream) -> TypeGuard[MultiStream]:
    """Whether a network fuses all frames of a stack at once; its module, and Caffe, need not be imported."""
    return hasattr(network, "count_squares")


def count_tiles(network: Callable[..., np.ndarray] | MultiStream, frames: Frames, tile: int) -> int:
    """Count the squares that a network computes for a pair, or for the neighbours of a stack.

    Args:
        network: a TwoStream, or a MultiStream, which computes those of the whole stack.
        frames: the images.
        tile: as of TwoStream.

    Returns:
        The number.
    """
    if fuses_stacks(network):
        return network.count_squares(frames.shape, len(frames), tile)
    return len(tiles(frames.shape[:2], tile, 0)) * (len(frames) - 1)


def resolve_refine(refine: str | None, count: int) -> str:
    """Find the refinement of two_stream for a number of images.

    Args:
        refine: none, select, or None for the default: none for two images, select for more.
        count: the number of images.

    Returns:
        The refinement.

    Raises:
        ValueError: there is no such refinement.
    """
    if refine is None:
        return "none" if count == 2 else "select"
    if refine not in REFINEMENTS:
        raise ValueError(f"unknown refine {refine!r}: none or select")
    return refine
