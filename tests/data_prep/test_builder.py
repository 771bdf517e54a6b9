"""Planning, writing and describing databases."""

import dataclasses
import hashlib
import importlib
import os
import shutil
import signal
import threading
from collections import Counter, namedtuple
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from data_prep import builder, database, fetch, pair_patches, photographs
from data_prep.cnn_patches import CnnPatches
from data_prep.fetch import Released
from data_prep.pair_patches import PairPatches, channels
from data_prep.photographs import SourcePhotograph
from data_prep.srcnn_patches import SrcnnPatches
from two_stream_fusion.base import provenance

SPEC = PairPatches(patch=16, val_patches=0)


def test_every_patch_is_there_once_and_shuffled(folder, tmp_path, make, rows):
    manifest = make(folder, tmp_path / "data")
    assert manifest["rows"] == {"train": 66, "val": 6}
    want = Counter()
    for entry in manifest["photographs"]:
        image = channels(photographs.read(folder / entry["file"])[0])
        for y in (0, 16):
            for x in (0, 16, 32):
                want[image[:, y : y + 16, x : x + 16].tobytes()] += 1
    train, val = rows(tmp_path / "data"), rows(tmp_path / "data", "val")
    got = Counter(patch.tobytes() for patch in np.concatenate([train["label"], val["label"]]))
    assert got == want
    origin = train["label"].mean(axis=(1, 2, 3)) // 20
    assert len(set(origin[:12])) > 4  # in the order of the grid it would be 2


def test_a_seed_gives_the_same_files_for_any_workers_and_names(folder, tmp_path, monkeypatch, make, contents):
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


def test_a_photograph_is_in_training_or_in_validation(folder, tmp_path, make, rows):
    manifest = make(folder, tmp_path / "data", val_share=0.4)
    ranges = [set(rows(tmp_path / "data", s)["label"].mean(axis=(1, 2, 3)) // 20) for s in ("train", "val")]
    assert len(ranges[0]) == 7 and len(ranges[1]) == 5 and not ranges[0] & ranges[1]
    assert Counter(entry["set"] for entry in manifest["photographs"]) == {"train": 7, "val": 5}


def test_two_photographs_are_enough(folder, tmp_path, make):
    for path in sorted(folder.iterdir())[4:]:
        path.unlink()
    for path in (folder / "02.png", folder / "02.jpg"):
        path.unlink()
    assert make(folder, tmp_path / "data")["rows"] == {"train": 6, "val": 6}
    next(folder.iterdir()).unlink()
    with pytest.raises(ValueError, match="1 usable"):
        make(folder, tmp_path / "other")
    assert not list(tmp_path.glob("other*"))


def test_many_files_and_a_limit_for_validation(folder, tmp_path, monkeypatch, make, rows):
    manifest = make(folder, tmp_path / "one", val_patches=4)
    monkeypatch.setattr(database, "MAX_FILE_BYTES", 7 * 12 * 16**2)
    make(folder, tmp_path / "many", val_patches=4)
    assert manifest["rows"] == {"train": 66, "val": 4}
    assert len((tmp_path / "many" / "train.txt").read_text().split()) == 10
    for split in ("train", "val"):
        one, many = rows(tmp_path / "one", split), rows(tmp_path / "many", split)
        assert all(np.array_equal(one[key], many[key]) for key in one)


def test_the_manifest_says_what_is_in_the_files(folder, tmp_path, monkeypatch, make, contents):
    monkeypatch.setattr(database, "MAX_FILE_BYTES", 20 * 12 * 16**2)
    manifest = make(folder, tmp_path / "data")
    files = {name: data for name, data in contents(tmp_path / "data").items() if name.endswith(".h5")}
    assert len(files) == 5
    assert manifest["sha256"] == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def test_the_manifest_says_what_the_rows_are_made_of(folder, tmp_path, make):
    def begins():
        return builder.provenance(photographs.find(folder), folder, SPEC)

    manifest = make(folder, tmp_path / "data")
    first = begins()
    assert {key: manifest[key] for key in first} == first and first["kind"] == "pairs"
    assert first["sources"]["files"] == 13
    shutil.copytree(folder, tmp_path / "moved")
    assert builder.provenance(photographs.find(tmp_path / "moved"), tmp_path / "moved", SPEC) == first
    os.utime(folder / "02.png", (0, 0))  # a copy has other times: hours of training must not be lost by that
    assert begins() == first
    mask = bytearray((folder / "02.png").read_bytes())
    mask[-20] ^= 1  # of the same size
    (folder / "02.png").write_bytes(mask)
    assert begins()["sources"] != first["sources"]
    shutil.rmtree(folder)
    shutil.move(tmp_path / "moved", folder)
    assert begins() == first
    (folder / "07.png").rename(folder / "70.png")
    assert begins()["sources"] != first["sources"]


def test_what_cannot_serve_is_named_skipped_and_counted(folder, tmp_path, monkeypatch, make):
    (folder / "broken.jpg").write_bytes((folder / "02.jpg").read_bytes()[:300])
    shutil.copy(folder / "03.png", folder / "again.png")
    Image.new("RGB", (15, 100)).save(folder / "narrow.png")
    Image.new("L", (9, 9), 255).save(folder / "02.png")
    judged = photographs.read(folder / "05.png")[1]
    monkeypatch.setattr(fetch, "evaluation_hashes", lambda: {judged})
    messages = []
    manifest = make(folder, tmp_path / "data", warn=messages.append)
    assert manifest["skipped"] == {"unreadable": 1, "duplicate": 1, "small": 1, "evaluation": 1}
    assert len(manifest["photographs"]) == 11
    assert judged not in {entry["sha256"] for entry in manifest["photographs"]}
    assert {entry["region"] for entry in manifest["photographs"]} == {"shape"}
    for name in ("broken.jpg", "again.png", "narrow.png", "05.png", "02.png: mask of 9x9"):
        assert any(name in line for line in messages)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("no space left"), MemoryError])
