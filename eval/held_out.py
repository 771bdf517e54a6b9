"""Score fusion on pairs made of held-out photographs, whose ground truth is known.

Released nets and the options of --refine select are chosen by these scores. Scores on two pairs of the tables
were known when the default was chosen (experiments/recipes).
The pairs are whole photographs from the validation set of `make data`, blurred by a recipe of data_prep; each
image of a pair is blurred in part. --pairs scores pairs that another program made, so that no choice rests on
one generator alone.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import argparse
import os
import sys
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Callable, Iterable, Iterator, List, Mapping, Sequence, Tuple

import cv2
import numpy as np
from tqdm import tqdm

from data_prep import builder, fetch
from data_prep.builder import PlannedPhotograph
from data_prep.pair_patches import PairPatches, make_training_pair
from data_prep.photographs import training_photographs
from data_prep.recipes import RECIPES
from eval import pairs, results
from eval.score import score
from eval.tables import ground_truth_scores, markdown_table
from two_stream_fusion.base import cli
from two_stream_fusion.base.options import parse_options
from two_stream_fusion.base.pixels import round_half_even
from two_stream_fusion.methods import models, registry
from two_stream_fusion.stack import pair_selection

EXAMPLES = """examples:
  python eval/held_out.py --methods GF,PSFs,CNN
  python eval/held_out.py --model 2-1-2_f32_k3-defocus --noise 2 --select boundary_cost=0 \\
      --select boundary_cost=24
  python eval/held_out.py --colours 1,0.15,0.2          red things
  python eval/held_out.py --pairs voc-synthetic         27 gray pairs of other authors
  python eval/held_out.py --net prototxt/2-1-2_f32_k3/deploy.prototxt \\
      --weights build/snapshots/2-1-2_f32_k3-defocus_1_iter_4000.caffemodel
"""
COLUMNS = ("PSNR", "SSIM", "MI", "Qabf", "Q", "Qw", "Qe")
NamedPair = Tuple[str, List[np.ndarray]]
RECIPE = "defocus"
JPEG = 92  # quality of noisy photographs: a camera's are JPEG files


def held_out_photographs(
    root: str | None, spec: PairPatches, pool: Executor, warn: Callable[[str], None] | None = None
) -> list[PlannedPhotograph]:
    """The photographs of a folder that `make data` puts into the validation set.

    Args:
        root: the folder; None for the photographs of `make data`.
        spec: the patches that data_prep/make_database.py would make.
        pool: where photographs are read.
        warn: called with a line for each photograph that is skipped and each mask that does not fit.

    Returns:
        The photographs, in the order of the database.

    Raises:
        ValueError, OSError: as data_prep/builder.py raises them.
    """
    return builder.plan(training_photographs(root).photographs, spec, pool, warn).val


def make_pair(photograph: PlannedPhotograph, spec: PairPatches) -> list[np.ndarray]:
    """[a, b, clean] of a photograph, each H x W x 3 uint8.

    Args:
        photograph: of a database's plan.
        spec: of that database.

    Returns:
        The pair, and the image that both were blurred from.
    """
    return [np.ascontiguousarray(x[:3].transpose(1, 2, 0)) for x in make_training_pair(photograph, spec)]


def add_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise and JPEG's compression, as in a camera's photographs.

    Args:
        image: H x W x 3 (RGB) uint8.
        sigma: standard deviation in levels of 255.
        rng: random numbers.

    Returns:
        The noisy image, H x W x 3 uint8.
    """
    levels = round_half_even(image + rng.normal(0, sigma, image.shape), np.uint8)
    packed = cv2.imencode(".jpg", levels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG])[1]  # OpenCV has BGR
    return np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1])


def fuse_all(
    a: np.ndarray,
    b: np.ndarray,
    net: Callable[[np.ndarray, np.ndarray], np.ndarray],
    selections: Mapping[str, Mapping[str, object]],
    entries: Mapping[str, results.Entry],
) -> dict[str, np.ndarray]:
    """Fuse a pair in all ways that are compared.

    Args:
        a, b: H x W x 3 uint8.
        net: the network.
        selections: {title: options of pair_selection.select_pixels}.
        entries: {title: method with options}.

    Returns:
        {title: fused image}, the network's own under "net".
    """
    fused = {"net": net(a, b)}
    for title, options in selections.items():
        fused[title] = pair_selection.select_pixels(a, b, fused["net"], **options)[0]
    for title, (method, options) in entries.items():
        fused[title] = registry.fuse(method, [a, b], **options).image
    return fused


def photograph_pairs(photographs: Iterable[PlannedPhotograph], spec: PairPatches) -> Iterator[NamedPair]:
    """Make the pairs of photographs.

    Args:
        photographs: as `held_out_photographs` gives them.
        spec: the patches that training had; the recipe is among them.

    Yields:
        (path, [a, b, clean]) of each, as `make_pair`.
    """
    for photograph in photographs:
        yield photograph.path, make_pair(photograph, spec)


def segmented_pairs(name: str) -> Iterator[NamedPair]:
    """Load the pairs of a set that have the region of an object, as of pairs.SEGMENTED.

    Args:
        name: of the set.

    Yields:
        (name, [a, b, clean]) of each.

    Raises:
        OSError: a file cannot be fetched or read.
    """
    for pair in fetch.pair_names(name):
        yield pair, list(pairs.load_segmented(pair))


