"""What metrics keep of the sources: values do not depend on what was scored before."""

import numpy as np
import pytest

from two_stream_fusion import metrics
from two_stream_fusion.metrics import cache


@pytest.mark.parametrize("name", list(metrics.REGISTRY))
def test_scores_do_not_depend_on_earlier_ones(name, triple, monkeypatch):
    function = metrics.REGISTRY[name].function
    a, b, fused = triple
    monkeypatch.setattr(cache, "LARGEST", 0)
    images = [(a, b, fused), (a, b, a), (b, a, fused), (a[:48], b[:48], fused[:48]), (a, b, fused)]
    expected = [function(*three) for three in images]
    monkeypatch.setattr(cache, "LARGEST", 2**19)
    for _ in range(2):
        assert [function(*three) for three in images] == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_the_last_result_is_kept_by_content():
    calls = []

    @cache.cache_by_images
    def shapes(*images):
        calls.append([image.copy() for image in images])
        return [image.shape for image in images]

    a, b = np.zeros((4, 6), np.uint8), np.ones((4, 6), np.uint8)
    assert shapes(a, b) == shapes(a.copy(), b) == [(4, 6)] * 2 and len(calls) == 1
    a[0, 0] = 1  # the same array with another level
    shapes(a, b)
    assert len(calls) == 2 and calls[1][0][0, 0] == 1
    assert shapes(a.reshape(6, 4)) == [(6, 4)] and shapes(a.reshape(3, 8)) == [(3, 8)]
    assert shapes(a.view(np.uint16)) == [(4, 3)] and len(calls) == 5


def test_sources_are_computed_once(monkeypatch):
    calls = []

    @cache.cache_by_sources
    def sums(*images):
        calls.append(len(images))
        return [int(image.sum()) for image in images]

    a, b, c = (np.full((2, 3), level, np.uint8) for level in (1, 2, 3))
    assert sums([a, b], c) == ([6, 12], 18) and sums([a, b], a) == ([6, 12], 6)
    assert calls == [2, 1, 1]
    monkeypatch.setattr(cache, "LARGEST", 5)  # too large to keep: all in one call
    assert sums([a, b], c) == ([6, 12], 18) and calls[3:] == [3]


def test_the_last_small_size_is_kept():
    calls = []

    @cache.cache_by_size
    def area(height, width):
        calls.append((height, width))
        return height * width

    assert [area(2, 3), area(2, 3), area(3, 2), area(1024, 1024), area(1024, 1024)] == [6, 6, 6, 2**20, 2**20]
    assert calls == [(2, 3), (3, 2), (1024, 1024), (1024, 1024)]
