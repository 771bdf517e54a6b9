"""Score fused images of one pair with the six metrics: IE, MI, Qabf, Q, Qw, Qe. Larger is better."""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import json
import math
import os
import sys
from pathlib import Path

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # of a damaged image the error below says enough
import cv2
import numpy as np

from two_stream_fusion import metrics
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.base.files import check_output, write_text
from two_stream_fusion.io import images
from two_stream_fusion.metrics import piella, preprocess, xydeas

NOTES = f"""examples:
  python eval/score.py near.png far.png fused.png
  python eval/score.py near.png far.png build/fused/*.png --json > scores.json
  python eval/score.py near.png far.png fused.png --reference clean.png --maps build/maps
  python eval/score.py near.png far.png fused.png --variants MI_bits,Qabf_hong
  python eval/score.py 1.tif 2.tif fused.tif --source 3.tif

All images are of one size and depth, all gray or all colour (RGB of three equal channels counts as gray where
others are gray); colour is scored on its Rec.601 luma, an alpha channel is left out, 16-bit levels count as
v * 255 / 65535. PSNR is of the luma too. MI of constant images is not defined: nan. JSON has null for that,
and for the infinite PSNR of identical images. Images that cannot be scored are named, and the status is 1.
eval/compare.py fuses and scores many pairs by many methods.
Variants, other toolboxes' forms under their own names: {", ".join(metrics.VARIANTS)}.
What each is, its range and why toolboxes differ: two_stream_fusion/metrics/*.py and eval/CALIBRATION.md.
"""


def arguments(argv=None):
    parser = cli.parser(__doc__, NOTES)
    add = parser.add_argument
    add("a", metavar="A", help="source image")
    add("b", metavar="B", help="source image")
    add("fused", nargs="+", metavar="FUSED", help="what was fused from A and B, by one or more methods")
    add("--source", action="append", default=[], metavar="C", help="a third source; again for more")
    add("--variants", default="", metavar="NAMES", help="more columns: names between commas, or all")
    add("--reference", metavar="CLEAN", help="the true image, where it is known: adds PSNR and SSIM")
    add("--json", action="store_true", help="print a JSON list, one object for each fused image")
    add("--csv", metavar="FILE", help="also write the scores to a file, all digits")
    add("--maps", metavar="DIR", help="also write NAME.Qabf.png, NAME.Q.png (white is good), NAME.loss.png")
    add("--force", action="store_true", help="replace files of --csv and --maps that exist")
    args = parser.parse_args(argv)
    named = filter(None, args.variants.split(","))
    args.variants = list(metrics.VARIANTS if args.variants == "all" else named)
    for name in args.variants:
        if name not in metrics.VARIANTS:
            parser.error(f"--variants: {name} is none of {', '.join(metrics.VARIANTS)}")
    stems = [Path(path).stem for path in args.fused]
    if args.maps and len(set(stems)) < len(stems):
        parser.error("--maps: two fused images have the same name, their maps would too")
    return args


def score(sources, fused, variants=(), reference=None, names=None):
    """{name: value} of the six metrics, the variants named, and PSNR (dB) and SSIM if there is a reference.

    Arrays as metrics.evaluate takes them; names: of sources, fused and reference, for errors. PSNR and SSIM
    are those of the luma.
    """
    names = names or ["A", "B", *map("source {}".format, range(3, len(sources) + 1)), "F", "the reference"]
    scores = metrics.evaluate(*sources, fused, names=names[: len(sources) + 1])
    for name in variants:
        scores[name] = metrics.VARIANTS[name](*sources, fused)
    if reference is not None:
        import skimage.metrics as reference_metrics  # takes half a second, and is seldom needed

        (clean, _), gray = preprocess.prepare(
            reference, reference, fused, names=[names[-1]] * 2 + [names[-2]]
        )
        if min(gray.shape) < 11:
            raise ValueError(f"{names[-2]} is {gray.shape}: SSIM needs 11 x 11 pixels or more")
        scores["PSNR"] = psnr(clean, gray)
        # the window and variances of Wang et al. 2004, DOI 10.1109/TIP.2003.819861
        peak = 255 * preprocess.unit(gray)
        form = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": peak}
        scores["SSIM"] = float(reference_metrics.structural_similarity(clean, gray, **form))
    return scores


