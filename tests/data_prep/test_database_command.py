"""What the commands that make databases share."""

import os
import shutil

import pytest

from data_prep import database_command, make_database


def test_a_folder_that_cannot_be_read_is_reported(folder, tmp_path, capsys, monkeypatch):
    (folder / "private").mkdir()
    scandir = os.scandir

    def forbidden(path):
        if os.path.basename(path) == "private":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    make_database.main(["--photos", str(folder), "--out", str(tmp_path / "data"), "--patch", "16"])
    assert capsys.readouterr().err == f"skipped: {folder}/private: Permission denied\n"


@pytest.mark.parametrize("verbose", [False, True])
def test_the_first_files_that_are_skipped_are_named(folder, tmp_path, capsys, verbose):
    for i in range(9):
        (folder / f"broken{i}.jpg").write_bytes(b"no photograph")
    shutil.copy(folder / "03.png", folder / "again.png")
    options = ["--photos", str(folder), "--out", str(tmp_path / "data"), "--patch", "16"]
    make_database.main([*options, "--verbose"] if verbose else options)
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert len(lines) == (10 if verbose else database_command.MAX_NAMED + 1)
    assert lines[0].startswith("skipped: ") and verbose == ("--verbose" not in lines[-1])
    assert "skipped: 1 duplicate, 9 unreadable" in printed.out.splitlines()


def test_numbers_and_shares_are_checked():
    assert database_command.at_least(2)("2") == 2 and database_command.fraction("0.5") == 0.5
    for check, text in ((database_command.at_least(2), "1"), (database_command.fraction, "1")):
        with pytest.raises(Exception, match=f"^{text}: must be"):
            check(text)
