"""Log lines on stderr and in files."""

import getpass
import os
import re
import subprocess
import sys
from pathlib import Path

import caffe
import pytest

from tests.caffe_torch.golden import training_cases as cases
from tests.caffe_torch.helpers import (
    INPUT_X,
    TIME,
    file_size_limit,
    log_of_net,
    run_caffe,
    solver_with_first_weights,
)


@pytest.fixture(autouse=True)
def folder(training_folder):
    return training_folder


def test_python_says_nothing_before_init_log(capfd, monkeypatch):
    assert log_of_net(capfd, INPUT_X) == []
    caffe.init_log()
    assert log_of_net(capfd, INPUT_X)[-1] == "Network initialization done."
    caffe.init_log(1)
    assert log_of_net(capfd, INPUT_X) == []
    caffe.init_log(0, True)
    monkeypatch.setenv("GLOG_minloglevel", "2")
    assert log_of_net(capfd, INPUT_X) == []


def test_the_log_from_python(capfd, monkeypatch):
    monkeypatch.delenv("GLOG_minloglevel", raising=False)
    caffe.log("a line")
    assert re.match(r"I\d{4} .* test_glog\.py:\d+\] a line\n", capfd.readouterr().err)
    try:
        caffe.init_log(2, True)
        caffe.log("a line")
        caffe.Timer().ms  # noqa: B018 (it warns)
        assert capfd.readouterr().err == ""
    finally:
        caffe.init_log()


def test_log_lines_have_glogs_form(capfd):
    solver_with_first_weights(cases.DEBUG).solve()
    lines = capfd.readouterr().err.splitlines()
    form = re.compile(r"[IE]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ \w+\.py:\d+\] ")
    start = next(i for i, line in enumerate(lines) if "Creating training net" in line)
    assert all(form.match(line) for line in lines[start:])


def test_the_log_can_be_silenced(capfd, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "2")
    solver_with_first_weights(cases.COMMAND).solve()
    assert capfd.readouterr().err == ""


def test_the_log_goes_to_files_where_log_dir_says(folder, capfd):
    """As BVLC Caffe's: a file for every level that has lines, linked to by name, and stderr all the same."""
    (folder / "logs").mkdir()
    assert run_caffe(*TIME, "-log_dir=logs") == 0
    stderr, head, log = capfd.readouterr().err, *(folder / "logs/caffe.INFO").read_text().split("] msg\n")
    assert log == stderr and "Benchmark ends" in log
    assert head.startswith("Log file created at: ") and "Log line format: [IWEF]mmdd hh:mm:ss" in head
    (link, name) = sorted(path.name for path in (folder / "logs").iterdir())
    assert re.fullmatch(r"caffe\..*\..*\.log\.INFO\.\d{8}-\d{6}\.\d+", name)
    assert (folder / "logs" / link).readlink() == Path(name)
    assert run_caffe("time", "-model", "absent", "-log_dir=logs") == 1
    for level in ("INFO", "WARNING", "ERROR", "FATAL"):
        assert "absent: No such file or directory" in (folder / "logs" / f"caffe.{level}").read_text()
    for path in (folder / "logs").iterdir():
        path.unlink()
    run_caffe(*TIME)  # without the flag
    assert not any((folder / "logs").iterdir())


@pytest.mark.parametrize(
    "arguments, files, on_stderr",
    [
        (["-log_dir=logs", "--logtostderr"], False, True),
        (["-log_dir", "logs", "-minloglevel=1"], False, False),
        (["-log_dir=logs", "--noalsologtostderr"], True, False),
        (["-log_dir=logs", "--alsologtostderr=0", "-stderrthreshold=0"], True, True),
        (["--nologtostderr", "-v=2"], False, True),
    ],
)
def test_glogs_flags(arguments, files, on_stderr, folder, capfd):
    (folder / "logs").mkdir()
    assert run_caffe(*TIME, *arguments) == 0
    assert any((folder / "logs").iterdir()) == files
    assert ("Benchmark ends" in capfd.readouterr().err) == on_stderr


def test_glogs_flags_in_the_environment(folder, capfd, monkeypatch):
    monkeypatch.setenv("GLOG_log_dir", str(folder))
    monkeypatch.setenv("GLOG_minloglevel", "2")
    assert run_caffe(*TIME) == 0
    assert "Benchmark" not in capfd.readouterr().err and not (folder / "caffe.INFO").exists()
    assert run_caffe(*TIME, "-minloglevel=0") == 0
    assert "Benchmark ends" in (folder / "caffe.INFO").read_text()
    monkeypatch.setenv("GLOG_logtostderr", "1")
    (folder / "caffe.INFO").unlink()
    assert run_caffe(*TIME, "-minloglevel=0") == 0
    assert not (folder / "caffe.INFO").exists()


def test_log_files_of_a_nameless_user_without_links(folder, capfd, monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nobody)
    (folder / "caffe.INFO").mkdir()  # so that no link can have its name
    assert run_caffe(*TIME, "-log_dir=.") == 0
    (log,) = folder.glob("caffe.*.invalid-user.log.INFO.*")
    assert "Benchmark ends" in log.read_text()


def test_a_log_that_cannot_be_written_ends_nothing(folder, capfd):
    """As with glog; here it is said once for each file."""
    (folder / "logs").mkdir()
    with file_size_limit(500):
        assert run_caffe(*TIME, "-log_dir=logs", "--noalsologtostderr") == 0
    stderr = capfd.readouterr().err
    assert re.fullmatch(r"caffe: logs/caffe\.\S+: File too large; lines will be missing .*\n", stderr)
    with file_size_limit(500):
        assert run_caffe("time", "-model", "absent", "-log_dir=logs", "--noalsologtostderr") == 1
    assert "caffe: error: absent: No such file" in capfd.readouterr().err


@pytest.fixture(params=["", "1"])
def unbuffered(request, monkeypatch):
    """Python with and without a buffer below stderr: what is left in one would change the exit status."""
    monkeypatch.setenv("PYTHONUNBUFFERED", request.param)


@pytest.mark.usefixtures("unbuffered")
def test_a_log_that_nobody_reads_any_more_ends_in_the_files(folder):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "caffe.main", *TIME, "-log_dir=."]
    assert subprocess.run(command, stderr=write).returncode == 1
    os.close(write)
    assert "Broken pipe" in (folder / "caffe.FATAL").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.usefixtures("unbuffered")
@pytest.mark.parametrize("model, status", [("net.prototxt", 0), ("absent", 1)])
def test_a_full_disk_below_stderr_ends_nothing(model, status, monkeypatch):
    """Nor does it as the process ends, which is tried once."""
    arguments = ["time", "-model", model, "-iterations", "1"]
    full = open("/dev/full", "w")  # noqa: SIM115 (closing it is an error)
    if status:
        monkeypatch.setattr(sys, "stderr", full)
        assert run_caffe(*arguments) == status
    else:
        command = [sys.executable, "-m", "caffe.main", *arguments]
        assert subprocess.run(command, stderr=full).returncode == status
