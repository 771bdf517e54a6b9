"""Write the tables of eval/tables.py as a page for a browser: every pair by every method, scores, and plots.

The page is one file that needs no network. It shows the fused images that the tables were made of,
their difference from the ground truth where that is known, and how far MI agrees with the distance from it.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import csv
import math
from pathlib import Path
from typing import Any, Dict, Mapping, NamedTuple, Sequence

import numpy as np

from data_prep import fetch
from eval import pairs, results, tables
from eval.score import score
from two_stream_fusion import metrics
from two_stream_fusion.base import cli
from two_stream_fusion.base.pixels import check_alike
from two_stream_fusion.io import images
from two_stream_fusion.metrics import learned
from two_stream_fusion.metrics.preprocess import eight_bit_originals
from two_stream_fusion.report.page import Cell, Page, Picture, Section, Table, View, relative_link, write_page
from two_stream_fusion.report.pictures import MAX_SIDE, Shown, difference_picture, shrink
from two_stream_fusion.report.plots import Plot, Point

EXAMPLES = """examples:
  python eval/report.py                         what `make report` runs after `make tables`: build/report.html
  python eval/report.py --tables build/tables --out /tmp/tables.html
  python eval/report.py --no-lytro              a smaller page: the four pairs of Tables 1 to 4
