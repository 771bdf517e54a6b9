"""Tables and plots of trainings that are finished."""

from __future__ import annotations

import csv
import os
import statistics
from pathlib import Path
from typing import Callable, Mapping, NamedTuple, Sequence

from experiments.databases import digest
from experiments.schedule import write_net
from experiments.trainings import (
    Caffe,
    Training,
    count_parameters,
    identify_caffe,
    net_with_data,
    read_curves,
    read_psnr,
    read_rows,
    read_solver_and_net,
)
from tools import pictures, plot_log, timing
from tools.net_options import batch_size
from two_stream_fusion.base import markdown_tables
from two_stream_fusion.base.files import write_text

SIDE, GPU_SIDE = 256, 2048  # of the image whose fusion is timed, in pixels; a small one does not fill a GPU
# The columns of a summary that README's table omits where they are the same in all rows.
CONDITIONS = ("net", "start", "trained on", "validated on", "iterations", "precision", "seeds")


class Timer(NamedTuple):
    """Measures once on this machine, and keeps the results."""

    caffe: Caffe
    folder: Path

    def iteration(self, training: Training) -> float:
        """Seconds of a training iteration: by `caffe time`, on a GPU by the log of `caffe train`."""
        patch, caffe = training.train.patch, self.caffe

        def measure():
            model = write_net(training, training.vals[0].folder / "val.txt")
            return timing.time_training(caffe.folder, caffe.precision, model, caffe.gpu) / 1e3

        return self._measured_once(("iteration", net_with_data(training.net, patch, patch)), measure)

    def fusion(self, net: str) -> float:
        """Seconds to fuse a megapixel with a net of prototxt/, of a square of SIDE, on a GPU of GPU_SIDE."""
        caffe = self.caffe
        side = SIDE if caffe.gpu is None else GPU_SIDE

        def measure():
            timed = timing.time_inference(caffe.folder, caffe.precision, net, side, caffe.gpu)
            return timed.milliseconds * 1e3 / side**2

        return self._measured_once(("fusion", net), measure)

    def _measured_once(self, subject: Sequence[str], measure: Callable[[], float]) -> float:
        """The kept result of measure() for a subject."""
        caffe = self.caffe
        conditions = (
            identify_caffe(caffe.folder),
            caffe.precision,
            caffe.gpu,
            os.environ.get("OMP_NUM_THREADS"),
        )
        path = self.folder / digest(*subject, *conditions)
        if not path.is_file():
            write_text(path, f"{measure()}\n")
        return float(path.read_text())


def summarize(groups: dict[str, list[Training]], timer: Timer) -> list[dict[str, str]]:
    """Summarize trainings.

    Args:
        groups: {label: its trainings, one a seed}.
        timer: for the times of an iteration and of a fusion.

    Returns:
        A row for each label and validation database: {column: text}.
    """
    rows = []
    for label, trainings in groups.items():
        first = trainings[0]
        for i, val in enumerate(first.vals):
            decibels = [read_psnr(training, training.vals[i]) for training in trainings]
            rows.append(
                {
                    "label": label,
                    "net": first.net_name,
                    "start": first.origin,
                    "trained on": first.train.folder.name,
                    "validated on": val.folder.name,
                    "iterations": str(first.solver.max_iter),
                    "precision": timer.caffe.precision or "float32",
                    "seeds": str(len(trainings)),
                    "PSNR": f"{statistics.mean(decibels):.2f}",
                    "min": f"{min(decibels):.2f}",
                    "max": f"{max(decibels):.2f}",
                    "parameters": str(count_parameters(first)),
                    "s per iteration": f"{timer.iteration(first):.3f}",
                    "s per megapixel": f"{timer.fusion(first.net_name):.2f}",
                }
            )
    return rows


def markdown(rows: list[dict[str, str]]) -> str:
    """The rows of a summary as README's table, without the conditions that are the same in all."""
    same = [column for column in CONDITIONS if len({row[column] for row in rows}) == 1]
    spread = [] if rows[0]["seeds"] != "1" else ["min", "max"]
    columns = [column for column in rows[0] if column not in same + spread]
    return markdown_tables.markdown(columns, [[row[c] for c in columns] for row in rows])


