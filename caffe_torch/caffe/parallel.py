"""Data-parallel training, as in Caffe: several processes, each with a GPU or a share of the CPUs.

Every process has the whole net and takes every n-th row of the data: the batch is n times as large.
Gradients are averaged over the processes. Process 0, the root, logs, tests and saves.
"""

import datetime
import os
import secrets
import signal
import socket
import subprocess
import sys
import time

import torch
import torch.distributed as dist

from . import device, glog

rank, count = 0, 1

_ACTIONS = (None, "snapshot", "stop")  # of different requests the last in this order wins
_TIMEOUT = datetime.timedelta(days=1)  # long, because the others wait while the root tests


class ProcessLost(RuntimeError):
    """Another process of the training has ended."""


def started() -> bool:
    """Whether `launch` or torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def local_rank() -> int:
    """The index of this process among those on its machine."""
    return int(os.environ.get("LOCAL_RANK", 0))


def join() -> None:
    """Connect to the other processes. The device must be set before.

    Raises:
        ProcessLost: another process cannot be reached.
    """
    global rank, count
    gpu = device.device().type == "cuda"
    # Decisions are CPU tensors, exchanged by gloo, which also detects at once that a process has ended.
    _checked(dist.init_process_group, "cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=_TIMEOUT)
    rank, count = dist.get_rank(), dist.get_world_size()
    glog.quiet = rank > 0


def leave() -> None:
    """Disconnect from the other processes after the training."""
    global rank, count
    if count > 1:
        dist.destroy_process_group()
    rank, count = 0, 1
    glog.quiet = False


def set_random_seed(seed: int) -> None:
    """Seed the random numbers: those that shuffle rows the same in all processes, all others different.

    Args:
        seed: 0 or more; a negative number stands for a random seed.

    Raises:
        ProcessLost: another process has ended.
    """
    shared = torch.tensor(seed if seed >= 0 else secrets.randbits(31))
    broadcast([shared])
    device.set_random_seed(int(shared))
    if rank:
        torch.manual_seed(int(shared) + rank)


def broadcast(tensors: list) -> None:
    """Replace the tensors by the root's, in every process.

    Raises:
        ProcessLost: another process has ended.
    """
    if count > 1:
        for tensor in tensors:
            _checked(dist.broadcast, tensor, 0)


def average(tensors: list) -> None:
    """Replace the tensors by their means over the processes.

    Raises:
        ProcessLost: another process has ended.
    """
    if count > 1:
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        _checked(dist.all_reduce, flat)
        flat /= count
        parts = flat.split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(tensors, [part.view_as(t) for part, t in zip(parts, tensors, strict=True)])


def agree(action: str | None) -> str | None:
    """Agree on an action between iterations.

    Args:
        action: what this process requests: None, "snapshot" or "stop".

    Returns:
        The strongest request of all processes: "stop" before "snapshot" before None.

    Raises:
        ProcessLost: another process, or the one that started this, has ended.
    """
    if count == 1:
        return action
    launcher = os.environ.get("CAFFE_LAUNCHER")
    if launcher and int(launcher) != os.getppid():
        raise ProcessLost("the process that started this training is gone")
    index = torch.tensor(_ACTIONS.index(action))
    _checked(dist.all_reduce, index, op=dist.ReduceOp.MAX)
    return _ACTIONS[int(index)]


def _checked(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except RuntimeError as error:
        raise ProcessLost(
            "another process of this training has ended or cannot be reached; "
            f"resume from the last snapshot with -snapshot ({str(error).splitlines()[0]})"
        ) from None


# The functions by which pycaffe scripts train on several GPUs. Here only the command does.


def has_nccl() -> bool:
    """False: there is no `caffe.NCCL`. `caffe train -gpu 0,1` trains on several GPUs."""
    return False


def solver_count() -> int:
    """The number of processes that train together: 1 except in those that `caffe train` starts."""
    return count


def solver_rank() -> int:
    """The index of this process among them, from 0."""
    return rank


def set_solver_count(value: int) -> None:
    """Check the number of processes; it cannot be changed.

    Raises:
        ValueError: `value` is another number.
    """
    _check_unchanged(value, count, "solver_count")


def set_solver_rank(value: int) -> None:
    """Check the index of this process; it cannot be changed.

    Raises:
        ValueError: `value` is another number.
    """
    _check_unchanged(value, rank, "solver_rank")


def _check_unchanged(value, actual, name):
    if value != actual:
        raise ValueError(f"{name} {value}: it is {actual} here; caffe train -gpu 0,1 trains on several GPUs")


def set_multiprocess(value: bool) -> None:
    """No effect: the environment says whether a process is one of several."""


# Several processes on one machine


def launch(arguments: list, processes: int) -> int:
    """Run the `caffe` command in several processes.

    When one fails, the others are ended. SIGINT and SIGHUP are forwarded to the root.

    Args:
        arguments: the words after `caffe`.
        processes: how many to start.

    Returns:
        The exit status of the first process that fails, else 0.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared["CAFFE_LAUNCHER"] = os.getpid()
    children = []
    previous_handlers = {}
    try:
        for i in range(processes):
            variables = {**shared, "RANK": i, "LOCAL_RANK": i}
            environment = {**os.environ, **{key: str(value) for key, value in variables.items()}}
            # In a session of its own: a terminal's Ctrl-C reaches this process only, which forwards it once.
            child = [sys.executable, "-m", "caffe_command", *arguments]
            children.append(subprocess.Popen(child, env=environment, start_new_session=True))
        for number in (signal.SIGINT, signal.SIGHUP):
            previous_handlers[number] = signal.signal(number, lambda n, _: children[0].send_signal(n))
        previous_handlers[signal.SIGTERM] = signal.signal(signal.SIGTERM, lambda n, _: sys.exit(128 + n))
        return _wait(children)
    finally:
        for child in children:
            child.kill()
            child.wait()
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)


def _wait(children):
    while True:
        states = [child.poll() for child in children]
        failed = [state for state in states if state not in (None, 0)]
        if failed:
            # After a failure the others have some seconds to notice and report it.
            deadline = time.monotonic() + (0 if failed[0] == 130 else 10)
            while time.monotonic() < deadline and any(child.poll() is None for child in children):
                time.sleep(0.1)
            return failed[0] if failed[0] > 0 else 1
        if None not in states:
            return 0
        time.sleep(0.1)
