"""Hold every metric and variant against the published toolboxes, on public pairs: eval/CALIBRATION.md.

The text around the numbers stands in eval/calibration.template.md, the toolboxes' own values in
eval/toolbox_values.csv, those of papers in eval/published_values.csv.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import csv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
import cv2
import numpy as np

from data_prep import fetch
from two_stream_fusion import metrics
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.base.files import write_text
from two_stream_fusion.io import images
from two_stream_fusion.metrics import preprocess

EXAMPLES = """examples:
  python eval/calibrate.py                          to build/CALIBRATION.md
  python eval/calibrate.py -o eval/CALIBRATION.md   after a change of the metrics
"""
PAIRS = {"clock": "clock", "pepsi": "pepsi", "lytro-01": "lytro-tif/lytro-01"}


def source(a, b):
    """Source A returned unchanged: (A, B) -> image."""
    return a


def average(a, b):
    """(A + B + 1) // 2 of two uint8 images."""
    return ((a.astype(np.uint16) + b + 1) // 2).astype(np.uint8)


def selection(a, b):
    """Each pixel from the source whose luma varies more in the 9x9 pixels around it, from A if equally."""
    (gray_a, gray_b), _ = preprocess.prepare(a, b, a)
    variances = []
    for gray in (gray_a, gray_b):
        sums = cv2.boxFilter(gray, cv2.CV_32S, (9, 9), normalize=False).astype(np.int64)
        squares = cv2.sqrBoxFilter(gray, cv2.CV_32S, (9, 9), normalize=False).astype(np.int64)
        variances.append(81 * squares - sums * sums)
    chosen = variances[0] >= variances[1]
    return np.where(chosen if a.ndim == 2 else chosen[:, :, None], a, b)


RULES = {"A": source, "average": average, "selection": selection}


def measure(progress):
    """{(pair, rule): {name: value}} with every metric and variant, and scikit-image's entropy as "IE*"."""
    from skimage.measure import shannon_entropy

    values = {}
    for pair, registered in PAIRS.items():
        a, b = (images.read(path) for path in fetch.pair(registered))
        for rule, fuse in RULES.items():
            fused = fuse(a, b)
            scores = metrics.evaluate(a, b, fused)
            scores.update((name, metric(a, b, fused)) for name, metric in metrics.VARIANTS.items())
            scores["IE*"] = float(shannon_entropy(preprocess.prepare(a, b, fused)[1]))
            values[pair, rule] = scores
            progress()
    return values


def report(template, values, toolboxes, published):
    """The text of CALIBRATION.md.

    toolboxes: {(pair, rule, name): value}; published: rows of cells, the header first.
    """
    columns = [f"{rule}, {whose}" for rule in RULES for whose in ("ours", "toolbox")]
    sections = []
    for pair in PAIRS:
        rows = []
        for name in (*metrics.METRICS, *metrics.VARIANTS):
            both = [(values[pair, rule][name], toolboxes[pair, rule, name]) for rule in RULES]
            # What is less differs from one processor to the next.
            apart = max(1e-12, *(abs(ours - theirs) for ours, theirs in both))
            cells = [f"{value:.6f}" for two in both for value in two]
            rows.append([name, *cells, f"< {10 ** np.ceil(np.log10(apart)):.0e}"])
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


def toolbox_values(values):
    """{(pair, rule, name): value} of the toolboxes; what follows from another value is computed from it."""
    with open(ROOT / "eval" / "toolbox_values.csv", newline="") as file:
        theirs = {
            (row["pair"], row["fused"], row["name"]): float(row["value"]) for row in csv.DictReader(file)
        }
    for key, scores in values.items():
        theirs[(*key, "IE")] = scores["IE*"]
        theirs[(*key, "MI_nats")] = theirs[(*key, "MI_bits")] * float(np.log(2))
    return theirs


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument(
        "-o", "--output", type=Path, default=ROOT / "build" / "CALIBRATION.md", metavar="FILE"
    )
    args = parser.parse_args(argv)
    from tqdm import tqdm

    with tqdm(total=len(PAIRS) * len(RULES), unit="image", delay=2, disable=None) as bar:
        values = measure(bar.update)
    with open(ROOT / "eval" / "published_values.csv", newline="") as file:
        published = list(csv.reader(file))
    template = (ROOT / "eval" / "calibration.template.md").read_text(encoding="utf-8")
    text = report(template, values, toolbox_values(values), published)
    write_text(args.output, text)
    print(args.output)


if __name__ == "__main__":
    cli.run(main)
