"""Pages to test with."""

import numpy as np

from two_stream_fusion.report.page import Cell, Page, Picture, Section, Swatch, Table, View
from two_stream_fusion.report.pictures import Shown
from two_stream_fusion.report.plots import Plot, Point

EVIL = "<script>alert(1)</script>\"'&.png"


def sample_page(name: str = "frame") -> Page:
    """A page with all that a page can hold; `name` stands wherever names do."""
    i, j = np.indices((90, 120))
    photographs = [((i * 3 + j * 2 + 40 * k) % 256).astype(np.uint8) for k in range(3)]
    differences = [Shown(np.dstack([image // 2] * 3)) for image in photographs]
    pictures = [
        Picture(f"{name} {k}", Shown(image), f"photograph {k} {name}", (120, 90), f"full/{k}.png", difference)
        for k, (image, difference) in enumerate(zip(photographs, differences))
    ]
    view = View(f"view {name}", pictures, 0, 2, legend_title=name, legend=[Swatch((43, 108, 176), name)])
    rows = [
        [Cell(f"{name} {title}", title), Cell(f"{value:.2f}", value, value == 3, "(1.50)", value == 1)]
        for title, value in (("b", 1.0), ("c", 3.0), ("a", float("nan")), ("d", 2.0))
    ]
    table = Table(f"scores {name}", ["method", f"MI {name}"], rows, f"note {name}")
    plot = Plot(f"plot {name}", name, name, [Point(name, 1, 2), Point("Ours", 2, 1, True)], (1.5, name))
    facts = [(f"term {name}", f"description {name}")]
    other = view._replace(label=f"other {name}", is_grid=True, shows_differences=True, legend=())
    return Page(
        f"title {name}",
        f"lead {name}",
        [
            Section(f"first {name}", [f"note {name}"], [f"warning {name}"], [view], [table], [plot], facts),
            Section(f"second {name}", views=[other], is_folded=True),
        ],
    )
