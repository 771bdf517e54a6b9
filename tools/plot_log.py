"""Plot and tabulate the loss of `caffe train` logs: training, validation and validation PSNR."""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import math
from pathlib import Path
from typing import Iterable, List, Mapping, Tuple

from tools import caffe_log, pictures
from two_stream_fusion.base import cli, markdown_tables
from two_stream_fusion.base.files import write_text

EXAMPLES = """examples:
  caffe train -solver solver/adam.prototxt 2>&1 | tee build/logs/adam.log
  python tools/plot_log.py build/logs/adam.log -o build/adam.png
  python tools/plot_log.py build/logs/*.log -o compare.png --csv compare.csv
"""

CHANNELS = 4  # of the nets' output
Curve = List[Tuple[int, float]]


def parse(lines: Iterable[str]) -> tuple[Curve, Curve]:
    """Read the losses from a Caffe log.

    Args:
        lines: of the log.

    Returns:
        [(iteration, training loss), ...] and [(iteration, validation loss), ...]. Where iterations were
        repeated after a resume, the later value counts.
    """
    train, test, testing = {}, {}, None
    for line in lines:
        trained = caffe_log.training_loss(line)
        if trained:
            train[trained[0]] = trained[1]
        tested = caffe_log.tested_iteration(line)
        if tested is not None:
            testing = tested
        loss = caffe_log.validation_loss(line)
        if loss is not None and testing is not None:
            test[testing] = loss
    return sorted(train.items()), sorted(test.items())


def psnr(loss: float, patch: int) -> float:
    """Convert the paper's loss (Eq. 4) to a peak signal-to-noise ratio.

    Args:
        loss: for values in 0..1.
        patch: side of a patch in pixels.

    Returns:
        PSNR in dB; NaN of NaN. A loss below 0 is that of the multi-stream nets, the mean logarithm of mean
        square errors, and PSNR that of their geometric mean.
    """
    if loss < 0:
        return -10 / math.log(10) * loss
    if loss == 0 or math.isinf(loss):
        return math.inf if loss == 0 else -math.inf
    return 10 * math.log10(CHANNELS * patch * patch / loss)


def plot(logs: Mapping[str, tuple[Curve, Curve]], path: str, patch: int) -> None:
    """Draw curves into an image file.

    Args:
        logs: {name: (training, validation)}, as `parse` returns them.
        path: the file; its suffix names the format.
        patch: side of a patch in pixels.
    """
    figure, (left, right) = pictures.pyplot().subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for i, (name, (train, test)) in enumerate(logs.items()):
        colour = f"C{i}"
        left.plot(*zip(*train), color=colour, alpha=0.6, label=f"{name}, training")
        if test:
            left.plot(*zip(*test), color=colour, marker="o", label=f"{name}, validation")
            right.plot(
                [n for n, _ in test],
                [psnr(v, patch) for _, v in test],
                "o-",
                color=colour,
                label=name,
            )
    has_logarithm = any(loss < 0 for train, _ in logs.values() for _, loss in train)
    left.set(xlabel="iteration", ylabel="mean log MSE" if has_logarithm else "loss (Eq. 4)")
    left.set_yscale("linear" if has_logarithm else "log")
    right.set(xlabel="iteration", ylabel="validation PSNR (dB)")
    left.legend()
    if any(test for _, test in logs.values()):
        right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)
    pictures.save(figure, path)


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument("logs", nargs="+", metavar="LOG", help="a log of `caffe train`")
    cli.add_output(parser, "the plot (.png .pdf .svg)", required=True)
    parser.add_argument("--csv", metavar="FILE", help="also write log,iteration,set,loss,psnr")
    parser.add_argument(
        "--patch", type=int, default=50, help="side of the patches, for PSNR (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    if args.patch < 1:
        parser.error("--patch must be at least 1")
    stems = [Path(path).stem for path in args.logs]
    logs = {}
    for path, stem in zip(args.logs, stems):
        name = stem if stems.count(stem) == 1 else path
        with open(path, errors="replace") as file:
            logs[name] = parse(file)
        if not logs[name][0]:
            raise ValueError(f"{path}: no line 'Iteration N, loss = ...': not a log of caffe train")
    plot(logs, args.output, args.patch)
    if args.csv:
        rows = [
            [name, n, set_name, loss, f"{psnr(loss, args.patch):.4f}"]
            for name, curves in logs.items()
            for set_name, curve in zip(("train", "val"), curves)
            for n, loss in curve
        ]
        header = ["log", "iteration", "set", "loss", "psnr"]
        write_text(args.csv, markdown_tables.comma_separated(header, rows))
    for name, (train, test) in logs.items():
        end = f", validation {psnr(test[-1][1], args.patch):.2f} dB" if test else ""
        print(f"{name}: iteration {train[-1][0]}, loss {train[-1][1]:g}{end}")


if __name__ == "__main__":
    cli.run(main)
