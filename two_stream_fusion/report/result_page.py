"""The page of one result: sources and fused image, where each pixel comes from, sharpness, options, times."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

import cv2
import numpy as np

from two_stream_fusion.base.pixels import gray
from two_stream_fusion.pipeline import Result, fuse
from two_stream_fusion.report.page import (
    Cell,
    Page,
    Picture,
    Section,
    Swatch,
    Table,
    View,
    relative_link,
    write_page,
)
from two_stream_fusion.report.pictures import Shown, choice_colours, shrink
from two_stream_fusion.stack.frames import describe

MAX_FRAMES = 24  # sources shown of a longer stack, evenly spaced
MAX_MAPS = 8  # decision maps shown of a comparison method


def sharpness(image: np.ndarray) -> float:
    """The sharpness of an image: the root mean square of its luma's Laplacian, in levels of 0..255.

    Comparable between images of one scene; noise counts as sharpness.

    Args:
        image: H x W or H x W x 3, uint8 or uint16.

    Returns:
        0 or more.

    Source: the energy of the Laplacian, M. Subbarao, T. Choi, A. Nikzad, DOI 10.1117/12.147706.
    """
    return float(np.sqrt(np.mean(cv2.Laplacian(gray(image), cv2.CV_64F) ** 2)))


def make_result_page(
    path: str | Path,
    result: Result,
    report: Mapping[str, Any],
    settings: Mapping[str, Any],
    warnings: Sequence[str] = (),
) -> Page:
    """Describe a result as a page.

    Args:
        path: where the page goes; links are relative to it.
        result: of pipeline.fuse.
        report: of outputs.make_report.
        settings: arguments of pipeline.fuse.
        warnings: what was logged.

    Returns:
        The page, as page.write_page takes it.

    Raises:
        OSError, ValueError: a source cannot be read any more.
    """
    frames = result.aligned.frames.spread()
    count, bits = len(frames), frames.level_map.bits
    fused = frames.level_map.spread(result.image)
    name = Path(report["output"]).name
    shown_indices = set(np.linspace(0, count - 1, min(count, MAX_FRAMES)).round().astype(int).tolist())
    labels = [_short(frames.name(i)) for i in range(count)]
    pictures, measured = [], []
    for i in range(count):
        image, alpha = frames.with_alpha(i)
        measured.append(sharpness(image))
        if i in shown_indices:
            alt = f"Source {i + 1} of {count} in the order of focus: {labels[i]}"
            entry = frames.entries[i]
            link = relative_link(entry.path, path) if entry.pixels is None else ""
            pictures.append(_picture(labels[i], alt, image, alpha, frames.metadata.icc, link))
    sources = len(pictures)
    link = relative_link(report["output"], path)
    alt = f"The fused image of {count} photographs: {name}"
    pictures.append(_picture("fused", alt, fused, result.alpha, frames.metadata.icc, link))
    legend = []
    if result.choice is not None:
        colours = choice_colours(count)
        pixels = colours[result.choice]
        alt = "Which photograph each pixel comes from, as colours; the legend names them"
        pictures.append(Picture("map of choices", Shown(shrink(pixels, True), True), alt, _size(pixels)))
        share = np.bincount(result.choice.ravel(), minlength=count) / result.choice.size
        legend = [Swatch((r, g, b), label) for (r, g, b), label in zip(colours.tolist(), labels)]
    else:
        share = None
    pictures += _decision_maps(result.maps)
    view = View(
        f"Sources and result: {name}",
        pictures,
        left=0,
        right=sources,
        legend_title="Map of choices: the photograph that each pixel comes from" if legend else "",
        legend=legend,
    )
    notes = []
    if sources < count:
        notes.append(f"{sources} of the {count} sources are shown, evenly spaced in the order of focus.")
    if bits:
        notes.append(f"The levels leave {bits} upper bits unused; they are shown {2**bits} times as bright.")
    if result.choice is None and result.refine == "none":
        sources_of_pixel = "both" if count == 2 else "all"
        notes.append(
            f"The network makes each pixel from {sources_of_pixel} photographs: there is no map of choices."
        )
    sections = [
        Section("Comparison", notes, warnings, [view]),
        Section("Photographs", tables=[_photographs(result, measured, sharpness(fused), share, labels)]),
        Section("How it was made", facts=_facts(report, settings)),
    ]
    lead = f"{count} photographs fused by {report['method']}, {describe(fused.shape, fused.dtype)}."
    return Page(name, lead, sections)


def write_result_page(
    path: str | Path,
    result: Result,
    report: Mapping[str, Any],
    settings: Mapping[str, Any],
    warnings: Sequence[str] = (),
    replace: bool = True,
) -> None:
    """Write the page of a result, whole or not at all.

    Args:
        path, result, report, settings, warnings: as of `make_result_page`.
        replace: replace an older file.

    Raises:
        OSError, ValueError: as `make_result_page` and page.write_page.
    """
    write_page(path, make_result_page(path, result, report, settings, warnings), replace)


def _picture(label, alt, image, alpha, icc, link):
    size = _size(image)
    pixels = shrink(image)
    if alpha is not None:
        colours = np.dstack([pixels] * 3) if pixels.ndim == 2 else pixels
        pixels = np.dstack([colours, shrink(alpha)])
    return Picture(label, Shown(pixels, icc=icc), alt, size, link)


def _size(image):
    return image.shape[1], image.shape[0]


def _short(name):
    """The name of an image without its folder; the page of a file that has several stays."""
    return Path(name).name


def _decision_maps(maps):
    pictures = []
    for number, step in enumerate(maps, 2):
        for name, values in step.items():
            if np.ndim(values) == 2 and len(pictures) < MAX_MAPS:
                label = f"{name}, image {number}" if len(maps) > 1 else name
                levels = shrink(np.rint(values * np.float64(255)).astype(np.uint8))
                alt = f"What the method decided by: {label}, 0 black to 1 white"
                pictures.append(Picture(label, Shown(levels), alt, _size(values)))
    return pictures


def _photographs(result, measured, fused, share, labels):
    columns = ["photograph", "place", "sharpness"]
    columns += ["pixels taken"] if share is not None else []
    columns += ["shift (pixels)", "scale"] if result.transforms else []
    best = max(*measured, fused)
    rows = []
    for i, (label, value) in enumerate(zip(labels, measured)):
        row = [Cell(label, label), Cell(str(i + 1), i + 1), Cell(f"{value:.2f}", value, value == best)]
        if share is not None:
            row.append(Cell(f"{100 * share[i]:.1f} %", float(share[i]), share[i] == share.max()))
        row += _motion_cells(result.transforms and result.transforms[result.aligned.order[i]])
        rows.append(row)
    empty = [Cell("", "")] * (len(columns) - 3)
    rows.append([Cell("fused", "fused"), Cell("", ""), Cell(f"{fused:.2f}", fused, fused == best), *empty])
    for misfit in result.left_out:
        text = f"{_short(misfit.name)}, left out: {misfit.reason}"
        rows.append([Cell(text, text), *[Cell("", "")] * (len(columns) - 1)])
    note = (
        "Place: in the order of focus. Sharpness: root mean square of the Laplacian of the luma, in levels "
        "of 0 to 255; noise counts too."
    )
    return Table("Photographs in the order of their focus", columns, rows, note)


def _motion_cells(matrix):
    if matrix is None:
        return []
    shift = float(np.hypot(*matrix[:2, 2]))
    scale = float(abs(np.linalg.det(matrix[:2, :2])) ** 0.5)
    return [Cell(f"{shift:.2f}", shift), Cell(f"{scale:.4f}", scale)]


def _facts(report, settings):
    """(term, description) of a report and of the settings that are not left to their defaults."""
    facts = [("output", report["output"]), ("size", report["size"]), ("method", report["method"])]
    facts += [(name, str(value)) for name, value in report["options"].items()]
    facts += [
        (name, str(report[name])) for name in ("refine", "net", "weights", "reference") if name in report
    ]
    printed_keys = ("method", "options", "refine", "net", "weights", "reference")
    for name, value in settings.items():
        if name not in printed_keys and value != fuse.__kwdefaults__.get(name):
            shown = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
            facts.append((name.replace("_", " "), shown))
    facts += [(f"time to {stage}", f"{seconds:.2f} s") for stage, seconds in report["seconds"].items()]
    facts.append(("version", report["version"]))
    return facts
