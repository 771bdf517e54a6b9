"""The command eval/compare.py: which pairs it finds, what it writes, what it says is missing."""

import csv
import shutil
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from eval import compare, pairs, results, tables
from two_stream_fusion import metrics
from two_stream_fusion.io import images
from two_stream_fusion.methods import registry


@pytest.fixture
def photos(tmp_path, triple):
    """A folder of two pairs, one with its ground truth, one in a folder of its own under other names."""
    folder = tmp_path / "photos"
    (folder / "second").mkdir(parents=True)
    a, b, sharp = triple
    for name, image in {
        "one_A": a,
        "one_B": b,
        "one_truth": sharp,
        "second/far": b,
        "second/near": a,
    }.items():
        images.write(folder / f"{name}.png", image)
    (folder / "notes.txt").write_text("no image")
    return folder


def test_pairs_of_a_folder(photos):
    (first, second), rest = pairs.find_pairs(photos)
    assert str(first) == "photos/one" and first.ground_truth == photos / "one_truth.png" and rest == {}
    assert second[1:] == (photos / "second" / "far.png", photos / "second" / "near.png", None)
    for name in ("x-1.tif", "x-2.png", "y_A.png", "y_B.png", "y_1.png", "lonely_A.png"):
        shutil.copy(photos / "one_A.png", photos / name)
    for name in ("1", "2", "3"):
        (photos / "many").mkdir(exist_ok=True)
        shutil.copy(photos / "one_A.png", photos / "many" / f"{name}.png")
    (photos / "second/loop").symlink_to(photos)
    (photos / ".hidden").mkdir()
    shutil.copytree(photos / "second", photos / "out/fused/second", ignore=lambda *_: ["loop"])
    shutil.copy(photos / "one_A.png", photos / ".hidden")
    for name in ("overview.png", "mean.png"):  # two without a role, beside pairs: no pair
        shutil.copy(photos / "one_A.png", photos / name)
    no_pair = "neither NAME_A nor one of two alone in a folder"
    pairs_found, rest = pairs.find_pairs(photos, photos / "out")
    assert [pair.name for pair in pairs_found] == ["photos/one", "photos/x", "photos/second"]
    assert rest == {
        "photos/lonely": "lonely_A.png is without its other image",
        **{f"photos/many/{name}.png": no_pair for name in "123"},
        "photos/overview.png": no_pair,
        "photos/mean.png": no_pair,
        "photos/y": "y_1.png and y_A.png are the same image of one pair",
    }


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    "first, second", [("A", "B"), ("b", "a"), ("Near", "FAR"), ("1", "2"), ("source_1", "Source_2")]
)
def test_two_folders_pair_by_name(tmp_path, first, second):
    touch(
        tmp_path / "set",
        f"{first}/1.png",
        f"{first}/2.png",
        f"{second}/1.png",
        f"{second}/2.tif",
        "truth/2.png",
    )
    touch(tmp_path / "set", f"{first}/x_1.png", f"{first}/x_2.png", f"{second}/x_1.png", f"{first}/3.png")
    pairs_found, rest = pairs.find_pairs(tmp_path / "set")
    base = (tmp_path / "set").resolve()
    a, b = (second, first) if first == "b" else (first, second)
    assert pairs_found == [
        ("set/1", base / a / "1.png", base / b / "1.png", None),
        (
            "set/2",
            *((base / x / f"2.{'tif' if x == second else 'png'}") for x in (a, b)),
            base / "truth/2.png",
        ),
        ("set/x_1", base / a / "x_1.png", base / b / "x_1.png", None),
    ]
    assert rest == {
        "set/3": f"set/{first}/3.png is without its other image",
        "set/x_2": f"set/{first}/x_2.png is without its other image",
    }


@pytest.mark.parametrize(
    "names",
    [
        ["1/near.png", "1/far.png", "2/near.png", "2/far.png"],
        ["A/x_A.png", "A/x_B.png", "B/x_A.png", "B/x_B.png"],
        ["1/1.png", "1/2.png", "2/1.png", "2/2.png", "3/1.png", "3/2.png"],
        ["a/p.png", "a/q.png", "b/r.png", "b/s.png"],
    ],
)
def test_folders_of_one_scene_each_stay_pairs(tmp_path, names):
    touch(tmp_path, *names)
    pairs_found, rest = pairs.find_pairs(tmp_path)
    assert rest == {} and len(pairs_found) == len(names) // 2
    assert all(pair.a.parent == pair.b.parent for pair in pairs_found)