def plot(
    title: str, curves: Sequence[Mapping[str, str]], rows: Sequence[Mapping[str, str]], path: Path
) -> None:
    """Plot PSNR against iterations, and the final PSNR against the time to fuse a megapixel.

    Args:
        title: of the plot.
        curves: the rows of curves.csv.
        rows: those of summary.csv.
        path: the file; its suffix names the format. An SVG is written beside.
    """
    figure, (left, right) = pictures.pyplot().subplots(
        1, 2, figsize=(10, 4), constrained_layout=True, gridspec_kw={"width_ratios": (3, 2)}
    )
    first_rows = {row["label"]: row for row in reversed(rows)}
    for i, label in enumerate(dict.fromkeys(row["label"] for row in rows)):
        colour = f"C{i}"
        lines: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for point in curves:
            if point["label"] == label:
                line = lines.setdefault((point["seed"], point["set"]), [])
                line.append((int(point["iteration"]), float(point["psnr"])))
        for (_, phase), line in lines.items():
            style = {"alpha": 0.3} if phase == "train" else {"marker": "."}
            left.plot(*zip(*line), color=colour, **style)
        left.plot([], [], color=colour, marker=".", label=label)
        columns = ("s per megapixel", "PSNR", "min", "max")
        seconds, mean, low, high = (float(first_rows[label][column]) for column in columns)
        right.errorbar(seconds, mean, [[mean - low], [high - mean]], fmt="o", color=colour, capsize=3)
    left.set(xlabel="iteration (pale: training)", ylabel="validation PSNR (dB)")
    left.set_ylim(bottom=max(left.get_ylim()[0], left.get_ylim()[1] - 25))  # the first steps may overshoot
    left.legend()
    right.set(xlabel="seconds to fuse a megapixel", ylabel="PSNR at the end (dB)")
    right.margins(x=0.15, y=0.15)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.suptitle(title)
    pictures.save(figure, path, dpi=90, has_svg=True)


def redraw(folder: Path) -> None:
    """Write plot.png and plot.svg of an experiment anew, from the files that `write_report` wrote.

    Args:
        folder: of the experiment, with runs.csv, curves.csv and summary.csv.

    Raises:
        OSError, ValueError: a file is missing or wrong.
    """
    runs = [(row.label, *read_solver_and_net(row)) for row in read_rows(folder / "runs.csv")]
    rows = _read_csv(folder / "summary.csv")
    lengths = {row["label"]: int(row["iterations"]) for row in rows}
    is_rough = any(lengths.get(label, solver.max_iter) < solver.max_iter for label, solver, _ in runs)
    title = _title(folder.name, set(lengths.values()), is_rough, batch_size(runs[0][2]))
    plot(title, _read_csv(folder / "curves.csv"), rows, folder / "plot.png")


def _title(name, lengths, is_rough, batch):
    iterations = " and ".join(map(str, sorted(lengths)))
    return f"{name}: {'rough, ' * is_rough}{iterations} iterations of {batch} patches"


def _read_csv(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_report(name: str, groups: dict[str, list[Training]], timer: Timer, folder: Path) -> str:
    """Write summary.csv, curves.csv, plot.png and plot.svg of an experiment.

    Args:
        name: of the experiment.
        groups: {label: its trainings, one a seed}.
        timer: for the times of an iteration and of a fusion.
        folder: where the files go.

    Returns:
        What to print: the title and the summary as Markdown.
    """
    rows = summarize(groups, timer)
    trainings = [training for group in groups.values() for training in group]
    curves = [
        [
            t.label,
            t.solver.random_seed,
            n,
            phase,
            f"{loss:g}",
            f"{plot_log.psnr(loss, database.patch):.4f}",
        ]
        for t in trainings
        for phase, curve, database in zip(("train", "val"), read_curves(t), (t.train, t.vals[0]))
        for n, loss in curve
    ]
    header = ["label", "seed", "iteration", "set", "loss", "psnr"]
    write_text(folder / "curves.csv", markdown_tables.comma_separated(header, curves))
    summary = markdown_tables.comma_separated(rows[0], [row.values() for row in rows])
    write_text(folder / "summary.csv", summary)
    lengths = {t.solver.max_iter for t in trainings}
    is_rough = any(t.solver.max_iter < t.full_length for t in trainings)
    title = _title(name, lengths, is_rough, trainings[0].batch)
    plot(title, _read_csv(folder / "curves.csv"), rows, folder / "plot.png")
    device = timing.describe_device(timer.caffe.gpu)
    return f"{title}; {rows[0]['precision']}, timed on {device}\n\n{markdown(rows)}"
