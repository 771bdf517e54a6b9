"""What a fusion writes: the image, and beside it a panel, maps, aligned images and reports."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable

import numpy as np

import two_stream_fusion
from two_stream_fusion.base.files import atomic_write, check_output
from two_stream_fusion.base.pixels import eight_bits
from two_stream_fusion.io import images
from two_stream_fusion.io.metadata import Metadata
from two_stream_fusion.methods import registry
from two_stream_fusion.pipeline import Aligned, Result
from two_stream_fusion.stack.frames import Frames, describe
from two_stream_fusion.stack.fuse_network import resolve_refine

PANEL = 4  # sources shown side by side at the most


@dataclass(frozen=True)
class Outputs:
    """Where the results of one fusion go; None for what is not wanted.

    image: the fused image. panel: sources and result side by side. choice_map: which image each pixel comes
    from. report: JSON. map_folder: for the decision maps of a comparison method. aligned_folder: for the
    aligned images, in place of a fused one. page: HTML for a browser (report/result_page.py). force:
    replace files that exist.
    """

    image: Path | None = None
    panel: Path | None = None
    choice_map: Path | None = None
    report: Path | None = None
    map_folder: Path | None = None
    aligned_folder: Path | None = None
    page: Path | None = None
    force: bool = False

    def files(self) -> list[Path]:
        """The files among them; folders are not."""
        paths = (self.image, self.panel, self.choice_map, self.report, self.page)
        return [path for path in paths if path]


def check_outputs(outputs: Outputs, sources: Iterable[Path], method: str) -> None:
    """Check all outputs before anything is read.

    Args:
        outputs: what is to be written.
        sources: the files to fuse.
        method: its name begins the names of its maps.

    Raises:
        ValueError: an output is a source, exists while `force` is not set, is named twice, lies in a folder
            that does not exist or cannot be written to, or is of a format that cannot be written.
    """
    sources = list(sources)
    for path in outputs.files():
        check_output(path, sources, outputs.force)
        if path.is_dir():
            raise ValueError(f"{path}: is a folder")
        if not os.path.isdir(os.path.dirname(os.path.realpath(path))):
            raise ValueError(f"{path}: its folder does not exist")
        _check_folder_is_writable(path.parent)
        if path == outputs.page and path.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"{path}: a page of --report needs the ending .html")
        if path not in (outputs.report, outputs.page):
            images.check_writable(path)
    for folder in filter(None, (outputs.map_folder, outputs.aligned_folder)):
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder}: is not a folder")
        _check_folder_is_writable(folder)
    maps = outputs.map_folder
    if maps:
        if not os.path.isdir(os.path.dirname(os.path.realpath(maps))):
            raise ValueError(f"{maps}: its parent folder does not exist")
        for path in sorted(maps.glob(f"{method}_*.png")):
            check_output(path, sources, outputs.force)
    real_paths = set()
    for path in outputs.files():
        if os.path.realpath(path) in real_paths:
            raise ValueError(f"{path}: named for two outputs")
        real_paths.add(os.path.realpath(path))


def _check_folder_is_writable(folder):
    """ValueError where no file can be made in `folder`; if it does not exist, where it cannot be made."""
    folder = Path(os.path.abspath(folder))
    existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise ValueError(f"{existing}: is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(f"{existing}: no permission to write to this folder")


def check_kinds(outputs: Outputs, frames: Frames, method: str, refine: str | None, is_cropped: bool) -> None:
    """Check that the outputs suit the images, before the work.

    Args:
        outputs: what is to be written.
        frames: the images.
        method, refine: as of pipeline.fuse.
        is_cropped: whether aligning may make the images smaller.

    Raises:
        ValueError: a map is wanted of what has none, or a format cannot hold the image, the map or the panel.
    """
    is_choice = method == "two_stream" and resolve_refine(refine, len(frames)) == "select"
    if outputs.choice_map and not is_choice:
        raise ValueError("--map: no pixel comes from one image alone; --refine select makes each one do so")
    if outputs.map_folder and not registry.find(method).has_maps:
        raise ValueError(f"--maps: {method} has none; gf, psfs and cnn have, and --map is two_stream's")
    shape = () if is_cropped else frames.shape
    if outputs.image:
        images.check_writable(outputs.image, frames.dtype, not frames.is_opaque(0), shape)
    if outputs.choice_map:
        images.check_writable(outputs.choice_map, _choice_dtype(len(frames)), shape=shape[:2])
    if outputs.panel and shape:
        width = shape[1] * (min(PANEL, len(frames)) + 1)
        images.check_writable(outputs.panel, shape=(shape[0], width))


def aligned_paths(outputs: Outputs, frames: Frames) -> list[Path]:
    """Where each image goes once it is aligned: files in the folder `aligned_folder`.

    Args:
        outputs: of the fusion.
        frames: the images.

    Returns:
        A .tif file for each image, in their order.

    Raises:
        ValueError: a file exists (with `force`: is a source), or two images have one name.
    """
    paths: list[Path] = []
    for i, entry in enumerate(frames.entries):
        name = entry.path.stem if frames.name(i) == str(entry.path) else f"{entry.path.stem}_{entry.page}"
        path = Path(outputs.aligned_folder or ".", f"{name}.tif")
        if path in paths:
            raise ValueError(f"{path}: named for two of the images")
        is_source = path.exists() and any(path.samefile(other.path) for other in frames.entries)
        if path.exists() and (is_source or not outputs.force):
            raise ValueError(f"{path}: exists; --force replaces it, unless it is one of the images")
        paths.append(path)
    return paths


def write_aligned(paths: list[Path], aligned: Aligned, replace: bool = True) -> None:
    """Write aligned images, each with its own alpha.

    Args:
        paths: for each source, as `aligned_paths` gives them.
        aligned: the images.
        replace: replace older files.

    Raises:
        ValueError: without `replace`, a file exists.
    """
    frames = aligned.frames
    folder = paths[0].parent
    folder.mkdir(parents=True, exist_ok=True)
    for i, position in enumerate(aligned.order):
        images.write(paths[position], *frames.with_alpha(i), frames.metadata, replace=replace)
    size = describe(frames.shape, frames.dtype)
    logging.getLogger(__name__).info("%s: %d images aligned, %s", folder, len(frames), size)


def write_outputs(outputs: Outputs, result: Result, method: str) -> None:
    """Write the fused image and what else is wanted, but for the report.

    The image is written last. A folder of maps is not written in one step, and where there is an image,
    --resume takes the folder for complete.

    Args:
        outputs: the files to write.
        result: of the fusion.
        method: its name.

    Raises:
        ValueError: a file exists by now, and `outputs.force` is not set; or the format of the image has no
            alpha channel, and the image has one. Nothing is written then.
    """
    log, frames = logging.getLogger(__name__), result.aligned.frames
    if outputs.image:
        images.check_writable(outputs.image, result.image.dtype, result.alpha is not None, result.image.shape)
    if outputs.choice_map and result.choice is not None:
        write_choice_map(outputs.choice_map, result.choice, len(frames), outputs.force)
        log.info("%s: which image each pixel is from, black the first, white the last", outputs.choice_map)
    if outputs.map_folder:
        write_maps(outputs.map_folder, method, result.maps, outputs.force)
        log.info("%s: the decision maps of %s", outputs.map_folder, method)
    if outputs.panel:
        write_panel(outputs.panel, frames, result.image, outputs.force)
        log.info("%s: sources and result, left to right", outputs.panel)
    if outputs.image:
        images.write(outputs.image, result.image, result.alpha, frames.metadata, replace=outputs.force)
        size = describe(result.image.shape, result.image.dtype)
        log.info("%s: %d images fused, %s", outputs.image, len(frames), size)


def write_choice_map(path: Path, choice: np.ndarray, count: int, replace: bool = True) -> None:
    """Write which image each pixel comes from, from black (the first) to white (the last).

    Args:
        path: an image file.
        choice: H x W integers, 0 to count - 1.
        count: the number of images. 8 bit where they can be told apart, else 16.
        replace: replace an older file.
    """
    dtype = _choice_dtype(count)
    top = np.iinfo(dtype).max
    images.write(path, (choice.astype(np.uint32) * top // (count - 1)).astype(dtype), replace=replace)


def _choice_dtype(count):
    """The type of a map of choices among `count` images: each has a level of its own."""
    return np.uint8 if count <= 256 else np.uint16


def write_maps(folder: Path, method: str, maps: list[dict[str, Any]], replace: bool = True) -> None:
    """Write the maps that the steps of a method decided by, 0..1 as black to white.

    Args:
        folder: made where there is none.
        method: the name that the files begin with.
        maps: a dict for each step, {name: H x W in 0..1}; numbers are left out.
        replace: replace older files.
    """
    folder.mkdir(exist_ok=True)
    for number, step in enumerate(maps, 2):
        for name, values in step.items():
            if np.ndim(values) == 2:
                image = f"_image{number}" if len(maps) > 1 else ""  # each step takes in one more
                levels = np.rint(values * np.float64(255)).astype(np.uint8)
                images.write(folder / f"{method}{image}_{name}.png", levels, replace=replace)


def write_panel(path: Path, frames: Frames, fused: np.ndarray, replace: bool = True) -> None:
    """Write up to PANEL of the sources, evenly spaced, and the result, side by side in 8 bit.

    Levels of 16 bits that use a part of them, as 12 bits do, are spread over all: else the panel is black.

    Args:
        path: the file.
        frames: the sources.
        fused: the result, an image like theirs.
        replace: whether an older file may be replaced.
    """
    indices = np.unique(np.linspace(0, len(frames) - 1, min(PANEL, len(frames))).round().astype(int))
    if frames.dtype == np.uint16:
        frames = frames.spread()
        fused = frames.level_map.spread(fused)
    row = np.concatenate([*(frames[i] for i in indices), fused], axis=1)
    images.write(path, eight_bits(row), metadata=Metadata(icc=frames.metadata.icc), replace=replace)


def make_report(
    output: Path,
    aligned: Aligned,
    seconds: dict[str, float],
    *,
    align: str | None = None,
    result: Result | None = None,
    method: str = "",
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Describe a fusion, as a report holds it.

    Args:
        output: the fused image, or the folder of aligned ones.
        aligned: the images.
        seconds: {stage: seconds}.
        align: the model of motion, if images were aligned.
        result: of pipeline.fuse; None where images were only aligned.
        method, options: as of pipeline.fuse.

    Returns:
        A dict of what JSON can hold.
    """
    frames, names = aligned.frames, list(aligned.names)
    report: dict[str, Any] = {"version": two_stream_fusion.__version__}
    if result:
        report["method"] = method
    report["output"] = str(output)
    if result:
        report["options"] = options or {}
    report["sources"] = names
    if aligned.left_out:
        report["left_out"] = [{"source": name, "reason": reason} for _, name, reason in aligned.left_out]
    if aligned.order != sorted(aligned.order):
        report["order"] = [names[i] for i in aligned.order]
    if aligned.reference is not None and aligned.transforms is not None and aligned.window is not None:
        rows, columns = aligned.window
        report["reference"], report["align"] = names[aligned.reference], align
        report["transforms"] = [None if m is None else m.tolist() for m in aligned.transforms]
        report["window"] = {"left": columns.start, "top": rows.start}
    if result and result.refine:
        report.update(net=str(result.net), weights=str(result.weights), refine=result.refine)
    numbers = [{k: v for k, v in step.items() if np.ndim(v) < 2} for step in (result.maps if result else ())]
    if any(numbers):
        report["estimated"] = numbers
    report["size"] = describe(frames.shape, frames.dtype)
    report["seconds"] = {name: round(value, 3) for name, value in seconds.items()}
    return report


def write_report(path: Path, report: dict[str, Any], replace: bool = True) -> None:
    """Write a report as JSON, whole or not at all.

    Args:
        path: the file.
        report: ready for JSON.
        replace: whether an older file may be replaced.

    Raises:
        ValueError: the file exists, and `replace` is not set.
    """
    with atomic_write(path, replace) as partial:
        partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
