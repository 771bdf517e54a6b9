import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools import train
from two_stream_fusion.base import cli

# As both Caffes write it, in parts.
LOG = """I1129 07:00:00.000000 1 solver.cpp:45] Initializing solver from parameters:
max_iter: 200
I1129 07:00:01.000000 1 solver.cpp:330] Iteration 0, Testing net (#0)
I1129 07:00:01.000000 1 solver.cpp:397]     Test net output #0: loss = 7 (* 2 = 14 loss)
I1129 07:00:01.000000 1 solver.cpp:218] Iteration 0 (0 iter/s, 0.1s/100 iters), loss = 13
I1129 07:00:02.000000 1 sgd_solver.cpp:105] Iteration 0, lr = 0.001
I1129 07:00:03.000000 1 solver.cpp:218] Iteration 100 (50 iter/s, 2s/100 iters), loss = 3.5
I1129 07:00:05.000000 1 solver.cpp:330] Iteration 200, Testing net (#0)
I1129 07:00:05.000000 1 solver.cpp:397]     Test net output #0: loss = 1.5
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def read(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    progress = train.Progress("adam")
    for line in LOG.splitlines():
        progress.read(line)
    progress.close()
    return stream.getvalue()


def test_without_a_terminal_a_line_for_each_test(monkeypatch):
    assert read(monkeypatch, io.StringIO()).splitlines() == [
        "  iteration 0 of 200: validation loss 14",
        "  iteration 200 of 200: training loss 3.5, validation loss 1.5",
    ]


def test_a_bar_on_a_terminal(monkeypatch):
    text = read(monkeypatch, Terminal())
    assert "adam: 100%" in text and "200/200" in text and "loss 3.5" in text
    assert "validation loss 1.5" in text


def test_flags_go_to_caffe(tmp_path, capfd):
    script = tmp_path / "caffe"
    script.write_text('#!/bin/sh\necho "$@"\nexit 5\n')
    script.chmod(0o755)
    log = tmp_path / "my.log"
    options = ["--caffe", str(script), "--log", str(log)]
    flags = ["-solver=a.prototxt", "--weights", "w.caffemodel", "-precision", "tf32"]
    assert train.main([*options, *flags]) == 5
    assert log.read_text() == f"train {' '.join(flags)}\n"
    assert str(log) in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('net: "n"\nsnapshot_prefix: "build/snapshots/my net"  # x', "my net"),
        ("snapshot_prefix: 'other'", "other"),
        ('# snapshot_prefix: "build/not"', "solver"),
        ('snapshot_prefix: "folder/"', "solver"),
        ("", "solver"),
    ],
)
def test_a_training_is_named_as_its_snapshots(text, name, tmp_path):
    (tmp_path / "solver.prototxt").write_text(text)
    assert train.training_name(str(tmp_path / "solver.prototxt")) == name
    assert train.training_name(str(tmp_path / "missing.prototxt")) == "missing"


def test_settings_of_caffes_log_do_not_empty_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "2")
    monkeypatch.setenv("KEPT", "kept")
    script = tmp_path / "caffe"
    script.write_text('#!/bin/sh\necho "level $GLOG_minloglevel, $KEPT"\n')
    script.chmod(0o755)
    assert train.train(["-solver", "a.prototxt"], str(script), tmp_path / "a.log") == 0
    assert (tmp_path / "a.log").read_text() == "level , kept\n"


def test_a_run_that_resumes_adds_to_its_log(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("before\n")
    assert train.train(["-solver", "a", "-snapshot", "b"], "echo", log) == 0
    assert log.read_text() == "before\ntrain -solver a -snapshot b\n"
    assert train.train(["-solver", "a"], "echo", log) == 0
    assert (tmp_path / "a.log.1").read_text().startswith("before")
    assert log.read_text() == "train -solver a\n"


def test_a_command_that_cannot_be_run_leaves_the_log_as_it_is(tmp_path):
    log, moved = tmp_path / "a.log", tmp_path / "caffe"
    log.write_text("the last training\n")
    moved.write_text("#!/nowhere/python\n")  # as in a .venv that was moved
    moved.chmod(0o755)
    for caffe in ("nosuch", str(moved)):
        with pytest.raises(FileNotFoundError) as stop:
            train.train(["-solver", "a.prototxt"], caffe, log)
        assert cli.user_message(stop.value) == f"{caffe}: No such file or directory"
    with pytest.raises(ValueError, match="No closing quotation"):
        train.train(["-solver", "a.prototxt"], "'caffe", log)
    assert log.read_text() == "the last training\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.log", "caffe"]


@pytest.mark.skipif(sys.platform != "linux", reason="SIGKILL ends caffe on Linux alone")
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGKILL", -9)])
def test_caffe_ends_with_a_killed_command(name, status, tmp_path):
    script, number = tmp_path / "caffe", tmp_path / "number"
    script.write_text(f"#!/bin/sh\necho $$ > {number}.new && mv {number}.new {number}\nexec sleep 60\n")
    script.chmod(0o755)
    command = [sys.executable, train.__file__, "--caffe", script, "--log", tmp_path / "x.log"]
    process = subprocess.Popen([*command, "-solver", "a.prototxt"])
    wait_until(number.exists)
    process.send_signal(getattr(signal, name))
    assert process.wait(10) == status
    wait_until(lambda: not is_running(int(number.read_text())))


@pytest.mark.parametrize(("owner", "name"), [(train.Progress, "read"), (train, "keep_earlier_log")])
def test_caffe_ends_where_its_log_cannot_be_written(owner, name, tmp_path, monkeypatch):
    def fail(*_):
        wait_until(lambda: number.exists() and number.read_text())
        raise OSError("No space left")

    monkeypatch.setattr(owner, name, fail)
    script, number = tmp_path / "caffe", tmp_path / "number"
    script.write_text(f"#!/bin/sh\necho $$ > {number}\necho a line\nexec sleep 60\n")
    script.chmod(0o755)
    with pytest.raises(OSError, match="No space left"):
        train.train(["-solver", "a.prototxt"], str(script), tmp_path / "x.log")
    wait_until(lambda: not is_running(int(number.read_text())))


def test_a_log_is_a_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for log in (Path(os.devnull), tmp_path / "fifo"):
        with pytest.raises(ValueError, match=r"is a (device|FIFO)"):
            train.train(["-solver", "a.prototxt"], "true", log)
    assert os.listdir(tmp_path) == ["fifo"] and os.path.exists(os.devnull)


def is_running(number):
    """Whether a process is left that is no zombie."""
    status = Path(f"/proc/{number}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition):
    until = time.monotonic() + 20
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    assert condition()


def test_a_solver_is_needed():
    with pytest.raises(ValueError, match="-solver"):
        train.train(["-gpu", "0"])
