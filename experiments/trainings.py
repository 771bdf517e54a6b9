"""Trainings that are kept under a hash of their inputs, resumed where interrupted, and validated."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
from caffe.proto import caffe_pb2
from tqdm import tqdm

from data_prep import builder, make_database
from data_prep.photographs import training_photographs
from tools import plot_log, timing
from two_stream_fusion.base import provenance
from two_stream_fusion.methods import models

ROOT = Path(__file__).resolve().parents[1]
POINTS = 20  # validations along a shortened curve
ORIGINS = ("mean", "random")
# The inputs of a database, by their names in the manifest.
WORDS = {"sources": "photographs or masks", "made_with": "code or libraries behind it"}


def digest(*parts: object) -> str:
    """16 hexadecimal digits of the SHA-256 of the texts of `parts`: equal texts, equal digits."""
    return provenance.sha256("\0".join(map(str, parts)).encode())[:16]


def identify_caffe(folder: Path) -> str:
    """Identify the program `caffe` in a folder: a text, equal for the same Caffe in another folder."""
    program = (folder / "caffe").read_bytes()
    if not program.startswith(b"#!"):
        return digest(program)
    # Scripts begin with the path of what runs them; those that pip writes name the module they start.
    started = re.search(rb"^from (\S+) import main$", program, re.M)
    return started[1].decode() if started else digest(program.partition(b"\n")[2])


def database_name(options: str) -> str:
    """The folder name of a database: its options, with a hash where characters had to be replaced."""
    words = shlex.split(options)
    name = re.sub(r"[^\w.]+", "_", options).strip("_") or "default"
    plain = all(re.fullmatch(r"--[a-z-]+|[a-z0-9.]+", word) for word in words)
    return name if plain else f"{name[:80]}-{digest(*words)[:8]}"


def shorten(solver: caffe_pb2.SolverParameter, iterations: int) -> None:
    """Cut a SolverParameter to `iterations`, with as many points on the curve whatever its length.

    Tests take about a sixth of the time of training: half a batch for each iteration, forward only.
    """
    solver.max_iter = iterations
    solver.test_interval = solver.snapshot = max(1, iterations // POINTS)
    solver.test_iter[:] = [min(solver.test_iter[0], max(1, solver.test_interval // 2))]
    solver.display = max(1, solver.test_interval // 5)
    solver.average_loss = min(solver.average_loss, solver.test_interval)


def refuse(message):
    """ValueError, in place of argparse's usage and exit."""
    raise ValueError(message)


class Database:
    """A database of data_prep/make_database.py, built when it is missing or outdated.

    Args:
        options: of the command, as one text.
        folder: the database gets a folder of its own below it.

    Attributes:
        folder: of the database.
        patch: side of a patch in pixels.
        manifest: its description, as data_prep/builder.py writes it.
        key: a hash of the contents of its files.

    Raises:
        ValueError: wrong options, and as builder.build raises it.
    """

    def __init__(self, options: str, folder: Path):
        try:
            args = make_database.parse_arguments(shlex.split(options), refuse)
        except ValueError as error:
            raise ValueError(f"{options}: {error}") from None
        self.folder = folder / database_name(options)
        outdated = self._outdated(args)
        if outdated:
            print(f"{self.folder}: {outdated}", flush=True)
            make_database.main([*shlex.split(options), "--out", str(self.folder)])
        self.manifest = self._read()
        self.key = digest(*sorted(self.manifest["sha256"].items()))
        self.patch = self.manifest["patch"]

    def _read(self):
        return json.loads((self.folder / "manifest.json").read_text())

    def _outdated(self, args):
        """Why the database of parsed options has to be made; "" where it is what would be made now."""
        photographs = training_photographs(args.photos)
        current = builder.provenance(photographs.photographs, photographs.folder, args.spec)
        if not (self.folder / "manifest.json").is_file():
            return "not made yet"
        manifest = self._read()
        others = [WORDS.get(key, key) for key in current if manifest.get(key) != current[key]]
        if others:
            return f"made again: it has other {' and '.join(others)}"
        lists = [self.folder / f"{split}.txt" for split in ("train", "val")]
        files = [Path(line) for path in lists if path.is_file() for line in path.read_text().split()]
        complete = all(path.is_file() for path in [*lists, *files])
        return "" if complete else "made again: its files are not where its lists say"

    def photographs(self, split):
        """The sha256 of the photographs behind the rows for training ("train") or validation ("val")."""
        return {p["sha256"] for p in self.manifest["photographs"] if p["set"] == split}


