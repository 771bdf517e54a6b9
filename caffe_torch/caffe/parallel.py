"""Training with several processes, a GPU or a share of the CPUs each, with Caffe's data-parallel meaning.

Every process has the whole net and takes every n-th row of its data, so that the batch is n times as
large; gradients are averaged over the processes. Process 0, the root, logs, tests and saves.
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

_ACTIONS = (None, "snapshot", "stop")  # where processes ask for different ones, the last counts
_PATIENCE = datetime.timedelta(days=1)  # the others wait while the root tests


class ProcessLost(RuntimeError):
    """Another process of the training has ended."""


def started() -> bool:
    """Whether `launch` or torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def local_rank() -> int:
    """The number of this process among those on its machine."""
    return int(os.environ.get("LOCAL_RANK", 0))


def join() -> None:
    """Meet the other processes; after `device` was told what to compute on."""
    global rank, count
    gpu = device.device().type == "cuda"
    # Decisions travel between CPUs by gloo, which also notices at once when a process is gone.
    _checked(dist.init_process_group, "cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=_PATIENCE)
    rank, count = dist.get_rank(), dist.get_world_size()
    glog.quiet = rank > 0


def leave() -> None:
    """Part from the other processes, the training being done."""
    global rank, count
    if count > 1:
        dist.destroy_process_group()
    rank, count = 0, 1
    glog.quiet = False


def set_random_seed(seed: int) -> None:
    """Seed this process (negative: by chance): rows are shuffled alike in all, all else differs."""
    drawn = torch.tensor(seed if seed >= 0 else secrets.randbits(31))
    broadcast([drawn])
    device.set_random_seed(drawn.item())
    if rank:
        torch.manual_seed(drawn.item() + rank)


def broadcast(tensors: list) -> None:
    """Give every process the root's values."""
    if count > 1:
        for tensor in tensors:
            _checked(dist.broadcast, tensor, 0)


def average(tensors: list) -> None:
    """Replace the tensors by their means over the processes."""
    if count > 1:
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        _checked(dist.all_reduce, flat)
        flat /= count
        parts = flat.split([tensor.numel() for tensor in tensors])
        torch._foreach_copy_(tensors, [part.view_as(t) for part, t in zip(parts, tensors, strict=True)])


def agree(action):
    """What any process asks for between iterations: None, "snapshot" or "stop"."""
    if count == 1:
        return action
    launcher = os.environ.get("CAFFE_LAUNCHER")
    if launcher and int(launcher) != os.getppid():
        raise ProcessLost("the process that started this training is gone")
    wanted = torch.tensor(_ACTIONS.index(action))
    _checked(dist.all_reduce, wanted, op=dist.ReduceOp.MAX)
    return _ACTIONS[wanted.item()]


def _checked(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except RuntimeError as error:
        raise ProcessLost(
            "another process of this training is gone, or cannot be reached; the last snapshot is whole, "
            f"go on from it with -snapshot ({str(error).splitlines()[0]})"
        ) from None


# What pycaffe's scripts say to train on several GPUs by NCCL, which here is the command's business


def has_nccl() -> bool:
    """False: there is no `caffe.NCCL`. `caffe train -gpu 0,1` trains on several GPUs."""
    return False


def solver_count() -> int:
    """How many processes train together: 1, but for those that `caffe train` starts."""
    return count


def solver_rank() -> int:
    """The number of this process among them, from 0."""
    return rank


def set_solver_count(value: int) -> None:
    """Accepts the number that is true; ValueError for another."""
    _only(value, count, "solver_count")


def set_solver_rank(value: int) -> None:
    """Accepts the number that is true; ValueError for another."""
    _only(value, rank, "solver_rank")


def _only(value, true, what):
    if value != true:
        raise ValueError(f"{what} {value}: it is {true} here; caffe train -gpu 0,1 trains on several GPUs")


def set_multiprocess(value: bool) -> None:
    """Nothing: a process knows by itself whether it is one of several."""


# Several processes on one machine


def launch(arguments: list, processes: int) -> int:
    """Run the `caffe` command in several processes; the first exit status that is not 0, else 0.

    Where one fails the others are ended. SIGINT and SIGHUP are passed on to the root.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared["CAFFE_LAUNCHER"] = os.getpid()
    children = []
    before = {}
    try:
        for i in range(processes):
            own = {key: str(value) for key, value in {**shared, "RANK": i, "LOCAL_RANK": i}.items()}
            # In a session of its own: a terminal's Ctrl-C comes here only, and is passed on once.
            child = [sys.executable, "-m", "caffe_command", *arguments]
            children.append(subprocess.Popen(child, env={**os.environ, **own}, start_new_session=True))
        for number in (signal.SIGINT, signal.SIGHUP):
            before[number] = signal.signal(number, lambda n, _: children[0].send_signal(n))
        before[signal.SIGTERM] = signal.signal(signal.SIGTERM, lambda n, _: sys.exit(128 + n))
        return _wait(children)
    finally:
        for child in children:
            child.kill()
            child.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(children):
    while True:
        states = [child.poll() for child in children]
        failed = [state for state in states if state not in (None, 0)]
        if failed:
            patience = 0 if failed[0] == 130 else 10  # after a failure the others see it and say so
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline and any(child.poll() is None for child in children):
                time.sleep(0.1)
            return failed[0] if failed[0] > 0 else 1
        if None not in states:
            return 0
        time.sleep(0.1)
