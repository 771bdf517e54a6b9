"""eval/report.py: the page of tables."""

import re

import numpy as np
import pytest

from eval import pairs, report, results, tables
from two_stream_fusion import metrics
from two_stream_fusion.io import images
from two_stream_fusion.methods import registry


@pytest.fixture(scope="module")
def tables_folder(tmp_path_factory):
    """Tables of the camera pair by two methods, as eval/tables.py writes them."""
    folder = tmp_path_factory.mktemp("tables")
    rows = {t: results.score_pair("camera", t, t.lower(), {}, folder / "fused") for t in ("LP", "DWT")}
    tables.write_tables({"camera": rows}, {}, folder)
    return folder


def test_scores_are_read_with_those_against_the_truth(tables_folder):
    scores = report.read_scores(tables_folder)
    assert list(scores) == ["camera"] and list(scores["camera"]) == ["LP", "DWT"]
    assert set(scores["camera"]["LP"]) == {*metrics.METRICS, *report.FIDELITY}


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no tables there; `make tables` makes them"):
        report.read_scores(tmp_path)


def test_the_page_has_pairs_differences_and_plots(tables_folder, tmp_path):
    page = report.make_tables_page(tables_folder, tmp_path / "page.html")
    camera, _, misleading, *_ = page.sections
    assert misleading.heading == "Where a metric misleads" and camera.heading == "Table 3: camera"
    (view,) = camera.views
    assert [picture.name for picture in view.pictures] == [report.TRUTH, "source A", "source B", "LP", "DWT"]
    assert view.is_grid and view.shows_differences
    black = view.pictures[0].difference.pixels
    assert (black == black[0, 0]).all()  # the truth differs from itself nowhere
    assert (view.pictures[3].difference.pixels != black[0, 0]).any()
    assert re.fullmatch(r"[./\w-]*/fused/camera/LP-\w{16}\.png", view.pictures[3].link)
    (plot,) = misleading.plots
    assert view.pictures[3].note == f"{plot.points[0].y:.1f} dB"
    a, b, truth = pairs.load("camera")
    assert plot.line[0] == pytest.approx(metrics.METRICS["MI"](a, b, truth))
    assert {point.name for point in plot.points} == {"LP", "DWT"}
    (table,) = camera.tables
    by_title = {row[0].text: dict(zip(table.columns, row)) for row in table.rows}
    assert by_title["LP"]["PSNR"].is_best and not by_title["DWT"]["PSNR"].is_best
    assert by_title["LP"]["MI"].beside == f"({tables.read_published()[3]['LP']['MI']:.4f})"
    assert by_title[report.TRUTH]["MI"].text == f"{plot.line[0]:.4f}"
    assert not any(cell.is_best for cell in by_title[report.TRUTH].values())


def test_the_command_writes_a_page(tables_folder, tmp_path, capsys):
    out = tmp_path / "new" / "page.html"
    assert report.main(["--tables", str(tables_folder), "--out", str(out), "--no-lytro"]) == 0
    assert re.fullmatch(r".*page\.html: \d\.\d MB\n", capsys.readouterr().out)
    html = out.read_text(encoding="utf-8")
    assert "brightest at 32 of 255 levels" in html and "Not among the tables." in html
    with pytest.raises(SystemExit):
        report.main(["--tables", str(tables_folder), "--out", str(tmp_path / "page.txt")])


@pytest.mark.parametrize("deep", ["source", "fused"])
def test_equal_channels_are_shown_beside_gray(tmp_path, monkeypatch, triple, deep):
    """As they are scored: a gray image and the same in three equal channels."""
    gray = triple[2] if triple[2].ndim == 2 else triple[2][..., 0]
    colour = np.repeat(gray[..., None], 3, axis=2)
    source, fused = (colour, gray) if deep == "source" else (gray, colour)
    monkeypatch.setattr(results, "load_pair", lambda name: pairs.Pair(source, source, source))
    images.write(tmp_path / "f.png", fused)
    shown = report.show_pair("camera", {"M": {}}, {"M": tmp_path / "f.png"}, tmp_path / "page.html")
    assert not shown.notes and shown.view.pictures[-1].name == "M"


