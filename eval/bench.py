"""Time the metrics and the ten methods on one core."""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import functools
import os
import re
import resource
import statistics
import time
from pathlib import Path
from typing import Callable, Mapping, NamedTuple, Sequence

for library in ("OMP", "OPENBLAS", "MKL"):  # before NumPy is imported
    os.environ[f"{library}_NUM_THREADS"] = "1"
import cv2
import numpy as np

from two_stream_fusion import metrics
from two_stream_fusion.base import cli
from two_stream_fusion.base.parallel import process_pool
from two_stream_fusion.methods import registry

EXAMPLES = """examples:
  python eval/bench.py
  python eval/bench.py --rounds 100
  python eval/bench.py --megapixels 24      also time and peak memory on images of that size
"""
# The limit of a method on the 512 x 512 images, in ms of one core.
LIMITS = {"dwt": 25, "lp": 15, "sp": 250, "rp": 15, "psfs": 2000, "cp": 15, "gf": 60, "cnn": 8000}
GOAL_SIX, GOAL_ALL = 30, 500  # ms of one core with AVX2: the metrics on the 512 x 512 images
MEMORY = 4096  # MiB: the limit of a method on the large images
LONGEST = 600  # s: slower methods are left out on the large images


class Timing(NamedTuple):
    """Processor time of several runs, in seconds."""

    median: float
    best: float


