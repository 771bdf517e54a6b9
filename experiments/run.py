"""Run the experiments: train their nets and make their tables and plots, or draw their figures.

experiments/NAME/runs.csv lists trainings, a row each: a label, a solver of solver/, the first weights (mean:
those of tools/start_weights.py; random: as the net's fillers have them), and the databases to train and to
validate on, as options of data_prep/make_database.py (several to validate on between semicolons).
experiments/NAME/commands.txt lists commands that draw; {out} is the folder for their output.

Trainings are kept under build/experiments by a hash of their inputs (net, solver, data, iterations, seed,
precision, Caffe). So none is done twice, and an interrupted one resumes. Databases are rebuilt when
photographs, masks, code or libraries change; a training depends on their rows alone. The numbers come from
the logs of `caffe train` and `caffe test` of either Caffe.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import csv
import fcntl
import os
import platform
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
from tqdm import tqdm

from experiments.trainings import Training, digest, identify_caffe, train
from tools import nets, pictures, plot_log, timing
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.base.files import write_text

HERE = Path(__file__).parent
EXAMPLES = """examples:
  python experiments/run.py                                what `make experiments` runs: days on a CPU
  python experiments/run.py fig5a fig5b --iterations 500   a rough figure, marked as such
  python experiments/run.py fig5c --seeds 2 --keep         its results also into experiments/fig5c