def test_images_and_photographs_that_lack_are_named(tmp_path, monkeypatch):
    (tmp_path / "fused/camera").mkdir(parents=True)
    images.write(tmp_path / "fused/camera/DWT-0123456789abcdef.png", np.zeros((4, 4), np.uint8))
    rows = {"LP": {}, "DWT": {}}
    files = report._fused_files("camera", rows, tmp_path / "fused")
    assert list(files) == ["DWT"]
    shown = report.show_pair("camera", rows, files, tmp_path / "page.html")
    assert shown.notes == [
        "DWT cannot be shown: images differ: (256, 256) uint8 and (4, 4) uint8.",
        "No fused image of LP; `make tables` makes it.",
    ]
    assert len(shown.view.pictures) == 3

    def fail(name):
        raise OSError(f"{name}: cannot be fetched")

    monkeypatch.setattr(results, "load_pair", fail)
    shown = report.show_pair("clock", {"LP": {}}, {}, tmp_path / "page.html")
    assert shown.view is None and shown.notes == ["The photographs cannot be shown: clock: cannot be fetched"]


def test_lytro_pairs_are_folded_below_their_mean(tmp_path, monkeypatch, triple):
    monkeypatch.setattr(results, "load_pair", lambda name: pairs.Pair(triple[0], triple[1], None))
    monkeypatch.setattr(report, "_pair_files", lambda name: [tmp_path / "a.png", tmp_path / "b.png"])
    row = dict.fromkeys(metrics.METRICS, 0.5)
    names = pairs.LYTRO[:2]
    tables.write_tables({name: {"LP": row, "Ours": {**row, "MI": 0.7}} for name in names}, {}, tmp_path)
    for name in names:
        for title in ("LP", "Ours"):
            path = tmp_path / "fused" / name.replace("/", "-") / f"{title}-0123456789abcdef.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            images.write(path, triple[2])
    page = report.make_tables_page(tmp_path, tmp_path / "page.html")
    mean, *folded = page.sections[4:]
    assert mean.heading == "Lytro, mean of 2 pairs" and not mean.is_folded
    assert [part.heading for part in folded] == list(names) and all(part.is_folded for part in folded)
    assert (folded[0].views[0].left, folded[0].views[0].right) == (0, 3)
    assert folded[0].views[0].pictures[0].link == "a.png"
    few = report.make_tables_page(tmp_path, tmp_path / "page.html", has_lytro=False)
    assert page.lead.startswith("2 pairs by every method")
    assert len(few.sections) == 4 and few.lead.startswith("0 pairs by every method")


def test_a_metric_that_the_ground_truth_lacks_is_not_plotted():
    scores = {"x": {"LP": {"PSNR": 30, "LPIPS": 0.2, "Q": 0.9}, "GF": {"PSNR": 40, "LPIPS": 0.1, "Q": 0.8}}}
    for columns, metric in ((["LPIPS", "Q"], "Q"), (["LPIPS"], None)):
        section = report.misleading_section(scores, {"x": {"Q": 1.0}}, columns)
        assert [metric in plot.title for plot in section.plots] == ([True] if metric else [])
        assert section.tables[0].columns == ["pair", *columns]


def test_titles_are_found_by_their_own_images(tmp_path, triple):
    for name in ("LP", "LP_(levels=2)"):
        path = tmp_path / "camera" / f"{name}-0123456789abcdef.png"
        path.parent.mkdir(exist_ok=True)
        images.write(path, triple[0])
        assert results.find_fused("camera", name.replace("_", " "), tmp_path) == path
    assert results.find_fused("camera", registry.TITLES["gf"], tmp_path) is None
