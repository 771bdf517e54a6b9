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
from google.protobuf import text_format

from tools import plot_log, timing
from tools.net_options import batch_size
from two_stream_fusion.base.files import write_text

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
| repeat | `{repeat}` |
| data | {train} patches of {train_photographs} photographs; {val} of {val_photographs} others to validate |
| options | `data_prep/make_database.py {options}` |
| training | {iterations} iterations, batch {batch}: {passes:.1f} passes over the data |
| time | {hours} on {machine} |
| validation | {psnr:.2f} dB (`caffe test`, float32, recipe `{recipe}`) |
| last snapshot | {last:.2f} dB |
| average of the last {averaged} | {average:.2f} dB |
| released | the {released} |

`eval/held_out.py` on {pairs} of recipe `defocus`, PSNR in dB:

| pairs | the network's output | select |
|---|---|---|
{scores}
"""
# Lines of the logs of both Caffes. "I1129 13:50:54.123456" begins one. Each run begins with its device.
_TIME = re.compile(r"^[IWEF](\d{4} \d\d:\d\d:\d\d\.\d+) ")
_BEGIN = re.compile(r"\] (Use CPU|Using GPUs|Initializing solver)")
_SOLVING = re.compile(r"\] Solving ")
_END = re.compile(r"\] Optimization (Done|stopped early)\.")
_GPU = re.compile(r"\] GPU \d+: (.+)")
_PRECISION = re.compile(r"\] Precision: (\w+)")
_PAIRS = re.compile(r"^mean of (\d+) pairs", re.M)
_CELL = re.compile(r"^\| (net|select) \| \**([\d.]+)", re.M)


class Release(NamedTuple):
    """The files and settings of a release; paths are relative to the working folder."""

    model: str  # its name
    folder: Path  # where all files go
    solver: caffe_pb2.SolverParameter  # its net is the file that `write_settings` writes
    net_text: str  # the text of that file
    options: str  # of data_prep/make_database.py
    photos: str | None  # as of photographs.training_photographs
    caffe: str  # the command
    gpu: str | None = None
    precision: str | None = None
    score_pairs: int = 24

    @property
    def bundled(self) -> Path:
        """The folder of a dry run for the photographs inside scikit-image."""
        return self.folder / "photographs"

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

    @property
    def net(self) -> caffe_pb2.NetParameter:
        """The net that is trained."""
        return text_format.Parse(self.net_text, caffe_pb2.NetParameter())

    @property
    def solver_path(self) -> Path:
        """The file of the solver that `write_settings` writes."""
        return self.folder / "solver.prototxt"

    def write_settings(self) -> None:
        """Write the solver and the net for Caffe."""
        write_text(self.solver.net, self.net_text)
        write_text(self.solver_path, str(self.solver))


def write(release: Release, scores: Mapping[str, Path]) -> None:
    """Write log.csv, plot.png and card.md into the folder of a release.

    Args:
        release: whose other steps are finished.
        scores: {condition: what eval/held_out.py printed}.

    Raises:
        OSError: a file cannot be read or written.
    """
    folder, solver = release.folder, release.solver
    rows = {title: read_scores(path) for title, path in scores.items()}
    csv, plot = str(folder / "log.csv"), str(folder / "plot.png")
    manifest = json.loads((folder / "database/manifest.json").read_text())
    plot_log.main([str(release.log), "-o", plot, "--csv", csv, "--patch", str(manifest["patch"])])
    used = [entry["set"] for entry in manifest["photographs"]]
    validation = json.loads((folder / "validation.json").read_text())
    net = release.net
    log = release.log.read_text(errors="replace").splitlines()
    batch = batch_size(net) * solver.iter_size
    psnr = validation["PSNR"]
    text = CARD.format(
        model=release.model,
        repeat=repeat_command(release),
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
        machine=describe_machine(log),
        psnr=psnr[validation["released"]],
        released=validation["released"],
        last=psnr["last"],
        average=psnr["average"],
        averaged=_counted(validation["snapshots averaged"], "snapshot"),
        pairs=_counted(max(count for count, _ in rows.values()), "held-out pair"),
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
        if _BEGIN.search(line):  # of a run after one that was killed
            total, first = total + _span(first, last), None
        if _SOLVING.search(line):
            first = now
        last = now
        if _END.search(line):
            total, first = total + _span(first, last), None
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


def describe_machine(log: Iterable[str]) -> str:
    """Describe the devices that a training ran on, and its precisions.

    Args:
        log: the lines of its log. It names GPUs; a CPU is taken for that of this machine.

    Returns:
        Such as "NVIDIA H200, tf32".
    """
    runs: list[list[str]] = []
    for line in log:
        begin, gpu, precision = _BEGIN.search(line), _GPU.search(line), _PRECISION.search(line)
        if begin and begin[1] != "Initializing solver":
            runs.append(["", "float32"])
        if runs and gpu:
            runs[-1][0] = gpu[1]
        if runs and precision:
            runs[-1][1] = precision[1]
    runs = runs or [["", "float32"]]
    described = [f"{device or timing.describe_device(None)}, {precision}" for device, precision in runs]
    return ", then ".join(dict.fromkeys(described))


def repeat_command(release: Release) -> str:
    """The command that repeats a release."""
    photos = None if release.photos == str(release.bundled) else release.photos
    variables = {"MODEL": release.model, "GPU": release.gpu, "PRECISION": release.precision, "PHOTOS": photos}
    dry_run = release.score_pairs < Release._field_defaults["score_pairs"]
    variables["ITERATIONS"] = str(release.solver.max_iter) if dry_run else None
    return " ".join(["make release", *(f"{k}={shlex.quote(v)}" for k, v in variables.items() if v)])


def _counted(count, noun):
    """A number and its noun, such as "1 snapshot"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


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

    Raises:
        OSError: the file cannot be read.
        ValueError: it is something else.
    """
    text = path.read_text()
    psnr: dict[str, str] = {}
    for name, value in _CELL.findall(text):
        psnr.setdefault(name, value)  # a second table has other metrics
    pairs = _PAIRS.search(text)
    if not pairs or not {"net", "select"} <= set(psnr):
        raise ValueError(f"{path}: is not what eval/held_out.py prints: remove it, and run this again")
    return int(pairs[1]), [psnr["net"], psnr["select"]]
