"""The command that makes the databases of the fusion nets."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep import make_database, photographs

COMMAND = [sys.executable, make_database.__file__]


def slow_command(folder, tmp_path):
    """A command that takes long enough to be interrupted, on a busy machine too."""
    for i in range(50):
        noise = np.random.default_rng(i).integers(0, 256, (40, 56, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"more{i}.png")
    options = ["--photos", folder, "--out", tmp_path / "data", "--patch", 4, "--stride", 1, "--jobs", 1]
    return [*COMMAND, *map(str, options)]


def test_a_partial_folder_of_a_killed_run_is_rebuilt(folder, tmp_path, make, rows):
    killed = subprocess.Popen(slow_command(folder, tmp_path), stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("data.part/train/*.h5")) and time.monotonic() < until:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "data").exists()
    for more in folder.glob("more*"):
        more.unlink()
    make(folder, tmp_path / "data")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "photographs"]
    assert rows(tmp_path / "data")["a"].shape == (66, 4, 16, 16)


def test_ctrl_c_leaves_nothing_and_says_nothing(folder, tmp_path):
    run = subprocess.Popen(slow_command(folder, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("data.part/train/*.h5")) and time.monotonic() < until:
        time.sleep(0.002)
    run.send_signal(signal.SIGINT)
    assert run.communicate()[1] == b"" and run.returncode == 130
    assert [p.name for p in tmp_path.iterdir()] == ["photographs"]


def test_the_command(folder, tmp_path):
    command = [*COMMAND, "--photos", str(folder), "--out", "data", "--patch", "16", "--val-patches", "3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines() == [
        f"photographs: 12 of {folder}",
        "data/train.txt: 66 patches of 11 photographs",
        "data/val.txt: 3 patches of 1 photograph",
        "3 validation patches: with batch_size 3 to test in a copy of the net, test_iter 1 in the solver"
        " goes over each once",
    ]
    assert (tmp_path / "data" / "train.txt").read_text() == "data/train/000.h5\n"


def test_the_last_lines_say_what_to_train_with(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--photos", str(folder), "--val-share", "0.5"]
    make_database.main([*arguments, "--patch", "8"])
    *_, first_line, second_line, _ = capsys.readouterr().out.splitlines()
    assert first_line.startswith("210 validation patches: with batch_size 15 to test")
    assert "test_iter 14 in the solver goes over each once" in first_line
    assert second_line.startswith("no net reads build/data_p8 as it is: name its lists in a copy")
    make_database.main([*arguments, "--patch", "4", "--stride", "2", "--out", "data"])
    assert capsys.readouterr().out.splitlines()[-1] == "data/val.txt: 1600 patches of 6 photographs"


def test_a_mistake_is_a_line_and_a_status(tmp_path):
    command = [*COMMAND, "--photos", "missing"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error: missing: no such folder" in done.stderr.splitlines()[-1]
    assert os.listdir(tmp_path) == []


def test_a_folder_without_photographs_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^0 usable photographs"):
        make_database.main(["--photos", ".", "--out", "data"])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "options",
    [["--patch", "0"], ["--val-share", "1"], ["--recipe", "unknown"], ["--pairs", "0"], ["--stride", "0"]],
)
def test_wrong_usage_is_status_2(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        make_database.main(options)
    assert stop.value.code == 2 and options[0] in capsys.readouterr().err.splitlines()[-1]
    assert os.listdir(tmp_path) == []


@pytest.fixture
def request_made(folder, tmp_path, monkeypatch):
    """A request whose databases are made, with a name of several words."""
    monkeypatch.chdir(tmp_path)
    options = ["--photos", str(folder), "--out", "two/data", "--patch", "16", "--val-patches", "3"]
    request = make_database.parse_arguments(options)
    make_database.make(request)
    return request


def test_a_list_that_lost_a_line_is_made_again(request_made, tmp_path):
    assert make_database.outdated_reason(request_made) == ""
    (tmp_path / "two/data/train.txt").write_text("")
    assert make_database.outdated_reason(request_made) == "to do again: its files are not where its lists say"


def test_a_file_with_other_bytes_is_found(request_made, tmp_path):
    assert make_database.damaged_file(request_made) == ""
    path = tmp_path / "two/data/train/000.h5"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert make_database.damaged_file(request_made) == "two/data/train/000.h5"


@pytest.mark.parametrize("text", ["", "[]", '{"rows": {}}'])
def test_a_database_with_a_damaged_manifest_counts_as_none(request_made, tmp_path, text):
    (tmp_path / "two/data/manifest.json").write_text(text)
    assert make_database.outdated_reason(request_made) == "not made yet"
    assert make_database.changed_inputs(request_made) == []


def test_inputs_that_changed_are_named(request_made):
    assert make_database.changed_inputs(request_made) == []
    other = request_made._replace(spec=dataclasses.replace(request_made.spec, seed=9))
    assert make_database.changed_inputs(other) == ["seed"]


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
@pytest.mark.parametrize(("recolour", "expected"), [("1", True), ("0", False), ("", False)])
def test_recolour_0_is_off(recolour, expected):
    make = ["make", "-n", "-o", "setup", "data", f"RECOLOUR={recolour}"]
    root = Path(make_database.__file__).parents[1]
    command = subprocess.run(make, cwd=root, capture_output=True, text=True, check=True).stdout
    assert ("--recolour" in command) == expected


def test_a_fingerprint_does_not_wait_for_a_fifo(folder):
    before = photographs.fingerprint(photographs.find(folder), folder)
    os.mkfifo(folder / "z.png")
    assert photographs.fingerprint(photographs.find(folder), folder)["files"] == before["files"] + 1


def test_a_folder_that_cannot_be_replaced_is_refused(folder, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"^\.: give another folder; this one cannot be replaced"):
        make_database.main(["--photos", str(folder), "--out", "."])