def test_linked_folders_a_and_b(tmp_path):
    touch(tmp_path, "left/1.png", "right/1.png", "set/notes.txt")
    (tmp_path / "set/A").symlink_to(tmp_path / "left")
    (tmp_path / "set/B").symlink_to(tmp_path / "right")
    ((name, a, b, _),), _ = pairs.find_pairs(tmp_path / "set")
    assert (name, a.parent.name, b.parent.name) == ("set/1", "left", "right")


def textures(count):
    """Photographs of that many scenes, 120 x 160 x 3."""
    rng = np.random.default_rng(3)
    blurred = (cv2.GaussianBlur(rng.random((120, 160, 3), np.float32), (0, 0), 2) for _ in range(count))
    return [cv2.normalize(x, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8) for x in blurred]


def test_images_of_two_scenes_are_refused(tmp_path, capsys):
    first, second = textures(2)
    (tmp_path / "set").mkdir()
    for name, image in {"x_A": first, "x_B": cv2.blur(first, (5, 5)), "y_A": first, "y_B": second}.items():
        images.write(tmp_path / "set" / f"{name}.png", image)
    arguments = ["--out", str(tmp_path / "out"), "--methods", "CP", "--jobs", "1"]
    assert compare.main([str(tmp_path / "set"), *arguments]) == 1
    output, errors = capsys.readouterr()
    folder = (tmp_path / "set").resolve()
    assert "Mean of one pair" in output
    assert errors.endswith(f"missing: set/y: {folder}/y_A.png and {folder}/y_B.png do not show one scene\n")


def test_a_16_bit_copy_scores_as_its_original(tmp_path, capsys):
    (sharp,) = textures(1)
    scores = {}
    for name, factor in (("eight", np.uint8(1)), ("sixteen", np.uint16(257))):
        folder = tmp_path / name / "set"
        folder.mkdir(parents=True)
        for role, image in {
            "A": cv2.blur(sharp, (5, 5)),
            "B": cv2.blur(sharp, (1, 9)),
            "truth": sharp,
        }.items():
            images.write(folder / f"x_{role}.png", image * factor)
        out = tmp_path / name / "out"
        assert compare.main([str(folder), "--out", str(out), "--methods", "LP,GF", "--jobs", "1"]) == 0
        scores[name] = (out / "scores.csv").read_text()
    assert scores["eight"] == scores["sixteen"] and "PSNR" in scores["eight"]
    capsys.readouterr()


def test_pairs_of_linked_folders_and_of_one_name(photos, tmp_path, capsys):
    other = tmp_path / "other/photos"
    shutil.copytree(photos, other)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/here").symlink_to(photos)
    assert [pair.a.name for pair in pairs.find_pairs(tmp_path / "linked")[0]] == ["one_A.png", "far.png"]
    arguments = [str(photos), f"{photos}/", f"{photos}/../photos", str(other), "--out", str(tmp_path / "out")]
    assert compare.main([*arguments, "--methods", "CP", "--jobs", "1"]) == 0
    with open(tmp_path / "out/scores.csv", newline="") as file:
        pair_names = [row["pair"] for row in csv.DictReader(file)]
    assert len(set(pair_names)) == 4 and str(other / "one_A.png") in pair_names
    assert len(list((tmp_path / "out/fused").rglob("*.png"))) == 4
    capsys.readouterr()


def test_a_folder_may_have_the_name_of_a_set(tmp_path):
    row = dict.fromkeys(metrics.METRICS, 0.5)
    files = pairs.Files("camera", tmp_path / "near.png", tmp_path / "far.png")
    compare.write_report({"camera": {"LP": row}, files: {"LP": row}}, {}, tmp_path)
    with open(tmp_path / "scores.csv", newline="") as file:
        assert [line["pair"] for line in csv.DictReader(file)] == ["camera", str(tmp_path / "near.png")]


