import base64
import hashlib
import os
import re
from html.parser import HTMLParser

import pytest

from tests.two_stream_fusion.report.samples import EVIL, sample_page
from two_stream_fusion.report import page

VOID = {"meta", "link", "img", "input", "br"}


class Reader(HTMLParser):
    """Elements with their attributes, text, and whether the tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self._open = [], "", []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        assert len(dict(attributes)) == len(attributes), tag
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open and self._open.pop() == tag, tag

    def handle_data(self, data):
        if not self._open or self._open[-1] not in ("style", "script"):
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def html():
    return page.render(sample_page())


def test_a_page_is_well_formed(html):
    reader = Reader(html)
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"][1:] for a in reader.all("a") if a["href"].startswith("#")]
    targets += [a["aria-labelledby"] for _, a in reader.elements if "aria-labelledby" in a]
    assert targets and set(targets) <= set(ids)
    assert len(reader.all("h1")) == 1 and reader.all("html") == [{"lang": "en"}]


def test_nothing_outside_is_loaded(html):
    reader = Reader(html)
    for tag, attributes in reader.elements:
        for name in ("src", "href", "srcset", "data", "action", "xlink:href", "poster"):
            value = attributes.get(name)
            if value is not None:
                is_link = tag == "a" and re.match(r"#|full/", value)
                assert is_link or value.startswith("data:"), (tag, value[:50])
    assert "http:" not in html and "https:" not in html and "@import" not in html and "url(" not in html
    script = html.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (m["content"] for m in reader.all("meta") if "http-equiv" in m)
    assert "default-src 'none'" in policy and f"'sha256-{digest}'" in policy


def test_pictures_and_sliders_are_named(html):
    reader = Reader(html)
    assert len(reader.all("img")) == 12 and all(image["alt"] for image in reader.all("img"))
    sliders = [a for _, a in reader.elements if a.get("role") == "slider"]
    assert len(sliders) == 2
    for slider in sliders:
        assert slider["tabindex"] == "0" and slider["aria-label"] and slider["aria-valuenow"] == "50"
    for name, attributes in reader.elements:
        if name == "svg":
            assert attributes["role"] == "img" and attributes["aria-label"] == "plot frame"


def test_names_are_escaped():
    reader = Reader(page.render(sample_page(EVIL)))
    assert len(reader.all("script")) == 1  # ours
    assert reader.text.count(EVIL) >= 20
    assert [a["alt"] for a in reader.all("img")].count(f"photograph 0 {EVIL}") == 2
    assert not [name for _, a in reader.elements for name in a if name.startswith("on")]


def test_pictures_are_bounded():
    sample = sample_page()
    uris = re.findall(r'src="(data:[^"]*)"', page.render(sample, 20_000))
    assert sum(map(len, uris)) <= 20_000
    assert "have at most\n  1600 pixels a side" in page.render(sample)


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("a b.png", "a%20b.png"),
        ("javascript:alert(1).png", "javascript%3Aalert%281%29.png"),
        ("#?%.png", "%23%3F%25.png"),
        ("../up/ü.png", "../up/%C3%BC.png"),
        ("sub/<x>.png", "sub/%3Cx%3E.png"),
    ],
)
def test_links_are_relative_and_quoted(tmp_path, name, link):
    (tmp_path / "sub").mkdir()
    assert page.relative_link(tmp_path / "pages" / name, tmp_path / "pages/page.html") == link


def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    page.write_page(path, sample_page(), replace=False)
    before = path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="exists"):
        page.write_page(path, sample_page("other"), replace=False)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError):
        page.write_page(path, sample_page("other"))
    assert path.read_text(encoding="utf-8") == before and os.listdir(tmp_path) == ["page.html"]
