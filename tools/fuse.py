"""Fuse photographs of one scene focused at different depths into one that is sharp throughout."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from functools import partial
from pathlib import Path

os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from tqdm import tqdm

from fusion import images, methods, models

EXAMPLES = """examples:
  python tools/fuse.py near.jpg far.jpg -o sharp.png
  python tools/fuse.py 1.tif 2.tif 3.tif -o sharp.tif --panel compare.jpg
  python tools/fuse.py near.jpg far.jpg -o dwt.png --method dwt --set levels=3 --set rule=max_abs
  python tools/fuse.py --help-method dwt
  python tools/fuse.py a.png b.png -o f.png --net prototxt/2-1-2_f32_k3/deploy.prototxt \\
      --weights build/snapshots/demo_iter_1000.caffemodel
"""


def arguments(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="two or more, of one size")
    parser.add_argument(
        "--method", choices=methods.TITLES, default="two_stream", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an option of the method; again for more",
    )
    parser.add_argument(
        "--help-method", choices=methods.TITLES, metavar="METHOD", help="what its options are"
    )
    parser.add_argument("-o", "--output", help="the fused image (.png .tif .jpg ...)")
    parser.add_argument("--model", default=models.DEFAULT, help="a model of models/ (default: %(default)s)")
    parser.add_argument("--net", metavar="DEPLOY", help="a deploy.prototxt; needs --weights")
    parser.add_argument("--weights", metavar="CAFFEMODEL", help="weights for --net")
    parser.add_argument("--gpu", type=int, metavar="N", help="compute on GPU N (default: the CPU)")
    parser.add_argument(
        "--tile",
        type=int,
        default=512,
        metavar="N",
        help="compute in squares of N pixels, 0: all at once (default: %(default)s)",
    )
    parser.add_argument("--panel", metavar="FILE", help="also write the sources and the result side by side")
    parser.add_argument("--force", action="store_true", help="replace output files that exist")
    args = parser.parse_args(argv)
    if args.help_method:
        return args
    if len(args.images) < 2:
        parser.error("two images or more are needed")
    if not args.output:
        parser.error("-o says where the fused image goes")
    if args.method == "two_stream" and args.set:
        parser.error("two_stream is set by --model, --net, --weights and --tile, not by --set")
    if args.method != "two_stream" and (args.net or args.weights or args.gpu is not None):
        parser.error("--net, --weights and --gpu are for two_stream")
    if (args.net is None) != (args.weights is None):
        parser.error("--net and --weights go together")
    if args.tile < 0 or 0 < args.tile < 16:
        parser.error("--tile takes 0, or 16 and more")
    return args


def check_outputs(args):
    """Refuse to write over a source, or over anything without --force."""
    for path in filter(None, (args.output, args.panel)):
        if any(os.path.exists(path) and os.path.samefile(path, image) for image in args.images):
            raise ValueError(f"{path}: is one of the images to fuse")
        if os.path.exists(path) and not args.force:
            raise ValueError(f"{path}: exists; --force replaces it")
        if not Path(path).resolve().parent.is_dir():
            raise ValueError(f"{path}: its folder does not exist")


def read_all(paths):
    """The images, refused with both names where they do not fit together."""
    sources = [images.read(path) for path in paths]
    for path, image in zip(paths[1:], sources[1:]):
        if image.shape != sources[0].shape or image.dtype != sources[0].dtype:
            raise ValueError(
                f"{path} is {describe(image)}, {paths[0]} is {describe(sources[0])}: "
                "images to fuse must agree in size, depth and colour"
            )
    return sources


def describe(image):
    """An image's size, depth and kind in words."""
    height, width = image.shape[:2]
    return f"{width}x{height} {8 * image.itemsize} bit {'gray' if image.ndim == 2 else 'colour'}"


def two_stream(args, sources):
    """Fuse with the network that --model, or --net and --weights, name."""
    os.environ.setdefault("GLOG_minloglevel", "2")  # Caffe speaks up for errors only
    import caffe  # late: --help, wrong arguments and the other methods need no Caffe

    from fusion.two_stream import TwoStream

    if args.gpu is not None:
        caffe.set_device(args.gpu)
        caffe.set_mode_gpu()
    deploy, weights = (args.net, args.weights) if args.net else models.files(args.model)
    progress = partial(tqdm, desc="fusing", unit="tile", disable=None, leave=False)
    return TwoStream(deploy, weights)(*sources, tile=args.tile, progress=progress)


def help_method(name):
    """Print what a method is and its options."""
    print(methods.load(name).__doc__.strip(), "\n\noptions, for --set:")
    for key, value in methods.options(name).items():
        print(f"  {key}={value}")
    print("\n" + inspect.getdoc(methods.load(name).fuse))


def fuse(args):
    """Read, fuse, write and report."""
    check_outputs(args)
    sources = read_all(args.images)

    if args.method == "two_stream":
        fused = two_stream(args, sources)
    else:
        fused = methods.fuse(args.method, sources, **methods.parse(args.method, args.set))
    images.write(args.output, fused)
    print(f"{args.output}: {len(sources)} images fused, {describe(fused)}")
    if args.panel:
        images.write(args.panel, np.concatenate([*sources, fused], axis=1))
        print(f"{args.panel}: the sources and the result, left to right")


def main(argv=None):
    args = arguments(argv)
    try:
        if args.help_method:
            help_method(args.help_method)
        else:
            fuse(args)
    except (ValueError, OSError, ImportError) as error:
        path = getattr(error, "filename", None)
        print(f"fuse.py: error: {f'{path}: {error.strerror}' if path else error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
