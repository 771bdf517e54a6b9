"""The `caffe` command: train, test, time and device_query with the flags of BVLC Caffe, and export."""

import os
import sys
import time

import torch

from . import __version__, command_line, device, glog, onnx_export, parallel
from .net import TEST, TRAIN, Net
from .signals import EFFECTS, Signals
from .solver_nets import read_solver
from .training import Solver, loss_note

USAGE = """usage: caffe <command> <flags>

commands:
  train           train or finetune a model
  test            score a model
  time            benchmark a model's layers
  export          write a deploy net and its weights as an ONNX model
  device_query    show GPU diagnostic information

flags (-flag value, -flag=value, and the same with two dashes; -flag and -noflag for true and false):
{flags}

examples:
  caffe train -solver solver.prototxt -gpu 0
  caffe train -solver solver.prototxt -snapshot run_iter_5000.solverstate
  caffe test -model train_val.prototxt -weights run_iter_5000.caffemodel -iterations 100
  caffe time -model deploy.prototxt -iterations 10
  caffe export -model deploy.prototxt -weights run_iter_5000.caffemodel -output net.onnx
"""

# name: (default, description)
FLAGS = {
    "solver": ("", "the solver prototxt (train)"),
    "snapshot": ("", "a .solverstate to resume from (train)"),
    "weights": ("", "initial weights (train), or weights to score or export; several separated by commas"),
    "model": ("", "the net prototxt (test, time, export)"),
    "output": ("", "the ONNX model to write (export)"),
    "iterations": (50, "the number of batches (test, time)"),
    "gpu": ("", "the GPU to run on; several with commas, or all (train); the CPU if absent"),
    "phase": ("", "TRAIN or TEST (time)"),
    "level": (0, "network level"),
    "stage": ("", "network stages, separated by commas"),
    "sigint_effect": ("stop", "the effect of Ctrl-C: snapshot, stop or none (train)"),
    "sighup_effect": ("snapshot", "the effect of SIGHUP: snapshot, stop or none (train)"),
    "batch": (0, "rows in a training batch; overrides the net's (train; not a flag of Caffe's)"),
    "precision": ("float32", f"{', '.join(device.PRECISIONS)} (not a flag of Caffe's)"),
    "version": (False, "show the version of Caffe that this package follows"),
    **glog.FLAGS,
}


def usage() -> str:
    """Format the usage text.

    Returns:
        What `caffe` prints without a command.
    """
    lines = [f"  -{name:15s} {text}" for name, (_, text) in FLAGS.items()]
    return USAGE.format(flags="\n".join(lines))


def parse(arguments: list) -> tuple:
    """Parse the command line.

    Args:
        arguments: the words after `caffe`.

    Returns:
        The command, or None for the usage text; and {flag: value}.

    Raises:
        ValueError: a flag is unknown, a value has the wrong type, the log folder cannot be written to, or
            there is more than one command.
    """
    flags = {name: default for name, (default, _) in FLAGS.items()}
    for name in glog.FLAGS:
        if text := os.environ.get(f"GLOG_{name}"):
            flags[name] = command_line.value(text, flags[name], f"GLOG_{name}")
    words, flags = command_line.parse(arguments, flags)
    if words is None:
        return None, flags
    folder = flags["log_dir"]
    writable = os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)
    if folder and not flags["logtostderr"] and not writable:
        raise ValueError(f"-log_dir {folder}: not a folder that can be written to")
    if len(words) > 1:
        raise ValueError(f"one command at a time, not {' '.join(words)!r}")
    return (words[0] if words else None), flags


def _require(flags, *names):
    for name in names:
        if not flags[name]:
            raise ValueError(f"this command needs -{name}")


def _stages(flags):
    return flags["stage"].split(",")  # without the flag: one stage with an empty name, as in Caffe


def _phase(flags):
    phases = {"": TRAIN, "TRAIN": TRAIN, "TEST": TEST}
    if flags["phase"] not in phases:
        raise ValueError(f"-phase {flags['phase']}: use TRAIN or TEST")
    return phases[flags["phase"]]


def _iterations(flags):
    if flags["iterations"] < 1:
        raise ValueError(f"-iterations {flags['iterations']}: use 1 or more")
    return flags["iterations"]


