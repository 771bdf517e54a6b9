"""Run the experiments: train their nets and make their tables and plots, or draw their figures.

experiments/NAME/runs.csv lists trainings, one a row. Its columns:
  label   a name
  solver  a file of solver/
  start   the initial weights: mean (those of tools/start_weights.py) or random (the fillers of the net)
  train   the database to train on, as options of data_prep/make_database.py
  val     those to validate on, between semicolons
experiments/NAME/commands.txt lists commands that draw; {out} is the folder for their output.

Trainings are kept under build/experiments by a hash of their inputs: net, solver, data, iterations, seed,
precision and Caffe. Finished ones are reused, and interrupted ones resume. Databases are rebuilt when
photographs, masks, code or libraries change; a training depends on their rows alone. The numbers come from
the logs of `caffe train` and `caffe test` of either Caffe.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import contextlib
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Sequence

ROOT = Path(__file__).resolve().parents[1]
from tqdm import tqdm

from experiments.report import Timer, redraw, write_report
from experiments.schedule import run_trainings
from experiments.trainings import Caffe, merge_equal, plan_trainings
from tools import net_options
from two_stream_fusion.base import cli
from two_stream_fusion.base.files import atomic_write, exclusive

HERE = Path(__file__).parent
EXAMPLES = """examples:
  python experiments/run.py                                what `make experiments` runs: days on a CPU
  python experiments/run.py fig5a fig5b --iterations 500   a rough figure, marked as such
  python experiments/run.py fig5c --seeds 2 --keep         its results also into experiments/fig5c
  python experiments/run.py fig5c --plot                   draw its plot anew, without training
"""


class Settings(NamedTuple):
    """What a command line asks for."""

    names: list[str]  # of experiments
    caffe: Caffe
    out: Path  # the folder for all files
    iterations: int | None  # None for those of each solver
    seeds: int  # trainings of each row
    workers: int  # trainings at a time
    keep: bool  # whether results are copied into experiments/NAME
    plot: bool  # whether plots are drawn from the results in experiments/NAME, and nothing else is done


def experiment_names() -> list[str]:
    """The names of all experiments."""
    lists = [path for file_name in ("runs.csv", "commands.txt") for path in HERE.glob(f"*/{file_name}")]
    return sorted(path.parent.name for path in lists)


def run_experiments(settings: Settings) -> None:
    """Draw, train and report experiments, and print their tables.

    Raises:
        OSError, ValueError: a list is wrong, a training or a command failed, or experiments are running in
            the same folder.
    """
    caffe, out = settings.caffe, settings.out
    with exclusive(out / "lock", f"{out}: experiments are running there already"):
        groups = {}  # {experiment: {label: trainings}}
        for name in settings.names:
            path = HERE / name / "runs.csv"
            if path.is_file():
                groups[name] = plan_trainings(path, settings.seeds, settings.iterations, caffe, out)
            else:
                run_commands(name, out / name)
        timer, seconds = Timer(caffe, out / "timing"), {}
        planned = [t for group in groups.values() for trainings in group.values() for t in trainings]
        for training in tqdm(merge_equal(planned), "timing", disable=None, leave=False):
            seconds[training] = timer.iteration(training)
            timer.fusion(training.net_name)
        try:
            run_trainings(seconds, caffe, settings.workers)
        except (KeyboardInterrupt, SystemExit):  # by a signal; trainings have saved
            print("stopped; the same command resumes from here", file=sys.stderr)
            raise
        for name, group in groups.items():
            print(write_report(name, group, timer, out / name))
        for name in settings.names:
            if settings.keep:
                copy_results(name, out / name)
            print(f"{name}: {out / name}")


def run_commands(name: str, folder: Path) -> None:
    """Run the commands of an experiment, with this Python, where {out} is `folder`.

    Args:
        name: of the experiment.
        folder: for the results.

    Raises:
        OSError: a command failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for line in (HERE / name / "commands.txt").read_text().splitlines():
        words = [sys.executable, *(word.replace("{out}", str(folder)) for word in shlex.split(line))]
        with subprocess.Popen(words, cwd=ROOT) as process:
            try:
                status = process.wait()
            except KeyboardInterrupt:  # the terminal has told the command, too
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.terminate()
                raise
            except SystemExit:
                process.terminate()  # it removes what it has not finished
                raise
        if status:
            raise OSError(f"{name}: failed: {shlex.join(words)}")


def copy_results(name: str, folder: Path) -> None:
    """Copy the results of an experiment beside its README.

    Args:
        name: of the experiment.
        folder: with the results.
    """
    for path in folder.iterdir():
        if path.suffix in (".csv", ".png", ".svg", ".jpg"):
            with atomic_write(HERE / name / path.name) as part:
                shutil.copy(path, part)


def parse_arguments(argv: Sequence[str] | None = None) -> Settings:
    """Parse the command line; argparse ends the process where it is wrong.

    Raises:
        ValueError: an unknown experiment.
    """
    parser = cli.parser(__doc__ or "", EXAMPLES)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help=f"{', '.join(experiment_names())} (default: all)")
    add("--iterations", type=int, metavar="N", help="(default: what each solver says)")
    add("--seeds", type=int, default=1, metavar="N", help="trainings of each (default: %(default)s)")
    add("--jobs", type=int, default=1, metavar="N", help="trainings at a time (default: %(default)s)")
    add("--precision", help="bfloat16 is faster where the processor has it; caffe_torch only"
        " (default: float32)")  # fmt: skip
    add("--gpu", type=int, metavar="N", help="the GPU to run on (default: the CPU)")
    add("--caffe", type=Path, metavar="DIR", default=Path(sys.executable).parent, help="where the programs"
        " `caffe` and `python` are (default: beside the Python that runs this)")  # fmt: skip
    add("--out", type=Path, default="build/experiments", help="(default: %(default)s)")
    add("--keep", action="store_true", help="copy the results into experiments/NAME, beside its README")
    add("--plot", action="store_true", help="only draw plot.png and plot.svg of experiments/NAME anew, from"
        " the tables there")  # fmt: skip
    args = parser.parse_args(argv)
    net_options.refuse_unknown(args.names, experiment_names(), "experiment")
    if min(args.seeds, args.jobs, args.iterations or 1) < 1 or args.iterations == 0:
        parser.error("--iterations, --seeds and --jobs must be at least 1")
    if not args.plot and not (args.caffe / "caffe").is_file():
        parser.error(f"--caffe: there is no program `caffe` in {args.caffe}")
    precision = None if args.precision == "float32" else args.precision  # the default
    return Settings(
        names=args.names or experiment_names(),
        caffe=Caffe(args.caffe.absolute(), precision, args.gpu),
        out=args.out.absolute(),
        iterations=args.iterations,
        seeds=args.seeds,
        workers=args.jobs,
        keep=args.keep,
        plot=args.plot,
    )


def main(argv=None):
    settings = parse_arguments(argv)
    if not settings.plot:
        return run_experiments(settings)
    for name in settings.names:
        if (HERE / name / "curves.csv").is_file():
            redraw(HERE / name)
            print(f"{name}: {HERE / name / 'plot.png'}")
        else:
            print(f"{name}: has no curves.csv to draw")


if __name__ == "__main__":
    cli.run(main)
