"""Whether memory holds a fusion, found from the headers of its files before any is decoded."""

from __future__ import annotations

import contextlib
import itertools
import logging
from pathlib import Path
from typing import Any, Iterable, NamedTuple

import numpy as np

from two_stream_fusion.base import memory
from two_stream_fusion.base.memory import require_memory
from two_stream_fusion.io import images
from two_stream_fusion.methods import registry
from two_stream_fusion.stack.frames import KEPT_BYTES, find_images

BYTES_PER_MORE_IMAGE = 28  # more for each image beyond two where a method takes all at once
DEPTH_COPIES = 5  # copies of the images that grow with their depth
PROGRAM_BYTES = 150 * 2**20  # Python and its libraries
PAIR_NETWORK_BYTES = 500 * 2**20  # PyTorch, and a network on tiles, for two images
STACK_NETWORK_BYTES = 800 * 2**20  # the same for more
MULTI_STREAM_BYTES = 1400 * 2**20  # the same of a multi-stream network, for any number
MULTI_STREAM_BYTES_PER_FRAME = 2  # a pixel


def needed_bytes(method: str, count: int, header: Any) -> int:
    """Estimate the memory that a fusion needs at its peak.

    Args:
        method: a name of methods.registry; or multi_stream, for a network of two_stream that is one.
        count: the number of images.
        header: of the largest image, an io.decode.Header.

    Returns:
        Bytes.
    """
    pixels, channels = header.width * header.height, header.channels
    is_multi_stream = method == "multi_stream"
    row = registry.find("two_stream" if is_multi_stream else method)
    pixel_bytes = row.working_bytes or max(other.working_bytes or 0 for other in registry.METHODS.values())
    if row.takes_many:
        pixel_bytes += BYTES_PER_MORE_IMAGE * (count - 2)
    program = PROGRAM_BYTES
    if is_multi_stream:
        program += MULTI_STREAM_BYTES
        pixel_bytes += MULTI_STREAM_BYTES_PER_FRAME * count
    elif row.has_network:
        program += PAIR_NETWORK_BYTES if count == 2 else STACK_NETWORK_BYTES
    waiting = 2 * header.size  # the neighbours of an image that is being decoded
    kept = count * header.size if count > 2 and count * header.size <= KEPT_BYTES else 0
    fusing = pixels * (pixel_bytes + DEPTH_COPIES * channels * (header.itemsize - 1))
    return program + kept + max(fusing, header.decoding + waiting)


class Estimate(NamedTuple):
    """needed: bytes at the peak of a fusion. purpose: the fusion, for messages."""

    needed: int
    purpose: str


def estimate_memory(
    sources: Iterable[Any],
    method: str = "two_stream",
    *,
    channel: int | None = None,
    time: int | None = None,
    scoring_bytes: int = 0,
) -> Estimate | None:
    """Estimate the memory that a fusion needs, from the headers of its files.

    Args:
        sources: as of pipeline.fuse; arrays are in memory already and count for nothing.
        method: as of `needed_bytes`.
        channel, time: as of images.read.
        scoring_bytes: for each pixel, what scoring the fused image takes afterwards.

    Returns:
        The estimate; None where no file is read, or there are not two images.

    Raises:
        OSError, ValueError: a file cannot be read, or is of a kind that is not.
    """
    count, largest, path = 0, None, None
    for source in sources:
        if isinstance(source, np.ndarray):
            count += 1
            continue
        count += images.pages(source, channel=channel, time=time)
        header = images.header(source, channel=channel, time=time)
        if largest is None or header.decoding > largest.decoding:
            largest, path = header, Path(source)
    if largest is None or count < 2:
        return None
    purpose = f"{path}: {count} images of {largest.width}x{largest.height} pixels, fused by {method}"
    scoring = PROGRAM_BYTES + (count + 1) * largest.size + scoring_bytes * largest.width * largest.height
    needed = needed_bytes(method, count, largest)
    return Estimate(max(needed, scoring) if scoring_bytes else needed, purpose)


def check_memory(
    sources: Iterable[Any],
    method: str = "two_stream",
    *,
    channel: int | None = None,
    time: int | None = None,
    value_range: tuple[float, float] | None = None,
) -> None:
    """Refuse a fusion that memory cannot hold, before an image is decoded.

    Args:
        sources, method: as of `estimate_memory`.
        channel, time, value_range: as of images.read; the last one changes nothing here.

    Raises:
        OSError, ValueError: a file cannot be read, or is of a kind that is not.
        MemoryError: more memory is needed than is free.
    """
    estimate = estimate_memory(sources, method, channel=channel, time=time)
    if estimate:
        require_memory(*estimate)


def limit_jobs(
    batch: Iterable[list[Path]],
    jobs: int,
    method: str = "two_stream",
    *,
    channel: int | None = None,
    time: int | None = None,
    value_range: tuple[float, float] | None = None,
    option: str = "--jobs",
    scoring_bytes: int = 0,
) -> int:
    """How many fusions of a batch memory holds at the same time, whichever they are.

    A warning says where they are fewer than `jobs`. Fusions that memory cannot hold alone, or whose files
    cannot be read, do not count: they are refused when their turn comes.

    Args:
        batch: for each fusion its sources, words as find_images takes them.
        jobs: the number that is wanted.
        method, channel, time, value_range: as of `check_memory`.
        option: that says how many, for the warning.
        scoring_bytes: as of `estimate_memory`.

    Returns:
        1 to `jobs`.
    """
    free, needs = memory.available(), []
    for sources in batch:
        with contextlib.suppress(OSError, ValueError):
            paths = find_images([*sources])
            estimate = estimate_memory(paths, method, channel=channel, time=time, scoring_bytes=scoring_bytes)
            if estimate and estimate.needed <= free:
                needs.append(estimate.needed)
    largest = sorted(needs, reverse=True)[:jobs]
    fitting = sum(total <= free for total in itertools.accumulate(largest))
    if fitting == len(largest):
        return jobs
    logging.getLogger(__name__).warning(
        "%s %d: memory holds only %d at a time: the largest needs %.1f GiB, %.1f are free",
        *(option, jobs, fitting, largest[0] / 2**30, free / 2**30),
    )
    return fitting
