"""Which metric to believe: ranks on small numbers by hand, and the command on a few small photographs."""

import csv
import math

import cv2
import pytest
import skimage.data

from eval import metric_agreement as agreement
from eval import tables


def rows(**columns):
    """{title: {metric: value}} of columns of numbers."""
    titles = "abcdefgh"[: len(next(iter(columns.values())))]
    return {t: {name: values[i] for name, values in columns.items()} for i, t in enumerate(titles)}


def test_rank_agreement_by_hand():
    scores = rows(
        PSNR=[30, 31, 35, 40], MI=[0.1, 0.2, 0.9, 1.0], Q=[4, 3, 2, 1], IE=[7, 7, 7, 7], Qcv=[9, 8, 7, 1]
    )
    assert tables.rank_agreement(scores, "MI", "PSNR") == pytest.approx(1)
    assert tables.rank_agreement(scores, "Q", "PSNR") == pytest.approx(-1)
    assert tables.rank_agreement(scores, "Qcv", "PSNR") == pytest.approx(1)  # less is better
    assert math.isnan(tables.rank_agreement(scores, "IE", "PSNR"))
    ties = rows(PSNR=[1, 2, 3, 4], SF=[1, 2, 2, 3])
    # ranks 1, 2.5, 2.5, 4
    assert tables.rank_agreement(ties, "SF", "PSNR") == pytest.approx(4.5 / math.sqrt(5 * 4.5))
    lacking = rows(PSNR=[1, 2, 3], SF=[1, 2, math.nan])
    assert math.isnan(tables.rank_agreement(lacking, "SF", "PSNR"))


def test_means_leave_out_what_has_no_rank():
    first = rows(PSNR=[1, 2, 3], SSIM=[3, 2, 1], SF=[1, 2, 3], MI=[0, 0, 0])
    second = rows(PSNR=[1, 2, 3], SSIM=[1, 2, 3], SF=[1, 1, 1], MI=[0, 0, 0])
    for scores in (first, second):
        scores["A"] = {"PSNR": 0, "SSIM": 0, "SF": 9, "MI": 9}
    means = agreement.mean_agreement({"x": first, "y": second}, ["MI", "SF"])
    assert list(means) == ["SF", "MI"]
    assert means["SF"][:2] == pytest.approx((1, -1))
    assert means["SF"][2] < 0.2 and math.isnan(means["MI"][0])  # A is ranked too
    table = agreement.format_agreement(means).splitlines()
    assert table[2].startswith("| SF | 1.00 | -1.00 | ") and table[3].endswith("| -0.10 |")
    assert "| Qcv, reversed | 1.00 | 1.00 | 1.00 | 0.46 |" in agreement.format_agreement({"Qcv": (1, 1, 1)})


def test_command(tmp_path, capsys):
    photograph = cv2.resize(skimage.data.coffee(), (200, 150))
    (tmp_path / "photos").mkdir()
    for i in range(20):
        cv2.imwrite(str(tmp_path / f"photos/{i:02d}.png"), photograph[2 * i :][:96, 3 * i :][:, :112])
    arguments = ["--photos", str(tmp_path / "photos"), "--out", str(tmp_path / "out")]
    agreement.main(
        [*arguments, "--count", "1", "--side", "64", "--methods", "DWT,LP,CP", "--metrics", "SF,Qcv"]
    )
    output = capsys.readouterr().out
    assert (
        output == (tmp_path / "out/summary.md").read_text()
        and "over DWT, LP, CP; one pair, recipe defocus:" in output
    )
    with open(tmp_path / "out/scores.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["method"] for line in lines] == ["DWT", "LP", "CP", "mean", "A", "B"]
    assert list(lines[0]) == ["pair", "method", "SF", "Qcv", "PSNR", "SSIM"]
    for wrong in (["--count", "0"], ["--side", "9"], ["--metrics", "XX"], ["--methods", "XX"]):
        with pytest.raises(SystemExit):
            agreement.main([*arguments, *wrong])
    capsys.readouterr()