def psnr(clean, image):
    """PSNR in dB of uint8 or uint16 arrays of one shape; infinite where they are the same."""
    error = np.mean((clean.astype(float) - image) ** 2)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10((255 * preprocess.unit(image)) ** 2 / error))


def map_files(folder, stem):
    """Where `write_maps` writes to."""
    return [Path(folder, f"{stem}.{name}.png") for name in ("Qabf", "Q", "loss")]


def write_maps(sources, fused, folder, stem):
    """Three gray pictures of the size of the images: local Qabf, local Q and lost edges."""
    qabf, loss = xydeas.maps(*sources, fused)
    # The local Q of a window stands at its middle.
    q = cv2.copyMakeBorder(piella.quality_map(*sources, fused), 4, 3, 4, 3, cv2.BORDER_REPLICATE)
    for path, values in zip(map_files(folder, stem), (qabf * 255, q * 255, loss)):
        images.write(path, np.clip(np.rint(values), 0, 255).astype(np.uint8))


def table(rows):
    """Rows of scores as text, four decimals, without the sources, which are the same in all."""
    header = ["fused", *(name for name, value in rows[0].items() if not isinstance(value, str))]
    lines = [[row["fused"], *(f"{row[name]:.4f}" for name in header[1:])] for row in rows]
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(line, widths)))
        for line in [header, *lines]
    )


def _json(value):
    # JSON knows neither NaN nor infinity.
    return value if isinstance(value, str) or math.isfinite(value) else None


def main(argv=None):
    args = arguments(argv)
    paths = [args.a, args.b, *args.source]
    maps = [path for fused in args.fused if args.maps for path in map_files(args.maps, Path(fused).stem)]
    for path in [*maps, args.csv] if args.csv else maps:
        check_output(path, [*paths, *args.fused, *filter(None, [args.reference])], args.force)
    if args.csv and not Path(args.csv).parent.is_dir():
        raise ValueError(f"{args.csv}: there is no folder {Path(args.csv).parent}")
    sources = [images.read(path) for path in paths]
    reference = images.read(args.reference) if args.reference else None
    if sources[0].dtype == np.uint16:
        print("score.py: 16-bit levels count as v * 255 / 65535", file=sys.stderr)
    fused_paths = args.fused
    if len(fused_paths) > 1:
        from tqdm import tqdm

        fused_paths = tqdm(fused_paths, unit="image", delay=2, disable=None)
    if args.maps:
        Path(args.maps).mkdir(parents=True, exist_ok=True)
    called = dict(zip(["A", "B", *map("source {}".format, range(3, len(paths) + 1))], paths))
    rows, failed = [], 0
    for path in fused_paths:
        try:
            fused = images.read(path)
            scores = score(sources, fused, args.variants, reference, [*paths, path, args.reference])
            if args.maps:
                write_maps(sources, fused, args.maps, Path(path).stem)
        except (ValueError, OSError) as error:
            named = "" if path in str(error) else f"{path}: "
            print(f"score.py: error: {named}{error}", file=sys.stderr)
            failed += 1
            continue
        rows.append({**called, "fused": path, **scores})
    if not rows:
        return 1
    if args.csv:
        write_text(args.csv, markdown_tables.comma_separated(rows[0], [row.values() for row in rows]))
    if args.json:
        print(json.dumps([{name: _json(value) for name, value in row.items()} for row in rows], indent=1))
    else:
        print(table(rows))
    return 1 if failed else 0


if __name__ == "__main__":
    cli.run(main)
