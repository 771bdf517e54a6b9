"""The databases of the comparison methods CNN and SRCNN, through their commands."""

import json
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from PIL import Image

from data_prep import make_cnn_database, make_database, make_srcnn_database
from two_stream_fusion.methods import srcnn, uwt


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """Ten photographs, 128x112: smooth noise; one flat, and one smaller than any patch."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(10):
        noise = cv2.GaussianBlur(rng.integers(0, 256, (112, 128, 3), np.uint8), (0, 0), 1)
        Image.fromarray(noise if i else np.full_like(noise, 90)).save(folder / f"{i:02d}.png")
    Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(folder / "small.png")
    return folder


def read(out, split):
    parts = []
    for name in (out / f"{split}.txt").read_text().split():
        with h5py.File(name, "r") as file:
            parts.append({key: file[key][()] for key in file})
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def test_cnn_rows_are_a_sharp_and_a_blurred_patch(photographs, tmp_path):
    out = tmp_path / "cnn"
    make_cnn_database.main(["--photos", str(photographs), "--out", str(out), "--samples", "20"])
    train, val = read(out, "train"), read(out, "val")
    assert len(train["label"]) + len(val["label"]) == 10 * 20  # nothing of the small one
    assert train["a"].shape[1:] == (1, 16, 16) and train["a"].dtype == np.uint8
    rows = {key: np.concatenate([train[key], val[key]]) for key in train}
    assert rows["label"].mean() == 0.5 and set(rows["label"]) == {0, 1}
    sharp = np.where(rows["label"][:, None, None, None] == 1, rows["a"], rows["b"]).astype(float)
    blurred = np.where(rows["label"][:, None, None, None] == 1, rows["b"], rows["a"]).astype(float)
    variances = [x.var(axis=(1, 2, 3)) for x in (sharp, blurred)]
    textured = variances[0] > 0  # but for the flat photograph
    assert textured.sum() == 9 * 20
    assert (variances[0][textured] > make_cnn_database.VARIANCE).all()
    assert (variances[1][textured] < variances[0][textured]).all()
    # The same place: what is blurred is the sharp one's neighbour by its low frequencies.
    assert np.abs(sharp.mean((1, 2, 3)) - blurred.mean((1, 2, 3))).max() < 25


def test_the_same_seed_makes_the_same_rows(photographs, tmp_path):
    made = []
    for name, seed, workers in (("one", 1, 1), ("two", 1, 3), ("other", 2, 3)):
        arguments = ["--photos", photographs, "--out", tmp_path / name, "--samples", 5, "--seed", seed]
        make_cnn_database.main([str(x) for x in [*arguments, "--workers", workers]])
        made.append(read(tmp_path / name, "train")["a"].tobytes())
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize("planes", ["approximation", "detail"])
def test_srcnn_rows_are_planes_of_the_transform(photographs, tmp_path, planes):
    out = tmp_path / planes
    arguments = ["--planes", planes, "--photos", photographs, "--out", out, "--samples", 6]
    make_srcnn_database.main(list(map(str, arguments)))
    rows = read(out, "train")
    assert rows["data"].shape[1:] == (1, 48, 48) == rows["label"].shape[1:]
    assert rows["data"].dtype == np.float32
    assert json.loads((out / "manifest.json").read_text())["planes"] == planes
    # Every crop of one photograph's labels is found again in its transform, and nowhere is it the data's.
    image = cv2.imread(str(photographs / "05.png"))[..., ::-1]
    gray = make_database.planes(image)[3].astype(np.float32)
    transform = uwt.transform(gray, srcnn.LEVELS, spacing=srcnn.SCALE)
    wanted = [p for i, p in enumerate(transform) if (i == 0) == (planes == "approximation")]
    crops = np.concatenate([read(out, split)["label"] for split in ("train", "val")])[:, 0]
    found = 0
    for crop in crops * srcnn.PLANE_SCALES[planes]:
        best = min(
            cv2.minMaxLoc(
                cv2.matchTemplate(p.astype(np.float32), crop.astype(np.float32), cv2.TM_SQDIFF)
            )[0]
            for p in wanted
        )  # fmt: skip
        found += crop.var() > 0 and best < 1e-3 * (crop.astype(float) ** 2).sum()
    assert found == 6
    flat = rows["data"].var((1, 2, 3)) < 1e-8
    assert not np.allclose(rows["data"][~flat], rows["label"][~flat], atol=1e-4)


def test_masks_do_not_matter_without_regions(photographs, tmp_path, capsys):
    Image.open(photographs / "05.png").save(photographs / "05.jpg")
    Image.new("L", (128, 112), 255).save(photographs / "05.png")  # no region, a warning for pairs
    make_cnn_database.main(["--photos", str(photographs), "--out", str(tmp_path / "cnn"), "--samples", "2"])
    assert "warning" not in capsys.readouterr().err
    manifest = json.loads((tmp_path / "cnn" / "manifest.json").read_text())
    assert manifest["kind"] == "cnn" and not any("region" in entry for entry in manifest["photographs"])


PAIRS, CNN = (make_database, ["--patch", "16"]), (make_cnn_database, ["--samples", "2"])
DETAIL, APPROXIMATION = (
    (make_srcnn_database, ["--samples", "2", "--planes", planes]) for planes in ("detail", "approximation")
)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (PAIRS, CNN, "of kind pairs, not cnn: give another --out"),
        (CNN, PAIRS, "of kind cnn, not pairs"),
        (DETAIL, APPROXIMATION, "of kind srcnn_detail, not srcnn_approximation"),
    ],
)
def test_a_database_of_another_kind_is_not_replaced(photographs, tmp_path, first, second, words):
    def run(kind):
        kind[0].main([*kind[1], "--photos", str(photographs), "--out", "data"])

    run(first)
    path = tmp_path / "data" / "manifest.json"
    before = path.read_bytes()
    with pytest.raises(ValueError, match=words):
        run(second)
    assert path.read_bytes() == before
    run(first)


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        (make_cnn_database, ["--samples", "0"], "--samples"),
        (make_cnn_database, ["--val-share", "1"], "--val-share"),
        (make_srcnn_database, [], "--planes"),
        (make_srcnn_database, ["--planes", "detail", "--workers", "0"], "--workers"),
    ],
)
def test_wrong_usage_is_status_2(capsys, module, arguments, words):
    with pytest.raises(SystemExit) as stop:
        module.main(arguments)
    assert stop.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize("module", [uwt, srcnn])
def test_the_manifest_of_srcnns_planes_goes_by_the_transform_too(photographs, tmp_path, monkeypatch, module):
    kind = make_database.Rows("planes", None, None, make_srcnn_database.rows)
    first = make_database.described([], photographs, {}, kind)
    code = tmp_path / "changed.py"
    code.write_bytes(Path(module.__file__).read_bytes() + b"\n")
    monkeypatch.setattr(module, "__file__", str(code))
    assert make_database.described([], photographs, {}, kind)["made_with"] != first["made_with"]
