"""Scatter plots as coordinates of an SVG, which the template of the page draws."""

from __future__ import annotations

import math
from typing import NamedTuple, Sequence

WIDTH, HEIGHT = 640, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 18, 16, 52  # margins
TEXT = 12  # height of a label; a character is about 0.6 of it wide
FAR = ((-9, 22), (-9, -18), (-9, 34), (-9, -30), (9, 34), (9, -30))  # places where near ones are taken


class Point(NamedTuple):
    """A method in a plot. is_ours: drawn in another colour and form."""

    name: str
    x: float
    y: float
    is_ours: bool = False


class Plot(NamedTuple):
    """A scatter plot. line: (x, label) of a vertical line, or None. title: also its alt text."""

    title: str
    x_label: str
    y_label: str
    points: Sequence[Point]
    line: tuple[float, str] | None = None


class Mark(NamedTuple):
    """Where a point and its label stand. anchor: start or end of the text. is_far: a line joins the two."""

    point: Point
    x: float
    y: float
    label_x: float
    label_y: float
    anchor: str
    is_far: bool


class Drawing(NamedTuple):
    """A plot in SVG's units. x_ticks, y_ticks: (place, text). line: (x, label) or None."""

    plot: Plot
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    marks: list[Mark]
    line: tuple[float, str] | None


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Choose the numbers beside an axis.

    Args:
        low, high: the ends of the axis.
        count: about how many.

    Returns:
        Round numbers between the ends, 1, 2 or 5 times a power of ten apart.
    """
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def draw(plot: Plot) -> Drawing:
    """Place points, labels and ticks; points that are not finite are left out."""
    points = [point for point in plot.points if math.isfinite(point.x) and math.isfinite(point.y)]
    xs = [point.x for point in points] + ([plot.line[0]] if plot.line else [])
    x_low, x_high = _range(xs)
    y_low, y_high = _range([point.y for point in points])

    def place_x(value):
        return LEFT + (value - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def place_y(value):
        return HEIGHT - BOTTOM - (value - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)

    centres = [(place_x(point.x), place_y(point.y)) for point in points]
    line = (place_x(plot.line[0]), plot.line[1]) if plot.line else None
    return Drawing(
        plot,
        [(place_x(value), f"{value:.4g}") for value in ticks(x_low, x_high)],
        [(place_y(value), f"{value:.4g}") for value in ticks(y_low, y_high)],
        [
            Mark(point, *centre, *label)
            for point, centre, label in zip(points, centres, _labels(points, centres))
        ],
        line,
    )


def _range(values):
    """A little more than the values span; never nothing."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = 0.07 * (high - low) or 0.05 * abs(high) or 0.5
    return low - margin, high + margin


def _labels(points, centres):
    """(x, y, anchor, is_far) for each point: of some places around it the one that covers least else."""
    boxes = [(x - 5, y - 5, x + 5, y + 5) for x, y in centres]
    labels = []
    for point, (x, y) in zip(points, centres):
        width = 0.6 * TEXT * len(point.name)
        best = None
        for dx, dy in ((9, 4), (-9, 4), (6, -8), (6, 16), (-6, -8), (-6, 16), (9, 22), (9, -18), *FAR):
            left, anchor = (x + dx, "start") if dx > 0 else (x + dx - width, "end")
            box = (left, y + dy - TEXT + 2, left + width, y + dy + 2)
            cost = sum(_overlap(box, other) for other in boxes)
            outside = max(0, LEFT - box[0]) + max(0, box[2] - WIDTH) + max(0, box[3] - HEIGHT + BOTTOM)
            cost += 1000 * (outside + max(0, -box[1]))
            if best is None or cost < best[0]:
                best = cost, box, (x + dx, y + dy, anchor, abs(dy) > 16)
        boxes.append(best[1])
        labels.append(best[2])
    return labels


def _overlap(a, b):
    """The area that two boxes (left, top, right, bottom) share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
