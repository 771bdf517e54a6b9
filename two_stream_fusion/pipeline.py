"""Fuse photographs from start to end: read, put in the order of focus, align, fuse.

The commands and Python both come in here:

    from two_stream_fusion import pipeline
    result = pipeline.fuse(["near.jpg", "far.jpg"], align="affine")
    result.image  # H x W x 3 uint8

What is logged goes to the logger of this module. Nothing is printed.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import (
    Any,
    Iterable,
    Mapping,
    NamedTuple,
    Sequence,
    Union,
)

import numpy as np

from two_stream_fusion.base.tiles import NETWORK_TILE
from two_stream_fusion.memory_estimate import check_memory
from two_stream_fusion.methods import networks, registry
from two_stream_fusion.stack import fuse_matte
from two_stream_fusion.stack.frames import Frames, Source
from two_stream_fusion.stack.fuse_network import (
    Progress,
    count_tiles,
    fuse_by_network,
    no_progress,
    resolve_refine,
)
from two_stream_fusion.stack.inspection import (
    Measurements,
    measure_image,
    order_and_screen,
    warn_if_misaligned,
    warn_if_pair_differs,
)
from two_stream_fusion.stack.matte import Matte

LOG = logging.getLogger(__name__)

Sources = Union[Frames, Iterable[Source]]


class LeftOut(NamedTuple):
    """An image that is not fused: its index among the sources, its name, and the reason."""

    source: int
    name: str
    reason: str


class Aligned(NamedTuple):
    """Images as they are fused.

    frames: the images, in the order of their focus and aligned.
    order: for each of `frames`, its index among the sources.
    reference: the index among the sources of the image that the others were aligned to; None where they were
        not aligned. So are the next two.
    transforms: 3 x 3 float64 for each source, which take points (x, y, 1) in the reference to it; None for
        one that is left out.
    window: (rows, columns), slices: what `frames` show of the reference.
    names: of all sources, in their order.
    left_out: the sources that `frames` lack.
    """

    frames: Frames
    order: list[int]
    reference: int | None = None
    transforms: list[np.ndarray | None] | None = None
    window: tuple[slice, slice] | None = None
    names: Sequence[str] = ()
    left_out: tuple[LeftOut, ...] = ()


class Result(NamedTuple):
    """A fused image, and how it was made.

    image: H x W or H x W x 3, of the dtype of the sources.
    alpha: H x W of that dtype, or None where all of the image is opaque; see stack/matte.py.
    choice: H x W uint16, for each pixel the index in `aligned.frames` of the one that it comes from: a depth
        map of a stack. Near depth edges the network's image of all frames is mixed in. None but for
        refine="select".
    maps: what each step of a comparison method decided by, {name: map or number}; empty for other methods.
    refine: "none" or "select"; None for comparison methods. A multi-stream network selects where images have
        alpha, whatever was asked for.
    net, weights: files of the network; None for comparison methods.
    aligned: what was fused.
    seconds: {"align": ..., "fuse": ...}; opening the network counts as fusing.
    """

    image: np.ndarray
    alpha: np.ndarray | None
    choice: np.ndarray | None
    maps: list[dict[str, Any]]
    refine: str | None
    net: Path | None
    weights: Path | None
    aligned: Aligned
    seconds: dict[str, float]

    @property
    def transforms(self) -> list[np.ndarray | None] | None:
        """As `aligned.transforms`."""
        return self.aligned.transforms

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """As `aligned.left_out`."""
        return self.aligned.left_out


def fuse(
    sources: Sources,
    method: str = "two_stream",
    *,
    options: Mapping[str, Any] | None = None,
    model: str | None = None,
    net: str | Path | None = None,
    weights: str | Path | None = None,
    refine: str | None = None,
    tile: int = NETWORK_TILE,
    gpu: int | None = None,
    precision: str = "float32",
    align: str | None = None,
    reference: int | None = None,
    crop: bool = True,
    exposure: bool = True,
    keep_order: bool = False,
    keep_all: bool = False,
    check_register: bool = True,
    progress: Progress = no_progress,
) -> Result:
    """Fuse photographs of one scene that are focused at different depths.

    Args:
        sources: two or more of one size, depth and colour: files, arrays (H x W or H x W x 3, uint8 or
            uint16), or Frames.
        method: a name of methods.registry.
        options: of a comparison method, {name: value}.
        model: of two_stream: a name of models/ (default: models.DEFAULT).
        net, weights: of two_stream: a deploy.prototxt and its caffemodel, in place of a model.
        refine: of two_stream: "none", the network's output, folded left to right (each fold costs some
            detail); "select", each pixel from one of the photographs. The default is "none" for two images,
            "select" for more.
        tile: of two_stream: side in pixels of the squares that are computed at once, 0 for all at once.
        gpu: of two_stream: the number of a GPU; the CPU where None.
        precision: of two_stream: float32, or bfloat16 with caffe_torch.
        align: bring the images into register first: translation, euclidean, affine or homography.
        reference: the index among the sources of the image that the others are aligned to (default: the
            middle one in the order of focus).
        crop: crop aligned images to what all of them show, else mirror them at their borders.
        exposure: match the brightness and white balance of aligned images.
        keep_order: leave three or more images in the order given; otherwise it is found where it matters.
        keep_all: fuse images too that do not belong to a stack of three or more (see stack/screening.py);
            otherwise they are left out, and a warning names them. Of two images none is left out.
        check_register: log a warning where neighbouring images appear misaligned.
        progress: shows how far the work is; see stack/fuse_network.py.

    Returns:
        The fused image and what is known of it.

    Raises:
        OSError: a file cannot be read.
        ValueError: images differ or cannot be aligned, or an option does not fit.
        MemoryError: the files need more memory than is free.
        IndexError: there is no image `reference`.
    """
    start = time.perf_counter()
    of_network = {"model": model, "net": net, "weights": weights, "refine": refine, "gpu": gpu}
    _check_arguments(method, options, {name for name, value in of_network.items() if value is not None})
    if reference is not None and align is None:
        raise ValueError("reference: nothing is aligned without `align`")
    if isinstance(sources, (str, os.PathLike)):
        raise ValueError(f"sources: {str(sources)!r} is one path; give a list of two or more")
    if not isinstance(sources, Frames):
        sources = list(sources)
        kind = networks.kind(model, net, weights) if method == "two_stream" else method
        check_memory(sources, kind)
    frames = as_frames(sources)
    is_network = method == "two_stream"
    refine = resolve_refine(refine, len(frames)) if is_network else None
    opening_start = time.perf_counter()
    network = networks.open_network(model, net, weights, gpu=gpu, precision=precision) if is_network else None
    opening_end = time.perf_counter()
    in_order = not keep_order and (align is not None or refine == "select")
    aligned, measured = _align_and_measure(
        frames,
        align,
        reference=reference,
        crop=crop,
        exposure=exposure,
        in_order=in_order,
        keep_all=keep_all,
        progress=progress,
    )
    if check_register and len(frames) == 2:
        warn_if_pair_differs(frames.spread(), compare_colours=align is None or not exposure)
    spread = aligned.frames.spread()
    matte = Matte(spread) if spread.has_alpha else None
    if align is None and check_register:
        coarse = [measured[i].coarse for i in aligned.order] if measured and not matte else None
        warn_if_misaligned(matte.composites if matte else spread, coarse)
    del measured
    fusing_start = time.perf_counter()
    settings: dict[str, Any] = {
        "network": network,
        "method": method,
        "options": options or {},
        "progress": progress,
    }
    settings.update(refine=refine or "none", tile=tile)
    image, alpha, choice, maps = _fuse_frames(spread, matte, **settings)
    image = _restore_levels(image, choice, aligned.frames, settings)
    frames.release()
    end = time.perf_counter()
    return Result(
        image=image,
        alpha=alpha if alpha is not None and alpha.min() < np.iinfo(alpha.dtype).max else None,
        choice=choice,
        maps=maps,
        refine=refine if choice is None else "select",
        net=Path(network.deploy) if network else None,
        weights=Path(network.weights) if network else None,
        aligned=aligned,
        seconds={
            "align": opening_start - start + fusing_start - opening_end,
            "fuse": opening_end - opening_start + end - fusing_start,
        },
    )


def _check_arguments(method, options, of_network):
    """ValueError where a method does not have the options, or is not the network that arguments are of."""
    if method == "two_stream":
        if options:
            raise ValueError("two_stream has no options; model, refine and tile are arguments")
        return
    if of_network:
        raise ValueError(f"{', '.join(sorted(of_network))}: for two_stream alone, not for {method}")
    known = registry.options(method)
    unknown = [name for name in options or {} if name not in known]
    if unknown:
        raise ValueError(f"{method} has no option {unknown[0]!r}; it has {', '.join(known) or 'none'}")


def _fuse_frames(frames, matte, *, network, method, options, refine, tile, progress):
    """(image, alpha, choice, maps) as of Result; `matte` is of `frames`, or None where all are opaque."""
    maps: list[dict[str, Any]] = []
    alpha = choice = None
    if network is not None and matte is None:
        image, choice = fuse_by_network(network, frames, refine=refine, tile=tile, progress=progress)
    elif network is not None:
        with progress("fusing", count_tiles(network, frames, tile), "tile") as track:
            image, alpha, choice = fuse_matte.fuse_by_network(
                network, matte, refine=refine, tile=tile, progress=track
            )
    else:
        with progress("fusing", len(frames), "image") as track:
            if matte:
                image, alpha, maps = fuse_matte.fuse_by_method(method, matte, progress=track, **options)
            else:
                image, maps = registry.fuse(method, track(frames), **options)
    return image, alpha, choice, maps


def _restore_levels(image, choice, frames, settings):
    """A result of spread images with the levels of the sources (see stack/levels.py).

    Pixels that were clipped are those of the frame chosen there, or of a fusion of the images as they are.
    """
    image = frames.restore(image)
    clipped = frames.clipped()
    if not clipped.any():
        return image
    if choice is None:
        plain = _fuse_frames(frames, Matte(frames) if frames.has_alpha else None, **settings)[0]
        image[clipped] = plain[clipped]
    else:
        for i, frame in enumerate(frames):
            clipped_here = clipped & (choice == i)
            image[clipped_here] = frame[clipped_here]
    return image


def align_frames(
    sources: Sources,
    motion: str | None = "affine",
    *,
    reference: int | None = None,
    crop: bool = True,
    exposure: bool = True,
    in_order: bool = True,
    keep_all: bool = False,
    progress: Progress = no_progress,
) -> Aligned:
    """Sort images by focus and align them.

    Args:
        sources: as of `fuse`.
        motion: translation, euclidean, affine or homography; None to leave the images where they are.
        reference, crop, exposure, keep_all, progress: as of `fuse`.
        in_order: sort three or more images by their focus.

    Returns:
        The images as they are to be fused, and how they were moved.

    Raises:
        OSError, ValueError, IndexError: as `fuse`.
    """
    settings: dict[str, Any] = {"in_order": in_order, "keep_all": keep_all, "progress": progress}
    return _align_and_measure(
        as_frames(sources), motion, reference=reference, crop=crop, exposure=exposure, **settings
    )[0]


def _align_and_measure(frames, motion, *, reference, crop, exposure, in_order, keep_all, progress):
    """(aligned, measured): as `align_frames`, and the Measurements of each source.

    Nothing is measured of a pair, and of a stack that needs neither its order nor its misfits.
    """
    if reference is not None and not 0 <= reference < len(frames):
        raise IndexError(f"no image {reference}: there are {len(frames)}")
    names = [frames.name(i) for i in range(len(frames))]
    order, misfits = list(range(len(frames))), []
    measured: list[Measurements] = []
    if len(frames) > 2 and not (keep_all and not in_order and motion is None):
        with progress("looking", len(frames), "image") as track:
            measured = [measure_image(frame) for frame in track(frames.spread())]
        order, misfits = order_and_screen(
            frames,
            measured,
            in_order=in_order,
            keep_all=keep_all,
            compare_brightness=motion is None or not exposure,
        )
    left_out = () if keep_all else tuple(LeftOut(i, names[i], reason) for i, reason in misfits)
    for misfit in left_out:
        if misfit.source == reference:
            raise ValueError(f"{misfit.name}: cannot be the reference: it is {misfit.reason}; see --keep-all")
    if len(order) < 2:
        raise ValueError(
            f"{names[order[0]]}: the only image that shows something; two or more are needed; see --keep-all"
        )
    for misfit in left_out:
        LOG.warning("%s is left out: it is %s; --keep-all fuses it too", misfit.name, misfit.reason)
    if order != list(range(len(frames))):
        frames = frames.reordered(order)
    if order != sorted(order):
        LOG.info("in the order of their focus: %s", " ".join(names[i] for i in order))
    if motion is None:
        return Aligned(frames, order, names=names, left_out=left_out), measured
    center = _middle(order, misfits) if reference is None else order.index(reference)
    with progress("aligning", len(frames) - 1, "image") as track:
        frames = frames.registered(center, motion, crop=crop, exposure=exposure, progress=track)
    matrices = frames.matrices or []
    for i, matrix in enumerate(matrices):
        LOG.debug(
            "%s: shifted by %.2f, %.2f pixels, scaled by %.4f",
            frames.name(i),
            *matrix[:2, 2],
            abs(np.linalg.det(matrix[:2, :2])) ** 0.5,
        )
    transforms = [matrices[order.index(i)] if i in order else None for i in range(len(names))]
    return Aligned(frames, order, order[center], transforms, frames.window, names, left_out), measured


def options(method: str) -> dict[str, Any]:
    """The options of a method and their defaults; those of two_stream are arguments of `fuse`.

    Raises:
        ValueError: there is no such method.
    """
    own = registry.options(method)
    return {**own, "refine": "none"} if method == "two_stream" else own


def as_frames(sources: Sources) -> Frames:
    """The images of `fuse` as Frames."""
    return sources if isinstance(sources, Frames) else Frames(sources)


def _middle(order, misfits):
    """The index in `order` nearest to its middle that is no misfit's."""
    middle, excluded = (len(order) - 1) // 2, {misfit.frame for misfit in misfits}
    return min((i for i, source in enumerate(order) if source not in excluded), key=lambda i: abs(i - middle))
