"""Make HDF5 databases of training patches from photographs.

Every photograph becomes a pair focused on different parts of it, cut into patches. The databases have the
datasets a, b and label, bytes of rows x 4 channels (R, G, B and Rec.601 gray) x P x P, and the lists
train.txt and val.txt that Caffe's HDF5Data reads. Photographs go to training or to validation as a whole. The
same seed gives the same rows, whatever the number of workers.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import hashlib
import json
import os
from pathlib import Path
from typing import Callable, NamedTuple, NoReturn, Sequence

from tqdm import tqdm

from data_prep import builder
from data_prep.database_command import add_common_options, at_least, run_build
from data_prep.pair_patches import BATCH, PATCH, TEST_PATCHES, PairPatches
from data_prep.photographs import training_photographs
from data_prep.recipes import RECIPES
from data_prep.stack_patches import RECIPES as STACK_RECIPES
from data_prep.stack_patches import StackPatches
from two_stream_fusion.base import cli

NO_NET = """no net reads {out} as it is: name its lists in a copy of prototxt/NAME/train_val.prototxt and the
copy in one of a solver, or let experiments/run.py do so (experiments/fig5d)"""
# The inputs of a database, by their names in the manifest.
INPUTS = {"sources": "photographs or masks", "made_with": "code or libraries behind it"}
LISTS_DIFFER = "its files are not where its lists say"
STACK_OUT = "build/data_stack"
EXAMPLES = """examples:
  python data_prep/make_database.py                          what `make data` runs
  python data_prep/make_database.py --photos ~/Pictures --seed 7
  python data_prep/make_database.py --patch 25 --gray --out build/data_p25_gray
  python data_prep/make_database.py --recipe defocus --pairs 8   for a long training on a GPU