def test_a_run_that_fails_leaves_the_older_database(folder, tmp_path, monkeypatch, error, make, contents):
    make(folder, tmp_path / "data")
    before, calls, pair = contents(tmp_path / "data"), [], pair_patches.make_training_pair

    def fails_at_the_seventh(entry, settings):
        calls.append(entry)
        if len(calls) == 7:
            raise error
        return pair(entry, settings)

    monkeypatch.setattr(pair_patches, "make_training_pair", fails_at_the_seventh)
    with pytest.raises(error if isinstance(error, type) else type(error)):
        make(folder, tmp_path / "data", workers=1, seed=2)
    assert contents(tmp_path / "data") == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "photographs"]
    assert len(calls) < 12


def test_a_linked_folder_stays_a_link(folder, tmp_path, make, rows):
    (tmp_path / "disk/data").mkdir(parents=True)
    (tmp_path / "data").symlink_to(tmp_path / "disk/data")
    for _ in range(2):
        make(folder, tmp_path / "data")
        assert (tmp_path / "data").is_symlink()
        assert sorted(p.name for p in (tmp_path / "disk").iterdir()) == ["data"]
        assert rows(tmp_path / "data")["a"].shape == (66, 4, 16, 16)


def test_of_two_runs_at_once_the_second_is_refused(folder, tmp_path, make):
    begun, resume = threading.Event(), threading.Event()

    class Waiting(PairPatches):
        __module__ = PairPatches.__module__

        def make_rows(self, photograph):
            begun.set()
            assert resume.wait(60)
            yield from super().make_rows(photograph)

    arguments = (photographs.find(folder), folder, tmp_path / "data", Waiting(patch=16), 1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(builder.build, *arguments)
        try:
            assert begun.wait(60)
            with pytest.raises(ValueError, match=r"data: another run is making it: wait for it, or give"):
                make(folder, tmp_path / "data")
            make(folder, tmp_path / "other")
        finally:
            resume.set()
        assert first.result()["rows"]["train"] == 66
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "other", "photographs"]
    names = ["manifest.json", "train", "train.txt", "val", "val.txt"]
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == names
    make(folder, tmp_path / "data")


def test_ctrl_c_while_a_pool_takes_jobs_waits_for_it():
    jobs = []

    def submit(function, item):
        jobs.append(Future())
        signal.raise_signal(signal.SIGINT)
        return jobs[-1]

    with pytest.raises(KeyboardInterrupt):
        builder.parallel_map(SimpleNamespace(submit=submit), None, range(5), "")
    assert [future.cancelled() for future in jobs] == [True] * 5


