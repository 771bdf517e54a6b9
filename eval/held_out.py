"""Score fusion on pairs made of photographs that training held back, whose perfect fusion is known.

What is chosen about a released net or about --refine select is chosen by this, never by the pairs of the
tables. The pairs are whole photographs, of those that `make data` puts aside for validation, blurred by a
recipe of data_prep; none is sharp on both sides.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import argparse
import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from tqdm import tqdm

from data_prep import make_database
from data_prep.recipes import RECIPES
from eval import results
from eval.score import score
from eval.tables import ideal, markdown
from two_stream_fusion.base import cli
from two_stream_fusion.base.options import parse_options
from two_stream_fusion.methods import models
from two_stream_fusion.methods import registry as methods
from two_stream_fusion.stack import select

EXAMPLES = """examples:
  python eval/held_out.py --methods GF,PSFs,CNN
  python eval/held_out.py --model 2-1-2_f32_k3-defocus --noise 2 --select outline=0 --select outline=24
  python eval/held_out.py --colours 1,0.15,0.2          red things
  python eval/held_out.py --net prototxt/2-1-2_f32_k3/deploy.prototxt \\
      --weights build/snapshots/release_f32_k3_defocus_iter_4000.caffemodel
"""
COLUMNS = ("PSNR", "SSIM", "MI", "Qabf", "Q", "Qw", "Qe")
JPEG = 92  # quality of noisy photographs: a camera's are seldom without


def photographs(root, settings, pool):
    """The photographs of a folder that training holds back: entries of make_database.plan."""
    sources, _, _ = make_database.choose(root)
    return make_database.plan(sources, settings, pool)[0]["val"]


def pair(entry, settings):
    """(a, b, clean), H x W x 3 uint8, of a photograph."""
    return [np.ascontiguousarray(x[:3].transpose(1, 2, 0)) for x in make_database.pair(entry, settings)]


def noisy(image, deviation, rng):
    """H x W x 3 (RGB) uint8 with noise of a deviation in levels, and JPEG's."""
    levels = np.clip(np.rint(image + rng.normal(0, deviation, image.shape)), 0, 255).astype(np.uint8)
    packed = cv2.imencode(".jpg", levels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG])[1]  # OpenCV has BGR
    return np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1])


def shares(text):
    """A type of argparse: three numbers in 0..1."""
    found = tuple(map(float, text.split(",")))
    if len(found) != 3 or not all(0 <= share <= 1 for share in found):
        raise argparse.ArgumentTypeError(f"{text}: three numbers in 0..1 are needed, as 1,0.15,0.2")
    return found


def fused(a, b, net, selections, compared):
    """{title: what is made of a pair} by the net, by `select` with each set of options, and by methods."""
    made = {"net": net(a, b)}
    for title, options in selections.items():
        made[title] = select.refine(a, b, made["net"], **options)[0]
    for title, (method, options) in compared.items():
        made[title] = methods.fuse(method, [a, b], **options)
    return made


def arguments(argv):
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--photos", metavar="DIR", help="the folder that was trained on (default: as `make data`)")
    add("--count", type=int, default=24, metavar="N", help="pairs (default: %(default)s)")
    add("--recipe", choices=sorted(RECIPES), default="defocus", help="(default: %(default)s)")
    add("--colours", type=shares, default=(1, 1, 1), metavar="R,G,B", help="what is left of red, green"
        " and blue, 0..1, as in things of one colour: 1,0.15,0.2")  # fmt: skip
    add("--noise", type=float, default=0, metavar="SD", help="of a and b, in levels of 255, then JPEG too")
    add("--model", default=models.DEFAULT, help="(default: %(default)s)")
    add("--net", metavar="DEPLOY", help="a deploy.prototxt instead; needs --weights")
    add("--weights", metavar="CAFFEMODEL", help="weights for --net")
    add("--select", action="append", default=[], metavar="KEY=VALUE,...", help="one more row, with these"
        " options of two_stream_fusion/stack/select.py instead of its own")  # fmt: skip
    add(
        "--methods", default="", metavar="TITLES", help="one more row for each: of the tables, between commas"
    )
    args = parser.parse_args(argv)
    if (args.net is None) != (args.weights is None):
        parser.error("--net and --weights go together")
    if args.count < 1 or args.noise < 0:
        parser.error("--count is 1 or more, --noise 0 or more")
    return args


def main(argv=None):
    args = arguments(argv)
    takes, selections = select.refine.__kwdefaults__, {"select": {}}
    for text in args.select:
        selections[f"select {text}"] = parse_options("select", takes, text.split(","))
    compared = results.choose(args.methods) if args.methods else {}
    os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe speaks up for errors only
    from two_stream_fusion.methods.two_stream import (
        TwoStream,  # late: --help and wrong arguments need no Caffe
    )

    net = TwoStream(*((args.net, args.weights) if args.net else models.files(args.model, "two_stream")))
    # Held back are the photographs that make_database.py holds back if not told otherwise.
    settings = vars(make_database.arguments(["--recipe", args.recipe]))
    rows, perfect = {}, {}
    with ThreadPoolExecutor() as pool:
        entries = photographs(args.photos, settings, pool)
    with tqdm(total=args.count, unit="pair", disable=None, leave=False) as bar:
        for entry in entries:
            if len(rows) == args.count:
                break
            a, b, clean = pair(entry, settings)
            if (a == b).all():
                continue
            a, b, clean = (np.rint(x * np.float32(args.colours)).astype(np.uint8) for x in (a, b, clean))
            if args.noise:
                rng = np.random.default_rng(settings["seed"])
                a, b = (noisy(image, args.noise, rng) for image in (a, b))
            images = fused(a, b, net, selections, compared)
            rows[entry["path"]] = {t: score([a, b], image, reference=clean) for t, image in images.items()}
            perfect[entry["path"]] = {"clean": score([a, b], clean)}
            bar.update()
    if not rows:
        raise ValueError(f"{args.photos or 'the photographs'}: no pair, of {len(entries)} that are held back")
    told = f", colours {args.colours}" if min(args.colours) < 1 else ""
    print(f"mean of {len(rows)} pairs, recipe {args.recipe}, noise {args.noise:g}{told}\n")
    means = results.mean(rows)
    print(markdown(means, COLUMNS))
    print(ideal(results.mean(perfect)["clean"], means, COLUMNS[2:]), end="")


if __name__ == "__main__":
    cli.run(main)
