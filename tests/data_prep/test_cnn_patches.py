"""Patches for the comparison method CNN, through their command."""

import numpy as np

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
        make_cnn_database.main([str(x) for x in [*arguments, "--workers", workers]])
        databases.append(rows(tmp_path / name, "train")["a"].tobytes())
    assert databases[0] == databases[1] != databases[2]
