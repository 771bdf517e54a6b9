"""Score fused images of one pair: with the six metrics of the paper, IE, MI, Qabf, Q, Qw, Qe, or others."""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import json
import math
import os
import sys
from pathlib import Path
from typing import Iterable, NamedTuple, Sequence

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # of a damaged image the error below says enough
import cv2
import numpy as np

from two_stream_fusion import metrics
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.base.files import check_output, write_text
from two_stream_fusion.base.pixels import round_half_even
from two_stream_fusion.io import images
from two_stream_fusion.metrics import fidelity, learned, piella, preprocess, xydeas

EXAMPLES = f"""examples:
  python eval/score.py near.png far.png fused.png
  python eval/score.py near.png far.png build/fused/*.png --json > scores.json
  python eval/score.py near.png far.png fused.png --reference clean.png --maps build/maps
  python eval/score.py near.png far.png fused.png --metrics all
  python eval/score.py near.png far.png fused.png --metrics paper,VIF,SCD,Qcb --variants MI_bits,Qabf_hong
  python eval/score.py 1.tif 2.tif fused.tif --source 3.tif

All images have one size and depth, and all are gray or all colour (RGB of three equal channels counts as gray
where others are gray). Colour is scored on its Rec.601 luma, PSNR and SSIM too; an alpha channel is ignored;
16-bit levels count as v * 255 / 65535. MI of constant images is undefined: nan. JSON has null for that, and
for the infinite PSNR of identical images. An image that cannot be scored is named, and the status is 1.
eval/compare.py fuses and scores many pairs by many methods.
Metrics: {", ".join(name for name in metrics.REGISTRY if name not in metrics.VARIANTS)}.
Larger is better, except for {" and ".join(n for n in metrics.REGISTRY if not metrics.is_higher_better(n))}.
Variants, other toolboxes' forms under their own names: {", ".join(metrics.VARIANTS)}.
What each is, its range and why toolboxes differ: two_stream_fusion/metrics/*.py and eval/CALIBRATION.md.
"""


class Scores(NamedTuple):
    """What `score_files` returns."""

    rows: list[dict[str, object]]  # one a scored image: {"A", "B", ..., "fused": path; metric: value}
    errors: dict[str, str]  # {path of a fused image: why it has no scores}
    dtype: np.dtype  # of the images


