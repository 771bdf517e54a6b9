"""The pair of a photograph, its channels and the grid of patches."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data_prep import database, photographs
from data_prep.builder import PlannedPhotograph
from data_prep.pair_patches import PairPatches, channels, make_training_pair, patch_corners

SPEC = PairPatches(patch=16, val_patches=0)
BVLC_PYTHON = Path(__file__).resolve().parents[2] / "build" / "bvlc" / "bin" / "python"


def test_a_row_holds_one_place_of_one_pair(folder, tmp_path, make, rows):
    make(folder, tmp_path / "data")
    train = rows(tmp_path / "data")
    sharp = [(train[key] == train["label"]).all(axis=1) for key in ("a", "b")]  # in all four channels
    assert (sharp[0] | sharp[1]).all()
    # The object and the rest, and either of them blurred in a, are all to be seen somewhere.
    assert 0.2 < sharp[0].mean() < 0.8 and 0.2 < sharp[1].mean() < 0.8
    assert train["a"].dtype == np.uint8 and train["a"].shape == (66, 4, 16, 16)


def test_the_mask_is_the_object(folder):
    _, sha256 = photographs.read(folder / "02.jpg")
    mask = str(folder / "02.png")
    photograph = PlannedPhotograph(str(folder / "02.jpg"), mask, sha256, (40, 56), 6)
    a, b, label = make_training_pair(photograph, SPEC)
    changed = [(image != label).any(axis=0) for image in (a, b)]
    inside = np.zeros((40, 56), bool)
    inside[16:, 16:] = True
    object_blurred, rest_blurred = changed if changed[0][30, 40] else changed[::-1]
    assert not object_blurred[~inside].any() and object_blurred[inside].mean() > 0.9
    assert not rest_blurred[inside].any() and rest_blurred[~inside].mean() > 0.9


def test_gray_stride_and_manifest(folder, tmp_path, make, rows):
    manifest = make(folder, tmp_path / "data", gray=True, stride=8)
    train = rows(tmp_path / "data")
    assert all((train[key] == train[key][:, :1]).all() for key in train)
    assert manifest == json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert manifest["seed"] == 1 and manifest["gray"] is True and manifest["stride"] == 8
    entry = next(entry for entry in manifest["photographs"] if entry["file"] == "02.jpg")
    assert entry["region"] == "mask" and entry["patches"] == 4 * 6
    assert entry["sha256"] == photographs.read(folder / "02.jpg")[1]
    assert sum(entry["patches"] for entry in manifest["photographs"]) == sum(manifest["rows"].values())


def test_several_pairs_of_each_photograph_to_train_on(folder, tmp_path, make, rows, contents):
    make(folder, tmp_path / "one")
    assert make(folder, tmp_path / "three", pairs=3)["rows"] == {"train": 3 * 66, "val": 6}
    one, three = rows(tmp_path / "one"), rows(tmp_path / "three")
    labels = [Counter(patch.tobytes() for patch in data["label"]) for data in (one, three)]
    assert labels[1] == Counter({patch: 3 * count for patch, count in labels[0].items()})
    patches_of = {}  # each pair has a blur and a region of its own
    for a, b, label in zip(*(three[key] for key in ("a", "b", "label"))):
        patches_of.setdefault(label.tobytes(), set()).add(a.tobytes() + b.tobytes())
    assert np.mean([len(pairs) for pairs in patches_of.values()]) > 2.5
    pairs = {(a.tobytes(), b.tobytes()) for a, b in zip(three["a"], three["b"])}
    assert all((a.tobytes(), b.tobytes()) in pairs for a, b in zip(one["a"], one["b"]))
    val = [contents(tmp_path / name / "val") for name in ("one", "three")]
    assert val[0] == val[1]


def test_other_colours_to_train_on_alone(folder, tmp_path, make, rows, contents):
    manifests = {
        name: make(folder, tmp_path / name, pairs=8, recolour=name == "new") for name in ("old", "new")
    }
    assert manifests["old"]["rows"] == manifests["new"]["rows"]
    assert contents(tmp_path / "old" / "val") == contents(tmp_path / "new" / "val")
    photographed = {patch.tobytes() for patch in rows(tmp_path / "old")["label"]}
    labels = rows(tmp_path / "new")["label"]
    is_photographed = np.array([patch.tobytes() in photographed for patch in labels])
    assert 0.3 < is_photographed.mean() < 0.7
    strongest = labels[~is_photographed][:, :3].mean((2, 3))
    assert (strongest.max(1) > 1.5 * strongest.min(1)).mean() > 0.8  # the photographs are gray
    assert len(np.unique(strongest.argmax(1))) == 3


@pytest.mark.bvlc
def test_real_caffe_reads_the_rows(folder, tmp_path, monkeypatch, make, rows):
    monkeypatch.setattr(database, "MAX_FILE_BYTES", 7 * 12 * 16**2)
    make(folder, tmp_path / "data")
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "data" type: "HDF5Data" top: "a" top: "b" top: "label"'
        f' hdf5_data_param {{ source: "{tmp_path}/data/train.txt" batch_size: 66 }} }}'
    )
    script = (
        "import caffe, numpy as np; net = caffe.Net('net.prototxt', caffe.TRAIN); net.forward();"
        "np.savez('read.npz', **{key: blob.data for key, blob in net.blobs.items()})"
    )
    subprocess.run([str(BVLC_PYTHON), "-c", script], cwd=tmp_path, check=True)
    train = rows(tmp_path / "data")
    with np.load(tmp_path / "read.npz") as read:
        assert all(read[key].dtype == np.float32 and np.array_equal(read[key], train[key]) for key in train)


def test_gray_plane_is_rec601_rounded_half_up():
    rgb = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 250], [1, 2, 3]]], np.uint8)
    # 76.245, 149.685, 29.07, 28.5, 1.815
    assert channels(rgb)[3].tolist() == [[76, 150, 29, 29, 2]]
    assert np.array_equal(np.moveaxis(channels(rgb)[:3], 0, 2), rgb)
    assert channels(rgb, gray=True).tolist() == [[[76, 150, 29, 29, 2]]] * 4


def test_a_gray_photograph_is_the_same_in_all_four_channels():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert (channels(ramp) == np.arange(256)).all()


def test_patches_tile_without_overlap_by_default():
    assert patch_corners(100, 120, 50, 50) == [(0, 0), (0, 50), (50, 0), (50, 50)]
    assert patch_corners(50, 59, 50, 5) == [(0, 0), (0, 5)]
    assert patch_corners(49, 500, 50, 50) == []


def test_the_stride_is_the_side_of_a_patch_by_default():
    assert PairPatches(patch=25).stride == 25 and PairPatches(patch=25, stride=5).stride == 5
