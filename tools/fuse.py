"""Fuse images of one scene, focused at different depths, into one that is sharp throughout."""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import argparse
import contextlib
import inspect
import logging
import math
import os
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, Iterator, NamedTuple

os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
from tqdm import tqdm

from two_stream_fusion import batch, pipeline
from two_stream_fusion import outputs as out
from two_stream_fusion.base import cli
from two_stream_fusion.base.tiles import NETWORK_TILE
from two_stream_fusion.memory_estimate import check_memory, limit_jobs
from two_stream_fusion.methods import models, networks, registry
from two_stream_fusion.outputs import Outputs
from two_stream_fusion.stack import fuse_network
from two_stream_fusion.stack.align import MOTIONS
from two_stream_fusion.stack.frames import Frames, find_images

EXAMPLES = """examples:
  python tools/fuse.py near.jpg far.jpg -o sharp.png
  python tools/fuse.py stack/ -o sharp.tif --align --map depth.png
  python tools/fuse.py '*.jpg' --align-only aligned/
  python tools/fuse.py '*.tif' -o sharp.tif --fast --report look.html
  python tools/fuse.py near.jpg far.jpg -o dwt.png --method dwt --set levels=3 --set rule=max_abs
  python tools/fuse.py --help-method dwt
  python tools/fuse.py --batch pairs.csv -o fused/ --json reports/ --resume
  python tools/fuse.py a.png b.png -o f.png --net prototxt/2-1-2_f32_k3/deploy.prototxt \\
      --weights build/snapshots/demo_iter_500.caffemodel
"""
LOG = logging.getLogger("two_stream_fusion.fuse")


class Settings(NamedTuple):
    """How images are fused, the same for all results of a batch.

    fusing: arguments of pipeline.fuse, without the sources. reading: arguments of Frames, likewise. level:
    what is logged. is_quiet: no bars.
    """

    fusing: dict[str, Any]
    reading: dict[str, Any]
    level: int
    is_quiet: bool

    def memory_method(self) -> str:
        """The method, as memory_estimate takes it."""
        if self.fusing["method"] != "two_stream":
            return str(self.fusing["method"])
        return networks.kind(*(self.fusing[name] for name in ("model", "net", "weights")))


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = cli.parser(__doc__ or "", EXAMPLES)
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="*",
        help="two or more of one size: files, TIFF files of several pages, patterns, folders, @LIST (a file"
        " that names them)",
    )
    cli.add_output(parser, "the fused image (.png .tif .jpg .webp), or a folder with --batch", metavar="FILE")
    parser.add_argument("--force", action="store_true", help="replace output files that exist")
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="print more: what is estimated, how long it takes"
    )

    add = parser.add_argument_group("reading TIFF").add_argument
    add("--channel", metavar="N", type=int, help="the channel of a hyperstack (ImageJ, OME), 1 the first")
    add("--time", metavar="N", type=int, help="the time of a hyperstack, 1 the first")
    add("--range", metavar="LOW,HIGH", type=level_range, help="floats or int16: the levels that become black"
        " and white; --range=LOW,HIGH where LOW is negative")  # fmt: skip

    add = parser.add_argument_group("method").add_argument
    add("--method", choices=registry.TITLES, default="two_stream", help="(default: %(default)s)")
    add("--set", metavar="KEY=VALUE", action="append", default=[], help="an option of a comparison method;"
        " repeat for more")  # fmt: skip
    add("--help-method", metavar="METHOD", choices=registry.TITLES, help="describe a method and its options")
    add("--refine", choices=fuse_network.REFINEMENTS, help="of two_stream: none is the network's output,"
        " select copies each pixel from the image whose details are closer to that output; a stack has the"
        " output itself near depth edges (default: none for two images, select for more)")  # fmt: skip
    add("--model", help=f"of two_stream: a model of models/ (default: {models.DEFAULT})")
    add(
        "--fast",
        action="store_true",
        help=f"of two_stream: the model {models.FAST}, a tenth of the computation",
    )
    add("--net", metavar="DEPLOY", help="of two_stream: a deploy.prototxt; needs --weights")
    add("--weights", metavar="CAFFEMODEL", help="weights for --net")
    add("--gpu", metavar="N", type=int, help="compute on GPU N (default: the CPU)")
    add("--precision", choices=("float32", "bfloat16"), default="float32", help="of the network (default:"
        " %(default)s)")  # fmt: skip
    add("--tile", metavar="N", type=int, help="of two_stream: compute in squares of N pixels, 0: all at once"
        f" (default: {NETWORK_TILE})")  # fmt: skip

    add = parser.add_argument_group("stacks of three images or more").add_argument
    add("--keep-order", action="store_true", help="the images are in the order of focus; do not sort"
        " them")  # fmt: skip
    add("--keep-all", action="store_true", help="also fuse images that would be left out: blank, too bright"
        " or dark, blurred, noisy, or of another scene")  # fmt: skip

    add = parser.add_argument_group("alignment").add_argument
    add("--align", metavar="MODEL", nargs="?", const="affine", choices=MOTIONS, help="align the images"
        " first; MODEL: translation, euclidean, affine (the default), homography")  # fmt: skip
    add("--reference", metavar="N", type=int, help="the image that the others are aligned to, 1 the first"
        " (default: the middle one)")  # fmt: skip
    add("--crop", action="store_false", dest="keep_size", default=False, help="crop to what all images show"
        " (the default)")  # fmt: skip
    add("--keep-size", action="store_true", default=False, help="keep the full size; images are mirrored at"
        " their borders to fill it")  # fmt: skip
    add("--no-exposure", action="store_true", help="leave brightness and white balance as they are")
    add("--align-only", metavar="DIR", help="write the aligned images to a folder, and fuse nothing")

    add = parser.add_argument_group("additional outputs; with --batch each names a folder").add_argument
    add("--panel", metavar="FILE", help=f"sources (up to {out.PANEL}) and result side by side")
    add("--map", metavar="FILE", help="which image each pixel comes from, black for the first in the order of"
        " focus, white for the last: a depth map of a stack; needs --refine select")  # fmt: skip
    add("--maps", metavar="DIR", help="the decision maps of psfs, gf and cnn, as images")
    add("--json", metavar="FILE", help="a report: sources, options, times, model")
    add("--report", metavar="FILE", help="a page for a browser: sources and result under a slider,"
        " where pixels come from, sharpness, warnings, options, times")  # fmt: skip

    add = parser.add_argument_group("batches").add_argument
    add("--batch", metavar="CSV|DIR", help="a file with a line OUTPUT,IMAGE,IMAGE,... for each result, or a"
        " folder of folders, one for each; continues where one fails")  # fmt: skip
    add("--resume", action="store_true", help="with --batch: skip results that exist and are complete,"
        " whatever options made them")  # fmt: skip
    add("--anywhere", action="store_true", help="with --batch: results may be outside the folder -o")
    add("--jobs", metavar="N", type=int, help="with --batch: results computed at the same time (default: 1)")
    return parser


