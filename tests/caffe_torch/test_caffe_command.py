"""What the commands start with, before PyTorch is loaded."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import caffe
import caffe_command
import pytest

from tests.caffe_torch.helpers import wait_until

ENTRY = Path(caffe.__file__).parents[1] / "caffe_command.py"


@pytest.mark.parametrize("function", ["main", "convert_imageset", "compute_image_mean"])
def test_ctrl_c_while_pytorch_is_loaded_ends_without_a_word(function, tmp_path):
    """In the place of PyTorch something whose loading never ends, and that swallows exceptions as it may."""
    (tmp_path / "torch.py").write_text(
        "import time\nopen('begun', 'w').close()\n"
        "while True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        pass\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ENTRY.parent)])
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys, caffe_command; sys.exit(caffe_command.{function}())"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until((tmp_path / "begun").exists)
    process.send_signal(signal.SIGINT)
    assert (process.communicate(timeout=60)[1], process.returncode) == ("", 130)


@pytest.mark.parametrize("arguments, status", [(["--version"], 0), (["tarin"], 1)])
def test_the_entry_runs_the_command(arguments, status, capfd, monkeypatch):
    if status:
        done = subprocess.run([sys.executable, ENTRY, *arguments], capture_output=True, text=True)
        assert (done.returncode, done.stderr[:6]) == (status, "caffe:")
    else:
        monkeypatch.setattr(sys, "argv", ["caffe", *arguments])
        assert caffe_command.main() == status
        assert capfd.readouterr().out.startswith("caffe")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("function", [caffe_command.convert_imageset, caffe_command.compute_image_mean])
def test_the_entries_of_the_image_tools_run_them(function, capfd, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tool", "-help"])
    assert function() == 0
    assert capfd.readouterr().out.startswith(f"usage: {function.__name__} ")
