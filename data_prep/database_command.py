"""What the commands that make databases share: their options, and what they print."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Callable

from data_prep import builder, photographs

MAX_NAMED = 5  # files that are named as they are skipped; with --verbose all are


def at_least(minimum: int) -> Callable[[str], int]:
    """An argparse type: an integer of at least `minimum`.

    Args:
        minimum: the smallest that is accepted.

    Returns:
        The type, which raises argparse.ArgumentTypeError for a smaller number.
    """

    def integer(text):
        value = int(text)
        if value < minimum:
            raise argparse.ArgumentTypeError(f"{value}: must be at least {minimum}")
        return value

    return integer


def fraction(text: str) -> float:
    """An argparse type: a number between 0 and 1.

    Args:
        text: the argument.

    Returns:
        The number.

    Raises:
        argparse.ArgumentTypeError: it is not between 0 and 1.
    """
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be between 0 and 1")
    return value


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of all programs that make databases."""
    add = parser.add_argument_group("of all databases").add_argument
    add("--photos", metavar="DIR", help="a folder of photographs, searched in depth (default: those of"
        " data_prep/fetch.py train if all are there; else those or the folder train in the environment"
        " variable FUSION_DATA, whichever has more; else those inside scikit-image)")  # fmt: skip
    add(
        "--val-share",
        type=fraction,
        default=0.1,
        help="share of photographs held out; those of data_prep/fetch.py train keep the split of the"
        " released models (default: %(default)s)",
    )
    add("--seed", type=at_least(0), default=1, help="(default: %(default)s)")
    add("--jobs", type=at_least(1), default=os.cpu_count(), metavar="N", help="photographs processed"
        " at a time (default: one for each core)")  # fmt: skip
    add("--verbose", action="store_true", help="name every file that is skipped")


def run_build(spec: builder.DatasetSpec, out: str, photos: str | None, workers: int, verbose: bool) -> dict:
    """Build the databases of a command and print a few lines on what they hold.

    Args:
        spec: what rows are made.
        out: the folder to make.
        photos: as of `photographs.training_photographs`.
        workers: photographs processed at a time.
        verbose: whether every file that is skipped is named, not the first few alone.

    Returns:
        The manifest.

    Raises:
        ValueError, OSError: as of `builder.build`.
    """
    warned = []

    def warn(line):
        warned.append(line)
        if verbose or len(warned) <= MAX_NAMED:
            print(line, file=sys.stderr)
        elif len(warned) == MAX_NAMED + 1:
            print("... (--verbose names the others)", file=sys.stderr)

    training_set = photographs.training_photographs(
        photos, lambda error: warn(f"skipped: {error.filename}: {error.strerror}")
    )
    print(f"photographs: {len(training_set.photographs)} of {training_set.description}", flush=True)
    manifest = builder.build(training_set.photographs, training_set.folder, out, spec, workers, warn)
    for split in ("train", "val"):
        used = sum(p["set"] == split for p in manifest["photographs"])
        noun = "photograph" if used == 1 else "photographs"
        print(f"{out}/{split}.txt: {manifest['rows'][split]} patches of {used} {noun}")
    if manifest["skipped"]:
        print(f"skipped: {_summary(manifest['skipped'])}")
    return manifest


def _summary(skipped: dict[str, int]) -> str:
    """How many photographs were skipped for which reason."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