def level_range(text: str) -> tuple[float, float]:
    """LOW,HIGH of --range.

    Raises:
        argparse.ArgumentTypeError: they are not two finite numbers, the first the smaller.
    """
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW,HIGH") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise argparse.ArgumentTypeError(f"{text!r}: LOW must be less than HIGH")
    return low, high


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The arguments, checked against each other; argparse ends the process where they do not fit."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.help_method:
        return args
    if args.align_only:
        args.align = args.align or "affine"
        if args.output or args.batch:
            parser.error("--align-only fuses nothing: leave -o and --batch out")
        if args.panel or args.map or args.maps or args.report:
            parser.error("--align-only fuses nothing: leave --panel, --map, --maps and --report out")
    elif not args.output:
        parser.error("-o FILE is needed: the path of the fused image")
    if not args.align and (args.reference is not None or args.keep_size or args.no_exposure):
        parser.error("--reference, --keep-size and --no-exposure are for --align")
    if args.batch and args.images:
        parser.error("--batch names the images; leave them out of the command")
    if not args.batch and not args.images:
        parser.error("two images or more are needed")
    if not args.batch and (args.resume or args.anywhere or args.jobs is not None):
        parser.error("--resume, --anywhere and --jobs are for --batch")
    args.jobs = 1 if args.jobs is None else args.jobs
    if args.jobs < 1:
        parser.error("--jobs must be at least 1")
    if args.method == "two_stream" and args.set:
        parser.error("two_stream has no options of --set; use --model, --refine and others")
    of_network = args.net or args.weights or args.model or args.fast or args.refine
    of_network = of_network or args.precision != "float32" or args.gpu is not None or args.tile is not None
    if args.method != "two_stream" and of_network:
        parser.error(
            "--model, --fast, --net, --weights, --refine, --gpu, --precision and --tile are for two_stream"
        )
    if (args.net is None) != (args.weights is None):
        parser.error("--net and --weights go together")
    if bool(args.net) + bool(args.model) + args.fast > 1:
        parser.error("use only one of --net, --model and --fast")
    args.tile = NETWORK_TILE if args.tile is None else args.tile
    if args.tile < 0 or 0 < args.tile < 16:
        parser.error("--tile must be 0, or at least 16")
    return args