def test_a_folder_of_something_else_is_not_replaced(folder, tmp_path, make, contents):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="not a database"):
        make(folder, tmp_path / "data")
    assert contents(tmp_path / "data") == {"thesis.tex": b"years of work"}
    for manifest in ('{"name": "a web page"}', "[]", "no JSON"):
        (tmp_path / "data" / "manifest.json").write_text(manifest)
        with pytest.raises(ValueError, match="not a database"):
            make(folder, tmp_path / "data")


def test_refused_before_the_work(folder, tmp_path, monkeypatch, make):
    with pytest.raises(ValueError, match="space"):
        make(folder, tmp_path / "my data")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 1000))
    with pytest.raises(ValueError, match=r"data: 1 MB are needed on this disk, more than is free"):
        make(folder, tmp_path / "data")
    with pytest.raises(ValueError, match=r"data: 1\.6 GB are needed on this disk"):
        make(folder, tmp_path / "data", pairs=8000)
    assert [p.name for p in tmp_path.iterdir()] == ["photographs"]


def test_photographs_of_released_models_keep_their_split(folder, monkeypatch):
    def plan(**splits):
        """Train and val, where the registry has the photographs of `splits`, {split: their sha256}."""
        released = {s: Released(f"train/{s[:4]}.jpg", split) for split, some in splits.items() for s in some}
        monkeypatch.setattr(fetch, "released_photographs", lambda: released)
        with ThreadPoolExecutor(1) as pool:
            planned = builder.plan(photographs.find(folder), dataclasses.replace(SPEC, val_share=0.25), pool)
        return [[photograph.sha256 for photograph in part] for part in (planned.train, planned.val)]

    train, val = plan()
    assert (len(train), len(val)) == (9, 3)
    drawn = [*val, *train]

    def keep_order(held_out):
        return [[s for s in drawn if s not in held_out], [s for s in drawn if s in held_out]]

    assert plan(train=train, val=val) == [train, val]
    assert plan(val=[train[4]], train=[val[0]]) == keep_order([val[1], val[2], train[4]])
    assert plan(val=train[:5]) == keep_order(train[:5])  # none that a model was validated on is trained on
    assert plan(train=[*train[1:], *val]) == keep_order([train[0]])  # nor the other way round
    assert plan(train=drawn) == keep_order([val[0]])  # one is needed
    assert plan(val=drawn) == keep_order(drawn[:-1])


def test_a_released_photograph_and_its_copy_are_one(folder, monkeypatch):
    both = [photographs.read(folder / name)[1] for name in ("03.png", "05.png")]
    monkeypatch.setattr(
        fetch, "released_photographs", lambda: dict.fromkeys(both, Released("train/1", "val"))
    )
    lines = []
    with ThreadPoolExecutor(1) as pool:
        planned = builder.plan(photographs.find(folder), SPEC, pool, lines.append)
    assert planned.skipped == {"duplicate": 1} and len(planned.train + planned.val) == 11
    assert lines == [f"skipped: {folder / '05.png'}: the same photograph as {folder / '03.png'}"]


def test_a_photograph_that_changes_meanwhile_is_noticed(folder):
    with ThreadPoolExecutor(1) as pool:
        photograph = builder.plan(photographs.find(folder), SPEC, pool).val[0]
    Image.new("RGB", (56, 40)).save(photograph.path)
    with pytest.raises(ValueError, match="changed"):
        builder.load_with_rng(photograph, 1)


SHARED = {
    *("data_prep.builder", "data_prep.database", "data_prep.fetch", "data_prep.photographs"),
    *("two_stream_fusion.base.files", "two_stream_fusion.io.decode", "data_prep.pair_patches"),
    *("data_prep.recipes", "data_prep.regions", "two_stream_fusion.base.lens"),
}