NAME.png beside a photograph NAME of another format is a mask: the object, over which one of the two
photographs is blurred, is where it is over 127. Photographs without one get a random smooth region.
"""


class Request(NamedTuple):
    """The databases that a command line asks for."""

    spec: builder.DatasetSpec
    photos: str | None  # as of photographs.training_photographs
    out: str  # the folder to make
    workers: int  # photographs processed at a time
    verbose: bool  # whether every file that is skipped is named


def parse_arguments(
    argv: Sequence[str] | None = None, refuse: Callable[[str], NoReturn] | None = None
) -> Request:
    """Parse the command line.

    Args:
        argv: the arguments; by default those of the process.
        refuse: called with what is wrong with them, to raise; by default argparse ends the process.

    Returns:
        The requested databases.
    """
    parser = cli.parser(__doc__, EXAMPLES)
    add_common_options(parser)
    add = parser.add_argument
    add("--out", metavar="DIR", help="where the databases go, replacing those there (default: build/data, as"
        " the nets name it, or build/data_pP for patches of another size P than 50)")  # fmt: skip
    add("--recipe", choices=[*sorted(RECIPES), *STACK_RECIPES], default=PairPatches.recipe, help="how pairs"
        " are blurred; stack and stack_fewer_faults are focus stacks for the multi-stream nets (default:"
        " %(default)s)")  # fmt: skip
    add("--patch", type=at_least(1), default=PATCH, metavar="P", help="side of the patches (default:"
        " %(default)s)")  # fmt: skip
    add("--stride", type=at_least(1), default=0, metavar="N", help="distance between patches (default:"
        " their side, no overlap)")  # fmt: skip
    add("--pairs", type=at_least(1), default=1, metavar="N", help="pairs made of each photograph to train"
        " on, each with a region and blur of its own (default: %(default)s)")  # fmt: skip
    add("--recolour", action="store_true", help="give half the training pairs strong colours, which"
        " are rare in photographs")  # fmt: skip
    add("--gray", action="store_true", help="make the photographs gray first")
    add("--val-patches", type=at_least(0), metavar="N", help="validation patches kept at most; the solvers"
        f" test on so many (default: {TEST_PATCHES}, stacks {StackPatches.val_patches}; 0: all)")  # fmt: skip
    parser.error = refuse or parser.error
    args = parser.parse_args(argv)
    if args.recipe in STACK_RECIPES:
        if args.patch != PATCH or args.stride or args.recolour or args.gray:
            parser.error(f"--recipe {args.recipe} takes none of --patch, --stride, --recolour, --gray")
        count = StackPatches.val_patches if args.val_patches is None else args.val_patches
        stacks = StackPatches(args.val_share, count, args.seed, args.recipe, args.pairs)
        return Request(stacks, args.photos, args.out or STACK_OUT, args.jobs, args.verbose)
    count = TEST_PATCHES if args.val_patches is None else args.val_patches
    spec = PairPatches(args.val_share, count, args.seed, args.recipe, args.patch, args.stride,
                       args.pairs, args.recolour, args.gray)  # fmt: skip
    return Request(spec, args.photos, args.out or default_out(args.patch), args.jobs, args.verbose)


def default_out(patch: int) -> str:
    """The folder of databases with patches of a size."""
    return "build/data" if patch == PATCH else f"build/data_p{patch}"


def make(request: Request) -> None:
    """Make databases, and print what they hold and what a net needs to read them.

    Raises:
        ValueError, OSError: as of builder.build.
    """
    manifest = run_build(request.spec, request.out, request.photos, request.workers, request.verbose)
    if not isinstance(request.spec, PairPatches):
        return
    count, patch = manifest["rows"]["val"], request.spec.patch
    if count < TEST_PATCHES:
        batch = max(n for n in range(1, BATCH + 1) if count % n == 0)
        print(
            f"{count} validation patches: with batch_size {batch} to test in a copy of the net, test_iter"
            f" {count // batch} in the solver goes over each once"
        )
    if patch != PATCH and request.out == default_out(patch):
        print(NO_NET.format(out=request.out))


def changed_inputs(request: Request) -> list[str]:
    """What decides the rows of requested databases and is not as it was for those that are there.

    Returns:
        Keys of builder.provenance; none where there are no databases.

    Raises:
        ValueError, OSError: the photographs cannot be found.
    """
    if builder.database_kind(request.out) is None:
        return []
    manifest = json.loads(Path(request.out, "manifest.json").read_text())
    training_set = training_photographs(request.photos)
    current = builder.provenance(training_set.photographs, training_set.folder, request.spec)
    return [key for key in current if manifest.get(key) != current[key]]


def outdated_reason(request: Request) -> str:
    """Why requested databases have to be built; "" where those there are what would be built now."""
    if builder.database_kind(request.out) is None:
        return "not made yet"
    changed = [INPUTS.get(key, key) for key in changed_inputs(request)]
    if changed:
        return f"to do again: it has other {' and '.join(changed)}"
    made = json.loads(Path(request.out, "manifest.json").read_text())["sha256"]
    files = [Path(line) for split in ("train", "val") for line in _read_list(request.out, split)]
    complete = len(files) == len(made) and {Path(request.out, name) for name in made} == set(files)
    return "" if complete and all(path.is_file() for path in files) else f"to do again: {LISTS_DIFFER}"


def _read_list(out, split):
    """The lines of a list of files; none where it is missing."""
    path = Path(out, f"{split}.txt")
    return map(os.fsdecode, path.read_bytes().splitlines()) if path.is_file() else []


def damaged_file(request: Request) -> str:
    """The first file of databases that has other bytes than were written; "" where there is none.

    Raises:
        OSError: a file cannot be read.
    """
    made = json.loads(Path(request.out, "manifest.json").read_text())["sha256"]
    for name, sha256 in tqdm(made.items(), "checking", unit="file", disable=None, leave=False):
        digest = hashlib.sha256()
        with open(Path(request.out, name), "rb") as file:
            for block in iter(lambda: file.read(1 << 24), b""):
                digest.update(block)
        if digest.hexdigest() != sha256:
            return str(Path(request.out, name))
    return ""


def main(argv=None):
    make(parse_arguments(argv))


if __name__ == "__main__":
    cli.run(main)
