"""Time the six metrics and the ten methods on one core; the metrics in turns with a plain NumPy version."""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import multiprocessing
import os
import re
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

for library in ("OMP", "OPENBLAS", "MKL"):  # before NumPy is imported
    os.environ[f"{library}_NUM_THREADS"] = "1"
import cv2
import numpy as np

from eval import plain
from two_stream_fusion import metrics
from two_stream_fusion.base import cli
from two_stream_fusion.methods import registry as methods

EXAMPLES = """examples:
  python eval/bench.py
  python eval/bench.py --rounds 100
  python eval/bench.py --megapixels 24      also time and peak memory on images of that size
"""
# What a method may take on the 512 x 512 images, in ms of one core.
LIMITS = {"dwt": 25, "lp": 15, "sp": 250, "rp": 15, "psfs": 2000, "cp": 15, "gf": 60, "cnn": 8000}
MEMORY = 4096  # MiB that a method may take on the large images
LONGEST = 600  # s: methods that would take longer on the large images are left out


def triple(height, width, seed=0):
    """Two sources, each blurred in one half, and the sharp image; gray uint8, smooth as photographs are."""
    rng = np.random.default_rng(seed)
    sharp = cv2.GaussianBlur(rng.integers(0, 256, (height, width), dtype=np.uint8), (0, 0), 1.5)
    sharp = cv2.normalize(sharp, None, 0, 255, cv2.NORM_MINMAX)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 3)
    a, b = sharp.copy(), sharp.copy()
    a[:, : width // 2] = blurred[:, : width // 2]
    b[:, width // 2 :] = blurred[:, width // 2 :]
    return a, b, sharp


def seconds(function, images):
    """Processor time: other programs on the machine lengthen it less than the wall clock."""
    start = time.process_time()
    function(*images)
    return time.process_time() - start


def method_seconds(name, pair):
    """Processor time of a method on a pair."""
    return seconds(lambda a, b: methods.fuse(name, [a, b]), pair)


def most_held():
    """The most memory this process has held, in MiB.

    Linux counts what the parent held when it started the process in with ru_maxrss, not with VmHWM.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1] if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


def colour_pair(name, height, width):
    """(s, MiB): processor time of a method on a colour pair, and the peak memory of this process."""
    cv2.setNumThreads(1)
    pair = [np.dstack([image] * 3) for image in triple(height, width)[:2]]
    return method_seconds(name, pair), most_held()


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--megapixels", type=float, metavar="M", help="also one large triple")
    args = parser.parse_args(argv)
    if args.rounds < 1 or (args.megapixels is not None and args.megapixels <= 0):
        parser.error("--rounds and --megapixels take positive numbers")
    cv2.setNumThreads(1)

    images = triple(512, 512)
    ours, theirs = metrics.evaluate(*images), plain.all_six(*images)  # and warm up
    apart = max(abs(ours[name] - theirs[name]) for name in theirs)
    times = [(seconds(metrics.evaluate, images), seconds(plain.all_six, images)) for _ in range(args.rounds)]
    fast, slow = zip(*times)
    ratio = statistics.median(s / f for f, s in times)
    print(f"six metrics on 512 x 512, one core, {args.rounds} rounds in turns, median (least) in ms:")
    print(f"  two_stream_fusion/metrics  {statistics.median(fast) * 1e3:6.1f} ({min(fast) * 1e3:.1f})")
    print(f"  plain NumPy   {statistics.median(slow) * 1e3:6.1f} ({min(slow) * 1e3:.1f})")
    print(f"  {ratio:.1f} times as fast; largest difference of a value {apart:.0e}")

    print("methods on the same, median (least) of up to 20 in ms, and the limit:")
    least = {}
    for name, title in methods.TITLES.items():
        try:
            times = [method_seconds(name, images[:2])]  # and warm up
            while sum(times) < 2 and len(times) < 20:  # the slow ones vary little, and take long enough
                times.append(method_seconds(name, images[:2]))
            least[name] = min(times)
            limit = f"{LIMITS[name]:6}" if name in LIMITS else ""
            print(f"  {title:6} {statistics.median(times) * 1e3:8.1f} ({min(times) * 1e3:.1f}) {limit}")
        except ValueError as error:  # weights that are not there
            print(f"  {title:6} {error}")

    if args.megapixels:
        width = round((args.megapixels * 1e6 * 3 / 2) ** 0.5)
        images = triple(width * 2 // 3, width)
        before, elapsed = most_held(), seconds(metrics.evaluate, images)
        print(
            f"{width} x {width * 2 // 3}: {elapsed:.2f} s, peak memory of the process {most_held():.0f} MiB "
            f"({before:.0f} MiB before the metrics)"
        )
        print(f"methods on colour of that size: s, and peak memory of a process in MiB (at most {MEMORY}):")
        for name, quick in least.items():
            expected = quick * 3 * images[0].size / 512**2
            if expected > LONGEST:
                print(f"  {methods.TITLES[name]:6} left out: it takes about {expected / 60:.0f} minutes")
                continue
            # A process each, since the peak of one never falls.
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                took, peak = process.submit(colour_pair, name, *images[0].shape).result()
            print(f"  {methods.TITLES[name]:6} {took:8.3f} {peak:8.0f}")


if __name__ == "__main__":
    cli.run(main)
