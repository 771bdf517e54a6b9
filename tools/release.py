"""Train a two-stream model by one command, from photographs to the numbers of its card.

The steps are a database, start weights, one training by `caffe train`, validation, scores on held-out pairs,
and the card's numbers. models/NAME/training/ has the settings: solver.prototxt and train_val.prototxt for
Caffe, database.txt for data_prep/make_database.py. All files go to build/release/NAME. The same command
resumes: a step whose result is there, from the same inputs, is skipped, and the training continues from its
last snapshot. Ctrl-C saves a snapshot and stops. Folders are relative to the working folder.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import argparse
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Sequence

from caffe.proto import caffe_pb2

from data_prep.photographs import bundled_photographs, training_photographs
from tools import release_steps, train
from tools.release_card import Release
from tools.release_steps import TrainingStopped
from two_stream_fusion.base import cli
from two_stream_fusion.base.files import atomic_write
from two_stream_fusion.methods import models

EXAMPLES = """examples:
  python tools/release.py 2-1-2_f32_k3-photographs                  about five hours on two cores
  python tools/release.py 2-1-2_f64_k5-photographs --gpu 0 --precision tf32
  python tools/release.py 2-1-2_f32_k3-photographs --iterations 20  a dry run: every step, in a minute
  python tools/release.py 2-1-2_f32_k3-photographs --plan           what is finished, and what is left to do
"""
ROOT = Path(__file__).resolve().parents[1]
OUT = Path("build/release")
DRY_PAIRS = 2  # held-out pairs that a dry run scores


def prepare(args: argparse.Namespace) -> Release:
    """The files and settings of a release, with the paths of its folder; nothing is written.

    A dry run has a folder of its own beside that of the release, a shorter solver, and the photographs inside
    scikit-image where none are given.

    Args:
        args: the parsed command line.

    Returns:
        The release.

    Raises:
        ValueError: models/NAME/training has no solver.prototxt.
        OSError: a file cannot be read.
    """
    training = ROOT / "models" / args.model / "training"
    if not (training / "solver.prototxt").is_file():
        ready = sorted(path.parts[-3] for path in ROOT.glob("models/*/training/solver.prototxt"))
        raise ValueError(
            f"no solver.prototxt in models/{args.model}/training; models that have one: {', '.join(ready)}"
        )
    options = (training / "database.txt").read_text(encoding="utf-8").strip()
    name = f"{args.model}-{args.iterations}" if args.iterations else args.model
    folder = args.out or OUT / name
    committed = (OUT / args.model).as_posix()
    solver = models.read_prototxt(training / "solver.prototxt", caffe_pb2.SolverParameter())
    net_text = (ROOT / solver.net).read_text(encoding="utf-8").replace(committed, folder.as_posix())
    solver.net = (folder / "train_val.prototxt").as_posix()
    solver.snapshot_prefix = solver.snapshot_prefix.replace(committed, folder.as_posix())
    release = Release(
        model=args.model,
        folder=folder,
        solver=solver,
        net_text=net_text,
        options=f"{options} --out {shlex.quote(str(folder / 'database'))}",
        photos=args.photos,
        caffe=args.caffe,
        gpu=None if args.gpu is None else str(args.gpu),
        precision=args.precision,
    )
    if not args.iterations:
        return release
    shorten(solver, args.iterations)
    return release._replace(
        options=re.sub(r"--pairs \d+", "--pairs 1", release.options),
        photos=args.photos or str(release.bundled),
        score_pairs=DRY_PAIRS,
    )


def shorten(solver: caffe_pb2.SolverParameter, iterations: int) -> None:
    """Cut a solver to a number of iterations, with tests and snapshots at the same shares of its length.

    Args:
        solver: changed in place.
        iterations: the new max_iter.
    """
    share = iterations / solver.max_iter
    for name in ("display", "test_interval", "snapshot", "average_loss"):
        setattr(solver, name, max(1, round(getattr(solver, name) * share)))
    for i, step in enumerate(solver.stepvalue):
        solver.stepvalue[i] = round(step * share)
    solver.test_interval = max(solver.test_interval, iterations // 2)  # tests would take most of the time
    solver.test_iter[:] = [min(solver.test_iter[0], 5)]
    solver.max_iter = iterations


def _copy_bundled(folder: Path) -> None:
    """Copy the photographs inside scikit-image into a folder, where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in bundled_photographs():
        target = folder / Path(source.path).name
        if not target.exists():
            with atomic_write(target) as partial:
                shutil.copyfile(source.path, partial)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("model", help="a folder of models/ with training/solver.prototxt")
    add("--gpu", type=int, metavar="N", help="train on this GPU (default: on the CPU)")
    add("--precision", choices=("float32", "tf32", "bfloat16"), help="of caffe_torch's training (default:"
        " float32)")  # fmt: skip
    add("--photos", metavar="DIR", help="the photographs (default: as `make data`)")
    add("--iterations", type=int, metavar="N", help="a dry run of so many iterations; without --photos on"
        " the photographs inside scikit-image")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="for all files (default: build/release/NAME)")
    add("--plan", action="store_true", help="say which steps are finished, and do none")
    train.add_caffe_option(parser)
    args = parser.parse_args(argv)
    if args.iterations is not None and args.iterations < 1:
        parser.error("--iterations must be at least 1")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    args = parse_arguments(argv)
    release = prepare(args)
    steps = release_steps.plan(release)
    if args.plan:
        unfinished = ""
        for step in steps:
            reason = step.reason()
            before = f", if the step {unfinished} gives the same files" if unfinished else ""
            print(f"{step.name}: {reason or f'finished{before}'}")
            unfinished = unfinished or (step.name if reason else "")
        return 0
    only_bundled = not release.photos and training_photographs().photographs == bundled_photographs()
    if only_bundled:
        raise ValueError("no photographs to train on: run data_prep/fetch.py train, or give --photos DIR")
    try:
        with release_steps.alone(release):
            if release.photos == str(release.bundled):
                _copy_bundled(release.bundled)
            release_steps.refuse_other_training(release)
            release.write_settings()
            release_steps.run(steps)
    except TrainingStopped as stopped:
        print(f"{stopped}: the same command resumes", file=sys.stderr)
        return 130
    print((release.folder / "card.md").read_text(), end="")
    return 0


if __name__ == "__main__":
    cli.run(main)
