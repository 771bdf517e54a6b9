"""Folders made whole or not at all, beside files of others."""

from __future__ import annotations

import pytest

from two_stream_fusion.base import files


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("ending", ["old", "part"])
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
@pytest.mark.parametrize("older", [False, True])
def test_a_folder_of_the_user_is_refused_by_name(ending, kind, older, tmp_path):
    out, theirs = tmp_path / "out", tmp_path / f"out.{ending}"
    if older:
        out.mkdir()
        (out / "old.h5").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").touch()
    if kind == "folder":
        theirs.mkdir()
        (theirs / "precious").touch()
    elif kind == "file":
        theirs.write_text("precious")
    else:
        theirs.symlink_to(tmp_path / "elsewhere")
    before = listing(tmp_path)
    with pytest.raises(
        ValueError, match=rf"out\.{ending}: was not made by this program"
    ), files.atomic_folder(out):
        raise AssertionError("not reached")
    assert listing(tmp_path) == before


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_user_makes_meanwhile_stays(fails, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.h5").touch()
    with pytest.raises(ValueError, match=r"wrong|out\.old: was not made"), files.atomic_folder(out) as part:
        (part / "new.h5").touch()
        (tmp_path / "out.old").mkdir()
        (tmp_path / "out.old" / "precious").touch()
        if fails:
            raise ValueError("wrong")
    assert listing(tmp_path) == ["out", "out.old", "out.old/precious", "out/old.h5"]


def test_what_a_killed_run_left_is_taken_away(tmp_path):
    for name in ("out.old", "out.part"):
        (tmp_path / name / "train").mkdir(parents=True)
        (tmp_path / name / files.MARK).touch()
        (tmp_path / name / "train" / "0.h5").touch()
    (tmp_path / "out").mkdir()
    with files.atomic_folder(tmp_path / "out") as part:
        (part / "new.h5").touch()
    assert listing(tmp_path) == ["out", "out/new.h5"]


def test_empty_folders_of_these_names_are_used(tmp_path):
    for name in ("out", "out.old", "out.part"):
        (tmp_path / name).mkdir()
    with files.atomic_folder(tmp_path / "out") as part:
        (part / "new.h5").touch()
    assert (tmp_path / "out" / "new.h5").exists() and not (tmp_path / "out.part").exists()
