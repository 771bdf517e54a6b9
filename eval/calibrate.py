"""Compare every metric and variant with the published toolboxes, on public pairs: eval/CALIBRATION.md.

The text around the numbers comes from eval/calibration.template.md, the toolboxes' own values from
eval/toolbox_values.csv, those of papers from eval/published_values.csv.
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
  python eval/calibrate.py --out /tmp/page.md
  python eval/calibrate.py --out eval/CALIBRATION.md   after a change of the metrics
"""
Key = Tuple[str, str]  # images, rule
PAIRS = {"clock": "clock", "pepsi": "pepsi", "lytro-01": "lytro-tif/lytro-01"}
# Some toolboxes loop over pixels, hours on whole photographs: they had the middle of the gray images.
SIDES = {"": None, **{f", middle {side} x {side}": side for side in (128, 48, 24)}}
IMAGES = {f"{pair}{suffix}": (pair, side) for suffix, side in SIDES.items() for pair in PAIRS}


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


def score_rules(
    names: Mapping[str, Sequence[str]], on_progress: Callable[[], object] = lambda: None
) -> dict[Key, dict[str, float]]:
    """Fuse PAIRS by RULES and score the images.

    Args:
        names: {of IMAGES: metrics}.
        on_progress: called after each image.

    Returns:
        {(of IMAGES, rule): {name: value}} of the metrics, and scikit-image's entropy as "IE*".

    Raises:
        OSError: a pair cannot be fetched.
    """
    from skimage.measure import shannon_entropy

    values = {}
    loaded = {
        pair: [images.read(path) for path in fetch.pair_files(registered)]
        for pair, registered in PAIRS.items()
    }
    for title, columns in names.items():
        pair, side = IMAGES[title]
        a, b = loaded[pair]
        for rule, fuse in RULES.items():
            (gray_a, gray_b), fused = preprocess.prepare(a, b, fuse(a, b))
            part = [middle(x, side) for x in (gray_a, gray_b, fused)]
            scores = metrics.evaluate(*part, columns=columns)
            scores["IE*"] = float(shannon_entropy(part[-1]))
            values[title, rule] = scores
            on_progress()
    return values


def middle(image: np.ndarray, side: int | None) -> np.ndarray:
    """Cut the middle out of an image.

    Args:
        image: H x W.
        side: pixels a side; None for the whole image.

    Returns:
        side x side, or the image itself.
    """
    if side is None:
        return image
    y, x = ((n - side) // 2 for n in image.shape)
    return image[y : y + side, x : x + side]


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
        toolboxes: theirs, {(of IMAGES, rule, name): value}; metrics without one are left out.
        published: values of papers: rows of cells, the header first.

    Returns:
        The text of CALIBRATION.md.
    """
    columns = [f"{rule}, {whose}" for rule in RULES for whose in ("ours", "toolbox")]
    sections = []
    for title in dict.fromkeys(title for title, _ in values):
        rows = []
        for name in metrics.REGISTRY:
            if not any((title, rule, name) in toolboxes for rule in RULES):
                continue
            differences, cells = [], []
            for rule in RULES:
                value, toolbox_value = values[title, rule][name], toolboxes.get((title, rule, name))
                cells += [f"{value:.6f}", "" if toolbox_value is None else f"{toolbox_value:.6f}"]
                if toolbox_value is not None and not np.isnan(toolbox_value):
                    differences.append(abs(value - toolbox_value) / max(1, abs(toolbox_value)))
            # Smaller differences vary from one processor to the next. A toolbox's NaN does not count.
            largest = max([1e-12, *differences])
            rows.append([name, *cells, f"< {10 ** np.ceil(np.log10(largest)):.0e}" if differences else ""])
        sections.append(f"### {title}\n\n{markdown_tables.markdown(['', *columns, 'difference'], rows)}")
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


def read_toolbox_values() -> dict[tuple, float]:
    """Read the toolboxes' values, and derive MI_nats from MI_bits.

    Returns:
        {(of IMAGES, rule, name): value}.
    """
    with open(ROOT / "eval" / "toolbox_values.csv", newline="") as file:
        values = {
            (row["pair"], row["fused"], row["name"]): float(row["value"]) for row in csv.DictReader(file)
        }
    for (title, rule, name), value in list(values.items()):
        if name == "MI_bits":
            values[title, rule, "MI_nats"] = value * float(np.log(2))
    return values


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = cli.parser(__doc__, EXAMPLES)
    output = ROOT / "build" / "CALIBRATION.md"
    parser.add_argument("-o", "--out", type=Path, default=output, metavar="FILE")
    args = parser.parse_args(argv)
    from tqdm import tqdm

    toolboxes = read_toolbox_values()
    names = {
        title: [
            name
            for name in metrics.REGISTRY
            if name == "IE" or any((title, rule, name) in toolboxes for rule in RULES)
        ]
        for title in IMAGES
    }
    with tqdm(total=len(names) * len(RULES), unit="image", delay=2, disable=None) as bar:
        values = score_rules(names, bar.update)
    # For IE scikit-image's value on whole images takes the place of a toolbox's.
    toolboxes.update(((title, rule, "IE"), scores["IE*"]) for (title, rule), scores in values.items()
                     if title in PAIRS)  # fmt: skip
    with open(ROOT / "eval" / "published_values.csv", newline="") as file:
        published = list(csv.reader(file))
    template = (ROOT / "eval" / "calibration.template.md").read_text(encoding="utf-8")
    text = format_report(template, values, toolboxes, published)
    write_text(args.out, text)
    print(args.out)


if __name__ == "__main__":
    cli.run(main)
