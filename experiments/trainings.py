"""Trainings that a runs.csv lists, kept under a hash of their inputs, and the numbers in their files."""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path
from typing import Iterable, NamedTuple

from caffe.proto import caffe_pb2

from experiments.databases import Database, digest, prepare_database
from tools import plot_log
from tools.net_options import batch_size
from two_stream_fusion.methods import models

ROOT = Path(__file__).resolve().parents[1]
CURVE_POINTS = 20  # validations along a shortened curve
START_WEIGHTS = ("mean", "random")


class Row(NamedTuple):
    """A row of a runs.csv; the first five fields are its columns."""

    label: str
    solver: str  # a file of solver/
    start: str  # the initial weights: one of START_WEIGHTS
    train: str  # the database to train on: options of data_prep/make_database.py
    val: str  # those to validate on, between semicolons
    place: str  # its file and line, for messages


COLUMNS = Row._fields[:-1]


class Caffe(NamedTuple):
    """The Caffe that trains, and how it computes."""

    folder: Path  # where its programs `caffe` and `python` are
    precision: str | None = None  # None for Caffe's own, float32
    gpu: int | None = None  # None for the CPU


@dataclasses.dataclass(frozen=True, eq=False)
class Training:
    """A row of a runs.csv trained with one seed, and the validation of its weights.

    Attributes:
        label: as in the row.
        origin: of the initial weights, one of START_WEIGHTS.
        solver: the solver, with the seed and the length of this training.
        full_length: the iterations of the solver's file.
        net: the net, as its file has it.
        train: the database to train on.
        vals: the databases to validate on; curves are over the first.
        folder: for the files of the training.
    """

    label: str
    origin: str
    solver: caffe_pb2.SolverParameter
    full_length: int
    net: caffe_pb2.NetParameter
    train: Database
    vals: tuple[Database, ...]
    folder: Path

    @property
    def net_name(self) -> str:
        """The name of the net: a folder of prototxt/."""
        return Path(self.solver.net).parent.name

    @property
    def batch(self) -> int:
        """Patches in a batch."""
        return batch_size(self.net)

    @property
    def log(self) -> Path:
        """The log of `caffe train`."""
        return self.folder / "train.log"

    @property
    def weights(self) -> Path:
        """The trained weights; the file exists once the training is finished."""
        return self.folder / "final.caffemodel"

    def test_log(self, val: Database) -> Path:
        """The log of `caffe test` on a validation database; the file exists once that is finished."""
        return self.folder / f"test-{val.key}.log"


