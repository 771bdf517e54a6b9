"""Time training and inference of a net in BVLC Caffe and in caffe_torch, in turns.

The speed of a machine drifts. The two therefore run alternately, and the ratio of the medians is the result.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import os
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Mapping, NamedTuple, Sequence

from tools import small_nets, timing
from two_stream_fusion.base import cli, markdown_tables

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = """examples:
  python tools/bench_caffe.py                     what `make bench` runs
  python tools/bench_caffe.py --net 2-1-2_f32_k3 --rounds 5
  python tools/bench_caffe.py --nets small        a logistic regression and LeNet
  python tools/bench_caffe.py --gpu 0 --batch 16 256 --side 2048
"""


class Program(NamedTuple):
    """A Caffe to time."""

    folder: Path  # of `caffe` and `python`
    precision: str | None


class Measurements(NamedTuple):
    """What `measure` returns: lists of one value a turn, by the label of a program."""

    training: dict[tuple[str, int], list[float]]  # {(label, batch): milliseconds a batch}
    inference: dict[str, list[timing.Inference]]
    ceiling: dict[str, list[float]]  # billions of products and sums a second of a matrix product


def list_programs(gpu: int | None = None) -> dict[str, Program]:
    """The programs to compare, {label: program}; BVLC's on a CPU, where it is installed."""
    folder = Path(sys.executable).parent
    ours = {
        "caffe_torch": Program(folder, "float32"),
        "caffe_torch, bfloat16": Program(folder, "bfloat16"),
    }
    if gpu is not None:
        return {**ours, "caffe_torch, tf32": Program(folder, "tf32")}
    bvlc = timing.bvlc_folder()
    return {**({"BVLC Caffe": Program(bvlc, None)} if (bvlc / "caffe").exists() else {}), **ours}


def write_train_val(net: str, batch: int, folder: str | Path) -> Path:
    """Write the train_val.prototxt of a net with another batch size.

    Args:
        net: a folder of prototxt/.
        batch: patches a batch.
        folder: where the file goes.

    Returns:
        The file.

    Raises:
        ValueError: the net has no batch_size.
    """
    path = ROOT / "prototxt" / net / "train_val.prototxt"
    text, changed = re.subn(r"batch_size: \d+", f"batch_size: {batch}", path.read_text(encoding="utf-8"))
    if not changed:
        raise ValueError(f"{path}: has no batch_size")
    path = Path(folder, "train_val.prototxt")
    path.write_text(text, encoding="utf-8")
    return path


def gpu_name(gpu: int) -> str:
    """The model of a GPU."""
    import torch

    return torch.cuda.get_device_name(gpu)


def refuse_strides(net: str) -> None:
    """ValueError for a net of prototxt/ whose layers have strides: their work is not counted here."""
    from caffe.proto import caffe_pb2

    from two_stream_fusion.methods import models, two_stream

    path = ROOT / "prototxt" / net / "deploy.prototxt"
    two_stream.refuse_strides(models.read_prototxt(path, caffe_pb2.NetParameter()), path)


def patch_side() -> int:
    """The side of the patches in build/data, in pixels."""
    import h5py

    with h5py.File(ROOT / (ROOT / "build/data/train.txt").read_text().split()[0], "r") as file:
        return file["a"].shape[-1]


def measure(
    programs: Mapping[str, Program],
    net: str,
    batches: Sequence[int],
    side: int,
    rounds: int,
    gpu: int | None = None,
    iterations: int | None = None,
) -> Measurements:
    """Time all programs in turns; progress goes to stderr.

    Args:
        programs: {label: program}.
        net: a folder of prototxt/.
        batches: batch sizes to train with.
        side: height and width of the image to fuse, in pixels.
        rounds: turns of each program.
        gpu: the number of a GPU; None for the CPU.
        iterations: batches a turn, as timing.time_training takes them.

    Returns:
        All values.

    Raises:
        OSError: a program failed.
    """
    measured = Measurements(
        {(label, batch): [] for label in programs for batch in batches},
        {label: [] for label in programs},
        {label: [] for label in programs},
    )
    with tempfile.TemporaryDirectory() as temporary:
        for turn in range(rounds):
            for label, (folder, precision) in programs.items():
                print(f"turn {turn + 1} of {rounds}: {label}", file=sys.stderr)
                for batch in batches:
                    model = write_train_val(net, batch, temporary)
                    milliseconds = timing.time_training(folder, precision, model, gpu, iterations)
                    measured.training[label, batch].append(milliseconds)
                measured.inference[label].append(timing.time_inference(folder, precision, net, side, gpu))
                measured.ceiling[label].append(timing.time_matrix_product(precision, gpu))
    return measured


