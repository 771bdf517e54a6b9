import csv
import errno
import hashlib
import io
import os
import re
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep import fetch, training_copies

MASK = np.zeros((9, 12), np.uint8)
MASK[1:4, 1:5], MASK[5:8, 6:11] = 255, 200  # a region of 12 pixels, and one of 15


def encode(pixels, suffix):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, suffix)
    return file.getvalue()


FILES = {
    "pairs/one/clock/clock_A.bmp": b"near clock",
    "pairs/one/clock/clock_B.bmp": b"far clock",
    "pairs/one/toy/toy_C.png": b"third",
    "pairs/one/toy/toy_A.png": b"first",
    "pairs/one/toy/toy_B.png": b"second",
    "pairs/one/toy/toy_sharp.png": b"truth",
    "pairs/two/clock/clock_A.bmp": b"another clock",
    "pairs/two/clock/clock_B.bmp": b"and its far side",
    "stacks/fly/1.jpg": b"fly 1",
    "stacks/fly/2.jpg": b"fly 2",
    "train/0001.jpg": encode(np.random.default_rng(1).integers(0, 256, (9, 12, 3), np.uint8), "JPEG"),
    "train/0001.png": encode(MASK, "PNG"),
}
COPIES = {
    "train/0001.jpg": training_copies.copy_photograph(FILES["train/0001.jpg"], "owner/repo"),
    "train/0001.png": training_copies.copy_mask(FILES["train/0001.png"]),
}


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *words):
        pass


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host with the files of a small registry of its own; `host.asked` are the paths asked for."""
    folder = tmp_path / "host"
    rows = [["file", "sha256", "repo", "path", "png_sha256", "copy_sha256", "split"]]
    for file, data in FILES.items():
        path = folder / "owner/repo/c0ffee/images of" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        copy, split = "", "val" if file == "train/0001.jpg" else ""
        if file in COPIES:
            path = tmp_path / Path(file).name
            path.write_bytes(COPIES[file])
            copy = training_copies.fingerprint(path)
        png = hashlib.sha256(b"clock as PNG").hexdigest() if file == "pairs/two/clock/clock_A.bmp" else ""
        rows.append([file, sha256, "owner/repo", f"images of/{file}", png, copy, split])
    for name, table in (("registry", rows), ("repositories", [["repo", "commit"], ["owner/repo", "c0ffee"]])):
        with open(tmp_path / f"{name}.csv", "w", newline="") as file:
            csv.writer(file).writerows(table)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.asked, server.folder = [], folder / "owner/repo/c0ffee/images of"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(fetch, "HERE", tmp_path)
    monkeypatch.setattr(fetch, "URL", f"http://127.0.0.1:{server.server_port}/{{repo}}/{{commit}}/{{path}}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("FUSION_DATA", raising=False)
    for cached in (fetch.registry, fetch.list_groups):
        cached.cache_clear()
    yield server
    server.shutdown()
    server.server_close()
    for cached in (fetch.registry, fetch.list_groups):
        cached.cache_clear()


def test_downloads_once(host, tmp_path):
    path = fetch.fetch("pairs/one/clock/clock_A.bmp", tmp_path / "to")
    assert path == tmp_path / "to" / "pairs/one/clock/clock_A.bmp" and path.read_bytes() == b"near clock"
    assert host.asked == ["/owner/repo/c0ffee/images%20of/pairs/one/clock/clock_A.bmp"]
    assert fetch.fetch("pairs/one/clock/clock_A.bmp", tmp_path / "to") == path
    assert len(host.asked) == 1
    path.write_bytes(b"damaged")
    assert fetch.fetch("pairs/one/clock/clock_A.bmp", tmp_path / "to").read_bytes() == b"near clock"


def test_other_bytes_are_refused_and_not_kept(host, tmp_path):
    (host.folder / "stacks/fly/1.jpg").write_bytes(b"another fly")
    with pytest.raises(OSError, match=r"^1.jpg cannot be fetched: the published file has another sha256$"):
        fetch.fetch("stacks/fly/1.jpg", tmp_path / "to")
    assert [p for p in (tmp_path / "to").rglob("*") if p.is_file()] == []


def test_a_file_that_is_gone(host, tmp_path):
    (host.folder / "stacks/fly/1.jpg").unlink()
    with pytest.raises(OSError, match=r"^1.jpg cannot be fetched: HTTP status 404$"):
        fetch.fetch("stacks/fly/1.jpg", tmp_path / "to")


def test_the_given_folder_is_used_where_it_has_the_same_bytes(host, tmp_path, monkeypatch):
    data = tmp_path / "given"
    for file in ("pairs/one/clock/clock_A.bmp", "pairs/one/clock/clock_B.bmp"):
        (data / file).parent.mkdir(parents=True, exist_ok=True)
        (data / file).write_bytes(b"other" if file.endswith("B.bmp") else FILES[file])
    monkeypatch.setenv("FUSION_DATA", str(data))
    a, b = fetch.pair_files("one/clock", tmp_path / "to")
    assert a == data / "pairs/one/clock/clock_A.bmp" and len(host.asked) == 1
    assert b == tmp_path / "to/pairs/one/clock/clock_B.bmp" and b.read_bytes() == b"far clock"


def test_training_photographs_and_masks_are_copied(host, tmp_path):
    for file, data in COPIES.items():
        assert fetch.fetch(file, tmp_path / "to").read_bytes() == data
    with Image.open(tmp_path / "to/train/0001.png") as mask:
        assert (np.asarray(mask) == np.where(MASK == 200, 255, 0)).all()
    assert len(host.asked) == 2
    fetch.fetch("train/0001.jpg", tmp_path / "to")
    fetch.fetch("train/0001.png", tmp_path / "to")
    assert len(host.asked) == 2
    for file in COPIES:  # of an earlier version, which kept the published files
        (tmp_path / "to" / file).write_bytes(FILES[file])
        assert fetch.fetch(file, tmp_path / "to").read_bytes() == COPIES[file]
    assert len(host.asked) == 2
    (tmp_path / "to/train/0001.png").write_bytes(b"damaged")
    assert fetch.fetch("train/0001.png", tmp_path / "to").read_bytes() == COPIES["train/0001.png"]
    assert len(host.asked) == 3
    assert sorted(path.name for path in (tmp_path / "to/train").iterdir()) == ["0001.jpg", "0001.png"]


def test_training_photographs_of_the_given_folder_are_copied(host, tmp_path, monkeypatch):
    """All have to be in one folder."""
    (tmp_path / "given/train").mkdir(parents=True)
    for file, data in {**COPIES, "train/0001.png": FILES["train/0001.png"]}.items():
        (tmp_path / "given" / file).write_bytes(data)
    monkeypatch.setenv("FUSION_DATA", str(tmp_path / "given"))
    for file, data in COPIES.items():
        path = fetch.fetch(file, tmp_path / "to")
        assert path == tmp_path / "to" / file and path.read_bytes() == data
    assert host.asked == []


def test_a_copy_of_another_jpeg_library_is_refused(host, tmp_path, monkeypatch):
    monkeypatch.setattr(training_copies, "QUALITY", 91)
    with pytest.raises(OSError, match=r"^0001.jpg cannot be fetched: its copy has another sha256"):
        fetch.fetch("train/0001.jpg", tmp_path / "to")
    assert list((tmp_path / "to/train").iterdir()) == []


def test_a_training_file_that_cannot_be_written_is_named(host, tmp_path, capsys):
    (tmp_path / "to").write_bytes(b"a file, not a folder")
    with pytest.raises(OSError, match="0 of 2 files are available"):
        fetch.main(["train", "--out", str(tmp_path / "to")])
    assert capsys.readouterr().err == "not fetched: 0001.jpg and 1 more: Not a directory\n"


def test_a_file_of_the_given_folder_that_cannot_be_read_is_named(host, tmp_path, monkeypatch, capsys):
    fly = tmp_path / "given/stacks/fly"
    fly.mkdir(parents=True)
    (fly / "1.jpg").write_bytes(FILES["stacks/fly/1.jpg"])

    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setenv("FUSION_DATA", str(tmp_path / "given"))
    monkeypatch.setattr(Path, "read_bytes", refuse)  # rights do not stop root
    with pytest.raises(OSError, match="1 of 2 files are available"):
        fetch.main(["fly", "--out", str(tmp_path / "to")])
    assert capsys.readouterr().err == "not fetched: 1.jpg: Permission denied\n"


def test_released_photographs_are_known_as_published_and_as_copies(host):
    files = FILES["train/0001.jpg"], COPIES["train/0001.jpg"]
    shas = [hashlib.sha256(data).hexdigest() for data in files]
    assert fetch.released_photographs() == dict.fromkeys(shas, ("train/0001.jpg", "val"))


def test_a_copy_saved_as_png_is_known_by_its_own_hash(host, tmp_path, monkeypatch):
    copy = tmp_path / "given/pairs/two/clock/clock_A.png"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"clock as PNG")
    monkeypatch.setenv("FUSION_DATA", str(tmp_path / "given"))
    assert fetch.fetch("pairs/two/clock/clock_A.bmp", tmp_path / "to") == copy
    copy.write_bytes(b"another clock")  # the published bytes, under the copy's name
    assert fetch.fetch("pairs/two/clock/clock_A.bmp", tmp_path / "to") != copy
    assert hashlib.sha256(b"clock as PNG").hexdigest() in fetch.evaluation_hashes()


def test_pairs_come_in_order_without_their_truth(host, tmp_path):
    assert [p.name for p in fetch.pair_files("toy", tmp_path)] == ["toy_A.png", "toy_B.png", "toy_C.png"]
    for name in ("fly", "one", "train"):
        with pytest.raises(ValueError, match="not a pair"):
            fetch.pair_files(name, tmp_path)


def test_names(host):
    assert set(fetch.list_groups()) == {
        *("one", "one/clock", "one/toy", "toy", "two", "two/clock"),
        *("stacks", "stacks/fly", "fly", "train"),
    }
    assert len(fetch.list_files("one")) == 6 and fetch.list_files("fly") == [
        "stacks/fly/1.jpg",
        "stacks/fly/2.jpg",
    ]
    with pytest.raises(ValueError, match="one/clock or two/clock"):
        fetch.list_files("clock")
    with pytest.raises(ValueError, match="--list"):
        fetch.list_files("unknown")


def test_the_command_resumes_where_it_stopped(host, tmp_path, capsys):
    missing = host.folder / "stacks/fly/2.jpg"
    missing.rename(missing.with_suffix(".away"))
    with pytest.raises(OSError, match="7 of 8 files"):
        fetch.main(["one", "fly", "toy", "--out", str(tmp_path / "to")])
    assert capsys.readouterr().err == "not fetched: 2.jpg: HTTP status 404\n"
    with pytest.raises(OSError, match="1 of 2 files"):
        fetch.main(["fly", "--verbose", "--out", str(tmp_path / "to")])
    assert re.search(r"^stacks/fly/2.jpg: http://\S+/2.jpg$", capsys.readouterr().err, re.M)
    missing.with_suffix(".away").rename(missing)
    host.asked.clear()
    fetch.main(["one", "fly", "--out", str(tmp_path / "to")])
    assert len(host.asked) == 1 and "8 files are available" in capsys.readouterr().out


def test_without_a_network_it_gives_up_early(host, tmp_path, monkeypatch):
    tried = []

    def fails(name, root):
        tried.append(name)
        time.sleep(0.01)
        raise fetch.FetchError(name, "no connection", f"https://example.org/{name}")

    monkeypatch.setattr(fetch, "fetch", fails)
    fetched, failures = fetch.fetch_all([f"train/{i}.jpg" for i in range(1000)], tmp_path)
    assert fetched == [] and len(failures) == 8 and len(tried) < 1000


def test_no_connection_is_reported_in_a_line(host, tmp_path):
    host.shutdown()
    host.server_close()
    with pytest.raises(OSError, match=r"^1.jpg cannot be fetched: no connection to 127.0.0.1$"):
        fetch.fetch("stacks/fly/1.jpg", tmp_path)


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["unknown"], 1, "fetch.py: error: no set or pair 'unknown'"),
        (["lytro-01"], 1, "lytro/lytro-01 or lytro-tif/lytro-01"),
        ([], 2, "give a name"),
    ],
)
def test_mistakes_get_a_line_and_a_status(options, status, words):
    done = subprocess.run([sys.executable, fetch.__file__, *options], capture_output=True, text=True)
    assert done.returncode == status and "Traceback" not in done.stderr
    assert words in done.stderr.splitlines()[-1]


def test_the_registry_is_whole():
    rows = fetch.registry()
    masks = {name for name in fetch.list_files("train") if name.endswith(".png")}
    assert len(masks) == 631
    assert all(re.fullmatch("[0-9a-f]{64}", row["sha256"]) for row in rows.values())
    assert all(re.search("/[0-9a-f]{40}/", row["url"]) for row in rows.values())
    photographs = {name for name in fetch.list_files("train") if name.endswith(".jpg")}
    assert len(photographs) == 1000 and {name[:-3] for name in masks} <= {name[:-3] for name in photographs}
    splits = [rows[name]["split"] for name in photographs]
    assert (splits.count("train"), splits.count("val")) == (900, 100) and len(
        fetch.released_photographs()
    ) == 2000
    assert not fetch.released_photographs().keys() & fetch.evaluation_hashes()
    for name, row in rows.items():
        assert bool(row["copy_sha256"]) == (name in masks | photographs)
        assert bool(row["split"]) == (name in photographs)
    assert len(fetch.list_files("bsds500")) == 260
    for name in ("clock", "pepsi", "cameraman", "lytro", "lytro-tif", "mffw", "pcb"):
        assert fetch.list_files(name)


@pytest.mark.skipif("not os.environ.get('FUSION_DATA')", reason="FUSION_DATA names no folder of pairs")
def test_the_given_folder_holds_what_the_registry_says():
    data = Path(os.environ["FUSION_DATA"])
    for name, row in fetch.registry().items():
        if row["copy_sha256"]:
            assert training_copies.fingerprint(data / name) == row["copy_sha256"]
        elif not name.startswith("light-fields/"):  # it holds what light_field.py makes of them
            assert data in fetch.fetch(name, "/dev/null").parents


def test_failures_are_grouped_by_reason_in_short_lines():
    url = "https://raw.githubusercontent.com/owner/repository/" + 40 * "a" + "/images/of/photographs.jpg"
    offline = "no connection to raw.githubusercontent.com"
    failures = [fetch.FetchError(f"pairs/lytro/lytro-0{i}/lytro-0{i}_A.jpg", offline, url) for i in (1, 2)]
    failures.append(fetch.FetchError("train/0001.jpg", "HTTP status 404", url))
    lines = fetch.describe_failures(failures)
    assert lines == [f"lytro-01_A.jpg and 1 more: {offline}", "0001.jpg: HTTP status 404"]
    assert max(map(len, [*lines, *map(str, failures)])) <= 87