class Training:
    """A training of runs.csv with one seed, and the validation of its weights.

    Args:
        row: label, solver, start, train and val.
        seed: added to the solver's.
        settings: out (the folder for all files), caffe (the folder of its programs), iterations (None for the
            solver's), precision, gpu and workers.

    Attributes:
        label: as in the row.
        name: of the net.
        origin: of the starting weights, "mean" (tools/start_weights.py) or "random".
        solver: a SolverParameter.
        full: the iterations of the solver's file.
        train, vals: databases.
        tests: {key: database to validate on}.
        folder: for the files of the training.
        final: its weights; the file exists once the training is finished.

    Raises:
        OSError, ValueError: a file is missing or wrong, or photographs to validate on are also trained on.
    """

    def __init__(self, row, seed, settings):
        self.label, self.origin, self.settings = row["label"], row["start"], settings
        if self.origin not in ORIGINS:
            raise ValueError(f"start {self.origin!r}: one of {', '.join(ORIGINS)}")
        self.solver = models.read_prototxt(ROOT / row["solver"], caffe_pb2.SolverParameter())
        self.net = models.read_prototxt(ROOT / self.solver.net, caffe_pb2.NetParameter())
        self.name, self.full = Path(self.solver.net).parent.name, self.solver.max_iter
        if settings.iterations:
            shorten(self.solver, settings.iterations)
        self.solver.random_seed += seed
        self.train = Database(row["train"], settings.out / "data")
        self.vals = [Database(options, settings.out / "data") for options in row["val"].split(";")]
        self.tests = {val.key: val for val in self.vals}
        for val in self.vals:
            if self.train.photographs("train") & val.photographs("val"):
                raise ValueError(f"{val.folder.name} holds photographs that are trained on")
        content = [self.on(self.train.key, self.vals[0].key), self.solver, self.origin]
        self.folder = (
            settings.out / "runs" / digest(*content, settings.precision, identify_caffe(settings.caffe))
        )
        self.final, self.log = self.folder / "final.caffemodel", self.folder / "train.log"
        self.first = self.folder / "first.caffemodel"

    def on(self, train, val, batch=None):
        """The net as prototxt with the databases `train` and `val`, and `batch` as batch size of tests."""
        net = caffe_pb2.NetParameter()
        net.CopyFrom(self.net)
        for layer in net.layer:
            if layer.type == "HDF5Data":
                test = any(rule.phase == caffe_pb2.TEST for rule in layer.include)
                layer.hdf5_data_param.source = str(val if test else train)
                if test and batch:
                    layer.hdf5_data_param.batch_size = batch
        return str(net)

    def model(self, val, batch=None):
        """Write the train_val.prototxt that validates on the rows of a list, `batch` at a time."""
        path = self.folder / "train_val.prototxt"
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(self.on(self.train.folder / "train.txt", val, batch))
        return path

    @property
    def batch(self):
        """Patches in a batch."""
        return next(layer.hdf5_data_param.batch_size for layer in self.net.layer if layer.type == "HDF5Data")

    def curves(self):
        """The losses in the log so far, as plot_log.parse returns them."""
        if not self.log.is_file():
            return [], []
        with open(self.log, errors="replace") as file:
            return plot_log.parse(file)

    def share(self):
        """The finished share of the training, 0 to 1, by the log."""
        if self.final.exists():
            return 1.0
        train, _ = self.curves()
        return train[-1][0] / self.solver.max_iter if train else 0.0

    def psnr(self, val):
        """PSNR in dB on all of a validation database, from the mean loss (Eq. 4) of `caffe test`."""
        return plot_log.psnr(float(re.search(r"Loss: (\S+)", self._scores(val).read_text())[1]), val.patch)

    def parameters(self):
        """How many numbers the net has learned; filters shared by layers count once."""
        net = caffe_pb2.NetParameter.FromString(self.final.read_bytes())
        sizes = {}
        for layer in net.layer:
            for i, blob in enumerate(layer.blobs):
                shared = layer.param[i].name if i < len(layer.param) else ""
                sizes[shared or (layer.name, i)] = len(blob.data)
        return sum(sizes.values())

    def start(self):
        """Start the next step: (process, its log), or None after the last."""
        if not self.final.exists():
            return self._start_training()
        for val in self.tests.values():
            if not self._scores(val).exists():
                rows = val.manifest["rows"]["val"]
                # The largest batch that divides them: every row is scored once.
                batch = max(n for n in range(1, self.batch + 1) if rows % n == 0)
                model = self.model(val.folder / "val.txt", batch)
                command = ["test", "-model", model, "-weights", self.final, "-iterations", rows // batch]
                return self._run(self._caffe(command), self._scores(val).with_suffix(".part"), "w")
        return None

    def finish(self, status, log):
        """Take over the results of a process that ended. OSError if it failed, with the end of its log."""
        if status:
            last = (log.read_text(errors="replace").strip().splitlines() or ["its log is empty"])[-1]
            raise OSError(f"{self.label}: caffe failed: {last} ({log})")
        if log != self.log:
            os.replace(log, log.with_suffix(".log"))
            return
        done = self.folder / f"run_iter_{self.solver.max_iter}.caffemodel"
        if not done.exists():
            raise OSError(f"{self.label}: caffe train stopped before its end; the same command resumes")
        os.replace(done, self.final)
        for passed in (p for kind in ("run_iter_*", "sample.*", "first.*") for p in self.folder.glob(kind)):
            passed.unlink()

    def _scores(self, val):
        return self.folder / f"test-{val.key}.log"

    def _start_training(self):
        solver, path = caffe_pb2.SolverParameter(), self.folder / "solver.prototxt"
        solver.CopyFrom(self.solver)
        solver.net, solver.snapshot_prefix = str(self.model(self.sample())), str(self.folder / "run")
        path.write_text(str(solver))
        command = ["train", "-solver", path]
        states = {int(s.stem.rsplit("_", 1)[1]): s for s in self.folder.glob("run_iter_*.solverstate")}
        if states:
            command += ["-snapshot", states[max(states)]]
        elif self.origin == "mean":
            if not self.first.exists():
                make = [self.settings.caffe / "python", "tools/start_weights.py", path, "-o", self.first]
                return self._run(make, self.folder / "first.part", "w")
            command += ["-weights", self.first]
        return self._run(self._caffe(command), self.log, "a")

    def sample(self):
        """List the validation rows of one test. With the whole list every test would read other rows."""
        whole, count = self.vals[0].folder / "val.txt", self.solver.test_iter[0] * self.batch
        if count >= self.vals[0].manifest["rows"]["val"]:
            return whole
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "sample.h5"
        with contextlib.ExitStack() as stack, h5py.File(path, "w") as sample:
            files = [stack.enter_context(h5py.File(name, "r")) for name in whole.read_text().split()]
            for name in files[0]:
                sample[name] = np.concatenate([file[name][:count] for file in files])[:count]
        path.with_suffix(".txt").write_text(f"{path}\n")
        return path.with_suffix(".txt")

    def _caffe(self, command):
        flags = timing.caffe_flags(self.settings.precision, self.settings.gpu)
        return [self.settings.caffe / "caffe", *command, *flags]

    def _run(self, command, log, mode):
        """A process with its output in a file, in its own session: Ctrl-C reaches it once, through `stop`."""
        # Without glog's limit, since the log is what we read.
        environment = {name: value for name, value in os.environ.items() if name != "GLOG_minloglevel"}
        if self.settings.workers > 1:
            environment.setdefault("OMP_NUM_THREADS", str(max(1, os.cpu_count() // self.settings.workers)))
        with open(log, mode) as file:
            process = subprocess.Popen(
                list(map(str, command)),
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
            )
        return process, log


def train(seconds: dict[Training, float], workers: int) -> None:
    """Train and validate all trainings that are not finished, `workers` at a time, the longest first.

    seconds: {training: seconds an iteration}. At Ctrl-C each training saves a snapshot and stops.
    """
    work = {t: t.solver.max_iter * s for t, s in seconds.items()}
    shares = {t: t.share() for t in work}
    waiting = sorted(work, key=lambda t: (1 - shares[t]) * work[t])
    active = {}
    bar = tqdm(
        total=sum(work.values()),
        initial=sum(shares[t] * work[t] for t in work),
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}",
        disable=None,
        leave=False,
    )
    try:
        while waiting or active:
            while waiting and len(active) < workers:
                training = waiting.pop()
                started = training.start()
                if started:
                    active[training] = started
            for training, (process, log) in list(active.items()):
                shares[training] = training.share()
                if process.poll() is not None:
                    del active[training]
                    training.finish(process.returncode, log)
                    waiting.append(training)
            bar.set_description_str(", ".join(t.label for t in active), refresh=False)
            bar.n = sum(shares[t] * work[t] for t in work)
            bar.refresh()
            time.sleep(0.2 if active else 0)
    finally:
        bar.close()
        stop([process for process, _ in active.values()])


def stop(processes):
    """Ask each to save and end, and wait; a second Ctrl-C ends them as they are."""
    for process in processes:
        process.send_signal(signal.SIGINT)
    try:
        for process in processes:
            process.wait()
    except KeyboardInterrupt:
        for process in processes:
            process.kill()
        raise
