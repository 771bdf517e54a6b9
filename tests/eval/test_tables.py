"""Tables 1-4: what is marked, counted and kept; the methods themselves are tested in tests/fusion."""

import csv
import os
import re
import shutil
import signal
from concurrent.futures import Future

import cv2
import numpy as np
import pytest

from data_prep import depth_pair
from eval import figures, pairs, results, tables
from two_stream_fusion import memory_estimate, metrics
from two_stream_fusion.base import memory, parallel, provenance
from two_stream_fusion.io import images
from two_stream_fusion.methods import models, registry

FAST = "DWT,LP,CP"


def rows(**values):
    """{title: every metric at this value}."""
    return {title: dict.fromkeys(metrics.METRICS, value) for title, value in values.items()}


def test_the_best_is_the_largest_as_shown():
    table = rows(A=0.5, B=0.50004, C=0.4)
    assert tables.best(table, "MI") == {"A", "B"}  # both 0.5000
    table["C"]["MI"] = 0.6
    assert tables.best(table, "MI") == {"C"} and tables.best(table, "Q") == {"A", "B"}


def test_a_difference_in_the_fourth_decimal_counts():
    table = rows(A=0.5, B=0.5004, C=0.50036)
    assert tables.best(table, "MI") == {"B", "C"}
    assert tables.markdown_table(rows(A=0.25004), ("MI",)).splitlines()[-1] == "| A | **0.2500** |"
    counted = tables.ground_truth_scores({"MI": 0.5}, rows(A=0.50004, B=0.5002), ("MI",))
    assert counted.splitlines()[2:] == ["| ground truth | 0.5000 |", "| of 2 rows score more | 1 |"]


def test_wins_by_hand():
    first, second = rows(Ours=0.5, LP=0.4, X=0.9), rows(Ours=0.3, LP=0.3, X=0.9)
    second["LP"]["IE"] = 7.0
    six = list(metrics.METRICS)
    assert (
        tables.count_cells_won({1: first, 2: second}, "Ours", ["LP"], six) == 6 + 5
    )  # a tie counts, X does not
    assert tables.count_cells_won({1: first, 2: second}, "Ours", ["LP"], ["IE", "MI"]) == 2 + 1
    assert tables.count_cells_won({1: first}, "LP", ["Ours"], six) == 0


def test_firsts_by_hand():
    first, second = rows(A=0.5, B=0.4), rows(A=0.3, B=0.3)
    second["B"]["Q"] = 0.8
    text = tables.count_wins({"x": first, "y": second}, ("MI", "Q"))
    assert text.splitlines()[2:] == ["| A | 2 | 1 |", "| B | 1 | 1 |"]


def test_rank_agreement_by_hand():
    ours, theirs = rows(A=1, B=2, C=3, mine=9), rows(A=10, B=30, C=20)
    # Ranks 1 2 3 and 1 3 2: 1 - 6 * (0 + 1 + 1) / (3 * 8) = 0.5.
    assert tables.rank_correlation(ours, theirs, "MI") == pytest.approx(0.5)
    assert np.isnan(tables.rank_correlation(rows(A=1), theirs, "MI"))


def test_the_paper_wins_what_it_claims():
    paper = tables.read_published()
    compared = [title for title in paper[1] if title != "Ours"]
    assert list(paper) == [1, 2, 3, 4] and all(len(rows) == 10 for rows in paper.values())
    assert tables.count_cells_won(paper, "Ours", compared, list(metrics.METRICS)) == 20
    assert paper[1]["Ours"]["MI"] == 1.1574 and paper[2]["Ours"]["Qabf"] == 0.8066