def read_rows(path: Path) -> list[Row]:
    """Read a runs.csv.

    Args:
        path: the file.

    Returns:
        Its rows; no two have the same label.

    Raises:
        ValueError: a column or a cell is missing, or a label occurs twice; the message has file and line.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames or ()
            lines = [(f"{path}, line {reader.line_num}", line) for line in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise ValueError(f"{path}, line 1: no column {missing[0]}; the header is {','.join(COLUMNS)}")
    if not lines:
        raise ValueError(f"{path}: no trainings, a header alone")
    rows = {}
    for location, line in lines:
        label = line["label"]
        if None in line or None in line.values():
            raise ValueError(f"{location}: {label}: not as many cells as the header has")
        if label in rows:
            raise ValueError(f"{location}: label {label!r} is already in {rows[label].place}")
        rows[label] = Row(*(line[column] for column in COLUMNS), location)
    return list(rows.values())


def plan_trainings(
    path: Path, seeds: int, iterations: int | None, caffe: Caffe, out: Path
) -> dict[str, list[Training]]:
    """Plan the trainings of a runs.csv, and build their databases.

    Args:
        path: the file.
        seeds: trainings of each row.
        iterations: their length; None for that of each solver.
        caffe: what trains.
        out: the folder for all files.

    Returns:
        {label: its trainings, one a seed}.

    Raises:
        ValueError: a file is missing or wrong, or photographs to validate on are also trained on; the message
            has file, line and label.
    """
    groups = {}
    for row in read_rows(path):
        try:
            groups[row.label] = [plan_training(row, seed, iterations, caffe, out) for seed in range(seeds)]
        except (ValueError, OSError) as error:
            raise ValueError(f"{row.place}: {row.label}: {error}") from None
    return groups


def plan_training(row: Row, seed: int, iterations: int | None, caffe: Caffe, out: Path) -> Training:
    """Plan the training of a row, and build its databases.

    Args:
        row: of a runs.csv.
        seed: added to the solver's.
        iterations, caffe, out: as of `plan_trainings`.

    Returns:
        The training.

    Raises:
        OSError, ValueError: a file is missing or wrong, or photographs to validate on are also trained on.
    """
    if row.start not in START_WEIGHTS:
        raise ValueError(f"start {row.start!r}: one of {', '.join(START_WEIGHTS)}")
    solver, net = read_solver_and_net(row)
    full_length = solver.max_iter
    if iterations:
        shorten_solver(solver, iterations)
    solver.random_seed += seed
    train = prepare_database(row.train, out / "data")
    vals = tuple(prepare_database(options, out / "data") for options in row.val.split(";"))
    for val in vals:
        if train.photographs["train"] & val.photographs["val"]:
            raise ValueError(f"{val.folder.name} holds photographs that are trained on")
    inputs = (net_with_data(net, train.key, vals[0].key), solver, row.start, caffe.precision)
    folder = out / "runs" / digest(*inputs, identify_caffe(caffe.folder))
    return Training(row.label, row.start, solver, full_length, net, train, vals, folder)


def read_solver_and_net(row: Row) -> tuple[caffe_pb2.SolverParameter, caffe_pb2.NetParameter]:
    """Read the solver of a row and its net.

    Raises:
        OSError, ValueError: a file is missing or wrong.
    """
    solver = models.read_prototxt(ROOT / row.solver, caffe_pb2.SolverParameter())
    return solver, models.read_prototxt(ROOT / solver.net, caffe_pb2.NetParameter())


def merge_equal(trainings: Iterable[Training]) -> list[Training]:
    """One training for each folder: the first, with the validation databases of all."""
    merged: dict[Path, Training] = {}
    for training in trainings:
        first = merged.setdefault(training.folder, training)
        vals = {val.key: val for val in (*first.vals, *training.vals)}
        merged[training.folder] = dataclasses.replace(first, vals=tuple(vals.values()))
    return list(merged.values())


def shorten_solver(solver: caffe_pb2.SolverParameter, iterations: int) -> None:
    """Cut a SolverParameter to `iterations`, with as many points on the curve whatever its length.

    Tests take about a sixth of the time of training: half a batch for each iteration, forward only.

    Args:
        solver: changed in place.
        iterations: the new max_iter.
    """
    solver.max_iter = iterations
    solver.test_interval = solver.snapshot = max(1, iterations // CURVE_POINTS)
    solver.test_iter[:] = [min(solver.test_iter[0], max(1, solver.test_interval // 2))]
    solver.display = max(1, solver.test_interval // 5)
    solver.average_loss = min(solver.average_loss, solver.test_interval)


def net_with_data(
    net: caffe_pb2.NetParameter, train: object, val: object, test_batch: int | None = None
) -> str:
    """Name the databases of a net.

    Args:
        net: of a train_val.prototxt; it is not changed.
        train, val: paths of the databases.
        test_batch: the batch size of tests; None leaves the net's own.

    Returns:
        The prototxt.
    """
    changed = caffe_pb2.NetParameter()
    changed.CopyFrom(net)
    for layer in changed.layer:
        if layer.type == "HDF5Data":
            in_test = any(rule.phase == caffe_pb2.TEST for rule in layer.include)
            layer.hdf5_data_param.source = str(val if in_test else train)
            if in_test and test_batch:
                layer.hdf5_data_param.batch_size = test_batch
    return str(changed)


def identify_caffe(folder: Path) -> str:
    """Identify the program `caffe` in a folder: a text, equal for the same Caffe in another folder."""
    program = (folder / "caffe").read_bytes()
    if not program.startswith(b"#!"):
        return digest(program)
    # Scripts begin with the path of what runs them; those that pip writes name the module they start.
    started = re.search(rb"^from (\S+) import main$", program, re.M)
    return started[1].decode() if started else digest(program.partition(b"\n")[2])


def read_curves(training: Training) -> tuple[plot_log.Curve, plot_log.Curve]:
    """The losses in the log so far, as plot_log.parse returns them."""
    if not training.log.is_file():
        return [], []
    with open(training.log, errors="replace") as file:
        return plot_log.parse(file)


def finished_share(training: Training) -> float:
    """The finished share of a training, 0 to 1, by its log."""
    if training.weights.exists():
        return 1.0
    train, _ = read_curves(training)
    return train[-1][0] / training.solver.max_iter if train else 0.0


def read_psnr(training: Training, val: Database) -> float:
    """PSNR in dB on all of a validation database, from the mean loss (Eq. 4) of `caffe test`.

    Args:
        training: whose `caffe test` has ended.
        val: the database it was tested on.

    Returns:
        dB.
    """
    loss = re.search(r"Loss: (\S+)", training.test_log(val).read_text())[1]
    return plot_log.psnr(float(loss), val.patch)


def count_parameters(training: Training) -> int:
    """How many numbers the net has learned; filters shared by layers count once."""
    net = caffe_pb2.NetParameter.FromString(training.weights.read_bytes())
    sizes = {}
    for layer in net.layer:
        for i, blob in enumerate(layer.blobs):
            shared = layer.param[i].name if i < len(layer.param) else ""
            sizes[shared or (layer.name, i)] = len(blob.data)
    return sum(sizes.values())
