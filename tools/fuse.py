"""Fuse photographs of one scene focused at different depths into one that is sharp throughout."""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
from two_stream_fusion.base.cli import user_message

import numpy as np
from tqdm import tqdm

import two_stream_fusion
from tools import fuse_batch
from two_stream_fusion.base import cli
from two_stream_fusion.base.files import atomic_write, check_output
from two_stream_fusion.base.tiles import tiles
from two_stream_fusion.io import images
from two_stream_fusion.methods import models
from two_stream_fusion.methods import registry as methods
from two_stream_fusion.stack import align, frames
from two_stream_fusion.stack.choice import order

EXAMPLES = """examples:
  python tools/fuse.py near.jpg far.jpg -o sharp.png
  python tools/fuse.py stack/ -o sharp.tif --align --map depth.png
  python tools/fuse.py '*.jpg' --align-only aligned/
  python tools/fuse.py '*.tif' -o sharp.tif --fast --panel compare.jpg
  python tools/fuse.py near.jpg far.jpg -o dwt.png --method dwt --set levels=3 --set rule=max_abs
  python tools/fuse.py --help-method dwt
  python tools/fuse.py --batch pairs.csv -o fused/ --json reports/ --resume
  python tools/fuse.py a.png b.png -o f.png --net prototxt/2-1-2_f32_k3/deploy.prototxt \\
      --weights build/snapshots/demo_iter_500.caffemodel
"""
WORTH_ALIGNING = 1.5  # pixels
PANEL = 4  # sources shown side by side at the most


def parser():
    made = cli.parser(__doc__, EXAMPLES)

    def options(title, *lines):
        group = made.add_argument_group(title) if title else made
        for names, words, details in lines:
            group.add_argument(*names.split(), help=words, **details)

    def kind(meta=None, **more):
        return {"metavar": meta, **more} if meta else more

    yes = kind(action="store_true")
    options(
        None,
        (
            "images",
            "two or more of one size: files, TIFF files of several pages, patterns, folders, @LIST (a file"
            " that names them)",
            kind("IMAGE", nargs="*"),
        ),
        ("-o --output", "the fused image (.png .tif .jpg .webp), or a folder with --batch", kind("FILE")),
        ("--force", "replace output files that exist", yes),
        ("-q --quiet", "say nothing but errors", yes),
        ("-v --verbose", "say more: what is estimated, how long it takes", yes),
    )
    options(
        "how to fuse",
        ("--method", "(default: %(default)s)", kind(choices=methods.TITLES, default="two_stream")),
        (
            "--set",
            "an option of a comparison method; again for more",
            kind("KEY=VALUE", action="append", default=[]),
        ),
        ("--help-method", "what a method is and its options", kind("METHOD", choices=methods.TITLES)),
        (
            "--refine",
            "of two_stream: none is the network's own image, select puts the photographs together as that"
            " says (default: none for two images, select for more)",
            kind(choices=("none", "select")),
        ),
        ("--model", f"of two_stream: a model of models/ (default: {models.DEFAULT})", {}),
        ("--fast", f"of two_stream: the model {models.FAST}, a tenth of the work", yes),
        ("--net", "of two_stream: a deploy.prototxt; needs --weights", kind("DEPLOY")),
        ("--weights", "weights for --net", kind("CAFFEMODEL")),
        ("--gpu", "compute on GPU N (default: the CPU)", kind("N", type=int)),
        (
            "--precision",
            "of the network (default: %(default)s)",
            kind(choices=("float32", "bfloat16"), default="float32"),
        ),
        (
            "--tile",
            "of two_stream: compute in squares of N pixels, 0: all at once (default: 512)",
            kind("N", type=int),
        ),
    )
    options(
        "alignment",
        (
            "--align",
            "bring the images into register first; MODEL: translation, euclidean, affine (the default),"
            " homography",
            kind("MODEL", nargs="?", const="affine", choices=align.MODELS),
        ),
        (
            "--reference",
            "the image that the others are aligned to, 1 the first (default: the middle one)",
            kind("N", type=int),
        ),
        (
            "--crop",
            "crop to what all images show (the default)",
            kind(action="store_false", dest="keep_size", default=False),
        ),
        (
            "--keep-size",
            "keep what not all images show, mirrored at their borders",
            kind(action="store_true", default=False),
        ),
        ("--no-exposure", "leave brightness and white balance as they are", yes),
        ("--align-only", "write the aligned images to a folder, and fuse nothing", kind("DIR")),
    )
    options(
        "what else to write; with --batch each names a folder",
        ("--panel", f"sources (up to {PANEL}) and result side by side", kind("FILE")),
        (
            "--map",
            "which image each pixel comes from, black the first in the order of focus, white the last: a"
            " depth map of a stack; needs --refine select",
            kind("FILE"),
        ),
        ("--maps", "what a comparison method decides by, as images: psfs, gf and cnn", kind("DIR")),
        ("--json", "a report: sources, options, times, model", kind("FILE")),
    )
    options(
        "many at once",
        (
            "--batch",
            "a file with a line OUTPUT,IMAGE,IMAGE,... for each result, or a folder of folders, one for each;"
            " goes on where one fails",
            kind("CSV|DIR"),
        ),
        ("--resume", "with --batch: leave out what is there and whole, whatever made it", yes),
        ("--jobs", "with --batch: results in work at a time (default: 1)", kind("N", type=int)),
    )
    return made