def measure_small(programs: Mapping[str, Program], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Time iterations of the small nets on one thread, in turns; progress goes to stderr.

    A short and a long training differ by the iterations alone: their difference has no start of a program.

    Args:
        programs: {label: program}; those in float32 take part.
        rounds: turns of each program.

    Returns:
        {net: {label: milliseconds of CPU time an iteration, one value a turn}}.

    Raises:
        OSError: a program failed.
    """
    compared = {label: program for label, program in programs.items() if program.precision != "bfloat16"}
    measured = {name: {label: [] for label in compared} for name in small_nets.NETS}
    for turn in range(rounds):
        for name, net in small_nets.NETS.items():
            with tempfile.TemporaryDirectory() as temporary:
                lengths = net.iterations, 2 * net.iterations
                solvers = [small_nets.write_solver(net, temporary, length) for length in lengths]
                for label, (folder, precision) in compared.items():
                    print(f"turn {turn + 1} of {rounds}: {net.title}, {label}", file=sys.stderr)
                    command, flags = [folder / "caffe", "train"], timing.caffe_flags(precision, None)
                    short, long = (timing.cpu_seconds([*command, "-solver", s, *flags]) for s in solvers)
                    measured[name][label].append(1e3 * (long - short) / net.iterations)
    return measured


def format_small_table(measured: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Format what `measure_small` returns as a Markdown table of medians and speeds relative to the first."""
    rows = []
    for name, by_label in measured.items():
        net, baseline = small_nets.NETS[name], statistics.median(next(iter(by_label.values())))
        for label, values in by_label.items():
            median = statistics.median(values)
            rows.append([net.title, net.batch, label, f"{median:.2g}", f"{baseline / median:.2g}"])
    return markdown_tables.markdown(["", "batch", "", "CPU ms per iteration", "x"], rows)


def format_table(measured: Measurements, batches: Sequence[int], side: int, patch: int) -> str:
    """Format measurements as a Markdown table.

    Args:
        measured: as `measure` returns them.
        batches: batch sizes, a row for each and each program.
        side: of the image fused, in pixels.
        patch: side of a training patch, in pixels.

    Returns:
        Medians, how many times as fast as the first program, and the share of a matrix product's speed in
        per cent.
    """
    labels = list(measured.inference)
    fusing = {label: [turn.milliseconds for turn in turns] for label, turns in measured.inference.items()}
    _, _, work, first_work = measured.inference[labels[-1]][-1]
    # Backward is twice the work of forward, less the gradient of the images, which is not computed.
    patch_work, image_work = (3 * work - first_work) * patch**2, work * side**2

    def cells(label, values, baseline, work, batch=None):
        median, rate = statistics.median(values), statistics.median(measured.ceiling[label])
        yield f"{median:.0f}" if median >= 10 else f"{median:.2g}"
        if batch:
            yield f"{1e3 * batch / median:.0f}"
        yield f"{statistics.median(baseline) / median:.1f}"
        yield f"{100 * work / (median * 1e6) / rate:.0f}"

    header = ["", "batch", "training, ms a batch", "patches a second", "x", "%"]
    header += [f"{side}x{side} forward, ms", "x", "%", "peak MB"]
    rows = []
    for batch in batches:
        for label in labels:
            values, baseline = measured.training[label, batch], measured.training[labels[0], batch]
            row = [label, str(batch), *cells(label, values, baseline, patch_work * batch, batch)]
            if batch == batches[0]:
                peak = max(turn.megabytes for turn in measured.inference[label])
                row += [*cells(label, fusing[label], fusing[labels[0]], image_work), f"{peak:.0f}"]
            else:
                row += [""] * 4
            rows.append(row)
    return markdown_tables.markdown(header, rows)


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = cli.parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--net", default="2-1-2_f64_k5", help="a net of prototxt/ (default: %(default)s)")
    add("--rounds", type=int, default=3, help="turns of each (default: %(default)s)")
    add("--iterations", type=int, help="batches in a turn (default: 5, on a GPU 500)")
    add("--batch", type=int, nargs="+", default=[16], metavar="N", help="patches in a batch, for each a row"
        " (default: 16)")  # fmt: skip
    add("--side", type=int, default=512, help="of the image fused (default: %(default)s)")
    add("--gpu", type=int, metavar="N", help="the GPU to run on (default: the CPU)")
    add("--nets", nargs="+", choices=("paper", "small"), default=["paper", "small"],
        help="the net of --net, or the two of tools/small_nets.py on a CPU (default: both)")  # fmt: skip
    args = parser.parse_args(argv)
    for name, values in (
        ("rounds", [args.rounds]),
        ("iterations", [args.iterations]),
        ("batch", args.batch),
        ("side", [args.side]),
    ):
        for value in values:
            if value is not None and value <= 0:
                parser.error(f"--{name} {value}: more than 0")
    if "paper" in args.nets:
        refuse_strides(args.net)
    programs = list_programs(args.gpu)
    if args.gpu is None and "BVLC Caffe" not in programs:
        print("no BVLC Caffe in build/bvlc (make bvlc-caffe): caffe_torch alone", file=sys.stderr)
    if "paper" in args.nets:
        measured = measure(programs, args.net, args.batch, args.side, args.rounds, args.gpu, args.iterations)
        machine = f"{os.cpu_count()} cores" if args.gpu is None else gpu_name(args.gpu)
        print(f"{args.net}, {machine}, medians of {args.rounds} turns; x: times {next(iter(programs))};")
        print("%: the share of the speed of a product of two large matrices in the same precision")
        print(format_table(measured, args.batch, args.side, patch_side()), end="")
    if "small" in args.nets and args.gpu is None:
        print(f"small nets, one thread, medians of {args.rounds} turns;")
        print(f"x: times {next(iter(programs))}")
        print(format_small_table(measure_small(programs, args.rounds)), end="")


if __name__ == "__main__":
    cli.run(main)