def score(
    sources: Sequence[np.ndarray],
    fused: np.ndarray,
    variants: Iterable[str] = (),
    reference: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> dict[str, float]:
    """Score one fused image.

    Args:
        sources: two or more source images, H x W or H x W x 3, uint8 or uint16.
        fused: the fused image, of the same shape and dtype.
        variants: names of metrics.VARIANTS to add.
        reference: the ground truth, of the same shape and dtype; adds PSNR (dB) and SSIM of the luma.
        names: what errors call the sources, the fused image and the reference.
        columns: names of metrics.REGISTRY and of metrics.learned.NAMES; None for the six of the paper.

    Returns:
        {metric: value}, in the order of `columns`, then variants, then PSNR and SSIM, then those of
        metrics.learned. LPIPS and DISTS need a reference, and are left out without.

    Raises:
        ValueError: shapes or dtypes differ, or the images are too small for a metric.
    """
    names = names or ["A", "B", *map("source {}".format, range(3, len(sources) + 1)), "F", "the reference"]
    columns = [*(metrics.METRICS if columns is None else columns), *variants]
    by_network = [name for name in columns if name in learned.NAMES]
    columns = [name for name in columns if name not in learned.NAMES]
    scores = metrics.evaluate(*sources, fused, names=names[: len(sources) + 1], columns=columns)
    if reference is not None:
        (clean, _), gray = preprocess.prepare(
            reference, reference, fused, names=[names[-1]] * 2 + [names[-2]]
        )
        if min(gray.shape) < fidelity.SSIM_MIN_SIDE:
            raise ValueError(f"{names[-2]} is {gray.shape}: SSIM needs 11 x 11 pixels or more")
        scores["PSNR"] = fidelity.psnr(clean, gray)
        scores["SSIM"] = fidelity.ssim(clean, gray)
    if by_network:
        scores.update(learned.evaluate(by_network, fused, reference))
    return scores


def score_files(
    sources: Sequence[str | Path],
    fused: Sequence[str | Path],
    variants: Iterable[str] = (),
    reference: str | Path | None = None,
    maps: str | Path | None = None,
    replace: bool = True,
    columns: Sequence[str] | None = None,
) -> Scores:
    """Score fused images that were made from the same sources.

    Args:
        sources: two or more files of source images.
        fused: files of fused images.
        variants: names of metrics.VARIANTS to add.
        reference: the file of the ground truth, where it is known.
        maps: a folder for the quality maps of each fused image (`write_maps`).
        replace: replace older maps.
        columns: as `score` takes them.

    Returns:
        The scores, the error of each fused image that has none, and the dtype of the images.

    Raises:
        ValueError, OSError: a source or the reference cannot be read.
    """
    from tqdm import tqdm

    loaded = [images.read(path) for path in sources]
    clean = images.read(reference) if reference else None
    labels = ["A", "B", *map("source {}".format, range(3, len(sources) + 1))]
    origin = dict(zip(labels, map(str, sources)))
    names = list(map(str, sources))
    result = Scores([], {}, loaded[0].dtype)
    for path in tqdm(fused, unit="image", delay=2, disable=None if len(fused) > 1 else True):
        try:
            image = images.read(path)
            scores = score(loaded, image, variants, clean, [*names, str(path), str(reference)], columns)
            if maps:
                write_maps(loaded, image, maps, Path(path).stem, replace)
        except (ValueError, OSError) as error:
            result.errors[str(path)] = str(error)
            continue
        result.rows.append({**origin, "fused": str(path), **scores})
    return result


def map_files(folder: str | Path, stem: str) -> list[Path]:
    """The three files that `write_maps` writes.

    Args:
        folder: of the files.
        stem: with which their names begin.

    Returns:
        Their paths.
    """
    return [Path(folder, f"{stem}.{name}.png") for name in ("Qabf", "Q", "loss")]


def write_maps(
    sources: Sequence[np.ndarray], fused: np.ndarray, folder: str | Path, stem: str, replace: bool = True
) -> None:
    """Write three gray pictures: local Qabf, local Q (white is good) and lost edges (white is bad).

    Args:
        sources: source images, as `score` takes them.
        fused: the fused image.
        folder: where the pictures go; created if it is missing.
        stem: the beginning of their names.
        replace: replace older pictures.

    Raises:
        ValueError: without `replace`, a picture exists.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    qabf, loss = xydeas.maps(*sources, fused)
    # The local Q of a window stands at its middle.
    q = cv2.copyMakeBorder(piella.quality_map(*sources, fused), 4, 3, 4, 3, cv2.BORDER_REPLICATE)
    for path, values in zip(map_files(folder, stem), (qabf * 255, q * 255, loss)):
        images.write(path, round_half_even(values, np.uint8), replace=replace)


def format_table(rows: Sequence[dict[str, object]]) -> str:
    """Rows of `score_files` as aligned text, four decimals, without the sources, which are equal in all."""
    header = ["fused", *(name for name, value in rows[0].items() if not isinstance(value, str))]
    lines = [[row["fused"], *(f"{row[name]:.4f}" for name in header[1:])] for row in rows]
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths)))
        for line in [header, *lines]
    )


def format_json(rows: Sequence[dict[str, object]]) -> str:
    """Rows of `score_files` as a JSON list; null for NaN and infinity, which JSON does not have."""

    def finite(value):
        return value if isinstance(value, str) or math.isfinite(value) else None

    return json.dumps([{name: finite(value) for name, value in row.items()} for row in rows], indent=1)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; the status is 1 where an image could not be scored."""
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("a", metavar="A", help="source image")
    add("b", metavar="B", help="source image")
    add("fused", nargs="+", metavar="FUSED", help="images fused from A and B, by one or more methods")
    add("--source", action="append", default=[], metavar="C", help="a third source; again for more."
        " Qc, Qy, SCD and TE are defined for two")  # fmt: skip
    add("--metrics", default="paper", metavar="NAMES", help="columns: names between commas, paper for the six"
        " of the paper, all for all but variants; NIQE, and with --reference LPIPS and DISTS, by pyiqa where"
        " that is installed (default: %(default)s)")  # fmt: skip
    add("--variants", default="", metavar="NAMES", help="more columns: names between commas, or all")
    add("--reference", metavar="CLEAN", help="the ground truth, where it is known: adds PSNR and SSIM")
    add("--json", action="store_true", help="print a JSON list, one object for each fused image")
    add("--csv", metavar="FILE", help="also write the scores to a file, all digits")
    add("--maps", metavar="DIR", help="also write NAME.Qabf.png, NAME.Q.png (white is good), NAME.loss.png")
    add("--force", action="store_true", help="replace files of --csv and --maps that exist")
    args = parser.parse_args(argv)
    try:
        columns = metrics.select_names(args.metrics)
    except ValueError as error:
        parser.error(f"--metrics: {error}")
    for name in learned.TO_TRUTH:
        if name in columns and not args.reference:
            parser.error(f"--metrics: {name} is a distance to the ground truth: --reference CLEAN")
    variants = list(filter(None, args.variants.split(",")))
    if args.variants == "all":
        variants = list(metrics.VARIANTS)
    for name in variants:
        if name not in metrics.VARIANTS:
            parser.error(f"--variants: {name} is not one of {', '.join(metrics.VARIANTS)}")
    stems = [Path(path).stem for path in args.fused]
    if args.maps and len(set(stems)) < len(stems):
        parser.error("--maps: two fused images have the same name, their maps would too")
    sources = [args.a, args.b, *args.source]
    outputs = [path for stem in stems if args.maps for path in map_files(args.maps, stem)]
    for path in [*outputs, args.csv] if args.csv else outputs:
        check_output(path, [*sources, *args.fused, *filter(None, [args.reference])], args.force)
    if args.csv and not Path(args.csv).parent.is_dir():
        raise ValueError(f"{args.csv}: there is no folder {Path(args.csv).parent}")

    rows, errors, dtype = score_files(
        sources, args.fused, variants, args.reference, args.maps, args.force, columns
    )
    if dtype == np.uint16:
        print(f"{parser.prog}: 16-bit levels count as v * 255 / 65535", file=sys.stderr)
    for path, error in errors.items():
        named = "" if path in error else f"{path}: "
        print(f"{parser.prog}: error: {named}{error}", file=sys.stderr)
    if not rows:
        return 1
    if args.csv:
        write_text(
            args.csv, markdown_tables.comma_separated(rows[0], [row.values() for row in rows]), args.force
        )
    print(format_json(rows) if args.json else format_table(rows))
    return 1 if errors else 0


def command() -> None:
    """The command `two-stream-score`."""
    cli.run(main)


if __name__ == "__main__":
    command()