def arguments(argv=None):
    made = parser()
    args = made.parse_args(argv)
    args.level = logging.ERROR if args.quiet else logging.DEBUG if args.verbose else logging.INFO
    if args.help_method:
        return args
    if args.align_only:
        args.align = args.align or "affine"
        if args.output or args.batch:
            made.error("--align-only fuses nothing: leave -o and --batch out")
        if args.panel or args.map or args.maps:
            made.error("--align-only fuses nothing: leave --panel, --map and --maps out")
    elif not args.output:
        made.error("-o says where the fused image goes")
    if not args.align and (args.reference is not None or args.keep_size or args.no_exposure):
        made.error("--reference, --keep-size and --no-exposure are for --align")
    if args.batch and args.images:
        made.error("--batch names the images; leave them out of the command")
    if not args.batch and not args.images:
        made.error("two images or more are needed")
    if not args.batch and (args.resume or args.jobs is not None):
        made.error("--resume and --jobs are for --batch")
    args.jobs = 1 if args.jobs is None else args.jobs
    if args.jobs < 1:
        made.error("--jobs is 1 or more")
    if args.method == "two_stream" and args.set:
        made.error("two_stream is set by --model, --refine and others, not by --set")
    of_net = args.net or args.weights or args.model or args.fast or args.refine
    of_net = of_net or args.precision != "float32" or args.gpu is not None or args.tile is not None
    if args.method != "two_stream" and of_net:
        made.error(
            "--model, --fast, --net, --weights, --refine, --gpu, --precision and --tile are for two_stream"
        )
    if (args.net is None) != (args.weights is None):
        made.error("--net and --weights go together")
    if bool(args.net) + bool(args.model) + args.fast > 1:
        made.error("one of --net, --model and --fast")
    args.tile = 512 if args.tile is None else args.tile
    if args.tile < 0 or 0 < args.tile < 16:
        made.error("--tile takes 0, or 16 and more")
    return args


def check_outputs(args, sources):
    """Refuse to write over a source, over anything without --force, or what its ending cannot hold."""
    several = [args.output, args.panel, args.map, args.json]
    for path in filter(None, several):
        check_output(path, sources, args.force)
        if os.path.isdir(path):
            raise ValueError(f"{path}: is a folder")
        if not Path(path).resolve().parent.is_dir():
            raise ValueError(f"{path}: its folder does not exist")
        if path is not args.json:
            images.check_writable(path)
    if args.maps:
        folder = Path(args.maps)
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder}: is no folder")
        if not folder.resolve().parent.is_dir():
            raise ValueError(f"{folder}: the folder that it would be in does not exist")
        for path in sorted(folder.glob(f"{args.method}_*.png")):
            check_output(path, sources, args.force)
    named = set()
    for path in filter(None, several):
        if os.path.realpath(path) in named:
            raise ValueError(f"{path}: named for two outputs")
        named.add(os.path.realpath(path))
    for folder in filter(os.path.isdir, args.images):
        if args.output and os.path.samefile(folder, Path(args.output).resolve().parent):
            logging.getLogger("fuse").warning(
                "warning: %s is in %s: a later run on that folder takes it for one of them",
                args.output,
                folder,
            )


