"""Time training and inference of a net in BVLC Caffe and in caffe_torch, one after the other in turns.

Machines drift, so the two run alternately and the ratio of the medians is what to read.
"""

from __future__ import annotations

import two_stream_fusion.base.cli  # noqa: F401

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
from two_stream_fusion.base import cli, markdown_tables

EXAMPLES = """examples:
  python tools/bench.py                     what `make bench` runs
  python tools/bench.py --net 2-1-2_f32_k3 --rounds 5
  python tools/bench.py --gpu 0 --batch 16 256 --side 2048
  python tools/bench.py --megapixels 6      fuse.py and enfuse on a pair of photographs
"""
# Prints the billions of products and sums a second of the device's matrix product: the better of two
# libraries, the one behind `@` and the one behind convolutions, as a 1x1 convolution.
MATRIX_PRODUCT = """
import sys, time
import torch
precision, gpu = sys.argv[1:]
device, side = ("cuda:" + gpu, 8192) if gpu else ("cpu", 2048)
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
image = a.reshape(1, 32, side // 32, side).permute(0, 3, 1, 2)
filters = b.reshape(side, side, 1, 1)
def seconds(product):
    start = time.perf_counter()
    product()
    if gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - start
products = [lambda: a @ b, lambda: torch.conv2d(image, filters)]
with torch.no_grad():
    print(2 * side**3 / min(seconds(product) for _ in range(4) for product in products) / 1e9)
"""
# Prints seconds of the median forward pass, the peak memory in MB of the process, or of PyTorch on a GPU, and
# the products and sums for one pixel: of all layers, and of those that read the two images.
INFERENCE = """
import resource, statistics, sys, time
import numpy as np
import caffe
deploy, side, precision, gpu = sys.argv[1:]
side = int(side)
if gpu:
    caffe.set_device(int(gpu))
    caffe.set_mode_gpu()
net = caffe.Net(deploy, caffe.TEST)
if precision:
    caffe.set_precision(precision)
for name in "ab":
    net.blobs[name].reshape(1, 4, side, side)
net.reshape()
for name in "ab":
    net.blobs[name].data[...] = np.random.rand(1, 4, side, side)
seconds = []
for _ in range(7):
    start = time.perf_counter()
    net.forward()
    seconds.append(time.perf_counter() - start)
work = {name: 2 * blobs[0].data.size for name, blobs in net.params.items()}
first = sum(work[name] for name in work if name.startswith("conv1_"))
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
if gpu:
    import torch
    memory = torch.cuda.max_memory_allocated() / 1e6
print(statistics.median(seconds), memory, sum(work.values()), first)
"""


def programs(gpu=None):
    """{label: (folder of `caffe` and `python`, precision)} of what there is to compare, BVLC's on a CPU."""
    here = Path(sys.executable).parent
    ours = {"caffe_torch": (here, "float32"), "caffe_torch, bfloat16": (here, "bfloat16")}
    if gpu is not None:
        return {**ours, "caffe_torch, tf32": (here, "tf32")}
    bvlc = Path(os.environ.get("BVLC_CAFFE", ROOT / "build/bvlc")) / "bin"
    return {**({"BVLC Caffe": (bvlc, None)} if (bvlc / "caffe").exists() else {}), **ours}


def model(net, batch, folder):
    """The train_val.prototxt of a net, written to a folder with batches of that size."""
    path = ROOT / "prototxt" / net / "train_val.prototxt"
    text, changed = re.subn(r"batch_size: \d+", f"batch_size: {batch}", path.read_text(encoding="utf-8"))
    if not changed:
        raise ValueError(f"{path}: has no batch_size")
    path = Path(folder, "train_val.prototxt")
    path.write_text(text, encoding="utf-8")
    return path


