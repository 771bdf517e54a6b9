import hashlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from data_prep import make_database
from data_prep.pair_patches import PairPatches
from eval import held_out


@pytest.fixture
def photos(tmp_path):
    """Thirty photographs: crops of one inside scikit-image."""
    image = cv2.resize(skimage.data.coffee(), (400, 300))
    for i in range(30):
        cv2.imwrite(str(tmp_path / f"{i:02d}.png"), image[5 * i :][:96, 7 * i :][:, :128])
    return tmp_path


def test_photographs_are_those_that_make_data_holds_out(photos, tmp_path):
    out = tmp_path / "data"
    make_database.main(["--photos", str(photos), "--out", str(out), "--recipe", "defocus"])
    manifest = json.loads((out / "manifest.json").read_text())
    held_out_files = {p["file"] for p in manifest["photographs"] if p["set"] == "val"}
    spec = PairPatches(recipe="defocus")
    with ThreadPoolExecutor(1) as pool:
        entries = held_out.held_out_photographs(str(photos), spec, pool)
    assert {Path(entry.path).name for entry in entries} == held_out_files and len(held_out_files) == 3


def test_skipped_photographs_are_named_on_stderr(photos, monkeypatch, capsys):
    (photos / "00.png").write_bytes(b"no photograph")
    monkeypatch.setattr(held_out, "score_pairs", lambda *rest: ({}, {}))
    with pytest.raises(ValueError, match="no pair"):
        held_out.main(["--photos", str(photos), "--model", "2-1-2_f32_k3-defocus"])
    assert f"skipped: {photos / '00.png'}" in capsys.readouterr().err


def test_what_is_printed(photos, capsys):
    held_out.main(["--photos", str(photos), "--count", "2", "--model", "2-1-2_f32_k3-defocus",
                    "--select", "boundary_cost=3,seam_sigma=0", "--methods", "LP"])  # fmt: skip
    printed, ground_truth = capsys.readouterr().out.split("\n\n| |")
    head, _, _, _, *rows = printed.splitlines()
    assert head == "mean of 2 pairs, recipe defocus, noise 0"
    table = {row.split("|")[1].strip(): row.replace("*", "").split("|")[2:-1] for row in rows}
    assert list(table) == ["net", "select", "select boundary_cost=3,seam_sigma=0", "LP"]
    assert float(table["net"][0]) > float(table["LP"][0]) > 25  # PSNR in dB
    assert all(0 < float(cell) < 2 for row in table.values() for cell in row[1:])
    *_, scores, above = [line.split("|")[2:-1] for line in ground_truth.splitlines()]
    for i, metric in enumerate(held_out.COLUMNS[2:]):
        more = [float(row[i + 2]) > float(scores[i]) for row in table.values()]
        assert sum(more) == int(above[i]), metric


def test_photographs_in_one_colour(photos, monkeypatch, capsys):
    images_seen = []

    def fused(a, b, *rest):
        images_seen.append((a, b))
        return {"net": a}

    monkeypatch.setattr(held_out, "fuse_all", fused)
    net = ["--photos", str(photos), "--count", "1", "--model", "2-1-2_f32_k3-defocus"]
    held_out.main(net)
    held_out.main([*net, "--colours", "1,0.15,0"])
    assert "noise 0, colours (1.0, 0.15, 0.0)\n" in capsys.readouterr().out
    for image, red in zip(*images_seen):
        np.testing.assert_array_equal(red, np.rint(image * np.float32([1, 0.15, 0])))
    for noise in ("-1", "nan", "inf"):
        with pytest.raises(SystemExit):
            held_out.main([*net, "--noise", noise])
        assert "--noise at least 0" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        held_out.main([*net, "--pairs", "voc-synthetic"])
    assert "--pairs has pairs of its own" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        held_out.main([*net, "--colours", "1,2,0"])
    assert "1,2,0: three numbers in 0..1 are needed" in capsys.readouterr().err


def test_noise_is_of_the_deviation_asked_for(photos):
    image = cv2.imread(str(photos / "03.png"))
    noisy = held_out.add_noise(image, 5, np.random.default_rng(0))
    assert 2 < (noisy.astype(float) - image).std() < 6


def test_jpeg_is_that_of_an_rgb_image():
    """Blue weighs the least in it, and loses the most."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 2] = np.random.default_rng(0).integers(0, 256, (64, 64))
    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "JPEG", quality=92)
    expected = np.asarray(Image.open(packed)).astype(int)
    differences = [
        np.abs(noisy - expected).mean() for noisy in (held_out.add_noise(image, 0, np.random), image)
    ]
    assert differences[0] < differences[1] / 10


def test_photographs_of_no_pair_are_reported(photos, monkeypatch):
    same = np.zeros((20, 20, 3), np.uint8)
    monkeypatch.setattr(held_out, "make_pair", lambda *_: (same, same, same))
    with pytest.raises(ValueError, match="no pair, of 3 held-out photographs"):
        held_out.main(["--photos", str(photos), "--model", "2-1-2_f32_k3-defocus"])


def test_pairs_of_another_origin_have_a_ground_truth(tmp_path, monkeypatch, capsys):
    """Where the object is, the ground truth is b, elsewhere a; the files are those of FUSION_DATA."""
    rng, rows = np.random.default_rng(0), {}
    for role in ("A", "B", "label"):
        file = f"pairs/voc-synthetic/voc_01/voc_01_{role}.png"
        levels = rng.integers(0, 256, (40, 50), dtype=np.uint8)
        image = Image.fromarray(levels)
        if role == "label":
            levels[:] = 0
            levels[10:20, 15:30] = 7
            image = Image.fromarray(levels, "P")
            image.putpalette([0, 0, 0] + [40, 120, 200] * 255)
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)
        row = dict.fromkeys(("png_sha256", "copy_sha256", "repo"), "")
        rows[file] = {**row, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    monkeypatch.setenv("FUSION_DATA", str(tmp_path))
    monkeypatch.setattr(held_out.fetch, "registry", lambda: rows)
    held_out.fetch.list_groups.cache_clear()
    ((name, (a, b, clean)),) = held_out.segmented_pairs("voc-synthetic")
    held_out.fetch.list_groups.cache_clear()
    region = np.zeros((40, 50, 1), bool)
    region[10:20, 15:30] = True
    assert name == "voc-synthetic/voc_01" and a.shape == b.shape == (40, 50, 3)
    np.testing.assert_array_equal(clean, np.where(region, b, a))
    monkeypatch.setattr(held_out, "segmented_pairs", lambda name: [(name, [a, b, clean])])
    held_out.main(["--pairs", "voc-synthetic", "--model", "2-1-2_f32_k3-defocus"])
    assert capsys.readouterr().out.startswith("mean of 1 pairs, set voc-synthetic, noise 0\n")


def test_mistakes_are_reported(photos):
    photos = ["--photos", str(photos)]
    with pytest.raises(ValueError, match="'boundary=3': select takes boundary_cost=12, detail_sigma="):
        held_out.main([*photos, "--select", "boundary=3"])
    with pytest.raises(ValueError, match="'boundary_cost': select takes boundary_cost=12"):
        held_out.main([*photos, "--select", "boundary_cost"])
    with pytest.raises(ValueError, match=r"'XX' is not one of .*DWT, LP, "):
        held_out.main([*photos, "--methods", "XX"])
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        held_out.main(["--photos", "nowhere"])