def network(args):
    """The net that --model, --fast, or --net and --weights, name."""
    os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe speaks up for errors only
    import caffe  # late: --help, wrong arguments and the other methods need no Caffe

    from two_stream_fusion.methods.two_stream import TwoStream

    if args.gpu is not None:
        caffe.set_device(args.gpu)
        caffe.set_mode_gpu()
    if args.precision != "float32":
        if not hasattr(caffe, "set_precision"):
            raise ValueError(
                f"--precision {args.precision}: this Caffe has float32 alone; caffe_torch has it"
            )
        caffe.set_precision(args.precision)
    if args.net:
        return TwoStream(args.net, args.weights)
    name = models.FAST if args.fast else args.model or models.DEFAULT
    return TwoStream(*models.files(name, "two_stream"))


def fuse(args, stack, net, report):
    """The fused image; what a comparison method decided by, and which image each pixel is from, or None.

    net: of two_stream, as `network` gives it.
    """
    if args.method != "two_stream":
        decided = [] if methods.decides(args.method) and (args.maps or args.json) else None
        with bar(args, "fusing", total=len(stack), unit="image") as read:
            return methods.fuse(args.method, read(stack), decided, **report["options"]), decided, None
    from two_stream_fusion.methods import two_stream

    refine = refinement(args, len(stack))
    report.update(net=str(net.deploy), weights=str(net.weights), refine=refine)
    squares = len(tiles(stack.shape[:2], args.tile, 0)) * (len(stack) - 1)
    with bar(args, "fusing", total=squares, unit="tile") as computed:
        fused, choice = two_stream.fold(net, stack, refine=refine, tile=args.tile, progress=computed)
        return fused, None, choice


@contextmanager
def bar(args, doing, **what):
    """Gives a function to go through lists with; all of them together move one progress bar."""
    with tqdm(desc=doing, disable=True if args.quiet else None, leave=False, **what) as shown:

        def through(values):
            for value in values:
                yield value
                shown.update()

        yield through


def write_maps(folder, method, decided):
    """Write the maps that the steps of a method decided by, 0..1 as black to white."""
    Path(folder).mkdir(exist_ok=True)
    for number, step in enumerate(decided, 2):
        for name, values in step.items():
            if np.ndim(values) == 2:
                image = f"_image{number}" if len(decided) > 1 else ""  # each step takes in one more
                path = Path(folder, f"{method}{image}_{name}.png")
                images.write(path, np.rint(values * np.float64(255)).astype(np.uint8))