"""
COLUMNS = ("label", "solver", "start", "train", "val")  # of a runs.csv
SIDE, GPU_SIDE = 256, 2048  # of the image whose fusion is timed, in pixels; a small one does not fill a GPU
# The columns of a summary that README's table omits where they are the same in all rows.
CONDITIONS = ("net", "start", "trained on", "validated on", "iterations", "precision", "seeds")


def experiment_names() -> list[str]:
    """The names of all experiments."""
    lists = [path for kind in ("runs.csv", "commands.txt") for path in HERE.glob(f"*/{kind}")]
    return sorted(path.parent.name for path in lists)


def read_list(path: Path) -> dict:
    """Read a runs.csv.

    Args:
        path: the file.

    Returns:
        {label: (file and line, {column: text})}.

    Raises:
        ValueError: a column or a cell is missing, or a label occurs twice; the message has file and line.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or ()
            rows = [(f"{path}, line {reader.line_num}", row) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise ValueError(f"{path}, line 1: no column {missing[0]}; the header is {','.join(COLUMNS)}")
    if not rows:
        raise ValueError(f"{path}: no trainings, a header alone")
    trainings = {}
    for where, row in rows:
        label = row["label"]
        if None in row or None in row.values():
            raise ValueError(f"{where}: {label}: not as many cells as the header has")
        if label in trainings:
            raise ValueError(f"{where}: label {label!r} stands in {trainings[label][0]} already")
        trainings[label] = where, row
    return trainings


def trainings_of(path, settings):
    """{label: its Trainings, one a seed} of a runs.csv. ValueError with file, line and label."""
    groups = {}
    for label, (where, row) in read_list(path).items():
        try:
            groups[label] = [Training(row, seed, settings) for seed in range(settings.seeds)]
        except (ValueError, OSError) as error:
            raise ValueError(f"{where}: {label}: {error}") from None
    return groups


def measured_once(settings, subject, measure):
    """Call measure() once for a subject (texts) on this machine and keep its result, in seconds."""
    how = (
        identify_caffe(settings.caffe),
        settings.precision,
        settings.gpu,
        os.environ.get("OMP_NUM_THREADS"),
    )
    path = settings.out / "timing" / digest(*subject, *how)
    if not path.is_file():
        write_text(path, f"{measure()}\n")
    return float(path.read_text())


def iteration_time(training):
    """Seconds of a training iteration: by `caffe time`, on a GPU by the log of `caffe train`."""
    settings, patch = training.settings, training.train.patch

    def measure():
        model = training.model(training.vals[0].folder / "val.txt")
        return timing.time_training(settings.caffe, settings.precision, model, settings.gpu) / 1e3

    return measured_once(settings, ("iteration", training.on(patch, patch)), measure)


def fusion_time(training):
    """Seconds to fuse a megapixel, of a square image of SIDE, on a GPU of GPU_SIDE."""
    settings = training.settings
    side = SIDE if settings.gpu is None else GPU_SIDE
    how = (settings.caffe, settings.precision, training.name, side, settings.gpu)
    return measured_once(
        settings, ("fusion", training.name), lambda: timing.time_inference(*how).milliseconds * 1e3 / side**2
    )


def summary(groups):
    """A row for each label and validation database of {label: its trainings, one a seed}: {column: text}."""
    rows = []
    for label, trainings in groups.items():
        first = trainings[0]
        for i, val in enumerate(first.vals):
            dbs = [training.psnr(training.vals[i]) for training in trainings]
            rows.append(
                {
                    "label": label,
                    "net": first.name,
                    "start": first.origin,
                    "trained on": first.train.folder.name,
                    "validated on": val.folder.name,
                    "iterations": str(first.solver.max_iter),
                    "precision": first.settings.precision or "float32",
                    "seeds": str(len(trainings)),
                    "PSNR": f"{statistics.mean(dbs):.2f}",
                    "least": f"{min(dbs):.2f}",
                    "most": f"{max(dbs):.2f}",
                    "parameters": str(first.parameters()),
                    "s an iteration": f"{iteration_time(first):.3f}",
                    "s a megapixel": f"{fusion_time(first):.2f}",
                }
            )
    return rows


def markdown(rows):
    """The rows of a summary as README's table, without the conditions that are the same in all."""
    same = [column for column in CONDITIONS if len({row[column] for row in rows}) == 1]
    spread = [] if rows[0]["seeds"] != "1" else ["least", "most"]
    shown = [column for column in rows[0] if column not in same + spread]
    return markdown_tables.markdown(shown, [[row[c] for c in shown] for row in rows])


def plot(title, groups, rows, path):
    """Plot PSNR against iterations, and the final PSNR against the time to fuse a megapixel."""
    figure, (left, right) = pictures.pyplot().subplots(
        1, 2, figsize=(10, 4), constrained_layout=True, gridspec_kw={"width_ratios": (3, 2)}
    )
    for i, (label, trainings) in enumerate(groups.items()):
        colour = f"C{i}"
        for training in trainings:
            pale, marked = training.curves()
            left.plot(*decibels(pale, training.train), color=colour, alpha=0.3)
            left.plot(*decibels(marked, training.vals[0]), color=colour, marker=".")
        left.plot([], [], color=colour, marker=".", label=label)
        row = next(row for row in rows if row["label"] == label)
        at, middle, least, most = (float(row[c]) for c in ("s a megapixel", "PSNR", "least", "most"))
        right.errorbar(at, middle, [[middle - least], [most - middle]], fmt="o", color=colour, capsize=3)
    left.set(xlabel="iteration (pale: training)", ylabel="validation PSNR (dB)")
    left.set_ylim(bottom=max(left.get_ylim()[0], left.get_ylim()[1] - 25))  # the first steps may overshoot
    left.legend()
    right.set(xlabel="seconds to fuse a megapixel", ylabel="PSNR at the end (dB)")
    right.margins(x=0.15, y=0.15)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    pictures.save(figure, path, dpi=90)


def decibels(curve, database):
    """Convert [(iteration, loss), ...] to iterations and their PSNR in dB."""
    return [n for n, _ in curve], [plot_log.psnr(loss, database.patch) for _, loss in curve]


def report(name, groups, folder):
    """Write summary.csv, curves.csv and plot.png of an experiment into `folder`; returns what to print."""
    rows = summary(groups)
    every = [training for trainings in groups.values() for training in trainings]
    curves = [
        [t.label, t.solver.random_seed, n, kind, f"{loss:g}", f"{plot_log.psnr(loss, database.patch):.4f}"]
        for t in every
        for kind, curve, database in zip(("train", "val"), t.curves(), (t.train, t.vals[0]))
        for n, loss in curve
    ]
    header = ["label", "seed", "iteration", "set", "loss", "psnr"]
    write_text(folder / "curves.csv", markdown_tables.comma_separated(header, curves))
    summed = markdown_tables.comma_separated(rows[0], [row.values() for row in rows])
    write_text(folder / "summary.csv", summed)
    lengths = " and ".join(map(str, sorted({t.solver.max_iter for t in every})))
    rough = "rough, " if any(t.solver.max_iter < t.full for t in every) else ""
    title = f"{name}: {rough}{lengths} iterations of {every[0].batch} patches"
    plot(title, groups, rows, folder / "plot.png")
    return f"{title}; {rows[0]['precision']}, timed on {device(every[0].settings.gpu)}\n\n{markdown(rows)}"


def device(gpu):
    """The timed device in words: a GPU by its number, else the number of threads and the processor's name."""
    if gpu is not None:
        return f"GPU {gpu}"
    threads, cpu = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())), Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", cpu.read_text()) if cpu.is_file() else None
    return f"{threads} thread{'s' * (threads > 1)} of {model[1] if model else platform.machine()}"


