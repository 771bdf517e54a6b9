"""eval/compare_page.py: the page of a comparison, as records and in a real browser."""

import re

import numpy as np
import pytest

from eval import compare, compare_page, pairs, report
from eval.bench import make_pair_with_truth
from tests.two_stream_fusion.report.browser import Browser, find_program
from two_stream_fusion.io import images
from two_stream_fusion.report.page import write_page

NAMES = ("one", "two", "three", "four", "five")
SCORES = {
    "good": {"IE": 7.0, "MI": 1.2, "Qcv": 30.0, "PSNR": 40.0, "SSIM": 0.99},
    "bad": {"IE": 7.1, "MI": 1.3, "Qcv": 50.0, "PSNR": 30.0, "SSIM": 0.9},
}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """Five pairs by two methods, all with ground truth; a pair lacks an image of one method."""
    folder = tmp_path_factory.mktemp("compare")
    a, b, sharp = make_pair_with_truth(48, 64)
    for name, image in (("a", a), ("b", b), ("sharp", sharp)):
        images.write(folder / f"{name}.png", image)
    images.write(folder / "deep.png", a.astype(np.uint16) * 257)  # a 16-bit copy of an 8-bit image
    names = [pairs.Files(n, folder / "a.png", folder / "b.png", folder / "sharp.png") for n in NAMES]
    external = {(name, "good"): folder / "sharp.png" for name in names}
    external.update({(name, "bad"): folder / "deep.png" for name in names[1:]})
    page = folder / "page.html"
    missing = {"other on one": "there is no image one"}
    records = compare_page.make_page(dict.fromkeys(names, SCORES), missing, external, folder, page)
    write_page(page, records)
    return page, records


def test_pairs_are_shown_with_their_differences(comparison):
    _, page = comparison
    mean, misleading, *sections = page.sections
    assert page.lead.startswith("5 pairs by 2 methods.")
    assert mean.heading == "Mean of 5 pairs" and mean.notes == [
        "Missing: other on one: there is no image one"
    ]
    assert mean.tables[0].note.startswith("Less is better for Qcv. The best")
    assert misleading.heading == "Where a metric misleads"
    assert [section.heading for section in sections] == list(NAMES)
    assert [section.is_folded for section in sections] == [False] * 4 + [True]
    assert sections[0].notes == ["No fused image of bad."]
    (view,) = sections[1].views
    assert [p.name for p in view.pictures] == [report.TRUTH, "source A", "source B", "good", "bad"]
    good, bad = view.pictures[3:]
    assert view.shows_differences and good.note == "40.0 dB" and good.link == "sharp.png"
    assert np.ptp(good.difference.pixels.reshape(-1, 3), axis=0).max() == 0
    assert np.ptp(bad.difference.pixels.reshape(-1, 3), axis=0).max() > 0


def test_tables_have_every_metric_and_mark_the_best(comparison):
    _, page = comparison
    (table,) = page.sections[2].tables
    assert table.columns == ["method", "PSNR", "SSIM", "IE", "MI", "Qcv"]
    best = {row[0].text: [cell.is_best for cell in row[1:]] for row in table.rows}
    assert best["good"] == [True, True, False, False, True]  # less of Qcv is better
    assert best["bad"] == [False, False, True, True, False]
    assert table.rows[-1][0].text == report.TRUTH and table.rows[-1][5].text != ""
    (agreement,) = page.sections[1].tables
    assert [cell.text for cell in agreement.rows[0]] == ["one", "", "", ""]  # of two methods


def test_ranks_of_three_methods():
    scores = {"one": {**SCORES, "fair": {**SCORES["bad"], "IE": 7.05, "MI": 1.25, "Qcv": 40.0, "PSNR": 35.0}}}
    section = report.misleading_section(scores, {"one": SCORES["good"]}, ("IE", "MI", "Qcv"))
    assert [cell.text for cell in section.tables[0].rows[0]] == ["one", "-1.00", "-1.00", "1.00"]
    assert section.plots[0].title.endswith("Rank correlation -1.00.")


def test_many_pictures_are_made_smaller(comparison, monkeypatch):
    path, _ = comparison
    monkeypatch.setattr(compare_page, "MAX_PIXELS", 5 * 2 * 20 * 20)
    a = path.parent / "a.png"
    pair = pairs.Files("one", a, path.parent / "b.png")
    page = compare_page.make_page(
        {pair: SCORES}, {}, dict.fromkeys([(pair, "good"), (pair, "bad")], a), "", path
    )
    (view,) = page.sections[1].views
    assert not view.shows_differences and "bright" not in page.lead
    assert {max(picture.shown.pixels.shape[:2]) for picture in view.pictures} == {20}


def test_the_command_writes_the_page(comparison, tmp_path, capsys):
    folder = comparison[0].parent
    others = tmp_path / "others"
    for method in ("mine", "theirs"):
        (others / method).mkdir(parents=True)
        images.write(others / method / "x.png", images.read(folder / "sharp.png"))
    (tmp_path / "photos").mkdir()
    for name in "ab":
        images.write(tmp_path / f"photos/x_{name}.png", images.read(folder / f"{name}.png"))
    arguments = [str(tmp_path / "photos"), "--fused", str(others), "--methods", "none", "--jobs", "1"]
    arguments += ["--out", str(tmp_path / "out"), "--report", str(tmp_path / "new/page.html")]
    assert compare.main(arguments) == 0
    assert re.search(r"page\.html: \d\.\d MB", capsys.readouterr().out)
    html = (tmp_path / "new/page.html").read_text(encoding="utf-8")
    assert "photos/x fused by theirs" in html and "Mean of one pair" in html
    with pytest.raises(SystemExit):
        compare.main([*arguments[:-1], str(tmp_path / "page.pdf")])


@pytest.mark.skipif(find_program() is None, reason="no Chromium (Debian: apt-get install chromium)")
def test_a_browser_shows_it_and_fetches_nothing(comparison, tmp_path):
    path, _ = comparison
    browser = Browser(find_program(), tmp_path / "profile")
    try:
        browser.open(path)
        assert browser.requests == [path.resolve().as_uri()] and browser.problems == []
        first = "document.querySelector('table tbody tr th, table tbody tr td').textContent.trim()"
        assert browser.run(first) == "good"
        order = []
        for _ in range(2):
            browser.run("document.querySelectorAll('button.sort')[4].click()")
            order.append(browser.run(first))
        assert sorted(order) == ["bad", "good"]
        assert browser.run("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
        assert browser.run("document.querySelectorAll('details').length") >= 1
    finally:
        browser.close()