def _gpus(flags):
    """The indices of the GPUs that -gpu names."""
    if flags["gpu"] == "all":
        return list(range(torch.cuda.device_count())) or [0]
    numbers = flags["gpu"].split(",") if flags["gpu"] else []
    if not all(number.isdigit() for number in numbers):
        raise ValueError(f"-gpu {flags['gpu']}: give the number of a GPU, several with commas, or all")
    indices = list(map(int, numbers))
    if len(set(indices)) < len(indices):
        raise ValueError(f"-gpu {flags['gpu']}: names a GPU twice")
    return indices


def _choose_device(gpus, flags):
    if gpus:
        device.set_device(gpus[0])
        device.set_mode_gpu()
        glog.info(f"Using GPUs {', '.join(map(str, gpus))}")
        glog.info(f"GPU {gpus[0]}: {torch.cuda.get_device_name(gpus[0])}")
    else:
        device.set_mode_cpu()
        glog.info("Use CPU.")
    device.set_precision(flags["precision"])
    if device.precision() != "float32":
        glog.info(f"Precision: {device.precision()}")


def train(flags: dict) -> int:
    """Train a net by a solver prototxt.

    Args:
        flags: the values that `parse` returns.

    Returns:
        The exit status.

    Raises:
        ValueError: a flag, the solver, the net or the data is wrong.
        OSError: a file cannot be read or written.
        FloatingPointError: the loss is NaN or infinite.
        ProcessLost: another process of the training has ended.
    """
    _require(flags, "solver")
    if flags["snapshot"] and flags["weights"]:
        raise ValueError("give -snapshot to resume or -weights to start from, not both")
    for name in ("sigint_effect", "sighup_effect"):
        if flags[name] not in EFFECTS:
            raise ValueError(f"-{name} {flags[name]}: use {', '.join(EFFECTS)}")
    if flags["batch"] < 0:
        raise ValueError(f"-batch {flags['batch']}: use 1 or more")
    param = read_solver(flags["solver"])
    gpus = _gpus(flags)
    if not gpus and param.HasField("solver_mode") and param.solver_mode == param.GPU:
        gpus = [param.device_id]
    if parallel.started():
        gpus = gpus and [gpus[parallel.local_rank() % len(gpus)]]
    elif len(gpus) > 1:
        missing = [gpu for gpu in gpus if gpu >= torch.cuda.device_count()]
        if missing:
            _choose_device(missing, flags)  # raises the error that says what to do
        return parallel.launch(["train", *(f"-{name}={value}" for name, value in flags.items())], len(gpus))
    _choose_device(gpus, flags)
    if parallel.started():
        parallel.join()
    param.train_state.level = flags["level"]
    param.train_state.stage.extend(_stages(flags))
    if flags["weights"]:
        param.weights[:] = [flags["weights"]]
    solver = Solver(param, flags["solver"], flags["batch"])
    if flags["snapshot"]:
        glog.info(f"Resuming from {flags['snapshot']}")
        solver.restore(flags["snapshot"])
    with Signals(flags["sigint_effect"], flags["sighup_effect"]) as solver.action:
        glog.info("Starting Optimization")
        solver.solve()
    glog.info("Optimization Done.")
    parallel.leave()
    return 0


def test(flags: dict) -> None:
    """Score a net on batches of its test data.

    Args:
        flags: the values that `parse` returns.

    Raises:
        ValueError: a flag, the net, the weights or the data is wrong.
        OSError: a file cannot be read.
    """
    _require(flags, "model", "weights")
    iterations = _iterations(flags)
    _choose_device(_gpus(flags)[:1], flags)
    net = Net(flags["model"], TEST, flags["level"], _stages(flags))
    for weights in filter(None, flags["weights"].split(",")):
        net.copy_from(weights)
    glog.info(f"Running for {iterations} iterations.")
    sums, total = {}, 0.0
    with torch.no_grad():
        for i in range(iterations):
            total += float(net.forward_loss())
            for name in net.outputs:
                for j, value in enumerate(net.blobs[name].tensor.float().flatten().tolist()):
                    sums[name, j] = sums.get((name, j), 0.0) + value
                    glog.info(f"Batch {i}, {name} = {value:g}")
    glog.info(f"Loss: {total / iterations:g}")
    for (name, _), value in sums.items():
        mean = value / iterations
        glog.info(f"{name} = {mean:g}{loss_note(net, name, mean)}")