def write_map(path, choice, count):
    """A choice among `count` images, spread over black to white; 16 bit where 8 do not tell them apart."""
    deepest = np.uint8 if count <= 256 else np.uint16
    top = np.iinfo(deepest).max
    images.write(path, (choice.astype(np.uint32) * top // (count - 1)).astype(deepest))


def write_panel(path, stack, fused):
    """Some of the sources, evenly chosen, and the result, side by side, 8 bit."""
    shown = np.unique(np.linspace(0, len(stack) - 1, min(PANEL, len(stack))).round().astype(int))
    row = np.concatenate([*(stack[i] for i in shown), fused], axis=1)
    images.write(path, row if row.dtype == np.uint8 else (row // 257).astype(np.uint8))


def put_in_order(args, stack):
    """Have the frames of a stack in the order of their focus where neighbours are compared.

    Returns where in the order as named each of them is.
    """
    chosen = args.method == "two_stream" and refinement(args, len(stack)) == "select"
    if len(stack) == 2 or not (args.align or chosen):
        return list(range(len(stack)))
    with bar(args, "looking", total=len(stack), unit="image") as seen:
        places = order(seen(stack))
    if places != sorted(places):
        stack.reorder(places)
        say = logging.getLogger("fuse")
        say.info("in the order of their focus: %s", " ".join(stack.name(i) for i in range(len(stack))))
    return places


def register(args, stack, places, report):
    """Bring the images into register, or warn where that seems to be wanted.

    places: where in the order as named each image of the stack is.
    """
    if not args.align:
        pixels = align.misaligned(stack[0], stack[1])
        if pixels > max(WORTH_ALIGNING, max(stack.shape) / 600):  # found on smaller versions
            apart = (
                f"{pixels:.1f} pixels apart; --align brings images into register"
                if np.isfinite(pixels)
                else "not to show the same scene"
            )
            logging.getLogger("fuse").warning(
                "warning: %s and %s seem %s", stack.name(0), stack.name(1), apart
            )
        return
    reference = (len(stack) - 1) // 2 if args.reference is None else places.index(args.reference - 1)
    with bar(args, "aligning", total=len(stack) - 1, unit="image") as done:
        stack.register(
            reference, args.align, crop=not args.keep_size, exposure=not args.no_exposure, progress=done
        )
    report["reference"], report["align"] = stack.name(reference), args.align
    report["transforms"] = [stack.matrices[places.index(i)].tolist() for i in sorted(places)]
    rows, columns = stack.window
    report["window"] = {"left": columns.start, "top": rows.start}
    for i, matrix in enumerate(stack.matrices):
        logging.getLogger("fuse").debug(
            "%s: shifted by %.2f, %.2f pixels, scaled by %.4f",
            stack.name(i),
            *matrix[:2, 2],
            abs(np.linalg.det(matrix[:2, :2])) ** 0.5,
        )


def aligned_names(args, stack):
    """Where --align-only writes each image to. ValueError where that is taken, twice named or a source."""
    paths = []
    for i in range(len(stack)):
        source, page = stack.entries[i]
        name = source.stem if stack.name(i) == str(source) else f"{source.stem}_{page}"
        path = Path(args.align_only, f"{name}.tif")
        if path in paths:
            raise ValueError(f"{path}: named for two of the images")
        if path.exists() and (not args.force or any(path.samefile(s) for s, _ in stack.entries)):
            raise ValueError(f"{path}: exists; --force replaces it, unless it is one of the images")
        paths.append(path)
    return paths


def write_aligned(args, stack, paths):
    """Write the images as they are aligned to the folder --align-only."""
    Path(args.align_only).mkdir(parents=True, exist_ok=True)
    for i, path in enumerate(paths):
        images.write(path, *stack.with_alpha(i), stack.exif, stack.icc)
    logging.getLogger("fuse").info(
        "%s: %d images aligned, %s", args.align_only, len(stack), frames.describe(stack.shape, stack.dtype)
    )


def write_fused(args, stack, fused, decided, choice):
    """Write the fused image and what else is asked for."""
    say = logging.getLogger("fuse")
    images.write(args.output, fused, stack.alpha, stack.exif, stack.icc)
    size = frames.describe(fused.shape, fused.dtype)
    say.info("%s: %d images fused, %s", args.output, len(stack), size)
    if args.map:
        write_map(args.map, choice, len(stack))
        say.info("%s: which image each pixel is from, black the first, white the last", args.map)
    if args.maps:
        write_maps(args.maps, args.method, decided)
        say.info("%s: what %s decides by", args.maps, args.method)
    if args.panel:
        write_panel(args.panel, stack, fused)
        say.info("%s: sources and result, left to right", args.panel)


def refinement(args, count):
    """--refine of two_stream, or its default for so many images."""
    return args.refine or ("none" if count == 2 else "select")


def check_maps(args, count):
    """ValueError where --map or --maps is asked of what has none."""
    if args.map and (args.method != "two_stream" or refinement(args, count) == "none"):
        raise ValueError("--map: no pixel is from one image alone; each is by --refine select")
    if args.maps and not methods.decides(args.method):
        raise ValueError(f"--maps: {args.method} has none; gf, psfs and cnn have, and --map is two_stream's")


def run(args):
    """Read, align, fuse, write and report one result."""
    start = time.perf_counter()
    chosen = methods.parse(args.method, args.set) if args.set else {}
    sources = frames.find(args.images)
    check_outputs(args, sources)
    stack = frames.Frames(sources)
    check_maps(args, len(stack))
    report = {
        "version": two_stream_fusion.__version__,
        "method": args.method,
        "output": args.output or args.align_only,
    }
    report["options"] = chosen
    if args.output:  # before all the work; aligned ones may be cropped
        shape = () if args.align else stack.shape
        images.check_writable(args.output, stack.dtype, stack.alpha is not None, shape)
    paths = aligned_names(args, stack) if args.align_only else []
    if args.reference is not None and not 1 <= args.reference <= len(stack):
        raise ValueError(f"--reference {args.reference}: there are {len(stack)} images")
    clock = [time.perf_counter()]
    net = network(args) if args.output and args.method == "two_stream" else None  # before what takes longer
    opening = time.perf_counter() - clock[0]
    report["sources"] = [stack.name(i) for i in range(len(stack))]
    places = put_in_order(args, stack)
    if places != sorted(places):
        report["order"] = [stack.name(i) for i in range(len(stack))]
    register(args, stack, places, report)
    clock.append(time.perf_counter())
    decided = None
    if args.output:
        fused, decided, choice = fuse(args, stack, net, report)
        clock.append(time.perf_counter())
        write_fused(args, stack, fused, decided, choice)
    else:
        del report["method"], report["options"]
        clock.append(clock[-1])
        write_aligned(args, stack, [paths[i] for i in places])
    clock.append(time.perf_counter())
    seconds = {name: b - a for name, a, b in zip(("align", "fuse", "write"), clock, clock[1:])}
    seconds["align"] += clock[0] - start - opening
    seconds["fuse"] += opening
    logging.getLogger("fuse").debug(
        "%.2f s to align, %.2f to fuse, %.2f to write; %.2f s a megapixel",
        *seconds.values(),
        sum(seconds.values()) / (stack.shape[0] * stack.shape[1] / 1e6),
    )
    if args.json:
        numbers = [{k: v for k, v in step.items() if np.ndim(v) < 2} for step in decided or ()]
        if any(numbers):
            report["estimated"] = numbers
        report["size"] = frames.describe(stack.shape, stack.dtype)
        report["seconds"] = {name: round(value, 3) for name, value in seconds.items()}
        with atomic_write(args.json) as beside:
            beside.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def help_method(name):
    """Print what a method is and its options."""
    own = name == "two_stream"  # its options have flags of their own, so that they can be checked together
    given = "given as --model, --refine and --tile" if own else "for --set"
    print(methods.load(name).__doc__.strip(), f"\n\noptions, {given}:")
    for key, value in methods.options(name).items():
        print(f"  {key}={value}")
    print("\n" + inspect.getdoc(methods.load(name).fuse))


def attempt(args):
    """`run` as a part of a batch: what went wrong in one line, or None."""
    listen(args.level)
    tqdm.set_lock(threading.RLock())  # its own, between processes, would outlive one that is ended by Ctrl-C
    try:
        run(args)
    except Exception as error:  # the others are gone on with
        return user_message(error) or f"{args.output}: {type(error).__name__}: {error}"
    return None


def listen(level):
    """Have what is logged shown from `level` on; warnings on stderr."""
    said, warned = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    said.addFilter(lambda record: record.levelno < logging.WARNING)
    warned.setLevel(logging.WARNING)
    warned.setFormatter(logging.Formatter("fuse.py: %(message)s"))
    logging.basicConfig(handlers=[said, warned], format="%(message)s", force=True)
    for name in ("fuse", "two_stream_fusion"):
        logging.getLogger(name).setLevel(level)


def main(argv=None):
    cli.end_imports()
    args = arguments(argv)
    listen(args.level)
    try:
        if args.help_method:
            help_method(args.help_method)
        elif args.batch:
            return fuse_batch.run(args, attempt)
        else:
            run(args)
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        said = user_message(error)
        if said is None:
            raise
    # Only here: a thread that still reads for the frames the error held keeps stderr away till then.
    print(f"fuse.py: error: {said}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
