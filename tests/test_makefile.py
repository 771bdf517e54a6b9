"""What `make train` does with its log and its variables; a program in place of `caffe`."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Says what it was called with; then waits as long as there is a file `wait`.
CAFFE = """#!/bin/sh
printf '<%s>' "$@"
echo
while [ -e wait ]; do sleep 0.05; done
echo done
"""
pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="no make")


@pytest.fixture
def train(tmp_path):
    """Starts `make train` with variables in a folder of its own, and returns the process."""
    (tmp_path / "caffe").write_text(CAFFE)
    (tmp_path / "caffe").chmod(0o755)
    (tmp_path / "tools").symlink_to(ROOT / "tools")

    def start(*variables):
        make = ["make", "--silent", "-f", ROOT / "Makefile", "-o", "setup", "train", "CAFFE=./caffe"]
        make.append(f"PY={sys.executable}")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [*make, *variables]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True)

    return start


def logs(folder):
    """The files of build/logs and what they hold."""
    return {path.name: path.read_text() for path in folder.glob("build/logs/*")}


def test_paths_may_have_spaces(train, tmp_path):
    assert train("SOLVER=solver/my solver.prototxt").wait() == 0
    first_output = "<train><-solver><solver/my solver.prototxt>\ndone\n"
    assert logs(tmp_path) == {"my solver.log": first_output}
    settings = ("SOLVER=solver/my solver.prototxt", "FROM=my snap.solverstate", "GPU=0", "BATCH=8")
    assert train(*settings).wait() == 0
    second_output = "<-gpu><0><-batch><8><-snapshot><my snap.solverstate>\ndone\n"
    second_output = "<train><-solver><solver/my solver.prototxt>" + second_output
    assert logs(tmp_path) == {"my solver.log": first_output + second_output}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["build", "caffe", "tools"]


def test_an_earlier_log_stays(train, tmp_path):
    """Also where there is no `caffe`."""
    for gpu in "012":
        assert train(f"GPU={gpu}").wait() == 0
    (tmp_path / "caffe").unlink()
    assert train().wait() != 0
    runs = {name: text.partition("<-gpu>")[2][:3] for name, text in logs(tmp_path).items()}
    assert runs == {"adam.log.1": "<0>", "adam.log.2": "<1>", "adam.log": "<2>"}


def test_two_trainings_at_once_have_logs_of_their_own(train, tmp_path):
    (tmp_path / "wait").touch()
    processes = []
    for gpu in "01":
        processes.append(train(f"GPU={gpu}"))
        until = time.monotonic() + 30
        while f"<{gpu}>" not in logs(tmp_path).get("adam.log", ""):
            assert time.monotonic() < until
            time.sleep(0.01)
    (tmp_path / "wait").unlink()
    assert [process.wait() for process in processes] == [0, 0]
    start = "<train><-solver><solver/adam.prototxt><-gpu>"
    assert logs(tmp_path) == {"adam.log.1": f"{start}<0>\ndone\n", "adam.log": f"{start}<1>\ndone\n"}


def test_a_training_that_fails_fails_make(train, tmp_path):
    (tmp_path / "caffe").write_text("#!/bin/sh\necho out of luck\nexit 3\n")
    assert train().wait() == 2
    assert logs(tmp_path) == {"adam.log": "out of luck\n"}


def test_ctrl_c_leaves_time_for_a_snapshot(train, tmp_path):
    script = "#!/bin/sh\ntrap 'sleep 0.5; echo saved; exit 0' INT\necho ready\nwhile :; do sleep 0.05; done\n"
    (tmp_path / "caffe").write_text(script)
    process = train()
    until = time.monotonic() + 30
    while "ready" not in logs(tmp_path).get("adam.log", ""):
        assert time.monotonic() < until
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    process.wait()
    assert logs(tmp_path) == {"adam.log": "ready\nsaved\n"}