def time_layers(flags: dict) -> None:
    """Log the average time of every layer, forward and backward.

    Args:
        flags: the values that `parse` returns.

    Raises:
        ValueError: a flag or the net is wrong.
        OSError: a file cannot be read.
    """
    _require(flags, "model")
    phase, iterations = _phase(flags), _iterations(flags)
    _choose_device(_gpus(flags)[:1], flags)
    net = Net(flags["model"], phase, flags["level"], _stages(flags))
    for node in net.nodes:  # in nets without a loss too
        node.runs_backward = any(node.bottom_needs) or any(node.param_needs)
    last = len(net.nodes) - 1
    glog.info("Performing Forward")
    glog.info(f"Initial loss: {float(net.forward_loss()):g}")
    glog.info("Performing Backward")
    net.backward_once()
    net.debug_info = False
    glog.info("*** Benchmark begins ***")
    glog.info(f"Testing for {iterations} iterations.")
    forward, backward = [0.0] * (last + 1), [0.0] * (last + 1)
    begin = time.perf_counter()
    for i in range(iterations):
        start = time.perf_counter()
        for j in range(last + 1):
            forward[j] += _timed(net._run, j, j)
        for j in range(last, -1, -1):
            backward[j] += _timed(net._backward, j, j, False)
        glog.info(f"Iteration: {i + 1} forward-backward time: {1e3 * (time.perf_counter() - start):g} ms.")
    glog.info("Average time per layer: ")
    for name, ahead, back in zip(net.layer_names, forward, backward, strict=True):
        glog.info(f"{name:>10s}\tforward: {1e3 * ahead / iterations:g} ms.")
        glog.info(f"{name:>10s}\tbackward: {1e3 * back / iterations:g} ms.")
    glog.info(f"Average Forward pass: {1e3 * sum(forward) / iterations:g} ms.")
    glog.info(f"Average Backward pass: {1e3 * sum(backward) / iterations:g} ms.")
    glog.info(f"Average Forward-Backward: {1e3 * (sum(forward) + sum(backward)) / iterations:g} ms.")
    glog.info(f"Total Time: {1e3 * (time.perf_counter() - begin):g} ms.")
    glog.info("*** Benchmark ends ***")


def _timed(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    if device.device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def export(flags: dict) -> None:
    """Write a deploy net and its weights as an ONNX model.

    Args:
        flags: the values that `parse` returns.

    Raises:
        ValueError: a flag or the net is wrong, or ONNX has no such layer.
        OSError: a file cannot be read or written.
    """
    _require(flags, "model", "weights", "output")
    weights = filter(None, flags["weights"].split(","))
    onnx_export.export(flags["model"], weights, flags["output"], flags["level"], _stages(flags))
    glog.info(f"Wrote {flags['output']}")


def device_query(flags: dict) -> None:
    """Log the properties of the GPUs.

    Args:
        flags: the values that `parse` returns.

    Raises:
        ValueError: there is no GPU, or none of a requested index.
    """
    glog.info(f"Querying GPUs {flags['gpu']}")
    if not torch.cuda.is_available():
        raise ValueError(f"no CUDA GPU: PyTorch {torch.__version__} sees none on this machine")
    for i in _gpus(flags) or range(torch.cuda.device_count()):
        if i >= torch.cuda.device_count():
            raise ValueError(f"there is no GPU {i}: this machine has {torch.cuda.device_count()}")
        properties = torch.cuda.get_device_properties(i)
        glog.info(f"Device id:                     {i}")
        glog.info(f"Major revision number:         {properties.major}")
        glog.info(f"Minor revision number:         {properties.minor}")
        glog.info(f"Name:                          {properties.name}")
        glog.info(f"Total global memory:           {properties.total_memory}")
        glog.info(f"Number of multiprocessors:     {properties.multi_processor_count}")


COMMANDS = {"train": train, "test": test, "time": time_layers, "export": export, "device_query": device_query}


def main(arguments: list | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the words after `caffe`; those of the process by default.

    Returns:
        The exit status.
    """
    return command_line.run(_run, sys.argv[1:] if arguments is None else arguments)


def _run(arguments):
    command, flags = parse(arguments)
    if flags["version"]:
        print(f"caffe version {__version__}")
        return 0
    if command is None:
        print(usage())
        return 0
    if command not in COMMANDS:
        raise ValueError(f"unknown command {command!r}: use one of {', '.join(COMMANDS)}")
    with glog.of_command(flags):  # its errors are lines of its log
        return command_line.run(COMMANDS[command], flags)


if __name__ == "__main__":
    sys.exit(main())
