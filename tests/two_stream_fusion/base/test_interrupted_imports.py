"""Ctrl-C while a command still imports: exit status 130 and no word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from two_stream_fusion.base import cli

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = "tools", "eval", "experiments", "data_prep", "docs"
COMMANDS = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if 'if __name__ == "__main__":' in path.read_text()
    and path.name != "choose_torch.py"  # runs before this project is installed, and imports little
)
# What the first slow import of a command is replaced by.
INTERRUPTED = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(0.5)\n"
SLOW = "numpy", "cv2", "h5py", "scipy", "skimage", "matplotlib", "PIL", "tqdm", "pooch", "torch", "caffe"
OWN = {  # commands that import nothing but Python's own
    "tools/bvlc_caffe.py": ["concurrent"],
    "tools/bench_caffe.py": ["statistics"],
    "tools/bench_fuse.py": ["statistics"],
    "data_prep/fetch.py": ["csv"],
}


@pytest.mark.skipif(os.name != "posix", reason="needs signals to itself")
@pytest.mark.parametrize("command", COMMANDS)
def test_an_interrupt_during_imports_says_nothing(command, tmp_path):
    for name in OWN.get(command, SLOW):
        (tmp_path / f"{name}.py").write_text(INTERRUPTED)
    done = subprocess.run(
        [sys.executable, ROOT / command, "--help"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert (done.returncode, done.stderr, done.stdout) == (130, "", ""), done


def test_a_program_of_others_keeps_its_handler(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import signal\nimport two_stream_fusion.base.cli\nprint(signal.getsignal(signal.SIGINT))\n"
    )
    output = subprocess.check_output(
        [sys.executable, program], env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True
    )
    assert "default_int_handler" in output or "SIG_IGN" in output


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("tools/fuse.py", True),
        (".venv/lib/pytest.py", False),
        ("tests/x.py", False),
        ("/x.py", False),
    ],
)
def test_only_commands_take_the_handler(program, expected, monkeypatch):
    """Tests run by a .venv in the checkout, say, keep Ctrl-C as it is."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(ROOT / program), raising=False)
    assert cli._is_command() == expected
