"""Patches for the comparison method CNN, through their command."""

import re
from pathlib import Path

import numpy as np
import pytest

from data_prep import cnn_patches, make_cnn_database


def test_cnn_rows_are_a_sharp_and_a_blurred_patch(smooth_photographs, tmp_path, rows):
    out = tmp_path / "cnn"
    make_cnn_database.main(["--photos", str(smooth_photographs), "--out", str(out), "--samples", "20"])
    train, val = rows(out, "train"), rows(out, "val")
    assert len(train["label"]) + len(val["label"]) == 10 * 20  # nothing of the small one
    assert train["a"].shape[1:] == (1, 16, 16) and train["a"].dtype == np.uint8
    all_rows = {key: np.concatenate([train[key], val[key]]) for key in train}
    assert all_rows["label"].mean() == 0.5 and set(all_rows["label"]) == {0, 1}
    sharp = np.where(all_rows["label"][:, None, None, None] == 1, all_rows["a"], all_rows["b"]).astype(float)
    blurred = np.where(all_rows["label"][:, None, None, None] == 1, all_rows["b"], all_rows["a"]).astype(
        float
    )
    variances = [x.var(axis=(1, 2, 3)) for x in (sharp, blurred)]
    textured = variances[0] > 0  # but for the flat photograph
    assert textured.sum() == 9 * 20
    assert (variances[0][textured] > cnn_patches.MIN_VARIANCE).all()
    assert (variances[1][textured] < variances[0][textured]).all()
    # The same place: what is blurred is the sharp one's neighbour by its low frequencies.
    assert np.abs(sharp.mean((1, 2, 3)) - blurred.mean((1, 2, 3))).max() < 25


def test_the_same_seed_makes_the_same_rows(smooth_photographs, tmp_path, rows):
    databases = []
    for name, seed, workers in (("one", 1, 1), ("two", 1, 3), ("other", 2, 3)):
        arguments = ["--photos", smooth_photographs, "--out", tmp_path / name, "--samples", 5, "--seed", seed]
        make_cnn_database.main([str(x) for x in [*arguments, "--jobs", workers]])
        databases.append(rows(tmp_path / name, "train")["a"].tobytes())
    assert databases[0] == databases[1] != databases[2]


def make_patches(image, samples, monkeypatch):
    """The rows of one photograph, as arrays: (a, b)."""
    monkeypatch.setattr(
        cnn_patches, "load_with_rng", lambda photograph, seed: (image, np.random.default_rng(seed))
    )
    rows = list(cnn_patches.CnnPatches(samples=samples).make_rows(None))
    return (np.stack([row[i][0] for row in rows]).astype(int) for i in (0, 1))


def test_golden_blur(monkeypatch):
    i, j = np.indices((48, 64))
    planes = [(i * j // 8 + 37 * (i // 16) + k * j * j // 11) % 256 for k in (1, 2, 3)]
    a, b = make_patches(np.stack(planes, -1).astype(np.uint8), 30, monkeypatch)
    assert np.abs(a - b).mean() == pytest.approx(22.669, abs=0.05)


def test_patches_have_a_variance_of_25_and_more(monkeypatch):
    checker = np.indices((16, 96)).sum(0) % 2
    gray = np.where(np.arange(96) < 64, 101 + 9 * checker, 100 + 11 * checker).astype(np.uint8)
    a, b = make_patches(np.dstack([gray] * 3), 60, monkeypatch)  # of variance 20.25, and 30.25 on the right
    strong = (np.maximum(a.max(1), b.max(1)) == 111) | (np.minimum(a.min(1), b.min(1)) == 100)
    assert strong.sum(1).min() >= 7  # columns of 16


def test_a_test_of_the_solver_has_every_validation_patch():
    root = Path(__file__).resolve().parents[2]
    batch = re.findall(r"batch_size: (\d+)", (root / "prototxt/cnn/train_val.prototxt").read_text())[-1]
    count = re.search(r"test_iter: (\d+)", (root / "solver/cnn.prototxt").read_text())[1]
    assert cnn_patches.CnnPatches().val_patches == int(batch) * int(count)
