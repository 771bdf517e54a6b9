"""Train a released model by one command, from photographs to the numbers of its card.

The steps are a database, start weights, one training by `caffe train`, validation, scores on held-out pairs,
and the card's numbers. models/NAME/training/ has the settings: solver.prototxt and train_val.prototxt for
Caffe, database.txt for data_prep/make_database.py. All files go to build/release/NAME. The same command
resumes: a step whose result is there, from the same inputs, is skipped, and the training continues from its
last snapshot. Ctrl-C saves a snapshot and stops.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import argparse
import shlex
import shutil
import sys
from pathlib import Path
from typing import Sequence

from caffe.proto import caffe_pb2

from data_prep.photographs import bundled_photographs
from tools import release_steps
from tools.release_card import Release
from tools.release_steps import TrainingStopped
from two_stream_fusion.base import cli
from two_stream_fusion.base.files import write_text
from two_stream_fusion.methods import models

EXAMPLES = """examples:
  python tools/release.py 2-1-2_f32_k3-defocus                  two and a half hours on two cores
  python tools/release.py 2-1-2_f64_k5-defocus --gpu 0 --precision tf32
  python tools/release.py 2-1-2_f32_k3-defocus --iterations 20  a dry run: every step, in a minute
  python tools/release.py 2-1-2_f32_k3-defocus --plan           what is finished, and what is left to do
"""
ROOT = Path(__file__).resolve().parents[1]
OUT = Path("build/release")
DRY_PAIRS = 2  # held-out pairs that a dry run scores


def prepare(args: argparse.Namespace) -> Release:
    """The files and settings of a release.

    A dry run has files of its own beside those of the release: shorter copies of the solver and the net, and
    the photographs inside scikit-image where none are given.

    Args:
        args: the parsed command line.

    Returns:
        The release.

    Raises:
        ValueError: models/NAME/training has no solver.prototxt.
        OSError: a file cannot be read or written.
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
    release = Release(
        model=args.model,
        folder=folder,
        solver=Path(f"models/{args.model}/training/solver.prototxt"),
        options=f"{options} --out {shlex.quote(str(folder / 'database'))}",
        photos=args.photos,
        caffe=args.caffe,
        gpu=args.gpu,
        precision=args.precision,
    )
    if not args.iterations and folder == OUT / name and Path.cwd() == ROOT:
        return release  # of the committed files alone
    solver = _localise(release, args.iterations)
    if not args.iterations:
        return release._replace(solver=solver)
    photos = args.photos or _copy_bundled(folder / "photographs")
    options = f"{release.options} --pairs 1"
    return release._replace(solver=solver, options=options, photos=photos, score_pairs=DRY_PAIRS)


def _localise(release: Release, iterations: int | None) -> Path:
    """Copy the solver and the net into the folder of the release, whose paths they then name: the solver."""
    solver = models.read_prototxt(ROOT / release.solver, caffe_pb2.SolverParameter())
    net, committed = release.folder / "train_val.prototxt", (OUT / release.model).as_posix()
    write_text(net, (ROOT / solver.net).read_text().replace(committed, release.folder.as_posix()))
    solver.net = net.as_posix()
    solver.snapshot_prefix = solver.snapshot_prefix.replace(committed, release.folder.as_posix())
    if iterations:
        shorten(solver, iterations)
    path = release.folder / "solver.prototxt"
    write_text(path, str(solver))
    return path


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


def _copy_bundled(folder: Path) -> str:
    """Copy the photographs inside scikit-image into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in bundled_photographs():
        if not (folder / Path(source.path).name).exists():
            shutil.copy(source.path, folder)
    return str(folder)


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("model", help="a folder of models/ with training/solver.prototxt")
    add("--gpu", metavar="N", help="train on this GPU (default: on the CPU)")
    add("--precision", choices=("float32", "tf32", "bfloat16"), help="of caffe_torch's training (default:"
        " float32)")  # fmt: skip
    add("--photos", metavar="DIR", help="the photographs (default: as `make data`)")
    add("--iterations", type=int, metavar="N", help="a dry run of so many iterations; without --photos on"
        " the photographs inside scikit-image")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="for all files (default: build/release/NAME)")
    add("--plan", action="store_true", help="say which steps are finished, and do none")
    beside = shlex.quote(str(Path(sys.executable).with_name("caffe")))
    add("--caffe", metavar="COMMAND", default=beside, help="default: `caffe` in the folder of this Python")
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
        for step in steps:
            print(f"{step.name}: {step.reason() or 'finished'}")
        return 0
    try:
        release_steps.run(steps)
    except TrainingStopped as stopped:
        print(f"{stopped}: the same command resumes", file=sys.stderr)
        return 130
    print((release.folder / "card.md").read_text(), end="")
    return 0


if __name__ == "__main__":
    cli.run(main)