def test_marks():
    table = tables.markdown_table(rows(LP=0.25, Ours=0.75), ("MI",), rows(LP=0.9, Ours=0.1))
    assert table.splitlines()[2:] == ["| LP | 0.2500 (**0.9000**) |", "| Ours | **0.7500** (0.1000) |"]
    for title, text in (
        ("top5%", r"top5\%"),
        ("R&D", r"R\&D"),
        ("a#1", r"a\#1"),
        ("a\\b", r"a\textbackslash{}b"),
    ):
        assert f"\n{text} & " in tables.latex_table({title: {"MI": 1.0}}, ("MI",))
    assert r"a\_b & \textbf{0.5000}" in tables.latex_table(rows(a_b=0.5, c=0.1), ("MI",))
    assert tables.best(rows(LP=float("nan"), Ours=0.1), "MI") == {"Ours"}


def test_imports_follow_the_code():
    def imported(name):
        return {
            module.split(".")[-1] for module in provenance.source_files(f"two_stream_fusion.methods.{name}")
        }

    assert {"psfs", "coefficients", "pixels"} <= imported("psfs")
    assert {"cnn", "coefficients", "gf", "models"} <= imported("cnn")  # those within functions too
    assert "select" not in imported("two_stream") and "gf" not in imported("lp")


class Here:
    """In place of a pool of processes, which would not know what a test has changed."""

    _processes = None

    def __init__(self, *_):
        pass

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future

    def shutdown(self):
        pass


