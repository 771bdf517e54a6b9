"""Devices, pipes and files of another kind, whose reading would fill the memory or never end."""

import os
import threading
from pathlib import Path

import pytest
from caffe import bounded_files

from tests.caffe_torch.helpers import STATE, WEIGHTS, memory_limit, train_status


@pytest.fixture(autouse=True)
def folder(trained_folder):
    return trained_folder


def sparse(path, size):
    """A file of so many zeros, which takes no room on the disk."""
    Path(path).write_bytes(b"")
    os.truncate(path, size)


def write_to(fifo, content):
    thread = threading.Thread(target=Path(fifo).write_bytes, args=(content,), daemon=True)
    thread.start()
    return thread


def test_bytes_are_those_of_the_file(folder):
    content = os.urandom(3 * 2**20 + 7)
    Path("x").write_bytes(content)
    assert bounded_files.read("x") == content
    assert bounded_files.read("x", len(content)) == content
    with pytest.raises(ValueError, match="x: larger than 3 MiB"):
        bounded_files.read("x", len(content) - 1)


def test_text_is_what_python_reads():
    Path("x").write_bytes("é\r\nb\rc\n\n".encode() + b"\xff\xe9")
    with open("x", encoding="utf-8", errors="surrogateescape") as file:
        assert bounded_files.read_text("x") == file.read()


def test_a_pipe_is_read_to_its_end_or_limit():
    os.mkfifo("pipe")
    thread = write_to("pipe", b"x" * 200_000)
    assert bounded_files.read("pipe") == b"x" * 200_000
    thread.join()
    write_to("pipe", b"x" * 200_000)
    with pytest.raises(ValueError, match="pipe: larger than"):
        bounded_files.read("pipe", 2**17 - 1)


def test_a_solver_may_be_a_pipe(capfd):
    os.mkfifo("pipe")
    text = Path("solver.prototxt").read_bytes()
    write_to("pipe", text)
    assert train_status(capfd, "-solver", "pipe")[0] == 0
    os.mkfifo("net")
    write_to("net", Path("net.prototxt").read_bytes().replace(b'"ReLU"', b'"Nope"'))
    Path("solver.prototxt").write_bytes(text.replace(b"net.prototxt", b"net"))
    status, line = train_status(capfd)
    assert status == 1 and line.startswith("caffe: error: net: layer ") and "Nope" in line


KINDS = {
    "device": lambda path: os.symlink("/dev/zero", path),
    "FIFO": os.mkfifo,
    "larger than": lambda path: sparse(path, 2**40),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("solver.prototxt", []),
        ("net.prototxt", []),
        ("list.txt", []),
        ("data.h5", []),
        (WEIGHTS, ["-weights", WEIGHTS]),
        (WEIGHTS + ".h5", ["-weights", WEIGHTS + ".h5"]),
        (STATE, ["-snapshot", STATE]),
        (STATE + ".h5", ["-snapshot", STATE + ".h5"]),
    ],
)
def test_what_has_no_end_is_refused(name, arguments, kind, capfd):
    is_pipe_read = kind == "FIFO" and name.endswith((".prototxt", ".txt"))
    os.remove(name)
    KINDS[kind](name)
    if is_pipe_read:
        write_to(name, b"")
    with memory_limit():
        status, line = train_status(capfd, *arguments)
    assert status == 1 and line.startswith("caffe: error: ") and name in line
    if not is_pipe_read and not (kind == "larger than" and name.endswith(".h5")):
        assert kind in line, line