@pytest.mark.parametrize(
    ("spec", "own", "others"),
    [
        (SPEC, (), ("data_prep.cnn_patches", "data_prep.srcnn_patches")),
        (CnnPatches(), ("data_prep.cnn_patches",), ("data_prep.srcnn_patches",)),
        (
            SrcnnPatches(),
            ("data_prep.srcnn_patches", *(f"two_stream_fusion.methods.{name}" for name in ("srcnn", "uwt"))),
            ("data_prep.cnn_patches",),
        ),
    ],
    ids=lambda x: getattr(x, "kind", ""),
)
def test_all_code_that_is_used_counts(spec, own, others):
    files = set(provenance.source_files(*builder.code_modules(spec)))
    assert {*SHARED, *own} <= files and not files & set(others)


@pytest.mark.parametrize("module", ["data_prep.regions", "two_stream_fusion.base.lens"])
def test_a_change_of_code_changes_the_manifest(tmp_path, monkeypatch, module):
    first = builder.provenance([], tmp_path, SPEC)
    assert builder.provenance([], tmp_path, SPEC) == first
    code, module = tmp_path / "changed.py", importlib.import_module(module)
    code.write_bytes(Path(module.__file__).read_bytes() + b"\n")
    monkeypatch.setattr(module.__spec__, "origin", str(code))
    monkeypatch.setattr(builder, "_loaded_code", builder._loaded_code.__wrapped__)  # as in a new process
    assert builder.provenance([], tmp_path, SPEC)["made_with"] != first["made_with"]


def test_masks_do_not_matter_without_regions(smooth_photographs, tmp_path):
    Image.open(smooth_photographs / "05.png").save(smooth_photographs / "05.jpg")
    Image.new("L", (128, 112), 255).save(smooth_photographs / "05.png")  # no region, a warning for pairs
    messages, sources = [], photographs.find(smooth_photographs)
    spec = CnnPatches(samples=2)
    manifest = builder.build(sources, smooth_photographs, tmp_path / "cnn", spec, 2, messages.append)
    assert not any("warning" in line for line in messages)
    assert manifest["kind"] == "cnn" and not any("region" in entry for entry in manifest["photographs"])


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (SPEC, CnnPatches(samples=2), "of kind pairs, not cnn: give another --out"),
        (CnnPatches(samples=2), SPEC, "of kind cnn, not pairs"),
        (
            SrcnnPatches(planes="detail", samples=2),
            SrcnnPatches(planes="approximation", samples=2),
            "of kind srcnn_detail, not srcnn_approximation",
        ),
    ],
)
def test_a_database_of_another_kind_is_not_replaced(smooth_photographs, tmp_path, first, second, words):
    sources = photographs.find(smooth_photographs)[:4]
    builder.build(sources, smooth_photographs, tmp_path / "data", first)
    path = tmp_path / "data" / "manifest.json"
    before = path.read_bytes()
    with pytest.raises(ValueError, match=words):
        builder.build(sources, smooth_photographs, tmp_path / "data", second)
    assert path.read_bytes() == before
    builder.build(sources, smooth_photographs, tmp_path / "data", first)


def test_the_mask_is_planned_and_an_unfit_one_is_not(folder):
    source = SourcePhotograph(str(folder / "02.jpg"), str(folder / "02.png"))
    assert builder.inspect(source).mask == source.mask
    Image.new("L", (9, 9), 255).save(source.mask)
    photograph = builder.inspect(source)
    assert photograph.mask is None and photograph.error is None and "mask of 9x9" in photograph.warning


def test_files_of_the_user_in_a_database_are_kept(folder, tmp_path, make):
    make(folder, tmp_path / "data")
    (tmp_path / "data" / "train" / "mine.txt").write_text("notes")
    with pytest.raises(ValueError, match=r"train/mine\.txt: would be lost"):
        make(folder, tmp_path / "data")
    (tmp_path / "data" / "train" / "mine.txt").unlink()
    make(folder, tmp_path / "data")


def test_photographs_that_are_no_files_are_skipped(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match="is a FIFO, a socket or a device"):
        photographs.read(tmp_path / "a.png")


def test_the_path_of_a_database_may_be_any_bytes(folder, tmp_path, make):
    out = tmp_path / "é\udcff"
    make(folder, out)
    lines = (out / "train.txt").read_bytes().splitlines()
    assert lines and all(os.path.isfile(line) for line in lines)
