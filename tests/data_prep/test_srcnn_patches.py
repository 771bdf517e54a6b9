"""Crops for the comparison method SRCNN, through their command."""

import json

import cv2
import numpy as np
import pytest

from data_prep import make_srcnn_database, srcnn_patches
from data_prep.pair_patches import channels
from two_stream_fusion.methods import registry, srcnn, uwt


@pytest.mark.parametrize("planes", ["approximation", "detail"])
def test_srcnn_rows_are_planes_of_the_transform(smooth_photographs, tmp_path, planes, rows):
    out = tmp_path / planes
    arguments = ["--planes", planes, "--photos", smooth_photographs, "--out", out, "--samples", 6]
    make_srcnn_database.main(list(map(str, arguments)))
    train = rows(out, "train")
    assert train["data"].shape[1:] == (1, 48, 48) == train["label"].shape[1:]
    assert train["data"].dtype == np.float32
    assert json.loads((out / "manifest.json").read_text())["planes"] == planes
    # Every crop of one photograph's labels is found again in its transform, and nowhere is it the data's.
    image = cv2.imread(str(smooth_photographs / "05.png"))[..., ::-1]
    gray = channels(image)[3].astype(np.float32)
    transform = uwt.transform(gray, srcnn.LEVELS, spacing=srcnn.SCALE)
    expected = [p for i, p in enumerate(transform) if (i == 0) == (planes == "approximation")]
    crops = np.concatenate([rows(out, split)["label"] for split in ("train", "val")])[:, 0]
    matches = 0
    for crop in crops * srcnn.PLANE_SCALES[planes]:
        best = min(
            cv2.minMaxLoc(
                cv2.matchTemplate(p.astype(np.float32), crop.astype(np.float32), cv2.TM_SQDIFF)
            )[0]
            for p in expected
        )  # fmt: skip
        matches += crop.var() > 0 and best < 1e-3 * (crop.astype(float) ** 2).sum()
    assert matches == 6
    flat = train["data"].var((1, 2, 3)) < 1e-8
    assert not np.allclose(train["data"][~flat], train["label"][~flat], atol=1e-4)


@pytest.mark.parametrize(("side", "rows"), [(103, 0), (104, 8)])
def test_borders_of_24_pixels_are_left_out(side, rows):
    """Of the 104 pixels 48 are a patch, and 8 are left to choose its place by."""
    assert srcnn_patches.SrcnnPatches().count_rows((side, 200)) == rows


def test_rows_are_of_the_scale_and_the_levels_of_the_method():
    options = registry.options("srcnn")
    assert (options["scale"], options["levels"]) == (srcnn.SCALE, srcnn.LEVELS)
