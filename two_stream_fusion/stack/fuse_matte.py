"""Fuse frames with alpha: the alpha is fused as the pixels are.

Not from the paper. stack/matte.py says what methods see of such frames.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Callable, Iterable, Sequence

import numpy as np

from two_stream_fusion.methods import registry
from two_stream_fusion.stack import pair_selection
from two_stream_fusion.stack.blend import blend_frames
from two_stream_fusion.stack.frame_selection import select_frames
from two_stream_fusion.stack.fuse_network import fuses_stacks
from two_stream_fusion.stack.matte import Matte

if TYPE_CHECKING:
    from two_stream_fusion.methods.multi_stream import MultiStream

Track = Callable[[Iterable], Iterable]


def fuse_by_network(
    network: Callable[..., np.ndarray] | MultiStream,
    matte: Matte,
    *,
    refine: str,
    tile: int,
    progress: Track = iter,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Fuse frames with alpha by a network.

    Args:
        network: fuses two images: a TwoStream; or all at once: a MultiStream.
        matte: two or more frames.
        refine: "none", the network's output for the colours and for the alphas. Or "select", by the choice
            that is made for the composites, as a MultiStream always does.
        tile, progress: as of TwoStream.

    Returns:
        (image, alpha, choice): image and choice as of fuse_network.fuse_by_network, and H x W. The choice
        names frames that show their pixels.

    Raises:
        ValueError: images cannot be fused.
    """
    options: dict[str, Any] = {"tile": tile, "progress": progress}
    if fuses_stacks(network):
        choice = network(matte.composites, **options)[1]
    elif refine == "none":
        image = reduce(lambda a, b: network(a, b, **options), matte.colours)
        alpha = reduce(lambda a, b: network(a, b, tile=tile), matte.alphas)
        return image, matte.clip_alpha(alpha), None
    elif len(matte.composites) == 2:
        a, b = matte.composites
        choice = pair_selection.select_pixels(a, b, network(a, b, **options))[1].astype(np.uint16)
    else:
        choice = select_frames(network, matte.composites, **options)
    layers = blend_frames(matte.layers, choice)
    image = layers[..., :3] if layers.shape[2] == 4 else layers[..., 0]
    return np.ascontiguousarray(image), np.ascontiguousarray(layers[..., -1]), matte.shown_choice(choice)


def fuse_by_method(
    name: str, matte: Matte, *, progress: Track = iter, **options: Any
) -> tuple[np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Fuse frames with alpha by a comparison method.

    A method with maps decides by the composites, and its decision holds for colours and alphas. Any other
    method fuses the alphas as gray images.

    Args:
        name: of the method.
        matte: two or more frames.
        progress: wraps the frames.
        options: of the method.

    Returns:
        (image, alpha, decisions): image and decisions as of registry.fuse, and H x W.

    Raises:
        ValueError, TypeError: as of registry.fuse.
    """
    method, module = registry.find(name), registry.load(name)
    if not method.has_maps:
        image = registry.fuse(name, progress(matte.colours), **options).image
        return image, matte.clip_alpha(registry.fuse(name, matte.alphas, **options).image), []
    decisions: list[dict[str, Any]] = []

    def step(*frames: Sequence[np.ndarray]):
        composites, colours, alphas = zip(*frames)
        decision = module.decide(*composites, **options)
        decisions.append(decision)
        return [module.apply(images, decision) for images in (composites, colours, alphas)]

    frames = zip(progress(matte.composites), matte.colours, matte.alphas)
    _, image, alpha = step(*frames) if method.takes_many else reduce(step, frames)
    return image, matte.clip_alpha(alpha), decisions
