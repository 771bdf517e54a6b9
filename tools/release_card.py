"""The files and settings of a release, and the numbers of its card, from the files of its training."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from datetime import datetime
from pathlib import Path
from typing import Iterable, Mapping, NamedTuple

from caffe.proto import caffe_pb2

from tools import plot_log, timing
from two_stream_fusion.base.files import write_text
from two_stream_fusion.methods import models

ROOT = Path(__file__).resolve().parents[1]

CARD = """---
name: {model}
method: two_stream
net: {net}
caffemodel: {model}.caffemodel
sha256: {sha256}
license: BSD-2-Clause for the weights; the photographs are not redistributed
recipe: {recipe}
iterations: {iterations}
---

| | |
|---|---|
| repeat | `make release MODEL={model}` |
| data | {train} patches of {train_photographs} photographs; {val} of {val_photographs} others to validate |
| options | `data_prep/make_database.py {options}` |
| training | {iterations} iterations, batch {batch}: {passes:.1f} passes over the data |
| time | {hours} on {machine} |
| validation | {psnr:.2f} dB (`caffe test`, float32, recipe `{recipe}`) |
| last snapshot | {last:.2f} dB |
| average of the last {averaged} snapshots | {average:.2f} dB |
| released | the {released} |

`eval/held_out.py` on {pairs} held-out pairs of recipe `defocus`, PSNR in dB:

| pairs | the network's output | select |
|---|---|---|
{scores}
"""
# "I1129 13:50:54.123456" begins a line of a log; "Solving NET" stands once in each run.
_TIME = re.compile(r"^[IWEF](\d{4} \d\d:\d\d:\d\d\.\d+) ")
_GPU = re.compile(r"\] GPU \d+: (.+)")
_CELL = re.compile(r"^\| (net|select) \| \**([\d.]+)", re.M)


class Release(NamedTuple):
    """The files and settings of a release; paths are relative to the working folder."""

    model: str  # its name
    folder: Path  # where all files go
    solver: Path
    options: str  # of data_prep/make_database.py
    photos: str | None  # as of photographs.training_photographs
    caffe: str  # the command
    gpu: str | None = None
    precision: str | None = None
    score_pairs: int = 24

    @property
    def log(self) -> Path:
        """The log of `caffe train`."""
        return self.folder / "train.log"

    @property
    def start(self) -> Path:
        """The start weights."""
        return self.folder / "start.caffemodel"

    @property
    def weights(self) -> Path:
        """The weights to release."""
        return self.folder / f"{self.model}.caffemodel"

    def read_solver(self) -> caffe_pb2.SolverParameter:
        """The solver's settings."""
        path = self.solver if self.solver.is_file() else ROOT / self.solver
        return models.read_prototxt(path, caffe_pb2.SolverParameter())

    def read_net(self) -> caffe_pb2.NetParameter:
        """The net that the solver names."""
        path = Path(self.read_solver().net)
        return models.read_prototxt(path if path.is_file() else ROOT / path, caffe_pb2.NetParameter())

    def caffe_flags(self) -> list[str]:
        """The flags of `caffe` that choose a device and a precision."""
        flags = ["-gpu", self.gpu] if self.gpu else []
        return [*flags, *(["-precision", self.precision] if self.precision else [])]


def write(release: Release, scores: Mapping[str, Path]) -> None:
    """Write log.csv, plot.png and card.md into the folder of a release.

    Args:
        release: whose other steps are finished.
        scores: {condition: what eval/held_out.py printed}.

    Raises:
        OSError: a file cannot be read or written.
    """
    folder, solver = release.folder, release.read_solver()
    rows = {title: read_scores(path) for title, path in scores.items()}
    csv, plot = str(folder / "log.csv"), str(folder / "plot.png")
    plot_log.main([str(release.log), "-o", plot, "--csv", csv])
    manifest = json.loads((folder / "database/manifest.json").read_text())
    used = [entry["set"] for entry in manifest["photographs"]]
    validation = json.loads((folder / "validation.json").read_text())
    net = release.read_net()
    batch = next(layer.hdf5_data_param.batch_size for layer in net.layer if layer.type == "HDF5Data")
    batch *= solver.iter_size
    log = release.log.read_text(errors="replace").splitlines()
    psnr = validation["PSNR"]
    text = CARD.format(
        model=release.model,
        net=net.name,
        sha256=hashlib.sha256(release.weights.read_bytes()).hexdigest(),
        recipe=manifest["recipe"],
        iterations=solver.max_iter,
        train=manifest["rows"]["train"],
        val=manifest["rows"]["val"],
        train_photographs=used.count("train"),
        val_photographs=used.count("val"),
        options=_without_out_option(release.options),
        batch=batch,
        passes=solver.max_iter * batch / manifest["rows"]["train"],
        hours=format_duration(training_seconds(log)),
        machine=describe_machine(log, release.gpu, release.precision),
        psnr=psnr[validation["released"]],
        released=validation["released"],
        last=psnr["last"],
        average=psnr["average"],
        averaged=validation["snapshots averaged"],
        pairs=max(count for count, _ in rows.values()),
        scores="\n".join(f"| {title} | {' | '.join(cells)} |" for title, (_, cells) in rows.items()),
    )
    write_text(folder / "card.md", text)


def training_seconds(log: Iterable[str]) -> float:
    """The seconds that the runs of a training took, by the times in its log; pauses between them not."""
    total, first, last = 0.0, None, None
    for line in log:
        match = _TIME.match(line)
        if not match:
            continue
        # The year does not stand there; 2000 had a 29 February.
        now = datetime.strptime(f"2000{match[1]}", "%Y%m%d %H:%M:%S.%f")
        if "] Solving " in line:
            total += _span(first, last)
            first = now
        last = now
    return total + _span(first, last)


def _span(first, last):
    """Seconds from one time to another, over the end of a year too."""
    return (last - first).total_seconds() % (366 * 86400) if first and last else 0.0


def format_duration(seconds: float) -> str:
    """Seconds in words: "2 h 51 min", or "40 s"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def describe_machine(log: Iterable[str], gpu: str | None, precision: str | None) -> str:
    """Describe the device that a training ran on, and the precision.

    Args:
        log: the lines of its log, which names a GPU.
        gpu: the number of the GPU, or None.
        precision: of the training; None for float32.

    Returns:
        Such as "NVIDIA H200, tf32".
    """
    gpus = [match[1] for match in map(_GPU.search, log) if match]
    device = gpus[-1] if gpus else timing.describe_device(int(gpu) if gpu else None)
    return f"{device}, {precision or 'float32'}"


def _without_out_option(options):
    """Options of make_database.py without --out, which does not change the data."""
    words = shlex.split(options)
    place = words.index("--out")
    return shlex.join(words[:place] + words[place + 2 :])


def read_scores(path: Path) -> tuple[int, list[str]]:
    """Read what eval/held_out.py printed.

    Args:
        path: the file.

    Returns:
        The number of pairs, and PSNR in dB of the network's output and of the selection.
    """
    text = path.read_text()
    psnr: dict[str, str] = {}
    for name, value in _CELL.findall(text):
        psnr.setdefault(name, value)  # a second table has other metrics
    return int(text.split()[2]), [psnr["net"], psnr["select"]]
