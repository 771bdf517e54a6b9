"""eval/CALIBRATION.md is what eval/calibrate.py writes."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from eval import calibrate
from two_stream_fusion.metrics import REGISTRY


def test_fusion_rules():
    a = np.zeros((30, 40), np.uint8)
    a[:, :20] = np.random.default_rng(0).integers(0, 256, (30, 20))
    b = a[:, ::-1].copy()
    assert calibrate.average(np.array([[0, 255]], np.uint8), np.array([[1, 255]], np.uint8)).tolist() == [
        [1, 255]
    ]
    fused = calibrate.select_by_variance(a, b)
    np.testing.assert_array_equal(fused[:, :15], a[:, :15])
    np.testing.assert_array_equal(fused[:, 25:], b[:, 25:])


def test_the_document_names_the_metrics_without_a_toolbox():
    with open(calibrate.ROOT / "eval/toolbox_values.csv", newline="") as file:
        compared = {row["name"] for row in csv.DictReader(file)}
    compared |= {"IE", "EN", "NMI", "MI_nats"}  # by scikit-image, by their other names, and from MI_bits
    text = (calibrate.ROOT / "eval/calibration.template.md").read_text(encoding="utf-8")
    others = [name for name in REGISTRY if name not in compared]
    assert f"{', '.join(others[:-1])} and {others[-1]} have no toolbox" in text


def test_the_document_is_up_to_date(tmp_path):
    if not os.environ.get("FUSION_DATA"):
        pytest.skip("FUSION_DATA does not name the folder with the evaluation pairs")
    calibrate.main(["-o", str(tmp_path / "CALIBRATION.md")])
    document = (tmp_path / "CALIBRATION.md").read_text(encoding="utf-8")
    assert document == Path(calibrate.ROOT, "eval", "CALIBRATION.md").read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["CALIBRATION.md"]