@pytest.fixture
def here(monkeypatch, rendered_pair):
    """Fuse in this process, and render the colour pair no second time."""
    monkeypatch.setattr(parallel, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(depth_pair, "render_depth_pair", lambda: rendered_pair)
    results.load_pair.cache_clear()
    yield
    results.load_pair.cache_clear()


@pytest.fixture
def small(monkeypatch):
    """Tables of the camera pair alone: Clock and Pepsi cannot be had here."""
    monkeypatch.delenv("FUSION_DATA", raising=False)

    def load(name, whole=pairs.load):
        if name == "camera":
            return whole(name)
        raise OSError(f"{name}: cannot be fetched")

    monkeypatch.setattr(pairs, "load", load)
    results.load_pair.cache_clear()
    yield
    results.load_pair.cache_clear()


@pytest.fixture(scope="module")
def tables_folder(tmp_path_factory, rendered_pair):
    """The folder of a run on Camera and the colour pair, whose sources are inside scikit-image."""
    folder = tmp_path_factory.mktemp("tables")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(parallel, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(depth_pair, "render_depth_pair", lambda: rendered_pair)
    monkeypatch.setattr(pairs, "TABLES", {3: "camera", 4: "colour"})
    try:
        tables.main(["--out", str(folder), "--methods", FAST, "--no-lytro", "--keep", str(folder / "kept")])
    finally:
        monkeypatch.undo()
    return folder


def test_tables_are_written_in_three_forms(tables_folder):
    with open(tables_folder / "table3.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == FAST.split(",")
    assert list(rows[0]) == ["table", "pair", "method", "IE", "MI", "Qabf", "Q", "Qw", "Qe"]
    a, b, _ = pairs.load("camera")
    from two_stream_fusion.methods import registry

    fused = registry.fuse("lp", [a, b]).image
    for metric, function in metrics.METRICS.items():
        assert float(rows[1][metric]) == pytest.approx(function(a, b, fused), abs=1e-6)
    text = (tables_folder / "table3.md").read_text()
    assert f"| LP | {metrics.METRICS['IE'](a, b, fused):.4f} (" in text.replace("*", "")
    assert "stand-in" in text
    assert (tables_folder / "table3.tex").read_text().count(r"\\") == 4
    assert re.search(r"Spearman\): IE -?\d\.\d\d, MI ", text)
    truth = (tables_folder / "truth_camera.md").read_text()
    assert "| method | PSNR | SSIM | PSNR at outlines |" in truth and "| LP | " in truth
    assert "| ground truth | " in truth
    summary = (tables_folder / "summary.md").read_text()
    assert "## Cells won" not in summary  # Ours is not among FAST
    for stem in ("table3", "table4", "truth_camera", "truth_colour"):
        assert all((tables_folder / f"{stem}.{suffix}").is_file() for suffix in ("csv", "md", "tex")), stem
    assert not list(tables_folder.rglob("*.part"))


def test_what_is_kept_is_the_same_without_images(tables_folder):
    kept_tables = {p.name: p.read_text() for p in (tables_folder / "kept").iterdir()}
    assert kept_tables == {p.name: p.read_text() for p in tables_folder.iterdir() if p.is_file()}
    assert not list((tables_folder / "kept").rglob("*.png"))


def test_only_what_changed_is_made_again(tables_folder, tmp_path, monkeypatch):
    folder = tmp_path / "fused"
    shutil.copytree(tables_folder / "fused", folder)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*.png")}
    assert len(before) == 6
    same = results.fuse_pair("camera", "LP", "lp", {}, folder)
    assert before[same] == same.stat().st_mtime_ns
    other = results.fuse_pair("camera", "LP", "lp", {"levels": 2}, folder)
    assert other != same and other.is_file() and not same.exists()  # what it was before is gone
    code = results.cache_key("lp", {})
    monkeypatch.setattr(provenance, "sha256", lambda data: "changed")
    assert results.cache_key("lp", {}) != code


def test_ours_is_made_again_where_the_pipeline_changes(monkeypatch):
    ours = [entry for title, entry in results.list_entries().items() if title.startswith("Ours")]
    digested, digest = [], provenance.code_digest
    monkeypatch.setattr(
        provenance, "code_digest", lambda *modules: digested.append(modules) or digest(*modules)
    )
    for entry in ours:
        results.cache_key(entry.method, entry.options)
    assert len(digested) > 2 and all("two_stream_fusion.pipeline" in modules for modules in digested)


def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_loses_no_scores(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "score_pair", kill)
    scores, _, failed = results.score_pairs(["camera"], {"LP": ("lp", {})}, tmp_path, workers=1)
    assert scores == {"camera": {}} and failed == {
        "LP on camera": "a process was killed, as where memory ends"
    }


@pytest.mark.parametrize("size", [0, 200, 5000])
def test_a_damaged_image_is_made_again(tmp_path, triple, size):
    a, b, _ = triple
    images.write(tmp_path / "x_A.png", a)
    images.write(tmp_path / "x_B.png", b)
    name = pairs.Files("x", tmp_path / "x_A.png", tmp_path / "x_B.png")
    path = results.fuse_pair(name, "LP", "lp", {}, tmp_path / "fused")
    original = path.read_bytes()
    assert len(original) > size
    path.write_bytes(original[:size])
    assert results.fuse_pair(name, "LP", "lp", {}, tmp_path / "fused") == path
    assert path.read_bytes() == original


def test_missing_pairs_are_reported(small, tmp_path, capsys):
    tables.main(["--out", str(tmp_path), "--methods", "LP", "--no-lytro", "--jobs", "1"])
    said = capsys.readouterr().out
    assert "Table 1: clock\n\nNot made: clock: cannot be fetched" in said
    assert (tmp_path / "table3.csv").is_file() and not (tmp_path / "table1.csv").exists()


@pytest.mark.parametrize("is_external", [False, True])
@pytest.mark.parametrize("columns", [None, list(metrics.METRICS)])
@pytest.mark.parametrize(("free", "used"), [(100, 16), (2.5, 2), (0.5, 16)])
def test_no_more_workers_than_memory_holds_are_started(
    free, used, columns, is_external, tmp_path, monkeypatch, caplog
):
    """Pairs that memory does not hold alone do not count."""
    files = [tmp_path / name for name in ("a.png", "b.png")]
    for path in files:
        images.write(path, np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8))
    names = [pairs.Files(f"pair{i}", *files) for i in range(5)]
    method = "lp" if is_external else "dwt"
    bytes_a_pixel = results.PAPER_SCORING_BYTES
    needed = memory_estimate.estimate_memory(files, method, scoring_bytes=bytes_a_pixel).needed
    counts = []

    def stop(count, environment):
        counts.append(count)
        raise KeyboardInterrupt

    monkeypatch.setattr(memory, "available", lambda: int(free * needed))
    monkeypatch.setattr(results, "_find_missing", lambda names, entries: {})
    monkeypatch.setattr(results, "process_pool", stop)
    with pytest.raises(KeyboardInterrupt):
        if is_external:
            external = {(names[0], "others"): files[0]}
            results.score_pairs(names, {}, tmp_path, 16, columns, external)
        results.score_pairs(names, {"DWT": ("dwt", {})}, tmp_path, 16, columns)
    assert counts == [used] and len(caplog.messages) == (used == 2)
    assert all(line.startswith("--jobs 16: memory holds only 2 at a time") for line in caplog.messages)


def test_methods_without_weights_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "names", lambda method="two_stream": [])
    scores, missing, _ = results.score_pairs(
        ["camera"], {"CNN": ("cnn", {}), "LP": ("lp", {})}, tmp_path, workers=1
    )
    assert "weights" in missing["CNN"] and list(scores["camera"]) == ["LP"]


def failing(exception):
    """registry.fuse that fails where LP is asked for colour."""

    def fuse(name, images, whole=registry.fuse, **options):
        if name == "lp" and images[0].ndim == 3:
            raise exception("gray only")
        return whole(name, images, **options)

    return fuse


@pytest.mark.parametrize(("kind", "why"), [(ValueError, "gray only"), (KeyError, "KeyError: 'gray only'")])
def test_a_method_that_fails_on_a_pair_leaves_the_rest(kind, why, here, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(registry, "fuse", failing(kind))
    monkeypatch.setattr(pairs, "TABLES", {3: "camera", 4: "colour"})
    assert tables.main(["--out", str(tmp_path), "--methods", FAST, "--no-lytro"]) == 1
    out, err = capsys.readouterr()
    assert f"- LP on colour: {why}" in out and ("Traceback" in err) == (kind is KeyError)
    with open(tmp_path / "table4.csv", newline="") as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["DWT", "CP"]
    assert "| LP |" in (tmp_path / "table3.md").read_text()


def test_a_metric_more_is_a_column_more(here, tmp_path, monkeypatch, capsys):
    """As README says how to add one: the paper's values, which lack it, stand beside where there are some."""
    monkeypatch.setitem(metrics.METRICS, "SD", lambda *images: float(images[-1].std()))
    monkeypatch.setattr(pairs, "TABLES", {3: "camera"})
    assert tables.main(["--out", str(tmp_path), "--methods", "LP,CP", "--no-lytro"]) == 0
    with open(tmp_path / "table3.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    a, b, _ = pairs.load("camera")
    assert float(rows[0]["SD"]) == pytest.approx(registry.fuse("lp", [a, b]).image.std(), abs=1e-6)
    text = (tmp_path / "table3.md").read_text()
    assert "| method | IE | MI | Qabf | Q | Qw | Qe | SD |" in text
    assert "SD" not in re.search(r"Spearman.*", text)[0]
    capsys.readouterr()


def test_tables_not_made_this_time_are_removed(small, tmp_path, capsys):
    (tmp_path / "mine.md").write_text("stays")
    for suffix in ("csv", "md", "tex"):
        (tmp_path / f"table1.{suffix}").write_text("of an earlier run")
    (tmp_path / "lytro.md").write_text("of an earlier run, not asked for now")
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "table1.md").write_text("kept")
    tables.main(["--out", str(tmp_path), "--methods", "LP", "--no-lytro", "--jobs", "1", "--keep", str(kept)])
    assert not list(tmp_path.glob("table1.*")) and (tmp_path / "mine.md").read_text() == "stays"
    assert (tmp_path / "lytro.md").exists() and (kept / "table1.md").read_text() == "kept"
    capsys.readouterr()


def test_a_run_without_some_of_the_kept_tables_keeps_nothing(small, tmp_path):
    for name in ("lytro.csv", "summary.md"):
        (tmp_path / name).write_text("kept")
    with pytest.raises(ValueError, match="has lytro, not made now"):
        tables.main(
            ["--out", str(tmp_path / "out"), "--methods", "LP", "--no-lytro", "--keep", str(tmp_path)]
        )
    assert (tmp_path / "summary.md").read_text() == "kept" and (tmp_path / "out/summary.md").is_file()


def test_unknown_methods_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        tables.main(["--methods", "LP,none"])
    assert stop.value.code == 2 and "'none'" in capsys.readouterr().err


def test_methods_of_figures_take_options_and_are_titled_by_them():
    methods = {"LP": ("lp", {}), "RP": ("rp", {}), "Ours": ("two_stream", {"model": "x"})}
    varied = results.set_options(methods, ["RP:rule=area_max,window=5", "Ours:refine=select"])
    assert list(varied) == ["LP", "RP (rule=area_max,window=5)", "Ours (refine=select)"]
    assert varied["RP (rule=area_max,window=5)"] == ("rp", {"rule": "area_max", "window": 5})
    assert varied["Ours (refine=select)"] == ("two_stream", {"model": "x", "refine": "select"})
    assert methods["RP"] == ("rp", {})
    two = results.set_options({"PSFs": ("psfs", {})}, ["PSFs:sigmas=1,2,area=0.01"])
    assert list(two.values()) == [("psfs", {"sigmas": (1, 2), "area": 0.01})]
    with pytest.raises(ValueError, match="--set XX:window=3: 'XX' is not one of LP, RP, Ours"):
        results.set_options(methods, ["XX:window=3"])
    with pytest.raises(ValueError, match="'windw=3': rp takes levels=4"):
        results.set_options(methods, ["RP:windw=3"])
    with pytest.raises(ValueError, match="--set RP:window=5: RP has options already"):
        results.set_options(methods, ["RP:rule=area_max", "RP:window=5"])


def test_figures(tables_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(figures, "FIGURES", {8: "camera"})
    monkeypatch.setattr(results, "list_entries", lambda: {"LP": ("lp", {})})
    figures.main(["--tables", str(tables_folder), "--out", str(tmp_path), "--jobs", "1"])
    assert images.read(tmp_path / "fig8.png").std() > 10
    assert "fig8.png: camera, 3 images" in capsys.readouterr().out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fig8.png"]


def test_camera_is_the_pair_of_the_paper():
    a, b, truth = pairs.load("camera")
    inside = pairs.photographer_mask() > 0
    assert a.shape == (256, 256) and a.dtype == np.uint8
    # One is blurred where he is, the other everywhere else; away from the outline they are the truth.
    errors = [np.abs(x.astype(int) - truth) for x in (a, b)]
    sharp_inside = errors[0][inside].mean() < errors[1][inside].mean()
    of_him, of_rest = errors if sharp_inside else errors[::-1]
    assert of_him[inside].max() <= 1 and of_rest[~inside].max() <= 1
    assert of_him[~inside].mean() > 2 and of_rest[inside].mean() > 2
    assert 0.1 < inside.mean() < 0.4


def test_outlines_are_near_where_depth_jumps():
    inside = pairs.photographer_mask()
    to_other = np.where(inside, *(cv2.distanceTransform(x, cv2.DIST_C, 3) for x in (inside, 1 - inside)))
    np.testing.assert_array_equal(pairs.outline_mask("camera"), to_other <= 10 + 1)
    depth = depth_pair.scene()[1]
    band = pairs.outline_mask("colour")
    jump = np.abs(np.diff(depth, axis=1)) > depth_pair.SHARP / 2
    assert band[:, 1:][jump].all() and 0.1 < band.mean() < 0.5