def make_pair_with_truth(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make a pair to fuse and its ground truth.

    Args:
        height, width: in pixels.
        seed: of the random image.

    Returns:
        (a, b, sharp), H x W uint8: two sources, each blurred in one half, and the sharp image.
    """
    rng = np.random.default_rng(seed)
    sharp = cv2.GaussianBlur(rng.integers(0, 256, (height, width), dtype=np.uint8), (0, 0), 1.5)
    sharp = cv2.normalize(sharp, None, 0, 255, cv2.NORM_MINMAX)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 3)
    a, b = sharp.copy(), sharp.copy()
    a[:, : width // 2] = blurred[:, : width // 2]
    b[:, width // 2 :] = blurred[:, width // 2 :]
    return a, b, sharp


def measure_seconds(function: Callable[[], object]) -> float:
    """Processor time of a call: other programs affect it less than the wall clock."""
    start = time.process_time()
    function()
    return time.process_time() - start


def time_metrics(
    images: Sequence[np.ndarray], rounds: int, columns: Sequence[str] | None = None
) -> tuple[Timing, Timing]:
    """Time several metrics together; one call before the first round warms up.

    Args:
        images: two sources and a fused image, H x W uint8.
        rounds: the number of calls to time.
        columns: names of metrics.REGISTRY; None for the six of the paper.

    Returns:
        Processor time in s: of sources that are new to the metrics, and of the same sources again, as for the
        second and each further method.
    """
    return _time_new_and_again(lambda *three: metrics.evaluate(*three, columns=columns), images, rounds)


def time_each_metric(images: Sequence[np.ndarray], rounds: int) -> dict[str, tuple[Timing, Timing]]:
    """Time every metric of the registry alone; one call before the first round warms up.

    Args:
        images: two sources and the fused image.
        rounds: calls of each that are timed.

    Returns:
        {name: timings as `time_metrics` returns them}, in the order of the registry.
    """
    return {
        name: _time_new_and_again(metric.function, images, rounds)
        for name, metric in metrics.REGISTRY.items()
    }


def _time_new_and_again(function, images, rounds):
    function(*images)
    new, again = [], []
    for i in range(rounds):
        # Metrics keep what they compute of the sources; in each round these are other ones.
        run = functools.partial(function, *(np.roll(image, i + 1, axis=1) for image in images))
        new.append(measure_seconds(run))
        again.append(measure_seconds(run))
    return tuple(Timing(statistics.median(seconds), min(seconds)) for seconds in (new, again))


def time_method(name: str, images: Sequence[np.ndarray]) -> Timing:
    """Time a method: up to 20 runs, until they have taken two seconds. Slow methods vary little.

    Args:
        name: of the method.
        images: two sources, H x W or H x W x 3 uint8.

    Returns:
        Processor time in s: the median and the minimum.

    Raises:
        ValueError: its weights are missing.
    """

    def run():
        return measure_seconds(lambda: registry.fuse(name, images).image)

    seconds = [run()]  # and warm up
    while sum(seconds) < 2 and len(seconds) < 20:
        seconds.append(run())
    return Timing(statistics.median(seconds), min(seconds))


def peak_memory() -> float:
    """The peak memory of this process in MiB.

    Linux counts the parent's memory at the start of the process in ru_maxrss, but not in VmHWM.
    """
    status = Path("/proc/self/status")
    match = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.is_file() else None
    return int(match[1] if match else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


def measure_colour_pair(name: str, height: int, width: int) -> tuple[float, float]:
    """Measure a method on a colour pair, on one thread of OpenCV.

    Args:
        name: of the method.
        height, width: of the pair, in pixels.

    Returns:
        Processor time in s, and the peak memory of this process in MiB.
    """
    cv2.setNumThreads(1)
    pair = [np.dstack([image] * 3) for image in make_pair_with_truth(height, width)[:2]]
    return measure_seconds(lambda: registry.fuse(name, pair).image), peak_memory()


def report_large(megapixels: float, fastest: Mapping[str, float]) -> None:
    """Print time and memory of metrics and methods on large images.

    Args:
        megapixels: the size of the images, 3:2.
        fastest: {method: seconds on 512 x 512 gray}, from which the time is estimated.
    """
    width = round((megapixels * 1e6 * 3 / 2) ** 0.5)
    images = make_pair_with_truth(width * 2 // 3, width)
    before, elapsed = peak_memory(), measure_seconds(lambda: metrics.evaluate(*images))
    print(
        f"{width} x {width * 2 // 3}: {elapsed:.2f} s, peak memory of the process {peak_memory():.0f} MiB "
        f"({before:.0f} MiB before the metrics)"
    )
    print(f"methods on colour of that size: s, and peak memory of a process in MiB (at most {MEMORY}):")
    for name, seconds in fastest.items():
        expected = seconds * 3 * images[0].size / 512**2
        if expected > LONGEST:
            print(f"  {registry.TITLES[name]:6} left out: it takes about {expected / 60:.0f} minutes")
            continue
        # A process each, since the peak of one never falls.
        with process_pool(1) as pool:
            elapsed, peak = pool.submit(measure_colour_pair, name, *images[0].shape).result()
        print(f"  {registry.TITLES[name]:6} {elapsed:8.3f} {peak:8.0f}")


def _in_ms(timings):
    return "".join(f"{timing.median * 1e3:8.1f} ({timing.best * 1e3:.1f})" for timing in timings)


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--megapixels", type=float, metavar="M", help="also images of that size")
    args = parser.parse_args(argv)
    if args.rounds < 1 or (args.megapixels is not None and args.megapixels <= 0):
        parser.error("--rounds and --megapixels take positive numbers")
    cv2.setNumThreads(1)
    images = make_pair_with_truth(512, 512)
    few = min(args.rounds, 5)
    print("metrics together on 512 x 512, one core, median (fastest) in ms: new sources, the same again")
    six = time_metrics(images, args.rounds)
    print(f"  six of the paper {_in_ms(six)}, goal {GOAL_SIX}")
    together = time_metrics(images, few, metrics.select_names("all"))
    print(f"  all but variants {_in_ms(together)}, goal {GOAL_ALL}")
    print("each metric alone, up to 5 rounds:")
    for name, timings in time_each_metric(images, few).items():
        print(f"  {name:16} {_in_ms(timings)}")
    print("methods on the same, median (fastest) of up to 20 in ms, and the limit:")
    fastest = {}
    for name, title in registry.TITLES.items():
        try:
            timing = time_method(name, images[:2])
        except ValueError as error:  # its weights are missing
            print(f"  {title:6} {error}")
            continue
        fastest[name] = timing.best
        limit = f"{LIMITS[name]:6}" if name in LIMITS else ""
        print(f"  {title:6} {timing.median * 1e3:8.1f} ({timing.best * 1e3:.1f}) {limit}")
    if args.megapixels:
        report_large(args.megapixels, fastest)


if __name__ == "__main__":
    cli.run(main)