def test_scores_and_means(photos, triple, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [str(photos), "--out", str(out), "--set", "LP:levels=2"]
    assert compare.main([*arguments, "--methods", "LP,CP", "--jobs", "1"]) == 0
    with open(out / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["pair", "method", *metrics.METRICS]  # PSNR is of one of them alone
    assert [(row["pair"], row["method"]) for row in rows] == [
        (pair, title) for pair in ("photos/one", "photos/second") for title in ("LP (levels=2)", "CP")
    ]
    a, b, _ = triple
    expected = metrics.evaluate(a, b, registry.fuse("lp", [a, b], levels=2).image)
    assert {m: float(rows[0][m]) for m in expected} == pytest.approx(expected, abs=1e-6)
    output = capsys.readouterr().out
    assert output.startswith("## Mean of 2 pairs") and (out / "summary.md").read_text() in output
    times = {path: path.stat().st_mtime_ns for path in (out / "fused").rglob("*.png")}
    assert len(times) == 4
    assert compare.main([*arguments, "--methods", "LP,CP", "--jobs", "1"]) == 0
    assert times == {path: path.stat().st_mtime_ns for path in (out / "fused").rglob("*.png")}


def test_ground_truth_adds_psnr(photos, triple, tmp_path, capsys):
    shutil.rmtree(photos / "second")
    compare.main([str(photos), "--out", str(tmp_path / "out"), "--methods", "CP", "--jobs", "1"])
    with open(tmp_path / "out" / "scores.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    a, b, sharp = triple
    fused = registry.fuse("cp", [a, b]).image
    assert float(row["PSNR"]) == pytest.approx(cv2.PSNR(sharp, fused), abs=1e-5) and "SSIM" in row
    capsys.readouterr()


def test_mistakes_are_named(photos, tmp_path, capsys):
    damaged = photos / "second" / "far.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    images.write(photos / "sizes_1.png", np.zeros((30, 40), np.uint8))
    images.write(photos / "sizes_2.png", np.zeros((30, 41), np.uint8))
    images.write(photos / "small_1.png", np.zeros((3, 3), np.uint8))
    images.write(photos / "small_2.png", np.zeros((3, 3), np.uint8))
    shutil.copy(photos / "one_A.png", photos / "lonely_A.png")
    out = tmp_path / "out"
    arguments = ["--out", str(out), "--methods", "CP,LP", "--jobs", "1"]
    assert compare.main([str(photos), *arguments]) == 1
    output, missing = capsys.readouterr()
    assert "Mean of one pair" in output and "in no mean:\n\n- photos/lonely: " in output
    lines = [line.split("missing: ", 1)[1] for line in missing.splitlines()]
    assert sorted(line.split(":")[0] for line in lines) == [
        "CP on photos/small",
        "LP on photos/small",
        "photos/lonely",
        "photos/second",
        "photos/sizes",
    ]
    assert any("sizes_1.png is 40x30" in line and "sizes_2.png is 41x30" in line for line in lines)
    for path in photos.glob("one*"):
        path.unlink()
    assert compare.main([str(photos), *arguments]) == 1
    assert not (out / "scores.csv").exists() and not (out / "summary.md").exists()  # of the run before
    (photos.parent / "none").mkdir()
    mistakes = {
        "no set or pair 'nosuch'": ["nosuch"],
        "--jobs 0": [str(photos), "--jobs", "0"],
        "no pair there: NAME_A and NAME_B": [str(photos.parent / "none")],
    }
    for words, wrong in mistakes.items():
        with pytest.raises(ValueError, match=words):
            compare.main(wrong)
    capsys.readouterr()
    for option, words in (("--set=XX:window=3", "'XX' is not one of"), ("--methods=", "'' is not one of")):
        with pytest.raises(SystemExit) as stop:
            compare.main([str(photos), option])
        assert stop.value.code == 2 and words in capsys.readouterr().err


@pytest.fixture
def one_process(monkeypatch):
    """Scores in this process: another takes a second to start."""
    monkeypatch.setattr(results, "process_pool", lambda workers, environment: ThreadPoolExecutor(1))


def others(folder, **named):
    """Folders of methods with images: others(folder, METHOD={NAME: image})."""
    for method, named_images in named.items():
        (folder / method).mkdir(parents=True)
        for name, image in named_images.items():
            images.write(folder / method / f"{name}.png", image)
    return folder


def test_images_of_other_methods(photos, triple, tmp_path, capsys, one_process):
    a, b, sharp = triple
    folder = others(
        tmp_path / "others",
        Net={"one": sharp, "second_Net": b},
        CP={"one-x": sharp.astype(np.uint16) * 257, "one_y": a, "second": a[1:]},
    )
    others(photos / "fused", Beside={"one": a, "second": a})
    out = tmp_path / "out"
    arguments = [str(photos), "--fused", str(folder), "--out", str(out), "--jobs", "1"]
    assert compare.main([*arguments, "--methods", "CP", "--metrics", "Qcv,SD"]) == 1
    output, missing = capsys.readouterr()
    assert "CP (images) on photos/one: " in missing and "one-x.png and one_y.png are both of one" in missing
    assert "CP (images) on photos/second: " in missing and "same size" in missing
    with open(out / "scores.csv", newline="") as file:
        rows = {(row["pair"], row["method"]): row for row in csv.DictReader(file)}
    titles = ["CP", "Net", "Beside"]
    assert list(rows) == [(pair, title) for pair in ("photos/one", "photos/second") for title in titles]
    row = rows["photos/one", "Net"]
    assert list(row) == ["pair", "method", "Qcv", "SD"]
    assert float(row["SD"]) == pytest.approx(metrics.REGISTRY["SD"].function(a, b, sharp), abs=1e-6)
    assert "Less is better for Qcv, more for all others." in output
    best = min(titles, key=lambda title: float(rows["photos/one", title]["Qcv"]))
    assert tables.best({t: {"Qcv": float(rows["photos/one", t]["Qcv"])} for t in titles}, "Qcv") == {best}
    latex = (out / "summary.tex").read_text()
    assert latex.startswith(
        "\\begin{table}\n\\centering\n\\caption{Fusion metrics, mean of 2 pairs. The best"
    )
    assert "Less is better for Qcv" in latex and "\\label{tab:fusion}\n\\begin{tabular}{lrr}" in latex
    assert latex.endswith("\\end{tabular}\n\\end{table}\n") and "Net & " in latex
    # The same image of 16 bits counts as its original
    name = pairs.find_pairs(photos, photos / "fused")[0][0]
    eight, sixteen = (
        results.score_pair(name, "Net", results.EXTERNAL, {"file": path}, out)
        for path in (folder / "Net/one.png", folder / "CP/one-x.png")
    )
    assert sixteen == eight


def test_wins_are_counted_on_pairs_that_all_methods_have(photos, triple, tmp_path, one_process, capsys):
    folder = others(tmp_path / "others", Net={"one": triple[2]})
    arguments = [str(photos), "--fused", str(folder), "--out", str(tmp_path / "out"), "--jobs", "1"]
    assert compare.main([*arguments, "--methods", "CP"]) == 1
    output = capsys.readouterr().out
    assert "On how many of the 1 that all methods have, each is the best" in output
    table = output.partition("each is the best")[2].partition("Missing")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line]
    assert [row[0] for row in rows if row[0] in ("CP", "Net")] == ["CP", "Net"]
    assert {count for row in rows if row[0] in ("CP", "Net") for count in row[1:]} <= {"0", "1"}
    assert all(len(row) == 7 for row in rows if row[0] in ("CP", "Net"))


def test_ground_truth_of_a_folder(photos, triple, tmp_path, capsys, one_process):
    (tmp_path / "clean").mkdir()
    images.write(tmp_path / "clean/second_clean.png", triple[2])
    arguments = [str(photos), "--out", str(tmp_path / "out"), "--methods", "CP", "--jobs", "1"]
    assert compare.main([*arguments, "--truth", str(tmp_path / "clean")]) == 0
    with open(tmp_path / "out" / "scores.csv", newline="") as file:
        assert all(float(row["PSNR"]) > 10 for row in csv.DictReader(file))
    for folder in (photos / "second", tmp_path / "none"):
        with pytest.raises(ValueError, match="there is no image of any pair"):
            compare.main([*arguments, "--truth", str(folder)])
    mistakes = {"no such folder": "none", "no folder of images there": "clean"}
    for words, name in mistakes.items():
        with pytest.raises(ValueError, match=words):
            compare.main([*arguments, "--fused", str(tmp_path / name)])
    twice = [str(others(tmp_path / name, Net={"one": triple[2]})) for name in ("f1", "f2")]
    with pytest.raises(ValueError, match=r"f1/Net and .*f2/Net have one name"):
        compare.main([*arguments, "--fused", twice[0], "--fused", twice[1]])
    with pytest.raises(SystemExit):
        compare.main([*arguments, "--methods", "none"])
    assert "nothing to score without --fused" in capsys.readouterr().err


@pytest.mark.parametrize("correlation", [0.21, 0.29])
def test_one_scene_correlates_by_a_quarter_where_no_motion_is_found(monkeypatch, correlation):
    monkeypatch.setattr(pairs.align, "misalignment", lambda a, b: float("inf"))
    monkeypatch.setattr(pairs.align, "correlate_images", lambda a, b: correlation)
    if correlation > 0.25:
        pairs.check_one_scene(pairs.Files("x", "a", "b", None), pairs.Pair(None, None, None))
    else:
        with pytest.raises(ValueError, match="do not show one scene"):
            pairs.check_one_scene(pairs.Files("x", "a", "b", None), pairs.Pair(None, None, None))


def test_images_of_a_pair_that_differ_are_refused(tmp_path):
    paths = [tmp_path / "x_A.png", tmp_path / "x_B.png"]
    for path, shape in zip(paths, ((20, 30), (20, 31))):
        images.write(path, np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"x_A\.png is 30x20 8 bit gray, .*x_B\.png is 31x20 8 bit gray"):
        pairs.load(pairs.Files("x", *paths, None))
