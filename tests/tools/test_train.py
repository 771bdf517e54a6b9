import io
import sys

import pytest

from tools import train

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


def test_a_run_that_resumes_adds_to_its_log(tmp_path):
    log = tmp_path / "a.log"
    log.write_text("before\n")
    assert train.train(["-solver", "a", "-snapshot", "b"], "echo", log) == 0
    assert log.read_text() == "before\ntrain -solver a -snapshot b\n"
    assert train.train(["-solver", "a"], "echo", log) == 0
    assert (tmp_path / "a.log.1").read_text().startswith("before")
    assert log.read_text() == "train -solver a\n"


def test_a_solver_is_needed():
    with pytest.raises(ValueError, match="-solver"):
        train.train(["-gpu", "0"])