def score_pairs(
    named: Iterable[NamedPair],
    fuse: Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]],
    count: int,
    colours: Sequence[float] = (1, 1, 1),
    noise: float = 0,
    seed: int = PairPatches.seed,
) -> tuple[dict[str, dict], dict[str, dict]]:
    """Fuse pairs and score the results against the ground truth.

    Args:
        named: (name, [a, b, clean]) of each pair, H x W x 3 uint8.
        fuse: (a, b) -> {title: fused image}.
        count: the number of pairs; those of two equal images are skipped.
        colours: factors of red, green and blue, 0..1.
        noise: standard deviation in levels of 255; more than 0 also adds JPEG's compression.
        seed: of the noise, the same for each pair.

    Returns:
        {name: {title: {metric: value}}}, and the same of the ground truth itself, under "ground truth".
    """
    scores, ideal = {}, {}
    with tqdm(total=count, unit="pair", disable=None, leave=False) as bar:
        for name, (a, b, clean) in named:
            if len(scores) == count:
                break
            if (a == b).all():
                continue
            a, b, clean = (round_half_even(x * np.float32(colours), np.uint8) for x in (a, b, clean))
            if noise:
                rng = np.random.default_rng(seed)
                a, b = (add_noise(image, noise, rng) for image in (a, b))
            fused = fuse(a, b)
            scores[name] = {t: score([a, b], image, reference=clean) for t, image in fused.items()}
            ideal[name] = {"ground truth": score([a, b], clean)}
            bar.update()
    return scores, ideal


def parse_colours(text: str) -> tuple[float, ...]:
    """A type of argparse: three numbers in 0..1.

    Args:
        text: the argument, such as 1,0.15,0.2.

    Returns:
        The numbers.

    Raises:
        argparse.ArgumentTypeError: there are not three, or one is out of range.
    """
    factors = tuple(map(float, text.split(",")))
    if len(factors) != 3 or not all(0 <= factor <= 1 for factor in factors):
        raise argparse.ArgumentTypeError(f"{text}: three numbers in 0..1 are needed, as 1,0.15,0.2")
    return factors


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--photos", metavar="DIR", help="the folder that was trained on (default: as `make data`)")
    add("--pairs", choices=(pairs.SEGMENTED,), metavar="SET", help="score the pairs of this set instead:"
        " %(choices)s (data_prep/fetch.py), in place of held-out photographs")  # fmt: skip
    add("--count", type=int, default=24, metavar="N", help="pairs (default: %(default)s)")
    add("--recipe", choices=sorted(RECIPES), help=f"(default: {RECIPE})")
    add("--colours", type=parse_colours, default=(1, 1, 1), metavar="R,G,B", help="factors of red, green"
        " and blue, 0..1, for things of one colour: 1,0.15,0.2")  # fmt: skip
    add("--noise", type=float, default=0, metavar="SD", help="standard deviation of noise in a and b, in"
        " levels of 255; adds JPEG too")  # fmt: skip
    models.add_model_arguments(parser)
    add("--select", action="append", default=[], metavar="KEY=VALUE,...", help="one more row, with these"
        " options of two_stream_fusion/stack/pair_selection.py instead of its own")  # fmt: skip
    add("--methods", default="", metavar="TITLES", help="one more row for each: titles of the tables, between"
        " commas")  # fmt: skip
    args = parser.parse_args(argv)
    if args.count < 1 or not 0 <= args.noise < np.inf:
        parser.error("--count must be at least 1, --noise at least 0")
    if args.pairs and (args.photos or args.recipe):
        parser.error("--pairs has pairs of its own: without --photos and --recipe")
    defaults, selections = pair_selection.select_pixels.__kwdefaults__, {"select": {}}
    for text in args.select:
        selections[f"select {text}"] = parse_options("select", defaults, text.split(","))
    entries = results.select_methods(args.methods) if args.methods else {}
    os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe reports errors only
    # Late: --help and wrong arguments need no Caffe.
    from two_stream_fusion.methods.two_stream import TwoStream

    net = TwoStream(*models.resolve_model(args.model, args.net, args.weights, "two_stream"))
    # The split is that of make_database.py with its default options.
    spec = PairPatches(recipe=args.recipe or RECIPE)
    if args.pairs:
        named, origin, source = segmented_pairs(args.pairs), args.pairs, f"set {args.pairs}"
    else:
        with ThreadPoolExecutor() as pool:
            photographs = held_out_photographs(
                args.photos, spec, pool, warn=lambda line: print(line, file=sys.stderr)
            )
        named, source = photograph_pairs(photographs, spec), f"recipe {spec.recipe}"
        origin = f"{len(photographs)} held-out photographs"
    scores, ideal = score_pairs(
        named,
        lambda a, b: fuse_all(a, b, net, selections, entries),
        args.count,
        args.colours,
        args.noise,
    )
    if not scores:
        folder = args.photos or "the photographs"
        raise ValueError(f"{folder}: no pair, of {origin}")
    colours = f", colours {args.colours}" if min(args.colours) < 1 else ""
    print(f"mean of {len(scores)} pairs, {source}, noise {args.noise:g}{colours}\n")
    means = results.mean_scores(scores)
    print(markdown_table(means, COLUMNS))
    of_ground_truth = results.mean_scores(ideal)["ground truth"]
    print(ground_truth_scores(of_ground_truth, means, COLUMNS[2:]), end="")


if __name__ == "__main__":
    cli.run(main)