"""
TRUTH = "ground truth"
FIDELITY = ("PSNR", "SSIM", results.OUTLINE_PSNR)
PLOTTED = "MI"  # the metric that the plots set against PSNR
MAX_PLOTS = 6

ByPair = Dict[str, Dict[str, Dict[str, float]]]  # {pair: {title: {metric: value}}}


class Pair(NamedTuple):
    """What the page shows of a pair: its images, and why any are missing."""

    view: View | None
    truth_scores: dict[str, float]  # of the ground truth itself; empty where it is not known
    notes: list[str]


def read_scores(folder: str | Path) -> ByPair:
    """Read the scores of the CSV files that eval/tables.py wrote.

    Args:
        folder: where the tables are.

    Returns:
        {pair: {title: {metric: value}}}, with PSNR and SSIM where the ground truth is known.

    Raises:
        ValueError: there are none.
    """
    folder = Path(folder)
    scores: ByPair = {}
    paths = [*(folder / f"table{number}.csv" for number in pairs.TABLES), folder / "lytro.csv"]
    paths += [folder / f"truth_{name}.csv" for name in pairs.WITH_GROUND_TRUTH]
    for path in filter(Path.is_file, paths):
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                name = row.get("pair") or path.stem.partition("_")[2]
                numbers = {k: float(v) for k, v in row.items() if k not in ("table", "pair", "method")}
                scores.setdefault(name, {}).setdefault(row["method"], {}).update(numbers)
    if not scores:
        raise ValueError(f"{folder}: no tables there; `make tables` makes them")
    return scores


def show_pair(
    name: results.PairName,
    rows: tables.Rows,
    files: Mapping[str, Path],
    page: str | Path,
    columns: Sequence[str] | None = None,
    max_side: int = MAX_SIDE,
    hint: str = "; `make tables` makes it",
) -> Pair:
    """The images of a pair: its ground truth, its sources, and the fused image of each method.

    Args:
        name: a pair, as pairs.load takes it.
        rows: {title: {metric: value}} of the pair.
        files: {title: its fused image}.
        page: where the page goes; links are relative to it.
        columns: metrics that the ground truth is scored by; None for the six of the paper.
        max_side: pixels of the longer side of a picture.
        hint: how to get a fused image that lacks.

    Returns:
        The view, without those that are not available.
    """
    try:
        a, b, truth = results.load_pair(name)
    except (OSError, ValueError) as error:
        return Pair(None, {}, [f"The photographs cannot be shown: {error}"])
    is_rendered = name in pairs.WITH_GROUND_TRUTH
    links = [] if is_rendered else [relative_link(path, page) for path in _pair_files(name)]
    shown_pictures, notes = [], []

    def add(label, alt, image, link="", note=""):
        difference = None
        if truth is not None:
            difference = Shown(shrink(difference_picture(image, truth), max_side=max_side))
        size = (image.shape[1], image.shape[0])
        shown_pictures.append(
            Picture(label, Shown(shrink(image, max_side=max_side)), alt, size, link, difference, note)
        )

    if truth is not None:
        add(TRUTH, f"{name}: the scene in focus throughout", truth)
    for label, image, link in zip("AB", (a, b), [*links, "", ""]):
        add(f"source {label}", f"{name}: photograph {label}", image, link)
    missing = []
    for title, row in rows.items():
        path = files.get(title)
        try:
            image = images.read(path) if path else None
            if image is not None:
                if a.dtype == np.uint8:  # as it was scored
                    (image,) = eight_bit_originals(image)
                image = _with_channels_of(a, image)
                check_alike(a, image)
        except (OSError, ValueError) as error:
            notes.append(f"{title} cannot be shown: {error}.")
            continue
        if image is None or path is None:
            missing.append(title)
        else:
            note = f"{row['PSNR']:.1f} dB" if "PSNR" in row else ""
            add(title, f"{name} fused by {title}", image, relative_link(path, page), note)
    if missing:
        notes.append(f"No fused image of {', '.join(missing)}{hint}.")
    positions = {picture.name: position for position, picture in enumerate(shown_pictures)}
    has_truth = truth is not None
    right = positions.get("Ours", len(shown_pictures) - 1)
    view = View(name, shown_pictures, 0, right, is_grid=has_truth, shows_differences=has_truth)
    return Pair(view, score([a, b], truth, columns=columns) if has_truth else {}, notes)


def _with_channels_of(source, image):
    """Colour of equal channels as gray beside a gray source, and gray as colour beside one of colour."""
    if source.ndim < image.ndim:
        gray = image[..., 0]
        return gray if (image == gray[..., None]).all() else image
    return np.repeat(image[..., None], 3, axis=2) if source.ndim > image.ndim else image


def _fused_files(name, titles, folder):
    """{title: the image that eval/tables.py kept}."""
    paths = {title: results.find_fused(name, title, folder) for title in titles}
    return {title: path for title, path in paths.items() if path}


def _pair_files(name):
    if isinstance(name, pairs.Files):
        return [name.a, name.b]
    try:
        return fetch.pair_files(name if "/" in name else f"classic/{name}")
    except (OSError, ValueError):
        return []


def score_table(
    caption: str,
    rows: tables.Rows,
    beside: tables.Rows | None = None,
    truth_scores: Mapping[str, float] | None = None,
    note: str = "",
) -> Table:
    """Scores as a table that sorts, the best of each column marked.

    Args:
        caption: of the table.
        rows: {title: {metric: value}}.
        beside: published values, shown below ours, the best of theirs marked too.
        truth_scores: of the ground truth, a row of its own that is never the best.
        note: below the table.

    Returns:
        The table, as the page takes it.
    """
    beside = beside or {}
    known = (*FIDELITY, *metrics.REGISTRY, *learned.NAMES)
    columns = [m for m in known if any(m in row for row in rows.values())]
    lines = []
    for title, row in rows.items():
        cells = [Cell(title, title)]
        for metric in columns:
            published = beside.get(title, {}).get(metric)
            cells.append(
                Cell(
                    _number(row.get(metric, math.nan), metric),
                    row.get(metric, math.nan),
                    title in tables.best(rows, metric),
                    "" if published is None else f"({_number(published, metric)})",
                    published is not None and title in tables.best(beside, metric),
                )
            )
        lines.append(cells)
    if truth_scores:
        cells = [
            Cell(_number(truth_scores[m], m), truth_scores[m]) if m in truth_scores else Cell("", "")
            for m in columns
        ]
        lines.append([Cell(TRUTH, TRUTH), *cells])
    return Table(caption, ["method", *columns], lines, note)


def _number(value, metric):
    return f"{value:.2f}" if metric.startswith("PSNR") else f"{value:.{tables.DIGITS}f}"


def plot_against_psnr(
    name: str, rows: tables.Rows, truth_scores: Mapping[str, float], metric: str = PLOTTED
) -> Plot:
    """Plot PSNR to the ground truth against a metric, a point for each method.

    Args:
        name: of the pair.
        rows: its scores, {title: {metric: value}}.
        truth_scores: of the ground truth itself.
        metric: the one to plot.

    Returns:
        The plot; its title says what it shows.
    """
    points = [
        Point(title, row[metric], row["PSNR"], title.startswith("Ours"))
        for title, row in rows.items()
        if {metric, "PSNR"} <= set(row)
    ]
    rank = tables.rank_agreement(rows, metric, "PSNR")
    above = sum(point.x > truth_scores[metric] for point in points)
    nearest, largest = max(points, key=lambda p: p.y), max(points, key=lambda p: p.x)
    title = (
        f"{name}: PSNR to the ground truth against {metric}. {nearest.name} is nearest to the ground truth"
        f" ({nearest.y:.1f} dB), {largest.name} has the most {metric} ({largest.y:.1f} dB). {above} of"
        f" {len(points)} methods have more {metric} than the ground truth itself."
    )
    if not math.isnan(rank):
        title += f" Rank correlation {rank:.2f}."
    line = (truth_scores[metric], "the ground truth")
    return Plot(title, metric, "PSNR of the luma (dB)", points, line)


def make_tables_page(folder: str | Path, page: str | Path, has_lytro: bool = True) -> Page:
    """Describe tables and their images as a page.

    Args:
        folder: where eval/tables.py wrote.
        page: where the page goes; links are relative to it.
        has_lytro: show the Lytro pairs too.

    Returns:
        The page, as page.write_page takes it.

    Raises:
        ValueError: there are no tables.
    """
    scores, fused = read_scores(folder), Path(folder, "fused")
    paper = tables.read_published()
    sections, truths = [], {}
    # Where the ground truth is known, what a method fails at is seen at once.
    numbers = sorted(pairs.TABLES, key=lambda number: pairs.TABLES[number] not in pairs.WITH_GROUND_TRUTH)
    for number in numbers:
        name = pairs.TABLES[number]
        if name not in scores:
            sections.append(Section(f"Table {number}: {name}", ["Not among the tables."]))
            continue
        pair = show_pair(name, scores[name], _fused_files(name, scores[name], fused), page)
        notes = [f"A {pairs.NOTES[name]}."] if name in pairs.NOTES else []
        if pair.truth_scores and any("PSNR" in row for row in scores[name].values()):
            truths[name] = pair.truth_scores
        table = score_table(
            f"Scores of {name}",
            scores[name],
            paper.get(number),
            pair.truth_scores,
            "In brackets: the paper's values. The best of each are marked.",
        )
        views = [pair.view] if pair.view else []
        sections.append(Section(f"Table {number}: {name}", [*notes, *pair.notes], (), views, [table]))
    if truths:
        sections.insert(len(pairs.WITH_GROUND_TRUTH), misleading_section(scores, truths))
    lytro = {name: scores[name] for name in pairs.LYTRO if name in scores}
    if lytro and has_lytro:
        sections += _lytro_sections(lytro, fused, page)
    count = sum(name in scores for name in pairs.TABLES.values()) + (len(lytro) if has_lytro else 0)
    introduction = (
        f"{count} pair{'s' * (count != 1)} by every method. Switch methods over one place, or see all side by"
        " side. A difference is bright where a method fails."
    )
    return Page("Multi-focus fusion: methods compared", introduction, sections)


def misleading_section(
    scores: Mapping[Any, tables.Rows],
    truths: Mapping[Any, Mapping[str, float]],
    columns: Sequence[str] = tuple(metrics.METRICS),
) -> Section:
    """Plots and correlations: how far each metric agrees with the distance from the ground truth.

    Args:
        scores: {pair: {title: {metric: value}}}.
        truths: {pair: {metric: value}} of the ground truth itself, of the pairs that have one.
        columns: the metrics; MI is plotted, or else the first that the ground truth has too.

    Returns:
        The section, with a plot for each of the first six pairs.
    """
    rows = [
        [
            Cell(str(name), str(name)),
            *(_rank_cell(tables.rank_agreement(scores[name], metric, "PSNR")) for metric in columns),
        ]
        for name in truths
    ]
    of_truths = [metric for metric in columns if all(metric in row for row in truths.values())]
    plotted = PLOTTED if PLOTTED in of_truths else next(iter(of_truths), None)
    return Section(
        "Where a metric misleads",
        [
            "A higher PSNR is nearer to the ground truth. A metric to trust has its points along a rising"
            " line, the best method of both in the upper right corner, and none to the right of the ground"
            " truth. MI tells poor methods from good ones; among good ones it rewards copied pixels.",
        ],
        tables=[
            Table(
                "Rank correlation of each metric with PSNR (Spearman)",
                ["pair", *columns],
                rows,
                "1: the same order. 0: no relation. -1: the reverse. Empty: fewer than three methods, or"
                " equal values.",
            )
        ],
        plots=[
            plot_against_psnr(str(name), scores[name], truths[name], plotted)
            for name in list(truths)[:MAX_PLOTS]
            if plotted
        ],
    )


def _rank_cell(rank):
    return Cell("", "") if math.isnan(rank) else Cell(f"{rank:.2f}", rank)


def _lytro_sections(lytro, fused, page):
    published = tables.read_published("lytro_tables.csv")
    note = (
        "In brackets: others' images or implementations, as eval/lytro_tables.csv says, by the same metrics."
    )
    mean = score_table(f"Mean of {len(lytro)} pairs", results.mean_scores(lytro), published, note=note)
    yield Section(f"Lytro, mean of {len(lytro)} pairs", tables=[mean])
    for name, rows in lytro.items():
        pair = show_pair(name, rows, _fused_files(name, rows, fused), page)
        views = [pair.view] if pair.view else []
        yield Section(name, pair.notes, (), views, [score_table(f"Scores of {name}", rows)], is_folded=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--tables", type=Path, default="build/tables", metavar="DIR", help="where eval/tables.py wrote"
        " (default: %(default)s)")  # fmt: skip
    add("--out", type=Path, default="build/report.html", metavar="FILE", help="(default: %(default)s)")
    add("--no-lytro", action="store_true", help="leave the 13 Lytro pairs out")
    args = parser.parse_args(argv)
    if args.out.suffix.lower() not in (".html", ".htm"):
        parser.error(f"--out {args.out}: a page is an .html file")
    write_page(args.out, make_tables_page(args.tables, args.out, not args.no_lytro))
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    cli.run(main)
