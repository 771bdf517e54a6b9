import math

import pytest

from two_stream_fusion.report import plots
from two_stream_fusion.report.plots import Plot, Point


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (19, 61, [20, 30, 40, 50, 60]),
        (-0.3, 0.3, [-0.3, -0.2, -0.1, 0]),
    ],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert plots.ticks(low, high)[: len(expected)] == pytest.approx(expected)


def test_points_stand_where_their_values_are():
    points = [Point("a", 0, 10), Point("b", 1, 20), Point("c", 2, 30)]
    drawing = plots.draw(Plot("", "", "", points, (1, "middle")))
    a, b, c = drawing.marks
    assert b.x == pytest.approx((a.x + c.x) / 2) == pytest.approx(drawing.line[0])
    assert a.y > b.y > c.y and b.y == pytest.approx((a.y + c.y) / 2)
    for mark in drawing.marks:
        assert plots.LEFT < mark.x < plots.WIDTH and 0 < mark.y < plots.HEIGHT - plots.BOTTOM


@pytest.mark.parametrize("points", [[], [Point("a", 1, 1)], [Point("a", 1, 2), Point("b", 1, 2)]])
def test_few_or_equal_points_are_drawn(points):
    assert len(plots.draw(Plot("", "", "", points)).marks) == len(points)


def test_what_is_not_finite_is_left_out():
    points = [Point("a", math.nan, 1), Point("b", 1, math.inf), Point("c", 1, 2)]
    assert [mark.point.name for mark in plots.draw(Plot("", "", "", points)).marks] == ["c"]


def test_labels_of_close_points_do_not_overlap():
    names = ["Ours", "Ours+select", "Ours (2-1-2_f64_k5-handheld)", "Ours (2-1-2_f32_k3-defocus)", "PSFs"]
    points = [Point(name, 1 + 0.004 * i, 40 + 0.3 * i) for i, name in enumerate(names)]
    points += [Point("RP", 0.7, 21), Point("CP", 1.1, 41)]
    marks = plots.draw(Plot("", "", "", points)).marks
    boxes = []
    for mark in marks:
        width = 0.6 * plots.TEXT * len(mark.point.name)
        left = mark.label_x - (width if mark.anchor == "end" else 0)
        assert left >= 0 and left + width <= plots.WIDTH + 1
        boxes.append((left, mark.label_y - 10, left + width, mark.label_y + 2))
    clashes = [(i, j) for i in range(7) for j in range(i) if plots._overlap(boxes[i], boxes[j]) > 5]
    assert clashes == []
