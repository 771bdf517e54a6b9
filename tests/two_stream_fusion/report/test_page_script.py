"""page.js and page.css in a real browser: sliders, zoom, tables, and that nothing is fetched."""

import pytest

from tests.two_stream_fusion.report.browser import Browser, find_program
from tests.two_stream_fusion.report.samples import EVIL, sample_page
from two_stream_fusion.report.page import write_page

PROGRAM = find_program()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium (Debian: apt-get install chromium)")
FIRST = "document.querySelector('.view')"
HANDLE = f"{FIRST}.querySelector('.handle')"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(path, sample_page(EVIL))
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(PROGRAM, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def tab(browser, path):
    """The page in a window of a desktop; afterwards it must have fetched nothing and said nothing."""
    browser.open(path)
    yield browser
    assert browser.requests == [path.resolve().as_uri()]
    assert browser.problems == []


def center(tab, selector):
    """The middle of an element in the window."""
    tab.run(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")
    box = f"document.querySelector('{selector}').getBoundingClientRect()"
    return tuple(tab.run(f"((b) => [b.left + b.width / 2, b.top + b.height / 2])({box})"))


def value(tab):
    return tab.run(f"Number({HANDLE}.getAttribute('aria-valuenow'))")


def zoom(tab, view=0):
    """The matrices of all photographs of a view, each once."""
    images = f"[...document.querySelectorAll('.view')[{view}].querySelectorAll('img')]"
    return tab.run(f"[...new Set({images}.map((image) => getComputedStyle(image).transform))]")


def test_the_slider_moves_by_keys(tab):
    tab.run(f"{HANDLE}.focus()")
    clip = f"getComputedStyle({FIRST}.querySelector('.cell.right .port')).clipPath"
    for key, expected in (("ArrowRight", 52), ("ArrowLeft", 50), ("PageDown", 40), ("End", 100), ("Home", 0)):
        tab.press(key)
        assert value(tab) == expected, key
    tab.press("ArrowUp")
    assert tab.run(clip) == "inset(0px 0px 0px 2%)"
    assert "2 %" in tab.run(f"{HANDLE}.getAttribute('aria-valuetext')")
    tab.run(f"{FIRST}.querySelector('[data-turn]').click()")
    tab.press("ArrowDown")
    assert tab.run(clip) == "inset(4% 0px 0px)"
    assert tab.run(f"{HANDLE}.getAttribute('aria-orientation')") == "vertical"
    assert tab.run(f"{FIRST}.querySelector('legend').textContent") == "Top"


def test_the_slider_moves_by_mouse_and_touch(tab):
    x, y = center(tab, ".view .handle")
    width = tab.run(f"{FIRST}.querySelector('.stage').clientWidth")
    tab.drag((x, y), (x + width / 4, y))
    assert value(tab) == pytest.approx(75, abs=1)
    tab.touch([(x + width / 4, y)], [(x, y)], [(x - width / 4, y)])
    assert value(tab) == pytest.approx(25, abs=1)


def test_zoom_and_pan_are_linked(tab):
    assert zoom(tab) == ["matrix(1, 0, 0, 1, 0, 0)"]
    tab.run(f"{FIRST}.querySelector('.stage').focus()")
    for key in "++":
        tab.press(key)
    (zoomed,) = zoom(tab)
    assert zoomed.startswith("matrix(2.25, 0, 0, 2.25, -")
    tab.press("ArrowRight")
    x, y = center(tab, ".view .stage")
    tab.drag((x + 90, y), (x + 60, y - 20))
    (moved,) = zoom(tab)
    assert moved.startswith("matrix(2.25") and moved != zoomed
    assert zoom(tab, 1) == ["matrix(1, 0, 0, 1, 0, 0)"]  # another scene
    tab.run(f"{FIRST}.querySelector('[data-mode-button=grid]').click()")
    assert len(zoom(tab)) == 1
    tab.press("0")
    assert zoom(tab) == ["matrix(1, 0, 0, 1, 0, 0)"]


def test_two_fingers_zoom(tab):
    x, y = center(tab, ".view .stage")
    tab.touch([(x - 20, y), (x + 20, y)], [(x - 40, y), (x + 40, y)], [(x - 60, y), (x + 60, y)])
    scale = float(zoom(tab)[0].partition("(")[2].partition(",")[0])
    assert 2.5 < scale < 3.5


def test_pictures_are_switched(tab):
    cells = f"""[...{FIRST}.querySelectorAll('.cell')].filter((cell) => getComputedStyle(cell).visibility ===
        'visible').map((cell) => cell.querySelector('.photo').alt.slice(0, 12))"""
    assert tab.run(cells) == ["photograph 0", "photograph 2"]
    tab.run(f"{FIRST}.querySelectorAll('[data-side=left] input')[1].click()")
    assert tab.run(cells) == ["photograph 1", "photograph 2"]
    tab.run(f"{FIRST}.querySelector('[data-swap]').click()")
    assert tab.run(f"{FIRST}.querySelector('.cell.left .photo').alt.slice(0, 12)") == "photograph 2"
    difference = f"getComputedStyle({FIRST}.querySelector('.cell.left .difference')).visibility"
    assert tab.run(difference) == "hidden"
    tab.run(f"{FIRST}.querySelector('[data-difference-button]').click()")
    assert tab.run(difference) == "visible"


def test_tables_sort(tab):
    order = "[...document.querySelectorAll('tbody tr')].map((row) => row.cells[0].dataset.value).join('')"
    sort = "document.querySelectorAll('thead th')[{}].ariaSort"
    assert tab.run(order) == "bcad"
    for column, expected, said in (
        (1, "cdba", "descending"),
        (1, "bdca", "ascending"),
        (0, "abcd", "ascending"),
        (0, "dcba", "descending"),
    ):
        tab.run(f"document.querySelectorAll('thead button')[{column}].click()")
        assert (tab.run(order), tab.run(sort.format(column))) == (expected, said)
    assert tab.run(sort.format(1)) is None


# The smallest contrast of a text with what is behind it: WCAG 2.1, 1.4.3.
CONTRAST = """(() => {
  const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => c.reduce((sum, v, i) => sum + linear(v / 255) * [0.2126, 0.7152, 0.0722][i], 0);
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (e) => {
    const colour = rgb(getComputedStyle(e).backgroundColor);
    return colour.length === 3 || !e.parentElement ? colour.slice(0, 3) : behind(e.parentElement);
  };
  const kinds = 'p, li, a, button, td, th, small, dt, dd, caption, figcaption, .chips span, legend';
  return Math.min(...[...document.querySelectorAll(kinds)].map((e) => {
    const both = [light(rgb(getComputedStyle(e).color).slice(0, 3)), light(behind(e))];
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  }));
})()"""
SMALL = """[...document.querySelectorAll('button, .chips label')].filter(
  (e) => e.offsetParent && (e.offsetHeight < 24 || e.offsetWidth < 24)).length"""


def test_the_chosen_names_are_in_sight(browser, path):
    browser.open(path, 300, 740)
    view = "document.querySelectorAll('.view')[1]"  # in a folded part, begun side by side
    browser.run(
        f"({view}.closest('details').open = true, {view}.querySelector('[data-mode-button]').click())"
    )
    rectangle = (
        f"{view}.querySelector('[data-side=right] input:checked').parentElement.getBoundingClientRect()"
    )
    left, right = browser.run(f"((b) => [b.left, b.right])({rectangle})")
    assert 0 <= left < right <= 300
    assert browser.run(f"{view}.querySelector('[data-side=right] .chips').scrollLeft") > 50


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_telephone(browser, path, dark):
    browser.open(path, 360, 740, dark)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    assert browser.run(SMALL) == 0
    assert browser.run(CONTRAST) >= 4.5
    assert browser.problems == []


def test_without_script_all_pictures_show(browser, path):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(path, has_script=False)
        photographs = "[...document.querySelectorAll('main > section:first-child .photo')]"
        assert browser.run(f"{photographs}.filter((e) => e.offsetWidth > 99).length") == 3
        assert (
            browser.run(
                "document.querySelector('.bar').offsetWidth + document.querySelector('.handle').offsetWidth"
            )
            == 0
        )
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