def settings_from(args: argparse.Namespace) -> Settings:
    """How to fuse, from the arguments of the command.

    Raises:
        ValueError: an option of --set does not fit the method.
    """
    fusing = {
        "method": args.method,
        "options": registry.parse_options(args.method, args.set) if args.set else {},
        "model": models.FAST if args.fast else args.model,
        "align": args.align,
        "reference": None if args.reference is None else args.reference - 1,
        "crop": not args.keep_size,
        "exposure": not args.no_exposure,
        "keep_order": args.keep_order,
        "keep_all": args.keep_all,
    }
    for name in ("net", "weights", "refine", "gpu", "precision", "tile"):
        fusing[name] = getattr(args, name)
    level = logging.ERROR if args.quiet else logging.DEBUG if args.verbose else logging.INFO
    reading = {"channel": args.channel, "time": args.time, "value_range": args.range}
    return Settings(fusing, reading, level, args.quiet)


def outputs_from(args: argparse.Namespace) -> Outputs:
    """What to write, from the arguments of the command."""
    return Outputs(
        image=_path(args.output),
        panel=_path(args.panel),
        choice_map=_path(args.map),
        report=_path(args.json),
        map_folder=_path(args.maps),
        aligned_folder=_path(args.align_only),
        page=_path(args.report),
        force=args.force,
    )


def _path(name):
    return Path(name) if name else None


def fuse(words: list[str | Path], outputs: Outputs, settings: Settings) -> None:
    """Read, align, fuse, write and report one result.

    Args:
        words: images, as find_images takes them.
        outputs: what to write.
        settings: how to fuse.

    Raises:
        OSError, ValueError, MemoryError: as pipeline.fuse and the functions of outputs do.
    """
    with collect_warnings() as warnings:
        _fuse(words, outputs, settings, warnings)


def _fuse(words, outputs, settings, warnings):
    start = time.perf_counter()
    if outputs.page:  # late, and before the work: jinja2 may be missing
        from two_stream_fusion.report.result_page import write_result_page
    fusing = settings.fusing
    method, align, reference = fusing["method"], fusing["align"], fusing["reference"]
    progress = partial(progress_bar, settings.is_quiet)
    sources = find_images(words)
    out.check_outputs(outputs, sources, method)
    warn_if_among_sources(outputs.image, words)
    check_memory(sources, settings.memory_method(), **settings.reading)
    frames = Frames(sources, **settings.reading)
    is_cropped = align is not None and fusing["crop"]
    out.check_kinds(outputs, frames, method, fusing["refine"], is_cropped)
    paths = out.aligned_paths(outputs, frames) if outputs.aligned_folder else []
    if reference is not None and not 0 <= reference < len(frames):
        raise ValueError(f"--reference {reference + 1}: there are {len(frames)} images")
    opened = time.perf_counter()
    if outputs.aligned_folder:
        alignment = {name: fusing[name] for name in ("reference", "crop", "exposure", "keep_all")}
        alignment["in_order"] = not fusing["keep_order"]
        result, aligned = None, pipeline.align_frames(frames, align, **alignment, progress=progress)
        seconds = {"align": time.perf_counter() - opened, "fuse": 0.0}
    else:
        result = pipeline.fuse(frames, **fusing, progress=progress)
        aligned, seconds = result.aligned, dict(result.seconds)
    ready = time.perf_counter()
    if result:
        out.write_outputs(outputs, result, method)
    else:
        out.write_aligned(paths, aligned, outputs.force)
    seconds["align"] += opened - start
    seconds["write"] = time.perf_counter() - ready
    LOG.debug(
        "%.2f s to align, %.2f to fuse, %.2f to write; %.2f s per megapixel",
        *seconds.values(),
        sum(seconds.values()) / (aligned.frames.shape[0] * aligned.frames.shape[1] / 1e6),
    )
    target = outputs.aligned_folder or outputs.image or Path()
    context = {"method": method, "options": fusing["options"], "align": align, "result": result}
    report = out.make_report(target, aligned, seconds, **context)
    if outputs.report:
        out.write_report(outputs.report, report, outputs.force)
    if outputs.page and result:
        write_result_page(outputs.page, result, report, fusing, warnings, outputs.force)
        LOG.info("%s: a page for a browser", outputs.page)


@contextlib.contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """A list that takes the warnings logged meanwhile, for the report."""
    texts: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: texts.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("two_stream_fusion")
    logger.addHandler(handler)
    try:
        yield texts
    finally:
        logger.removeHandler(handler)


