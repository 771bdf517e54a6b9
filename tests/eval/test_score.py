"""The command eval/score.py: what it prints and writes, and what it says of a user's mistakes."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from eval import score
from two_stream_fusion import metrics
from two_stream_fusion.io import images

SIX = ["IE", "MI", "Qabf", "Q", "Qw", "Qe"]


@pytest.fixture
def files(tmp_path, triple):
    """Paths of A, B, F and of F blurred."""
    a, b, fused = triple
    paths = [str(tmp_path / name) for name in ("a.png", "b.png", "fused.png", "blurred.png")]
    for path, image in zip(paths, (a, b, fused, cv2.GaussianBlur(fused, (0, 0), 2))):
        images.write(path, image)
    return paths


def run(*arguments):
    command = [sys.executable, str(Path(score.__file__)), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_table_from_a_cold_start(files, triple):
    done = run(*files)
    assert done.returncode == 0
    header, first, second = (line.split() for line in done.stdout.splitlines())
    assert header == ["fused", *SIX]
    assert first == [files[2], *(f"{value:.4f}" for value in metrics.evaluate(*triple).values())]
    assert second[0] == files[3] and float(second[3]) < float(first[3])


def test_json_has_all_digits_and_null(files, triple, capsys):
    score.main([*files, "--json", "--reference", files[2]])
    rows = json.loads(capsys.readouterr().out)
    assert [row["fused"] for row in rows] == files[2:]
    assert list(rows[0]) == ["A", "B", "fused", *SIX, "PSNR", "SSIM"]
    assert [rows[1][name] for name in ("A", "B")] == files[:2]
    assert {name: rows[0][name] for name in SIX} == metrics.evaluate(*triple)
    assert rows[0]["PSNR"] is None and rows[0]["SSIM"] == 1  # identical: infinite
    blurred = images.read(files[3])
    error = np.mean((blurred.astype(float) - triple[2]) ** 2)
    assert rows[1]["PSNR"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-9)
    assert 0 < rows[1]["SSIM"] < 1


def test_nothing_is_written_over(files, tmp_path, capsys):
    """Least of all an image that is scored, where the name of the CSV is forgotten."""
    before = {path: Path(path).read_bytes() for path in files}
    (tmp_path / "there.csv").write_text("mine")
    stem = Path(files[2]).stem
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / f"{stem}.Q.png").write_bytes(b"mine")
    linked = tmp_path / "maps" / f"{stem}.loss.png"
    for extra, force, words in (
        (["--csv", files[0]], True, "is one of the images"),
        (["--csv", files[3]], True, "is one of the images"),
        (["--csv", str(tmp_path / "there.csv")], False, "exists; --force replaces it"),
        (["--maps", str(tmp_path / "maps")], False, "exists; --force replaces it"),
        (["--maps", str(tmp_path / "maps")], True, "is one of the images"),
    ):
        if extra[0] == "--maps" and force:
            os.link(files[1], linked)
        with pytest.raises(ValueError, match=words):
            score.main([*files, *extra, *["--force"] * force])
    assert {path: Path(path).read_bytes() for path in files} == before
    assert (tmp_path / "there.csv").read_text() == "mine"
    score.main([*files, "--csv", str(tmp_path / "there.csv"), "--force"])
    assert (tmp_path / "there.csv").read_text().startswith("A,B,fused,IE,")
    capsys.readouterr()


def test_csv_and_variants(files, triple, tmp_path, capsys):
    target = tmp_path / "scores.csv"
    score.main([*files, "--variants", "MI_nats,Qabf_hong", "--csv", str(target)])
    assert capsys.readouterr().out.split()[:9] == ["fused", *SIX, "MI_nats", "Qabf_hong"]
    with open(target, newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["Qabf_hong"]) == metrics.VARIANTS["Qabf_hong"](*triple)
    assert float(rows[0]["Qabf"]) == metrics.METRICS["Qabf"](*triple)
    assert [p.name for p in tmp_path.iterdir() if p.suffix not in (".png", ".csv")] == []
    score.main([*files[:3], "--variants", "all"])
    assert capsys.readouterr().out.splitlines()[0].split() == ["fused", *SIX, *metrics.VARIANTS]


def test_three_sources(files, triple, capsys):
    a, b, fused = triple
    score.main([files[0], files[1], files[2], "--source", files[3], "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert {name: row[name] for name in SIX} == metrics.evaluate(a, b, images.read(files[3]), fused)


def test_maps_show_where_a_fusion_fails(files, tmp_path, triple, capsys):
    a, _, _ = triple
    fused = a.copy()
    fused[30:60, 20:40] = cv2.GaussianBlur(a, (0, 0), 4)[30:60, 20:40]
    images.write(tmp_path / "spoilt.png", fused)
    score.main([files[0], files[0], str(tmp_path / "spoilt.png"), "--maps", str(tmp_path / "maps")])
    maps = {path.name.split(".")[1]: images.read(path) for path in (tmp_path / "maps").iterdir()}
    assert sorted(maps) == ["Q", "Qabf", "loss"]
    inside, outside = np.s_[36:54, 26:34], np.s_[70:, 50:]
    for name, picture in maps.items():
        assert picture.shape == a.shape and picture.dtype == np.uint8
        good, bad = picture[outside].mean(), picture[inside].mean()
        assert (bad > good + 50 and good == 0) if name == "loss" else (bad < good - 50 and good > 245), name


def test_sixteen_bits_are_reported(files, tmp_path, triple, capsys):
    for path, image in zip(files, triple):
        images.write(path, image.astype(np.uint16) * 257)
    score.main([*files[:3], "--json"])
    out, err = capsys.readouterr()
    assert "65535" in err
    assert json.loads(out)[0]["Qabf"] == pytest.approx(metrics.METRICS["Qabf"](*triple), abs=1e-12)


def test_undefined_is_null(tmp_path, capsys):
    flat = str(tmp_path / "flat.png")
    images.write(flat, np.full((20, 20), 9, np.uint8))
    score.main([flat, flat, flat, "--json"])
    assert json.loads(capsys.readouterr().out)[0]["MI"] is None


def test_mistakes_get_one_line(files, tmp_path):
    small, colour, damaged = (str(tmp_path / name) for name in ("small.png", "colour.png", "damaged.png"))
    fused = images.read(files[2])
    images.write(small, fused[1:])
    images.write(colour, np.dstack([fused, fused, fused // 2]))
    Path(damaged).write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    for wrong, says in {
        small: ["(95, 80)", "(96, 80)", "small.png", "a.png"],
        colour: ["colour.png", "a.png", "gray and colour"],
        damaged: ["damaged.png"],
        str(tmp_path / "missing.png"): ["missing.png"],
    }.items():
        done = run(files[0], files[1], wrong, "--csv", tmp_path / "out.csv")
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.startswith("score.py: error: ") and done.stderr.count("\n") == 1, done.stderr
        for part in says:
            assert part in done.stderr
        assert not (tmp_path / "out.csv").exists()


def test_one_that_cannot_be_scored_leaves_the_others(files, triple, tmp_path):
    small, target = str(tmp_path / "small.png"), tmp_path / "out.csv"
    images.write(small, triple[2][:5, :5])
    done = run(*files[:2], small, tmp_path / "missing.png", *files[2:], "--csv", target)
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["fused", *files[2:]]
    first, second = done.stderr.splitlines()
    assert "small.png" in first and "missing.png" in second
    with open(target, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["fused"] for row in rows] == files[2:] and rows[0]["A"] == files[0]
    done = run(*files[:3], "--csv", tmp_path / "none" / "out.csv")  # said before the work, not after
    assert done.returncode == 1 and done.stdout == "" and "there is no folder" in done.stderr


def test_gray_saved_as_colour_is_gray(files, triple, tmp_path, capsys):
    equal = tmp_path / "equal.png"
    images.write(equal, np.dstack([triple[2]] * 3))
    score.main([*files[:3], str(equal), "--json", "--reference", str(equal)])
    gray, colour = json.loads(capsys.readouterr().out)
    assert colour == {**gray, "fused": str(equal)}


@pytest.mark.parametrize(
    ("extra", "says"),
    [(["--variants", "Qabf_wrong"], "Qabf_2012"), (["--maps", "m", "other/fused.png"], "same name")],
)
def test_usage_errors(files, capsys, extra, says):
    with pytest.raises(SystemExit) as stop:
        score.main([*files[:3], *extra] if extra[0] != "--maps" else [*files[:3], extra[2], *extra[:2]])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


def test_metrics_are_the_columns(files, triple, capsys):
    score.main([*files[:3], "--metrics", "SF,paper,VIF", "--variants", "Qe_edge", "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    columns = ["SF", *SIX, "VIF", "Qe_edge"]
    assert list(row)[3:] == columns
    assert {name: row[name] for name in columns} == metrics.evaluate(*triple, columns=columns)
    score.main([*files[:3], "--metrics", "all"])
    header = capsys.readouterr().out.splitlines()[0].split()
    assert header == ["fused", *(name for name in metrics.REGISTRY if name not in metrics.VARIANTS)]
    with pytest.raises(SystemExit):
        score.main([*files[:3], "--metrics", "XX"])
    assert "--metrics: 'XX' is not one of paper, all, IE" in capsys.readouterr().err
    assert score.main([*files[:3], "--source", files[1], "--metrics", "Qy"]) == 1
    assert "defined for two sources; 3 given" in capsys.readouterr().err


def test_ssim_needs_11_pixels_a_side():
    small = np.random.default_rng(0).integers(0, 256, (10, 30), np.uint8)
    with pytest.raises(ValueError, match=r"^F is \(10, 30\): SSIM needs 11 x 11 pixels or more"):
        score.score([small, small], small, reference=small, columns=["IE"])
