"""Run `caffe train` with a progress bar, and keep its log in build/logs.

The flags are those of `caffe train`. The log is named as the snapshots; an earlier log of that name becomes
NAME.log.1, .2 and so on, and a run that resumes (-snapshot) adds to it. Ctrl-C saves a snapshot and stops.
If this command is killed, `caffe` ends too. The exit status is that of `caffe`.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import argparse
import collections
import ctypes
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from tqdm import tqdm

from tools import caffe_log
from two_stream_fusion.base import cli
from two_stream_fusion.base.files import check_output

EXAMPLES = """examples:
  python tools/train.py -solver solver/adam.prototxt -gpu 0
  python tools/train.py -solver solver/adam.prototxt -snapshot build/snapshots/adam_iter_5000.solverstate
  python tools/train.py --caffe build/bvlc/bin/caffe -solver solver/adam.prototxt
"""
LOGS = Path("build/logs")
LAST_LINES = 8  # of the log, shown after a failure

# Lines that BVLC Caffe and caffe_torch both write.
_MAX_ITER = re.compile(r"^max_iter: (\d+)")
_PREFIX = re.compile(r"""^\s*snapshot_prefix:\s*["'](?:[^"']*/)?([^"'/]+)["']""", re.M)
_ITERATION = re.compile(r"\] Iteration (\d+)\b")


class Progress:
    """Shows how far a training is, by its log: a bar on a terminal, a line for each test."""

    def __init__(self, name: str):
        self._name, self._bar, self._total, self._tested, self._loss = name, None, None, 0, None
        self._on_terminal = sys.stderr.isatty()

    def read(self, line: str) -> None:
        """Take one line of the log."""
        match = _MAX_ITER.search(line)
        if match and self._total is None:
            self._total = int(match[1])
        trained = caffe_log.training_loss(line)
        if trained:
            self._loss = trained[1]
        match = _ITERATION.search(line)
        if match:
            self._move(int(match[1]))
        tested = caffe_log.tested_iteration(line)
        if tested is not None:
            self._tested = tested
        validation = caffe_log.validation_loss(line)
        if validation is not None:
            self._report(validation)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def _move(self, iteration):
        if not self._on_terminal:
            return
        if self._bar is None:  # a run that resumes begins here, and the time left is reckoned from here
            self._bar = tqdm(desc=self._name, total=self._total, initial=iteration, unit=" it", leave=True)
        self._bar.update(max(0, iteration - self._bar.n))
        if self._loss is not None:
            self._bar.set_postfix_str(f"loss {self._loss:.4g}")

    def _report(self, validation):
        training = "" if self._loss is None else f"training loss {self._loss:.4g}, "
        of_total = f" of {self._total}" if self._total else ""
        text = f"  iteration {self._tested}{of_total}: {training}validation loss {validation:.4g}"
        if self._on_terminal:
            tqdm.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)


def keep_earlier_log(log: Path) -> None:
    """Rename a log to the first free name of LOG.1, LOG.2, ..."""
    number = 1
    while log.with_name(f"{log.name}.{number}").exists():
        number += 1
    if log.exists():
        log.rename(log.with_name(f"{log.name}.{number}"))


def train(flags: list[str], caffe: str = "caffe", log: Path | None = None) -> int:
    """Run `caffe train`, show its progress on stderr, and write what it prints to a log.

    Args:
        flags: the flags of `caffe train`.
        caffe: the command, with arguments of its own where it has some.
        log: the log; by default build/logs/NAME.log, NAME being that of the snapshots.

    Returns:
        The exit status of `caffe`; 128 and the number of the signal that ended it.

    Raises:
        OSError: the command cannot be run, or the log not be written.
        ValueError: no solver is named, or the log is a FIFO or a device.
    """
    solver = _flag(flags, "solver")
    if not solver:
        raise ValueError("which net? -solver names a solver file, as solver/adam.prototxt")
    name = training_name(solver)
    log = log or LOGS / f"{name}.log"
    check_output(log, force=True)  # a device would be renamed as an earlier log is
    log.parent.mkdir(parents=True, exist_ok=True)
    resumes = _flag(flags, "snapshot")
    last = collections.deque(maxlen=LAST_LINES)
    progress = Progress(name)
    command = [*shlex.split(caffe), "train", *flags]
    on_linux = sys.platform == "linux"
    with _signals_for_caffe():
        # Before the log is touched: a command that cannot be run leaves it as it is.
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=without_glog(),
            preexec_fn=_end_with_parent if on_linux else None,
        )
        try:
            if not resumes:
                keep_earlier_log(log)
            with open(log, "ab" if resumes else "wb", buffering=0) as file, process.stdout as lines:
                for line in lines:
                    file.write(line)
                    text = line.decode("utf-8", "replace").rstrip()
                    last.append(text)
                    progress.read(text)
            status = process.wait()
        except BaseException:  # SIGTERM, or a log that cannot be written
            process.terminate()
            raise
    progress.close()
    if status:
        print(*last, f"{caffe} ended with status {status}; its log: {log}", sep="\n", file=sys.stderr)
    return status if status >= 0 else 128 - status


def training_name(solver: str) -> str:
    """The name of a training: that of its snapshots, or of the solver file where it names none."""
    try:
        text = Path(solver).read_text(errors="replace")
    except OSError:  # `caffe` says what is wrong with it
        text = ""
    prefix = _PREFIX.search(text)
    return Path(prefix[1]).name if prefix else Path(solver).stem


def without_glog() -> dict[str, str]:
    """The environment without GLOG_*, which would keep Caffe's lines out of a log."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GLOG_")}


def add_caffe_option(parser: argparse.ArgumentParser) -> None:
    """Add --caffe, the command that trains."""
    beside = Path(sys.executable).with_name("caffe")
    parser.add_argument(
        "--caffe",
        metavar="COMMAND",
        default=shlex.quote(str(beside)) if os.access(beside, os.X_OK) else "caffe",
        help="the command that trains (default: `caffe` in the folder of this Python)",
    )


def _flag(flags, name):
    """The value of `-name VALUE`, `--name VALUE` or `-name=VALUE`; None where it is not given."""
    for flag, following in zip(flags, [*flags[1:], None]):
        key, equals, value = flag.partition("=")
        if key in (f"-{name}", f"--{name}"):
            return value if equals else following
    return None


def _end_with_parent() -> None:
    """Let Linux end this process by SIGTERM when its parent has ended, by SIGKILL too: prctl(2)."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


@contextmanager
def _signals_for_caffe() -> Iterator[None]:
    """Stay alive at Ctrl-C: a terminal sends SIGINT to `caffe` too, which saves a snapshot and ends.

    The handler does nothing. It is no SIG_IGN, which `caffe` would inherit. Where a shell has started this in
    the background, SIGINT is ignored already and stays so. SIGTERM becomes an exception.
    """
    terminate = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    before = signal.getsignal(signal.SIGINT)
    if before != signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, terminate)


def main(argv: list[str] | None = None) -> int:
    parser = cli.parser(__doc__, EXAMPLES)
    parser.allow_abbrev = False  # -snapshot and others are for `caffe`
    add_caffe_option(parser)
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="default: build/logs/NAME.log, named as the snapshots"
    )
    args, flags = parser.parse_known_args(argv)
    return train(flags, args.caffe, args.log)


if __name__ == "__main__":
    cli.run(main)
