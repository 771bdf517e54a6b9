"""How a command ends, and its one-line errors."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from two_stream_fusion.base import cli
from two_stream_fusion.base.memory import NotEnoughMemory

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("a.png: damaged"), "a.png: damaged"),
        (FileNotFoundError(2, "No such file", "a.png"), "a.png: No such file"),
        (OSError("the disk is full"), "the disk is full"),
        (MemoryError(), "not enough memory"),
        (NotEnoughMemory("a.png: 9 GiB are needed"), "a.png: 9 GiB are needed"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
        (ValueError("a\nb\x1b[2J\udcff.png: damaged"), r"a\nb\x1b[2J\udcff.png: damaged"),
        (NotEnoughMemory("a\x9b\u2028.png: é"), r"a\x9b\u2028.png: é"),
        (FileNotFoundError(2, "No such file", "a\r.png"), r"a\r.png: No such file"),
        (RuntimeError("another"), None),
        (KeyError("a fault of ours"), None),
    ],
)
def test_user_message(error, message):
    assert cli.user_message(error) == message


@pytest.mark.parametrize("status", [None, 0, 3])
def test_the_exit_status_is_that_of_main(status):
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: status)
    assert ended.value.code == status


def test_an_error_is_one_line_that_names_the_program(monkeypatch):
    def main():
        raise ValueError("a.png: damaged")

    monkeypatch.setattr("sys.argv", ["tools/fuse.py"])
    with pytest.raises(SystemExit) as ended:
        cli.run(main)
    assert ended.value.code == "fuse.py: error: a.png: damaged"


def test_an_interrupt_ends_with_130():
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        cli.run(main)
    assert ended.value.code == 130


def test_a_fault_of_ours_keeps_its_traceback():
    def main():
        raise KeyError("ours")

    with pytest.raises(KeyError):
        cli.run(main)


def test_lines_of_the_log_are_printable():
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, "%s: fused", ("a\n\t\x07.png",), None)
    assert cli.LineFormatter().format(record) == r"a\n\t\x07.png: fused"


def test_any_name_can_be_printed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "from two_stream_fusion.base import cli\ncli.run(lambda: print('caf\\xe9 \\udcff.png') or 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run([sys.executable, program], capture_output=True, env=environment)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, rb"caf\xe9 \udcff.png" + b"\n", b"")


@pytest.mark.parametrize(("stdout", "status"), [("pipe", 1), ("/dev/full", 1), ("/dev/full late", 1)])
def test_a_closed_or_full_output_is_no_traceback(stdout, status, tmp_path):
    text = "print('x' * 9)" if "late" in stdout else "print('x' * 100_000, flush=True)"
    program = tmp_path / "program.py"
    program.write_text(f"from two_stream_fusion.base import cli\ncli.run(lambda: {text})")
    if stdout == "pipe":
        read, write = os.pipe()
        os.close(read)
    elif os.path.exists("/dev/full"):
        write = os.open("/dev/full", os.O_WRONLY)
    else:
        pytest.skip("no /dev/full")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    try:
        ended = subprocess.run(
            [sys.executable, program], stdout=write, stderr=subprocess.PIPE, env=environment
        )
    finally:
        os.close(write)
    assert ended.returncode == status
    message = b"program.py: error: [Errno 28] No space left on device\n"
    assert ended.stderr == (b"" if stdout == "pipe" else message)


def test_help_shows_docstring_and_examples_as_they_are():
    text = cli.parser("First line.\n\n  indented", "examples:\n  python x.py").format_help()
    assert "First line.\n\n  indented" in text and text.endswith("examples:\n  python x.py\n")


@pytest.mark.parametrize("name", ["-o", "--out", "--output"])
def test_the_file_to_write_has_three_names(name, capsys):
    parser = cli.parser("doc")
    cli.add_output(parser, "the picture", required=True)
    assert parser.parse_args([name, "x.png"]).output == "x.png"
    with pytest.raises(SystemExit):
        parser.parse_args([])
    assert "-o/--out/--output" in capsys.readouterr().err
