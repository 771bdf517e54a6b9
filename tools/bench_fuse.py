"""Time whole commands that fuse a pair of photographs, in turns: fuse.py, and enfuse where installed."""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple, Sequence

import cv2

from data_prep import depth_pair
from tools import timing
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.io import images

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = """examples:
  python tools/bench_fuse.py
  python tools/bench_fuse.py --megapixels 24 --rounds 1
  python tools/bench_fuse.py --megapixels 1 --rounds 5     a quick run
"""
FUSE_OPTIONS = (
    "",
    "--precision bfloat16",
    "--refine select",
    "--fast",
    "--method lp",
    "--method gf",
)


# Runs a command and prints its seconds, CPU seconds and peak kibibytes. Linux begins the peak of a program at
# that of the process which starts it, so that must be a small one.
MEASURE = """
import os, resource, sys, time
silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
start = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=silent)
status = os.waitpid(child, 0)[1]
seconds = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)
"""


class Usage(NamedTuple):
    """What a command used."""

    seconds: float
    cpu_seconds: float  # of all cores together
    megabytes: float  # peak memory


class Comparison(NamedTuple):
    """What `time_commands` returns."""

    usage: dict[str, list[Usage]]  # {command: one a turn}, its times divided by the megapixels
    mean_difference: float  # of bfloat16 from float32, in levels of 255
    largest_difference: int


def measure_command(command: Sequence[object]) -> Usage:
    """Run a command in the repository's root and measure it.

    Args:
        command: a program and its arguments.

    Returns:
        Time and memory.

    Raises:
        OSError: it failed; the message has the last line of its stderr.
    """
    measure = [sys.executable, "-I", "-S", "-c", MEASURE, *map(str, command)]
    done = subprocess.run(measure, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise OSError(timing.failure_message(command, done.returncode, done.stderr))
    seconds, cpu_seconds, kibibytes = map(float, done.stdout.split())
    return Usage(seconds, cpu_seconds, kibibytes * 1024 / 1e6)


def list_commands() -> dict[str, list[object]]:
    """{label: command}, each without its images and output; those whose program is installed."""
    tool = ROOT / "tools/fuse.py"
    commands: dict[str, list[object]] = {
        f"fuse.py {options}".strip(): [sys.executable, tool, *options.split(), "-q", "--force"]
        for options in FUSE_OPTIONS
    }
    bvlc = timing.bvlc_folder() / "python"
    if bvlc.exists():
        commands["fuse.py under BVLC Caffe"] = [bvlc, tool, "-q", "--force"]
    if shutil.which("enfuse"):
        weights = ["--exposure-weight=0", "--saturation-weight=0", "--contrast-weight=1"]
        commands["enfuse --hard-mask"] = ["enfuse", "-v0", "--hard-mask", *weights]
    return commands


def time_commands(megapixels: float, rounds: int) -> Comparison:
    """Fuse a rendered pair by all commands in turns, from start to written file; progress goes to stderr.

    Args:
        megapixels: the size of the pair.
        rounds: turns of each command.

    Returns:
        Time and memory of each, and how far bfloat16 is from float32.

    Raises:
        OSError: a command failed.
    """
    scale = (megapixels * 1e6 / (500 * 741)) ** 0.5
    pair = [
        cv2.resize(x, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        for x in depth_pair.render_depth_pair()[:2]
    ]
    size = pair[0].shape[0] * pair[0].shape[1] / 1e6
    commands = list_commands()
    usage: dict[str, list[Usage]] = {label: [] for label in commands}
    with tempfile.TemporaryDirectory() as folder:
        sources = [f"{folder}/{name}.tif" for name in "ab"]
        for path, image in zip(sources, pair):
            images.write(path, image)
        for turn in range(rounds):
            for label, command in commands.items():
                print(f"turn {turn + 1} of {rounds}: {label}", file=sys.stderr)
                seconds, work, memory = measure_command([*command, *sources, "-o", f"{folder}/{label}.tif"])
                usage[label].append(Usage(seconds / size, work / size, memory))
        float32, bfloat16 = (images.read(f"{folder}/{label}.tif") for label in list(commands)[:2])
    difference = cv2.absdiff(float32, bfloat16)
    return Comparison(usage, float(difference.mean()), int(difference.max()))


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--megapixels", type=float, default=6, metavar="M", help="of the pair (default: %(default)s)")
    add("--rounds", type=int, default=3, help="turns of each (default: %(default)s)")
    args = parser.parse_args(argv)
    for name in ("rounds", "megapixels"):
        if getattr(args, name) <= 0:
            parser.error(f"--{name} {getattr(args, name):g}: more than 0")
    usage, mean, largest = time_commands(args.megapixels, args.rounds)
    print(f"a pair of {args.megapixels:g} megapixels, 8 bit colour TIFF, {os.cpu_count()} cores,")
    print(f"median of {args.rounds} turns\n")
    rows = []
    for label, turns in usage.items():
        seconds, work, memory = map(statistics.median, zip(*turns))
        rows.append([f"`{label}`", f"{seconds:.2f}", f"{work:.2f}", f"{memory:.0f}"])
    print(markdown_tables.markdown(["command", "s per megapixel", "of CPU", "peak MB"], rows), end="")
    print(f"\nbfloat16 differs from float32 by {mean:.2f} levels of 255 in the mean, {largest} at most")


if __name__ == "__main__":
    cli.run(main)
