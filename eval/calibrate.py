"""Compare every metric and variant with the published toolboxes, on public pairs: eval/CALIBRATION.md.

The text around the numbers stands in eval/calibration.template.md, the toolboxes' own values in
eval/toolbox_values.csv, those of papers in eval/published_values.csv.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import csv
from pathlib import Path
from typing import Callable, Mapping, Sequence, Tuple

import cv2
import numpy as np

from data_prep import fetch
from two_stream_fusion import metrics
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.base.files import write_text
from two_stream_fusion.io import images
from two_stream_fusion.metrics import preprocess

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = """examples:
  python eval/calibrate.py                          to build/CALIBRATION.md
  python eval/calibrate.py -o eval/CALIBRATION.md   after a change of the metrics
"""
Key = Tuple[str, str]  # pair, rule
PAIRS = {"clock": "clock", "pepsi": "pepsi", "lytro-01": "lytro-tif/lytro-01"}


def first_source(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Image A, unchanged.

    Args:
        a, b: the sources.

    Returns:
        `a` itself.
    """
    return a


def average(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(A + B + 1) // 2 of two images.

    Args:
        a, b: the sources, uint8.

    Returns:
        uint8.
    """
    return ((a.astype(np.uint16) + b + 1) // 2).astype(np.uint8)


def select_by_variance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Take each pixel from the source whose luma has the larger variance in 9x9 pixels, from A at a tie.

    Args:
        a, b: H x W or H x W x 3 uint8, of one shape.

    Returns:
        The fused image.
    """
    (gray_a, gray_b), _ = preprocess.prepare(a, b, a)
    variances = []
    for gray in (gray_a, gray_b):
        sums = cv2.boxFilter(gray, cv2.CV_32S, (9, 9), normalize=False).astype(np.int64)
        squares = cv2.sqrBoxFilter(gray, cv2.CV_32S, (9, 9), normalize=False).astype(np.int64)
        variances.append(81 * squares - sums * sums)
    from_a = variances[0] >= variances[1]
    return np.where(from_a if a.ndim == 2 else from_a[:, :, None], a, b)


RULES = {"A": first_source, "average": average, "selection": select_by_variance}


def score_rules(on_progress: Callable[[], object] = lambda: None) -> dict[Key, dict[str, float]]:
    """Fuse PAIRS by RULES and score the images.

    Args:
        on_progress: called after each image.

    Returns:
        {(pair, rule): {name: value}} of every metric and variant, and scikit-image's entropy as "IE*".

    Raises:
        OSError: a pair cannot be fetched.
    """
    from skimage.measure import shannon_entropy

    values = {}
    for pair, registered in PAIRS.items():
        a, b = (images.read(path) for path in fetch.pair_files(registered))
        for rule, fuse in RULES.items():
            fused = fuse(a, b)
            scores = metrics.evaluate(a, b, fused)
            scores.update((name, metric(a, b, fused)) for name, metric in metrics.VARIANTS.items())
            scores["IE*"] = float(shannon_entropy(preprocess.prepare(a, b, fused)[1]))
            values[pair, rule] = scores
            on_progress()
    return values


def format_report(
    template: str,
    values: Mapping[Key, Mapping[str, float]],
    toolboxes: Mapping[tuple, float],
    published: Sequence[Sequence[str]],
) -> str:
    """Fill the template of CALIBRATION.md.

    Args:
        template: the text around the numbers.
        values: ours, as `score_rules` returns them.
        toolboxes: theirs, {(pair, rule, name): value}.
        published: values of papers: rows of cells, the header first.

    Returns:
        The text of CALIBRATION.md.
    """
    columns = [f"{rule}, {whose}" for rule in RULES for whose in ("ours", "toolbox")]
    sections = []
    for pair in PAIRS:
        rows = []
        for name in (*metrics.METRICS, *metrics.VARIANTS):
            both = [(values[pair, rule][name], toolboxes[pair, rule, name]) for rule in RULES]
            # Smaller differences vary from one processor to the next.
            largest = max(1e-12, *(abs(ours - theirs) for ours, theirs in both))
            cells = [f"{value:.6f}" for two in both for value in two]
            rows.append([name, *cells, f"< {10 ** np.ceil(np.log10(largest)):.0e}"])
        sections.append(f"### {pair}\n\n{markdown_tables.markdown(['', *columns, 'apart'], rows)}")
    clock = {rule: values["clock", rule] for rule in RULES}
    return template.format(
        pairs="\n".join(sections),
        published=markdown_tables.markdown(published[0], published[1:]).rstrip(),
        least=min(scores["IE"] for scores in clock.values()),
        most=max(scores["IE"] for scores in clock.values()),
        mi=clock["selection"]["MI"],
        bits=clock["selection"]["MI_bits"],
        gaussian=clock["average"]["Q_gaussian"],
    )


def read_toolbox_values(values: Mapping[Key, Mapping[str, float]]) -> dict[tuple, float]:
    """Read the toolboxes' values, and derive those that follow from others.

    Args:
        values: ours; scikit-image's entropy among them stands for the toolboxes' IE.

    Returns:
        {(pair, rule, name): value}.
    """
    with open(ROOT / "eval" / "toolbox_values.csv", newline="") as file:
        theirs = {
            (row["pair"], row["fused"], row["name"]): float(row["value"]) for row in csv.DictReader(file)
        }
    for key, scores in values.items():
        theirs[(*key, "IE")] = scores["IE*"]
        theirs[(*key, "MI_nats")] = theirs[(*key, "MI_bits")] * float(np.log(2))
    return theirs


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = cli.parser(__doc__, EXAMPLES)
    output = ROOT / "build" / "CALIBRATION.md"
    parser.add_argument("-o", "--output", type=Path, default=output, metavar="FILE")
    args = parser.parse_args(argv)
    from tqdm import tqdm

    with tqdm(total=len(PAIRS) * len(RULES), unit="image", delay=2, disable=None) as bar:
        values = score_rules(bar.update)
    with open(ROOT / "eval" / "published_values.csv", newline="") as file:
        published = list(csv.reader(file))
    template = (ROOT / "eval" / "calibration.template.md").read_text(encoding="utf-8")
    text = format_report(template, values, read_toolbox_values(values), published)
    write_text(args.output, text)
    print(args.output)


if __name__ == "__main__":
    cli.run(main)
