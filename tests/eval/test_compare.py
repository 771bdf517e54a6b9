"""The command eval/compare.py: which pairs it finds, what it writes, what it says is missing."""

import csv
import shutil

import cv2
import numpy as np
import pytest

from eval import compare, metrics, pairs
from fusion import images, methods


@pytest.fixture
def photos(tmp_path, triple):
    """A folder of two pairs, one with its perfect fusion, one in a folder of its own under other names."""
    folder = tmp_path / "photos"
    (folder / "second").mkdir(parents=True)
    a, b, sharp = triple
    for name, image in {
        "one_A": a,
        "one_B": b,
        "one_truth": sharp,
        "second/far": b,
        "second/near": a,
    }.items():
        images.write(folder / f"{name}.png", image)
    (folder / "notes.txt").write_text("no image")
    return folder


def test_pairs_of_a_folder(photos):
    first, second = pairs.within(photos)
    assert str(first) == "photos/one" and first.truth == photos / "one_truth.png"
    assert second[1:] == (photos / "second" / "far.png", photos / "second" / "near.png", None)
    for name in ("x-1.tif", "x-2.png", "lonely_A.png"):
        shutil.copy(photos / "one_A.png", photos / name)
    assert [pair.name for pair in pairs.within(photos)] == ["photos/one", "photos/second", "photos/x"]
    shutil.copy(photos / "one_A.png", photos / "x-a.jpg")
    with pytest.raises(ValueError, match="the same image of the same pair as"):
        pairs.within(photos)
    (photos.parent / "none").mkdir()
    with pytest.raises(ValueError, match="no pair there: NAME_A and NAME_B"):
        pairs.within(photos.parent / "none")


def test_scores_and_means(photos, triple, tmp_path, capsys):
    out = tmp_path / "out"
    asked = [str(photos), str(photos / "second"), "--out", str(out), "--set", "LP:levels=2"]
    assert compare.main([*asked, "--methods", "LP,CP", "--workers", "1"]) == 0
    with open(out / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["pair", "method", *metrics.METRICS]  # PSNR is of one of them alone
    assert [(row["pair"], row["method"]) for row in rows] == [
        (pair, title)
        for pair in ("photos/one", "photos/second", "second")
        for title in ("LP (levels=2)", "CP")
    ]
    a, b, _ = triple
    expected = metrics.evaluate(a, b, methods.fuse("lp", [a, b], levels=2))
    assert {m: float(rows[0][m]) for m in expected} == pytest.approx(expected, abs=1e-6)
    said = capsys.readouterr().out
    assert said.startswith("## Mean of 3 pairs") and (out / "summary.md").read_text() in said
    assert len(list((out / "fused").rglob("*.png"))) == 6
    assert compare.main([str(photos / "one_A.png")[:-10], "--out", str(out), "--methods", "CP"]) == 0


def test_perfect_fusions_add_psnr(photos, triple, tmp_path, capsys):
    shutil.rmtree(photos / "second")
    compare.main([str(photos), "--out", str(tmp_path / "out"), "--methods", "CP", "--workers", "1"])
    with open(tmp_path / "out" / "scores.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    a, b, sharp = triple
    fused = methods.fuse("cp", [a, b])
    assert float(row["PSNR"]) == pytest.approx(cv2.PSNR(sharp, fused), abs=1e-5) and "SSIM" in row
    capsys.readouterr()


def test_what_cannot_be_done_is_named(photos, tmp_path, capsys):
    damaged = photos / "second" / "far.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    images.write(photos / "sizes_1.png", np.zeros((30, 40), np.uint8))
    images.write(photos / "sizes_2.png", np.zeros((30, 41), np.uint8))
    out = tmp_path / "out"
    assert compare.main([str(photos), "--out", str(out), "--methods", "CP", "--workers", "1"]) == 1
    said, missing = capsys.readouterr()
    assert "Mean of 1 pairs" in said
    assert "missing: photos/second: " in missing and "missing: CP on photos/sizes: " in missing
    for wrong, words in (
        (["nosuch"], "no set or pair 'nosuch'"),
        ([str(photos), "--workers", "0"], "--workers 0"),
    ):
        with pytest.raises(ValueError, match=words):
            compare.main(wrong)
    with pytest.raises(SystemExit) as stop:
        compare.main([str(photos), "--set", "XX:window=3"])
    assert stop.value.code == 2 and "'XX' is none of" in capsys.readouterr().err
