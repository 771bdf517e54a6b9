"""Workers end with their parent, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from two_stream_fusion.base.parallel import process_pool

ROOT = Path(__file__).resolve().parents[3]
PARENT = """
import two_stream_fusion.base.cli
import sys, time
from pathlib import Path
from two_stream_fusion.base import files
from two_stream_fusion.base.parallel import process_pool

IMPORTS = 0
if __name__ == "__mp_main__" and IMPORTS:
    Path(sys.argv[1], f"begun{len(list(Path(sys.argv[1]).iterdir()))}").touch()
    time.sleep(IMPORTS)

def work(folder, i):
    with files.atomic_write(Path(folder, f"{i}.txt")) as partial:
        partial.write_text("half")
        Path(folder, f"begun{i}").touch()
        time.sleep(600)

if __name__ == "__main__":
    with process_pool(2) as pool:
        jobs = [pool.submit(work, sys.argv[1], i) for i in range(2)]
        jobs[0].result()
"""


def is_group(number):
    """Whether a process of a group is left that is no zombie, as far as the system says."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            if int(group) == number and state != "Z":
                return True
    return False


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
@pytest.mark.parametrize(
    ("name", "imports"), [("SIGTERM", 0), ("SIGKILL", 0), ("SIGKILL", 60)], ids=["TERM", "KILL", "importing"]
)
def test_workers_end_silently_with_a_killed_parent(name, imports, tmp_path):
    program = tmp_path / "parent.py"
    program.write_text(PARENT.replace("IMPORTS = 0", f"IMPORTS = {imports}"))
    work = tmp_path / "work"
    work.mkdir()
    parent = subprocess.Popen(
        [sys.executable, program, work],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"},
        start_new_session=True,  # a group of its own, for the last line
    )
    until = time.monotonic() + 60
    while len(list(work.glob("begun*"))) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(list(work.glob(".*.part.txt"))) == (0 if imports else 2)
    parent.send_signal(getattr(signal, name))
    until = time.monotonic() + 2
    output = parent.communicate(timeout=2)  # ends where nobody holds its output any more
    assert output == (b"", b"")
    assert sorted(path.name for path in work.iterdir()) == ["begun0", "begun1"]
    while is_group(parent.pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_group(parent.pid)


def test_an_environment_is_the_processes_alone(monkeypatch):
    monkeypatch.setenv("TEST_KEPT", "before")
    monkeypatch.delenv("TEST_NEW", raising=False)
    with process_pool(1, {"TEST_KEPT": "within", "TEST_NEW": "within"}) as pool:
        values = [pool.submit(os.getenv, name).result() for name in ("TEST_KEPT", "TEST_NEW")]
        method = pool.submit(eval, "__import__('multiprocessing').get_start_method()").result()
    assert values == ["within", "within"] and method == "spawn"  # libraries ask for it
    assert os.getenv("TEST_KEPT") == "before" and os.getenv("TEST_NEW") is None
