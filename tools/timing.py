"""Time Caffe's training and inference, and run programs: for benchmarks, experiments and releases."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Mapping, NamedTuple, Sequence

ROOT = Path(__file__).resolve().parents[1]
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
# Prints the median seconds of a forward pass, the peak memory in MB (of the process, or of PyTorch on a GPU),
# and the products and sums for one pixel: of all layers, and of those that read the two images.
INFERENCE = """
import statistics, sys, time
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
memory = 1024 * int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) / 1e6
if gpu:
    import torch
    memory = torch.cuda.max_memory_allocated() / 1e6
print(statistics.median(seconds), memory, sum(work.values()), first)
"""


class Inference(NamedTuple):
    """What `time_inference` returns."""

    milliseconds: float  # median of a forward pass
    megabytes: float  # peak memory of the process, or of PyTorch on a GPU
    work: float  # products and sums for one pixel
    first_work: float  # those of the layers that read the two images


def run_command(
    command: Sequence[object], variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess:
    """Run a command in the repository's root.

    Args:
        command: a program and its arguments.
        variables: environment variables beside those of this process.

    Returns:
        The completed process with its output as text.

    Raises:
        OSError: it failed; the message has the last line of its stderr.
    """
    environment = {**os.environ, **(variables or {})}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT, env=environment)
    if done.returncode:
        raise OSError(failure_message(command, done.returncode, done.stderr))
    return done


def run_logged(
    command: Sequence[str],
    name: str,
    output: Path,
    errors: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command, and write what it prints to files, whose folders are made where they are missing.

    Args:
        command: a program and its arguments.
        name: of the command, in the message.
        output: the file of its standard output.
        errors: the file of its standard error; None for that of its output.
        environment: all its environment variables; None for those of this process.

    Raises:
        ValueError: it failed; the message names its log, that of its errors, and the last line there.
        OSError: it cannot be run, or a file not be written.
    """
    log = errors or output
    for path in (output, log):
        path.parent.mkdir(parents=True, exist_ok=True)
    with open(output, "wb") as stdout, open(errors or os.devnull, "wb") as stderr:
        status = subprocess.call(
            command, stdout=stdout, stderr=stderr if errors else subprocess.STDOUT, env=environment
        )
    if status:
        last = log.read_text(errors="replace").strip().rpartition("\n")[2]
        raise ValueError(f"{name} ended with status {status}: {last} (log: {log})")


def cpu_seconds(command: Sequence[object]) -> float:
    """Run a command on one thread and measure its CPU time, which other programs hardly change.

    Args:
        command: a program and its arguments.

    Returns:
        User and system time.

    Raises:
        OSError: the command failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_command(command, {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def failure_message(command: Sequence[object], status: int, stderr: str) -> str:
    """Describe why a program failed.

    Args:
        command: the program and its arguments.
        status: its exit status.
        stderr: what it printed there.

    Returns:
        The program and the last line of `stderr`, or the exit status where it printed none.
    """
    lines = stderr.strip().splitlines() or [f"exit status {status}"]
    return f"{command[0]}: {lines[-1]}"


def bvlc_folder() -> Path:
    """Where the `caffe` and `python` of BVLC Caffe are, if it is installed: in BVLC_CAFFE, or build/bvlc."""
    return Path(os.environ.get("BVLC_CAFFE", ROOT / "build/bvlc")) / "bin"


def caffe_flags(precision: str | None, gpu: int | str | None) -> list[str]:
    """The flags of `caffe` for a precision and a GPU; None for Caffe's own choice and the CPU.

    Args:
        precision: as of `caffe`'s -precision.
        gpu: the number of the GPU.

    Returns:
        The flags.
    """
    return [*(["-precision", precision] if precision else []), *([] if gpu is None else ["-gpu", str(gpu)])]


def time_training(
    folder: Path, precision: str | None, model: Path, gpu: int | None = None, iterations: int | None = None
) -> float:
    """Time a forward and backward pass over a batch.

    On a CPU this is `caffe time`. On a GPU it is per iteration of `caffe train`, by its log: that does not
    wait between the layers.

    Args:
        folder: where the program `caffe` is.
        precision: None for Caffe's own.
        model: a train_val.prototxt.
        gpu: the number of a GPU; None for the CPU.
        iterations: how many are timed; None for 5, or 500 on a GPU.

    Returns:
        Milliseconds a batch.

    Raises:
        OSError: `caffe` failed.
    """
    if gpu is None:
        command = [folder / "caffe", "time", "-model", model, "-iterations", iterations or 5]
        log = run_command(command + caffe_flags(precision, gpu)).stderr
        return float(re.search(r"Average Forward-Backward: (\S+) ms", log)[1])
    iterations = iterations or 500
    solver = Path(model).with_name("timed.prototxt")
    solver.write_text(
        f'net: "{model}" type: "Adam" base_lr: 1e-5 lr_policy: "fixed" display: {iterations} '
        f"max_iter: {2 * iterations + 1} snapshot_after_train: false"
    )
    log = run_command([folder / "caffe", "train", "-solver", solver, *caffe_flags(precision, gpu)]).stderr
    return 1e3 / float(re.findall(r"\((\S+) iter/s", log)[-1])


def time_inference(
    folder: Path, precision: str | None, net: str, side: int, gpu: int | None = None
) -> Inference:
    """Time a forward pass over side x side pixels.

    Args:
        folder: where `python` with pycaffe is.
        precision: None for Caffe's own.
        net: a folder of prototxt/.
        side: height and width in pixels.
        gpu: the number of a GPU; None for the CPU.

    Returns:
        Time, memory and work.

    Raises:
        OSError: the program failed.
    """
    deploy = f"prototxt/{net}/deploy.prototxt"
    command = [folder / "python", "-c", INFERENCE, deploy, side, precision or "", "" if gpu is None else gpu]
    seconds, *rest = map(float, run_command(command).stdout.split())
    return Inference(1e3 * seconds, *rest)


def time_matrix_product(precision: str | None, gpu: int | None = None) -> float:
    """Time a product of two large square matrices by PyTorch.

    Args:
        precision: as of `caffe`'s -precision; None for float32.
        gpu: the number of the GPU; None for the CPU.

    Returns:
        Billions of products and sums a second.
    """
    command = [sys.executable, "-c", MATRIX_PRODUCT, precision or "float32", "" if gpu is None else gpu]
    return float(run_command(command).stdout)


def describe_device(gpu: int | None) -> str:
    """The timed device: a GPU by its number, else the number of threads and the processor's name."""
    if gpu is not None:
        return f"GPU {gpu}"
    threads, cpu = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)), Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.+)", cpu.read_text()) if cpu.is_file() else None
    return f"{threads} thread{'s' * (threads > 1)} of {model[1] if model else platform.machine()}"
