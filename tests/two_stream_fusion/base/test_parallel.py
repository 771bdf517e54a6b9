"""Workers end with their parent, however it ends."""

from __future__ import annotations

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
import sys, time
from pathlib import Path
from two_stream_fusion.base import files
from two_stream_fusion.base.parallel import process_pool

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


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_workers_end_with_a_killed_parent(name, tmp_path):
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    work = tmp_path / "work"
    work.mkdir()
    parent = subprocess.Popen(
        [sys.executable, program, work],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    until = time.monotonic() + 60
    while len(list(work.glob("begun*"))) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(list(work.glob(".*.part.txt"))) == 2
    parent.send_signal(getattr(signal, name))
    parent.communicate(timeout=30)  # ends where nobody holds its output any more
    assert sorted(path.name for path in work.iterdir()) == ["begun0", "begun1"]


def test_an_environment_is_the_processes_alone(monkeypatch):
    monkeypatch.setenv("TEST_KEPT", "before")
    monkeypatch.delenv("TEST_NEW", raising=False)
    with process_pool(1, {"TEST_KEPT": "within", "TEST_NEW": "within"}) as pool:
        values = [pool.submit(os.getenv, name).result() for name in ("TEST_KEPT", "TEST_NEW")]
    assert values == ["within", "within"]
    assert os.getenv("TEST_KEPT") == "before" and os.getenv("TEST_NEW") is None
