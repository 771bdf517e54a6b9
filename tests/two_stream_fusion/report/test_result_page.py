import numpy as np
import pytest

from two_stream_fusion import outputs, pipeline
from two_stream_fusion.io import images
from two_stream_fusion.pipeline import Aligned, LeftOut, Result
from two_stream_fusion.report import page, result_page
from two_stream_fusion.stack.frames import Frames


def describe(path, result, method="two_stream", warnings=(), **settings):
    """The page of a result, and its three sections."""
    seconds = {"align": 0.25, "fuse": 1.0, "write": 0.5}
    report = outputs.make_report(
        path.with_name("sharp.png"), result.aligned, seconds, result=result, method=method
    )
    described = result_page.make_result_page(path, result, report, {"method": method, **settings}, warnings)
    assert page.render(described)
    return described, *described.sections


def stack(count, shape=(20, 30), **changes):
    """A result with a map of choices, of frames that differ."""
    random = np.random.default_rng(0)
    arrays = [random.integers(0, 40 + i, shape).astype(np.uint8) for i in range(count)]
    frames = Frames(arrays)
    choice = np.arange(shape[0] * shape[1]).reshape(shape[:2]).astype(np.uint16) % count
    names = [frames.name(i) for i in range(count)]
    aligned = Aligned(frames, list(range(count)), names=names)
    result = Result(arrays[0], None, choice, [], "select", None, None, aligned, {"align": 0.0, "fuse": 0.0})
    return result._replace(**changes)


def cells(table):
    """{first cell: the texts of the others}."""
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


def test_sharpness_falls_with_blur(triple):
    a = triple[0]
    soft = (a // 2 + np.roll(a, 1, 0) // 2).astype(np.uint8)
    assert result_page.sharpness(a) > 1.2 * result_page.sharpness(soft) > 0
    assert result_page.sharpness(np.full((9, 9, 3), 77, np.uint8)) == pytest.approx(0, abs=1e-9)
    assert result_page.sharpness(a.astype(np.uint16) * 257) == pytest.approx(result_page.sharpness(a))


def test_the_map_and_its_legend_have_the_same_colours(tmp_path):
    result = stack(3)
    _, look, photographs, _ = describe(tmp_path / "page.html", result)
    (view,) = look.views
    assert [picture.name for picture in view.pictures] == [
        "image 1",
        "image 2",
        "image 3",
        "fused",
        "map of choices",
    ]
    assert (view.left, view.right) == (0, 3)
    map_image = view.pictures[-1].shown
    for i, swatch in enumerate(view.legend):
        assert swatch.name == f"image {i + 1}"
        assert np.array_equal(np.unique(map_image.pixels[result.choice == i], axis=0), [swatch.colour])
    assert map_image.is_flat
    shares = [row[2] for row in cells(photographs.tables[0]).values()]
    assert shares == ["33.3 %", "33.3 %", "33.3 %", ""]


def test_a_long_stack_shows_some_of_its_frames(tmp_path):
    _, look, photographs, _ = describe(tmp_path / "page.html", stack(60, (8, 10)))
    assert len(look.views[0].pictures) == result_page.MAX_FRAMES + 2
    assert look.views[0].pictures[0].name == "image 1" and look.views[0].pictures[23].name == "image 60"
    assert len(look.views[0].legend) == 60 and len(photographs.tables[0].rows) == 61
    assert look.notes[0].startswith("24 of the 60 sources are shown")


@pytest.mark.parametrize(("count", "words"), [(2, "both"), (3, "all")])
def test_pixels_of_the_network_are_of_all_photographs(tmp_path, count, words):
    result = stack(count, choice=None, refine="none")
    look = describe(tmp_path / "page.html", result)[1]
    note = f"The network makes each pixel from {words} photographs: there is no map of choices."
    assert note in look.notes


def test_the_page_describes_what_was_done(tmp_path):
    result = stack(3)
    shift = np.array([[1.0, 0, 3], [0, 1, 4], [0, 0, 1]])
    aligned = result.aligned._replace(
        reference=0,
        transforms=[np.eye(3), shift, None],
        window=(slice(0, 20), slice(0, 30)),
        order=[1, 0],
        frames=result.aligned.frames.reordered([1, 0]),
        left_out=(LeftOut(2, "image 3", "brighter than the others"),),
    )
    result = result._replace(aligned=aligned, choice=result.choice % 2)
    settings = {"align": "affine", "gpu": 0, "crop": False, "exposure": True, "keep_all": False, "tile": 512}
    page, pictures, photographs, how_done = describe(
        tmp_path / "page.html", result, warnings=["beware"], **settings
    )
    assert page.title == "sharp.png" and page.lead == "2 photographs fused by two_stream, 30x20 8 bit gray."
    assert pictures.warnings == ["beware"]
    values = cells(photographs.tables[0])
    assert values["image 2"][0] == "1" and values["image 2"][3:] == ["5.00", "1.0000"]
    assert values["image 1"][0] == "2" and values["image 1"][3:] == ["0.00", "1.0000"]
    assert "image 3, left out: brighter than the others" in values
    facts = dict(how_done.facts)
    assert facts["align"] == "affine" and facts["gpu"] == "0" and facts["crop"] == "no"
    assert facts["reference"] == "image 1" and facts["time to fuse"] == "1.00 s"
    assert not {"exposure", "keep all", "tile"} & set(facts)  # as by default


def test_decision_maps_of_a_method_are_shown(tmp_path, triple):
    result = pipeline.fuse(triple[:2], "gf", check_register=False)
    _, look, _, _ = describe(tmp_path / "page.html", result, "gf")
    names = [picture.name for picture in look.views[0].pictures]
    maps = [name for name, values in result.maps[0].items() if np.ndim(values) == 2]
    assert maps and names == ["image 1", "image 2", "fused", *maps] and not look.views[0].legend


def test_files_are_linked_with_their_alpha_and_levels(tmp_path):
    random = np.random.default_rng(0)
    for name in ("a b", "c"):
        pixels = random.integers(0, 4096, (12, 16, 3)).astype(np.uint16)
        pixels[0, 0] = 4095
        alpha = np.where(np.arange(16) < 8, 65535, 0) * np.ones((12, 1), int)
        images.write(tmp_path / f"{name}.png", pixels, alpha.astype(np.uint16))
    result = pipeline.fuse([tmp_path / "a b.png", tmp_path / "c.png"], "lp", check_register=False)
    _, look, _, _ = describe(tmp_path / "pages" / "page.html", result, "lp")
    first, _, fused = look.views[0].pictures
    assert (first.link, fused.link) == ("../a%20b.png", "sharp.png")
    assert first.shown.pixels.shape == (12, 16, 4) and first.shown.pixels[..., :3].max() > 250
    assert (
        set(np.unique(first.shown.pixels[..., 3])) == {0, 255} == set(np.unique(fused.shown.pixels[..., 3]))
    )
    assert look.notes == ["The levels leave 4 upper bits unused; they are shown 16 times as bright."]