def draw(name, folder):
    """Run the commands of an experiment, with this Python, where {out} is `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for line in (HERE / name / "commands.txt").read_text().splitlines():
        words = [sys.executable, *(word.replace("{out}", str(folder)) for word in shlex.split(line))]
        if subprocess.run(words, cwd=ROOT).returncode:
            raise OSError(f"{name}: failed: {shlex.join(words)}")


def keep(name, folder):
    """Copy the results of an experiment beside its README."""
    for path in folder.iterdir():
        if path.suffix in (".csv", ".png", ".jpg"):
            part = HERE / name / f".{path.name}.part"
            shutil.copy(path, part)
            os.replace(part, HERE / name / path.name)


def arguments(argv):
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help=f"{', '.join(experiment_names())} (default: all)")
    add("--iterations", type=int, metavar="N", help="(default: what each solver says)")
    add("--seeds", type=int, default=1, metavar="N", help="trainings of each (default: %(default)s)")
    add("--workers", type=int, default=1, metavar="N", help="trainings at a time (default: %(default)s)")
    add("--precision", help="bfloat16 is faster where the processor has it; of caffe_torch alone"
        " (default: float32)")  # fmt: skip
    add("--gpu", type=int, metavar="N", help="the GPU to run on (default: the CPU)")
    add("--caffe", type=Path, metavar="DIR", default=Path(sys.executable).parent, help="where the programs"
        " `caffe` and `python` are (default: beside the Python that runs this)")  # fmt: skip
    add("--out", type=Path, default="build/experiments", help="(default: %(default)s)")
    add("--keep", action="store_true", help="copy the results into experiments/NAME, beside its README")
    args = parser.parse_args(argv)
    nets.refuse_unknown(args.names, experiment_names(), "experiment")
    if min(args.seeds, args.workers, args.iterations or 1) < 1 or args.iterations == 0:
        parser.error("--iterations, --seeds and --workers are 1 or more")
    if not (args.caffe / "caffe").is_file():
        parser.error(f"--caffe: there is no program `caffe` in {args.caffe}")
    args.names = args.names or experiment_names()
    args.precision = None if args.precision == "float32" else args.precision  # the default
    args.out, args.caffe = args.out.absolute(), args.caffe.absolute()
    return args


def main(argv=None):
    args = arguments(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{args.out}: experiments are running there already") from None
        groups, unique = {}, {}  # {experiment: {label: trainings}}; {folder: the Training that fills it}
        for name in args.names:
            path = HERE / name / "runs.csv"
            if not path.is_file():
                draw(name, args.out / name)
                continue
            groups[name] = trainings_of(path, args)
            for training in (training for trainings in groups[name].values() for training in trainings):
                unique.setdefault(training.folder, training).tests.update(training.tests)
        seconds = {}
        for training in tqdm(unique.values(), "timing", disable=None, leave=False):
            seconds[training] = iteration_time(training)
            fusion_time(training)
        try:
            train(seconds, args.workers)
        except KeyboardInterrupt:
            print("stopped; the same command resumes from here", file=sys.stderr)
            raise
        for name, group in groups.items():
            print(report(name, group, args.out / name))
        for name in args.names:
            if args.keep:
                keep(name, args.out / name)
            print(f"{name}: {args.out / name}")


if __name__ == "__main__":
    # Both as Ctrl-C: trainings save and stop. In the background a shell has SIGINT ignored, by children too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    cli.run(main)
