"""Run trainings, several at a time, each in steps: initial weights, `caffe train`, `caffe test`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Iterator, NamedTuple, Sequence

import h5py
import numpy as np
from caffe.proto import caffe_pb2
from tqdm import tqdm

from experiments.trainings import ROOT, Caffe, Training, finished_share, net_with_data
from tools import timing, train


class Step(NamedTuple):
    """A command of a training."""

    command: Sequence[object]
    log: Path  # where its output goes
    appends: bool = False  # to the log, or replaces it


class RunningStep(NamedTuple):
    """A step in progress."""

    process: subprocess.Popen
    log: Path


def run_trainings(seconds: dict[Training, float], caffe: Caffe, workers: int) -> None:
    """Train and validate all trainings that are not finished, the longest first.

    At Ctrl-C, and where SIGTERM raises SystemExit, each training saves a snapshot and stops.

    Args:
        seconds: {training: seconds per iteration}.
        caffe: what trains.
        workers: trainings at a time.

    Raises:
        OSError: a training failed; the message has the last line of its log.
    """
    work = {t: t.solver.max_iter * s for t, s in seconds.items()}
    shares = {t: finished_share(t) for t in work}
    waiting = sorted(work, key=lambda t: (1 - shares[t]) * work[t])
    active: dict[Training, RunningStep] = {}
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
                step = next_step(training, caffe)
                if step:
                    active[training] = start_step(step, workers)
            for training, step in list(active.items()):
                shares[training] = finished_share(training)
                if step.process.poll() is not None:
                    del active[training]
                    finish_step(training, step)
                    waiting.append(training)
            bar.set_description_str(", ".join(t.label for t in active), refresh=False)
            bar.n = sum(shares[t] * work[t] for t in work)
            bar.refresh()
            time.sleep(0.2 if active else 0)
    finally:
        bar.close()
        interrupt_processes([step.process for step in active.values()])


def next_step(training: Training, caffe: Caffe) -> Step | None:
    """Write the inputs of the next step of a training; None after the last.

    Args:
        training: the training.
        caffe: how to run the program.

    Returns:
        The step to run; None where all have ended.
    """
    if not training.weights.exists():
        return _training_step(training, caffe)
    for val in training.vals:
        if not training.test_log(val).exists():
            # The largest batch that divides the rows: each is scored once.
            batch = max(n for n in range(1, training.batch + 1) if val.val_rows % n == 0)
            model = write_net(training, val.folder / "val.txt", batch)
            count = val.val_rows // batch
            command = ["test", "-model", model, "-weights", training.weights, "-iterations", count]
            return Step(_caffe_command(caffe, command), training.test_log(val).with_suffix(".part"))
    return None


def start_step(step: Step, workers: int) -> RunningStep:
    """Start a step in a session of its own: Ctrl-C reaches it once, through `interrupt_processes`.

    Args:
        step: the step.
        workers: how many run at a time; they share the processor's cores.

    Returns:
        The step, running.
    """
    environment = train.without_glog()  # since the log is what we read
    if workers > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    with open(step.log, "a" if step.appends else "w") as file, _heeded_interrupts():
        process = subprocess.Popen(
            list(map(str, step.command)),
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
    return RunningStep(process, step.log)


@contextlib.contextmanager
def _heeded_interrupts() -> Iterator[None]:
    """Let processes that begin in the block hear of SIGINT, which a shell's background has ignored."""
    is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if is_ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if is_ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def finish_step(training: Training, step: RunningStep) -> None:
    """Take over the results of a step that ended.

    Args:
        training: the training.
        step: one of its steps, whose process has ended.

    Raises:
        OSError: it failed; the message has the last line of its log.
    """
    log = step.log
    if step.process.returncode:
        last = (log.read_text(errors="replace").strip().splitlines() or ["its log is empty"])[-1]
        raise OSError(f"{training.label}: caffe failed: {last} ({log})")
    if log != training.log:
        os.replace(log, log.with_suffix(".log"))
        return
    snapshot = training.folder / f"run_iter_{training.solver.max_iter}.caffemodel"
    if not snapshot.exists():
        raise OSError(f"{training.label}: caffe train stopped before its end; the same command resumes")
    os.replace(snapshot, training.weights)
    for pattern in ("run_iter_*", "sample.*", "first.*"):
        for path in training.folder.glob(pattern):
            path.unlink()


def interrupt_processes(processes: Sequence[subprocess.Popen]) -> None:
    """Ask each process to save and end, and wait; a second signal ends them as they are."""
    for process in processes:
        process.send_signal(signal.SIGINT)
    try:
        for process in processes:
            process.wait()
    except (KeyboardInterrupt, SystemExit):
        for process in processes:
            process.kill()
        raise


def write_net(training: Training, val_list: Path, test_batch: int | None = None) -> Path:
    """Write the train_val.prototxt that validates on the rows of a list.

    Args:
        training: whose net it is.
        val_list: a text file that names HDF5 files.
        test_batch: rows that are tested at a time; None for the net's.

    Returns:
        The file.
    """
    path = training.folder / "train_val.prototxt"
    training.folder.mkdir(parents=True, exist_ok=True)
    path.write_text(net_with_data(training.net, training.train.folder / "train.txt", val_list, test_batch))
    return path


def write_sample(training: Training) -> Path:
    """Copy the validation rows of one test, and list them.

    With the list of the database every test would read other rows.

    Returns:
        The list; that of the database where one test reads all its rows.
    """
    val = training.vals[0]
    val_list, count = val.folder / "val.txt", training.solver.test_iter[0] * training.batch
    if count >= val.val_rows:
        return val_list
    training.folder.mkdir(parents=True, exist_ok=True)
    path = training.folder / "sample.h5"
    with contextlib.ExitStack() as stack, h5py.File(path, "w") as sample:
        files = [stack.enter_context(h5py.File(name, "r")) for name in val_list.read_text().split()]
        for name in files[0]:
            sample[name] = np.concatenate([file[name][:count] for file in files])[:count]
    path.with_suffix(".txt").write_text(f"{path}\n")
    return path.with_suffix(".txt")


def _training_step(training, caffe):
    """The step that trains, or before it the one that makes the initial weights."""
    solver, path = caffe_pb2.SolverParameter(), training.folder / "solver.prototxt"
    solver.CopyFrom(training.solver)
    solver.net = str(write_net(training, write_sample(training)))
    solver.snapshot_prefix = str(training.folder / "run")
    path.write_text(str(solver))
    command = ["train", "-solver", path]
    states = {int(s.stem.rsplit("_", 1)[1]): s for s in training.folder.glob("run_iter_*.solverstate")}
    if states:
        command += ["-snapshot", states[max(states)]]
    elif training.origin == "mean":
        first = training.folder / "first.caffemodel"
        if not first.exists():
            make = [caffe.folder / "python", "tools/start_weights.py", path, "-o", first]
            return Step(make, training.folder / "first.part")
        command += ["-weights", first]
    return Step(_caffe_command(caffe, command), training.log, appends=True)


def _caffe_command(caffe, command):
    return [caffe.folder / "caffe", *command, *timing.caffe_flags(caffe.precision, caffe.gpu)]