def run(command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise OSError(failure(command, done))
    return done


def failure(command, done):
    """What a command that ended with an error said last; done: with its returncode and stderr."""
    said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return f"{command[0]}: {said[-1]}"


def measured(command):
    """(seconds, seconds of all cores together, peak memory in MB) of a command, as `run` runs it."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.DEVNULL, stderr=errors, cwd=ROOT
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1
        if process.returncode:
            errors.seek(0)
            ended = subprocess.CompletedProcess(command, process.returncode, stderr=errors.read())
            raise OSError(failure(command, ended))
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def training(folder, precision, model, gpu=None, iterations=None):
    """Milliseconds of a forward and backward pass over a batch, as `caffe time` measures them.

    On a GPU it is an iteration of `caffe train`, by its log: that does not wait between the layers.
    iterations: how many are timed (default: 5, or 500 on a GPU).
    """
    if gpu is None:
        command = [folder / "caffe", "time", "-model", model, "-iterations", iterations or 5]
        log = run(command + flags(precision, gpu)).stderr
        return float(re.search(r"Average Forward-Backward: (\S+) ms", log)[1])
    iterations = iterations or 500
    solver = Path(model).with_name("timed.prototxt")
    solver.write_text(
        f'net: "{model}" type: "Adam" base_lr: 1e-5 lr_policy: "fixed" display: {iterations} '
        f"max_iter: {2 * iterations + 1} snapshot_after_train: false"
    )
    log = run([folder / "caffe", "train", "-solver", solver, *flags(precision, gpu)]).stderr
    return 1e3 / float(re.findall(r"\((\S+) iter/s", log)[-1])


def flags(precision, gpu):
    """The flags of `caffe` for a precision and the number of a GPU, None for its own choice and the CPU."""
    return [*(["-precision", precision] if precision else []), *([] if gpu is None else ["-gpu", str(gpu)])]


def inference(folder, precision, net, side, gpu=None):
    """Milliseconds of a forward pass over side x side pixels, peak memory in MB, work for a pixel."""
    command = [folder / "python", "-c", INFERENCE, f"prototxt/{net}/deploy.prototxt", side, precision or ""]
    seconds, *rest = map(float, run([*command, "" if gpu is None else gpu]).stdout.split())
    return (1e3 * seconds, *rest)


def matrix_product(precision, gpu=None):
    """Billions of products and sums a second in a product of two large square matrices, by PyTorch."""
    command = [sys.executable, "-c", MATRIX_PRODUCT, precision or "float32", "" if gpu is None else gpu]
    return float(run(command).stdout)


def photographs(megapixels, rounds):
    """{command: [what `measured` gives, the seconds for a megapixel]} of fusing a pair as a user does, from
    start to written file, in turns; and how far bfloat16 is from float32, in levels: mean and largest.
    """
    import cv2

    from data_prep import depth_pair
    from two_stream_fusion.io import images

    scale = (megapixels * 1e6 / (500 * 741)) ** 0.5
    pair = [
        cv2.resize(x, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for x in depth_pair.pair()[:2]
    ]
    size = pair[0].shape[0] * pair[0].shape[1] / 1e6
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        sources = [f"{folder}/{name}.tif" for name in "ab"]
        for path, image in zip(sources, pair):
            images.write(path, image)
        commands = {
            f"fuse.py {words}".strip(): [
                sys.executable,
                ROOT / "tools/fuse.py",
                *words.split(),
                "-q",
                "--force",
            ]
            for words in (
                "",
                "--precision bfloat16",
                "--refine select",
                "--fast",
                "--method lp",
                "--method gf",
            )
        }
        bvlc = Path(os.environ.get("BVLC_CAFFE", ROOT / "build/bvlc")) / "bin/python"
        if bvlc.exists():
            commands["fuse.py under BVLC Caffe"] = [bvlc, ROOT / "tools/fuse.py", "-q", "--force"]
        if shutil.which("enfuse"):
            weights = ["--exposure-weight=0", "--saturation-weight=0", "--contrast-weight=1"]
            commands["enfuse --hard-mask"] = ["enfuse", "-v0", "--hard-mask", *weights]
        for turn in range(rounds):
            for name, command in commands.items():
                print(f"turn {turn + 1} of {rounds}: {name}", file=sys.stderr)
                seconds, work, memory = measured([*command, *sources, "-o", f"{folder}/{name}.tif"])
                found.setdefault(name, []).append((seconds / size, work / size, memory))
        exact, rough = (images.read(f"{folder}/{name}.tif") for name in list(commands)[:2])
        apart = cv2.absdiff(exact, rough)
    return found, (float(apart.mean()), int(apart.max()))


def gpu_name(gpu):
    """What GPU number `gpu` is."""
    import torch

    return torch.cuda.get_device_name(gpu)


def refuse_strides(net):
    """ValueError for a net of prototxt/ whose layers have strides: their work is not counted here."""
    from caffe.proto import caffe_pb2

    from two_stream_fusion.methods import models, two_stream

    path = ROOT / "prototxt" / net / "deploy.prototxt"
    two_stream.refuse_strides(models.read_prototxt(path, caffe_pb2.NetParameter()), path)


def patch_side():
    """The side of the patches in build/data."""
    import h5py

    with h5py.File(ROOT / (ROOT / "build/data/train.txt").read_text().split()[0], "r") as file:
        return file["a"].shape[-1]


def main(argv=None):
    parser = cli.parser(__doc__, EXAMPLES)
    parser.add_argument("--net", default="2-1-2_f64_k5", help="a net of prototxt/ (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default: %(default)s)")
    parser.add_argument("--iterations", type=int, help="batches in a turn (default: 5, on a GPU 500)")
    parser.add_argument(
        "--batch",
        type=int,
        nargs="+",
        default=[16],
        metavar="N",
        help="patches in a batch, for each a row (default: 16)",
    )
    parser.add_argument("--side", type=int, default=512, help="of the image fused (default: %(default)s)")
    parser.add_argument("--gpu", type=int, metavar="N", help="the GPU to run on (default: the CPU)")
    parser.add_argument(
        "--megapixels",
        type=float,
        metavar="M",
        help="time instead whole commands that fuse a pair of that size, enfuse too where it is installed",
    )
    args = parser.parse_args(argv)
    for name in ("rounds", "iterations", "batch", "side", "megapixels"):
        given = getattr(args, name)
        for value in given if name == "batch" else [given]:
            if value is not None and value <= 0:
                parser.error(f"--{name} {value:g}: more than 0")
    if args.megapixels:
        print(f"a pair of {args.megapixels:g} megapixels, 8 bit colour TIFF, {os.cpu_count()} cores,")
        print(f"median of {args.rounds} turns\n")
        print(markdown_tables.markdown(["command", "s a megapixel", "of CPU", "peak MB"], []), end="")
        found, (mean, largest) = photographs(args.megapixels, args.rounds)
        for name, turns in found.items():
            seconds, work, memory = map(statistics.median, zip(*turns))
            print(markdown_tables.row([f"`{name}`", f"{seconds:.2f}", f"{work:.2f}", f"{memory:.0f}"]))
        print(f"\nbfloat16 differs from float32 by {mean:.2f} levels of 255 in the mean, {largest} at most")
        return 0
    refuse_strides(args.net)
    compared = programs(args.gpu)
    if args.gpu is None and "BVLC Caffe" not in compared:
        print("no BVLC Caffe in build/bvlc (make bvlc-caffe): caffe_torch alone", file=sys.stderr)
    fuse, memory, ceiling = ({label: [] for label in compared} for _ in range(3))
    train = {(label, batch): [] for label in compared for batch in args.batch}
    with tempfile.TemporaryDirectory() as temporary:
        for turn in range(args.rounds):
            for label, (folder, precision) in compared.items():
                print(f"turn {turn + 1} of {args.rounds}: {label}", file=sys.stderr)
                for batch in args.batch:
                    path = model(args.net, batch, temporary)
                    figure = training(folder, precision, path, args.gpu, args.iterations)
                    train[label, batch].append(figure)
                milliseconds, megabytes, work, first_work = inference(
                    folder, precision, args.net, args.side, args.gpu
                )
                fuse[label].append(milliseconds)
                memory[label].append(megabytes)
                ceiling[label].append(matrix_product(precision, args.gpu))
    # Backward is twice the work of forward, but for the gradient of the images, which nobody needs.
    patch_flops, image_flops = (3 * work - first_work) * patch_side() ** 2, work * args.side**2
    first = next(iter(compared))
    where = f"{os.cpu_count()} cores" if args.gpu is None else gpu_name(args.gpu)
    print(f"{args.net}, {where}, medians of {args.rounds} turns; x: times {first};")
    print("%: of what the product of two large matrices reaches in the same precision")
    header = ["", "batch", "training, ms a batch", "patches a second", "x", "%"]
    header += [f"{args.side}x{args.side} forward, ms", "x", "%", "peak MB"]
    rows = []

    def cells(figures, before, flops, label, batch=None):
        """Milliseconds, patches a second where they are of a batch, times the first, share of the ceiling."""
        median, rate = statistics.median(figures), statistics.median(ceiling[label])
        yield f"{median:.0f}" if median >= 10 else f"{median:.2g}"
        if batch:
            yield f"{1e3 * batch / median:.0f}"
        yield f"{statistics.median(before) / median:.1f}"
        yield f"{100 * flops / (median * 1e6) / rate:.0f}"

    for batch in args.batch:
        for label in compared:
            row = [label, str(batch)]
            row += cells(train[label, batch], train[first, batch], patch_flops * batch, label, batch)
            if batch == args.batch[0]:
                row += [*cells(fuse[label], fuse[first], image_flops, label), f"{max(memory[label]):.0f}"]
            else:
                row += [""] * 4
            rows.append(row)
    print(markdown_tables.markdown(header, rows), end="")
    return 0


if __name__ == "__main__":
    cli.run(main)
