"""The page of eval/compare.py --report: every pair by every method, tables that sort, differences."""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

from eval import report, results, tables
from two_stream_fusion.metrics import is_higher_better
from two_stream_fusion.report.page import Page, Section
from two_stream_fusion.report.pictures import MAX_SIDE

MAX_PIXELS = 100_000_000  # of all pictures together: 300 MB while the page is made
OPEN_PAIRS = 4  # the others are folded


def make_page(
    scores: Mapping[results.PairName, tables.Rows],
    missing: Mapping[object, str],
    external: Mapping[tuple[results.PairName, str], Path],
    fused: str | Path,
    page: str | Path,
) -> Page:
    """Describe a comparison as a page.

    Args:
        scores: {pair: {title: {metric: value}}}, no pair without a title.
        missing: {pair, method or image: why it is missing}.
        external: {(pair, title): image} of other methods.
        fused: the folder of the images that were fused here.
        page: where the page goes; links are relative to it.

    Returns:
        The page, as page.write_page takes it.
    """
    rows = [row for of_pair in scores.values() for row in of_pair.values()]
    columns = [metric for metric in rows[0] if metric not in report.FIDELITY]
    # Two sources and the ground truth besides, and the difference of each.
    max_side = min(MAX_SIDE, round((MAX_PIXELS / 2 / (len(rows) + 3 * len(scores))) ** 0.5))
    sections, truths = [], {}
    for place, (name, of_pair) in enumerate(scores.items()):
        files = {
            title: external.get((name, title)) or results.find_fused(name, title, fused) for title in of_pair
        }
        found = {title: path for title, path in files.items() if path}
        shown = report.show_pair(name, of_pair, found, page, columns, max_side, hint="")
        if shown.truth_scores:
            truths[name] = shown.truth_scores
        sections.append(
            Section(
                str(name),
                shown.notes,
                (),
                [shown.view] if shown.view else [],
                [report.score_table(f"Scores of {name}", of_pair, truth_scores=shown.truth_scores)],
                is_folded=place >= OPEN_PAIRS,
            )
        )
    if truths:
        sections.insert(0, report.misleading_section(scores, truths, columns))
    count = "one pair" if len(scores) == 1 else f"{len(scores)} pairs"
    lower = [metric for metric in columns if not is_higher_better(metric)]
    note = f"Less is better for {' and '.join(lower)}. " if lower else ""
    note += "The best of each column are marked. A method that is missing on one pair is in no mean."
    mean = report.score_table(f"Mean of {count}", results.mean_scores(scores), note=note)
    lines = [f"Missing: {name}: {why}" for name, why in missing.items()]
    sections.insert(0, Section(f"Mean of {count}", lines, (), [], [mean]))
    lead = (
        f"{count} by {len(dict.fromkeys(title for of_pair in scores.values() for title in of_pair))} methods."
        " Switch methods over one place, or see all side by side."
    )
    if truths:
        lead += " A difference is bright where a method fails."
    return Page("Multi-focus fusion: methods compared", lead[0].upper() + lead[1:], sections)
