import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, namedtuple
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from PIL import Image

from data_prep import database, fetch, make_database, photographs, recipes
from two_stream_fusion.base import files

REPOSITORY = Path(make_database.__file__).resolve().parents[1]
COMMAND = [sys.executable, str(REPOSITORY / "data_prep" / "make_database.py")]
BVLC_PYTHON = REPOSITORY / "build" / "bvlc" / "bin" / "python"
SETTINGS = {
    "recipe": "paper",
    "patch": 16,
    "stride": 16,
    "gray": False,
    "val_share": 0.1,
    "val_patches": 0,
    "seed": 1,
}


@pytest.fixture
def folder(tmp_path):
    """Twelve photographs of noise, 56x40 (6 patches of 16), each in grays of its own; 02 has a mask."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        pixels = rng.integers(20 * i, 20 * i + 20, (40, 56, 3), dtype=np.uint8)
        # A JPEG only where the mask's rule asks for one: PNG keeps the range exactly.
        Image.fromarray(pixels).save(folder / ("02.jpg" if i == 2 else f"{i:02d}.png"), quality=95)
    mask = np.zeros((40, 56), np.uint8)
    mask[16:, 16:] = 255
    Image.fromarray(mask).save(folder / "02.png")
    return folder


def make(folder, out, workers=2, **changes):
    return make_database.make(photographs.find(folder), folder, out, {**SETTINGS, **changes}, workers)


def rows(out, split="train"):
    """The datasets of a split, as its list names the files."""
    files = Path(out, f"{split}.txt").read_text().split()
    parts = []
    for name in files:
        with h5py.File(name, "r") as file:
            parts.append({key: file[key][()] for key in ("a", "b", "label")})
    return {key: np.concatenate([part[key] for part in parts]) for key in ("a", "b", "label")}


def contents(out):
    """Every file below a folder, as bytes."""
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(Path(out).rglob("*")) if p.is_file()}


def test_every_patch_of_every_photograph_is_there_once_and_shuffled(folder, tmp_path):
    manifest = make(folder, tmp_path / "data")
    assert manifest["rows"] == {"train": 66, "val": 6}
    want = Counter()
    for entry in manifest["photographs"]:
        image = make_database.planes(photographs.read(folder / entry["file"])[0])
        for y in (0, 16):
            for x in (0, 16, 32):
                want[image[:, y : y + 16, x : x + 16].tobytes()] += 1
    train, val = rows(tmp_path / "data"), rows(tmp_path / "data", "val")
    got = Counter(patch.tobytes() for patch in np.concatenate([train["label"], val["label"]]))
    assert got == want
    origin = train["label"].mean(axis=(1, 2, 3)) // 20
    assert len(set(origin[:12])) > 4  # in the order of the grid it would be 2


def test_a_row_holds_one_place_of_one_pair(folder, tmp_path):
    make(folder, tmp_path / "data")
    train = rows(tmp_path / "data")
    sharp = [(train[key] == train["label"]).all(axis=1) for key in ("a", "b")]  # in all four channels
    assert (sharp[0] | sharp[1]).all()
    # The object and the rest, and either of them blurred in a, are all to be seen somewhere.
    assert 0.2 < sharp[0].mean() < 0.8 and 0.2 < sharp[1].mean() < 0.8
    assert train["a"].dtype == np.uint8 and train["a"].shape == (66, 4, 16, 16)


def test_the_mask_is_the_object(folder):
    entry = make_database.inspect((str(folder / "02.jpg"), str(folder / "02.png")))
    a, b, label = make_database.pair(entry, SETTINGS)
    changed = [(image != label).any(axis=0) for image in (a, b)]
    inside = np.zeros((40, 56), bool)
    inside[16:, 16:] = True
    object_blurred, rest_blurred = changed if changed[0][30, 40] else changed[::-1]
    assert not object_blurred[~inside].any() and object_blurred[inside].mean() > 0.9
    assert not rest_blurred[inside].any() and rest_blurred[~inside].mean() > 0.9


def test_the_same_seed_gives_the_same_files_for_any_workers_order_and_names(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(folder, "data", workers=1)
    first = contents("data")
    make(folder, "data", workers=5)
    assert contents("data") == first
    (folder / "deep").mkdir()
    for path in list(folder.glob("*.png")):
        if path.name != "02.png":
            path.rename(folder / "deep" / f"{99 - int(path.stem)}.png")
    make(folder, "data")
    assert {k: v for k, v in contents("data").items() if k.endswith(".h5")} == {
        k: v for k, v in first.items() if k.endswith(".h5")
    }
    make(folder, "data", seed=2)
    assert contents("data")["train/000.h5"] != first["train/000.h5"]


def test_a_photograph_is_in_training_or_in_validation(folder, tmp_path):
    manifest = make(folder, tmp_path / "data", val_share=0.4)
    ranges = [set(rows(tmp_path / "data", s)["label"].mean(axis=(1, 2, 3)) // 20) for s in ("train", "val")]
    assert len(ranges[0]) == 7 and len(ranges[1]) == 5 and not ranges[0] & ranges[1]
    assert Counter(entry["set"] for entry in manifest["photographs"]) == {"train": 7, "val": 5}


def test_two_photographs_are_enough(folder, tmp_path):
    for path in sorted(folder.iterdir())[4:]:
        path.unlink()
    for path in (folder / "02.png", folder / "02.jpg"):
        path.unlink()
    assert make(folder, tmp_path / "data")["rows"] == {"train": 6, "val": 6}
    next(folder.iterdir()).unlink()
    with pytest.raises(ValueError, match="1 usable"):
        make(folder, tmp_path / "other")
    assert not list(tmp_path.glob("other*"))


def test_many_files_and_a_limit_for_validation(folder, tmp_path, monkeypatch):
    whole = make(folder, tmp_path / "one", val_patches=4)
    monkeypatch.setattr(database, "SIZE", 7 * 12 * 16**2)
    make(folder, tmp_path / "many", val_patches=4)
    assert whole["rows"] == {"train": 66, "val": 4}
    assert len((tmp_path / "many" / "train.txt").read_text().split()) == 10
    for split in ("train", "val"):
        one, many = rows(tmp_path / "one", split), rows(tmp_path / "many", split)
        assert all(np.array_equal(one[key], many[key]) for key in one)


def test_gray_stride_and_manifest(folder, tmp_path):
    manifest = make(folder, tmp_path / "data", gray=True, stride=8)
    train = rows(tmp_path / "data")
    assert all((train[key] == train[key][:, :1]).all() for key in train)
    assert manifest == json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert manifest["seed"] == 1 and manifest["gray"] is True and manifest["stride"] == 8
    entry = next(entry for entry in manifest["photographs"] if entry["file"] == "02.jpg")
    assert entry["region"] == "mask" and entry["patches"] == 4 * 6
    assert entry["sha256"] == photographs.read(folder / "02.jpg")[1]
    assert sum(entry["patches"] for entry in manifest["photographs"]) == sum(manifest["rows"].values())


def test_the_manifest_says_what_is_in_the_files(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "SIZE", 20 * 12 * 16**2)
    manifest = make(folder, tmp_path / "data")
    files = {name: data for name, data in contents(tmp_path / "data").items() if name.endswith(".h5")}
    assert len(files) == 5
    assert manifest["sha256"] == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def test_the_manifest_says_what_the_rows_are_made_of(folder, tmp_path, monkeypatch):
    def begins():
        return make_database.described(photographs.find(folder), folder, SETTINGS)

    manifest = make(folder, tmp_path / "data")
    first = begins()
    assert {key: manifest[key] for key in first} == first and first["kind"] == "pairs"
    assert first["sources"]["files"] == 13
    shutil.copytree(folder, tmp_path / "moved")
    assert (
        make_database.described(photographs.find(tmp_path / "moved"), tmp_path / "moved", SETTINGS) == first
    )
    os.utime(folder / "02.png", (0, 0))  # the mask
    assert begins()["sources"] != first["sources"]
    shutil.rmtree(folder)
    shutil.move(tmp_path / "moved", folder)
    assert begins() == first
    (folder / "07.png").rename(folder / "70.png")
    assert begins()["sources"] != first["sources"]
    code = tmp_path / "recipes.py"
    code.write_bytes(Path(recipes.__file__).read_bytes() + b"\n")
    monkeypatch.setattr(recipes, "__file__", str(code))
    assert begins()["made_with"] != first["made_with"]


def test_several_pairs_of_each_photograph_to_train_on(folder, tmp_path):
    make(folder, tmp_path / "one")
    assert make(folder, tmp_path / "three", pairs=3)["rows"] == {"train": 3 * 66, "val": 6}
    one, three = rows(tmp_path / "one"), rows(tmp_path / "three")
    labels = [Counter(patch.tobytes() for patch in data["label"]) for data in (one, three)]
    assert labels[1] == Counter({patch: 3 * count for patch, count in labels[0].items()})
    drawn = {}  # each pair has a blur and a region of its own
    for a, b, label in zip(*(three[key] for key in ("a", "b", "label"))):
        drawn.setdefault(label.tobytes(), set()).add(a.tobytes() + b.tobytes())
    assert np.mean([len(pairs) for pairs in drawn.values()]) > 2.5
    pairs = {(a.tobytes(), b.tobytes()) for a, b in zip(three["a"], three["b"])}
    assert all((a.tobytes(), b.tobytes()) in pairs for a, b in zip(one["a"], one["b"]))
    val = [contents(tmp_path / name / "val") for name in ("one", "three")]
    assert val[0] == val[1]


def test_other_colours_to_train_on_alone(folder, tmp_path):
    made = {name: make(folder, tmp_path / name, pairs=8, recolour=name == "new") for name in ("old", "new")}
    assert made["old"]["rows"] == made["new"]["rows"]
    assert contents(tmp_path / "old" / "val") == contents(tmp_path / "new" / "val")
    photographed = {patch.tobytes() for patch in rows(tmp_path / "old")["label"]}
    labels = rows(tmp_path / "new")["label"]
    kept = np.array([patch.tobytes() in photographed for patch in labels])
    assert 0.3 < kept.mean() < 0.7
    strongest = labels[~kept][:, :3].mean((2, 3))
    assert (strongest.max(1) > 1.5 * strongest.min(1)).mean() > 0.8  # the photographs are gray
    assert len(np.unique(strongest.argmax(1))) == 3


def test_what_cannot_serve_is_named_skipped_and_counted(folder, tmp_path, capsys, monkeypatch):
    (folder / "broken.jpg").write_bytes((folder / "02.jpg").read_bytes()[:300])
    shutil.copy(folder / "03.png", folder / "again.png")
    Image.new("RGB", (15, 100)).save(folder / "narrow.png")
    Image.new("L", (9, 9), 255).save(folder / "02.png")
    judged = photographs.read(folder / "05.png")[1]
    monkeypatch.setattr(fetch, "evaluation_hashes", lambda: {judged})
    manifest = make(folder, tmp_path / "data")
    assert manifest["skipped"] == {"unreadable": 1, "duplicate": 1, "small": 1, "evaluation": 1}
    assert len(manifest["photographs"]) == 11
    assert judged not in {entry["sha256"] for entry in manifest["photographs"]}
    assert {entry["region"] for entry in manifest["photographs"]} == {"shape"}
    said = capsys.readouterr().err
    for name in ("broken.jpg", "again.png", "narrow.png", "05.png", "02.png: mask of 9x9"):
        assert name in said


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("no space left"), MemoryError])
def test_a_run_that_fails_leaves_the_older_database_and_nothing_else(folder, tmp_path, monkeypatch, error):
    make(folder, tmp_path / "data")
    before, calls, pair = contents(tmp_path / "data"), [], make_database.pair

    def fails_at_the_seventh(entry, settings):
        calls.append(entry)
        if len(calls) == 7:
            raise error
        return pair(entry, settings)

    monkeypatch.setattr(make_database, "pair", fails_at_the_seventh)
    with pytest.raises(error if isinstance(error, type) else type(error)):
        make(folder, tmp_path / "data", workers=1, seed=2)
    assert contents(tmp_path / "data") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "photographs"]
    assert len(calls) < 12


def slow(folder, tmp_path):
    """A command that takes long enough to be interrupted, on a busy machine too."""
    for i in range(50):
        noise = np.random.default_rng(i).integers(0, 256, (40, 56, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"more{i}.png")
    options = ["--photos", folder, "--out", tmp_path / "data", "--patch", 4, "--stride", 1, "--workers", 1]
    return [*COMMAND, *map(str, options)]


def test_what_a_killed_run_left_is_not_taken_for_whole(folder, tmp_path):
    killed = subprocess.Popen(slow(folder, tmp_path), stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("data.part/train/*.h5")) and time.monotonic() < until:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "data").exists()
    for more in folder.glob("more*"):
        more.unlink()
    make(folder, tmp_path / "data")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "photographs"]
    assert rows(tmp_path / "data")["a"].shape == (66, 4, 16, 16)


def test_the_older_database_comes_back_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    out, rename = tmp_path / "data", os.rename
    out.mkdir()
    (out / "old.h5").touch()

    def failing(a, b):
        if Path(a).name == "data.part":
            raise OSError(5, "Input/output error")
        rename(a, b)

    monkeypatch.setattr(files.os, "rename", failing)
    with pytest.raises(OSError, match="Input/output"), files.atomic_folder(out) as part:
        (part / "new.h5").touch()
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == [
        "data",
        "data/old.h5",
    ]
    monkeypatch.undo()
    (out / files.MARK).touch()
    rename(out, tmp_path / "data.old")  # a run was killed between the two renames
    with pytest.raises(ValueError, match="wrong"), files.atomic_folder(out):
        raise ValueError("wrong")
    assert (out / "old.h5").exists() and not (tmp_path / "data.old").exists()


def test_a_linked_folder_stays_a_link(folder, tmp_path):
    (tmp_path / "disk/data").mkdir(parents=True)
    (tmp_path / "data").symlink_to(tmp_path / "disk/data")
    for _ in range(2):
        make(folder, tmp_path / "data")
        assert (tmp_path / "data").is_symlink()
        assert sorted(p.name for p in (tmp_path / "disk").iterdir()) == ["data"]
        assert rows(tmp_path / "data")["a"].shape == (66, 4, 16, 16)


def test_of_two_runs_at_once_the_second_is_refused(folder, tmp_path, capsys):
    first = subprocess.Popen(slow(folder, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("data.part/train/*.h5")) and time.monotonic() < until:
        time.sleep(0.002)
    with pytest.raises(ValueError, match=r"data: another run is making it: wait for it, or give another"):
        make(folder, tmp_path / "data")
    make(folder, tmp_path / "other")
    assert first.communicate()[1] == b"" and first.returncode == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "other", "photographs"]
    names = ["manifest.json", "train", "train.txt", "val", "val.txt"]
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == names
    make(folder, tmp_path / "data")


def test_a_folder_that_another_run_has_just_finished_is_not_taken_for_ones_own(tmp_path, monkeypatch):
    flock = files.fcntl.flock

    def late(file, how):
        (tmp_path / "data.part").rename(tmp_path / "data")
        flock(file, how)

    monkeypatch.setattr(files.fcntl, "flock", late)
    with pytest.raises(ValueError, match="another run"), files.atomic_folder(tmp_path / "data"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_ctrl_c_leaves_nothing_and_says_nothing(folder, tmp_path):
    run = subprocess.Popen(slow(folder, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("data.part/train/*.h5")) and time.monotonic() < until:
        time.sleep(0.002)
    run.send_signal(signal.SIGINT)
    assert run.communicate()[1] == b"" and run.returncode == 130
    assert [p.name for p in tmp_path.iterdir()] == ["photographs"]


def test_ctrl_c_while_a_pool_takes_jobs_waits_for_it():
    taken = []

    def submit(function, item):
        taken.append(Future())
        signal.raise_signal(signal.SIGINT)
        return taken[-1]

    with pytest.raises(KeyboardInterrupt):
        make_database.each(SimpleNamespace(submit=submit), None, range(5), "")
    assert [future.cancelled() for future in taken] == [True] * 5


def test_a_folder_of_something_else_is_not_replaced(folder, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="not a database"):
        make(folder, tmp_path / "data")
    assert contents(tmp_path / "data") == {"thesis.tex": b"years of work"}
    for manifest in ('{"name": "a web page"}', "[]", "no JSON"):
        (tmp_path / "data" / "manifest.json").write_text(manifest)
        with pytest.raises(ValueError, match="not a database"):
            make(folder, tmp_path / "data")


def test_refused_before_the_work(folder, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="space"):
        make(folder, tmp_path / "my data")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1000))
    with pytest.raises(ValueError, match=r"data: 1 MB are needed on this disk, more than is free"):
        make(folder, tmp_path / "data")
    with pytest.raises(ValueError, match=r"data: 1\.6 GB are needed on this disk"):
        make(folder, tmp_path / "data", pairs=8000)
    assert [p.name for p in tmp_path.iterdir()] == ["photographs"]


def test_a_photograph_that_changes_meanwhile_is_noticed(folder):
    entry = make_database.inspect((str(folder / "01.png"), None))
    Image.new("RGB", (56, 40)).save(folder / "01.png")
    with pytest.raises(ValueError, match="changed"):
        make_database.pair(entry, SETTINGS)


def test_rows_are_checked_before_they_are_written(tmp_path):
    rows = database.Database(tmp_path / "data", 3, make_database.patch_datasets(SETTINGS))
    with pytest.raises(ValueError, match="not \\(4, 16, 16\\) uint8"):
        rows.put(0, [np.zeros((4, 16, 15), np.uint8)] * 3)
    with pytest.raises(ValueError, match="float64"):
        rows.put(0, [np.zeros((4, 16, 16))] * 3)


def test_default_photographs(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "ROOT", tmp_path / "none")
    monkeypatch.delenv("FUSION_DATA", raising=False)
    assert "scikit-image" in make_database.choose(None)[2]
    shutil.copytree(folder, tmp_path / "given" / "train")
    monkeypatch.setenv("FUSION_DATA", str(tmp_path / "given"))
    assert "FUSION_DATA" in make_database.choose(None)[2]
    shutil.copytree(folder, tmp_path / "fetched" / "train")
    monkeypatch.setattr(fetch, "ROOT", tmp_path / "fetched")
    found, root, words = make_database.choose(None)
    assert "fetched" in words and len(found) == 12 and Path(root) == tmp_path / "fetched" / "train"


def test_of_fetched_and_given_photographs_the_more_complete_are_the_default(folder, tmp_path, monkeypatch):
    given, fetched = tmp_path / "given" / "train", tmp_path / "fetched" / "train"
    shutil.copytree(folder, given)
    fetched.mkdir(parents=True)
    # The last is a mask whose photograph is not there.
    for name in ("0001.jpg", "0002.jpg", "0002.png", "0003.png"):
        (fetched / name).touch()
    monkeypatch.setattr(fetch, "ROOT", tmp_path / "fetched")
    monkeypatch.setenv("FUSION_DATA", str(tmp_path / "given"))
    assert len(make_database.choose(None)[0]) == 12
    monkeypatch.delenv("FUSION_DATA")
    found, _, words = make_database.choose(None)
    assert [os.path.basename(path) for path, _ in found] == ["0001.jpg", "0002.jpg"]
    missing = len(fetch.files("train")) - 4
    goes_on = "data_prep/fetch.py train goes on"
    assert words == f"build/photos/train (fetched; {missing} files are missing: {goes_on})"
    monkeypatch.setattr(fetch, "files", lambda _: ["train/0001.jpg", "train/0002.jpg", "train/0002.png"])
    monkeypatch.setenv("FUSION_DATA", str(tmp_path / "given"))
    (fetched / "0003.png").unlink()
    assert make_database.choose(None)[2] == "build/photos/train (fetched)"  # whole, if fewer


def test_a_wrong_folder_of_data_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "ROOT", tmp_path / "none")
    monkeypatch.setenv("FUSION_DATA", str(tmp_path / "wrong"))
    told = []
    words = make_database.choose(None, told.append)[2]
    assert told == []  # that nothing is fetched is no failure
    assert "scikit-image" in words and f"FUSION_DATA has none: {tmp_path}/wrong/train" in words


def test_the_command(folder, tmp_path):
    command = [*COMMAND, "--photos", str(folder), "--out", "data", "--patch", "16", "--val-patches", "3"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.splitlines() == [
        f"photographs: 12 of {folder}",
        "data/train.txt: 66 patches of 11 photographs",
        "data/val.txt: 3 patches of 1 photographs",
        "3 validation patches: with batch_size 3 to test in a copy of the net, test_iter 1 in the solver"
        " goes over each once",
    ]
    assert (tmp_path / "data" / "train.txt").read_text() == "data/train/000.h5\n"


def test_the_last_lines_say_what_to_train_with(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--photos", str(folder), "--val-share", "0.5"]
    make_database.main([*arguments, "--patch", "8"])
    *_, few, unread, _ = capsys.readouterr().out.splitlines()
    assert few.startswith("210 validation patches: with batch_size 15 to test")
    assert "test_iter 14 in the solver goes over each once" in few
    assert unread.startswith("no net reads build/data_p8 as it is: name its lists in a copy")
    make_database.main([*arguments, "--patch", "4", "--stride", "2", "--out", "data"])
    assert capsys.readouterr().out.splitlines()[-1] == "data/val.txt: 1600 patches of 6 photographs"


def test_a_folder_that_cannot_be_read_is_told(folder, tmp_path, capsys, monkeypatch):
    (folder / "private").mkdir()
    scandir = os.scandir

    def forbidden(path):
        if os.path.basename(path) == "private":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    make_database.main(["--photos", str(folder), "--out", str(tmp_path / "data"), "--patch", "16"])
    assert capsys.readouterr().err == f"skipped: {folder}/private: Permission denied\n"


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--photos", "missing"], 1, "error: missing: no such folder"),
        (["--photos", ".", "--out", "data"], 1, "error: 0 usable photographs"),
        (["--patch", "0"], 2, "--patch"),
        (["--val-share", "1"], 2, "--val-share"),
        (["--recipe", "unknown"], 2, "--recipe"),
        (["--pairs", "0"], 2, "--pairs"),
    ],
)
def test_mistakes_get_a_line_and_a_status(options, status, words, tmp_path):
    done = subprocess.run([*COMMAND, *options], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status and "Traceback" not in done.stderr
    assert words in done.stderr.splitlines()[-1]
    assert os.listdir(tmp_path) == []


@pytest.mark.bvlc
def test_real_caffe_reads_the_rows(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "SIZE", 7 * 12 * 16**2)
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
