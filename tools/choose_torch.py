"""Print the arguments by which pip installs PyTorch: its build for CPUs where there is no NVIDIA GPU.

`make setup` runs this before anything is installed, so it needs the standard library alone. On Linux
pip's default is the build with CUDA, which takes some gigabytes. It is also chosen where PyTorch's index for
CPUs cannot be reached within seconds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

EXAMPLES = """examples:
  python tools/choose_torch.py
  pip install $(python tools/choose_torch.py)
  make setup TORCH="torch==2.13.0"     overrides the choice
"""
TORCH = "torch==2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TIMEOUT_S = 10


def command_succeeds(*command: str) -> bool:
    """Whether a command can be run and ends well within TIMEOUT_S."""
    try:
        return not subprocess.run(command, capture_output=True, timeout=TIMEOUT_S).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


def pip_arguments(has_gpu: bool, index_answers: bool) -> tuple[str, str]:
    """Arguments of `pip install`, and one line that says why.

    Args:
        has_gpu: whether nvidia-smi finds a GPU.
        index_answers: whether CPU_INDEX can be reached.

    Returns:
        The arguments, and the line.
    """
    if has_gpu:
        return TORCH, "PyTorch: pip's own choice, since nvidia-smi finds a GPU"
    if not index_answers:
        return TORCH, f"PyTorch: pip's own choice, since {CPU_INDEX} cannot be reached"
    return f"{TORCH} --index-url {CPU_INDEX}", "PyTorch: the build for CPUs, since nvidia-smi finds no GPU"


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(argv)
    has_gpu = command_succeeds("nvidia-smi", "--list-gpus")
    # Not by pip, which may find torch in other places that the user's settings name.
    ask = f"import urllib.request as r; r.urlopen('{CPU_INDEX}/torch/', timeout=5).read(1)"
    answers = not has_gpu and command_succeeds(sys.executable, "-c", ask)
    arguments, reason = pip_arguments(has_gpu, answers)
    print(f"{reason}; make setup TORCH=... overrides", file=sys.stderr)
    print(arguments)


if __name__ == "__main__":
    main()
