"""What every comparison method keeps to, whatever it computes."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from two_stream_fusion.methods import registry

# tests/two_stream_fusion/methods/test_two_stream.py has the network's own test.
WITHIN = {name: row.self_error for name, row in registry.METHODS.items() if name != "two_stream"}
every_method = pytest.mark.parametrize("name", WITHIN)


def test_bounds_of_the_paper_s_methods_stay():
    # The nets of SRCNN sharpen: tests/two_stream_fusion/methods/test_srcnn.py bounds by how much.
    bounds = {"dwt": 1, "lp": 1, "sp": 0, "rp": 1, "psfs": 0, "cp": 1, "gf": 0, "srcnn": None, "cnn": 0}
    assert {
        name: WITHIN[name] for name, row in registry.METHODS.items() if row.in_paper and name in WITHIN
    } == bounds


def image(seed, shape, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def check_kind_and_equal_images(name, height, width, colour, deep):
    shape = (height, width, 3) if colour else (height, width)
    a, b = (image(i, shape, np.uint16 if deep else np.uint8) for i in (1, 2))
    before = a.copy(), b.copy()
    fused = registry.fuse(name, [a, b]).image
    assert fused.shape == a.shape and fused.dtype == a.dtype
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])
    if WITHIN[name] is not None:
        assert np.abs(registry.fuse(name, [a, a]).image.astype(int) - a).max() <= WITHIN[name]


@pytest.mark.parametrize("name", sorted(set(WITHIN) - {"srcnn"}))
@settings(max_examples=20, deadline=None)
@given(height=st.integers(2, 70), width=st.integers(2, 70), colour=st.booleans(), deep=st.booleans())
def test_kind_is_kept_and_equal_images_come_back(name, height, width, colour, deep):
    check_kind_and_equal_images(name, height, width, colour, deep)


@pytest.mark.parametrize("size", [(2, 9), (7, 3)])  # larger ones take seconds
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("colour", [False, True])
def test_srcnn_keeps_the_kind(size, colour, deep):
    check_kind_and_equal_images("srcnn", *size, colour, deep)


@every_method
@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_images_come_back(name, level):
    flat = np.full((17, 20, 3), level, np.uint8)
    assert np.abs(registry.fuse(name, [flat, flat]).image.astype(int) - level).max() <= (WITHIN[name] is None)


@every_method
def test_lines_of_one_pixel_are_refused(name):
    line = image(0, (1, 9))
    with pytest.raises(ValueError, match="too small"):
        registry.fuse(name, [line, line])


def test_more_images_are_folded_or_taken_at_once():
    a, b, c = (image(i, (20, 30)) for i in range(3))
    lp, gf = registry.load("lp").fuse, registry.load("gf")
    np.testing.assert_array_equal(registry.fuse("lp", [a, b, c]).image, lp(lp(a, b), c))
    at_once = gf.apply([a, b, c], gf.decide(a, b, c))
    np.testing.assert_array_equal(registry.fuse("gf", [a, b, c]).image, at_once)
    with pytest.raises(ValueError, match="no method 'none'"):
        registry.fuse("none", [a, b])


@pytest.mark.parametrize("name", registry.TITLES)
@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_images_are_refused(name, count):
    for images in ([image(1, (20, 20))] * count, iter([image(1, (20, 20))] * count)):
        with pytest.raises(ValueError, match="two images or more"):
            registry.fuse(name, images)


def test_an_option_given_twice_is_refused():
    with pytest.raises(ValueError, match="'levels=3': levels is given twice"):
        registry.parse_options("lp", ["levels=2", "levels=3"])


def test_decisions_are_one_a_step_of_methods_with_maps():
    a, b, c = (image(i, (20, 30)) for i in range(3))
    for name, steps in (("lp", 0), ("psfs", 2), ("gf", 1)):
        fused = registry.fuse(name, [a, b, c])
        assert len(fused.decisions) == steps
        alone = registry.fuse(name, [a, b, c], keep_decisions=False)
        assert alone.decisions == []
        np.testing.assert_array_equal(alone.image, fused.image)


@pytest.mark.parametrize("name", registry.METHODS)
def test_rows_say_what_the_modules_have(name):
    method, module = registry.find(name), registry.load(name)
    has = [hasattr(module, function) for function in ("decide", "apply", "fuse")]
    assert has == [method.has_maps, method.has_maps, not method.has_maps]
    parameters = inspect.signature(registry.entry_point(name)).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    assert registry.options(name) == defaults  # an option that is not keyword-only could not be set
    assert defaults or not method.in_paper


DEFAULTS = {  # of the numbers among the options
    "dwt": {"levels": 4, "window": 3},
    "lp": {"levels": 4, "window": 3},
    "sp": {"levels": 4, "orientations": 4, "window": 3},
    "rp": {"levels": 4, "window": 3},
    "psfs": {"window": 7, "area": 0.0},
    "cp": {"levels": 4, "window": 3},
    "gf": {"r1": 45, "eps1": 0.3, "r2": 7, "eps2": 1e-6},
    "srcnn": {"scale": 2, "levels": 2, "window": 3},
    "cnn": {"area": 0.01, "radius": 8, "eps": 0.1},
    "two_stream": {"tile": 512},
}


def test_defaults_of_numbers_stay():
    """The published tables are those of these defaults."""
    numbers = {
        name: {k: v for k, v in registry.options(name).items() if type(v) in (int, float)}
        for name in registry.METHODS
    }
    assert numbers == DEFAULTS