def warn_if_among_sources(image: Path | None, words: list[str | Path]) -> None:
    """Warn where a later run of the same command would take the result for a source.

    Args:
        image: the output.
        words: the arguments that name the sources.
    """
    for folder in filter(os.path.isdir, words):
        if image and os.path.samefile(folder, os.path.dirname(os.path.realpath(image))):
            LOG.warning("%s is in %s: a later run on that folder would fuse it too", image, folder)


@contextlib.contextmanager
def progress_bar(is_quiet: bool, stage: str, total: int, unit: str) -> Iterator[fuse_network.Track]:
    """A progress bar, as pipeline.fuse takes it; it shows in a terminal only.

    Args:
        is_quiet: hide it there too.
        stage: its label.
        total: the number of its steps.
        unit: the name of a step.

    Yields:
        A function that wraps an iterable, and counts its items.
    """
    with tqdm(desc=stage, total=total, unit=unit, disable=is_quiet or None, leave=False) as bar:

        def tracked(items):
            for item in items:
                yield item
                bar.update()

        yield tracked


def fuse_batch(items: list[batch.BatchItem], skipped: int, settings: Settings, jobs: int) -> int:
    """Fuse the items of a batch.

    Args:
        items: to fuse.
        skipped: the number of items left out as already done, for the message.
        settings: of all items.
        jobs: the number of processes.

    Returns:
        The exit status: 1 where any failed, else 0.
    """
    failed = 0
    if jobs > 1:
        sources = (item.sources for item in items)
        jobs = limit_jobs(sources, jobs, settings.memory_method(), **settings.reading)
    fuse_one = partial(run_batch_item, settings=settings)
    with progress_bar(settings.is_quiet, "batch", len(items), "result") as tracked:
        for number, (item, error) in enumerate(tracked(batch.run_batch(items, fuse_one, jobs)), start=1):
            if error:
                failed += 1
                print(f"{program_name()}: error: {error}", file=sys.stderr)
            LOG.info("%d of %d: %s%s", number, len(items), item.outputs.image, " failed" if error else "")
    LOG.info("%d fused, %d skipped as complete, %d failed", len(items) - failed, skipped, failed)
    return 1 if failed else 0


def run_batch_item(item: batch.BatchItem, settings: Settings) -> str | None:
    """Fuse one item in a worker process.

    Args:
        item: the item.
        settings: of the batch.

    Returns:
        An error message of one line, or None.
    """
    settings = settings._replace(level=max(settings.level, logging.WARNING), is_quiet=True)
    configure_logging(settings.level)
    tqdm.set_lock(threading.RLock())  # its own, between processes, would outlive one that is ended by Ctrl-C
    try:
        fuse([*item.sources], item.outputs, settings)
    except Exception as error:  # must not stop the others
        fault = f"{item.outputs.image}: {type(error).__name__}: {error}"
        return cli.user_message(error) or cli.printable(fault)
    return None


def method_help(name: str) -> str:
    """What a method is, and its options."""
    is_network = name == "two_stream"  # its options have flags, so that they can be checked together
    flags = "given as --model, --refine and --tile" if is_network else "for --set"
    lines = [f"{(registry.load(name).__doc__ or '').strip()} \n\noptions, {flags}:"]
    lines += [f"  {key}={value}" for key, value in pipeline.options(name).items()]
    return "\n".join([*lines, "", inspect.getdoc(registry.entry_point(name)) or ""])


def configure_logging(level: int) -> None:
    """Print what is logged from `level` on; warnings on stderr."""
    info, warnings = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    info.addFilter(lambda record: level <= record.levelno < logging.WARNING)
    warnings.setLevel(max(level, logging.WARNING))
    info.setFormatter(cli.LineFormatter())
    warnings.setFormatter(cli.LineFormatter(f"{program_name()}: warning: %(message)s"))
    logging.raiseExceptions = False  # results count where standard output is closed or full
    logging.basicConfig(handlers=[info, warnings], force=True)
    # Reports have the warnings of a quiet run too.
    logging.getLogger("two_stream_fusion").setLevel(min(level, logging.WARNING))


def program_name() -> str:
    """The name of this program in its messages."""
    return Path(sys.argv[0]).name


def main(argv: list[str] | None = None) -> int:
    cli.end_imports()
    args = parse_arguments(argv)
    os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe, which is imported late, logs errors only
    if args.help_method:
        print(method_help(args.help_method))
        return 0
    settings, outputs = settings_from(args), outputs_from(args)
    configure_logging(settings.level)
    if args.batch:
        items, skipped = batch.plan_batch(args.batch, outputs, args.resume, args.anywhere)
        return fuse_batch(items, skipped, settings, args.jobs)
    fuse(args.images, outputs, settings)
    return 0


def command() -> None:
    cli.run(main)


if __name__ == "__main__":
    command()
