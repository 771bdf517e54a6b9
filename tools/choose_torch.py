"""Print what pip is to install for PyTorch: its build for CPUs where there is no NVIDIA GPU.

`make setup` runs this before anything is installed, so it needs the standard library and pip alone. On Linux
pip's own choice is the build with CUDA, some gigabytes. Where PyTorch's index for CPUs cannot be reached within
seconds, pip's own choice is taken.
"""

from __future__ import annotations

import subprocess
import sys

TORCH = "torch==2.13.0"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SECONDS = 20


def succeeds(*command: str) -> bool:
    """Whether a command can be run and ends well within SECONDS."""
    try:
        return not subprocess.run(command, capture_output=True, timeout=SECONDS).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


def choose(has_gpu: bool, index_answers: bool) -> tuple[str, str]:
    """Arguments of `pip install`, and one line that says why."""
    if has_gpu:
        return TORCH, "PyTorch: pip's own choice, since nvidia-smi finds a GPU"
    if not index_answers:
        return TORCH, f"PyTorch: pip's own choice, since {CPU_INDEX} cannot be reached"
    return f"{TORCH} --index-url {CPU_INDEX}", "PyTorch: the build for CPUs, since nvidia-smi finds no GPU"


def main() -> None:
    has_gpu = succeeds("nvidia-smi", "--list-gpus")
    # By pip, which knows the user's proxies and certificates.
    pip = [sys.executable, "-m", "pip", "--timeout", "5", "--retries", "0"]
    answers = not has_gpu and succeeds(*pip, "index", "versions", "torch", "--index-url", CPU_INDEX)
    arguments, reason = choose(has_gpu, answers)
    print(f"{reason}; make setup TORCH=... overrides", file=sys.stderr)
    print(arguments)


if __name__ == "__main__":
    main()
